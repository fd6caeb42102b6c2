/*
 * tests/faults/calls.c - the C library's calls that may fail, each in front
 * of the real one, for the programs below build/faults.
 *
 * Runs in: the test's servers, all processes of them.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/faults/fault.h"

/* Memory. */
WRAP(void *, NULL, malloc, (size_t size), (size))
WRAP(void *, NULL, calloc, (size_t count, size_t size), (count, size))
WRAP(char *, NULL, strdup, (const char *s), (s))
WRAP(char *, NULL, strndup, (const char *s, size_t len), (s, len))
WRAP(void *, NULL, reallocarray, (void *p, size_t count, size_t size),
    (p, count, size))
WRAP(void *, NULL, recallocarray,
    (void *p, size_t before, size_t count, size_t size),
    (p, before, count, size))
WRAP(FILE *, NULL, open_memstream, (char **p, size_t *size), (p, size))
WRAP(int, -1, mprotect, (void *p, size_t size, int how), (p, size, how))

/* Descriptors. */
WRAP(int, -1, socket, (int family, int type, int protocol),
    (family, type, protocol))
WRAP(int, -1, socketpair, (int family, int type, int protocol, int fd[2]),
    (family, type, protocol, fd))
WRAP(int, -1, accept4, (int fd, struct sockaddr *sa, socklen_t *len, int flags),
    (fd, sa, len, flags))
WRAP(int, -1, pipe2, (int fd[2], int flags), (fd, flags))
WRAP(int, -1, dup2, (int from, int to), (from, to))
WRAP(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(int, -1, close_range, (unsigned from, unsigned to, int flags),
    (from, to, flags))
WRAP(DIR *, NULL, fdopendir, (int fd), (fd))
WRAP(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))

/* Processes. */
WRAP(int, -1, fexecve, (int fd, char *const argv[], char *const envp[]),
    (fd, argv, envp))
WRAP(int, -1, getrlimit, (int which, void *limit), (which, limit))
WRAP(int, -1, setrlimit, (int which, const void *limit), (which, limit))
WRAP(
    int, -1, setpriority, (int which, id_t who, int value), (which, who, value))
WRAP(int, -1, setgroups, (size_t count, const gid_t *list), (count, list))
WRAP(int, -1, setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))
WRAP(int, -1, setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))
WRAP(int, -1, chdir, (const char *path), (path))
WRAP(int, -1, fchdir, (int fd), (fd))
WRAP(int, -1, chroot, (const char *path), (path))
WRAP(int, -1, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set),
    (pid, size, set))

/* Reading, writing, waiting. */
WRAP(ssize_t, -1, read, (int fd, void *p, size_t len), (fd, p, len))
WRAP(ssize_t, -1, write, (int fd, const void *p, size_t len), (fd, p, len))
WRAP(ssize_t, -1, pread, (int fd, void *p, size_t len, off_t at),
    (fd, p, len, at))
WRAP(ssize_t, -1, pwrite, (int fd, const void *p, size_t len, off_t at),
    (fd, p, len, at))
WRAP(
    ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags),
    (fd, m, flags))
WRAP(ssize_t, -1, send, (int fd, const void *p, size_t len, int flags),
    (fd, p, len, flags))
WRAP(off_t, -1, lseek, (int fd, off_t to, int from), (fd, to, from))
WRAP(int, -1, poll, (struct pollfd * p, nfds_t count, int ms), (p, count, ms))
WRAP(int, -1, ppoll,
    (struct pollfd * p, nfds_t count, const struct timespec *limit,
	const sigset_t *mask),
    (p, count, limit, mask))
WRAP(ssize_t, -1, getrandom, (void *p, size_t len, unsigned flags),
    (p, len, flags))
WRAP(int, -1, getentropy, (void *p, size_t len), (p, len))

/* Sockets. */
WRAP(int, -1, bind, (int fd, const struct sockaddr *sa, socklen_t len),
    (fd, sa, len))
WRAP(int, -1, connect, (int fd, const struct sockaddr *sa, socklen_t len),
    (fd, sa, len))
WRAP(int, -1, listen, (int fd, int length), (fd, length))
WRAP(int, -1, getsockopt,
    (int fd, int level, int name, void *p, socklen_t *len),
    (fd, level, name, p, len))
