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
#include <sys/socket.h>

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
/* Executable, but of a file and not to be written to. */
#define FILE_EXEC                                               \
	2,                                                      \
	{                                                       \
		{ 2, SCMP_CMP_MASKED_EQ, PROT_WRITE, 0 },       \
		{                                               \
			3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0 \
		}                                               \
	}
#define NO_NEW_LIMIT                         \
	1,                                   \
	{                                    \
		{                            \
			2, SCMP_CMP_EQ, 0, 0 \
		}                            \
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

/* What modules of PAM call, or the C library for them. */
#define MODULE(name, reason)                                    \
	{                                                       \
		ROLE_PAM, CALL(name), SANDBOX_ENVIRONMENT, ANY, \
		    "modules of PAM: " reason                   \
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

	/* pam: what it does itself, */
	{ ROLE_PAM, CALL(recvmsg), SANDBOX_USED, ANY,
	    "messages and channels; modules' sockets" },
	{ ROLE_PAM, CALL(ppoll), SANDBOX_USED, ANY,
	    "is the other side of a channel gone?" },
	{ ROLE_PAM, CALL(read), SANDBOX_USED, ANY,
	    "a child's answer; files of PAM" },
	{ ROLE_PAM, CALL(write), SANDBOX_USED, ANY,
	    "answers; modules' records and sockets" },
	{ ROLE_PAM, CALL(epoll_wait), SANDBOX_USED, ANY, "the event loop" },
	{ ROLE_PAM, CALL(epoll_ctl), SANDBOX_USED, ANY,
	    "channels and children come and go" },
	{ ROLE_PAM, CALL(close), SANDBOX_USED, ANY,
	    "a channel or a child is done with" },
	{ ROLE_PAM, CALL(close_range), SANDBOX_USED, ANY,
	    "a child has its answer's descriptor alone" },
	{ ROLE_PAM, CALL(dup2), SANDBOX_USED, ANY,
	    "a child's descriptor goes where it is to be" },
	{ ROLE_PAM, CALL(pipe2), SANDBOX_USED, ANY, "a child's answer" },
	{ ROLE_PAM, CALL(clone), SANDBOX_USED, ANY, "a child" },
	{ ROLE_PAM, CALL(set_robust_list), SANDBOX_USED, ANY,
	    "the C library after a fork" },
	{ ROLE_PAM, CALL(pidfd_open), SANDBOX_USED, ANY, "a child's end" },
	{ ROLE_PAM, CALL(pidfd_send_signal), SANDBOX_USED, ANY,
	    "a child whose time is up" },
	{ ROLE_PAM, CALL(waitid), SANDBOX_USED, ANY, "a child's end" },
	{ ROLE_PAM, CALL(prctl), SANDBOX_USED, EQ01(PR_SET_PDEATHSIG, SIGKILL),
	    "a child ends with pam" },
	{ ROLE_PAM, CALL(getppid), SANDBOX_USED, ANY,
	    "a child's parent is pam" },
	{ ROLE_PAM, CALL(clock_gettime), SANDBOX_ENVIRONMENT, ANY,
	    "time limits and delays, where the vDSO does not tell the time" },
	{ ROLE_PAM, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	MEMORY(ROLE_PAM),
	ENVIRONMENT(ROLE_PAM),
	/* and what modules do with files, sockets and time. */
	{ ROLE_PAM, CALL(mmap), SANDBOX_USED, FILE_EXEC,
	    "modules are loaded: executable memory is that of a file" },
	{ ROLE_PAM, CALL(mprotect), SANDBOX_USED, NO_EXEC,
	    "modules are loaded" },
	MODULE(openat, "files"),
	MODULE(open, "files"),
	MODULE(lseek, "files"),
	MODULE(pread64, "files"),
	MODULE(pwrite64, "records"),
	MODULE(readv, "files"),
	MODULE(writev, "records"),
	MODULE(fstat, "files"),
	MODULE(stat, "files"),
	MODULE(lstat, "files"),
	MODULE(newfstatat, "files"),
	MODULE(statx, "files"),
	MODULE(access, "files"),
	MODULE(faccessat, "files"),
	MODULE(faccessat2, "files"),
	MODULE(readlink, "files"),
	MODULE(readlinkat, "files"),
	MODULE(getdents64, "folders"),
	MODULE(getcwd, "folders"),
	MODULE(fcntl, "locks and flags"),
	MODULE(flock, "locks"),
	MODULE(fsync, "records"),
	MODULE(fdatasync, "records"),
	MODULE(ftruncate, "records"),
	MODULE(rename, "records"),
	MODULE(renameat, "records"),
	MODULE(unlink, "records"),
	MODULE(unlinkat, "records"),
	MODULE(mkdir, "records"),
	MODULE(mkdirat, "records"),
	MODULE(fchmod, "records"),
	MODULE(fchown, "records"),
	MODULE(umask, "records"),
	MODULE(dup, "descriptors"),
	MODULE(ioctl, "is it a terminal?"),
	{ ROLE_PAM, CALL(socket), SANDBOX_ENVIRONMENT, EQ0(AF_UNIX),
	    "the log, directory services of this machine" },
	{ ROLE_PAM, CALL(socket), SANDBOX_ENVIRONMENT, EQ0(AF_INET),
	    "directory services" },
	{ ROLE_PAM, CALL(socket), SANDBOX_ENVIRONMENT, EQ0(AF_INET6),
	    "directory services" },
	{ ROLE_PAM, CALL(socket), SANDBOX_ENVIRONMENT, EQ0(AF_NETLINK),
	    "the audit log; addresses of this machine" },
	MODULE(connect, "sockets"),
	MODULE(bind, "netlink sockets"),
	MODULE(sendto, "sockets"),
	MODULE(sendmsg, "sockets"),
	MODULE(sendmmsg, "names"),
	MODULE(recvfrom, "sockets"),
	MODULE(getsockname, "sockets"),
	MODULE(getpeername, "sockets"),
	MODULE(setsockopt, "sockets"),
	MODULE(getsockopt, "sockets"),
	MODULE(shutdown, "sockets"),
	MODULE(socketpair, "sockets"),
	MODULE(poll, "waiting"),
	MODULE(select, "waiting"),
	MODULE(pselect6, "waiting"),
	MODULE(nanosleep, "waiting"),
	MODULE(clock_nanosleep, "waiting"),
	MODULE(alarm, "waiting"),
	MODULE(setitimer, "waiting"),
	MODULE(futex, "locks"),
	MODULE(gettimeofday, "time"),
	MODULE(time, "time"),
	MODULE(clock_getres, "time"),
	MODULE(getrandom, "random numbers"),
	MODULE(rt_sigaction, "signals"),
	MODULE(rt_sigprocmask, "signals"),
	MODULE(getpid, "the log"),
	MODULE(gettid, "the log"),
	MODULE(getuid, "who this is"),
	MODULE(geteuid, "who this is"),
	MODULE(getgid, "who this is"),
	MODULE(getegid, "who this is"),
	MODULE(getresuid, "who this is"),
	MODULE(getresgid, "who this is"),
	MODULE(getgroups, "who this is"),
	MODULE(capget, "who this is"),
	MODULE(setuid, "root becomes root"),
	MODULE(setreuid, "root becomes root"),
	MODULE(setresuid, "root becomes root"),
	MODULE(setfsuid, "root becomes root"),
	MODULE(setfsgid, "root becomes root"),
	MODULE(uname, "this machine"),
	MODULE(sysinfo, "memory"),
	MODULE(getrlimit, "limits"),
	{ ROLE_PAM, CALL(prlimit64), SANDBOX_ENVIRONMENT, NO_NEW_LIMIT,
	    "limits, to be read" },
	MODULE(getrusage, "limits"),
	MODULE(wait4, "modules' children"),
	MODULE(exit, "the end of a thread"),
	MODULE(sched_yield, "locks"),
	MODULE(rseq, "the C library after a fork"),
	SANITIZERS(ROLE_PAM),

	{ ROLE_COUNT, 0, NULL, SANDBOX_USED, ANY, NULL },
};
