/*
 * tests/unit/test_source.c - who may connect: limits, rates, penalties and
 * the bounds of the table, against a plain model of the same.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#include <netinet/in.h>

#include <arpa/inet.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "master/source.h"
#include "tests/unit/unit.h"

#define START	  1000000 /* some time, in ms */
#define MINUTE	  60000
#define HANDSHAKE 300000 /* the cooldowns */
#define AUTH	  3600000
#define CRASH	  3600000

union address {
	struct sockaddr sa;
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;
};

static const struct source_limits no_limits = { .prefix_ipv4 = 32,
	.prefix_ipv6 = 64,
	.burst = 20,
	.handshake_cooldown_ms = HANDSHAKE,
	.auth_cooldown_ms = AUTH,
	.crash_cooldown_ms = CRASH };

static struct sources *
table(const struct source_limits *limits)
{
	struct sources *t = sources_new();

	assert_non_null(t);
	sources_set_limits(t, limits);
	return t;
}

static union address
address(const char *text)
{
	union address a;

	memset(&a, 0, sizeof a);
	if (inet_pton(AF_INET, text, &a.sin.sin_addr) == 1)
		a.sa.sa_family = AF_INET;
	else {
		assert_int_equal(
		    inet_pton(AF_INET6, text, &a.sin6.sin6_addr), 1);
		a.sa.sa_family = AF_INET6;
	}
	return a;
}

/* 10.x.y.z of a number. */
static union address
numbered(uint32_t n)
{
	union address a;

	memset(&a, 0, sizeof a);
	a.sin.sin_family = AF_INET;
	a.sin.sin_addr.s_addr = htonl(0x0a000000 + n);
	return a;
}

static void
add_exempt(struct source_limits *l, const char *text)
{
	assert_true(source_parse_network(text, &l->exempt[l->exempts]));
	l->exempts++;
}

/* --- addresses ------------------------------------------------------------ */

static void
test_source_key_prefixes(void **state)
{
	struct source_limits l = no_limits;
	struct unit_random random = { 1 };
	uint8_t key[SOURCE_KEY_LEN];
	struct sources *t;
	union address a, b;
	unsigned bits, i;

	for (bits = 0; bits <= 128; bits++) {
		l.prefix_ipv6 = bits;
		l.prefix_ipv4 = bits <= 32 ? bits : 32;
		t = table(&l);
		memset(&a, 0, sizeof a);
		a.sa.sa_family = AF_INET6;
		unit_random_fill(
		    &random, a.sin6.sin6_addr.s6_addr, SOURCE_KEY_LEN);
		a.sin6.sin6_addr.s6_addr[0] = 0x20;
		source_key(t, &a.sa, key);
		for (i = 0; i < 128; i++)
			assert_int_equal(key[i / 8] >> (7 - i % 8) & 1,
			    i < bits &&
				(a.sin6.sin6_addr.s6_addr[i / 8] >>
				    (7 - i % 8)) &
				    1);
		memset(&b, 0, sizeof b);
		b.sin.sin_family = AF_INET;
		b.sin.sin_addr.s_addr = (uint32_t)unit_random_next(&random);
		source_key(t, &b.sa, key);
		for (i = 0; i < 12; i++)
			assert_int_equal(key[i], i < 10 ? 0 : 0xff);
		for (i = 0; i < 32; i++)
			assert_int_equal(key[12 + i / 8] >> (7 - i % 8) & 1,
			    i < l.prefix_ipv4 &&
				ntohl(b.sin.sin_addr.s_addr) >> (31 - i) & 1);
		sources_free(t);
	}
}

static void
test_source_key_forms(void **state)
{
	struct sources *t = table(&no_limits);
	uint8_t key[SOURCE_KEY_LEN], other[SOURCE_KEY_LEN];
	union address a, b;

	/* An IPv4 address is one in either form. */
	a = address("192.0.2.7");
	b = address("::ffff:192.0.2.7");
	source_key(t, &a.sa, key);
	source_key(t, &b.sa, other);
	assert_memory_equal(key, other, sizeof key);
	b = address("::ffff:192.0.2.8");
	source_key(t, &b.sa, other);
	assert_memory_not_equal(key, other, sizeof key);

	/* Neither port nor interface makes another source. */
	a = address("fe80::1");
	b = a;
	b.sin6.sin6_scope_id = 3;
	b.sin6.sin6_port = 5;
	b.sin6.sin6_flowinfo = 7;
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &b.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_connections(t, &a.sa), 2);
	a = address("192.0.2.7");
	b = a;
	b.sin.sin_port = 9;
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_connections(t, &b.sa), 1);

	/* What is of no such family is one source. */
	memset(&a, 0, sizeof a);
	a.sa.sa_family = AF_UNIX;
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_connections(t, &a.sa), 1);
	source_leave(t, &a.sa, START);
	assert_int_equal(source_connections(t, &a.sa), 0);
	sources_free(t);
}

