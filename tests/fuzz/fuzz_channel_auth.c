/*
 * tests/fuzz/fuzz_channel_auth.c - any messages to an authenticator, from its
 * master and from workers.
 *
 * Runs in: the fuzzers alone.  It is auth/auth.c and privsep/authenticator.c
 * themselves, over real channels; the first byte says whether it is auth, or
 * pam with attempts whose verdicts come when the input says so.  Each input is
 * a life of the process: the master speaks, workers do, and attempts have
 * their turn, or their time is over.  Every attempt that a worker made has one
 * outcome, of which the master hears before the worker does; and only who has
 * the right password is let in.
 *
 * Covers: auth/auth.c: auth_begin_check auth_serve_users
 * Covers: auth/check.c: check_password check_copy
 * Covers: privsep/authenticator.c: attempt_wipe attempt_close attempt_reply
 * Covers: privsep/authenticator.c: attempt_finish attempt_due attempt_ready
 * Covers: privsep/authenticator.c: attempt_serve_auth attempt_stop_check
 * Covers: privsep/authenticator.c: authenticator_verdict
 * Covers: privsep/authenticator.c: authenticator_serve_channel
 * Covers: privsep/authenticator.c: authenticator_master_ready
 * Covers: privsep/authenticator.c: authenticator_check_next
 * Covers: privsep/authenticator.c: authenticator_slot_free attempt_announce
 * Covers: privsep/authenticator.c: authenticator_forget
 * Covers: privsep/turns.c
 */
#include <sys/mman.h>

#include <signal.h>

#include "auth/auth.c"
#include "privsep/authenticator.c"

#include "tests/fuzz/channel.h"

#define WORKERS_MAX   6
#define MESSAGES_MAX  60
#define CHECKS_MAX    12 /* a real one takes a millisecond, */
#define CHECKS_NOBODY 1 /* and without users it takes long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* bcrypt, of the lowest cost: "right". */
static const char users_file[] =
    "ada:$2b$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC\n";

struct worker_end {
	int fd; /* -1: free */
	uint64_t session;
	bool waits; /* it has asked, and has no answer yet */
	bool right; /* with a name and a password that are right */
	uint32_t outcome; /* what the master has heard */
	bool heard;
};

struct life {
	struct auth auth;
	struct authenticator *a;
	bool pam;
	bool deaf; /* the master does not read any more */
	int master; /* its end */
	struct worker_end worker[WORKERS_MAX];
	uint64_t sessions;
	unsigned checks;
	unsigned slow_checks;
	uint8_t verdict; /* of the next check of pam */
	bool over;
};

static struct life life;

/* pam: some attempts have their verdict at once, others later. */
static void
pam_double_begin(struct attempt *t)
{
	life.verdict = (uint8_t)(life.verdict * 5 + 1);
	if (life.verdict % 4 < 3)
		authenticator_verdict(
		    t, (enum attempt_verdict)(life.verdict % 4));
	else
		t->check = &life;
}

static void
pam_double_give_up(struct attempt *t)
{
	fuzz_check(t->check == &life);
	t->check = NULL;
	authenticator_slot_free(t->owner);
}

static const struct authenticator_kind pam_double_kind = {
	.rules = auth_rules + 1, /* AUTH_CHANNEL alone */
	.rule_count = 1,
	.slots = 2,
	.limit_ms = 20000,
	.begin = pam_double_begin,
	.give_up = pam_double_give_up,
};

static void
fill(void *arg, enum message_type type, union message_any *m)
{
	struct life *l = arg;

	if (type == MESSAGE_USERS)
		m->message_users.serial = 1;
	else if (type == MESSAGE_AUTH_CHANNEL) {
		m->message_auth_channel.session = ++l->sessions;
		m->message_auth_channel.source[0] = l->sessions % 2;
		m->message_auth_channel.phase_ms = 600000;
		m->message_auth_channel.attempts = 3;
	} else if (type == MESSAGE_AUTH) {
		memcpy(m->message_auth.user, "ada", 3);
		memcpy(m->message_auth.password, "right", 5);
		m->message_auth.user_len = 3;
		m->message_auth.password_len = 5;
	}
}

