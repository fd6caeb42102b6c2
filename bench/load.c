/*
 * bench/load.c - many clients in one thread that cost as little as clients
 * can, so that the processors are the server's.
 *
 * Runs in: the benchmark, as the user who runs it.  Sees the server's public
 * packets and the sessions' keys.  Not a client to copy: its private exponent
 * is 2, so that its public value is 4 and the shared secret one squaring.
 *
 * usage: load [-Iil] [-a addresses] [-c at_once | -r rate] [-n handshakes]
 *	host port
 *  -I  asks each server who it is, too
 *  -i  holds every session until its standard input ends
 *  -l  says how long handshakes took, too: p50_us, p99_us and max_us
 *  -a  connects from so many addresses of 127.1.0.0/16 (default: the usual)
 *  -c  connections under way at once (8)
 *  -n  complete handshakes to do (100)
 *  -r  starts so many a second, however many are under way; how long one
 *	took counts from the moment it was due
 * Prints one line: done, failed, wall_us and cpu_us.
 */
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>

#include "fmltp/buf.h"
#include "fmltp/crypto.h"
#include "fmltp/dhkey.h"
#include "fmltp/fernet.h"
#include "fmltp/version.h"

#define LOAD_EVENTS    64
#define LOAD_IN	       4096 /* bytes: the longest packet of a server */
#define LOAD_WAIT_MS   60000 /* a server silent for so long is stuck */
#define LOAD_MAX       1000000
#define LOAD_ADDRESSES 60000

/* Which packet of the server's is to come. */
enum load_step {
	LOAD_VEX_INIT,
	LOAD_KEX_INIT,
	LOAD_KEX_ID,
	LOAD_KEX_FINAL,
	LOAD_IDENT, /* its answer */
	LOAD_DONE
};

/* A generation that the server has shown. */
struct load_group {
	struct dh_params params;
	BIGNUM *p;
	struct buf public; /* packet 4 */
	uint8_t public_mem[DH_PEM_MAX];
	struct load_group *older;
};

struct load_client {
	int fd;
	enum load_step step;
	double since_us;
	const struct load_group *group;
	struct fernet fernet;
	size_t banner_len;
	uint8_t banner[VERSION_LINE_MAX];
	size_t in_len;
	uint8_t in[LOAD_IN];
};

struct load {
	struct sockaddr_in server;
	unsigned addresses;
	bool hold;
	bool ident;
	unsigned long wanted;
	unsigned long started;
	unsigned long done;
	unsigned long failed;
	unsigned long now; /* under way */
	int epoll;
	int timer; /* where handshakes start at a rate */
	double period_us; /* of that */
	double due_us; /* the next one */
	double *took_us; /* of each that is done; NULL: nobody asks */
	struct load_group *group; /* the newest */
	BN_CTX *ctx;
};

static _Noreturn void
load_fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
load_clock_us(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) == -1)
		load_fail("clock_gettime");
	return 1e6 * (double)ts.tv_sec + (double)ts.tv_nsec / 1e3;
}

/* Starts one connection, which was due at `since_us`. */
static void
load_connect(struct load *l, double since_us)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in from = { .sin_family = AF_INET };
	const int on = 1;
	struct load_client *c = malloc(sizeof(*c));
	unsigned n = (unsigned)(l->started++);

	if (c == NULL)
		load_fail("malloc");
	c->step = LOAD_VEX_INIT;
	c->since_us = since_us;
	c->in_len = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd == -1 ||
	    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1)
		load_fail("socket");
	if (l->addresses != 0) {
		n %= l->addresses;
		from.sin_addr.s_addr =
		    htonl(0x7f010000u | n / 250 << 8 | (n % 250 + 1));
		if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
			sizeof(on)) == -1 ||
		    bind(c->fd, (struct sockaddr *)&from, sizeof(from)) == -1)
			load_fail("bind");
	}
	if (connect(c->fd, (struct sockaddr *)&l->server, sizeof(l->server)) ==
		-1 &&
	    errno != EINPROGRESS)
		load_fail("connect");
	event.data.ptr = c;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) == -1)
		load_fail("epoll_ctl");
	l->now++;
}

/* A packet is small: a socket that does not take it at once is a failure. */
static bool
load_send(struct load_client *c, const struct buf *b)
{
	return !b->failed &&
	    send(c->fd, b->data, b->len, MSG_NOSIGNAL) == (ssize_t)b->len;
}

static void
load_drop(struct load_client *c, size_t len)
{
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
}

