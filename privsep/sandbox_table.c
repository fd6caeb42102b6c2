/*
 * privsep/sandbox_table.c - which system calls each role may make: a row a
 * call, with what its arguments must be and why it is there.  What has no
 * row ends the process.
 *
 * Runs in: master, which compiles it.  The master itself has no filter: its
 * helpers would inherit it through exec, and it must start programs.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <termios.h>

#include <linux/netlink.h>
#include <linux/seccomp.h>

#include "privsep/sandbox_table.h"
#include "privsep/start.h"

#define CALL(name) SCMP_SYS(name), #name
/* Checks of arguments, each with what it says in words. */
#define ANY    0, { { 0 } }, "any"
#define EQ0(v) 1, { { 0, SCMP_CMP_EQ, (v), 0 } }, "first: " #v
#define EQ1(v) 1, { { 1, SCMP_CMP_EQ, (v), 0 } }, "second: " #v
#define EQ01(v0, v1)                                                     \
	2, { { 0, SCMP_CMP_EQ, (v0), 0 }, { 1, SCMP_CMP_EQ, (v1), 0 } }, \
	    "first two: " #v0 ", " #v1
#define NO_EXEC 1, { { 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 } }, "not PROT_EXEC"
/* What fork(3) and pthread_create(3) of the C library ask for, and no name
 * space, no other parent. */
#define FORK_FLAGS (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)
#define THREAD_FLAGS                                                        \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	    CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |            \
	    CLONE_CHILD_CLEARTID)
#define FORK_ONLY \
	1, { { 0, SCMP_CMP_EQ, FORK_FLAGS, 0 } }, "as fork(3) has them"
#define THREAD_ONLY                                 \
	1, { { 0, SCMP_CMP_EQ, THREAD_FLAGS, 0 } }, \
	    "as pthread_create(3) has them"
#define FCNTL_PLAIN \
	1, { { 1, SCMP_CMP_LE, F_SETLKW, 0 } }, "second: F_DUPFD to F_SETLKW"
#define NETLINK(protocol)                              \
	2,                                             \
	    { { 0, SCMP_CMP_EQ, AF_NETLINK, 0 },       \
		    { 2, SCMP_CMP_EQ, protocol, 0 } }, \
	    "AF_NETLINK, " #protocol
#define SOCK_TYPE_MASK 0xf /* flags stand above */
/* Executable, but of a file and not to be written to. */
#define FILE_EXEC                                                  \
	2,                                                         \
	    { { 2, SCMP_CMP_MASKED_EQ, PROT_WRITE, 0 },            \
		    { 3, SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0 } }, \
	    "not PROT_WRITE, not MAP_ANONYMOUS"
#define NO_NEW_LIMIT 1, { { 2, SCMP_CMP_EQ, 0, 0 } }, "third: 0, no new limit"

/* What the kernel or libc may do in any process, whatever its code. */
#define ENVIRONMENT(role)                                              \
	{ role, CALL(rt_sigreturn), SANDBOX_ENVIRONMENT, ANY,          \
		"the end of a signal handler" },                       \
	{                                                              \
		role, CALL(restart_syscall), SANDBOX_ENVIRONMENT, ANY, \
		    "a wait goes on after SIGSTOP and SIGCONT"         \
	}

/* Memory for OpenSSL, libevent and crypt(3); never executable. */
#define MEMORY(role)                                                     \
	{ role, CALL(brk), SANDBOX_ENVIRONMENT, ANY, "the heap grows" }, \
	    { role, CALL(mmap), SANDBOX_ENVIRONMENT, NO_EXEC,            \
		    "large allocations; not executable" },               \
	    { role, CALL(munmap), SANDBOX_ENVIRONMENT, ANY,              \
		    "large allocations are freed" },                     \
	    { role, CALL(mremap), SANDBOX_ENVIRONMENT, ANY,              \
		    "large allocations grow" },                          \
	{                                                                \
		role, CALL(madvise), SANDBOX_ENVIRONMENT, ANY,           \
		    "the allocator gives memory back"                    \
	}

/* What modules of PAM call, or the C library for them. */
#define MODULE(name, reason)                                        \
	{                                                           \
		ROLE_ATTEMPT, CALL(name), SANDBOX_ENVIRONMENT, ANY, \
		    "modules of PAM: " reason                       \
	}
