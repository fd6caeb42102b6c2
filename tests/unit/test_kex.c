/*
 * tests/unit/test_kex.c - the arithmetic of the exchange: known answers,
 * OpenSSL's own DH beside it, and what happens when a step fails.
 *
 * Runs in: the unit tests alone.  Linked with BN_priv_rand_range,
 * BN_mod_exp_mont_consttime and EVP_KDF_derive wrapped.
 */
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>

#include "fmltp/kex.h"
#include "tests/unit/memory.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

int __real_BN_priv_rand_range(BIGNUM *r, const BIGNUM *range);
int __wrap_BN_priv_rand_range(BIGNUM *r, const BIGNUM *range);
int __real_BN_mod_exp_mont_consttime(BIGNUM *r, const BIGNUM *a,
    const BIGNUM *p, const BIGNUM *m, BN_CTX *ctx, BN_MONT_CTX *in_mont);
int __wrap_BN_mod_exp_mont_consttime(BIGNUM *r, const BIGNUM *a,
    const BIGNUM *p, const BIGNUM *m, BN_CTX *ctx, BN_MONT_CTX *in_mont);
int __real_EVP_KDF_derive(EVP_KDF_CTX *ctx, unsigned char *key, size_t len,
    const OSSL_PARAM params[]);
int __wrap_EVP_KDF_derive(EVP_KDF_CTX *ctx, unsigned char *key, size_t len,
    const OSSL_PARAM params[]);

/* What the wrapped functions do instead, and what they saw. */
static struct {
	enum {
		RAND_REAL,
		RAND_LEAST,
		RAND_MOST,
		RAND_FAIL
	} rand;
	int range_bits; /* of range + 2, if that is a power of 2 */
	bool power_fails;
	bool hkdf_fails;
	bool exponent_is_secret; /* BN_FLG_CONSTTIME */
} faults;

int
__wrap_BN_priv_rand_range(BIGNUM *r, const BIGNUM *range)
{
	BIGNUM *top = BN_dup(range);

	assert_non_null(top);
	assert_int_equal(BN_add_word(top, 2), 1);
	faults.range_bits = BN_num_bits(top) - 1;
	BN_clear_bit(top, faults.range_bits);
	if (!BN_is_zero(top))
		faults.range_bits = -1;
	BN_free(top);
	switch (faults.rand) {
	case RAND_LEAST:
		BN_zero(r);
		return 1;
	case RAND_MOST:
		return BN_copy(r, range) != NULL && BN_sub_word(r, 1);
	case RAND_FAIL:
		return 0;
	case RAND_REAL:
		break;
	}
	return __real_BN_priv_rand_range(r, range);
}

int
__wrap_BN_mod_exp_mont_consttime(BIGNUM *r, const BIGNUM *a, const BIGNUM *p,
    const BIGNUM *m, BN_CTX *ctx, BN_MONT_CTX *in_mont)
{
	faults.exponent_is_secret = BN_get_flags(p, BN_FLG_CONSTTIME) != 0;
	if (faults.power_fails)
		return 0;
	return __real_BN_mod_exp_mont_consttime(r, a, p, m, ctx, in_mont);
}

int
__wrap_EVP_KDF_derive(
    EVP_KDF_CTX *ctx, unsigned char *key, size_t len, const OSSL_PARAM params[])
{
	if (faults.hkdf_fails) {
		memset(key, 0xee, len);
		return 0;
	}
	return __real_EVP_KDF_derive(ctx, key, len, params);
}

static int
setup(void **state)
{
	memset(&faults, 0, sizeof(faults));
	return 0;
}

static void
parse_params(const struct vector_kex *v, struct dh_params *params)
{
	size_t taken;

	assert_int_equal(
	    dh_params_parse_pem((const uint8_t *)v->server_kex_init,
		strlen(v->server_kex_init), params, &taken),
	    FMLTP_OK);
}

static void
parse_public(const char *text, const struct dh_params *params, uint8_t *y)
{
	size_t taken;

	assert_int_equal(dh_public_parse_pem((const uint8_t *)text,
			     strlen(text), params, y, &taken),
	    FMLTP_OK);
}

/* 2^bits - 17, which has the form of p, is not prime, and takes no search. */
static void
make_params(struct dh_params *params, unsigned bits)
{
	memset(params, 0, sizeof(*params));
	params->len = (uint16_t)(bits / 8);
	memset(params->p, 0xff, params->len);
	params->p[params->len - 1] = 0xef;
}

