/*
 * tests/unit/test_error.c - the names of the reasons.
 *
 * Runs in: the unit tests alone.
 */
#include "fmltp/error.h"
#include "tests/unit/unit.h"

/* A token is one word of a `key=value` log line, and tells one reason. */
static void
test_error_tokens(void **state)
{
	const char *token;
	int e, other;

	for (e = 0; e < FMLTP_ERROR_COUNT; e++) {
		token = fmltp_error_token((enum fmltp_error)e);
		assert_int_equal(
		    strspn(token, "abcdefghijklmnopqrstuvwxyz0123456789-"),
		    strlen(token));
		assert_true(strlen(token) > 0);
		assert_true(strlen(fmltp_error_text((enum fmltp_error)e)) > 0);
		for (other = 0; other < e; other++)
			assert_string_not_equal(
			    token, fmltp_error_token((enum fmltp_error)other));
	}
	assert_string_equal(fmltp_error_token(FMLTP_OK), "ok");
	assert_string_equal(fmltp_error_token(FMLTP_REPLAY_SEEN), "replayed");
	assert_string_equal(
	    fmltp_error_text(FMLTP_INTERNAL), "an internal error");
}

/* A value from a message of another process may be anything. */
static void
test_error_outside(void **state)
{
	static const int values[] = { -1, FMLTP_ERROR_COUNT, 1 << 30 };
	size_t i;

	for (i = 0; i < COUNT_OF(values); i++) {
		assert_string_equal(
		    fmltp_error_token((enum fmltp_error)values[i]), "unknown");
		assert_string_equal(
		    fmltp_error_text((enum fmltp_error)values[i]),
		    "an unknown error");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_tokens),
		cmocka_unit_test(test_error_outside),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
