/*
 * tests/unit/test_fernet.c - Fernet tokens: the specification's cases, those
 * of the key exchange, and each field broken.
 *
 * Runs in: the unit tests alone.
 */
#include <stdlib.h>

#include "fmltp/base64url.h"
#include "fmltp/fernet.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

#define PLAIN_MAX 600
#define TOKEN_MAX FERNET_TOKEN_LEN(PLAIN_MAX)

/* What fernet_open gives; the plaintext is terminated. */
struct opened {
	uint8_t plain[TOKEN_MAX + 1];
	size_t len;
	uint64_t when;
	uint8_t mac[FERNET_MAC_LEN];
};

static enum fmltp_error
open_token(
    const struct fernet *f, const char *token, size_t len, struct opened *o)
{
	uint8_t *plain = malloc(len + 1);
	enum fmltp_error e;

	/* Room for `len` bytes and no more: a sanitizer sees the rest. */
	assert_non_null(plain);
	e = fernet_open(
	    f, (const uint8_t *)token, len, plain, &o->len, &o->when, o->mac);
	if (e == FMLTP_OK) {
		memcpy(o->plain, plain, o->len);
		o->plain[o->len] = '\0';
	}
	free(plain);
	return e;
}

static void
expect_seal(const uint8_t *key, uint64_t now, const uint8_t *iv,
    const char *plain, size_t plain_len, const char *token)
{
	uint8_t mem[TOKEN_MAX];
	struct fernet f;
	struct buf b;

	fernet_init(&f, key);
	buf_init(&b, mem, sizeof(mem));
	fernet_seal(&f, now, iv, plain, plain_len, &b);
	assert_false(b.failed);
	assert_int_equal(b.len, strlen(token));
	assert_int_equal(b.len, FERNET_TOKEN_LEN(plain_len));
	assert_memory_equal(mem, token, b.len);
}

static void
test_fernet_spec_generate(void **state)
{
	const struct vector_fernet *v;

	for (v = vector_fernet_generate;
	     v < vector_fernet_generate + COUNT_OF(vector_fernet_generate); v++)
		expect_seal(
		    v->key, v->now, v->iv, v->src, strlen(v->src), v->token);
}

static void
test_fernet_spec_verify(void **state)
{
	const struct vector_fernet *v;
	struct opened o;
	struct fernet f;

	for (v = vector_fernet_verify;
	     v < vector_fernet_verify + COUNT_OF(vector_fernet_verify); v++) {
		fernet_init(&f, v->key);
		assert_int_equal(
		    open_token(&f, v->token, strlen(v->token), &o), FMLTP_OK);
		assert_string_equal((char *)o.plain, v->src);
	}
}

static void
test_fernet_spec_invalid(void **state)
{
	/* Two are good: there is no comparison with a clock here. */
	static const struct {
		const char *desc;
		enum fmltp_error error;
	} rows[] = {
		{ "incorrect mac", FMLTP_TOKEN_MAC },
		{ "too short", FMLTP_TOKEN_SHORT },
		{ "invalid base64", FMLTP_TOKEN_BASE64 },
		{ "payload size not multiple of block size",
		    FMLTP_TOKEN_SHORT },
		{ "payload padding error", FMLTP_TOKEN_PADDING },
		{ "far-future TS (unacceptable clock skew)", FMLTP_OK },
		{ "expired TTL", FMLTP_OK },
		{ "incorrect IV (causes padding error)", FMLTP_TOKEN_PADDING },
	};
	const struct vector_fernet *v = vector_fernet_invalid;
	struct opened o;
	struct fernet f;
	size_t i;

	assert_int_equal(COUNT_OF(rows), COUNT_OF(vector_fernet_invalid));
	for (i = 0; i < COUNT_OF(rows); i++, v++) {
		assert_string_equal(v->desc, rows[i].desc);
		fernet_init(&f, v->key);
		assert_int_equal(open_token(&f, v->token, strlen(v->token), &o),
		    rows[i].error);
		/* What these two hold is nothing. */
		if (rows[i].error == FMLTP_OK)
			assert_int_equal(o.len, 0);
	}
}

/* Every token of every exchange, both ways. */
static void
test_fernet_kex_tokens(void **state)
{
	const struct vector_kex *v;
	const struct vector_token *t;
	struct opened o;
	struct fernet f;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++) {
		fernet_init(&f, v->key);
		assert_true(v->token_count > 0);
		for (t = v->tokens; t < v->tokens + v->token_count; t++) {
			expect_seal(v->key, t->when, t->iv, t->plain,
			    t->plain_len, t->token);
			assert_int_equal(
			    open_token(&f, t->token, strlen(t->token), &o),
			    FMLTP_OK);
			assert_int_equal(o.len, t->plain_len);
			assert_memory_equal(o.plain, t->plain, o.len);
			assert_true(o.when == t->when);
		}
	}
}

