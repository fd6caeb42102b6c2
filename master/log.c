/*
 * master/log.c - the log: one line an event, `key=value`, never waited for.
 *
 * Runs in: master, as root; no other process writes the log.  syslog(3)
 * can't be used here: it blocks while its receiver is slow.
 * Must never see: keys, passwords, a client's packets.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "master/bar.h"
#include "master/log.h"

#define PROGRAM	       "flexmusicd"
#define CUT	       " cut=yes" /* the end of a line that was too long */
#define RETRY_MS       1000 /* between two tries to reach the receiver */
#define LIMIT_TELL_MS  1000 /* between two log-limited lines of a peer */
#define TIMER_SLACK_MS 20
#define CLOSE_STEP_MS  20 /* how often log_free looks for the receiver */
#define PEER_TEXT_MAX  64
#define PEER_BUCKETS   1024 /* a power of two */
#define NO_PEER	       UINT16_MAX

/* A line in the ring, as it is sent. */
struct line {
	uint16_t len;
	char text[LOG_LINE_MAX];
};

/* An address, an IPv4 one in its IPv6 form. */
struct address {
	uint8_t bytes[16];
	uint32_t scope;
};

/* Of the lines about a peer. */
enum peer_kind {
	PEER_PLAIN, /* of the levels info and debug */
	PEER_NOTED,
	PEER_KINDS
};

/* What is known of a peer. */
struct peer {
	struct address address;
	char text[PEER_TEXT_MAX]; /* as it was when last seen */
	/* When its last lines went out, of those that tell how things go and
	 * those that an administrator has to see, and the oldest of each: the
	 * former shall not push out the latter. */
	uint64_t out[PEER_KINDS][LOG_PEER_LINES];
	unsigned next[PEER_KINDS];
	unsigned left_out; /* since it was last told */
	uint64_t told; /* when that was */
	uint16_t chain; /* the next one in its bucket */
	uint16_t older, newer; /* by when it was last heard */
};

enum reach {
	REACH_DOWN, /* no receiver: tried again once a second */
	REACH_FULL, /* it does not take lines now: told when it does */
	REACH_UP
};

struct log {
	bool to_stderr;
	struct sockaddr_un address; /* of the receiver */
	int fd;
	int facility;
	int verbosity;
	pid_t pid;
	enum reach reach;
	bool tried; /* to connect, at `last_try` */
	uint64_t last_try;

	struct event_base *base; /* NULL before log_attach */
	struct event *retry; /* the receiver is away */
	struct event *writable; /* it takes lines again */
	struct event *limits; /* some peer's lines were left out */
	bool progress; /* a line went out since `writable` was set up */

	time_t second; /* that `stamp` stands for */
	char stamp[sizeof "Jan  1 00:00:00"];

	struct line *ring;
	size_t first, used;
	unsigned long long gap; /* lines dropped and not told yet */
	unsigned long long dropped;
	unsigned long long left_out;

	uint64_t seed; /* so that nobody can choose a bucket */
	uint16_t bucket[PEER_BUCKETS];
	struct peer peer[LOG_PEERS];
	size_t peers;
	uint16_t oldest, newest;
};

static const char *const level_names[] = { "emergency", "alert", "critical",
	"error", "warning", "notice", "info", "debug" };

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The local time as RFC 3164 has it, made once a second. */
static const char *
stamp(struct log *log)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May",
		"Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct timespec t;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &t);
	if (t.tv_sec != log->second || log->stamp[0] == '\0') {
		if (localtime_r(&t.tv_sec, &tm) == NULL)
			gmtime_r(&(const time_t){ 0 }, &tm);
		snprintf(log->stamp, sizeof log->stamp, "%s %2u %02u:%02u:%02u",
		    months[(unsigned)tm.tm_mon % 12], (unsigned)tm.tm_mday % 32,
		    (unsigned)tm.tm_hour % 24, (unsigned)tm.tm_min % 60,
		    (unsigned)tm.tm_sec % 62);
		log->second = t.tv_sec;
	}
	return log->stamp;
}