#define INTERNET(family, type, protocol)                                     \
	{                                                                    \
		ROLE_ATTEMPT, CALL(socket), SANDBOX_ENVIRONMENT, 3,          \
		    { { 0, SCMP_CMP_EQ, family, 0 },                         \
			    { 1, SCMP_CMP_MASKED_EQ, SOCK_TYPE_MASK, type }, \
			    { 2, SCMP_CMP_EQ, protocol, 0 } },               \
		    #family ", " #type ", " #protocol,                       \
		    "modules of PAM: directory services"                     \
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
	{ ROLE_KEYS, CALL(write), SANDBOX_USED, ANY,
	    "answers; a new long-term key, to the master's pipe" },
	{ ROLE_KEYS, CALL(pread64), SANDBOX_USED, ANY,
	    "the long-term key's file, from its beginning" },
	{ ROLE_KEYS, CALL(epoll_wait), SANDBOX_USED, ANY, "the event loop" },
	{ ROLE_KEYS, CALL(epoll_ctl), SANDBOX_USED, ANY,
	    "channels come and go" },
	{ ROLE_KEYS, CALL(close), SANDBOX_USED, ANY, "a channel is done with" },
	{ ROLE_KEYS, CALL(getrandom), SANDBOX_ENVIRONMENT, ANY,
	    "OpenSSL's generator is seeded again, after an hour or much use" },
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
	{ ROLE_PARAMGEN, CALL(ppoll), SANDBOX_ENVIRONMENT, ANY,
	    "the master ended before it gave an order" },
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

	/* pam: what it does itself; an attempt's rows are added. */
	{ ROLE_PAM, CALL(epoll_wait), SANDBOX_USED, ANY, "the event loop" },
	{ ROLE_PAM, CALL(epoll_ctl), SANDBOX_USED, ANY,
	    "channels and children come and go" },
	{ ROLE_PAM, CALL(close_range), SANDBOX_USED, ANY,
	    "a child has its answer's descriptor alone" },
	{ ROLE_PAM, CALL(dup2), SANDBOX_USED, ANY,
	    "that descriptor goes where it is to be" },
	{ ROLE_PAM, CALL(pipe2), SANDBOX_USED, ANY, "a child's answer" },
	{ ROLE_PAM, CALL(clone), SANDBOX_USED, FORK_ONLY,
	    "a child, as fork(3) makes it" },
	{ ROLE_PAM, CALL(pidfd_open), SANDBOX_USED, ANY, "a child's end" },
	{ ROLE_PAM, CALL(pidfd_send_signal), SANDBOX_USED, EQ1(SIGKILL),
	    "a child whose time is up" },
	{ ROLE_PAM, CALL(waitid), SANDBOX_USED, ANY, "a child's end" },
	{ ROLE_PAM, CALL(prctl), SANDBOX_USED, EQ01(PR_SET_PDEATHSIG, SIGKILL),
	    "a child ends with pam" },
	{ ROLE_PAM, CALL(getppid), SANDBOX_USED, ANY,
	    "a child's parent is pam" },
	{ ROLE_PAM, CALL(prlimit64), SANDBOX_USED, EQ01(0, RLIMIT_NPROC),
	    "a child's limits, as a worker's" },
	{ ROLE_PAM, CALL(prlimit64), SANDBOX_USED, EQ01(0, RLIMIT_NOFILE),
	    "a child has the descriptors that it needs, and no more" },
	{ ROLE_PAM, CALL(seccomp), SANDBOX_USED,
	    EQ01(SECCOMP_SET_MODE_FILTER, 0), "the child's own filter" },
	SANITIZERS(ROLE_PAM),

	/* An attempt: a child of pam, and what modules do in it with files,
	 * sockets and time. */
	{ ROLE_ATTEMPT, CALL(read), SANDBOX_USED, ANY,
	    "files of PAM; in pam, a child's answer" },
	{ ROLE_ATTEMPT, CALL(write), SANDBOX_USED, ANY,
	    "the answer; modules' records and sockets" },
	{ ROLE_ATTEMPT, CALL(close), SANDBOX_USED, ANY,
	    "files; in pam, a channel or a child that is done with" },
	{ ROLE_ATTEMPT, CALL(recvmsg), SANDBOX_USED, ANY,
	    "in pam, messages and channels; modules' sockets" },
	{ ROLE_ATTEMPT, CALL(ppoll), SANDBOX_USED, ANY,
	    "in pam, is the other side of a channel gone?" },
	{ ROLE_ATTEMPT, CALL(set_robust_list), SANDBOX_USED, ANY,
	    "the C library after a fork, and in a thread" },
	{ ROLE_ATTEMPT, CALL(clock_gettime), SANDBOX_ENVIRONMENT, ANY,
	    "time limits and delays, where the vDSO does not tell the time" },
	{ ROLE_ATTEMPT, CALL(exit_group), SANDBOX_USED, ANY, "the end" },
	MEMORY(ROLE_ATTEMPT),
	ENVIRONMENT(ROLE_ATTEMPT),
	{ ROLE_ATTEMPT, CALL(mmap), SANDBOX_USED, FILE_EXEC,
	    "modules are loaded: executable memory is that of a file" },
	{ ROLE_ATTEMPT, CALL(mprotect), SANDBOX_USED, NO_EXEC,
	    "modules are loaded" },
	{ ROLE_ATTEMPT, CALL(clone), SANDBOX_ENVIRONMENT, THREAD_ONLY,
	    "modules of PAM: threads, and no processes" },
	MODULE(openat, "files"),
	MODULE(open, "files"),
	MODULE(lseek, "files"),
	MODULE(pread64, "files"),
	MODULE(readv, "files"),
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
	MODULE(getdents64, "files"),
	MODULE(getcwd, "files"),
	MODULE(pwrite64, "records"),
	MODULE(writev, "records"),
	MODULE(fsync, "records"),
	MODULE(fdatasync, "records"),
	MODULE(ftruncate, "records"),
	MODULE(rename, "records"),
	MODULE(renameat, "records"),
	MODULE(unlink, "records"),
	MODULE(unlinkat, "records"),
	MODULE(mkdir, "records"),
	MODULE(mkdirat, "records"),
	MODULE(umask, "records"),
	MODULE(flock, "locks"),
	MODULE(dup, "descriptors"),
	{ ROLE_ATTEMPT, CALL(fcntl), SANDBOX_ENVIRONMENT, FCNTL_PLAIN,
	    "modules of PAM: flags and locks; never who is signalled" },
	{ ROLE_ATTEMPT, CALL(fcntl), SANDBOX_ENVIRONMENT, EQ1(F_DUPFD_CLOEXEC),
	    "modules of PAM: descriptors" },
	{ ROLE_ATTEMPT, CALL(fcntl), SANDBOX_ENVIRONMENT, EQ1(F_OFD_SETLK),
	    "modules of PAM: locks" },
	{ ROLE_ATTEMPT, CALL(fcntl), SANDBOX_ENVIRONMENT, EQ1(F_OFD_SETLKW),
	    "modules of PAM: locks" },
	{ ROLE_ATTEMPT, CALL(ioctl), SANDBOX_ENVIRONMENT, EQ1(TCGETS),
	    "modules of PAM: is it a terminal?" },
	{ ROLE_ATTEMPT, CALL(ioctl), SANDBOX_ENVIRONMENT, EQ1(FIONREAD),
	    "modules of PAM: sockets" },
	{ ROLE_ATTEMPT, CALL(ioctl), SANDBOX_ENVIRONMENT, EQ1(FIONBIO),
	    "modules of PAM: sockets" },
	{ ROLE_ATTEMPT, CALL(socket), SANDBOX_ENVIRONMENT, EQ0(AF_UNIX),
	    "modules of PAM: the log, directory services of this machine" },
	{ ROLE_ATTEMPT, CALL(socket), SANDBOX_ENVIRONMENT,
	    NETLINK(NETLINK_ROUTE),
	    "modules of PAM: addresses of this machine" },
	{ ROLE_ATTEMPT, CALL(socket), SANDBOX_ENVIRONMENT,
	    NETLINK(NETLINK_AUDIT), "modules of PAM: the audit log" },
	INTERNET(AF_INET, SOCK_STREAM, 0),
	INTERNET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	INTERNET(AF_INET, SOCK_DGRAM, 0),
	INTERNET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	INTERNET(AF_INET6, SOCK_STREAM, 0),
	INTERNET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	INTERNET(AF_INET6, SOCK_DGRAM, 0),
	INTERNET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	{ ROLE_ATTEMPT, CALL(socketpair), SANDBOX_ENVIRONMENT, EQ0(AF_UNIX),
	    "modules of PAM: sockets" },
	MODULE(connect, "sockets"),
	MODULE(bind, "sockets"),
	MODULE(sendto, "sockets"),
	MODULE(sendmsg, "sockets"),
	MODULE(sendmmsg, "sockets"),
	MODULE(recvfrom, "sockets"),
	MODULE(getsockname, "sockets"),
	MODULE(getpeername, "sockets"),
	MODULE(setsockopt, "sockets"),
	MODULE(getsockopt, "sockets"),
	MODULE(shutdown, "sockets"),
	MODULE(poll, "waiting"),
	MODULE(select, "waiting"),
	MODULE(pselect6, "waiting"),
	MODULE(nanosleep, "waiting"),
	MODULE(clock_nanosleep, "waiting"),
	MODULE(alarm, "waiting"),
	MODULE(setitimer, "waiting"),
	MODULE(futex, "locks"),
	MODULE(sched_yield, "locks"),
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
	MODULE(getrusage, "limits"),
	{ ROLE_ATTEMPT, CALL(prlimit64), SANDBOX_ENVIRONMENT, NO_NEW_LIMIT,
	    "modules of PAM: limits, to be read" },
	MODULE(exit, "threads"),
	MODULE(rseq, "threads"),
	SANITIZERS(ROLE_ATTEMPT),

	{ ROLE_COUNT, 0, NULL, SANDBOX_USED, ANY, NULL },
};
