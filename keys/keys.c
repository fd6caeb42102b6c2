/*
 * keys/keys.c - the key holder: key pairs, shared secrets, key derivation.
 *
 * Runs in: keys, as the keys user, without files or network.  The master
 * hands it the file of the server's long-term key, generations (public
 * parameters) and, for each connection, a channel that is good for one exchange
 * in one generation, and then for one signature of that exchange.  When nobody
 * asks, it makes key pairs of the newest generation ahead (pairs.h).  Private
 * exponents and shared secrets exist here alone, each for one exchange; so does
 * the long-term key.  It must never see a client's bytes other than the bare
 * number y and, where its client asks who the server is, packet 2's text.
 */
#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "fmltp/kex.h"
#include "fmltp/signature.h"
#include "keys/pairs.h"
#include "privsep/channel.h"
#include "privsep/start.h"

/* Who is heard first when several are ready. */
enum keys_priority {
	KEYS_PRIORITY_MASTER,
	KEYS_PRIORITY_EXCHANGE,
	KEYS_PRIORITY_AHEAD,
	KEYS_PRIORITIES
};

/* Parameters that sessions were shown. */
struct keys_generation {
	LIST_ENTRY(keys_generation) entry;
	uint32_t number;
	struct dh_params params;
	struct kex_group *group;
	struct pairs ahead;
};

/* The states of a channel to a worker. */
enum keys_exchange_state {
	KEYS_EXCHANGE_DUE,
	KEYS_EXCHANGE_DONE, /* its transcript may be asked to be signed */
	KEYS_EXCHANGE_OVER
};

/* A channel to a worker: one exchange, and a signature of it. */
struct keys_exchange {
	LIST_ENTRY(keys_exchange) entry;
	struct keys *keys;
	struct keys_generation *generation; /* until the exchange is done */
	uint64_t session;
	struct channel channel;
	struct event event;
	/* What IDENT signs of the exchange: public values. */
	struct keys_transcript *transcript; /* NULL: nothing */
};

struct keys_transcript {
	struct dh_params params;
	uint8_t client_y[DH_PRIME_MAX];
	uint8_t server_y[DH_PRIME_MAX];
};

/* The process. */
struct keys {
	struct event_base *base;
	struct event *master_event;
	struct event ahead_event; /* pending only while a pair is wanted */
	struct channel master;
	LIST_HEAD(, keys_generation) generations;
	LIST_HEAD(, keys_exchange) exchanges;
	uint32_t newest; /* the highest number of a generation so far */
	uint32_t generation_count;
	uint32_t exchange_count;
	uint64_t answered;
	uint64_t refused;
	uint64_t pairs_used;
	struct signature_key *identity; /* NULL: none */
	uint8_t signing[IDENTITY_TRANSCRIPT_MAX];
	union message_any message;
	union message_any reply;
};

static struct keys_generation *
keys_find_generation(struct keys *k, uint32_t number)
{
	struct keys_generation *g;

	LIST_FOREACH(g, &k->generations, entry)
	if (g->number == number)
		return g;
	return NULL;
}

/* After the next silence a pair is made, if one is wanted: only for the
 * newest generation, which the next connections are shown. */
static void
keys_schedule_pair(struct keys *k)
{
	static const struct timeval quiet = { 0, KEYS_QUIET_MS * 1000 };
	struct keys_generation *g = keys_find_generation(k, k->newest);

	if (g == NULL || !pairs_wanted(&g->ahead))
		return;
	/* The silence begins now, not when the loop last looked.  A timer that
	 * can't be set means no pair, which every exchange can do without. */
	event_base_update_cache_time(k->base);
	(void)event_add(&k->ahead_event, &quiet);
}

/* Something came: a pair that was about to be made is so later. */
static void
keys_put_off_pair(struct keys *k)
{
	if (event_pending(&k->ahead_event, EV_TIMEOUT, NULL))
		keys_schedule_pair(k);
}

/*
 * One pair, and back to the loop.  Where it fails, for want of memory or of
 * random bytes, none is tried before the next exchange or generation.
 */
static void
keys_make_pair(evutil_socket_t fd, short what, void *arg)
{
	struct keys *k = arg;
	struct keys_generation *g = keys_find_generation(k, k->newest);

	if (g != NULL && pairs_make(&g->ahead))
		keys_schedule_pair(k);
}

static void
keys_close_exchange(struct keys_exchange *x)
{
	event_del(&x->event);
	close(x->channel.fd);
	LIST_REMOVE(x, entry);
	x->keys->exchange_count--;
	free(x->transcript);
	free(x);
}

/* The exchange: fills the reply but for its header. */
static enum fmltp_error
keys_exchange(struct keys *k, struct keys_generation *g, const uint8_t *y,
    struct message_kex_reply *reply)
{
	struct kex_pair *pair;
	enum fmltp_error error;

