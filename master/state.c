/*
 * master/state.c - the state directory: DH parameters made ahead, each used
 * once (docs/ARCHITECTURE.md, "Parameters").
 *
 * Runs in: master, as root.  What is read here goes to paramgen's sandbox as
 * it is; no byte of a set is interpreted in this file.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fmltp/crypto.h"
#include "master/state.h"

#define LOCK_NAME    "lock"
#define PREFIX	     "dh-"
#define SUFFIX	     ".pem"
#define BAD_SUFFIX   ".bad"
#define NEW_PREFIX   "." PREFIX /* being written */
#define REASON_MAX   160
#define HEX_LEN	     64
#define TRANSIENT(e) ((e) == EMFILE || (e) == ENFILE || (e) == ENOMEM)

struct state {
	int dir;
	int lock;
	uid_t owner;
};

/* Who is to hear of a wrong file. */
struct listener {
	state_bad *bad;
	void *arg;
};

static void
tell(const struct listener *to, const char *name, const char *reason)
{
	if (to->bad != NULL)
		to->bad(to->arg, name, reason);
}

/* Why the directory could not be opened, with the remedy. */
static void
explain_open(const char *path, int error, char *why, size_t why_len)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		snprintf(why, why_len,
		    "%s is a symbolic link: name the directory itself", path);
	else if (error == ENOTDIR || error == ELOOP)
		snprintf(why, why_len, "%s is not a directory", path);
	else if (error == EACCES && geteuid() == 0)
		snprintf(why, why_len,
		    "root without CAP_DAC_OVERRIDE cannot open %s: chown it to "
		    "root",
		    path);
	else
		snprintf(
		    why, why_len, "cannot open %s: %s", path, strerror(error));
}

/* Opens the directory, which is made if only it is missing; -1 and `why`. */
static int
open_directory(const char *path, char *why, size_t why_len)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd;

	fd = open(path, flags);
	if (fd == -1 && errno == ENOENT) {
		if (mkdir(path, 0700) == -1 && errno != EEXIST) {
			snprintf(why, why_len,
			    "cannot make %s: %s: make it, with mode 0700", path,
			    strerror(errno));
			return -1;
		}
		fd = open(path, flags);
	}
	if (fd == -1)
		explain_open(path, errno, why, why_len);
	return fd;
}

static bool
check_directory(
    int fd, const char *path, uid_t owner, char *why, size_t why_len)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
	else if (st.st_uid != owner)
		snprintf(why, why_len,
		    "%s belongs to user %lu: chown it to user %lu", path,
		    (unsigned long)st.st_uid, (unsigned long)owner);
	else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		snprintf(why, why_len,
		    "%s has mode %04o, which lets others in: chmod 0700 it",
		    path, (unsigned)st.st_mode & 07777);
	else
		return true;
	return false;
}

