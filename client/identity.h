/*
 * client/identity.h - is this the server that the user knows? (FMLTP.md section
 * 7)
 *
 * Runs in: client, as its user.
 */
#ifndef CLIENT_IDENTITY_H
#define CLIENT_IDENTITY_H

#include <stdbool.h>

#include "client/failure.h"
#include "client/handshake.h"
#include "client/session.h"

struct identity_wishes {
	const char *host; /* as the user named it */
	const char *port;
	const char *fingerprint; /* that it has to have; NULL: any */
	bool accept_new; /* one that is not known yet is taken unasked */
};

/* True if the text is a fingerprint as identity_fingerprint writes it. */
bool identity_fingerprint_valid(const char *text);

/*
 * Asks the server who it is, checks the signature of this handshake, and
 * compares the key with the one that is known.  A new one is shown to the user,
 * who says yes or no on the terminal, and is remembered.  CLIENT_OK, or
 * CLIENT_IDENTITY where the server is not the one, does not prove it, or nobody
 * has said that it is.  Nothing secret was sent.
 */
enum client_exit identity_check(struct session *s, const struct handshake *h,
    const struct identity_wishes *w, struct failure *f);

#endif
