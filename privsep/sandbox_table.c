/*
 * privsep/sandbox_table.c - which system calls each role may make: a row a
 * call, with what its arguments must be and why it is there.  What has no
 * row ends the process.
 *
 * Runs in: master, which compiles it.  The master itself has no filter: its
 * helpers would inherit it through exec, and it must start programs.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <sched.h>
#include <signal.h>
#include <stddef.h>

#include <linux/seccomp.h>

#include "privsep/sandbox_table.h"
#include "privsep/start.h"

#define CALL(name) SCMP_SYS(name), #name
#define ANY               \
	0,                \
	{                 \
		{         \
			0 \
		}         \
	}
#define EQ0(v)                                 \
	1,                                     \
	{                                      \
		{                              \
			0, SCMP_CMP_EQ, (v), 0 \
		}                              \
	}
#define NO_EXEC                                             \
	1,                                                  \
	{                                                   \
		{                                           \
			2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 \
		}                                           \
	}
#define EQ01(v0, v1)                            \
	2,                                      \
	{                                       \
		{ 0, SCMP_CMP_EQ, (v0), 0 },    \
		{                               \
			1, SCMP_CMP_EQ, (v1), 0 \
		}                               \
	}

/* What the kernel or libc may do in any process, whatever its code. */
#define ENVIRONMENT(role)                                              \
	{ role, CALL(rt_sigreturn), SANDBOX_ENVIRONMENT, ANY,          \
		"the end of a signal handler" },                       \
	{                                                              \
		role, CALL(restart_syscall), SANDBOX_ENVIRONMENT, ANY, \
		    "a wait goes on after SIGSTOP and SIGCONT"         \
	}

/* Memory for OpenSSL, libevent and crypt(3); never executable. */
#define MEMORY(role)                                              \
	{ role, CALL(brk), SANDBOX_USED, ANY, "the heap grows" }, \
	    { role, CALL(mmap), SANDBOX_ENVIRONMENT, NO_EXEC,     \
		    "large allocations; not executable" },        \
	    { role, CALL(munmap), SANDBOX_ENVIRONMENT, ANY,       \
		    "large allocations are freed" },              \
	    { role, CALL(mremap), SANDBOX_ENVIRONMENT, ANY,       \
		    "large allocations grow" },                   \
	{                                                         \
		role, CALL(madvise), SANDBOX_ENVIRONMENT, ANY,    \
		    "the allocator gives memory back"             \
	}

/* What the sanitizers' runtimes call; not in the product. */
#define SAN(role, name)                                                       \
	{                                                                     \
		role, CALL(name), SANDBOX_SANITIZER, ANY, "sanitizer runtime" \
	}
#define SANITIZERS(role)                                                       \
	SAN(role, brk), SAN(role, mmap), SAN(role, munmap),                    \
	    SAN(role, mprotect), SAN(role, madvise), SAN(role, mremap),        \
	    SAN(role, futex), SAN(role, sigaltstack), SAN(role, rt_sigaction), \
	    SAN(role, rt_sigprocmask), SAN(role, getpid), SAN(role, gettid),   \
	    SAN(role, tgkill), SAN(role, sched_yield), SAN(role, getrlimit),   \
	    SAN(role, readlink), SAN(role, openat), SAN(role, fstat),          \
	    SAN(role, newfstatat), SAN(role, ioctl), SAN(role, lseek),         \
	    SAN(role, prctl), SAN(role, exit), SAN(role, write),               \
	    SAN(role, getrusage), SAN(role, clock_gettime),                    \
	    SAN(role, sched_getaffinity), SAN(role, pread64), SAN(role, rseq), \
	    SAN(role, set_robust_list)

