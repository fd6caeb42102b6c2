/*
 * tests/fuzz/fuzz_channel_helpers.c - any messages to the helpers that the
 * master alone speaks to, and to a worker: a helper's first message, the
 * zygote, paramgen, and LOCKDOWN; and the one reply that a worker gets of
 * keys.
 *
 * Runs in: the fuzzers alone.  The tables and the functions that serve are the
 * processes' own.  A fork is one that fails, or whose child is this process's
 * own descriptor; a search finds nothing, or a set that is known; and a worker
 * that would end says so.
 *
 * Covers: privsep/start.c: start_serve
 * Covers: worker/zygote.c: zygote_spawn zygote_make_title zygote_fork
 * Covers: paramgen/paramgen.c: paramgen_serve_generate paramgen_check
 * Covers: paramgen/paramgen.c: paramgen_serve_check paramgen_report
 * Covers: worker/auth_client.c: auth_serve_lockdown auth_begin
 * Covers: worker/keys_client.c: keys_exchange
 * Covers: privsep/channel.c: channel_read channel_send_fds channel_send
 */
#include <setjmp.h>
#include <signal.h>

#include "paramgen/paramgen.c"
#include "privsep/start.c"
#include "worker/auth_client.c"
#include "worker/zygote.c"

#include "tests/fuzz/channel.h"

#define MESSAGES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
bool __wrap_search_safe_prime(
    unsigned bits, struct dh_params *out, search_report *report, void *arg);
_Noreturn void __wrap_worker_leave(struct worker *w);

/* No helper is started. */
void (*const role_helper_prepare[ROLE_COUNT])(struct helper *h);
int (*const role_helper_entry[ROLE_COUNT])(struct helper *h);
bool (*const role_helper_self_test[ROLE_COUNT])(struct helper *h);

static uint8_t choice; /* how what is called goes */
static jmp_buf left;

int
__wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct zygote *z = arg;

	fuzz_check(fn == zygote_child && flags == (CLONE_PARENT | CLONE_PIDFD));
	if (choice % 2 == 0) {
		errno = EAGAIN;
		return -1;
	}
	z->pidfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fuzz_check(z->pidfd != -1);
	return 4711;
}

bool
__wrap_search_safe_prime(
    unsigned bits, struct dh_params *out, search_report *report, void *arg)
{
	const struct search_progress progress = { .tests = 7, .expected = 11 };

	fuzz_check(dh_bits_valid(bits));
	/* The first is told at once, the second too soon. */
	if (!report(arg, &progress) || !report(arg, &progress) ||
	    choice % 2 == 0)
		return false;
	*out = known_params;
	return true;
}

_Noreturn void
__wrap_worker_leave(struct worker *w)
{
	longjmp(left, 1);
}

/* A pair of ends, and a table at one of them. */
static int
begin(struct channel *c, const struct channel_rule *rules, size_t count,
    void *arg)
{
	int fd[2];

	fuzz_check(channel_pair(fd, false, 0));
	channel_init(c, fd[1], rules, count, arg);
	return fd[0];
}

static void
fill(void *arg, enum message_type type, union message_any *m)
{
	struct buf b;

	if (type == MESSAGE_GENERATE)
		m->message_generate.bits = 2048;
	else if (type == MESSAGE_SPAWN) {
		m->message_spawn.session = 7;
		strlcpy(m->message_spawn.peer, "192.0.2.7:1234",
		    sizeof(m->message_spawn.peer));
	} else if (type == MESSAGE_LOCKDOWN)
		m->message_lockdown.phase_ms = 60000;
	else if (type == MESSAGE_CHECK) {
		m->message_check.bits = known_params.len * 8u;
		buf_init(&b, m->message_check.pem, PARAMS_PEM_MAX);
		dh_params_put_pem(&b, &known_params);
		m->message_check.len = (uint32_t)b.len;
		crypto_sha256(b.data, b.len, m->message_check.digest);
	}
}

