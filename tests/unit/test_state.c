/*
 * tests/unit/test_state.c - the state directory: what is taken, what is set
 * aside, and what happens when the disk does not do as it should.
 *
 * Runs in: the unit tests alone, as root or as any user.
 */
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "master/state.h"
#include "tests/unit/unit.h"

#define OTHER_USER 4242

/*
 * The calls whose order matters, noted on their way to the kernel: w, s, c,
 * r, u for write, fsync, close, renameat, unlinkat.  One of them may be made
 * to fail: the n-th of its kind from now.
 */
static char calls[64];
static struct {
	char call;
	int nth; /* 0: none */
	int error;
} fault;

/* True if this one is to fail, with errno. */
static bool
note(char call)
{
	const char text[] = { call, '\0' };

	strlcat(calls, text, sizeof calls);
	if (fault.nth == 0 || fault.call != call || --fault.nth != 0)
		return false;
	errno = fault.error;
	return true;
}

static void
fail_call(char call, int nth, int error)
{
	fault.call = call;
	fault.nth = nth;
	fault.error = error;
}

static void
expect_calls(void)
{
	calls[0] = '\0';
}

ssize_t
write(int fd, const void *bytes, size_t len)
{
	/* A disk that gets full takes what it can first. */
	if (note('w'))
		return -1;
	if (fault.nth == 1 && fault.call == 'w' && len > 1)
		len /= 2;
	return syscall(SYS_write, fd, bytes, len);
}

int
fsync(int fd)
{
	if (note('s'))
		return -1;
	return (int)syscall(SYS_fsync, fd);
}

