/*
 * fmltp/kex.c - the arithmetic of the exchange (docs/FMLTP.md section 3).
 *
 * Runs in: keys (as _flexkeys: no network, no files), paramgen (the tests of
 * p alone), client; never in a worker.  Sees private exponents and shared
 * secrets: they live in a struct kex_pair, in bignums that are freed
 * cleared, or in one array that is wiped, and nowhere else.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "fmltp/kex.h"

struct kex_group {
	struct dh_params params;
	BIGNUM *p;
	BIGNUM *base;
	BIGNUM *exponents; /* 2^N - 2: how many exponents there are */
	BN_MONT_CTX *mont;
	EVP_KDF *hkdf;
};

struct kex_pair {
	struct kex_group *group;
	BIGNUM *x;
	uint8_t y[]; /* params.len bytes */
};

struct kex_group *
kex_group_new(const struct dh_params *params)
{
	struct kex_group *g;
	BN_CTX *ctx;
	unsigned bits;
	bool ok = false;

	if ((bits = dh_exponent_bits(params->len * 8u)) == 0)
		return NULL;
	if ((g = calloc(1, sizeof(*g))) == NULL)
		return NULL;
	g->params = *params;
	ctx = BN_CTX_new();
	g->p = BN_bin2bn(params->p, params->len, NULL);
	g->base = BN_new();
	g->exponents = BN_new();
	g->mont = BN_MONT_CTX_new();
	g->hkdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	if (ctx != NULL && g->p != NULL && g->base != NULL &&
	    g->exponents != NULL && g->mont != NULL && g->hkdf != NULL)
		ok = BN_is_odd(g->p) && BN_set_word(g->base, 2) &&
		    BN_set_bit(g->exponents, (int)bits) &&
		    BN_sub_word(g->exponents, 2) &&
		    BN_MONT_CTX_set(g->mont, g->p, ctx);
	BN_CTX_free(ctx);
	if (!ok) {
		kex_group_free(g);
		return NULL;
	}
	return g;
}

void
kex_group_free(struct kex_group *g)
{
	if (g == NULL)
		return;
	BN_free(g->p);
	BN_free(g->base);
	BN_free(g->exponents);
	BN_MONT_CTX_free(g->mont);
	EVP_KDF_free(g->hkdf);
	free(g);
}

/*
 * Writes base^x mod p, at p's length, in a time independent of x.  The
 * context is made for each call: a kept one would keep its temporaries.
 */
static bool
kex_power(const struct kex_group *g, const BIGNUM *base, const BIGNUM *x,
    uint8_t *out)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *r = BN_new();
	bool ok = false;

	if (ctx != NULL && r != NULL &&
	    BN_mod_exp_mont_consttime(r, base, x, g->p, ctx, g->mont))
		ok = BN_bn2binpad(r, out, g->params.len) == g->params.len;
	BN_clear_free(r);
	BN_CTX_free(ctx);
	return ok;
}

/* Makes the pair of the exponent `x`, which it takes over. */
static struct kex_pair *
kex_pair_make(struct kex_group *g, BIGNUM *x)
{
	struct kex_pair *pair;

	BN_set_flags(x, BN_FLG_CONSTTIME);
	if ((pair = malloc(sizeof(*pair) + g->params.len)) == NULL) {
		BN_clear_free(x);
		return NULL;
	}
	pair->group = g;
	pair->x = x;
	if (!kex_power(g, g->base, x, pair->y)) {
		kex_pair_free(pair);
		return NULL;
	}
	return pair;
}

struct kex_pair *
kex_pair_new(struct kex_group *g)
{
	BIGNUM *x = BN_new();

	if (x == NULL)
		return NULL;
	if (!BN_priv_rand_range(x, g->exponents) || !BN_add_word(x, 2)) {
		BN_clear_free(x);
		return NULL;
	}
	return kex_pair_make(g, x);
}

struct kex_pair *
kex_pair_from(struct kex_group *g, const uint8_t *x, size_t x_len)
{
	BIGNUM *n;

	if (x_len > g->params.len ||
	    (n = BN_bin2bn(x, (int)x_len, NULL)) == NULL)
		return NULL;
	return kex_pair_make(g, n);
}