static void
begin(struct life *l, uint8_t kind)
{
	int fd[2];
	size_t i;

	memset(l, 0, sizeof(*l));
	l->pam = kind % 2 == 1;
	l->verdict = kind;
	l->a = &l->auth.authenticator;
	l->auth.check = check_new();
	fuzz_check(l->auth.check != NULL);
	fuzz_check(channel_pair(fd, false, 0));
	l->master = fd[0];
	fuzz_check(authenticator_prepare(
	    l->a, l->pam ? &pam_double_kind : &auth_kind, fd[1], &l->auth));
	fuzz_check(event_assign(&l->a->check_event, l->a->base, -1, 0,
		       authenticator_check_next, l->a) == 0);
	for (i = 0; i < WORKERS_MAX; i++)
		l->worker[i].fd = -1;
}

static void
finish(struct life *l)
{
	struct attempt *t, *next;
	size_t i;

	authenticator_forget(l->a);
	LIST_FOREACH_SAFE(t, &l->a->sessions, entry, next)
	{
		fuzz_check(t->user_len == 0 && t->password_len == 0);
		attempt_close(t);
	}
	fuzz_check(l->a->busy == 0 && turns_is_empty(&l->a->turns));
	event_del(&l->a->check_event);
	event_base_free(l->a->base);
	table_wipe(&l->auth.table);
	check_free(l->auth.check);
	close(l->a->master.fd);
	close(l->master);
	for (i = 0; i < WORKERS_MAX; i++)
		if (l->worker[i].fd != -1)
			close(l->worker[i].fd);
}

static struct attempt *
find_attempt(struct life *l, const struct worker_end *w)
{
	struct attempt *t;

	LIST_FOREACH(t, &l->a->sessions, entry)
	if (w->fd != -1 && t->session == w->session)
		return t;
	return NULL;
}

static struct worker_end *
find_worker(struct life *l, uint64_t session)
{
	size_t i;

	for (i = 0; i < WORKERS_MAX; i++)
		if (l->worker[i].fd != -1 && l->worker[i].session == session)
			return &l->worker[i];
	return NULL;
}

/* The master hears that a check begins: of pam, and of who waits for it. */
static bool
hear_begun(void *arg, const union message_any *m, int *fds)
{
	struct life *l = arg;
	struct worker_end *w = find_worker(l, m->message_auth_begun.session);

	fuzz_check(l->pam);
	if (w != NULL)
		fuzz_check(w->waits && !w->heard);
	return true;
}

/* ... and how it ended, before the worker does. */
static bool
hear_result(void *arg, const union message_any *m, int *fds)
{
	const struct message_auth_result *r = &m->message_auth_result;
	struct life *l = arg;
	struct worker_end *w = find_worker(l, r->session);

	fuzz_check(
	    r->outcome < AUTH_OUTCOMES && r->user[sizeof(r->user) - 1] == '\0');
	if (w == NULL)
		return true;
	fuzz_check(w->waits && !w->heard);
	if (r->outcome == AUTH_GRANTED && !l->pam)
		fuzz_check(w->right);
	w->heard = true;
	w->outcome = r->outcome;
	return true;
}

