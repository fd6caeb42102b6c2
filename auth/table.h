/*
 * auth/table.h - the users, in memory.
 *
 * Runs in: auth, as the auth user.  The hashes lie here, and nowhere else in
 * a running server.
 */
#ifndef AUTH_TABLE_H
#define AUTH_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "fmltp/crypto.h"
#include "privsep/users.h"

/* A user: points into the bytes of the file. */
struct table_user {
	const char *name;
	const char *hash;
	uint16_t name_len;
	uint16_t hash_len;
	uint32_t line;
};

/* All zeros: a table without users. */
struct table {
	char *bytes;
	size_t size; /* of `bytes` */
	struct table_user *user; /* sorted by name, without regard to case */
	size_t count;
	struct crypto_hmac key; /* that chooses dummies */
};

/*
 * Reads a users file whole, from its beginning, whatever the descriptor's
 * offset is: several processes may have it.  USERS_OK and a table, or what is
 * wrong, where (`line`, 0: in no line), and no table.
 */
enum users_fault table_read(int fd, struct table *out, uint32_t *line);

/* The same of `len` bytes at `bytes`, allocated as `size`, which the table
 * takes over, or which are freed. */
enum users_fault table_parse(
    char *bytes, size_t size, size_t len, struct table *out, uint32_t *line);

/* Wipes and frees; a table without users is left. */
void table_wipe(struct table *t);

/* The user of exactly this name, which may be any bytes, or NULL. */
const struct table_user *
table_find(const struct table *t, const uint8_t *name, size_t len);

/*
 * The user whose hash stands in for that of a name without one: always the
 * same for a name, and no one who does not have the file can tell which.
 * NULL where there are no users.
 */
const struct table_user *
table_dummy(const struct table *t, const uint8_t *name, size_t len);

#endif