/* The length of the line that came, with its end; 0 where none is whole. */
static size_t
load_line(const struct load_client *c)
{
	const uint8_t *end = memchr(c->in, '\n', c->in_len);

	return end == NULL ? 0 : (size_t)(end - c->in) + 1;
}

/* Packets 1 and 2. */
static enum fmltp_error
load_vex_init(struct load_client *c)
{
	static const char reply[] = "FlexMusic Load,0.0.0\r\n";
	uint8_t out[sizeof(reply)];
	struct buf b;
	size_t taken;

	switch (version_scan(c->in, c->in_len, &c->banner_len, &taken)) {
	case VERSION_SCAN_LINE:
		memcpy(c->banner, c->in, c->banner_len);
		load_drop(c, taken);
		break;
	case VERSION_SCAN_LONG:
		return FMLTP_VEX_LONG;
	default:
		return FMLTP_MORE;
	}
	buf_init(&b, out, sizeof(out));
	buf_put_str(&b, reply);
	return load_send(c, &b) ? FMLTP_OK : FMLTP_RESET;
}

/* What is sent in the generation of these parameters, made when they are
 * first seen; NULL without memory. */
static const struct load_group *
load_find_group(struct load *l, const struct dh_params *params)
{
	uint8_t y[DH_PRIME_MAX] = { 0 };
	struct load_group *g;

	for (g = l->group; g != NULL; g = g->older)
		if (params->len == g->params.len &&
		    memcmp(params->p, g->params.p, params->len) == 0)
			return g;
	if ((g = malloc(sizeof(*g))) == NULL)
		return NULL;
	g->params = *params;
	g->p = BN_bin2bn(params->p, params->len, NULL);
	y[params->len - 1] = 4;
	buf_init(&g->public, g->public_mem, sizeof(g->public_mem));
	dh_public_put_pem(&g->public, params, y);
	if (g->p == NULL || g->public.failed) {
		BN_free(g->p);
		free(g);
		return NULL;
	}
	g->older = l->group;
	return l->group = g;
}

/* Packets 3 and 4. */
static enum fmltp_error
load_kex_init(struct load *l, struct load_client *c)
{
	static struct dh_params params;
	enum fmltp_error e;
	size_t taken;

	e = dh_params_parse_pem(c->in, c->in_len, &params, &taken);
	if (e != FMLTP_OK)
		return e;
	load_drop(c, taken);
	if ((c->group = load_find_group(l, &params)) == NULL)
		return FMLTP_INTERNAL;
	return load_send(c, &c->group->public) ? FMLTP_OK : FMLTP_RESET;
}

/* The session's key: y squared, and HKDF-SHA256 without salt and info. */
static bool
load_derive(struct load *l, const struct load_group *g, const uint8_t *y,
    uint8_t key[FERNET_KEY_LEN])
{
	static const uint8_t zero[CRYPTO_SHA256_LEN], one[] = { 1 };
	uint8_t z[DH_PRIME_MAX], prk[CRYPTO_SHA256_LEN];
	struct crypto_hmac h;
	BIGNUM *n = BN_bin2bn(y, g->params.len, NULL);
	bool ok;

	ok = n != NULL && BN_mod_sqr(n, n, g->p, l->ctx) &&
	    BN_bn2binpad(n, z, g->params.len) == g->params.len;
	BN_free(n);
	if (!ok)
		return false;
	crypto_hmac_init(&h, zero, sizeof(zero));
	crypto_hmac_update(&h, z, g->params.len);
	crypto_hmac_peek(&h, prk);
	crypto_hmac_init(&h, prk, sizeof(prk));
	crypto_hmac_update(&h, one, sizeof(one));
	crypto_hmac_peek(&h, key);
	return true;
}

/* Sends a token. */
static enum fmltp_error
load_seal(struct load_client *c, const void *text, size_t len)
{
	uint8_t out[FERNET_TOKEN_LEN(VERSION_LINE_MAX) + 2], iv[FERNET_IV_LEN];
	struct buf b;

	if (getrandom(iv, sizeof(iv), 0) != (ssize_t)sizeof(iv))
		return FMLTP_INTERNAL;
	buf_init(&b, out, sizeof(out));
	fernet_seal(&c->fernet, (uint64_t)time(NULL), iv, text, len, &b);
	buf_put_str(&b, "\r\n");
	return load_send(c, &b) ? FMLTP_OK : FMLTP_RESET;
}

