/*
 * tests/unit/test_session.c - a session's commands and their answers
 * (docs/FMLTP.md section 5).
 *
 * Runs in: the test alone.
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <unistd.h>

#include "fmltp/proto.h"
#include "fmltp/text.h"
#include "privsep/channel.h"
#include "tests/unit/unit.h"
#include "worker/worker.h"

#define INVALID "400 Invalid command or operative.\r\n"
#define TOO_FEW "411 Too few arguments passed.\r\n"
#define GRANTED "150 Authentication successful.\r\n"
#define REFUSED "151 Authentication failed.\r\n"

/* A worker as the zygote has it: all zero, and aligned as it asks for. */
static struct worker *
fresh_worker(void)
{
	static struct message_spawn spawn;
	static struct worker w;

	memset(&w, 0, sizeof(w));
	memset(&spawn, 0, sizeof(spawn));
	w.spawn = &spawn;
	w.client = w.master = w.keys = w.auth = -1;
	return &w;
}

/* The answer to a packet, NUL-terminated. */
static const char *
answer(struct worker *w, const void *packet, size_t len)
{
	static char text[WORKER_PLAIN_MAX + 1];
	static uint8_t plain[WORKER_RAW_MAX];
	struct buf b;

	assert_true(len <= sizeof(plain));
	memcpy(plain, packet, len);
	buf_init(&b, text, WORKER_PLAIN_MAX);
	session_answer(w, plain, len, &b);
	assert_false(b.failed);
	assert_true(b.len <= COMMAND_ANSWER_MAX);
	text[b.len] = '\0';
	return text;
}

static void
test_answers(void **state)
{
	static const struct {
		const char *packet;
		const char *answer;
	} rows[] = {
		{ "HELP",
		    "200 Available commands:\r\n"
		    "HELP - lists the commands, or explains one\r\n"
		    "QUIT - ends the session\r\n"
		    "Run HELP <command> for more information.\r\n" },
		{ "HELP\r\n",
		    "200 Available commands:\r\n"
		    "HELP - lists the commands, or explains one\r\n"
		    "QUIT - ends the session\r\n"
		    "Run HELP <command> for more information.\r\n" },
		{ "HELP QUIT",
		    "200 Help for QUIT:\r\nUsage: QUIT\r\n"
		    "ends the session\r\n" },
		{ "HELP HELP\n",
		    "200 Help for HELP:\r\nUsage: HELP [<command>]\r\n"
		    "lists the commands, or explains one\r\n" },
		{ "HELP quit", "420 Command quit not found.\r\n" },
		{ "HELP \xc3\xa9", "420 Command \xc3\xa9 not found.\r\n" },
		{ "HELP HELP HELP", "410 Too many arguments passed.\r\n" },
		{ "QUIT now", "410 Too many arguments passed.\r\n" },
		{ "", INVALID },
		{ "\r\n", INVALID },
		{ " ", INVALID },
		{ "help", INVALID },
		{ "Help", INVALID },
		{ "HELPX", INVALID },
		{ "HEL", INVALID },
		{ " HELP", INVALID },
		{ "HELP ", INVALID },
		{ "HELP  QUIT", INVALID },
		{ "HELP QUIT ", INVALID },
		{ "HELP\tQUIT", INVALID },
		{ "HELP\r\nQUIT", INVALID },
		{ "HELP\x1b[2J", INVALID },
		{ "HELP \xff", INVALID },
		{ "HELP \xc0\x80", INVALID },
		{ "HELP \xe2\x80\xae", INVALID },
		{ "AUTH user password", INVALID },
		{ "IDENT", INVALID },
		{ "GET 1", INVALID },
	};
	struct worker *w = fresh_worker();
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_string_equal(
		    answer(w, rows[i].packet, strlen(rows[i].packet)),
		    rows[i].answer);
		assert_int_equal(w->commands, i + 1);
		assert_false(w->over);
	}
	assert_string_equal(answer(w, "QUIT", 4), "200 Goodbye.\r\n");
	assert_true(w->over);
	assert_int_equal(w->end, SESSION_END_QUIT);
}

