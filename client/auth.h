/*
 * client/auth.h - who the user is: the name that was given, and the password
 * that is asked for.
 *
 * Runs in: client, as its user.  The password is in struct auth alone, and
 * while it is sent in the line made of it; auth_wipe ends that.
 */
#ifndef CLIENT_AUTH_H
#define CLIENT_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "client/failure.h"

#define AUTH_USER_MAX	  32 /* bytes (docs/FMLTP.md section 5) */
#define AUTH_PASSWORD_MAX 511

struct auth {
	const char *user; /* NULL: none was given */
	int fd; /* the password's first line is here; -1: the terminal */
	bool has_password;
	size_t len;
	char password[AUTH_PASSWORD_MAX + 2]; /* one byte too many, and a NUL */
};

/* True if AUTH can carry this name; else `*why` says why not. */
bool auth_user_valid(const char *user, const char **why);

/*
 * Reads the first line of `fd` as the password, and not one byte behind it:
 * commands may follow.  Closes `fd` where it is none of the standard ones.
 */
enum client_exit auth_read(struct auth *a, struct failure *f);
/* Asks for the password on the terminal, where auth_read has not read it. */
enum client_exit auth_ask(struct auth *a, const char *host, struct failure *f);
void auth_wipe(struct auth *a);

#endif
