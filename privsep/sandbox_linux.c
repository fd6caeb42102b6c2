/*
 * privsep/sandbox_linux.c - Linux's sandbox calls; no other file makes them.
 *
 * Runs in: every server process, at its start.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/seccomp.h>

#include "privsep/roles.h"
#include "privsep/sandbox.h"

/*
 * Landlock's interface as the kernel has it: Debian's headers are older than
 * the kernels that this runs on.  Access rights by ABI, from the kernel's
 * own documentation (userspace-api/landlock).
 */
#define LANDLOCK_CREATE_RULESET		444
#define LANDLOCK_ADD_RULE		445
#define LANDLOCK_RESTRICT_SELF		446
#define LANDLOCK_CREATE_RULESET_VERSION 1u
#define LANDLOCK_RULE_PATH_BENEATH	1
#define LANDLOCK_FS_ABI1		0x1fffULL /* EXECUTE … MAKE_SYM */
#define LANDLOCK_FS_READ		0xcULL /* READ_FILE, READ_DIR */
#define LANDLOCK_FS_RECORDS		0x1beULL /* and files and folders */
#define LANDLOCK_FS_REFER		0x2000ULL /* ABI 2 */
#define LANDLOCK_FS_TRUNCATE		0x4000ULL /* ABI 3 */
#define LANDLOCK_FS_IOCTL_DEV		0x8000ULL /* ABI 5 */
#define LANDLOCK_NET_TCP		0x3ULL /* ABI 4: BIND, CONNECT */
#define LANDLOCK_NET_BIND		0x1ULL
#define LANDLOCK_SCOPES			0x3ULL /* ABI 6: sockets, signals */

struct landlock_attributes {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

struct landlock_path_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

#define AUDIT_CAPABILITY (1ULL << CAP_AUDIT_WRITE)
#define BIND_CAPABILITY	 (1ULL << CAP_NET_BIND_SERVICE)

const char *
sandbox_step_text(unsigned step)
{
	static const char *const text[] = {
#define X(name, words) [name] = words,
		SANDBOX_STEPS(X)
#undef X
	};

	return step < SANDBOX_STEP_COUNT ? text[step] : "unknown";
}

int
sandbox_prepare(int keep, enum sandbox_step *step)
{
	sigset_t none;
	size_t i;

	*step = SANDBOX_SIGNALS;
	for (i = 0; role_signals_ignored[i] != 0; i++)
		if (signal(role_signals_ignored[i], SIG_IGN) == SIG_ERR)
			return -1;
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) == -1)
		return -1;
	*step = SANDBOX_DESCRIPTORS;
	return (int)syscall(SYS_close_range, keep + 1, ~0u, 0);
}

/* `caps` in all three sets, and `more` in permitted and effective. */
static int
sandbox_set_capabilities(uint64_t caps, uint64_t more)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3,
		0 };
	struct __user_cap_data_struct data[2];
	int i;

	for (i = 0; i < 2; i++) {
		data[i].inheritable = (uint32_t)(caps >> (32 * i));
		data[i].effective = data[i].permitted =
		    (uint32_t)((caps | more) >> (32 * i));
	}
	return (int)syscall(SYS_capset, &head, data);
}

/* This process's permitted set; none where that is not known. */
static uint64_t
sandbox_permitted(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3,
		0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) == -1)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

bool
sandbox_has_audit(void)
{
	return (sandbox_permitted() & AUDIT_CAPABILITY) != 0;
}

int
sandbox_drop_audit(void)
{
	return sandbox_set_capabilities(
	    sandbox_permitted() & ~AUDIT_CAPABILITY, 0);
}

int
sandbox_limit_master(bool binds)
{
	const uint64_t have = sandbox_permitted();
	uint64_t caps =
	    roles[ROLE_MASTER].capabilities | (have & AUDIT_CAPABILITY);
	int cap;

	/* Few use a port below 1024. */
	if (!binds || (have & BIND_CAPABILITY) == 0)
		caps &= ~BIND_CAPABILITY;

	/* What is inheritable must be in the bounding set when it is set, and
	 * SETPCAP is needed to empty that. */
	if (sandbox_set_capabilities(caps, 1ULL << CAP_SETPCAP) == -1)
		return -1;
	/* Up to the first that this kernel does not know. */
	for (cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap) == -1)
			return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1)
		return -1;
	return sandbox_set_capabilities(caps, 0);
}