/* A NUL inside, and what is too long. */
static void
test_odd_packets(void **state)
{
	struct worker *w = fresh_worker();
	static char packet[COMMAND_LINE_MAX + 8];
	const char *text;

	assert_string_equal(answer(w, "HELP\0QUIT", 9), INVALID);
	assert_string_equal(answer(w, "\0", 1), INVALID);
	memset(packet, 'A', sizeof(packet));
	memcpy(packet, "HELP ", 5);
	assert_string_equal(answer(w, packet, COMMAND_LINE_MAX + 1), INVALID);
	/* A long word comes back cut, and the answer stays small. */
	text = answer(w, packet, COMMAND_LINE_MAX);
	assert_int_equal(strncmp(text, "420 Command AAAA", 16), 0);
	assert_non_null(strstr(text, "AAA... not found.\r\n"));
}

/* A word is cut between characters, wherever they begin. */
static void
test_cut_is_text(void **state)
{
	struct worker *w = fresh_worker();
	char packet[256];
	const char *text;
	size_t shift, len;

	for (shift = 0; shift < 4; shift++) {
		memcpy(packet, "HELP ", 5);
		memset(packet + 5, 'x', shift);
		for (len = 5 + shift; len + 4 < 200; len += 4)
			memcpy(packet + len, "\xf0\x9f\x8e\xb5", 4);
		text = answer(w, packet, len);
		assert_true(
		    text_is_printable((const uint8_t *)text, strlen(text) - 2));
		assert_non_null(strstr(text, "... not found."));
	}
}

/* A worker in lockdown; `*peer` is auth's end of its channel. */
/* IDENT is there where the server has an identity, and without keys' channel
 * its time is over. */
static void
test_ident(void **state)
{
	struct worker *w = fresh_worker();

	((struct message_spawn *)(uintptr_t)w->spawn)->identity = true;
	assert_non_null(strstr(answer(w, "HELP", 4), "\r\nIDENT - "));
	assert_string_equal(answer(w, "IDENT", 5),
	    "420 IDENT comes once, before AUTH and other commands.\r\n");
	assert_string_equal(
	    answer(w, "IDENT x", 7), "410 Too many arguments passed.\r\n");
}

static struct worker *
locked_worker(int *peer)
{
	struct worker *w = fresh_worker();
	int fd[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	w->lockdown = true;
	w->auth = fd[1];
	w->auth_until = wire_now() + 60000;
	*peer = fd[0];
	return w;
}

static void
unlock_worker(struct worker *w, int peer)
{
	if (w->auth != -1)
		close(w->auth);
	close(peer);
}

/* The answer to a packet to which auth has this reply. */
static const char *
answer_after(struct worker *w, int peer, unsigned outcome, const void *packet,
    size_t len)
{
	struct message_auth_reply reply = { .outcome = outcome };

	assert_true(channel_send(peer, MESSAGE_AUTH_REPLY, &reply));
	return answer(w, packet, len);
}

/* What auth was asked: it must have been. */
static struct message_auth
asked(int peer)
{
	struct message_auth m;

	assert_int_equal(channel_read(peer, MESSAGE_AUTH, &m), CHANNEL_OK);
	return m;
}

/* What is answered in lockdown without a word to auth. */
static void
test_lockdown_answers(void **state)
{
	static const struct {
		const char *packet;
		size_t len;
		const char *answer;
	} rows[] = {
#define ROW(packet, answer)         \
	{                           \
		(packet),           \
		sizeof(packet) - 1, \
		(answer),           \
	}
		ROW("HELP",
		    "200 Available commands:\r\n"
		    "AUTH - authenticates you; the password may hold "
		    "blanks\r\n"
		    "HELP - lists the commands, or explains one\r\n"
		    "QUIT - ends the session\r\n"
		    "Run HELP <command> for more information.\r\n"),
		ROW("HELP AUTH",
		    "200 Help for AUTH:\r\nUsage: AUTH <user> <password>\r\n"
		    "authenticates you; the password may hold blanks\r\n"),
		ROW("HELP SEARCH", "420 Command SEARCH not found.\r\n"),
		ROW("HELP A B", "410 Too many arguments passed.\r\n"),
		ROW("AUTH", TOO_FEW),
		ROW("AUTH\r\n", TOO_FEW),
		ROW("AUTH user", TOO_FEW),
		ROW("AUTH user\r\n", TOO_FEW),
		ROW("AUTH user ", TOO_FEW),
		ROW("AUTH user \r\n", TOO_FEW),
		ROW("AUTH ", INVALID),
		ROW("AUTH  password", INVALID),
		ROW("AUTH user pass\0word", INVALID),
		ROW("AUTH user pass\nword", INVALID),
		ROW("AUTH user pass\r\nword", INVALID),
		ROW("AUTH us\ter password", INVALID),
		ROW("AUTH user pass\xff", INVALID),
		ROW("auth user password", INVALID),
		ROW("AUTHX user password", INVALID),
		ROW("IDENT", INVALID),
		ROW("SELECT backend", INVALID),
		ROW("DESELECT", INVALID),
		ROW("SEARCH query", INVALID),
		ROW("GET 1", INVALID),
		ROW("FETCH 1", INVALID),
#undef ROW
	};
	int peer;
	struct worker *w = locked_worker(&peer);
	struct message_auth m;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		assert_string_equal(
		    answer(w, rows[i].packet, rows[i].len), rows[i].answer);
		assert_int_equal(
		    channel_read(peer, MESSAGE_AUTH, &m), CHANNEL_EMPTY);
		assert_true(w->lockdown);
		assert_false(w->over);
	}
	assert_string_equal(answer(w, "QUIT", 4), "200 Goodbye.\r\n");
	assert_int_equal(w->end, SESSION_END_QUIT);
	unlock_worker(w, peer);
}

