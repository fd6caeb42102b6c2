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

/* What is known of a role, in all programs. */
struct role {
	const char *name;
	enum role_user user;
	enum role_program program;
	bool serves_workers; /* it has channels to them, and an event loop */
	const char *purpose; /* a sentence, for the documents */
	const char *channels; /* to whom it talks */
};

extern const struct role roles[ROLE_COUNT];
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