/* --- the receiver ------------------------------------------------------ */

/* A little late: libevent's clock is coarse, and a timer that fires a moment
 * early would find that its second is not over. */
static void
arm(struct event *timer, unsigned ms)
{
	const unsigned late = ms + TIMER_SLACK_MS;
	const struct timeval t = { .tv_sec = late / 1000,
		.tv_usec = (suseconds_t)(late % 1000) * 1000 };

	if (timer != NULL && !evtimer_pending(timer, NULL))
		evtimer_add(timer, &t);
}

static void
go_down(struct log *log)
{
	log->reach = REACH_DOWN;
	arm(log->retry, RETRY_MS);
}

static void log_flush(struct log *log);

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct log *log = arg;

	log->reach = REACH_UP;
	log_flush(log);
}

/* The receiver is there and has no room: wait until it has. */
static void
go_full(struct log *log)
{
	/* Where a wake-up brought nothing, the next might not either. */
	if (log->base != NULL && !log->progress) {
		go_down(log);
		return;
	}
	log->reach = REACH_FULL;
	if (log->base == NULL)
		return;
	log->progress = false;
	if (log->writable == NULL)
		log->writable =
		    event_new(log->base, log->fd, EV_WRITE, on_writable, log);
	if (log->writable == NULL || event_add(log->writable, NULL) == -1)
		go_down(log);
}

