/*
 * ctl/userfile.h - the users file, read and replaced as a whole.
 *
 * Runs in: ctl.  What a line is, privsep/users.h says.
 *
 * A change holds an exclusive flock(2) of the users file itself.  Nobody can
 * hold that who may not read the file, as anybody could with one of its
 * directory, and no lock file stays behind.  A change gives the name to a new
 * file, so whoever has waited for the lock looks whether the name is still
 * that of the file that it has locked, and begins again where not.
 */
#ifndef CTL_USERFILE_H
#define CTL_USERFILE_H

#include <sys/stat.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "privsep/users.h"

/* A user's line. */
struct userfile_user {
	size_t start; /* of the line, in `bytes` */
	unsigned number; /* of the line, from 1 */
	struct users_line line;
};

/* The file, as it was read.  `path` is the caller's and stays. */
struct userfile {
	const char *path;
	const char *name; /* its last component */
	int fd; /* -1: there is none */
	int dir; /* its directory; AT_FDCWD where it is only read */
	struct stat st;
	char *bytes;
	size_t len;
	struct userfile_user *users;
	size_t count;
	/* A change */
	bool created; /* by this process, and empty until it is replaced */
	bool blocked; /* signals are held back; these are to come back: */
	sigset_t signals;
};

/*
 * Reads it; nothing is held.  No file is an error, or, if `may_be_missing`,
 * a file without users.  False, with the reason said; userfile_close is due
 * in any case.
 */
bool userfile_read(struct userfile *u, const char *path, bool may_be_missing);

/* Reads it to change it: locks it, and makes it where there is none and
 * `create` is set.  False, with the reason said. */
bool userfile_lock(struct userfile *u, const char *path, bool create);

/* The user with exactly this name, or NULL. */
const struct userfile_user *
userfile_find(const struct userfile *u, const char *name);
/* The user whose name is this one without regard to case, or NULL. */
const struct userfile_user *
userfile_find_alike(const struct userfile *u, const char *name);

/*
 * The three changes, of a locked file, one at most: a line at the end, a hash
 * in its line, a line less; every other byte stays.  The new file has owner
 * and mode of the old one.  False, with the reason said: the old file stays.
 */
bool userfile_add(struct userfile *u, const char *name, const char *hash);
bool userfile_set_hash(
    struct userfile *u, const struct userfile_user *user, const char *hash);
bool userfile_remove(struct userfile *u, const struct userfile_user *user);

/* Gives back lock, memory and signals; a file that was made for a change
 * that did not happen goes. */
void userfile_close(struct userfile *u);

#endif
