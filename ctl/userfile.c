/*
 * ctl/userfile.c - the users file, read and replaced as a whole.
 *
 * Runs in: ctl, as the administrator.  The file has hashes: what was read is
 * wiped, and what is written can be read by nobody else until it has the
 * owner and the mode of the old file.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ctl/report.h"
#include "ctl/userfile.h"

#define USERFILE_AS_OWNER "run flexmusicctl as root or as the file's owner"

/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
#define USERFILE_OPEN (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

/*
 * Signals.
 */

/* From here to userfile_close a signal waits: it would leave half a change. */
static void
userfile_hold_signals(struct userfile *u)
{
	sigset_t all;

	if (u->blocked)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &u->signals);
	u->blocked = true;
}

/*
 * Opening.
 */

static bool
userfile_open_error(const struct userfile *u)
{
	const char *remedy = NULL;

	switch (errno) {
	case ENOENT:
		remedy = "`flexmusicctl user add` makes it";
		break;
	case ELOOP:
		return report_error("name the file itself with --file",
		    "%s is a symbolic link, which is not followed", u->path);
	case EACCES:
	case EPERM:
		remedy = USERFILE_AS_OWNER;
		break;
	}
	return report_error(
	    remedy, "cannot open %s: %s", u->path, strerror(errno));
}

/* The directory of the path, and what is behind its last slash. */
static bool
userfile_open_directory(struct userfile *u)
{
	const char *slash = strrchr(u->path, '/');
	char *directory;
	bool result = true;

	if (slash == NULL)
		directory = strdup(".");
	else if (slash == u->path)
		directory = strdup("/");
	else
		directory = strndup(u->path, (size_t)(slash - u->path));
	if (directory == NULL)
		return report_error(NULL, "no memory");
	u->name = slash == NULL ? u->path : slash + 1;
	u->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u->dir == -1)
		result = report_error(errno == ENOENT
			? "make it first: flexmusicctl makes the file alone"
			: NULL,
		    "cannot open the directory %s: %s", directory,
		    strerror(errno));
	free(directory);
	return result;
}

/*
 * Reading.
 */

static bool
userfile_fault(const struct userfile *u, unsigned line, enum users_fault fault)
{
	if (line == 0)
		return report_error(
		    NULL, "%s: %s", u->path, users_fault_text((unsigned)fault));
	return report_error("correct that line or remove it", "%s:%u: %s",
	    u->path, line, users_fault_text((unsigned)fault));
}

