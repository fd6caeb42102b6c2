/*
 * auth/auth.c - the authenticator: its life from first message to end.
 *
 * Runs in: auth, one process a CPU, as the auth user, without network and
 * files.  It alone sees the hashes of the users, and the passwords that
 * clients give; it decides, and the master hears of it before the worker.
 */
#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "auth/check.h"
#include "auth/queue.h"
#include "auth/table.h"
#include "privsep/channel.h"
#include "privsep/start.h"

#define AUTH_DELAY_MS 1000 /* before a 151: times the attempt's number */

/* Who is heard first when several are ready.  A check can't be interrupted:
 * between two of them everything that came is taken. */
enum auth_priority {
	AUTH_PRIORITY_MASTER,
	AUTH_PRIORITY_SESSION,
	AUTH_PRIORITY_CHECK,
	AUTH_PRIORITIES
};

/* The states of a session's channel. */
enum auth_state {
	AUTH_READY, /* for an attempt */
	AUTH_WAITING, /* its attempt is in the queue */
	AUTH_DELAYED /* its attempt was refused, the 151 is not due */
};

/* A session in lockdown. */
struct auth_session {
	LIST_ENTRY(auth_session) entry;
	struct auth *auth;
	uint64_t session;
	uint8_t source[QUEUE_KEY_LEN];
	uint64_t phase_end; /* ms */
	uint32_t attempts; /* it may make */
	uint32_t refused;
	struct channel channel;
	struct event event;
	struct event timer; /* the phase's end, or that of the delay */
	uint64_t due; /* when the timer is */
	/* The attempt under way; a secret. */
	struct queue_place place;
	uint64_t came;
	uint32_t outcome; /* in AUTH_DELAYED */
	uint32_t user_len;
	uint32_t password_len;
	uint8_t user[AUTH_USER_MAX];
	uint8_t password[AUTH_PASSWORD_MAX];
};

/* The process. */
struct auth {
	struct event_base *base;
	struct event *master_event;
	struct event check_event; /* pending only while an attempt waits */
	struct channel master;
	LIST_HEAD(, auth_session) sessions;
	struct queue queue;
	struct table table;
	struct check *check;
	union message_any message;
};

static uint64_t
auth_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
auth_wipe_attempt(struct auth_session *s)
{
	explicit_bzero(s->user, sizeof(s->user));
	explicit_bzero(s->password, sizeof(s->password));
	s->user_len = s->password_len = 0;
}

static void
auth_close(struct auth_session *s)
{
	queue_drop(&s->auth->queue, &s->place);
	event_del(&s->event);
	event_del(&s->timer);
	close(s->channel.fd);
	LIST_REMOVE(s, entry);
	freezero(s, sizeof(*s));
}

/* Calls auth_due when `due` is reached, and never before. */
static bool
auth_set_timer(struct auth_session *s, uint64_t due)
{
	uint64_t now = auth_now(), ms = due > now ? due - now : 0;
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	s->due = due;
	/* From now on, not from when the loop last looked. */
	event_base_update_cache_time(s->auth->base);
	return event_add(&s->timer, &tv) == 0;
}

/* The next check, as soon as nothing else is to be done. */
static void
auth_schedule_check(struct auth *a)
{
	static const struct timeval at_once = { 0, 0 };

	if (!queue_is_empty(&a->queue) &&
	    !event_pending(&a->check_event, EV_TIMEOUT, NULL))
		(void)event_add(&a->check_event, &at_once);
}

/* Answers the worker.  After AUTH_REFUSED alone another attempt may come. */
static void
auth_reply(struct auth_session *s, uint32_t outcome)
{
	struct message_auth_reply reply;
	bool sent;

	memset(&reply, 0, sizeof(reply));
	reply.outcome = outcome;
	sent = channel_send(s->channel.fd, MESSAGE_AUTH_REPLY, &reply);
	if (sent && outcome == AUTH_REFUSED)
		s->channel.state = AUTH_READY;
	else
		auth_close(s);
}

/* The end of an attempt: the master is told at once, the worker when it is
 * due.  What the master can't be told of does not happen. */
