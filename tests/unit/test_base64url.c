/*
 * tests/unit/test_base64url.c - both alphabets (RFC 4648).
 *
 * Runs in: the unit tests alone.
 */
#include <openssl/evp.h>

#include "fmltp/base64url.h"
#include "tests/unit/unit.h"

#define BYTES_MAX 200
#define CHARS_MAX ((BYTES_MAX + 2) / 3 * 4)

static bool
get(enum base64_alphabet a, const char *text, size_t len, struct buf *out,
    uint8_t *mem, size_t cap)
{
	buf_init(out, mem, cap);
	return base64_get(out, a, (const uint8_t *)text, len);
}

/* RFC 4648 section 10. */
static void
test_base64_known(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};
	uint8_t mem[16];
	struct buf b;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		buf_init(&b, mem, sizeof(mem));
		base64_put(&b, BASE64_URL, (const uint8_t *)rows[i][0],
		    strlen(rows[i][0]));
		assert_int_equal(b.len, strlen(rows[i][1]));
		assert_memory_equal(mem, rows[i][1], b.len);
		assert_true(get(BASE64_URL, rows[i][1], strlen(rows[i][1]), &b,
		    mem, sizeof(mem)));
		assert_int_equal(b.len, strlen(rows[i][0]));
		assert_memory_equal(mem, rows[i][0], b.len);
	}
}

/* Each length, both alphabets, against OpenSSL, and back. */
static void
test_base64_openssl(void **state)
{
	struct unit_random r = { 1 };
	uint8_t in[BYTES_MAX], mem[CHARS_MAX], back[BYTES_MAX];
	uint8_t expected[CHARS_MAX + 1];
	struct buf b;
	size_t len, i, round;
	int n;

	for (len = 0; len <= BYTES_MAX; len++)
		for (round = 0; round < 20; round++) {
			unit_random_fill(&r, in, len);
			n = EVP_EncodeBlock(expected, in, (int)len);
			buf_init(&b, mem, sizeof(mem));
			base64_put(&b, BASE64_STANDARD, in, len);
			assert_int_equal(b.len, n);
			assert_memory_equal(mem, expected, b.len);
			assert_true(get(BASE64_STANDARD, (char *)expected,
			    (size_t)n, &b, back, sizeof(back)));
			assert_int_equal(b.len, len);
			assert_memory_equal(back, in, len);

			for (i = 0; i < (size_t)n; i++)
				if (expected[i] == '+')
					expected[i] = '-';
				else if (expected[i] == '/')
					expected[i] = '_';
			buf_init(&b, mem, sizeof(mem));
			base64_put(&b, BASE64_URL, in, len);
			assert_memory_equal(mem, expected, b.len);
			assert_true(get(BASE64_URL, (char *)expected, (size_t)n,
			    &b, back, sizeof(back)));
			assert_memory_equal(back, in, len);
		}
}

/* The input may be the end of the output's place. */
static void
test_base64_overlap(void **state)
{
	struct unit_random r = { 2 };
	uint8_t in[BYTES_MAX], mem[CHARS_MAX], apart[CHARS_MAX];
	struct buf b;
	size_t len, chars;

	for (len = 0; len <= BYTES_MAX; len++) {
		unit_random_fill(&r, in, len);
		chars = (len + 2) / 3 * 4;
		buf_init(&b, apart, sizeof(apart));
		base64_put(&b, BASE64_URL, in, len);
		memcpy(mem + chars - len, in, len);
		buf_init(&b, mem, chars);
		base64_put(&b, BASE64_URL, mem + chars - len, len);
		assert_false(b.failed);
		assert_memory_equal(mem, apart, chars);
	}
}

static const char urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
			   "wxyz0123456789-_";

static int
value(int c)
{
	const char *at = c == 0 ? NULL : strchr(urls, c);

	return at == NULL ? -1 : (int)(at - urls);
}

