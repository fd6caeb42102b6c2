/*
 * tests/unit/test_auth.c - the authenticator: its table, its queue, and the
 * process.
 *
 * Runs in: the test, and for each case of the process a child that runs the
 * authenticator under its own filter, so that a call without a row ends it.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <crypt.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <linux/seccomp.h>

#include "auth/check.h"
#include "privsep/turns.h"
#include "auth/table.h"
#include "privsep/channel.h"
#include "privsep/start.h"
#include "tests/unit/process.h"

#define ANSWER_MS 20000 /* for one answer; on a busy machine, too */
#define PHASE_MS  60000
#define ATTEMPTS  3
#define SAMPLES	  200

#define BCRYPT_TAIL	"$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"
#define BCRYPT_PASSWORD "Kk4DQuMMfZL9o"
#define SHA512                                                                 \
	"$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYlWT5md.d" \
	"k7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE0"
#define YESCRYPT                                                               \
	"$y$j75$F5Jx5fExrKuPp53xLKQ..1$f9xplorlluprJ55ANJjSZGWxrsDC6O.PUygDtl" \
	"vsP7D"
#define BLANKS_PASSWORD "a pass word" /* of the two above */
/* A tenth of a second and more for a check. */
#define SLOW_SETTING "$6$rounds=300000$slow$"

static const char users_file[] = "# users\n"
				 "ada:$2b" BCRYPT_TAIL "\n"
				 "Bob:" SHA512 "\r\n"
				 "\n"
				 "cleo:" YESCRYPT "\n"
				 "dora:$2y" BCRYPT_TAIL "\n"
				 "emil:$2a" BCRYPT_TAIL;

static struct fixture {
	pid_t pid;
	int master; /* the channel's master end */
	uint64_t session;
	uint32_t serial;
} auth;

static double
now_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return 1e3 * (double)ts.tv_sec + (double)ts.tv_nsec / 1e6;
}

static int
setup(void **state)
{
	static struct helper h;
	static struct sandbox_program program;
	struct sock_fprog prog;
	int fd[2];

	memset(&auth, 0, sizeof(auth));
	if (!channel_pair(fd, false, 0) ||
	    sandbox_compile(ROLE_AUTH, ROLE_AUTH, false, &program) == -1)
		return -1;
	prog.len = program.count;
	prog.filter = program.code;
	auth.master = fd[0];
	auth.pid = fork();
	if (auth.pid == -1)
		return -1;
	if (auth.pid == 0) {
		close(fd[0]);
		signal(SIGPIPE, SIG_IGN);
		memset(&h, 0, sizeof(h));
		h.channel = fd[1];
		h.role = ROLE_AUTH;
		auth_prepare(&h);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
		    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ==
			-1)
			_exit(99);
		_exit(auth_main(&h));
	}
	close(fd[1]);
	return 0;
}

static int
teardown(void **state)
{
	if (auth.pid > 0) {
		kill(auth.pid, SIGKILL);
		(void)waitpid(auth.pid, NULL, 0);
	}
	if (auth.master != -1)
		close(auth.master);
	return 0;
}

