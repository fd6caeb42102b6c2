/*
 * master/generation.c - generations of DH parameters: where a new one comes
 * from, who was shown it, and when it retires.
 *
 * Runs in: master, as root.  Parameters are public.  Their making, and the
 * parsing and checking of sets made ahead, is paramgen's (search.c, stock.c).
 */
#include <stdlib.h>
#include <string.h>

#include "master/bar.h"
#include "master/master.h"
#include "master/notify.h"

#define ROTATION_RETRY_MS 5000 /* when there are no parameters at all */

#define ROTATION_AGAIN_S   60 /* when one that was due has failed */
#define ROTATION_LOG_MS	   10000 /* between lines about a search */
#define ROTATION_NOTIFY_MS 1000

/* A set on its way. */
struct rotation {
	struct master *m;
	const char *why; /* start, signal, time */
	unsigned bits;
	uint64_t since_ms;
	uint64_t logged_ms;
	uint64_t notified_ms;
	bool made_ahead; /* else: of the search */
	struct search *search;
	struct event retry_event;
	bool waiting; /* for that */
};

static void generation_start(struct rotation *r);

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

void
generation_fingerprint(const struct dh_params *params, char hex[65])
{
	static const char digit[] = "0123456789abcdef";
	uint8_t digest[32];
	unsigned i;

	dh_params_fingerprint(params, digest);
	for (i = 0; i < sizeof(digest); i++) {
		hex[2 * i] = digit[digest[i] >> 4];
		hex[2 * i + 1] = digit[digest[i] & 15];
	}
	hex[64] = '\0';
}

static void
generation_install(
    struct master *m, const struct dh_params *params, const struct rotation *r)
{
	struct generation *g, *old = m->generation;
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
	generation_fingerprint(params, g->fingerprint);
	TAILQ_INSERT_TAIL(&m->generations, g, entry);
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP)
			generation_send(&m->keys[i], g);
	m->generation = g;
	log_event(m->log, LOG_NOTICE, "generation-installed",
	    "generation=%u bits=%u fingerprint=%s source=%s why=%s ms=%llu",
	    g->number, g->params.len * 8u, g->fingerprint,
	    r->made_ahead ? "made-ahead" : "generated", r->why,
	    (unsigned long long)(g->since_ms - r->since_ms));
	if (old != NULL && old->handshakes == 0)
		generation_retire(m, old);
	master_update(m);
}

static void
generation_due(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	generation_rotate(m, m->generation == NULL ? "start" : "time");
}

void
generation_schedule(struct master *m)
{
	const uint64_t period = m->config->rotate_parameters * 1000ULL;
	struct timeval tv = { ROTATION_RETRY_MS / 1000, 0 };
	uint64_t age, ms;

	if (m->rotate_event.ev_base != NULL)
		evtimer_del(&m->rotate_event);
	if (m->stopping || (period == 0 && m->generation != NULL))
		return;
	if (m->generation != NULL) {
		age = master_now() - m->generation->since_ms;
		ms = age < period ? period - age : ROTATION_AGAIN_S * 1000;
		tv.tv_sec = (time_t)(ms / 1000);
		tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	}
	evtimer_assign(&m->rotate_event, m->base, generation_due, m);
	master_set_timer(&m->rotate_event, &tv);
}

static void
generation_retry(evutil_socket_t fd, short what, void *arg)
{
	struct rotation *r = arg;

	r->waiting = false;
	generation_start(r);
}

/* The rotation is over; the next one, if one was asked for, begins. */
static void
generation_over(struct rotation *r)
{
	const struct timeval tv = { ROTATION_RETRY_MS / 1000, 0 };
	struct master *m = r->m;
	const char *again = m->rotate_again;

	if (m->generation == NULL) {
		/* Nothing to serve with: the server does not listen yet. */
		r->waiting = true;
		evtimer_assign(&r->retry_event, m->base, generation_retry, r);
		master_set_timer(&r->retry_event, &tv);
		return;
	}
	free(r);
	m->rotation = NULL;
	m->rotate_again = NULL;
	stock_hold(m, false);
	if (again != NULL) {
		generation_rotate(m, again);
		return;
	}
	generation_schedule(m);
	stock_update(m);
}

/* Has systemd wait: from the first moment, since the first report of a search
 * may be slow to come. */
