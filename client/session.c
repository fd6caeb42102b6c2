/*
 * client/session.c - the session: commands out, answers in.
 *
 * Runs in: client, as its user.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/escape.h"
#include "client/session.h"
#include "fmltp/proto.h"
#include "fmltp/status.h"

#define SESSION_AUTH_DELAYS 3 /* of FMLTP_AUTH_DELAY_MS: the longest usual */

static const char auth[] = "AUTH ";
static const char ident[] = "IDENT";
static const char quit[] = "QUIT";
static const char prompt_text[] = "flexmusic> ";

bool
session_line_valid(const char *line, size_t len, const char **why)
{
	if (len == 0)
		*why = "a command is not empty";
	else if (len > COMMAND_LINE_MAX)
		*why = "a command is not longer than 4096 bytes";
	else if (status_begins((const uint8_t *)line, len))
		*why = "a command does not begin with three digits and a blank";
	else
		return true;
	return false;
}

/* What the user is told when the session breaks. */
static enum client_exit
session_fail(struct failure *f, enum fmltp_error e)
{
	switch (e) {
	case FMLTP_CLOSED:
	case FMLTP_RESET:
		return failure_set(f, CLIENT_LOST,
		    "the server's log has the reason",
		    "the server closed the connection");
	case FMLTP_TIMEOUT:
		return failure_set(f, CLIENT_LOST,
		    "give the server more time with -t",
		    "an answer did not come whole within the time limit");
	case FMLTP_SEND_TIMEOUT:
		return failure_set(f, CLIENT_LOST,
		    "give the server more time with -t",
		    "the server did not take a command within the time limit");
	case FMLTP_INTERNAL:
		return failure_set(
		    f, CLIENT_LOCAL, NULL, "no random numbers for a token");
	default:
		return failure_set(f, CLIENT_LOST,
		    "something between you and the server may have changed "
		    "the packet, or the server is broken: tell its "
		    "administrator",
		    "a packet of the server breaks the protocol: %s",
		    fmltp_error_text(e));
	}
}

static enum client_exit
session_unasked(struct failure *f)
{
	return failure_set(f, CLIENT_LOST,
	    "the server is broken: tell its administrator",
	    "the server sent a packet that nobody asked for");
}

/* Prints an answer, each line with LF, and its last one too. */
static enum client_exit
session_print(struct session *s, struct failure *f)
{
	const uint8_t *p = s->channel->plain, *end;
	size_t left = s->channel->plain_len, n, shown;

	while (left > 0) {
		end = memchr(p, '\n', left);
		n = end == NULL ? left : (size_t)(end - p) + 1;
		shown = end == NULL ? n : n - 1;
		if (shown > 0 && p[shown - 1] == '\r')
			shown--;
		escape_print(s->out, p, shown, s->utf8);
		fputc('\n', s->out);
		p += n;
		left -= n;
	}
	if (fflush(s->out) == EOF)
		return failure_set(f, CLIENT_LOCAL, NULL,
		    "cannot write an answer: %s", strerror(errno));
	return CLIENT_OK;
}

/*
 * Sends a command and waits for its answer, which is in the channel's plain
 * then; `patience` is added to the usual time limit.
 */
static enum client_exit
session_ask(struct session *s, const char *line, size_t len, int patience,
    struct failure *f)
{
	struct channel *ch = s->channel;
	enum fmltp_error e;

	/* An answer that is there before its question is none. */
	e = channel_feed(ch);
	if (e == FMLTP_OK)
		return session_unasked(f);
	if (e == FMLTP_MORE)
		e = channel_send(ch, line, len);
	if (e != FMLTP_OK)
		return session_fail(f, e);
	if (s->explain != NULL)
		explain_session(s->explain, true, ch->sent_when,
		    (const uint8_t *)line, len, ch->packet_len);
	e = channel_receive(ch, connection_deadline(ch->connection) + patience);
	if (e != FMLTP_OK)
		return session_fail(f, e);
	if (s->explain != NULL)
		explain_session(s->explain, false, ch->when, ch->plain,
		    ch->plain_len, ch->packet_len);
	return CLIENT_OK;
}

/* An AUTH that is refused is answered late. */
static int
session_patience(const char *line, size_t len)
{
	return len >= strlen(auth) && memcmp(line, auth, strlen(auth)) == 0
	    ? FMLTP_AUTH_DELAY_MS * SESSION_AUTH_DELAYS
	    : 0;
}

