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
		   strlen(v->client_kex_id), &group, public, &taken) == FMLTP_OK
	    ? 0
	    : -1;
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
parse_params(
    const char *text, size_t len, struct dh_params *params, size_t *taken)
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
#define CONTENTS(literal)                    \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

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
put_contents(struct buf *out, const struct form *f, enum part part, uint8_t tag,
    const struct contents *c)
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
	static const struct contents dh =
	    CONTENTS("\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01");
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
			assert_int_equal(
			    dh_exponent_bits(bits), rows[next++][1]);
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
						 &params, &taken)
					   : dh_public_parse_pem(
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
				put_pem(
				    &out, DH_PUBLIC_LABEL, &der, 64, "\r\n");
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
expect_public(
    const char *why, const char *text, size_t len, enum fmltp_error error)
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
		fail_msg(
		    "%s: %s after %zu bytes", why, fmltp_error_token(e), n - 1);
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
		{ "blank first", "-----BEGIN", " -----BEGIN", FMLTP_PEM_LABEL },
		{ "line end first", "-----BEGIN", "\n-----BEGIN",
		    FMLTP_PEM_LABEL },
		{ "text first", "-----BEGIN", "key\n-----BEGIN",
		    FMLTP_PEM_LABEL },
		{ "four dashes", "-----BEGIN", "----BEGIN", FMLTP_PEM_LABEL },
		{ "six dashes", "-----BEGIN", "------BEGIN", FMLTP_PEM_LABEL },
		{ "lower case", "-----BEGIN", "-----begin", FMLTP_PEM_LABEL },
		{ "private key", "PUBLIC KEY-----\nM", "PRIVATE KEY-----\nM",
		    FMLTP_PEM_LABEL },
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
		{ "control character", body, "MIIBHz\1CB", FMLTP_PEM_BODY },
		{ "base64url", body, "MIIBHz_CB", FMLTP_PEM_BODY },
		{ "high bit", body, "MIIBHz\xc3\x84", FMLTP_PEM_BODY },
		{ "comment", body, "#MIIBHz", FMLTP_PEM_BODY },
		{ "line of 65", body, "AMIIBHzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "line of 63", body, "IIBHzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "line of 60", body, "HzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
		    FMLTP_PEM_BODY },
		{ "padding inside", body, "MII=HzCBlQYJKoZIhvcNAQMBMIGHAoGBAN",
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
	char text[TEXT_MAX];
	struct buf out;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		at = strstr(good, rows[i].find);
		assert_non_null(at);
		buf_init(&out, text, sizeof(text));
		buf_put(&out, good, (size_t)(at - good));
		buf_put_str(&out, rows[i].replace);
		buf_put_str(&out, at + strlen(rows[i].find));
		expect_public(rows[i].why, text, out.len, rows[i].error);
	}
}

/* Padding ends the body, at the end of a line of 64 too. */
static void
test_dh_pem_padding(void **state)
{
	const char *good = vector_kex[0].client_kex_id;
	char text[TEXT_MAX];
	char *end;

	strlcpy(text, good, sizeof(text));
	end = strchr(strchr(text, '\n') + 1, '\n');
	memcpy(end - 4, "AAA=", 4);
	expect_public(
	    "padding and more lines", text, strlen(text), FMLTP_PEM_BODY);
	memcpy(end - 4, "AA==", 4);
	expect_public(
	    "padding and more lines", text, strlen(text), FMLTP_PEM_BODY);
	memcpy(end - 4, "AAB=", 4);
	expect_public("unused bits", text, strlen(text), FMLTP_PEM_BODY);
	memcpy(end - 4, "A===", 4);
	expect_public("three", text, strlen(text), FMLTP_PEM_BODY);
}

