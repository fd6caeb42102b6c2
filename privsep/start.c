/*
 * privsep/start.c - from exec to the role's entry, in a helper.
 *
 * Runs in: every helper; first with the master's user and its five
 * capabilities, at the end with none.  It reads one message of the master,
 * and nothing else, before everything is given up.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/start.h"

#ifdef FLEXMUSIC_SANITIZER
/*
 * The environment is empty, so the sanitizer's options are here: a fault is
 * to end a process as it does in the product, and leaks can't be looked for
 * by a process that may not trace.
 */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:"
	       "handle_abort=0:detect_leaks=0";
}
#endif

/* Where the one descriptor of the start message goes. */
struct start_receipt {
	struct message_start *start;
	int root_fd;
};

static bool
start_serve(void *arg, const union message_any *m, int *fds)
{
	struct start_receipt *r = arg;

	*r->start = m->message_start;
	r->root_fd = fds[0];
	return true;
}

/* Waits for the master's first message, whether the channel's end blocks or
 * not. */
static bool
start_wait(int channel)
{
	struct pollfd p = { channel, POLLIN, 0 };
	int n;

	do
		n = ppoll(&p, 1, NULL, NULL);
	while (n == -1 && errno == EINTR);
	return n == 1;
}

static const struct channel_rule start_rules[] = {
	{ MESSAGE_START, CHANNEL_ANY_STATE, true, start_serve },
};

static _Noreturn void
start_fail(enum sandbox_step step)
{
	struct message_failed m;

	memset(&m, 0, sizeof(m));
	m.step = step;
	m.error = errno;
	channel_send(HELPER_CHANNEL, MESSAGE_FAILED, &m);
	_exit(1);
}

/* Called on SIGSYS in a self-test: says which call, and ends. */
static void
start_trapped(int number)
{
	struct message_selftest m;

	memset(&m, 0, sizeof(m));
	m.syscall = number;
	channel_send(HELPER_CHANNEL, MESSAGE_SELFTEST, &m);
	_exit(1);
}

static int
start_self_test(struct helper *h)
{
	struct message_selftest m;

	memset(&m, 0, sizeof(m));
	m.syscall = -1;
	m.known_answer = role_helper_self_test[h->role](h);
	channel_send(h->channel, MESSAGE_SELFTEST, &m);
	_exit(m.known_answer ? 0 : 1);
}

int
helper_run(enum role_id role, char *title, size_t title_len)
{
	static struct helper h;
	static union message_any m;
	struct message_started started;
	struct start_receipt receipt = { &h.start, -1 };
	const struct sched_param plain = { 0 };
	struct sandbox_identity id;
	struct channel c;
	enum sandbox_step step;
	uint8_t hash[32];
	char name[16];

	h.channel = HELPER_CHANNEL;
	h.role = role;
	h.title = title;
	h.title_len = title_len;
	if (sandbox_prepare(HELPER_CHANNEL, &step) == -1)
		start_fail(step);
	strlcpy(name, "fm-", sizeof(name));
	strlcat(name, roles[role].name, sizeof(name));
	prctl(PR_SET_NAME, name);
	setproctitle("%s", roles[role].name);

	channel_init(&c, h.channel, start_rules, 1, &receipt);
	errno = EPROTO;
	if (!start_wait(h.channel) || channel_receive(&c, &m) != CHANNEL_OK)
		start_fail(SANDBOX_PROTOCOL);
	message_table_hash(hash);
	errno = EPROTO;
	if (h.start.role != role ||
	    memcmp(h.start.build_id, build_id, sizeof(build_id)) != 0 ||
	    memcmp(h.start.table_hash, hash, sizeof(hash)) != 0)
		start_fail(SANDBOX_BUILD);
	if (roles[role].serves_workers)
		setproctitle("%s %u", roles[role].name, h.start.instance);

	if (setpriority(PRIO_PROCESS, 0, h.start.nice) == -1 ||
	    (h.start.idle && sched_setscheduler(0, SCHED_IDLE, &plain) == -1))
		start_fail(SANDBOX_NICE);
	role_helper_prepare[role](&h);
	memset(&id, 0, sizeof(id));
	id.role = &roles[role];
	id.as_root = h.start.as_root;
	id.chroot_fd = receipt.root_fd;
	id.uid = h.start.uid;
	id.gid = h.start.gid;
	id.master = h.start.master;
	id.nproc = h.start.nproc;
	id.nofile = h.start.nofile;
	id.program = &h.start.program[0];
	if (h.start.self_test)
		sandbox_trap(start_trapped);
	memset(&started, 0, sizeof(started));
	started.layers.memory = h.memory;
	if (sandbox_enter(&id, &started.layers, &step) == -1)
		start_fail(step);
	if (h.start.self_test)
		return start_self_test(&h);
	if (!channel_send(h.channel, MESSAGE_STARTED, &started))
		_exit(1);
	/* Not by exit(3): what libraries do there, no filter allows. */
	_exit(role_helper_entry[role](&h));
}
