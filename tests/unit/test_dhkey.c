/*
 * tests/unit/test_dhkey.c - packets 3, 4 and 5 (docs/FMLTP.md section 3).
 *
 * Runs in: the unit tests alone.  The encodings that it compares with are
 * made here or by OpenSSL, not by the code under test.
 */
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/dh.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "fmltp/base64url.h"
#include "fmltp/dhkey.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

#define TEXT_MAX 20000

/* The parameters of the first exchange and the client's y. */
static struct dh_params group;
static uint8_t public[DH_PRIME_MAX];

static int
setup(void **state)
{
	const struct vector_kex *v = &vector_kex[0];
	size_t taken;

	if (dh_params_parse_pem((const uint8_t *)v->server_kex_init,
		strlen(v->server_kex_init), &group, &taken) != FMLTP_OK)
		return -1;
	return dh_public_parse_pem((const uint8_t *)v->client_kex_id,
		   strlen(v->client_kex_id), &group, public,
		   &taken) == FMLTP_OK ?
	    0 :
	    -1;
}

/* Parses from memory of exactly that length. */
static enum fmltp_error
parse_public(const char *text, size_t len, uint8_t *y, size_t *taken)
{
	uint8_t *copy = malloc(len + 1);
	enum fmltp_error e;

	assert_non_null(copy);
	memcpy(copy + 1, text, len);
	e = dh_public_parse_pem(copy + 1, len, &group, y, taken);
	free(copy);
	return e;
}

static enum fmltp_error
parse_params(const char *text, size_t len, struct dh_params *params,
    size_t *taken)
{
	uint8_t *copy = malloc(len + 1);
	enum fmltp_error e;

	assert_non_null(copy);
	memcpy(copy + 1, text, len);
	e = dh_params_parse_pem(copy + 1, len, params, taken);
	free(copy);
	return e;
}

static void
put_pem(struct buf *out, const char *label, const struct buf *der,
    size_t columns, const char *end)
{
	uint8_t mem[TEXT_MAX];
	struct buf body;
	size_t at, n;

	buf_init(&body, mem, sizeof(mem));
	base64_put(&body, BASE64_STANDARD, der->data, der->len);
	buf_put_str(out, "-----BEGIN ");
	buf_put_str(out, label);
	buf_put_str(out, "-----");
	buf_put_str(out, end);
	for (at = 0; at < body.len; at += n) {
		n = body.len - at < columns ? body.len - at : columns;
		buf_put(out, body.data + at, n);
		buf_put_str(out, end);
	}
	buf_put_str(out, "-----END ");
	buf_put_str(out, label);
	buf_put_str(out, "-----");
	buf_put_str(out, end);
	assert_false(body.failed || out->failed);
}

/* The values that a key or parameters are made of. */
enum part {
	PART_NONE,
	PART_ALL,
	PART_ALGORITHM,
	PART_OID,
	PART_PARAMS,
	PART_P,
	PART_G,
	PART_LENGTH,
	PART_KEY,
	PART_Y
};

/* Contents of a value: a literal or an array. */
struct contents {
	const void *bytes;
	size_t len;
};
#define CONTENTS(literal) { literal, sizeof(literal) - 1 }

/* A key, with what shall be wrong about it; zero: as it ought to be. */
struct form {
	struct contents oid, p, g, length, y;
	uint8_t unused; /* bits of the BIT STRING */
	enum part longer; /* its length takes a byte more than it needs */
	enum part indefinite; /* its length is 0x80 */
	enum part trailing; /* a NULL follows in it */
	enum part tag; /* its tag is another one */
	enum part missing;
	bool behind; /* a byte follows everything */
};

