/*
 * tests/fuzz/fuzz_channel_keys.c - any messages to a key holder, from its
 * master and from workers.
 *
 * Runs in: the fuzzers alone.  It is keys/keys.c itself, over real channels:
 * each input is a life of the process.  A byte chooses who speaks: the master,
 * or a worker whose channel the key holder has.  What comes back is checked
 * against the rules: the master's violation ends the process, a worker's is
 * told of and ends its channel, an exchange is answered once, and its key is
 * the one that the other side derives.  The key that signs is that of a file
 * whose content the input has made, or a new one, whose file comes through a
 * pipe; and after an exchange that was answered there is one signature, for
 * lines that are some, of this exchange's transcript.
 *
 * Covers: keys/keys.c: keys_find_generation keys_close_exchange keys_exchange
 * Covers: keys/keys.c: keys_serve_kex keys_worker_ready keys_serve_generation
 * Covers: keys/keys.c: keys_wipe_generation keys_serve_retire
 * Covers: keys/keys.c: keys_serve_kex_channel keys_serve_status
 * Covers: keys/keys.c: keys_master_ready keys_make_pair keys_schedule_pair
 * Covers: keys/keys.c: keys_keep_transcript keys_line_valid keys_serve_ident
 * Covers: keys/keys.c: keys_read_identity keys_make_identity
 * Covers: keys/keys.c: keys_take_identity keys_serve_identity
 * Covers: keys/keys.c: keys_serve_identity_new
 * Covers: privsep/channel.c: channel_receive channel_check channel_take_fds
 * Covers: privsep/channel.c: channel_close_all channel_hung_up
 */
#include <sys/mman.h>

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
	/* What this side knows of its exchange. */
	struct dh_params params;
	uint8_t client_y[DH_PRIME_MAX];
	uint8_t server_y[DH_PRIME_MAX];
};

struct life {
	struct keys k;
	int master; /* its end */
	struct worker_end worker[WORKERS_MAX];
	uint64_t sessions;
	bool has_identity;
	uint8_t identity[IDENTITY_PUBLIC_LEN];
	bool over;
};

/* What the master sends as the key's file. */
enum fuzz_file {
	FILE_KEY,
	FILE_PATCHED,
	FILE_BYTES,
	FILE_NONE, /* a descriptor that can't be read so */
	FILES
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
	else if (type == MESSAGE_IDENT) {
		memcpy(m->message_ident.server.name, "FlexMusic Server", 16);
		memcpy(m->message_ident.client.name, "FlexMusic", 9);
		m->message_ident.client.signature.stepping = 1;
	}
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
	signature_key_free(l->k.identity);
	event_del(&l->k.ahead_event);
	event_base_free(l->k.base);
	close(l->k.master.fd);
	close(l->master);
	for (i = 0; i < WORKERS_MAX; i++)
		if (l->worker[i].fd != -1)
			close(l->worker[i].fd);
}

/* The public key of a file: false where it has none. */
static bool
public_of(const uint8_t *text, size_t len, uint8_t *public)
{
	uint8_t seed[IDENTITY_SEED_LEN];
	struct signature_key *key;

	if (!identity_parse_pem(text, len, seed))
		return false;
	key = signature_key_new(seed);
	fuzz_check(key != NULL);
	signature_key_public(key, public);
	signature_key_free(key);
	return true;
}

/* A file of the input's, and what has to come of it. */
static int
make_file(struct fuzz_input *in, enum identity_fault *fault, uint8_t *public)
{
	uint8_t kind = fuzz_u8(in), text[IDENTITY_PEM_MAX + 16];
	uint8_t seed[IDENTITY_SEED_LEN] = { fuzz_u8(in) };
	const uint8_t *bytes;
	size_t len, at = 0;
	struct buf b;
	int fd;

	*fault = IDENTITY_UNREADABLE;
	if (kind % FILES == FILE_NONE)
		return eventfd(0, EFD_CLOEXEC);
	buf_init(&b, text, sizeof(text));
	identity_put_pem(&b, seed);
	if (kind % FILES != FILE_KEY) {
		if (kind % FILES == FILE_PATCHED)
			at = fuzz_u8(in) % b.len;
		bytes = fuzz_bytes(in, sizeof(text) - at, &len);
		memcpy(text + at, bytes, len);
		if (kind % FILES == FILE_BYTES || b.len < at + len)
			b.len = at + len;
	}
	*fault = public_of(text, b.len, public) ? IDENTITY_OK : IDENTITY_FORMAT;
	fd = memfd_create("identity", MFD_CLOEXEC);
	fuzz_check(fd != -1 && write(fd, text, b.len) == (ssize_t)b.len);
	return fd;
}