/* Lines of every length but 64, for a key that needs more than one. */
static void
test_dh_pem_columns(void **state)
{
	struct form f = { 0 };
	uint8_t mem[1024], y[DH_PRIME_MAX];
	char text[TEXT_MAX];
	struct buf der, out;
	size_t columns, taken;

	buf_init(&der, mem, sizeof(mem));
	build_key(&der, &f);
	for (columns = 1; columns <= 400; columns++) {
		buf_init(&out, text, sizeof(text));
		put_pem(&out, DH_PUBLIC_LABEL, &der, columns, "\n");
		assert_int_equal(parse_public(text, out.len, y, &taken),
		    columns == 64 ? FMLTP_OK : FMLTP_PEM_BODY);
	}
	buf_init(&out, text, sizeof(text));
	put_pem(&out, DH_PUBLIC_LABEL, &der, 64, "\r\n");
	assert_int_equal(parse_public(text, out.len, y, &taken), FMLTP_OK);
	assert_int_equal(taken, out.len);
	buf_init(&out, text, sizeof(text));
	put_pem(&out, DH_PUBLIC_LABEL, &der, 64, "\r");
	assert_int_equal(
	    parse_public(text, out.len, y, &taken), FMLTP_PEM_BODY);
}

/* Blocks of all lengths around 8 KiB, all of them lines of 64. */
static void
test_dh_pem_long(void **state)
{
	static uint8_t text[1 << 20];
	uint8_t y[DH_PRIME_MAX];
	struct buf out;
	size_t taken, i;

	buf_init(&out, text, sizeof(text));
	buf_put_str(&out, "-----BEGIN PUBLIC KEY-----\n");
	while (out.len + 66 < sizeof(text)) {
		for (i = 0; i < 64; i++)
			buf_put_u8(&out, 'A');
		buf_put_u8(&out, '\n');
	}
	for (i = 0; i < DH_PEM_MAX; i++)
		assert_int_equal(
		    dh_public_parse_pem(text, i, &group, y, &taken),
		    FMLTP_MORE);
	assert_int_equal(
	    dh_public_parse_pem(text, i, &group, y, &taken), FMLTP_PEM_LONG);
	assert_int_equal(dh_public_parse_pem(text, out.len, &group, y, &taken),
	    FMLTP_PEM_LONG);

	/* Whole, but more than any key has. */
	out.len = 27 + 60 * 65;
	buf_put_str(&out, "-----END PUBLIC KEY-----\n");
	assert_int_equal(
	    dh_public_parse_pem(text, out.len, &group, y, &taken), FMLTP_DER);
	/* Empty. */
	out.len = 27;
	buf_put_str(&out, "-----END PUBLIC KEY-----\n");
	assert_int_equal(
	    dh_public_parse_pem(text, out.len, &group, y, &taken), FMLTP_DER);
}

