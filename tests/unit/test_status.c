/*
 * tests/unit/test_status.c - status codes and commands (docs/FMLTP.md
 * section 5).
 *
 * Runs in: the unit tests alone.
 */
#include <stdio.h>

#include "fmltp/status.h"
#include "tests/unit/unit.h"

static void
test_status_code(void **state)
{
	static const struct {
		const char *packet;
		int code;
	} rows[] = {
		{ "100 FmLTP/1.0 Interpreter Ready.\r\n", 100 },
		{ "200 Goodbye.\r\n", 200 },
		{ "221 0 ", 221 },
		{ "000 ", 0 },
		{ "999 x", 999 },
		{ "", -1 },
		{ "200", -1 },
		{ "200\r\n", -1 },
		{ "200\t", -1 },
		{ " 200 ", -1 },
		{ "20 x", -1 },
		{ "2000 ", -1 },
		{ "a00 x", -1 },
		{ "2/0 x", -1 },
		{ "20: x", -1 },
		{ "-10 x", -1 },
		{ "HELP", -1 },
	};
	const uint8_t *packet;
	size_t i, len;

	for (i = 0; i < COUNT_OF(rows); i++) {
		packet = (const uint8_t *)rows[i].packet;
		len = strlen(rows[i].packet);
		assert_int_equal(status_code(packet, len), rows[i].code);
		assert_true(status_begins(packet, len) == (rows[i].code >= 0));
	}
	/* The blank is there, but behind the packet's end. */
	assert_false(status_begins((const uint8_t *)"200 ", 3));
}

static void
test_status_every_code(void **state)
{
	static const int ready[] = { 100, 101, 102, 110, 111, 112, 120, 121,
		122 };
	char packet[8];
	size_t next = 0;
	int code;

	for (code = 0; code < 1000; code++) {
		snprintf(packet, sizeof(packet), "%03d x", code);
		assert_int_equal(status_code((const uint8_t *)packet, 5), code);
		if (next < COUNT_OF(ready) && ready[next] == code) {
			assert_true(status_is_ready(code));
			next++;
		} else
			assert_false(status_is_ready(code));
	}
	assert_int_equal(next, COUNT_OF(ready));
	assert_false(status_is_ready(-1));
}

static void
expect_word(const struct command_word *w, const char *text)
{
	assert_int_equal(w->len, strlen(text));
	assert_memory_equal(w->s, text, w->len);
	assert_true(command_word_is(w, text));
}

static void
test_command_parse_good(void **state)
{
	static const struct {
		const char *packet;
		const char *name;
		const char *rest; /* NULL: none */
	} rows[] = {
		{ "HELP", "HELP", NULL },
		{ "HELP\n", "HELP", NULL },
		{ "HELP\r\n", "HELP", NULL },
		{ "HELP QUIT\r\n", "HELP", "QUIT" },
		{ "HELP ", "HELP", "" },
		{ "HELP  QUIT", "HELP", " QUIT" },
		{ "AUTH user pass word ", "AUTH", "user pass word " },
		{ "help", "help", NULL },
		{ "\xc3\x84 \xc3\xb6", "\xc3\x84", "\xc3\xb6" },
		{ "200 Goodbye.", "200", "Goodbye." },
	};
	struct command c;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_true(command_parse((const uint8_t *)rows[i].packet,
		    strlen(rows[i].packet), &c));
		expect_word(&c.name, rows[i].name);
		assert_true(c.has_rest == (rows[i].rest != NULL));
		expect_word(&c.rest, rows[i].rest == NULL ? "" : rows[i].rest);
	}
}

static void
test_command_parse_bad(void **state)
{
	static const struct {
		const char *packet;
		size_t len;
	} rows[] = {
#define ROW(packet) { packet, sizeof(packet) - 1 }
		ROW(""),
		ROW("\n"),
		ROW("\r\n"),
		ROW(" "),
		ROW(" HELP"),
		ROW("HELP\r"),
		ROW("HELP\n\n"),
		ROW("HELP\r\r\n"),
		ROW("HELP\nQUIT"),
		ROW("HELP\r\nQUIT\r\n"),
		ROW("\nHELP"),
		ROW("HELP\tQUIT"),
		ROW("HELP\0"),
		ROW("\0HELP"),
		ROW("HELP \x7f"),
		ROW("HELP \xc2\x85"),
		ROW("HELP \xe2\x80\xa8"),
		ROW("HELP \xe2\x80\xae"),
		ROW("HELP \xe4"),
		ROW("HELP \xc0\x80"),
		ROW("\xff"),
#undef ROW
	};
	struct command c;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		if (command_parse(
			(const uint8_t *)rows[i].packet, rows[i].len, &c))
			fail_msg("row %zu is taken", i);
}

