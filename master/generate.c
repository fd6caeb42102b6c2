/*
 * master/generate.c - flexmusicd -G: parameters without a server, for
 * standard output or for a state directory, as an installation fills it.
 *
 * Runs in: master, as root or as who started it.  The search is paramgen's,
 * in its sandbox, as for a server.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fmltp/buf.h"
#include "master/master.h"

struct generate {
	struct master *m;
	unsigned bits;
	bool found;
	struct dh_params params;
};

static void
generate_found(void *arg, const struct dh_params *params)
{
	struct generate *g = arg;

	g->found = params != NULL;
	if (g->found)
		g->params = *params;
	event_base_loopbreak(g->m->base);
}

static void
generate_watch(void *arg, const struct search_state *s)
{
	bar_show(s);
}

/* One search, to its end: the set in PEM. */
static void
generate_one(struct generate *g, struct buf *pem)
{
	g->found = false;
	if (search_start(g->m, g->bits, SEARCH_AWAITED, generate_found,
		generate_watch, g) != NULL)
		event_base_dispatch(g->m->base);
	bar_clear();
	if (!g->found)
		master_fatal(g->m, "the search for parameters failed");
	dh_params_put_pem(pem, &g->params);
	if (pem->failed)
		master_fatal(g->m, "parameters of %u bits do not fit", g->bits);
}

/* As many as are to be kept, each stored when it is found. */
static void
generate_fill(struct generate *g, const char *dir)
{
	uint8_t bytes[DH_PEM_MAX];
	struct master *m = g->m;
	unsigned keep = m->config->keep_parameters;
	struct state *state;
	struct buf pem;
	char why[512];
	size_t made = 0;

	if (keep == 0)
		keep = 1;
	state = state_open(dir, m->as_root ? 0 : geteuid(), why, sizeof(why));
	if (state == NULL)
		master_fatal(m, "%s", why);
	if (state_trouble(state) != NULL)
		master_fatal(m, "%s", state_trouble(state));
	for (; state_count(state, g->bits) < keep; made++) {
		buf_init(&pem, bytes, sizeof(bytes));
		generate_one(g, &pem);
		if (!state_put(state, g->bits, pem.data, pem.len))
			master_fatal(m, "%s: %s", dir, strerror(errno));
	}
	fprintf(stderr,
	    "flexmusicd: %s: %zu sets of %u bits, %zu of them new\n", dir,
	    state_count(state, g->bits), g->bits, made);
	state_close(state);
}

int
generate_main(struct master *m, unsigned bits, const char *dir)
{
	struct generate g = { .m = m, .bits = bits };
	uint8_t bytes[DH_PEM_MAX];
	struct buf pem;

	master_open(m, false);
	m->base = event_base_new();
	if (m->base == NULL)
		master_fatal(m, "no event loop");
	log_attach(m->log, m->base);
	if (dir != NULL) {
		generate_fill(&g, dir);
		return 0;
	}
	buf_init(&pem, bytes, sizeof(bytes));
	generate_one(&g, &pem);
	if (fwrite(pem.data, 1, pem.len, stdout) != pem.len ||
	    fflush(stdout) != 0)
		master_fatal(m, "standard output: %s", strerror(errno));
	return 0;
}