static void
test_fernet_every_length(void **state)
{
	struct unit_random r = { 6 };
	uint8_t key[FERNET_KEY_LEN], iv[FERNET_IV_LEN];
	uint8_t plain[PLAIN_MAX], mem[TOKEN_MAX + 2];
	struct opened o;
	struct fernet f;
	struct buf b;
	uint64_t when;
	size_t len;

	for (len = 0; len <= PLAIN_MAX; len++) {
		unit_random_fill(&r, key, sizeof(key));
		unit_random_fill(&r, iv, sizeof(iv));
		unit_random_fill(&r, plain, len);
		when = unit_random_next(&r);
		fernet_init(&f, key);

		/* It fits its own length exactly, behind what is there. */
		memset(mem, 0xee, sizeof(mem));
		buf_init(&b, mem, FERNET_TOKEN_LEN(len) + 1);
		buf_put_u8(&b, '>');
		fernet_seal(&f, when, iv, plain, len, &b);
		assert_false(b.failed);
		assert_int_equal(b.len, FERNET_TOKEN_LEN(len) + 1);
		assert_int_equal(mem[0], '>');
		assert_int_equal(mem[b.len], 0xee);
		assert_int_equal(
		    open_token(&f, (char *)mem + 1, b.len - 1, &o), FMLTP_OK);
		assert_int_equal(o.len, len);
		assert_memory_equal(o.plain, plain, len);
		assert_true(o.when == when);

		/* A byte less is too little, and nothing is written. */
		memset(mem, 0xee, sizeof(mem));
		buf_init(&b, mem, FERNET_TOKEN_LEN(len) - 1);
		fernet_seal(&f, when, iv, plain, len, &b);
		assert_true(b.failed);
		assert_int_equal(b.len, 0);
		assert_int_equal(mem[0], 0xee);
	}
	buf_init(&b, mem, sizeof(mem));
	fernet_seal(&f, 0, iv, plain, SIZE_MAX, &b);
	assert_true(b.failed);
}

/* Encodes a raw token that may be anything. */
static size_t
encode(const uint8_t *raw, size_t len, char *token)
{
	struct buf b;

	buf_init(&b, token, TOKEN_MAX);
	base64_put(&b, BASE64_URL, raw, len);
	assert_false(b.failed);
	return b.len;
}