static void
test_source_text(void **state)
{
	static const struct {
		unsigned ipv4, ipv6;
		const char *address, *text;
	} rows[] = { { 32, 64, "192.0.2.7", "192.0.2.7" },
		{ 24, 64, "192.0.2.7", "192.0.2.0/24" },
		{ 24, 64, "::ffff:192.0.2.7", "192.0.2.0/24" },
		{ 8, 64, "192.0.2.7", "192.0.0.0/8" },
		{ 32, 64, "2001:db8::1", "2001:db8::/64" },
		{ 32, 128, "2001:db8::1", "2001:db8::1" },
		{ 32, 16, "2001:db8::1", "2001::/16" },
		{ 32, 64, "::1", "::/64" },
		{ 32, 128, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
		    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff" } };
	struct source_limits l = no_limits;
	char text[SOURCE_TEXT_MAX];
	struct sources *t;
	union address a;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		l.prefix_ipv4 = rows[i].ipv4;
		l.prefix_ipv6 = rows[i].ipv6;
		t = table(&l);
		a = address(rows[i].address);
		assert_string_equal(
		    source_text(t, &a.sa, text, sizeof text), rows[i].text);
		sources_free(t);
	}
}

static void
test_source_networks(void **state)
{
	static const char *const good[][2] = { { "127.0.0.0/8", "127.0.0.0/8" },
		{ "192.0.2.7", "192.0.2.7" }, { "192.0.2.7/32", "192.0.2.7" },
		{ "0.0.0.0/0", "0.0.0.0/0" }, { "::1", "::1" },
		{ "::/0", "::/0" }, { "2001:DB8::/32", "2001:db8::/32" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0/8" },
		{ "2001:db8::1/128", "2001:db8::1" } };
	static const char *const bad[] = { "", "/", "/8", "127.0.0.0/",
		"127.0.0.0/33", "127.0.0.0/-1", "127.0.0.0/08", "127.0.0.0/8 ",
		" 127.0.0.0/8", "127.0.0.1/8", "127.0.0/8", "127.1",
		"localhost", "::1/64", "::1/129", "::/1x", "::/0/0", "fe80::%1",
		"[::1]", "10.0.0.0/255.0.0.0", "10.0.0.0/4294967304",
		"2001:db8:0:0:0:0:0:0:0/32",
		"11111111111111111111111111111111111111111111111111/8" };
	struct source_network net;
	char text[SOURCE_TEXT_MAX];
	size_t i;

	for (i = 0; i < COUNT_OF(good); i++) {
		if (!source_parse_network(good[i][0], &net))
			fail_msg("%s: refused", good[i][0]);
		assert_string_equal(
		    source_network_text(&net, text, sizeof text), good[i][1]);
	}
	for (i = 0; i < COUNT_OF(bad); i++)
		if (source_parse_network(bad[i], &net))
			fail_msg("%s: taken", bad[i]);
}

/* --- limits --------------------------------------------------------------- */

static void
test_source_connections(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7"), b = address("192.0.2.8");
	struct sources *t;
	int i;

	l.connections = 3;
	t = table(&l);
	for (i = 0; i < 3; i++)
		assert_int_equal(
		    source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_TOO_MANY);
	assert_int_equal(source_connections(t, &a.sa), 3);
	assert_int_equal(source_admit(t, &b.sa, START), SOURCE_ADMITTED);
	source_leave(t, &a.sa, START);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_TOO_MANY);

	/* A limit that came down holds once enough have gone. */
	l.connections = 1;
	sources_set_limits(t, &l);
	source_leave(t, &a.sa, START);
	source_leave(t, &a.sa, START);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_TOO_MANY);
	l.connections = 0;
	sources_set_limits(t, &l);
	for (i = 0; i < 1000; i++)
		assert_int_equal(
		    source_admit(t, &a.sa, START), SOURCE_ADMITTED);

	/* Nothing is known of who has gone; one leave too many is harmless. */
	for (i = 0; i < 1001; i++)
		source_leave(t, &a.sa, START);
	assert_int_equal(source_connections(t, &a.sa), 0);
	source_leave(t, &a.sa, START);
	assert_int_equal(sources_known(t), 1);
	source_leave(t, &b.sa, START);
	assert_int_equal(sources_known(t), 0);
	sources_free(t);
}

/* In a long time exactly as many as the rate says: nothing is rounded. */
static void
test_source_rate(void **state)
{
	static const unsigned rates[] = { 1, 3, 7, 10, 333, 999 };
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7");
	unsigned taken, ms, at;
	struct sources *t;
	size_t i;

	for (i = 0; i < COUNT_OF(rates); i++) {
		l.rate = rates[i];
		l.burst = 5;
		t = table(&l);
		taken = 0;
		for (at = 0; at < 8; at++)
			if (source_admit(t, &a.sa, START) == SOURCE_ADMITTED)
				taken++;
		assert_int_equal(taken, 5);
		assert_int_equal(
		    source_admit(t, &a.sa, START), SOURCE_TOO_FAST);
		for (ms = 1; ms <= 100000; ms++) {
			if (source_admit(t, &a.sa, START + ms) !=
			    SOURCE_ADMITTED)
				continue;
			source_leave(t, &a.sa, START + ms);
			taken++;
		}
		assert_int_equal(taken, 5 + rates[i] * 100);
		sources_free(t);
	}
}

