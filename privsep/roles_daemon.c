/*
 * privsep/roles_daemon.c - the entries of the roles that flexmusicd has.
 *
 * Runs in: master, keys, paramgen, auth.
 */
#include "privsep/roles.h"

int (*const role_master_entry)(int argc, char **argv) = master_main;

int (*const role_helper_entry[ROLE_COUNT])(struct helper *h) = {
	[ROLE_KEYS] = keys_main,
	[ROLE_PARAMGEN] = paramgen_main,
	[ROLE_AUTH] = auth_main,
};

void (*const role_helper_prepare[ROLE_COUNT])(struct helper *h) = {
	[ROLE_KEYS] = keys_prepare,
	[ROLE_PARAMGEN] = paramgen_prepare,
	[ROLE_AUTH] = auth_prepare,
};

bool (*const role_helper_self_test[ROLE_COUNT])(struct helper *h) = {
	[ROLE_KEYS] = keys_self_test,
	[ROLE_PARAMGEN] = paramgen_self_test,
	[ROLE_AUTH] = auth_self_test,
};
