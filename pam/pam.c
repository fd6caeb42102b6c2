/*
 * pam/pam.c - the authenticator for auth_method = system: its life from first
 * message to end.
 *
 * Runs in: pam, one process, only where it is configured; as root, since PAM
 * wants to read what root alone may, with CAP_AUDIT_WRITE alone and a sandbox
 * weaker than any other's.  It runs no module of PAM itself: each attempt has
 * a child with a filter of its own, which can make no process and knows of no
 * other attempt.  It never sees a hash.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pam/attempt.h"
#include "privsep/authenticator.h"
#include "privsep/start.h"

#define PAM_SLOTS    16 /* children at once */
#define PAM_LIMIT_MS 20000 /* for one of them */
#define PAM_ANSWER   3 /* the one descriptor that a child begins with */

/* A child. */
struct pam_child {
	struct authenticator *owner;
	struct attempt *attempt; /* NULL: given up */
	uint64_t session;
	int pidfd;
	int answer;
	struct event death_event;
};

/* Has the child end; what it says is not heard any more. */
static void
pam_give_up(struct attempt *t)
{
	struct pam_child *c = t->check;

	t->check = NULL;
	c->attempt = NULL;
	syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
}

/* What a child said before it ended: well, or it has said nothing. */
static enum attempt_verdict
pam_read_verdict(const struct pam_child *c, bool ended_well)
{
	uint8_t answer;

	if (!ended_well || read(c->answer, &answer, 1) != 1)
		return ATTEMPT_FAILED;
	switch (answer) {
	case PAM_ANSWER_RIGHT:
		return ATTEMPT_RIGHT;
	case PAM_ANSWER_WRONG:
		return ATTEMPT_WRONG;
	default:
		return ATTEMPT_FAILED;
	}
}

/* An end that says that memory or the sandbox was attacked: with what a client
 * has typed, and as root. */
static void
pam_tell_crash(const struct pam_child *c, const siginfo_t *info)
{
	struct message_auth_crashed m;

	if (info->si_code == CLD_EXITED || info->si_status == SIGKILL)
		return;
	memset(&m, 0, sizeof(m));
	m.signal = info->si_status;
	m.session = c->session;
	(void)channel_send(c->owner->master.fd, MESSAGE_AUTH_CRASHED, &m);
}

static void
pam_child_died(evutil_socket_t fd, short what, void *arg)
{
	struct pam_child *c = arg;
	struct authenticator *a = c->owner;
	struct attempt *t = c->attempt;
	enum attempt_verdict verdict;
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG) == -1 ||
	    info.si_pid == 0)
		return;
	pam_tell_crash(c, &info);
	verdict = pam_read_verdict(
	    c, info.si_code == CLD_EXITED && info.si_status == 0);
	event_del(&c->death_event);
	close(c->pidfd);
	close(c->answer);
	free(c);
	if (t != NULL) {
		t->check = NULL;
		authenticator_verdict(t, verdict);
	} else
		authenticator_slot_free(a);
}

/*
 * The child: nothing of other sessions stays with it, neither descriptors nor
 * passwords, before the first module is loaded.
 */
static _Noreturn void
pam_child_main(struct attempt *t, int answer, pid_t parent)
{
	const struct helper *h = t->owner->arg;
	struct pam_question q;
	uint8_t byte;

	if (dup2(answer, PAM_ANSWER) == -1 ||
	    close_range(PAM_ANSWER + 1, ~0u, 0) == -1 ||
	    sandbox_enter_child(
		parent, &roles[ROLE_ATTEMPT], &h->start.program[1]) == -1)
		_exit(1);
	pam_question_set(
	    &q, t->user, t->user_len, t->password, t->password_len, t->address);
	authenticator_forget(t->owner);
	byte = (uint8_t)pam_ask(&q);
	_exit(write(PAM_ANSWER, &byte, 1) == 1 ? 0 : 1);
}

/* A child for the attempt: its descriptors, or false. */
static bool
pam_fork(struct attempt *t, struct pam_child *c)
{
	const pid_t parent = getpid();
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) == -1)
		return false;
	pid = fork();
	if (pid == 0)
		pam_child_main(t, fd[1], parent);
	close(fd[1]);
	/* Not reaped yet, so the number is still this child's. */
	c->pidfd = pid == -1 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid != -1 && c->pidfd == -1)
		_exit(1); /* it can't be watched: it ends with this process */
	if (pid == -1) {
		close(fd[0]);
		return false;
	}
	c->answer = fd[0];
	return true;
}

static void
pam_begin(struct attempt *t)
{
	struct authenticator *a = t->owner;
	struct pam_child *c = calloc(1, sizeof(*c));

	if (c == NULL || !pam_fork(t, c)) {
		free(c);
		authenticator_verdict(t, ATTEMPT_FAILED);
		return;
	}
	c->owner = a;
	c->attempt = t;
	c->session = t->session;
	t->check = c;
	if (event_assign(&c->death_event, a->base, c->pidfd,
		EV_READ | EV_PERSIST, pam_child_died, c) == -1 ||
	    event_priority_set(
		&c->death_event, AUTHENTICATOR_PRIORITY_SESSION) == -1 ||
	    event_add(&c->death_event, NULL) == -1)
		_exit(1); /* and the children with it */
}

static const struct channel_rule pam_rules[] = {
	{ MESSAGE_AUTH_CHANNEL, CHANNEL_ANY_STATE, false,
	    authenticator_serve_channel },
};

static const struct authenticator_kind pam_kind = {
	.rules = pam_rules,
	.rule_count = sizeof(pam_rules) / sizeof(pam_rules[0]),
	.slots = PAM_SLOTS,
	.limit_ms = PAM_LIMIT_MS,
	.begin = pam_begin,
	.give_up = pam_give_up,
};

void
pam_prepare(struct helper *h)
{
	struct authenticator *a = calloc(1, sizeof(*a));

	if (a == NULL || !authenticator_prepare(a, &pam_kind, h->channel, h))
		_exit(1);
	h->state = a;
}

int
pam_main(struct helper *h)
{
	if (!authenticator_run(h->state))
		return 1;
	_exit(0);
}

/* Whether a child can be asked, and says no to nobody. */
bool
pam_self_test(struct helper *h)
{
	struct attempt nobody;
	struct pam_child c;
	struct pollfd p;
	siginfo_t info;
	bool known;

	memset(&nobody, 0, sizeof(nobody));
	nobody.owner = h->state;
	if (!pam_service_works() || !pam_fork(&nobody, &c))
		return false;
	p.fd = c.pidfd;
	p.events = POLLIN;
	memset(&info, 0, sizeof(info));
	known = ppoll(&p, 1, NULL, NULL) == 1 &&
	    waitid(P_PIDFD, (id_t)c.pidfd, &info, WEXITED) == 0 &&
	    pam_read_verdict(
		&c, info.si_code == CLD_EXITED && info.si_status == 0) ==
		ATTEMPT_WRONG;
	close(c.pidfd);
	close(c.answer);
	return known;
}
