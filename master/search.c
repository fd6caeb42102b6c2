/*
 * master/search.c - a search for DH parameters: paramgen processes side by
 * side, of which the first result wins.
 *
 * Runs in: master, as root.  Parameters are public; the work is paramgen's.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "master/master.h"

#define SEARCH_PROCESSES_MAX 256

struct search {
	struct master *m;
	bool over; /* its caller has heard, or does not want to */
	search_done *done;
	search_watch *watch;
	void *arg;
	unsigned count;
	unsigned alive;
	uint64_t since_ms;
	struct search_state state;
	uint64_t heard; /* messages about it */
	uint64_t *tests; /* of each process */
	struct process *process;
};

unsigned
search_processors(void)
{
	cpu_set_t cpus;
	int count = 1;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		count = CPU_COUNT(&cpus);
	if (count > SEARCH_PROCESSES_MAX)
		return SEARCH_PROCESSES_MAX;
	return count > 0 ? (unsigned)count : 1;
}

static void
search_free(struct search *s)
{
	free(s->tests);
	free(s->process);
	free(s);
}

/* Nobody waits for it any more; the last process to go frees it. */
void
search_cancel(struct search *s)
{
	unsigned i;

	s->over = true;
	for (i = 0; i < s->count; i++) {
		if (s->process[i].pidfd == -1)
			continue;
		process_end(&s->process[i]);
		process_kill(&s->process[i]); /* it does not look up */
	}
}

void
search_hold(struct search *s, bool hold)
{
	unsigned i;

	for (i = 0; i < s->count; i++)
		process_signal(s->process[i].pidfd, hold ? SIGSTOP : SIGCONT);
}

static void
search_process_up(struct process *p)
{
	struct search *s = p->arg;
	struct message_generate g;

	memset(&g, 0, sizeof(g));
	g.bits = s->state.bits;
	process_send(p, MESSAGE_GENERATE, &g);
}

static bool
search_serve_progress(void *arg, const union message_any *any, int *fds)
{
	const struct message_progress *mp = &any->message_progress;
	struct process *p = arg;
	struct search *s = p->arg;

	s->state.elapsed_ms = master_now() - s->since_ms;
	/* A few a second are agreed on; what waited comes together. */
	if (mp->tests < s->tests[p->instance] ||
	    ++s->heard >
		(s->state.elapsed_ms / PROGRESS_PERIOD + 8) * 2 * s->count)
		return false;
	s->state.tests += mp->tests - s->tests[p->instance];
	s->tests[p->instance] = mp->tests;
	s->state.expected = mp->expected;
	if (!s->over && s->watch != NULL)
		s->watch(s->arg, &s->state);
	return true;
}

static bool
search_serve_params(void *arg, const union message_any *any, int *fds)
{
	const struct message_params *mp = &any->message_params;
	struct process *p = arg;
	struct search *s = p->arg;

	if (mp->result >= PARAMS_RESULTS ||
	    (mp->result == PARAMS_OK && mp->params.len * 8u != s->state.bits))
		return false;
	/* One that failed leaves it to the others. */
	if (s->over || mp->result != PARAMS_OK)
		return true;
	s->over = true;
	s->done(s->arg, &mp->params);
	search_cancel(s);
	return true;
}

static const struct channel_rule search_rules[] = {
	{ MESSAGE_PROGRESS, CHANNEL_ANY_STATE, false, search_serve_progress },
	{ MESSAGE_PARAMS, CHANNEL_ANY_STATE, true, search_serve_params },
};

static void
search_process_down(struct process *p, bool died)
{
	struct search *s = p->arg;

	s->m->paramgens--;
	if (--s->alive > 0)
		return;
	if (!s->over)
		s->done(s->arg, NULL);
	search_free(s);
}

static const struct process_kind search_kind = {
	.role = ROLE_PARAMGEN,
	.restart = false,
	.rules = search_rules,
	.rule_count = sizeof(search_rules) / sizeof(search_rules[0]),
	.up = search_process_up,
	.down = search_process_down,
};

struct search *
search_start(struct master *m, unsigned bits, enum search_purpose purpose,
    search_done *done, search_watch *watch, void *arg)
{
	struct process *p;
	struct search *s;
	unsigned i;

	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->m = m;
	s->done = done;
	s->watch = watch;
	s->arg = arg;
	s->since_ms = master_now();
	s->state.bits = bits;
	s->count = purpose == SEARCH_STOCK ? 1 : search_processors();
	s->tests = calloc(s->count, sizeof(*s->tests));
	s->process = calloc(s->count, sizeof(*s->process));
	if (s->tests == NULL || s->process == NULL) {
		search_free(s);
		return NULL;
	}
	for (i = 0; i < s->count; i++) {
		p = &s->process[i];
		p->m = m;
		p->kind = &search_kind;
		p->instance = i;
		p->priority =
		    purpose == SEARCH_STOCK ? PROCESS_IDLE : PROCESS_NICE;
		p->arg = s;
		if (!process_start(p))
			continue;
		s->alive++;
		m->paramgens++;
	}
	s->state.processes = s->alive;
	if (s->alive == 0) {
		search_free(s);
		return NULL;
	}
	return s;
}
