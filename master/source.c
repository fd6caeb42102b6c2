/*
 * master/source.c - who may connect: sources, their connections, rates and
 * penalties.
 *
 * Runs in: master, as root.  It decides by address alone, before anything of
 * a connection is read.  No process, no socket, no clock: time is handed in.
 */
#include <sys/tree.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/source.h"

#define WINDOW_MS	60000 /* in which offences count together */
#define WINDOW_OFFENCES 3 /* that many bring the first penalty */
#define FIRST_MS	5000 /* that is this long */
#define DOUBLINGS_MAX	30 /* beyond any cooldown */
#define TOKEN		1000 /* a connection; so `rate' comes in each ms */
#define STEP_BACK_MS	1000 /* more than that back is another clock */
#define EXPIRED_AT_ONCE 16 /* sources forgotten in one call */
#define IPV4_BITS	96 /* of the 128, before those of an IPv4 address */
#define KEY_BITS	(8 * SOURCE_KEY_LEN)

struct source {
	RB_ENTRY(source) by_key;
	RB_ENTRY(source) by_expiry; /* while it has no connections */
	uint8_t key[SOURCE_KEY_LEN];
	uint64_t expires; /* its place in by_expiry */
	unsigned connections;
	/* Tokens taken and not yet back, at `refilled`; none where no rate is
	 * set. */
	uint64_t taken;
	uint64_t refilled;
	/* Offences. */
	uint64_t last[WINDOW_OFFENCES - 1]; /* when, the latest first */
	enum source_offence offence; /* the latest */
	unsigned offences; /* that count together */
	unsigned steps; /* penalties since `offences` began, but for crashes */
	uint64_t penalty_ends; /* 0: none yet */
	uint64_t quiet; /* when, without another, all is forgotten; 0: as soon
			   as the window has passed */
};

RB_HEAD(key_tree, source);
RB_HEAD(expiry_tree, source);

struct sources {
	struct key_tree by_key;
	struct expiry_tree by_expiry;
	size_t count;
	struct source_limits limits;
	bool limited; /* limits were set */
	uint64_t clock; /* the latest reading */
	uint64_t now; /* time that never goes back */
};

static int
compare_keys(const struct source *a, const struct source *b)
{
	return memcmp(a->key, b->key, sizeof a->key);
}

static int
compare_expiry(const struct source *a, const struct source *b)
{
	if (a->expires != b->expires)
		return a->expires < b->expires ? -1 : 1;
	return compare_keys(a, b);
}

/* RB_GENERATE_STATIC needs a macro that libbsd does not have. */
#define UNUSED_STATIC __attribute__((unused)) static
RB_GENERATE_INTERNAL(key_tree, source, by_key, compare_keys, UNUSED_STATIC)
RB_GENERATE_INTERNAL(
    expiry_tree, source, by_expiry, compare_expiry, UNUSED_STATIC)

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* --- addresses ------------------------------------------------------------ */

/* Sets all but the first `bits` to 0; true if they were. */
static bool
cut(uint8_t key[SOURCE_KEY_LEN], unsigned bits)
{
	bool clean = true;
	uint8_t keep;
	unsigned i;

	for (i = 0; i < SOURCE_KEY_LEN; i++) {
		if (bits >= 8 * (i + 1))
			continue;
		keep = 0;
		if (bits > 8 * i)
			keep = (uint8_t)(0xff << (8 - (bits - 8 * i)));
		if ((key[i] & ~keep & 0xff) != 0)
			clean = false;
		key[i] &= keep;
	}
	return clean;
}

static void
map_ipv4(uint8_t key[SOURCE_KEY_LEN], const struct in_addr *a)
{
	memset(key, 0, SOURCE_KEY_LEN);
	key[10] = 0xff;
	key[11] = 0xff;
	memcpy(key + IPV4_BITS / 8, a, sizeof *a);
}

static bool
is_ipv4(const uint8_t key[SOURCE_KEY_LEN])
{
	struct in6_addr a;

	memcpy(&a, key, sizeof a);
	return IN6_IS_ADDR_V4MAPPED(&a);
}