/* Linux has closed the descriptor even where it reports an error. */
int
close(int fd)
{
	const bool fails = note('c');
	const int error = errno;
	int result;

	result = (int)syscall(SYS_close, fd);
	if (!fails)
		return result;
	errno = error;
	return -1;
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (note('r'))
		return -1;
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int
unlinkat(int dir, const char *name, int flags)
{
	if (note('u'))
		return -1;
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

/* What state_take reported. */
struct heard {
	unsigned count;
	char name[256];
	char reason[256];
};

static void
hear(void *arg, const char *name, const char *reason)
{
	struct heard *h = arg;

	h->count++;
	strlcpy(h->name, name, sizeof h->name);
	strlcpy(h->reason, reason, sizeof h->reason);
}

struct place {
	char top[32];
	char dir[64]; /* the state directory */
	char file[256]; /* the last one made */
	char why[512];
	struct heard heard;
	struct state *state;
};

/* Removes a tree of plain files and directories. */
static void
remove_tree(const char *path)
{
	char name[512];
	struct dirent *e;
	DIR *d;

	/* A test may have given it away. */
	if (geteuid() == 0)
		assert_int_equal(lchown(path, 0, 0), 0);
	chmod(path, 0700);
	d = opendir(path);
	if (d != NULL) {
		while ((e = readdir(d)) != NULL) {
			if (strcmp(e->d_name, ".") == 0 ||
			    strcmp(e->d_name, "..") == 0)
				continue;
			snprintf(name, sizeof name, "%s/%s", path, e->d_name);
			if (unlink(name) == -1)
				remove_tree(name);
		}
		closedir(d);
	}
	rmdir(path);
}

static int
setup(void **state)
{
	static struct place place;

	memset(&place, 0, sizeof place);
	fail_call('-', 0, 0);
	strlcpy(place.top, "/tmp/test_state.XXXXXX", sizeof place.top);
	if (mkdtemp(place.top) == NULL)
		return -1;
	snprintf(place.dir, sizeof place.dir, "%s/state", place.top);
	*state = &place;
	return 0;
}

static int
setup_open(void **state)
{
	struct place *p;

	if (setup(state) == -1)
		return -1;
	p = *state;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	return p->state == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct place *p = *state;

	state_close(p->state);
	remove_tree(p->top);
	return access(p->top, F_OK) == -1 ? 0 : -1;
}

/* Runs `child` in a child process and expects that it ends with 0. */
static void
in_child(int (*child)(struct place *), struct place *p)
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(child(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the child's status is %#x", (unsigned)status);
}

/* The name of the set with this content. */
static void
set_name(char *out, size_t size, unsigned bits, const void *bytes, size_t len)
{
	unsigned char digest[32];
	unsigned n;
	size_t i;

	assert_int_equal(
	    EVP_Digest(bytes, len, digest, &n, EVP_sha256(), NULL), 1);
	snprintf(out, size, "dh-%u-", bits);
	for (i = 0; i < sizeof digest; i++)
		snprintf(
		    out + strlen(out), size - strlen(out), "%02x", digest[i]);
	strlcat(out, ".pem", size);
}

/* Makes a file as another tool would, and notes its path. */
static void
make_file(struct place *p, const char *name, const void *bytes, size_t len)
{
	int fd;

	snprintf(p->file, sizeof p->file, "%s/%s", p->dir, name);
	fd = open(p->file, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void
make_set(struct place *p, unsigned bits, const char *content)
{
	char name[128];

	set_name(name, sizeof name, bits, content, strlen(content));
	make_file(p, name, content, strlen(content));
}

static bool
exists(const char *path, const char *suffix)
{
	char name[512];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", path, suffix);
	return lstat(name, &st) == 0;
}

/* Entries of the directory besides the lock. */
static unsigned
entries(const struct place *p)
{
	const struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir(p->dir);

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0 &&
		    strcmp(e->d_name, "lock") != 0;
	closedir(d);
	return n;
}

static bool
take(struct place *p, unsigned bits, struct state_set *set)
{
	memset(&p->heard, 0, sizeof p->heard);
	return state_take(p->state, bits, set, hear, &p->heard);
}

/* --- opening -------------------------------------------------------------- */

static void
assert_refused(struct place *p, const char *path, uid_t owner, const char *part)
{
	assert_null(state_open(path, owner, p->why, sizeof p->why));
	if (strstr(p->why, part) == NULL)
		fail_msg("\"%s\" is not in: %s", part, p->why);
}

static void
test_state_open_makes_directory(void **state)
{
	struct place *p = *state;
	struct stat st;

	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	assert_non_null(p->state);
	assert_int_equal(stat(p->dir, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	state_close(p->state);
	/* And takes one that is there, named in other ways too. */
	strlcat(p->dir, "//", sizeof p->dir);
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	assert_non_null(p->state);
}

static void
test_state_open_refuses(void **state)
{
	struct place *p = *state;
	char path[128];

	snprintf(path, sizeof path, "%s/no/state", p->top);
	assert_refused(p, path, geteuid(), "/no/state: No such file");
	assert_int_equal(mkdir(p->dir, 0700), 0);
	assert_refused(p, p->dir, geteuid() + 1, "belongs to user");
	assert_int_equal(chmod(p->dir, 0710), 0);
	assert_refused(p, p->dir, geteuid(), "has mode 0710, which lets");
	assert_int_equal(chmod(p->dir, 0701), 0);
	assert_refused(p, p->dir, geteuid(), "chmod 0700 it");
	assert_int_equal(chmod(p->dir, 0700), 0);
	snprintf(path, sizeof path, "%s/link", p->top);
	assert_int_equal(symlink(p->dir, path), 0);
	assert_refused(p, path, geteuid(), "/link is a symbolic link");
	strlcat(path, "/", sizeof path);
	assert_refused(p, path, geteuid(), "/link is a symbolic link");
	make_file(p, "plain", "x", 1);
	assert_refused(p, p->file, geteuid(), "/plain is not a directory");
	/* The lock's place taken by something else. */
	snprintf(path, sizeof path, "%s/lock", p->dir);
	assert_int_equal(symlink(p->file, path), 0);
	assert_refused(p, p->dir, geteuid(), "/lock: it is a symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(p, p->dir, geteuid(), "/lock is not a file of user");
}

static int
child_opens(struct place *p)
{
	struct state *s;

	s = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (s != NULL)
		return 1;
	return strstr(p->why, "/state is in use by another flexmusicd") == NULL;
}

/* As a parent that becomes a daemon does: the lock stays with the child. */
static int
child_keeps_lock(struct place *p)
{
	pid_t pid;
	int fd[2];
	char c;

	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL || pipe(fd) == -1)
		return 1;
	pid = fork();
	if (pid == -1)
		return 2;
	if (pid == 0) {
		close(fd[1]);
		_exit(read(fd[0], &c, 1) == 0 ? 0 : 1);
	}
	state_close(p->state);
	if (child_opens(p) != 0)
		return 3;
	close(fd[1]);
	waitpid(pid, NULL, 0);
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	return p->state == NULL;
}

static void
test_state_lock(void **state)
{
	struct place *p = *state;

	in_child(child_opens, p);
	state_close(p->state);
	p->state = NULL;
	in_child(child_keeps_lock, p);
	/* Its holder is gone, the file is still there. */
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	assert_non_null(p->state);
}

static void
test_state_open_removes_unfinished(void **state)
{
	struct place *p = *state;

	make_file(p, ".dh-2048-00.pem", "x", 1);
	make_file(p, ".dh-2048-00.pem.bad", "", 0);
	make_file(p, ".dh-8192-", "x", 1);
	make_file(p, ".other", "x", 1);
	state_close(p->state);
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	assert_non_null(p->state);
	assert_int_equal(entries(p), 1);
	assert_true(exists(p->file, ""));
}

/* --- taking and putting --------------------------------------------------- */

static void
test_state_put_and_take(void **state)
{
	static const uint8_t pem[] = "not even PEM \0 with a NUL";
	struct place *p = *state;
	struct state_set set;
	unsigned char digest[32];
	char name[128], path[256];
	struct stat st;
	unsigned n;

	assert_int_equal(state_count(p->state, 2048), 0);
	assert_false(take(p, 2048, &set));
	assert_int_equal(p->heard.count, 0);
	expect_calls();
	assert_true(state_put(p->state, 2048, pem, sizeof pem));
	/* Written, synced, closed, renamed, directory synced. */
	assert_string_equal(calls, "wscrs");
	assert_int_equal(state_count(p->state, 2048), 1);
	assert_int_equal(state_count(p->state, 1024), 0);
	set_name(name, sizeof name, 2048, pem, sizeof pem);
	snprintf(path, sizeof path, "%s/%s", p->dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, sizeof pem);

	assert_false(take(p, 1024, &set));
	assert_false(take(p, 204, &set));
	expect_calls();
	assert_true(take(p, 2048, &set));
	/* Read; removed, directory synced; only then it may be used. */
	assert_string_equal(calls, "cus");
	assert_false(exists(path, ""));
	assert_int_equal(p->heard.count, 0);
	assert_string_equal(set.name, name);
	assert_int_equal(set.len, sizeof pem);
	assert_memory_equal(set.pem, pem, sizeof pem);
	EVP_Digest(pem, sizeof pem, digest, &n, EVP_sha256(), NULL);
	assert_memory_equal(set.digest, digest, 32);
	assert_false(take(p, 2048, &set));
	assert_int_equal(entries(p), 0);
}

static void
test_state_many(void **state)
{
	struct place *p = *state;
	struct state_set set;
	unsigned seen = 0;
	uint8_t pem[1];
	unsigned i;

	for (i = 0; i < 32; i++) {
		pem[0] = (uint8_t)i;
		assert_true(state_put(p->state, i % 2 ? 2048 : 4096, pem, 1));
	}
	assert_int_equal(state_count(p->state, 2048), 16);
	assert_int_equal(state_count(p->state, 4096), 16);
	for (i = 0; i < 16; i++) {
		assert_true(take(p, 2048, &set));
		assert_int_equal(set.len, 1);
		assert_int_equal(set.pem[0] % 2, 1);
		assert_int_equal(seen & 1u << set.pem[0], 0);
		seen |= 1u << set.pem[0];
	}
	assert_false(take(p, 2048, &set));
	assert_int_equal(state_count(p->state, 2048), 0);
	assert_int_equal(state_count(p->state, 4096), 16);
}

static void
test_state_put_sizes(void **state)
{
	static uint8_t pem[STATE_FILE_MAX + 1];
	struct place *p = *state;
	struct state_set set;

	assert_true(state_put(p->state, 2048, pem, STATE_FILE_MAX));
	assert_true(take(p, 2048, &set));
	assert_int_equal(set.len, STATE_FILE_MAX);
	assert_false(state_put(p->state, 2048, pem, STATE_FILE_MAX + 1));
	assert_int_equal(errno, EINVAL);
	assert_false(state_put(p->state, 2048, pem, 0));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(entries(p), 0);
}

/* Names that are not those of sets are nobody's business. */
static void
test_state_other_names(void **state)
{
#define HEX60 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
	static const char *const names[] = { "dh-2048-" HEX60 "cde.pem",
		"dh-2048-" HEX60 "cdef0.pem", "dh-2048-" HEX60 "cdeF.pem",
		"dh-2048-" HEX60 "cdeg.pem", "dh-2048-" HEX60 "cdef.pem.bad",
		"dh-2048-" HEX60 "cdef.PEM", "dh-2048-" HEX60 "cdef",
		"dh-02048-" HEX60 "cdef.pem", "dh-20480-" HEX60 "cdef.pem",
		"dh-204-" HEX60 "cdef.pem", "DH-2048-" HEX60 "cdef.pem",
		".dh-2048-" HEX60 "cdef.pem", "dh-2048-.pem", "x" };
	struct place *p = *state;
	struct state_set set;
	size_t i;

	for (i = 0; i < COUNT_OF(names); i++)
		make_file(p, names[i], "x", 1);
	assert_int_equal(state_count(p->state, 2048), 0);
	assert_false(take(p, 2048, &set));
	assert_int_equal(p->heard.count, 0);
	assert_int_equal(entries(p), COUNT_OF(names));
	make_file(p, "dh-2048-" HEX60 "cdef.pem", "x", 1);
	assert_int_equal(state_count(p->state, 2048), 1);
	assert_true(take(p, 2048, &set));
	assert_int_equal(set.digest[0], 0x01);
	assert_int_equal(set.digest[31], 0xef);
}

/* --- wrong files ---------------------------------------------------------- */

/*
 * The file of p->file is wrong: it is set aside with this reason, and the
 * next one is taken.
 */
static void
assert_set_aside(struct place *p, const char *reason)
{
	struct state_set set;
	char bad[256];

	strlcpy(bad, p->file, sizeof bad);
	assert_false(take(p, 2048, &set));
	assert_int_equal(p->heard.count, 1);
	assert_string_equal(p->heard.name, strrchr(bad, '/') + 1);
	if (strstr(p->heard.reason, reason) == NULL)
		fail_msg("\"%s\" is not in: %s", reason, p->heard.reason);
	assert_false(exists(bad, ""));
	assert_true(exists(bad, ".bad"));
	/* It is not looked at again, and does not stand in the way. */
	make_set(p, 2048, "good");
	assert_true(take(p, 2048, &set));
	assert_int_equal(p->heard.count, 0);
	assert_int_equal(set.len, 4);
	strlcat(bad, ".bad", sizeof bad);
	if (unlink(bad) == -1)
		assert_int_equal(rmdir(bad), 0);
}

static void
test_state_wrong_files(void **state)
{
	static const char big[STATE_FILE_MAX + 1];
	struct place *p = *state;
	char other[128], name[128];

	make_set(p, 2048, "a");
	assert_int_equal(chmod(p->file, 0620), 0);
	assert_set_aside(p, "has mode 0620");
	make_set(p, 2048, "a");
	assert_int_equal(chmod(p->file, 0602), 0);
	assert_set_aside(p, "others may write it");

	snprintf(other, sizeof other, "%s/other", p->top);
	make_set(p, 2048, "a");
	assert_int_equal(link(p->file, other), 0);
	assert_set_aside(p, "has 2 hard links");
	/* Taking one name away had left the other: a set could come again. */
	assert_int_equal(unlink(other), 0);

	make_set(p, 2048, "a");
	assert_int_equal(rename(p->file, other), 0);
	assert_int_equal(symlink(other, p->file), 0);
	assert_set_aside(p, "is a symbolic link");
	assert_true(exists(other, ""));

	make_set(p, 2048, "a");
	assert_int_equal(unlink(p->file), 0);
	assert_int_equal(mkfifo(p->file, 0600), 0);
	assert_set_aside(p, "is not a regular file");

	set_name(name, sizeof name, 2048, "d", 1);
	snprintf(p->file, sizeof p->file, "%s/%s", p->dir, name);
	assert_int_equal(mkdir(p->file, 0700), 0);
	assert_set_aside(p, "is not a regular file");

	set_name(name, sizeof name, 2048, "e", 1);
	make_file(p, name, "", 0);
	assert_set_aside(p, "is empty");
	make_file(p, name, big, sizeof big);
	assert_set_aside(p, "has more than 4096 bytes");
	make_file(p, name, "", 0);
	assert_int_equal(truncate(p->file, (off_t)1 << 40), 0);
	assert_set_aside(p, "has more than 4096 bytes");
	if (geteuid() == 0) {
		make_file(p, name, "x", 1);
		assert_int_equal(chown(p->file, OTHER_USER, OTHER_USER), 0);
		assert_set_aside(p, "belongs to user 4242, not to user 0");
	} else {
		make_file(p, name, "x", 1);
		assert_int_equal(chmod(p->file, 0), 0);
		assert_set_aside(p, "Permission denied");
	}
}

/* Content that does not fit its name is paramgen's to find: it comes out. */
static void
test_state_content_is_not_judged(void **state)
{
	struct place *p = *state;
	struct state_set set;
	char name[128];

	set_name(name, sizeof name, 2048, "whole", 5);
	make_file(p, name, "who", 3);
	assert_true(take(p, 2048, &set));
	assert_int_equal(set.len, 3);
	assert_true(state_keep_bad(p->state, &set));
	assert_false(exists(p->file, ""));
	assert_true(exists(p->file, ".bad"));
	assert_int_equal(entries(p), 1);
	assert_false(take(p, 2048, &set));
}

/* Without a function that hears, all is the same. */
static void
test_state_nobody_hears(void **state)
{
	struct place *p = *state;
	struct state_set set;

	make_set(p, 2048, "a");
	assert_int_equal(chmod(p->file, 0666), 0);
	assert_false(state_take(p->state, 2048, &set, NULL, NULL));
	assert_true(exists(p->file, ".bad"));
}

/* --- a disk that does not obey -------------------------------------------- */

/* A set whose removal is not sure to last is not used. */
static void
test_state_sync_fails(void **state)
{
	struct place *p = *state;
	struct state_set set;

	make_set(p, 2048, "a");
	fail_call('s', 1, EIO);
	assert_false(take(p, 2048, &set));
	assert_int_equal(p->heard.count, 1);
	assert_string_equal(p->heard.reason,
	    "not used, as the directory "
	    "cannot be synced: Input/output error");
	assert_int_equal(entries(p), 0);

	/* One that was renamed is there, and only from there it is used: if
	 * it were said to be gone, and came back with the power, it would be
	 * used twice. */
	expect_calls();
	fail_call('s', 2, EIO);
	assert_true(state_put(p->state, 2048, (const uint8_t *)"a", 1));
	assert_string_equal(calls, "wscrs");
	assert_int_equal(state_count(p->state, 2048), 1);
	assert_true(take(p, 2048, &set));
	assert_false(take(p, 2048, &set));
}

/* Whatever fails before that, nothing is left behind. */
static void
test_state_put_fails(void **state)
{
	static const struct {
		char call;
		int nth, error;
		const char *calls;
	} t[] = {
		{ 'w', 1, ENOSPC, "wcu" },
		{ 'w', 2, ENOSPC, "wwcu" },
		{ 'w', 1, EIO, "wcu" },
		{ 's', 1, ENOSPC, "wscu" },
		{ 's', 1, EDQUOT, "wscu" },
		{ 'c', 1, ENOSPC, "wscu" },
		{ 'r', 1, ENOSPC, "wscru" },
		{ 'r', 1, EDQUOT, "wscru" },
	};
	struct place *p = *state;
	struct state_set set;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		expect_calls();
		fail_call(t[i].call, t[i].nth, t[i].error);
		errno = 0;
		assert_false(
		    state_put(p->state, 2048, (const uint8_t *)"abc", 3));
		assert_int_equal(errno, t[i].error);
		assert_string_equal(calls, t[i].calls);
		assert_int_equal(entries(p), 0);
		assert_true(
		    state_put(p->state, 2048, (const uint8_t *)"abc", 3));
		assert_true(take(p, 2048, &set));
		assert_int_equal(set.len, 3);
		/* A bad set that can't be kept is gone, too. */
		fail_call(t[i].call, t[i].nth, t[i].error);
		assert_false(state_keep_bad(p->state, &set));
		assert_int_equal(errno, t[i].error);
		assert_int_equal(entries(p), 0);
	}
	/* An interrupted write is no failed one. */
	fail_call('w', 1, EINTR);
	assert_true(state_put(p->state, 2048, (const uint8_t *)"abc", 3));
	assert_true(take(p, 2048, &set));
	assert_memory_equal(set.pem, "abc", 3);
	assert_int_equal(entries(p), 0);
	/* A set that could not be removed is not used, but kept. */
	assert_true(state_put(p->state, 2048, (const uint8_t *)"abc", 3));
	fail_call('u', 1, EROFS);
	assert_false(take(p, 2048, &set));
	assert_string_equal(p->heard.reason,
	    "not used, as it cannot be removed: Read-only file system");
	assert_true(take(p, 2048, &set));
}

static void
assert_modes(struct place *p)
{
	static const uint8_t pem[] = "a";
	char path[256], name[128];
	struct state_set set;
	struct stat st;

	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	assert_non_null(p->state);
	assert_int_equal(stat(p->dir, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	snprintf(path, sizeof path, "%s/lock", p->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_true(state_put(p->state, 2048, pem, 1));
	set_name(name, sizeof name, 2048, pem, 1);
	snprintf(path, sizeof path, "%s/%s", p->dir, name);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_true(take(p, 2048, &set));
	assert_true(state_keep_bad(p->state, &set));
	strlcat(path, ".bad", sizeof path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	state_close(p->state);
	p->state = NULL;
	remove_tree(p->dir);
}

/* Files and directory get their mode under any umask. */
static void
test_state_umask(void **state)
{
	static const mode_t masks[] = { 0, 0022, 0077, 0277, 0777 };
	size_t i;

	for (i = 0; i < COUNT_OF(masks); i++) {
		umask(masks[i]);
		assert_modes(*state);
		assert_int_equal(umask(0), masks[i]);
	}
}

/* A directory that can't be written, as a user to whom modes apply. */
static int
child_read_only(struct place *p)
{
	struct state_set set;
	char good[256];

	if (geteuid() == 0 &&
	    (chown(p->top, OTHER_USER, OTHER_USER) == -1 ||
		setresgid(OTHER_USER, OTHER_USER, OTHER_USER) == -1 ||
		setresuid(OTHER_USER, OTHER_USER, OTHER_USER) == -1))
		return 1;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 2;
	make_set(p, 2048, "a");
	strlcpy(good, p->file, sizeof good);
	make_set(p, 4096, "a");
	if (chmod(p->file, 0666) == -1)
		return 3;
	make_set(p, 4096, "b");
	if (chmod(p->file, 0666) == -1 || chmod(p->dir, 0500) == -1)
		return 3;
	/* The lock is there: it can be opened and locked. */
	state_close(p->state);
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 4;
	if (take(p, 2048, &set) || p->heard.count != 1 ||
	    strcmp(p->heard.reason,
		"not used, as it cannot be removed: "
		"Permission denied") != 0)
		return 5;
	if (!exists(good, ""))
		return 6;
	/* Of those that are wrong and can't be renamed, one is reported. */
	if (take(p, 4096, &set) || p->heard.count != 1 ||
	    strstr(p->heard.reason, "; it cannot be renamed: Permission") ==
		NULL)
		return 7;
	if (state_put(p->state, 2048, (const uint8_t *)"b", 1) ||
	    errno != EACCES)
		return 8;
	state_close(p->state);
	return 0;
}

static void
test_state_read_only_directory(void **state)
{
	in_child(child_read_only, *state);
}

/* A state that can't be used now has no sets and takes none. */
static bool
is_unusable(struct place *p, const char *trouble, int error)
{
	struct state_set set = { .len = 0 };
	const char *why;

	errno = 0;
	if (take(p, 2048, &set) || p->heard.count != 0 ||
	    state_put(p->state, 2048, (const uint8_t *)"a", 1) ||
	    errno != error || state_count(p->state, 2048) != 0 ||
	    state_keep_bad(p->state, &set))
		return false;
	why = state_trouble(p->state);
	return why != NULL && strstr(why, p->dir) != NULL &&
	    strstr(why, trouble) != NULL;
}

/* The same directory, with sets in it, when it can be used again. */
static bool
is_usable_again(struct place *p, size_t count)
{
	struct state_set set;

	return !take(p, 1024, &set) && p->heard.count == 0 &&
	    state_trouble(p->state) == NULL &&
	    state_count(p->state, 2048) == count &&
	    state_put(p->state, 2048, (const uint8_t *)"new", 3) &&
	    take(p, 2048, &set);
}

/* A directory that is right, but can't be written, and has no lock yet. */
static int
child_without_lock(struct place *p)
{
	char path[128];

	if (geteuid() == 0 &&
	    (chown(p->top, OTHER_USER, OTHER_USER) == -1 ||
		setresgid(OTHER_USER, OTHER_USER, OTHER_USER) == -1 ||
		setresuid(OTHER_USER, OTHER_USER, OTHER_USER) == -1))
		return 1;
	if (mkdir(p->dir, 0700) == -1)
		return 2;
	make_set(p, 2048, "a");
	if (chmod(p->dir, 0500) == -1)
		return 3;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 4;
	if (!is_unusable(p, "/state/lock: Permission denied", EACCES) ||
	    !is_unusable(p, "chmod 0700", EACCES))
		return 5;
	/* Two of them do not harm each other. */
	if (state_open(p->dir, geteuid(), p->why, sizeof p->why) == NULL)
		return 6;
	if (chmod(p->dir, 0700) == -1 || !is_usable_again(p, 1))
		return 7;
	/* And from then on it is locked. */
	if (child_opens(p) != 0)
		return 8;
	/* While another has it, it stays unusable, and says why. */
	state_close(p->state);
	snprintf(path, sizeof path, "%s/lock", p->dir);
	if (unlink(path) == -1 || chmod(p->dir, 0500) == -1)
		return 9;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL || chmod(p->dir, 0700) == -1 ||
	    state_open(p->dir, geteuid(), p->why, sizeof p->why) == NULL)
		return 10;
	if (state_put(p->state, 2048, (const uint8_t *)"b", 1) ||
	    errno != EBUSY ||
	    strstr(state_trouble(p->state), "by another flexmusicd") == NULL)
		return 11;
	/* A lock that is there and can't be opened is somebody's mistake. */
	state_close(p->state);
	p->state = NULL;
	if (chmod(path, 0) == -1)
		return 12;
	if (state_open(p->dir, geteuid(), p->why, sizeof p->why) != NULL ||
	    strstr(p->why, "/lock: Permission denied") == NULL)
		return 13;
	return 0;
}

static void
test_state_without_lock(void **state)
{
	in_child(child_without_lock, *state);
}

/* No descriptors left is no fault of a file. */
static int
child_without_descriptors(struct place *p)
{
	struct state_set set;
	int fd, last = -1;

	make_set(p, 2048, "a");
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) != -1)
		last = fd;
	if (errno != EMFILE || last == -1)
		return 1;
	if (take(p, 2048, &set) || p->heard.count != 1 ||
	    strcmp(p->heard.name, ".") != 0)
		return 2;
	if (state_count(p->state, 2048) != 0)
		return 3;
	/* One for the directory's entries, none for the file. */
	close(last);
	if (take(p, 2048, &set) || p->heard.count != 1 ||
	    strstr(p->heard.reason, "Too many open files") == NULL)
		return 4;
	if (!exists(p->file, "") || exists(p->file, ".bad"))
		return 5;
	close(last - 1);
	return take(p, 2048, &set) ? 0 : 6;
}

static void
test_state_without_descriptors(void **state)
{
	in_child(child_without_descriptors, *state);
}

#define NO_MOUNT 77

static bool
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		return false;
	fputs(text, f);
	return fclose(f) == 0;
}

/* A namespace of mounts; without root, in one of users with this one. */
static bool
unshare_mounts(void)
{
	char users[64], groups[64];

	snprintf(users, sizeof users, "%lu %lu 1\n", (unsigned long)geteuid(),
	    (unsigned long)geteuid());
	snprintf(groups, sizeof groups, "%lu %lu 1\n", (unsigned long)getegid(),
	    (unsigned long)getegid());
	if (unshare(CLONE_NEWNS) == 0)
		return true;
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	    write_text("/proc/self/uid_map", users) &&
	    write_text("/proc/self/setgroups", "deny\n") &&
	    write_text("/proc/self/gid_map", groups);
}

/* Fills a small file system to its last byte. */
static int
child_full_disk(struct place *p)
{
	static const uint8_t pem[STATE_FILE_MAX];
	static char block[4096];
	char filler[128];
	int fd;

	if (!unshare_mounts() ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", p->top, "tmpfs", 0, "size=64k,mode=0700") == -1)
		return NO_MOUNT;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 1;
	if (!state_put(p->state, 2048, (const uint8_t *)"a", 1))
		return 2;
	snprintf(filler, sizeof filler, "%s/filler", p->top);
	fd = open(filler, O_WRONLY | O_CREAT, 0600);
	while (fd != -1 && write(fd, block, sizeof block) > 0)
		continue;
	if (errno != ENOSPC)
		return 3;
	if (state_put(p->state, 2048, pem, sizeof pem) || errno != ENOSPC)
		return 4;
	if (entries(p) != 1 || state_count(p->state, 2048) != 1)
		return 5;
	if (ftruncate(fd, 0) == -1 ||
	    !state_put(p->state, 2048, pem, sizeof pem))
		return 6;
	return entries(p) == 2 ? 0 : 7;
}

/* One with no room for one file more, or none for the directory. */
static int
child_full_inodes(struct place *p)
{
	char filler[128];

	if (!unshare_mounts() ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", p->top, "tmpfs", 0, "nr_inodes=2,mode=0700") == -1)
		return NO_MOUNT;
	snprintf(filler, sizeof filler, "%s/filler", p->top);
	if (mkdir(filler, 0700) == -1)
		return 1;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 2;
	if (!is_unusable(p, "/state: No space left on device", ENOSPC))
		return 3;
	/* Now there is room for the directory, and not for the lock. */
	if (rmdir(filler) == -1 ||
	    !is_unusable(p, "/state/lock: No space left", ENOSPC))
		return 4;
	state_close(p->state);
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 5;
	if (!is_unusable(p, "make room there", ENOSPC))
		return 6;
	if (mount("none", p->top, "tmpfs", MS_REMOUNT, "nr_inodes=9") == -1)
		return 7;
	return is_usable_again(p, 0) ? 0 : 8;
}

/* A file system that is mounted for reading alone. */
static int
child_read_only_mount(struct place *p)
{
	const unsigned long ro = MS_REMOUNT | MS_RDONLY;
	struct state_set set;

	if (!unshare_mounts() ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", p->top, "tmpfs", 0, "mode=0700") == -1)
		return NO_MOUNT;
	if (mount("none", p->top, "tmpfs", ro, "mode=0700") == -1)
		return 1;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL)
		return 2;
	if (!is_unusable(p, "/state: Read-only file system", EROFS) ||
	    !is_unusable(p, "mount it writable", EROFS))
		return 3;
	if (mount("none", p->top, "tmpfs", MS_REMOUNT, "mode=0700") == -1 ||
	    mkdir(p->dir, 0700) == -1)
		return 4;
	make_set(p, 2048, "a");
	if (mount("none", p->top, "tmpfs", ro, "mode=0700") == -1 ||
	    !is_unusable(p, "/state/lock: Read-only file system", EROFS))
		return 5;
	if (mount("none", p->top, "tmpfs", MS_REMOUNT, "mode=0700") == -1 ||
	    !is_usable_again(p, 1))
		return 6;
	/* With its lock, it is opened and locked; its sets are not used, as
	 * they would be there for the next one. */
	state_close(p->state);
	make_set(p, 2048, "b");
	if (mount("none", p->top, "tmpfs", ro, "mode=0700") == -1)
		return 7;
	p->state = state_open(p->dir, geteuid(), p->why, sizeof p->why);
	if (p->state == NULL || state_trouble(p->state) != NULL)
		return 8;
	if (state_count(p->state, 2048) != 2 || take(p, 2048, &set) ||
	    p->heard.count != 1 ||
	    strcmp(p->heard.reason,
		"not used, as it cannot be removed: "
		"Read-only file system") != 0)
		return 9;
	if (state_put(p->state, 2048, (const uint8_t *)"c", 1) ||
	    errno != EROFS)
		return 10;
	return 0;
}

/* Runs a child that needs a file system of its own. */
static void
on_file_system(int (*child)(struct place *), struct place *p)
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(child(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_MOUNT) {
		print_message("skipped: no file system can be mounted here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_state_full_disk(void **state)
{
	on_file_system(child_full_disk, *state);
}

static void
test_state_full_inodes(void **state)
{
	on_file_system(child_full_inodes, *state);
}

static void
test_state_read_only_mount(void **state)
{
	on_file_system(child_read_only_mount, *state);
}

/* The lock and the directory are not handed on to programs. */
static void
test_state_close_on_exec(void **state)
{
	int fd, seen = 0;
	char path[64], target[128];
	ssize_t n;

	for (fd = 3; fd < 64; fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof target - 1);
		if (n == -1)
			continue;
		target[n] = '\0';
		if (strstr(target, "/test_state.") == NULL)
			continue;
		seen++;
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
	assert_int_equal(seen, 2);
}

int
main(void)
{
#define OPEN(t)	  cmocka_unit_test_setup_teardown(t, setup_open, teardown)
#define CLOSED(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLOSED(test_state_open_makes_directory),
		CLOSED(test_state_open_refuses),
		OPEN(test_state_lock),
		OPEN(test_state_open_removes_unfinished),
		OPEN(test_state_put_and_take),
		OPEN(test_state_many),
		OPEN(test_state_put_sizes),
		OPEN(test_state_other_names),
		OPEN(test_state_wrong_files),
		OPEN(test_state_content_is_not_judged),
		OPEN(test_state_nobody_hears),
		OPEN(test_state_sync_fails),
		OPEN(test_state_put_fails),
		CLOSED(test_state_umask),
		CLOSED(test_state_read_only_directory),
		CLOSED(test_state_without_lock),
		OPEN(test_state_without_descriptors),
		CLOSED(test_state_full_disk),
		CLOSED(test_state_full_inodes),
		CLOSED(test_state_read_only_mount),
		OPEN(test_state_close_on_exec),
	};

	umask(0);
	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
