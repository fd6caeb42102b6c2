/*
 * tests/unit/test_log.c - the log, with receivers that are absent, slow,
 * restarted, and gone.
 *
 * Runs in: the unit tests alone, as root or as any user.
 */
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIBBSD_NETBSD_VIS
#include <vis.h>

#include <event2/event.h>

#include "master/log.h"
#include "tests/unit/unit.h"

/* The calls that the log makes, counted on their way to the kernel. */
static unsigned sends, connects;
static int send_error; /* 0: send works */

ssize_t
send(int fd, const void *bytes, size_t len, int flags)
{
	sends++;
	if (send_error != 0) {
		errno = send_error;
		return -1;
	}
	return syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

int
connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	connects++;
	return (int)syscall(SYS_connect, fd, sa, len);
}

/* A place with a receiver's socket, and a log for it. */
struct place {
	char dir[32];
	char path[64];
	int fd; /* the receiver, or -1 */
	struct event_base *base;
	struct log *log;
	char line[2048]; /* the last one received */
};

static void
receiver_start(struct place *p)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	unlink(p->path);
	p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_not_equal(p->fd, -1);
	strlcpy(un.sun_path, p->path, sizeof un.sun_path);
	assert_int_equal(bind(p->fd, (struct sockaddr *)&un, sizeof un), 0);
}

static void
receiver_stop(struct place *p)
{
	close(p->fd);
	p->fd = -1;
	unlink(p->path);
}

/* The next line behind its header, or NULL when there is none. */
static const char *
receive(struct place *p)
{
	const char *text;
	ssize_t n = recv(p->fd, p->line, sizeof p->line - 1, 0);

	if (n == -1)
		return NULL;
	p->line[n] = '\0';
	text = strstr(p->line, "]: ");
	assert_non_null(text);
	return text + 3;
}

static void
assert_receives(struct place *p, const char *expected)
{
	const char *text = receive(p);

	assert_non_null(text);
	assert_string_equal(text, expected);
}

static int
setup(void **state)
{
	static struct place place;

	memset(&place, 0, sizeof place);
	send_error = 0;
	place.fd = -1;
	strlcpy(place.dir, "/tmp/test_log.XXXXXX", sizeof place.dir);
	if (mkdtemp(place.dir) == NULL)
		return -1;
	snprintf(place.path, sizeof place.path, "%s/log", place.dir);
	place.base = event_base_new();
	*state = &place;
	return place.base == NULL ? -1 : 0;
}

static int
setup_receiver(void **state)
{
	struct place *p;

	if (setup(state) == -1)
		return -1;
	p = *state;
	receiver_start(p);
	p->log = log_new(p->path, LOG_DAEMON, 0);
	if (p->log == NULL)
		return -1;
	log_attach(p->log, p->base);
	return 0;
}

static int
teardown(void **state)
{
	struct place *p = *state;

	log_free(p->log, 0);
	event_base_free(p->base);
	if (p->fd != -1)
		close(p->fd);
	unlink(p->path);
	return rmdir(p->dir);
}

static void
run(struct place *p, int ms)
{
	const struct timeval t = { ms / 1000, ms % 1000 * 1000 };

	event_base_loopexit(p->base, &t);
	event_base_dispatch(p->base);
}

static long long
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct sockaddr_storage
ipv4(const char *address, unsigned port)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *sin = (struct sockaddr_in *)&ss;

	sin->sin_family = AF_INET;
	sin->sin_port = htons((uint16_t)port);
	assert_int_equal(inet_pton(AF_INET, address, &sin->sin_addr), 1);
	return ss;
}

static struct sockaddr_storage
ipv6(const char *address, unsigned port)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ss;

	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons((uint16_t)port);
	assert_int_equal(inet_pton(AF_INET6, address, &sin6->sin6_addr), 1);
	return ss;
}

#define SA(ss) ((const struct sockaddr *)&(ss))

