/*
 * tests/fuzz/fuzz_users.c - a users file of any bytes.
 *
 * Runs in: the fuzzers alone.  Line by line and as a table: what is taken is
 * what the rules allow, each user is found, and nothing else is.
 *
 * Covers: privsep/users.c
 * Covers: auth/table.c
 */
#include <sys/mman.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

/* A line that is taken lies within its bytes, and alone means the same. */
static void
check_line(const char *bytes, const struct users_line *l)
{
	char alone[USERS_LINE_MAX + 1];
	struct users_line again;
	size_t len = l->name_len + 1 + l->hash_len;

	check(l->taken <= USERS_LINE_MAX);
	if (l->name == NULL)
		return;
	check(l->name == bytes && l->hash == bytes + l->name_len + 1 &&
	    len <= l->taken && l->taken <= len + 2);
	check(users_name_valid(l->name, l->name_len) &&
	    users_hash_valid(l->hash, l->hash_len) &&
	    l->hash_len <= USERS_HASH_MAX &&
	    memchr(l->hash, ':', l->hash_len) == NULL);
	memcpy(alone, bytes, len);
	check(users_parse_line(alone, len, &again) == USERS_OK &&
	    again.name_len == l->name_len && again.hash_len == l->hash_len &&
	    again.taken == len);
	/* Nothing can be cut off a hash. */
	check(users_parse_line(alone, len - 1, &again) != USERS_OK);
}

/* Lines and users until the first fault. */
static enum users_fault
check_lines(const char *bytes, size_t size, uint32_t *lines, size_t *users)
{
	enum users_fault fault = USERS_OK;
	struct users_line l;
	size_t done;

	*lines = 0;
	*users = 0;
	for (done = 0; done < size && fault == USERS_OK; done += l.taken) {
		fault = users_parse_line(bytes + done, size - done, &l);
		check(l.taken > 0 && l.taken <= size - done &&
		    strcmp(users_fault_text(fault), "unknown") != 0);
		(*lines)++;
		if (fault == USERS_OK) {
			check_line(bytes + done, &l);
			*users += l.name != NULL;
		}
	}
	return fault;
}

/* Read from a file, wherever its offset is, it is the same table or fault. */
static void
check_read(const uint8_t *data, size_t size, enum users_fault fault,
    const struct table *same)
{
	int fd = memfd_create("users", MFD_CLOEXEC);
	struct table t;
	uint32_t line;
	size_t i;

	check(fd != -1 && write(fd, data, size) == (ssize_t)size);
	check(table_read(fd, &t, &line) == fault && t.count == same->count);
	for (i = 0; i < t.count; i++)
		check(t.user[i].name_len == same->user[i].name_len &&
		    t.user[i].line == same->user[i].line &&
		    memcmp(t.user[i].name, same->user[i].name,
			t.user[i].name_len) == 0);
	table_wipe(&t);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum users_fault fault, whole;
	const struct table_user *u;
	struct table t;
	uint32_t lines, line;
	size_t users, i;
	char *bytes;

	bytes = malloc(size + 1);
	if (bytes == NULL)
		abort();
	memcpy(bytes, data, size);
	fault = check_lines(bytes, size, &lines, &users);
	whole = table_parse(bytes, size + 1, size, &t, &line);
	if (whole == USERS_TWICE)
		check(line > 1 && line <= lines && users > 1);
	else
		check(whole == fault && (fault == USERS_OK || line == lines));
	check_read(data, size, whole, &t);
	if (whole != USERS_OK) {
		check(t.bytes == NULL && t.count == 0);
		return 0;
	}
	check(t.count == users);
	for (i = 0; i < t.count; i++) {
		u = &t.user[i];
		check(
		    table_find(&t, (const uint8_t *)u->name, u->name_len) == u);
		check(table_find(
			  &t, (const uint8_t *)u->name, u->name_len - 1u) != u);
	}
	u = table_dummy(&t, data, size);
	check((u == NULL) == (t.count == 0));
	table_wipe(&t);
	return 0;
}
