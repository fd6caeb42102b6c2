/*
 * worker/keys_client.c - the exchange, and its signature, as a worker sees
 * them: function calls.
 *
 * Runs in: worker.  Sees its session's key; never a private exponent or a
 * shared secret.
 */
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "worker/worker.h"

#define KEYS_CLIENT_MS 30000 /* the key holder may have a queue */

enum fmltp_error
keys_exchange(struct worker *w, const uint8_t *y)
{
	union worker_message *m = &w->message;
	enum fmltp_error error;

	memset(&m->kex, 0, sizeof(m->kex));
	memcpy(m->kex.y, y, w->spawn->params.len);
	error = FMLTP_KEYS;
	if (channel_send(w->keys, MESSAGE_KEX, m) &&
	    wire_wait_channel(w, w->keys, wire_now() + KEYS_CLIENT_MS) ==
		FMLTP_OK &&
	    channel_read(w->keys, MESSAGE_KEX_REPLY, m) == CHANNEL_OK)
		error = m->kex_reply.error < FMLTP_ERROR_COUNT
		    ? (enum fmltp_error)m->kex_reply.error
		    : FMLTP_KEYS;
	if (error != FMLTP_OK || !w->spawn->identity)
		keys_end(w);
	return error;
}

void
keys_end(struct worker *w)
{
	if (w->keys == -1)
		return;
	close(w->keys);
	w->keys = -1;
}

bool
keys_may_sign(const struct worker *w)
{
	return w->keys != -1;
}

bool
keys_sign(struct worker *w)
{
	union worker_message *m = &w->message;
	bool made = false;

	memset(&m->ident, 0, sizeof(m->ident));
	m->ident.server = w->spawn->banner;
	memcpy(m->ident.client.name, w->peer.name, sizeof(w->peer.name));
	m->ident.client.signature = w->peer.signature;
	if (channel_send(w->keys, MESSAGE_IDENT, m) &&
	    wire_wait_channel(w, w->keys, wire_now() + KEYS_CLIENT_MS) ==
		FMLTP_OK &&
	    channel_read(w->keys, MESSAGE_IDENT_REPLY, m) == CHANNEL_OK)
		made = m->ident_reply.made;
	keys_end(w);
	return made;
}
