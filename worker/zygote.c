/*
 * worker/zygote.c - the process that workers are forked from: it has given
 * up everything already, knows no configuration and no other session, and is
 * small, so that a fork is little more than a fork.
 *
 * Runs in: zygote, as the worker user, in a filter that allows it to take a
 * message, to fork and to set up the child, and what a worker may do.  The
 * child it forks is the master's (CLONE_PARENT): the master sees it in ps,
 * reaps it, and its death ends it.
 */
#include <sys/mman.h>
#include <sys/random.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/start.h"
#include "worker/worker.h"

#define ZYGOTE_PAGE  4096
#define ZYGOTE_STACK (16 * ZYGOTE_PAGE)

/*
 * All that zygote and worker write lies together: a fork copies page tables,
 * and each region of 2 MB that is touched costs one more of them.  The
 * worker has a stack of its own here, below it a page that faults.
 */
struct zygote {
	_Alignas(ZYGOTE_PAGE) uint8_t guard[ZYGOTE_PAGE];
	uint8_t stack[ZYGOTE_STACK];
	_Alignas(ZYGOTE_PAGE) union message_any message;
	const struct message_start *start;
	struct channel channel;
	int pidfd;
	int fds[MESSAGE_FDS_MAX]; /* of the connection under way */
	_Alignas(ZYGOTE_PAGE) struct worker worker;
};

static struct zygote zygote;

/* The first steps of a worker, before it reads a byte of its client. */
static int
zygote_child(void *arg)
{
	struct zygote *z = arg;
	const struct message_spawn *m = &z->message.message_spawn;
	struct worker *w = &z->worker;

	close(z->channel.fd);
	if (sandbox_enter_worker(
		z->start->master, WORKER_NOFILE, &z->start->program[1]) == -1)
		_exit(1);
	setproctitle("worker [session %llu] %s", (unsigned long long)m->session,
	    m->peer);
	w->client = z->fds[0];
	w->master = z->fds[1];
	w->keys = z->fds[2];
	w->spawn = m;
	worker_run(w);
}

static bool
zygote_spawn(void *arg, const union message_any *any, int *fds)
{
	struct zygote *z = arg;
	struct message_spawned reply;
	struct message_spawn_failed failed;
	pid_t pid;
	int i;

	memcpy(z->fds, fds, sizeof(z->fds));
	pid = clone(zygote_child, z->stack + sizeof(z->stack),
	    CLONE_PARENT | CLONE_PIDFD, z, &z->pidfd);
	if (pid == -1) {
		memset(&failed, 0, sizeof(failed));
		failed.error = errno;
		failed.session = any->message_spawn.session;
		(void)channel_send(
		    z->channel.fd, MESSAGE_SPAWN_FAILED, &failed);
	} else {
		memset(&reply, 0, sizeof(reply));
		reply.pid = pid;
		reply.session = any->message_spawn.session;
		(void)channel_send_fds(
		    z->channel.fd, MESSAGE_SPAWNED, &reply, &z->pidfd);
		close(z->pidfd);
	}
	for (i = 0; i < MESSAGE_FDS_MAX; i++)
		close(fds[i]);
	return true;
}

static const struct channel_rule zygote_rules[] = {
	{ MESSAGE_SPAWN, CHANNEL_ANY_STATE, false, zygote_spawn },
};

void
zygote_prepare(struct helper *h)
{
	/* A worker's stack that grows too far faults, as any other does. */
	if (mprotect(zygote.guard, sizeof(zygote.guard), PROT_NONE) == -1)
		_exit(1);
	zygote.start = &h->start;
	channel_init(&zygote.channel, h->channel, zygote_rules, 1, &zygote);
	zygote.channel.wait = true;
	h->state = &zygote;
}

int
zygote_main(struct helper *h)
{
	struct zygote *z = h->state;

	/* Its one peer is the master: whatever else comes is the end. */
	while (channel_receive(&z->channel, &z->message) == CHANNEL_OK)
		continue;
	return 0;
}

static int
zygote_child_empty(void *arg)
{
	struct zygote *z = arg;

	if (sandbox_enter_worker(
		z->start->master, WORKER_NOFILE, &z->start->program[1]) == -1)
		_exit(1);
	_exit(0);
}

/* The calls of a fork, once: the child ends at once. */
bool
zygote_self_test(struct helper *h)
{
	struct zygote *z = h->state;
	struct pollfd p;
	struct message_spawned m;

	if (clone(zygote_child_empty, z->stack + sizeof(z->stack),
		CLONE_PARENT | CLONE_PIDFD, z, &z->pidfd) == -1)
		return false;
	p.fd = z->pidfd;
	p.events = POLLIN;
	if (ppoll(&p, 1, NULL, NULL) != 1)
		return false;
	memset(&m, 0, sizeof(m));
	return channel_send_fds(z->channel.fd, MESSAGE_SPAWNED, &m, &z->pidfd);
}