/*
 * One command of the user's.  CLIENT_COMMAND where the server refused it:
 * the session goes on.  `*over` where it was a QUIT that was obeyed.
 */
static enum client_exit
session_command(struct session *s, const char *line, size_t len, bool *over,
    struct failure *f)
{
	enum client_exit result;
	int code;

	result = session_ask(s, line, len, session_patience(line, len), f);
	if (result == CLIENT_OK)
		result = session_print(s, f);
	if (result != CLIENT_OK)
		return result;
	code = status_code(s->channel->plain, s->channel->plain_len);
	if (code >= 300)
		return failure_set(f, CLIENT_COMMAND, NULL,
		    "the command failed with the status %03d", code);
	*over = len == strlen(quit) && memcmp(line, quit, len) == 0;
	return CLIENT_OK;
}

/* The client's own QUIT; its answer is not shown. */
static enum client_exit
session_quit(struct session *s, struct failure *f)
{
	enum client_exit result;

	result = session_ask(s, quit, strlen(quit), 0, f);
	if (result == CLIENT_OK &&
	    status_code(s->channel->plain, s->channel->plain_len) != STATUS_OK)
		result = failure_set(f, CLIENT_LOST,
		    "the server is broken: tell its administrator",
		    "the server did not say goodbye");
	return result;
}

enum client_exit
session_ask_identity(struct session *s, int *code, struct failure *f)
{
	enum client_exit result = session_ask(s, ident, strlen(ident), 0, f);

	if (result == CLIENT_OK)
		*code = status_code(s->channel->plain, s->channel->plain_len);
	return result;
}

enum client_exit
session_authenticate(struct session *s, struct auth *a, struct failure *f)
{
	char line[sizeof(auth) + AUTH_USER_MAX + AUTH_PASSWORD_MAX + 1];
	struct failure ignored;
	enum client_exit result;
	struct buf b;
	int code;

	buf_init(&b, line, sizeof(line));
	buf_put_str(&b, auth);
	buf_put_str(&b, a->user);
	buf_put_str(&b, " ");
	buf_put(&b, a->password, a->len);
	auth_wipe(a);
	result = b.failed
	    ? failure_set(f, CLIENT_LOCAL, NULL, "the password is too long")
	    : session_ask(s, line, b.len, session_patience(line, b.len), f);
	explicit_bzero(line, sizeof(line));
	if (result != CLIENT_OK)
		return result;
	code = status_code(s->channel->plain, s->channel->plain_len);
	if (code == STATUS_AUTH_OK)
		return CLIENT_OK;
	(void)session_quit(s, &ignored);
	if (code == STATUS_AUTH_FAILED)
		return failure_set(f, CLIENT_REFUSED,
		    "check the user's name and the password",
		    "the server refused user and password");
	return failure_set(f, CLIENT_REFUSED,
	    "the server is broken: tell its administrator",
	    "the server answered AUTH with the status %03d", code);
}

enum client_exit
session_run_command(
    struct session *s, const char *line, size_t len, struct failure *f)
{
	enum client_exit result, end = CLIENT_OK;
	struct failure quit_failure;
	bool over = false;

	result = session_command(s, line, len, &over, f);
	if (over || (result != CLIENT_OK && result != CLIENT_COMMAND))
		return result;
	end = session_quit(s, &quit_failure);
	if (result == CLIENT_OK && end != CLIENT_OK) {
		*f = quit_failure;
		result = end;
	}
	return result;
}

/* Lines that are read from the user. */
struct session_lines {
	int fd;
	bool prompt;
	bool eof;
	bool too_long; /* the line under way is skipped to its end */
	size_t len;
	char text[COMMAND_LINE_MAX + 2]; /* a line and CR LF */
};

/*
 * Takes the first line out of `l`, without its end, into `line`.  False when
 * there is no whole one yet.  A last line without an end counts.
 */
static bool
session_lines_take(
    struct session_lines *l, char line[COMMAND_LINE_MAX + 2], size_t *len)
{
	char *end = memchr(l->text, '\n', l->len);
	size_t n;

	if (end == NULL && !(l->eof && (l->len > 0 || l->too_long)))
		return false;
	*len = end == NULL ? l->len : (size_t)(end - l->text);
	n = end == NULL ? l->len : *len + 1;
	memcpy(line, l->text, *len);
	l->len -= n;
	memmove(l->text, l->text + n, l->len);
	explicit_bzero(l->text + l->len, n);
	if (*len > 0 && line[*len - 1] == '\r')
		(*len)--;
	return true;
}

