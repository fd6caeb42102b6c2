/*
 * fmltp/stream.c - tokens out of a TCP stream that keeps no packet borders
 * (docs/FMLTP.md section 4, "Received").
 *
 * Runs in: worker, client.  Pure; no allocation.  Sees a session's
 * ciphertext and holds a keyed hash state (secure_wipe wipes it).
 */
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/stream.h"

#define STREAM_PAD 64 /* in quad[], a '=' */

/* Makes ready for the next token; the memory of the last one stays. */
static void
stream_reset(struct stream *s)
{
	s->hashed = 0;
	s->raw_len = 0;
	s->chars = 0;
	s->quad_len = 0;
}

void
stream_init(struct stream *s, const struct fernet *fernet, uint8_t *raw,
    size_t token_max)
{
	s->fernet = fernet;
	s->raw = raw;
	s->token_max = token_max;
	s->error = FMLTP_OK;
	stream_reset(s);
}

bool
stream_in_token(const struct stream *s)
{
	return s->chars > 0;
}

/* True if the MAC at the end of what is there matches. */
static bool
stream_try_mac(struct stream *s)
{
	uint8_t mac[FERNET_MAC_LEN];
	size_t covered = s->raw_len - FERNET_MAC_LEN;
	bool equal;

	crypto_hmac_update(
	    &s->running, s->raw + s->hashed, covered - s->hashed);
	s->hashed = covered;
	crypto_hmac_peek(&s->running, mac);
	equal = crypto_equal(mac, s->raw + covered, FERNET_MAC_LEN);
	explicit_bzero(mac, sizeof(mac));
	return equal;
}

/* Decodes a whole group without padding; the token may end with it. */
static enum fmltp_error
stream_end_group(struct stream *s)
{
	uint32_t v = (uint32_t)s->quad[0] << 18 | (uint32_t)s->quad[1] << 12 |
	    (uint32_t)s->quad[2] << 6 | s->quad[3];

	s->raw[s->raw_len++] = (uint8_t)(v >> 16);
	s->raw[s->raw_len++] = (uint8_t)(v >> 8);
	s->raw[s->raw_len++] = (uint8_t)v;
	s->quad_len = 0;
	if (fernet_raw_len_valid(s->raw_len) && stream_try_mac(s))
		return FMLTP_OK;
	return s->chars == s->token_max ? FMLTP_TOKEN_LONG : FMLTP_MORE;
}

/* Takes a '=', which ends the token, itself or as the first of two. */
static enum fmltp_error
stream_add_padding(struct stream *s)
{
	size_t bytes;

	if (s->quad_len == 3 && s->quad[2] == STREAM_PAD)
		bytes = 1;
	else if (s->quad_len >= 2) {
		/* The bits of the last character that stand for no byte. */
		if ((s->quad[s->quad_len - 1] & (s->quad_len == 2 ? 15 : 3)) !=
		    0)
			return FMLTP_TOKEN_BASE64;
		bytes = s->quad_len - 1u;
		if (!fernet_raw_len_valid(s->raw_len + bytes))
			return FMLTP_TOKEN_SHORT;
	} else
		return FMLTP_TOKEN_BASE64;
	s->quad[s->quad_len++] = STREAM_PAD;
	if (s->quad_len < 4)
		return s->chars == s->token_max ? FMLTP_TOKEN_LONG : FMLTP_MORE;

	s->raw[s->raw_len++] = (uint8_t)(s->quad[0] << 2 | s->quad[1] >> 4);
	if (bytes == 2)
		s->raw[s->raw_len++] =
		    (uint8_t)(s->quad[1] << 4 | s->quad[2] >> 2);
	return stream_try_mac(s) ? FMLTP_OK : FMLTP_TOKEN_MAC;
}

/* Takes one character of a token. */
static enum fmltp_error
stream_add(struct stream *s, uint8_t c)
{
	int v;

	if (s->chars == 0)
		s->running = s->fernet->hmac;
	s->chars++;
	if (c == '=')
		return stream_add_padding(s);
	if ((v = base64_value(BASE64_URL, c)) < 0)
		return FMLTP_TOKEN_BASE64;
	if (s->quad_len == 3 && s->quad[2] == STREAM_PAD)
		return FMLTP_TOKEN_BASE64;
	s->quad[s->quad_len++] = (uint8_t)v;
	if (s->chars == 2 && (s->quad[0] << 2 | s->quad[1] >> 4) != 0x80)
		return FMLTP_TOKEN_VERSION;
	if (s->quad_len == 4)
		return stream_end_group(s);
	return s->chars == s->token_max ? FMLTP_TOKEN_LONG : FMLTP_MORE;
}

/*
 * A line end inside a token: it would have ended before where it was whole,
 * so only what was wrong is left to say.
 */
static enum fmltp_error
stream_cut(const struct stream *s)
{
	if (s->quad_len == 0 && fernet_raw_len_valid(s->raw_len))
		return FMLTP_TOKEN_MAC;
	return FMLTP_TOKEN_SHORT;
}

/* Describes the token that became whole. */
static void
stream_finish(struct stream *s, struct stream_token *out)
{
	struct cursor c;

	out->raw = s->raw;
	out->len = s->raw_len;
	out->mac = s->raw + s->raw_len - FERNET_MAC_LEN;
	cursor_init(&c, s->raw + 1, 8);
	out->when = cursor_u64(&c);
	stream_reset(s);
}

enum fmltp_error
stream_feed(struct stream *s, const uint8_t *in, size_t len, size_t *taken,
    struct stream_token *out)
{
	enum fmltp_error e;
	size_t i;
	bool end;

	*taken = 0;
	if (s->error != FMLTP_OK)
		return s->error;
	for (i = 0; i < len; i++) {
		end = in[i] == '\r' || in[i] == '\n';
		if (end && s->chars == 0)
			continue;
		e = end ? stream_cut(s) : stream_add(s, in[i]);
		if (e == FMLTP_MORE)
			continue;
		*taken = i + 1;
		if (e == FMLTP_OK)
			stream_finish(s, out);
		else
			s->error = e;
		return e;
	}
	*taken = len;
	return FMLTP_MORE;
}
