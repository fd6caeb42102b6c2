/*
 * master/source.h - who may connect: sources, their connections, rates and
 * penalties.
 *
 * Runs in: master, as root.  It decides by address alone, before anything of
 * a connection is read.  No process, no socket, no clock: time is handed in.
 *
 * A source is a network: the address cut to source_prefix_ipv4 or
 * source_prefix_ipv6 bits (an IPv4 address in IPv6 form is an IPv4 one).
 */
#ifndef MASTER_SOURCE_H
#define MASTER_SOURCE_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCES_MAX	    65536 /* known at a time */
#define SOURCE_KEY_LEN	    16
#define SOURCE_NETWORKS_MAX 32
#define SOURCE_TEXT_MAX	    64 /* "2001:db8::/64" and its NUL */

/* A network of the configuration. */
struct source_network {
	uint8_t address[SOURCE_KEY_LEN]; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t bits; /* of the 128 */
};

/* What the configuration says; a change keeps what is known of sources. */
struct source_limits {
	unsigned connections; /* of one source at a time; 0: no limit */
	unsigned rate; /* new ones of a source a second; 0: no limit */
	unsigned burst; /* that many at once before the rate counts */
	unsigned prefix_ipv4; /* bits; these two stay what they were at first */
	unsigned prefix_ipv6;
	/* The longest penalty of each kind; 0: such offences don't count. */
	unsigned handshake_cooldown_ms;
	unsigned auth_cooldown_ms;
	unsigned crash_cooldown_ms;
	/* From penalties alone: the other limits hold for all. */
	struct source_network exempt[SOURCE_NETWORKS_MAX];
	size_t exempts;
};

enum source_verdict {
	SOURCE_ADMITTED,
	SOURCE_PENALISED,
	SOURCE_TOO_MANY, /* connections at a time */
	SOURCE_TOO_FAST
};

/*
 * What a source can have done.  Of the first two, counted together, the third
 * within 60 s costs 5 s.  From any penalty on, while it lasts and until the
 * source was quiet for 60 s after its end (or for the penalty's own length,
 * where that is longer), each further one costs at once: 5 s, or twice what
 * the last such one cost, to its kind's cooldown.  A crash costs
 * crash_cooldown at once.  No offence shortens a penalty.
 */
enum source_offence {
	SOURCE_HANDSHAKE, /* a malformed packet 4, a wrong MAC in packet 6 */
	SOURCE_AUTH, /* a session that failed all its attempts */
	SOURCE_CRASH, /* a worker's crash or violation of a channel */
	SOURCE_OFFENCES
};

struct sources;

/* NULL without memory.  Nothing is limited until limits are set. */
struct sources *sources_new(void);
void sources_free(struct sources *t);
/*
 * For what comes from now on; what is known of sources stays, but for
 * penalties of those that are now exempt.  The prefixes of the first call
 * stay: connections are counted by them.
 */
void sources_set_limits(struct sources *t, const struct source_limits *limits);

/*
 * Whether a connection from `sa` is taken at `now_ms`, of a clock that need
 * not be right: set back, it neither lengthens nor forgets anything.  A
 * connection that is taken counts until source_leave with the same address.
 * O(log n).  Without memory, or with SOURCES_MAX sources that all have
 * connections, it is admitted, and not counted.
 */
enum source_verdict
source_admit(struct sources *t, const struct sockaddr *sa, uint64_t now_ms);
void
source_leave(struct sources *t, const struct sockaddr *sa, uint64_t now_ms);
/* Connections of this source now. */
unsigned source_connections(const struct sources *t, const struct sockaddr *sa);

/*
 * Counts an offence.  The penalty in ms that it brings, from now on; 0 where
 * it brings none, or none that outlasts the one in force.
 */
uint64_t source_offend(struct sources *t, const struct sockaddr *sa,
    enum source_offence offence, uint64_t now_ms);

/* The key of an address's source, for queues that are served by turns. */
void source_key(const struct sources *t, const struct sockaddr *sa,
    uint8_t key[SOURCE_KEY_LEN]);
/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/64". */
const char *source_text(
    const struct sources *t, const struct sockaddr *sa, char *out, size_t size);

/* A source under penalty. */
struct source_penalty {
	char text[SOURCE_TEXT_MAX];
	enum source_offence offence; /* the last that counted */
	unsigned offences; /* that counted together, crashes included */
	uint64_t left_ms;
};

/* Where a list of penalties is; all zeros before its first. */
struct source_cursor {
	bool begun;
	uint8_t key[SOURCE_KEY_LEN]; /* the last that was listed */
};

/*
 * Penalties in force, in the order of their keys: the next one.  False at the
 * end.  The table may change between two calls.
 */
bool source_next_penalty(struct sources *t, struct source_cursor *at,
    uint64_t now_ms, struct source_penalty *out);
/* Forgets the offences of a source, or of all (`sa` NULL): how many were
 * under penalty. */
size_t
source_clear(struct sources *t, const struct sockaddr *sa, uint64_t now_ms);

/* Sources known; those that have expired go a few at each call. */
size_t sources_known(const struct sources *t);

/*
 * "192.0.2.0/24", "2001:db8::1", as penalty_exempt has them.  False where it
 * is no numeric address or network, or has bits beyond its prefix.
 */
bool source_parse_network(const char *text, struct source_network *out);
/* It as "192.0.2.0/24"; without prefix where that is a single address. */
const char *
source_network_text(const struct source_network *net, char *out, size_t size);

#endif
