/*
 * privsep/sandbox_table.h - which system calls each role may make.
 *
 * Runs in: master (which compiles it), tests and documents.
 */
#ifndef PRIVSEP_SANDBOX_TABLE_H
#define PRIVSEP_SANDBOX_TABLE_H

#include <seccomp.h>

#include "privsep/roles.h"
#include "privsep/sandbox.h"

#define SANDBOX_CHECKS 3 /* arguments checked, at most */

/* A call that a role may make, with what its arguments must be. */
struct sandbox_row {
	enum role_id role;
	int number; /* system call */
	const char *name;
	enum sandbox_use use;
	unsigned checks;
	struct scmp_arg_cmp check[SANDBOX_CHECKS];
	const char *arguments; /* the checks in words */
	const char *reason; /* NULL ends the table */
};

extern const struct sandbox_row sandbox_table[];

#endif
