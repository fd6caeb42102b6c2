/*
 * fmltp/dhkey.c - packets 3, 4 and 5: DH parameters and public keys in PEM
 * (docs/FMLTP.md section 3).
 *
 * Runs in: worker, paramgen, client.  Pure functions of bytes; no
 * allocation.  Must never see: a private key or a shared secret.
 */
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/crypto.h"
#include "fmltp/dhkey.h"

#define DER_INTEGER    0x02
#define DER_BIT_STRING 0x03
#define DER_OID	       0x06
#define DER_SEQUENCE   0x30

#define PEM_COLUMNS 64

/* dhKeyAgreement, 1.2.840.113549.1.3.1 (PKCS#3). */
static const uint8_t dh_oid[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01,
	0x03, 0x01 };
static const uint8_t dh_base[] = { 2 };

static const struct {
	unsigned bits;
	unsigned exponent;
} dh_sizes[] = {
	{ 1024, 160 },
	{ 2048, 224 },
	{ 3072, 256 },
	{ 4096, 304 },
	{ 6144, 352 },
	{ 8192, 400 },
};

/* A number in DER: without leading zeros, empty for 0. */
struct dh_number {
	const uint8_t *bytes;
	size_t len;
};

unsigned
dh_exponent_bits(unsigned bits)
{
	size_t i;

	for (i = 0; i < sizeof(dh_sizes) / sizeof(dh_sizes[0]); i++)
		if (dh_sizes[i].bits == bits)
			return dh_sizes[i].exponent;
	return 0;
}

bool
dh_bits_valid(unsigned bits)
{
	return dh_exponent_bits(bits) != 0;
}

/*
 * DER, written.
 */

static size_t
der_header_len(size_t len)
{
	return len < 0x80 ? 2 : len < 0x100 ? 3 : 4;
}

/* Appends tag and length, for contents below 64 KiB. */
static void
der_put_header(struct buf *b, uint8_t tag, size_t len)
{
	buf_put_u8(b, tag);
	if (len < 0x80) {
		buf_put_u8(b, (uint8_t)len);
	} else if (len < 0x100) {
		buf_put_u8(b, 0x81);
		buf_put_u8(b, (uint8_t)len);
	} else {
		buf_put_u8(b, 0x82);
		buf_put_u16(b, (uint16_t)len);
	}
}

static struct dh_number
dh_number_from(const uint8_t *bytes, size_t len)
{
	struct dh_number n;

	while (len > 0 && *bytes == 0) {
		bytes++;
		len--;
	}
	n.bytes = bytes;
	n.len = len;
	return n;
}

