/*
 * client/explain.h - what -v tells: each packet as it goes, so that the
 * protocol can be learned from it.
 *
 * Runs in: client, as its user.  Sees public values and the plaintext of the
 * session; never shows a password, and never sees a private exponent, a
 * shared secret or the session key.
 */
#ifndef CLIENT_EXPLAIN_H
#define CLIENT_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client/handshake.h"

struct explain {
	FILE *out;
	bool colour;
	bool utf8; /* the terminal shows UTF-8 */
};

/*
 * Explains on `out`; in colour only if it is a terminal that has colours and
 * NO_COLOR is not set.
 */
void explain_init(struct explain *x, FILE *out, bool utf8);

/* A connection_tell and a handshake_tell; `arg` is the struct explain. */
void explain_connecting(void *arg, const char *address);
void
explain_handshake(void *arg, const struct handshake *h, enum handshake_event e);

/* A user was given, and the server asks for none. */
void explain_no_authentication(const struct explain *x);
/*
 * A packet of the session, from the client or from the server: its text of
 * `len` bytes, and `whole` bytes on the wire.  The password of an AUTH is
 * not shown.
 */
void explain_session(const struct explain *x, bool from_client, uint64_t when,
    const uint8_t *plain, size_t len, size_t whole);
/* The end of the session. */
void explain_closed(const struct explain *x);

#endif
