/*
 * privsep/authenticator.c - sessions in lockdown: attempts, turns, delays.
 *
 * Runs in: auth, pam.  It holds the passwords that clients give, from their
 * coming to the verdict, and wipes them.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "privsep/authenticator.h"

#define AUTHENTICATOR_DELAY_MS 1000 /* before a 151: times its number */

uint64_t
authenticator_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
attempt_wipe(struct attempt *t)
{
	explicit_bzero(t->user, sizeof(t->user));
	explicit_bzero(t->password, sizeof(t->password));
	t->user_len = t->password_len = 0;
}

/* Gives up the check that is under way, if one is: it has no verdict. */
static void
attempt_stop_check(struct attempt *t)
{
	if (t->channel.state == ATTEMPT_CHECKED && t->owner->kind->give_up)
		t->owner->kind->give_up(t);
}

static void
attempt_close(struct attempt *t)
{
	attempt_stop_check(t);
	turns_drop(&t->owner->turns, &t->place);
	event_del(&t->event);
	event_del(&t->timer);
	close(t->channel.fd);
	LIST_REMOVE(t, entry);
	freezero(t, sizeof(*t));
}

/* Calls attempt_due when `due` is reached, and never before. */
static bool
attempt_set_timer(struct attempt *t, uint64_t due)
{
	uint64_t now = authenticator_now(), ms = due > now ? due - now : 0;
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000 * 1000) };

	t->due = due;
	/* From now on, not from when the loop last looked. */
	event_base_update_cache_time(t->owner->base);
	return event_add(&t->timer, &tv) == 0;
}

/* The next check, as soon as nothing else is to be done. */
static void
authenticator_schedule(struct authenticator *a)
{
	static const struct timeval at_once = { 0, 0 };

	if (a->busy < a->kind->slots && !turns_is_empty(&a->turns) &&
	    !event_pending(&a->check_event, EV_TIMEOUT, NULL) &&
	    event_add(&a->check_event, &at_once) == -1)
		event_active(&a->check_event, EV_TIMEOUT, 0);
}

/* Answers the worker.  After AUTH_REFUSED alone another attempt may come. */
static void
attempt_reply(struct attempt *t, uint32_t outcome)
{
	struct message_auth_reply reply;
	bool sent;

	memset(&reply, 0, sizeof(reply));
	reply.outcome = outcome;
	sent = channel_send(t->channel.fd, MESSAGE_AUTH_REPLY, &reply);
	if (sent && outcome == AUTH_REFUSED)
		t->channel.state = ATTEMPT_NONE;
	else
		attempt_close(t);
}

/* The end of an attempt: the master is told at once, the worker when it is
 * due.  What the master can't be told of does not happen. */
static void
attempt_finish(struct attempt *t, uint32_t outcome, uint64_t ms)
{
	struct message_auth_result r;
	uint64_t delay;

	memset(&r, 0, sizeof(r));
	r.outcome = outcome;
	r.session = t->session;
	r.attempt = t->refused + 1;
	r.ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	if (memchr(t->user, 0, t->user_len) == NULL)
		memcpy(r.user, t->user, t->user_len);
	attempt_wipe(t);
	if (!channel_send(t->owner->master.fd, MESSAGE_AUTH_RESULT, &r)) {
		attempt_close(t);
		return;
	}
	if (outcome == AUTH_GRANTED || outcome == AUTH_BUSY) {
		attempt_reply(t, outcome);
		return;
	}
	delay = (t->refused + 1) * (uint64_t)AUTHENTICATOR_DELAY_MS;
	if (outcome != AUTH_ERROR)
		t->refused++;
	t->outcome = outcome;
	t->channel.state = ATTEMPT_DELAYED;
	/* One more, since `came` is rounded down. */
	if (!attempt_set_timer(t, t->came + delay + 1))
		attempt_close(t);
}

