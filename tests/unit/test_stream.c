/*
 * tests/unit/test_stream.c - tokens out of a stream without packet borders
 * (docs/FMLTP.md section 4).
 *
 * Runs in: the unit tests alone.  Linked with crypto_hmac_peek and
 * crypto_hmac_update wrapped: how often a MAC is tried, and how much is
 * hashed for it, is counted.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fmltp/base64url.h"
#include "fmltp/stream.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

#define PLAIN_MAX 600
#define RAW_MAX	  (STREAM_CLIENT_TOKEN_MAX / 4 * 3)

void __real_crypto_hmac_peek(
    const struct crypto_hmac *h, uint8_t mac[CRYPTO_SHA256_LEN]);
void
__real_crypto_hmac_update(struct crypto_hmac *h, const void *in, size_t len);
void __wrap_crypto_hmac_peek(
    const struct crypto_hmac *h, uint8_t mac[CRYPTO_SHA256_LEN]);
void
__wrap_crypto_hmac_update(struct crypto_hmac *h, const void *in, size_t len);

static struct {
	size_t peeks;
	size_t hashed;
} counted;

void
__wrap_crypto_hmac_peek(
    const struct crypto_hmac *h, uint8_t mac[CRYPTO_SHA256_LEN])
{
	counted.peeks++;
	__real_crypto_hmac_peek(h, mac);
}

void
__wrap_crypto_hmac_update(struct crypto_hmac *h, const void *in, size_t len)
{
	counted.hashed += len;
	__real_crypto_hmac_update(h, in, len);
}

/* A stream with the key of the first exchange, and what came out of it. */
struct fixture {
	struct fernet fernet;
	struct stream stream;
	uint8_t *raw;
	struct stream_token token;
	uint8_t last[RAW_MAX]; /* the last token */
	size_t tokens; /* how many */
	size_t used; /* bytes of input */
};

static void
fixture_start(struct fixture *x, size_t token_max)
{
	memset(x, 0, sizeof(*x));
	fernet_init(&x->fernet, vector_kex[0].key);
	x->raw = malloc(token_max / 4 * 3);
	assert_non_null(x->raw);
	stream_init(&x->stream, &x->fernet, x->raw, token_max);
}

static void
fixture_end(struct fixture *x)
{
	free(x->raw);
}

/*
 * Feeds up to `len` bytes until a token is whole, or something is wrong, from
 * memory of their own.
 */
static enum fmltp_error
fixture_feed(struct fixture *x, const void *in, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	enum fmltp_error e;
	size_t taken = SIZE_MAX;

	assert_non_null(copy);
	memcpy(copy + 1, in, len);
	e = stream_feed(&x->stream, copy + 1, len, &taken, &x->token);
	free(copy);
	assert_true(taken <= len);
	x->used += taken;
	if (e == FMLTP_MORE)
		assert_int_equal(taken, len);
	if (e == FMLTP_OK) {
		memcpy(x->last, x->token.raw, x->token.len);
		x->tokens++;
		assert_false(stream_in_token(&x->stream));
		assert_ptr_equal(
		    x->token.mac, x->token.raw + x->token.len - FERNET_MAC_LEN);
	}
	return e;
}

/* Feeds all, `step` bytes at most at a time; the first error, or MORE. */
static enum fmltp_error
fixture_feed_all(struct fixture *x, const void *in, size_t len, size_t step)
{
	const uint8_t *p = in;
	size_t left, n;
	enum fmltp_error e;

	x->used = 0;
	while ((left = len - x->used) > 0) {
		n = left < step ? left : step;
		e = fixture_feed(x, p + x->used, n);
		if (e != FMLTP_OK && e != FMLTP_MORE)
			return e;
	}
	return FMLTP_MORE;
}

/* The last token is the one with these characters. */
static void
expect_token(const struct fixture *x, const char *chars, size_t len)
{
	uint8_t raw[RAW_MAX];
	struct buf b;

	buf_init(&b, raw, sizeof(raw));
	assert_true(base64_get(&b, BASE64_URL, (const uint8_t *)chars, len));
	assert_int_equal(x->token.len, b.len);
	assert_memory_equal(x->last, raw, b.len);
}