/* What RFC 4648 says of one group, slowly. */
static bool
canonical(const char *group)
{
	int pad = group[3] != '=' ? 0 : group[2] != '=' ? 1 : 2;
	int i;

	for (i = 0; i < 4 - pad; i++)
		if (value((uint8_t)group[i]) < 0)
			return false;
	return value(group[3 - pad]) % (pad == 0 ? 1 : pad == 1 ? 4 : 16) == 0;
}

/* All 256 bytes in each place of a group of each kind. */
static void
test_base64_every_character(void **state)
{
	static const char *const groups[] = { "AAAA", "AAA=", "AA==" };
	uint8_t mem[3];
	char text[5];
	struct buf b;
	size_t g, i;
	int c, taken = 0;

	for (c = 0; c < 256; c++) {
		assert_int_equal(
		    base64_value(BASE64_URL, (uint8_t)c), value(c));
		for (g = 0; g < COUNT_OF(groups); g++)
			for (i = 0; i < 4; i++) {
				memcpy(text, groups[g], 5);
				text[i] = (char)c;
				taken += canonical(text);
				if (get(BASE64_URL, text, 4, &b, mem, 3) !=
				    canonical(text))
					fail_msg("%s with %d at %zu", groups[g],
					    c, i);
			}
	}
	/*
	 * AAAA: 64 each, and '=' last.  AAA=: 64, 64, 16 and '=', 64 and '='.
	 * AA==: 64, 4, 16 and '=', '='.
	 */
	assert_int_equal(taken, 4 * 64 + 1 + 3 * 64 + 18 + 64 + 4 + 18);
	assert_int_equal(base64_value(BASE64_STANDARD, '+'), 62);
	assert_int_equal(base64_value(BASE64_STANDARD, '/'), 63);
	assert_int_equal(base64_value(BASE64_STANDARD, '-'), -1);
	assert_int_equal(base64_value(BASE64_STANDARD, '_'), -1);
}

static void
test_base64_bad(void **state)
{
	static const char *const rows[] = {
		"A",
		"AA",
		"AAA",
		"AAAAA",
		"=",
		"====",
		"A===",
		"AA=A",
		"AA==AAAA",
		"AAA=AAAA",
		"AAAA====",
		"AAAAA===",
		"AAAA\n",
		"AAA\n",
		" AAA",
		"AA+A",
		"AA/A",
		"Zh==",
		"Zm9=",
	};
	uint8_t mem[16];
	struct buf b;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		if (get(BASE64_URL, rows[i], strlen(rows[i]), &b, mem,
			sizeof(mem)))
			fail_msg("%s is taken", rows[i]);
	assert_false(get(BASE64_STANDARD, "AA-A", 4, &b, mem, sizeof(mem)));
	assert_false(get(BASE64_URL, "AA\0A", 4, &b, mem, sizeof(mem)));
}

static void
test_base64_bound(void **state)
{
	uint8_t mem[8] = { 0 };
	struct buf b;

	assert_true(get(BASE64_URL, "Zm9vYmFy", 8, &b, mem, 6));
	assert_false(get(BASE64_URL, "Zm9vYmFy", 8, &b, mem, 5));
	assert_true(b.failed);
	buf_init(&b, mem, 7);
	base64_put(&b, BASE64_URL, BYTES("abcd"));
	assert_true(b.failed);
	assert_int_equal(b.len, 0);
	buf_init(&b, mem, sizeof(mem));
	base64_put(&b, BASE64_URL, mem, SIZE_MAX);
	assert_true(b.failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_known),
		cmocka_unit_test(test_base64_openssl),
		cmocka_unit_test(test_base64_overlap),
		cmocka_unit_test(test_base64_every_character),
		cmocka_unit_test(test_base64_bad),
		cmocka_unit_test(test_base64_bound),
	};

	return cmocka_run_group_tests_name("base64url", tests, NULL, NULL);
}
