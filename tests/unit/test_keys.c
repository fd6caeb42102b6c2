/*
 * tests/unit/test_keys.c - the key holder as a process: exchanges, and the
 * key pairs that it makes ahead.
 *
 * Runs in: the test, and for each case a child that runs the key holder
 * without its sandbox.  Linked with kex_pair_new, kex_pair_free, kex_derive
 * and kex_group_free wrapped: the child counts its calls where the test can
 * see them.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fmltp/kex.h"
#include "fmltp/signature.h"
#include "keys/pairs.h"
#include "privsep/channel.h"
#include "privsep/start.h"
#include "tests/unit/process.h"
#include "tests/vectors.h"

#define ANSWER_MS   10000 /* for one answer; on a busy machine, too */
#define BURST	    40
#define SIZE_SMALL  1024
#define SIZE_NORMAL 2048
#define SIZE_SLOW   4096
#define SIZE_LARGE  8192

struct kex_pair *__real_kex_pair_new(struct kex_group *g);
struct kex_pair *__wrap_kex_pair_new(struct kex_group *g);
void __real_kex_pair_free(struct kex_pair *pair);
void __wrap_kex_pair_free(struct kex_pair *pair);
enum fmltp_error __real_kex_derive(
    const struct kex_pair *pair, const uint8_t *y, uint8_t key[FERNET_KEY_LEN]);
enum fmltp_error __wrap_kex_derive(
    const struct kex_pair *pair, const uint8_t *y, uint8_t key[FERNET_KEY_LEN]);
void __real_kex_group_free(struct kex_group *g);
void __wrap_kex_group_free(struct kex_group *g);

/* What the child does, in memory that both have. */
struct counts {
	atomic_uint tried; /* calls of kex_pair_new */
	atomic_uint made; /* of which gave a pair */
	atomic_uint freed;
	atomic_uint used; /* pairs that derived a key */
	atomic_uint used_again; /* a second one, with the same pair */
	atomic_uint groups_freed;
	atomic_uint left_behind; /* pairs alive when the only group went */
	atomic_bool pair_fails;
	atomic_bool derive_fails;
};

static struct counts *counts; /* NULL but in a child that is counted */

static struct fixture {
	struct counts *counts;
	pid_t pid;
	int master; /* the channel's master end */
	uint64_t session;
} keys;

struct kex_pair *
__wrap_kex_pair_new(struct kex_group *g)
{
	struct kex_pair *pair;

	if (counts == NULL)
		return __real_kex_pair_new(g);
	counts->tried++;
	if (counts->pair_fails)
		return NULL;
	pair = __real_kex_pair_new(g);
	if (pair != NULL)
		counts->made++;
	return pair;
}

void
__wrap_kex_pair_free(struct kex_pair *pair)
{
	if (counts != NULL && pair != NULL)
		counts->freed++;
	__real_kex_pair_free(pair);
}

enum fmltp_error
__wrap_kex_derive(
    const struct kex_pair *pair, const uint8_t *y, uint8_t key[FERNET_KEY_LEN])
{
	if (counts != NULL) {
		counts->used++;
		if (counts->derive_fails)
			return FMLTP_INTERNAL;
	}
	return __real_kex_derive(pair, y, key);
}

void
__wrap_kex_group_free(struct kex_group *g)
{
	if (counts != NULL) {
		counts->groups_freed++;
		counts->left_behind = counts->made - counts->freed;
	}
	__real_kex_group_free(g);
}

