/*
 * client/session.h - the session: commands out, answers in (docs/FMLTP.md
 * section 5).
 *
 * Runs in: client, as its user.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "client/auth.h"
#include "client/channel.h"
#include "client/explain.h"
#include "client/failure.h"

struct session {
	struct channel *channel; /* after the handshake */
	const struct explain *explain; /* NULL without -v */
	FILE *out; /* the answers */
	bool utf8; /* `out` shows UTF-8 */
};

/*
 * True if `line` of `len` bytes can be sent as a command; else `*why` says
 * why not.  What the server may refuse is not checked here, only what would
 * end the session or could not be sent.
 */
bool session_line_valid(const char *line, size_t len, const char **why);

/* Sends IDENT and waits for the answer, which is in the channel's plain then;
 * `*code` is its status. */
enum client_exit
session_ask_identity(struct session *s, int *code, struct failure *f);

/*
 * Sends AUTH and waits for what the server says of it, which takes it a
 * while.  CLIENT_REFUSED where it is not 150: the session is over then.
 */
enum client_exit
session_authenticate(struct session *s, struct auth *a, struct failure *f);

/* Sends one command, prints its answer, and ends the session with QUIT. */
enum client_exit session_run_command(
    struct session *s, const char *line, size_t len, struct failure *f);

/*
 * Takes commands from the descriptor `in`, a line each, until its end or
 * QUIT.  With `prompt`, a terminal's user is prompted, and a failed command
 * does not count.
 */
enum client_exit
session_run_lines(struct session *s, int in, bool prompt, struct failure *f);

#endif