	if (!dh_public_in_range(&g->params, y))
		return FMLTP_DH_RANGE;
	pair = pairs_take(&g->ahead);
	if (pair != NULL)
		k->pairs_used++;
	else if ((pair = kex_pair_new(g->group)) == NULL)
		return FMLTP_INTERNAL;
	error = kex_derive(pair, y, reply->key);
	if (error == FMLTP_OK)
		kex_pair_public(pair, reply->y);
	kex_pair_free(pair);
	return error;
}

/* Keeps what IDENT signs.  Where there is no identity, or no memory, the
 * channel is over. */
static void
keys_keep_transcript(
    struct keys_exchange *x, const uint8_t *client_y, const uint8_t *server_y)
{
	struct keys_transcript *t = NULL;

	if (x->keys->identity != NULL)
		t = malloc(sizeof(*t));
	x->channel.state = t == NULL ? KEYS_EXCHANGE_OVER : KEYS_EXCHANGE_DONE;
	x->transcript = t;
	if (t == NULL)
		return;
	t->params = x->generation->params;
	memcpy(t->client_y, client_y, t->params.len);
	memcpy(t->server_y, server_y, t->params.len);
}

static bool
keys_serve_kex(void *arg, const union message_any *m, int *fds)
{
	struct keys_exchange *x = arg;
	struct keys *k = x->keys;
	struct message_kex_reply *reply = &k->reply.message_kex_reply;

	memset(reply, 0, sizeof(*reply));
	reply->error = keys_exchange(k, x->generation, m->message_kex.y, reply);
	if (reply->error == FMLTP_OK)
		k->answered++;
	else
		k->refused++;
	x->channel.state = KEYS_EXCHANGE_OVER;
	/* A worker that is gone, or does not read, needs no answer. */
	if (channel_send(x->channel.fd, MESSAGE_KEX_REPLY, reply) &&
	    reply->error == FMLTP_OK)
		keys_keep_transcript(x, m->message_kex.y, reply->y);
	explicit_bzero(reply, sizeof(*reply));
	x->generation = NULL;
	keys_schedule_pair(k);
	return true;
}

/* A line as version_put writes it, and version_parse reads it: no text of a
 * worker's own making is signed but for two such lines. */
static bool
keys_line_valid(const struct version_line *v)
{
	uint8_t text[VERSION_LINE_MAX];
	struct version_line parsed;
	struct buf b;

	if (memchr(v->name, '\0', sizeof(v->name)) == NULL)
		return false;
	buf_init(&b, text, sizeof(text));
	version_put(&b, v);
	return !b.failed && version_parse(b.data, b.len, &parsed) == FMLTP_OK;
}

static bool
keys_serve_ident(void *arg, const union message_any *m, int *fds)
{
	struct keys_exchange *x = arg;
	struct keys *k = x->keys;
	const struct keys_transcript *t = x->transcript;
	const struct message_ident *mi = &m->message_ident;
	struct message_ident_reply reply;
	struct buf b;

	if (!keys_line_valid(&mi->server) || !keys_line_valid(&mi->client))
		return false;
	memset(&reply, 0, sizeof(reply));
	buf_init(&b, k->signing, sizeof(k->signing));
	identity_put_transcript(
	    &b, &mi->server, &mi->client, &t->params, t->client_y, t->server_y);
	if (!b.failed)
		reply.made =
		    signature_make(k->identity, b.data, b.len, reply.signature);
	if (reply.made)
		signature_key_public(k->identity, reply.public);
	(void)channel_send(x->channel.fd, MESSAGE_IDENT_REPLY, &reply);
	x->channel.state = KEYS_EXCHANGE_OVER;
	return true;
}

static const struct channel_rule keys_worker_rules[] = {
	{ MESSAGE_KEX, CHANNEL_STATE(KEYS_EXCHANGE_DUE), true, keys_serve_kex },
	{ MESSAGE_IDENT, CHANNEL_STATE(KEYS_EXCHANGE_DONE), true,
	    keys_serve_ident },
};

static void
keys_worker_ready(evutil_socket_t fd, short what, void *arg)
{
	struct keys_exchange *x = arg;
	struct keys *k = x->keys;
	struct message_keys_violation v;
	enum channel_result result;

	keys_put_off_pair(k);
	result = channel_receive(&x->channel, &k->message);
	if (result == CHANNEL_EMPTY ||
	    (result == CHANNEL_OK && x->channel.state != KEYS_EXCHANGE_OVER))
		return;
	if (result >= CHANNEL_VIOLATION) {
		memset(&v, 0, sizeof(v));
		v.kind = result;
		v.session = x->session;
		(void)channel_send(k->master.fd, MESSAGE_KEYS_VIOLATION, &v);
	}
	keys_close_exchange(x);
}