/* A helper's first message. */
static void
try_start(struct fuzz_input *in)
{
	static struct message_start start;
	struct start_receipt receipt = { &start, -1 };
	struct fuzz_message m;
	struct channel c;
	enum channel_result result;
	int other, i;

	other = begin(&c, start_rules, 1, &receipt);
	for (i = 0; i < 2; i++) {
		fuzz_message_take(&m, in, start_rules, 1, fill, NULL);
		fuzz_check(fuzz_message_send_any(other, &m));
		result = fuzz_message_receive(&m, &c);
		if (result != CHANNEL_OK)
			break;
		fuzz_check(memcmp(&start, m.bytes, sizeof(start)) == 0);
	}
	if (receipt.root_fd != -1)
		close(receipt.root_fd);
	close(c.fd);
	close(other);
}

/* The zygote: each SPAWN has one answer, of the same session. */
static void
try_zygote(struct fuzz_input *in)
{
	struct message_spawn_failed failed;
	struct fuzz_message m;
	uint8_t answer[sizeof(struct message_spawned) + 1];
	struct message_spawned *spawned = (struct message_spawned *)answer;
	int other, i;

	other = begin(&zygote.channel, zygote_rules, 1, &zygote);
	zygote.title_max = choice % (ZYGOTE_TITLE + 1);
	for (i = 0; i < MESSAGES_MAX && in->left > 0; i++) {
		choice = fuzz_u8(in);
		fuzz_message_take(&m, in, zygote_rules, 1, fill, NULL);
		/* A worker's title is a string by the master's word. */
		if (m.header.type == MESSAGE_SPAWN)
			m.any.message_spawn.peer[PEER_TEXT_MAX - 1] = '\0';
		fuzz_check(fuzz_message_send_any(other, &m));
		if (fuzz_message_receive(&m, &zygote.channel) != CHANNEL_OK)
			break;
		if (choice % 2 == 0)
			fuzz_check(channel_read(other, MESSAGE_SPAWN_FAILED,
				       &failed) == CHANNEL_OK &&
			    failed.session == m.any.message_spawn.session);
		else
			/* Without room for its descriptor, which goes. */
			fuzz_check(channel_read(other, MESSAGE_SPAWNED,
				       spawned) == CHANNEL_OK &&
			    spawned->session == m.any.message_spawn.session &&
			    spawned->pid == 4711);
		if (zygote.title_max > 0)
			fuzz_check(
			    memchr(zygote.title, 0, zygote.title_max) != NULL);
	}
	close(zygote.channel.fd);
	close(other);
}

/* paramgen: one order, and a result that fits it. */
static void
try_paramgen(struct fuzz_input *in)
{
	static struct paramgen p;
	struct message_progress progress;
	const struct message_params *r = &p.result;
	struct fuzz_message m;
	enum channel_result result;
	int other;

	memset(&p, 0, sizeof(p));
	other = begin(&p.master, paramgen_rules,
	    sizeof(paramgen_rules) / sizeof(paramgen_rules[0]), &p);
	fuzz_message_take(&m, in, paramgen_rules,
	    sizeof(paramgen_rules) / sizeof(paramgen_rules[0]), fill, NULL);
	fuzz_check(fuzz_message_send_any(other, &m));
	result = fuzz_message_receive(&m, &p.master);
	if (result == CHANNEL_OK && m.header.type == MESSAGE_GENERATE) {
		fuzz_check(
		    r->result == (choice % 2 == 0 ? PARAMS_FAILED : PARAMS_OK));
		fuzz_check(channel_read(other, MESSAGE_PROGRESS, &progress) ==
			CHANNEL_OK &&
		    channel_read(other, MESSAGE_PROGRESS, &progress) ==
			CHANNEL_EMPTY);
	} else if (result == CHANNEL_OK) {
		fuzz_check(r->result < PARAMS_RESULTS);
		/* Nothing but the set that is known is a good one. */
		if (r->result == PARAMS_OK)
			fuzz_check(memcmp(&r->params, &known_params,
				       sizeof(r->params)) == 0);
	}
	close(p.master.fd);
	close(other);
}