static int
setup(void **state)
{
	static struct helper h;
	int fd[2];

	memset(&keys, 0, sizeof(keys));
	keys.counts = mmap(NULL, sizeof(*keys.counts), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (keys.counts == MAP_FAILED || !channel_pair(fd, false, 0))
		return -1;
	keys.master = fd[0];
	keys.pid = fork();
	if (keys.pid == -1)
		return -1;
	if (keys.pid == 0) {
		close(fd[0]);
		memset(&h, 0, sizeof(h));
		h.channel = fd[1];
		h.role = ROLE_KEYS;
		keys_prepare(&h);
		counts = keys.counts;
		_exit(keys_main(&h));
	}
	close(fd[1]);
	return 0;
}

static int
teardown(void **state)
{
	if (keys.pid > 0) {
		kill(keys.pid, SIGKILL);
		(void)waitpid(keys.pid, NULL, 0);
	}
	if (keys.master != -1)
		close(keys.master);
	munmap(keys.counts, sizeof(*keys.counts));
	return 0;
}

/* Waits until a count is reached; the count that it has then. */
static unsigned
wait_count(atomic_uint *count, unsigned wanted)
{
	int ms;

	for (ms = 0; ms < ANSWER_MS && *count < wanted; ms += 5)
		rest_ms(5);
	return *count;
}

static void
get_status(struct message_keys_status *s)
{
	struct message_status_request request;

	memset(&request, 0, sizeof(request));
	assert_true(
	    channel_send(keys.master, MESSAGE_STATUS_REQUEST, &request));
	expect_message_within(keys.master, ANSWER_MS, MESSAGE_KEYS_STATUS, s);
}

/* A prime of each size, or another number of its form: odd is enough for
 * the arithmetic. */
static void
make_params(struct dh_params *params, unsigned bits, bool other)
{
	BIGNUM *p = NULL;

	switch (bits) {
	case SIZE_SMALL:
		p = BN_get_rfc2409_prime_1024(NULL);
		break;
	case SIZE_NORMAL:
		p = BN_get_rfc3526_prime_2048(NULL);
		break;
	case SIZE_SLOW:
		p = BN_get_rfc3526_prime_4096(NULL);
		break;
	case SIZE_LARGE:
		p = BN_get_rfc3526_prime_8192(NULL);
		break;
	}
	assert_non_null(p);
	if (other)
		assert_int_equal(BN_sub_word(p, 48), 1);
	memset(params, 0, sizeof(*params));
	params->len = (uint16_t)(bits / 8);
	assert_int_equal(BN_bn2binpad(p, params->p, params->len), params->len);
	BN_free(p);
}

static void
send_generation(uint32_t number, const struct dh_params *params)
{
	struct message_generation mg;

	memset(&mg, 0, sizeof(mg));
	mg.generation = number;
	mg.params = *params;
	assert_true(channel_send(keys.master, MESSAGE_GENERATION, &mg));
}

static void
send_retire(uint32_t number)
{
	struct message_retire mr;

	memset(&mr, 0, sizeof(mr));
	mr.generation = number;
	assert_true(channel_send(keys.master, MESSAGE_RETIRE, &mr));
}

/* A worker's end of a new channel to keys. */
static int
open_channel(uint32_t generation)
{
	struct message_kex_channel mc;
	int fd[2];

	assert_true(channel_pair(fd, false, 0));
	memset(&mc, 0, sizeof(mc));
	mc.generation = generation;
	mc.session = ++keys.session;
	assert_true(
	    channel_send_fds(keys.master, MESSAGE_KEX_CHANNEL, &mc, &fd[0]));
	close(fd[0]);
	return fd[1];
}

/* HKDF-SHA256 by its definition (RFC 5869), one block. */
static void
hkdf(const uint8_t *secret, size_t len, uint8_t *key)
{
	static const uint8_t salt[32], one[1] = { 1 };
	uint8_t prk[EVP_MAX_MD_SIZE];
	unsigned n;

	assert_non_null(
	    HMAC(EVP_sha256(), salt, sizeof(salt), secret, len, prk, &n));
	assert_non_null(HMAC(EVP_sha256(), prk, (int)n, one, 1, key, &n));
	assert_int_equal(n, FERNET_KEY_LEN);
}

/* base^x mod p, by another function than that of keys. */
static void
power(const struct dh_params *params, const BIGNUM *base, const BIGNUM *x,
    uint8_t *out)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *p = BN_bin2bn(params->p, params->len, NULL), *r = BN_new();

	assert_non_null(ctx);
	assert_non_null(p);
	assert_non_null(r);
	assert_int_equal(BN_mod_exp_simple(r, base, x, p, ctx), 1);
	assert_int_equal(BN_bn2binpad(r, out, params->len), params->len);
	BN_free(r);
	BN_free(p);
	BN_CTX_free(ctx);
}

/*
 * The client's side of an exchange: its exponent (fresh each time), for
 * plain bignums and for kex.
 */
struct client {
	const struct dh_params *params;
	uint8_t x[24];
	uint8_t y[DH_PRIME_MAX];
	int fd;
};

