/*
 * tests/faults/steps.c - a process that is killed at a chosen step of what it
 * does to the state directory, for the programs below build/faults.
 *
 * Runs in: the test's master.  FLEXMUSIC_TEST_KILL_STEP says when: step 1 is
 * before its first call that changes the directory, step 2 after it, 3 before
 * the second, and so on.  Counted are unlinkat, renameat, fsync, and openat
 * where it makes a file: in the master, only master/state.c calls them.
 * Helpers have no environment, and are left alone.
 */
#include <sys/types.h>

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

int __real_openat(int dir, const char *path, int flags, ...);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_fsync(int fd);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_fsync(int fd);

/* Called before and after each call. */
static void
step(void)
{
	static unsigned long long steps;
	const char *last = getenv("FLEXMUSIC_TEST_KILL_STEP");

	if (last != NULL && ++steps == strtoull(last, NULL, 10))
		kill(getpid(), SIGKILL);
}

int
__wrap_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;
	int fd;

	if ((flags & O_CREAT) == 0)
		return __real_openat(dir, path, flags);
	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	step();
	fd = __real_openat(dir, path, flags, mode);
	step();
	return fd;
}

int
__wrap_unlinkat(int dir, const char *path, int flags)
{
	int result;

	step();
	result = __real_unlinkat(dir, path, flags);
	step();
	return result;
}

int
__wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int result;

	step();
	result = __real_renameat(from_dir, from, to_dir, to);
	step();
	return result;
}

int
__wrap_fsync(int fd)
{
	int result;

	step();
	result = __real_fsync(fd);
	step();
	return result;
}