/* One side of a known exchange: its packet, and the key. */
static void
expect_side(struct kex_group *g, const struct dh_params *params,
    const uint8_t *x, size_t x_len, const char *own, const char *others,
    const uint8_t *key)
{
	uint8_t y[DH_PRIME_MAX], derived[FERNET_KEY_LEN], text[DH_PEM_MAX];
	struct kex_pair *pair = kex_pair_from(g, x, x_len);
	struct buf b;

	assert_non_null(pair);
	assert_true(faults.exponent_is_secret);
	kex_pair_public(pair, y);
	buf_init(&b, text, sizeof(text));
	dh_public_put_pem(&b, params, y);
	assert_int_equal(b.len, strlen(own));
	assert_memory_equal(text, own, b.len);
	parse_public(others, params, y);
	assert_int_equal(kex_derive(pair, y, derived), FMLTP_OK);
	assert_true(faults.exponent_is_secret);
	assert_memory_equal(derived, key, sizeof(derived));
	kex_pair_free(pair);
}

/* Both sides of every exchange. */
static void
test_kex_vectors(void **state)
{
	const struct vector_kex *v;
	struct dh_params params;
	struct kex_group *g;
	size_t leading = 0;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++) {
		parse_params(v, &params);
		assert_int_equal(params.len, v->secret_len);
		assert_true((v->secret[0] == 0) == v->leading_zero);
		leading += v->leading_zero;
		g = kex_group_new(&params);
		assert_non_null(g);
		expect_side(g, &params, v->server_x, v->server_x_len,
		    v->server_kex_id, v->client_kex_id, v->key);
		expect_side(g, &params, v->client_x, v->client_x_len,
		    v->client_kex_id, v->server_kex_id, v->key);
		kex_group_free(g);
	}
	assert_true(leading > 0);
}

/* An exponent with zeros in front is the same one. */
static void
test_kex_pair_from(void **state)
{
	static const uint8_t three[] = { 0, 0, 3 };
	uint8_t y[DH_PRIME_MAX], too_long[DH_PRIME_MIN + 1] = { 0 };
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair;
	size_t i;

	parse_params(&vector_kex[0], &params);
	g = kex_group_new(&params);
	assert_non_null(g);
	for (i = 0; i < 3; i++) {
		pair = kex_pair_from(g, three + i, 3 - i);
		assert_non_null(pair);
		kex_pair_public(pair, y);
		assert_int_equal(y[params.len - 1], 8);
		for (size_t n = 0; n + 1 < params.len; n++)
			assert_int_equal(y[n], 0);
		kex_pair_free(pair);
	}
	assert_null(kex_pair_from(g, too_long, sizeof(too_long)));
	kex_group_free(g);
}

/* The exponents of a fresh pair: 2 to 2^N - 1, at each size. */
static void
test_kex_exponent_range(void **state)
{
	static const unsigned sizes[] = { 1024, 2048, 3072, 4096, 6144, 8192 };
	uint8_t most[DH_PRIME_MAX], y[DH_PRIME_MAX], expected[DH_PRIME_MAX];
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair, *same;
	size_t i, bytes;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		make_params(&params, sizes[i]);
		g = kex_group_new(&params);
		assert_non_null(g);

		faults.rand = RAND_LEAST;
		pair = kex_pair_new(g);
		assert_non_null(pair);
		assert_int_equal(faults.range_bits, dh_exponent_bits(sizes[i]));
		assert_true(faults.exponent_is_secret);
		kex_pair_public(pair, y);
		assert_int_equal(y[params.len - 1], 4);
		assert_int_equal(y[params.len - 2], 0);
		kex_pair_free(pair);

		faults.rand = RAND_MOST;
		pair = kex_pair_new(g);
		assert_non_null(pair);
		kex_pair_public(pair, y);
		kex_pair_free(pair);
		bytes = dh_exponent_bits(sizes[i]) / 8;
		memset(most, 0xff, bytes);
		same = kex_pair_from(g, most, bytes);
		assert_non_null(same);
		kex_pair_public(same, expected);
		kex_pair_free(same);
		assert_memory_equal(y, expected, params.len);
		kex_group_free(g);
	}
}

/* HKDF-SHA256 by its definition (RFC 5869), one block. */
static void
hkdf(const uint8_t *secret, size_t len, uint8_t *key)
{
	static const uint8_t salt[32], one[1] = { 1 };
	uint8_t prk[EVP_MAX_MD_SIZE];
	unsigned n;

	assert_non_null(
	    HMAC(EVP_sha256(), salt, sizeof(salt), secret, len, prk, &n));
	assert_non_null(HMAC(EVP_sha256(), prk, (int)n, one, 1, key, &n));
	assert_int_equal(n, FERNET_KEY_LEN);
}