/* The header of RFC 3164, with the local time of before or after. */
static void
test_log_line(void **state)
{
	struct place *p = *state;
	char before[64], after[64], stamp[32];
	time_t t = time(NULL);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &tm);
	snprintf(before, sizeof before, "<30>%s flexmusicd[%ld]: ", stamp,
	    (long)getpid());
	log_event(p->log, LOG_INFO, "start", "a=%d b=\"%s\"", 1, "x y");
	t = time(NULL);
	localtime_r(&t, &tm);
	strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &tm);
	snprintf(after, sizeof after, "<30>%s flexmusicd[%ld]: ", stamp,
	    (long)getpid());
	assert_receives(p, "event=start a=1 b=\"x y\"");
	assert_true(strncmp(p->line, before, strlen(before)) == 0 ||
	    strncmp(p->line, after, strlen(after)) == 0);
}

static void
test_log_levels(void **state)
{
	struct place *p = *state;

	log_event(p->log, LOG_ALERT, "a", "%s", "");
	assert_receives(p, "event=a");
	assert_memory_equal(p->line, "<25>", 4);
	log_set_facility(p->log, LOG_LOCAL7);
	log_event(p->log, LOG_WARNING, "b", "c=1");
	assert_receives(p, "event=b c=1");
	assert_memory_equal(p->line, "<188>", 5);
	log_event(p->log, LOG_DEBUG, "quiet", "c=1");
	assert_null(receive(p));

	log_free(p->log, 0);
	p->log = log_new(p->path, LOG_DAEMON, 1);
	log_event(p->log, LOG_DEBUG, "loud", "c=1");
	assert_receives(p, "event=loud c=1");
	assert_memory_equal(p->line, "<31>", 4);
}

/* A line that goes out is one system call. */
static void
test_log_costs_one_call(void **state)
{
	struct place *p = *state;
	const struct sockaddr_storage a = ipv4("192.0.2.1", 1);
	unsigned i;

	sends = 0;
	connects = 0;
	for (i = 0; i < 10; i++) {
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "i=%u", i);
		assert_non_null(receive(p));
	}
	assert_int_equal(sends, 10);
	assert_int_equal(connects, 0);
}

static void
test_log_before_attach(void **state)
{
	struct place *p = *state;

	log_free(p->log, 0);
	p->log = log_new(p->path, LOG_DAEMON, 0);
	log_event(p->log, LOG_INFO, "early", "a=1");
	assert_receives(p, "event=early a=1");
}

/* A receiver that comes later gets what waited, in order. */
static void
test_log_receiver_absent(void **state)
{
	struct place *p = *state;
	char expected[64];
	unsigned i;

	p->log = log_new(p->path, LOG_DAEMON, 0);
	assert_non_null(p->log);
	log_event(p->log, LOG_INFO, "x", "i=0");
	log_attach(p->log, p->base);
	sends = 0;
	connects = 0;
	for (i = 1; i < 500; i++)
		log_event(p->log, LOG_INFO, "x", "i=%u", i);
	assert_int_equal(sends, 0);
	assert_int_equal(connects, 0);
	/* A try a second. */
	run(p, 1500);
	assert_in_range(connects, 1, 2);
	assert_int_equal(sends, 0);
	receiver_start(p);
	for (i = 0; i < 500; i++) {
		if (i % 5 == 0)
			run(p, i == 0 ? 1100 : 5);
		snprintf(expected, sizeof expected, "event=x i=%u", i);
		assert_receives(p, expected);
	}
	run(p, 5);
	assert_null(receive(p));
	assert_int_equal(log_dropped(p->log), 0);
}

/* A line logged only after log_attach does not need another one behind it. */
static void
test_log_receiver_absent_single_line(void **state)
{
	struct place *p = *state;

	p->log = log_new(p->path, LOG_DAEMON, 0);
	log_attach(p->log, p->base);
	log_event(p->log, LOG_INFO, "only", "a=1");
	receiver_start(p);
	run(p, 1200);
	assert_receives(p, "event=only a=1");
}

/* A restarted receiver has a new socket at the same path. */
static void
test_log_receiver_restarted(void **state)
{
	struct place *p = *state;

	log_event(p->log, LOG_INFO, "one", "a=1");
	assert_receives(p, "event=one a=1");
	receiver_stop(p);
	log_event(p->log, LOG_INFO, "two", "a=1");
	log_event(p->log, LOG_INFO, "three", "a=1");
	receiver_start(p);
	log_event(p->log, LOG_INFO, "four", "a=1");
	run(p, 1200);
	assert_receives(p, "event=two a=1");
	assert_receives(p, "event=three a=1");
	assert_receives(p, "event=four a=1");
	assert_null(receive(p));
	/* Down for long: then the next line finds the new one at once. */
	receiver_stop(p);
	receiver_start(p);
	usleep(1100000);
	log_event(p->log, LOG_INFO, "five", "a=1");
	assert_receives(p, "event=five a=1");
}