/* Appends a token of `len` random bytes of plaintext. */
static void
put_token(
    struct buf *out, const struct fernet *f, struct unit_random *r, size_t len)
{
	uint8_t plain[RAW_MAX], iv[FERNET_IV_LEN];

	unit_random_fill(r, plain, len);
	unit_random_fill(r, iv, sizeof(iv));
	fernet_seal(f, unit_random_next(r), iv, plain, len, out);
	assert_false(out->failed);
}

/* Every token of every exchange, cut in two at every byte. */
static void
test_stream_split(void **state)
{
	const struct vector_kex *v;
	const struct vector_token *t;
	struct fixture x;
	size_t cut, len;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++)
		for (t = v->tokens; t < v->tokens + v->token_count; t++) {
			len = strlen(t->token);
			for (cut = 0; cut < len; cut++) {
				fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
				fernet_init(&x.fernet, v->key);
				assert_int_equal(
				    fixture_feed(&x, t->token, cut),
				    FMLTP_MORE);
				assert_true(
				    stream_in_token(&x.stream) == (cut > 0));
				assert_int_equal(
				    fixture_feed(&x, t->token + cut, len - cut),
				    FMLTP_OK);
				assert_int_equal(x.used, len);
				expect_token(&x, t->token, len);
				assert_true(x.token.when == t->when);
				fixture_end(&x);
			}
		}
}

/* Run together with each way to end a token, in pieces of each size. */
static void
test_stream_together(void **state)
{
	static const char *const ends[] = { "", "\n", "\r\n", "\r", "\n\n\r\n",
		"\r\n\r\n\r\n" };
	const struct vector_kex *v = &vector_kex[0];
	char text[8192];
	struct fixture x;
	struct buf b;
	size_t end, i, step, len, at;

	for (end = 0; end < COUNT_OF(ends); end++) {
		buf_init(&b, text, sizeof(text));
		buf_put_str(&b, ends[end]);
		for (i = 0; i < v->token_count; i++) {
			buf_put_str(&b, v->tokens[i].token);
			buf_put_str(&b, ends[(end + i) % COUNT_OF(ends)]);
		}
		assert_false(b.failed);
		for (step = 1; step < 300; step++) {
			fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
			assert_int_equal(
			    fixture_feed_all(&x, text, b.len, step),
			    FMLTP_MORE);
			assert_int_equal(x.tokens, v->token_count);
			assert_false(stream_in_token(&x.stream));
			fixture_end(&x);
		}

		/* All at once: each in its order, and where it ends. */
		fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
		at = strlen(ends[end]);
		for (i = 0; i < v->token_count; i++) {
			assert_int_equal(
			    fixture_feed(&x, text + x.used, b.len - x.used),
			    FMLTP_OK);
			len = strlen(v->tokens[i].token);
			assert_int_equal(x.used, at + len);
			expect_token(&x, v->tokens[i].token, len);
			at += len + strlen(ends[(end + i) % COUNT_OF(ends)]);
		}
		fixture_end(&x);
	}
}

/*
 * Tokens of every length of plaintext with nothing between them: those whose
 * length needs no padding end where the MAC matches.
 */
static void
test_stream_no_borders(void **state)
{
	static const size_t steps[] = { 1, 7, 64, 1460, SIZE_MAX };
	struct unit_random r = { 8 };
	struct fixture x;
	struct buf b;
	uint8_t *text;
	size_t ends[PLAIN_MAX + 1], len, i, cap = 0, n;
	enum fmltp_error e;

	for (len = 0; len <= PLAIN_MAX; len++)
		cap += FERNET_TOKEN_LEN(len);
	text = malloc(cap);
	assert_non_null(text);
	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	buf_init(&b, text, cap);
	for (len = 0; len <= PLAIN_MAX; len++) {
		put_token(&b, &x.fernet, &r, len);
		ends[len] = b.len;
	}
	fixture_end(&x);
	assert_int_equal(b.len, cap);

	for (i = 0; i < COUNT_OF(steps); i++) {
		fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
		while (x.used < cap) {
			n = cap - x.used < steps[i] ? cap - x.used : steps[i];
			e = fixture_feed(&x, text + x.used, n);
			if (e == FMLTP_MORE)
				continue;
			assert_int_equal(e, FMLTP_OK);
			assert_int_equal(x.used, ends[x.tokens - 1]);
			assert_int_equal(
			    x.token.len, FERNET_RAW_LEN(x.tokens - 1));
		}
		assert_int_equal(x.tokens, PLAIN_MAX + 1);
		fixture_end(&x);
	}
	free(text);
}