static bool
dh_number_equal(struct dh_number a, struct dh_number b)
{
	return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

/* True if an INTEGER of the number needs a zero byte to be positive. */
static bool
dh_number_is_led(struct dh_number n)
{
	return n.len == 0 || n.bytes[0] >= 0x80;
}

static size_t
der_integer_len(struct dh_number n)
{
	size_t len = n.len + dh_number_is_led(n);

	return der_header_len(len) + len;
}

static void
der_put_integer(struct buf *b, struct dh_number n)
{
	der_put_header(b, DER_INTEGER, n.len + dh_number_is_led(n));
	if (dh_number_is_led(n))
		buf_put_u8(b, 0);
	buf_put(b, n.bytes, n.len);
}

static size_t
dh_params_der_len(const struct dh_params *params)
{
	size_t len;

	len = der_integer_len(dh_number_from(params->p, params->len)) +
	    der_integer_len(dh_number_from(dh_base, sizeof(dh_base)));
	return der_header_len(len) + len;
}

void
dh_params_put_der(struct buf *b, const struct dh_params *params)
{
	struct dh_number p = dh_number_from(params->p, params->len);
	struct dh_number g = dh_number_from(dh_base, sizeof(dh_base));

	der_put_header(
	    b, DER_SEQUENCE, der_integer_len(p) + der_integer_len(g));
	der_put_integer(b, p);
	der_put_integer(b, g);
}

static void
dh_public_put_der(
    struct buf *b, const struct dh_params *params, const uint8_t *y)
{
	struct dh_number n = dh_number_from(y, params->len);
	size_t algorithm, key;

	algorithm = 2 + sizeof(dh_oid) + dh_params_der_len(params);
	key = 1 + der_integer_len(n);
	der_put_header(b, DER_SEQUENCE,
	    der_header_len(algorithm) + algorithm + der_header_len(key) + key);
	der_put_header(b, DER_SEQUENCE, algorithm);
	der_put_header(b, DER_OID, sizeof(dh_oid));
	buf_put(b, dh_oid, sizeof(dh_oid));
	dh_params_put_der(b, params);
	der_put_header(b, DER_BIT_STRING, key);
	buf_put_u8(b, 0);
	der_put_integer(b, n);
}

/*
 * DER, read: of each value there is one encoding, and only that is taken.
 */

/* Takes the header of the next value, whatever its tag, and its contents. */
static bool
der_take_any(struct cursor *c, uint8_t *tag, struct cursor *contents)
{
	const uint8_t *p;
	size_t len;

	*tag = cursor_u8(c);
	len = cursor_u8(c);
	if (len == 0x81) {
		if ((len = cursor_u8(c)) < 0x80)
			return false;
	} else if (len == 0x82) {
		if ((len = cursor_u16(c)) < 0x100)
			return false;
	} else if (len >= 0x80)
		return false;
	if ((p = cursor_take(c, len)) == NULL)
		return false;
	cursor_init(contents, p, len);
	/* No tag here has a number above 30. */
	return (*tag & 0x1f) != 0x1f;
}

static bool
der_take(struct cursor *c, uint8_t tag, struct cursor *contents)
{
	uint8_t t;

	return der_take_any(c, &t, contents) && t == tag;
}

/* Takes an INTEGER that is not negative. */
static bool
der_take_integer(struct cursor *c, struct dh_number *out)
{
	struct cursor v;

	if (!der_take(c, DER_INTEGER, &v) || v.left == 0 || v.p[0] >= 0x80)
		return false;
	if (v.p[0] == 0 && v.left > 1 && v.p[1] < 0x80)
		return false;
	*out = dh_number_from(v.p, v.left);
	return true;
}

/* The remainder of the number by 24. */
static unsigned
dh_number_mod24(struct dh_number n)
{
	unsigned r = 0;
	size_t i;

	for (i = 0; i < n.len; i++)
		r = (r * 256 + n.bytes[i]) % 24;
	return r;
}

/* True for a privateValueLength that a key with a `bits` bit p may have. */
static bool
dh_private_length_valid(struct dh_number n, size_t bits)
{
	size_t v = 0, i;

	if (n.len > 2)
		return false;
	for (i = 0; i < n.len; i++)
		v = v << 8 | n.bytes[i];
	return v >= 1 && v <= bits;
}

/*
 * PEM.
 */

static void
pem_put(struct buf *b, const char *label, const uint8_t *der, size_t len)
{
	const size_t step = PEM_COLUMNS / 4 * 3;
	size_t n;

	buf_put_str(b, "-----BEGIN ");
	buf_put_str(b, label);
	buf_put_str(b, "-----\n");
	for (; len > 0; der += n, len -= n) {
		n = len < step ? len : step;
		base64_put(b, BASE64_STANDARD, der, n);
		buf_put_u8(b, '\n');
	}
	buf_put_str(b, "-----END ");
	buf_put_str(b, label);
	buf_put_str(b, "-----\n");
}

/* Takes a literal text that may not have come whole yet. */
static enum fmltp_error
pem_take_text(struct cursor *c, const char *text)
{
	size_t len = strlen(text);

	if (cursor_match(c, text, len))
		return FMLTP_OK;
	if (c->left == 0 || (c->left < len && memcmp(c->p, text, c->left) == 0))
		return FMLTP_MORE;
	return FMLTP_PEM_LABEL;
}

/* Takes "-----<word> <label>-----". */
static enum fmltp_error
pem_take_border(struct cursor *c, const char *word, const char *label)
{
	enum fmltp_error e;

	if ((e = pem_take_text(c, word)) == FMLTP_OK &&
	    (e = pem_take_text(c, label)) == FMLTP_OK)
		e = pem_take_text(c, "-----");
	return e;
}

/* Takes LF or CR LF. */
static enum fmltp_error
pem_take_end(struct cursor *c)
{
	if (cursor_match(c, "\n", 1) || cursor_match(c, "\r\n", 2))
		return FMLTP_OK;
	if (c->left == 0 || (c->left == 1 && *c->p == '\r'))
		return FMLTP_MORE;
	return FMLTP_PEM_BODY;
}

/*
 * Takes a line of the body and appends what it stands for to `der`;
 * `*last` where only the END line may follow.
 */
static enum fmltp_error
pem_take_line(struct cursor *c, struct buf *der, bool *last)
{
	const uint8_t *line = c->p;
	size_t n;
	enum fmltp_error e;

	for (n = 0; n < c->left && n < PEM_COLUMNS; n++)
		if (line[n] != '=' &&
		    base64_value(BASE64_STANDARD, line[n]) < 0)
			break;
	cursor_take(c, n);
	if ((e = pem_take_end(c)) != FMLTP_OK)
		return e;
	*last = n < PEM_COLUMNS || line[n - 1] == '=';
	if (n == 0 || n % 4 != 0)
		return FMLTP_PEM_BODY;
	/* More than fits is no key of ours: what it is doesn't matter. */
	if (!base64_get(der, BASE64_STANDARD, line, n) && !der->failed)
		return FMLTP_PEM_BODY;
	return FMLTP_OK;
}

/*
 * Decodes the block at the start of the `len` bytes received so far into
 * `der`, whose `failed` is set where there is too much of it.
 */
static enum fmltp_error
pem_parse(const uint8_t *in, size_t len, const char *label, struct buf *der,
    size_t *taken)
{
	struct cursor c;
	bool last = false;
	enum fmltp_error e;

	cursor_init(&c, in, len < DH_PEM_MAX ? len : DH_PEM_MAX);
	if ((e = pem_take_border(&c, "-----BEGIN ", label)) == FMLTP_OK)
		e = pem_take_end(&c);
	while (e == FMLTP_OK && !last && (c.left == 0 || *c.p != '-'))
		e = pem_take_line(&c, der, &last);
	if (e == FMLTP_OK && c.left > 0 && *c.p != '-')
		e = FMLTP_PEM_BODY;
	if (e == FMLTP_OK)
		e = pem_take_border(&c, "-----END ", label);
	if (e == FMLTP_MORE && len >= DH_PEM_MAX)
		e = FMLTP_PEM_LONG;
	if (e != FMLTP_OK)
		return e;
	if (!cursor_match(&c, "\n", 1))
		cursor_match(&c, "\r\n", 2);
	*taken = (size_t)(c.p - in);
	return FMLTP_OK;
}

/*
 * Packet 3.
 */

void
dh_params_put_pem(struct buf *b, const struct dh_params *params)
{
	uint8_t mem[DH_DER_MAX];
	struct buf der;

	buf_init(&der, mem, sizeof(mem));
	dh_params_put_der(&der, params);
	pem_put(b, DH_PARAMS_LABEL, der.data, der.len);
}

/* Takes DHParameter apart, up to the base. */
static bool
dh_params_take(struct cursor *c, struct dh_number *p, struct dh_number *g)
{
	return der_take_integer(c, p) && der_take_integer(c, g);
}

enum fmltp_error
dh_params_parse_pem(
    const uint8_t *in, size_t len, struct dh_params *out, size_t *taken)
{
	uint8_t mem[DH_DER_MAX];
	struct buf der;
	struct cursor all, c;
	struct dh_number p, g;
	enum fmltp_error e;

	buf_init(&der, mem, sizeof(mem));
	e = pem_parse(in, len, DH_PARAMS_LABEL, &der, taken);
	if (e != FMLTP_OK)
		return e;
	cursor_init(&all, der.data, der.len);
	if (der.failed || !der_take(&all, DER_SEQUENCE, &c) || all.left != 0 ||
	    !dh_params_take(&c, &p, &g) || c.left != 0)
		return FMLTP_DER;
	if (p.len > DH_PRIME_MAX || !dh_bits_valid((unsigned)p.len * 8) ||
	    p.bytes[0] < 0x80)
		return FMLTP_DH_SIZE;
	if (dh_number_mod24(p) != 23 ||
	    !dh_number_equal(g, dh_number_from(dh_base, sizeof(dh_base))))
		return FMLTP_DH_WEAK;
	out->len = (uint16_t)p.len;
	memcpy(out->p, p.bytes, p.len);
	return FMLTP_OK;
}

void
dh_params_fingerprint(const struct dh_params *params, uint8_t digest[32])
{
	uint8_t mem[DH_DER_MAX];
	struct buf der;

	buf_init(&der, mem, sizeof(mem));
	dh_params_put_der(&der, params);
	crypto_sha256(der.data, der.len, digest);
}

/*
 * Packets 4 and 5.
 */

void
dh_public_put_pem(
    struct buf *b, const struct dh_params *params, const uint8_t *y)
{
	uint8_t mem[DH_DER_MAX];
	struct buf der;

	buf_init(&der, mem, sizeof(mem));
	dh_public_put_der(&der, params, y);
	pem_put(b, DH_PUBLIC_LABEL, der.data, der.len);
}

/*
 * Checks the parameters of a dhKeyAgreement key: FMLTP_OK where they are
 * ours.
 */
static enum fmltp_error
dh_public_check_params(struct cursor *c, const struct dh_params *params)
{
	struct dh_number p, g, length;

	if (!dh_params_take(c, &p, &g))
		return FMLTP_DER;
	if (c->left != 0 &&
	    (!der_take_integer(c, &length) || c->left != 0 ||
		!dh_private_length_valid(length, p.len * 8)))
		return FMLTP_DER;
	if (!dh_number_equal(p, dh_number_from(params->p, params->len)) ||
	    !dh_number_equal(g, dh_number_from(dh_base, sizeof(dh_base))))
		return FMLTP_DH_GROUP;
	return FMLTP_OK;
}

/* Takes a SubjectPublicKeyInfo for `params` apart: the public value. */
static enum fmltp_error
dh_public_parse_der(const uint8_t *in, size_t len,
    const struct dh_params *params, struct dh_number *y)
{
	struct cursor all, info, algorithm, oid, group, key;
	uint8_t tag = 0;
	bool ours;
	enum fmltp_error e;

	cursor_init(&all, in, len);
	if (!der_take(&all, DER_SEQUENCE, &info) || all.left != 0 ||
	    !der_take(&info, DER_SEQUENCE, &algorithm) ||
	    !der_take(&info, DER_BIT_STRING, &key) || info.left != 0 ||
	    !der_take(&algorithm, DER_OID, &oid) || oid.left == 0)
		return FMLTP_DER;
	if (cursor_u8(&key) != 0 || key.failed)
		return FMLTP_DER;
	ours = oid.left == sizeof(dh_oid) &&
	    cursor_match(&oid, dh_oid, sizeof(dh_oid));
	if (algorithm.left == 0)
		return ours ? FMLTP_DER : FMLTP_DH_GROUP;
	if (!der_take_any(&algorithm, &tag, &group) || algorithm.left != 0)
		return FMLTP_DER;
	if (!ours)
		return FMLTP_DH_GROUP;
	if (tag != DER_SEQUENCE)
		return FMLTP_DER;
	e = dh_public_check_params(&group, params);
	if (e == FMLTP_DER)
		return e;
	if (!der_take_integer(&key, y) || key.left != 0)
		return FMLTP_DER;
	return e;
}

enum fmltp_error
dh_public_parse_pem(const uint8_t *in, size_t len,
    const struct dh_params *params, uint8_t *y, size_t *taken)
{
	uint8_t mem[DH_DER_MAX];
	struct buf der;
	struct dh_number n;
	enum fmltp_error e;

	buf_init(&der, mem, sizeof(mem));
	e = pem_parse(in, len, DH_PUBLIC_LABEL, &der, taken);
	if (e != FMLTP_OK)
		return e;
	if (der.failed)
		return FMLTP_DER;
	e = dh_public_parse_der(der.data, der.len, params, &n);
	if (e != FMLTP_OK)
		return e;
	if (n.len > params->len)
		return FMLTP_DH_RANGE;
	memset(y, 0, params->len - n.len);
	memcpy(y + params->len - n.len, n.bytes, n.len);
	return dh_public_in_range(params, y) ? FMLTP_OK : FMLTP_DH_RANGE;
}

bool
dh_public_in_range(const struct dh_params *params, const uint8_t *y)
{
	struct dh_number n = dh_number_from(y, params->len);
	size_t last = params->len - 1u;

	if (n.len == 0 || (n.len == 1 && n.bytes[0] == 1))
		return false;
	if (memcmp(y, params->p, params->len) >= 0)
		return false;
	/* p is odd: p-1 differs from it in the lowest bit alone. */
	return (y[last] ^ params->p[last]) != 1 ||
	    memcmp(y, params->p, last) != 0;
}
