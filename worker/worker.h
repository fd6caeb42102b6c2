/*
 * worker/worker.h - one connection, and what its files share.
 *
 * Runs in: worker, as the worker user, in the strictest sandbox.  It sees
 * its own client's bytes and session key; never another session, a private
 * key, the configuration or a file.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/error.h"
#include "fmltp/secure.h"
#include "fmltp/status.h"
#include "privsep/message.h"

#define WORKER_PAGE	 4096
#define WORKER_IN_MAX	 (DH_PEM_MAX + 512) /* a packet, and a bit of the next */
#define WORKER_RAW_MAX	 (STREAM_CLIENT_TOKEN_MAX / 4 * 3)
#define WORKER_OUT_MAX	 8192 /* a packet of the server */
#define WORKER_OUT_HOT	 1280 /* holds packets 3 and 5 at 2048 bits */
#define WORKER_PLAIN_MAX 1024 /* an answer */

/* What a worker says and hears on its channels. */
union worker_message {
	struct message_header header;
	struct message_kex kex;
	struct message_kex_reply kex_reply;
	struct message_ident ident;
	struct message_ident_reply ident_reply;
	struct message_auth auth;
	struct message_auth_reply auth_reply;
	struct message_established established;
	struct message_active active;
	struct message_end end;
};

/*
 * A connection.  There is one for each process, in memory that the zygote
 * never touched, and each page of it that is touched costs about as much as
 * an eighth of a modular exponentiation.  So two pages hold what every
 * connection writes, with a third that has its stack; a buffer of which most
 * connections use the beginning alone is the last thing in its page, and goes
 * on behind it.
 */
struct worker {
	_Alignas(WORKER_PAGE) int client;
	int master; /* channel; -1 in the self-test */
	int keys; /* channel, until it is of no more use; then -1 */
	enum stage stage;
	const struct message_spawn *spawn; /* what the master said */
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t commands;
	uint64_t active_ms; /* when the master was last told of a command */
	bool over; /* the session ends after this answer, */
	enum session_end end; /* for this reason */
	bool lockdown; /* the client has not authenticated, and has to */
	int auth; /* channel, in lockdown alone */
	uint64_t auth_until; /* the end of the authoritative phase */
	uint8_t *command; /* the packet that is being answered */
	size_t command_len;
	/* A token, decoded; its plaintext takes the ciphertext's place.
	 * WORKER_RAW_MAX bytes, behind the master's message. */
	uint8_t *raw;
	union message_any *heard; /* from the master; the same memory */
	struct client_version peer;
	char banner[VERSION_LINE_MAX + 1]; /* packet 1's text */
	size_t banner_len;
	union worker_message message;
	uint8_t answer[WORKER_PLAIN_MAX];
	size_t in_len;
	uint8_t in[WORKER_IN_MAX];

	_Alignas(WORKER_PAGE) uint8_t out_hot[WORKER_OUT_HOT];
	struct secure secure; /* its replay store is its end, and large */

	uint8_t out_large[WORKER_OUT_MAX];
};

/* Where a packet is decrypted to. */
#define WORKER_PLAIN(w) ((w)->raw + FERNET_HEAD_LEN)

/*
 * The life of a connection: serves it, tells the master how it ended, and
 * ends the process.
 */
_Noreturn void worker_run(struct worker *w);

/* The master ends the session, or is gone: says how far it came, and ends
 * the process. */
_Noreturn void worker_leave(struct worker *w);

/* wire.c: the socket. */

/* Milliseconds of the monotonic clock. */
uint64_t wire_now(void);
/* Seconds since 1970, for tokens. */
uint64_t wire_time(void);
#define WIRE_NO_LIMIT UINT64_MAX
/*
 * Reads more of the client's bytes behind in[in_len], waiting until
 * `deadline` (wire_now).  FMLTP_OK, FMLTP_TIMEOUT, _CLOSED, _RESET.  Ends
 * the process where the master is gone.
 */
enum fmltp_error wire_fill(struct worker *w, uint64_t deadline);
/* Drops the first `len` bytes of `in`. */
void wire_drop(struct worker *w, size_t len);
/* Sends all of it, in one write where the socket takes it.  FMLTP_OK,
 * FMLTP_SEND_TIMEOUT, _RESET. */
enum fmltp_error wire_send(struct worker *w, const void *bytes, size_t len);
/* Starts a buffer for a packet of the server of up to `len` bytes. */
void wire_start_packet(struct worker *w, size_t len, struct buf *b);
/* Seals a packet and sends it. */
enum fmltp_error
wire_send_sealed(struct worker *w, const void *plain, size_t len);
/* Waits for a channel's message until `deadline`: FMLTP_OK or FMLTP_TIMEOUT. */
enum fmltp_error wire_wait_channel(struct worker *w, int fd, uint64_t deadline);
/* The same, and FMLTP_RESET where the client's connection breaks meanwhile;
 * what the client sends is left where it is. */
enum fmltp_error wire_wait_reply(struct worker *w, int fd, uint64_t deadline);
/* Waits for the master's message. */
enum fmltp_error wire_wait_master(struct worker *w, uint64_t deadline);
/* Shuts down sending, reads and drops for a while (FMLTP.md section 1). */
void wire_linger(struct worker *w);

/* keys_client.c */

/*
 * One exchange with the key holder: `y` is the client's public value, at the
 * length of p.  On FMLTP_OK w->message.kex_reply has the session key
 * and the server's public value; the caller wipes it.  Else FMLTP_KEYS or
 * what keys found.  The channel is closed where this fails, or where the
 * server has no identity.
 */
enum fmltp_error keys_exchange(struct worker *w, const uint8_t *y);
/* Whether the key holder can still be asked to sign the exchange. */
bool keys_may_sign(const struct worker *w);
/*
 * Asks for the signature, once: true, and w->message.ident_reply has it.  The
 * channel is closed either way.
 */
bool keys_sign(struct worker *w);
/* Nobody will ask any more: closes the channel, if it is open. */
void keys_end(struct worker *w);

/* auth_client.c */

/*
 * Waits for the master's word that this session is in lockdown, with the
 * channel to auth.  FMLTP_OK, or FMLTP_TIMEOUT where it does not come.
 * Ends the process where anything else comes, or the master is gone.
 */
enum fmltp_error auth_begin(struct worker *w);
/*
 * Asks auth about a name and a password, either of any length, and waits for
 * its outcome.  The packet that they came in is wiped before.  FMLTP_OK and
 * `*outcome`; FMLTP_TIMEOUT where the phase's time ran out; else what broke.
 */
enum fmltp_error auth_ask(struct worker *w, const struct command_word *user,
    const struct command_word *password, enum auth_outcome *outcome);
/* The session is no longer in lockdown. */
void auth_end(struct worker *w);

/* handshake.c: packets 1 to 7; FMLTP_OK when the session may begin. */
enum fmltp_error handshake_serve(struct worker *w);

/* session.c */

/* Serves commands until the session's end. */
enum fmltp_error session_serve(struct worker *w, enum session_end *end);
/*
 * Answers one packet: writes the answer into `out`.  Pure but for
 * w->commands, w->over and w->end, and for AUTH, which asks auth and waits:
 * it wipes the packet before that.
 */
void
session_answer(struct worker *w, uint8_t *packet, size_t len, struct buf *out);

#endif