/* The whole address.  What is no internet address is ::, and one source. */
static void
full_key(const struct sockaddr *sa, uint8_t key[SOURCE_KEY_LEN])
{
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	memset(key, 0, SOURCE_KEY_LEN);
	if (sa->sa_family == AF_INET) {
		memcpy(&sin, sa, sizeof sin);
		map_ipv4(key, &sin.sin_addr);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&sin6, sa, sizeof sin6);
		memcpy(key, &sin6.sin6_addr, SOURCE_KEY_LEN);
	}
}

/* Of the 128 bits of a key, those that make the source. */
static unsigned
prefix_bits(const struct sources *t, const uint8_t key[SOURCE_KEY_LEN])
{
	return is_ipv4(key) ? IPV4_BITS + t->limits.prefix_ipv4
			    : t->limits.prefix_ipv6;
}

void
source_key(const struct sources *t, const struct sockaddr *sa,
    uint8_t key[SOURCE_KEY_LEN])
{
	full_key(sa, key);
	cut(key, prefix_bits(t, key));
}

/* A network as text; `bits` of the 128. */
static const char *
network_text(
    const uint8_t key[SOURCE_KEY_LEN], unsigned bits, char *out, size_t size)
{
	char address[INET6_ADDRSTRLEN];

	if (is_ipv4(key) && bits >= IPV4_BITS) {
		inet_ntop(
		    AF_INET, key + IPV4_BITS / 8, address, sizeof address);
		if (bits == KEY_BITS)
			snprintf(out, size, "%s", address);
		else
			snprintf(out, size, "%s/%u", address, bits - IPV4_BITS);
		return out;
	}
	inet_ntop(AF_INET6, key, address, sizeof address);
	if (bits == KEY_BITS)
		snprintf(out, size, "%s", address);
	else
		snprintf(out, size, "%s/%u", address, bits);
	return out;
}

const char *
source_text(
    const struct sources *t, const struct sockaddr *sa, char *out, size_t size)
{
	uint8_t key[SOURCE_KEY_LEN];

	source_key(t, sa, key);
	return network_text(key, prefix_bits(t, key), out, size);
}

const char *
source_network_text(const struct source_network *net, char *out, size_t size)
{
	return network_text(net->address, net->bits, out, size);
}

/* A prefix in plain decimal, 0 to `max`. */
static bool
parse_prefix(const char *text, unsigned max, unsigned *out)
{
	const char *error;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' ||
	    (text[0] == '0' && text[1] != '\0'))
		return false;
	*out = (unsigned)strtonum(text, 0, max, &error);
	return error == NULL;
}

bool
source_parse_network(const char *text, struct source_network *out)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	const size_t len =
	    slash != NULL ? (size_t)(slash - text) : strlen(text);
	struct in_addr ipv4;
	unsigned skipped = 0, bits;

	if (len >= sizeof address)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, address, &ipv4) == 1) {
		map_ipv4(out->address, &ipv4);
		skipped = IPV4_BITS;
	} else if (inet_pton(AF_INET6, address, out->address) != 1)
		return false;
	bits = KEY_BITS - skipped;
	if (slash != NULL && !parse_prefix(slash + 1, bits, &bits))
		return false;
	out->bits = (uint8_t)(skipped + bits);
	return cut(out->address, out->bits);
}

/* True if the first `bits` of the key are those of an exempt network. */
static bool
is_exempt(
    const struct sources *t, const uint8_t key[SOURCE_KEY_LEN], unsigned bits)
{
	const struct source_network *net;
	uint8_t start[SOURCE_KEY_LEN];
	size_t i;

	for (i = 0; i < t->limits.exempts; i++) {
		net = &t->limits.exempt[i];
		/* ::/0 speaks of IPv6, as 0.0.0.0/0 does of IPv4. */
		if (net->bits > bits || is_ipv4(key) != is_ipv4(net->address))
			continue;
		memcpy(start, key, sizeof start);
		cut(start, net->bits);
		if (memcmp(start, net->address, sizeof start) == 0)
			return true;
	}
	return false;
}

