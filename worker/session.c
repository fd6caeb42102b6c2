/*
 * worker/session.c - the session: a client's commands and their answers
 * (FMLTP.md section 5).
 *
 * Runs in: worker.  Sees what its own client sends.
 */
#include <string.h>

#include "fmltp/identity.h"
#include "fmltp/proto.h"
#include "fmltp/status.h"
#include "fmltp/text.h"
#include "privsep/channel.h"
#include "worker/worker.h"

#define SESSION_ECHO_MAX 64 /* bytes of a client's word in an answer */

/* When there is a command: bits. */
enum session_mode {
	SESSION_LOCKDOWN = 1, /* before the client has authenticated */
	SESSION_NORMAL = 2,
	SESSION_BOTH = SESSION_LOCKDOWN | SESSION_NORMAL
};

/* A command of the session. */
struct session_command {
	const char *name;
	const char *usage; /* its arguments */
	const char *text; /* what it does */
	enum session_mode mode;
	size_t min; /* arguments */
	size_t max;
	bool rest; /* the last of them is the rest of the line */
	void (*serve)(struct worker *w, const struct command_word *words,
	    size_t count, struct buf *out);
};

static void session_auth(
    struct worker *, const struct command_word *, size_t, struct buf *);
static void session_help(
    struct worker *, const struct command_word *, size_t, struct buf *);
static void session_ident(
    struct worker *, const struct command_word *, size_t, struct buf *);
static void session_quit(
    struct worker *, const struct command_word *, size_t, struct buf *);

static const struct session_command session_commands[] = {
	{ "AUTH", "<user> <password>",
	    "authenticates you; the password may hold blanks", SESSION_LOCKDOWN,
	    2, 2, true, session_auth },
	{ "HELP", "[<command>]", "lists the commands, or explains one",
	    SESSION_BOTH, 0, 1, false, session_help },
	{ "IDENT", "", "proves who the server is, once and before all else",
	    SESSION_BOTH, 0, 0, false, session_ident },
	{ "QUIT", "", "ends the session", SESSION_BOTH, 0, 0, false,
	    session_quit },
};
#define SESSION_COMMANDS \
	(sizeof(session_commands) / sizeof(session_commands[0]))
#define SESSION_ARGUMENTS 2 /* of the command that takes most */

/* True for a command that there is now. */
static bool
session_has(const struct worker *w, const struct session_command *c)
{
	if (c->serve == session_ident && !w->spawn->identity)
		return false;
	return (c->mode & (w->lockdown ? SESSION_LOCKDOWN : SESSION_NORMAL)) !=
	    0;
}

static const struct session_command *
session_find(const struct worker *w, const struct command_word *name)
{
	const struct session_command *c;

	for (c = session_commands; c < session_commands + SESSION_COMMANDS; c++)
		if (session_has(w, c) && command_word_is(name, c->name))
			return c;
	return NULL;
}

/* A client's word in an answer: printable already, cut at a character's
 * border where it is long. */
static void
session_put_word(struct buf *out, const struct command_word *word)
{
	size_t len = word->len;

	if (len > SESSION_ECHO_MAX) {
		len = SESSION_ECHO_MAX;
		while (len > 0 && (word->s[len] & 0xc0) == 0x80)
			len--;
	}
	buf_put(out, word->s, len);
	if (len < word->len)
		buf_put_str(out, "...");
}

static void
session_help(struct worker *w, const struct command_word *words, size_t count,
    struct buf *out)
{
	const struct session_command *c;
	size_t i;

	if (count == 0) {
		buf_put_str(out, "200 Available commands:\r\n");
		for (i = 0; i < SESSION_COMMANDS; i++) {
			if (!session_has(w, &session_commands[i]))
				continue;
			buf_put_str(out, session_commands[i].name);
			buf_put_str(out, " - ");
			buf_put_str(out, session_commands[i].text);
			buf_put_str(out, "\r\n");
		}
		buf_put_str(
		    out, "Run HELP <command> for more information.\r\n");
		return;
	}
	c = session_find(w, &words[0]);
	if (c == NULL) {
		buf_put_str(out, "420 Command ");
		session_put_word(out, &words[0]);
		buf_put_str(out, " not found.\r\n");
		return;
	}
	buf_put_str(out, "200 Help for ");
	buf_put_str(out, c->name);
	buf_put_str(out, ":\r\nUsage: ");
	buf_put_str(out, c->name);
	if (c->usage[0] != '\0') {
		buf_put_str(out, " ");
		buf_put_str(out, c->usage);
	}
	buf_put_str(out, "\r\n");
	buf_put_str(out, c->text);
	buf_put_str(out, "\r\n");
}

/* After this answer. */
static void
session_finish(struct worker *w, enum session_end end)
{
	w->over = true;
	w->end = end;
}

/* What auth could not be asked, or did not answer in its time, is refused as
 * a wrong password is; the end of the session has the reason. */
static void
session_auth(struct worker *w, const struct command_word *words, size_t count,
    struct buf *out)
{
	enum auth_outcome outcome = AUTH_BUSY;
	enum fmltp_error error;

