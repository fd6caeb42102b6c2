/*
 * ctl/password.h - a password: from a terminal or standard input, and its
 * hash.
 *
 * Runs in: ctl.
 */
#ifndef CTL_PASSWORD_H
#define CTL_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "privsep/message.h"
#include "privsep/users.h"

/* A secret: whoever has one wipes it. */
struct password {
	size_t len;
	/* One byte more than it may have, and a NUL. */
	char text[AUTH_PASSWORD_MAX + 2];
};

/*
 * A new password for this user: asked for twice on the terminal, or one line
 * of standard input.  False, with the reason said, also where it has fewer
 * characters than `min`, or cannot be sent (docs/FMLTP.md section 5).
 */
bool password_get_new(
    struct password *p, const char *user, unsigned min, bool from_stdin);

/* A password to be tried: asked for once, of any length that can be sent. */
bool password_get(struct password *p, const char *user, bool from_stdin);

/* The hash of a new password, by yescrypt.  False, with the reason said. */
bool password_hash(const struct password *p, char out[USERS_HASH_MAX + 1]);

enum password_match {
	PASSWORD_RIGHT,
	PASSWORD_WRONG,
	PASSWORD_FAILED /* crypt(3) could not say; the reason is said */
};

enum password_match
password_match(const struct password *p, const char *hash, size_t hash_len);

#endif
