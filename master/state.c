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
#include <stdarg.h>
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
#define WHY_MAX	     512
#define TRANSIENT(e) ((e) == EMFILE || (e) == ENFILE || (e) == ENOMEM)
/* The disk takes nothing: nobody's mistake in the directory itself. */
#define NO_SPACE(e) ((e) == ENOSPC || (e) == EDQUOT || (e) == EROFS)
/* The directory's entries can't be changed, none of them. */
#define NO_CHANGE(e) ((e) == EROFS || (e) == EACCES)

struct state {
	char *path;
	uid_t owner;
	int dir; /* -1 with the lock */
	int lock; /* -1: unusable; `trouble` says why, `error` is the errno */
	int error;
	char trouble[WHY_MAX];
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

/* How an attempt to have directory and lock ended. */
enum attempt {
	ATTEMPT_DONE,
	ATTEMPT_UNUSABLE, /* nothing is wrong, but it can't be written */
	ATTEMPT_REFUSED
};

static enum attempt __attribute__((format(printf, 3, 4)))
refuse(struct state *s, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->trouble, sizeof s->trouble, fmt, ap);
	va_end(ap);
	s->error = error;
	return ATTEMPT_REFUSED;
}

/* The directory, or the lock in it, can't be made. */
static enum attempt
give_up(struct state *s, int error, const char *name)
{
	const char *remedy = "chmod 0700 the directory";

	if (error == EROFS)
		remedy = "mount it writable, or set another state_dir";
	else if (NO_SPACE(error))
		remedy = "make room there, or set another state_dir";
	snprintf(s->trouble, sizeof s->trouble,
	    "cannot make %s%s: %s: no parameters made ahead are used: %s",
	    s->path, name, strerror(error), remedy);
	s->error = error;
	return ATTEMPT_UNUSABLE;
}

static int
make_directory(const char *path)
{
	const mode_t mask = umask(0077);
	const int result = mkdir(path, 0700), error = errno;

	umask(mask);
	errno = error;
	return result;
}

/* Why the directory could not be opened, with the remedy. */
static enum attempt
explain_directory(struct state *s, int error)
{
	struct stat st;

	if (lstat(s->path, &st) == 0 && S_ISLNK(st.st_mode))
		return refuse(s, error,
		    "%s is a symbolic link: name the directory itself",
		    s->path);
	if (error == ENOTDIR || error == ELOOP)
		return refuse(s, error, "%s is not a directory", s->path);
	if (error == EACCES && geteuid() == 0)
		return refuse(s, error,
		    "root without CAP_DAC_OVERRIDE cannot open %s: chown it to "
		    "root",
		    s->path);
	return refuse(s, error, "cannot open %s: %s", s->path, strerror(error));
}

/* Opens the directory, which is made if only it is missing. */
static enum attempt
open_directory(struct state *s, int *fd)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	*fd = open(s->path, flags);
	if (*fd == -1 && errno == ENOENT) {
		if (make_directory(s->path) == -1 && errno != EEXIST) {
			if (NO_SPACE(errno))
				return give_up(s, errno, "");
			return refuse(s, errno,
			    "cannot make %s: %s: make it, with mode 0700",
			    s->path, strerror(errno));
		}
		*fd = open(s->path, flags);
	}
	return *fd != -1 ? ATTEMPT_DONE : explain_directory(s, errno);
}

static enum attempt
check_directory(struct state *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return refuse(s, errno, "%s: %s", s->path, strerror(errno));
	if (st.st_uid != s->owner)
		return refuse(s, EPERM,
		    "%s belongs to user %lu: chown it to user %lu", s->path,
		    (unsigned long)st.st_uid, (unsigned long)s->owner);
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return refuse(s, EPERM,
		    "%s has mode %04o, which lets others in: chmod 0700 it",
		    s->path, (unsigned)st.st_mode & 07777);
	return ATTEMPT_DONE;
}

/* Why the lock's file could not be opened. */
static enum attempt
explain_lock(struct state *s, int dir, int error)
{
	struct stat st;

	/* EACCES may also be the fault of a file that is there. */
	if (NO_SPACE(error) ||
	    (error == EACCES &&
		fstatat(dir, LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) == -1))
		return give_up(s, error, "/" LOCK_NAME);
	return refuse(s, error, "cannot open %s/%s: %s", s->path, LOCK_NAME,
	    error == ELOOP ? "it is a symbolic link: remove it"
			   : strerror(error));
}