/* Every rule of the encoding, broken once. */
static void
test_dh_public_der(void **state)
{
	static const struct {
		const char *why;
		struct form form;
		enum fmltp_error error;
	} rows[] = {
		{ "as it is", { .unused = 0 }, FMLTP_OK },
		{ "long length of all", { .longer = PART_ALL }, FMLTP_DER },
		{ "of the algorithm", { .longer = PART_ALGORITHM }, FMLTP_DER },
		{ "of the OID", { .longer = PART_OID }, FMLTP_DER },
		{ "of the parameters", { .longer = PART_PARAMS }, FMLTP_DER },
		{ "of p", { .longer = PART_P }, FMLTP_DER },
		{ "of g", { .longer = PART_G }, FMLTP_DER },
		{ "of the BIT STRING", { .longer = PART_KEY }, FMLTP_DER },
		{ "of y", { .longer = PART_Y }, FMLTP_DER },
		{ "indefinite length", { .indefinite = PART_ALL }, FMLTP_DER },
		{ "of the algorithm", { .indefinite = PART_ALGORITHM },
		    FMLTP_DER },
		{ "of the parameters", { .indefinite = PART_PARAMS },
		    FMLTP_DER },
		{ "of y", { .indefinite = PART_Y }, FMLTP_DER },
		{ "NULL behind all values", { .trailing = PART_ALL },
		    FMLTP_DER },
		{ "in the algorithm", { .trailing = PART_ALGORITHM },
		    FMLTP_DER },
		{ "in the parameters", { .trailing = PART_PARAMS }, FMLTP_DER },
		{ "in the BIT STRING", { .trailing = PART_KEY }, FMLTP_DER },
		{ "a byte behind", { .behind = true }, FMLTP_DER },
		{ "tag of all", { .tag = PART_ALL }, FMLTP_DER },
		{ "tag of the algorithm", { .tag = PART_ALGORITHM },
		    FMLTP_DER },
		{ "tag of the OID", { .tag = PART_OID }, FMLTP_DER },
		{ "tag of the parameters", { .tag = PART_PARAMS }, FMLTP_DER },
		{ "tag of p", { .tag = PART_P }, FMLTP_DER },
		{ "tag of g", { .tag = PART_G }, FMLTP_DER },
		{ "tag of the BIT STRING", { .tag = PART_KEY }, FMLTP_DER },
		{ "tag of y", { .tag = PART_Y }, FMLTP_DER },
		{ "no algorithm", { .missing = PART_ALGORITHM }, FMLTP_DER },
		{ "no OID", { .missing = PART_OID }, FMLTP_DER },
		{ "no parameters", { .missing = PART_PARAMS }, FMLTP_DER },
		{ "no p", { .missing = PART_P }, FMLTP_DER },
		{ "no g", { .missing = PART_G }, FMLTP_DER },
		{ "no key", { .missing = PART_KEY }, FMLTP_DER },
		{ "no y", { .missing = PART_Y }, FMLTP_DER },
		{ "unused bits", { .unused = 1 }, FMLTP_DER },
		{ "unused bits", { .unused = 7 }, FMLTP_DER },
		{ "unused bits", { .unused = 255 }, FMLTP_DER },
		{ "empty OID", { .oid = CONTENTS("") }, FMLTP_DER },
		{ "another OID",
		    { .oid = CONTENTS("\x2a\x86\x48\x86\xf7\x0d\x01\x03\x02") },
		    FMLTP_DH_GROUP },
		{ "OID, one arc more",
		    { .oid = CONTENTS(
			  "\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01\x01") },
		    FMLTP_DH_GROUP },
		{ "OID, one arc less",
		    { .oid = CONTENTS("\x2a\x86\x48\x86\xf7\x0d\x01\x03") },
		    FMLTP_DH_GROUP },
		{ "another OID without parameters",
		    { .oid = CONTENTS("\x2b\x65\x6e"), .missing = PART_PARAMS },
		    FMLTP_DH_GROUP },
		{ "g of 5", { .g = CONTENTS("\5") }, FMLTP_DH_GROUP },
		{ "g of 0", { .g = CONTENTS("\0") }, FMLTP_DH_GROUP },
		{ "g of 512", { .g = CONTENTS("\2\0") }, FMLTP_DH_GROUP },
		{ "g with a zero", { .g = CONTENTS("\0\2") }, FMLTP_DER },
		{ "g negative", { .g = CONTENTS("\xfe") }, FMLTP_DER },
		{ "g empty", { .g = CONTENTS("") }, FMLTP_DER },
		{ "p of 23", { .p = CONTENTS("\x17") }, FMLTP_DH_GROUP },
		{ "p with a zero", { .p = CONTENTS("\0\x17") }, FMLTP_DER },
		{ "p negative", { .p = CONTENTS("\x97") }, FMLTP_DER },
		{ "p empty", { .p = CONTENTS("") }, FMLTP_DER },
		{ "length of 1", { .length = CONTENTS("\1") }, FMLTP_OK },
		{ "length of 160", { .length = CONTENTS("\0\xa0") }, FMLTP_OK },
		{ "length of 1024", { .length = CONTENTS("\4\0") }, FMLTP_OK },
		{ "length of 1025", { .length = CONTENTS("\4\1") }, FMLTP_DER },
		{ "length of 0", { .length = CONTENTS("\0") }, FMLTP_DER },
		{ "length of -1", { .length = CONTENTS("\xff") }, FMLTP_DER },
		{ "length of -96", { .length = CONTENTS("\xa0") }, FMLTP_DER },
		{ "length with a zero", { .length = CONTENTS("\0\1") },
		    FMLTP_DER },
		{ "length empty", { .length = CONTENTS("") }, FMLTP_DER },
		{ "length of 65536", { .length = CONTENTS("\1\0\0") },
		    FMLTP_DER },
		{ "length of 2^64 and 1",
		    { .length = CONTENTS("\1\0\0\0\0\0\0\0\1") }, FMLTP_DER },
		{ "long length of the length",
		    { .length = CONTENTS("\1"), .longer = PART_LENGTH },
		    FMLTP_DER },
		{ "tag of the length",
		    { .length = CONTENTS("\1"), .tag = PART_LENGTH },
		    FMLTP_DER },
		{ "something behind the length",
		    { .length = CONTENTS("\1"), .trailing = PART_PARAMS },
		    FMLTP_DER },
		{ "y of 0", { .y = CONTENTS("\0") }, FMLTP_DH_RANGE },
		{ "y of 1", { .y = CONTENTS("\1") }, FMLTP_DH_RANGE },
		{ "y of 2", { .y = CONTENTS("\2") }, FMLTP_OK },
		{ "y with a zero", { .y = CONTENTS("\0\2") }, FMLTP_DER },
		{ "y of -1", { .y = CONTENTS("\xff") }, FMLTP_DER },
		{ "y empty", { .y = CONTENTS("") }, FMLTP_DER },
		{ "wrong twice: other g, y empty",
		    { .g = CONTENTS("\5"), .y = CONTENTS("") }, FMLTP_DER },
	};
	uint8_t y[DH_PRIME_MAX];
	size_t i;
	enum fmltp_error e;

	for (i = 0; i < COUNT_OF(rows); i++) {
		e = parse_form(&rows[i].form, y);
		if (e != rows[i].error)
			fail_msg("%s: %s", rows[i].why, fmltp_error_token(e));
		if (e == FMLTP_OK && rows[i].form.y.bytes == NULL)
			assert_memory_equal(y, public, group.len);
	}
}

