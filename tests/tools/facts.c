/*
 * tests/tools/facts.c - what the source's own tables say of each role's
 * sandbox: as docs/SECURITY.md section 3 has it, or as JSON for the tests.
 *
 *	facts processes | calls | json
 *
 * Runs in: `make docs` and the tests.
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/capability.h>

#include "privsep/roles_text.h"
#include "privsep/sandbox_table.h"
#include "privsep/start.h"

#define SHARED 3 /* rows that so many roles have in common are listed once */

/* The order of the documents. */
static const enum role_id order[] = { ROLE_MASTER, ROLE_KEYS, ROLE_PARAMGEN,
	ROLE_AUTH, ROLE_PAM, ROLE_ATTEMPT, ROLE_ZYGOTE, ROLE_WORKER };
#define ROLES (sizeof(order) / sizeof(order[0]))
_Static_assert(ROLES == ROLE_COUNT, "each role has a column");

static const char *const user_text[] = {
	[USER_ROOT] = "root",
	[USER_WORKER] = "worker_user",
	[USER_KEYS] = "keys_user",
	[USER_AUTH] = "auth_user",
};

static const char *const landlock_text[] = {
	[ROLE_LANDLOCK_ABSENT] = "no",
	[ROLE_LANDLOCK_NOTHING] = "no files, no TCP, scoped",
	[ROLE_LANDLOCK_MODULES] = "reads files, executes none, writes below "
				  "/run/faillock; no TCP bind, scoped",
};

static const char *const landlock_name[] = {
	[ROLE_LANDLOCK_ABSENT] = "absent",
	[ROLE_LANDLOCK_NOTHING] = "nothing",
	[ROLE_LANDLOCK_MODULES] = "modules",
};

static const char *const limit_name[] = {
	[ROLE_LIMIT_LEFT] = "left",
	[ROLE_LIMIT_FIXED] = "fixed",
	[ROLE_LIMIT_CONNECTIONS] = "connections",
	[ROLE_LIMIT_DESCRIPTORS] = "descriptors",
};

static const char *const kind_name[] = {
#define X(kind, name) [kind] = name,
	ROLE_DESCRIPTOR_KINDS(X)
#undef X
};

static const char *const use_name[] = {
	[SANDBOX_USED] = "used",
	[SANDBOX_ENVIRONMENT] = "environment",
	[SANDBOX_SANITIZER] = "sanitizer",
};