static enum attempt
lock_file(struct state *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return refuse(
		    s, errno, "%s/%s: %s", s->path, LOCK_NAME, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != s->owner)
		return refuse(s, EPERM,
		    "%s/%s is not a file of user %lu: remove it", s->path,
		    LOCK_NAME, (unsigned long)s->owner);
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno == EWOULDBLOCK)
			return refuse(s, EBUSY,
			    "%s is in use by another flexmusicd: stop it, or "
			    "set another state_dir",
			    s->path);
		return refuse(s, errno, "cannot lock %s/%s: %s", s->path,
		    LOCK_NAME, strerror(errno));
	}
	/* Whatever the umask was, the next start can open it too.  One that
	 * was there on a read-only file system stays as it is. */
	if ((st.st_mode & 07777) != 0600)
		(void)fchmod(fd, 0600);
	return ATTEMPT_DONE;
}

/* The lock, held as long as its descriptor is open. */
static enum attempt
take_lock(struct state *s, int dir, int *fd)
{
	enum attempt attempt;

	*fd = openat(dir, LOCK_NAME,
	    O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (*fd == -1)
		return explain_lock(s, dir, errno);
	attempt = lock_file(s, *fd);
	if (attempt != ATTEMPT_DONE)
		close(*fd);
	return attempt;
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

/* Has directory and lock, or says in `trouble` what is wrong. */
static enum attempt
acquire(struct state *s)
{
	enum attempt attempt;
	int dir, lock;

	attempt = open_directory(s, &dir);
	if (attempt != ATTEMPT_DONE)
		return attempt;
	attempt = check_directory(s, dir);
	if (attempt == ATTEMPT_DONE)
		attempt = take_lock(s, dir, &lock);
	if (attempt != ATTEMPT_DONE) {
		close(dir);
		return attempt;
	}
	s->dir = dir;
	s->lock = lock;
	remove_unfinished(s);
	return ATTEMPT_DONE;
}

/* Is it usable, by now?  False with errno. */
static bool
is_usable(struct state *s)
{
	if (s->lock != -1 || acquire(s) == ATTEMPT_DONE)
		return true;
	errno = s->error;
	return false;
}

struct state *
state_open(const char *path, uid_t owner, char *why, size_t why_len)
{
	struct state *s;

	s = calloc(1, sizeof *s);
	if (s != NULL)
		s->path = trim_path(path);
	if (s == NULL || s->path == NULL) {
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
		free(s);
		return NULL;
	}
	s->owner = owner;
	s->dir = -1;
	s->lock = -1;
	if (acquire(s) != ATTEMPT_REFUSED)
		return s;
	strlcpy(why, s->trouble, why_len);
	state_close(s);
	return NULL;
}

const char *
state_trouble(const struct state *s)
{
	return s->lock == -1 ? s->trouble : NULL;
}

void
state_close(struct state *s)
{
	if (s == NULL)
		return;
	if (s->lock != -1) {
		close(s->lock);
		close(s->dir);
	}
	free(s->path);
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

/* False where none of the directory's entries can be changed. */
static bool
set_aside(const struct state *s, const char *name, const char *reason,
    const struct listener *to)
{
	char bad[sizeof((struct state_set *)NULL)->name + sizeof BAD_SUFFIX];
	char text[2 * REASON_MAX];
	int error;

	snprintf(bad, sizeof bad, "%s" BAD_SUFFIX, name);
	if (renameat(s->dir, name, s->dir, bad) == 0) {
		tell(to, name, reason);
		return true;
	}
	error = errno;
	snprintf(text, sizeof text, "%s; it cannot be renamed: %s", reason,
	    strerror(error));
	tell(to, name, text);
	return !NO_CHANGE(error);
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
		if (!set_aside(s, out->name, reason, to))
			return TAKEN_FAILED;
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

	if (!is_usable(s))
		return false;
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
	/* 0600 whatever the umask is. */
	if (fchmod(fd, 0600) == 0 && write_whole(fd, bytes, len) &&
	    fsync(fd) == 0) {
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

/* The file `name` with this content, or as it was: false with errno. */
static bool
write_file(
    const struct state *s, const char *name, const uint8_t *bytes, size_t len)
{
	char new_name[sizeof((struct state_set *)NULL)->name + 8];
	int error;

	snprintf(new_name, sizeof new_name, ".%s", name);
	if (!write_new(s, new_name, bytes, len))
		return false;
	if (renameat(s->dir, new_name, s->dir, name) == -1) {
		error = errno;
		unlinkat(s->dir, new_name, 0);
		errno = error;
		return false;
	}
	/*
	 * From here on the directory has it.  If this fails, it may or may
	 * not be there after a loss of power, and no unlink would be surer
	 * than the rename: so it must not be said to be gone.
	 */
	(void)fsync(s->dir);
	return true;
}

bool
state_keep_bad(struct state *s, const struct state_set *set)
{
	char name[sizeof set->name + sizeof BAD_SUFFIX];

	if (!is_usable(s))
		return false;
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
	if (!is_usable(s))
		return false;
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

	if (s->lock == -1)
		return 0;
	d = open_entries(s);
	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL)
		if (parse_name(e->d_name, bits, NULL))
			count++;
	closedir(d);
	return count;
}
