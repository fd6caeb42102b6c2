/*
 * bench/exchange.c - how long an idle key holder takes for an exchange, with
 * a key pair made ahead and without.
 *
 * Runs in: the benchmark, as the user who runs it; the key holder's own code
 * runs in a child, without its sandbox.  Sees the keys of exchanges with
 * itself alone.
 *
 * usage: exchange [rounds]
 * Prints JSON.  All figures are wall times in microseconds, medians of the
 * rounds, at 2048 bits: one exponentiation (modexp_us: no exchange takes less
 * time), from question to answer with a pair ready (ready_us) and right after
 * a new generation came, when there is none (without_us); and the same for
 * so many questions at once, to the last answer (burst_*).
 */
#include <sys/wait.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>

#include "keys/pairs.h"
#include "privsep/channel.h"
#include "privsep/start.h"

#define EXCHANGE_BITS	2048
#define EXCHANGE_ROUNDS 60
#define EXCHANGE_MAX	10000 /* rounds */
#define EXCHANGE_BURST	32
#define BURST_EVERY	4 /* rounds: its pool takes longer to fill */
#define IDLE_MS		50 /* between exchanges: several quiet periods */
#define FULL_TRIES	200

/* The key holder, and what it was told. */
struct holder {
	pid_t pid;
	int master; /* the channel's master end */
	uint32_t generation;
	uint64_t session;
	struct dh_params params;
};

/* The samples of one figure. */
struct samples {
	double us[EXCHANGE_MAX];
	size_t count;
};

static _Noreturn void
exchange_fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
exchange_now_us(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		exchange_fail("clock_gettime");
	return 1e6 * (double)ts.tv_sec + (double)ts.tv_nsec / 1e3;
}

static void
exchange_rest(void)
{
	const struct timespec ts = { 0, IDLE_MS * 1000000L };

	if (nanosleep(&ts, NULL) == -1)
		exchange_fail("nanosleep");
}

static void
samples_add(struct samples *s, double us)
{
	if (s->count < EXCHANGE_MAX)
		s->us[s->count++] = us;
}

static int
samples_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double
samples_median(struct samples *s)
{
	qsort(s->us, s->count, sizeof(s->us[0]), samples_compare);
	return (s->us[(s->count - 1) / 2] + s->us[s->count / 2]) / 2;
}

static void
holder_start(struct holder *k)
{
	static struct helper h;
	BIGNUM *p = BN_get_rfc3526_prime_2048(NULL);
	int fd[2];

	memset(k, 0, sizeof(*k));
	k->params.len = EXCHANGE_BITS / 8;
	if (p == NULL ||
	    BN_bn2binpad(p, k->params.p, k->params.len) != k->params.len)
		exchange_fail("BN_get_rfc3526_prime_2048");
	BN_free(p);
	if (!channel_pair(fd, true, 0))
		exchange_fail("socketpair");
	if ((k->pid = fork()) == -1)
		exchange_fail("fork");
	if (k->pid == 0) {
		close(fd[1]);
		h.channel = fd[0];
		h.role = ROLE_KEYS;
		keys_prepare(&h);
		_exit(keys_main(&h));
	}
	close(fd[0]);
	k->master = fd[1];
}

static void
holder_end(struct holder *k)
{
	int status;

	close(k->master);
	if (waitpid(k->pid, &status, 0) != k->pid || status != 0) {
		fprintf(stderr, "exchange: the key holder failed\n");
		exit(1);
	}
}

static void
holder_status(struct holder *k, struct message_keys_status *s)
{
	struct message_status_request request;

	memset(&request, 0, sizeof(request));
	if (!channel_send(k->master, MESSAGE_STATUS_REQUEST, &request) ||
	    channel_read(k->master, MESSAGE_KEYS_STATUS, s) != CHANNEL_OK)
		exchange_fail("status of the key holder");
}

/* A new generation, and the end of the one before. */
static void
holder_rotate(struct holder *k)
{
	struct message_generation mg;
	struct message_retire mr;

	memset(&mg, 0, sizeof(mg));
	mg.generation = ++k->generation;
	mg.params = k->params;
	if (!channel_send(k->master, MESSAGE_GENERATION, &mg))
		exchange_fail("generation");
	if (k->generation == 1)
		return;
	memset(&mr, 0, sizeof(mr));
	mr.generation = k->generation - 1;
	if (!channel_send(k->master, MESSAGE_RETIRE, &mr))
		exchange_fail("retirement");
}

/* A worker's end of a new channel. */
static int
holder_open(struct holder *k)
{
	struct message_kex_channel mc;
	int fd[2];

	if (!channel_pair(fd, true, 0))
		exchange_fail("socketpair");
	memset(&mc, 0, sizeof(mc));
	mc.generation = k->generation;
	mc.session = ++k->session;
	if (!channel_send_fds(k->master, MESSAGE_KEX_CHANNEL, &mc, &fd[0]))
		exchange_fail("channel");
	close(fd[0]);
	return fd[1];
}

/*
 * So many exchanges at once; adds the time from the first question to the
 * last answer, if all of them found a pair ready, or none, as is asked for.
 */
