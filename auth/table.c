/*
 * auth/table.c - the users, in memory.
 *
 * Runs in: auth, as the auth user.  Whatever held a hash is wiped before it
 * is freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/table.h"

#define TABLE_READ_FIRST 65536 /* bytes */

static int
table_fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* Orders names without regard to case. */
static int
table_compare_names(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const unsigned char *p = a, *q = b;
	size_t i;
	int d;

	for (i = 0; i < a_len && i < b_len; i++) {
		d = table_fold(p[i]) - table_fold(q[i]);
		if (d != 0)
			return d;
	}
	return (a_len > b_len) - (a_len < b_len);
}

static int
table_compare(const void *a, const void *b)
{
	const struct table_user *p = a, *q = b;
	int d;

	d = table_compare_names(p->name, p->name_len, q->name, q->name_len);
	return d != 0 ? d : (p->line > q->line) - (p->line < q->line);
}

void
table_wipe(struct table *t)
{
	freezero(t->bytes, t->size);
	free(t->user);
	explicit_bzero(t, sizeof(*t));
}

static bool
table_add(
    struct table *t, size_t *room, const struct users_line *l, uint32_t line)
{
	struct table_user *user, *u;

	if (t->count == *room) {
		user = reallocarray(
		    t->user, *room == 0 ? 64 : 2 * *room, sizeof(*user));
		if (user == NULL)
			return false;
		t->user = user;
		*room = *room == 0 ? 64 : 2 * *room;
	}
	u = &t->user[t->count++];
	u->name = l->name;
	u->name_len = (uint16_t)l->name_len;
	u->hash = l->hash;
	u->hash_len = (uint16_t)l->hash_len;
	u->line = line;
	return true;
}

/* The first line whose name stands above it already; 0 where none does. */
static uint32_t
table_find_twice(const struct table *t)
{
	const struct table_user *u;
	uint32_t line = 0;
	size_t i;

	for (i = 1; i < t->count; i++) {
		u = &t->user[i];
		if (table_compare_names(u[-1].name, u[-1].name_len, u->name,
			u->name_len) == 0 &&
		    (line == 0 || u->line < line))
			line = u->line;
	}
	return line;
}

enum users_fault
table_parse(
    char *bytes, size_t size, size_t len, struct table *out, uint32_t *line)
{
	uint8_t digest[CRYPTO_SHA256_LEN];
	struct users_line l;
	enum users_fault fault = USERS_OK;
	uint32_t number = 0, twice;
	size_t done, room = 0;

	memset(out, 0, sizeof(*out));
	out->bytes = bytes;
	out->size = size;
	for (done = 0; done < len && fault == USERS_OK; done += l.taken) {
		number++;
		fault = users_parse_line(bytes + done, len - done, &l);
		if (fault == USERS_OK && l.name != NULL &&
		    !table_add(out, &room, &l, number))
			fault = USERS_NO_MEMORY;
	}
	/* qsort(3) asks the system how much memory it has, which the sandbox
	 * does not allow; heapsort(3) needs none but for one element. */
	if (out->count > 1 &&
	    heapsort(
		out->user, out->count, sizeof(*out->user), table_compare) == -1)
		fault = USERS_NO_MEMORY;
	/* What stands twice is above any line that is wrong. */
	else if ((twice = table_find_twice(out)) != 0) {
		fault = USERS_TWICE;
		number = twice;
	}
	if (fault != USERS_OK) {
		*line = fault == USERS_NO_MEMORY ? 0 : number;
		table_wipe(out);
		return fault;
	}
	/* Nobody can know this without the file, and all auth processes have
	 * the same: a name's dummy does not change from one to the other. */
	crypto_sha256(bytes, len, digest);
	crypto_hmac_init(&out->key, digest, sizeof(digest));
	explicit_bzero(digest, sizeof(digest));
	*line = 0;
	return USERS_OK;
}

enum users_fault
table_read(int fd, struct table *out, uint32_t *line)
{
	enum users_fault fault = USERS_OK;
	char *bytes = NULL, *more;
	size_t size = 0, len = 0, next;
	ssize_t n = 1;

	*line = 0;
	while (n != 0 && fault == USERS_OK) {
		if (len == size) {
			next = size == 0 ? TABLE_READ_FIRST : 2 * size;
			more = recallocarray(bytes, size, next, 1);
			if (more == NULL) {
				fault = USERS_NO_MEMORY;
				break;
			}
			bytes = more;
			size = next;
		}
		n = pread(fd, bytes + len, size - len, (off_t)len);
		if (n == -1 && errno != EINTR)
			fault = USERS_UNREADABLE;
		else if (n > 0)
			len += (size_t)n;
		if (len > USERS_FILE_MAX)
			fault = USERS_TOO_LARGE;
	}
	if (fault == USERS_OK)
		return table_parse(bytes, size, len, out, line);
	freezero(bytes, size);
	memset(out, 0, sizeof(*out));
	return fault;
}

const struct table_user *
table_find(const struct table *t, const uint8_t *name, size_t len)
{
	size_t low = 0, high = t->count, middle;
	const struct table_user *u;
	int d;

	while (low < high) {
		middle = low + (high - low) / 2;
		u = &t->user[middle];
		d = table_compare_names(name, len, u->name, u->name_len);
		if (d == 0)
			return len == u->name_len &&
				memcmp(name, u->name, len) == 0
			    ? u
			    : NULL;
		if (d < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct table_user *
table_dummy(const struct table *t, const uint8_t *name, size_t len)
{
	struct crypto_hmac h = t->key;
	uint8_t mac[CRYPTO_SHA256_LEN];
	uint64_t n;

	if (t->count == 0)
		return NULL;
	crypto_hmac_update(&h, name, len);
	crypto_hmac_peek(&h, mac);
	memcpy(&n, mac, sizeof(n));
	explicit_bzero(&h, sizeof(h));
	return &t->user[n % t->count];
}