static int
sandbox_limit(int resource, uint32_t value)
{
	const struct rlimit limit = { value, value };

	if (value == ROLE_UNLIMITED)
		return 0;
#ifdef FLEXMUSIC_SANITIZER
	if (resource == RLIMIT_FSIZE)
		return 0; /* reports go to standard error, often a file */
#endif
	return setrlimit(resource, &limit);
}

int
sandbox_forbid_dumps(void)
{
	if (sandbox_limit(RLIMIT_CORE, 0) == -1)
		return -1;
#ifdef FLEXMUSIC_SANITIZER
	return 0; /* the leak sanitizer looks at a process as a tracer does */
#else
	return prctl(PR_SET_DUMPABLE, 0);
#endif
}

int
sandbox_landlock_abi(void)
{
	long abi = syscall(
	    LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : (int)abi;
}

/* Adds a place to the ruleset; one that is not there is left out. */
static int
sandbox_landlock_allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath rule = { access, -1 };
	int error;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd == -1)
		return errno == ENOENT ? 0 : -1;
	error = (int)syscall(
	    LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return error;
}

/* What modules of PAM may do with files: read them; keep records where
 * pam_faillock(8) does.  Nothing can be executed. */
static int
sandbox_landlock_modules(int ruleset, uint64_t handled)
{
	if (sandbox_landlock_allow(ruleset, "/", LANDLOCK_FS_READ) == -1)
		return -1;
	return sandbox_landlock_allow(ruleset, "/run/faillock",
	    LANDLOCK_FS_RECORDS | (handled & LANDLOCK_FS_TRUNCATE));
}

/* A ruleset that handles everything the kernel knows and allows nothing, or,
 * for modules, little. */
static int
sandbox_landlock(int *abi, enum role_landlock kind)
{
	const bool modules = kind == ROLE_LANDLOCK_MODULES;
	struct landlock_attributes a;
	size_t size = offsetof(struct landlock_attributes, handled_access_net);
	long fd;
	int error;

	*abi = sandbox_landlock_abi();
	if (*abi == 0)
		return 0;
	memset(&a, 0, sizeof(a));
	a.handled_access_fs = LANDLOCK_FS_ABI1;
	if (*abi >= 2)
		a.handled_access_fs |= LANDLOCK_FS_REFER;
	if (*abi >= 3)
		a.handled_access_fs |= LANDLOCK_FS_TRUNCATE;
	if (*abi >= 4) {
		a.handled_access_net =
		    modules ? LANDLOCK_NET_BIND : LANDLOCK_NET_TCP;
		size = offsetof(struct landlock_attributes, scoped);
	}
	if (*abi >= 5)
		a.handled_access_fs |= LANDLOCK_FS_IOCTL_DEV;
	if (*abi >= 6) {
		a.scoped = LANDLOCK_SCOPES;
		size = sizeof(a);
	}
	fd = syscall(LANDLOCK_CREATE_RULESET, &a, size, 0);
	if (fd == -1)
		return -1;
	error = modules ? sandbox_landlock_modules((int)fd, a.handled_access_fs)
			: 0;
	if (error == 0)
		error = (int)syscall(LANDLOCK_RESTRICT_SELF, (int)fd, 0);
	close((int)fd);
	return error;
}

static int
sandbox_load(const struct sandbox_program *program)
{
	const struct sock_fprog prog = { program->count,
		(struct sock_filter *)(uintptr_t)program->code };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* The parent's death ends this process, also one that came before. */
static int
sandbox_bind_to(pid_t master, enum sandbox_step *step)
{
	*step = SANDBOX_DEATH_SIGNAL;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
		return -1;
	*step = SANDBOX_PARENT;
	if (getppid() != master) {
		errno = ESRCH;
		return -1;
	}
	return 0;
}

/* Into the empty directory, or to / without it. */
static int
sandbox_change_root(const struct sandbox_identity *id, enum sandbox_step *step)
{
	*step = SANDBOX_CHROOT;
	if (id->role->chroot &&
	    (fchdir(id->chroot_fd) == -1 || chroot(".") == -1))
		return -1;
	return chdir("/");
}

/* The role's user, in no group but its own. */
static int
sandbox_change_user(const struct sandbox_identity *id, enum sandbox_step *step)
{
	*step = SANDBOX_GROUPS;
	if (setgroups(0, NULL) == -1)
		return -1;
	*step = SANDBOX_GID;
	if (setresgid(id->gid, id->gid, id->gid) == -1)
		return -1;
	*step = SANDBOX_UID;
	return setresuid(id->uid, id->uid, id->uid);
}

#ifdef FLEXMUSIC_SANITIZER
/* The sanitizers' allocator is another. */
enum sandbox_memory
sandbox_lock_memory(size_t heap)
{
	return SANDBOX_MEMORY_PLAIN;
}
#else
/* The heap at its full size, and nothing beside it. */
static bool
sandbox_make_heap(size_t heap)
{
	char *room;

	if (mallopt(M_MMAP_THRESHOLD, (int)(2 * heap)) == 0 ||
	    mallopt(M_TRIM_THRESHOLD, INT_MAX) == 0 ||
	    (room = malloc(heap)) == NULL)
		return false;
	/* So that no compiler leaves the two calls out. */
	explicit_bzero(room, 1);
	free(room);
	return true;
}

/* Locks every mapping that can be written to and is this process's alone. */
static bool
sandbox_lock_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512], mode[8];
	unsigned long begin, end;
	bool locked = maps != NULL;

	while (locked && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &begin, &end, mode) == 3 &&
		    strcmp(mode, "rw-p") == 0)
			locked = mlock2((const void *)begin, end - begin,
				     MLOCK_ONFAULT) == 0;
	if (maps != NULL)
		fclose(maps);
	return locked;
}