static void
auth_finish(struct auth_session *s, uint32_t outcome, uint64_t ms)
{
	struct message_auth_result r;

	memset(&r, 0, sizeof(r));
	r.outcome = outcome;
	r.session = s->session;
	r.attempt = s->refused + 1;
	r.ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	if (memchr(s->user, 0, s->user_len) == NULL)
		memcpy(r.user, s->user, s->user_len);
	auth_wipe_attempt(s);
	if (!channel_send(s->auth->master.fd, MESSAGE_AUTH_RESULT, &r)) {
		auth_close(s);
		return;
	}
	if (outcome != AUTH_REFUSED && outcome != AUTH_REFUSED_LAST) {
		auth_reply(s, outcome);
		return;
	}
	s->refused++;
	s->outcome = outcome;
	s->channel.state = AUTH_DELAYED;
	/* One more, since `came` is rounded down. */
	if (!auth_set_timer(
		s, s->came + (uint64_t)s->refused * AUTH_DELAY_MS + 1))
		auth_close(s);
}

/* The end of the phase while the attempt waits, or of the delay. */
static void
auth_due(evutil_socket_t fd, short what, void *arg)
{
	struct auth_session *s = arg;

	/* libevent's clock is a coarse one. */
	if (auth_now() < s->due) {
		if (!auth_set_timer(s, s->due))
			auth_close(s);
	} else if (s->channel.state == AUTH_WAITING) {
		queue_drop(&s->auth->queue, &s->place);
		auth_finish(s, AUTH_BUSY, 0);
	} else
		auth_reply(s, s->outcome);
}

static void
auth_attempt(struct auth_session *s)
{
	struct auth *a = s->auth;
	uint64_t begin = auth_now();
	uint32_t outcome;

	switch (check_password(a->check, &a->table, s->user, s->user_len,
	    s->password, s->password_len)) {
	case CHECK_RIGHT:
		outcome = AUTH_GRANTED;
		break;
	case CHECK_FAILED:
		outcome = AUTH_BUSY;
		break;
	default:
		outcome = s->refused + 1 < s->attempts ? AUTH_REFUSED
						       : AUTH_REFUSED_LAST;
		break;
	}
	auth_finish(s, outcome, auth_now() - begin);
}

/* One check, and back to the loop. */
static void
auth_check_next(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;
	struct queue_place *p = queue_take(&a->queue);
	struct auth_session *s;

	if (p == NULL)
		return;
	s = p->owner;
	event_del(&s->timer);
	if (auth_now() < s->phase_end)
		auth_attempt(s);
	else
		auth_finish(s, AUTH_BUSY, 0);
	auth_schedule_check(a);
}

static bool
auth_serve_auth(void *arg, const union message_any *m, int *fds)
{
	struct auth_session *s = arg;
	const struct message_auth *ma = &m->message_auth;

	if (ma->user_len > AUTH_USER_MAX ||
	    ma->password_len > AUTH_PASSWORD_MAX)
		return false;
	s->came = auth_now();
	s->user_len = ma->user_len;
	s->password_len = ma->password_len;
	memcpy(s->user, ma->user, ma->user_len);
	memcpy(s->password, ma->password, ma->password_len);
	s->channel.state = AUTH_WAITING;
	return true;
}

static const struct channel_rule auth_worker_rules[] = {
	{ MESSAGE_AUTH, CHANNEL_STATE(AUTH_READY), false, auth_serve_auth },
};

static void
auth_worker_ready(evutil_socket_t fd, short what, void *arg)
{
	struct auth_session *s = arg;
	struct auth *a = s->auth;
	struct message_auth_violation v;
	enum channel_result result;

	result = channel_receive(&s->channel, &a->message);
	if (result == CHANNEL_EMPTY)
		return;
	if (result == CHANNEL_OK) {
		if (!queue_add(&a->queue, &s->place, s->source))
			auth_finish(s, AUTH_BUSY, 0);
		else if (!auth_set_timer(s, s->phase_end))
			auth_close(s);
		auth_schedule_check(a);
		return;
	}
	if (result >= CHANNEL_VIOLATION) {
		memset(&v, 0, sizeof(v));
		v.kind = result;
		v.session = s->session;
		(void)channel_send(a->master.fd, MESSAGE_AUTH_VIOLATION, &v);
	}
	auth_close(s);
}