/* Reads more of the user's lines; false on an error, with errno. */
static bool
session_lines_read(struct session_lines *l)
{
	ssize_t n;

	if (l->len == sizeof(l->text)) {
		l->too_long = true;
		explicit_bzero(l->text, sizeof(l->text));
		l->len = 0;
	}
	do {
		n = read(l->fd, l->text + l->len, sizeof(l->text) - l->len);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN;
	if (n == 0)
		l->eof = true;
	l->len += (size_t)n;
	return true;
}

/*
 * Waits until the user has typed something.  The connection is watched
 * meanwhile: a close is told at once, and nothing but the end of a token may
 * come.
 */
static enum client_exit
session_wait(struct session *s, struct session_lines *l, struct failure *f)
{
	struct channel *ch = s->channel;
	struct pollfd p[2] = {
		{ .fd = l->fd, .events = POLLIN },
		{ .fd = ch->connection->fd, .events = POLLIN },
	};
	enum fmltp_error e;
	int64_t left;
	int n;

	for (;;) {
		e = channel_feed(ch);
		if (e == FMLTP_OK)
			return session_unasked(f);
		if (e != FMLTP_MORE)
			return session_fail(f, e);
		left = -1;
		if (ch->token_deadline != 0) {
			left = ch->token_deadline - connection_now();
			if (left <= 0)
				return session_fail(f, FMLTP_TIMEOUT);
		}
		n = poll(p, 2, left > INT_MAX ? INT_MAX : (int)left);
		if (n == -1 && errno != EINTR)
			return failure_set(f, CLIENT_LOCAL, NULL,
			    "cannot wait for input: %s", strerror(errno));
		if (n <= 0)
			continue;
		if (p[1].revents != 0) {
			e = connection_read(ch->connection,
			    connection_deadline(ch->connection));
			if (e != FMLTP_OK)
				return session_fail(f, e);
		}
		if (p[0].revents != 0)
			return CLIENT_OK;
	}
}

/* Reads the next line of the user's; `*got` is false at the end of input. */
static enum client_exit
session_next_line(struct session *s, struct session_lines *l,
    char line[COMMAND_LINE_MAX + 2], size_t *len, bool *got, struct failure *f)
{
	enum client_exit result;

	if (l->prompt) {
		fputs(prompt_text, s->out);
		fflush(s->out);
	}
	while (!(*got = session_lines_take(l, line, len)) && !l->eof) {
		result = session_wait(s, l, f);
		if (result != CLIENT_OK) {
			if (l->prompt)
				fputc('\n', s->out);
			return result;
		}
		if (!session_lines_read(l))
			return failure_set(f, CLIENT_LOCAL, NULL,
			    "cannot read a command: %s", strerror(errno));
	}
	if (!*got && l->prompt)
		fputc('\n', s->out);
	return CLIENT_OK;
}

enum client_exit
session_run_lines(struct session *s, int in, bool prompt, struct failure *f)
{
	struct session_lines l = { .fd = in, .prompt = prompt };
	char line[COMMAND_LINE_MAX + 2];
	enum client_exit result, failed = CLIENT_OK;
	const char *why;
	bool got, over = false;
	size_t len;

	for (;;) {
		result = session_next_line(s, &l, line, &len, &got, f);
		if (result != CLIENT_OK || !got)
			break;
		if (l.too_long)
			len = COMMAND_LINE_MAX + 1;
		l.too_long = false;
		if (len == 0)
			continue;
		if (session_line_valid(line, len, &why))
			result = session_command(s, line, len, &over, f);
		else {
			fprintf(stderr, "flexmusic: not sent: %s\n", why);
			result = failure_set(f, CLIENT_COMMAND, NULL,
			    "a command was not sent: %s", why);
		}
		/* It may have been an AUTH, and the next one may be shorter. */
		explicit_bzero(line, sizeof(line));
		if (result == CLIENT_COMMAND) {
			if (!prompt)
				failed = result;
			result = CLIENT_OK;
		}
		if (result != CLIENT_OK || over)
			break;
	}
	explicit_bzero(line, sizeof(line));
	explicit_bzero(&l, sizeof(l));
	if (result == CLIENT_OK && !over)
		result = session_quit(s, f);
	return result != CLIENT_OK ? result : failed;
}
