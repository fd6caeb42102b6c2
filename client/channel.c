/*
 * client/channel.c - the encrypted half of a connection.
 *
 * Runs in: client, as its user.
 */
#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/channel.h"
#include "fmltp/proto.h"

struct channel *
channel_new(struct connection *c)
{
	struct channel *ch;

	ch = calloc(1, sizeof(*ch));
	if (ch != NULL)
		ch->connection = c;
	return ch;
}

void
channel_free(struct channel *ch)
{
	if (ch == NULL)
		return;
	secure_wipe(&ch->secure);
	freezero(ch, sizeof(*ch));
}

void
channel_start(struct channel *ch, const uint8_t key[FERNET_KEY_LEN])
{
	secure_init(
	    &ch->secure, SECURE_CLIENT, key, ch->raw, STREAM_SERVER_TOKEN_MAX);
}

static bool
channel_random(uint8_t *out, size_t len)
{
	ssize_t n;

	do {
		n = getrandom(out, len, 0);
	} while (n == -1 && errno == EINTR);
	return n == (ssize_t)len;
}

enum fmltp_error
channel_send(struct channel *ch, const void *plain, size_t len)
{
	uint8_t token[FERNET_TOKEN_LEN(COMMAND_LINE_MAX) + 2];
	uint8_t iv[FERNET_IV_LEN];
	struct buf b;
	uint64_t now = (uint64_t)time(NULL);

	if (len > COMMAND_LINE_MAX || !channel_random(iv, sizeof(iv)))
		return FMLTP_INTERNAL;
	/* A clock that is set back must not cost the session. */
	if (now < ch->sent_when)
		now = ch->sent_when;
	buf_init(&b, token, sizeof(token));
	secure_send(&ch->secure, now, iv, plain, len, &b);
	if (b.failed)
		return FMLTP_INTERNAL;
	ch->sent_when = now;
	ch->packet_len = b.len;
	return connection_send(ch->connection, b.data, b.len);
}

/* Bytes of the line end behind a token, as far as it is there. */
static size_t
channel_line_end(const struct connection *c)
{
	if (c->in_len >= 2 && c->in[0] == '\r' && c->in[1] == '\n')
		return 2;
	return c->in_len >= 1 && c->in[0] == '\n' ? 1 : 0;
}

enum fmltp_error
channel_feed(struct channel *ch)
{
	struct connection *c = ch->connection;
	struct cursor head;
	enum fmltp_error e;
	size_t taken;

	e = secure_receive(
	    &ch->secure, c->in, c->in_len, &taken, ch->plain, &ch->plain_len);
	if (e != FMLTP_OK && e != FMLTP_MORE)
		return e;
	connection_take(c, taken);
	if (e == FMLTP_MORE && stream_in_token(&ch->secure.stream)) {
		if (ch->token_deadline == 0)
			ch->token_deadline = connection_now() + FMLTP_TOKEN_MS;
	} else
		ch->token_deadline = 0;
	if (e == FMLTP_OK) {
		cursor_init(&head, ch->raw, FERNET_HEAD_LEN);
		cursor_u8(&head);
		ch->when = cursor_u64(&head);
		ch->packet_len =
		    FERNET_TOKEN_LEN(ch->plain_len) + channel_line_end(c);
	}
	return e;
}

enum fmltp_error
channel_receive(struct channel *ch, int64_t deadline)
{
	enum fmltp_error e;

	while ((e = channel_feed(ch)) == FMLTP_MORE) {
		if (ch->token_deadline != 0 && ch->token_deadline < deadline)
			deadline = ch->token_deadline;
		e = connection_read(ch->connection, deadline);
		if (e != FMLTP_OK)
			return e;
	}
	return e;
}
