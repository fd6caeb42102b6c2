/*
 * privsep/sandbox.h - what a process gives up, and in which order.
 *
 * Runs in: every server process.  sandbox_linux.c alone knows Linux's
 * sandbox calls; sandbox_table.c has the system calls that each role may
 * make, a row a call with its reason; sandbox_filter.c (in flexmusicd alone)
 * makes BPF of them with libseccomp.
 */
#ifndef PRIVSEP_SANDBOX_H
#define PRIVSEP_SANDBOX_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/filter.h>

#define SANDBOX_PROGRAM_MAX 320 /* instructions of a filter */

/* A filter in BPF. */
struct sandbox_program {
	uint16_t count; /* 0: none */
	struct sock_filter code[SANDBOX_PROGRAM_MAX];
};

/* Whether what a process writes can be swapped out. */
enum sandbox_memory {
	SANDBOX_MEMORY_PLAIN, /* as any process's: nothing in it has to last */
	SANDBOX_MEMORY_LOCKED,
	SANDBOX_MEMORY_UNLOCKED /* it was to be locked, and can't be */
};

/* What is in force; what the kernel lacks is logged at start. */
struct sandbox_layers {
	uint8_t users; /* own user and group */
	uint8_t root_dir; /* chroot */
	uint8_t seccomp;
	int32_t landlock; /* the ABI in use; 0: none */
	uint32_t memory; /* enum sandbox_memory */
};

/* The steps, in their order: which one failed is told to the master. */
#define SANDBOX_STEPS(X)                                  \
	X(SANDBOX_PROTOCOL, "start message")              \
	X(SANDBOX_BUILD, "other build of the program")    \
	X(SANDBOX_SIGNALS, "ignoring signals")            \
	X(SANDBOX_DESCRIPTORS, "closing descriptors")     \
	X(SANDBOX_CHROOT, "chroot")                       \
	X(SANDBOX_GROUPS, "setgroups")                    \
	X(SANDBOX_GID, "setresgid")                       \
	X(SANDBOX_UID, "setresuid")                       \
	X(SANDBOX_CAPABILITIES, "clearing capabilities")  \
	X(SANDBOX_REGAIN, "root could be regained")       \
	X(SANDBOX_LIMITS, "setrlimit")                    \
	X(SANDBOX_DUMPABLE, "clearing the dumpable flag") \
	X(SANDBOX_DEATH_SIGNAL, "parent-death signal")    \
	X(SANDBOX_PARENT, "the parent is not the master") \
	X(SANDBOX_NO_NEW_PRIVS, "no_new_privs")           \
	X(SANDBOX_LANDLOCK, "Landlock")                   \
	X(SANDBOX_SECCOMP, "seccomp")                     \
	X(SANDBOX_NICE, "setpriority")

enum sandbox_step {
#define X(step, text) step,
	SANDBOX_STEPS(X)
#undef X
	SANDBOX_STEP_COUNT
};

/* The text of a step for the log. */
const char *sandbox_step_text(unsigned step);

struct role;

/* What sandbox_enter is to do, beside what the role says. */
struct sandbox_identity {
	const struct role *role;
	bool as_root; /* chroot, groups, user */
	int chroot_fd; /* -1 where not as_root */
	uid_t uid;
	gid_t gid;
	pid_t master; /* that getppid(2) is to say */
	uint32_t nproc; /* ROLE_UNLIMITED: left as it is */
	uint32_t nofile;
	const struct sandbox_program *program;
};

/*
 * Ignores HUP, INT, TERM, USR1, USR2 and PIPE and closes every descriptor
 * above `keep`.  0, or -1 with errno and `*step`.
 */
int sandbox_prepare(int keep, enum sandbox_step *step);

/*
 * Locks what this process can write to, each page once it is touched: its
 * data, its stack, and a heap of `heap` bytes that is made ahead and does not
 * shrink, from which all is allocated that fits.  All of it or nothing: where
 * RLIMIT_MEMLOCK is too low, nothing else changes.  Before the sandbox.
 */
enum sandbox_memory sandbox_lock_memory(size_t heap);

/*
 * Gives up everything: chroot, groups, user, capabilities, limits, dumping,
 * new privileges, Landlock, and the filter last.  0 and `layers`, or -1 with
 * errno and `*step`: the caller ends.
 */
int sandbox_enter(const struct sandbox_identity *id,
    struct sandbox_layers *layers, enum sandbox_step *step);

/*
 * What a worker does on top of what its zygote has done, and a child of pam on
 * top of pam: parent-death signal and getppid(2) again, NPROC, NOFILE, its own
 * filter.  0 or -1.
 */
int sandbox_enter_child(pid_t parent, const struct role *role,
    const struct sandbox_program *program);

/*
 * No core dump of this process, nor of any that it starts, and no tracer of
 * its own user's.  0 or -1 with errno.
 */
int sandbox_forbid_dumps(void);

/*
 * The master's own, at its very start as root: inheritable, permitted and
 * effective are set to the five of its role, and the bounding set is emptied.
 * One that `binds` no address, or never had it, does without
 * CAP_NET_BIND_SERVICE.
 * CAP_AUDIT_WRITE stays where it was, until the configuration has said whether
 * PAM is used.  0 or -1 with errno.
 */
int sandbox_limit_master(bool binds);
/* It is not: CAP_AUDIT_WRITE goes too.  0 or -1 with errno. */
int sandbox_drop_audit(void);
/* Whether this process has CAP_AUDIT_WRITE. */
bool sandbox_has_audit(void);

/* The Landlock ABI of the kernel, 0 where it has none. */
int sandbox_landlock_abi(void);

/*
 * With SECCOMP_RET_TRAP in place of KILL (self-test), a call outside the
 * list raises SIGSYS: `report` is called with its number.
 */
void sandbox_trap(void (*report)(int number));

/* Why a row is there. */
enum sandbox_use {
	SANDBOX_USED, /* the code makes this call */
	SANDBOX_ENVIRONMENT, /* the machine may bring it about */
	SANDBOX_SANITIZER /* in builds with SANITIZE= alone */
};

enum role_id;

/*
 * Compiles the rows of a role.  `trap`: SECCOMP_RET_TRAP in place of
 * KILL_PROCESS.  `with` (or the same role again) adds the rows of a second
 * role: filters add up, so a zygote must allow what its workers do, and pam
 * what its children do.  0, or -1 with errno.  In flexmusicd alone.
 */
int sandbox_compile(enum role_id role, enum role_id with, bool trap,
    struct sandbox_program *out);

#endif