static void
client_init(struct client *c, const struct dh_params *params, int fd)
{
	BIGNUM *x = BN_new(), *two = BN_new();

	memset(c, 0, sizeof(*c));
	c->params = params;
	c->fd = fd;
	assert_non_null(x);
	assert_non_null(two);
	assert_int_equal(
	    BN_rand(x, 8 * sizeof(c->x), BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ODD),
	    1);
	assert_int_equal(BN_set_word(two, 2), 1);
	assert_int_equal(BN_bn2binpad(x, c->x, sizeof(c->x)), sizeof(c->x));
	power(params, two, x, c->y);
	BN_free(two);
	BN_free(x);
}

static void
client_send(const struct client *c)
{
	struct message_kex m;

	memset(&m, 0, sizeof(m));
	memcpy(m.y, c->y, c->params->len);
	assert_true(channel_send(c->fd, MESSAGE_KEX, &m));
}

/* Takes the answer, and compares the key with the client's own, computed
 * with plain bignums and again with kex. */
static void
client_expect(const struct client *c, struct message_kex_reply *reply)
{
	uint8_t secret[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	BIGNUM *x = BN_bin2bn(c->x, sizeof(c->x), NULL);
	BIGNUM *y;
	struct kex_group *g;
	struct kex_pair *pair;

	expect_message_within(c->fd, ANSWER_MS, MESSAGE_KEX_REPLY, reply);
	assert_int_equal(reply->error, FMLTP_OK);
	assert_true(dh_public_in_range(c->params, reply->y));
	y = BN_bin2bn(reply->y, c->params->len, NULL);
	assert_non_null(x);
	assert_non_null(y);
	power(c->params, y, x, secret);
	hkdf(secret, c->params->len, key);
	assert_memory_equal(reply->key, key, sizeof(key));
	BN_free(x);
	BN_free(y);

	memset(key, 0, sizeof(key));
	g = kex_group_new(c->params);
	assert_non_null(g);
	pair = kex_pair_from(g, c->x, sizeof(c->x));
	assert_non_null(pair);
	assert_int_equal(kex_derive(pair, reply->y, key), FMLTP_OK);
	assert_memory_equal(reply->key, key, sizeof(key));
	kex_pair_free(pair);
	kex_group_free(g);
	close(c->fd);
}

/* A whole exchange. */
static void
exchange(uint32_t generation, const struct dh_params *params,
    struct message_kex_reply *reply)
{
	struct client c;

	client_init(&c, params, open_channel(generation));
	client_send(&c);
	client_expect(&c, reply);
}

/* An exchange that is refused. */
static void
exchange_refused(
    uint32_t generation, const struct dh_params *params, uint32_t error)
{
	struct message_kex_reply reply;
	struct client c;

	client_init(&c, params, open_channel(generation));
	if (error == FMLTP_DH_RANGE)
		memcpy(c.y, params->p, params->len);
	client_send(&c);
	expect_message_within(c.fd, ANSWER_MS, MESSAGE_KEX_REPLY, &reply);
	assert_int_equal(reply.error, error);
	close(c.fd);
}

/* Sends a generation, and waits until its pairs are made. */
static void
fill(uint32_t number, const struct dh_params *params)
{
	unsigned full = keys.counts->made + KEYS_AHEAD;

	send_generation(number, params);
	assert_int_equal(wait_count(&keys.counts->made, full), full);
}

/* Nothing happens in the process for a while. */
static void
expect_asleep(void)
{
	unsigned tried = keys.counts->tried;
	unsigned long before;

	rest_ms(3 * KEYS_QUIET_MS);
	before = voluntary_switches(keys.pid);
	rest_ms(300);
	assert_int_equal(voluntary_switches(keys.pid), before);
	assert_int_equal(keys.counts->tried, tried);
}

/* In a quiet moment the pool is filled, to its bound, and then the process
 * sleeps. */
static void
test_fill(void **state)
{
	struct message_keys_status s;
	struct dh_params params;

	/* It has begun, and has nothing to do yet. */
	get_status(&s);
	expect_asleep();
	make_params(&params, SIZE_NORMAL, false);
	fill(1, &params);
	get_status(&s);
	assert_int_equal(s.pairs, KEYS_AHEAD);
	assert_int_equal(s.pairs_used, 0);
	assert_int_equal(s.generations, 1);
	expect_asleep();
	get_status(&s);
	assert_int_equal(s.pairs, KEYS_AHEAD);
	assert_int_equal(keys.counts->made, KEYS_AHEAD);
	assert_int_equal(keys.counts->freed, 0);
}

/* An exchange takes one out, and it is replaced. */
static void
test_use(void **state)
{
	struct message_kex_reply reply;
	struct message_keys_status s;
	struct dh_params params;
	unsigned i;

	make_params(&params, SIZE_NORMAL, false);
	fill(1, &params);
	for (i = 1; i <= 5; i++) {
		exchange(1, &params, &reply);
		assert_int_equal(wait_count(&keys.counts->made, KEYS_AHEAD + i),
		    KEYS_AHEAD + i);
		assert_int_equal(keys.counts->freed, i);
		get_status(&s);
		assert_int_equal(s.exchanges, i);
		assert_int_equal(s.pairs_used, i);
		assert_int_equal(s.pairs, KEYS_AHEAD);
	}
	expect_asleep();
}

/* While pairs can't be made, each exchange leaves one less. */
static void
test_drain(void **state)
{
	struct message_kex_reply reply;
	struct message_keys_status s;
	struct dh_params params;
	unsigned i;

	make_params(&params, SIZE_SMALL, false);
	fill(1, &params);
	keys.counts->pair_fails = true;
	for (i = 1; i <= KEYS_AHEAD; i++) {
		exchange(1, &params, &reply);
		get_status(&s);
		assert_int_equal(s.pairs, KEYS_AHEAD - i);
		assert_int_equal(s.pairs_used, i);
		assert_int_equal(keys.counts->freed, i);
	}
	exchange_refused(1, &params, FMLTP_INTERNAL);
	get_status(&s);
	assert_int_equal(s.pairs_used, KEYS_AHEAD);
	assert_int_equal(s.exchanges, KEYS_AHEAD);
	assert_int_equal(s.refused, 1);
	keys.counts->pair_fails = false;
	exchange(1, &params, &reply);
	/* One on demand, and the pool again. */
	assert_int_equal(wait_count(&keys.counts->made, 2 * KEYS_AHEAD + 1),
	    2 * KEYS_AHEAD + 1);
	expect_asleep();
}

/* No public value comes twice, with pairs from the pool and without. */
static void
test_used_once(void **state)
{
	static struct message_kex_reply reply[2 * KEYS_AHEAD];
	static struct client c[COUNT_OF(reply)];
	struct message_keys_status s;
	struct dh_params params;
	size_t i, n;

	make_params(&params, SIZE_SMALL, false);
	fill(1, &params);
	for (i = 0; i < COUNT_OF(reply); i++) {
		client_init(&c[i], &params, open_channel(1));
		/* Read by the other side before its queue is full. */
		if (i % 16 == 15)
			get_status(&s);
	}
	for (i = 0; i < COUNT_OF(reply); i++)
		client_send(&c[i]);
	for (i = 0; i < COUNT_OF(reply); i++)
		client_expect(&c[i], &reply[i]);
	for (i = 0; i < COUNT_OF(reply); i++)
		for (n = 0; n < i; n++) {
			assert_memory_not_equal(
			    reply[i].y, reply[n].y, params.len);
			assert_memory_not_equal(
			    reply[i].key, reply[n].key, FERNET_KEY_LEN);
		}
	get_status(&s);
	assert_int_equal(s.exchanges, COUNT_OF(reply));
	assert_true(s.pairs_used >= KEYS_AHEAD);
	assert_int_equal(keys.counts->used, COUNT_OF(reply));
	assert_int_equal(keys.counts->freed, COUNT_OF(reply));
}

/* A value out of range costs no pair. */
static void
test_refused(void **state)
{
	struct message_keys_status s;
	struct dh_params params;

	make_params(&params, SIZE_SMALL, false);
	fill(1, &params);
	exchange_refused(1, &params, FMLTP_DH_RANGE);
	get_status(&s);
	assert_int_equal(s.pairs, KEYS_AHEAD);
	assert_int_equal(s.pairs_used, 0);
	assert_int_equal(s.refused, 1);
	/* An exchange that fails costs its pair: it is not used again. */
	keys.counts->derive_fails = true;
	exchange_refused(1, &params, FMLTP_INTERNAL);
	keys.counts->derive_fails = false;
	assert_int_equal(
	    wait_count(&keys.counts->made, KEYS_AHEAD + 1), KEYS_AHEAD + 1);
	assert_int_equal(keys.counts->freed, 1);
}

/* Gives keys the identity of a known answer, or what is none. */
static void
send_identity(const char *pem, enum identity_fault due)
{
	struct message_identity m;
	struct message_identity_read r;
	int fd = memfd_create("identity", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, pem, strlen(pem)), (ssize_t)strlen(pem));
	memset(&m, 0, sizeof(m));
	m.serial = 7;
	assert_true(channel_send_fds(keys.master, MESSAGE_IDENTITY, &m, &fd));
	close(fd);
	expect_message_within(
	    keys.master, ANSWER_MS, MESSAGE_IDENTITY_READ, &r);
	assert_int_equal(r.serial, 7);
	assert_int_equal(r.fault, due);
	if (due == IDENTITY_OK)
		assert_memory_equal(
		    r.public, vector_ident[0].public, sizeof(r.public));
}

