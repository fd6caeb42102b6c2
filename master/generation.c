/*
 * master/generation.c - generations of DH parameters: where a new one comes
 * from, who was shown it, and when it retires.
 *
 * Runs in: master, as root.  Parameters are public.  Their making, and the
 * parsing and checking of sets made ahead, is paramgen's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fmltp/buf.h"
#include "master/master.h"

#define ROTATION_RETRY_MS 5000 /* when there are no parameters at all */

/* A set on its way. */
struct rotation {
	struct process paramgen;
	bool made_ahead; /* `set` is being checked; else: the search */
	bool finished; /* a result came */
	unsigned bits;
	uint64_t since_ms;
	struct state_set set;
	struct event retry_event;
};

static void generation_start(struct master *m);

static void
generation_send_retire(struct master *m, uint32_t number)
{
	struct message_retire r;
	unsigned i;

	for (i = 0; i < m->keys_count; i++) {
		if (m->keys[i].state != PROCESS_UP)
			continue;
		memset(&r, 0, sizeof(r));
		r.generation = number;
		process_send(&m->keys[i], MESSAGE_RETIRE, &r);
	}
}

/* No handshake uses it any more, and none will. */
static void
generation_retire(struct master *m, struct generation *g)
{
	log_event(m->log, LOG_INFO, "generation-retired",
	    "generation=%u age_s=%llu", g->number,
	    (unsigned long long)((master_now() - g->since_ms) / 1000));
	generation_send_retire(m, g->number);
	TAILQ_REMOVE(&m->generations, g, entry);
	free(g);
}

struct generation *
generation_take(struct master *m)
{
	m->generation->handshakes++;
	return m->generation;
}

void
generation_release(struct master *m, struct generation *g)
{
	g->handshakes--;
	if (g->handshakes == 0 && g != m->generation)
		generation_retire(m, g);
}

static bool
generation_send(struct process *keys, const struct generation *g)
{
	static struct message_generation mg;

	memset(&mg, 0, sizeof(mg));
	mg.generation = g->number;
	mg.params = g->params;
	return process_send(keys, MESSAGE_GENERATION, &mg);
}

bool
generation_send_all(struct master *m, struct process *keys)
{
	const struct generation *g;

	TAILQ_FOREACH(g, &m->generations, entry)
	if (!generation_send(keys, g))
		return false;
	return true;
}

static void
generation_install(
    struct master *m, const struct dh_params *params, const struct rotation *r)
{
	static const char hex[] = "0123456789abcdef";
	struct generation *g, *old = m->generation;
	uint8_t digest[32];
	unsigned i;

	g = calloc(1, sizeof(*g));
	if (g == NULL) {
		log_event(
		    m->log, LOG_ERR, "rotation-failed", "error=\"no memory\"");
		return;
	}
	g->number = ++m->generation_last;
	g->params = *params;
	g->since_ms = master_now();
	dh_params_fingerprint(params, digest);
	for (i = 0; i < sizeof(digest); i++) {
		g->fingerprint[2 * i] = hex[digest[i] >> 4];
		g->fingerprint[2 * i + 1] = hex[digest[i] & 15];
	}
	TAILQ_INSERT_TAIL(&m->generations, g, entry);
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP)
			generation_send(&m->keys[i], g);
	m->generation = g;
	log_event(m->log, LOG_NOTICE, "generation-installed",
	    "generation=%u bits=%u fingerprint=%s source=%s ms=%llu", g->number,
	    g->params.len * 8u, g->fingerprint,
	    r->made_ahead ? "made-ahead" : "generated",
	    (unsigned long long)(g->since_ms - r->since_ms));
	if (old != NULL && old->handshakes == 0)
		generation_retire(m, old);
	master_update(m);
}

static void
generation_retry(evutil_socket_t fd, short what, void *arg)
{
	generation_start(arg);
}

/* The rotation is over; the next one, if one was asked for, begins. */
static void
generation_over(struct master *m)
{
	struct timeval tv = { ROTATION_RETRY_MS / 1000, 0 };

	if (m->stopping) {
		free(m->rotation);
		m->rotation = NULL;
		return;
	}
	if (m->generation == NULL) {
		/* Nothing to serve with: the server does not listen yet. */
		evtimer_assign(
		    &m->rotation->retry_event, m->base, generation_retry, m);
		evtimer_add(&m->rotation->retry_event, &tv);
		return;
	}
	free(m->rotation);
	m->rotation = NULL;
	if (m->rotate_again) {
		m->rotate_again = false;
		generation_rotate(m);
	}
}