const struct sandbox_row sandbox_table[] = {
	/* A worker, once it serves its client. */
	{ ROLE_WORKER, CALL(read), SANDBOX_USED, ANY,
	    "the client's bytes; the answers of keys and auth" },
	{ ROLE_WORKER, CALL(recvmsg), SANDBOX_USED, EQ0(WORKER_CHANNEL),
	    "the channel to auth, from the master" },
	{ ROLE_WORKER, CALL(write), SANDBOX_USED, ANY,
	    "the server's packets; messages to master, keys and auth" },
	{ ROLE_WORKER, CALL(ppoll), SANDBOX_USED, ANY,
	    "waiting, with a time limit" },
	{ ROLE_WORKER, CALL(clock_gettime), SANDBOX_USED, ANY,
	    "time limits and the time in tokens; called directly, since the "
	    "vDSO would cost three page faults" },
	{ ROLE_WORKER, CALL(getrandom), SANDBOX_USED, ANY,
	    "the IV of each token" },
	{ ROLE_WORKER, CALL(shutdown), SANDBOX_USED, ANY,
	    "the end of sending, before the last bytes are read" },
	{ ROLE_WORKER, CALL(close), SANDBOX_USED, ANY,
	    "the channels to keys and to auth, when they are done with" },
	{ ROLE_WORKER, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	ENVIRONMENT(ROLE_WORKER),
	SANITIZERS(ROLE_WORKER),

	/* The zygote: what it does itself; a worker's rows are added, since
	 * filters add up. */
	{ ROLE_ZYGOTE, CALL(recvmsg), SANDBOX_USED, EQ0(HELPER_CHANNEL),
	    "a connection, from the master" },
	{ ROLE_ZYGOTE, CALL(sendmsg), SANDBOX_USED, EQ0(HELPER_CHANNEL),
	    "the worker's pidfd, to the master" },
	{ ROLE_ZYGOTE, CALL(clone), SANDBOX_USED,
	    EQ0(CLONE_PARENT | CLONE_PIDFD),
	    "a worker, with these flags and no others" },
	{ ROLE_ZYGOTE, CALL(prctl), SANDBOX_USED,
	    EQ01(PR_SET_PDEATHSIG, SIGKILL),
	    "the new worker ends with the master" },
	{ ROLE_ZYGOTE, CALL(getppid), SANDBOX_USED, ANY,
	    "the new worker's parent is the master" },
	{ ROLE_ZYGOTE, CALL(prlimit64), SANDBOX_USED, EQ01(0, RLIMIT_NPROC),
	    "the new worker can't fork" },
	{ ROLE_ZYGOTE, CALL(prlimit64), SANDBOX_USED, EQ01(0, RLIMIT_NOFILE),
	    "the new worker has the descriptors that it needs, and no more" },
	{ ROLE_ZYGOTE, CALL(seccomp), SANDBOX_USED,
	    EQ01(SECCOMP_SET_MODE_FILTER, 0), "the new worker's own filter" },
	SANITIZERS(ROLE_ZYGOTE),

	/* The key holder. */
	{ ROLE_KEYS, CALL(recvmsg), SANDBOX_USED, ANY,
	    "messages and channels" },
	{ ROLE_KEYS, CALL(ppoll), SANDBOX_USED, ANY,
	    "is the other side of a channel gone?" },
	{ ROLE_KEYS, CALL(write), SANDBOX_USED, ANY, "answers" },
	{ ROLE_KEYS, CALL(epoll_wait), SANDBOX_USED, ANY, "the event loop" },
	{ ROLE_KEYS, CALL(epoll_ctl), SANDBOX_USED, ANY,
	    "channels come and go" },
	{ ROLE_KEYS, CALL(close), SANDBOX_USED, ANY, "a channel is done with" },
	{ ROLE_KEYS, CALL(getrandom), SANDBOX_USED, ANY,
	    "seeds of OpenSSL's generator" },
	{ ROLE_KEYS, CALL(getpid), SANDBOX_USED, ANY,
	    "OpenSSL's generator looks whether it was forked" },
	{ ROLE_KEYS, CALL(clock_gettime), SANDBOX_ENVIRONMENT, ANY,
	    "the event loop's time, where the vDSO does not tell it" },
	{ ROLE_KEYS, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	MEMORY(ROLE_KEYS),
	ENVIRONMENT(ROLE_KEYS),
	SANITIZERS(ROLE_KEYS),

	/* The maker of parameters. */
	{ ROLE_PARAMGEN, CALL(recvmsg), SANDBOX_USED, ANY, "the order" },
	{ ROLE_PARAMGEN, CALL(ppoll), SANDBOX_USED, ANY,
	    "is the other side of a channel gone?" },
	{ ROLE_PARAMGEN, CALL(write), SANDBOX_USED, ANY, "the result" },
	{ ROLE_PARAMGEN, CALL(getrandom), SANDBOX_USED, ANY,
	    "seeds of OpenSSL's generator" },
	{ ROLE_PARAMGEN, CALL(getpid), SANDBOX_USED, ANY,
	    "OpenSSL's generator looks whether it was forked" },
	{ ROLE_PARAMGEN, CALL(clock_gettime), SANDBOX_ENVIRONMENT, ANY,
	    "time, where the vDSO does not tell it" },
	{ ROLE_PARAMGEN, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	MEMORY(ROLE_PARAMGEN),
	ENVIRONMENT(ROLE_PARAMGEN),
	SANITIZERS(ROLE_PARAMGEN),

	/* The authenticator. */
	{ ROLE_AUTH, CALL(recvmsg), SANDBOX_USED, ANY,
	    "messages, channels, the users file" },
	{ ROLE_AUTH, CALL(ppoll), SANDBOX_USED, ANY,
	    "is the other side of a channel gone?" },
	{ ROLE_AUTH, CALL(pread64), SANDBOX_USED, ANY,
	    "the users file, from its beginning" },
	{ ROLE_AUTH, CALL(write), SANDBOX_USED, ANY, "answers" },
	{ ROLE_AUTH, CALL(epoll_wait), SANDBOX_USED, ANY, "the event loop" },
	{ ROLE_AUTH, CALL(epoll_ctl), SANDBOX_USED, ANY,
	    "channels come and go" },
	{ ROLE_AUTH, CALL(close), SANDBOX_USED, ANY,
	    "a channel or the users file is done with" },
	{ ROLE_AUTH, CALL(clock_gettime), SANDBOX_ENVIRONMENT, ANY,
	    "time limits and delays, where the vDSO does not tell the time" },
	{ ROLE_AUTH, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	MEMORY(ROLE_AUTH),
	ENVIRONMENT(ROLE_AUTH),
	SANITIZERS(ROLE_AUTH),

	{ ROLE_COUNT, 0, NULL, SANDBOX_USED, ANY, NULL },
};
