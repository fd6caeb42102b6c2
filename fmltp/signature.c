/*
 * fmltp/signature.c - Ed25519 (RFC 8032), by OpenSSL.
 *
 * Runs in: keys, client; never in a worker.  The private key is in OpenSSL's
 * own memory, which it clears.
 */
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "fmltp/signature.h"

struct signature_key {
	EVP_PKEY *key;
	uint8_t public[IDENTITY_PUBLIC_LEN];
};

bool
signature_new_seed(uint8_t seed[IDENTITY_SEED_LEN])
{
	return RAND_priv_bytes(seed, IDENTITY_SEED_LEN) == 1;
}

struct signature_key *
signature_key_new(const uint8_t seed[IDENTITY_SEED_LEN])
{
	struct signature_key *k = calloc(1, sizeof(*k));
	size_t len = sizeof(k->public);

	if (k == NULL)
		return NULL;
	k->key = EVP_PKEY_new_raw_private_key(
	    EVP_PKEY_ED25519, NULL, seed, IDENTITY_SEED_LEN);
	if (k->key == NULL ||
	    EVP_PKEY_get_raw_public_key(k->key, k->public, &len) != 1) {
		signature_key_free(k);
		return NULL;
	}
	return k;
}

void
signature_key_free(struct signature_key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

void
signature_key_public(
    const struct signature_key *k, uint8_t public[IDENTITY_PUBLIC_LEN])
{
	size_t i;

	for (i = 0; i < IDENTITY_PUBLIC_LEN; i++)
	public[i] = k->public[i];
}

bool
signature_make(const struct signature_key *k, const uint8_t *in, size_t len,
    uint8_t signature[IDENTITY_SIGNATURE_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = IDENTITY_SIGNATURE_LEN;
	bool made;

	made = ctx != NULL &&
	    EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
	    EVP_DigestSign(ctx, signature, &n, in, len) == 1 &&
	    n == IDENTITY_SIGNATURE_LEN;
	EVP_MD_CTX_free(ctx);
	return made;
}

bool
signature_check(const uint8_t public[IDENTITY_PUBLIC_LEN], const uint8_t *in,
    size_t len, const uint8_t signature[IDENTITY_SIGNATURE_LEN])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(
	    EVP_PKEY_ED25519, NULL, public, IDENTITY_PUBLIC_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool right;

	right = key != NULL && ctx != NULL &&
	    EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, signature, IDENTITY_SIGNATURE_LEN, in, len) ==
		1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return right;
}