/* paramgen is up: what is it to do? */
static void
generation_paramgen_up(struct process *p)
{
	struct rotation *r = p->arg;
	static struct message_check check;
	struct message_generate generate;

	if (r->made_ahead) {
		memset(&check, 0, sizeof(check));
		check.bits = r->bits;
		check.len = (uint32_t)r->set.len;
		memcpy(check.digest, r->set.digest, sizeof(check.digest));
		memcpy(check.pem, r->set.pem, r->set.len);
		process_send(p, MESSAGE_CHECK, &check);
		return;
	}
	memset(&generate, 0, sizeof(generate));
	generate.bits = r->bits;
	process_send(p, MESSAGE_GENERATE, &generate);
}

static bool
generation_serve_params(void *arg, const union message_any *any, int *fds)
{
	static const char *const text[PARAMS_RESULTS] = {
		[PARAMS_OK] = "ok",
		[PARAMS_DIGEST] = "wrong-digest",
		[PARAMS_FORMAT] = "not-parameters",
		[PARAMS_SIZE] = "other-size",
		[PARAMS_NOT_SAFE] = "not-a-safe-prime",
		[PARAMS_FAILED] = "search-failed",
	};
	const struct message_params *mp = &any->message_params;
	struct process *p = arg;
	struct rotation *r = p->arg;
	char name[sizeof(r->set.name) * 4 + 3];

	if (mp->result >= PARAMS_RESULTS ||
	    (mp->result == PARAMS_OK && mp->params.len * 8u != r->bits))
		return false;
	r->finished = mp->result == PARAMS_OK;
	if (r->finished)
		generation_install(p->m, &mp->params, r);
	else if (r->made_ahead) {
		state_keep_bad(p->m->state, &r->set);
		log_event(p->m->log, LOG_ERR, "parameters-bad",
		    "file=%s reason=%s",
		    log_quote(
			name, sizeof(name), r->set.name, strlen(r->set.name)),
		    text[mp->result]);
	} else
		log_event(p->m->log, LOG_ERR, "rotation-failed", "error=%s",
		    text[mp->result]);
	return true;
}

static const struct channel_rule generation_paramgen_rules[] = {
	{ MESSAGE_PARAMS, CHANNEL_ANY_STATE, true, generation_serve_params },
};

static void
generation_paramgen_down(struct process *p, bool died)
{
	struct rotation *r = p->arg;

	/* A set that was bad: the next one, or the search. */
	if (!r->finished && r->made_ahead && !p->m->stopping)
		generation_start(p->m);
	else
		generation_over(p->m);
}

static const struct process_kind generation_paramgen_kind = {
	.role = ROLE_PARAMGEN,
	.restart = false,
	.rules = generation_paramgen_rules,
	.rule_count = 1,
	.up = generation_paramgen_up,
	.down = generation_paramgen_down,
};

static void
generation_bad_file(void *arg, const char *name, const char *reason)
{
	struct master *m = arg;
	char quoted[512];

	log_event(m->log, LOG_ERR, "parameters-bad", "file=%s reason=\"%s\"",
	    log_quote(quoted, sizeof(quoted), name, strlen(name)), reason);
}

/* One try: a set made ahead where there is one, else the search. */
static void
generation_start(struct master *m)
{
	struct rotation *r = m->rotation;

	r->bits = m->config->key_size;
	r->finished = false;
	r->made_ahead =
	    state_take(m->state, r->bits, &r->set, generation_bad_file, m);
	if (!r->made_ahead)
		log_event(m->log, LOG_NOTICE, "generating",
		    "bits=%u why=\"no set made ahead in %s\"", r->bits,
		    m->config->state_dir);
	memset(&r->paramgen, 0, sizeof(r->paramgen));
	r->paramgen.m = m;
	r->paramgen.kind = &generation_paramgen_kind;
	r->paramgen.arg = r;
	if (!process_start(&r->paramgen))
		generation_over(m);
}

void
generation_rotate(struct master *m)
{
	if (m->rotation != NULL) {
		m->rotate_again = true;
		return;
	}
	m->rotation = calloc(1, sizeof(*m->rotation));
	if (m->rotation == NULL) {
		log_event(
		    m->log, LOG_ERR, "rotation-failed", "error=\"no memory\"");
		return;
	}
	m->rotation->since_ms = master_now();
	generation_start(m);
}

void
generation_stop(struct master *m)
{
	struct rotation *r = m->rotation;

	if (r == NULL)
		return;
	if (r->retry_event.ev_base != NULL)
		evtimer_del(&r->retry_event);
	if (r->paramgen.pidfd == -1 || r->paramgen.kind == NULL) {
		free(r);
		m->rotation = NULL;
		return;
	}
	process_end(&r->paramgen);
	process_kill(&r->paramgen); /* in the middle of a search */
}

void
generation_free_all(struct master *m)
{
	struct generation *g;

	while ((g = TAILQ_FIRST(&m->generations)) != NULL) {
		TAILQ_REMOVE(&m->generations, g, entry);
		free(g);
	}
}