/*
 * A receiver that is there and does not read: nothing waits, system calls
 * stay few, and where lines are missing their number stands.
 */
static void
test_log_receiver_slow(void **state)
{
	struct place *p = *state;
	const unsigned total = 5000;
	unsigned i, next = 0, got = 0, dropped, gaps = 0, n;
	unsigned long long missing = 0, m;
	const long long begin = now_ms();
	const char *text;

	sends = 0;
	connects = 0;
	for (i = 0; i < total; i++)
		log_event(p->log, LOG_INFO, "x", "i=%u", i);
	dropped = (unsigned)log_dropped(p->log);
	assert_true(dropped > 0 && dropped < total);
	/* What the kernel took, and one that it refused. */
	assert_true(sends <= total - dropped - LOG_RING_LINES + 1);
	sends = 0;
	run(p, 1500);
	assert_true(sends <= 4);
	assert_true(connects <= 4);
	assert_true(now_ms() - begin < 4000);

	while (got + missing < total && now_ms() - begin < 20000) {
		while ((text = receive(p)) != NULL) {
			if (sscanf(text, "event=log-dropped dropped=%llu",
				&m) == 1) {
				assert_memory_equal(p->line, "<28>", 4);
				missing += m;
				next += (unsigned)m;
				gaps++;
				continue;
			}
			assert_int_equal(sscanf(text, "event=x i=%u", &n), 1);
			assert_int_equal(n, next);
			next++;
			got++;
		}
		run(p, 2);
	}
	assert_int_equal(got + missing, total);
	assert_int_equal(missing, dropped);
	assert_int_equal(log_dropped(p->log), dropped);
	assert_int_equal(gaps, 1);
	log_event(p->log, LOG_INFO, "after", "a=1");
	run(p, 20);
	assert_receives(p, "event=after a=1");
}

/* Memory is short: the socket can be written, says poll, and can't. */
static void
test_log_wakes_up_in_vain(void **state)
{
	struct place *p = *state;
	const long long begin = now_ms();

	send_error = ENOBUFS;
	sends = 0;
	log_event(p->log, LOG_INFO, "x", "a=1");
	run(p, 500);
	assert_in_range(sends, 1, 4);
	send_error = 0;
	while (receive(p) == NULL) {
		assert_true(now_ms() - begin < 10000);
		run(p, 20);
	}
	assert_non_null(strstr(p->line, "event=x a=1"));
}

/* The line that tells of a gap stands in the gap, not at the end. */
static void
test_log_gap_in_the_middle(void **state)
{
	struct place *p = *state;
	const long long begin = now_ms();
	char before[2048] = "";
	const char *text = "";
	unsigned i;

	for (i = 0; log_dropped(p->log) < 3; i++)
		log_event(p->log, LOG_INFO, "x", "i=%u", i);
	/* Some room, while most of the ring still waits. */
	for (i = 0; i < 30; i++) {
		assert_non_null(receive(p));
		run(p, 1);
	}
	log_event(p->log, LOG_INFO, "after", "a=1");
	while (strcmp(text, "event=after a=1") != 0) {
		assert_true(now_ms() - begin < 20000);
		strlcpy(before, text, sizeof before);
		while ((text = receive(p)) == NULL)
			run(p, 1);
	}
	assert_string_equal(before, "event=log-dropped dropped=3");
	assert_int_equal(log_dropped(p->log), 3);
}

/* --- peers --------------------------------------------------------------- */

/* Counts the lines that wait at the receiver and begin with `prefix`. */
static unsigned
count(struct place *p, const char *prefix)
{
	const char *text;
	unsigned n = 0;

	while ((text = receive(p)) != NULL)
		n += strncmp(text, prefix, strlen(prefix)) == 0;
	return n;
}

