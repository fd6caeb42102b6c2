/*
 * tests/faults/fork.c - a fork that fails, in place of the C library's, for
 * the programs below build/faults.
 *
 * Runs in: the test's master and zygote.  The master's forks fail while the
 * file exists that FLEXMUSIC_TEST_NO_FORK names; of the zygote's, which sees
 * neither files nor an environment, every fourth does.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define FAULT_EVERY 4

pid_t __real_fork(void);
int __real_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
pid_t __wrap_fork(void);
int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, int *pidfd);

pid_t
__wrap_fork(void)
{
	const char *path = getenv("FLEXMUSIC_TEST_NO_FORK");

	if (path != NULL && access(path, F_OK) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return __real_fork();
}

int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, int *pidfd)
{
	static unsigned calls;

	if (++calls % FAULT_EVERY == 0) {
		errno = EAGAIN;
		return -1;
	}
	return __real_clone(fn, stack, flags, arg, pidfd);
}