static void
fill_lines(struct message_ident *m)
{
	memset(m, 0, sizeof(*m));
	strlcpy(m->server.name, "FlexMusic Server", sizeof(m->server.name));
	strlcpy(m->client.name, "FlexMusic Test", sizeof(m->client.name));
	m->client.signature.substepping = 65535;
}

/* An exchange whose channel stays open: it is returned. */
static int
exchange_kept(const struct dh_params *params, struct client *c,
    struct message_kex_reply *reply)
{
	int fd;

	client_init(c, params, open_channel(1));
	fd = dup(c->fd);
	assert_int_not_equal(fd, -1);
	client_send(c);
	client_expect(c, reply);
	return fd;
}

static void
expect_closed(int fd)
{
	struct message_ident_reply r;
	struct pollfd p = { fd, POLLIN, 0 };

	assert_int_equal(poll(&p, 1, ANSWER_MS), 1);
	assert_int_equal(
	    channel_read(fd, MESSAGE_IDENT_REPLY, &r), CHANNEL_CLOSED);
	close(fd);
}

static void
expect_violation(enum channel_result kind)
{
	struct message_keys_violation v;

	expect_message_within(
	    keys.master, ANSWER_MS, MESSAGE_KEYS_VIOLATION, &v);
	assert_int_equal(v.kind, kind);
	assert_int_equal(v.session, keys.session);
}