static void
put_tlv(struct buf *out, const struct form *f, enum part part, uint8_t tag,
    const struct buf *in)
{
	size_t len = in->len + (f->trailing == part ? 2 : 0);

	if (f->missing == part)
		return;
	buf_put_u8(out, f->tag == part ? tag ^ 1 : tag);
	if (f->indefinite == part)
		buf_put_u8(out, 0x80);
	else if (len < 0x80 && f->longer != part)
		buf_put_u8(out, (uint8_t)len);
	else if (len < 0x100 && (len < 0x80 || f->longer != part)) {
		buf_put_u8(out, 0x81);
		buf_put_u8(out, (uint8_t)len);
	} else {
		if (len >= 0x100 && f->longer == part) {
			buf_put_u8(out, 0x83);
			buf_put_u8(out, 0);
		} else
			buf_put_u8(out, 0x82);
		buf_put_u16(out, (uint16_t)len);
	}
	buf_put(out, in->data, in->len);
	if (f->trailing == part)
		buf_put(out, "\x05", 2);
	if (f->indefinite == part)
		buf_put_u16(out, 0);
	assert_false(out->failed);
}

static void
put_contents(struct buf *out, const struct form *f, enum part part,
    uint8_t tag, const struct contents *c)
{
	struct buf in;

	buf_init(&in, NULL, 0);
	in.data = (uint8_t *)(uintptr_t)c->bytes;
	in.len = c->len;
	put_tlv(out, f, part, tag, &in);
}

/* A number of the group as the contents of an INTEGER. */
static void
positive(struct buf *out, const uint8_t *bytes, size_t len)
{
	while (len > 1 && *bytes == 0) {
		bytes++;
		len--;
	}
	if (bytes[0] >= 0x80)
		buf_put_u8(out, 0);
	buf_put(out, bytes, len);
}

static void
build_params(struct buf *out, const struct form *f)
{
	uint8_t mem[4096], p_mem[DH_PRIME_MAX + 1];
	struct contents p = f->p, g = f->g;
	struct buf in, number;

	if (p.bytes == NULL) {
		buf_init(&number, p_mem, sizeof(p_mem));
		positive(&number, group.p, group.len);
		p.bytes = number.data;
		p.len = number.len;
	}
	if (g.bytes == NULL) {
		g.bytes = "\2";
		g.len = 1;
	}
	buf_init(&in, mem, sizeof(mem));
	put_contents(&in, f, PART_P, 0x02, &p);
	put_contents(&in, f, PART_G, 0x02, &g);
	if (f->length.bytes != NULL)
		put_contents(&in, f, PART_LENGTH, 0x02, &f->length);
	put_tlv(out, f, PART_PARAMS, 0x30, &in);
}

static void
build_key(struct buf *out, const struct form *f)
{
	static const struct contents dh = CONTENTS(
	    "\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01");
	uint8_t mem[3][4096], y_mem[DH_PRIME_MAX + 1];
	struct buf all, algorithm, key, number;
	struct contents y = f->y;

	if (y.bytes == NULL) {
		buf_init(&number, y_mem, sizeof(y_mem));
		positive(&number, public, group.len);
		y.bytes = number.data;
		y.len = number.len;
	}
	buf_init(&algorithm, mem[0], sizeof(mem[0]));
	put_contents(&algorithm, f, PART_OID, 0x06,
	    f->oid.bytes == NULL ? &dh : &f->oid);
	build_params(&algorithm, f);
	buf_init(&key, mem[1], sizeof(mem[1]));
	buf_put_u8(&key, f->unused);
	put_contents(&key, f, PART_Y, 0x02, &y);
	buf_init(&all, mem[2], sizeof(mem[2]));
	put_tlv(&all, f, PART_ALGORITHM, 0x30, &algorithm);
	put_tlv(&all, f, PART_KEY, 0x03, &key);
	put_tlv(out, f, PART_ALL, 0x30, &all);
	if (f->behind)
		buf_put_u8(out, 0);
}

static enum fmltp_error
parse_public_der(const struct buf *der, uint8_t *y)
{
	char text[TEXT_MAX];
	struct buf out;
	size_t taken;

	buf_init(&out, text, sizeof(text));
	put_pem(&out, DH_PUBLIC_LABEL, der, 64, "\n");
	return parse_public(text, out.len, y, &taken);
}

