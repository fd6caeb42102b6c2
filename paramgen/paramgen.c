/*
 * paramgen/paramgen.c - makes one set of DH parameters, or checks one that
 * was made ahead, and ends.
 *
 * Runs in: paramgen, as the keys user; compute-only: no files, no network.
 * The parser of what lies in the state directory is here, so that the
 * master has none.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fmltp/crypto.h"
#include "fmltp/kex.h"
#include "fmltp/known.h"
#include "paramgen/search.h"
#include "privsep/channel.h"
#include "privsep/start.h"

/* The process. */
struct paramgen {
	struct channel master;
	union message_any message;
	struct message_params result;
	uint64_t told_ms; /* when progress was sent last; 0: never */
};

/*
 * Tells the master how far the search is, the first time at once.  A master
 * that cannot be told is gone: the search ends.
 */
static bool
paramgen_report(void *arg, const struct search_progress *progress)
{
	struct paramgen *p = arg;
	struct message_progress m;
	struct timespec ts;
	uint64_t now;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		return false;
	now = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	if (p->told_ms != 0 && now - p->told_ms < PROGRESS_PERIOD)
		return true;
	p->told_ms = now;
	memset(&m, 0, sizeof(m));
	m.tests = progress->tests;
	m.expected = progress->expected;
	return channel_send(p->master.fd, MESSAGE_PROGRESS, &m);
}

static bool
paramgen_serve_generate(void *arg, const union message_any *m, int *fds)
{
	struct paramgen *p = arg;

	if (!dh_bits_valid(m->message_generate.bits))
		return false;
	p->result.result = PARAMS_FAILED;
	if (search_safe_prime(m->message_generate.bits, &p->result.params,
		paramgen_report, p))
		p->result.result = PARAMS_OK;
	return true;
}

static enum params_result
paramgen_check(const struct message_check *m, struct dh_params *params)
{
	uint8_t digest[CRYPTO_SHA256_LEN];
	enum fmltp_error error;
	size_t taken;

	if (m->len > sizeof(m->pem))
		return PARAMS_FORMAT;
	crypto_sha256(m->pem, m->len, digest);
	if (memcmp(digest, m->digest, sizeof(digest)) != 0)
		return PARAMS_DIGEST;
	error = dh_params_parse_pem(m->pem, m->len, params, &taken);
	if (error == FMLTP_DH_WEAK)
		return PARAMS_NOT_SAFE;
	if (error == FMLTP_DH_SIZE)
		return PARAMS_SIZE;
	if (error != FMLTP_OK || taken != m->len)
		return PARAMS_FORMAT;
	if (params->len * 8u != m->bits)
		return PARAMS_SIZE;
	return kex_params_quick_check(params) ? PARAMS_OK : PARAMS_NOT_SAFE;
}

static bool
paramgen_serve_check(void *arg, const union message_any *m, int *fds)
{
	struct paramgen *p = arg;

	p->result.result = paramgen_check(&m->message_check, &p->result.params);
	return true;
}

static const struct channel_rule paramgen_rules[] = {
	{ MESSAGE_GENERATE, CHANNEL_ANY_STATE, true, paramgen_serve_generate },
	{ MESSAGE_CHECK, CHANNEL_ANY_STATE, true, paramgen_serve_check },
};

void
paramgen_prepare(struct helper *h)
{
	struct paramgen *p;

	p = calloc(1, sizeof(*p));
	if (p == NULL)
		_exit(1);
	channel_init(&p->master, h->channel, paramgen_rules,
	    sizeof(paramgen_rules) / sizeof(paramgen_rules[0]), p);
	p->master.wait = true;
	h->state = p;
	/* Whatever OpenSSL opens, loads and seeds, it does here. */
	if (!paramgen_self_test(h))
		_exit(1);
}

/* One order, one result, the end. */
int
paramgen_main(struct helper *h)
{
	struct paramgen *p = h->state;

	if (channel_receive(&p->master, &p->message) != CHANNEL_OK)
		_exit(1);
	_exit(channel_send(p->master.fd, MESSAGE_PARAMS, &p->result) ? 0 : 1);
}

#define SELF_TEST_BITS 128

/* A small search, and the quick check on a safe prime and a composite. */
bool
paramgen_self_test(struct helper *h)
{
	static struct dh_params params;

	if (!search_safe_prime(SELF_TEST_BITS, &params, NULL, NULL) ||
	    !kex_params_quick_check(&known_params))
		return false;
	params = known_params;
	params.p[params.len / 2] ^= 0x30; /* 24 * 2: the same residue */
	return !kex_params_quick_check(&params);
}