/* A worker that waits for LOCKDOWN: nothing else lets it go on. */
static void
try_lockdown(struct fuzz_input *in)
{
	static union message_any heard;
	static struct worker w;
	struct fuzz_message m;
	struct channel c;
	int other;

	memset(&w, 0, sizeof(w));
	w.auth = w.client = -1;
	w.heard = &heard;
	other = begin(&c, auth_rules, 1, NULL);
	w.master = c.fd;
	fuzz_message_take(&m, in, auth_rules, 1, fill, NULL);
	fuzz_check(fuzz_message_send_any(other, &m));
	if (setjmp(left) == 0) {
		fuzz_check(auth_begin(&w) == FMLTP_OK);
		fuzz_check(fuzz_message_expect(&m, &c) == CHANNEL_OK &&
		    w.lockdown && w.auth != -1);
		auth_end(&w);
		fuzz_check(!w.lockdown && w.auth == -1);
	} else
		fuzz_check(fuzz_message_expect(&m, &c) != CHANNEL_OK &&
		    !w.lockdown && w.auth == -1);
	close(c.fd);
	close(other);
}

/* A worker's exchange: any reply, or none. */
static void
try_exchange(struct fuzz_input *in)
{
	static const struct channel_rule reply[] = { { MESSAGE_KEX_REPLY,
	    CHANNEL_ANY_STATE, true, NULL } };
	static struct message_spawn spawn;
	static struct worker w;
	struct fuzz_message m;
	struct message_kex kex;
	uint8_t y[DH_PRIME_MAX];
	enum fmltp_error e;
	int keys[2], master[2];

	memset(&w, 0, sizeof(w));
	spawn.params = known_params;
	w.spawn = &spawn;
	fuzz_check(channel_pair(keys, false, 0));
	fuzz_check(channel_pair(master, false, 0));
	w.keys = keys[1];
	w.master = master[1];
	memset(y, choice, sizeof(y));
	fuzz_message_take(&m, in, reply, 1, NULL, NULL);
	m.fds = 0;
	if (choice == 0)
		fuzz_check(shutdown(keys[0], SHUT_RDWR) == 0);
	else
		fuzz_check(fuzz_message_send(keys[0], &m, NULL));
	e = keys_exchange(&w, y);
	fuzz_check(e < FMLTP_ERROR_COUNT && w.keys == -1);
	/* What it has beyond its size, channel_read does not see. */
	if (choice == 0 || m.header.type != MESSAGE_KEX_REPLY ||
	    m.len < sizeof(struct message_kex_reply) ||
	    m.header.len != sizeof(struct message_kex_reply))
		fuzz_check(e == FMLTP_KEYS);
	if (e == FMLTP_OK)
		fuzz_check(memcmp(&w.message.kex_reply, m.bytes,
			       sizeof(w.message.kex_reply)) == 0);
	if (choice != 0)
		fuzz_check(
		    channel_read(keys[0], MESSAGE_KEX, &kex) == CHANNEL_OK &&
		    memcmp(kex.y, y, known_params.len) == 0);
	close(keys[0]);
	close(master[0]);
	close(master[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	int lowest;

	signal(SIGPIPE, SIG_IGN);
	lowest = fuzz_lowest_fd();
	size = fuzz_u8(&in);
	choice = fuzz_u8(&in);
	switch (size % 5) {
	case 0:
		try_start(&in);
		break;
	case 1:
		try_zygote(&in);
		break;
	case 2:
		try_paramgen(&in);
		break;
	case 3:
		try_lockdown(&in);
		break;
	default:
		try_exchange(&in);
	}
	fuzz_check(fuzz_lowest_fd() == lowest);
	return 0;
}