/* Packets 5 and 6. */
static enum fmltp_error
load_kex_id(struct load *l, struct load_client *c)
{
	uint8_t y[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	enum fmltp_error e;
	size_t taken;

	while (c->in_len > 0 && (c->in[0] == '\r' || c->in[0] == '\n'))
		load_drop(c, 1);
	if (c->in_len == 0)
		return FMLTP_MORE;
	e = dh_public_parse_pem(c->in, c->in_len, &c->group->params, y, &taken);
	if (e != FMLTP_OK)
		return e;
	load_drop(c, taken);
	if (!load_derive(l, c->group, y, key))
		return FMLTP_INTERNAL;
	fernet_init(&c->fernet, key);
	explicit_bzero(key, sizeof(key));
	return load_seal(c, c->banner, c->banner_len);
}

/* A token that has to begin with this text, and be it where `whole`. */
static enum fmltp_error
load_open(struct load_client *c, const char *due, bool whole)
{
	uint8_t plain[LOAD_IN], mac[FERNET_MAC_LEN];
	enum fmltp_error e;
	size_t line, len;
	uint64_t when;

	while (c->in_len > 0 && (c->in[0] == '\r' || c->in[0] == '\n'))
		load_drop(c, 1);
	if ((line = load_line(c)) < 2)
		return FMLTP_MORE;
	e = fernet_open(&c->fernet, c->in, line - 2, plain, &len, &when, mac);
	if (e != FMLTP_OK)
		return e;
	load_drop(c, line);
	return len >= strlen(due) && memcmp(plain, due, strlen(due)) == 0 &&
		(!whole || len == strlen(due))
	    ? FMLTP_OK
	    : FMLTP_CHALLENGE;
}

/* Packet 7. */
static enum fmltp_error
load_kex_final(const struct load *l, struct load_client *c)
{
	enum fmltp_error e =
	    load_open(c, "100 FmLTP/1.0 Interpreter Ready.\r\n", true);

	if (e == FMLTP_OK && l->ident)
		return load_seal(c, "IDENT", strlen("IDENT"));
	if (e == FMLTP_OK)
		c->step = LOAD_IDENT; /* there is no such answer */
	return e;
}

/* Serves what has come; FMLTP_OK when the handshake is complete. */
static enum fmltp_error
load_serve(struct load *l, struct load_client *c)
{
	enum fmltp_error e = FMLTP_OK;
	ssize_t n;

	n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
	if (n == -1)
		return errno == EAGAIN ? FMLTP_MORE : FMLTP_RESET;
	if (n == 0)
		return FMLTP_CLOSED;
	c->in_len += (size_t)n;
	while (e == FMLTP_OK && c->step != LOAD_DONE) {
		switch (c->step) {
		case LOAD_VEX_INIT:
			e = load_vex_init(c);
			break;
		case LOAD_KEX_INIT:
			e = load_kex_init(l, c);
			break;
		case LOAD_KEX_ID:
			e = load_kex_id(l, c);
			break;
		case LOAD_KEX_FINAL:
			e = load_kex_final(l, c);
			break;
		default:
			e = load_open(c, "200 ed25519 ", false);
			break;
		}
		if (e == FMLTP_OK)
			c->step++;
		if (c->in_len == 0 && c->step != LOAD_DONE)
			e = e == FMLTP_OK ? FMLTP_MORE : e;
	}
	return e;
}

/* One connection has something to say. */
static void
load_ready(struct load *l, struct load_client *c)
{
	enum fmltp_error e;

	if (c->step == LOAD_DONE) {
		fprintf(stderr, "load: a held session was ended\n");
		exit(1);
	}
	e = load_serve(l, c);
	if (e == FMLTP_MORE)
		return;
	l->now--;
	if (e == FMLTP_OK) {
		if (l->took_us != NULL)
			l->took_us[l->done] =
			    load_clock_us(CLOCK_MONOTONIC) - c->since_us;
		l->done++;
		if (l->hold)
			return;
	} else {
		if (l->failed++ == 0)
			fprintf(stderr, "load: after packet %d: %s\n",
			    2 * (int)c->step, fmltp_error_text(e));
	}
	close(c->fd);
	free(c);
}

/* From now on one handshake a period is due. */
static void
load_start_timer(struct load *l, unsigned long rate)
{
	struct epoll_event event = { .events = EPOLLIN };
	const long second = 1000000000L, ns = second / (long)rate;
	struct itimerspec spec = { { ns / second, ns % second }, { 0, 0 } };

	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	/* The first one is due at once, by the clock that the others are due
	 * by, whenever this process is let go on. */
	if (l->timer == -1 ||
	    epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &event) == -1 ||
	    clock_gettime(CLOCK_MONOTONIC, &spec.it_value) == -1 ||
	    timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &spec, NULL) == -1)
		load_fail("timerfd");
	l->period_us = (double)ns / 1e3;
	l->due_us = 1e6 * (double)spec.it_value.tv_sec +
	    (double)spec.it_value.tv_nsec / 1e3;
}

