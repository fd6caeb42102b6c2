/*
 * tests/fuzz/fuzz_session.c - a session: a client's packets, and what auth
 * says of those that are an AUTH.
 *
 * Runs in: the fuzzers alone.  The first byte says whether the session is in
 * lockdown, and whether there is an identity and what keys will answer; the
 * next ones what auth will answer; what follows are packets.
 * They are answered one by one, and then again in tokens that arrive in
 * segments: both ways have the same answers and the same end.  An answer is
 * text of a bounded length; nobody is let in without auth's word; no password
 * stays behind; and keys is asked for one signature at most, while it is time.
 *
 * Covers: worker/session.c: session_answer session_find session_has
 * Covers: worker/session.c: session_put_word session_help session_auth
 * Covers: worker/session.c: session_quit session_finish session_serve
 * Covers: worker/session.c: session_lockdown_over session_deadline
 * Covers: worker/session.c: session_ident
 * Covers: worker/keys_client.c: keys_end keys_may_sign keys_sign
 * Covers: worker/auth_client.c: auth_ask auth_fill auth_end
 * Covers: worker/wire.c: wire_fill wire_drop wire_send_sealed wire_wait_reply
 * Covers: fmltp/secure.c: secure_receive secure_send secure_wipe secure_init
 */
#include <sys/socket.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "fmltp/text.h"
#include "privsep/channel.h"
#include "tests/fuzz/input.h"
#include "tests/vectors.h"
#include "worker/worker.h"

#define OTHERS	    4 /* ends of a worker's sockets */
#define PACKETS_MAX 16
#define REPLIES_MAX 8
#define REPLY_ODD   240u /* from here on: no reply, but so many bytes */
#define FAR_OFF	    600000 /* ms: no test takes so long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the first byte says. */
enum fuzz_start {
	START_LOCKDOWN = 1,
	START_LATE = 2, /* the phase is over already */
	START_RESET = 4, /* the client is gone, and auth says no more */
	START_CORRUPT = 8, /* the last token has a wrong MAC */
	START_IDENTITY = 16, /* the server has one */
	START_KEYS = 32, /* keys is there, after its exchange */
	START_KEYS_REPLY = 64 /* from here on: what it answers */
};

/* What keys has answered before it is asked, or not. */
enum fuzz_keys {
	KEYS_SIGNS,
	KEYS_SIGNS_NOT,
	KEYS_GONE,
	KEYS_ODD /* it sends what is no reply */
};

struct packet {
	const uint8_t *bytes;
	size_t len;
};

/* A session that is tried, and what it was answered. */
struct trial {
	uint8_t start;
	struct packet packet[PACKETS_MAX];
	size_t packets;
	uint8_t reply[REPLIES_MAX];
	size_t replies;
	uint64_t segments;

	size_t answers;
	uint8_t answer[PACKETS_MAX][WORKER_PLAIN_MAX];
	size_t answer_len[PACKETS_MAX];
	bool lockdown; /* at the end */
	bool over;
	enum session_end end;
};

static struct worker worker;
static uint8_t raw[WORKER_RAW_MAX];
static const uint8_t key[FERNET_KEY_LEN] = { 1, 2, 3 };

/* auth's answers, all at once: they wait in the channel. */
static void
queue_replies(const struct trial *t, int fd)
{
	static const uint8_t none[256 - REPLY_ODD];
	struct message_auth_reply r;
	size_t i;

	for (i = 0; i < t->replies; i++) {
		memset(&r, 0, sizeof(r));
		r.outcome = t->reply[i] % (AUTH_OUTCOMES + 2);
		if (t->reply[i] >= REPLY_ODD)
			fuzz_check(
			    write(fd, none, t->reply[i] - REPLY_ODD) >= 0);
		else
			fuzz_check(channel_send(fd, MESSAGE_AUTH_REPLY, &r));
	}
	if ((t->start & START_RESET) != 0)
		return;
	/* Where it is asked once more it is busy: that is the end. */
	memset(&r, 0, sizeof(r));
	r.outcome = AUTH_BUSY;
	fuzz_check(channel_send(fd, MESSAGE_AUTH_REPLY, &r));
}