/* Where a token of `chars` characters may end, itself included. */
static size_t
places(size_t chars)
{
	size_t n = 0, place;

	for (place = 140; place < chars; place += 64)
		n++;
	return n + 1;
}

/* Each place is tried once, and each byte is hashed once. */
static void
test_stream_tries(void **state)
{
	struct unit_random r = { 9 };
	uint8_t text[FERNET_TOKEN_LEN(PLAIN_MAX)];
	struct fixture x;
	struct buf b;
	size_t len, step;

	for (len = 0; len <= PLAIN_MAX; len++)
		for (step = 1; step <= sizeof(text); step *= 6) {
			fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
			buf_init(&b, text, sizeof(text));
			put_token(&b, &x.fernet, &r, len);
			memset(&counted, 0, sizeof(counted));
			assert_int_equal(
			    fixture_feed_all(&x, text, b.len, step),
			    FMLTP_MORE);
			assert_int_equal(x.tokens, 1);
			assert_int_equal(counted.peeks, places(b.len));
			assert_int_equal(counted.hashed,
			    FERNET_RAW_LEN(len) - FERNET_MAC_LEN);
			fixture_end(&x);
		}
}

/* The most that a client can have hashed with one token. */
static void
test_stream_longest(void **state)
{
	uint8_t text[STREAM_CLIENT_TOKEN_MAX + 100];
	struct fixture x;

	memset(text, 'A', sizeof(text));
	text[0] = 'g';
	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	memset(&counted, 0, sizeof(counted));
	assert_int_equal(
	    fixture_feed_all(&x, text, STREAM_CLIENT_TOKEN_MAX - 1, 1),
	    FMLTP_MORE);
	assert_int_equal(fixture_feed(&x, text, 100), FMLTP_TOKEN_LONG);
	assert_int_equal(x.used, STREAM_CLIENT_TOKEN_MAX);
	assert_int_equal(counted.peeks, (8192 - 140) / 64 + 1);
	assert_true(counted.hashed <= RAW_MAX);
	fixture_end(&x);

	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	assert_int_equal(
	    fixture_feed(&x, text, sizeof(text)), FMLTP_TOKEN_LONG);
	fixture_end(&x);

	/* Without the version, two characters are enough. */
	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	assert_int_equal(
	    fixture_feed(&x, text + 1, sizeof(text) - 1), FMLTP_TOKEN_VERSION);
	assert_int_equal(x.used, 2);
	fixture_end(&x);
}

/* A token as long as the limit is taken, one that is longer is not. */
static void
test_stream_limit(void **state)
{
	struct unit_random r = { 10 };
	uint8_t text[FERNET_TOKEN_LEN(PLAIN_MAX)];
	struct fixture x;
	struct buf b;
	size_t len;

	for (len = 0; len <= 64; len += 8) {
		fixture_start(&x, FERNET_TOKEN_LEN(len));
		buf_init(&b, text, sizeof(text));
		put_token(&b, &x.fernet, &r, len);
		assert_int_equal(fixture_feed(&x, text, b.len), FMLTP_OK);
		fixture_end(&x);
		fixture_start(&x, FERNET_TOKEN_LEN(len) - 4);
		assert_int_equal(
		    fixture_feed(&x, text, b.len), FMLTP_TOKEN_LONG);
		assert_int_equal(x.used, b.len - 4);
		fixture_end(&x);
	}
}