/* A DH key of OpenSSL's, from p, 2, and y if there is one. */
static EVP_PKEY *
openssl_key(const struct dh_params *params, const uint8_t *y)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	BIGNUM *p = BN_bin2bn(params->p, params->len, NULL), *pub = NULL;
	BIGNUM *base = BN_new();
	EVP_PKEY *key = NULL;
	OSSL_PARAM *all;

	assert_non_null(bld);
	assert_non_null(ctx);
	assert_int_equal(BN_set_word(base, 2), 1);
	assert_int_equal(
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_FFC_P, p), 1);
	assert_int_equal(
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_FFC_G, base), 1);
	if (y != NULL) {
		pub = BN_bin2bn(y, params->len, NULL);
		assert_int_equal(
		    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PUB_KEY, pub),
		    1);
	}
	all = OSSL_PARAM_BLD_to_param(bld);
	assert_non_null(all);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(
	    EVP_PKEY_fromdata(ctx, &key,
		y == NULL ? EVP_PKEY_KEY_PARAMETERS : EVP_PKEY_PUBLIC_KEY, all),
	    1);
	OSSL_PARAM_free(all);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	BN_free(p);
	BN_free(base);
	BN_free(pub);
	return key;
}

/* OpenSSL generates a key for the parameters. */
static EVP_PKEY *
openssl_generate(EVP_PKEY *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(params, NULL);
	EVP_PKEY *key = NULL;

	assert_non_null(ctx);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* The session key on OpenSSL's side. */
static void
openssl_derive(EVP_PKEY *own, EVP_PKEY *other, size_t len, uint8_t *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
	uint8_t secret[DH_PRIME_MAX];
	size_t n = sizeof(secret);

	assert_non_null(ctx);
	assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_dh_pad(ctx, 1), 1);
	assert_int_equal(EVP_PKEY_derive_set_peer(ctx, other), 1);
	assert_int_equal(EVP_PKEY_derive(ctx, secret, &n), 1);
	assert_int_equal(n, len);
	hkdf(secret, n, key);
	EVP_PKEY_CTX_free(ctx);
}