static void
test_log_peer_limit(void **state)
{
	struct place *p = *state;
	struct sockaddr_storage a;
	unsigned i, n = 0;

	for (i = 0; i < 25; i++) {
		a = ipv4("192.0.2.1", 1000 + i);
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "i=%u", i);
		n += count(p, "event=x peer=192.0.2.1:");
	}
	assert_int_equal(n, LOG_PEER_LINES);
	assert_int_equal(log_left_out(p->log), 15);
	/* Another peer is not concerned. */
	a = ipv4("192.0.2.2", 1);
	log_peer_event(p->log, LOG_INFO, "y", SA(a), "a=1");
	assert_receives(p, "event=y peer=192.0.2.2:1 a=1");
	/* Alarms always get through. */
	a = ipv4("192.0.2.1", 7);
	log_peer_event(p->log, LOG_ALERT, "z", SA(a), "a=1");
	assert_receives(p, "event=z peer=192.0.2.1:7 a=1");
	/* Its IPv6 form is the same peer. */
	a = ipv6("::ffff:192.0.2.1", 8);
	log_peer_event(p->log, LOG_INFO, "x", SA(a), "a=1");
	assert_null(receive(p));
	run(p, 1200);
	assert_receives(
	    p, "event=log-limited peer=[::ffff:192.0.2.1]:8 left_out=16");
	assert_null(receive(p));
	/* And then it may again. */
	log_peer_event(p->log, LOG_INFO, "x", SA(a), "a=1");
	assert_receives(p, "event=x peer=[::ffff:192.0.2.1]:8 a=1");
	/* Nothing more is told of it. */
	run(p, 1200);
	assert_null(receive(p));
}

/* In no second more than ten, and each second one line that tells. */
/* What tells how things go does not push out what an administrator has to
 * see, however much of it a peer causes. */
static void
test_log_peer_limit_levels(void **state)
{
	struct place *p = *state;
	struct sockaddr_storage a = ipv4("192.0.2.9", 9);
	char due[64];
	unsigned i, plain = 0, noted = 0;

	for (i = 0; i < 3 * LOG_PEER_LINES; i++) {
		log_peer_event(p->log, LOG_INFO, "plain", SA(a), "n=%u", i);
		plain += count(p, "event=plain ");
	}
	assert_int_equal(plain, LOG_PEER_LINES);
	for (i = 0; i < 3 * LOG_PEER_LINES; i++) {
		log_peer_event(p->log, i % 2 ? LOG_NOTICE : LOG_ERR, "noted",
		    SA(a), "n=%u", i);
		snprintf(
		    due, sizeof(due), "event=noted peer=192.0.2.9:9 n=%u", i);
		noted += count(p, due);
	}
	assert_int_equal(noted, LOG_PEER_LINES);
	assert_int_equal(log_left_out(p->log), 4 * LOG_PEER_LINES);
}

static void
test_log_peer_limit_steady(void **state)
{
	struct place *p = *state;
	const struct sockaddr_storage a = ipv6("2001:db8::1", 5);
	long long before[200], after[200], now, begin = now_ms();
	unsigned lines = 0, told = 0, i, m;
	unsigned long long left_out = 0, sent = 0;
	const char *text;

	while (now_ms() - begin < 2500) {
		now = now_ms();
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "i=%llu", sent);
		sent++;
		run(p, 3);
		while ((text = receive(p)) != NULL) {
			if (sscanf(text,
				"event=log-limited "
				"peer=[2001:db8::1]:5 left_out=%u",
				&m) == 1) {
				left_out += m;
				told++;
				continue;
			}
			assert_true(lines < COUNT_OF(before));
			before[lines] = now;
			after[lines++] = now_ms();
		}
	}
	assert_true(lines >= 2 * LOG_PEER_LINES);
	for (i = LOG_PEER_LINES; i < lines; i++)
		assert_true(after[i] - before[i - LOG_PEER_LINES] >= 999);
	assert_in_range(told, 1, 3);
	run(p, 2100);
	while ((text = receive(p)) != NULL)
		if (sscanf(text,
			"event=log-limited peer=[2001:db8::1]:5 "
			"left_out=%u",
			&m) == 1)
			left_out += m;
	assert_int_equal(lines + left_out, sent);
	assert_int_equal(log_left_out(p->log), left_out);
}

static void
test_log_peer_unknown(void **state)
{
	struct place *p = *state;
	const struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	unsigned i, n = 0;

	for (i = 0; i < 30; i++) {
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "a=1");
		n += count(p, "event=x peer=unknown a=1");
	}
	assert_int_equal(n, 30);
}

