/*
 * privsep/users.h - the users file: a line `name:hash` each.
 *
 * Runs in: auth, which alone sees the hashes of a running server; in
 * flexmusicctl, which changes the file; in tests.  Pure functions of bytes.
 *
 * A name has 2 to 32 ASCII letters and digits; two names that differ in case
 * alone can't both be there.  A hash is one of crypt(3): bcrypt ($2a$, $2b$,
 * $2y$), yescrypt ($y$), SHA-512 ($6$).  An empty line, and one that begins
 * with #, is a comment.  Lines end in LF or CR LF; the last may have no end.
 */
#ifndef PRIVSEP_USERS_H
#define PRIVSEP_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USERS_FILE_MAX (16 * 1024 * 1024) /* bytes */
#define USERS_LINE_MAX 512 /* bytes, its end included */
#define USERS_HASH_MAX 256 /* bytes */
#define USERS_NAME_MIN 2
#define USERS_NAME_MAX 32

/* X(enumerator, sentence for the administrator) */
#define USERS_FAULTS(X)                                                      \
	X(USERS_OK, "ok")                                                    \
	X(USERS_UNREADABLE, "it cannot be read")                             \
	X(USERS_TOO_LARGE, "it has more than 16 MiB")                        \
	X(USERS_LINE_LONG, "the line is longer than 512 bytes")              \
	X(USERS_NO_COLON, "the line is not name:hash")                       \
	X(USERS_NAME, "the name is not 2 to 32 letters and digits")          \
	X(USERS_HASH_METHOD,                                                 \
	    "the hash is not of bcrypt, yescrypt or SHA-512 as crypt(5) has" \
	    " it")                                                           \
	X(USERS_HASH_FORM, "the hash is malformed or cut short")             \
	X(USERS_TWICE, "the name is there twice (case does not count)")      \
	X(USERS_NUL, "the line has a NUL or another control character")      \
	X(USERS_NO_MEMORY, "no memory")

enum users_fault {
#define X(name, text) name,
	USERS_FAULTS(X)
#undef X
	USERS_FAULT_COUNT
};

/* A line of the file: points into the bytes that were parsed. */
struct users_line {
	const char *name; /* NULL: a comment or an empty line */
	size_t name_len;
	const char *hash;
	size_t hash_len;
	size_t taken; /* bytes, the line's end included */
};

/*
 * Parses the line at the beginning of the `len` bytes (more than 0).
 * USERS_OK, or what is wrong; `taken` is right in either case.
 */
enum users_fault
users_parse_line(const char *bytes, size_t len, struct users_line *out);

/* True for a name that a file may have. */
bool users_name_valid(const char *name, size_t len);
/* True for a hash of an allowed method, of the form and length that crypt(3)
 * makes. */
bool users_hash_valid(const char *hash, size_t len);

/* The sentence of a fault; "unknown" for a value outside the list. */
const char *users_fault_text(unsigned fault);

#endif