static bool
userfile_read_bytes(struct userfile *u)
{
	size_t size;
	ssize_t n;

	if (fstat(u->fd, &u->st) == -1)
		return userfile_open_error(u);
	if (!S_ISREG(u->st.st_mode))
		return report_error("name a file with --file",
		    "%s is not a regular file", u->path);
	if (u->st.st_size > USERS_FILE_MAX)
		return userfile_fault(u, 0, USERS_TOO_LARGE);
	/* A byte more than there is shows that somebody is writing. */
	size = (size_t)u->st.st_size + 1;
	if ((u->bytes = malloc(size)) == NULL)
		return report_error(NULL, "no memory");
	while (u->len < size) {
		n = read(u->fd, u->bytes + u->len, size - u->len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return report_error(NULL, "cannot read %s: %s", u->path,
			    strerror(errno));
		if (n == 0)
			break;
		u->len += (size_t)n;
	}
	if (u->len != (size_t)u->st.st_size)
		return report_error("try again when that is done",
		    "%s was changed by another program while it was read",
		    u->path);
	return true;
}

/* In the order of names without regard to case, and then of lines. */
static int
userfile_compare(const void *a, const void *b)
{
	const struct userfile_user *const *x = a, *const *y = b;
	size_t len = (*x)->line.name_len;
	int order;

	if (len != (*y)->line.name_len)
		return len < (*y)->line.name_len ? -1 : 1;
	order = strncasecmp((*x)->line.name, (*y)->line.name, len);
	if (order != 0)
		return order;
	return (*x)->number < (*y)->number ? -1 : 1;
}

/* The first line with a name that was there before, or 0. */
static bool
userfile_find_twice(const struct userfile *u, unsigned *line)
{
	const struct userfile_user **sorted, *before;
	size_t i;

	*line = 0;
	if (u->count < 2)
		return true;
	if ((sorted = calloc(u->count, sizeof(*sorted))) == NULL)
		return report_error(NULL, "no memory");
	for (i = 0; i < u->count; i++)
		sorted[i] = &u->users[i];
	qsort(sorted, u->count, sizeof(*sorted), userfile_compare);
	for (i = 1; i < u->count; i++) {
		before = sorted[i - 1];
		if (before->line.name_len == sorted[i]->line.name_len &&
		    strncasecmp(before->line.name, sorted[i]->line.name,
			before->line.name_len) == 0 &&
		    (*line == 0 || sorted[i]->number < *line))
			*line = sorted[i]->number;
	}
	free(sorted);
	return true;
}

static bool
userfile_parse(struct userfile *u)
{
	struct userfile_user *more, user;
	enum users_fault fault;
	size_t at = 0, room = 0;
	unsigned number = 0, twice;

	for (; at < u->len; at += user.line.taken) {
		number++;
		fault =
		    users_parse_line(u->bytes + at, u->len - at, &user.line);
		if (fault != USERS_OK)
			return userfile_fault(u, number, fault);
		if (user.line.name == NULL)
			continue;
		user.start = at;
		user.number = number;
		if (u->count == room) {
			more = recallocarray(
			    u->users, room, room * 2 + 64, sizeof(*more));
			if (more == NULL)
				return report_error(NULL, "no memory");
			u->users = more;
			room = room * 2 + 64;
		}
		u->users[u->count++] = user;
	}
	if (!userfile_find_twice(u, &twice))
		return false;
	return twice == 0 || userfile_fault(u, twice, USERS_TWICE);
}

static void
userfile_init(struct userfile *u, const char *path)
{
	*u = (struct userfile){
		.path = path,
		.name = path,
		.fd = -1,
		.dir = AT_FDCWD,
	};
}

bool
userfile_read(struct userfile *u, const char *path, bool may_be_missing)
{
	userfile_init(u, path);
	u->fd = open(path, USERFILE_OPEN);
	if (u->fd == -1)
		return (errno == ENOENT && may_be_missing) ||
		    userfile_open_error(u);
	return userfile_read_bytes(u) && userfile_parse(u);
}

/*
 * The lock.
 */

/* Opens the file, or makes it: false with errno. */
static bool
userfile_open_or_create(struct userfile *u, bool create)
{
	u->created = false;
	u->fd = openat(u->dir, u->name, USERFILE_OPEN);
	if (u->fd != -1 || errno != ENOENT || !create)
		return u->fd != -1;
	/* An empty file must not outlive a change that did not happen. */
	userfile_hold_signals(u);
	u->fd = openat(u->dir, u->name, USERFILE_OPEN | O_CREAT | O_EXCL, 0600);
	u->created = u->fd != -1;
	if (u->fd == -1 && errno == EEXIST)
		u->fd = openat(u->dir, u->name, USERFILE_OPEN);
	return u->fd != -1;
}

/* Whether the name is still that of the open file. */
static bool
userfile_is_current(const struct userfile *u)
{
	struct stat open_one, named;

	return fstat(u->fd, &open_one) == 0 &&
	    fstatat(u->dir, u->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

bool
userfile_lock(struct userfile *u, const char *path, bool create)
{
	userfile_init(u, path);
	if (!userfile_open_directory(u))
		return false;
	for (;;) {
		if (!userfile_open_or_create(u, create)) {
			/* One that another process made and took back */
			if (errno == ENOENT && create && u->blocked)
				continue;
			return userfile_open_error(u);
		}
		while (flock(u->fd, LOCK_EX) == -1)
			if (errno != EINTR)
				return report_error(NULL, "cannot lock %s: %s",
				    u->path, strerror(errno));
		if (userfile_is_current(u))
			break;
		close(u->fd);
	}
	userfile_hold_signals(u);
	return userfile_read_bytes(u) && userfile_parse(u);
}

/*
 * Finding.
 */

const struct userfile_user *
userfile_find(const struct userfile *u, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < u->count; i++)
		if (u->users[i].line.name_len == len &&
		    memcmp(u->users[i].line.name, name, len) == 0)
			return &u->users[i];
	return NULL;
}

const struct userfile_user *
userfile_find_alike(const struct userfile *u, const char *name)
{
	size_t i, len = strlen(name);

	for (i = 0; i < u->count; i++)
		if (u->users[i].line.name_len == len &&
		    strncasecmp(u->users[i].line.name, name, len) == 0)
			return &u->users[i];
	return NULL;
}

/*
 * Replacing.
 */

static bool
userfile_write(int fd, const char *bytes, size_t len)
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

/* Owner and mode of the old file; the mode last: it may let others read. */
static bool
userfile_copy_owner(const struct userfile *u, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return false;
	if ((st.st_uid != u->st.st_uid || st.st_gid != u->st.st_gid) &&
	    fchown(fd, u->st.st_uid, u->st.st_gid) == -1)
		return false;
	return fchmod(fd, u->st.st_mode & 07777) == 0;
}

/* The new file is whole, on the disk, and under the name, or it is not. */
static bool
userfile_fill(struct userfile *u, int fd, const char *new_name, size_t start,
    size_t end, const char *text)
{
	if (!userfile_write(fd, u->bytes, start) ||
	    !userfile_write(fd, text, strlen(text)) ||
	    !userfile_write(fd, u->bytes + end, u->len - end) ||
	    fsync(fd) == -1)
		return report_error("the file is as it was",
		    "cannot write the new %s: %s", u->path, strerror(errno));
	if (!userfile_copy_owner(u, fd))
		return report_error(USERFILE_AS_OWNER,
		    "cannot give the new %s owner and mode of the old one: %s",
		    u->path, strerror(errno));
	if (renameat(u->dir, new_name, u->dir, u->name) == -1)
		return report_error("the file is as it was",
		    "cannot replace %s: %s", u->path, strerror(errno));
	return true;
}

/*
 * Writes the file with the bytes from `start` to `end` replaced by `text`.
 * The new file's first name is always the same: whoever holds the lock is
 * alone with it, and what a crash left of it goes with the next change.
 */
static bool
userfile_replace(struct userfile *u, size_t start, size_t end, const char *text)
{
	char new_name[NAME_MAX + 1];
	bool replaced;
	int fd;

	if (u->len - (end - start) + strlen(text) > USERS_FILE_MAX)
		return report_error("remove users first",
		    "%s would have more than %d bytes", u->path,
		    USERS_FILE_MAX);
	if ((size_t)snprintf(new_name, sizeof(new_name), ".%s.new", u->name) >=
	    sizeof(new_name))
		return report_error(
		    NULL, "the name of %s is too long", u->path);
	(void)unlinkat(u->dir, new_name, 0);
	fd = openat(u->dir, new_name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return report_error(errno == EACCES ? USERFILE_AS_OWNER : NULL,
		    "cannot make a file beside %s: %s", u->path,
		    strerror(errno));
	replaced = userfile_fill(u, fd, new_name, start, end, text);
	close(fd);
	if (!replaced) {
		(void)unlinkat(u->dir, new_name, 0);
		return false;
	}
	u->created = false;
	if (fsync(u->dir) == -1)
		return report_error(NULL,
		    "%s is changed, but a crash of the machine may undo that: "
		    "%s",
		    u->path, strerror(errno));
	return true;
}

bool
userfile_add(struct userfile *u, const char *name, const char *hash)
{
	bool ended = u->len == 0 || u->bytes[u->len - 1] == '\n';
	char line[USERS_LINE_MAX + 2];

	snprintf(
	    line, sizeof(line), "%s%s:%s\n", ended ? "" : "\n", name, hash);
	return userfile_replace(u, u->len, u->len, line);
}

bool
userfile_set_hash(
    struct userfile *u, const struct userfile_user *user, const char *hash)
{
	size_t start = (size_t)(user->line.hash - u->bytes);

	return userfile_replace(u, start, start + user->line.hash_len, hash);
}

bool
userfile_remove(struct userfile *u, const struct userfile_user *user)
{
	return userfile_replace(
	    u, user->start, user->start + user->line.taken, "");
}

void
userfile_close(struct userfile *u)
{
	if (u->created)
		(void)unlinkat(u->dir, u->name, 0);
	if (u->fd != -1)
		close(u->fd);
	if (u->dir >= 0)
		close(u->dir);
	freezero(u->bytes, u->len);
	free(u->users);
	if (u->blocked)
		sigprocmask(SIG_SETMASK, &u->signals, NULL);
}
