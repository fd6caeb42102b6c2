/*
 * tests/unit/test_passed.c - what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES
 * mean, and what they may not look like.
 *
 * Runs in: the unit tests alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/passed.h"
#include "tests/unit/unit.h"

#define SELF 4711

struct row {
	const char *pid;
	const char *fds;
	const char *names;
	size_t count; /* or, in a table of errors, not looked at */
	const char *says; /* the first name, or a word of the error */
};

static void
test_passed_sockets(void **state)
{
	static const struct row rows[] = {
		{ "4711", "1", NULL, 1, "" },
		{ "4711", "1", "", 1, "" },
		{ "4711", "1", "flexmusicd.socket", 1, "flexmusicd.socket" },
		{ "4711", "2", "a:b", 2, "a" },
		{ "4711", "3", "::", 3, "" },
		{ "4711", "16", NULL, 16, "" },
		{ "4711", "016", NULL, 16, "" },
		{ "004711", "2", ":b", 2, "" },
	};
	struct passed p;
	char why[128];
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		memset(&p, 'x', sizeof p);
		assert_true(passed_parse(&p, rows[i].pid, rows[i].fds,
		    rows[i].names, SELF, why, sizeof why));
		assert_int_equal(p.count, rows[i].count);
		assert_string_equal(p.socket[0].name, rows[i].says);
		assert_int_equal(p.socket[p.count - 1].host.len, 0);
	}
}

/* Each socket has its own name; one that is too long is cut. */
static void
test_passed_names(void **state)
{
	char names[300], why[128];
	struct passed p;

	assert_true(passed_parse(
	    &p, "4711", "3", "one:two:three", SELF, why, sizeof why));
	assert_string_equal(p.socket[0].name, "one");
	assert_string_equal(p.socket[1].name, "two");
	assert_string_equal(p.socket[2].name, "three");
	memset(names, 'n', 255);
	strlcpy(names + 255, ":last", sizeof names - 255);
	assert_true(
	    passed_parse(&p, "4711", "2", names, SELF, why, sizeof why));
	assert_int_equal(strlen(p.socket[0].name), PASSED_NAME_MAX);
	assert_string_equal(p.socket[1].name, "last");
}

/* Not set, or for another process: whatever the rest is. */
static void
test_passed_none(void **state)
{
	static const struct row rows[] = {
		{ NULL, NULL, NULL, 0, NULL },
		{ NULL, "1", NULL, 0, NULL },
		{ NULL, "x", "y", 0, NULL },
		{ "4711", NULL, NULL, 0, NULL },
		{ "4711", NULL, "a", 0, NULL },
		{ "4712", "1", NULL, 0, NULL },
		{ "1", "many", "a:b", 0, NULL },
		{ "2147483647", "1", NULL, 0, NULL },
	};
	struct passed p;
	char why[128];
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		memset(&p, 'x', sizeof p);
		assert_true(passed_parse(&p, rows[i].pid, rows[i].fds,
		    rows[i].names, SELF, why, sizeof why));
		assert_int_equal(p.count, 0);
	}
}

static void
test_passed_bad(void **state)
{
	static const struct row rows[] = {
		{ "", "1", NULL, 0, "LISTEN_PID" },
		{ "0", "1", NULL, 0, "LISTEN_PID" },
		{ "-1", "1", NULL, 0, "LISTEN_PID" },
		{ "+4711", "1", NULL, 0, "LISTEN_PID" },
		{ " 4711", "1", NULL, 0, "LISTEN_PID" },
		{ "4711 ", "1", NULL, 0, "LISTEN_PID" },
		{ "4711\n", "1", NULL, 0, "LISTEN_PID" },
		{ "0x1267", "1", NULL, 0, "LISTEN_PID" },
		{ "self", "1", NULL, 0, "LISTEN_PID" },
		{ "2147483648", "1", NULL, 0, "LISTEN_PID" },
		/* 2^64 + 4711 */
		{ "18446744073709556327", "1", NULL, 0, "LISTEN_PID" },
		{ "4711", "", NULL, 0, "LISTEN_FDS" },
		{ "4711", "0", NULL, 0, "LISTEN_FDS" },
		{ "4711", "-1", NULL, 0, "LISTEN_FDS" },
		{ "4711", "17", NULL, 0, "LISTEN_FDS" },
		{ "4711", "4294967297", NULL, 0, "LISTEN_FDS" },
		{ "4711", "18446744073709551617", NULL, 0, "LISTEN_FDS" },
		{ "4711", "1.0", NULL, 0, "LISTEN_FDS" },
		{ "4711", "1 ", NULL, 0, "LISTEN_FDS" },
		{ "4711", " 1", NULL, 0, "LISTEN_FDS" },
		{ "4711", "+1", NULL, 0, "LISTEN_FDS" },
		{ "4711", "one", NULL, 0, "LISTEN_FDS" },
		{ "4711", "1", "a:b", 0, "LISTEN_FDNAMES" },
		{ "4711", "1", ":", 0, "LISTEN_FDNAMES" },
		{ "4711", "2", "a", 0, "LISTEN_FDNAMES" },
		{ "4711", "2", "", 0, "LISTEN_FDNAMES" },
		{ "4711", "2", "a:b:", 0, "LISTEN_FDNAMES" },
		{ "4711", "3", "a:b", 0, "LISTEN_FDNAMES" },
	};
	struct passed p;
	char why[128];
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		why[0] = '\0';
		if (passed_parse(&p, rows[i].pid, rows[i].fds, rows[i].names,
			SELF, why, sizeof why))
			fail_msg("row %zu is accepted", i);
		assert_int_equal(p.count, 0);
		if (strncmp(why, rows[i].says, strlen(rows[i].says)) != 0 ||
		    why[strlen(rows[i].says)] != ' ')
			fail_msg("row %zu says: %s", i, why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passed_sockets),
		cmocka_unit_test(test_passed_names),
		cmocka_unit_test(test_passed_none),
		cmocka_unit_test(test_passed_bad),
	};

	return cmocka_run_group_tests_name("passed", tests, NULL, NULL);
}