enum sandbox_memory
sandbox_lock_memory(size_t heap)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	}
	if (sandbox_make_heap(heap) && sandbox_lock_mappings())
		return SANDBOX_MEMORY_LOCKED;
	(void)munlockall();
	return SANDBOX_MEMORY_UNLOCKED;
}
#endif

int
sandbox_enter(const struct sandbox_identity *id, struct sandbox_layers *layers,
    enum sandbox_step *step)
{
	const struct role *role = id->role;
	const uint64_t caps = role->capabilities |
	    (role->audit && sandbox_has_audit() ? AUDIT_CAPABILITY : 0);
	int abi;

	if (id->as_root &&
	    (sandbox_change_root(id, step) == -1 ||
		sandbox_change_user(id, step) == -1))
		return -1;
	close(id->chroot_fd);
	layers->users = id->as_root && role->user != USER_ROOT;
	layers->root_dir = id->as_root && role->chroot;
	*step = SANDBOX_CAPABILITIES;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 ||
	    sandbox_set_capabilities(0, caps) == -1)
		return -1;
	*step = SANDBOX_REGAIN;
	if (layers->users && (setuid(0) == 0 || geteuid() != id->uid)) {
		errno = EPERM;
		return -1;
	}
	*step = SANDBOX_LIMITS;
	if (sandbox_limit(RLIMIT_CORE, role_limit_value(&role->core, 0, 0)) ==
		-1 ||
	    sandbox_limit(RLIMIT_FSIZE, role_limit_value(&role->fsize, 0, 0)) ==
		-1 ||
	    sandbox_limit(RLIMIT_NPROC, id->nproc) == -1 ||
	    sandbox_limit(RLIMIT_NOFILE, id->nofile) == -1)
		return -1;
	*step = SANDBOX_DUMPABLE;
	if (prctl(PR_SET_DUMPABLE, 0) == -1)
		return -1;
	/* After the change of user, which clears the signal. */
	if (sandbox_bind_to(id->master, step) == -1)
		return -1;
	*step = SANDBOX_NO_NEW_PRIVS;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -1;
	*step = SANDBOX_LANDLOCK;
	if (sandbox_landlock(&abi, role->landlock) == -1)
		return -1;
	layers->landlock = abi;
	*step = SANDBOX_SECCOMP;
	if (sandbox_load(id->program) == -1)
		return -1;
	layers->seccomp = true;
	return 0;
}

int
sandbox_enter_child(pid_t parent, const struct role *role,
    const struct sandbox_program *program)
{
	enum sandbox_step step;

	if (sandbox_bind_to(parent, &step) == -1 ||
	    sandbox_limit(RLIMIT_NPROC, role_limit_value(&role->nproc, 0, 0)) ==
		-1 ||
	    sandbox_limit(
		RLIMIT_NOFILE, role_limit_value(&role->nofile, 0, 0)) == -1)
		return -1;
	return sandbox_load(program);
}

/* The handler has no argument for it, and a process has one self-test. */
static void (*sandbox_trap_report)(int number);

static void
sandbox_trapped(int sig, siginfo_t *info, void *context)
{
	sandbox_trap_report(info->si_syscall);
}

void
sandbox_trap(void (*report)(int number))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = sandbox_trapped;
	sa.sa_flags = SA_SIGINFO;
	sandbox_trap_report = report;
	sigaction(SIGSYS, &sa, NULL);
}