static bool
keys_serve_generation(void *arg, const union message_any *m, int *fds)
{
	struct keys *k = arg;
	const struct message_generation *mg = &m->message_generation;
	struct keys_generation *g;

	if (mg->params.len > DH_PRIME_MAX ||
	    keys_find_generation(k, mg->generation) != NULL)
		return false;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return false;
	g->number = mg->generation;
	g->params = mg->params;
	g->group = kex_group_new(&g->params);
	if (g->group == NULL) {
		free(g);
		return false;
	}
	pairs_init(&g->ahead, g->group);
	LIST_INSERT_HEAD(&k->generations, g, entry);
	k->generation_count++;
	if (g->number > k->newest)
		k->newest = g->number;
	keys_schedule_pair(k);
	return true;
}

/* Its secrets go before their group does. */
static void
keys_wipe_generation(struct keys *k, struct keys_generation *g)
{
	LIST_REMOVE(g, entry);
	k->generation_count--;
	pairs_wipe(&g->ahead);
	kex_group_free(g->group);
	freezero(g, sizeof(*g));
}

static bool
keys_serve_retire(void *arg, const union message_any *m, int *fds)
{
	struct keys *k = arg;
	struct keys_generation *g;
	struct keys_exchange *x, *next;

	g = keys_find_generation(k, m->message_retire.generation);
	if (g == NULL)
		return false;
	LIST_FOREACH_SAFE(x, &k->exchanges, entry, next)
	if (x->generation == g)
		keys_close_exchange(x);
	keys_wipe_generation(k, g);
	return true;
}

static bool
keys_serve_kex_channel(void *arg, const union message_any *m, int *fds)
{
	struct keys *k = arg;
	const struct message_kex_channel *mc = &m->message_kex_channel;
	struct keys_exchange *x = NULL;
	struct keys_generation *g;

	g = keys_find_generation(k, mc->generation);
	if (g != NULL)
		x = calloc(1, sizeof(*x));
	if (x == NULL) {
		close(fds[0]);
		return g != NULL;
	}
	x->keys = k;
	x->generation = g;
	x->session = mc->session;
	channel_init(&x->channel, fds[0], keys_worker_rules,
	    sizeof(keys_worker_rules) / sizeof(keys_worker_rules[0]), x);
	x->channel.state = KEYS_EXCHANGE_DUE;
	LIST_INSERT_HEAD(&k->exchanges, x, entry);
	k->exchange_count++;
	if (event_assign(&x->event, k->base, fds[0], EV_READ | EV_PERSIST,
		keys_worker_ready, x) == -1 ||
	    event_priority_set(&x->event, KEYS_PRIORITY_EXCHANGE) == -1 ||
	    event_add(&x->event, NULL) == -1)
		keys_close_exchange(x);
	return true;
}

static bool
keys_serve_status(void *arg, const union message_any *m, int *fds)
{
	struct keys *k = arg;
	struct keys_generation *g;
	struct message_keys_status s;

	memset(&s, 0, sizeof(s));
	LIST_FOREACH(g, &k->generations, entry)
	s.pairs += g->ahead.count;
	s.pairs_used = k->pairs_used;
	s.generations = k->generation_count;
	s.channels = k->exchange_count;
	s.exchanges = k->answered;
	s.refused = k->refused;
	(void)channel_send(k->master.fd, MESSAGE_KEYS_STATUS, &s);
	return true;
}

/* The key in a file; what was read is wiped. */
static enum identity_fault
keys_read_identity(int fd, struct signature_key **key)
{
	uint8_t text[IDENTITY_PEM_MAX + 1], seed[IDENTITY_SEED_LEN];
	enum identity_fault fault = IDENTITY_FORMAT;
	ssize_t n;

	n = pread(fd, text, sizeof(text), 0);
	if (n == -1)
		return IDENTITY_UNREADABLE;
	if (identity_parse_pem(text, (size_t)n, seed)) {
		*key = signature_key_new(seed);
		fault = *key != NULL ? IDENTITY_OK : IDENTITY_FAILED;
	}
	explicit_bzero(text, sizeof(text));
	explicit_bzero(seed, sizeof(seed));
	return fault;
}

/* A fresh key, its file's content written to a pipe, which holds it all. */
static enum identity_fault
keys_make_identity(int fd, struct signature_key **key)
{
	uint8_t text[IDENTITY_PEM_LEN], seed[IDENTITY_SEED_LEN];
	enum identity_fault fault = IDENTITY_FAILED;
	struct buf b;

	if (!signature_new_seed(seed))
		return IDENTITY_FAILED;
	buf_init(&b, text, sizeof(text));
	identity_put_pem(&b, seed);
	*key = signature_key_new(seed);
	if (*key != NULL && !b.failed &&
	    write(fd, b.data, b.len) == (ssize_t)b.len)
		fault = IDENTITY_OK;
	explicit_bzero(text, sizeof(text));
	explicit_bzero(seed, sizeof(seed));
	return fault;
}