/* What is signed is this exchange, with the two lines, once. */
static void
test_ident(void **state)
{
	static uint8_t bytes[IDENTITY_TRANSCRIPT_MAX];
	struct message_kex_reply reply;
	struct message_ident_reply r;
	struct dh_params params, later;
	struct message_ident m;
	struct client c;
	struct buf b;
	int fd;

	make_params(&params, SIZE_SMALL, false);
	make_params(&later, SIZE_SMALL, true);
	send_generation(1, &params);
	send_identity(vector_ident[0].pem, IDENTITY_OK);
	fd = exchange_kept(&params, &c, &reply);
	/* Its generation may go meanwhile. */
	send_generation(2, &later);
	send_retire(1);
	fill_lines(&m);
	assert_true(channel_send(fd, MESSAGE_IDENT, &m));
	expect_message_within(fd, ANSWER_MS, MESSAGE_IDENT_REPLY, &r);
	assert_true(r.made);
	assert_memory_equal(r.public, vector_ident[0].public, sizeof(r.public));
	buf_init(&b, bytes, sizeof(bytes));
	identity_put_transcript(
	    &b, &m.server, &m.client, &params, c.y, reply.y);
	assert_false(b.failed);
	assert_true(signature_check(r.public, b.data, b.len, r.signature));
	expect_closed(fd);
}