/* --- what is known of a source -------------------------------------------- */

/* Gives back the tokens that have come since, and no more. */
static void
refill(const struct sources *t, struct source *s)
{
	const uint64_t back = (t->now - s->refilled) * t->limits.rate;

	s->taken =
	    t->limits.rate == 0 || back >= s->taken ? 0 : s->taken - back;
	s->refilled = t->now;
}

static bool
is_penalised(const struct sources *t, const struct source *s)
{
	return s->penalty_ends > t->now;
}

static void
forget_offences(struct source *s)
{
	s->offences = 0;
	s->steps = 0;
	s->penalty_ends = 0;
	s->quiet = 0;
}

/* Forgets those that no longer count. */
static void
forget_old(const struct sources *t, struct source *s)
{
	unsigned i;

	if (s->quiet != 0) {
		if (s->quiet <= t->now)
			forget_offences(s);
		return;
	}
	for (i = 0; i < s->offences; i++)
		if (s->last[i] + WINDOW_MS <= t->now)
			s->offences = i;
}

/* When there is nothing left to know, if nothing more happens. */
static uint64_t
expiry(const struct sources *t, const struct source *s)
{
	uint64_t at = s->quiet;

	if (s->quiet == 0 && s->offences != 0)
		at = s->last[0] + WINDOW_MS;
	if (s->taken != 0)
		at = later(at,
		    s->refilled +
			(s->taken + t->limits.rate - 1) / t->limits.rate);
	return at;
}

static void
drop(struct sources *t, struct source *s)
{
	RB_REMOVE(key_tree, &t->by_key, s);
	free(s);
	t->count--;
}

/* Takes a source out of the order of expiry, to change it. */
static void
hold(struct sources *t, struct source *s)
{
	if (s->connections == 0)
		RB_REMOVE(expiry_tree, &t->by_expiry, s);
}

/* Puts it back; forgets it where nothing is to be known. */
static void
release(struct sources *t, struct source *s)
{
	if (s->connections != 0)
		return;
	s->expires = expiry(t, s);
	if (s->expires <= t->now)
		drop(t, s);
	else
		RB_INSERT(expiry_tree, &t->by_expiry, s);
}

static struct source *
find(const struct sources *t, const uint8_t key[SOURCE_KEY_LEN])
{
	struct source wanted;
	struct key_tree tree = t->by_key; /* RB_FIND takes no const */

	memcpy(wanted.key, key, sizeof wanted.key);
	return RB_FIND(key_tree, &tree, &wanted);
}

/* The source, held and up to date, made where it is not known: NULL where
 * there is no room. */
static struct source *
take(struct sources *t, const uint8_t key[SOURCE_KEY_LEN])
{
	struct source *s = find(t, key), *first;

	if (s != NULL) {
		hold(t, s);
		refill(t, s);
		forget_old(t, s);
		return s;
	}
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	if (t->count >= SOURCES_MAX) {
		first = RB_MIN(expiry_tree, &t->by_expiry);
		if (first == NULL) {
			free(s);
			return NULL;
		}
		hold(t, first);
		drop(t, first);
	}
	memcpy(s->key, key, sizeof s->key);
	s->refilled = t->now;
	RB_INSERT(key_tree, &t->by_key, s);
	t->count++;
	return s;
}

/* Time goes on, whatever the clock does; some that have expired go. */
static void
tick(struct sources *t, uint64_t now_ms)
{
	struct source *s;
	unsigned i;

	if (now_ms > t->clock)
		t->now += now_ms - t->clock;
	if (now_ms > t->clock || t->clock - now_ms > STEP_BACK_MS)
		t->clock = now_ms;
	for (i = 0; i < EXPIRED_AT_ONCE; i++) {
		s = RB_MIN(expiry_tree, &t->by_expiry);
		if (s == NULL || s->expires > t->now)
			return;
		hold(t, s);
		drop(t, s);
	}
}

/* --- the table ------------------------------------------------------------ */