/* y near p, longer than p, and as a negative number. */
static void
test_dh_public_y(void **state)
{
	static const struct {
		int difference; /* from p */
		enum fmltp_error error;
	} rows[] = {
		{ -3, FMLTP_OK },
		{ -2, FMLTP_OK },
		{ -1, FMLTP_DH_RANGE },
		{ 0, FMLTP_DH_RANGE },
		{ 1, FMLTP_DH_RANGE },
		{ 8, FMLTP_DH_RANGE },
	};
	uint8_t bytes[DH_PRIME_MIN + 3] = { 0 }, y[DH_PRIME_MAX];
	struct form f = { 0 };
	size_t i, last = DH_PRIME_MIN;

	assert_int_equal(group.len, DH_PRIME_MIN);
	/* p = 23 mod 24: its last byte is 7 at least. */
	for (i = 0; i < COUNT_OF(rows); i++) {
		memcpy(bytes + 1, group.p, group.len);
		bytes[last] = (uint8_t)(bytes[last] + rows[i].difference);
		assert_true(dh_public_in_range(&group, bytes + 1) ==
		    (rows[i].error == FMLTP_OK));
		f.y.bytes = bytes;
		f.y.len = group.len + 1;
		assert_int_equal(parse_form(&f, y), rows[i].error);
		if (rows[i].error == FMLTP_OK)
			assert_memory_equal(y, bytes + 1, group.len);
		/* Without its leading zero it is negative. */
		f.y.bytes = bytes + 1;
		f.y.len = group.len;
		assert_int_equal(parse_form(&f, y), FMLTP_DER);
	}
	/* A byte more than p, and one more than that. */
	memset(bytes, 0x11, sizeof(bytes));
	f.y.bytes = bytes;
	f.y.len = group.len + 1;
	assert_int_equal(parse_form(&f, y), FMLTP_DH_RANGE);
	f.y.len = group.len + 2;
	assert_int_equal(parse_form(&f, y), FMLTP_DH_RANGE);
	/* Every shorter length: padded with zeros in front. */
	for (i = 1; i < group.len; i++) {
		f.y.len = i;
		memset(y, 0xee, sizeof(y));
		assert_int_equal(parse_form(&f, y), FMLTP_OK);
		assert_memory_equal(y + group.len - i, bytes, i);
		assert_int_equal(y[0], 0);
		assert_int_equal(y[group.len - i - 1], 0);
	}
}

