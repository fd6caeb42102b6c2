/*
 * tests/fuzz/fuzz_fernet.c - a whole token: the first byte says whether the
 * others are its characters, its raw bytes, or its raw bytes to which a MAC
 * that matches is added.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/fernet.c
 */
#include <stdlib.h>
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/fernet.h"
#include "tests/vectors.h"

#define RAW_MAX	  4096
#define TOKEN_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is opened is, character by character, what would be sealed. */
static enum fmltp_error
check(const struct fernet *f, const uint8_t *token, size_t len)
{
	uint8_t mac[FERNET_MAC_LEN], raw[TOKEN_MAX], text[TOKEN_MAX];
	uint8_t *plain = malloc(len + (len == 0));
	struct buf b;
	size_t plain_len;
	uint64_t when;
	enum fmltp_error e;

	if (plain == NULL)
		abort();
	e = fernet_open(f, token, len, plain, &plain_len, &when, mac);
	if (e == FMLTP_OK) {
		buf_init(&b, raw, sizeof(raw));
		if (!base64_get(&b, BASE64_URL, token, len) ||
		    memcmp(mac, raw + b.len - sizeof(mac), sizeof(mac)) != 0)
			abort();
		buf_init(&b, text, sizeof(text));
		fernet_seal(f, when, raw + 9, plain, plain_len, &b);
		if (b.failed || b.len != len || memcmp(text, token, len) != 0)
			abort();
		/* One byte of room less is too little. */
		buf_init(&b, text, len - 1);
		fernet_seal(f, when, raw + 9, plain, plain_len, &b);
		if (!b.failed || b.len != 0)
			abort();
	}
	free(plain);
	return e;
}

/* Without a look at the MAC, as the stream has had it. */
static void
check_checked(const struct fernet *f, const uint8_t *raw, size_t len,
    enum fmltp_error opened)
{
	uint8_t *plain = malloc(len + (len == 0));
	size_t plain_len = 0;
	enum fmltp_error e;

	if (plain == NULL)
		abort();
	e = fernet_decrypt_checked(f, raw, len, plain, &plain_len);
	if ((opened == FMLTP_OK && e != FMLTP_OK) ||
	    (e == FMLTP_OK && plain_len >= len))
		abort();
	free(plain);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct crypto_hmac h;
	struct fernet f;
	uint8_t raw[RAW_MAX + FERNET_MAC_LEN], text[TOKEN_MAX];
	struct buf b;
	size_t len;
	enum fmltp_error e;

	if (size == 0 || size > RAW_MAX)
		return 0;
	fernet_init(&f, vector_kex[0].key);
	if (data[0] % 3 == 0) {
		check(&f, data + 1, size - 1);
		return 0;
	}
	len = size - 1;
	memcpy(raw, data + 1, len);
	if (data[0] % 3 == 2) {
		h = f.hmac;
		crypto_hmac_update(&h, raw, len);
		crypto_hmac_peek(&h, raw + len);
		len += FERNET_MAC_LEN;
	}
	buf_init(&b, text, sizeof(text));
	base64_put(&b, BASE64_URL, raw, len);
	e = check(&f, text, b.len);
	check_checked(&f, raw, len, e);
	if (e == FMLTP_TOKEN_BASE64 ||
	    (data[0] % 3 == 2 && e == FMLTP_TOKEN_MAC))
		abort();
	fernet_wipe(&f);
	return 0;
}