struct sources *
sources_new(void)
{
	struct sources *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	RB_INIT(&t->by_key);
	RB_INIT(&t->by_expiry);
	t->limits.prefix_ipv4 = 32;
	t->limits.prefix_ipv6 = 64;
	return t;
}

void
sources_free(struct sources *t)
{
	struct source *s, *next;

	if (t == NULL)
		return;
	for (s = RB_MIN(key_tree, &t->by_key); s != NULL; s = next) {
		next = RB_NEXT(key_tree, &t->by_key, s);
		drop(t, s);
	}
	free(t);
}

void
sources_set_limits(struct sources *t, const struct source_limits *limits)
{
	const unsigned ipv4 = t->limits.prefix_ipv4;
	const unsigned ipv6 = t->limits.prefix_ipv6;
	struct source *s, *next;

	/* What has come at the old rate, before the new one counts. */
	for (s = RB_MIN(key_tree, &t->by_key); s != NULL;
	     s = RB_NEXT(key_tree, &t->by_key, s))
		refill(t, s);
	RB_INIT(&t->by_expiry);
	t->limits = *limits;
	if (t->limited || t->count != 0) {
		t->limits.prefix_ipv4 = ipv4;
		t->limits.prefix_ipv6 = ipv6;
	}
	t->limited = true;
	for (s = RB_MIN(key_tree, &t->by_key); s != NULL; s = next) {
		next = RB_NEXT(key_tree, &t->by_key, s);
		if (t->limits.rate == 0)
			s->taken = 0;
		else if (s->taken > (uint64_t)t->limits.burst * TOKEN)
			s->taken = (uint64_t)t->limits.burst * TOKEN;
		if (is_exempt(t, s->key, prefix_bits(t, s->key)))
			forget_offences(s);
		release(t, s);
	}
}

static enum source_verdict
judge(const struct sources *t, const struct source *s, bool exempt)
{
	const struct source_limits *l = &t->limits;

	if (is_penalised(t, s) && !exempt)
		return SOURCE_PENALISED;
	if (l->connections != 0 && s->connections >= l->connections)
		return SOURCE_TOO_MANY;
	if (l->rate != 0 && s->taken + TOKEN > (uint64_t)l->burst * TOKEN)
		return SOURCE_TOO_FAST;
	return SOURCE_ADMITTED;
}

enum source_verdict
source_admit(struct sources *t, const struct sockaddr *sa, uint64_t now_ms)
{
	uint8_t address[SOURCE_KEY_LEN], key[SOURCE_KEY_LEN];
	enum source_verdict verdict;
	struct source *s;

	tick(t, now_ms);
	full_key(sa, address);
	source_key(t, sa, key);
	s = take(t, key);
	if (s == NULL)
		return SOURCE_ADMITTED;
	verdict = judge(t, s, is_exempt(t, address, KEY_BITS));
	if (verdict == SOURCE_ADMITTED) {
		s->connections++;
		if (t->limits.rate != 0)
			s->taken += TOKEN;
	}
	release(t, s);
	return verdict;
}

void
source_leave(struct sources *t, const struct sockaddr *sa, uint64_t now_ms)
{
	uint8_t key[SOURCE_KEY_LEN];
	struct source *s;

	tick(t, now_ms);
	source_key(t, sa, key);
	s = find(t, key);
	if (s == NULL || s->connections == 0)
		return;
	refill(t, s);
	forget_old(t, s);
	s->connections--;
	release(t, s);
}

unsigned
source_connections(const struct sources *t, const struct sockaddr *sa)
{
	uint8_t key[SOURCE_KEY_LEN];
	const struct source *s;

	source_key(t, sa, key);
	s = find(t, key);
	return s == NULL ? 0 : s->connections;
}

/* --- offences ------------------------------------------------------------- */

static uint64_t
cooldown(const struct sources *t, enum source_offence offence)
{
	switch (offence) {
	case SOURCE_HANDSHAKE:
		return t->limits.handshake_cooldown_ms;
	case SOURCE_AUTH:
		return t->limits.auth_cooldown_ms;
	case SOURCE_CRASH:
		return t->limits.crash_cooldown_ms;
	case SOURCE_OFFENCES:
		break;
	}
	return 0;
}

