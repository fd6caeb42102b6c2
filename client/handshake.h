/*
 * client/handshake.h - the client's side of packets 1 to 7 (docs/FMLTP.md
 * sections 2 to 4).
 *
 * Runs in: client, as its user.  Everything that the server sends is checked
 * against the one form that the protocol allows.  The private exponent, the
 * shared secret and the session key never leave handshake_run but for the
 * channel; struct handshake holds public values alone.
 */
#ifndef CLIENT_HANDSHAKE_H
#define CLIENT_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/channel.h"
#include "client/connection.h"
#include "client/failure.h"
#include "fmltp/dhkey.h"
#include "fmltp/version.h"

#define HANDSHAKE_NAME	      "FlexMusic C Client"
#define HANDSHAKE_BITS_STRONG 2048 /* below: only with allow_weak */
#define HANDSHAKE_FINAL_MAX   80 /* bytes of packet 7's text */

/* What has just happened; 1 to 7 are the packets. */
enum handshake_event {
	HANDSHAKE_SERVER_VEX_INIT = 1,
	HANDSHAKE_CLIENT_VEX_REPLY,
	HANDSHAKE_SERVER_KEX_INIT,
	HANDSHAKE_CLIENT_KEX_ID,
	HANDSHAKE_SERVER_KEX_ID,
	HANDSHAKE_CLIENT_KEX_CHAL,
	HANDSHAKE_SERVER_KEX_FINAL,
	HANDSHAKE_QUICK_CHECKED, /* the quick test of p was passed */
	HANDSHAKE_KEY_DERIVED,
	HANDSHAKE_FULL_CHECK, /* the full test of p begins */
	HANDSHAKE_FULL_CHECKED /* the full test of p was passed */
};

struct handshake;
typedef void
handshake_tell(void *arg, const struct handshake *h, enum handshake_event e);

struct handshake {
	/* the caller's wishes */
	struct version_signature signature; /* that the client claims */
	bool allow_weak; /* take p of 1024 bits */
	handshake_tell *tell; /* NULL: nobody is told */
	void *arg;

	/* what is known so far, filled as the events come */
	uint8_t banner[VERSION_LINE_MAX]; /* packet 1 without its end */
	size_t banner_len;
	struct version_line server;
	struct version_line client;
	struct dh_params params;
	uint8_t fingerprint[CRYPTO_SHA256_LEN];
	uint8_t client_y[DH_PRIME_MAX];
	uint8_t server_y[DH_PRIME_MAX];
	char final[HANDSHAKE_FINAL_MAX]; /* packet 7's text */
	int status; /* of packet 7 */
	bool authentication; /* the server wants AUTH */
	size_t packet_len; /* bytes on the wire of the event's packet */
	uint64_t when; /* time in the event's token */
	int64_t check_ms; /* what the last test of p took */
	bool line_end_due; /* of the last PEM block: may still come */
};

/*
 * Does the handshake on a connection that was just made.  CLIENT_OK, and
 * `ch` is ready for the session; else the exit status, and `f` says why.
 */
enum client_exit
handshake_run(struct handshake *h, struct channel *ch, struct failure *f);

#endif
