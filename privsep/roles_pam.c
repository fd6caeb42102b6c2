/*
 * privsep/roles_pam.c - the entry of the one role that flexmusicd-pam has.
 *
 * Runs in: pam.
 */
#include <stddef.h>

#include "privsep/roles.h"

int (*const role_master_entry)(int argc, char **argv) = NULL;

int (*const role_helper_entry[ROLE_COUNT])(struct helper *h) = {
	[ROLE_PAM] = pam_main,
};

void (*const role_helper_prepare[ROLE_COUNT])(struct helper *h) = {
	[ROLE_PAM] = pam_prepare,
};

bool (*const role_helper_self_test[ROLE_COUNT])(struct helper *h) = {
	[ROLE_PAM] = pam_self_test,
};
