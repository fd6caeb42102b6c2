/*
 * privsep/roles_worker.c - the entries of the roles that flexmusicd-worker
 * has.  A worker is forked by the zygote, so it has no entry of its own but
 * its self-test.
 *
 * Runs in: zygote, worker.
 */
#include <stddef.h>

#include "privsep/roles.h"

int (*const role_master_entry)(int argc, char **argv) = NULL;

int (*const role_helper_entry[ROLE_COUNT])(struct helper *h) = {
	[ROLE_ZYGOTE] = zygote_main,
};

void (*const role_helper_prepare[ROLE_COUNT])(struct helper *h) = {
	[ROLE_ZYGOTE] = zygote_prepare,
	[ROLE_WORKER] = zygote_prepare,
};

bool (*const role_helper_self_test[ROLE_COUNT])(struct helper *h) = {
	[ROLE_ZYGOTE] = zygote_self_test,
	[ROLE_WORKER] = worker_self_test,
};