/* keys' answer, which waits in the channel; its end, or -1. */
static int
queue_signature(const struct trial *t, int fd)
{
	struct message_ident_reply r;
	uint8_t what = t->start / START_KEYS_REPLY;

	memset(&r, 0, sizeof(r));
	r.made = what == KEYS_SIGNS;
	memset(r.public, 'k', sizeof(r.public));
	memset(r.signature, 's', sizeof(r.signature));
	if (what == KEYS_ODD)
		fuzz_check(write(fd, &r, sizeof(r) - 1) > 0);
	else if (what != KEYS_GONE)
		fuzz_check(channel_send(fd, MESSAGE_IDENT_REPLY, &r));
	else {
		close(fd);
		return -1;
	}
	return fd;
}

/* A worker before its session; the other ends of its sockets. */
static void
begin(const struct trial *t, struct worker *w, int other[OTHERS])
{
	static struct message_spawn spawn;
	int fd[2];

	memset(w, 0, sizeof(*w));
	w->spawn = &spawn;
	w->raw = raw;
	w->keys = w->auth = other[3] = -1;
	/* Where there is no identity, a worker has closed its channel. */
	spawn.identity = (t->start & START_IDENTITY) != 0;
	if (spawn.identity && (t->start & START_KEYS) != 0) {
		fuzz_check(channel_pair(fd, false, 0));
		w->keys = fd[0];
		other[3] = queue_signature(t, fd[1]);
	}
	fuzz_check(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
	w->client = fd[0];
	other[0] = fd[1];
	if ((t->start & START_RESET) != 0) {
		close(other[0]);
		other[0] = -1;
	}
	fuzz_check(channel_pair(fd, false, 0));
	w->master = fd[0];
	other[1] = fd[1];
	other[2] = -1;
	if ((t->start & START_LOCKDOWN) == 0)
		return;
	fuzz_check(channel_pair(fd, false, 0));
	w->auth = fd[0];
	other[2] = fd[1];
	w->lockdown = true;
	w->auth_until = (t->start & START_LATE) != 0 ? 0 : wire_now() + FAR_OFF;
	queue_replies(t, other[2]);
}

static void
finish(struct trial *t, struct worker *w, const int other[OTHERS])
{
	size_t i;

	t->lockdown = w->lockdown;
	t->over = w->over;
	secure_wipe(&w->secure);
	close(w->client);
	close(w->master);
	if (w->auth != -1)
		close(w->auth);
	keys_end(w);
	for (i = 0; i < OTHERS; i++)
		if (other[i] != -1)
			close(other[i]);
}

/* A status, and lines of printable text that each have their end. */
static void
check_answer(const uint8_t *s, size_t len)
{
	const uint8_t *end;

	fuzz_check(len <= COMMAND_ANSWER_MAX && status_begins(s, len));
	for (; len > 0; len -= (size_t)(end + 1 - s), s = end + 1) {
		end = memchr(s, '\n', len);
		fuzz_check(end != NULL && end > s && end[-1] == '\r' &&
		    text_is_printable(s, (size_t)(end - s) - 1));
	}
}

/* What was asked: auth gets name and password as they are, or neither. */
static void
check_asked(const struct packet *p, int fd)
{
	enum channel_result result;
	struct message_auth m;

	result = channel_read(fd, MESSAGE_AUTH, &m);
	/* Replies that the worker left unread, first. */
	if (result == CHANNEL_CLOSED)
		result = channel_read(fd, MESSAGE_AUTH, &m);
	if (result != CHANNEL_OK)
		return;
	fuzz_check((m.user_len == 0) == (m.password_len == 0));
	fuzz_check(
	    m.user_len <= AUTH_USER_MAX && m.password_len <= AUTH_PASSWORD_MAX);
	if (m.user_len == 0)
		return;
	fuzz_check(p->len >= 6u + m.user_len + m.password_len &&
	    memcmp(p->bytes, "AUTH ", 5) == 0 &&
	    memcmp(p->bytes + 5, m.user, m.user_len) == 0 &&
	    p->bytes[5 + m.user_len] == ' ' &&
	    memcmp(p->bytes + 6 + m.user_len, m.password, m.password_len) == 0);
	if (m.password_len >= 8)
		fuzz_check(memmem(&worker.message, sizeof(worker.message),
			       m.password, m.password_len) == NULL);
}

/* A signature is keys' own, and asked for while `may`; afterwards, and after
 * anything that ends the time for it, keys' channel is closed. */
static void
check_signed(const struct trial *t, const struct worker *w, bool may, int fd,
    const uint8_t *answer, size_t len)
{
	uint8_t public[IDENTITY_PUBLIC_LEN];
	uint8_t signature[IDENTITY_SIGNATURE_LEN];
	struct message_ident m;
	bool asked;

	asked = fd != -1 && channel_read(fd, MESSAGE_IDENT, &m) == CHANNEL_OK;
	fuzz_check(may || !asked);
	if (identity_parse_answer(answer, len, public, signature))
		fuzz_check(asked && t->start / START_KEYS_REPLY == KEYS_SIGNS &&
		    public[0] == 'k' && signature[0] == 's');
	else
		fuzz_check(memmem(answer, len, "ed25519", 7) == NULL);
	if (asked || !w->lockdown)
		fuzz_check(w->keys == -1);
}

/* Of a copy, which it may wipe, and never lengthen. */
static void
answer_one(struct worker *w, const struct packet *p, struct buf *b)
{
	uint8_t *copy = malloc(p->len);

	fuzz_check(copy != NULL || p->len == 0);
	if (p->len > 0)
		memcpy(copy, p->bytes, p->len);
	session_answer(w, copy, p->len, b);
	free(copy);
}

/* One by one. */
static void
answer_each(struct trial *t)
{
	struct worker *w = &worker;
	int other[OTHERS];
	bool lockdown, may;
	struct buf b;
	size_t i;

	begin(t, w, other);
	for (i = 0; i < t->packets && !w->over; i++) {
		lockdown = w->lockdown;
		may = keys_may_sign(w);
		buf_init(&b, t->answer[i], sizeof(t->answer[i]));
		answer_one(w, &t->packet[i], &b);
		fuzz_check(!b.failed);
		check_answer(b.data, b.len);
		t->answer_len[i] = b.len;
		t->answers++;
		fuzz_check(w->commands == t->answers);
		if (other[2] != -1)
			check_asked(&t->packet[i], other[2]);
		check_signed(t, w, may, other[3], b.data, b.len);
		/* Out of lockdown by auth's word alone, and never into it. */
		if (w->lockdown != lockdown)
			fuzz_check(lockdown &&
			    status_code(b.data, b.len) == STATUS_AUTH_OK &&
			    w->auth == -1);
		else
			fuzz_check(
			    status_code(b.data, b.len) != STATUS_AUTH_OK);
	}
	t->end = w->end;
	finish(t, w, other);
}

/* The client's side of the stream, and where the bytes go. */
static size_t
seal_all(const struct trial *t, uint8_t *out, size_t room)
{
	static struct secure s;
	static uint8_t client_raw[WORKER_RAW_MAX];
	uint8_t iv[FERNET_IV_LEN] = { 0 };
	struct buf b;
	size_t i;

	memset(&s, 0, sizeof(s));
	secure_init(
	    &s, SECURE_CLIENT, key, client_raw, STREAM_CLIENT_TOKEN_MAX);
	buf_init(&b, out, room);
	for (i = 0; i < t->packets; i++) {
		iv[0] = (uint8_t)i;
		secure_send(
		    &s, 1000 + i, iv, t->packet[i].bytes, t->packet[i].len, &b);
	}
	fuzz_check(!b.failed);
	if (b.len > 40 && (t->start & START_CORRUPT) != 0)
		out[b.len - 10] = out[b.len - 10] == 'A' ? 'B' : 'A';
	secure_wipe(&s);
	return b.len;
}

/* What the client reads are the same answers. */
static void
check_same(const struct trial *once, const struct trial *t, int fd, size_t sent)
{
	static struct secure s;
	static uint8_t mem[1 << 16], client_raw[1 << 16], plain[1 << 16];
	size_t len, at = 0, taken, plain_len, i = 0;
	ssize_t n;

	n = read(fd, mem, sizeof(mem));
	len = n > 0 ? (size_t)n : 0;
	fuzz_check(len == sent);
	memset(&s, 0, sizeof(s));
	secure_init(
	    &s, SECURE_CLIENT, key, client_raw, sizeof(client_raw) / 3 * 3);
	while (secure_receive(&s, mem + at, len - at, &taken, plain,
		   &plain_len) == FMLTP_OK) {
		fuzz_check(i < once->answers &&
		    plain_len == once->answer_len[i] &&
		    memcmp(plain, once->answer[i], plain_len) == 0);
		i++;
		at += taken;
	}
	fuzz_check(i == t->answers);
	secure_wipe(&s);
}

/* All of them in tokens, and served as they are. */
static void
serve_all(struct trial *t, const struct trial *once)
{
	static uint8_t bytes[PACKETS_MAX * 8192];
	struct worker *w = &worker;
	size_t len = seal_all(t, bytes, sizeof(bytes)), at, n;
	enum fmltp_error error;
	int other[OTHERS];

	begin(t, w, other);
	secure_init(
	    &w->secure, SECURE_SERVER, key, w->raw, STREAM_CLIENT_TOKEN_MAX);
	/* What came with packet 6 lies in `in` already. */
	at = len == 0 ? 0 : t->segments % len;
	at = at > sizeof(w->in) ? sizeof(w->in) : at;
	memcpy(w->in, bytes, at);
	w->in_len = at;
	for (; at < len; at += n) {
		n = len - at;
		n = n > 4096 ? 4096 : n;
		fuzz_check(write(other[0], bytes + at, n) == (ssize_t)n);
	}
	fuzz_check(shutdown(other[0], SHUT_WR) == 0);
	error = session_serve(w, &t->end);
	t->answers = w->commands;
	if (error == FMLTP_OK)
		fuzz_check(w->over && t->end == once->end);
	else if ((t->start & START_CORRUPT) != 0)
		fuzz_check(t->answers <= once->answers);
	else if ((t->start & START_LOCKDOWN) != 0 &&
	    (t->start & START_LATE) != 0)
		fuzz_check(error == FMLTP_TIMEOUT && t->answers == 0 &&
		    t->end == SESSION_END_AUTH_TIMEOUT);
	else
		fuzz_check(error == FMLTP_CLOSED || error == FMLTP_REFLECTED);
	check_same(once, t, other[0], w->bytes_out);
	finish(t, w, other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct trial once, again;
	struct fuzz_input in = { data, size };
	struct packet *p;

	signal(SIGPIPE, SIG_IGN);
	memset(&once, 0, sizeof(once));
	once.start = fuzz_u8(&in);
	once.segments = fuzz_u16(&in);
	once.replies = fuzz_u8(&in) % REPLIES_MAX;
	for (size = 0; size < once.replies; size++)
		once.reply[size] = fuzz_u8(&in);
	while (in.left > 0 && once.packets < PACKETS_MAX) {
		p = &once.packet[once.packets++];
		p->bytes = fuzz_bytes(&in, COMMAND_LINE_MAX, &p->len);
	}
	again = once;
	answer_each(&once);
	if ((once.start & START_RESET) == 0)
		serve_all(&again, &once);
	return 0;
}
