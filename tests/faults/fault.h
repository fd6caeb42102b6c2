/*
 * tests/faults/fault.h - calls that fail when a test wants it, for the
 * programs below build/faults.
 *
 * Runs in: the test's servers, all processes of them.  The test and all
 * processes share a page of memory: the file `faults` beside the program, as
 * far as it is there, mapped before main() and so before any sandbox.  In it
 * a process counts what it calls from where, and finds which call is to fail.
 * tests/lib/faults.py reads this file and writes the page.
 */
#ifndef TESTS_FAULTS_FAULT_H
#define TESTS_FAULTS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#define FAULT_FRAMES 4
#define FAULT_SITES  4096

/* Who calls: what a fork of the master, or of pam, does is on its own. */
#define FAULT_ROLES(X) \
	X(master)      \
	X(keys)        \
	X(paramgen)    \
	X(auth)        \
	X(pam)         \
	X(zygote)      \
	X(worker)      \
	X(exec)        \
	X(attempt)

/* What can fail. */
#define FAULT_CALLS(X)                    \
	X(accept4)                        \
	X(bind)                           \
	X(calloc)                         \
	X(cfg_init)                       \
	X(chdir)                          \
	X(chroot)                         \
	X(clone)                          \
	X(close_range)                    \
	X(connect)                        \
	X(crypt_rn)                       \
	X(crypto)                         \
	X(dup2)                           \
	X(event_add)                      \
	X(event_base_init_common_timeout) \
	X(event_base_new)                 \
	X(event_base_new_with_config)     \
	X(event_base_priority_init)       \
	X(event_config_new)               \
	X(event_new)                      \
	X(fchdir)                         \
	X(fchmod)                         \
	X(fcntl)                          \
	X(fdopendir)                      \
	X(fexecve)                        \
	X(flock)                          \
	X(fopen)                          \
	X(fork)                           \
	X(fstat)                          \
	X(fstatat)                        \
	X(fsync)                          \
	X(getentropy)                     \
	X(getnameinfo)                    \
	X(getpwnam)                       \
	X(getrandom)                      \
	X(getrlimit)                      \
	X(getsockopt)                     \
	X(ioctl)                          \
	X(listen)                         \
	X(lseek)                          \
	X(malloc)                         \
	X(memfd_create)                   \
	X(mkdir)                          \
	X(mprotect)                       \
	X(open)                           \
	X(open_memstream)                 \
	X(openat)                         \
	X(pipe2)                          \
	X(poll)                           \
	X(ppoll)                          \
	X(prctl)                          \
	X(pread)                          \
	X(pwrite)                         \
	X(read)                           \
	X(readdir)                        \
	X(readlink)                       \
	X(reallocarray)                   \
	X(recallocarray)                  \
	X(recvmsg)                        \
	X(renameat)                       \
	X(sched_getaffinity)              \
	X(seccomp_export_bpf)             \
	X(seccomp_init)                   \
	X(seccomp_rule_add_exact_array)   \
	X(send)                           \
	X(sendmsg)                        \
	X(setgroups)                      \
	X(setpriority)                    \
	X(setresgid)                      \
	X(setresuid)                      \
	X(setrlimit)                      \
	X(setsockopt)                     \
	X(socket)                         \
	X(socketpair)                     \
	X(strdup)                         \
	X(strndup)                        \
	X(syscall)                        \
	X(unlinkat)                       \
	X(write)

enum fault_role {
#define X(name) FAULT_ROLE_##name,
	FAULT_ROLES(X)
#undef X
	FAULT_ROLE_COUNT
};

enum fault_call {
#define X(name) FAULT_##name,
	FAULT_CALLS(X)
#undef X
};

/* Where a call is made: return addresses in the program, innermost first. */
struct fault_site {
	uint32_t role;
	uint32_t call;
	uint32_t frame[FAULT_FRAMES];
	uint32_t count;
};

/* The shared page.  A target's first frame of 0 stands for any place. */
struct fault_page {
	uint32_t armed;
	struct fault_site target; /* fails at its count-th call, */
	uint32_t every; /* then at each so many-th, */
	uint32_t times; /* so often in all, */
	uint32_t error; /* with this errno */
	uint32_t hits;
	uint32_t fired;
	uint32_t recording;
	uint32_t sites;
	struct fault_site site[FAULT_SITES];
};

/* True, with errno, where this call is to fail; for the wrappers alone: the
 * place is that of their caller. */
bool fault_here(enum fault_call call);

/* The process becomes another one's child, with a role of its own. */
void fault_become(enum fault_role role);

enum fault_role fault_who(void);

/* Before and after each call that changes the state directory (steps.c). */
void fault_step(void);

/* A call that returns `bad` where it is to fail, and the real one's result
 * where not. */
#define WRAP(type, bad, name, params, args)   \
	type __real_##name params;            \
	type __wrap_##name params;            \
	type __wrap_##name params             \
	{                                     \
		if (fault_here(FAULT_##name)) \
			return bad;           \
		return __real_##name args;    \
	}

#endif
