/*
 * auth/auth.c - the authenticator: its life from first message to end.
 *
 * Runs in: auth, one process a CPU, as the auth user, without network and
 * files.  It alone sees the hashes of the users, and the passwords that
 * clients give; it decides, and the master hears of it before the worker.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/check.h"
#include "auth/table.h"
#include "privsep/authenticator.h"
#include "privsep/start.h"

/* The process. */
struct auth {
	struct authenticator authenticator;
	struct table table;
	struct check *check;
};

/* A check is one hash: it has its verdict at once. */
static void
auth_begin_check(struct attempt *t)
{
	struct auth *a = t->owner->arg;

	switch (check_password(a->check, &a->table, t->user, t->user_len,
	    t->password, t->password_len)) {
	case CHECK_RIGHT:
		authenticator_verdict(t, ATTEMPT_RIGHT);
		break;
	case CHECK_FAILED:
		authenticator_verdict(t, ATTEMPT_FAILED);
		break;
	default:
		authenticator_verdict(t, ATTEMPT_WRONG);
		break;
	}
}

/* A new table is taken whole, or the old one stays. */
static bool
auth_serve_users(void *arg, const union message_any *m, int *fds)
{
	struct authenticator *authenticator = arg;
	struct auth *a = authenticator->arg;
	struct message_users_read r;
	struct table table;

	memset(&r, 0, sizeof(r));
	r.serial = m->message_users.serial;
	r.fault = table_read(fds[0], &table, &r.line);
	close(fds[0]);
	if (r.fault == USERS_OK) {
		table_wipe(&a->table);
		a->table = table;
		explicit_bzero(&table, sizeof(table));
	}
	r.users = (uint32_t)a->table.count;
	/* A master that does not hear of it would wait for ever: better a new
	 * process. */
	return channel_send(authenticator->master.fd, MESSAGE_USERS_READ, &r);
}

static const struct channel_rule auth_rules[] = {
	{ MESSAGE_USERS, CHANNEL_ANY_STATE, false, auth_serve_users },
	{ MESSAGE_AUTH_CHANNEL, CHANNEL_ANY_STATE, false,
	    authenticator_serve_channel },
};

static const struct authenticator_kind auth_kind = {
	.rules = auth_rules,
	.rule_count = sizeof(auth_rules) / sizeof(auth_rules[0]),
	.slots = 1,
	.begin = auth_begin_check,
};

void
auth_prepare(struct helper *h)
{
	struct auth *a;

	h->memory = sandbox_lock_memory(roles[h->role].locked_heap);
	a = calloc(1, sizeof(*a));
	if (a == NULL)
		_exit(1);
	a->check = check_new();
	if (a->check == NULL ||
	    !authenticator_prepare(
		&a->authenticator, &auth_kind, h->channel, a))
		_exit(1);
	h->state = a;
	/* Whatever libcrypt loads, it does here. */
	if (!auth_self_test(h))
		_exit(1);
}

int
auth_main(struct helper *h)
{
	struct auth *a = h->state;

	if (!authenticator_run(&a->authenticator))
		return 1;
	table_wipe(&a->table);
	check_free(a->check);
	/* What is left is no secret, and the process ends. */
	_exit(0);
}