/* 4 KiB with the line end, no more. */
static void
test_command_parse_length(void **state)
{
	uint8_t packet[COMMAND_LINE_MAX + 1];
	struct command c;

	memset(packet, 'x', sizeof(packet));
	assert_true(command_parse(packet, COMMAND_LINE_MAX, &c));
	assert_int_equal(c.name.len, COMMAND_LINE_MAX);
	assert_false(command_parse(packet, COMMAND_LINE_MAX + 1, &c));
	memcpy(packet + COMMAND_LINE_MAX - 2, "\r\n", 2);
	assert_true(command_parse(packet, COMMAND_LINE_MAX, &c));
	memcpy(packet + COMMAND_LINE_MAX - 1, "\r\n", 2);
	assert_false(command_parse(packet, COMMAND_LINE_MAX + 1, &c));
}

static void
test_command_arguments(void **state)
{
	static const struct {
		const char *packet;
		bool good;
		size_t count;
		const char *words[3];
	} rows[] = {
		{ "HELP", true, 0, { NULL } },
		{ "HELP\r\n", true, 0, { NULL } },
		{ "HELP QUIT", true, 1, { "QUIT" } },
		{ "FETCH a 1 22\n", true, 3, { "a", "1", "22" } },
		{ "FETCH a b c d", true, 4, { "a", "b", "c" } },
		{ "FETCH a b c d e f", true, 6, { "a", "b", "c" } },
		{ "HELP ", false, 0, { NULL } },
		{ "HELP  QUIT", false, 0, { NULL } },
		{ "HELP QUIT ", false, 0, { NULL } },
		{ "FETCH a  b", false, 0, { NULL } },
		{ "FETCH a b c d  e", false, 0, { NULL } },
		{ "HELP \r\n", false, 0, { NULL } },
	};
	struct command_word words[3];
	struct command c;
	size_t i, n, count;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_true(command_parse((const uint8_t *)rows[i].packet,
		    strlen(rows[i].packet), &c));
		assert_true(
		    command_arguments(&c, words, 3, &count) == rows[i].good);
		if (!rows[i].good)
			continue;
		assert_int_equal(count, rows[i].count);
		for (n = 0; n < count && n < 3; n++)
			expect_word(&words[n], rows[i].words[n]);
	}
	/* No room at all: they are counted. */
	assert_true(command_parse(BYTES("A b c"), &c));
	assert_true(command_arguments(&c, NULL, 0, &count));
	assert_int_equal(count, 2);
}

static void
test_command_arguments_rest(void **state)
{
	static const struct {
		const char *packet;
		size_t max;
		bool good;
		size_t count;
		const char *words[3];
	} rows[] = {
		{ "AUTH", 2, true, 0, { NULL } },
		{ "AUTH\r\n", 2, true, 0, { NULL } },
		{ "AUTH user", 2, true, 1, { "user" } },
		{ "AUTH user ", 2, true, 1, { "user" } },
		{ "AUTH user \r\n", 2, true, 1, { "user" } },
		{ "AUTH user pass\n", 2, true, 2, { "user", "pass" } },
		{ "AUTH user two words", 2, true, 2, { "user", "two words" } },
		{ "AUTH user  a  b  ", 2, true, 2, { "user", " a  b  " } },
		{ "AUTH user  ", 2, true, 2, { "user", " " } },
		{ "AUTH ", 2, false, 0, { NULL } },
		{ "AUTH  pass", 2, false, 0, { NULL } },
		{ "SEARCH a b", 1, true, 1, { "a b" } },
		{ "SEARCH  a", 1, true, 1, { " a" } },
		{ "SEARCH ", 1, true, 0, { NULL } },
		{ "X a b c d", 3, true, 3, { "a", "b", "c d" } },
		{ "X a  c d", 3, false, 0, { NULL } },
	};
	struct command_word words[3];
	struct command c;
	size_t i, n, count;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_true(command_parse((const uint8_t *)rows[i].packet,
		    strlen(rows[i].packet), &c));
		assert_true(command_arguments_rest(&c, words, rows[i].max,
				&count) == rows[i].good);
		if (!rows[i].good)
			continue;
		assert_int_equal(count, rows[i].count);
		for (n = 0; n < count; n++)
			expect_word(&words[n], rows[i].words[n]);
	}
}

static void
test_command_word_is(void **state)
{
	struct command c;

	assert_true(command_parse(BYTES("HELP"), &c));
	assert_true(command_word_is(&c.name, "HELP"));
	assert_false(command_word_is(&c.name, "HEL"));
	assert_false(command_word_is(&c.name, "HELPS"));
	assert_false(command_word_is(&c.name, "help"));
	assert_false(command_word_is(&c.name, ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_code),
		cmocka_unit_test(test_status_every_code),
		cmocka_unit_test(test_command_parse_good),
		cmocka_unit_test(test_command_parse_bad),
		cmocka_unit_test(test_command_parse_length),
		cmocka_unit_test(test_command_arguments),
		cmocka_unit_test(test_command_arguments_rest),
		cmocka_unit_test(test_command_word_is),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
