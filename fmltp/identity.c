/*
 * fmltp/identity.c - who the server is: transcript, answer, fingerprint, and
 * the form of the key's file.
 *
 * Runs in: worker, keys, client; the master and flexmusicctl for the
 * fingerprint.  The seed passes through here in keys alone.
 */
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/crypto.h"
#include "fmltp/identity.h"

#define IDENTITY_DER_LEN  48
#define IDENTITY_PEM_BODY (IDENTITY_DER_LEN / 3 * 4)

static const char identity_domain[] = "FmLTP/1.0 identity"; /* and its NUL */
static const char identity_answer[] = "200 ed25519 ";
static const char identity_begin[] = "-----BEGIN PRIVATE KEY-----";
static const char identity_end[] = "-----END PRIVATE KEY-----";
/* RFC 8410 section 7: version 0, id-Ed25519, the seed in two OCTET STRINGs. */
static const uint8_t identity_der[IDENTITY_DER_LEN - IDENTITY_SEED_LEN] = {
	0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
	0x04, 0x22, 0x04, 0x20
};

static void
identity_put_counted(struct buf *b, const void *bytes, size_t len)
{
	buf_put_u16(b, (uint16_t)len);
	buf_put(b, bytes, len);
}

static void
identity_put_line(struct buf *b, const struct version_line *v)
{
	char text[VERSION_LINE_MAX];
	struct buf line;

	buf_init(&line, text, sizeof(text));
	version_put(&line, v);
	if (line.failed)
		b->failed = true;
	else
		identity_put_counted(b, line.data, line.len);
}

void
identity_put_transcript(struct buf *b, const struct version_line *server,
    const struct version_line *client, const struct dh_params *params,
    const uint8_t *client_y, const uint8_t *server_y)
{
	buf_put(b, identity_domain, sizeof(identity_domain));
	identity_put_line(b, server);
	identity_put_line(b, client);
	identity_put_counted(b, params->p, params->len);
	identity_put_counted(b, client_y, params->len);
	identity_put_counted(b, server_y, params->len);
}

/* base64 without the padding that ends it. */
static void
identity_put_unpadded(
    struct buf *b, enum base64_alphabet a, const uint8_t *in, size_t len)
{
	base64_put(b, a, in, len);
	while (!b->failed && b->len > 0 && b->data[b->len - 1] == '=')
		b->len--;
}

/* Of at most IDENTITY_SIGNATURE_LEN bytes. */
static bool
identity_get_unpadded(
    const uint8_t *in, size_t len, uint8_t *out, size_t out_len)
{
	uint8_t padded[IDENTITY_SIGNATURE_LEN / 3 * 4 + 8];
	struct buf b;
	size_t whole = (out_len + 2) / 3 * 4;

	if (len != (out_len * 4 + 2) / 3 || whole > sizeof(padded))
		return false;
	memcpy(padded, in, len);
	memset(padded + len, '=', whole - len);
	buf_init(&b, out, out_len);
	return base64_get(&b, BASE64_URL, padded, whole) && !b.failed &&
	    b.len == out_len;
}

void
identity_put_key(struct buf *b, const uint8_t public[IDENTITY_PUBLIC_LEN])
{
	identity_put_unpadded(b, BASE64_URL, public, IDENTITY_PUBLIC_LEN);
}

bool
identity_parse_key(
    const uint8_t *in, size_t len, uint8_t public[IDENTITY_PUBLIC_LEN])
{
	return identity_get_unpadded(in, len, public, IDENTITY_PUBLIC_LEN);
}

void
identity_put_answer(struct buf *b, const uint8_t public[IDENTITY_PUBLIC_LEN],
    const uint8_t signature[IDENTITY_SIGNATURE_LEN])
{
	buf_put_str(b, identity_answer);
	identity_put_key(b, public);
	buf_put_str(b, " ");
	identity_put_unpadded(b, BASE64_URL, signature, IDENTITY_SIGNATURE_LEN);
	buf_put_str(b, "\r\n");
}

bool
identity_parse_answer(const uint8_t *in, size_t len,
    uint8_t public[IDENTITY_PUBLIC_LEN],
    uint8_t signature[IDENTITY_SIGNATURE_LEN])
{
	const size_t signature_len = (IDENTITY_SIGNATURE_LEN * 4 + 2) / 3;
	const uint8_t *key, *sig;
	struct cursor c;

	cursor_init(&c, in, len);
	if (!cursor_match(&c, identity_answer, strlen(identity_answer)) ||
	    (key = cursor_take(&c, IDENTITY_KEY_TEXT_LEN)) == NULL ||
	    !cursor_match(&c, " ", 1) ||
	    (sig = cursor_take(&c, signature_len)) == NULL ||
	    !cursor_match(&c, "\r\n", 2) || c.left != 0)
		return false;
	return identity_parse_key(key, IDENTITY_KEY_TEXT_LEN, public) &&
	    identity_get_unpadded(
		sig, signature_len, signature, IDENTITY_SIGNATURE_LEN);
}

void
identity_fingerprint(
    const uint8_t public[IDENTITY_PUBLIC_LEN], char text[IDENTITY_TEXT_MAX])
{
	uint8_t digest[CRYPTO_SHA256_LEN];
	struct buf b;

	crypto_sha256(public, IDENTITY_PUBLIC_LEN, digest);
	buf_init(&b, text, IDENTITY_TEXT_MAX);
	buf_put_str(&b, "SHA256:");
	identity_put_unpadded(&b, BASE64_STANDARD, digest, sizeof(digest));
	text[b.len] = '\0';
}

void
identity_put_pem(struct buf *b, const uint8_t seed[IDENTITY_SEED_LEN])
{
	uint8_t der[IDENTITY_DER_LEN];

	memcpy(der, identity_der, sizeof(identity_der));
	memcpy(der + sizeof(identity_der), seed, IDENTITY_SEED_LEN);
	buf_put_str(b, identity_begin);
	buf_put_str(b, "\n");
	base64_put(b, BASE64_STANDARD, der, sizeof(der));
	buf_put_str(b, "\n");
	buf_put_str(b, identity_end);
	buf_put_str(b, "\n");
	explicit_bzero(der, sizeof(der));
}

/* An LF or CR LF. */
static bool
identity_take_end(struct cursor *c)
{
	return cursor_match(c, "\n", 1) || cursor_match(c, "\r\n", 2);
}

bool
identity_parse_pem(
    const uint8_t *in, size_t len, uint8_t seed[IDENTITY_SEED_LEN])
{
	uint8_t der[IDENTITY_DER_LEN];
	const uint8_t *body;
	struct cursor c;
	struct buf b;
	bool right;

	cursor_init(&c, in, len);
	if (!cursor_match(&c, identity_begin, strlen(identity_begin)) ||
	    !identity_take_end(&c) ||
	    (body = cursor_take(&c, IDENTITY_PEM_BODY)) == NULL ||
	    !identity_take_end(&c) ||
	    !cursor_match(&c, identity_end, strlen(identity_end)) ||
	    (c.left != 0 && (!identity_take_end(&c) || c.left != 0)))
		return false;
	buf_init(&b, der, sizeof(der));
	right = base64_get(&b, BASE64_STANDARD, body, IDENTITY_PEM_BODY) &&
	    !b.failed && b.len == sizeof(der) &&
	    memcmp(der, identity_der, sizeof(identity_der)) == 0;
	if (right)
		memcpy(seed, der + sizeof(identity_der), IDENTITY_SEED_LEN);
	explicit_bzero(der, sizeof(der));
	return right;
}
