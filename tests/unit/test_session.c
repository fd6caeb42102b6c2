/*
 * tests/unit/test_session.c - a session's commands and their answers
 * (docs/FMLTP.md section 5).
 *
 * Runs in: the test alone.
 */
#include "fmltp/text.h"
#include "tests/unit/unit.h"
#include "worker/worker.h"

#define INVALID "400 Invalid command or operative.\r\n"

/* A worker as the zygote has it: all zero, and aligned as it asks for. */
static struct worker *
fresh_worker(void)
{
	static struct worker w;

	memset(&w, 0, sizeof(w));
	return &w;
}

/* The answer to a packet, NUL-terminated. */
static const char *
answer(struct worker *w, const void *packet, size_t len)
{
	static char text[WORKER_PLAIN_MAX + 1];
	struct buf b;

	buf_init(&b, text, WORKER_PLAIN_MAX);
	session_answer(w, packet, len, &b);
	assert_false(b.failed);
	assert_true(b.len <= COMMAND_ANSWER_MAX);
	text[b.len] = '\0';
	return text;
}

static void
test_answers(void **state)
{
	static const struct {
		const char *packet;
		const char *answer;
	} rows[] = {
		{ "HELP",
		    "200 Available commands:\r\n"
		    "HELP - lists the commands, or explains one\r\n"
		    "QUIT - ends the session\r\n"
		    "Run HELP <command> for more information.\r\n" },
		{ "HELP\r\n",
		    "200 Available commands:\r\n"
		    "HELP - lists the commands, or explains one\r\n"
		    "QUIT - ends the session\r\n"
		    "Run HELP <command> for more information.\r\n" },
		{ "HELP QUIT",
		    "200 Help for QUIT:\r\nUsage: QUIT\r\n"
		    "ends the session\r\n" },
		{ "HELP HELP\n",
		    "200 Help for HELP:\r\nUsage: HELP [<command>]\r\n"
		    "lists the commands, or explains one\r\n" },
		{ "HELP quit", "420 Command quit not found.\r\n" },
		{ "HELP \xc3\xa9", "420 Command \xc3\xa9 not found.\r\n" },
		{ "HELP HELP HELP", "410 Too many arguments passed.\r\n" },
		{ "QUIT now", "410 Too many arguments passed.\r\n" },
		{ "", INVALID },
		{ "\r\n", INVALID },
		{ " ", INVALID },
		{ "help", INVALID },
		{ "Help", INVALID },
		{ "HELPX", INVALID },
		{ "HEL", INVALID },
		{ " HELP", INVALID },
		{ "HELP ", INVALID },
		{ "HELP  QUIT", INVALID },
		{ "HELP QUIT ", INVALID },
		{ "HELP\tQUIT", INVALID },
		{ "HELP\r\nQUIT", INVALID },
		{ "HELP\x1b[2J", INVALID },
		{ "HELP \xff", INVALID },
		{ "HELP \xc0\x80", INVALID },
		{ "HELP \xe2\x80\xae", INVALID },
		{ "AUTH user password", INVALID },
		{ "IDENT", INVALID },
		{ "GET 1", INVALID },
	};
	struct worker *w = fresh_worker();
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_string_equal(
		    answer(w, rows[i].packet, strlen(rows[i].packet)),
		    rows[i].answer);
		assert_int_equal(w->commands, i + 1);
		assert_false(w->quit);
	}
	assert_string_equal(answer(w, "QUIT", 4), "200 Goodbye.\r\n");
	assert_true(w->quit);
}

/* A NUL inside, and what is too long. */
static void
test_odd_packets(void **state)
{
	struct worker *w = fresh_worker();
	static char packet[COMMAND_LINE_MAX + 8];
	const char *text;

	assert_string_equal(answer(w, "HELP\0QUIT", 9), INVALID);
	assert_string_equal(answer(w, "\0", 1), INVALID);
	memset(packet, 'A', sizeof(packet));
	memcpy(packet, "HELP ", 5);
	assert_string_equal(answer(w, packet, COMMAND_LINE_MAX + 1), INVALID);
	/* A long word comes back cut, and the answer stays small. */
	text = answer(w, packet, COMMAND_LINE_MAX);
	assert_int_equal(strncmp(text, "420 Command AAAA", 16), 0);
	assert_non_null(strstr(text, "AAA... not found.\r\n"));
}

/* A word is cut between characters, wherever they begin. */
static void
test_cut_is_text(void **state)
{
	struct worker *w = fresh_worker();
	char packet[256];
	const char *text;
	size_t shift, len;

	for (shift = 0; shift < 4; shift++) {
		memcpy(packet, "HELP ", 5);
		memset(packet + 5, 'x', shift);
		for (len = 5 + shift; len + 4 < 200; len += 4)
			memcpy(packet + len, "\xf0\x9f\x8e\xb5", 4);
		text = answer(w, packet, len);
		assert_true(
		    text_is_printable((const uint8_t *)text, strlen(text) - 2));
		assert_non_null(strstr(text, "... not found."));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_odd_packets),
		cmocka_unit_test(test_cut_is_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
