/*
 * privsep/roles.c - the table of roles.
 *
 * Runs in: every server process; flexmusicctl, for the names.
 */
#include <string.h>

#include "privsep/roles.h"

const struct role roles[ROLE_COUNT] = {
	[ROLE_MASTER] = { "master", USER_ROOT, PROGRAM_DAEMON, false,
	    "listens, has a worker forked for each connection, supervises, "
	    "logs; reads no byte that came from the network",
	    "zygote, workers, keys, auth, pam, paramgen" },
	[ROLE_ZYGOTE] = { "zygote", USER_WORKER, PROGRAM_WORKER, false,
	    "the process that workers are forked from", "master" },
	[ROLE_WORKER] = { "worker", USER_WORKER, PROGRAM_WORKER, false,
	    "one connection: version exchange, key exchange, session",
	    "client, master, keys (one exchange), auth or pam (in lockdown)" },
	[ROLE_KEYS] = { "keys", USER_KEYS, PROGRAM_DAEMON, true,
	    "the key holder: private keys, shared secrets, key derivation",
	    "master, each worker once" },
	[ROLE_PARAMGEN] = { "paramgen", USER_KEYS, PROGRAM_DAEMON, false,
	    "makes and checks DH parameters; short-lived", "master" },
	[ROLE_AUTH] = { "auth", USER_AUTH, PROGRAM_DAEMON, true,
	    "checks passwords against the users file",
	    "master, each worker in lockdown" },
	[ROLE_PAM] = { "pam", USER_ROOT, PROGRAM_PAM, true,
	    "checks passwords through PAM, a child for each; only where "
	    "configured",
	    "master, each worker in lockdown" },
	[ROLE_ATTEMPT] = { "attempt", USER_ROOT, PROGRAM_PAM, false,
	    "one attempt through PAM: a child of pam", "pam (its answer)" },
};

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
