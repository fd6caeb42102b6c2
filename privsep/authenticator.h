/*
 * privsep/authenticator.h - what checks passwords and what it is checked by
 * have in common: sessions in lockdown, their attempts, turns, delays and
 * time limits.
 *
 * Runs in: auth, pam.  How a password is checked is the kind's own; who hears
 * of the outcome, and when, is the same for all: the master at once, the
 * worker when its 151 is due.
 */
#ifndef PRIVSEP_AUTHENTICATOR_H
#define PRIVSEP_AUTHENTICATOR_H

#include <sys/queue.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "privsep/channel.h"
#include "privsep/turns.h"

/* Who is heard first when several are ready.  A check can't be interrupted:
 * between two of them everything that came is taken. */
enum authenticator_priority {
	AUTHENTICATOR_PRIORITY_MASTER,
	AUTHENTICATOR_PRIORITY_SESSION,
	AUTHENTICATOR_PRIORITY_CHECK,
	AUTHENTICATOR_PRIORITIES
};

/* The states of a session's channel. */
enum attempt_state {
	ATTEMPT_NONE, /* one may come */
	ATTEMPT_WAITING, /* for its turn */
	ATTEMPT_CHECKED, /* it is being */
	ATTEMPT_DELAYED /* it was refused, the 151 is not due */
};

enum attempt_verdict {
	ATTEMPT_RIGHT,
	ATTEMPT_WRONG,
	ATTEMPT_FAILED /* could not be checked */
};

/* A session in lockdown, and its attempt. */
struct attempt {
	LIST_ENTRY(attempt) entry;
	struct authenticator *owner;
	uint64_t session;
	uint8_t source[TURNS_KEY_LEN];
	char address[AUTH_ADDRESS_MAX]; /* the peer's; "" for auth */
	uint64_t phase_end; /* ms */
	uint32_t attempts; /* it may make */
	uint32_t refused;
	struct channel channel;
	struct event event;
	struct event timer; /* the phase's end, or that of a check or delay */
	uint64_t due; /* when the timer is */
	struct turns_place place;
	uint64_t came;
	uint64_t begun; /* its check */
	uint32_t outcome; /* in ATTEMPT_DELAYED */
	void *check; /* of the kind, in ATTEMPT_CHECKED */
	/* A secret. */
	uint32_t user_len; /* 0: what was given can be no user's */
	uint32_t password_len;
	uint8_t user[AUTH_USER_MAX];
	uint8_t password[AUTH_PASSWORD_MAX];
};

/* How a kind of authenticator checks. */
struct authenticator_kind {
	/* Messages of the master, AUTH_CHANNEL among them; served with the
	 * struct authenticator. */
	const struct channel_rule *rules;
	size_t rule_count;
	unsigned slots; /* checks at once */
	uint64_t limit_ms; /* of a check that can be given up */
	/* Begins a check: authenticator_verdict is called in it, or later. */
	void (*begin)(struct attempt *t);
	/* Gives up one that was begun and has no verdict: its time is up, or
	 * its worker is gone.  NULL where `begin' has the verdict. */
	void (*give_up)(struct attempt *t);
};

struct authenticator {
	const struct authenticator_kind *kind;
	void *arg; /* the kind's */
	struct event_base *base;
	struct event *master_event;
	struct event check_event; /* pending only while an attempt waits */
	struct channel master;
	LIST_HEAD(, attempt) sessions;
	struct turns turns;
	unsigned busy; /* slots */
	union message_any message;
};

/* Before the sandbox: event loop and channel.  False without memory. */
bool authenticator_prepare(struct authenticator *a,
    const struct authenticator_kind *kind, int master, void *arg);

/* Serves until the master closes the channel; wipes what it has.  False
 * without memory. */
bool authenticator_run(struct authenticator *a);

/* Serves MESSAGE_AUTH_CHANNEL. */
bool
authenticator_serve_channel(void *arg, const union message_any *m, int *fds);

/* The outcome of a check that was begun. */
void authenticator_verdict(struct attempt *t, enum attempt_verdict v);

/* A slot that a check has held longer than its attempt (one that was given
 * up) is free again. */
void authenticator_slot_free(struct authenticator *a);

/* Wipes every attempt: in a child that shall know of one alone. */
void authenticator_forget(struct authenticator *a);

/* Milliseconds of the monotonic clock. */
uint64_t authenticator_now(void);

#endif