WRAP(int, -1, setsockopt,
    (int fd, int level, int name, const void *p, socklen_t len),
    (fd, level, name, p, len))
WRAP(int, EAI_MEMORY, getnameinfo,
    (const struct sockaddr *sa, socklen_t len, char *host, socklen_t host_len,
	char *port, socklen_t port_len, int flags),
    (sa, len, host, host_len, port, port_len, flags))

/* Files. */
WRAP(int, -1, fstat, (int fd, struct stat *st), (fd, st))
WRAP(int, -1, fstatat, (int dir, const char *path, struct stat *st, int flags),
    (dir, path, st, flags))
WRAP(int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, -1, flock, (int fd, int how), (fd, how))
WRAP(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(struct dirent *, NULL, readdir, (DIR * d), (d))
WRAP(ssize_t, -1, readlink, (const char *path, char *p, size_t len),
    (path, p, len))

int __real_open(const char *path, int flags, ...);
int __real_openat(int dir, const char *path, int flags, ...);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_fsync(int fd);
int __real_fcntl(int fd, int command, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __real_prctl(int option, ...);
long __real_syscall(long number, ...);
pid_t __real_fork(void);
int __real_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_fsync(int fd);
int __wrap_fcntl(int fd, int command, long arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_prctl(int option, long a, long b, long c, long d);
long
__wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
pid_t __wrap_fork(void);
int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, int *pidfd);

/* What the real ones take as `...` is taken as the most that it can be: on
 * the machines that the server runs on, that is the same. */
int
__wrap_open(const char *path, int flags, mode_t mode)
{
	return fault_here(FAULT_open) ? -1 : __real_open(path, flags, mode);
}

int
__wrap_fcntl(int fd, int command, long arg)
{
	return fault_here(FAULT_fcntl) ? -1 : __real_fcntl(fd, command, arg);
}

int
__wrap_ioctl(int fd, unsigned long request, void *arg)
{
	return fault_here(FAULT_ioctl) ? -1 : __real_ioctl(fd, request, arg);
}

int
__wrap_prctl(int option, long a, long b, long c, long d)
{
	return fault_here(FAULT_prctl) ? -1 : __real_prctl(option, a, b, c, d);
}

long
__wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	/* The clock never fails. */
	return number != SYS_clock_gettime && fault_here(FAULT_syscall)
	    ? -1
	    : __real_syscall(number, a, b, c, d, e, f);
}

/* Steps of what is done to the state directory. */
int
__wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	int fd;

	if (fault_here(FAULT_openat))
		return -1;
	if ((flags & O_CREAT) == 0)
		return __real_openat(dir, path, flags);
	fault_step();
	fd = __real_openat(dir, path, flags, mode);
	fault_step();
	return fd;
}

int
__wrap_unlinkat(int dir, const char *path, int flags)
{
	int result;

	if (fault_here(FAULT_unlinkat))
		return -1;
	fault_step();
	result = __real_unlinkat(dir, path, flags);
	fault_step();
	return result;
}

int
__wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int result;

	if (fault_here(FAULT_renameat))
		return -1;
	fault_step();
	result = __real_renameat(from_dir, from, to_dir, to);
	fault_step();
	return result;
}

int
__wrap_fsync(int fd)
{
	int result;

	if (fault_here(FAULT_fsync))
		return -1;
	fault_step();
	result = __real_fsync(fd);
	fault_step();
	return result;
}

/* Children have roles of their own. */
pid_t
__wrap_fork(void)
{
	pid_t pid;

	if (fault_here(FAULT_fork))
		return -1;
	pid = __real_fork();
	if (pid == 0)
		fault_become(fault_who() == FAULT_ROLE_pam ? FAULT_ROLE_attempt
							   : FAULT_ROLE_exec);
	return pid;
}

static struct {
	int (*fn)(void *);
	void *arg;
} worker;

static int
fault_worker(void *unused)
{
	fault_become(FAULT_ROLE_worker);
	return worker.fn(worker.arg);
}

int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, int *pidfd)
{
	if (fault_here(FAULT_clone))
		return -1;
	worker.fn = fn;
	worker.arg = arg;
	return __real_clone(fault_worker, stack, flags, NULL, pidfd);
}