/* What was told of a key is so, and it is in use. */
static void
check_identity(struct life *l, uint32_t serial, enum identity_fault fault,
    const uint8_t *public)
{
	struct message_identity_read r;
	uint8_t used[IDENTITY_PUBLIC_LEN];

	fuzz_check(
	    channel_read(l->master, MESSAGE_IDENTITY_READ, &r) == CHANNEL_OK &&
	    r.serial == serial && r.fault == fault);
	if (fault == IDENTITY_OK) {
		fuzz_check(memcmp(r.public, public, sizeof(r.public)) == 0);
		memcpy(l->identity, public, sizeof(l->identity));
		l->has_identity = true;
	}
	fuzz_check((l->k.identity != NULL) == l->has_identity);
	if (!l->has_identity)
		return;
	signature_key_public(l->k.identity, used);
	fuzz_check(memcmp(used, l->identity, sizeof(used)) == 0);
}

/* The master has a key read, or made. */
static void
master_has_identity(
    struct life *l, struct fuzz_input *in, const struct fuzz_message *m)
{
	uint8_t public[IDENTITY_PUBLIC_LEN], text[IDENTITY_PEM_MAX];
	enum identity_fault fault = IDENTITY_OK;
	uint32_t serial = m->any.message_identity.serial;
	bool new = m->header.type == MESSAGE_IDENTITY_NEW;
	int fd[2] = { -1, -1 };
	ssize_t n;

	if (!new)
		fd[1] = make_file(in, &fault, public);
	else if (fuzz_u8(in) % 4 != 3) {
		serial = m->any.message_identity_new.serial;
		fuzz_check(pipe2(fd, O_CLOEXEC | O_NONBLOCK) == 0);
	} else {
		serial = m->any.message_identity_new.serial;
		fault = IDENTITY_FAILED;
		fd[1] = eventfd(0, EFD_CLOEXEC);
	}
	fuzz_check(fuzz_message_send(l->master, m, &fd[1]));
	close(fd[1]);
	keys_master_ready(l->k.master.fd, EV_READ, &l->k);
	if (fd[0] != -1) {
		n = read(fd[0], text, sizeof(text));
		fuzz_check(n == IDENTITY_PEM_LEN &&
		    public_of(text, (size_t)n, public) &&
		    read(fd[0], text, sizeof(text)) == 0);
		close(fd[0]);
	}
	check_identity(l, serial, fault, public);
}

/* The master gives a worker's channel, a real one. */
static void
master_gives_channel(struct life *l, struct fuzz_message *m)
{
	struct message_kex_channel *mc = &m->any.message_kex_channel;
	const struct keys_generation *g =
	    keys_find_generation(&l->k, mc->generation);
	uint32_t channels = l->k.exchange_count;
	struct worker_end *w = NULL;
	int fd[2];
	size_t i;

	/* Each session is one, as the master counts them. */
	mc->session = l->sessions;
	fuzz_check(channel_pair(fd, false, 0));
	fuzz_check(fuzz_message_send(l->master, m, fd));
	close(fd[0]);
	keys_master_ready(l->k.master.fd, EV_READ, &l->k);
	fuzz_check((event_base_got_break(l->k.base) != 0) == (g == NULL));
	fuzz_check(l->k.exchange_count == channels + (g != NULL));
	for (i = 0; i < WORKERS_MAX && w == NULL; i++)
		if (l->worker[i].fd == -1)
			w = &l->worker[i];
	if (g == NULL || w == NULL) {
		close(fd[1]);
		return;
	}
	w->fd = fd[1];
	w->session = mc->session;
	w->params = g->params;
}