/* What a worker that breaks the rules gets signed: nothing. */
static void
test_ident_refused(void **state)
{
	static const char *const names[] = { "", "Flex", "FlexMusic,x",
		"FlexMusic\n", "FlexMusic\x1b[2J", "flexmusic",
		"FlexMusic\xff" };
	struct message_kex_reply reply;
	struct message_ident_reply r;
	struct dh_params params;
	struct message_ident m;
	struct client c;
	size_t i;
	int fd;

	make_params(&params, SIZE_SMALL, false);
	send_generation(1, &params);
	send_identity(vector_ident[0].pem, IDENTITY_OK);
	for (i = 0; i < 2 * sizeof(names) / sizeof(names[0]); i++) {
		fd = exchange_kept(&params, &c, &reply);
		fill_lines(&m);
		strlcpy(i % 2 ? m.server.name : m.client.name, names[i / 2],
		    sizeof(m.server.name));
		assert_true(channel_send(fd, MESSAGE_IDENT, &m));
		expect_violation(CHANNEL_REFUSED);
		expect_closed(fd);
	}
	/* Without an end. */
	fd = exchange_kept(&params, &c, &reply);
	fill_lines(&m);
	memset(m.client.name, 'x', sizeof(m.client.name));
	memcpy(m.client.name, "FlexMusic", 9);
	assert_true(channel_send(fd, MESSAGE_IDENT, &m));
	expect_violation(CHANNEL_REFUSED);
	expect_closed(fd);
	/* Before the exchange, and a second exchange in its place. */
	fd = open_channel(1);
	fill_lines(&m);
	assert_true(channel_send(fd, MESSAGE_IDENT, &m));
	expect_violation(CHANNEL_MOMENT);
	expect_closed(fd);
	fd = exchange_kept(&params, &c, &reply);
	c.fd = fd;
	client_send(&c);
	expect_violation(CHANNEL_MOMENT);
	expect_closed(fd);
	/* Twice: the channel is gone after the first. */
	fd = exchange_kept(&params, &c, &reply);
	fill_lines(&m);
	assert_true(channel_send(fd, MESSAGE_IDENT, &m));
	expect_message_within(fd, ANSWER_MS, MESSAGE_IDENT_REPLY, &r);
	assert_true(r.made);
	signal(SIGPIPE, SIG_IGN);
	do
		rest_ms(1);
	while (channel_send(fd, MESSAGE_IDENT, &m));
	assert_int_equal(errno, EPIPE);
	close(fd);
}

/* A file that is none leaves the key before; without one, the channel is over
 * with its exchange. */
static void
test_identity_files(void **state)
{
	struct message_kex_reply reply;
	struct message_ident_reply r;
	struct dh_params params;
	struct message_ident m;
	struct client c;
	int fd;

	make_params(&params, SIZE_SMALL, false);
	send_generation(1, &params);
	send_identity("", IDENTITY_FORMAT);
	fd = exchange_kept(&params, &c, &reply);
	expect_closed(fd);
	send_identity(vector_ident[0].pem, IDENTITY_OK);
	send_identity("-----BEGIN PRIVATE KEY-----\n", IDENTITY_FORMAT);
	fd = exchange_kept(&params, &c, &reply);
	fill_lines(&m);
	assert_true(channel_send(fd, MESSAGE_IDENT, &m));
	expect_message_within(fd, ANSWER_MS, MESSAGE_IDENT_REPLY, &r);
	assert_true(r.made);
	expect_closed(fd);
}

/* A new key is written to the pipe as its file has it, and is in use. */
static void
test_identity_new(void **state)
{
	struct message_identity_new m;
	struct message_identity_read r;
	uint8_t public[IDENTITY_PUBLIC_LEN], seed[IDENTITY_SEED_LEN];
	char text[IDENTITY_PEM_LEN + 8];
	struct signature_key *key;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	memset(&m, 0, sizeof(m));
	m.serial = 3;
	assert_true(
	    channel_send_fds(keys.master, MESSAGE_IDENTITY_NEW, &m, &fd[1]));
	close(fd[1]);
	expect_message_within(
	    keys.master, ANSWER_MS, MESSAGE_IDENTITY_READ, &r);
	assert_int_equal(r.serial, 3);
	assert_int_equal(r.fault, IDENTITY_OK);
	assert_int_equal(read(fd[0], text, sizeof(text)), IDENTITY_PEM_LEN);
	assert_int_equal(read(fd[0], text + IDENTITY_PEM_LEN, 1), 0);
	close(fd[0]);
	assert_true(
	    identity_parse_pem((const uint8_t *)text, IDENTITY_PEM_LEN, seed));
	key = signature_key_new(seed);
	assert_non_null(key);
	signature_key_public(key, public);
	assert_memory_equal(public, r.public, sizeof(public));
	signature_key_free(key);
}