void
kex_pair_free(struct kex_pair *pair)
{
	if (pair == NULL)
		return;
	BN_clear_free(pair->x);
	free(pair);
}

void
kex_pair_public(const struct kex_pair *pair, uint8_t *y)
{
	memcpy(y, pair->y, pair->group->params.len);
}

/* HKDF-SHA256 of the shared secret: no salt, no info. */
static bool
kex_hkdf(EVP_KDF *hkdf, uint8_t *z, size_t z_len, uint8_t key[FERNET_KEY_LEN])
{
	char digest[] = "SHA256";
	EVP_KDF_CTX *ctx;
	OSSL_PARAM params[3];
	bool ok;

	params[0] =
	    OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[1] =
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, z, z_len);
	params[2] = OSSL_PARAM_construct_end();
	if ((ctx = EVP_KDF_CTX_new(hkdf)) == NULL)
		return false;
	ok = EVP_KDF_derive(ctx, key, FERNET_KEY_LEN, params) == 1;
	/* It clears its copy of the secret. */
	EVP_KDF_CTX_free(ctx);
	return ok;
}

enum fmltp_error
kex_derive(
    const struct kex_pair *pair, const uint8_t *y, uint8_t key[FERNET_KEY_LEN])
{
	const struct kex_group *g = pair->group;
	uint8_t z[DH_PRIME_MAX];
	BIGNUM *n;
	enum fmltp_error e = FMLTP_INTERNAL;

	if (!dh_public_in_range(&g->params, y))
		return FMLTP_DH_RANGE;
	if ((n = BN_bin2bn(y, g->params.len, NULL)) != NULL &&
	    kex_power(g, n, pair->x, z) &&
	    kex_hkdf(g->hkdf, z, g->params.len, key))
		e = FMLTP_OK;
	explicit_bzero(z, sizeof(z));
	BN_free(n);
	if (e != FMLTP_OK)
		explicit_bzero(key, FERNET_KEY_LEN);
	return e;
}

/* (p-1)/2, or NULL where p is not of the form that section 3 asks for. */
static BIGNUM *
kex_params_half(const struct dh_params *params, const BIGNUM *p)
{
	BIGNUM *q;

	if (!dh_bits_valid(params->len * 8u) ||
	    BN_num_bits(p) != params->len * 8 || BN_mod_word(p, 24) != 23)
		return NULL;
	if ((q = BN_new()) == NULL || !BN_rshift1(q, p)) {
		BN_free(q);
		return NULL;
	}
	return q;
}

bool
kex_params_are_safe(const struct dh_params *params)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = BN_bin2bn(params->p, params->len, NULL), *q = NULL;
	bool safe = false;

	if (ctx != NULL && p != NULL &&
	    (q = kex_params_half(params, p)) != NULL)
		safe = BN_check_prime(q, ctx, NULL) == 1 &&
		    BN_check_prime(p, ctx, NULL) == 1;
	BN_free(q);
	BN_free(p);
	BN_CTX_free(ctx);
	return safe;
}

/* One Fermat test to the base 2. */
static bool
kex_fermat(const BIGNUM *n, BN_CTX *ctx)
{
	BIGNUM *e = BN_dup(n), *r = BN_new();
	bool passed = false;

	if (e != NULL && r != NULL && BN_sub_word(e, 1) &&
	    BN_mod_exp_mont_word(r, 2, e, n, ctx, NULL))
		passed = BN_is_one(r);
	BN_free(e);
	BN_free(r);
	return passed;
}

bool
kex_params_quick_check(const struct dh_params *params)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = BN_bin2bn(params->p, params->len, NULL), *q = NULL;
	bool passed = false;

	if (ctx != NULL && p != NULL &&
	    (q = kex_params_half(params, p)) != NULL)
		passed = kex_fermat(q, ctx) && kex_fermat(p, ctx);
	BN_free(q);
	BN_free(p);
	BN_CTX_free(ctx);
	return passed;
}
