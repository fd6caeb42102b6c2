/*
 * tests/unit/test_bar.c - the line that says how far a search is: its text
 * for terminals of all widths, and how it comes and goes on one.
 *
 * Runs in: the unit tests alone.
 */
#include <sys/ioctl.h>

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/bar.h"
#include "tests/unit/unit.h"

#define BAR_20_OF_37 "[#######             ]"
#define BAR_20_FULL  "[####################]"
#define BAR_20_EMPTY "[                    ]"

static void
test_bar_format(void **state)
{
	static const struct {
		unsigned columns;
		struct bar_progress p;
		const char *line;
	} t[] = {
		{ 80, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits " BAR_20_OF_37 " 37% of the expected tests, "
		    "1.2 s, 1630/s" },
		{ 80, { 2048, 2, 0, 2300, 0 },
		    "2048 bits " BAR_20_EMPTY " 0% of the expected tests, "
		    "0.0 s, 0.0/s" },
		{ 80, { 2048, 2, 0, 0, 0 },
		    "2048 bits, 0 tests, 0.0 s, 0.0/s" },
		{ 80, { 2048, 2, 17, 0, 1000 },
		    "2048 bits, 17 tests, 1.0 s, 17/s" },
		/* A share is never said to be more than it is. */
		{ 80, { 2048, 2, 22999, 23000, 59999 },
		    "2048 bits [################### ] 99% of the expected "
		    "tests, 59.9 s, 383/s" },
		{ 80, { 2048, 2, 2300, 2300, 60000 },
		    "2048 bits " BAR_20_FULL " 100% of the expected tests, "
		    "1 min 00 s, 38/s" },
		{ 80, { 3072, 2, 143, 100, 754000 },
		    "3072 bits " BAR_20_FULL " 143% of the expected tests, "
		    "12 min 34 s, 0.1/s" },
		{ 80, { 8192, 64, 9900, 30000, 1000000 },
		    "8192 bits [######              ] 33% of the expected "
		    "tests, "
		    "16 min 40 s, 9.9/s" },
		{ 80, { 8192, 2, 10000, 30000, 1000000 },
		    "8192 bits [######              ] 33% of the expected "
		    "tests, "
		    "16 min 40 s, 10/s" },
		{ 200, { 8192, 2, 10000, 40000, 90061000 },
		    "8192 bits [#####               ] 25% of the expected "
		    "tests, 25 h 01 min, 0.1/s" },
		/* Ever narrower: a shorter bar, none, less text, nothing. */
		{ 74, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits " BAR_20_OF_37 " 37% of the expected tests, "
		    "1.2 s, 1630/s" },
		{ 73, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits [#######            ] 37% of the expected "
		    "tests, 1.2 s, 1630/s" },
		{ 60, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits [##    ] 37% of the expected tests, 1.2 s, "
		    "1630/s" },
		{ 59, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits [#    ] 37% of the expected tests, 1.2 s, "
		    "1630/s" },
		{ 58, { 2048, 2, 1956, 5286, 1200 },
		    "2048 bits, 37% of the expected tests, 1.2 s, 1630/s" },
		{ 40, { 2048, 2, 1956, 5286, 1200 }, "2048 bits, 37%, 1.2 s" },
		{ 22, { 2048, 2, 1956, 5286, 1200 }, "2048 bits, 37%, 1.2 s" },
		{ 21, { 2048, 2, 1956, 5286, 1200 }, "37%" },
		{ 4, { 2048, 2, 1956, 5286, 1200 }, "37%" },
		{ 3, { 2048, 2, 1956, 5286, 1200 }, "" },
		{ 1, { 2048, 2, 1956, 5286, 1200 }, "" },
		{ 0, { 2048, 2, 1956, 5286, 1200 }, "" },
		{ 20, { 2048, 2, 17, 0, 1000 }, "1.0 s" },
		{ 5, { 2048, 2, 17, 0, 1000 }, "" },
		/* Nothing overflows. */
		{ 120, { 8192, 2, UINT64_MAX, UINT64_MAX, 1000 },
		    "8192 bits " BAR_20_FULL " 100% of the expected tests, "
		    "1.0 s, 1844674407370955161/s" },
		{ 250, { UINT32_MAX, 2, UINT64_MAX, 1, UINT64_MAX },
		    "4294967295 bits " BAR_20_FULL " 18446744073709551615% of "
		    "the expected tests, 5124095576030 h 25 min, 1000/s" },
	};
	char line[256];
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		memset(line, 'x', sizeof line);
		bar_format(line, sizeof line, t[i].columns, &t[i].p);
		if (strcmp(line, t[i].line) != 0)
			fail_msg(
			    "row %zu: \"%s\", not \"%s\"", i, line, t[i].line);
	}
}

/* No width and no buffer is ever passed, whatever the figures. */
static void
test_bar_format_fits(void **state)
{
	struct unit_random random = { 7 };
	struct bar_progress p;
	unsigned columns;
	char line[300];
	size_t size;
	unsigned i;

	for (i = 0; i < 20000; i++) {
		p.bits = (unsigned)unit_random_next(&random) >> (i % 32);
		p.processes = 1;
		p.tests = unit_random_next(&random) >> (i % 61);
		p.expected = unit_random_next(&random) >> (i * 7 % 64);
		p.elapsed_ms = unit_random_next(&random) >> (i * 11 % 64);
		columns = (unsigned)unit_random_next(&random) % 130;
		size = (size_t)unit_random_next(&random) % 200;
		memset(line, 'x', sizeof line);
		bar_format(line, size, columns, &p);
		assert_int_equal(line[size], 'x');
		if (size == 0)
			continue;
		assert_true(strlen(line) < size);
		if (columns > 0)
			assert_true(strlen(line) <= columns - 1);
	}
}

/* --- on a terminal -------------------------------------------------------- */

struct terminal {
	int master;
	int saved; /* standard error as it was */
};

static const struct bar_progress shown = { 2048, 2, 1956, 5286, 1200 };

static int
setup(void **state)
{
	static struct terminal t;
	int slave;

	if (openpty(&t.master, &slave, NULL, NULL, NULL) == -1)
		return -1;
	t.saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (t.saved == -1 || dup2(slave, STDERR_FILENO) == -1 ||
	    fcntl(t.master, F_SETFL, O_NONBLOCK) == -1)
		return -1;
	close(slave);
	*state = &t;
	return 0;
}

static int
teardown(void **state)
{
	const struct terminal *t = *state;

	dup2(t->saved, STDERR_FILENO);
	close(t->saved);
	return close(t->master);
}

static void
set_columns(const struct terminal *t, unsigned short columns)
{
	const struct winsize size = { .ws_row = 24, .ws_col = columns };

	assert_int_equal(ioctl(t->master, TIOCSWINSZ, &size), 0);
}

/* What came to the terminal since the last time. */
static void
assert_seen(const struct terminal *t, const char *expected)
{
	char text[512];
	const ssize_t n = read(t->master, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static void
test_bar_on_terminal(void **state)
{
	const struct terminal *t = *state;

	/* Nothing is there to be removed. */
	bar_clear();
	assert_seen(t, "");
	set_columns(t, 40);
	assert_true(bar_show(&shown));
	assert_seen(t, "\r2048 bits, 37%, 1.2 s\033[K");
	/* A terminal that got wider meanwhile. */
	set_columns(t, 74);
	assert_true(bar_show(&shown));
	assert_seen(t,
	    "\r2048 bits " BAR_20_OF_37
	    " 37% of the expected tests, 1.2 s, 1630/s\033[K");
	bar_clear();
	assert_seen(t, "\r\033[K");
	bar_clear();
	assert_seen(t, "");
	/* One that does not know its width is taken for one of 80. */
	set_columns(t, 0);
	assert_true(bar_show(&shown));
	assert_seen(t,
	    "\r2048 bits " BAR_20_OF_37
	    " 37% of the expected tests, 1.2 s, 1630/s\033[K");
	bar_clear();
	assert_seen(t, "\r\033[K");
}

/* A terminal that was stopped is not waited for; the line goes later. */
static void
test_bar_on_stopped_terminal(void **state)
{
	const struct terminal *t = *state;
	unsigned i;

	set_columns(t, 74);
	assert_true(bar_show(&shown));
	assert_int_equal(tcflow(STDERR_FILENO, TCOOFF), 0);
	for (i = 0; i < 10000; i++)
		bar_show(&shown);
	bar_clear();
	assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
	while (read(t->master, (char[512]){ 0 }, 512) > 0)
		continue;
	bar_clear();
	assert_seen(t, "\r\033[K");
	bar_clear();
	assert_seen(t, "");
}

/* Where standard error is no terminal, nothing is written. */
static void
test_bar_elsewhere(void **state)
{
	const int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	bool is_terminal;
	int fds[2];
	char c;

	assert_int_not_equal(saved, -1);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	is_terminal = bar_show(&shown);
	bar_clear();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fds[1]);
	assert_false(is_terminal);
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
}

int
main(void)
{
#define TERMINAL(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bar_format),
		cmocka_unit_test(test_bar_format_fits),
		TERMINAL(test_bar_on_terminal),
		TERMINAL(test_bar_on_stopped_terminal),
		cmocka_unit_test(test_bar_elsewhere),
	};

	return cmocka_run_group_tests_name("bar", tests, NULL, NULL);
}