static enum fmltp_error
parse_form(const struct form *f, uint8_t *y)
{
	uint8_t mem[8192];
	struct buf der;

	buf_init(&der, mem, sizeof(mem));
	build_key(&der, f);
	return parse_public_der(&der, y);
}

static void
test_dh_sizes(void **state)
{
	static const unsigned rows[][2] = {
		{ 1024, 160 },
		{ 2048, 224 },
		{ 3072, 256 },
		{ 4096, 304 },
		{ 6144, 352 },
		{ 8192, 400 },
	};
	unsigned bits;
	size_t next = 0;

	for (bits = 0; bits <= 16384; bits++) {
		if (next < COUNT_OF(rows) && rows[next][0] == bits) {
			assert_true(dh_bits_valid(bits));
			assert_int_equal(dh_exponent_bits(bits),
			    rows[next++][1]);
			continue;
		}
		assert_false(dh_bits_valid(bits));
		assert_int_equal(dh_exponent_bits(bits), 0);
	}
	assert_int_equal(next, COUNT_OF(rows));
}

/* Packets 3, 4 and 5 of every exchange: parsed at every length, and made. */
static void
test_dh_vectors(void **state)
{
	const struct vector_kex *v;
	const char *packet[3];
	struct dh_params params;
	uint8_t y[DH_PRIME_MAX], text[DH_PEM_MAX];
	struct buf out;
	size_t len, n, taken;
	enum fmltp_error e;
	int i;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++) {
		packet[0] = v->server_kex_init;
		packet[1] = v->client_kex_id;
		packet[2] = v->server_kex_id;
		for (i = 0; i < 3; i++) {
			len = strlen(packet[i]);
			for (n = 0; n <= len; n++) {
				e = i == 0 ? dh_params_parse_pem(
						 (const uint8_t *)packet[0], n,
						 &params, &taken) :
					     dh_public_parse_pem(
						 (const uint8_t *)packet[i], n,
						 &params, y, &taken);
				/* The line end may come later. */
				if (n < len - 1) {
					assert_int_equal(e, FMLTP_MORE);
					continue;
				}
				assert_int_equal(e, FMLTP_OK);
				assert_int_equal(taken, n);
			}
			buf_init(&out, text, sizeof(text));
			if (i == 0)
				dh_params_put_pem(&out, &params);
			else
				dh_public_put_pem(&out, &params, y);
			assert_false(out.failed);
			assert_int_equal(out.len, len);
			assert_memory_equal(text, packet[i], len);
		}
		assert_int_equal(params.len * 8, v->bits);
	}
}

/* The example of the handshake's specification. */
static void
test_dh_example(void **state)
{
	static const char text[] =
	    "-----BEGIN DH PARAMETERS-----\n"
	    "MIGHAoGBAK0a7BmdPoU2/snNlwsT8oW1G76yUTABAGcwoiOTFbAe+XARtx+gkILH\n"
	    "6eyWCKx6mn38HdBd9WdzRSMk6O1j0NrubsuSUKpXZSpc9mTtzyrp8ZfVv+223vci\n"
	    "Z/f5KhcPuk4EijhOd17vqsXXCalSWlP4nh8RlLkqAFuQudvxwNxvAgEC\n"
	    "-----END DH PARAMETERS-----\n";
	struct dh_params params;
	size_t taken;

	assert_int_equal(
	    parse_params(text, sizeof(text) - 1, &params, &taken), FMLTP_OK);
	assert_int_equal(params.len, 128);
}