/* Each bit of a token flipped; then the key's. */
static void
test_fernet_every_bit(void **state)
{
	const struct vector_token *t = &vector_kex[0].tokens[0];
	uint8_t raw[FERNET_RAW_LEN(PLAIN_MAX)], key[FERNET_KEY_LEN];
	char token[TOKEN_MAX];
	struct opened o;
	struct fernet f;
	struct buf b;
	size_t bit;
	enum fmltp_error e;

	fernet_init(&f, vector_kex[0].key);
	buf_init(&b, raw, sizeof(raw));
	assert_true(base64_get(
	    &b, BASE64_URL, (const uint8_t *)t->token, strlen(t->token)));
	for (bit = 0; bit < 8 * b.len; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		e = open_token(&f, token, encode(raw, b.len, token), &o);
		assert_int_equal(
		    e, bit < 8 ? FMLTP_TOKEN_VERSION : FMLTP_TOKEN_MAC);
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memcpy(key, vector_kex[0].key, sizeof(key));
	for (bit = 0; bit < 8 * 16; bit++) {
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		fernet_init(&f, key);
		assert_int_equal(open_token(&f, t->token, strlen(t->token), &o),
		    FMLTP_TOKEN_MAC);
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* Every length of a raw token but the right ones; every cut of one. */
static void
test_fernet_every_cut(void **state)
{
	const struct vector_token *t = &vector_kex[0].tokens[2];
	uint8_t raw[PLAIN_MAX] = { 0x80 };
	char token[TOKEN_MAX];
	struct opened o;
	struct fernet f;
	size_t len;
	enum fmltp_error e;

	fernet_init(&f, vector_kex[0].key);
	for (len = 0; len < 300; len++) {
		e = open_token(&f, token, encode(raw, len, token), &o);
		assert_int_equal(e,
		    fernet_raw_len_valid(len) ? FMLTP_TOKEN_MAC
					      : FMLTP_TOKEN_SHORT);
		assert_true(
		    fernet_raw_len_valid(len) == (len >= 73 && len % 16 == 9));
	}
	for (len = 0; len < strlen(t->token); len++)
		assert_int_not_equal(
		    open_token(&f, t->token, len, &o), FMLTP_OK);
}

static void
test_fernet_form(void **state)
{
	static const struct {
		const char *token;
		enum fmltp_error error;
	} rows[] = {
		{ "", FMLTP_TOKEN_SHORT },
		{ "gAAA", FMLTP_TOKEN_SHORT },
		{ "gAA=", FMLTP_TOKEN_SHORT },
		{ "gA==", FMLTP_TOKEN_SHORT },
		{ "gQAA", FMLTP_TOKEN_VERSION },
		{ "AAAA", FMLTP_TOKEN_VERSION },
		{ "gAA", FMLTP_TOKEN_BASE64 },
		{ "gB==", FMLTP_TOKEN_BASE64 },
		{ "gAB=", FMLTP_TOKEN_BASE64 },
		{ "gAA\n", FMLTP_TOKEN_BASE64 },
		{ "gA+A", FMLTP_TOKEN_BASE64 },
	};
	char token[TOKEN_MAX];
	const struct vector_token *t;
	struct opened o;
	struct fernet f;
	size_t i;

	fernet_init(&f, vector_kex[0].key);
	for (i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(
		    open_token(&f, rows[i].token, strlen(rows[i].token), &o),
		    rows[i].error);
	/* A good token with one unused bit set, or with a line end. */
	for (t = vector_kex[0].tokens;
	     t < vector_kex[0].tokens + vector_kex[0].token_count; t++) {
		i = strlen(t->token);
		memcpy(token, t->token, i);
		memcpy(token + i, "\r\n", 2);
		assert_int_equal(
		    open_token(&f, token, i + 2, &o), FMLTP_TOKEN_BASE64);
		i = strcspn(t->token, "=");
		if (t->token[i] == '\0')
			continue;
		token[i - 1]++;
		assert_int_equal(open_token(&f, token, strlen(t->token), &o),
		    FMLTP_TOKEN_BASE64);
	}
}

/* Each last block that is not PKCS#7, under a MAC that matches. */
static void
test_fernet_padding(void **state)
{
	static const uint8_t iv[FERNET_IV_LEN] = { 7 };
	uint8_t raw[FERNET_RAW_LEN(16)], block[32], plain[sizeof(raw)];
	char token[TOKEN_MAX];
	struct crypto_hmac h;
	struct opened o;
	struct fernet f;
	struct buf b;
	size_t plain_len, i;
	int last, spoiled;
	bool good;
	enum fmltp_error e;

	fernet_init(&f, vector_kex[0].key);
	for (last = 0; last < 256; last++)
		for (spoiled = 0; spoiled < 32; spoiled++) {
			memset(block, last, sizeof(block));
			block[31 - spoiled] ^= spoiled == 0 ? 0 : 0x80;
			good = last >= 1 && last <= 16 &&
			    (spoiled == 0 || spoiled >= last);
			buf_init(&b, raw, sizeof(raw));
			buf_put_u8(&b, 0x80);
			buf_put_u64(&b, 1);
			buf_put(&b, iv, sizeof(iv));
			crypto_aes_cbc_encrypt(
			    &f.aes, iv, block, raw + b.len, sizeof(block));
			b.len += sizeof(block);
			h = f.hmac;
			crypto_hmac_update(&h, raw, b.len);
			crypto_hmac_peek(&h, raw + b.len);
			e = open_token(
			    &f, token, encode(raw, sizeof(raw), token), &o);
			assert_int_equal(
			    e, good ? FMLTP_OK : FMLTP_TOKEN_PADDING);
			assert_int_equal(fernet_decrypt_checked(&f, raw,
					     sizeof(raw), plain, &plain_len),
			    e);
			if (good)
				assert_int_equal(plain_len, 32 - last);
		}
	for (i = 0; i < sizeof(raw); i++)
		if (!fernet_raw_len_valid(i))
			assert_int_equal(fernet_decrypt_checked(
					     &f, raw, i, plain, &plain_len),
			    FMLTP_TOKEN_PADDING);
}

static void
test_fernet_wipe(void **state)
{
	static const struct fernet zero;
	struct fernet f;

	memset(&f, 0xee, sizeof(f));
	fernet_init(&f, vector_kex[0].key);
	fernet_wipe(&f);
	assert_memory_equal(&f, &zero, sizeof(f));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fernet_spec_generate),
		cmocka_unit_test(test_fernet_spec_verify),
		cmocka_unit_test(test_fernet_spec_invalid),
		cmocka_unit_test(test_fernet_kex_tokens),
		cmocka_unit_test(test_fernet_every_length),
		cmocka_unit_test(test_fernet_every_bit),
		cmocka_unit_test(test_fernet_every_cut),
		cmocka_unit_test(test_fernet_form),
		cmocka_unit_test(test_fernet_padding),
		cmocka_unit_test(test_fernet_wipe),
	};

	return cmocka_run_group_tests_name("fernet", tests, NULL, NULL);
}
