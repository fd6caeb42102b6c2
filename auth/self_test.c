/*
 * auth/self_test.c - a users file with a known answer for each method, so
 * that every call of a check is made once.
 *
 * Runs in: auth, at its start and in a self-test.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/check.h"
#include "auth/table.h"
#include "privsep/start.h"

/*
 * At the lowest costs.  SHA-512 is from openssl-passwd(1), bcrypt is a test
 * vector of other implementations, yescrypt is what its authors' code gives.
 */
static const char self_test_file[] =
    "sha512:$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYlWT5md"
    ".dk7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE0\n"
    "bcrypt:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm\n"
    "yescrypt:$y$j75$F5Jx5fExrKuPp53xLKQ..1$f9xplorlluprJ55ANJjSZGWxrsDC6O.PUyg"
    "DtlvsP7D\n";

static const struct self_test_answer {
	const char *user;
	const char *password;
	enum check_verdict verdict;
} self_test_answers[] = {
	{ "sha512", "a pass word", CHECK_RIGHT },
	{ "bcrypt", "Kk4DQuMMfZL9o", CHECK_RIGHT },
	{ "yescrypt", "a pass word", CHECK_RIGHT },
	{ "sha512", "Kk4DQuMMfZL9o", CHECK_WRONG },
	{ "bcrypt", "a pass word", CHECK_WRONG },
	{ "yescrypt", "Kk4DQuMMfZL9o", CHECK_WRONG },
	{ "nobody", "a pass word", CHECK_WRONG },
};

static bool
self_test_answer_right(
    struct check *c, const struct table *t, const struct self_test_answer *a)
{
	return check_password(c, t, (const uint8_t *)a->user, strlen(a->user),
		   (const uint8_t *)a->password,
		   strlen(a->password)) == a->verdict;
}

bool
auth_self_test(struct helper *h)
{
	const size_t len = sizeof(self_test_file) - 1;
	const struct table none = { 0 };
	const struct self_test_answer nobody = { "sha512", "a pass word",
		CHECK_WRONG };
	struct table t;
	struct check *c;
	char *bytes;
	uint32_t line;
	size_t i;
	bool right;

	/* No such file: but the call is made. */
	right = table_read(-1, &t, &line) == USERS_UNREADABLE;
	bytes = malloc(len);
	c = check_new();
	if (bytes == NULL || c == NULL) {
		free(bytes);
		free(c);
		return false;
	}
	memcpy(bytes, self_test_file, len);
	if (table_parse(bytes, len, len, &t, &line) != USERS_OK)
		right = false;
	for (i = 0;
	     i < sizeof(self_test_answers) / sizeof(self_test_answers[0]); i++)
		if (!self_test_answer_right(c, &t, &self_test_answers[i]))
			right = false;
	/* Without users: a hash at full cost. */
	if (!self_test_answer_right(c, &none, &nobody))
		right = false;
	table_wipe(&t);
	check_free(c);
	return right;
}