/* How long the offence, counted already, is to cost; 0: nothing yet. */
static uint64_t
price(const struct source *s, enum source_offence offence, uint64_t most)
{
	uint64_t ms;

	if (offence == SOURCE_CRASH)
		return most;
	if (s->quiet == 0 && s->offences < WINDOW_OFFENCES)
		return 0;
	ms = (uint64_t)FIRST_MS
	    << (s->steps < DOUBLINGS_MAX ? s->steps : DOUBLINGS_MAX);
	return ms < most ? ms : most;
}

/* The penalty of a counted offence, in force; what it adds, or 0. */
static uint64_t
penalise(const struct sources *t, struct source *s, enum source_offence offence)
{
	const uint64_t ms = price(s, offence, cooldown(t, offence));
	const uint64_t ends = t->now + ms;

	if (ms == 0)
		return 0;
	if (offence != SOURCE_CRASH)
		s->steps++;
	s->quiet = later(s->quiet, ends + later(ms, WINDOW_MS));
	if (ends <= s->penalty_ends)
		return 0;
	s->penalty_ends = ends;
	return ms;
}

uint64_t
source_offend(struct sources *t, const struct sockaddr *sa,
    enum source_offence offence, uint64_t now_ms)
{
	uint8_t address[SOURCE_KEY_LEN], key[SOURCE_KEY_LEN];
	struct source *s;
	uint64_t ms;

	tick(t, now_ms);
	full_key(sa, address);
	if (cooldown(t, offence) == 0 || is_exempt(t, address, KEY_BITS))
		return 0;
	source_key(t, sa, key);
	s = take(t, key);
	if (s == NULL)
		return 0;
	memmove(s->last + 1, s->last, sizeof s->last - sizeof s->last[0]);
	s->last[0] = t->now;
	s->offences++;
	s->offence = offence;
	ms = penalise(t, s, offence);
	release(t, s);
	return ms;
}

bool
source_next_penalty(struct sources *t, struct source_cursor *at,
    uint64_t now_ms, struct source_penalty *out)
{
	struct source *s, from;

	tick(t, now_ms);
	memcpy(from.key, at->key, sizeof from.key);
	s = at->begun ? RB_NFIND(key_tree, &t->by_key, &from)
		      : RB_MIN(key_tree, &t->by_key);
	if (s != NULL && at->begun && compare_keys(s, &from) == 0)
		s = RB_NEXT(key_tree, &t->by_key, s);
	while (s != NULL && !is_penalised(t, s))
		s = RB_NEXT(key_tree, &t->by_key, s);
	if (s == NULL)
		return false;
	at->begun = true;
	memcpy(at->key, s->key, sizeof at->key);
	network_text(
	    s->key, prefix_bits(t, s->key), out->text, sizeof out->text);
	out->offence = s->offence;
	out->offences = s->offences;
	out->left_ms = s->penalty_ends - t->now;
	return true;
}

/* 1 if it was under penalty. */
static size_t
clear(struct sources *t, struct source *s)
{
	const bool was = is_penalised(t, s);

	hold(t, s);
	refill(t, s);
	forget_offences(s);
	release(t, s);
	return was ? 1 : 0;
}

size_t
source_clear(struct sources *t, const struct sockaddr *sa, uint64_t now_ms)
{
	uint8_t key[SOURCE_KEY_LEN];
	struct source *s, *next;
	size_t cleared = 0;

	tick(t, now_ms);
	if (sa != NULL) {
		source_key(t, sa, key);
		s = find(t, key);
		return s == NULL ? 0 : clear(t, s);
	}
	for (s = RB_MIN(key_tree, &t->by_key); s != NULL; s = next) {
		next = RB_NEXT(key_tree, &t->by_key, s);
		cleared += clear(t, s);
	}
	return cleared;
}

size_t
sources_known(const struct sources *t)
{
	return t->count;
}
