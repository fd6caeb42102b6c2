/*
 * tests/rogue/taken.c - which processes are taken over: the workers of
 * clients from 127.251.0.0/16, and the zygote when it is to fork for one from
 * 127.252.0.0/16.  All others serve as the product's do.
 *
 * Runs in: the test's zygote and workers (build/rogue), in place of
 * worker_run() and around channel_receive(), by the linker.
 */
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/start.h"
#include "tests/rogue/rogue.h"

#define TAKEN_WORKER "127.251."
#define TAKEN_ZYGOTE "127.252."

_Noreturn void __real_worker_run(struct worker *w);
_Noreturn void __wrap_worker_run(struct worker *w);
enum channel_result
__real_channel_receive(struct channel *c, union message_any *m);
enum channel_result
__wrap_channel_receive(struct channel *c, union message_any *m);

static bool
taken_is(const struct message_spawn *m, const char *network)
{
	return strncmp(m->peer, network, strlen(network)) == 0;
}

/* The sandbox is on; nothing of the worker's own code runs from here on. */
_Noreturn void
__wrap_worker_run(struct worker *w)
{
	const struct rogue r = { w->client, w->master, w->keys, w };

	if (!taken_is(w->spawn, TAKEN_WORKER))
		__real_worker_run(w);
	rogue_serve(&r);
	_exit(0);
}

/* How the zygote would have served a connection. */
static channel_serve *taken_spawn;

static bool
taken_serve_spawn(void *arg, const union message_any *m, int *fds)
{
	const struct rogue r = { fds[0], HELPER_CHANNEL, -1, NULL };

	if (taken_is(&m->message_spawn, TAKEN_ZYGOTE))
		rogue_serve(&r);
	return taken_spawn(arg, m, fds);
}

static const struct channel_rule taken_rules[] = {
	{ MESSAGE_SPAWN, CHANNEL_ANY_STATE, false, taken_serve_spawn },
};

enum channel_result
__wrap_channel_receive(struct channel *c, union message_any *m)
{
	if (c->rule_count == 1 && c->rules != taken_rules &&
	    c->rules[0].type == MESSAGE_SPAWN) {
		taken_spawn = c->rules[0].serve;
		c->rules = taken_rules;
	}
	return __real_channel_receive(c, m);
}
