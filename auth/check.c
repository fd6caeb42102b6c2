/*
 * auth/check.c - is this the user's password?  crypt(3), at the same cost
 * whether the user exists or not.
 *
 * Runs in: auth, as the auth user.  Password, setting and hash are wiped
 * before a verdict is given.
 */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "auth/check.h"
#include "privsep/message.h"

/* What is hashed where there is no user at all: yescrypt as new hashes have
 * it.  Nobody's password: the verdict does not come from it. */
#define CHECK_NOBODY "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"

struct check {
	struct crypt_data data;
};

_Static_assert(AUTH_PASSWORD_MAX < CRYPT_MAX_PASSPHRASE_SIZE, "input");
_Static_assert(USERS_HASH_MAX < CRYPT_OUTPUT_SIZE, "setting");

struct check *
check_new(void)
{
	return calloc(1, sizeof(struct check));
}

void
check_free(struct check *c)
{
	freezero(c, sizeof(*c));
}

/* Copies the password as a string of its own length: without its NUL bytes,
 * since the time depends on the length.  False if there were any. */
static bool
check_copy(char *out, const uint8_t *password, size_t len)
{
	bool fit = len > 0;
	size_t i;

	for (i = 0; i < len; i++) {
		out[i] = password[i] == 0 ? 1 : (char)password[i];
		if (password[i] == 0)
			fit = false;
	}
	out[len] = '\0';
	return fit;
}

enum check_verdict
check_password(struct check *c, const struct table *t, const uint8_t *user,
    size_t user_len, const uint8_t *password, size_t password_len)
{
	struct crypt_data *d = &c->data;
	const struct table_user *known, *dummy, *u;
	enum check_verdict verdict = CHECK_WRONG;
	const char *hash;
	bool fit;

	known = table_find(t, user, user_len);
	dummy = table_dummy(t, user, user_len);
	u = known != NULL ? known : dummy;
	memset(d, 0, sizeof(*d));
	fit = check_copy(d->input, password, password_len);
	if (u == NULL)
		strlcpy(d->setting, CHECK_NOBODY, sizeof(d->setting));
	else
		memcpy(d->setting, u->hash, u->hash_len);
	hash = crypt_rn(d->input, d->setting, d, (int)sizeof(*d));
	if (hash == NULL)
		verdict = CHECK_FAILED;
	else if (u != NULL && strlen(hash) == u->hash_len &&
	    crypto_equal(hash, u->hash, u->hash_len) && fit && known != NULL)
		verdict = CHECK_RIGHT;
	explicit_bzero(d, sizeof(*d));
	return verdict;
}