/* More peers than are remembered: the quiet ones are forgotten, a loud one
 * is not, and what a forgotten one was owed is told. */
static void
test_log_many_peers(void **state)
{
	struct place *p = *state;
	const struct sockaddr_storage loud = ipv4("192.0.2.1", 1),
				      owed = ipv4("192.0.2.2", 2);
	const long long begin = now_ms();
	struct sockaddr_storage a;
	char text[32];
	unsigned i, n = 0, l = 0;

	for (i = 0; i < LOG_PEER_LINES + 3; i++) {
		log_peer_event(p->log, LOG_INFO, "o", SA(owed), "a=1");
		n += count(p, "event=o");
	}
	assert_int_equal(n, LOG_PEER_LINES);
	n = 0;
	for (i = 0; i < 3 * LOG_PEERS; i++) {
		snprintf(text, sizeof text, "10.1.%u.%u", i / 256, i % 256);
		a = ipv4(text, i);
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "a=1");
		if (i % 100 == 0)
			log_peer_event(p->log, LOG_INFO, "l", SA(loud), "a=1");
		while (receive(p) != NULL) {
			n += strstr(p->line, "event=x ") != NULL;
			l += strstr(p->line, "event=l ") != NULL;
			if (i < 990)
				assert_null(strstr(p->line, "log-limited"));
			if (strstr(p->line,
				"log-limited peer=192.0.2.2:2 "
				"left_out=3") != NULL)
				n += 100000;
		}
	}
	assert_int_equal(n, 3 * LOG_PEERS + 100000);
	assert_in_range(l, LOG_PEER_LINES,
	    LOG_PEER_LINES * (1 + (now_ms() - begin) / 1000));
}

/* --- text ---------------------------------------------------------------- */

static void
test_log_long_lines(void **state)
{
	struct place *p = *state;
	char long_value[1500], quoted[1200];
	const char *text;
	unsigned i, len;

	memset(long_value, 'v', sizeof long_value - 1);
	long_value[sizeof long_value - 1] = '\0';
	log_event(p->log, LOG_INFO, "x", "a=1 b=\"c d\" e=%s", long_value);
	assert_receives(p, "event=x a=1 b=\"c d\" cut=yes");
	/* Not inside quotes, although there are blanks. */
	memset(long_value, ' ', sizeof long_value - 1);
	log_quote(quoted, sizeof quoted, long_value, 1100);
	log_event(p->log, LOG_INFO, "x", "a=1 b=%s c=1", quoted);
	assert_receives(p, "event=x a=1 cut=yes");
	/* Every length around the limit. */
	memset(long_value, 'v', sizeof long_value - 1);
	for (i = 900; i < 1100; i++) {
		log_event(
		    p->log, LOG_INFO, "x", "a=%.*s b=1", (int)i, long_value);
		text = receive(p);
		assert_non_null(text);
		len = (unsigned)strlen(p->line);
		assert_true(len < LOG_LINE_MAX);
		if (strcmp(text + strlen(text) - 4, " b=1") != 0)
			assert_string_equal(
			    text + strlen(text) - 8, " cut=yes");
	}
}

/* A caller's mistake does not make two lines of one. */
static void
test_log_control_characters(void **state)
{
	struct place *p = *state;

	log_event(p->log, LOG_INFO, "x", "a=%s", "1\nevent=y\033[2J\177\t");
	assert_receives(p, "event=x a=1?event=y?[2J??");
}

