/*
 * tests/fuzz/fuzz_channel_keys.c - any messages to a key holder, from its
 * master and from workers.
 *
 * Runs in: the fuzzers alone.  It is keys/keys.c itself, over real channels:
 * each input is a life of the process.  A byte chooses who speaks: the master,
 * or a worker whose channel the key holder has.  What comes back is checked
 * against the rules: the master's violation ends the process, a worker's is
 * told of and ends its channel, an exchange is answered once, and its key is
 * the one that the other side derives.
 *
 * Covers: keys/keys.c: keys_find_generation keys_close_exchange keys_exchange
 * Covers: keys/keys.c: keys_serve_kex keys_worker_ready keys_serve_generation
 * Covers: keys/keys.c: keys_wipe_generation keys_serve_retire
 * Covers: keys/keys.c: keys_serve_kex_channel keys_serve_status
 * Covers: keys/keys.c: keys_master_ready keys_make_pair keys_schedule_pair
 * Covers: privsep/channel.c: channel_receive channel_check channel_take_fds
 * Covers: privsep/channel.c: channel_close_all channel_hung_up
 */
#include "keys/keys.c"
#include "tests/fuzz/channel.h"
#include "tests/vectors.h"

#define WORKERS_MAX  8
#define MESSAGES_MAX 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A worker's end, and what is known of it. */
struct worker_end {
	int fd; /* -1: free */
	uint64_t session;
	bool asked;
};

struct life {
	struct keys k;
	int master; /* its end */
	struct worker_end worker[WORKERS_MAX];
	uint64_t sessions;
	bool over;
};

static struct dh_params params; /* of 1024 bits */
static struct kex_group *group; /* the worker's side */
static struct kex_pair *pair;

/* What a friendly master and a friendly worker say. */
static void
fill(void *arg, enum message_type type, union message_any *m)
{
	struct life *l = arg;

	if (type == MESSAGE_GENERATION) {
		m->message_generation.generation = 1;
		m->message_generation.params = params;
	} else if (type == MESSAGE_RETIRE)
		m->message_retire.generation = 1;
	else if (type == MESSAGE_KEX_CHANNEL) {
		m->message_kex_channel.generation = 1;
		m->message_kex_channel.session = ++l->sessions;
	} else if (type == MESSAGE_KEX)
		kex_pair_public(pair, m->message_kex.y);
}

static void
begin(struct life *l)
{
	int fd[2];
	size_t i;

	memset(l, 0, sizeof(*l));
	fuzz_check(channel_pair(fd, false, 0));
	l->master = fd[0];
	l->k.base = event_base_new();
	fuzz_check(l->k.base != NULL);
	fuzz_check(event_base_priority_init(l->k.base, KEYS_PRIORITIES) == 0);
	LIST_INIT(&l->k.generations);
	LIST_INIT(&l->k.exchanges);
	channel_init(&l->k.master, fd[1], keys_master_rules,
	    sizeof(keys_master_rules) / sizeof(keys_master_rules[0]), &l->k);
	fuzz_check(event_assign(&l->k.ahead_event, l->k.base, -1, 0,
		       keys_make_pair, &l->k) == 0);
	for (i = 0; i < WORKERS_MAX; i++)
		l->worker[i].fd = -1;
}

static void
finish(struct life *l)
{
	struct keys_generation *g, *next;
	struct keys_exchange *x, *next_x;
	size_t i;

	LIST_FOREACH_SAFE(x, &l->k.exchanges, entry, next_x)
	keys_close_exchange(x);
	LIST_FOREACH_SAFE(g, &l->k.generations, entry, next)
	keys_wipe_generation(&l->k, g);
	fuzz_check(l->k.exchange_count == 0 && l->k.generation_count == 0);
	event_del(&l->k.ahead_event);
	event_base_free(l->k.base);
	close(l->k.master.fd);
	close(l->master);
	for (i = 0; i < WORKERS_MAX; i++)
		if (l->worker[i].fd != -1)
			close(l->worker[i].fd);
}

/* The master speaks.  Its channels to workers are real ones. */
static void
master_says(struct life *l, struct fuzz_input *in)
{
	const struct keys_generation *g;
	struct message_kex_channel *mc;
	struct message_keys_status s;
	struct fuzz_message m;
	enum channel_result expected;
	int fd[2] = { -1, -1 };
	uint32_t channels = l->k.exchange_count;
	size_t i;

	fuzz_message_take(&m, in, keys_master_rules,
	    sizeof(keys_master_rules) / sizeof(keys_master_rules[0]), fill, l);
	expected = fuzz_message_expect(&m, &l->k.master);
	if (expected == CHANNEL_OK && m.fds == 1) {
		fuzz_check(channel_pair(fd, false, 0));
		fuzz_check(fuzz_message_send(l->master, &m, fd));
		close(fd[0]);
	} else
		fuzz_check(fuzz_message_send_any(l->master, &m));
	keys_master_ready(l->k.master.fd, EV_READ, &l->k);
	l->over = event_base_got_break(l->k.base) != 0;
	if (expected != CHANNEL_OK)
		fuzz_check(l->over);
	if (fd[1] != -1) {
		mc = &m.any.message_kex_channel;
		g = keys_find_generation(&l->k, mc->generation);
		fuzz_check(l->over == (g == NULL));
		fuzz_check(l->k.exchange_count == channels + (g != NULL));
		for (i = 0; i < WORKERS_MAX && l->worker[i].fd != -1; i++)
			continue;
		if (g == NULL || i == WORKERS_MAX)
			close(fd[1]);
		else {
			l->worker[i].fd = fd[1];
			l->worker[i].session = mc->session;
			l->worker[i].asked = false;
		}
	}
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_STATUS_REQUEST)
		fuzz_check(channel_read(l->master, MESSAGE_KEYS_STATUS, &s) ==
			CHANNEL_OK &&
		    s.channels == l->k.exchange_count &&
		    s.generations == l->k.generation_count);
}