static void
test_dh_in_range(void **state)
{
	uint8_t y[DH_PRIME_MAX] = { 0 };
	size_t i;

	assert_false(dh_public_in_range(&group, y));
	y[group.len - 1] = 1;
	assert_false(dh_public_in_range(&group, y));
	y[group.len - 1] = 2;
	assert_true(dh_public_in_range(&group, y));
	y[group.len - 1] = 0;
	for (i = 0; i + 1 < group.len; i++) {
		y[i] = 1;
		assert_true(dh_public_in_range(&group, y));
		y[i] = 0;
	}
	memset(y, 0xff, sizeof(y));
	assert_false(dh_public_in_range(&group, y));
	/* p's last byte less 1, with any other byte changed, is not p-1. */
	memcpy(y, group.p, group.len);
	y[group.len - 1] ^= 1;
	assert_false(dh_public_in_range(&group, y));
	for (i = 0; i + 1 < group.len; i++) {
		y[i] ^= 1;
		assert_true(
		    dh_public_in_range(&group, y) == ((group.p[i] & 1) != 0));
		y[i] ^= 1;
	}
}

/*
 * A key with one byte changed, or cut, is refused, or it is the encoding of
 * another y.
 */
static void
test_dh_public_changed(void **state)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0x81, 0x82,
		0x84, 0xff };
	struct form f = { 0 };
	uint8_t mem[1024], good[1024], y[DH_PRIME_MAX], y_mem[DH_PRIME_MAX + 1];
	struct buf der, again, number;
	size_t at, i, taken = 0, len;
	enum fmltp_error e;

	buf_init(&der, mem, sizeof(mem));
	build_key(&der, &f);
	len = der.len;
	memcpy(good, mem, len);
	for (at = 0; at < len; at++)
		for (i = 0; i < 8 + COUNT_OF(values); i++) {
			mem[at] = i < 8 ? good[at] ^ (uint8_t)(1u << i)
					: values[i - 8];
			e = parse_public_der(&der, y);
			if (e == FMLTP_OK) {
				buf_init(&number, y_mem, sizeof(y_mem));
				positive(&number, y, group.len);
				f.y.bytes = number.data;
				f.y.len = number.len;
				buf_init(
				    &again, good + len, sizeof(good) - len);
				build_key(&again, &f);
				assert_int_equal(again.len, len);
				assert_memory_equal(again.data, mem, len);
				taken++;
			}
			mem[at] = good[at];
		}
	/* All bytes of y but the first were free to change. */
	assert_true(taken > 127 * 8);
	for (der.len = 0; der.len < len; der.len++)
		assert_int_equal(parse_public_der(&der, y), FMLTP_DER);
}

/* Keys of other kinds, as OpenSSL writes them. */
static void
test_dh_other_keys(void **state)
{
	static const char *const types[] = { "RSA", "EC", "X25519", "ED25519",
		"DHX", "DH" };
	uint8_t y[DH_PRIME_MAX];
	EVP_PKEY *key;
	BIO *bio;
	char *text, name[] = "dh_2048_224", ffdhe[] = "ffdhe2048";
	size_t i, taken;
	long len;
	OSSL_PARAM group_name[2];
	EVP_PKEY_CTX *ctx;

	for (i = 0; i < COUNT_OF(types); i++) {
		key = NULL;
		if (i == 0)
			key =
			    EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
		else if (i == 1)
			key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
		else if (i < 4)
			key = EVP_PKEY_Q_keygen(NULL, NULL, types[i]);
		else {
			ctx = EVP_PKEY_CTX_new_from_name(NULL, types[i], NULL);
			assert_non_null(ctx);
			group_name[0] = OSSL_PARAM_construct_utf8_string(
			    "group", i == 4 ? name : ffdhe, 0);
			group_name[1] = OSSL_PARAM_construct_end();
			assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
			assert_int_equal(
			    EVP_PKEY_CTX_set_params(ctx, group_name), 1);
			assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
			EVP_PKEY_CTX_free(ctx);
		}
		assert_non_null(key);
		bio = BIO_new(BIO_s_mem());
		assert_non_null(bio);
		assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
		len = BIO_get_mem_data(bio, &text);
		if (parse_public(text, (size_t)len, y, &taken) !=
		    FMLTP_DH_GROUP)
			fail_msg("%s key", types[i]);
		BIO_free(bio);
		EVP_PKEY_free(key);
	}
}

