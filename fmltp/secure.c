/*
 * fmltp/secure.c - the encrypted half of a connection, either side
 * (docs/FMLTP.md section 4).
 *
 * Runs in: worker, client.  Pure; no allocation.  Sees the session key and
 * the packets of one session, and wipes what it refuses.
 */
#include <string.h>

#include "fmltp/secure.h"
#include "fmltp/status.h"
#include "fmltp/text.h"

void
secure_init(struct secure *s, enum secure_side side,
    const uint8_t key[FERNET_KEY_LEN], uint8_t *raw, size_t token_max)
{
	s->side = side;
	fernet_init(&s->fernet, key);
	stream_init(&s->stream, &s->fernet, raw, token_max);
}

void
secure_wipe(struct secure *s)
{
	fernet_wipe(&s->fernet);
	explicit_bzero(&s->stream, sizeof(s->stream));
	/* What the store never used is not touched: its pages don't exist. */
	explicit_bzero(
	    s->replay.entry, s->replay.count * sizeof(s->replay.entry[0]));
	explicit_bzero(&s->replay, offsetof(struct replay, entry));
}

enum fmltp_error
secure_receive(struct secure *s, const uint8_t *in, size_t len, size_t *taken,
    uint8_t *plain, size_t *plain_len)
{
	struct stream_token token;
	enum fmltp_error e;

	e = stream_feed(&s->stream, in, len, taken, &token);
	if (e != FMLTP_OK)
		return e;
	e = fernet_decrypt_checked(
	    &s->fernet, token.raw, token.len, plain, plain_len);
	if (e != FMLTP_OK)
		return e;
	/*
	 * Before the token is recorded: one's own packet sent back must not
	 * move the window, whatever the clocks say.
	 */
	if (status_begins(plain, *plain_len) == (s->side == SECURE_SERVER))
		e = FMLTP_REFLECTED;
	else
		e = replay_take(&s->replay, token.when, token.mac);
	if (e != FMLTP_OK) {
		explicit_bzero(plain, *plain_len);
		*plain_len = 0;
	}
	return e;
}

void
secure_send(const struct secure *s, uint64_t now,
    const uint8_t iv[FERNET_IV_LEN], const void *plain, size_t len,
    struct buf *out)
{
	fernet_seal(&s->fernet, now, iv, plain, len, out);
	buf_put(out, "\r\n", 2);
}

bool
secure_challenge_matches(
    const uint8_t *packet, size_t len, const uint8_t *text, size_t text_len)
{
	len = text_trim_end(packet, len);
	while (
	    len > 0 && (*packet == '\r' || *packet == '\n' || *packet == ' ')) {
		packet++;
		len--;
	}
	return len == text_len && crypto_equal(packet, text, len);
}