static struct keys_exchange *
find_exchange(struct life *l, uint64_t session)
{
	struct keys_exchange *x;

	LIST_FOREACH(x, &l->k.exchanges, entry)
	if (x->session == session)
		return x;
	return NULL;
}

/* The answer to a y: a key that this side derives too, or an error. */
static void
check_reply(const struct life *l, const struct worker_end *w,
    const struct fuzz_message *m, const struct dh_params *p)
{
	static const uint8_t none[FERNET_KEY_LEN];
	struct message_kex_reply r;
	uint8_t key[FERNET_KEY_LEN], y[DH_PRIME_MAX] = { 0 };

	fuzz_check(channel_read(w->fd, MESSAGE_KEX_REPLY, &r) == CHANNEL_OK);
	if (!dh_public_in_range(p, m->any.message_kex.y)) {
		fuzz_check(r.error == FMLTP_DH_RANGE &&
		    memcmp(r.key, none, sizeof(none)) == 0);
		return;
	}
	if (p->len != params.len || memcmp(p->p, params.p, p->len) != 0)
		return;
	fuzz_check(r.error == FMLTP_OK && dh_public_in_range(p, r.y));
	kex_pair_public(pair, y);
	if (memcmp(y, m->any.message_kex.y, p->len) == 0)
		fuzz_check(kex_derive(pair, r.y, key) == FMLTP_OK &&
		    memcmp(key, r.key, sizeof(key)) == 0);
}

static void
worker_says(struct life *l, struct fuzz_input *in)
{
	struct worker_end *w = &l->worker[fuzz_u8(in) % WORKERS_MAX];
	struct message_keys_violation v;
	struct keys_exchange *x;
	struct fuzz_message m;
	enum channel_result expected;
	struct dh_params p;

	x = w->fd == -1 ? NULL : find_exchange(l, w->session);
	if (x == NULL)
		return;
	p = x->generation->params;
	fuzz_message_take(&m, in, keys_worker_rules, 1, fill, l);
	expected = fuzz_message_expect(&m, &x->channel);
	fuzz_check(fuzz_message_send_any(w->fd, &m));
	keys_worker_ready(x->channel.fd, EV_READ, x);
	/* Whatever it was, the channel had one message. */
	fuzz_check(find_exchange(l, w->session) != x);
	if (expected == CHANNEL_OK)
		check_reply(l, w, &m, &p);
	else
		fuzz_check(channel_read(l->master, MESSAGE_KEYS_VIOLATION,
			       &v) == CHANNEL_OK &&
		    v.kind == expected && v.session == w->session);
	fuzz_check(channel_read(l->master, MESSAGE_KEYS_VIOLATION, &v) ==
	    CHANNEL_EMPTY);
	close(w->fd);
	w->fd = -1;
}

/* A worker that goes, and one that was waited for in vain. */
static void
worker_goes(struct life *l, struct fuzz_input *in)
{
	struct worker_end *w = &l->worker[fuzz_u8(in) % WORKERS_MAX];
	struct keys_exchange *x;

	x = w->fd == -1 ? NULL : find_exchange(l, w->session);
	if (x == NULL)
		return;
	keys_worker_ready(x->channel.fd, EV_READ, x);
	fuzz_check(find_exchange(l, w->session) != NULL);
	close(w->fd);
	w->fd = -1;
	keys_worker_ready(x->channel.fd, EV_READ, x);
}

static void
prepare(void)
{
	const char *init = vector_kex[0].server_kex_init;
	size_t taken;

	if (pair != NULL)
		return;
	fuzz_check(dh_params_parse_pem((const uint8_t *)init, strlen(init),
		       &params, &taken) == FMLTP_OK);
	group = kex_group_new(&params);
	fuzz_check(group != NULL);
	pair = kex_pair_new(group);
	fuzz_check(pair != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct life l;
	struct fuzz_input in = { data, size };
	int lowest, i;

	prepare();
	lowest = fuzz_lowest_fd();
	begin(&l);
	for (i = 0; i < MESSAGES_MAX && in.left > 0 && !l.over; i++)
		switch (fuzz_u8(&in) % 4) {
		case 0:
			worker_says(&l, &in);
			break;
		case 1:
			worker_goes(&l, &in);
			break;
		case 2:
			/* Nobody has said anything for a while. */
			keys_make_pair(-1, EV_TIMEOUT, &l.k);
			break;
		default:
			master_says(&l, &in);
		}
	finish(&l);
	fuzz_check(fuzz_lowest_fd() == lowest);
	return 0;
}
