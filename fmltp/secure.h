/*
 * fmltp/secure.h - the encrypted half of a connection, either side: seal what
 * is sent; of what comes, in this order: stream, MAC, reflection, replay
 * (FMLTP.md section 4).
 *
 * Runs in: worker, client.  Pure; no allocation; the caller passes time and
 * random bytes.
 */
#ifndef FMLTP_SECURE_H
#define FMLTP_SECURE_H

#include <stddef.h>
#include <stdint.h>

#include "fmltp/fernet.h"
#include "fmltp/replay.h"
#include "fmltp/stream.h"

enum secure_side {
	SECURE_SERVER, /* refuses what begins as a server's packet does */
	SECURE_CLIENT /* refuses what does not */
};

struct secure {
	enum secure_side side;
	struct fernet fernet;
	struct stream stream;
	struct replay replay;
};

/*
 * Starts with the session key; `raw` is memory for the stream (see
 * stream_init), of token_max characters from the other side.  `s` must be
 * all zero.  secure_wipe wipes keys and state.
 */
void secure_init(struct secure *s, enum secure_side side,
    const uint8_t key[FERNET_KEY_LEN], uint8_t *raw, size_t token_max);
void secure_wipe(struct secure *s);

/*
 * Feeds bytes as stream_feed does.  FMLTP_OK: one packet is whole, its
 * `*plain_len` bytes are in `plain` (room for token_max / 4 * 3 bytes; it may
 * be `raw` + FERNET_HEAD_LEN: then the plaintext takes the ciphertext's place).
 */
enum fmltp_error secure_receive(struct secure *s, const uint8_t *in, size_t len,
    size_t *taken, uint8_t *plain, size_t *plain_len);

/* Appends token and CR LF for a packet to `out`. */
void secure_send(const struct secure *s, uint64_t now,
    const uint8_t iv[FERNET_IV_LEN], const void *plain, size_t len,
    struct buf *out);

/*
 * True if packet 6 (`len` bytes) is packet 1's text; blanks and line ends at
 * either end of the packet do not count; compared in constant time.
 */
bool secure_challenge_matches(
    const uint8_t *packet, size_t len, const uint8_t *text, size_t text_len);

#endif
