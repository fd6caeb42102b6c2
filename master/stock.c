/*
 * master/stock.c - parameters made ahead: taken from the state directory and
 * checked in paramgen's sandbox, and made anew behind what is used.
 *
 * Runs in: master, as root.  No byte of a set is interpreted here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fmltp/buf.h"
#include "master/master.h"

#define STOCK_RETRY_S	  60 /* after a failure; doubles */
#define STOCK_RETRY_MAX_S 3600
#define STOCK_CHECK_S	  15 /* far more than any size takes */

struct stock {
	struct master *m;
	struct state *state;

	/* a set on its way out */
	struct process check;
	struct state_set set;
	struct dh_params checked;
	bool judged; /* paramgen has said what it is */
	bool good;
	bool unchecked; /* no paramgen could be started: it is the next */
	struct event check_event;
	unsigned check_bits;
	unsigned set_bits;
	stock_taken *taken;
	void *arg;

	/* a set on its way in */
	struct search *search;
	unsigned search_bits;
	uint64_t search_ms;
	/* One that could not be stored: never on disk, so it is kept here. */
	struct dh_params unstored;
	bool has_unstored;
	struct event retry_event;
	bool waiting; /* for that */
	unsigned retry_s;
};

static void
stock_log_bad(void *arg, const char *name, const char *reason)
{
	struct stock *k = arg;
	char quoted[512], why[512];

	log_event(k->m->log, LOG_ERR, "parameters-bad", "file=%s reason=%s",
	    log_quote(quoted, sizeof(quoted), name, strlen(name)),
	    log_quote(why, sizeof(why), reason, strlen(reason)));
}

bool
stock_open(struct master *m, uid_t owner, char *why, size_t why_len)
{
	struct stock *k = calloc(1, sizeof(*k));
	char quoted[512];
	const char *trouble;

	if (k == NULL) {
		strlcpy(why, "no memory", why_len);
		return false;
	}
	k->m = m;
	k->check.pidfd = -1;
	k->state = state_open(m->config->state_dir, owner, why, why_len);
	if (k->state == NULL) {
		free(k);
		return false;
	}
	m->stock = k;
	trouble = state_trouble(k->state);
	if (trouble != NULL)
		log_event(m->log, LOG_ERR, "state-unusable", "why=%s",
		    log_quote(
			quoted, sizeof(quoted), trouble, strlen(trouble)));
	return true;
}

void
stock_close(struct master *m)
{
	if (m->stock == NULL)
		return;
	state_close(m->stock->state);
	free(m->stock);
	m->stock = NULL;
}

size_t
stock_count(const struct master *m)
{
	const struct stock *k = m->stock;
	unsigned bits = m->config->key_size;

	return state_count(k->state, bits) +
	    (k->has_unstored && k->unstored.len * 8u == bits ? 1 : 0) +
	    (k->unchecked && k->set_bits == bits ? 1 : 0);
}

/* Taking. */

static void
stock_check_up(struct process *p)
{
	static struct message_check check;
	struct stock *k = p->arg;

	memset(&check, 0, sizeof(check));
	check.bits = k->check_bits;
	check.len = (uint32_t)k->set.len;
	memcpy(check.digest, k->set.digest, sizeof(check.digest));
	memcpy(check.pem, k->set.pem, k->set.len);
	process_send(p, MESSAGE_CHECK, &check);
}

static void
stock_set_aside(struct stock *k, const char *reason)
{
	state_keep_bad(k->state, &k->set);
	stock_log_bad(k, k->set.name, reason);
}

static bool
stock_serve_params(void *arg, const union message_any *any, int *fds)
{
	static const char *const text[PARAMS_RESULTS] = {
		[PARAMS_OK] = "ok",
		[PARAMS_DIGEST] = "wrong-digest",
		[PARAMS_FORMAT] = "not-parameters",
		[PARAMS_SIZE] = "other-size",
		[PARAMS_NOT_SAFE] = "not-a-safe-prime",
		[PARAMS_FAILED] = "not-checked",
	};
	const struct message_params *mp = &any->message_params;
	struct process *p = arg;
	struct stock *k = p->arg;

	if (mp->result >= PARAMS_RESULTS ||
	    (mp->result == PARAMS_OK && mp->params.len * 8u != k->check_bits))
		return false;
	k->judged = true;
	k->good = mp->result == PARAMS_OK;
	if (k->good) {
		k->checked = mp->params;
		return true;
	}
	stock_set_aside(k, text[mp->result]);
	return true;
}

static const struct channel_rule stock_check_rules[] = {
	{ MESSAGE_PARAMS, CHANNEL_ANY_STATE, true, stock_serve_params },
};

static bool stock_check(struct stock *k);

static void
stock_check_down(struct process *p, bool died)
{
	struct stock *k = p->arg;

	k->m->paramgens--;
	evtimer_del(&k->check_event);
	if (k->m->stopping)
		return;
	if (k->good)
		k->taken(k->arg, &k->checked);
	else if (!k->judged) {
		/* Whatever it died of may be this file; the others stay. */
		stock_set_aside(k, "not-checked");
		k->taken(k->arg, NULL);
	} else if (!stock_check(k))
		k->taken(k->arg, NULL);
}

static const struct process_kind stock_check_kind = {
	.role = ROLE_PARAMGEN,
	.restart = false,
	.rules = stock_check_rules,
	.rule_count = sizeof(stock_check_rules) / sizeof(stock_check_rules[0]),
	.up = stock_check_up,
	.down = stock_check_down,
};

static void
stock_check_late(evutil_socket_t fd, short what, void *arg)
{
	struct stock *k = arg;

	process_give_up(&k->check, "it does not check");
}

