/*
 * worker/handshake.c - packets 1 to 7 (FMLTP.md sections 1 to 4), as the
 * server sends and receives them.
 *
 * Runs in: worker.  Sees the client's bytes and its session's key.
 */
#include <string.h>

#include "fmltp/dhkey.h"
#include "fmltp/proto.h"
#include "fmltp/version.h"
#include "privsep/channel.h"
#include "worker/worker.h"

/* Packet 1. */
static enum fmltp_error
handshake_send_banner(struct worker *w)
{
	struct buf b;

	buf_init(&b, w->banner, sizeof(w->banner));
	version_put(&b, &w->spawn->banner);
	w->banner_len = b.len;
	buf_put_str(&b, "\r\n");
	if (b.failed)
		return FMLTP_INTERNAL;
	return wire_send(w, b.data, b.len);
}

/* Packet 2. */
static enum fmltp_error
handshake_receive_version(struct worker *w, uint64_t deadline)
{
	struct version_line line;
	enum fmltp_error error;
	size_t text_len = 0, taken = 0;
	int status;

	for (;;) {
		switch (version_scan(w->in, w->in_len, &text_len, &taken)) {
		case VERSION_SCAN_LONG:
			return FMLTP_VEX_LONG;
		case VERSION_SCAN_LINE:
			goto whole;
		case VERSION_SCAN_BARE:
			error =
			    wire_fill(w, wire_now() + FMLTP_LINE_SILENCE_MS);
			if (error == FMLTP_TIMEOUT)
				goto whole;
			if (error == FMLTP_OK && wire_now() > deadline)
				return FMLTP_TIMEOUT;
			break;
		case VERSION_SCAN_MORE:
			error = wire_fill(w, deadline);
			break;
		default:
			return FMLTP_INTERNAL;
		}
		if (error != FMLTP_OK)
			return error;
	}
whole:
	error = version_parse(w->in, text_len, &line);
	if (error != FMLTP_OK)
		return error;
	wire_drop(w, taken);
	memcpy(w->peer.name, line.name, sizeof(w->peer.name));
	w->peer.signature = line.signature;
	status = version_compare(&w->spawn->banner.signature, &line.signature);
	if (status == 0)
		return FMLTP_VEX_CLASS;
	w->peer.status = (uint8_t)status;
	return FMLTP_OK;
}

/* Room for a key of `n` bytes of numbers in PEM, more than it takes. */
#define DH_PEM_LEN(n) (((n) + 64) * 3 / 2 + 64)

/* Packet 3. */
static enum fmltp_error
handshake_send_params(struct worker *w)
{
	struct buf b;

	wire_start_packet(w, DH_PEM_LEN(w->spawn->params.len), &b);
	dh_params_put_pem(&b, &w->spawn->params);
	if (b.failed)
		return FMLTP_INTERNAL;
	return wire_send(w, b.data, b.len);
}

/* Packet 4; CR and LF before it, at most 4 bytes, belong to packet 2. */
static enum fmltp_error
handshake_receive_public(struct worker *w, uint64_t deadline, uint8_t *y)
{
	enum fmltp_error error = FMLTP_MORE;
	size_t skipped = 0, taken;

	for (;;) {
		while (
		    w->in_len > 0 && (w->in[0] == '\r' || w->in[0] == '\n')) {
			if (++skipped > FMLTP_SKIP_MAX)
				return FMLTP_VEX_LATE;
			wire_drop(w, 1);
		}
		if (w->in_len > 0) {
			if (w->in[0] != '-')
				return FMLTP_VEX_LATE;
			error = dh_public_parse_pem(
			    w->in, w->in_len, &w->spawn->params, y, &taken);
			if (error == FMLTP_OK)
				wire_drop(w, taken);
		}
		if (error != FMLTP_MORE)
			return error;
		error = wire_fill(w, deadline);
		if (error != FMLTP_OK)
			return error;
		error = FMLTP_MORE;
	}
}

/* Packet 5, and the session's key. */
static enum fmltp_error
handshake_exchange(struct worker *w, const uint8_t *y)
{
	struct message_kex_reply *reply = &w->message.kex_reply;
	enum fmltp_error error;
	struct buf b;

	error = keys_exchange(w, y);
	if (error == FMLTP_OK) {
		secure_init(&w->secure, SECURE_SERVER, reply->key, w->raw,
		    STREAM_CLIENT_TOKEN_MAX);
		wire_start_packet(w, DH_PEM_LEN(2 * w->spawn->params.len), &b);
		dh_public_put_pem(&b, &w->spawn->params, reply->y);
		error = b.failed ? FMLTP_INTERNAL : wire_send(w, b.data, b.len);
	}
	explicit_bzero(reply, sizeof(*reply));
	return error;
}

/* Packet 6. */
static enum fmltp_error
handshake_receive_challenge(struct worker *w, uint64_t deadline)
{
	enum fmltp_error error;
	size_t taken, len;

	for (;;) {
		error = secure_receive(&w->secure, w->in, w->in_len, &taken,
		    WORKER_PLAIN(w), &len);
		if (error != FMLTP_OK && error != FMLTP_MORE)
			return error;
		wire_drop(w, taken);
		if (error == FMLTP_OK)
			break;
		error = wire_fill(w, deadline);
		if (error != FMLTP_OK)
			return error;
	}
	return secure_challenge_matches(WORKER_PLAIN(w), len,
		   (const uint8_t *)w->banner, w->banner_len)
	    ? FMLTP_OK
	    : FMLTP_CHALLENGE;
}

/* Packet 7. */
static enum fmltp_error
handshake_send_ready(struct worker *w)
{
	struct buf b;

	buf_init(&b, w->answer, sizeof(w->answer));
	buf_put_decimal(&b, w->peer.status);
	buf_put_str(&b, " FmLTP/1.0 Interpreter Ready.\r\n");
	if (w->spawn->lockdown)
		buf_put_str(&b, "Authentication required.\r\n");
	return wire_send_sealed(w, b.data, b.len);
}

enum fmltp_error
handshake_serve(struct worker *w)
{
	const uint64_t limit = w->spawn->handshake_ms;
	uint8_t *y = w->raw; /* not in use yet */
	enum fmltp_error error;

	w->stage = STAGE_VEX;
	if ((error = handshake_send_banner(w)) != FMLTP_OK ||
	    (error = handshake_receive_version(w, wire_now() + limit)) !=
		FMLTP_OK)
		return error;
	w->stage = STAGE_KEX;
	if ((error = handshake_send_params(w)) != FMLTP_OK ||
	    (error = handshake_receive_public(w, wire_now() + limit, y)) !=
		FMLTP_OK ||
	    (error = handshake_exchange(w, y)) != FMLTP_OK)
		return error;
	w->stage = STAGE_CHALLENGE;
	if ((error = handshake_receive_challenge(w, wire_now() + limit)) !=
		FMLTP_OK ||
	    (error = handshake_send_ready(w)) != FMLTP_OK)
		return error;
	w->stage = STAGE_SESSION;
	return FMLTP_OK;
}