/* The keys of the other exchanges: of this group, and of others. */
static void
test_dh_other_exchange(void **state)
{
	const struct vector_kex *v;
	uint8_t y[DH_PRIME_MAX];
	size_t taken, others = 0;
	bool same;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++) {
		same = strcmp(v->server_kex_init,
			   vector_kex[0].server_kex_init) == 0;
		assert_int_equal(parse_public(v->client_kex_id,
				     strlen(v->client_kex_id), y, &taken),
		    same ? FMLTP_OK : FMLTP_DH_GROUP);
		others += !same;
	}
	assert_true(others > 0);
}

static enum fmltp_error
parse_params_form(const struct form *f, struct dh_params *params)
{
	uint8_t mem[8192];
	char text[TEXT_MAX];
	struct buf der, out;
	size_t taken;

	buf_init(&der, mem, sizeof(mem));
	build_params(&der, f);
	if (f->behind)
		buf_put_u8(&der, 0);
	buf_init(&out, text, sizeof(text));
	put_pem(&out, DH_PARAMS_LABEL, &der, 64, "\n");
	return parse_params(text, out.len, params, &taken);
}

/* Every rule of packet 3, broken once. */
static void
test_dh_params_der(void **state)
{
	static const struct {
		const char *why;
		struct form form;
		enum fmltp_error error;
	} rows[] = {
		{ "as it is", { .behind = false }, FMLTP_OK },
		{ "long length", { .longer = PART_PARAMS }, FMLTP_DER },
		{ "of p", { .longer = PART_P }, FMLTP_DER },
		{ "of g", { .longer = PART_G }, FMLTP_DER },
		{ "indefinite length", { .indefinite = PART_PARAMS },
		    FMLTP_DER },
		{ "a value more", { .trailing = PART_PARAMS }, FMLTP_DER },
		{ "a private length", { .length = CONTENTS("\1") }, FMLTP_DER },
		{ "a byte behind", { .behind = true }, FMLTP_DER },
		{ "tag", { .tag = PART_PARAMS }, FMLTP_DER },
		{ "tag of p", { .tag = PART_P }, FMLTP_DER },
		{ "tag of g", { .tag = PART_G }, FMLTP_DER },
		{ "no p", { .missing = PART_P }, FMLTP_DER },
		{ "no g", { .missing = PART_G }, FMLTP_DER },
		{ "nothing", { .missing = PART_PARAMS }, FMLTP_DER },
		{ "p negative", { .p = CONTENTS("\x97") }, FMLTP_DER },
		{ "p empty", { .p = CONTENTS("") }, FMLTP_DER },
		{ "p of 0", { .p = CONTENTS("\0") }, FMLTP_DH_SIZE },
		{ "p of 23", { .p = CONTENTS("\x17") }, FMLTP_DH_SIZE },
		{ "p with two zeros", { .p = CONTENTS("\0\0\x97") },
		    FMLTP_DER },
		{ "g of 5", { .g = CONTENTS("\5") }, FMLTP_DH_WEAK },
		{ "g of 1", { .g = CONTENTS("\1") }, FMLTP_DH_WEAK },
		{ "g of 0", { .g = CONTENTS("\0") }, FMLTP_DH_WEAK },
		{ "g of 258", { .g = CONTENTS("\1\2") }, FMLTP_DH_WEAK },
		{ "g with a zero", { .g = CONTENTS("\0\2") }, FMLTP_DER },
		{ "g of -2", { .g = CONTENTS("\xfe") }, FMLTP_DER },
	};
	struct dh_params params;
	size_t i;
	enum fmltp_error e;

	for (i = 0; i < COUNT_OF(rows); i++) {
		e = parse_params_form(&rows[i].form, &params);
		if (e != rows[i].error)
			fail_msg("%s: %s", rows[i].why, fmltp_error_token(e));
	}
}