static bool
holder_exchange(
    struct holder *k, size_t count, bool ready, struct samples *samples)
{
	struct message_keys_status before, after;
	struct message_kex question;
	struct message_kex_reply reply;
	int fd[EXCHANGE_BURST];
	double start, us;
	size_t i;

	for (i = 0; i < count; i++)
		fd[i] = holder_open(k);
	/* The answer says that the channels have arrived, too. */
	holder_status(k, &before);
	start = exchange_now_us();
	for (i = 0; i < count; i++) {
		memset(&question, 0, sizeof(question));
		question.y[k->params.len - 1] = 4;
		if (!channel_send(fd[i], MESSAGE_KEX, &question))
			exchange_fail("question");
	}
	for (i = 0; i < count; i++)
		if (channel_read(fd[i], MESSAGE_KEX_REPLY, &reply) !=
			CHANNEL_OK ||
		    reply.error != FMLTP_OK)
			exchange_fail("answer");
	us = exchange_now_us() - start;
	for (i = 0; i < count; i++)
		close(fd[i]);
	holder_status(k, &after);
	if (after.pairs_used - before.pairs_used != (ready ? count : 0))
		return false;
	samples_add(samples, us);
	return true;
}

/* The same right after a new generation came.  A processor that is late by
 * a quiet period spoils it: then again. */
static void
holder_exchange_without(struct holder *k, size_t count, struct samples *samples)
{
	int tries = 0;

	do {
		if (++tries > FULL_TRIES)
			exchange_fail("an exchange without a pair");
		exchange_rest();
		holder_rotate(k);
	} while (!holder_exchange(k, count, false, samples));
}

/* With as many pairs ready. */
static void
holder_exchange_ready(struct holder *k, size_t count, struct samples *samples)
{
	struct message_keys_status s;
	int tries = 0;

	do {
		do {
			if (++tries > FULL_TRIES)
				exchange_fail("pairs made ahead");
			exchange_rest();
			holder_status(k, &s);
		} while (s.pairs < count);
	} while (!holder_exchange(k, count, true, samples));
}

/* One exponentiation as an exchange does it: exponent secret, all prepared
 * that can be. */
static void
measure_modexp(const struct dh_params *params, struct samples *samples)
{
	BN_CTX *ctx = BN_CTX_new();
	BN_MONT_CTX *mont = BN_MONT_CTX_new();
	BIGNUM *p = BN_bin2bn(params->p, params->len, NULL);
	BIGNUM *x = BN_new(), *y = BN_new(), *r = BN_new();
	double start;

	if (ctx == NULL || mont == NULL || p == NULL || x == NULL ||
	    y == NULL || r == NULL || !BN_MONT_CTX_set(mont, p, ctx) ||
	    !BN_rand(x, (int)dh_exponent_bits(EXCHANGE_BITS), BN_RAND_TOP_ONE,
		BN_RAND_BOTTOM_ANY) ||
	    !BN_rand_range(y, p))
		exchange_fail("OpenSSL");
	BN_set_flags(x, BN_FLG_CONSTTIME);
	/* Not the first one, which finds caches cold that an exchange, too,
	 * has warmed by its message. */
	if (!BN_mod_exp_mont_consttime(r, y, x, p, ctx, mont))
		exchange_fail("BN_mod_exp_mont_consttime");
	start = exchange_now_us();
	if (!BN_mod_exp_mont_consttime(r, y, x, p, ctx, mont))
		exchange_fail("BN_mod_exp_mont_consttime");
	samples_add(samples, exchange_now_us() - start);
	BN_free(r);
	BN_free(y);
	BN_free(x);
	BN_free(p);
	BN_MONT_CTX_free(mont);
	BN_CTX_free(ctx);
}

int
main(int argc, char **argv)
{
	static struct samples modexp, ready, without;
	static struct samples burst_ready, burst_without;
	static struct holder k;
	long rounds = EXCHANGE_ROUNDS, i;

	if (argc > 1)
		rounds = strtol(argv[1], NULL, 10);
	if (argc > 2 || rounds < 1 || rounds > EXCHANGE_MAX) {
		fprintf(stderr, "usage: exchange [rounds]\n");
		return 2;
	}
	holder_start(&k);
	for (i = 0; i < rounds; i++) {
		holder_exchange_without(&k, 1, &without);
		holder_exchange_ready(&k, 1, &ready);
		measure_modexp(&k.params, &modexp);
		if (i % BURST_EVERY != 0)
			continue;
		holder_exchange_ready(&k, EXCHANGE_BURST, &burst_ready);
		holder_exchange_without(&k, EXCHANGE_BURST, &burst_without);
	}
	holder_end(&k);
	printf("{\"bits\": %d, \"rounds\": %ld, \"modexp_us\": %.1f, "
	       "\"ready_us\": %.1f, \"without_us\": %.1f, "
	       "\"burst\": %d, \"burst_ready_us\": %.1f, "
	       "\"burst_without_us\": %.1f}\n",
	    EXCHANGE_BITS, rounds, samples_median(&modexp),
	    samples_median(&ready), samples_median(&without), EXCHANGE_BURST,
	    samples_median(&burst_ready), samples_median(&burst_without));
	return 0;
}
