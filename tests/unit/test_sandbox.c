/*
 * tests/unit/test_sandbox.c - the table of system calls, and what comes of it.
 *
 * Runs in: the test alone; each filter is tried in a child of its own.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/seccomp.h>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "privsep/channel.h"
#include "privsep/sandbox_table.h"
#include "tests/unit/unit.h"

#define WORKER_CALLS_MAX 16
#define NUMBERS		 1024 /* of system calls, and more than there are */
#define X32		 0x40000000
#define UPROBE_CALLS	 335 /* uretprobe, and uprobe after it */
#ifdef FLEXMUSIC_SANITIZER
#define NUMBER_STEP 13 /* such a process is slow to fork */
#else
#define NUMBER_STEP 1
#endif

static unsigned
rows(enum role_id role, enum sandbox_use use)
{
	const struct sandbox_row *r;
	unsigned count = 0;

	for (r = sandbox_table; r->reason != NULL; r++)
		if (r->role == role && r->use == use)
			count++;
	return count;
}

static void
test_worker_is_small(void **state)
{
	unsigned count = rows(ROLE_WORKER, SANDBOX_USED) +
	    rows(ROLE_WORKER, SANDBOX_ENVIRONMENT);

	/* With the two that AUTH and FETCH need: recvmsg and pread64. */
	assert_true(count + 2 <= WORKER_CALLS_MAX);
	assert_true(count > 0);
}

static void
test_reasons(void **state)
{
	const struct sandbox_row *r, *other;

	for (r = sandbox_table; r->reason != NULL; r++) {
		assert_true(r->role < ROLE_COUNT && r->role != ROLE_MASTER);
		assert_true(strlen(r->reason) > 5);
		if (r->number == SCMP_SYS(mmap) && r->use != SANDBOX_SANITIZER)
			assert_true(r->checks >= 1); /* never executable */
		assert_int_not_equal(r->number, SCMP_SYS(execve));
		assert_int_not_equal(r->number, SCMP_SYS(execveat));
		if (r->role != ROLE_ATTEMPT)
			assert_int_not_equal(r->number, SCMP_SYS(socket));
		assert_int_not_equal(r->number, SCMP_SYS(ptrace));
		/* No row twice for one role, but with other arguments. */
		for (other = r + 1; other->reason != NULL; other++)
			assert_false(other->role == r->role &&
			    other->number == r->number &&
			    other->use == r->use &&
			    memcmp(other->check, r->check, sizeof(r->check)) ==
				0);
	}
}

#define NO_SANDBOX 99 /* a child's exit status */
#define REFUSED	   98

/* The role whose rows a role's filter has besides, or itself. */
static enum role_id
with_role(enum role_id role)
{
	return roles[role].forks != ROLE_MASTER ? roles[role].forks : role;
}