/* p of every length, with its highest bit set or only the next one. */
static void
test_dh_params_sizes(void **state)
{
	uint8_t p[DH_PRIME_MAX + 10];
	struct dh_params params;
	struct form f = { 0 };
	size_t len;

	/* 2^n - 1 is 15 mod 24 for an even n: 16 less is 23. */
	memset(p, 0xff, sizeof(p));
	p[0] = 0;
	for (len = 1; len <= DH_PRIME_MAX + 8; len++) {
		p[len] = 0xef;
		f.p.bytes = p;
		f.p.len = len + 1;
		if (dh_bits_valid((unsigned)len * 8)) {
			assert_int_equal(
			    parse_params_form(&f, &params), FMLTP_OK);
			assert_int_equal(params.len, len);
			assert_memory_equal(params.p, p + 1, len);
			p[1] = 0x7f;
			f.p.bytes = p + 1;
			f.p.len = len;
		}
		assert_int_equal(parse_params_form(&f, &params), FMLTP_DH_SIZE);
		p[1] = p[len] = 0xff;
	}
}

/* All residues by 24, at each size; only 23 is taken. */
static void
test_dh_params_residue(void **state)
{
	static const size_t sizes[] = { 128, 256, 384, 512, 768, 1024 };
	uint8_t p[DH_PRIME_MAX + 1];
	struct unit_random r = { 13 };
	struct dh_params params;
	struct form f = { 0 };
	size_t i, good;
	unsigned n, last;
	enum fmltp_error e;
	BIGNUM *b;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		unit_random_fill(&r, p, sizes[i] + 1);
		p[0] = 0;
		p[1] |= 0x80;
		good = 0;
		for (last = 0; last < 24; last++) {
			p[sizes[i]] = (uint8_t)(100 + last);
			b = BN_bin2bn(p, (int)sizes[i] + 1, NULL);
			assert_non_null(b);
			n = (unsigned)BN_mod_word(b, 24);
			BN_free(b);
			f.p.bytes = p;
			f.p.len = sizes[i] + 1;
			e = parse_params_form(&f, &params);
			assert_int_equal(e, n == 23 ? FMLTP_OK : FMLTP_DH_WEAK);
			good += e == FMLTP_OK;
		}
		assert_int_equal(good, 1);
	}
}

/* The PEM form of packet 3: the rules of its own, and one of each other. */
static void
test_dh_params_pem(void **state)
{
	static const struct {
		const char *find, *replace;
		enum fmltp_error error;
	} rows[] = {
		{ "", "", FMLTP_OK },
		{ "-----BEGIN", " -----BEGIN", FMLTP_PEM_LABEL },
		{ "BEGIN DH PARAMETERS", "BEGIN PUBLIC KEY", FMLTP_PEM_LABEL },
		{ "BEGIN DH", "BEGIN X9.42 DH", FMLTP_PEM_LABEL },
		{ "END DH PARAMETERS", "END PUBLIC KEY", FMLTP_PEM_LABEL },
		{ "MIG", "M!G", FMLTP_PEM_BODY },
		{ "MIG", "X: y\n\nMIG", FMLTP_PEM_BODY },
		{ "MIG", "\nMIG", FMLTP_PEM_BODY },
		{ "AgEC\n", "AgE\n", FMLTP_PEM_BODY },
		{ "gEC\n", "gEC=\n", FMLTP_PEM_BODY },
		{ "AgEC\n", "AgE=\n", FMLTP_DER },
		{ "AgEC\n", "Ag==\n", FMLTP_DER },
		{ "AgEC\n", "", FMLTP_PEM_BODY },
		{ "AgEC\n", "\n", FMLTP_DER },
	};
	const char *good = vector_kex[0].server_kex_init, *at;
	char text[TEXT_MAX];
	struct dh_params params;
	struct buf out;
	size_t i, n, taken;
	enum fmltp_error e;

	for (i = 0; i < COUNT_OF(rows); i++) {
		at = strstr(good, rows[i].find);
		assert_non_null(at);
		buf_init(&out, text, sizeof(text));
		buf_put(&out, good, (size_t)(at - good));
		buf_put_str(&out, rows[i].replace);
		buf_put_str(&out, at + strlen(rows[i].find));
		e = parse_params(text, out.len, &params, &taken);
		if (e != rows[i].error)
			fail_msg("row %zu: %s", i, fmltp_error_token(e));
		for (n = 0, e = FMLTP_MORE; e == FMLTP_MORE; n++)
			e = parse_params(text, n, &params, &taken);
		assert_int_equal(e, rows[i].error);
	}
}

