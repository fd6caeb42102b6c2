/*
 * fmltp/fernet.c - Fernet tokens (the Fernet specification; docs/FMLTP.md
 * section 4).
 *
 * Runs in: worker, client.  Pure; no allocation.  Sees the session key and
 * plaintext of one session; both stay in the caller's memory.
 */
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/fernet.h"

#define FERNET_VERSION 0x80
#define FERNET_BLOCK   16

void
fernet_init(struct fernet *f, const uint8_t key[FERNET_KEY_LEN])
{
	crypto_hmac_init(&f->hmac, key, 16);
	crypto_aes_init(&f->aes, key + 16);
}

void
fernet_wipe(struct fernet *f)
{
	explicit_bzero(f, sizeof(*f));
}

void
fernet_seal(const struct fernet *f, uint64_t now,
    const uint8_t iv[FERNET_IV_LEN], const void *plain, size_t len,
    struct buf *out)
{
	struct crypto_hmac hmac;
	struct buf raw;
	uint8_t *body, *mac;
	size_t room, pad, body_len;

	room = out->failed ? 0 : out->cap - out->len;
	if (len > room || FERNET_TOKEN_LEN(len) > room) {
		out->failed = true;
		return;
	}
	/*
	 * The raw token is made at the end of the place that its characters
	 * will take, which base64_put allows: no second buffer.
	 */
	buf_init(&raw,
	    out->data + out->len + FERNET_TOKEN_LEN(len) - FERNET_RAW_LEN(len),
	    FERNET_RAW_LEN(len));
	pad = FERNET_BLOCK - len % FERNET_BLOCK;
	body_len = len + pad;
	buf_put_u8(&raw, FERNET_VERSION);
	buf_put_u64(&raw, now);
	buf_put(&raw, iv, FERNET_IV_LEN);
	body = raw.data + raw.len;
	buf_put(&raw, plain, len);
	while (pad-- > 0)
		buf_put_u8(&raw, (uint8_t)(body_len - len));
	crypto_aes_cbc_encrypt(&f->aes, iv, body, body, body_len);
	hmac = f->hmac;
	crypto_hmac_update(&hmac, raw.data, raw.len);
	if ((mac = buf_reserve(&raw, FERNET_MAC_LEN)) != NULL)
		crypto_hmac_peek(&hmac, mac);
	explicit_bzero(&hmac, sizeof(hmac));
	base64_put(out, BASE64_URL, raw.data, raw.len);
}

/*
 * Decrypts the `len` bytes at `body`, in place or not, and takes the padding
 * off.  Only for what has passed the MAC: the padding is then the sender's
 * own, and how it is wrong is nobody's secret.
 */
static enum fmltp_error
fernet_decrypt_body(const struct fernet *f, const uint8_t iv[FERNET_IV_LEN],
    const uint8_t *body, size_t len, uint8_t *plain, size_t *plain_len)
{
	uint8_t pad, wrong = 0;
	size_t i;

	crypto_aes_cbc_decrypt(&f->aes, iv, body, plain, len);
	pad = plain[len - 1];
	if (pad == 0 || pad > FERNET_BLOCK)
		wrong = 1;
	else
		for (i = len - pad; i < len; i++)
			wrong |= plain[i] ^ pad;
	if (wrong != 0) {
		explicit_bzero(plain, len);
		return FMLTP_TOKEN_PADDING;
	}
	*plain_len = len - pad;
	return FMLTP_OK;
}

bool
fernet_raw_len_valid(size_t len)
{
	return len >= FERNET_RAW_LEN(0) &&
	    (len - FERNET_RAW_LEN(0)) % FERNET_BLOCK == 0;
}

enum fmltp_error
fernet_open(const struct fernet *f, const uint8_t *token, size_t len,
    uint8_t *plain, size_t *plain_len, uint64_t *when,
    uint8_t mac[FERNET_MAC_LEN])
{
	struct crypto_hmac hmac;
	struct cursor c;
	struct buf raw;
	const uint8_t *iv;
	uint8_t expected[FERNET_MAC_LEN];
	uint8_t *body;
	size_t body_len;
	bool equal;
	enum fmltp_error e;

	/* The raw token is shorter than `len`: it fits the plaintext's room. */
	buf_init(&raw, plain, len);
	if (!base64_get(&raw, BASE64_URL, token, len))
		return FMLTP_TOKEN_BASE64;
	if (raw.len > 0 && raw.data[0] != FERNET_VERSION)
		return FMLTP_TOKEN_VERSION;
	if (!fernet_raw_len_valid(raw.len))
		return FMLTP_TOKEN_SHORT;
	body_len = raw.len - FERNET_HEAD_LEN - FERNET_MAC_LEN;
	body = raw.data + FERNET_HEAD_LEN;

	hmac = f->hmac;
	crypto_hmac_update(&hmac, raw.data, raw.len - FERNET_MAC_LEN);
	crypto_hmac_peek(&hmac, expected);
	explicit_bzero(&hmac, sizeof(hmac));
	equal = crypto_equal(expected, body + body_len, FERNET_MAC_LEN);
	explicit_bzero(expected, sizeof(expected));
	if (!equal)
		return FMLTP_TOKEN_MAC;

	cursor_init(&c, raw.data + 1, FERNET_HEAD_LEN - 1);
	*when = cursor_u64(&c);
	iv = cursor_take(&c, FERNET_IV_LEN);
	memcpy(mac, body + body_len, FERNET_MAC_LEN);
	e = fernet_decrypt_body(f, iv, body, body_len, body, plain_len);
	if (e == FMLTP_OK) {
		memmove(plain, body, *plain_len);
		explicit_bzero(plain + *plain_len, raw.len - *plain_len);
	}
	return e;
}

enum fmltp_error
fernet_decrypt_checked(const struct fernet *f, const uint8_t *raw, size_t len,
    uint8_t *plain, size_t *plain_len)
{
	if (!fernet_raw_len_valid(len))
		return FMLTP_TOKEN_PADDING;
	return fernet_decrypt_body(f, raw + 1 + 8, raw + FERNET_HEAD_LEN,
	    len - FERNET_HEAD_LEN - FERNET_MAC_LEN, plain, plain_len);
}