static void
generation_notify(struct rotation *r, unsigned bits, unsigned percent)
{
	struct master *m = r->m;

	if (m->ready)
		return;
	r->notified_ms = master_now();
	notify_send(m->notify_fd,
	    "EXTEND_TIMEOUT_USEC=%u\nSTATUS=Generating DH parameters of %u "
	    "bits: %u%% of the expected tests",
	    NOTIFY_EXTEND_S * 1000000u, bits, percent);
}

/* Tells everybody who may be waiting how far the search is. */
static void
generation_watch(void *arg, const struct search_state *s)
{
	struct rotation *r = arg;
	struct master *m = r->m;
	unsigned percent;

	percent =
	    s->expected == 0 ? 0 : (unsigned)(s->tests * 100 / s->expected);
	if (!m->ready && m->log_on_stderr)
		bar_show(s);
	if (master_now() - r->notified_ms >= ROTATION_NOTIFY_MS)
		generation_notify(r, s->bits, percent);
	if (master_now() - r->logged_ms < ROTATION_LOG_MS)
		return;
	r->logged_ms = master_now();
	log_event(m->log, LOG_NOTICE, "generation-progress",
	    "bits=%u tests=%llu expected=%llu percent=%u elapsed_s=%llu "
	    "rate=%llu",
	    s->bits, (unsigned long long)s->tests,
	    (unsigned long long)s->expected, percent,
	    (unsigned long long)(s->elapsed_ms / 1000),
	    (unsigned long long)(s->tests * 1000 / (s->elapsed_ms + 1)));
}

static void
generation_searched(void *arg, const struct dh_params *params)
{
	struct rotation *r = arg;
	struct master *m = r->m;

	r->search = NULL;
	bar_clear();
	if (params != NULL)
		generation_install(m, params, r);
	else
		log_event(
		    m->log, LOG_ERR, "rotation-failed", "error=search-failed");
	generation_over(r);
}

/* Nothing is ready: the search, with all that this machine has. */
static void
generation_search(struct rotation *r)
{
	struct master *m = r->m;
	const char *why = m->config->keep_parameters == 0
	    ? "keep_parameters = 0"
	    : "no set made ahead";
	char dir[512];

	stock_pause(m);
	log_event(m->log, LOG_NOTICE, "generating",
	    "bits=%u processes=%u why=\"%s\" state_dir=%s", r->bits,
	    search_processors(), why,
	    log_quote(dir, sizeof(dir), m->config->state_dir,
		strlen(m->config->state_dir)));
	generation_notify(r, r->bits, 0);
	r->made_ahead = false;
	r->logged_ms = master_now();
	r->search = search_start(m, r->bits, SEARCH_AWAITED,
	    generation_searched, generation_watch, r);
	if (r->search == NULL)
		generation_searched(r, NULL);
}

static void
generation_taken(void *arg, const struct dh_params *params)
{
	struct rotation *r = arg;

	if (params == NULL) {
		generation_search(r);
		return;
	}
	generation_install(r->m, params, r);
	generation_over(r);
}

/* One try: a set made ahead where there is one, else the search. */
static void
generation_start(struct rotation *r)
{
	r->bits = r->m->config->key_size;
	r->made_ahead = true;
	if (!stock_take(r->m, r->bits, generation_taken, r))
		generation_search(r);
}

void
generation_rotate(struct master *m, const char *why)
{
	struct rotation *r;

	if (m->stopping)
		return;
	if (m->rotation != NULL) {
		r = m->rotation;
		if (r->search == NULL || r->bits == m->config->key_size) {
			m->rotate_again = why;
			return;
		}
		/* What it looks for is not wanted any more. */
		search_cancel(r->search);
		r->search = NULL;
		bar_clear();
		generation_start(r);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL) {
		log_event(
		    m->log, LOG_ERR, "rotation-failed", "error=\"no memory\"");
		generation_schedule(m);
		return;
	}
	/* The next one's time counts from this one's end. */
	if (m->rotate_event.ev_base != NULL)
		evtimer_del(&m->rotate_event);
	r->m = m;
	r->why = why;
	r->since_ms = master_now();
	m->rotation = r;
	stock_hold(m, true);
	generation_start(r);
}

void
generation_stop(struct master *m)
{
	struct rotation *r = m->rotation;

	if (m->rotate_event.ev_base != NULL)
		evtimer_del(&m->rotate_event);
	bar_clear();
	if (r != NULL) {
		if (r->waiting)
			evtimer_del(&r->retry_event);
		if (r->search != NULL)
			search_cancel(r->search);
	}
	stock_stop(m);
	free(r);
	m->rotation = NULL;
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