	error = auth_ask(w, &words[0], &words[1], &outcome);
	if (error == FMLTP_OK && outcome == AUTH_GRANTED) {
		auth_end(w);
		buf_put_str(out, "150 Authentication successful.\r\n");
		return;
	}
	buf_put_str(out, "151 Authentication failed.\r\n");
	if (error == FMLTP_TIMEOUT)
		session_finish(w, SESSION_END_AUTH_TIMEOUT);
	else if (outcome == AUTH_REFUSED_LAST)
		session_finish(w, SESSION_END_AUTH_FAILED);
	else if (outcome != AUTH_REFUSED)
		session_finish(w, SESSION_END_AUTH_BUSY);
}

/* FMLTP.md section 7. */
static void
session_ident(struct worker *w, const struct command_word *words, size_t count,
    struct buf *out)
{
	if (!keys_may_sign(w))
		buf_put_str(out,
		    "420 IDENT comes once, before AUTH and other "
		    "commands.\r\n");
	else if (keys_sign(w))
		identity_put_answer(out, w->message.ident_reply.public,
		    w->message.ident_reply.signature);
	else
		buf_put_str(out, "420 The server cannot sign now.\r\n");
}

static void
session_quit(struct worker *w, const struct command_word *words, size_t count,
    struct buf *out)
{
	session_finish(w, SESSION_END_QUIT);
	buf_put_str(out, "200 Goodbye.\r\n");
}

void
session_answer(struct worker *w, uint8_t *packet, size_t len, struct buf *out)
{
	const struct session_command *c = NULL;
	struct command_word words[SESSION_ARGUMENTS];
	struct command command;
	size_t count = 0;
	bool valid = false;

	w->commands++;
	w->command = packet;
	w->command_len = len;
	if (command_parse(packet, len, &command))
		c = session_find(w, &command.name);
	if (c != NULL)
		valid = c->rest
		    ? command_arguments_rest(&command, words, c->max, &count)
		    : command_arguments(
			  &command, words, SESSION_ARGUMENTS, &count);
	if (!valid)
		buf_put_str(out, "400 Invalid command or operative.\r\n");
	else if (count > c->max)
		buf_put_str(out, "410 Too many arguments passed.\r\n");
	else if (count < c->min)
		buf_put_str(out, "411 Too few arguments passed.\r\n");
	else
		c->serve(w, words, count, out);
	/* Outside lockdown the first command is the last moment for IDENT. */
	if (!w->lockdown)
		keys_end(w);
}

/* Tells the master, now and then, that this session is in use. */
static void
session_tell_active(struct worker *w, uint64_t now)
{
	if (w->master == -1 || now - w->active_ms < ACTIVE_PERIOD * 1000)
		return;
	w->active_ms = now;
	/* What the channel does not take now, a later command tells. */
	(void)channel_send(w->master, MESSAGE_ACTIVE, &w->message);
}

/* Since when the session waits for what it waits for; 0: not at all. */
struct session_wait {
	uint64_t command; /* the last answer, or the session's begin */
	uint64_t token; /* the first byte of the token under way */
};

/* Until when to wait for the next bytes.  The authoritative phase ends in
 * the middle of a token, too. */
static uint64_t
session_deadline(const struct worker *w, struct session_wait *since)
{
	uint64_t until = WIRE_NO_LIMIT;

	if (stream_in_token(&w->secure.stream)) {
		if (since->token == 0)
			since->token = wire_now();
		until = since->token + FMLTP_TOKEN_MS;
	} else {
		since->token = 0;
		if (w->spawn->idle_ms != 0 && !w->lockdown)
			until = since->command + w->spawn->idle_ms;
	}
	return w->lockdown && w->auth_until < until ? w->auth_until : until;
}

/* True where the authoritative phase has taken too long. */
static bool
session_lockdown_over(const struct worker *w)
{
	return w->lockdown && wire_now() >= w->auth_until;
}

enum fmltp_error
session_serve(struct worker *w, enum session_end *end)
{
	struct buf answer;
	enum fmltp_error error;
	struct session_wait since = { wire_now(), 0 };
	size_t taken, len;

	w->active_ms = since.command;
	*end = SESSION_END_ERROR;
	for (;;) {
		if (session_lockdown_over(w)) {
			*end = SESSION_END_AUTH_TIMEOUT;
			return FMLTP_TIMEOUT;
		}
		error = secure_receive(&w->secure, w->in, w->in_len, &taken,
		    WORKER_PLAIN(w), &len);
		if (error != FMLTP_OK && error != FMLTP_MORE)
			return error;
		wire_drop(w, taken);
		if (error == FMLTP_MORE) {
			error = wire_fill(w, session_deadline(w, &since));
			if (error == FMLTP_TIMEOUT && session_lockdown_over(w))
				*end = SESSION_END_AUTH_TIMEOUT;
			else if (error == FMLTP_TIMEOUT && since.token == 0)
				*end = SESSION_END_IDLE;
			if (error != FMLTP_OK)
				return error;
			continue;
		}
		buf_init(&answer, w->answer, sizeof(w->answer));
		session_answer(w, WORKER_PLAIN(w), len, &answer);
		explicit_bzero(WORKER_PLAIN(w), len);
		if (answer.failed)
			return FMLTP_INTERNAL;
		error = wire_send_sealed(w, answer.data, answer.len);
		if (error != FMLTP_OK)
			return error;
		if (w->over) {
			*end = w->end;
			return FMLTP_OK;
		}
		since.command = wire_now();
		since.token = 0;
		session_tell_active(w, since.command);
	}
}