static const struct {
	int number;
	const char *name;
} capability[] = {
	{ CAP_SETUID, "SETUID" },
	{ CAP_SETGID, "SETGID" },
	{ CAP_SYS_CHROOT, "SYS_CHROOT" },
	{ CAP_KILL, "KILL" },
	{ CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE" },
};
#define CAPABILITIES (sizeof(capability) / sizeof(capability[0]))

/* The role that forks this one, or ROLE_MASTER where it is executed. */
static enum role_id
forker(enum role_id role)
{
	unsigned i;

	for (i = 0; i < ROLE_COUNT; i++)
		if (roles[i].forks == role)
			return (enum role_id)i;
	return ROLE_MASTER;
}

static unsigned
filters(enum role_id role)
{
	if (role == ROLE_MASTER)
		return 0;
	return 1 + filters(forker(role));
}

static bool
in_role(const struct sandbox_row *r, enum role_id role)
{
	return r->use != SANDBOX_SANITIZER && r->role == role;
}

/* Calls that the role's own filter allows. */
static unsigned
calls(enum role_id role)
{
	const struct sandbox_row *r, *s;
	enum role_id with = roles[role].forks;
	unsigned count = 0;

	for (r = sandbox_table; r->reason != NULL; r++) {
		if (!in_role(r, role) &&
		    (with == ROLE_MASTER || !in_role(r, with)))
			continue;
		for (s = sandbox_table; s < r; s++)
			if (s->number == r->number &&
			    (in_role(s, role) ||
				(with != ROLE_MASTER && in_role(s, with))))
				break;
		if (s == r)
			count++;
	}
	return count;
}

/* Cells of the table of processes. */

static void
cell_lives(enum role_id role)
{
	printf("%s", role_text[role].lives);
}

static void
cell_user(enum role_id role)
{
	const char *quote = roles[role].user == USER_ROOT ? "" : "`";

	printf("%s%s%s", quote, user_text[roles[role].user], quote);
}

static void
cell_groups(enum role_id role)
{
	if (role == ROLE_MASTER)
		printf("as it was started");
	else
		printf("%s alone",
		    roles[role].user == USER_ROOT ? "root's own" : "its own");
}

static void
cell_capabilities(enum role_id role)
{
	uint64_t left = roles[role].capabilities;
	const char *before = "";
	size_t i;

	for (i = 0; i < CAPABILITIES; i++)
		if ((left >> capability[i].number & 1) != 0) {
			printf("%s%s", before, capability[i].name);
			left &= ~(1ULL << capability[i].number);
			before = ", ";
		}
	assert(left == 0); /* else `capability' lacks a name */
	if (roles[role].audit)
		printf("%sAUDIT_WRITE%s", before,
		    roles[role].capabilities != 0 ? " with PAM" : "");
	else if (roles[role].capabilities == 0)
		printf("none");
}

static void
cell_inheritable(enum role_id role)
{
	printf("%s", role == ROLE_MASTER ? "the same" : "none");
}

static void
cell_none(enum role_id role)
{
	printf("none");
}

static void
cell_yes(enum role_id role)
{
	printf("yes");
}

static void
cell_locked(enum role_id role)
{
	printf("%s", roles[role].locked_heap != 0 ? "where allowed" : "no");
}

static void
cell_root(enum role_id role)
{
	printf("%s", roles[role].chroot ? "`chroot_dir`, empty" : "/");
}

static void
cell_filters(enum role_id role)
{
	unsigned count = filters(role);

	if (count == 0)
		printf("no filter");
	else
		printf("%u filter%s, %u calls%s", count, count == 1 ? "" : "s",
		    calls(role),
		    roles[role].refuses ? "; others fail with EPERM" : "");
}

static void
cell_landlock(enum role_id role)
{
	printf("%s", landlock_text[roles[role].landlock]);
}

static void
cell_helper(enum role_id role)
{
	printf("%s", role == ROLE_MASTER ? "no" : "yes");
}

static void
print_limit(const struct role_limit *l)
{
	switch (l->kind) {
	case ROLE_LIMIT_LEFT:
		printf("as it was started");
		break;
	case ROLE_LIMIT_FIXED:
		printf("%u", l->plus);
		break;
	case ROLE_LIMIT_CONNECTIONS:
		printf("%u × `max_connections` + %u", l->times, l->plus);
		break;
	case ROLE_LIMIT_DESCRIPTORS:
		printf("hard limit");
		break;
	}
}

static void
print_limits(const struct role_limit *l, const struct role_limit *rootless)
{
	print_limit(l);
	if (memcmp(l, rootless, sizeof(*l)) == 0)
		return;
	printf(" (without root: ");
	print_limit(rootless);
	printf(")");
}

static void
cell_nproc(enum role_id role)
{
	print_limits(&roles[role].nproc, &roles[role].rootless_nproc);
}

static void
cell_nofile(enum role_id role)
{
	print_limits(&roles[role].nofile, &roles[role].rootless_nofile);
}

static void
cell_core(enum role_id role)
{
	print_limit(&roles[role].core);
}

static void
cell_fsize(enum role_id role)
{
	print_limit(&roles[role].fsize);
}

static void
cell_signals(enum role_id role)
{
	size_t i;

	if (role == ROLE_MASTER) {
		printf("it handles them");
		return;
	}
	for (i = 0; role_signals_ignored[i] != 0; i++)
		printf("%s%s", i == 0 ? "" : ", ",
		    sigabbrev_np(role_signals_ignored[i]));
}

static void
cell_descriptors(enum role_id role)
{
	const struct role_descriptors *d;
	const char *before = "";

	for (d = role_descriptors; d->role != ROLE_COUNT; d++)
		if (d->role == role && d->what != NULL) {
			printf("%s%s", before, d->what);
			before = "; ";
		}
}

static void
cell_environment(enum role_id role)
{
	printf("%s", role == ROLE_MASTER ? "as it was started" : "empty");
}

static const struct {
	const char *name;
	void (*print)(enum role_id role);
} fact[] = {
	{ "lives", cell_lives },
	{ "user (Uid)", cell_user },
	{ "groups (Gid, Groups)", cell_groups },
	{ "capabilities (CapPrm, CapEff)", cell_capabilities },
	{ "inheritable (CapInh)", cell_inheritable },
	{ "bounding, ambient (CapBnd, CapAmb)", cell_none },
	{ "root and working directory", cell_root },
	{ "seccomp", cell_filters },
	{ "Landlock", cell_landlock },
	{ "no_new_privs", cell_helper },
	{ "not dumpable", cell_yes },
	{ "memory locked (VmLck)", cell_locked },
	{ "signals ignored (SigIgn)", cell_signals },
	{ "processes (RLIMIT_NPROC)", cell_nproc },
	{ "descriptors (RLIMIT_NOFILE)", cell_nofile },
	{ "core dumps (RLIMIT_CORE)", cell_core },
	{ "file writes (RLIMIT_FSIZE)", cell_fsize },
	{ "descriptors beside 0, 1 and 2", cell_descriptors },
	{ "environment", cell_environment },
	{ "ends with the master", cell_helper },
};

static void
print_processes(void)
{
	size_t i, column;

	printf("|");
	for (column = 0; column < ROLES; column++)
		printf(" | %s", roles[order[column]].name);
	printf(" |\n| ---");
	for (column = 0; column < ROLES; column++)
		printf(" | ---");
	printf(" |\n");
	for (i = 0; i < sizeof(fact) / sizeof(fact[0]); i++) {
		printf("| %s", fact[i].name);
		for (column = 0; column < ROLES; column++) {
			printf(" | ");
			fact[i].print(order[column]);
		}
		printf(" |\n");
	}
	printf("\nWhat each must never see:\n\n"
	       "| process | never sees |\n| --- | --- |\n");
	for (column = 0; column < ROLES; column++)
		printf("| %s | %s |\n", roles[order[column]].name,
		    role_text[order[column]].never);
}

/* The same row, of another role. */
static bool
same_row(const struct sandbox_row *a, const struct sandbox_row *b)
{
	return a->number == b->number && a->use == b->use &&
	    strcmp(a->arguments, b->arguments) == 0 &&
	    strcmp(a->reason, b->reason) == 0;
}

static bool
has_row(enum role_id role, const struct sandbox_row *row)
{
	const struct sandbox_row *r;

	for (r = sandbox_table; r->reason != NULL; r++)
		if (in_role(r, role) && same_row(r, row))
			return true;
	return false;
}

static bool
is_shared(const struct sandbox_row *row)
{
	unsigned i, count = 0;

	for (i = 0; i < ROLE_COUNT; i++)
		count += has_row((enum role_id)i, row);
	return count >= SHARED;
}

/* A row is printed where the first of its kind stands. */
static bool
is_first(const struct sandbox_row *row)
{
	const struct sandbox_row *r;

	for (r = sandbox_table; r < row; r++)
		if (r->use != SANDBOX_SANITIZER && same_row(r, row))
			return false;
	return true;
}

/* A cell's text, in which a table's own sign means nothing. */
static void
print_cell(const char *text)
{
	for (; *text != '\0'; text++)
		printf(*text == '|' ? "\\%c" : "%c", *text);
	printf(" | ");
}

static void
print_shared(void)
{
	const struct sandbox_row *r;
	const char *before;
	size_t i;

	printf("**Several roles** have these:\n\n"
	       "| call | arguments | why | of | reason |\n"
	       "| --- | --- | --- | --- | --- |\n");
	for (r = sandbox_table; r->reason != NULL; r++) {
		if (r->use == SANDBOX_SANITIZER || !is_shared(r) ||
		    !is_first(r))
			continue;
		printf("| %s | ", r->name);
		print_cell(r->arguments);
		print_cell(use_name[r->use]);
		before = "";
		for (i = 0; i < ROLES; i++)
			if (has_row(order[i], r)) {
				printf("%s%s", before, roles[order[i]].name);
				before = ", ";
			}
		printf(" | %s |\n", r->reason);
	}
}

/* Rows that differ in the call alone are one line of the table. */
static bool
is_alike(const struct sandbox_row *a, const struct sandbox_row *b)
{
	return a->role == b->role && a->use == b->use &&
	    a->use != SANDBOX_SANITIZER && !is_shared(a) && !is_shared(b) &&
	    strcmp(a->arguments, b->arguments) == 0 &&
	    strcmp(a->reason, b->reason) == 0;
}

static void
print_role(enum role_id role)
{
	const struct sandbox_row *r, *s;

	printf("\n**%s**", roles[role].name);
	if (roles[role].forks != ROLE_MASTER)
		printf(", besides all that its child, %s, may do",
		    roles[roles[role].forks].name);
	printf(":\n\n| call | arguments | why | reason |\n"
	       "| --- | --- | --- | --- |\n");
	for (r = sandbox_table; r->reason != NULL; r++) {
		if (!in_role(r, role) || is_shared(r))
			continue;
		for (s = sandbox_table; s < r && !is_alike(s, r); s++)
			continue;
		if (s < r)
			continue;
		printf("| %s", r->name);
		for (s = r + 1; s->reason != NULL; s++)
			if (is_alike(s, r))
				printf(", %s", s->name);
		printf(" | ");
		print_cell(r->arguments);
		print_cell(use_name[r->use]);
		printf("%s |\n", r->reason);
	}
}

static void
print_calls(void)
{
	static const enum role_id role[] = { ROLE_WORKER, ROLE_ZYGOTE,
		ROLE_KEYS, ROLE_PARAMGEN, ROLE_AUTH, ROLE_PAM, ROLE_ATTEMPT };
	size_t i;

	_Static_assert(sizeof(role) / sizeof(role[0]) == ROLE_COUNT - 1,
	    "each role but the master has a table");
	printf("HELPER_CHANNEL, a helper's channel to the master, is "
	       "descriptor %d; WORKER_CHANNEL, a worker's, is %d.\n\n",
	    HELPER_CHANNEL, WORKER_CHANNEL);
	print_shared();
	for (i = 0; i < sizeof(role) / sizeof(role[0]); i++)
		print_role(role[i]);
}

static void
json_limit(const char *name, const struct role_limit *l)
{
	printf(", \"%s\": {\"kind\": \"%s\", \"times\": %u, \"plus\": %u}",
	    name, limit_name[l->kind], l->times, l->plus);
}

static const char *
operation(enum scmp_compare op)
{
	switch (op) {
	case SCMP_CMP_EQ:
		return "==";
	case SCMP_CMP_LE:
		return "<=";
	case SCMP_CMP_MASKED_EQ:
		return "&";
	default:
		abort(); /* the table has none */
	}
}

static void
json_rows(enum role_id role)
{
	const struct sandbox_row *r;
	const char *before = "";
	unsigned i;

	printf(", \"rows\": [");
	for (r = sandbox_table; r->reason != NULL; r++) {
		if (!in_role(r, role))
			continue;
		printf("%s\n  {\"call\": \"%s\", \"number\": %d, "
		       "\"use\": \"%s\", \"checks\": [",
		    before, r->name, r->number, use_name[r->use]);
		for (i = 0; i < r->checks; i++)
			printf("%s[%u, \"%s\", %llu, %llu]", i == 0 ? "" : ", ",
			    r->check[i].arg, operation(r->check[i].op),
			    (unsigned long long)r->check[i].datum_a,
			    (unsigned long long)r->check[i].datum_b);
		printf("]}");
		before = ",";
	}
	printf("]");
}

static void
json_descriptors(enum role_id role)
{
	const struct role_descriptors *d;
	const char *before = "";

	printf(", \"descriptors\": [");
	for (d = role_descriptors; d->role != ROLE_COUNT; d++) {
		if (d->role != role)
			continue;
		printf("%s\n  {\"kind\": \"%s\", \"least\": %u, "
		       "\"most\": ",
		    before, kind_name[d->kind], d->least);
		if (d->most == DESCRIPTORS_MANY)
			printf("null}");
		else
			printf("%u}", d->most);
		before = ",";
	}
	printf("]");
}

static void
print_json(void)
{
	const struct role *r;
	unsigned i;

	printf("{\"signals\": [");
	for (i = 0; role_signals_ignored[i] != 0; i++)
		printf("%s%d", i == 0 ? "" : ", ", role_signals_ignored[i]);
	printf("], \"audit\": %llu, \"roles\": {", 1ULL << CAP_AUDIT_WRITE);
	for (i = 0; i < ROLE_COUNT; i++) {
		r = &roles[i];
		printf("%s\n\"%s\": {\"user\": \"%s\", "
		       "\"capabilities\": %llu, \"audit\": %s, "
		       "\"chroot\": %s, \"landlock\": \"%s\", "
		       "\"filters\": %u, \"forks\": %s%s%s",
		    i == 0 ? "" : ",", r->name, user_text[r->user],
		    (unsigned long long)r->capabilities,
		    r->audit ? "true" : "false", r->chroot ? "true" : "false",
		    landlock_name[r->landlock], filters((enum role_id)i),
		    r->forks != ROLE_MASTER ? "\"" : "",
		    r->forks != ROLE_MASTER ? roles[r->forks].name : "null",
		    r->forks != ROLE_MASTER ? "\"" : "");
		json_limit("nproc", &r->nproc);
		json_limit("rootless_nproc", &r->rootless_nproc);
		json_limit("nofile", &r->nofile);
		json_limit("rootless_nofile", &r->rootless_nofile);
		json_limit("core", &r->core);
		json_limit("fsize", &r->fsize);
		printf(
		    ", \"locked\": %s", r->locked_heap != 0 ? "true" : "false");
		json_descriptors((enum role_id)i);
		json_rows((enum role_id)i);
		printf("}");
	}
	printf("}}\n");
}

int
main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

	if (strcmp(what, "processes") == 0)
		print_processes();
	else if (strcmp(what, "calls") == 0)
		print_calls();
	else if (strcmp(what, "json") == 0)
		print_json();
	else {
		fprintf(stderr, "usage: facts processes | calls | json\n");
		return 1;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
