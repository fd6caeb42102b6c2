/*
 * worker/keys_client.c - the exchange, as a worker sees it: a function call.
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
	close(w->keys);
	w->keys = -1;
	return error;
}
