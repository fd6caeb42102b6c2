/*
 * auth/check.h - is this the user's password?  crypt(3), at the same cost
 * whether the user exists or not.
 *
 * Runs in: auth, as the auth user.
 */
#ifndef AUTH_CHECK_H
#define AUTH_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "auth/table.h"

enum check_verdict {
	CHECK_RIGHT,
	CHECK_WRONG,
	CHECK_FAILED /* crypt(3) found no memory */
};

struct check; /* what crypt(3) works in */

/* NULL without memory. */
struct check *check_new(void);
void check_free(struct check *c);

/*
 * Hashes the password once.  A name that is unknown, or empty (what was
 * given can be no user's), and a password that can be nobody's (empty, or
 * with a NUL) are wrong.  At most AUTH_PASSWORD_MAX bytes.
 */
enum check_verdict
check_password(struct check *c, const struct table *t, const uint8_t *user,
    size_t user_len, const uint8_t *password, size_t password_len);

#endif