static void
load_serve_timer(struct load *l)
{
	uint64_t due;

	if (read(l->timer, &due, sizeof(due)) != (ssize_t)sizeof(due))
		return;
	for (; due > 0 && l->started < l->wanted; due--) {
		load_connect(l, l->due_us);
		l->due_us += l->period_us;
	}
	if (l->started == l->wanted)
		close(l->timer);
}

static void
load_run(struct load *l, unsigned long at_once)
{
	struct epoll_event event[LOAD_EVENTS];
	int i, n;

	while (l->done + l->failed < l->wanted) {
		while (l->period_us == 0 && l->now < at_once &&
		    l->started < l->wanted)
			load_connect(l, load_clock_us(CLOCK_MONOTONIC));
		n = epoll_wait(l->epoll, event, LOAD_EVENTS, LOAD_WAIT_MS);
		if (n == -1 && errno != EINTR)
			load_fail("epoll_wait");
		if (n == 0) {
			fprintf(stderr, "load: the server is silent\n");
			exit(1);
		}
		for (i = 0; i < n; i++)
			if (event[i].data.ptr == NULL)
				load_serve_timer(l);
			else
				load_ready(l, event[i].data.ptr);
	}
}

static int
load_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
load_print_times(struct load *l)
{
	if (l->took_us == NULL || l->done == 0)
		return;
	qsort(l->took_us, l->done, sizeof(*l->took_us), load_compare);
	printf(" p50_us=%.0f p99_us=%.0f max_us=%.0f",
	    l->took_us[(l->done - 1) / 2], l->took_us[(l->done - 1) * 99 / 100],
	    l->took_us[l->done - 1]);
}

static unsigned long
load_number(const char *s, unsigned long max)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0' || n < 1 || n > max) {
		fprintf(
		    stderr, "load: %s is not a number of 1 to %lu\n", s, max);
		exit(2);
	}
	return n;
}

/* Held sessions are descriptors. */
static void
load_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		load_fail("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		load_fail("setrlimit");
}

int
main(int argc, char **argv)
{
	static struct load l = { .wanted = 100 };
	unsigned long at_once = 8, rate = 0;
	bool times = false;
	double wall, cpu;
	char c;
	int option;

	while ((option = getopt(argc, argv, "Iia:c:ln:r:")) != -1)
		switch (option) {
		case 'I':
			l.ident = true;
			break;
		case 'i':
			l.hold = true;
			break;
		case 'a':
			l.addresses =
			    (unsigned)load_number(optarg, LOAD_ADDRESSES);
			break;
		case 'c':
			at_once = load_number(optarg, LOAD_MAX);
			break;
		case 'l':
			times = true;
			break;
		case 'n':
			l.wanted = load_number(optarg, LOAD_MAX);
			break;
		case 'r':
			rate = load_number(optarg, LOAD_MAX);
			break;
		default:
			return 2;
		}
	if (argc - optind != 2) {
		fprintf(stderr,
		    "usage: load [-Iil] [-a addresses] [-c at_once | -r rate] "
		    "[-n handshakes] host port\n");
		return 2;
	}
	l.server.sin_family = AF_INET;
	l.server.sin_port =
	    htons((uint16_t)load_number(argv[optind + 1], UINT16_MAX));
	if (inet_pton(AF_INET, argv[optind], &l.server.sin_addr) != 1) {
		fprintf(stderr, "load: %s is no address\n", argv[optind]);
		return 2;
	}
	load_raise_descriptors();
	if ((l.epoll = epoll_create1(EPOLL_CLOEXEC)) == -1)
		load_fail("epoll_create1");
	if ((l.ctx = BN_CTX_new()) == NULL ||
	    (times && (l.took_us = calloc(l.wanted, sizeof(double))) == NULL))
		load_fail("malloc");
	if (rate > 0)
		load_start_timer(&l, rate);
	wall = load_clock_us(CLOCK_MONOTONIC);
	cpu = load_clock_us(CLOCK_PROCESS_CPUTIME_ID);
	load_run(&l, at_once);
	printf("done=%lu failed=%lu wall_us=%.0f cpu_us=%.0f", l.done, l.failed,
	    load_clock_us(CLOCK_MONOTONIC) - wall,
	    load_clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu);
	load_print_times(&l);
	putchar('\n');
	fflush(stdout);
	while (l.hold && read(STDIN_FILENO, &c, 1) > 0)
		continue;
	return l.failed == 0 ? 0 : 1;
}