/* What has been told: to the master first, and the same to the worker. */
static void
hear(struct life *l)
{
	static const struct channel_rule rules[] = {
		{ MESSAGE_AUTH_BEGUN, CHANNEL_ANY_STATE, false, hear_begun },
		{ MESSAGE_AUTH_RESULT, CHANNEL_ANY_STATE, false, hear_result },
	};
	static union message_any message;
	struct message_auth_reply reply;
	struct worker_end *w;
	struct channel c;
	enum channel_result result;
	size_t i;

	channel_init(&c, l->master, rules, sizeof(rules) / sizeof(rules[0]), l);
	do
		result = channel_receive(&c, &message);
	while (result == CHANNEL_OK);
	/* The end of what it says reads as nothing while it still listens. */
	fuzz_check(result == (l->deaf ? CHANNEL_ZERO : CHANNEL_EMPTY));
	for (i = 0; i < WORKERS_MAX; i++) {
		w = &l->worker[i];
		if (w->fd == -1 ||
		    channel_read(w->fd, MESSAGE_AUTH_REPLY, &reply) !=
			CHANNEL_OK)
			continue;
		fuzz_check(w->waits && w->heard && reply.outcome == w->outcome);
		w->waits = w->heard = false;
		/* It may ask again after this one alone. */
		if (reply.outcome != AUTH_REFUSED)
			fuzz_check(find_attempt(l, w) == NULL);
	}
}

/* A users file of the input, or the one that is known. */
static int
open_users(struct fuzz_input *in)
{
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, 1024, &len);
	int fd = memfd_create("users", MFD_CLOEXEC);

	fuzz_check(fd != -1);
	if (len == 0)
		fuzz_check(write(fd, users_file, sizeof(users_file) - 1) ==
		    (ssize_t)sizeof(users_file) - 1);
	else
		fuzz_check(write(fd, bytes, len) == (ssize_t)len);
	return fd;
}

static void
master_says(struct life *l, struct fuzz_input *in)
{
	struct message_users_read read_back;
	struct message_auth_channel *mc;
	struct worker_end *w = NULL;
	struct fuzz_message m;
	enum channel_result expected;
	int fd[2] = { -1, -1 };
	size_t i;

	fuzz_message_take(
	    &m, in, l->a->kind->rules, l->a->kind->rule_count, fill, l);
	expected = fuzz_message_expect(&m, &l->a->master);
	mc = &m.any.message_auth_channel;
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_USERS)
		fd[0] = open_users(in);
	else if (expected == CHANNEL_OK) {
		fuzz_check(channel_pair(fd, false, 0));
		/* Two with one number are not what a master says. */
		if (find_worker(l, mc->session) != NULL)
			mc->session = ++l->sessions;
	}
	if (fd[0] != -1)
		fuzz_check(fuzz_message_send(l->master, &m, fd));
	else
		fuzz_check(fuzz_message_send_any(l->master, &m));
	authenticator_master_ready(l->a->master.fd, EV_READ, l->a);
	l->over = event_base_got_break(l->a->base) != 0;
	if (expected != CHANNEL_OK)
		fuzz_check(l->over);
	if (fd[0] != -1)
		close(fd[0]);
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_USERS &&
	    !l->deaf)
		fuzz_check(channel_read(l->master, MESSAGE_USERS_READ,
			       &read_back) == CHANNEL_OK &&
		    read_back.serial == m.any.message_users.serial &&
		    read_back.users == l->auth.table.count);
	if (fd[1] == -1)
		return;
	for (i = 0; i < WORKERS_MAX && w == NULL; i++)
		if (l->worker[i].fd == -1)
			w = &l->worker[i];
	if (l->over || w == NULL) {
		close(fd[1]);
		return;
	}
	memset(w, 0, sizeof(*w));
	w->fd = fd[1];
	w->session = mc->session;
}