/* A new table is taken whole, or the old one stays. */
static bool
auth_serve_users(void *arg, const union message_any *m, int *fds)
{
	struct auth *a = arg;
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
	(void)channel_send(a->master.fd, MESSAGE_USERS_READ, &r);
	return true;
}

static bool
auth_serve_auth_channel(void *arg, const union message_any *m, int *fds)
{
	struct auth *a = arg;
	const struct message_auth_channel *mc = &m->message_auth_channel;
	struct auth_session *s = NULL;

	if (mc->attempts != 0)
		s = calloc(1, sizeof(*s));
	if (s == NULL) {
		close(fds[0]);
		return mc->attempts != 0;
	}
	s->auth = a;
	s->session = mc->session;
	memcpy(s->source, mc->source, sizeof(s->source));
	s->phase_end = auth_now() + mc->phase_ms;
	s->attempts = mc->attempts;
	s->place.owner = s;
	channel_init(&s->channel, fds[0], auth_worker_rules,
	    sizeof(auth_worker_rules) / sizeof(auth_worker_rules[0]), s);
	LIST_INSERT_HEAD(&a->sessions, s, entry);
	if (event_assign(&s->event, a->base, fds[0], EV_READ | EV_PERSIST,
		auth_worker_ready, s) == -1 ||
	    event_priority_set(&s->event, AUTH_PRIORITY_SESSION) == -1 ||
	    event_assign(&s->timer, a->base, -1, 0, auth_due, s) == -1 ||
	    event_priority_set(&s->timer, AUTH_PRIORITY_SESSION) == -1 ||
	    event_add(&s->event, NULL) == -1)
		auth_close(s);
	return true;
}

static const struct channel_rule auth_master_rules[] = {
	{ MESSAGE_USERS, CHANNEL_ANY_STATE, false, auth_serve_users },
	{ MESSAGE_AUTH_CHANNEL, CHANNEL_ANY_STATE, false,
	    auth_serve_auth_channel },
};

static void
auth_master_ready(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;
	enum channel_result result = CHANNEL_OK;
	int i;

	for (i = 0; i < CHANNEL_BATCH && result == CHANNEL_OK; i++)
		result = channel_receive(&a->master, &a->message);
	if (result != CHANNEL_OK && result != CHANNEL_EMPTY)
		event_base_loopbreak(a->base);
}

void
auth_prepare(struct helper *h)
{
	struct event_config *config;
	struct auth *a;

	a = calloc(1, sizeof(*a));
	config = event_config_new();
	if (a == NULL || config == NULL)
		_exit(1);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	/* After each message of a worker, and each check, the master is heard
	 * first. */
	event_config_set_max_dispatch_interval(
	    config, NULL, 1, AUTH_PRIORITY_SESSION);
	a->base = event_base_new_with_config(config);
	event_config_free(config);
	a->check = check_new();
	if (a->base == NULL || a->check == NULL ||
	    event_base_priority_init(a->base, AUTH_PRIORITIES) == -1)
		_exit(1);
	LIST_INIT(&a->sessions);
	queue_init(&a->queue);
	channel_init(&a->master, h->channel, auth_master_rules,
	    sizeof(auth_master_rules) / sizeof(auth_master_rules[0]), a);
	h->state = a;
	/* Whatever libcrypt loads, it does here. */
	if (!auth_self_test(h))
		_exit(1);
}

int
auth_main(struct helper *h)
{
	struct auth *a = h->state;
	struct auth_session *s, *next;

	a->master_event = event_new(
	    a->base, a->master.fd, EV_READ | EV_PERSIST, auth_master_ready, a);
	if (a->master_event == NULL ||
	    event_priority_set(a->master_event, AUTH_PRIORITY_MASTER) == -1 ||
	    event_add(a->master_event, NULL) == -1 ||
	    event_assign(&a->check_event, a->base, -1, 0, auth_check_next, a) ==
		-1 ||
	    event_priority_set(&a->check_event, AUTH_PRIORITY_CHECK) == -1)
		return 1;
	event_base_dispatch(a->base);
	LIST_FOREACH_SAFE(s, &a->sessions, entry, next)
	auth_close(s);
	table_wipe(&a->table);
	check_free(a->check);
	/* What is left is no secret, and the process ends. */
	_exit(0);
}