static void
test_source_rate_limits_change(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7"), b = address("192.0.2.8");
	struct sources *t;
	int i;

	l.rate = 1;
	l.burst = 10;
	t = table(&l);
	for (i = 0; i < 10; i++) {
		assert_int_equal(
		    source_admit(t, &a.sa, START), SOURCE_ADMITTED);
		source_leave(t, &a.sa, START);
	}
	/* Ten tokens are out: it is known until the last is back. */
	assert_int_equal(source_admit(t, &a.sa, START + 999), SOURCE_TOO_FAST);
	assert_int_equal(sources_known(t), 1);
	/* A smaller bucket has no more to get back than it holds. */
	l.burst = 2;
	sources_set_limits(t, &l);
	assert_int_equal(source_admit(t, &a.sa, START + 999), SOURCE_TOO_FAST);
	assert_int_equal(source_admit(t, &a.sa, START + 1999), SOURCE_ADMITTED);
	source_leave(t, &a.sa, START + 1999);
	/* A slower rate makes that last longer. */
	source_clear(t, NULL, START + 2999);
	assert_int_equal(sources_known(t), 1);
	source_clear(t, NULL, START + 4000);
	assert_int_equal(sources_known(t), 0);
	/* What has come at the old rate is not lost. */
	l.rate = 10;
	l.burst = 10;
	sources_set_limits(t, &l);
	for (i = 0; i < 10; i++)
		assert_int_equal(
		    source_admit(t, &a.sa, START + 4000), SOURCE_ADMITTED);
	source_leave(t, &b.sa, START + 4500);
	l.rate = 1;
	sources_set_limits(t, &l);
	for (i = 0; i < 5; i++)
		assert_int_equal(
		    source_admit(t, &a.sa, START + 4500), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, START + 4500), SOURCE_TOO_FAST);
	for (i = 0; i < 15; i++)
		source_leave(t, &a.sa, START + 4500);
	/* Without a rate nobody is held up, or known. */
	assert_int_equal(source_admit(t, &a.sa, START + 5500), SOURCE_ADMITTED);
	source_leave(t, &a.sa, START + 5500);
	assert_int_equal(sources_known(t), 1);
	l.rate = 0;
	sources_set_limits(t, &l);
	assert_int_equal(sources_known(t), 0);
	sources_free(t);
}

/* --- penalties ------------------------------------------------------------ */

static void
test_source_third_offence(void **state)
{
	struct sources *t = table(&no_limits);
	union address a = address("192.0.2.7"), b = address("192.0.2.8");
	uint64_t now = START;

	/* Three, but not within 60 s. */
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 0);
	assert_int_equal(
	    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now + 30000), 0);
	assert_int_equal(
	    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now + MINUTE), 0);
	assert_int_equal(source_admit(t, &a.sa, now + MINUTE), SOURCE_ADMITTED);
	source_leave(t, &a.sa, now + MINUTE);
	/* The third within 60 s, of either kind. */
	now += 89999;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 5000);
	assert_int_equal(source_admit(t, &a.sa, now), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &b.sa, now), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, now + 4999), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &a.sa, now + 5000), SOURCE_ADMITTED);
	sources_free(t);
}

/* Twice as long each time, to the kind's own cooldown. */
static void
test_source_doubling(void **state)
{
	static const uint64_t auth[] = { 5000, 10000, 20000, 40000, 80000,
		160000, 320000, 640000, 1280000, 2560000, 3600000, 3600000 };
	struct sources *t = table(&no_limits);
	union address a = address("192.0.2.7");
	uint64_t now = START, ms;
	size_t i;

	source_offend(t, &a.sa, SOURCE_AUTH, now);
	source_offend(t, &a.sa, SOURCE_AUTH, now);
	for (i = 0; i < COUNT_OF(auth); i++) {
		ms = source_offend(t, &a.sa, SOURCE_AUTH, now);
		assert_int_equal(ms, auth[i]);
		assert_int_equal(
		    source_admit(t, &a.sa, now + ms - 1), SOURCE_PENALISED);
		now += ms;
	}
	/* Far along, a handshake costs its own most. */
	assert_int_equal(
	    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), HANDSHAKE);
	for (i = 0; i < 100; i++)
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now + 1 + i),
		    HANDSHAKE);
	/* None is shorter for one that would end sooner. */
	now += 100;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), AUTH);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now + 5), 0);
	assert_int_equal(
	    source_admit(t, &a.sa, now + AUTH - 1), SOURCE_PENALISED);
	sources_free(t);
}