static void
worker_says(struct life *l, struct fuzz_input *in)
{
	struct worker_end *w = &l->worker[fuzz_u8(in) % WORKERS_MAX];
	struct attempt *t = find_attempt(l, w);
	struct message_auth_violation v;
	const struct message_auth *ma;
	struct fuzz_message m;
	enum channel_result expected;
	bool waits;

	if (t == NULL)
		return;
	fuzz_message_take(&m, in, attempt_rules, 1, fill, l);
	ma = &m.any.message_auth;
	expected = fuzz_message_expect(&m, &t->channel);
	if (expected == CHANNEL_OK &&
	    (ma->user_len > AUTH_USER_MAX ||
		ma->password_len > AUTH_PASSWORD_MAX))
		expected = CHANNEL_REFUSED;
	waits = w->waits;
	if (expected == CHANNEL_OK) {
		w->waits = true;
		w->right = ma->user_len == 3 && ma->password_len == 5 &&
		    memcmp(ma->user, "ada", 3) == 0 &&
		    memcmp(ma->password, "right", 5) == 0;
	}
	fuzz_check(fuzz_message_send_any(w->fd, &m));
	attempt_ready(t->channel.fd, EV_READ, t);
	if (expected == CHANNEL_OK)
		fuzz_check(!waits && find_attempt(l, w) == t);
	else {
		fuzz_check(find_attempt(l, w) == NULL);
		if (!l->deaf)
			fuzz_check(
			    channel_read(l->master, MESSAGE_AUTH_VIOLATION,
				&v) == CHANNEL_OK &&
			    v.kind == expected && v.session == w->session);
		w->waits = w->heard = false;
	}
}

/* A worker goes, or has said nothing. */
static void
worker_goes(struct life *l, struct fuzz_input *in)
{
	struct worker_end *w = &l->worker[fuzz_u8(in) % WORKERS_MAX];
	struct attempt *t = find_attempt(l, w);

	if (w->fd == -1)
		return;
	if (t != NULL) {
		attempt_ready(t->channel.fd, EV_READ, t);
		fuzz_check(find_attempt(l, w) == t);
	}
	close(w->fd);
	if (t != NULL)
		attempt_ready(t->channel.fd, EV_READ, t);
	w->fd = -1;
}

/* A check begins; a verdict of one that is under way comes. */
static void
attempt_goes_on(struct life *l, struct fuzz_input *in)
{
	struct attempt *t;
	uint8_t what = fuzz_u8(in);

	if (what % 2 == 0) {
		if (l->a->busy >= l->a->kind->slots)
			return;
		if (l->pam || turns_is_empty(&l->a->turns) ||
		    (l->auth.table.count > 0
			    ? l->checks++ < CHECKS_MAX
			    : l->slow_checks++ < CHECKS_NOBODY))
			authenticator_check_next(-1, EV_TIMEOUT, l->a);
		return;
	}
	LIST_FOREACH(t, &l->a->sessions, entry)
	if (t->channel.state == ATTEMPT_CHECKED) {
		t->check = NULL;
		authenticator_verdict(t, (enum attempt_verdict)(what / 2 % 3));
		return;
	}
}

/* The time of an attempt is over, or its delay, or neither. */
static void
attempt_is_due(struct life *l, struct fuzz_input *in)
{
	struct attempt *t =
	    find_attempt(l, &l->worker[fuzz_u8(in) % WORKERS_MAX]);
	uint8_t what = fuzz_u8(in);

	if (t == NULL || t->channel.state == ATTEMPT_NONE)
		return;
	if (what % 2 == 0)
		t->due = 0;
	else if (what % 4 == 3)
		t->phase_end = 0;
	attempt_due(-1, EV_TIMEOUT, t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	int lowest, i;

	signal(SIGPIPE, SIG_IGN);
	lowest = fuzz_lowest_fd();
	begin(&life, fuzz_u8(&in));
	for (i = 0; i < MESSAGES_MAX && in.left > 0 && !life.over; i++) {
		switch (fuzz_u8(&in) % 8) {
		case 0:
		case 1:
			worker_says(&life, &in);
			break;
		case 2:
			worker_goes(&life, &in);
			break;
		case 3:
		case 4:
			attempt_goes_on(&life, &in);
			break;
		case 5:
			attempt_is_due(&life, &in);
			break;
		case 6:
			life.deaf = life.deaf || fuzz_u8(&in) == 0xff;
			if (life.deaf)
				shutdown(life.a->master.fd, SHUT_WR);
			break;
		default:
			master_says(&life, &in);
		}
		hear(&life);
	}
	finish(&life);
	fuzz_check(fuzz_lowest_fd() == lowest);
	return 0;
}
