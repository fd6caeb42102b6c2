/*
 * privsep/sandbox_filter.c - from the table to BPF, with libseccomp.
 *
 * Runs in: master, at start and reload, on constant tables alone.
 */
#include <sys/mman.h>

#include <errno.h>
#include <unistd.h>

#include <seccomp.h>

#include "privsep/roles.h"
#include "privsep/sandbox_table.h"

static int
filter_add_role(scmp_filter_ctx ctx, enum role_id role)
{
	const struct sandbox_row *r;
	int error;

	for (r = sandbox_table; r->reason != NULL; r++) {
		if (r->role != role)
			continue;
#ifndef FLEXMUSIC_SANITIZER
		if (r->use == SANDBOX_SANITIZER)
			continue;
#endif
		error = seccomp_rule_add_exact_array(
		    ctx, SCMP_ACT_ALLOW, r->number, r->checks, r->check);
		/* The same row of a second role. */
		if (error != 0 && error != -EEXIST) {
			errno = -error;
			return -1;
		}
	}
	return 0;
}

/* The C library makes a thread by another call where this one is not there,
 * and by none where it is forbidden; its arguments can't be looked at. */
static int
filter_add_clone3(scmp_filter_ctx ctx)
{
	return seccomp_rule_add_exact(
	    ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

/* libseccomp gives the program to a descriptor alone. */
static int
filter_read(scmp_filter_ctx ctx, struct sandbox_program *out)
{
	ssize_t n = -1;
	int fd, error;

	fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd == -1)
		return -1;
	error = seccomp_export_bpf(ctx, fd);
	if (error == 0)
		n = pread(fd, out->code, sizeof(out->code), 0);
	else
		errno = -error;
	if (n != -1 && (n == 0 || lseek(fd, 0, SEEK_END) != n)) {
		errno = E2BIG;
		n = -1;
	}
	close(fd);
	if (n == -1)
		return -1;
	out->count = (uint16_t)((size_t)n / sizeof(out->code[0]));
	return 0;
}

int
sandbox_compile(enum role_id role, enum role_id with, bool trap,
    struct sandbox_program *out)
{
	uint32_t otherwise = trap ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx ctx;
	int result = -1;

	if (roles[role].refuses)
		otherwise = SCMP_ACT_ERRNO(EPERM);
	ctx = seccomp_init(otherwise);
	if (ctx == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (seccomp_attr_set(
		ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
	    filter_add_role(ctx, role) == 0 &&
	    (with == role || filter_add_role(ctx, with) == 0) &&
	    (!roles[role].refuses || filter_add_clone3(ctx) == 0))
		result = filter_read(ctx, out);
	seccomp_release(ctx);
	return result;
}