/* Doubling goes on until the source was quiet long enough. */
static void
test_source_quiet(void **state)
{
	struct sources *t = table(&no_limits);
	union address a = address("192.0.2.7"), b = address("192.0.2.8");
	uint64_t now = START;
	int i;

	for (i = 0; i < 2; i++)
		source_offend(t, &a.sa, SOURCE_AUTH, now);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 5000);
	/* 60 s after a short one's end. */
	now += 5000 + MINUTE - 1;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 10000);
	now += 10000 + MINUTE;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 0);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 0);
	for (i = 0; i < 6; i++)
		assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now),
		    UINT64_C(5000) << i);
	/* As long as a long one after its end: that was 160 s. */
	now += 160000 + 160000 - 1;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 320000);
	now += 320000 + 320000;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, now), 0);
	/* And then nothing is known. */
	source_leave(t, &b.sa, now + MINUTE - 1);
	assert_int_equal(sources_known(t), 1);
	source_leave(t, &b.sa, now + MINUTE);
	assert_int_equal(sources_known(t), 0);
	sources_free(t);
}

static void
test_source_crash(void **state)
{
	struct sources *t = table(&no_limits);
	union address a = address("2001:db8::1"), b = address("2001:db8::2");
	union address c = address("2001:db8:0:1::1");
	uint64_t now = START;

	assert_int_equal(source_offend(t, &a.sa, SOURCE_CRASH, now), CRASH);
	assert_int_equal(source_admit(t, &b.sa, now), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &c.sa, now), SOURCE_ADMITTED);
	assert_int_equal(
	    source_admit(t, &a.sa, now + CRASH - 1), SOURCE_PENALISED);
	/* Another, from a session that was there, begins anew. */
	assert_int_equal(
	    source_offend(t, &b.sa, SOURCE_CRASH, now + 1000), CRASH);
	now += 1000 + CRASH;
	assert_int_equal(source_admit(t, &a.sa, now), SOURCE_ADMITTED);
	/* It has not been quiet: each further offence costs at once. */
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 5000);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 10000);
	now += CRASH;
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 0);
	sources_free(t);
}

static void
test_source_no_cooldown(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7");
	struct sources *t;
	int i;

	l.handshake_cooldown_ms = 0;
	l.auth_cooldown_ms = 2000;
	l.crash_cooldown_ms = 0;
	t = table(&l);
	for (i = 0; i < 10; i++) {
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_HANDSHAKE, START), 0);
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_CRASH, START), 0);
	}
	assert_int_equal(sources_known(t), 0);
	/* They did not count; and 5 s are more than this one's most. */
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, START), 0);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, START), 0);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_AUTH, START), 2000);
	sources_free(t);
}

static void
test_source_exempt(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("127.0.0.9"), b = address("::1");
	union address c = address("192.0.2.7"), d = address("192.0.2.8");
	union address mapped = address("::ffff:127.0.0.9");
	struct sources *t;
	int i;

	l.connections = 2;
	l.prefix_ipv4 = 24;
	add_exempt(&l, "127.0.0.0/8");
	add_exempt(&l, "::1");
	add_exempt(&l, "192.0.2.8");
	t = table(&l);
	for (i = 0; i < 10; i++) {
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_CRASH, START), 0);
		assert_int_equal(
		    source_offend(t, &mapped.sa, SOURCE_CRASH, START), 0);
		assert_int_equal(
		    source_offend(t, &b.sa, SOURCE_AUTH, START), 0);
	}
	assert_int_equal(sources_known(t), 0);
	/* Limits hold. */
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_TOO_MANY);
	/* One address of a source that is not exempt. */
	assert_int_equal(source_offend(t, &d.sa, SOURCE_CRASH, START), 0);
	assert_int_equal(source_offend(t, &c.sa, SOURCE_CRASH, START), CRASH);
	assert_int_equal(source_admit(t, &c.sa, START), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &d.sa, START), SOURCE_ADMITTED);
	/* ::/0 is IPv6 alone. */
	l.exempts = 0;
	add_exempt(&l, "::/0");
	sources_set_limits(t, &l);
	assert_int_equal(source_admit(t, &c.sa, START), SOURCE_PENALISED);
	/* Exempt from now on: what was is forgotten. */
	add_exempt(&l, "192.0.2.0/23");
	sources_set_limits(t, &l);
	assert_int_equal(source_admit(t, &c.sa, START), SOURCE_ADMITTED);
	l.exempts = 0;
	sources_set_limits(t, &l);
	source_leave(t, &c.sa, START);
	assert_int_equal(source_admit(t, &c.sa, START), SOURCE_ADMITTED);
	sources_free(t);
}

/* A reload loses nothing. */
static void
test_source_limits_survive(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7"), b = address("192.0.2.8");
	uint64_t now = START;
	struct sources *t = table(&l);

	source_offend(t, &a.sa, SOURCE_CRASH, now);
	source_offend(t, &b.sa, SOURCE_AUTH, now);
	source_offend(t, &b.sa, SOURCE_AUTH, now);
	source_admit(t, &b.sa, now);
	l.crash_cooldown_ms = 1000;
	l.connections = 1;
	l.prefix_ipv4 = 8;
	l.prefix_ipv6 = 16;
	sources_set_limits(t, &l);
	assert_int_equal(
	    source_admit(t, &a.sa, now + CRASH - 1), SOURCE_PENALISED);
	assert_int_equal(source_connections(t, &b.sa), 1);
	assert_int_equal(source_admit(t, &b.sa, now), SOURCE_TOO_MANY);
	sources_free(t);

	t = table(&no_limits);
	source_offend(t, &b.sa, SOURCE_AUTH, now);
	source_offend(t, &b.sa, SOURCE_AUTH, now);
	sources_set_limits(t, &l);
	assert_int_equal(source_offend(t, &b.sa, SOURCE_AUTH, now), 5000);
	sources_free(t);
}

