/*
 * tests/unit/test_text.c - printable text (docs/FMLTP.md section 5).
 *
 * Runs in: the unit tests alone.
 */
#include <stdio.h>

#include "fmltp/text.h"
#include "tests/unit/unit.h"

/* Encodes any value below 2^21 in `n` bytes, the forbidden ways too. */
static void
encode(uint32_t c, size_t n, uint8_t *out)
{
	static const uint8_t lead[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t i;

	if (n == 1) {
		out[0] = (uint8_t)c;
		return;
	}
	for (i = n; i-- > 1; c >>= 6)
		out[i] = (uint8_t)(0x80 | (c & 0x3f));
	out[0] = (uint8_t)(lead[n] | c);
}

static size_t
shortest(uint32_t c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* Every value, in its shortest form, against the list of the protocol. */
static void
test_text_every_character(void **state)
{
	static const uint32_t forbidden[][2] = {
		{ 0x0000, 0x001f },
		{ 0x007f, 0x009f },
		{ 0x2028, 0x2029 },
		{ 0x202a, 0x202e },
		{ 0x2066, 0x2069 },
		{ 0xd800, 0xdfff },
		{ 0x110000, 0x1fffff },
	};
	uint8_t s[6] = { 0 };
	uint32_t c;
	size_t n, row = 0;
	int bad, seen;

	for (c = 0; c <= 0x1fffff; c++) {
		while (row < COUNT_OF(forbidden) && c > forbidden[row][1])
			row++;
		bad = row < COUNT_OF(forbidden) && c >= forbidden[row][0];
		n = shortest(c);
		s[0] = 'a';
		encode(c, n, s + 1);
		s[1 + n] = 'z';
		seen = text_is_printable(s, n + 2);
		if (seen == bad)
			fail_msg("U+%04X: printable %d", (unsigned)c, seen);
		/* Cut inside the character. */
		for (n = n > 1 ? n : 0; n > 1; n--)
			if (text_is_printable(s, n))
				fail_msg("U+%04X cut: printable", (unsigned)c);
	}
}

/* Every value in every form that is longer than needed. */
static void
test_text_longer_forms(void **state)
{
	uint8_t s[4];
	uint32_t c;
	size_t n;

	for (c = 0; c < 0x10000; c++)
		for (n = shortest(c) + 1; n <= 4; n++) {
			encode(c, n, s);
			if (text_is_printable(s, n))
				fail_msg("U+%04X in %zu bytes", (unsigned)c, n);
		}
}

static void
test_text_malformed(void **state)
{
	static const char *const rows[] = {
		"\x80", /* a continuation alone */
		"a\xbf!", "\xc3(", /* no continuation */
		"\xe2\x82(", "\xe2(\xa1", "\xf0\x9f\x98(", "\xc3\xc3\xa4",
		"\xfe", "\xff\xff", "\xf8\x88\x80\x80\x80", /* five bytes */
		"\xed\xa0\xbd\xed\xb8\x80", /* a surrogate pair */
		"\xc0\x8a", /* a line feed in two bytes */
	};
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		if (text_is_printable(
			(const uint8_t *)rows[i], strlen(rows[i])))
			fail_msg("row %zu is printable", i);
	assert_true(text_is_printable(NULL, 0));
	assert_true(
	    text_is_printable(BYTES("Gr\xc3\xbc\xc3\x9f \xe2\x82\xac~")));
	assert_false(text_is_printable(BYTES("a\0b")));
}

static void
test_text_trim_end(void **state)
{
	static const struct {
		const char *s;
		size_t len;
	} rows[] = {
		{ "", 0 },
		{ "a", 1 },
		{ "a\r\n", 1 },
		{ "a \r\n \n", 1 },
		{ " a b ", 4 },
		{ "\r\n  ", 0 },
		{ "a\t", 2 },
	};
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(text_trim_end((const uint8_t *)rows[i].s,
				     strlen(rows[i].s)),
		    rows[i].len);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_every_character),
		cmocka_unit_test(test_text_longer_forms),
		cmocka_unit_test(test_text_malformed),
		cmocka_unit_test(test_text_trim_end),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