/* Each generation has pairs of its own; only the newest is filled. */
static void
test_generations(void **state)
{
	struct message_kex_reply reply;
	struct message_keys_status s;
	struct dh_params old, new, late;
	unsigned i;

	make_params(&old, SIZE_SMALL, false);
	make_params(&new, SIZE_SMALL, true);
	fill(7, &old);
	fill(8, &new);
	expect_asleep();
	get_status(&s);
	assert_int_equal(s.pairs, 2 * KEYS_AHEAD);
	/* The keys are right in both, in turns. */
	for (i = 1; i <= 3; i++) {
		exchange(7, &old, &reply);
		exchange(8, &new, &reply);
		assert_int_equal(
		    wait_count(&keys.counts->made, 2 * KEYS_AHEAD + i),
		    2 * KEYS_AHEAD + i);
		get_status(&s);
		assert_int_equal(s.pairs, 2 * KEYS_AHEAD - i);
		assert_int_equal(s.pairs_used, 2 * i);
	}
	expect_asleep();
	/* The highest number is the newest, in whatever order they come. */
	make_params(&late, SIZE_NORMAL, false);
	send_generation(3, &late);
	exchange(3, &late, &reply);
	expect_asleep();
	get_status(&s);
	assert_int_equal(s.generations, 3);
	assert_int_equal(s.pairs, 2 * KEYS_AHEAD - 3);
	assert_int_equal(s.pairs_used, 6);
	/* Nor is an older one filled after the end of the newest. */
	send_retire(8);
	exchange(7, &old, &reply);
	expect_asleep();
	get_status(&s);
	assert_int_equal(s.generations, 2);
	assert_int_equal(s.pairs, KEYS_AHEAD - 4);
	assert_int_equal(s.pairs_used, 7);
}

/* Every pair of a generation is freed with it, and before its group. */
static void
test_retire(void **state)
{
	struct message_keys_status s;
	struct message_kex_reply reply;
	struct dh_params params;
	int fd;

	make_params(&params, SIZE_SMALL, false);
	fill(1, &params);
	fd = open_channel(1);
	send_retire(1);
	get_status(&s);
	assert_int_equal(s.generations, 0);
	assert_int_equal(s.channels, 0);
	assert_int_equal(s.pairs, 0);
	assert_int_equal(
	    channel_read(fd, MESSAGE_KEX_REPLY, &reply), CHANNEL_CLOSED);
	close(fd);
	assert_int_equal(keys.counts->made, KEYS_AHEAD);
	assert_int_equal(keys.counts->freed, KEYS_AHEAD);
	assert_int_equal(keys.counts->groups_freed, 1);
	assert_int_equal(keys.counts->left_behind, 0);
	expect_asleep();

	/* While its pool is being filled. */
	send_generation(2, &params);
	assert_true(
	    wait_count(&keys.counts->made, KEYS_AHEAD + 2) >= KEYS_AHEAD + 2);
	send_retire(2);
	get_status(&s);
	assert_int_equal(s.pairs, 0);
	assert_int_equal(keys.counts->groups_freed, 2);
	assert_int_equal(keys.counts->freed, keys.counts->made);
	assert_int_equal(keys.counts->left_behind, 0);
	expect_asleep();

	/* One of two. */
	fill(3, &params);
	fill(4, &params);
	send_retire(3);
	get_status(&s);
	assert_int_equal(s.pairs, KEYS_AHEAD);
	assert_int_equal(keys.counts->left_behind, KEYS_AHEAD);
	exchange(4, &params, &reply);
	get_status(&s);
	assert_int_equal(s.pairs_used, 1);
}

/* And with the process, whatever is left. */
static void
test_end(void **state)
{
	struct dh_params params;

	make_params(&params, SIZE_SMALL, false);
	fill(1, &params);
	fill(2, &params);
	expect_end_of(&keys.pid, &keys.master);
	assert_int_equal(keys.counts->made, 2 * KEYS_AHEAD);
	assert_int_equal(keys.counts->freed, 2 * KEYS_AHEAD);
	assert_int_equal(keys.counts->groups_freed, 2);
	assert_int_equal(keys.counts->left_behind, 0);
}

/* A pair that can't be made is tried again after the next exchange or
 * generation, and not before. */
