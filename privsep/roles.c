/*
 * privsep/roles.c - the table of roles.
 *
 * Runs in: every server process.
 */
#include <string.h>

#include "privsep/roles.h"

const struct role roles[ROLE_COUNT] = {
	[ROLE_MASTER] = { "master", USER_ROOT, PROGRAM_DAEMON,
	    "listens, has a worker forked for each connection, supervises, "
	    "logs; reads no byte that came from the network",
	    "zygote, workers, keys, paramgen" },
	[ROLE_ZYGOTE] = { "zygote", USER_WORKER, PROGRAM_WORKER,
	    "the process that workers are forked from", "master" },
	[ROLE_WORKER] = { "worker", USER_WORKER, PROGRAM_WORKER,
	    "one connection: version exchange, key exchange, session",
	    "client, master, keys (one exchange)" },
	[ROLE_KEYS] = { "keys", USER_KEYS, PROGRAM_DAEMON,
	    "the key holder: private keys, shared secrets, key derivation",
	    "master, each worker once" },
	[ROLE_PARAMGEN] = { "paramgen", USER_KEYS, PROGRAM_DAEMON,
	    "makes and checks DH parameters; short-lived", "master" },
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