static void
test_source_list(void **state)
{
	static const char *const penalised[] = { "::/64", "10.1.1.1",
		"10.1.1.2", "2001:db8::/64" };
	struct sources *t = table(&no_limits);
	struct source_cursor at = { 0 };
	struct source_penalty p;
	union address a;
	size_t i;

	assert_false(source_next_penalty(t, &at, START, &p));
	a = address("2001:db8::5");
	source_offend(t, &a.sa, SOURCE_CRASH, START);
	a = address("::1");
	source_offend(t, &a.sa, SOURCE_CRASH, START);
	a = address("10.1.1.2");
	source_offend(t, &a.sa, SOURCE_HANDSHAKE, START);
	source_offend(t, &a.sa, SOURCE_HANDSHAKE, START);
	source_offend(t, &a.sa, SOURCE_AUTH, START);
	a = address("10.1.1.3");
	source_offend(t, &a.sa, SOURCE_HANDSHAKE, START);
	source_admit(t, &a.sa, START);
	a = address("10.1.1.1");
	source_offend(t, &a.sa, SOURCE_CRASH, START);
	for (i = 0; i < COUNT_OF(penalised); i++) {
		assert_true(source_next_penalty(t, &at, START + 1000, &p));
		assert_string_equal(p.text, penalised[i]);
		assert_int_equal(
		    p.offence, i == 2 ? SOURCE_AUTH : SOURCE_CRASH);
		assert_int_equal(p.offences, i == 2 ? 3 : 1);
		assert_int_equal(p.left_ms, i == 2 ? 4000 : CRASH - 1000);
		/* One that was listed may go meanwhile. */
		if (i == 1)
			assert_int_equal(source_clear(t, &a.sa, START), 1);
	}
	assert_false(source_next_penalty(t, &at, START + 1000, &p));
	assert_false(source_next_penalty(t, &at, START + 1000, &p));
	/* One ends. */
	memset(&at, 0, sizeof at);
	for (i = 0; source_next_penalty(t, &at, START + 5000, &p); i++)
		assert_string_not_equal(p.text, "10.1.1.2");
	assert_int_equal(i, 2);

	a = address("10.1.1.3");
	assert_int_equal(source_clear(t, &a.sa, START), 0);
	assert_int_equal(source_connections(t, &a.sa), 1);
	a = address("10.9.9.9");
	assert_int_equal(source_clear(t, &a.sa, START), 0);
	assert_int_equal(source_clear(t, NULL, START), 2);
	memset(&at, 0, sizeof at);
	assert_false(source_next_penalty(t, &at, START, &p));
	assert_int_equal(sources_known(t), 1);
	sources_free(t);
}

/* --- the clock ------------------------------------------------------------ */

static void
test_source_clock(void **state)
{
	struct source_limits l = no_limits;
	union address a = address("192.0.2.7");
	uint64_t now = START;
	struct sources *t;

	l.rate = 1;
	l.burst = 1;
	t = table(&l);
	source_offend(t, &a.sa, SOURCE_CRASH, now);
	/* Set back to the beginning of time: the penalty goes on from where
	 * it was, neither longer nor gone. */
	assert_int_equal(source_admit(t, &a.sa, now + 1000), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &a.sa, 0), SOURCE_PENALISED);
	assert_int_equal(
	    source_admit(t, &a.sa, CRASH - 1001), SOURCE_PENALISED);
	assert_int_equal(source_admit(t, &a.sa, CRASH - 1000), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, CRASH - 1000), SOURCE_TOO_FAST);
	/* So does the rate. */
	assert_int_equal(source_admit(t, &a.sa, 7), SOURCE_TOO_FAST);
	assert_int_equal(source_admit(t, &a.sa, 1006), SOURCE_TOO_FAST);
	assert_int_equal(source_admit(t, &a.sa, 1007), SOURCE_ADMITTED);
	/* Readings out of order don't add up. */
	now = 1007;
	while (now < 2006) {
		now++;
		assert_int_equal(source_admit(t, &a.sa, now), SOURCE_TOO_FAST);
		assert_int_equal(
		    source_admit(t, &a.sa, now - 500), SOURCE_TOO_FAST);
	}
	assert_int_equal(source_admit(t, &a.sa, now + 1), SOURCE_ADMITTED);
	/* To the end of time. */
	assert_int_equal(source_offend(t, &a.sa, SOURCE_CRASH, now), CRASH);
	assert_int_equal(
	    source_admit(t, &a.sa, UINT64_MAX / 4), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &a.sa, 0), SOURCE_TOO_FAST);
	sources_free(t);
}

/* --- the bounds ----------------------------------------------------------- */

