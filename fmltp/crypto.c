/*
 * fmltp/crypto.c - SHA-256, HMAC-SHA256 and AES-128-CBC, from OpenSSL's
 * low-level functions: they work on memory of the caller's and need neither
 * an allocation nor a provider, so a worker that was just forked can use
 * them at the price of a few pages.
 *
 * Runs in: worker, client, keys.  Pure.  Sees session keys: every copy made
 * here is wiped here.
 */
#include <string.h>

#include <openssl/crypto.h>

#include "fmltp/crypto.h"

#define HMAC_BLOCK 64

void
crypto_hmac_init(struct crypto_hmac *h, const uint8_t *key, size_t len)
{
	uint8_t block[HMAC_BLOCK] = { 0 };
	size_t i;

	if (len > sizeof(block))
		crypto_sha256(key, len, block);
	else if (len > 0)
		memcpy(block, key, len);
	for (i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	SHA256_Init(&h->inner);
	SHA256_Update(&h->inner, block, sizeof(block));
	for (i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&h->outer);
	SHA256_Update(&h->outer, block, sizeof(block));
	explicit_bzero(block, sizeof(block));
}

void
crypto_hmac_update(struct crypto_hmac *h, const void *in, size_t len)
{
	SHA256_Update(&h->inner, in, len);
}

void
crypto_hmac_peek(const struct crypto_hmac *h, uint8_t mac[CRYPTO_SHA256_LEN])
{
	struct crypto_hmac copy = *h;
	uint8_t digest[CRYPTO_SHA256_LEN];

	SHA256_Final(digest, &copy.inner);
	SHA256_Update(&copy.outer, digest, sizeof(digest));
	SHA256_Final(mac, &copy.outer);
	explicit_bzero(&copy, sizeof(copy));
	explicit_bzero(digest, sizeof(digest));
}

void
crypto_aes_init(struct crypto_aes *a, const uint8_t key[16])
{
	AES_set_encrypt_key(key, 128, &a->encrypt);
	AES_set_decrypt_key(key, 128, &a->decrypt);
}

void
crypto_aes_cbc_encrypt(const struct crypto_aes *a, const uint8_t iv[16],
    const uint8_t *in, uint8_t *out, size_t len)
{
	uint8_t chain[AES_BLOCK_SIZE];

	memcpy(chain, iv, sizeof(chain));
	AES_cbc_encrypt(in, out, len, &a->encrypt, chain, AES_ENCRYPT);
}

void
crypto_aes_cbc_decrypt(const struct crypto_aes *a, const uint8_t iv[16],
    const uint8_t *in, uint8_t *out, size_t len)
{
	uint8_t chain[AES_BLOCK_SIZE];

	memcpy(chain, iv, sizeof(chain));
	AES_cbc_encrypt(in, out, len, &a->decrypt, chain, AES_DECRYPT);
}

void
crypto_sha256(const void *in, size_t len, uint8_t digest[CRYPTO_SHA256_LEN])
{
	SHA256_CTX ctx;

	SHA256_Init(&ctx);
	SHA256_Update(&ctx, in, len);
	SHA256_Final(digest, &ctx);
	explicit_bzero(&ctx, sizeof(ctx));
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
