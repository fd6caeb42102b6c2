/*
 * fmltp/stream.h - tokens out of a TCP stream that keeps no packet borders
 * (FMLTP.md section 4, "Received").
 *
 * Runs in: worker, client.  Pure; no allocation.  Bytes go in as they come,
 * split anywhere; whole tokens whose MAC matches come out, one at a time.
 */
#ifndef FMLTP_STREAM_H
#define FMLTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/error.h"
#include "fmltp/fernet.h"

#define STREAM_CLIENT_TOKEN_MAX 8192 /* characters, from a client */
#define STREAM_SERVER_TOKEN_MAX 65536 /* characters, from a server */

/*
 * The state of the token under way.  `chars` counts its characters; `raw`
 * is the caller's memory for its decoded bytes (token_max / 4 * 3).
 */
struct stream {
	const struct fernet *fernet;
	struct crypto_hmac running; /* over raw[0 .. hashed) */
	size_t hashed;
	size_t token_max; /* characters */
	uint8_t *raw;
	size_t raw_len;
	size_t chars;
	uint8_t quad[4]; /* values of a group that is not whole */
	uint8_t quad_len;
	enum fmltp_error error; /* what ended the stream: it stays ended */
};

/* A token that was taken from the stream; valid until the next call. */
struct stream_token {
	const uint8_t *raw; /* all of it, MAC included */
	size_t len;
	uint64_t when;
	const uint8_t *mac; /* FERNET_MAC_LEN bytes */
};

/* Starts a stream.  `raw` has token_max / 4 * 3 bytes, of the caller's. */
void stream_init(struct stream *s, const struct fernet *fernet, uint8_t *raw,
    size_t token_max);

/* True while a token's first character has come and its last has not. */
bool stream_in_token(const struct stream *s);

/*
 * Feeds up to `len` bytes.  Returns
 *  FMLTP_OK	a token is whole and its MAC matches: `out` is filled,
 *		`*taken` bytes were used; call again with the rest (the call
 *		starts the next token);
 *  FMLTP_MORE	all `len` bytes were used (`*taken` = len), no token yet;
 *  FMLTP_TOKEN_*	the connection is to end.
 * Each place where a token may end is tried once, in one running HMAC.  A
 * version byte other than 0x80 is refused as soon as it is there.  A token
 * that reached token_max characters without a match is FMLTP_TOKEN_LONG; one
 * that a CR or LF ended early FMLTP_TOKEN_SHORT, if its length can't be a
 * token's, or FMLTP_TOKEN_MAC.
 */
enum fmltp_error stream_feed(struct stream *s, const uint8_t *in, size_t len,
    size_t *taken, struct stream_token *out);

#endif