/* When full, the one that expires first goes, and none with connections. */
static void
test_source_full(void **state)
{
	struct sources *t = table(&no_limits);
	union address a, penalised = address("192.0.2.1");
	union address connected = address("192.0.2.2");
	uint64_t now = START;
	uint32_t i;

	source_offend(t, &penalised.sa, SOURCE_CRASH, now);
	source_admit(t, &connected.sa, now);
	for (i = 0; i < SOURCES_MAX - 2; i++) {
		a = numbered(i);
		now = START + i / 4;
		source_offend(t, &a.sa, SOURCE_HANDSHAKE, now);
	}
	assert_int_equal(sources_known(t), SOURCES_MAX);
	/* Four more: the four that offended first are forgotten. */
	for (i = SOURCES_MAX; i < SOURCES_MAX + 4; i++) {
		a = numbered(i);
		source_offend(t, &a.sa, SOURCE_HANDSHAKE, now);
		assert_int_equal(sources_known(t), SOURCES_MAX);
	}
	assert_int_equal(source_admit(t, &penalised.sa, now), SOURCE_PENALISED);
	assert_int_equal(source_connections(t, &connected.sa), 1);
	/* The fifth had not to go: two more make it three. */
	a = numbered(4);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 0);
	assert_int_equal(source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 5000);
	/* The first four had. */
	for (i = 0; i < 4; i++) {
		a = numbered(i);
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 0);
		assert_int_equal(
		    source_offend(t, &a.sa, SOURCE_HANDSHAKE, now), 0);
	}
	/* All expire, a few at a time. */
	now += 3 * (uint64_t)CRASH;
	for (i = 0; i < SOURCES_MAX && sources_known(t) > 1; i++)
		source_clear(t, &connected.sa, now);
	assert_true(i < SOURCES_MAX / 8);
	assert_int_equal(sources_known(t), 1);
	sources_free(t);
}