/* The end of the phase or of the time for a check, or of the delay. */
static void
attempt_due(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *t = arg;

	/* libevent's clock is a coarse one. */
	if (authenticator_now() < t->due) {
		if (!attempt_set_timer(t, t->due))
			attempt_close(t);
	} else if (t->channel.state == ATTEMPT_DELAYED)
		attempt_reply(t, t->outcome);
	else {
		turns_drop(&t->owner->turns, &t->place);
		attempt_stop_check(t);
		t->channel.state = ATTEMPT_NONE;
		attempt_finish(t, AUTH_BUSY, 0);
	}
}

void
authenticator_verdict(struct attempt *t, enum attempt_verdict v)
{
	struct authenticator *a = t->owner;
	uint32_t outcome;

	a->busy--;
	t->channel.state = ATTEMPT_NONE;
	event_del(&t->timer);
	if (v == ATTEMPT_RIGHT)
		outcome = AUTH_GRANTED;
	else if (v == ATTEMPT_FAILED)
		outcome = AUTH_ERROR;
	else
		outcome = t->refused + 1 < t->attempts ? AUTH_REFUSED
						       : AUTH_REFUSED_LAST;
	attempt_finish(t, outcome, authenticator_now() - t->begun);
	authenticator_schedule(a);
}

void
authenticator_slot_free(struct authenticator *a)
{
	a->busy--;
	authenticator_schedule(a);
}

/* A check that takes its time begins: the master is told, and there is a
 * limit. */
static bool
attempt_announce(struct attempt *t)
{
	const struct authenticator *a = t->owner;
	struct message_auth_begun m;
	uint64_t limit = t->phase_end;

	if (t->begun + a->kind->limit_ms < limit)
		limit = t->begun + a->kind->limit_ms;
	memset(&m, 0, sizeof(m));
	m.session = t->session;
	return channel_send(a->master.fd, MESSAGE_AUTH_BEGUN, &m) &&
	    attempt_set_timer(t, limit);
}

/* One check begins, and back to the loop. */
static void
authenticator_check_next(evutil_socket_t fd, short what, void *arg)
{
	struct authenticator *a = arg;
	struct turns_place *p = turns_take(&a->turns);
	struct attempt *t;

	if (p == NULL)
		return;
	t = p->owner;
	event_del(&t->timer);
	t->begun = authenticator_now();
	if (t->begun >= t->phase_end)
		attempt_finish(t, AUTH_BUSY, 0);
	else if (a->kind->give_up != NULL && !attempt_announce(t))
		attempt_close(t);
	else {
		a->busy++;
		t->channel.state = ATTEMPT_CHECKED;
		a->kind->begin(t);
	}
	authenticator_schedule(a);
}

static bool
attempt_serve_auth(void *arg, const union message_any *m, int *fds)
{
	struct attempt *t = arg;
	const struct message_auth *ma = &m->message_auth;

	if (ma->user_len > AUTH_USER_MAX ||
	    ma->password_len > AUTH_PASSWORD_MAX)
		return false;
	t->came = authenticator_now();
	t->user_len = ma->user_len;
	t->password_len = ma->password_len;
	memcpy(t->user, ma->user, ma->user_len);
	memcpy(t->password, ma->password, ma->password_len);
	t->channel.state = ATTEMPT_WAITING;
	return true;
}

static const struct channel_rule attempt_rules[] = {
	{ MESSAGE_AUTH, CHANNEL_STATE(ATTEMPT_NONE), false,
	    attempt_serve_auth },
};

static void
attempt_ready(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *t = arg;
	struct authenticator *a = t->owner;
	struct message_auth_violation v;
	enum channel_result result;

	result = channel_receive(&t->channel, &a->message);
	if (result == CHANNEL_EMPTY)
		return;
	if (result == CHANNEL_OK) {
		if (!turns_add(&a->turns, &t->place, t->source))
			attempt_finish(t, AUTH_BUSY, 0);
		else if (!attempt_set_timer(t, t->phase_end))
			attempt_close(t);
		authenticator_schedule(a);
		return;
	}
	if (result >= CHANNEL_VIOLATION) {
		memset(&v, 0, sizeof(v));
		v.kind = result;
		v.session = t->session;
		(void)channel_send(a->master.fd, MESSAGE_AUTH_VIOLATION, &v);
	}
	attempt_close(t);
}