static void
test_failure(void **state)
{
	struct message_kex_reply reply;
	struct message_keys_status s;
	struct dh_params params;

	keys.counts->pair_fails = true;
	make_params(&params, SIZE_SMALL, false);
	send_generation(1, &params);
	assert_int_equal(wait_count(&keys.counts->tried, 1), 1);
	expect_asleep();
	/* Messages that have nothing to do with it change nothing. */
	get_status(&s);
	assert_int_equal(s.pairs, 0);
	expect_asleep();
	assert_int_equal(keys.counts->tried, 1);
	/* One on demand, one ahead. */
	exchange_refused(1, &params, FMLTP_INTERNAL);
	assert_int_equal(wait_count(&keys.counts->tried, 3), 3);
	expect_asleep();
	send_generation(2, &params);
	assert_int_equal(wait_count(&keys.counts->tried, 4), 4);
	expect_asleep();
	keys.counts->pair_fails = false;
	exchange(2, &params, &reply);
	assert_int_equal(
	    wait_count(&keys.counts->made, KEYS_AHEAD + 1), KEYS_AHEAD + 1);
	expect_asleep();
	get_status(&s);
	assert_int_equal(s.pairs, KEYS_AHEAD);
	assert_int_equal(s.pairs_used, 0);
	assert_int_equal(s.refused, 1);
	assert_int_equal(s.exchanges, 1);
}

/* Exchanges that are waiting come before any pair ahead, though they take
 * longer than a silence has to be. */
static void
test_exchanges_first(void **state)
{
	static struct message_kex_reply reply;
	static struct client c[BURST];
	struct message_keys_status s;
	struct dh_params params;
	int i, status;

	assert_int_equal(kill(keys.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(keys.pid, &status, WUNTRACED), keys.pid);
	assert_true(WIFSTOPPED(status));
	make_params(&params, SIZE_SLOW, false);
	send_generation(1, &params);
	for (i = 0; i < BURST; i++) {
		client_init(&c[i], &params, open_channel(1));
		client_send(&c[i]);
	}
	assert_int_equal(kill(keys.pid, SIGCONT), 0);
	for (i = 0; i < BURST; i++)
		client_expect(&c[i], &reply);
	get_status(&s);
	assert_int_equal(s.exchanges, BURST);
	assert_int_equal(s.pairs_used, 0);
	assert_int_equal(wait_count(&keys.counts->made, BURST + KEYS_AHEAD),
	    BURST + KEYS_AHEAD);
	expect_asleep();
}

static double
now_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return 1e3 * (double)ts.tv_sec + (double)ts.tv_nsec / 1e6;
}

/* No pair is made while messages come more often than each KEYS_QUIET_MS,
 * which is judged when this process was able to send them so. */
static void
test_put_off(void **state)
{
	struct message_keys_status s;
	struct dh_params params;
	double start, last, now, longest;
	uint32_t number;

	make_params(&params, SIZE_SMALL, false);
	for (number = 1; number <= 20; number++) {
		longest = 0;
		start = last = now_ms();
		send_generation(number, &params);
		do {
			get_status(&s);
			now = now_ms();
			if (now - last > longest)
				longest = now - last;
			last = now;
		} while (now - start < 6 * KEYS_QUIET_MS);
		if (longest < KEYS_QUIET_MS / 2.0) {
			assert_int_equal(s.pairs, 0);
			assert_int_equal(keys.counts->tried, 0);
			assert_int_equal(
			    wait_count(&keys.counts->made, KEYS_AHEAD),
			    KEYS_AHEAD);
			return;
		}
		send_retire(number);
		get_status(&s);
		keys.counts->tried = 0;
		keys.counts->made = 0;
	}
	print_message("this machine is too busy for it\n");
	skip();
}

/* The bound holds for the largest size, too. */
static void
test_largest(void **state)
{
	struct message_kex_reply reply;
	struct message_keys_status s;
	struct dh_params params;

	make_params(&params, SIZE_LARGE, false);
	fill(1, &params);
	expect_asleep();
	exchange(1, &params, &reply);
	get_status(&s);
	assert_int_equal(s.pairs_used, 1);
	assert_true(s.pairs <= KEYS_AHEAD);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_fill),
		CASE(test_use),
		CASE(test_drain),
		CASE(test_used_once),
		CASE(test_refused),
		CASE(test_ident),
		CASE(test_ident_refused),
		CASE(test_identity_files),
		CASE(test_identity_new),
		CASE(test_generations),
		CASE(test_retire),
		CASE(test_end),
		CASE(test_failure),
		CASE(test_exchanges_first),
		CASE(test_put_off),
		CASE(test_largest),
	};
#undef CASE

	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