static void
test_log_quote(void **state)
{
	const int flags = VIS_OCTAL | VIS_TAB | VIS_NL | VIS_DQ | VIS_NOLOCALE;
	struct unit_random r = { 7 };
	uint8_t in[256];
	char out[1100], vis[1100], expected[1104];
	size_t i, len, size;

	for (i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	for (i = 0; i < 300; i++) {
		len = i == 0 ? sizeof in : unit_random_next(&r) % sizeof in;
		if (i != 0)
			unit_random_fill(&r, in, len);
		strvisx(vis, (const char *)in, len, flags);
		snprintf(expected, sizeof expected, "\"%s\"", vis);
		assert_ptr_equal(log_quote(out, sizeof out, in, len), out);
		assert_string_equal(out, expected);
	}
	/* Cut: never inside an escape, always closed. */
	for (size = 0; size < 20; size++) {
		memset(out, 'Z', sizeof out);
		log_quote(out, size, "a\001b\002c", 5);
		if (size == 0) {
			assert_int_equal(out[0], 'Z');
			continue;
		}
		assert_true(strlen(out) < size);
		assert_int_equal(out[size], 'Z');
		assert_string_equal(out,
		    size < 3	     ? ""
			: size == 3  ? "\"\""
			: size < 8   ? "\"a\""
			: size == 8  ? "\"a\\001\""
			: size < 13  ? "\"a\\001b\""
			: size == 13 ? "\"a\\001b\\002\""
				     : "\"a\\001b\\002c\"");
	}
}

static void
test_log_address(void **state)
{
	struct sockaddr_storage a = ipv4("203.0.113.9", 53422);
	char out[64];

	assert_string_equal(
	    log_address(out, sizeof out, SA(a)), "203.0.113.9:53422");
	a = ipv6("::1", 53422);
	assert_string_equal(log_address(out, sizeof out, SA(a)), "[::1]:53422");
	a = ipv6("fe80:1111:2222:3333:4444:5555:6666:7777", 65535);
	((struct sockaddr_in6 *)&a)->sin6_scope_id = 4294967295;
	assert_string_equal(log_address(out, sizeof out, SA(a)),
	    "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535");
	a.ss_family = AF_UNIX;
	assert_string_equal(log_address(out, sizeof out, SA(a)), "unknown");
	assert_string_equal(log_address(out, 4, SA(a)), "unk");
}

/* --- standard error ------------------------------------------------------- */

/* Runs with standard error going into a pipe; in a process of its own. */
struct pipe_log {
	struct event_base *base;
	struct log *log;
	int reader;
};

static int
pipe_begin(struct pipe_log *l)
{
	int fd[2];

	if (pipe(fd) == -1 || dup2(fd[1], STDERR_FILENO) == -1)
		return -1;
	close(fd[1]);
	l->reader = fd[0];
	l->base = event_base_new();
	l->log = log_new(NULL, LOG_DAEMON, 0);
	if (l->base == NULL || l->log == NULL)
		return -1;
	log_attach(l->log, l->base);
	return fcntl(l->reader, F_SETFL, O_NONBLOCK);
}

static void
pipe_end(struct pipe_log *l)
{
	log_free(l->log, 0);
	event_base_free(l->base);
	close(l->reader);
}

/* Runs `child` in a child process, which ends with its status. */
static int
in_child(int (*child)(struct place *), struct place *p)
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(child(p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("died by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int
child_stderr_line(struct place *p)
{
	struct pipe_log l;
	char line[256], expected[128];
	ssize_t n;

	if (pipe_begin(&l) == -1)
		return 1;
	log_event(l.log, LOG_WARNING, "x", "a=1");
	n = read(l.reader, line, sizeof line - 1);
	if (n <= 16)
		return 2;
	line[n] = '\0';
	snprintf(expected, sizeof expected,
	    " flexmusicd[%ld]: warning: event=x a=1\n", (long)getpid());
	if (strcmp(line + 15, expected) != 0)
		return 3;
	pipe_end(&l);
	return 0;
}

/* Nobody reads the pipe, and then somebody does. */
static int
child_stderr_full(struct place *p)
{
	const unsigned total = 4000;
	struct place loop = { 0 };
	struct pipe_log l;
	unsigned i, lines = 0, spins;
	char bytes[4096];
	unsigned long long missing;
	ssize_t n, j;
	long long begin = now_ms();

	if (pipe_begin(&l) == -1)
		return 1;
	loop.base = l.base;
	for (i = 0; i < total; i++)
		log_event(l.log, LOG_INFO, "x", "i=%u", i);
	if (now_ms() - begin > 1000)
		return 2;
	missing = log_dropped(l.log);
	if (missing == 0)
		return 3;
	/* All but the dropped ones, and the line that says so. */
	for (spins = 0; spins < 2000 && lines < total - missing + 1; spins++) {
		run(&loop, 5);
		while ((n = read(l.reader, bytes, sizeof bytes)) > 0)
			for (j = 0; j < n; j++)
				lines += bytes[j] == '\n';
	}
	if (lines != total - missing + 1)
		return 4;
	pipe_end(&l);
	return 0;
}

static int
child_stderr_closed(struct place *p)
{
	struct place loop = { 0 };
	struct pipe_log l;
	int fd;

	if (pipe_begin(&l) == -1)
		return 1;
	loop.base = l.base;
	close(l.reader);
	log_event(l.log, LOG_INFO, "x", "a=1");
	run(&loop, 1200);
	log_event(l.log, LOG_INFO, "x", "a=2");
	fd = l.reader = open("/dev/null", O_RDONLY);
	if (fd == -1)
		return 2;
	pipe_end(&l);
	return 0;
}

static void
test_log_stderr(void **state)
{
	assert_int_equal(in_child(child_stderr_line, *state), 0);
	assert_int_equal(in_child(child_stderr_full, *state), 0);
	assert_int_equal(in_child(child_stderr_closed, *state), 0);
}

/* --- the end -------------------------------------------------------------- */

/* A receiver that never reads holds log_free up for its limit, no longer. */
static void
test_log_free_waits_bounded(void **state)
{
	struct place *p = *state;
	long long begin;
	unsigned i;

	for (i = 0; i < 3000; i++)
		log_event(p->log, LOG_INFO, "x", "i=%u", i);
	begin = now_ms();
	sends = 0;
	log_free(p->log, 300);
	p->log = NULL;
	assert_true(now_ms() - begin >= 290);
	assert_true(now_ms() - begin < 1000);
	assert_true(sends < 40);
	/* And one that is absent. */
	receiver_stop(p);
	p->log = log_new(p->path, LOG_DAEMON, 0);
	log_event(p->log, LOG_INFO, "x", "a=1");
	begin = now_ms();
	log_free(p->log, 100);
	p->log = NULL;
	assert_true(now_ms() - begin < 800);
}

static int
child_reads(struct place *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	unsigned n = 0;

	while (poll(&f, 1, 1000) == 1)
		while (recv(p->fd, p->line, sizeof p->line, 0) > 0)
			n++;
	return n > 1000 ? 0 : 1;
}

/* One that reads gets everything, what was left out included. */
static void
test_log_free_flushes(void **state)
{
	struct place *p = *state;
	const struct sockaddr_storage a = ipv4("192.0.2.1", 1);
	unsigned i, last;
	int status;
	pid_t pid;

	for (i = 0; i < LOG_PEER_LINES + 5; i++) {
		log_peer_event(p->log, LOG_INFO, "x", SA(a), "i=%u", i);
		last = count(p, "event=x");
	}
	assert_int_equal(last, 0);
	log_free(p->log, 100);
	p->log = NULL;
	assert_receives(p, "event=log-limited peer=192.0.2.1:1 left_out=5");

	p->log = log_new(p->path, LOG_DAEMON, 0);
	for (i = 0; i < 1010; i++)
		log_event(p->log, LOG_INFO, "x", "i=%u", i);
	assert_int_equal(log_dropped(p->log), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(child_reads(p));
	log_free(p->log, 5000);
	p->log = NULL;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
#define WITH_RECEIVER(t) \
	cmocka_unit_test_setup_teardown(t, setup_receiver, teardown)
	const struct CMUnitTest tests[] = {
		WITH_RECEIVER(test_log_line),
		WITH_RECEIVER(test_log_levels),
		WITH_RECEIVER(test_log_costs_one_call),
		WITH_RECEIVER(test_log_before_attach),
		cmocka_unit_test_setup_teardown(
		    test_log_receiver_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_log_receiver_absent_single_line, setup, teardown),
		WITH_RECEIVER(test_log_receiver_restarted),
		WITH_RECEIVER(test_log_receiver_slow),
		WITH_RECEIVER(test_log_wakes_up_in_vain),
		WITH_RECEIVER(test_log_gap_in_the_middle),
		WITH_RECEIVER(test_log_peer_limit),
		WITH_RECEIVER(test_log_peer_limit_levels),
		WITH_RECEIVER(test_log_peer_limit_steady),
		WITH_RECEIVER(test_log_peer_unknown),
		WITH_RECEIVER(test_log_many_peers),
		WITH_RECEIVER(test_log_long_lines),
		WITH_RECEIVER(test_log_control_characters),
		cmocka_unit_test(test_log_quote),
		cmocka_unit_test(test_log_address),
		cmocka_unit_test(test_log_stderr),
		WITH_RECEIVER(test_log_free_waits_bounded),
		WITH_RECEIVER(test_log_free_flushes),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