/* Every pair of first characters. */
static void
test_stream_version(void **state)
{
	struct fixture x;
	uint8_t text[2];
	int first, second;
	enum fmltp_error e, expected;

	for (first = 0; first < 256; first++)
		for (second = 0; second < 256; second++) {
			if (base64_value(BASE64_URL, (uint8_t)first) < 0 ||
			    base64_value(BASE64_URL, (uint8_t)second) < 0)
				continue;
			text[0] = (uint8_t)first;
			text[1] = (uint8_t)second;
			fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
			e = fixture_feed(&x, text, 2);
			expected =
			    first == 'g' && second >= 'A' && second <= 'P'
			    ? FMLTP_MORE
			    : FMLTP_TOKEN_VERSION;
			assert_int_equal(e, expected);
			fixture_end(&x);
		}
}

/* What the protocol says of the byte `c` at place `at` of a good token. */
static enum fmltp_error
stray_error(const char *token, size_t at, int c)
{
	size_t bytes = at / 4 * 3 + (at % 4 == 0 ? 0 : at % 4 - 1);
	int v;

	/* Behind the first of two '=' only the second is right. */
	if (at > 0 && token[at - 1] == '=')
		return c == '\r' || c == '\n' ? FMLTP_TOKEN_SHORT
					      : FMLTP_TOKEN_BASE64;
	if (c == '\r' || c == '\n')
		return FMLTP_TOKEN_SHORT;
	if (c != '=' || at % 4 < 2)
		return FMLTP_TOKEN_BASE64;
	v = base64_value(BASE64_URL, (uint8_t)token[at - 1]);
	if (v % (at % 4 == 2 ? 16 : 4) != 0)
		return FMLTP_TOKEN_BASE64;
	return fernet_raw_len_valid(bytes) ? FMLTP_MORE : FMLTP_TOKEN_SHORT;
}

/* Every byte that is none of base64url, at every place, is an error there. */
static void
test_stream_stray(void **state)
{
	static const size_t chosen[] = { 0, 1, 9 }; /* 120, 140, 120 */
	const char *token;
	struct fixture x;
	size_t i, at;
	int c;
	enum fmltp_error e, expected;
	uint8_t byte;

	for (i = 0; i < COUNT_OF(chosen); i++) {
		token = vector_kex[0].tokens[chosen[i]].token;
		for (at = 1; token[at] != '\0'; at++)
			for (c = 0; c < 256; c++) {
				byte = (uint8_t)c;
				if (base64_value(BASE64_URL, byte) >= 0 ||
				    c == (uint8_t)token[at])
					continue;
				fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
				assert_int_equal(
				    fixture_feed(&x, token, at), FMLTP_MORE);
				e = fixture_feed(&x, &byte, 1);
				expected = stray_error(token, at, c);
				if (e != expected)
					fail_msg("%d at %zu: %s, not %s", c, at,
					    fmltp_error_token(e),
					    fmltp_error_token(expected));
				fixture_end(&x);
			}
	}
	/* As the first byte of all. */
	for (c = 0; c < 256; c++) {
		byte = (uint8_t)c;
		if (base64_value(BASE64_URL, byte) >= 0)
			continue;
		fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
		assert_int_equal(fixture_feed(&x, &byte, 1),
		    c == '\r' || c == '\n' ? FMLTP_MORE : FMLTP_TOKEN_BASE64);
		assert_true(
		    stream_in_token(&x.stream) == !(c == '\r' || c == '\n'));
		fixture_end(&x);
	}
}

static enum fmltp_error
feed_text(const char *text, size_t *used)
{
	struct fixture x;
	enum fmltp_error e;

	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	e = fixture_feed_all(&x, text, strlen(text), SIZE_MAX);
	*used = x.used;
	assert_int_equal(x.tokens, 0);
	fixture_end(&x);
	return e;
}

/*
 * Each character of a good token changed to another one of the alphabet: the
 * error comes where the token ends, and says what is wrong.
 */