/* True if the bytes are anywhere in what the worker writes. */
static bool
worker_holds(const struct worker *w, const char *text)
{
	return memmem(w, sizeof(*w), text, strlen(text)) != NULL;
}

/* What auth is told: the password is the rest of the line. */
static void
test_auth_message(void **state)
{
	static const struct {
		const char *packet;
		const char *user;
		const char *password;
	} rows[] = {
		{ "AUTH user secret", "user", "secret" },
		{ "AUTH user secret\r\n", "user", "secret" },
		{ "AUTH user secret\n", "user", "secret" },
		{ "AUTH u with blanks inside", "u", "with blanks inside" },
		{ "AUTH u  two  and at the ends  ", "u",
		    " two  and at the ends  " },
		{ "AUTH u  ", "u", " " },
		{ "AUTH u \xc3\xa9t\xc3\xa9", "u", "\xc3\xa9t\xc3\xa9" },
		{ "AUTH \xc3\xa9 x", "\xc3\xa9", "x" },
		{ "AUTH AUTH AUTH", "AUTH", "AUTH" },
	};
	struct worker *w;
	struct message_auth m;
	size_t i;
	int peer;

	for (i = 0; i < COUNT_OF(rows); i++) {
		w = locked_worker(&peer);
		assert_string_equal(answer_after(w, peer, AUTH_REFUSED,
					rows[i].packet, strlen(rows[i].packet)),
		    REFUSED);
		assert_true(w->lockdown);
		assert_false(w->over);
		m = asked(peer);
		assert_int_equal(m.user_len, strlen(rows[i].user));
		assert_memory_equal(m.user, rows[i].user, m.user_len);
		assert_int_equal(m.password_len, strlen(rows[i].password));
		assert_string_equal((char *)m.password, rows[i].password);
		assert_false(worker_holds(w, "secret"));
		unlock_worker(w, peer);
	}
}

/* At the limits of a name and a password, and past them. */
static void
test_auth_limits(void **state)
{
	static const struct {
		size_t user, password;
		bool fit;
	} rows[] = {
		{ 1, 1, true },
		{ AUTH_USER_MAX, AUTH_PASSWORD_MAX, true },
		{ AUTH_USER_MAX + 1, 1, false },
		{ 1, AUTH_PASSWORD_MAX + 1, false },
		{ 2000, 2000, false },
	};
	static char packet[COMMAND_LINE_MAX];
	struct worker *w;
	struct message_auth m;
	size_t i, j, len;
	int peer;

	for (i = 0; i < COUNT_OF(rows); i++) {
		w = locked_worker(&peer);
		len = 6 + rows[i].user + rows[i].password;
		memset(packet, 'x', len);
		memcpy(packet, "AUTH ", 5);
		packet[5 + rows[i].user] = ' ';
		assert_string_equal(
		    answer_after(w, peer, AUTH_REFUSED, packet, len), REFUSED);
		m = asked(peer);
		assert_int_equal(m.user_len, rows[i].fit ? rows[i].user : 0);
		assert_int_equal(
		    m.password_len, rows[i].fit ? rows[i].password : 0);
		for (j = m.password_len; j < sizeof(m.password); j++)
			assert_int_equal(m.password[j], 0);
		unlock_worker(w, peer);
	}
}