/* In a child: what is not allowed ends it from now on, or fails. */
static void
enter(const struct sandbox_program *program)
{
	struct sock_fprog prog;

	prog.len = program->count;
	prog.filter = (struct sock_filter *)(uintptr_t)program->code;
	if (prctl(PR_SET_DUMPABLE, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == -1)
		_exit(NO_SANDBOX);
}

/* Loads a role's filter in a child, makes a call there, and says how the
 * child ended: a signal, or 0 where it came through.  Where the role's calls
 * are refused, that counts as the signal. */
static int
try_call(enum role_id role, enum role_id with, long number, long a0, long a1,
    long a2)
{
	static struct sandbox_program program;
	pid_t pid;
	int status;

	assert_int_equal(sandbox_compile(role, with, false, &program), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		enter(&program);
		if (syscall(number, a0, a1, a2, 0, 0, 0) == -1 &&
		    errno == EPERM && roles[role].refuses)
			_exit(REFUSED);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	if (WEXITSTATUS(status) == REFUSED)
		return SIGSYS;
	assert_int_equal(WEXITSTATUS(status), 0);
	return 0;
}

static bool
is_allowed(enum role_id role, enum role_id with, int number)
{
	const struct sandbox_row *r;

	for (r = sandbox_table; r->reason != NULL; r++) {
#ifndef FLEXMUSIC_SANITIZER
		if (r->use == SANDBOX_SANITIZER)
			continue;
#endif
		if ((r->role == role || r->role == with) && r->number == number)
			return true;
	}
	return false;
}

/* Every number outside the list ends the process, or fails where the role's
 * calls do; so does each with the bit of x32, in the list or not. */
static void
test_all_numbers(void **state)
{
	int number;
	enum role_id role, with;

	for (role = ROLE_MASTER + 1; role < ROLE_COUNT; role++) {
		with = with_role(role);
		for (number = 0; number < NUMBERS; number += NUMBER_STEP) {
			if (try_call(role, with, X32 | number, -1, -1, -1) !=
			    SIGSYS)
				fail_msg("%d of x32 is let through", number);
			/* The kernel's own probes: from 6.11 and 6.18 on it
			 * lets these two past every filter, and ends or
			 * refuses a caller that is no probe. */
			if (number == UPROBE_CALLS ||
			    number == UPROBE_CALLS + 1)
				continue;
			if (is_allowed(role, with, number) ||
			    (roles[role].refuses && number == SYS_clone3))
				continue; /* that one fails with ENOSYS */
			if (try_call(role, with, number, -1, -1, -1) != SIGSYS)
				fail_msg("%d is let through", number);
		}
	}
}

static void
test_arguments(void **state)
{
	assert_int_equal(try_call(ROLE_KEYS, ROLE_KEYS, SYS_mmap, 0, 4096,
			     PROT_READ | PROT_WRITE),
	    0);
#ifndef FLEXMUSIC_SANITIZER
	assert_int_equal(try_call(ROLE_KEYS, ROLE_KEYS, SYS_mmap, 0, 4096,
			     PROT_READ | PROT_EXEC),
	    SIGSYS);
	assert_int_equal(
	    try_call(ROLE_ZYGOTE, ROLE_WORKER, SYS_prctl, PR_SET_NAME, 0, 0),
	    SIGSYS);
#endif
	assert_int_equal(
	    try_call(ROLE_ZYGOTE, ROLE_WORKER, SYS_clone, 0, 0, 0), SIGSYS);
	assert_int_equal(
	    try_call(ROLE_ZYGOTE, ROLE_WORKER, SYS_sendmsg, 4, 0, 0), SIGSYS);
	assert_int_equal(try_call(ROLE_ZYGOTE, ROLE_WORKER, SYS_seccomp,
			     SECCOMP_SET_MODE_STRICT, 0, 0),
	    SIGSYS);
	assert_int_equal(
	    try_call(ROLE_WORKER, ROLE_WORKER, SYS_write, -1, 0, 0), 0);
}

#ifndef FLEXMUSIC_SANITIZER
/* Makes calls under an attempt's filter, in a child: the first whose error is
 * not the one that is due, from 1, or 0. */
static int
try_attempt(void)
{
	static struct sandbox_program program;
	static const struct {
		long number, a0, a1, a2, a3;
		int error; /* EPERM: by the filter */
	} t[] = {
		{ SYS_fchmod, -1, 04755, 0, 0, EPERM },
		{ SYS_fchown, -1, 0, 0, 0, EPERM },
		{ SYS_chmod, 0, 04755, 0, 0, EPERM },
		{ SYS_fchmodat, -1, 0, 04755, 0, EPERM },
		{ SYS_clone, SIGCHLD, 0, 0, 0, EPERM },
		{ SYS_clone,
		    CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0,
		    0, EPERM },
		{ SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, EPERM },
		{ SYS_clone3, 0, 0, 0, 0, ENOSYS },
		{ SYS_fork, 0, 0, 0, 0, EPERM },
		{ SYS_vfork, 0, 0, 0, 0, EPERM },
		{ SYS_pidfd_send_signal, -1, SIGKILL, 0, 0, EPERM },
		{ SYS_tgkill, 0, 0, 0, 0, EPERM },
		{ SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 0, 0, EPERM },
		{ SYS_ioctl, -1, TIOCSTI, 0, 0, EPERM },
		{ SYS_fcntl, -1, F_SETOWN, 1, 0, EPERM },
		{ SYS_socketpair, AF_VSOCK, SOCK_STREAM, 0, 0, EPERM },
		{ SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, 0,
		    EPERM },
		{ SYS_socket, AF_INET, SOCK_RAW, IPPROTO_RAW, 0, EPERM },
		{ SYS_socket, AF_INET, SOCK_STREAM, 132, 0, EPERM },
		{ SYS_socket, AF_INET6, SOCK_SEQPACKET, 0, 0, EPERM },
		{ SYS_ioctl, -1, TCGETS, 0, 0, EBADF },
		{ SYS_fcntl, -1, F_SETLKW, 0, 0, EBADF },
		{ SYS_execve, 0, 0, 0, 0, EPERM },
		{ SYS_execveat, -1, 0, 0, 0, EPERM },
		{ SYS_ptrace, -1, 0, 0, 0, EPERM },
		{ SYS_process_vm_readv, -1, 0, 0, 0, EPERM },
		{ SYS_kill, 0, 0, 0, 0, EPERM },
		{ SYS_mount, 0, 0, 0, 0, EPERM },
		{ SYS_unshare, 0, 0, 0, 0, EPERM },
		{ SYS_setns, -1, 0, 0, 0, EPERM },
		{ SYS_bpf, -1, 0, 0, 0, EPERM },
		{ SYS_keyctl, -1, 0, 0, 0, EPERM },
		{ SYS_listen, -1, 0, 0, 0, EPERM },
		{ SYS_socket, AF_PACKET, SOCK_RAW, 0, 0, EPERM },
		{ SYS_socket, AF_VSOCK, SOCK_STREAM, 0, 0, EPERM },
		{ SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, EPERM },
		{ SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, EPERM },
		{ SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0,
		    EPERM },
		{ SYS_prlimit64, 0, 0, -1, 0, EPERM },
		{ SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC, 0, EPERM },
		{ SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, EPERM },
		{ SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE, EPERM },
		{ SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE,
		    EBADF },
		{ SYS_mmap, 0, 0, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, EINVAL },
		{ SYS_socket, AF_UNIX, -1, 0, 0, EINVAL },
		{ SYS_prlimit64, 0, -1, 0, 0, EINVAL },
		{ SYS_openat, -1, 0, 0, 0, EFAULT },
	};
	struct sock_fprog prog;
	size_t i;

	if (sandbox_compile(ROLE_ATTEMPT, ROLE_ATTEMPT, false, &program) ==
		-1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return 99;
	prog.len = program.count;
	prog.filter = program.code;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == -1)
		return 98;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		errno = 0;
		if (syscall(t[i].number, t[i].a0, t[i].a1, t[i].a2, t[i].a3, -1,
			0) != -1 ||
		    errno != t[i].error)
			return (int)i + 1;
	}
	return 0;
}
#endif

/* pam's modules are other people's code: what they may not do fails. */
static void
test_pam(void **state)
{
#ifdef FLEXMUSIC_SANITIZER
	print_message("sanitizers bring calls of their own\n");
	skip();
#else
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(try_attempt());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

static void
test_other_architecture(void **state)
{
#ifdef __x86_64__
	static struct sandbox_program program;
	struct sock_fprog prog;
	pid_t pid;
	int status;

	assert_int_equal(
	    sandbox_compile(ROLE_WORKER, ROLE_WORKER, false, &program), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		prog.len = program.count;
		prog.filter = program.code;
		prctl(PR_SET_DUMPABLE, 0);
		signal(SIGSEGV, SIG_DFL); /* cmocka's is inherited */
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ==
		    -1)
			_exit(99);
		/* write(2) of i386, through its own entry. */
		__asm__ volatile("int $0x80"
				 :
				 : "a"(4), "b"(-1), "c"(0), "d"(0)
				 : "memory");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* A kernel without that entry has no such instruction either. */
	assert_true(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
#else
	print_message("only x86_64 has a second entry to try\n");
	skip();
#endif
}

static void
test_product_has_no_sanitizer_rows(void **state)
{
#ifdef FLEXMUSIC_SANITIZER
	print_message("this is a build with sanitizers\n");
	skip();
#else
	const struct sandbox_row *r;
	enum role_id role, with;
	unsigned tried;

	for (role = ROLE_MASTER + 1; role < ROLE_COUNT; role++) {
		with = with_role(role);
		tried = 0;
		for (r = sandbox_table; r->reason != NULL; r++) {
			if (r->use != SANDBOX_SANITIZER ||
			    (r->role != role && r->role != with) ||
			    is_allowed(role, with, r->number))
				continue;
			if (try_call(role, with, r->number, -1, -1, -1) !=
			    SIGSYS)
				fail_msg("%s may call %s", roles[role].name,
				    r->name);
			tried++;
		}
		assert_true(tried > 0);
	}
#endif
}

#ifndef FLEXMUSIC_SANITIZER
static volatile sig_atomic_t handled;

static void
handle(int number)
{
	handled = 1;
}

/* The timer was set before the filter: no role may ask for a signal. */
static bool
bring_signal(void)
{
	while (!handled)
		continue;
	return true;
}

/* No wait was interrupted, and the kernel says so. */
static bool
bring_restart(void)
{
	return syscall(SYS_restart_syscall) == -1 && errno == EINTR;
}

/* As the C library does where the vDSO can't tell. */
static bool
bring_clock(void)
{
	struct timespec ts;

	return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts) == 0;
}

static bool
bring_heap(void)
{
	const char *before = sbrk(0);
	int i;

	for (i = 0; i < 1000; i++)
		if (malloc(1000) == NULL)
			return false;
	return (const char *)sbrk(0) > before;
}

static bool
bring_mapping(void)
{
	const size_t large = 1 << 24;
	char *p = malloc(large), *q;

	if (p == NULL)
		return false;
	p[large - 1] = 1;
	q = realloc(p, 2 * large);
	if (q == NULL)
		return false;
	free(q);
	p = mmap(NULL, large, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || madvise(p, large, MADV_DONTNEED) == -1)
		return false;
	q = mremap(p, large, 2 * large, MREMAP_MAYMOVE);
	return q != MAP_FAILED && munmap(q, 2 * large) == 0;
}

/* What OpenSSL does by itself after an hour, or after so many numbers. */
static bool
bring_seed(void)
{
	uint8_t byte;

	return EVP_RAND_reseed(RAND_get0_primary(NULL), 0, NULL, 0, NULL, 0) ==
	    1 &&
	    EVP_RAND_reseed(RAND_get0_private(NULL), 0, NULL, 0, NULL, 0) ==
	    1 &&
	    RAND_priv_bytes(&byte, 1) == 1;
}

static int ended_channel; /* its other end is closed */

static bool
bring_end(void)
{
	static union message_any m;
	static const struct channel_rule rules[1];
	struct channel c;

	channel_init(&c, ended_channel, rules, 0, NULL);
	return channel_receive(&c, &m) == CHANNEL_CLOSED;
}

/* How the environment brings a call about. */
static const struct {
	int number;
	bool (*bring)(void);
} occasion[] = {
	{ SCMP_SYS(rt_sigreturn), bring_signal },
	{ SCMP_SYS(restart_syscall), bring_restart },
	{ SCMP_SYS(clock_gettime), bring_clock },
	{ SCMP_SYS(brk), bring_heap },
	{ SCMP_SYS(mmap), bring_mapping },
	{ SCMP_SYS(munmap), bring_mapping },
	{ SCMP_SYS(mremap), bring_mapping },
	{ SCMP_SYS(madvise), bring_mapping },
	{ SCMP_SYS(getrandom), bring_seed },
	{ SCMP_SYS(ppoll), bring_end },
};

/* In a child: has it happen under the role's filter. */
static _Noreturn void
live_through(const struct sandbox_program *program, bool (*bring)(void))
{
	const struct itimerval soon = { { 0, 0 }, { 0, 20000 } };
	uint8_t byte;
	int fd[2];

	if (RAND_priv_bytes(&byte, 1) != 1 || !channel_pair(fd, true, 0))
		_exit(NO_SANDBOX);
	close(fd[0]);
	ended_channel = fd[1];
	if (bring == bring_signal &&
	    (signal(SIGALRM, handle) == SIG_ERR ||
		setitimer(ITIMER_REAL, &soon, NULL) == -1))
		_exit(NO_SANDBOX);
	enter(program);
	_exit(bring() ? 0 : 1);
}

static void
try_occasion(enum role_id role, const char *name, bool (*bring)(void))
{
	static struct sandbox_program program;
	pid_t pid;
	int status;

	assert_int_equal(
	    sandbox_compile(role, with_role(role), false, &program), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		live_through(&program, bring);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s in %s: status %#x", name, roles[role].name,
		    (unsigned)status);
}

static void
try_row(const struct sandbox_row *r)
{
	size_t i;

	for (i = 0; i < sizeof(occasion) / sizeof(occasion[0]); i++)
		if (occasion[i].number == r->number) {
			try_occasion(r->role, r->name, occasion[i].bring);
			return;
		}
	fail_msg("nothing brings about %s", r->name);
}
#endif

/* What the environment may bring about does no harm when it does; what PAM's
 * modules call is theirs. */
static void
test_environment(void **state)
{
#ifdef FLEXMUSIC_SANITIZER
	print_message("sanitizers bring an allocator and calls of their own\n");
	skip();
#else
	static const char modules[] = "modules of PAM: ";
	const struct sandbox_row *r;
	unsigned tried = 0;

	for (r = sandbox_table; r->reason != NULL; r++)
		if (r->use == SANDBOX_ENVIRONMENT &&
		    strncmp(r->reason, modules, strlen(modules)) != 0) {
			try_row(r);
			tried++;
		}
	assert_true(tried > 0);
	/* Too rare to be seen in a server, and the end of one that can't. */
	try_occasion(ROLE_KEYS, "a new seed", bring_seed);
	try_occasion(ROLE_PARAMGEN, "a new seed", bring_seed);
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker_is_small),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_all_numbers),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_pam),
		cmocka_unit_test(test_other_architecture),
		cmocka_unit_test(test_product_has_no_sanitizer_rows),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
