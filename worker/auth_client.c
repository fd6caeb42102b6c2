/*
 * worker/auth_client.c - the authoritative phase, as a worker sees it: it
 * asks, and auth decides.
 *
 * Runs in: worker.  Sees the names and passwords that its own client gives,
 * and wipes them; never the users file.  What it says of itself counts for
 * nothing: the master hears from auth that a session is authenticated.
 */
#include <string.h>
#include <unistd.h>

#include "fmltp/proto.h"
#include "privsep/channel.h"
#include "privsep/start.h"
#include "worker/worker.h"

#define AUTH_CLIENT_MS 30000 /* the master may be busy */

static bool
auth_serve_lockdown(void *arg, const union message_any *m, int *fds)
{
	struct worker *w = arg;

	w->auth = fds[0];
	w->auth_until = wire_now() + m->message_lockdown.phase_ms;
	w->lockdown = true;
	return true;
}

static const struct channel_rule auth_rules[] = {
	{ MESSAGE_LOCKDOWN, CHANNEL_ANY_STATE, true, auth_serve_lockdown },
};

enum fmltp_error
auth_begin(struct worker *w)
{
	struct channel channel;
	enum fmltp_error error;

	error = wire_wait_master(w, wire_now() + AUTH_CLIENT_MS);
	if (error != FMLTP_OK)
		return error;
	channel_init(&channel, w->master, auth_rules, 1, w);
	if (channel_receive(&channel, w->heard) != CHANNEL_OK)
		worker_leave(w);
	return FMLTP_OK;
}

void
auth_end(struct worker *w)
{
	close(w->auth);
	w->auth = -1;
	w->lockdown = false;
}

/* Nothing of what no user can have is passed on: a name without a byte is
 * refused as a wrong one is, as late, and counts. */
static void
auth_fill(struct message_auth *m, const struct command_word *user,
    const struct command_word *password)
{
	memset(m, 0, sizeof(*m));
	if (user->len > sizeof(m->user) || password->len > AUTH_PASSWORD_MAX)
		return;
	m->user_len = (uint32_t)user->len;
	m->password_len = (uint32_t)password->len;
	memcpy(m->user, user->s, user->len);
	memcpy(m->password, password->s, password->len);
}

enum fmltp_error
auth_ask(struct worker *w, const struct command_word *user,
    const struct command_word *password, enum auth_outcome *outcome)
{
	union worker_message *m = &w->message;
	enum fmltp_error error;
	bool sent;

	auth_fill(&m->auth, user, password);
	sent = channel_send(w->auth, MESSAGE_AUTH, m);
	/* Auth may take seconds, and has it now. */
	explicit_bzero(&m->auth, sizeof(m->auth));
	explicit_bzero(w->command, w->command_len);
	if (!sent)
		return FMLTP_INTERNAL;
	error =
	    wire_wait_reply(w, w->auth, w->auth_until + FMLTP_AUTH_SLACK_MS);
	if (error != FMLTP_OK)
		return error;
	if (channel_read(w->auth, MESSAGE_AUTH_REPLY, m) != CHANNEL_OK ||
	    m->auth_reply.outcome >= AUTH_OUTCOMES)
		return FMLTP_INTERNAL;
	*outcome = (enum auth_outcome)m->auth_reply.outcome;
	return FMLTP_OK;
}