/* A granted AUTH is the end of lockdown. */
static void
test_auth_granted(void **state)
{
	int peer;
	struct worker *w = locked_worker(&peer);
	struct message_auth m;

	assert_string_equal(
	    answer_after(w, peer, AUTH_GRANTED, "AUTH u p", 8), GRANTED);
	assert_false(w->lockdown);
	assert_false(w->over);
	assert_int_equal(w->auth, -1);
	m = asked(peer);
	assert_int_equal(m.user_len, 1);
	/* The worker's end is closed. */
	assert_int_equal(channel_read(peer, MESSAGE_AUTH, &m), CHANNEL_CLOSED);
	assert_string_equal(answer(w, "AUTH u p", 8), INVALID);
	assert_string_equal(answer(w, "AUTH", 4), INVALID);
	assert_string_equal(
	    answer(w, "HELP AUTH", 9), "420 Command AUTH not found.\r\n");
	assert_null(strstr(answer(w, "HELP", 4), "AUTH"));
	unlock_worker(w, peer);
}

/* How a session ends that was refused. */
static void
test_auth_ends(void **state)
{
	static const struct {
		unsigned outcome;
		bool over;
		enum session_end end;
	} rows[] = {
		{ AUTH_REFUSED, false, SESSION_END_ERROR },
		{ AUTH_REFUSED_LAST, true, SESSION_END_AUTH_FAILED },
		{ AUTH_BUSY, true, SESSION_END_AUTH_BUSY },
		{ AUTH_OUTCOMES, true, SESSION_END_AUTH_BUSY },
		{ UINT32_MAX, true, SESSION_END_AUTH_BUSY },
	};
	struct worker *w;
	size_t i;
	int peer;

	for (i = 0; i < COUNT_OF(rows); i++) {
		w = locked_worker(&peer);
		assert_string_equal(
		    answer_after(w, peer, rows[i].outcome, "AUTH u p", 8),
		    REFUSED);
		assert_true(w->lockdown);
		assert_int_equal(w->over, rows[i].over);
		assert_int_equal(w->end, rows[i].end);
		unlock_worker(w, peer);
	}
}

/* An auth that is gone, talks nonsense, or does not answer in time. */
static void
test_auth_broken(void **state)
{
	struct message_auth m = { .user_len = 0 };
	struct worker *w;
	int peer;

	w = locked_worker(&peer);
	assert_int_equal(shutdown(peer, SHUT_RDWR), 0);
	assert_string_equal(answer(w, "AUTH u p", 8), REFUSED);
	assert_true(w->over);
	assert_int_equal(w->end, SESSION_END_AUTH_BUSY);
	unlock_worker(w, peer);

	w = locked_worker(&peer);
	assert_true(channel_send(peer, MESSAGE_AUTH, &m));
	assert_string_equal(answer(w, "AUTH u p", 8), REFUSED);
	assert_true(w->lockdown && w->over);
	assert_int_equal(w->end, SESSION_END_AUTH_BUSY);
	unlock_worker(w, peer);

	w = locked_worker(&peer);
	w->auth_until = wire_now() - FMLTP_AUTH_SLACK_MS;
	assert_string_equal(answer(w, "AUTH u p", 8), REFUSED);
	assert_true(w->lockdown && w->over);
	assert_int_equal(w->end, SESSION_END_AUTH_TIMEOUT);
	unlock_worker(w, peer);
}

/* A client whose connection breaks ends the wait for auth. */
static void
test_auth_client_gone(void **state)
{
	int peer, fd[2];
	struct worker *w = locked_worker(&peer);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	w->client = fd[0];
	close(fd[1]);
	assert_string_equal(answer(w, "AUTH u p", 8), REFUSED);
	assert_true(w->lockdown && w->over);
	asked(peer);
	close(fd[0]);
	unlock_worker(w, peer);
}