/* The lock, held as long as its descriptor is open; -1 and `why`. */
static int
take_lock(int dir, const char *path, uid_t owner, char *why, size_t why_len)
{
	struct stat st;
	int fd;

	fd = openat(dir, LOCK_NAME,
	    O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd == -1) {
		snprintf(why, why_len, "cannot open %s/%s: %s", path, LOCK_NAME,
		    errno == ELOOP ? "it is a symbolic link: remove it"
				   : strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == -1)
		snprintf(why, why_len, "%s/%s: %s", path, LOCK_NAME,
		    strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_uid != owner)
		snprintf(why, why_len,
		    "%s/%s is not a file of user %lu: remove it", path,
		    LOCK_NAME, (unsigned long)owner);
	else if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	else if (errno == EWOULDBLOCK)
		snprintf(why, why_len,
		    "%s is in use by another flexmusicd: stop it, or set "
		    "another state_dir",
		    path);
	else
		snprintf(why, why_len, "cannot lock %s/%s: %s", path, LOCK_NAME,
		    strerror(errno));
	close(fd);
	return -1;
}

/* A stream of the directory's entries, from the first one on. */
static DIR *
open_entries(const struct state *s)
{
	DIR *d;
	int fd;

	fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return NULL;
	d = fdopendir(fd);
	if (d == NULL)
		close(fd);
	return d;
}

static bool
begins_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* What a server that was killed while it wrote has left: the lock says that
 * nobody is writing now. */
static void
remove_unfinished(const struct state *s)
{
	const struct dirent *e;
	DIR *d;

	d = open_entries(s);
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (begins_with(e->d_name, NEW_PREFIX))
			unlinkat(s->dir, e->d_name, 0);
	closedir(d);
}

/* The path without slashes at its end: behind them a link is followed even
 * with O_NOFOLLOW. */
static char *
trim_path(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return strndup(path, len);
}

struct state *
state_open(const char *path, uid_t owner, char *why, size_t why_len)
{
	struct state *s = NULL;
	char *trimmed;
	int dir = -1, lock = -1;

	trimmed = trim_path(path);
	if (trimmed != NULL)
		s = malloc(sizeof *s);
	if (s == NULL) {
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
		free(trimmed);
		return NULL;
	}
	dir = open_directory(trimmed, why, why_len);
	if (dir != -1 && check_directory(dir, trimmed, owner, why, why_len))
		lock = take_lock(dir, trimmed, owner, why, why_len);
	free(trimmed);
	if (lock == -1) {
		if (dir != -1)
			close(dir);
		free(s);
		return NULL;
	}
	*s = (struct state){ .dir = dir, .lock = lock, .owner = owner };
	remove_unfinished(s);
	return s;
}

void
state_close(struct state *s)
{
	if (s == NULL)
		return;
	close(s->lock);
	close(s->dir);
	free(s);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* True if this is the name of a set for `bits`; its digest, unless NULL. */
static bool
parse_name(const char *name, unsigned bits, uint8_t digest[32])
{
	char prefix[32];
	const char *hex;
	int high, low;
	size_t i;

	snprintf(prefix, sizeof prefix, PREFIX "%u-", bits);
	if (!begins_with(name, prefix))
		return false;
	hex = name + strlen(prefix);
	if (strlen(hex) != HEX_LEN + strlen(SUFFIX) ||
	    strcmp(hex + HEX_LEN, SUFFIX) != 0)
		return false;
	for (i = 0; i < HEX_LEN / 2; i++) {
		high = hex_value(hex[2 * i]);
		low = hex_value(hex[2 * i + 1]);
		if (high == -1 || low == -1)
			return false;
		if (digest != NULL)
			digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void
make_name(char *out, size_t size, unsigned bits, const uint8_t digest[32])
{
	size_t i, len;

	snprintf(out, size, PREFIX "%u-", bits);
	for (i = 0; i < HEX_LEN / 2; i++) {
		len = strlen(out);
		snprintf(out + len, size - len, "%02x", digest[i]);
	}
	strlcat(out, SUFFIX, size);
}

/* What the taking of one file came to. */
enum taken {
	TAKEN_GOOD,
	TAKEN_BAD, /* the file is wrong */
	TAKEN_GONE, /* it is not there any more */
	TAKEN_FAILED /* not the file's fault: no other would do better */
};

/* Why what fstat(2) says is wrong, or NULL. */
static const char *
find_fault(
    const struct state *s, const struct stat *st, char reason[REASON_MAX])
{
	if (!S_ISREG(st->st_mode))
		return "is not a regular file";
	if (st->st_uid != s->owner) {
		snprintf(reason, REASON_MAX,
		    "belongs to user %lu, not to user %lu",
		    (unsigned long)st->st_uid, (unsigned long)s->owner);
		return reason;
	}
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		snprintf(reason, REASON_MAX,
		    "has mode %04o: others may write it",
		    (unsigned)st->st_mode & 07777);
		return reason;
	}
	if (st->st_nlink != 1) {
		snprintf(reason, REASON_MAX, "has %lu hard links, not one",
		    (unsigned long)st->st_nlink);
		return reason;
	}
	if (st->st_size == 0)
		return "is empty";
	if (st->st_size > STATE_FILE_MAX) {
		snprintf(reason, REASON_MAX, "has more than %d bytes",
		    STATE_FILE_MAX);
		return reason;
	}
	return NULL;
}

/* Reads up to `max` bytes to the end of the file; -1 with errno. */
static ssize_t
read_whole(int fd, uint8_t *out, size_t max)
{
	size_t len = 0;
	ssize_t n;

	while (len < max) {
		n = read(fd, out + len, max - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* Why a file could not be opened.  Root without CAP_DAC_OVERRIDE can't open
 * what belongs to another, but can see that it does. */
static enum taken
explain_unopened(
    const struct state *s, const char *name, int error, char reason[REASON_MAX])
{
	const char *fault = NULL;
	struct stat st;

	if (error == ENOENT)
		return TAKEN_GONE;
	if (error == ELOOP)
		fault = "is a symbolic link";
	else if (error == EACCES &&
	    fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		fault = find_fault(s, &st, reason);
	if (fault == NULL)
		fault = strerror(error);
	if (fault != reason)
		strlcpy(reason, fault, REASON_MAX);
	return TRANSIENT(error) ? TAKEN_FAILED : TAKEN_BAD;
}

static enum taken
read_set(const struct state *s, struct state_set *out, char reason[REASON_MAX])
{
	const char *fault;
	struct stat st;
	ssize_t n;
	int fd;

	fd = openat(s->dir, out->name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return explain_unopened(s, out->name, errno, reason);
	if (fstat(fd, &st) == -1)
		fault = strerror(errno);
	else
		fault = find_fault(s, &st, reason);
	if (fault == NULL) {
		n = read_whole(fd, out->pem, sizeof out->pem);
		if (n == -1)
			fault = strerror(errno);
		else if (n != st.st_size)
			fault = "changed while it was read";
		else
			out->len = (size_t)n;
	}
	close(fd);
	if (fault == NULL)
		return TAKEN_GOOD;
	if (fault != reason)
		strlcpy(reason, fault, REASON_MAX);
	return TAKEN_BAD;
}

/* A set is used once: it must be gone, for good, before it is used. */
static bool
remove_set(const struct state *s, const char *name, char reason[REASON_MAX])
{
	if (unlinkat(s->dir, name, 0) == -1)
		snprintf(reason, REASON_MAX,
		    "not used, as it cannot be "
		    "removed: %s",
		    strerror(errno));
	else if (fsync(s->dir) == -1)
		snprintf(reason, REASON_MAX,
		    "not used, as the directory "
		    "cannot be synced: %s",
		    strerror(errno));
	else
		return true;
	return false;
}

static void
set_aside(const struct state *s, const char *name, const char *reason,
    const struct listener *to)
{
	char bad[sizeof((struct state_set *)NULL)->name + sizeof BAD_SUFFIX];
	char text[2 * REASON_MAX];

	snprintf(bad, sizeof bad, "%s" BAD_SUFFIX, name);
	if (renameat(s->dir, name, s->dir, bad) == 0) {
		tell(to, name, reason);
		return;
	}
	snprintf(text, sizeof text, "%s; it cannot be renamed: %s", reason,
	    strerror(errno));
	tell(to, name, text);
}

static enum taken
take_one(
    const struct state *s, struct state_set *out, const struct listener *to)
{
	char reason[REASON_MAX];
	enum taken taken;

	taken = read_set(s, out, reason);
	switch (taken) {
	case TAKEN_GOOD:
		if (remove_set(s, out->name, reason))
			return TAKEN_GOOD;
		tell(to, out->name, reason);
		return TAKEN_FAILED;
	case TAKEN_BAD:
		set_aside(s, out->name, reason, to);
		break;
	case TAKEN_GONE:
		break;
	case TAKEN_FAILED:
		tell(to, out->name, reason);
		break;
	}
	return taken;
}

bool
state_take(struct state *s, unsigned bits, struct state_set *out,
    state_bad *bad, void *arg)
{
	const struct listener to = { bad, arg };
	enum taken taken = TAKEN_GONE;
	const struct dirent *e;
	DIR *d;

	d = open_entries(s);
	if (d == NULL) {
		tell(&to, ".", strerror(errno));
		return false;
	}
	while (taken != TAKEN_GOOD && taken != TAKEN_FAILED &&
	    (e = readdir(d)) != NULL) {
		if (!parse_name(e->d_name, bits, out->digest))
			continue;
		strlcpy(out->name, e->d_name, sizeof out->name);
		taken = take_one(s, out, &to);
	}
	closedir(d);
	return taken == TAKEN_GOOD;
}

static bool
write_whole(int fd, const uint8_t *bytes, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, bytes, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* Writes and syncs a new file; on failure it is gone.  False with errno. */
static bool
write_new(
    const struct state *s, const char *name, const uint8_t *bytes, size_t len)
{
	int error, fd;

	fd = openat(s->dir, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return false;
	if (write_whole(fd, bytes, len) && fsync(fd) == 0) {
		if (close(fd) == 0)
			return true;
		fd = -1;
	}
	error = errno;
	if (fd != -1)
		close(fd);
	unlinkat(s->dir, name, 0);
	errno = error;
	return false;
}

/* The file `name` with this content, or as it was.  False with errno. */
static bool
write_file(
    const struct state *s, const char *name, const uint8_t *bytes, size_t len)
{
	char new_name[sizeof((struct state_set *)NULL)->name + 8];
	int error;

	snprintf(new_name, sizeof new_name, ".%s", name);
	if (!write_new(s, new_name, bytes, len))
		return false;
	if (renameat(s->dir, new_name, s->dir, name) == 0) {
		if (fsync(s->dir) == 0)
			return true;
		error = errno;
		unlinkat(s->dir, name, 0);
	} else {
		error = errno;
		unlinkat(s->dir, new_name, 0);
	}
	errno = error;
	return false;
}

bool
state_keep_bad(struct state *s, const struct state_set *set)
{
	char name[sizeof set->name + sizeof BAD_SUFFIX];

	snprintf(name, sizeof name, "%s" BAD_SUFFIX, set->name);
	return write_file(s, name, set->pem, set->len);
}

bool
state_put(struct state *s, unsigned bits, const uint8_t *pem, size_t len)
{
	uint8_t digest[32];
	char name[sizeof((struct state_set *)NULL)->name];

	if (len == 0 || len > STATE_FILE_MAX) {
		errno = EINVAL;
		return false;
	}
	crypto_sha256(pem, len, digest);
	make_name(name, sizeof name, bits, digest);
	return write_file(s, name, pem, len);
}

size_t
state_count(struct state *s, unsigned bits)
{
	const struct dirent *e;
	size_t count = 0;
	DIR *d;

	d = open_entries(s);
	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL)
		if (parse_name(e->d_name, bits, NULL))
			count++;
	closedir(d);
	return count;
}