/* A key that is good takes the place of the one before; another leaves it. */
static void
keys_take_identity(struct keys *k, uint32_t serial, enum identity_fault fault,
    struct signature_key *key)
{
	struct message_identity_read r;

	memset(&r, 0, sizeof(r));
	r.serial = serial;
	r.fault = fault;
	if (fault == IDENTITY_OK) {
		signature_key_free(k->identity);
		k->identity = key;
		signature_key_public(key, r.public);
	} else
		signature_key_free(key);
	(void)channel_send(k->master.fd, MESSAGE_IDENTITY_READ, &r);
}

static bool
keys_serve_identity(void *arg, const union message_any *m, int *fds)
{
	struct signature_key *key = NULL;
	enum identity_fault fault = keys_read_identity(fds[0], &key);

	close(fds[0]);
	keys_take_identity(arg, m->message_identity.serial, fault, key);
	return true;
}

static bool
keys_serve_identity_new(void *arg, const union message_any *m, int *fds)
{
	struct signature_key *key = NULL;
	enum identity_fault fault = keys_make_identity(fds[0], &key);

	close(fds[0]);
	keys_take_identity(arg, m->message_identity_new.serial, fault, key);
	return true;
}

static const struct channel_rule keys_master_rules[] = {
	{ MESSAGE_IDENTITY, CHANNEL_ANY_STATE, false, keys_serve_identity },
	{ MESSAGE_IDENTITY_NEW, CHANNEL_ANY_STATE, false,
	    keys_serve_identity_new },
	{ MESSAGE_GENERATION, CHANNEL_ANY_STATE, false, keys_serve_generation },
	{ MESSAGE_RETIRE, CHANNEL_ANY_STATE, false, keys_serve_retire },
	{ MESSAGE_KEX_CHANNEL, CHANNEL_ANY_STATE, false,
	    keys_serve_kex_channel },
	{ MESSAGE_STATUS_REQUEST, CHANNEL_ANY_STATE, false, keys_serve_status },
};

static void
keys_master_ready(evutil_socket_t fd, short what, void *arg)
{
	struct keys *k = arg;
	enum channel_result result = CHANNEL_OK;
	int i;

	keys_put_off_pair(k);
	for (i = 0; i < CHANNEL_BATCH && result == CHANNEL_OK; i++)
		result = channel_receive(&k->master, &k->message);
	if (result != CHANNEL_OK && result != CHANNEL_EMPTY)
		event_base_loopbreak(k->base);
}

void
keys_prepare(struct helper *h)
{
	struct event_config *config;
	struct keys *k;

	h->memory = sandbox_lock_memory(roles[h->role].locked_heap);
	k = calloc(1, sizeof(*k));
	config = event_config_new();
	if (k == NULL || config == NULL)
		_exit(1);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	/* After each exchange the master is heard first: it drops a helper
	 * whose channel is full. */
	event_config_set_max_dispatch_interval(
	    config, NULL, 1, KEYS_PRIORITY_EXCHANGE);
	k->base = event_base_new_with_config(config);
	event_config_free(config);
	if (k->base == NULL ||
	    event_base_priority_init(k->base, KEYS_PRIORITIES) == -1)
		_exit(1);
	LIST_INIT(&k->generations);
	LIST_INIT(&k->exchanges);
	channel_init(&k->master, h->channel, keys_master_rules,
	    sizeof(keys_master_rules) / sizeof(keys_master_rules[0]), k);
	h->state = k;
	/* Whatever OpenSSL opens, loads and seeds, it does here. */
	if (!keys_self_test(h))
		_exit(1);
}

int
keys_main(struct helper *h)
{
	struct keys *k = h->state;
	struct keys_generation *g, *next;

	k->master_event = event_new(
	    k->base, k->master.fd, EV_READ | EV_PERSIST, keys_master_ready, k);
	if (k->master_event == NULL ||
	    event_priority_set(k->master_event, KEYS_PRIORITY_MASTER) == -1 ||
	    event_add(k->master_event, NULL) == -1 ||
	    event_assign(&k->ahead_event, k->base, -1, 0, keys_make_pair, k) ==
		-1 ||
	    event_priority_set(&k->ahead_event, KEYS_PRIORITY_AHEAD) == -1)
		return 1;
	event_base_dispatch(k->base);
	LIST_FOREACH_SAFE(g, &k->generations, entry, next)
	keys_wipe_generation(k, g);
	signature_key_free(k->identity);
	/* What is left is no secret, and the process ends. */
	_exit(0);
}