/* The master's word brings the channel to auth and the phase's time. */
static void
test_lockdown_begins(void **state)
{
	struct message_lockdown m = { .phase_ms = 5000 };
	struct worker *w = fresh_worker();
	static union message_any heard;
	int fd[2], auth[2];
	uint64_t before;

	w->heard = &heard;
	assert_true(channel_pair(fd, false, 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, auth), 0);
	w->master = fd[1];
	assert_true(channel_send_fds(fd[0], MESSAGE_LOCKDOWN, &m, &auth[1]));
	close(auth[1]);
	before = wire_now();
	assert_int_equal(auth_begin(w), FMLTP_OK);
	assert_true(w->lockdown);
	assert_true(w->auth_until >= before + 5000);
	assert_true(w->auth_until <= wire_now() + 5000);
	assert_int_not_equal(fcntl(w->auth, F_GETFD) & FD_CLOEXEC, 0);
	assert_true(channel_send(w->auth, MESSAGE_ACTIVE,
	    &(struct message_active){ .header = { 0 } }));
	unlock_worker(w, auth[0]);
	close(fd[0]);
	close(fd[1]);
}

/* Any other message, or none but the end of the file, is the worker's end:
 * it says how far it came. */
static void
test_lockdown_does_not_begin(void **state)
{
	struct message_lockdown bare = { .phase_ms = 5000 };
	struct message_active other = { .header = { 0 } };
	struct message_end end;
	struct worker *w;
	static union message_any heard;
	int fd[2], status, i;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		assert_true(channel_pair(fd, false, 0));
		if (i == 0) /* without its descriptor */
			assert_true(
			    channel_send(fd[0], MESSAGE_LOCKDOWN, &bare));
		else if (i == 1)
			assert_true(
			    channel_send(fd[0], MESSAGE_ACTIVE, &other));
		else
			assert_int_equal(shutdown(fd[0], SHUT_WR), 0);
		pid = fork();
		assert_int_not_equal(pid, -1);
		if (pid == 0) {
			w = fresh_worker();
			w->heard = &heard;
			w->master = fd[1];
			w->stage = STAGE_SESSION;
			(void)auth_begin(w);
			_exit(99);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_int_equal(
		    channel_read(fd[0], MESSAGE_END, &end), CHANNEL_OK);
		assert_int_equal(end.end, SESSION_END_ERROR);
		assert_int_equal(end.stage, STAGE_SESSION);
		close(fd[0]);
		close(fd[1]);
	}
}

/* The phase ends for a client that says nothing, for one that is in the
 * middle of a token, and for one that has more commands ready. */
static void
test_lockdown_times_out(void **state)
{
	static const char *const sent[] = { "", "gAAAA", NULL };
	static const uint8_t key[FERNET_KEY_LEN] = { 1 };
	static const uint8_t iv[FERNET_IV_LEN] = { 2 };
	static struct message_spawn spawn;
	static uint8_t raw[WORKER_RAW_MAX];
	struct worker *w;
	struct buf b;
	enum session_end end;
	uint64_t before;
	int peer, fd[2];
	size_t i;

	for (i = 0; i < COUNT_OF(sent); i++) {
		w = locked_worker(&peer);
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		w->client = fd[0];
		w->spawn = &spawn;
		w->raw = raw;
		secure_init(&w->secure, SECURE_SERVER, key, raw,
		    STREAM_CLIENT_TOKEN_MAX);
		buf_init(&b, w->in, sizeof(w->in));
		if (sent[i] != NULL)
			buf_put_str(&b, sent[i]);
		else
			secure_send(&w->secure, 7, iv, "HELP", 4, &b);
		w->in_len = b.len;
		before = wire_now();
		w->auth_until = sent[i] != NULL ? before + 50 : before;
		assert_int_equal(session_serve(w, &end), FMLTP_TIMEOUT);
		assert_int_equal(end, SESSION_END_AUTH_TIMEOUT);
		assert_int_equal(w->commands, 0);
		assert_true(wire_now() >= w->auth_until);
		assert_true(wire_now() < before + FMLTP_TOKEN_MS);
		close(fd[0]);
		close(fd[1]);
		unlock_worker(w, peer);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_ident),
		cmocka_unit_test(test_odd_packets),
		cmocka_unit_test(test_cut_is_text),
		cmocka_unit_test(test_lockdown_answers),
		cmocka_unit_test(test_auth_message),
		cmocka_unit_test(test_auth_limits),
		cmocka_unit_test(test_auth_granted),
		cmocka_unit_test(test_auth_ends),
		cmocka_unit_test(test_auth_broken),
		cmocka_unit_test(test_auth_client_gone),
		cmocka_unit_test(test_lockdown_begins),
		cmocka_unit_test(test_lockdown_does_not_begin),
		cmocka_unit_test(test_lockdown_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