/* Looks for the receiver, at most once a second. */
static bool
reach_receiver(struct log *log)
{
	const uint64_t now = now_ms();

	if (log->tried && now - log->last_try < RETRY_MS) {
		go_down(log);
		return false;
	}
	log->tried = true;
	log->last_try = now;
	if (log->to_stderr) {
		log->reach = REACH_UP;
		return true;
	}
	if (log->fd == -1)
		log->fd = socket(
		    AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (log->fd == -1 ||
	    connect(log->fd, (struct sockaddr *)&log->address,
		sizeof log->address) == -1) {
		go_down(log);
		return false;
	}
	log->reach = REACH_UP;
	return true;
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	log_flush(arg);
}

enum sent {
	SENT,
	SENT_FULL,
	SENT_DOWN
};

static enum sent
send_stderr(const char *text, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	/* Not ours alone, so it is not made non-blocking. */
	if (poll(&p, 1, 0) != 1)
		return SENT_FULL;
	bar_clear();
	if ((p.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0 ||
	    write(STDERR_FILENO, text, len) == -1)
		return SENT_DOWN;
	return SENT;
}

static enum sent
send_line(struct log *log, const char *text, size_t len)
{
	if (log->to_stderr)
		return send_stderr(text, len);
	if (send(log->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != -1)
		return SENT;
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		return SENT_FULL;
	default:
		return SENT_DOWN;
	}
}

/*
 * Sends one line.  A receiver that was restarted is found again at once, but
 * not more than once a second.  False if the line is to wait.
 */
static bool
deliver(struct log *log, const char *text, size_t len)
{
	enum sent sent = SENT_DOWN;

	if (log->reach == REACH_UP)
		sent = send_line(log, text, len);
	if (sent == SENT_DOWN && reach_receiver(log))
		sent = send_line(log, text, len);
	switch (sent) {
	case SENT:
		log->progress = true;
		return true;
	case SENT_FULL:
		go_full(log);
		return false;
	case SENT_DOWN:
		break;
	}
	go_down(log);
	return false;
}

/* --- lines -------------------------------------------------------------- */

/*
 * Where the line in text[begin..len) can be cut to at most `max` bytes: at
 * the last blank outside quotes, so that no value is cut inside.
 */
static size_t
find_cut(const char *text, size_t begin, size_t len, size_t max)
{
	bool quoted = false;
	size_t i, cut = max;

	for (i = begin; i < len && i <= max; i++) {
		if (text[i] == '"')
			quoted = !quoted;
		else if (text[i] == ' ' && !quoted)
			cut = i;
	}
	return cut;
}

/* Composes a line into `line`, as it is sent. */
static void __attribute__((format(printf, 5, 0))) compose(struct log *log,
    struct line *line, int level, const char *head, const char *fmt, va_list ap)
{
	const size_t max = LOG_LINE_MAX - (log->to_stderr ? 1 : 0);
	char *text = line->text;
	size_t begin, len, i;
	int n;

	if (log->to_stderr)
		n = snprintf(text, max, "%s " PROGRAM "[%ld]: %s: ", stamp(log),
		    (long)log->pid, level_names[level & LOG_PRIMASK]);
	else
		n = snprintf(text, max,
		    "<%d>%s " PROGRAM "[%ld]: ", log->facility | level,
		    stamp(log), (long)log->pid);
	begin = (size_t)n;
	len = begin;
	n = snprintf(text + len, max - len, "event=%s ", head);
	len += (size_t)n < max - len ? (size_t)n : max - len - 1;
	n = vsnprintf(text + len, max - len, fmt, ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= max - len) {
		len = find_cut(text, begin, max - 1, max - sizeof CUT);
		memcpy(text + len, CUT, sizeof CUT - 1);
		len += sizeof CUT - 1;
	} else
		len += (size_t)n;
	while (len > begin && text[len - 1] == ' ')
		len--;
	for (i = begin; i < len; i++)
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	if (log->to_stderr)
		text[len++] = '\n';
	line->len = (uint16_t)len;
}

static void __attribute__((format(printf, 5, 6))) compose_line(struct log *log,
    struct line *line, int level, const char *head, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	compose(log, line, level, head, fmt, ap);
	va_end(ap);
}

static struct line *
ring_end(struct log *log)
{
	return &log->ring[(log->first + log->used) % LOG_RING_LINES];
}

/* The line that tells of a gap, put where the gap is. */
static void
ring_put_gap(struct log *log)
{
	compose_line(log, ring_end(log), LOG_WARNING, "log-dropped",
	    "dropped=%llu", log->gap);
	log->used++;
	log->gap = 0;
}

static void
ring_put(struct log *log, const struct line *line)
{
	const size_t room = LOG_RING_LINES - log->used;

	/* Behind a gap, a line needs room for the one that tells of it. */
	if (room < (log->gap != 0 ? 2 : 1)) {
		log->gap++;
		log->dropped++;
		return;
	}
	if (log->gap != 0)
		ring_put_gap(log);
	memcpy(ring_end(log), line, offsetof(struct line, text) + line->len);
	log->used++;
}

/* Sends what waits, as far as the receiver takes it. */
static void
log_flush(struct log *log)
{
	const struct line *line;

	for (;;) {
		if (log->used == 0) {
			if (log->gap == 0)
				return;
			ring_put_gap(log);
		}
		line = &log->ring[log->first];
		if (!deliver(log, line->text, line->len))
			return;
		log->first = (log->first + 1) % LOG_RING_LINES;
		log->used--;
	}
}

/* Whether it is worth to try now. */
static bool
may_send(const struct log *log)
{
	switch (log->reach) {
	case REACH_UP:
		return true;
	case REACH_FULL:
		/* No event loop yet that would tell. */
		return log->base == NULL;
	case REACH_DOWN:
		break;
	}
	return !log->tried || now_ms() - log->last_try >= RETRY_MS;
}

/* The end of every line's way: out, or into the ring. */
static void
put(struct log *log, const struct line *line)
{
	if (!may_send(log)) {
		ring_put(log, line);
		if (log->reach == REACH_DOWN)
			arm(log->retry, RETRY_MS);
		return;
	}
	if (log->reach == REACH_FULL)
		log->reach = REACH_UP;
	if (log->used == 0 && log->gap == 0) {
		if (!deliver(log, line->text, line->len))
			ring_put(log, line);
		return;
	}
	ring_put(log, line);
	log_flush(log);
}

/* --- peers -------------------------------------------------------------- */

/* False for a family that has no such addresses. */
static bool
address_of(const struct sockaddr *sa, struct address *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	memset(out, 0, sizeof *out);
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&sin, sa, sizeof sin);
		memcpy(out->bytes, mapped, sizeof mapped);
		memcpy(out->bytes + 12, &sin.sin_addr, 4);
		return true;
	case AF_INET6:
		memcpy(&sin6, sa, sizeof sin6);
		memcpy(out->bytes, &sin6.sin6_addr, 16);
		out->scope = sin6.sin6_scope_id;
		return true;
	default:
		return false;
	}
}