/* What may follow END, and how much of it is taken. */
static void
test_dh_pem_ends(void **state)
{
	static const struct {
		const char *text;
		size_t taken;
	} rows[] = {
		{ "", 0 },
		{ "\n", 1 },
		{ "\r\n", 2 },
		{ "\r", 0 },
		{ "\n\n", 1 },
		{ "\r\n\r\n", 2 },
		{ "\r\r\n", 0 },
		{ "gAAAAA", 0 },
		{ "\ngAAAAA", 1 },
		{ "-", 0 },
		{ " \n", 0 },
	};
	char text[TEXT_MAX];
	uint8_t y[DH_PRIME_MAX], mem[1024];
	struct dh_params params;
	struct form f = { 0 };
	struct buf out, der;
	size_t i, taken, kind, block;

	for (i = 0; i < COUNT_OF(rows); i++)
		for (kind = 0; kind < 2; kind++) {
			buf_init(&der, mem, sizeof(mem));
			buf_init(&out, text, sizeof(text));
			if (kind == 0) {
				build_params(&der, &f);
				put_pem(&out, DH_PARAMS_LABEL, &der, 64, "\n");
			} else {
				build_key(&der, &f);
				put_pem(&out, DH_PUBLIC_LABEL, &der, 64,
				    "\r\n");
				out.len--;
			}
			block = --out.len;
			buf_put_str(&out, rows[i].text);
			if (kind == 0)
				assert_int_equal(parse_params(text, out.len,
						     &params, &taken),
				    FMLTP_OK);
			else
				assert_int_equal(
				    parse_public(text, out.len, y, &taken),
				    FMLTP_OK);
			assert_int_equal(taken, block + rows[i].taken);
		}
}

/*
 * The first time that the text stands for something else than "more" is
 * `error`, whether it comes at once or byte by byte.
 */
static void
expect_public(const char *why, const char *text, size_t len,
    enum fmltp_error error)
{
	uint8_t y[DH_PRIME_MAX];
	size_t n, taken;
	enum fmltp_error e;

	e = parse_public(text, len, y, &taken);
	if (e != error)
		fail_msg("%s: %s, not %s", why, fmltp_error_token(e),
		    fmltp_error_token(error));
	for (n = 0, e = FMLTP_MORE; n <= len && e == FMLTP_MORE; n++)
		e = parse_public(text, n, y, &taken);
	if (e != error)
		fail_msg("%s: %s after %zu bytes", why, fmltp_error_token(e),
		    n - 1);
	/* Once refused, refused: more bytes change nothing. */
	for (; n <= len && error != FMLTP_OK; n++)
		assert_int_equal(parse_public(text, n, y, &taken), error);
}