static void
stop_process(void)
{
	int status;

	assert_int_equal(kill(auth.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(auth.pid, &status, WUNTRACED), auth.pid);
	assert_true(WIFSTOPPED(status));
}

static void
continue_process(void)
{
	assert_int_equal(kill(auth.pid, SIGCONT), 0);
}

static void
expect_nothing(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	assert_int_equal(poll(&p, 1, 0), 0);
}

/* The other side has closed, with nothing before. */
static void
expect_closed(int fd)
{
	struct message_auth_reply reply;
	struct pollfd p = { fd, POLLIN, 0 };

	assert_int_equal(poll(&p, 1, ANSWER_MS), 1);
	assert_int_equal(
	    channel_read(fd, MESSAGE_AUTH_REPLY, &reply), CHANNEL_CLOSED);
	close(fd);
}

static void
send_users_fd(int fd)
{
	struct message_users m;

	memset(&m, 0, sizeof(m));
	m.serial = ++auth.serial;
	assert_true(channel_send_fds(auth.master, MESSAGE_USERS, &m, &fd));
}

static int
make_file(const char *text, size_t len)
{
	int fd = memfd_create("users", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	/* Its offset is at its end: it is to be read from its beginning. */
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	return fd;
}

static void
send_users(const char *text, size_t len)
{
	int fd = make_file(text, len);

	send_users_fd(fd);
	close(fd);
}

static void
expect_users(enum users_fault fault, uint32_t line, uint32_t users)
{
	struct message_users_read r;

	expect_message_within(auth.master, ANSWER_MS, MESSAGE_USERS_READ, &r);
	assert_int_equal(r.serial, auth.serial);
	assert_int_equal(r.fault, fault);
	assert_int_equal(r.line, line);
	assert_int_equal(r.users, users);
}

static void
load(const char *text, uint32_t users)
{
	send_users(text, strlen(text));
	expect_users(USERS_OK, 0, users);
}

/* A worker's end of a new channel; the session is auth.session. */
static int
open_session(uint8_t source, uint32_t phase_ms, uint32_t attempts)
{
	struct message_auth_channel m;
	int fd[2];

	assert_true(channel_pair(fd, false, 0));
	memset(&m, 0, sizeof(m));
	m.session = ++auth.session;
	m.source[15] = source;
	m.phase_ms = phase_ms;
	m.attempts = attempts;
	assert_true(
	    channel_send_fds(auth.master, MESSAGE_AUTH_CHANNEL, &m, &fd[0]));
	close(fd[0]);
	return fd[1];
}

static void
send_auth_bytes(int fd, const char *user, const char *password, size_t len)
{
	struct message_auth m;

	memset(&m, 0, sizeof(m));
	m.user_len = (uint32_t)strlen(user);
	m.password_len = (uint32_t)len;
	assert_true(m.user_len <= sizeof(m.user));
	assert_true(len <= AUTH_PASSWORD_MAX);
	memcpy(m.user, user, m.user_len);
	memcpy(m.password, password, len);
	assert_true(channel_send(fd, MESSAGE_AUTH, &m));
}

static void
send_auth(int fd, const char *user, const char *password)
{
	send_auth_bytes(fd, user, password, strlen(password));
}

static void
expect_result(enum auth_outcome outcome, uint64_t session, uint32_t attempt,
    const char *user)
{
	struct message_auth_result r;

	expect_message_within(auth.master, ANSWER_MS, MESSAGE_AUTH_RESULT, &r);
	assert_int_equal(r.outcome, outcome);
	assert_int_equal(r.session, session);
	assert_int_equal(r.attempt, attempt);
	assert_string_equal(r.user, user);
}

static void
expect_reply(int fd, enum auth_outcome outcome)
{
	struct message_auth_reply r;

	expect_message_within(fd, ANSWER_MS, MESSAGE_AUTH_REPLY, &r);
	assert_int_equal(r.outcome, outcome);
}

/* A session of its own, whose first attempt is granted. */
static void
granted(const char *user, const char *password)
{
	int fd = open_session(1, PHASE_MS, ATTEMPTS);

	send_auth(fd, user, password);
	expect_result(AUTH_GRANTED, auth.session, 1, user);
	expect_reply(fd, AUTH_GRANTED);
	expect_closed(fd);
}

/* ... or refused; the reply is not waited for. */
static void
refused_bytes(const char *user, const char *password, size_t len)
{
	int fd = open_session(1, PHASE_MS, ATTEMPTS);

	send_auth_bytes(fd, user, password, len);
	expect_result(AUTH_REFUSED, auth.session, 1, user);
	expect_nothing(fd);
	close(fd);
}

static void
refused(const char *user, const char *password)
{
	refused_bytes(user, password, strlen(password));
}

/* A line of the file, with the password hashed as `setting` says. */
static void
add_user(char *file, size_t size, const char *user, const char *setting,
    const char *password)
{
	struct crypt_data *d = calloc(1, sizeof(*d));
	const char *hash;

	assert_non_null(d);
	hash = crypt_rn(password, setting, d, sizeof(*d));
	assert_non_null(hash);
	strlcat(file, user, size);
	strlcat(file, ":", size);
	strlcat(file, hash, size);
	assert_true(strlcat(file, "\n", size) < size);
	free(d);
}

static enum users_fault
parse(const char *text, size_t len, struct table *t, uint32_t *line)
{
	char *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return table_parse(copy, len + 1, len, t, line);
}

static void
test_table(void **state)
{
	static const struct {
		const char *text;
		enum users_fault fault;
		uint32_t line;
	} bad[] = {
		{ "ada:$2b" BCRYPT_TAIL "\n#\n\nada:" YESCRYPT "\n",
		    USERS_TWICE, 4 },
		{ "ada:$2b" BCRYPT_TAIL "\nADA:" YESCRYPT "\n", USERS_TWICE,
		    2 },
		{ "z1:" YESCRYPT "\nb2:" YESCRYPT "\nB2:" YESCRYPT
		  "\nZ1:" YESCRYPT "\n",
		    USERS_TWICE, 3 },
		{ "z1:" YESCRYPT "\nz1:" YESCRYPT "\nz1:" YESCRYPT "\n!",
		    USERS_TWICE, 2 },
		{ "z1:" YESCRYPT "\n!\nz1:" YESCRYPT "\n", USERS_NO_COLON, 2 },
		{ "\n\r\n#\nada:x", USERS_HASH_METHOD, 4 },
	};
	const struct table_user *u;
	struct table t;
	uint32_t line;
	size_t i;

	for (i = 0; i < COUNT_OF(bad); i++) {
		assert_int_equal(
		    parse(bad[i].text, strlen(bad[i].text), &t, &line),
		    bad[i].fault);
		assert_int_equal(line, bad[i].line);
		assert_null(t.bytes);
		assert_int_equal(t.count, 0);
	}
	assert_int_equal(parse("", 0, &t, &line), USERS_OK);
	assert_int_equal(t.count, 0);
	assert_null(table_find(&t, BYTES("ada")));
	assert_null(table_dummy(&t, BYTES("ada")));
	table_wipe(&t);

	assert_int_equal(
	    parse(users_file, strlen(users_file), &t, &line), USERS_OK);
	assert_int_equal(t.count, 5);
	u = table_find(&t, BYTES("Bob"));
	assert_non_null(u);
	assert_memory_equal(u->hash, SHA512, u->hash_len);
	assert_non_null(table_find(&t, BYTES("ada")));
	assert_non_null(table_find(&t, BYTES("emil")));
	assert_null(table_find(&t, BYTES("bob")));
	assert_null(table_find(&t, BYTES("Bo")));
	assert_null(table_find(&t, BYTES("Bobb")));
	assert_null(table_find(&t, BYTES("Bob\0")));
	assert_null(table_find(&t, BYTES("\xff\xfe")));
	assert_null(table_find(&t, BYTES("")));
	table_wipe(&t);
}

/* A name has one dummy, the same in every process; all users are dummies of
 * some names; another file has other ones. */
static void
test_dummy(void **state)
{
	char other[sizeof(users_file) + 2];
	const struct table_user *u;
	struct table t, again, changed;
	unsigned seen[5] = { 0 }, moved = 0, i;
	uint8_t name[4];
	uint32_t line;

	assert_int_equal(
	    parse(users_file, strlen(users_file), &t, &line), USERS_OK);
	assert_int_equal(
	    parse(users_file, strlen(users_file), &again, &line), USERS_OK);
	strlcpy(other, "#", sizeof(other));
	strlcat(other, users_file, sizeof(other));
	assert_int_equal(
	    parse(other, strlen(other), &changed, &line), USERS_OK);
	for (i = 0; i < 1000; i++) {
		memcpy(name, &i, sizeof(name));
		u = table_dummy(&t, name, sizeof(name));
		assert_non_null(u);
		assert_ptr_equal(table_dummy(&t, name, sizeof(name)), u);
		seen[u - t.user]++;
		assert_int_equal(
		    table_dummy(&again, name, sizeof(name)) - again.user,
		    u - t.user);
		moved +=
		    table_dummy(&changed, name, sizeof(name)) - changed.user !=
		    u - t.user;
	}
	for (i = 0; i < COUNT_OF(seen); i++)
		assert_in_range(seen[i], 140, 260);
	assert_in_range(moved, 700, 900);
	table_wipe(&t);
	table_wipe(&again);
	table_wipe(&changed);
}

static char *
make_many(unsigned users, size_t *len)
{
	FILE *f;
	char *text;
	unsigned i;

	f = open_memstream(&text, len);
	assert_non_null(f);
	for (i = 0; i < users; i++)
		fprintf(f, "user%u:$2b" BCRYPT_TAIL "\n", i * 7919 % users);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void
test_many_users(void **state)
{
	const unsigned users = 10000;
	char name[16], *text;
	struct table t;
	double begin, ms;
	uint32_t line;
	size_t len;
	unsigned i;
	int fd;

	text = make_many(users, &len);
	fd = make_file(text, len);
	begin = now_ms();
	assert_int_equal(table_read(fd, &t, &line), USERS_OK);
	ms = now_ms() - begin;
	assert_int_equal(t.count, users);
	print_message("%u users are loaded in %.1f ms", users, ms);
	assert_true(ms < 1000);
	begin = now_ms();
	for (i = 0; i < users; i++) {
		assert_true(snprintf(name, sizeof(name), "user%u", i) > 0);
		assert_non_null(
		    table_find(&t, (const uint8_t *)name, strlen(name)));
	}
	print_message(
	    ", one is found in %.2f us\n", 1e3 * (now_ms() - begin) / users);
	table_wipe(&t);
	close(fd);
	free(text);
}

/* The file as a whole. */
static void
test_files(void **state)
{
	struct table t;
	uint32_t line;
	char *text;
	size_t len;
	int fd, end[2];

	text = malloc(USERS_FILE_MAX + 1);
	assert_non_null(text);
	memset(text, '\n', USERS_FILE_MAX + 1);
	fd = make_file(text, USERS_FILE_MAX);
	assert_int_equal(table_read(fd, &t, &line), USERS_OK);
	table_wipe(&t);
	close(fd);
	fd = make_file(text, USERS_FILE_MAX + 1);
	assert_int_equal(table_read(fd, &t, &line), USERS_TOO_LARGE);
	assert_int_equal(line, 0);
	close(fd);
	free(text);
	assert_int_equal(pipe(end), 0);
	assert_int_equal(table_read(end[0], &t, &line), USERS_UNREADABLE);
	close(end[0]);
	close(end[1]);
	/* Across the border of what is read at first. */
	text = make_many(2000, &len);
	assert_true(len > 2 * 65536);
	fd = make_file(text, len);
	assert_int_equal(table_read(fd, &t, &line), USERS_OK);
	assert_int_equal(t.count, 2000);
	table_wipe(&t);
	close(fd);
	free(text);
}

/* One of each source by turns, whatever the others have waiting. */
static void
test_queue(void **state)
{
	static const uint8_t key[3][TURNS_KEY_LEN] = { { 1 }, { 2 }, { 3 } };
	struct turns_place p[9];
	struct turns q;

	memset(p, 0, sizeof(p));
	turns_init(&q);
	assert_true(turns_is_empty(&q));
	assert_null(turns_take(&q));
	turns_drop(&q, &p[0]);
	/* 0-5 of the first, 6 and 7 of the second, 8 of the third. */
	assert_true(turns_add(&q, &p[0], key[0]));
	assert_true(turns_add(&q, &p[1], key[0]));
	assert_true(turns_add(&q, &p[2], key[0]));
	assert_true(turns_add(&q, &p[6], key[1]));
	assert_true(turns_add(&q, &p[3], key[0]));
	assert_true(turns_add(&q, &p[8], key[2]));
	assert_ptr_equal(turns_take(&q), &p[0]);
	assert_ptr_equal(turns_take(&q), &p[6]);
	assert_ptr_equal(turns_take(&q), &p[8]);
	assert_ptr_equal(turns_take(&q), &p[1]);
	assert_true(turns_add(&q, &p[4], key[0]));
	assert_true(turns_add(&q, &p[7], key[1]));
	turns_drop(&q, &p[2]);
	turns_drop(&q, &p[2]);
	assert_ptr_equal(turns_take(&q), &p[3]);
	assert_ptr_equal(turns_take(&q), &p[7]);
	assert_true(turns_add(&q, &p[7], key[1]));
	turns_drop(&q, &p[7]);
	assert_false(turns_is_empty(&q));
	assert_ptr_equal(turns_take(&q), &p[4]);
	assert_true(turns_is_empty(&q));
	assert_null(turns_take(&q));
}

static void
test_methods(void **state)
{
	static const char *const setting[] = { "$2b$04$abcdefghijklmnopqrstuu",
		"$6$rounds=1000$salt$", "$y$j75$abcdefgh$" };
	static const char utf8[] = "gr\xc3\xb6\xc3\x9f\x65 \xe2\x99\xab";
	char file[1024] = "", longest[AUTH_PASSWORD_MAX + 1];
	size_t i;

	load(users_file, 5);
	granted("ada", BCRYPT_PASSWORD);
	granted("Bob", BLANKS_PASSWORD);
	granted("cleo", BLANKS_PASSWORD);
	granted("dora", BCRYPT_PASSWORD);
	granted("emil", BCRYPT_PASSWORD);
	refused("ada", BLANKS_PASSWORD);
	refused("Bob", BCRYPT_PASSWORD);
	refused("cleo", BCRYPT_PASSWORD);
	/* Names are exact. */
	refused("bob", BLANKS_PASSWORD);
	refused("nobody", BLANKS_PASSWORD);
	refused("", BCRYPT_PASSWORD);
	/* Nearly right. */
	refused("Bob", "a pass word ");
	refused("Bob", " a pass word");
	refused("Bob", "A pass word");
	refused("Bob", "");
	for (i = 0; i < COUNT_OF(setting); i++) {
		file[0] = '\0';
		memset(longest, 'x', sizeof(longest) - 1);
		longest[sizeof(longest) - 1] = '\0';
		add_user(file, sizeof(file), "utf8", setting[i], utf8);
		add_user(file, sizeof(file), "long", setting[i], longest);
		add_user(file, sizeof(file), "empty", setting[i], "");
		load(file, 3);
		granted("utf8", utf8);
		granted("long", longest);
		/* bcrypt has 72 bytes, and no more. */
		longest[AUTH_PASSWORD_MAX - 1] = 'y';
		if (i == 0)
			granted("long", longest);
		else
			refused("long", longest);
		longest[71] = 'y';
		refused("long", longest);
		/* No password is nobody's. */
		refused("empty", "");
		/* Nor does anything behind a NUL count for nothing. */
		refused_bytes("utf8", utf8, sizeof(utf8));
		refused_bytes("empty", "\0", 1);
		refused_bytes("utf8", "gr\0", 3);
	}
	expect_end_of(&auth.pid, &auth.master);
}

/* Without a table, and with an empty one: refused, at full cost. */
static void
test_no_users(void **state)
{
	struct message_auth_result r;
	int fd, i;

	for (i = 0; i < 2; i++) {
		fd = open_session(1, PHASE_MS, ATTEMPTS);
		send_auth(fd, "ada", BCRYPT_PASSWORD);
		expect_message_within(
		    auth.master, ANSWER_MS, MESSAGE_AUTH_RESULT, &r);
		assert_int_equal(r.outcome, AUTH_REFUSED);
		assert_true(r.ms >= 5);
		close(fd);
		load("# nobody\n", 0);
	}
}

/* The first comes no sooner than 1 s, the second 2 s, and the third is the
 * last; while one is under way no second is taken up. */
static void
test_delays(void **state)
{
	int fd = open_session(1, PHASE_MS, ATTEMPTS), other;
	double begin;
	uint32_t i;

	load(users_file, 5);
	for (i = 1; i <= ATTEMPTS; i++) {
		begin = now_ms();
		send_auth(fd, "ada", "wrong");
		expect_result(i < ATTEMPTS ? AUTH_REFUSED : AUTH_REFUSED_LAST,
		    1, i, "ada");
		/* A delay holds up nobody else. */
		granted("Bob", BLANKS_PASSWORD);
		assert_true(now_ms() - begin < 1000 * i || i == 1);
		expect_reply(
		    fd, i < ATTEMPTS ? AUTH_REFUSED : AUTH_REFUSED_LAST);
		assert_true(now_ms() - begin >= 1000 * i);
	}
	expect_closed(fd);
	/* Each session has its own; one attempt may be all. */
	other = open_session(1, PHASE_MS, 1);
	send_auth(other, "ada", "wrong");
	expect_result(AUTH_REFUSED_LAST, auth.session, 1, "ada");
	expect_reply(other, AUTH_REFUSED_LAST);
	expect_closed(other);
	/* After a refusal one may be granted. */
	fd = open_session(1, PHASE_MS, 2);
	send_auth(fd, "ada", "wrong");
	expect_result(AUTH_REFUSED, auth.session, 1, "ada");
	expect_reply(fd, AUTH_REFUSED);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	expect_result(AUTH_GRANTED, auth.session, 2, "ada");
	expect_reply(fd, AUTH_GRANTED);
	expect_closed(fd);
	expect_nothing(auth.master);
}

/* What one source has waiting does not hold up another. */
static void
test_turns(void **state)
{
	struct message_auth_result r;
	int fd[16], late = 0, i;

	load(users_file, 5);
	for (i = 0; i < 12; i++)
		fd[i] = open_session(1, PHASE_MS, ATTEMPTS);
	stop_process();
	for (i = 0; i < 12; i++)
		send_auth(fd[i], "cleo", "wrong");
	for (; i < 16; i++) {
		fd[i] = open_session((uint8_t)(2 + i / 14), PHASE_MS, ATTEMPTS);
		send_auth(fd[i], "cleo", "wrong");
	}
	continue_process();
	/* Three sources, the two others with two each: all theirs are among
	 * the first six. */
	for (i = 0; i < 16; i++) {
		expect_message_within(
		    auth.master, ANSWER_MS, MESSAGE_AUTH_RESULT, &r);
		assert_int_equal(r.outcome, AUTH_REFUSED);
		if (i >= 6)
			late += r.session > 12;
	}
	assert_int_equal(late, 0);
	for (i = 0; i < 16; i++)
		close(fd[i]);
}

/* Users whose check takes long, and others. */
static void
load_slow(void)
{
	char file[1024] = "";

	strlcpy(file, users_file, sizeof(file));
	strlcat(file, "\n", sizeof(file));
	add_user(file, sizeof(file), "slow", SLOW_SETTING, "secret");
	load(file, 6);
}

/* A check is under way, for a while. */
static int
begin_slow(void)
{
	int fd = open_session(99, PHASE_MS, ATTEMPTS);

	send_auth(fd, "slow", "secret");
	rest_ms(20);
	expect_nothing(auth.master);
	return fd;
}

static void
end_slow(int fd, uint64_t session)
{
	expect_result(AUTH_GRANTED, session, 1, "slow");
	expect_reply(fd, AUTH_GRANTED);
	expect_closed(fd);
}

/* What can't begin in its phase is not counted. */
static void
test_busy(void **state)
{
	int fd, first, second;
	uint64_t slow;

	load_slow();
	fd = open_session(1, 0, ATTEMPTS);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	expect_result(AUTH_BUSY, auth.session, 1, "ada");
	expect_reply(fd, AUTH_BUSY);
	expect_closed(fd);
	/* While it waits behind another. */
	fd = open_session(1, 50, ATTEMPTS);
	first = begin_slow();
	slow = auth.session;
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	end_slow(first, slow);
	expect_result(AUTH_BUSY, slow - 1, 1, "ada");
	expect_reply(fd, AUTH_BUSY);
	expect_closed(fd);
	/* By its own timer, while others are still before it. */
	stop_process();
	first = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(first, "slow", "secret");
	second = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(second, "slow", "secret");
	fd = open_session(1, 60, ATTEMPTS);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	continue_process();
	end_slow(first, auth.session - 2);
	expect_result(AUTH_BUSY, auth.session, 1, "ada");
	expect_reply(fd, AUTH_BUSY);
	expect_closed(fd);
	end_slow(second, auth.session - 1);
}

/* An attempt is checked against the table of its moment. */
static void
test_replaced(void **state)
{
	char file[512] = "";
	uint64_t slow;
	int first, fd;

	load_slow();
	first = begin_slow();
	slow = auth.session;
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", "new");
	add_user(
	    file, sizeof(file), "ada", "$2b$04$abcdefghijklmnopqrstuu", "new");
	send_users(file, strlen(file));
	end_slow(first, slow);
	expect_users(USERS_OK, 0, 1);
	expect_result(AUTH_GRANTED, auth.session, 1, "ada");
	close(fd);
	refused("ada", BCRYPT_PASSWORD);
	refused("slow", "secret");
	/* All or nothing. */
	strlcat(file, "bob:x\n", sizeof(file));
	send_users(file, strlen(file));
	expect_users(USERS_HASH_METHOD, 2, 1);
	granted("ada", "new");
	send_users_fd(auth.master);
	expect_users(USERS_UNREADABLE, 0, 1);
	granted("ada", "new");
	load("", 0);
	refused("ada", "new");
	expect_end_of(&auth.pid, &auth.master);
}

/* Who is gone is not checked. */
static void
test_gone(void **state)
{
	int first, gone, fd;
	uint64_t slow;

	load_slow();
	first = begin_slow();
	slow = auth.session;
	gone = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(gone, "slow", "wrong");
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	close(gone);
	end_slow(first, slow);
	expect_result(AUTH_GRANTED, auth.session, 1, "ada");
	expect_reply(fd, AUTH_GRANTED);
	expect_closed(fd);
	/* While its check is under way, and while its reply is delayed. */
	first = begin_slow();
	close(first);
	expect_result(AUTH_GRANTED, auth.session, 1, "slow");
	refused("ada", "wrong");
	rest_ms(1100);
	expect_nothing(auth.master);
	granted("ada", BCRYPT_PASSWORD);
	expect_end_of(&auth.pid, &auth.master);
}

static void
expect_violation(int fd, enum channel_result kind, uint64_t session)
{
	struct message_auth_violation v;

	expect_message_within(
	    auth.master, ANSWER_MS, MESSAGE_AUTH_VIOLATION, &v);
	assert_int_equal(v.kind, kind);
	assert_int_equal(v.session, session);
	expect_closed(fd);
}

static void
test_violations(void **state)
{
	union message_any m;
	uint64_t slow;
	int fd, first;

	load_slow();
	/* A second one, while the first waits. */
	first = begin_slow();
	slow = auth.session;
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	end_slow(first, slow);
	expect_violation(fd, CHANNEL_MOMENT, auth.session);
	/* ... and while its refusal is not due. */
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", "wrong");
	expect_result(AUTH_REFUSED, auth.session, 1, "ada");
	send_auth(fd, "ada", BCRYPT_PASSWORD);
	expect_violation(fd, CHANNEL_MOMENT, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	memset(&m, 0, sizeof(m));
	assert_true(channel_send(fd, MESSAGE_ACTIVE, &m));
	expect_violation(fd, CHANNEL_TYPE, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	memset(&m, 0, sizeof(m));
	m.header.type = MESSAGE_AUTH;
	m.header.len = sizeof(m.message_auth);
	assert_int_equal(write(fd, &m, sizeof(m.message_auth) - 1),
	    sizeof(m.message_auth) - 1);
	expect_violation(fd, CHANNEL_SIZE, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	assert_int_equal(send(fd, &m, 0, 0), 0);
	expect_violation(fd, CHANNEL_ZERO, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	memset(&m, 0, sizeof(m));
	assert_true(channel_send_fds(
	    fd, MESSAGE_USERS, &m.message_users, &auth.master));
	expect_violation(fd, CHANNEL_TYPE, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	memset(&m, 0, sizeof(m));
	m.message_auth.user_len = AUTH_USER_MAX + 1;
	assert_true(channel_send(fd, MESSAGE_AUTH, &m));
	expect_violation(fd, CHANNEL_REFUSED, auth.session);

	fd = open_session(1, PHASE_MS, ATTEMPTS);
	memset(&m, 0, sizeof(m));
	m.message_auth.password_len = AUTH_PASSWORD_MAX + 1;
	assert_true(channel_send(fd, MESSAGE_AUTH, &m));
	expect_violation(fd, CHANNEL_REFUSED, auth.session);

	/* Nobody else notices; a close alone is none. */
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	close(fd);
	granted("ada", BCRYPT_PASSWORD);
	expect_nothing(auth.master);
	expect_end_of(&auth.pid, &auth.master);
}

/* A name with a NUL is told as none. */
static void
test_odd_names(void **state)
{
	static const char longest[] = "abcdefghijklmnopqrstuvwxyz012345";
	struct message_auth m;
	int fd = open_session(1, PHASE_MS, ATTEMPTS);

	load(users_file, 5);
	memset(&m, 0, sizeof(m));
	m.user_len = 4;
	memcpy(m.user, "ada", 4);
	m.password_len = sizeof(BCRYPT_PASSWORD) - 1;
	memcpy(m.password, BCRYPT_PASSWORD, m.password_len);
	assert_true(channel_send(fd, MESSAGE_AUTH, &m));
	expect_result(AUTH_REFUSED, auth.session, 1, "");
	close(fd);
	refused(longest, BCRYPT_PASSWORD);
	refused("a\xff\n", BCRYPT_PASSWORD);
}

/* A session without an attempt is the master's own fault, which ends it. */
static void
test_master_wrong(void **state)
{
	int status, fd;

	fd = open_session(1, PHASE_MS, 0);
	expect_closed(fd);
	assert_int_equal(waitpid(auth.pid, &status, 0), auth.pid);
	auth.pid = -1;
	assert_true(WIFEXITED(status));
}

/* Sessions that do nothing cost nothing. */
static void
test_idle(void **state)
{
	unsigned long before;
	int fd;

	load(users_file, 5);
	fd = open_session(1, 200, ATTEMPTS);
	granted("ada", BCRYPT_PASSWORD);
	rest_ms(50);
	before = voluntary_switches(auth.pid);
	rest_ms(500);
	assert_int_equal(voluntary_switches(auth.pid), before);
	close(fd);
}

#ifndef FLEXMUSIC_SANITIZER
/* How often some bytes are in the process's memory; -1 where that can't be
 * looked at. */
static int
count_in_memory(const char *what, size_t len)
{
	char path[64], line[512], access[8];
	unsigned long begin, end;
	ssize_t n;
	FILE *maps;
	char *mem, *p;
	int fd, found = 0;

	assert_true(
	    snprintf(path, sizeof(path), "/proc/%d/mem", (int)auth.pid) > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	assert_true(
	    snprintf(path, sizeof(path), "/proc/%d/maps", (int)auth.pid) > 0);
	maps = fopen(path, "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %7s", &begin, &end, access) != 3 ||
		    strncmp(access, "rw", 2) != 0)
			continue;
		mem = malloc(end - begin);
		assert_non_null(mem);
		n = pread(fd, mem, end - begin, (off_t)begin);
		for (p = mem; n > 0 && p != NULL;
		     found += p != NULL, p += p != NULL)
			p = memmem(p, (size_t)(mem + n - p), what, len);
		free(mem);
	}
	fclose(maps);
	close(fd);
	return found;
}

/* No password and no old hash is left anywhere in the process. */
static void
test_wiped(void **state)
{
	static const char digits[] = "abcdefghijklmnop";
	char file[1024] = "", password[25], setting[32];
	struct unit_random r = { (uint64_t)now_ms() };
	uint64_t slow;
	size_t i;
	int first, fd;

	for (i = 0; i < sizeof(password) - 1; i++)
		password[i] = digits[unit_random_next(&r) % 16];
	password[i] = '\0';
	strlcpy(setting, "$6$", sizeof(setting));
	strlcat(setting, password + 10, sizeof(setting));
	add_user(file, sizeof(file), "ada", setting, password);
	add_user(file, sizeof(file), "slow", SLOW_SETTING, "secret");
	load(file, 2);
	if (count_in_memory(setting, strlen(setting)) == -1) {
		print_message("the process's memory can't be looked at\n");
		skip();
	}
	assert_int_equal(count_in_memory(setting, strlen(setting)), 1);
	/* It waits behind another. */
	stop_process();
	first = open_session(1, PHASE_MS, ATTEMPTS);
	slow = auth.session;
	send_auth(first, "slow", "secret");
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", password);
	continue_process();
	rest_ms(30);
	expect_nothing(auth.master);
	assert_int_equal(count_in_memory(password, strlen(password)), 1);
	end_slow(first, slow);
	expect_result(AUTH_GRANTED, auth.session, 1, "ada");
	expect_reply(fd, AUTH_GRANTED);
	expect_closed(fd);
	assert_int_equal(count_in_memory(password, strlen(password)), 0);
	/* A refused one has not come due. */
	password[0] = 'X';
	fd = open_session(1, PHASE_MS, ATTEMPTS);
	send_auth(fd, "ada", password);
	expect_result(AUTH_REFUSED, auth.session, 1, "ada");
	assert_int_equal(count_in_memory(password, strlen(password)), 0);
	assert_int_equal(
	    count_in_memory(password + 10, strlen(password + 10)), 1);
	close(fd);
	load(users_file, 5);
	assert_int_equal(
	    count_in_memory(password + 10, strlen(password + 10)), 0);
}
#endif

/* From the attempt to its result, in ms. */
static double
time_attempt(const char *user)
{
	int fd = open_session(1, PHASE_MS, ATTEMPTS);
	struct message_auth_result r;
	double begin, ms;

	/* The process is ready, and has read what came before. */
	rest_ms(1);
	begin = now_ms();
	send_auth(fd, user, "wrong");
	expect_message_within(auth.master, ANSWER_MS, MESSAGE_AUTH_RESULT, &r);
	ms = now_ms() - begin;
	assert_int_equal(r.outcome, AUTH_REFUSED);
	close(fd);
	return ms;
}

/* The share of pairs in which the known name took longer: 0.5 where the two
 * can't be told apart. */
static double
measure_area(void)
{
	static double known[SAMPLES], unknown[SAMPLES];
	char user[16], name[16];
	double area = 0;
	unsigned i, n;

	for (i = 0; i < SAMPLES; i++) {
		assert_true(snprintf(user, sizeof(user), "user%u", i % 3) > 0);
		assert_true(snprintf(name, sizeof(name), "name%u", i) > 0);
		if (i % 2 == 0)
			known[i] = time_attempt(user);
		unknown[i] = time_attempt(name);
		if (i % 2 == 1)
			known[i] = time_attempt(user);
	}
	for (i = 0; i < SAMPLES; i++)
		for (n = 0; n < SAMPLES; n++)
			area += known[i] > unknown[n] ? 1
			    : known[i] == unknown[n]  ? 0.5
						      : 0;
	return area / (SAMPLES * SAMPLES);
}

/* Its standard deviation is 0.03 where there is no difference: one bad
 * measurement of three proves nothing, three do. */
static void
expect_alike(const char *method, const char *setting)
{
	char file[1024] = "";
	double area = 0;
	int i;

	add_user(file, sizeof(file), "user0", setting, "secret");
	add_user(file, sizeof(file), "user1", setting, "other");
	add_user(file, sizeof(file), "user2", setting, "third");
	load(file, 3);
	for (i = 0; i < 3 && (area <= 0.40 || area >= 0.60); i++) {
		area = measure_area();
		print_message("%s: known against unknown names, AUC %.3f\n",
		    method, area);
	}
	assert_true(area > 0.40);
	assert_true(area < 0.60);
}

static void
test_alike(void **state)
{
	expect_alike("bcrypt", "$2b$04$abcdefghijklmnopqrstuu");
	expect_alike("yescrypt", "$y$j75$abcdefgh$");
	expect_alike("SHA-512", "$6$rounds=1000$salt$");
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_dummy),
		cmocka_unit_test(test_many_users),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_queue),
		CASE(test_methods),
		CASE(test_no_users),
		CASE(test_delays),
		CASE(test_turns),
		CASE(test_busy),
		CASE(test_replaced),
		CASE(test_gone),
		CASE(test_violations),
		CASE(test_odd_names),
		CASE(test_master_wrong),
		CASE(test_idle),
#ifndef FLEXMUSIC_SANITIZER
		CASE(test_wiped),
#endif
		CASE(test_alike),
	};
#undef CASE

	return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