/* SHA-256 of an encoding that was made here. */
static void
test_dh_fingerprint(void **state)
{
	uint8_t mem[1024], expected[EVP_MAX_MD_SIZE], digest[32], made[1024];
	struct form f = { 0 };
	struct buf der, b;

	buf_init(&der, mem, sizeof(mem));
	build_params(&der, &f);
	buf_init(&b, made, sizeof(made));
	dh_params_put_der(&b, &group);
	assert_int_equal(b.len, der.len);
	assert_memory_equal(made, mem, b.len);
	assert_int_equal(
	    EVP_Digest(mem, der.len, expected, NULL, EVP_sha256(), NULL), 1);
	dh_params_fingerprint(&group, digest);
	assert_memory_equal(digest, expected, sizeof(digest));
}

/* The largest packets fit what the header promises. */
static void
test_dh_largest(void **state)
{
	static struct dh_params params;
	static uint8_t y[DH_PRIME_MAX], text[DH_PEM_MAX], back[DH_PRIME_MAX];
	struct dh_params again;
	struct buf b;
	size_t taken;

	params.len = DH_PRIME_MAX;
	memset(params.p, 0xff, sizeof(params.p));
	params.p[DH_PRIME_MAX - 1] = 0xef;
	memset(y, 0xfe, sizeof(y));
	buf_init(&b, text, sizeof(text));
	dh_params_put_pem(&b, &params);
	assert_false(b.failed);
	assert_int_equal(
	    dh_params_parse_pem(text, b.len, &again, &taken), FMLTP_OK);
	assert_memory_equal(again.p, params.p, sizeof(params.p));
	buf_init(&b, text, sizeof(text));
	dh_public_put_pem(&b, &params, y);
	assert_false(b.failed);
	assert_int_equal(
	    dh_public_parse_pem(text, b.len, &params, back, &taken), FMLTP_OK);
	assert_memory_equal(back, y, sizeof(y));
	b.cap = b.len - 1;
	b.len = 0;
	dh_public_put_pem(&b, &params, y);
	assert_true(b.failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dh_sizes),
		cmocka_unit_test(test_dh_vectors),
		cmocka_unit_test(test_dh_example),
		cmocka_unit_test(test_dh_pem_ends),
		cmocka_unit_test(test_dh_pem_bad),
		cmocka_unit_test(test_dh_pem_padding),
		cmocka_unit_test(test_dh_pem_columns),
		cmocka_unit_test(test_dh_pem_long),
		cmocka_unit_test(test_dh_public_der),
		cmocka_unit_test(test_dh_public_y),
		cmocka_unit_test(test_dh_in_range),
		cmocka_unit_test(test_dh_public_changed),
		cmocka_unit_test(test_dh_other_keys),
		cmocka_unit_test(test_dh_other_exchange),
		cmocka_unit_test(test_dh_params_der),
		cmocka_unit_test(test_dh_params_sizes),
		cmocka_unit_test(test_dh_params_residue),
		cmocka_unit_test(test_dh_params_pem),
		cmocka_unit_test(test_dh_fingerprint),
		cmocka_unit_test(test_dh_largest),
	};

	return cmocka_run_group_tests_name("dhkey", tests, setup, NULL);
}
