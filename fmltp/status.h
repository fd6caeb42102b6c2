/*
 * fmltp/status.h - status codes and commands of a session (FMLTP.md section
 * 5).
 *
 * Runs in: worker, client.  Pure; no allocation.
 */
#ifndef FMLTP_STATUS_H
#define FMLTP_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/error.h"

#define STATUS_READY		  100 /* to 122: see version_compare */
#define STATUS_AUTH_OK		  150
#define STATUS_AUTH_FAILED	  151
#define STATUS_OK		  200
#define STATUS_INVALID		  400
#define STATUS_TOO_MANY_ARGUMENTS 410
#define STATUS_TOO_FEW_ARGUMENTS  411
#define STATUS_COMMAND_ERROR	  420

#define COMMAND_LINE_MAX   4096 /* bytes of a client's packet */
#define COMMAND_ANSWER_MAX 703 /* bytes of an answer: its token fits 1024 */

/* True if the packet begins with three digits and a blank. */
bool status_begins(const uint8_t *packet, size_t len);
/* The status code of a server's packet, or -1. */
int status_code(const uint8_t *packet, size_t len);
/* True for the codes 100-102, 110-112 and 120-122 of packet 7. */
bool status_is_ready(int code);

/* A word of a command line: points into the packet. */
struct command_word {
	const uint8_t *s;
	size_t len;
};

/* A client's packet, taken apart. */
struct command {
	struct command_word name;
	bool has_rest; /* a blank follows the name */
	struct command_word rest; /* everything after that blank */
};

/*
 * Takes a packet of `len` bytes apart: one line, its end (CR LF, LF)
 * optional.  False, to be answered 400, where it is empty, longer than
 * COMMAND_LINE_MAX, not printable text (so also with a line end inside), or
 * begins with a blank.
 */
bool command_parse(const uint8_t *packet, size_t len, struct command *out);

/*
 * Takes the rest of a command apart into words separated by single blanks:
 * at most `max` are stored, `*count` is how many there are.  A command
 * without a rest has none.  False, to be answered 400, where a word is
 * empty (a blank at either end or two in a row).
 */
bool command_arguments(const struct command *c, struct command_word *words,
    size_t max, size_t *count);

/*
 * The same for a command whose last argument, the `max`th, is the rest of
 * the line: that one may hold blanks, anywhere, and where it is empty it is
 * not there.  `*count` is at most `max`.
 */
bool command_arguments_rest(const struct command *c, struct command_word *words,
    size_t max, size_t *count);

/* True if the word is `name`, byte for byte. */
bool command_word_is(const struct command_word *w, const char *name);

#endif