static void
test_stream_changed(void **state)
{
	const struct vector_kex *v = &vector_kex[0];
	char text[8192];
	size_t t, at, len, used, before_pad;
	enum fmltp_error e, expected;

	for (t = 0; t < v->token_count; t++) {
		len = strlen(v->tokens[t].token);
		before_pad = strcspn(v->tokens[t].token, "=");
		for (at = 2; at < before_pad; at++) {
			memcpy(text, v->tokens[t].token, len);
			text[at] = text[at] == 'Q' ? 'g' : 'Q';
			memcpy(text + len, "\r\n", 3);
			e = feed_text(text, &used);
			expected = FMLTP_TOKEN_MAC;
			assert_int_equal(e, expected);
			assert_int_equal(
			    used, before_pad < len ? len : len + 1);
		}
		if (before_pad == len)
			continue;
		/* The unused bits of the last character. */
		memcpy(text, v->tokens[t].token, len + 1);
		text[before_pad - 1]++;
		assert_int_equal(feed_text(text, &used), FMLTP_TOKEN_BASE64);
		assert_int_equal(used, before_pad + 1);
		/* Padding that is not there. */
		memcpy(text + before_pad, "\r\n", 3);
		text[before_pad - 1]--;
		assert_int_equal(feed_text(text, &used), FMLTP_TOKEN_SHORT);
	}
}

/* A line end at every place inside a token; then after a wrong MAC. */
static void
test_stream_cut(void **state)
{
	char text[STREAM_CLIENT_TOKEN_MAX];
	size_t at, used;

	for (at = 1; at < 1000; at++) {
		memset(text, 'A', at);
		text[0] = 'g';
		memcpy(text + at, "\n", 2);
		assert_int_equal(feed_text(text, &used),
		    at >= 140 && (at - 140) % 64 == 0 ? FMLTP_TOKEN_MAC
						      : FMLTP_TOKEN_SHORT);
		assert_int_equal(used, at + 1);
	}
}

/* A '=' at every place: only where a token may end is it not an error. */
static void
test_stream_padding_place(void **state)
{
	char text[STREAM_CLIENT_TOKEN_MAX];
	size_t at, used, bytes;
	enum fmltp_error e;

	for (at = 1; at < 1000; at++) {
		memset(text, 'A', at);
		text[0] = 'g';
		memcpy(text + at, "=", 2);
		e = feed_text(text, &used);
		bytes = at / 4 * 3 + at % 4 - 1;
		if (at % 4 < 2)
			assert_int_equal(e, FMLTP_TOKEN_BASE64);
		else if (!fernet_raw_len_valid(bytes))
			assert_int_equal(e, FMLTP_TOKEN_SHORT);
		else if (at % 4 == 3)
			assert_int_equal(e, FMLTP_TOKEN_MAC);
		else {
			assert_int_equal(e, FMLTP_MORE);
			memcpy(text + at, "==", 3);
			assert_int_equal(
			    feed_text(text, &used), FMLTP_TOKEN_MAC);
			memcpy(text + at, "=A", 3);
			assert_int_equal(
			    feed_text(text, &used), FMLTP_TOKEN_BASE64);
			memcpy(text + at, "=\n", 3);
			assert_int_equal(
			    feed_text(text, &used), FMLTP_TOKEN_SHORT);
		}
	}
}

/* A token that begins with a whole token: the shorter one it is. */
static void
test_stream_shortest(void **state)
{
	struct unit_random r = { 11 };
	uint8_t raw[153], text[204], longer[204];
	struct crypto_hmac h;
	struct fixture x;
	struct buf b;

	fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
	buf_init(&b, text, sizeof(text));
	put_token(&b, &x.fernet, &r, 40);
	assert_int_equal(b.len, 140);
	buf_init(&b, raw, sizeof(raw));
	assert_true(base64_get(&b, BASE64_URL, text, 140));
	unit_random_fill(&r, raw + 105, 16);
	h = x.fernet.hmac;
	crypto_hmac_update(&h, raw, 121);
	crypto_hmac_peek(&h, raw + 121);
	buf_init(&b, longer, sizeof(longer));
	base64_put(&b, BASE64_URL, raw, sizeof(raw));
	assert_int_equal(b.len, 204);
	assert_int_equal(fixture_feed(&x, longer, 204), FMLTP_OK);
	assert_int_equal(x.used, 140);
	assert_int_equal(x.token.len, 105);

	/* Spoiled, the first place is passed by, and the second one matches. */
	raw[104] ^= 1;
	crypto_hmac_init(&h, vector_kex[0].key, 16);
	crypto_hmac_update(&h, raw, 121);
	crypto_hmac_peek(&h, raw + 121);
	buf_init(&b, longer, sizeof(longer));
	base64_put(&b, BASE64_URL, raw, sizeof(raw));
	assert_int_equal(fixture_feed(&x, longer, 204), FMLTP_OK);
	assert_int_equal(x.token.len, 153);
	fixture_end(&x);
}

