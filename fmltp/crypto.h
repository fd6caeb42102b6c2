/*
 * fmltp/crypto.h - the three primitives that a session needs, from OpenSSL,
 * in a form that needs no allocation and few pages: a worker is forked for
 * each connection, and each page it touches costs as much as hashing 10 KB.
 *
 * Runs in: worker, client, keys (tests compare all with OpenSSL's EVP).
 */
#ifndef FMLTP_CRYPTO_H
#define FMLTP_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/aes.h>
#include <openssl/sha.h>

#define CRYPTO_SHA256_LEN 32

/* HMAC-SHA256 (RFC 2104, FIPS 198-1): a running hash that can be copied. */
struct crypto_hmac {
	SHA256_CTX inner;
	SHA256_CTX outer;
};

/* AES-128, both directions. */
struct crypto_aes {
	AES_KEY encrypt;
	AES_KEY decrypt;
};

/* Keys `h` with `len` bytes (above 64, their hash); nothing hashed yet. */
void crypto_hmac_init(struct crypto_hmac *h, const uint8_t *key, size_t len);
void crypto_hmac_update(struct crypto_hmac *h, const void *in, size_t len);
/* The MAC of all that was hashed; `h` itself stays as it is, to go on. */
void
crypto_hmac_peek(const struct crypto_hmac *h, uint8_t mac[CRYPTO_SHA256_LEN]);
/* Keys `a` with 16 bytes. */
void crypto_aes_init(struct crypto_aes *a, const uint8_t key[16]);
/* CBC over `len` bytes, a multiple of 16, in place or not. */
void crypto_aes_cbc_encrypt(const struct crypto_aes *a, const uint8_t iv[16],
    const uint8_t *in, uint8_t *out, size_t len);
void crypto_aes_cbc_decrypt(const struct crypto_aes *a, const uint8_t iv[16],
    const uint8_t *in, uint8_t *out, size_t len);
/* SHA-256 (FIPS 180-4) of `len` bytes. */
void
crypto_sha256(const void *in, size_t len, uint8_t digest[CRYPTO_SHA256_LEN]);
/* True if equal, in a time that depends on `len` alone. */
bool crypto_equal(const void *a, const void *b, size_t len);

#endif
