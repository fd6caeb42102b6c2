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

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/start.h"
#include "worker/lean.h"
#include "worker/worker.h"

#define ZYGOTE_STACK (16 * WORKER_PAGE - ZYGOTE_HOT)
#define ZYGOTE_TITLE 128 /* bytes of a worker's title */
#define ZYGOTE_HOT   2560 /* of the page where the stack begins */

/*
 * All that zygote and worker write lies together: a fork copies page tables,
 * and each region of 2 MB that is touched costs one more of them.  The
 * worker has a stack of its own here, below it a page that faults; its top
 * shares a page with the message of the connection.
 */
struct zygote {
	_Alignas(WORKER_PAGE) uint8_t guard[WORKER_PAGE];
	uint8_t stack[ZYGOTE_STACK];
	int pidfd;
	int fds[MESSAGE_FDS_MAX]; /* of the connection under way */
	const struct message_start *start;
	struct channel channel;
	char *title_area; /* ps(1) reads it */
	size_t title_max;
	char title[ZYGOTE_TITLE]; /* of the worker that is forked next */
	char title_home[ZYGOTE_TITLE]; /* title_area, where it can be moved */
	union {
		union message_any any;
		struct {
			struct message_spawn spawn;
			union {
				uint8_t raw[WORKER_RAW_MAX]; /* of the worker */
				union message_any heard;
			};
		} hot;
	} message;
	struct worker worker;
};
_Static_assert(offsetof(struct zygote, message) % WORKER_PAGE +
	    sizeof(struct message_spawn) <=
	WORKER_PAGE,
    "the message of a connection is in the page of the stack's top");
_Static_assert((offsetof(struct zygote, stack) + ZYGOTE_STACK) % 16 == 0,
    "the stack begins where the ABI wants it");

static struct zygote zygote;

#ifdef FLEXMUSIC_SANITIZER
#include <sanitizer/common_interface_defs.h>

/* Tells the address sanitizer which stack this is. */
static void
zygote_tell_stack(struct zygote *z)
{
	__sanitizer_start_switch_fiber(NULL, z->stack, sizeof(z->stack));
	__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
}
#else
static void
zygote_tell_stack(struct zygote *z)
{
}
#endif

/* What every child does first: its own stack is known, its sandbox is on. */
static void
zygote_enter_child(struct zygote *z)
{
	zygote_tell_stack(z);
	if (sandbox_enter_child(z->start->master, &roles[ROLE_WORKER],
		&z->start->program[1]) == -1)
		_exit(1);
}

/* Forks a child that is the master's; -1 with errno. */
static pid_t
zygote_fork(struct zygote *z, int (*child)(void *))
{
	return clone(child, z->stack + sizeof(z->stack),
	    CLONE_PARENT | CLONE_PIDFD, z, &z->pidfd);
}

/* The first steps of a worker, before it reads a byte of its client. */
static int
zygote_child(void *arg)
{
	struct zygote *z = arg;
	const struct message_spawn *m = &z->message.hot.spawn;
	struct worker *w = &z->worker;

	close(z->channel.fd);
	zygote_enter_child(z);
	memcpy(z->title_area, z->title, z->title_max);
	w->client = z->fds[0];
	w->master = z->fds[1];
	w->keys = z->fds[2];
	w->spawn = m;
	w->raw = z->message.hot.raw;
	w->heard = &z->message.hot.heard;
	worker_run(w);
}

/*
 * The worker's title, made here: formatting touches a dozen pages, which are
 * at hand in the zygote and would be faults in each worker.  Like that of
 * setproctitle(3), which made room for it, it fills what the title before it
 * used.
 */
static void
zygote_make_title(struct zygote *z, const struct message_spawn *m)
{
	memset(z->title, 0, z->title_max);
	snprintf(z->title, z->title_max, "flexmusicd: worker [session %llu] %s",
	    (unsigned long long)m->session, m->peer);
}

static bool
zygote_tell_failed(struct zygote *z, const union message_any *any, int error)
{
	struct message_spawn_failed failed;

	memset(&failed, 0, sizeof(failed));
	failed.error = error;
	failed.session = any->message_spawn.session;
	return channel_send(z->channel.fd, MESSAGE_SPAWN_FAILED, &failed);
}

static bool
zygote_spawn(void *arg, const union message_any *any, int *fds)
{
	struct zygote *z = arg;
	struct message_spawned reply;
	pid_t pid;
	int error, i;

	memcpy(z->fds, fds, sizeof(z->fds));
	zygote_make_title(z, &any->message_spawn);
	pid = zygote_fork(z, zygote_child);
	error = pid == -1 ? errno : 0;
	if (pid != -1) {
		memset(&reply, 0, sizeof(reply));
		reply.pid = pid;
		reply.session = any->message_spawn.session;
		if (!channel_send_fds(
			z->channel.fd, MESSAGE_SPAWNED, &reply, &z->pidfd))
			error = errno;
		close(z->pidfd);
	}
	for (i = 0; i < MESSAGE_FDS_MAX; i++)
		close(fds[i]);
	/* A worker that the master does not know ends with its channel. */
	return error == 0 || zygote_tell_failed(z, any, error);
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
	lean_program();
	zygote.start = &h->start;
	channel_init(&zygote.channel, h->channel, zygote_rules, 1, &zygote);
	zygote.channel.wait = true;
	zygote.title_max =
	    h->title_len < ZYGOTE_TITLE ? h->title_len : ZYGOTE_TITLE;
	zygote.title_area =
	    lean_stack(h->title, zygote.title_home, zygote.title_max);
	h->state = &zygote;
}

int
zygote_main(struct helper *h)
{
	struct zygote *z = h->state;

	/* Its one peer is the master: whatever else comes is the end. */
	while (channel_receive(&z->channel, &z->message.any) == CHANNEL_OK)
		continue;
	return 0;
}

static int
zygote_child_empty(void *arg)
{
	zygote_enter_child(arg);
	_exit(0);
}

/* The calls of a fork, once: the child ends at once. */
bool
zygote_self_test(struct helper *h)
{
	struct zygote *z = h->state;
	struct pollfd p;
	struct message_spawned m;

	if (zygote_fork(z, zygote_child_empty) == -1)
		return false;
	p.fd = z->pidfd;
	p.events = POLLIN;
	if (ppoll(&p, 1, NULL, NULL) != 1)
		return false;
	memset(&m, 0, sizeof(m));
	return channel_send_fds(z->channel.fd, MESSAGE_SPAWNED, &m, &z->pidfd);
}