bool
authenticator_serve_channel(void *arg, const union message_any *m, int *fds)
{
	struct authenticator *a = arg;
	const struct message_auth_channel *mc = &m->message_auth_channel;
	struct attempt *t = NULL;

	if (mc->attempts != 0 && memchr(mc->address, 0, sizeof(mc->address)))
		t = calloc(1, sizeof(*t));
	else {
		close(fds[0]);
		return false;
	}
	if (t == NULL) {
		close(fds[0]);
		return true;
	}
	t->owner = a;
	t->session = mc->session;
	memcpy(t->source, mc->source, sizeof(t->source));
	strlcpy(t->address, mc->address, sizeof(t->address));
	t->phase_end = authenticator_now() + mc->phase_ms;
	t->attempts = mc->attempts;
	t->place.owner = t;
	channel_init(&t->channel, fds[0], attempt_rules,
	    sizeof(attempt_rules) / sizeof(attempt_rules[0]), t);
	t->channel.state = ATTEMPT_NONE;
	LIST_INSERT_HEAD(&a->sessions, t, entry);
	if (event_assign(&t->event, a->base, fds[0], EV_READ | EV_PERSIST,
		attempt_ready, t) == -1 ||
	    event_priority_set(&t->event, AUTHENTICATOR_PRIORITY_SESSION) ==
		-1 ||
	    event_assign(&t->timer, a->base, -1, 0, attempt_due, t) == -1 ||
	    event_priority_set(&t->timer, AUTHENTICATOR_PRIORITY_SESSION) ==
		-1 ||
	    event_add(&t->event, NULL) == -1)
		attempt_close(t);
	return true;
}

static void
authenticator_master_ready(evutil_socket_t fd, short what, void *arg)
{
	struct authenticator *a = arg;
	enum channel_result result = CHANNEL_OK;
	int i;

	for (i = 0; i < CHANNEL_BATCH && result == CHANNEL_OK; i++)
		result = channel_receive(&a->master, &a->message);
	if (result != CHANNEL_OK && result != CHANNEL_EMPTY)
		event_base_loopbreak(a->base);
}

bool
authenticator_prepare(struct authenticator *a,
    const struct authenticator_kind *kind, int master, void *arg)
{
	struct event_config *config;

	memset(a, 0, sizeof(*a));
	config = event_config_new();
	if (config == NULL)
		return false;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	/* After each message of a worker, and each check, the master is heard
	 * first. */
	event_config_set_max_dispatch_interval(
	    config, NULL, 1, AUTHENTICATOR_PRIORITY_SESSION);
	a->base = event_base_new_with_config(config);
	event_config_free(config);
	if (a->base == NULL ||
	    event_base_priority_init(a->base, AUTHENTICATOR_PRIORITIES) == -1)
		return false;
	a->kind = kind;
	a->arg = arg;
	LIST_INIT(&a->sessions);
	turns_init(&a->turns);
	channel_init(&a->master, master, kind->rules, kind->rule_count, a);
	return true;
}

bool
authenticator_run(struct authenticator *a)
{
	struct attempt *t, *next;

	a->master_event = event_new(a->base, a->master.fd, EV_READ | EV_PERSIST,
	    authenticator_master_ready, a);
	if (a->master_event == NULL ||
	    event_priority_set(
		a->master_event, AUTHENTICATOR_PRIORITY_MASTER) == -1 ||
	    event_add(a->master_event, NULL) == -1 ||
	    event_assign(&a->check_event, a->base, -1, 0,
		authenticator_check_next, a) == -1 ||
	    event_priority_set(&a->check_event, AUTHENTICATOR_PRIORITY_CHECK) ==
		-1)
		return false;
	event_base_dispatch(a->base);
	LIST_FOREACH_SAFE(t, &a->sessions, entry, next)
	attempt_close(t);
	return true;
}

void
authenticator_forget(struct authenticator *a)
{
	struct attempt *t;

	explicit_bzero(&a->message, sizeof(a->message));
	LIST_FOREACH(t, &a->sessions, entry)
	attempt_wipe(t);
}