/* Every rule of the PEM form, broken once. */
static void
test_dh_pem_bad(void **state)
{
	static const char body[] = "MIIBHzCBlQYJKoZIhvcNAQMBMIGHAoGBAN";
	static const struct {
		const char *why;
		const char *find, *replace; /* in a good packet */
		enum fmltp_error error;
	} rows[] = {
		{ "as it is", "", "", FMLTP_OK },
		{ "blank first", "-----BEGIN", " -----BEGIN",
		    FMLTP_PEM_LABEL },
		{ "line end first", "-----BEGIN", "\n-----BEGIN",
		    FMLTP_PEM_LABEL },
		{ "text first", "-----BEGIN", "key\n-----BEGIN",
		    FMLTP_PEM_LABEL },
		{ "four dashes", "-----BEGIN", "----BEGIN", FMLTP_PEM_LABEL },
		{ "six dashes", "-----BEGIN", "------BEGIN", FMLTP_PEM_LABEL },
		{ "lower case", "-----BEGIN", "-----begin", FMLTP_PEM_LABEL },
		{ "private key", "PUBLIC KEY-----\nM",
		    "PRIVATE KEY-----\nM", FMLTP_PEM_LABEL },
		{ "RSA label", "BEGIN PUBLIC", "BEGIN RSA PUBLIC",
		    FMLTP_PEM_LABEL },
		{ "parameters", "BEGIN PUBLIC KEY", "BEGIN DH PARAMETERS",
		    FMLTP_PEM_LABEL },
		{ "label in lower case", "PUBLIC KEY-----\nM",
		    "Public Key-----\nM", FMLTP_PEM_LABEL },
		{ "four dashes behind", "KEY-----\nM", "KEY----\nM",
		    FMLTP_PEM_LABEL },
		{ "blank behind BEGIN", "KEY-----\nM", "KEY----- \nM",
		    FMLTP_PEM_BODY },
		{ "no line end behind BEGIN", "KEY-----\nM", "KEY-----M",
		    FMLTP_PEM_BODY },
		{ "CR alone behind BEGIN", "KEY-----\nM", "KEY-----\rM",
		    FMLTP_PEM_BODY },
		{ "CR CR LF", "KEY-----\nM", "KEY-----\r\r\nM",
		    FMLTP_PEM_BODY },
		{ "CR LF once", "KEY-----\nM", "KEY-----\r\nM", FMLTP_OK },
		{ "header", body, "Proc-Type: 4,ENCRYPTED\n\nMIIBHz",
		    FMLTP_PEM_BODY },
		{ "empty line first", body, "\nMIIBHz", FMLTP_PEM_BODY },
		{ "empty line last", "\n-----END", "\n\n-----END",
		    FMLTP_PEM_BODY },
		{ "blank in a line", body, "MIIBHz CB", FMLTP_PEM_BODY },
		{ "blank before a line", body, " MIIBHzCB", FMLTP_PEM_BODY },
		{ "tab in a line", body, "MIIBHz\tCB", FMLTP_PEM_BODY },
		{ "NUL in a line", body, "MIIBHz\1CB", FMLTP_PEM_BODY },
		{ "base64url", body, "MIIBHz_CB", FMLTP_PEM_BODY },
		{ "high bit", body, "MIIBHz\xc3\x84", FMLTP_PEM_BODY },
		{ "comment", body, "#MIIBHz", FMLTP_PEM_BODY },
		{ "line of 65", body, "AMIIBHzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "line of 63", body, "IIBHzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "line of 60", body, "HzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "padding inside", body,
		    "MII=HzCBlQYJKoZIhvcNAQMBMIGHAoGBAN", FMLTP_PEM_BODY },
		{ "padding ends a full line", "XUZ4\n", "XUA=\n",
		    FMLTP_PEM_BODY },
		{ "no line end before END", "\n-----END", "-----END",
		    FMLTP_PEM_BODY },
		{ "blank before END", "\n-----END", "\n -----END",
		    FMLTP_PEM_BODY },
		{ "END of another", "END PUBLIC KEY", "END DH PARAMETERS",
		    FMLTP_PEM_LABEL },
		{ "END in lower case", "-----END", "-----end",
		    FMLTP_PEM_LABEL },
		{ "a dash in the body", "\n-----END", "\n-\n-----END",
		    FMLTP_PEM_LABEL },
		{ "BEGIN again", "-----END", "-----BEGIN", FMLTP_PEM_LABEL },
	};
	const char *good = vector_kex[0].client_kex_id, *at;
	char text[TEXT_MAX], lines[TEXT_MAX];
	struct buf out;
	size_t i;

	/* Known places of the packet that the rows change. */
	assert_non_null(strstr(good, body));
	buf_init(&out, lines, sizeof(lines));
	buf_put(&out, good, strlen(good) + 1);
	at = strstr(good, "\n-----END");
	memcpy(lines + (at - good) - 69, "XUZ4", 4);

	for (i = 0; i < COUNT_OF(rows); i++) {
		const char *from =
		    strcmp(rows[i].find, "XUZ4\n") == 0 ? lines : good;

		at = strstr(from, rows[i].find);
		assert_non_null(at);
		buf_init(&out, text, sizeof(text));
		buf_put(&out, from, (size_t)(at - from));
		buf_put_str(&out, rows[i].replace);
		buf_put_str(&out, at + strlen(rows[i].find));
		expect_public(rows[i].why, text, out.len, rows[i].error);
	}
}