static uint16_t *
bucket_of(struct log *log, const struct address *a)
{
	uint64_t h = log->seed, word;
	size_t i;

	for (i = 0; i < sizeof a->bytes; i += sizeof word) {
		memcpy(&word, a->bytes + i, sizeof word);
		h = (h ^ word) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	h = (h ^ a->scope) * 0x9e3779b97f4a7c15;
	return &log->bucket[h >> 32 & (PEER_BUCKETS - 1)];
}

static void
unlink_age(struct log *log, uint16_t i)
{
	const struct peer *p = &log->peer[i];

	if (p->older == NO_PEER)
		log->oldest = p->newer;
	else
		log->peer[p->older].newer = p->newer;
	if (p->newer == NO_PEER)
		log->newest = p->older;
	else
		log->peer[p->newer].older = p->older;
}

static void
link_newest(struct log *log, uint16_t i)
{
	struct peer *p = &log->peer[i];

	p->newer = NO_PEER;
	p->older = log->newest;
	if (log->newest == NO_PEER)
		log->oldest = i;
	else
		log->peer[log->newest].newer = i;
	log->newest = i;
}

/* One line that says how many were left out. */
static void
tell_limited(struct log *log, struct peer *p, uint64_t now)
{
	struct line line;

	compose_line(log, &line, LOG_WARNING, "log-limited",
	    "peer=%s left_out=%u", p->text, p->left_out);
	p->left_out = 0;
	p->told = now;
	put(log, &line);
}

/* Room for a new peer: the one that has been quiet longest goes. */
static uint16_t
take_slot(struct log *log, uint64_t now)
{
	uint16_t i, *link;

	if (log->peers < LOG_PEERS)
		return (uint16_t)log->peers++;
	i = log->oldest;
	if (log->peer[i].left_out != 0)
		tell_limited(log, &log->peer[i], now);
	link = bucket_of(log, &log->peer[i].address);
	while (*link != i)
		link = &log->peer[*link].chain;
	*link = log->peer[i].chain;
	unlink_age(log, i);
	return i;
}

static struct peer *
find_peer(struct log *log, const struct address *a, uint64_t now)
{
	uint16_t *bucket = bucket_of(log, a), i;
	struct peer *p;

	for (i = *bucket; i != NO_PEER; i = log->peer[i].chain)
		if (memcmp(&log->peer[i].address, a, sizeof *a) == 0) {
			unlink_age(log, i);
			link_newest(log, i);
			return &log->peer[i];
		}
	i = take_slot(log, now);
	p = &log->peer[i];
	memset(p, 0, sizeof *p);
	p->address = *a;
	p->chain = *bucket;
	*bucket = i;
	link_newest(log, i);
	return p;
}

/* True if one more line of this peer may go out now. */
static bool
peer_may(struct log *log, struct peer *p, int level, uint64_t now)
{
	const enum peer_kind kind = level >= LOG_INFO ? PEER_PLAIN : PEER_NOTED;
	uint64_t *oldest = &p->out[kind][p->next[kind]];

	if (*oldest != 0 && now - *oldest < 1000) {
		/* The first one of many: they are told of together. */
		if (p->left_out == 0 && now - p->told >= LIMIT_TELL_MS)
			p->told = now;
		p->left_out++;
		log->left_out++;
		arm(log->limits, LIMIT_TELL_MS);
		return false;
	}
	*oldest = now;
	p->next[kind] = (p->next[kind] + 1) % LOG_PEER_LINES;
	return true;
}

/* Tells of the peers whose time has come, or of all. */
static void
tell_limits(struct log *log, bool all)
{
	const uint64_t now = now_ms();
	struct peer *p;

	for (p = log->peer; p < log->peer + log->peers; p++) {
		if (p->left_out == 0)
			continue;
		if (all || now - p->told >= LIMIT_TELL_MS)
			tell_limited(log, p, now);
		else
			arm(log->limits, LIMIT_TELL_MS);
	}
}

static void
on_limits(evutil_socket_t fd, short what, void *arg)
{
	tell_limits(arg, false);
}

/* --- what others call --------------------------------------------------- */

struct log *
log_new(const char *socket_path, int facility, int verbosity)
{
	struct log *log;

	log = calloc(1, sizeof *log);
	if (log == NULL)
		return NULL;
	/* Big, and touched only when it is needed. */
	log->ring = calloc(LOG_RING_LINES, sizeof *log->ring);
	if (log->ring == NULL) {
		free(log);
		return NULL;
	}
	log->to_stderr = socket_path == NULL;
	log->fd = log->to_stderr ? STDERR_FILENO : -1;
	log->facility = facility;
	log->verbosity = verbosity;
	log->pid = getpid();
	log->address.sun_family = AF_UNIX;
	if (socket_path != NULL)
		strlcpy(log->address.sun_path, socket_path,
		    sizeof log->address.sun_path);
	arc4random_buf(&log->seed, sizeof log->seed);
	memset(log->bucket, 0xff, sizeof log->bucket);
	log->oldest = NO_PEER;
	log->newest = NO_PEER;
	log->progress = true;
	/* localtime_r reads the time zone here once, not for each line. */
	tzset();
	reach_receiver(log);
	return log;
}

void
log_attach(struct log *log, struct event_base *base)
{
	log->base = base;
	log->pid = getpid();
	log->retry = evtimer_new(base, on_retry, log);
	log->limits = evtimer_new(base, on_limits, log);
	if (log->used != 0 || log->gap != 0) {
		if (log->reach == REACH_FULL)
			log->reach = REACH_UP;
		log_flush(log);
	}
	arm(log->limits, LIMIT_TELL_MS);
}

void
log_set_facility(struct log *log, int facility)
{
	log->facility = facility;
}

void
log_set_verbosity(struct log *log, int verbosity)
{
	log->verbosity = verbosity;
}

int
log_verbosity(const struct log *log)
{
	return log->verbosity;
}

/* Waits until the receiver may take a line, `ms` at most. */
static void
wait_receiver(const struct log *log, int ms)
{
	struct pollfd p = { .fd = log->fd, .events = POLLOUT };

	/* Where a wait has brought nothing, poll may say at once again that
	 * it has room. */
	if (log->reach == REACH_FULL && log->progress)
		poll(&p, 1, ms);
	else
		poll(NULL, 0, ms);
}

static void
free_event(struct event *e)
{
	if (e != NULL)
		event_free(e);
}

void
log_free(struct log *log, int ms)
{
	uint64_t end, now;

	if (log == NULL)
		return;
	free_event(log->retry);
	free_event(log->writable);
	free_event(log->limits);
	log->retry = NULL;
	log->writable = NULL;
	log->limits = NULL;
	log->base = NULL;
	tell_limits(log, true);
	end = now_ms() + (ms > 0 ? (uint64_t)ms : 0);
	for (;;) {
		if (log->reach == REACH_FULL)
			log->reach = REACH_UP;
		log->progress = false;
		if (may_send(log))
			log_flush(log);
		now = now_ms();
		if ((log->used == 0 && log->gap == 0) || now >= end)
			break;
		wait_receiver(log,
		    end - now < CLOSE_STEP_MS ? (int)(end - now)
					      : CLOSE_STEP_MS);
	}
	if (!log->to_stderr && log->fd != -1)
		close(log->fd);
	free(log->ring);
	free(log);
}

static bool
wanted(const struct log *log, int level)
{
	return level < LOG_DEBUG || log->verbosity > 0;
}

void
log_event(struct log *log, int level, const char *event, const char *fmt, ...)
{
	struct line line;
	va_list ap;

	if (!wanted(log, level))
		return;
	va_start(ap, fmt);
	compose(log, &line, level, event, fmt, ap);
	va_end(ap);
	put(log, &line);
}

void
log_peer_event(struct log *log, int level, const char *event,
    const struct sockaddr *peer, const char *fmt, ...)
{
	char text[PEER_TEXT_MAX], head[PEER_TEXT_MAX + 64];
	struct address address;
	struct line line;
	struct peer *p;
	uint64_t now;
	va_list ap;

	if (!wanted(log, level))
		return;
	log_address(text, sizeof text, peer);
	if (level > LOG_ALERT && address_of(peer, &address)) {
		now = now_ms();
		p = find_peer(log, &address, now);
		strlcpy(p->text, text, sizeof p->text);
		if (p->left_out != 0 && now - p->told >= LIMIT_TELL_MS)
			tell_limited(log, p, now);
		if (!peer_may(log, p, level, now))
			return;
	}
	snprintf(head, sizeof head, "%s peer=%s", event, text);
	va_start(ap, fmt);
	compose(log, &line, level, head, fmt, ap);
	va_end(ap);
	put(log, &line);
}

/* Writes the byte as strvis(3) does; at most four characters. */
static size_t
quote_byte(char out[4], uint8_t c)
{
	if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = (char)('0' + (c >> 6));
	out[2] = (char)('0' + (c >> 3 & 7));
	out[3] = (char)('0' + (c & 7));
	return 4;
}

const char *
log_quote(char *out, size_t size, const void *bytes, size_t len)
{
	const uint8_t *in = bytes;
	char one[4];
	size_t i, n, at = 0;

	if (size < 3) {
		if (size > 0)
			out[0] = '\0';
		return out;
	}
	out[at++] = '"';
	for (i = 0; i < len; i++) {
		n = quote_byte(one, in[i]);
		if (at + n + 2 > size)
			break;
		memcpy(out + at, one, n);
		at += n;
	}
	out[at++] = '"';
	out[at] = '\0';
	return out;
}

const char *
log_address(char *out, size_t size, const struct sockaddr *sa)
{
	char text[INET6_ADDRSTRLEN], scope[16] = "";
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&sin, sa, sizeof sin);
		inet_ntop(AF_INET, &sin.sin_addr, text, sizeof text);
		snprintf(out, size, "%s:%u", text, ntohs(sin.sin_port));
		break;
	case AF_INET6:
		memcpy(&sin6, sa, sizeof sin6);
		inet_ntop(AF_INET6, &sin6.sin6_addr, text, sizeof text);
		if (sin6.sin6_scope_id != 0)
			snprintf(
			    scope, sizeof scope, "%%%u", sin6.sin6_scope_id);
		snprintf(
		    out, size, "[%s%s]:%u", text, scope, ntohs(sin6.sin6_port));
		break;
	default:
		strlcpy(out, "unknown", size);
		break;
	}
	return out;
}

unsigned long long
log_dropped(const struct log *log)
{
	return log->dropped;
}

unsigned long long
log_left_out(const struct log *log)
{
	return log->left_out;
}
