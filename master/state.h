/*
 * master/state.h - the state directory: DH parameters made ahead, each used
 * once (docs/ARCHITECTURE.md, "Parameters").
 *
 * Runs in: master, as root.  The sets are public values; the directory is
 * trusted only as far as its owner and mode are right, and what is in it is
 * checked in paramgen's sandbox, not here.
 *
 * Format: a file `dh-<bits>-<sha256>.pem` holds one set (PKCS#3, PEM, as in
 * packet 3); <sha256> is the hash of the file's content, in 64 lower-case
 * hex digits.  `lock` is locked (flock) while a server uses the directory.
 * Files that begin with a dot are being written.  `.bad` at the end marks a
 * file that was set aside.
 */
#ifndef MASTER_STATE_H
#define MASTER_STATE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_FILE_MAX 4096 /* bytes of a set in PEM */

struct state;

/* A set taken from the directory: bytes, not yet checked. */
struct state_set {
	char name[128]; /* the file's name, for the log */
	uint8_t digest[32]; /* that its name claims */
	size_t len;
	uint8_t pem[STATE_FILE_MAX];
};

/*
 * Opens the directory (made with mode 0700 when missing and its parent
 * exists) and locks it.  It must be a directory, no link, owned by `owner`,
 * with no access for group and others.  NULL, and a sentence that names the
 * path and the remedy in `why`, otherwise (also when another server holds
 * the lock).
 *
 * A directory in which the lock can't be made for want of space or of the
 * right to write (ENOSPC, EDQUOT, EROFS, EACCES), or that for one of the
 * first three can't be made itself, gives a state that is unusable: it has no
 * sets, and takes none.  Each state_take and state_put tries anew, so that
 * it is used as soon as the trouble is over.
 */
struct state *
state_open(const char *path, uid_t owner, char *why, size_t why_len);
void state_close(struct state *s);

/* Why the state is unusable, as a sentence with path and remedy; or NULL. */
const char *state_trouble(const struct state *s);

/*
 * Hears of a file that is not used: its name ("." where the directory itself
 * can't be read) and why.  Both are printable.
 */
typedef void state_bad(void *arg, const char *name, const char *reason);

/*
 * Takes one set for `bits`: opened without following links, must be a
 * regular file, owner and mode right (no write for others), one link, at
 * most STATE_FILE_MAX; read; unlinked, and the directory synced, before it
 * is returned: true.  False when there is none.  A file that is wrong is
 * renamed to NAME.bad and reported to `bad` (which may be NULL), and the next
 * one tried.  When the unlink or sync fails (a read-only directory), or there
 * is no descriptor or memory left, the set is NOT used: reported, false.
 */
bool state_take(struct state *s, unsigned bits, struct state_set *out,
    state_bad *bad, void *arg);

/*
 * Sets aside content that was taken and then found wrong by paramgen: it is
 * written back under NAME.bad for the administrator to look at.  Failures
 * are ignored but for the return value.
 */
bool state_keep_bad(struct state *s, const struct state_set *set);

/*
 * Adds a set, atomically (a dot file, fsync, rename, directory fsync), with
 * mode 0600.  False with errno: then it never was in the directory, and
 * nothing is left behind, so that it can be used from memory.  A directory
 * that can't be synced after the rename has the set all the same: it may get
 * lost, but nobody else may use it.
 */
bool state_put(struct state *s, unsigned bits, const uint8_t *pem, size_t len);

/* How many sets for `bits` there are (by name alone). */
size_t state_count(struct state *s, unsigned bits);

#endif
