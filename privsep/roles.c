/*
 * privsep/roles.c - the table of roles, and what each may do.
 *
 * Runs in: every server process; flexmusicctl, for the names.
 */
#include <signal.h>
#include <string.h>

#include <linux/capability.h>

#include "privsep/roles.h"

#define LEFT                          \
	{                             \
		ROLE_LIMIT_LEFT, 0, 0 \
	}
#define FIXED(n)                         \
	{                                \
		ROLE_LIMIT_FIXED, 0, (n) \
	}
#define DESCRIPTORS                          \
	{                                    \
		ROLE_LIMIT_DESCRIPTORS, 0, 0 \
	}

/* A helper that computes: with its channel and little else. */
#define FEW_DESCRIPTORS FIXED(64)

const struct role roles[ROLE_COUNT] = {
	[ROLE_MASTER] = {
	    .name = "master",
	    .user = USER_ROOT,
	    .program = PROGRAM_DAEMON,
	    .purpose = "listens, has a worker forked for each connection, "
		"supervises, logs; reads no byte that came from the network",
	    .channels = "zygote, workers, keys, auth, pam, paramgen",
	    .capabilities = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID |
		1ULL << CAP_SYS_CHROOT | 1ULL << CAP_KILL |
		1ULL << CAP_NET_BIND_SERVICE,
	    .audit = true,
	    .landlock = ROLE_LANDLOCK_ABSENT,
	    .nproc = LEFT,
	    .nofile = DESCRIPTORS,
	    .rootless_nproc = LEFT,
	    .rootless_nofile = DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = LEFT,
	},
	[ROLE_ZYGOTE] = {
	    .name = "zygote",
	    .user = USER_WORKER,
	    .program = PROGRAM_WORKER,
	    .purpose = "the process that workers are forked from",
	    .channels = "master",
	    .chroot = true,
	    .landlock = ROLE_LANDLOCK_NOTHING,
	    .forks = ROLE_WORKER,
	    /* Its user has its workers and nothing else, with room for those
	     * of a zygote before it.  Without root they are one user's with
	     * everything else, and no number would be right. */
	    .nproc = { ROLE_LIMIT_CONNECTIONS, 2, 64 },
	    .rootless_nproc = LEFT,
	    /* The kernel measures what a user has in flight in channels by the
	     * sender's limit.  Without root that is one user's for all, and
	     * what waits for the zygote would keep it from answering. */
	    .nofile = FEW_DESCRIPTORS,
	    .rootless_nofile = DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = FIXED(0),
	},
	[ROLE_WORKER] = {
	    .name = "worker",
	    .user = USER_WORKER,
	    .program = PROGRAM_WORKER,
	    .purpose =
		"one connection: version exchange, key exchange, session",
	    .channels = "client, master, keys (one exchange), auth or pam (in "
		"lockdown)",
	    .chroot = true,
	    .landlock = ROLE_LANDLOCK_NOTHING,
	    .nproc = FIXED(0),
	    .rootless_nproc = FIXED(0),
	    /* 3 of /dev/null, client, channels */
	    .nofile = FIXED(16),
	    .rootless_nofile = FIXED(16),
	    .core = FIXED(0),
	    .fsize = FIXED(0),
	},
	[ROLE_KEYS] = {
	    .name = "keys",
	    .user = USER_KEYS,
	    .program = PROGRAM_DAEMON,
	    .serves_workers = true,
	    .purpose = "the key holder: private keys, shared secrets, key "
		"derivation",
	    .channels = "master, each worker once",
	    .chroot = true,
	    .landlock = ROLE_LANDLOCK_NOTHING,
	    .nproc = FIXED(0),
	    .rootless_nproc = FIXED(0),
	    .nofile = DESCRIPTORS,
	    .rootless_nofile = DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = FIXED(0),
	    /* Pools of several generations and thousands of channels fit. */
	    .locked_heap = 2 * 1024 * 1024,
	},
	[ROLE_PARAMGEN] = {
	    .name = "paramgen",
	    .user = USER_KEYS,
	    .program = PROGRAM_DAEMON,
	    .purpose = "makes and checks DH parameters; short-lived",
	    .channels = "master",
	    .chroot = true,
	    .landlock = ROLE_LANDLOCK_NOTHING,
	    .nproc = FIXED(0),
	    .rootless_nproc = FIXED(0),
	    .nofile = FEW_DESCRIPTORS,
	    .rootless_nofile = FEW_DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = FIXED(0),
	},
	[ROLE_AUTH] = {
	    .name = "auth",
	    .user = USER_AUTH,
	    .program = PROGRAM_DAEMON,
	    .serves_workers = true,
	    .purpose = "checks passwords against the users file",
	    .channels = "master, each worker in lockdown",
	    .chroot = true,
	    .landlock = ROLE_LANDLOCK_NOTHING,
	    .nproc = FIXED(0),
	    .rootless_nproc = FIXED(0),
	    .nofile = DESCRIPTORS,
	    .rootless_nofile = DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = FIXED(0),
	    /* Two tables of a megabyte fit, and thousands of sessions. */
	    .locked_heap = 4 * 1024 * 1024,
	},
	/* Only in a server that was started as root. */
	[ROLE_PAM] = {
	    .name = "pam",
	    .user = USER_ROOT,
	    .program = PROGRAM_PAM,
	    .serves_workers = true,
	    .purpose = "checks passwords through PAM, a child for each; only "
		"where configured",
	    .channels = "master, each worker in lockdown",
	    .audit = true,
	    .landlock = ROLE_LANDLOCK_MODULES,
	    .forks = ROLE_ATTEMPT,
	    .refuses = true,
	    .nproc = LEFT, /* none holds for root */
	    .rootless_nproc = LEFT,
	    .nofile = DESCRIPTORS,
	    .rootless_nofile = DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = LEFT, /* modules keep records */
	},
	[ROLE_ATTEMPT] = {
	    .name = "attempt",
	    .user = USER_ROOT,
	    .program = PROGRAM_PAM,
	    .purpose = "one attempt through PAM: a child of pam",
	    .channels = "pam (its answer)",
	    .audit = true,
	    .landlock = ROLE_LANDLOCK_MODULES,
	    .refuses = true,
	    .nproc = FIXED(0),
	    .rootless_nproc = FIXED(0),
	    .nofile = FEW_DESCRIPTORS, /* its answer, and what modules open */
	    .rootless_nofile = FEW_DESCRIPTORS,
	    .core = FIXED(0),
	    .fsize = LEFT,
	},
};

const int role_signals_ignored[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2,
	SIGPIPE, 0 };

const char *const role_program_name[PROGRAMS] = {
	[PROGRAM_DAEMON] = "flexmusicd",
	[PROGRAM_WORKER] = "flexmusicd-worker",
	[PROGRAM_PAM] = "flexmusicd-pam",
};

enum role_id
role_by_name(const char *name)
{
	unsigned i;

	for (i = 0; i < ROLE_COUNT; i++)
		if (strcmp(roles[i].name, name) == 0)
			return (enum role_id)i;
	return ROLE_COUNT;
}

uint32_t
role_limit_value(
    const struct role_limit *limit, uint32_t descriptors, uint32_t connections)
{
	switch (limit->kind) {
	case ROLE_LIMIT_FIXED:
		return limit->plus;
	case ROLE_LIMIT_CONNECTIONS:
		return limit->times * connections + limit->plus;
	case ROLE_LIMIT_DESCRIPTORS:
		return descriptors;
	default:
		return ROLE_UNLIMITED;
	}
}
