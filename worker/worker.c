/*
 * worker/worker.c - the life of a connection, from its first packet to the
 * end of its process.
 *
 * Runs in: worker, as the worker user, confined by the zygote's filter and
 * its own.  Sees one client; must never see another session, a private key,
 * the configuration or a file.
 */
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "worker/worker.h"

static bool
worker_tell_established(struct worker *w)
{
	struct message_established *m = &w->message.established;

	memset(m, 0, sizeof(*m));
	m->client = w->peer;
	return channel_send(w->master, MESSAGE_ESTABLISHED, m);
}

static void
worker_tell_end(struct worker *w, enum fmltp_error error, enum session_end end)
{
	struct message_end *m = &w->message.end;

	memset(m, 0, sizeof(*m));
	m->error = error;
	m->end = end;
	m->stage = w->stage;
	m->commands = w->commands;
	m->bytes_in = w->bytes_in;
	m->bytes_out = w->bytes_out;
	m->client = w->peer;
	(void)channel_send(w->master, MESSAGE_END, m);
}

_Noreturn void
worker_leave(struct worker *w)
{
	secure_wipe(&w->secure);
	worker_tell_end(w, FMLTP_CLOSED, SESSION_END_ERROR);
	_exit(0);
}

_Noreturn void
worker_run(struct worker *w)
{
	enum session_end end = SESSION_END_ERROR;
	enum fmltp_error error;

	error = handshake_serve(w);
	if (error == FMLTP_OK) {
		/* Of a session the master knows, or there is none. */
		if (!worker_tell_established(w))
			worker_leave(w);
		if (w->spawn->lockdown)
			error = auth_begin(w);
	}
	if (error == FMLTP_OK)
		error = session_serve(w, &end);
	secure_wipe(&w->secure);
	worker_tell_end(w, error, end);
	if (error != FMLTP_RESET)
		wire_linger(w);
	_exit(0);
}