/* An error is for good: a good token behind it is not taken. */
static void
test_stream_stays_ended(void **state)
{
	static const struct {
		const char *text;
		enum fmltp_error error;
	} rows[] = {
		{ "!", FMLTP_TOKEN_BASE64 },
		{ "gA\n", FMLTP_TOKEN_SHORT },
		{ "gA==", FMLTP_TOKEN_SHORT },
		{ "AA", FMLTP_TOKEN_VERSION },
	};
	const char *token = vector_kex[0].tokens[0].token;
	struct fixture x;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		fixture_start(&x, STREAM_CLIENT_TOKEN_MAX);
		assert_int_equal(
		    fixture_feed(&x, rows[i].text, strlen(rows[i].text)),
		    rows[i].error);
		x.used = 0;
		assert_int_equal(
		    fixture_feed(&x, token, strlen(token)), rows[i].error);
		assert_int_equal(fixture_feed(&x, "\n", 1), rows[i].error);
		assert_int_equal(x.used, 0);
		fixture_end(&x);
	}
}

/* What comes out does not depend on how it came in. */
static void
test_stream_any_segments(void **state)
{
	struct unit_random r = { 12 };
	uint8_t text[2000];
	struct fixture one, many;
	struct buf b;
	size_t round, i, n, errors = 0;
	enum fmltp_error e, f;

	for (round = 0; round < 3000; round++) {
		fixture_start(&one, 1024);
		fixture_start(&many, 1024);
		buf_init(&b, text, sizeof(text));
		for (i = unit_random_next(&r) % 4; i-- > 0;) {
			put_token(
			    &b, &one.fernet, &r, unit_random_next(&r) % 200);
			if (unit_random_next(&r) % 2 == 0)
				buf_put_str(&b, "\r\n");
		}
		for (i = unit_random_next(&r) % 3; i-- > 0 && b.len > 0;)
			text[unit_random_next(&r) % b.len] =
			    (uint8_t) "A=\n\r-"[unit_random_next(&r) % 5];
		e = fixture_feed_all(&one, text, b.len, SIZE_MAX);
		f = FMLTP_MORE;
		while (many.used < b.len && f == FMLTP_MORE) {
			n = unit_random_next(&r) % (b.len - many.used) + 1;
			f = fixture_feed(&many, text + many.used, n);
			if (f == FMLTP_OK)
				f = FMLTP_MORE;
		}
		assert_int_equal(e, f);
		assert_int_equal(one.used, many.used);
		assert_int_equal(one.tokens, many.tokens);
		assert_memory_equal(one.last, many.last, sizeof(one.last));
		errors += e != FMLTP_MORE;
		fixture_end(&one);
		fixture_end(&many);
	}
	assert_true(errors > 100 && errors < 2900);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_split),
		cmocka_unit_test(test_stream_together),
		cmocka_unit_test(test_stream_no_borders),
		cmocka_unit_test(test_stream_tries),
		cmocka_unit_test(test_stream_longest),
		cmocka_unit_test(test_stream_limit),
		cmocka_unit_test(test_stream_version),
		cmocka_unit_test(test_stream_stray),
		cmocka_unit_test(test_stream_changed),
		cmocka_unit_test(test_stream_cut),
		cmocka_unit_test(test_stream_padding_place),
		cmocka_unit_test(test_stream_shortest),
		cmocka_unit_test(test_stream_stays_ended),
		cmocka_unit_test(test_stream_any_segments),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