/* Has the next set of the directory checked; false where there is none. */
static bool
stock_check(struct stock *k)
{
	const struct timeval tv = { STOCK_CHECK_S, 0 };

	if (k->unchecked && k->set_bits != k->check_bits)
		k->unchecked = false;
	if (!k->unchecked &&
	    !state_take(k->state, k->check_bits, &k->set, stock_log_bad, k))
		return false;
	k->set_bits = k->check_bits;
	k->judged = k->good = false;
	memset(&k->check, 0, sizeof(k->check));
	k->check.m = k->m;
	k->check.kind = &stock_check_kind;
	k->check.arg = k;
	/* It is not on disk any more, so it is not lost here. */
	k->unchecked = !process_start(&k->check);
	if (k->unchecked)
		return false;
	k->m->paramgens++;
	evtimer_assign(&k->check_event, k->m->base, stock_check_late, k);
	master_set_timer(&k->check_event, &tv);
	return true;
}

bool
stock_take(struct master *m, unsigned bits, stock_taken *taken, void *arg)
{
	struct stock *k = m->stock;

	if (k->has_unstored && k->unstored.len * 8u == bits) {
		k->has_unstored = false;
		taken(arg, &k->unstored);
		return true;
	}
	k->check_bits = bits;
	k->taken = taken;
	k->arg = arg;
	return stock_check(k);
}

/* Making. */

static void
stock_retry(evutil_socket_t fd, short what, void *arg)
{
	struct stock *k = arg;

	k->waiting = false;
	stock_update(k->m);
}

/* Something failed: not again before a while, longer each time. */
static void
stock_wait(struct stock *k)
{
	struct timeval tv;

	if (k->retry_s == 0)
		k->retry_s = STOCK_RETRY_S;
	else if ((k->retry_s *= 2) > STOCK_RETRY_MAX_S)
		k->retry_s = STOCK_RETRY_MAX_S;
	tv.tv_sec = (time_t)k->retry_s;
	tv.tv_usec = 0;
	k->waiting = true;
	evtimer_assign(&k->retry_event, k->m->base, stock_retry, k);
	master_set_timer(&k->retry_event, &tv);
}

/* Stores what is in memory.  False, logged, where the directory does not
 * take it: a full disk, a read-only file system. */
static bool
stock_store(struct stock *k)
{
	char name[65];
	uint8_t pem[DH_PEM_MAX];
	struct master *m = k->m;
	char quoted[256];
	struct buf b;
	const char *error;

	buf_init(&b, pem, sizeof(pem));
	dh_params_put_pem(&b, &k->unstored);
	generation_fingerprint(&k->unstored, name);
	errno = EFBIG;
	if (!b.failed &&
	    state_put(k->state, k->unstored.len * 8u, pem, b.len)) {
		k->has_unstored = false;
		k->retry_s = 0;
		log_event(m->log, LOG_INFO, "set-stored",
		    "bits=%u fingerprint=%s ms=%llu stock=%zu",
		    k->unstored.len * 8u, name,
		    (unsigned long long)k->search_ms, stock_count(m));
		return true;
	}
	error = strerror(errno);
	stock_wait(k);
	log_event(m->log, LOG_ERR, "set-not-stored",
	    "bits=%u fingerprint=%s error=%s retry_s=%u kept=memory",
	    k->unstored.len * 8u, name,
	    log_quote(quoted, sizeof(quoted), error, strlen(error)),
	    k->retry_s);
	return false;
}

static void
stock_made(void *arg, const struct dh_params *params)
{
	struct stock *k = arg;

	k->search = NULL;
	if (params == NULL) {
		stock_wait(k);
		log_event(k->m->log, LOG_ERR, "set-not-made",
		    "bits=%u retry_s=%u", k->search_bits, k->retry_s);
		return;
	}
	k->search_ms = master_now() - k->search_ms;
	k->unstored = *params;
	k->has_unstored = true;
	stock_update(k->m);
}

void
stock_pause(struct master *m)
{
	struct stock *k = m->stock;

	if (k->search == NULL)
		return;
	search_cancel(k->search);
	k->search = NULL;
}

void
stock_hold(struct master *m, bool hold)
{
	if (m->stock->search != NULL)
		search_hold(m->stock->search, hold);
}

void
stock_reload(struct master *m)
{
	struct stock *k = m->stock;

	if (!k->waiting)
		return;
	evtimer_del(&k->retry_event);
	k->waiting = false;
	k->retry_s = 0;
}

void
stock_update(struct master *m)
{
	struct stock *k = m->stock;
	unsigned bits = m->config->key_size;
	size_t count;
	bool enough;

	if (m->stopping || k->waiting)
		return;
	if (k->has_unstored && k->unstored.len * 8u != bits)
		k->has_unstored = false; /* of a size that is not used now */
	if (k->has_unstored && !stock_store(k))
		return;
	count = stock_count(m);
	enough = count >= m->config->keep_parameters;
	if (k->search_bits != bits || enough)
		stock_pause(m);
	/* A rotation that searches wants all processors. */
	if (k->search != NULL || m->rotation != NULL || enough)
		return;
	k->search_bits = bits;
	k->search_ms = master_now();
	k->search = search_start(m, bits, SEARCH_STOCK, stock_made, NULL, k);
	if (k->search == NULL)
		stock_made(k, NULL);
	else
		log_event(m->log, LOG_DEBUG, "making-ahead",
		    "bits=%u stock=%zu", bits, count);
}

void
stock_stop(struct master *m)
{
	struct stock *k = m->stock;

	stock_pause(m);
	if (k->waiting)
		evtimer_del(&k->retry_event);
	k->waiting = false;
	if (k->check.pidfd == -1)
		return;
	process_end(&k->check);
	process_kill(&k->check);
}