static void
test_source_full_of_connections(void **state)
{
	struct source_limits l = no_limits;
	union address a, other = address("192.0.2.2");
	struct sources *t;
	uint32_t i;

	l.connections = 1;
	t = table(&l);
	for (i = 0; i < SOURCES_MAX; i++) {
		a = numbered(i);
		assert_int_equal(
		    source_admit(t, &a.sa, START), SOURCE_ADMITTED);
	}
	/* Nobody can be forgotten: it is let in, and not counted. */
	assert_int_equal(source_admit(t, &other.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_admit(t, &other.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_connections(t, &other.sa), 0);
	assert_int_equal(source_offend(t, &other.sa, SOURCE_CRASH, START), 0);
	assert_int_equal(sources_known(t), SOURCES_MAX);
	source_leave(t, &other.sa, START);
	assert_int_equal(source_admit(t, &a.sa, START), SOURCE_TOO_MANY);
	source_leave(t, &a.sa, START);
	assert_int_equal(source_admit(t, &other.sa, START), SOURCE_ADMITTED);
	assert_int_equal(source_connections(t, &other.sa), 1);
	for (i = 0; i < SOURCES_MAX; i++) {
		a = numbered(i);
		source_leave(t, &a.sa, START);
	}
	assert_int_equal(sources_known(t), 1);
	sources_free(t);
}

/* A million things that 100,000 sources do. */
static void
test_source_many(void **state)
{
	enum {
		SOURCES = 100000,
		OPERATIONS = 1000000
	};
	struct source_limits l = no_limits;
	struct unit_random random = { 7 };
	uint8_t *open = calloc(SOURCES, 1);
	uint64_t now = START, n, total = 0;
	struct sources *t;
	union address a;
	uint32_t who, i;
	size_t most = 0;

	assert_non_null(open);
	l.connections = 200;
	l.rate = 5;
	t = table(&l);
	for (i = 0; i < OPERATIONS; i++) {
		n = unit_random_next(&random);
		who = (uint32_t)(n % SOURCES);
		a = numbered(who);
		now += (n >> 40) % 64 == 0;
		switch ((n >> 32) % 4) {
		case 0:
			source_offend(t, &a.sa,
			    (enum source_offence)((n >> 48) % SOURCE_OFFENCES),
			    now);
			break;
		case 1:
			if (total < 20000 && open[who] < 200 &&
			    source_admit(t, &a.sa, now) == SOURCE_ADMITTED) {
				open[who]++;
				total++;
			}
			break;
		default:
			if (open[who] == 0)
				break;
			source_leave(t, &a.sa, now);
			open[who]--;
			total--;
		}
		if (sources_known(t) > most)
			most = sources_known(t);
	}
	assert_int_equal(most, SOURCES_MAX);
	for (who = 0; who < SOURCES; who++) {
		a = numbered(who);
		assert_int_equal(source_connections(t, &a.sa), open[who]);
		while (open[who] > 0) {
			source_leave(t, &a.sa, now);
			open[who]--;
		}
	}
	now += 3 * (uint64_t)CRASH;
	for (i = 0; i < SOURCES_MAX && sources_known(t) != 0; i++)
		source_clear(t, &a.sa, now);
	assert_int_equal(sources_known(t), 0);
	free(open);
	sources_free(t);
}

/* --- the model ------------------------------------------------------------ */

#define MODEL_SOURCES 24
#define MODEL_PAST    512 /* offences remembered */

/* A source, kept as a story: every offence, and the penalties of each. */
struct model_source {
	unsigned connections;
	uint64_t tokens, filled; /* a thousandth of a connection each */
	struct {
		uint64_t at;
		uint64_t cost; /* 0: none */
		enum source_offence kind;
	} past[MODEL_PAST];
	size_t count;
};

struct model {
	struct source_limits limits;
	struct model_source source[MODEL_SOURCES];
	uint64_t now;
};

static uint64_t
most_of(const struct model *m, enum source_offence kind)
{
	switch (kind) {
	case SOURCE_HANDSHAKE:
		return m->limits.handshake_cooldown_ms;
	case SOURCE_AUTH:
		return m->limits.auth_cooldown_ms;
	default:
		return m->limits.crash_cooldown_ms;
	}
}

/* The end of the latest penalty, and of the quiet after each. */
static void
model_ends(const struct model_source *s, uint64_t *penalty, uint64_t *quiet)
{
	uint64_t end, after;
	size_t i;

	*penalty = 0;
	*quiet = 0;
	for (i = 0; i < s->count; i++) {
		if (s->past[i].cost == 0)
			continue;
		end = s->past[i].at + s->past[i].cost;
		after = s->past[i].cost > MINUTE ? s->past[i].cost : MINUTE;
		if (end > *penalty)
			*penalty = end;
		if (end + after > *quiet)
			*quiet = end + after;
	}
}

/* Forgets the story once it has come to an end. */
static void
model_forget(const struct model *m, struct model_source *s)
{
	uint64_t penalty, quiet;
	size_t i, kept = 0;

	model_ends(s, &penalty, &quiet);
	if (quiet > m->now)
		return;
	for (i = 0; i < s->count; i++)
		if (quiet == 0 && m->now - s->past[i].at < MINUTE)
			s->past[kept++] = s->past[i];
	s->count = kept;
}

static uint64_t
model_offend(struct model *m, unsigned who, enum source_offence kind)
{
	struct model_source *s = &m->source[who];
	uint64_t penalty, quiet, cost = 0;
	size_t i;

	if (most_of(m, kind) == 0)
		return 0;
	model_forget(m, s);
	model_ends(s, &penalty, &quiet);
	if (kind == SOURCE_CRASH)
		cost = most_of(m, kind);
	else if (quiet != 0 || s->count >= 2) {
		cost = 5000;
		for (i = 0; i < s->count; i++)
			if (s->past[i].cost != 0 &&
			    s->past[i].kind != SOURCE_CRASH &&
			    cost < (UINT64_C(1) << 40))
				cost *= 2;
		if (cost > most_of(m, kind))
			cost = most_of(m, kind);
	}
	assert_true(s->count < MODEL_PAST);
	s->past[s->count].at = m->now;
	s->past[s->count].kind = kind;
	s->past[s->count].cost = cost;
	s->count++;
	return m->now + cost > penalty ? cost : 0;
}

static enum source_verdict
model_admit(struct model *m, unsigned who)
{
	const struct source_limits *l = &m->limits;
	struct model_source *s = &m->source[who];
	const uint64_t full = (uint64_t)l->burst * 1000;
	uint64_t penalty, quiet;

	model_forget(m, s);
	model_ends(s, &penalty, &quiet);
	s->tokens += (m->now - s->filled) * l->rate;
	s->filled = m->now;
	if (s->tokens > full)
		s->tokens = full;
	if (penalty > m->now)
		return SOURCE_PENALISED;
	if (l->connections != 0 && s->connections >= l->connections)
		return SOURCE_TOO_MANY;
	if (l->rate != 0) {
		if (s->tokens < 1000)
			return SOURCE_TOO_FAST;
		s->tokens -= 1000;
	}
	s->connections++;
	return SOURCE_ADMITTED;
}

/* One of the addresses of a source of the model. */
static union address
model_address(unsigned who, uint64_t any)
{
	union address a;

	memset(&a, 0, sizeof a);
	if (who % 3 == 0) {
		a = address("2001:db8::");
		a.sin6.sin6_addr.s6_addr[6] = (uint8_t)who;
		a.sin6.sin6_addr.s6_addr[7] = (uint8_t)any;
		a.sin6.sin6_addr.s6_addr[15] = (uint8_t)(any >> 8);
	} else if (who % 3 == 1) {
		a = numbered(who << 8 | (any & 0xff));
	} else {
		a = address("::ffff:10.0.0.0");
		a.sin6.sin6_addr.s6_addr[14] = (uint8_t)who;
		a.sin6.sin6_addr.s6_addr[15] = (uint8_t)any;
	}
	return a;
}

static void
model_compare_list(struct model *m, struct sources *t, uint64_t clock)
{
	struct source_cursor at = { 0 };
	uint64_t penalty, quiet, sum = 0, left = 0;
	struct source_penalty p;
	size_t i, count = 0;

	for (i = 0; i < MODEL_SOURCES; i++) {
		model_ends(&m->source[i], &penalty, &quiet);
		if (penalty > m->now) {
			count++;
			sum += penalty - m->now;
		}
	}
	for (i = 0; source_next_penalty(t, &at, clock, &p); i++)
		left += p.left_ms;
	assert_int_equal(i, count);
	assert_int_equal(left, sum);
}

/* How many sources there is anything to know of. */
static size_t
model_known(struct model *m)
{
	struct model_source *s;
	size_t known = 0;

	for (s = m->source; s < m->source + MODEL_SOURCES; s++) {
		model_forget(m, s);
		if (s->connections != 0 || s->count != 0 ||
		    (m->limits.rate != 0 &&
			s->tokens + (m->now - s->filled) * m->limits.rate <
			    (uint64_t)m->limits.burst * 1000))
			known++;
	}
	return known;
}

static void
model_step(struct model *m, struct sources *t, uint64_t clock, uint64_t n)
{
	const unsigned who = (unsigned)(n % MODEL_SOURCES);
	union address a = model_address(who, n >> 8);
	struct model_source *s = &m->source[who];
	enum source_offence kind;
	uint64_t penalty, quiet;

	switch ((n >> 32) % 16) {
	case 0:
		/* Crashes are rare: they would hide all else. */
		kind = (n >> 40) % 32 == 0 ? SOURCE_CRASH
		    : (n >> 46) % 2 == 0   ? SOURCE_AUTH
					   : SOURCE_HANDSHAKE;
		assert_int_equal(source_offend(t, &a.sa, kind, clock),
		    model_offend(m, who, kind));
		break;
	case 1:
		if ((n >> 40) % 64 != 0)
			break;
		model_ends(s, &penalty, &quiet);
		assert_int_equal(
		    source_clear(t, &a.sa, clock), penalty > m->now);
		s->count = 0;
		break;
	case 2:
		model_compare_list(m, t, clock);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
		if (s->connections == 0)
			break;
		source_leave(t, &a.sa, clock);
		s->connections--;
		break;
	default:
		assert_int_equal(
		    source_admit(t, &a.sa, clock), model_admit(m, who));
	}
	assert_int_equal(source_connections(t, &a.sa), s->connections);
}

static void
run_model(uint64_t seed, const struct source_limits *limits)
{
	static struct model m;
	struct unit_random random = { seed };
	struct sources *t = table(limits);
	union address nobody = address("192.0.2.1");
	uint64_t back = 0, n;
	unsigned i;

	memset(&m, 0, sizeof m);
	m.limits = *limits;
	m.now = UINT64_C(1) << 50;
	for (i = 0; i < MODEL_SOURCES; i++) {
		m.source[i].tokens = (uint64_t)limits->burst * 1000;
		m.source[i].filled = m.now;
	}
	for (i = 0; i < 200000; i++) {
		n = unit_random_next(&random);
		if (n % 64 == 0)
			m.now += (n >> 20) % 20000;
		else if (n % 4096 == 1)
			m.now += (n >> 20) % (3 * AUTH);
		else if (n % 2 == 0)
			m.now += (n >> 20) % 50;
		/* The clock is set back, and time goes on. */
		if (n % 1024 == 3) {
			source_leave(t, &nobody.sa, m.now - back);
			back += 1001 + (n >> 20) % (10 * (uint64_t)AUTH);
		}
		model_step(&m, t, m.now - back, unit_random_next(&random));
		/* What has expired goes, a few at each call. */
		source_leave(t, &nobody.sa, m.now - back);
		source_leave(t, &nobody.sa, m.now - back);
		assert_int_equal(sources_known(t), model_known(&m));
	}
	sources_free(t);
}

static void
test_source_model(void **state)
{
	struct source_limits l = no_limits;

	l.prefix_ipv4 = 24;
	l.prefix_ipv6 = 56;
	run_model(1, &l);
	l.connections = 4;
	l.rate = 3;
	l.burst = 7;
	run_model(2, &l);
	l.connections = 1000;
	l.rate = 17;
	l.auth_cooldown_ms = 0;
	l.crash_cooldown_ms = 100000;
	run_model(3, &l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_key_prefixes),
		cmocka_unit_test(test_source_key_forms),
		cmocka_unit_test(test_source_text),
		cmocka_unit_test(test_source_networks),
		cmocka_unit_test(test_source_connections),
		cmocka_unit_test(test_source_rate),
		cmocka_unit_test(test_source_rate_limits_change),
		cmocka_unit_test(test_source_third_offence),
		cmocka_unit_test(test_source_doubling),
		cmocka_unit_test(test_source_quiet),
		cmocka_unit_test(test_source_crash),
		cmocka_unit_test(test_source_no_cooldown),
		cmocka_unit_test(test_source_exempt),
		cmocka_unit_test(test_source_limits_survive),
		cmocka_unit_test(test_source_list),
		cmocka_unit_test(test_source_clock),
		cmocka_unit_test(test_source_full),
		cmocka_unit_test(test_source_full_of_connections),
		cmocka_unit_test(test_source_many),
		cmocka_unit_test(test_source_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