/* Fresh pairs here and at OpenSSL agree. */
static void
test_kex_openssl(void **state)
{
	static const struct {
		size_t vector;
		int rounds;
	} rows[] = { { 0, 20 }, { 2, 5 } };
	uint8_t y[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	uint8_t expected[FERNET_KEY_LEN];
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair;
	EVP_PKEY *group, *theirs, *ours;
	BIGNUM *pub;
	size_t i;
	int round;

	for (i = 0; i < COUNT_OF(rows); i++) {
		parse_params(&vector_kex[rows[i].vector], &params);
		g = kex_group_new(&params);
		assert_non_null(g);
		group = openssl_key(&params, NULL);
		for (round = 0; round < rows[i].rounds; round++) {
			pair = kex_pair_new(g);
			assert_non_null(pair);
			theirs = openssl_generate(group);
			pub = NULL;
			assert_int_equal(EVP_PKEY_get_bn_param(theirs,
					     OSSL_PKEY_PARAM_PUB_KEY, &pub),
			    1);
			assert_int_equal(
			    BN_bn2binpad(pub, y, params.len), params.len);
			BN_free(pub);
			assert_int_equal(kex_derive(pair, y, key), FMLTP_OK);

			kex_pair_public(pair, y);
			assert_true(dh_public_in_range(&params, y));
			ours = openssl_key(&params, y);
			openssl_derive(theirs, ours, params.len, expected);
			assert_memory_equal(key, expected, sizeof(key));
			EVP_PKEY_free(ours);
			EVP_PKEY_free(theirs);
			kex_pair_free(pair);
		}
		EVP_PKEY_free(group);
		kex_group_free(g);
	}
}

/* Two fresh pairs agree, and no two are the same. */
static void
test_kex_both_sides(void **state)
{
	uint8_t y[2][DH_PRIME_MAX], key[2][FERNET_KEY_LEN];
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair[2];
	size_t i;

	parse_params(&vector_kex[2], &params);
	g = kex_group_new(&params);
	assert_non_null(g);
	for (i = 0; i < 2; i++) {
		pair[i] = kex_pair_new(g);
		assert_non_null(pair[i]);
		kex_pair_public(pair[i], y[i]);
	}
	assert_memory_not_equal(y[0], y[1], params.len);
	for (i = 0; i < 2; i++)
		assert_int_equal(
		    kex_derive(pair[i], y[1 - i], key[i]), FMLTP_OK);
	assert_memory_equal(key[0], key[1], FERNET_KEY_LEN);
	/* A pair can be asked again: the answer is the same. */
	assert_int_equal(kex_derive(pair[0], y[1], key[1]), FMLTP_OK);
	assert_memory_equal(key[0], key[1], FERNET_KEY_LEN);
	for (i = 0; i < 2; i++)
		kex_pair_free(pair[i]);
	kex_group_free(g);
}

/* y of 0, 1, p-1, p, p+1, all ones: refused; 2 and p-2: taken. */
static void
test_kex_range(void **state)
{
	static const int below[] = { 0, 1, 2 }, near[] = { -2, -1, 0, 1 };
	uint8_t y[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair;
	size_t i;

	parse_params(&vector_kex[0], &params);
	g = kex_group_new(&params);
	assert_non_null(g);
	pair = kex_pair_new(g);
	assert_non_null(pair);
	for (i = 0; i < COUNT_OF(below); i++) {
		memset(y, 0, sizeof(y));
		y[params.len - 1] = (uint8_t)below[i];
		assert_int_equal(kex_derive(pair, y, key),
		    below[i] == 2 ? FMLTP_OK : FMLTP_DH_RANGE);
	}
	for (i = 0; i < COUNT_OF(near); i++) {
		memcpy(y, params.p, params.len);
		y[params.len - 1] = (uint8_t)(y[params.len - 1] + near[i]);
		assert_int_equal(kex_derive(pair, y, key),
		    near[i] == -2 ? FMLTP_OK : FMLTP_DH_RANGE);
	}
	memset(y, 0xff, sizeof(y));
	assert_int_equal(kex_derive(pair, y, key), FMLTP_DH_RANGE);
	kex_pair_free(pair);
	kex_group_free(g);
}

/* A step that fails is an error, and leaves no half of a key behind. */
static void
test_kex_failures(void **state)
{
	static const uint8_t zero[FERNET_KEY_LEN], x[1] = { 5 };
	uint8_t y[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair;

	parse_params(&vector_kex[0], &params);
	g = kex_group_new(&params);
	assert_non_null(g);
	faults.rand = RAND_FAIL;
	assert_null(kex_pair_new(g));
	faults.rand = RAND_REAL;
	faults.power_fails = true;
	assert_null(kex_pair_new(g));
	assert_null(kex_pair_from(g, x, sizeof(x)));
	faults.power_fails = false;

	pair = kex_pair_new(g);
	assert_non_null(pair);
	kex_pair_public(pair, y);
	faults.power_fails = true;
	memset(key, 0xee, sizeof(key));
	assert_int_equal(kex_derive(pair, y, key), FMLTP_INTERNAL);
	assert_memory_equal(key, zero, sizeof(key));
	faults.power_fails = false;
	faults.hkdf_fails = true;
	memset(key, 0xee, sizeof(key));
	assert_int_equal(kex_derive(pair, y, key), FMLTP_INTERNAL);
	assert_memory_equal(key, zero, sizeof(key));
	faults.hkdf_fails = false;
	assert_int_equal(kex_derive(pair, y, key), FMLTP_OK);
	kex_pair_free(pair);
	kex_group_free(g);
	kex_pair_free(NULL);
	kex_group_free(NULL);
}

/* Nothing of an exchange stays: of the shared secret and of the exponent in
 * no form, and of the key where it was asked for alone. */
static void
test_kex_leaves_nothing(void **state)
{
	static uint8_t key[FERNET_KEY_LEN], y[DH_PRIME_MAX];
	const struct vector_kex *v;
	struct dh_params params;
	struct kex_group *g;
	struct kex_pair *pair;

	if (!MEMORY_CAN_BE_READ || getenv("FLEXMUSIC_VALGRIND") != NULL)
		skip();
	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++) {
		parse_params(v, &params);
		parse_public(v->client_kex_id, &params, y);
		g = kex_group_new(&params);
		assert_non_null(g);
		pair = kex_pair_from(g, v->server_x, v->server_x_len);
		assert_non_null(pair);
		assert_true(memory_count(v->server_x, v->server_x_len) > 0);
		assert_int_equal(kex_derive(pair, y, key), FMLTP_OK);
		assert_int_equal(memory_count(v->secret, v->secret_len), 0);
		assert_int_equal(
		    memory_count(v->key, 16), memory_count(v->key + 16, 16));
		assert_true(memory_count(v->key, 16) > 0);
		explicit_bzero(key, sizeof(key));
		assert_int_equal(memory_count(v->key, sizeof(key)), 0);
		kex_pair_free(pair);
		assert_int_equal(memory_count(v->server_x, v->server_x_len), 0);
		kex_group_free(g);
	}
}

static void
test_kex_group_bad(void **state)
{
	struct dh_params params;

	parse_params(&vector_kex[0], &params);
	params.p[params.len - 1] ^= 1;
	assert_null(kex_group_new(&params));
	params.p[params.len - 1] ^= 1;
	params.len--;
	assert_null(kex_group_new(&params));
	params.len = 0;
	assert_null(kex_group_new(&params));
}

static void
expect_safe(const struct dh_params *params, bool safe)
{
	assert_true(kex_params_are_safe(params) == safe);
	assert_true(kex_params_quick_check(params) == safe);
}

static void
params_from(struct dh_params *params, const BIGNUM *p)
{
	params->len = 128;
	assert_int_equal(BN_bn2binpad(p, params->p, 128), 128);
}

static void
test_kex_safe_primes(void **state)
{
	struct dh_params params;
	BIGNUM *p;

	parse_params(&vector_kex[0], &params);
	expect_safe(&params, true);
	/* Another number of the same form. */
	params.p[64] ^= 0x18;
	expect_safe(&params, false);
	parse_params(&vector_kex[2], &params);
	expect_safe(&params, true);
	p = BN_get_rfc3526_prime_3072(NULL);
	assert_non_null(p);
	params.len = 384;
	assert_int_equal(BN_bn2binpad(p, params.p, 384), 384);
	assert_true(kex_params_quick_check(&params));
	BN_free(p);
}

/* Wrong in one way each, and right in all others. */
static void
test_kex_unsafe_primes(void **state)
{
	/* A safe prime of 1024 bits, p = 11 mod 24. */
	static const char eleven[] =
	    "C447BE46C633896722D7CD08F8683A6920391D1C876B377A70786680A30CDE74"
	    "9EDF76C4DCBDF637E4B6E13017630ABA74CEDCCD0F39D00B56A30224DE2A11A3"
	    "737E7489EDED564149DCE3E453D0815D12490F59BBE8325B7F698CFF67749E4D"
	    "D7FD099188BE18B0E61D5AB39896E48A0918627705F038A23399C3C6A417D5B3";
	struct dh_params params;
	BIGNUM *p = NULL, *add = BN_new(), *rem = BN_new();

	assert_non_null(add);
	assert_non_null(rem);
	assert_int_equal(BN_hex2bn(&p, eleven), 256);
	params_from(&params, p);
	expect_safe(&params, false);

	/* p = 23 mod 24 is prime, (p-1)/2 is not. */
	assert_int_equal(BN_set_word(add, 24), 1);
	assert_int_equal(BN_set_word(rem, 23), 1);
	assert_int_equal(BN_generate_prime_ex(p, 1024, 0, add, rem, NULL), 1);
	params_from(&params, p);
	expect_safe(&params, false);

	/* (p-1)/2 = 11 mod 12 is prime, p is not. */
	assert_int_equal(BN_set_word(add, 12), 1);
	assert_int_equal(BN_set_word(rem, 11), 1);
	assert_int_equal(BN_generate_prime_ex(p, 1023, 0, add, rem, NULL), 1);
	assert_int_equal(BN_lshift1(p, p), 1);
	assert_int_equal(BN_add_word(p, 1), 1);
	params_from(&params, p);
	expect_safe(&params, false);

	/* Its highest bit is missing: the vector's p, shifted. */
	parse_params(&vector_kex[0], &params);
	memmove(params.p + 1, params.p, 127);
	params.p[0] = 0;
	expect_safe(&params, false);

	/* A length that is not in the list. */
	parse_params(&vector_kex[0], &params);
	params.len = 127;
	expect_safe(&params, false);
	params.len = 0;
	expect_safe(&params, false);
	BN_free(p);
	BN_free(add);
	BN_free(rem);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* The first: others leave their own copies. */
		cmocka_unit_test_setup(test_kex_leaves_nothing, setup),
		cmocka_unit_test_setup(test_kex_vectors, setup),
		cmocka_unit_test_setup(test_kex_pair_from, setup),
		cmocka_unit_test_setup(test_kex_exponent_range, setup),
		cmocka_unit_test_setup(test_kex_openssl, setup),
		cmocka_unit_test_setup(test_kex_both_sides, setup),
		cmocka_unit_test_setup(test_kex_range, setup),
		cmocka_unit_test_setup(test_kex_failures, setup),
		cmocka_unit_test_setup(test_kex_group_bad, setup),
		cmocka_unit_test_setup(test_kex_safe_primes, setup),
		cmocka_unit_test_setup(test_kex_unsafe_primes, setup),
	};

	return cmocka_run_group_tests_name("kex", tests, NULL, NULL);
}
