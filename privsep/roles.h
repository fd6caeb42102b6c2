/*
 * privsep/roles.h - the processes of the server: the one bridge between
 * main() and the rooms.
 *
 * Runs in: every server process.
 */
#ifndef PRIVSEP_ROLES_H
#define PRIVSEP_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum role_id {
	ROLE_MASTER,
	ROLE_ZYGOTE,
	ROLE_WORKER,
	ROLE_KEYS,
	ROLE_PARAMGEN,
	ROLE_AUTH,
	ROLE_PAM,
	ROLE_ATTEMPT, /* a child of pam, as a worker is of the zygote */
	ROLE_COUNT
};

/* The users of the configuration. */
enum role_user {
	USER_ROOT,
	USER_WORKER,
	USER_KEYS,
	USER_AUTH
};

/* Which of the programs a role is in. */
enum role_program {
	PROGRAM_DAEMON,
	PROGRAM_WORKER,
	PROGRAM_PAM,
	PROGRAMS
};

/* What Landlock leaves a role. */
enum role_landlock {
	ROLE_LANDLOCK_ABSENT, /* it has none */
	ROLE_LANDLOCK_NOTHING, /* no file, no TCP, nothing outside */
	ROLE_LANDLOCK_MODULES /* what modules of PAM need */
};

enum role_limit_kind {
	ROLE_LIMIT_LEFT, /* it stays what it was */
	ROLE_LIMIT_FIXED, /* `plus' */
	ROLE_LIMIT_CONNECTIONS, /* `times' max_connections, and `plus' */
	ROLE_LIMIT_DESCRIPTORS /* the master's hard limit of descriptors */
};

/* A limit of resources, soft and hard. */
struct role_limit {
	enum role_limit_kind kind;
	uint32_t times;
	uint32_t plus;
};

#define ROLE_UNLIMITED UINT32_MAX /* the value of ROLE_LIMIT_LEFT */

/*
 * What is known of a role, in all programs.  Its sandbox is made of this, and
 * so is the table in docs/SECURITY.md section 3; a test compares that with
 * running processes.
 */
struct role {
	const char *name;
	enum role_user user;
	enum role_program program;
	bool serves_workers; /* it has channels to them, and an event loop */
	const char *purpose; /* a sentence, for the documents */
	const char *channels; /* to whom it talks */
	uint64_t capabilities; /* permitted and effective */
	bool audit; /* CAP_AUDIT_WRITE too, for PAM, where the server has it */
	bool chroot; /* into chroot_dir; else its root is / */
	enum role_landlock landlock;
	/* The role that it forks: its own filter allows what that one's does,
	 * which comes on top.  ROLE_MASTER, which nobody forks: none. */
	enum role_id forks;
	bool refuses; /* what has no row fails with EPERM and does not kill */
	struct role_limit nproc;
	struct role_limit nofile;
	/* The same in a server that was started without root, where one user
	 * has all processes and what waits in channels. */
	struct role_limit rootless_nproc;
	struct role_limit rootless_nofile;
	struct role_limit core;
	struct role_limit fsize;
	/* What it can write to stays in memory, where RLIMIT_MEMLOCK allows
	 * that: its heap of so many bytes is made ahead.  0: it does not. */
	uint32_t locked_heap;
};

extern const struct role roles[ROLE_COUNT];
/* What helpers and workers ignore; 0 ends it. */
extern const int role_signals_ignored[];
/* The file of each program. */
extern const char *const role_program_name[PROGRAMS];

struct helper; /* privsep/start.h */

/*
 * The entry of each role that this program has, NULL for the others: defined
 * in roles_daemon.c, roles_worker.c and roles_pam.c.  The master's takes the
 * command line; a helper's runs after the sandbox is up and returns its exit
 * status.
 */
extern int (*const role_master_entry)(int argc, char **argv);
extern int (*const role_helper_entry[ROLE_COUNT])(struct helper *h);
/* What a helper does before its sandbox: opens nothing, fetches what needs
 * files or more system calls later.  May be NULL. */
extern void (*const role_helper_prepare[ROLE_COUNT])(struct helper *h);
/* The self-test: true if the known answer was right. */
extern bool (*const role_helper_self_test[ROLE_COUNT])(struct helper *h);

/* The role with this name, or ROLE_COUNT. */
enum role_id role_by_name(const char *name);
/* The value of a limit, ROLE_UNLIMITED where it is left as it is. */
uint32_t role_limit_value(
    const struct role_limit *limit, uint32_t descriptors, uint32_t connections);

/* Entries. */
int master_main(int argc, char **argv);
int keys_main(struct helper *h);
void keys_prepare(struct helper *h);
bool keys_self_test(struct helper *h);
int paramgen_main(struct helper *h);
void paramgen_prepare(struct helper *h);
bool paramgen_self_test(struct helper *h);
int auth_main(struct helper *h);
void auth_prepare(struct helper *h);
bool auth_self_test(struct helper *h);
int pam_main(struct helper *h);
void pam_prepare(struct helper *h);
bool pam_self_test(struct helper *h);
int zygote_main(struct helper *h);
void zygote_prepare(struct helper *h);
bool zygote_self_test(struct helper *h);
bool worker_self_test(struct helper *h);

#endif
