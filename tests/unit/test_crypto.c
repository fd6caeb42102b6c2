/*
 * tests/unit/test_crypto.c - the small primitives: known answers, and
 * compared with OpenSSL's EVP.
 *
 * Runs in: the unit tests alone.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fmltp/crypto.h"
#include "tests/unit/unit.h"

#define LEN_MAX 300

/* FIPS 180-4's examples. */
static void
test_crypto_sha256_known(void **state)
{
	static const uint8_t abc[] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf,
		0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0,
		0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff,
		0x61, 0xf2, 0x00, 0x15, 0xad };
	static const uint8_t none[] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc,
		0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
		0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95,
		0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	uint8_t digest[CRYPTO_SHA256_LEN];

	crypto_sha256("abc", 3, digest);
	assert_memory_equal(digest, abc, sizeof(abc));
	crypto_sha256("", 0, digest);
	assert_memory_equal(digest, none, sizeof(none));
}

/* RFC 4231, case 2. */
static void
test_crypto_hmac_known(void **state)
{
	static const uint8_t expected[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60,
		0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
		0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec,
		0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };
	uint8_t mac[CRYPTO_SHA256_LEN];
	struct crypto_hmac h;

	crypto_hmac_init(&h, (const uint8_t *)"Jefe", 4);
	crypto_hmac_update(&h, "what do ya want ", 16);
	crypto_hmac_update(&h, "for nothing?", 12);
	crypto_hmac_peek(&h, mac);
	assert_memory_equal(mac, expected, sizeof(expected));
}

/* FIPS 197's and SP 800-38A's AES-128: one block, then CBC (F.2.1). */
static void
test_crypto_aes_known(void **state)
{
	static const uint8_t key[16] = { 0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae,
		0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c };
	static const uint8_t iv[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
		12, 13, 14, 15 };
	static const uint8_t plain[32] = { 0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40,
		0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
		0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7,
		0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51 };
	static const uint8_t expected[32] = { 0x76, 0x49, 0xab, 0xac, 0x81,
		0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19,
		0x7d, 0x50, 0x86, 0xcb, 0x9b, 0x50, 0x72, 0x19, 0xee, 0x95,
		0xdb, 0x11, 0x3a, 0x91, 0x76, 0x78, 0xb2 };
	struct crypto_aes a;
	uint8_t out[32];

	crypto_aes_init(&a, key);
	crypto_aes_cbc_encrypt(&a, iv, plain, out, sizeof(out));
	assert_memory_equal(out, expected, sizeof(out));
	crypto_aes_cbc_decrypt(&a, iv, out, out, sizeof(out));
	assert_memory_equal(out, plain, sizeof(out));
}

static void
test_crypto_sha256_evp(void **state)
{
	struct unit_random r = { 3 };
	uint8_t in[LEN_MAX], digest[CRYPTO_SHA256_LEN];
	uint8_t expected[EVP_MAX_MD_SIZE];
	size_t len;

	unit_random_fill(&r, in, sizeof(in));
	for (len = 0; len <= LEN_MAX; len++) {
		crypto_sha256(in, len, digest);
		assert_int_equal(
		    EVP_Digest(in, len, expected, NULL, EVP_sha256(), NULL), 1);
		assert_memory_equal(digest, expected, sizeof(digest));
	}
}

/* Keys of all lengths; what is hashed comes in pieces, with a look between. */
static void
test_crypto_hmac_evp(void **state)
{
	struct unit_random r = { 4 };
	uint8_t key[100], in[LEN_MAX], mac[CRYPTO_SHA256_LEN];
	uint8_t expected[EVP_MAX_MD_SIZE];
	struct crypto_hmac h;
	size_t key_len, done, n;

	for (key_len = 0; key_len <= sizeof(key); key_len++) {
		unit_random_fill(&r, key, key_len);
		unit_random_fill(&r, in, sizeof(in));
		crypto_hmac_init(&h, key, key_len);
		for (done = 0;; done += n) {
			crypto_hmac_peek(&h, mac);
			assert_non_null(HMAC(EVP_sha256(), key, (int)key_len,
			    in, done, expected, NULL));
			assert_memory_equal(mac, expected, sizeof(mac));
			if (done == sizeof(in))
				break;
			n = unit_random_next(&r) % 80;
			if (n > sizeof(in) - done)
				n = sizeof(in) - done;
			crypto_hmac_update(&h, in + done, n);
		}
	}
}

static void
evp_cbc(int encrypt, const uint8_t *key, const uint8_t *iv, const uint8_t *in,
    uint8_t *out, size_t len)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0;

	assert_non_null(ctx);
	assert_int_equal(
	    EVP_CipherInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, iv, encrypt),
	    1);
	assert_int_equal(EVP_CIPHER_CTX_set_padding(ctx, 0), 1);
	assert_int_equal(EVP_CipherUpdate(ctx, out, &n, in, (int)len), 1);
	assert_int_equal(n, len);
	EVP_CIPHER_CTX_free(ctx);
}

/* All lengths to 1 KiB (the large ones take another path), in place or not. */
static void
test_crypto_aes_evp(void **state)
{
	struct unit_random r = { 5 };
	uint8_t key[16], iv[16], iv_kept[16];
	uint8_t in[1024], out[1024], expected[1024];
	struct crypto_aes a;
	size_t len;

	for (len = 16; len <= sizeof(in); len += 16) {
		unit_random_fill(&r, key, sizeof(key));
		unit_random_fill(&r, iv, sizeof(iv));
		memcpy(iv_kept, iv, sizeof(iv));
		unit_random_fill(&r, in, len);
		crypto_aes_init(&a, key);

		evp_cbc(1, key, iv, in, expected, len);
		crypto_aes_cbc_encrypt(&a, iv, in, out, len);
		assert_memory_equal(out, expected, len);
		memcpy(out, in, len);
		crypto_aes_cbc_encrypt(&a, iv, out, out, len);
		assert_memory_equal(out, expected, len);

		evp_cbc(0, key, iv, in, expected, len);
		crypto_aes_cbc_decrypt(&a, iv, in, out, len);
		assert_memory_equal(out, expected, len);
		memcpy(out, in, len);
		crypto_aes_cbc_decrypt(&a, iv, out, out, len);
		assert_memory_equal(out, expected, len);
		assert_memory_equal(iv, iv_kept, sizeof(iv));
	}
}

static void
test_crypto_equal(void **state)
{
	uint8_t a[32], b[32];
	size_t bit;

	memset(a, 0x5a, sizeof(a));
	memcpy(b, a, sizeof(b));
	assert_true(crypto_equal(a, b, sizeof(a)));
	assert_true(crypto_equal(a, b, 0));
	for (bit = 0; bit < 8 * sizeof(b); bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(crypto_equal(a, b, sizeof(a)));
		assert_true(crypto_equal(a, b, bit / 8));
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crypto_sha256_known),
		cmocka_unit_test(test_crypto_hmac_known),
		cmocka_unit_test(test_crypto_aes_known),
		cmocka_unit_test(test_crypto_sha256_evp),
		cmocka_unit_test(test_crypto_hmac_evp),
		cmocka_unit_test(test_crypto_aes_evp),
		cmocka_unit_test(test_crypto_equal),
	};

	return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