/* The master speaks. */
static void
master_says(struct life *l, struct fuzz_input *in)
{
	struct message_keys_status s;
	struct fuzz_message m;
	enum channel_result expected;
	bool served;

	fuzz_message_take(&m, in, keys_master_rules,
	    sizeof(keys_master_rules) / sizeof(keys_master_rules[0]), fill, l);
	expected = fuzz_message_expect(&m, &l->k.master);
	served = expected == CHANNEL_OK;
	if (served && m.header.type == MESSAGE_KEX_CHANNEL)
		master_gives_channel(l, &m);
	else if (served &&
	    (m.header.type == MESSAGE_IDENTITY ||
		m.header.type == MESSAGE_IDENTITY_NEW))
		master_has_identity(l, in, &m);
	else {
		fuzz_check(fuzz_message_send_any(l->master, &m));
		keys_master_ready(l->k.master.fd, EV_READ, &l->k);
	}
	l->over = event_base_got_break(l->k.base) != 0;
	if (!served)
		fuzz_check(l->over);
	else if (m.header.type == MESSAGE_STATUS_REQUEST)
		fuzz_check(channel_read(l->master, MESSAGE_KEYS_STATUS, &s) ==
			CHANNEL_OK &&
		    s.channels == l->k.exchange_count &&
		    s.generations == l->k.generation_count);
	/* A key is told of where one was asked for, and never else. */
	fuzz_check(channel_read(l->master, MESSAGE_IDENTITY_READ, &m.any) ==
	    CHANNEL_EMPTY);
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

/* The answer to a y: a key that this side derives too, or an error.  True
 * where the channel is good for a signature. */
static bool
check_reply(
    const struct life *l, struct worker_end *w, const struct fuzz_message *m)
{
	static const uint8_t none[FERNET_KEY_LEN];
	const struct dh_params *p = &w->params;
	struct message_kex_reply r;
	uint8_t key[FERNET_KEY_LEN], y[DH_PRIME_MAX] = { 0 };

	fuzz_check(channel_read(w->fd, MESSAGE_KEX_REPLY, &r) == CHANNEL_OK);
	if (!dh_public_in_range(p, m->any.message_kex.y)) {
		fuzz_check(r.error == FMLTP_DH_RANGE &&
		    memcmp(r.key, none, sizeof(none)) == 0);
		return false;
	}
	memcpy(w->client_y, m->any.message_kex.y, p->len);
	memcpy(w->server_y, r.y, p->len);
	if (p->len != params.len || memcmp(p->p, params.p, p->len) != 0)
		return r.error == FMLTP_OK && l->has_identity;
	fuzz_check(r.error == FMLTP_OK && dh_public_in_range(p, r.y));
	kex_pair_public(pair, y);
	if (memcmp(y, m->any.message_kex.y, p->len) == 0)
		fuzz_check(kex_derive(pair, r.y, key) == FMLTP_OK &&
		    memcmp(key, r.key, sizeof(key)) == 0);
	return l->has_identity;
}

/* Whether this is how a version line is written. */
static bool
is_line(const struct version_line *v)
{
	char text[VERSION_LINE_MAX + 1];
	struct version_line again;
	int n;

	if (strnlen(v->name, sizeof(v->name)) == sizeof(v->name))
		return false;
	n = snprintf(text, sizeof(text), "%s,%u.%u.%u", v->name,
	    v->signature.class, v->signature.stepping,
	    v->signature.substepping);
	return version_parse((const uint8_t *)text, (size_t)n, &again) ==
	    FMLTP_OK;
}

/* The signature: of what both sides of this exchange have seen. */
static void
check_signature(
    const struct life *l, const struct worker_end *w, struct message_ident *m)
{
	static uint8_t transcript[IDENTITY_TRANSCRIPT_MAX];
	struct message_ident_reply r;
	struct buf b;

	fuzz_check(channel_read(w->fd, MESSAGE_IDENT_REPLY, &r) == CHANNEL_OK);
	fuzz_check(r.made == 1 &&
	    memcmp(r.public, l->identity, sizeof(r.public)) == 0);
	buf_init(&b, transcript, sizeof(transcript));
	identity_put_transcript(
	    &b, &m->server, &m->client, &w->params, w->client_y, w->server_y);
	fuzz_check(!b.failed &&
	    signature_check(l->identity, b.data, b.len, r.signature));
}

static void
worker_says(struct life *l, struct fuzz_input *in)
{
	struct worker_end *w = &l->worker[fuzz_u8(in) % WORKERS_MAX];
	struct message_keys_violation v;
	struct keys_exchange *x;
	struct fuzz_message m;
	enum channel_result expected;
	bool again = false;

	x = w->fd == -1 ? NULL : find_exchange(l, w->session);
	if (x == NULL)
		return;
	fuzz_message_take(&m, in, keys_worker_rules,
	    sizeof(keys_worker_rules) / sizeof(keys_worker_rules[0]), fill, l);
	expected = fuzz_message_expect(&m, &x->channel);
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_IDENT &&
	    (!is_line(&m.any.message_ident.server) ||
		!is_line(&m.any.message_ident.client)))
		expected = CHANNEL_REFUSED;
	fuzz_check(fuzz_message_send_any(w->fd, &m));
	keys_worker_ready(x->channel.fd, EV_READ, x);
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_KEX)
		again = check_reply(l, w, &m);
	else if (expected == CHANNEL_OK)
		check_signature(l, w, &m.any.message_ident);
	else
		fuzz_check(channel_read(l->master, MESSAGE_KEYS_VIOLATION,
			       &v) == CHANNEL_OK &&
		    v.kind == expected && v.session == w->session);
	fuzz_check(channel_read(l->master, MESSAGE_KEYS_VIOLATION, &v) ==
	    CHANNEL_EMPTY);
	/* After an exchange a signature may be asked for, once; whatever else
	 * it was, the channel had its last message. */
	fuzz_check((find_exchange(l, w->session) != NULL) == again);
	if (again)
		return;
	fuzz_check(
	    channel_read(w->fd, MESSAGE_IDENT_REPLY, &m.any) == CHANNEL_CLOSED);
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
