/*
 * tests/unit/test_pam.c - what PAM is asked: names and passwords as strings.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#include <string.h>

#include "pam/attempt.h"
#include "tests/unit/unit.h"

static void
ask(struct pam_question *q, const char *user, size_t user_len,
    const char *password, size_t password_len)
{
	memset(q, 0xff, sizeof(*q));
	pam_question_set(q, (const uint8_t *)user, user_len,
	    (const uint8_t *)password, password_len, "192.0.2.7");
	assert_string_equal(q->address, "192.0.2.7");
}

static void
test_names(void **state)
{
	static const struct {
		const char *name;
		bool possible;
	} rows[] = {
		{ "a", true },
		{ "alice", true },
		{ "Alice.B_c-9", true },
		{ "bob$", true },
		{ "bob@example.org", true },
		{ "EXAMPLE\\bob", true },
		{ "0bob+x", true },
		{ "_bob", true },
		{ "", false },
		{ "-bob", false },
		{ "+bob", false },
		{ ".", false },
		{ "..", false },
		{ ".bob", false },
		{ "bob/x", false },
		{ "bob:x", false },
		{ "bob x", false },
		{ "bob\n", false },
		{ "bo\x7f", false },
		{ "z\xc3\xb6", false },
		{ "b%b", false },
		{ "?", false },
	};
	struct pam_question q;
	char longest[AUTH_USER_MAX];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask(&q, rows[i].name, strlen(rows[i].name), "secret", 6);
		assert_int_equal(q.possible, rows[i].possible);
		assert_string_equal(
		    q.user, rows[i].possible ? rows[i].name : "?");
		assert_string_equal(q.password, "secret");
	}
	memset(longest, 'a', sizeof(longest));
	ask(&q, longest, sizeof(longest), "secret", 6);
	assert_true(q.possible);
	assert_int_equal(strlen(q.user), sizeof(longest));
	ask(&q, "a\0b", 3, "secret", 6);
	assert_false(q.possible);
	assert_string_equal(q.user, "?");
}

/* A string that is not what was given lets nobody in, and is as long. */
static void
test_passwords(void **state)
{
	char longest[AUTH_PASSWORD_MAX];
	struct pam_question q;

	ask(&q, "alice", 5, "", 0);
	assert_false(q.possible);
	assert_string_equal(q.password, "");
	ask(&q, "alice", 5, "se\0ret", 6);
	assert_false(q.possible);
	assert_int_equal(strlen(q.password), 6);
	ask(&q, "alice", 5, "secret\0", 7);
	assert_false(q.possible);
	assert_string_not_equal(q.password, "secret");
	ask(&q, "alice", 5, " p\xc3\xa4 ss ", 8);
	assert_true(q.possible);
	assert_string_equal(q.password, " p\xc3\xa4 ss ");
	memset(longest, 'x', sizeof(longest));
	ask(&q, "alice", 5, longest, sizeof(longest));
	assert_true(q.possible);
	assert_int_equal(strlen(q.password), sizeof(longest));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_passwords),
	};

	return cmocka_run_group_tests_name("pam", tests, NULL, NULL);
}
