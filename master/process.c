/*
 * master/process.c - helpers: fork and exec, start message, supervision.
 *
 * Runs in: master, as root.  Helpers are told everything through their
 * channel; their environment is empty and their arguments say nothing.
 */
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "master/master.h"
#include "privsep/start.h"

#define PROCESS_DELAY_MS     100 /* before the second restart in a row */
#define PROCESS_DELAY_MAX_MS 30000
#define PROCESS_STABLE_MS    10000 /* up so long, it counts as sound */
#define PROCESS_SELF_TEST_MS 10000
#define PROCESS_FULL_MS	     10000 /* so long, it does not do its work */
#define PROCESS_NICENESS     10
#define PROCESS_STRAY_LOOKS  10 /* a second apart */

void
process_signal(int pidfd, int signal_number)
{
	if (pidfd != -1)
		syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}

bool
process_signal_is_attack(int signal_number)
{
	switch (signal_number) {
	case SIGSYS:
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
		return true;
	default:
		return false;
	}
}

bool
process_reap(int pidfd, int *signal_number, int *status)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	*signal_number = *status = 0;
	/* Reaped already: a zygote may have said that it is two workers. */
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL) ==
	    -1)
		return errno == ECHILD;
	if (info.si_pid == 0)
		return false;
	*signal_number = info.si_code == CLD_EXITED ? 0 : info.si_status;
	*status = info.si_code == CLD_EXITED ? info.si_status : 0;
	return true;
}

void
process_wait(int pidfd)
{
	siginfo_t info;

	(void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL);
}

/*
 * Of a worker whose pidfd the zygote could not hand over the master has no
 * descriptor.  It ends, since its channel does, and is waited for: a child
 * that is dead at two looks in a row has nobody else who would.
 */
static void
process_look_for_strays(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval second = { 1, 0 };
	struct master *m = arg;
	siginfo_t info;
	pid_t seen = m->stray;

	m->stray = 0;
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info,
			WEXITED | WNOHANG | WNOWAIT | __WALL) == -1 ||
		    info.si_pid == 0)
			break;
		m->stray = info.si_pid;
		if (info.si_pid != seen)
			break;
		(void)waitid(
		    P_PID, (id_t)seen, &info, WEXITED | WNOHANG | __WALL);
		m->stray = 0;
	}
	if (m->stray_looks-- > 0)
		master_set_timer(&m->stray_event, &second);
}

void
process_expect_strays(struct master *m)
{
	static const struct timeval second = { 1, 0 };

	if (m->stray_event.ev_base == NULL)
		evtimer_assign(
		    &m->stray_event, m->base, process_look_for_strays, m);
	m->stray_looks = PROCESS_STRAY_LOOKS;
	if (!evtimer_pending(&m->stray_event, NULL))
		master_set_timer(&m->stray_event, &second);
}

/*
 * With a soft limit of 0 brk(2) fails and mmap(2) does not, so libc puts its
 * thread block beside the program instead of a heap far from it: three page
 * tables fewer for each worker.
 */
static void
process_leave_heap(void)
{
#ifndef FLEXMUSIC_SANITIZER
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit) == 0) {
		limit.rlim_cur = 0;
		(void)setrlimit(RLIMIT_DATA, &limit);
	}
#endif
}

/* In the child, between fork and exec: only what is safe there. */
static _Noreturn void
process_exec(
    struct master *m, enum role_id role, int channel, const sigset_t *mask)
{
	char *const argv[] = { (char *)(uintptr_t) "flexmusicd",
		(char *)(uintptr_t)roles[role].name,
		(char *)(uintptr_t)HELPER_PADDING, NULL };
	char *const envp[] = { NULL };
	int program = m->program_fd[roles[role].program];
	int fd;

	for (fd = 0; fd < 3; fd++) {
#ifdef FLEXMUSIC_SANITIZER
		if (fd == 2 && m->foreground)
			continue; /* reports */
#endif
		if (dup2(m->null_fd, fd) == -1)
			_exit(126);
	}
	/* The program's own descriptor must not be where the channel goes. */
	if (program == HELPER_CHANNEL)
		program = fcntl(program, F_DUPFD_CLOEXEC, HELPER_CHANNEL + 1);
	if (channel == HELPER_CHANNEL) {
		if (fcntl(channel, F_SETFD, 0) == -1)
			_exit(126);
	} else if (dup2(channel, HELPER_CHANNEL) == -1)
		_exit(126);
	if (roles[role].program == PROGRAM_WORKER)
		process_leave_heap();
	sigprocmask(SIG_SETMASK, mask, NULL);
	fexecve(program, argv, envp);
	_exit(127);
}

/* Forks and executes; the channel's end is non-blocking. */
static bool
process_spawn(
    struct master *m, enum role_id role, pid_t *pid, int *pidfd, int *channel)
{
	sigset_t all, mask;
	int fd[2], error;

	if (!channel_pair(fd, !roles[role].serves_workers, 0))
		return false;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	*pid = fork();
	if (*pid == 0)
		process_exec(m, role, fd[1], &mask);
	error = errno;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(fd[1]);
	if (*pid == -1) {
		close(fd[0]);
		errno = error;
		return false;
	}
	/* Not reaped yet, so the number is still this child's. */
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (*pidfd == -1) {
		error = errno;
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		close(fd[0]);
		errno = error;
		return false;
	}
	*channel = fd[0];
	return true;
}

static const struct config_user *
process_user(const struct master *m, enum role_user user)
{
	static const struct config_user root;

	switch (user) {
	case USER_KEYS:
		return &m->config->keys_user;
	case USER_AUTH:
		return &m->config->auth_user;
	case USER_WORKER:
		return &m->config->worker_user;
	default:
		return &root;
	}
}

/* Who the helper is to be. */
static bool
process_send_start(struct master *m, int channel, enum role_id role,
    unsigned instance, enum process_priority priority, bool self_test)
{
	static struct message_start s;
	const struct config_user *user;
	const struct role *r = &roles[role];
	const enum role_id child = r->forks != ROLE_MASTER ? r->forks : role;

	memset(&s, 0, sizeof(s));
	memcpy(s.build_id, build_id, sizeof(s.build_id));
	message_table_hash(s.table_hash);
	s.role = role;
	s.instance = instance;
	s.as_root = m->as_root;
	s.self_test = self_test;
	s.master = m->pid;
	user = process_user(m, r->user);
	s.uid = user->uid;
	s.gid = user->gid;
	s.nofile =
	    role_limit_value(m->as_root ? &r->nofile : &r->rootless_nofile,
		m->nofile, m->config->max_connections);
	s.nproc = role_limit_value(m->as_root ? &r->nproc : &r->rootless_nproc,
	    m->nofile, m->config->max_connections);
	/* Who started the server may have made it nice; none may be less so. */
	s.nice = getpriority(PRIO_PROCESS, 0);
	if (priority != PROCESS_NORMAL && s.nice < PROCESS_NICENESS)
		s.nice = PROCESS_NICENESS;
	s.idle = priority == PROCESS_IDLE;
	if (sandbox_compile(role, child, self_test, &s.program[0]) == -1 ||
	    (child != role &&
		sandbox_compile(child, child, self_test, &s.program[1]) ==
		    -1)) {
		log_event(m->log, LOG_ERR, "filter-failed",
		    "role=%s error=\"%s\"", roles[role].name, strerror(errno));
		return false;
	}
	return channel_send_fds(channel, MESSAGE_START, &s, &m->chroot_fd);
}

/* Whether secrets can be swapped out; that they can is said once. */
static const char *
process_memory(struct master *m, const struct sandbox_layers *l)
{
	switch (l->memory) {
	case SANDBOX_MEMORY_PLAIN:
		return "plain";
	case SANDBOX_MEMORY_LOCKED:
		return "locked";
	default:
		break;
	}
	if (!m->unlocked_logged)
		log_event(m->log, LOG_WARNING, "layer-missing",
		    "layer=memory-lock why=\"RLIMIT_MEMLOCK is too low: what "
		    "keys and auth hold may be swapped\"");
	m->unlocked_logged = true;
	return "unlocked";
}

static bool
process_serve_started(void *arg, const union message_any *m, int *fds)
{
	struct process *p = arg;
	const struct sandbox_layers *l = &m->message_started.layers;

	log_event(p->m->log, LOG_DEBUG, "sandbox",
	    "role=%s users=%s chroot=%s seccomp=%s landlock=%d memory=%s",
	    roles[p->kind->role].name, l->users ? "yes" : "no",
	    l->root_dir ? "yes" : "no", l->seccomp ? "yes" : "no", l->landlock,
	    process_memory(p->m, l));
	p->state = PROCESS_UP;
	p->up_ms = master_now();
	channel_init(
	    &p->channel, p->channel.fd, p->kind->rules, p->kind->rule_count, p);
	p->kind->up(p);
	return true;
}

static void
process_log_failed(
    struct master *m, enum role_id role, const struct message_failed *f)
{
	log_event(m->log, LOG_CRIT, "sandbox-failed",
	    "role=%s step=\"%s\" error=\"%s\"", roles[role].name,
	    sandbox_step_text(f->step), strerror(f->error));
}

static bool
process_serve_failed(void *arg, const union message_any *m, int *fds)
{
	struct process *p = arg;

	process_log_failed(p->m, p->kind->role, &m->message_failed);
	/* No restart mends another build, or a kernel that refuses. */
	if (p->m->ready_fd != -1 || m->message_failed.step == SANDBOX_BUILD)
		master_fatal(p->m, "the sandbox of %s failed: %s: %s",
		    roles[p->kind->role].name,
		    sandbox_step_text(m->message_failed.step),
		    strerror(m->message_failed.error));
	return true;
}

static const struct channel_rule process_start_rules[] = {
	{ MESSAGE_STARTED, CHANNEL_ANY_STATE, true, process_serve_started },
	{ MESSAGE_FAILED, CHANNEL_ANY_STATE, true, process_serve_failed },
};

static void
process_close(struct process *p)
{
	if (p->channel.fd != -1) {
		event_del(&p->channel_event);
		close(p->channel.fd);
		p->channel.fd = -1;
	}
}

static void
process_ready(evutil_socket_t fd, short what, void *arg)
{
	static union message_any message;
	struct process *p = arg;
	enum channel_result result = CHANNEL_OK;
	int i;

	for (i = 0; i < CHANNEL_BATCH && result == CHANNEL_OK; i++) {
		result = channel_receive(&p->channel, &message);
		if (p->channel.fd == -1)
			return; /* ended by what was served */
	}
	if (result == CHANNEL_OK || result == CHANNEL_EMPTY)
		return;
	/* What it has said besides is not heard. */
	process_close(p);
	if (result >= CHANNEL_VIOLATION) {
		log_event(p->m->log, LOG_ALERT, "channel-violation",
		    "role=%s pid=%d kind=%s", roles[p->kind->role].name,
		    (int)p->pid, channel_result_token(result));
	}
	/* One that lives on without its channel is of no use. */
	process_kill(p);
}

static void
process_restart(evutil_socket_t fd, short what, void *arg)
{
	process_start(arg);
}

/* The delay grows with each failure in a row; the first has none. */
static void
process_schedule(struct process *p)
{
	struct timeval tv = { 0, 0 };
	uint64_t ms = 0;

	if (p->up_ms != 0 && master_now() - p->up_ms > PROCESS_STABLE_MS)
		p->failures = 0;
	if (p->failures > 0) {
		ms = PROCESS_DELAY_MS;
		ms <<= p->failures < 16 ? p->failures - 1 : 15;
		if (ms > PROCESS_DELAY_MAX_MS)
			ms = PROCESS_DELAY_MAX_MS;
	}
	p->failures++;
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	evtimer_assign(&p->restart_event, p->m->base, process_restart, p);
	master_set_timer(&p->restart_event, &tv);
}

static void
process_died(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;
	struct master *m = p->m;
	int signal_number, status;
	bool expected;

	/* What it said last comes first. */
	if (p->channel.fd != -1 && p->state != PROCESS_DOWN)
		process_ready(p->channel.fd, EV_READ, p);
	if (!process_reap(p->pidfd, &signal_number, &status))
		return;
	event_del(&p->death_event);
	close(p->pidfd);
	p->pidfd = -1;
	expected = p->ending ||
	    (!p->kind->restart && signal_number == 0 && status == 0);
	if (!expected)
		log_event(m->log,
		    process_signal_is_attack(signal_number) ? LOG_ALERT
							    : LOG_ERR,
		    "helper-died",
		    "role=%s instance=%u pid=%d signal=%d status=%d",
		    roles[p->kind->role].name, p->instance, (int)p->pid,
		    signal_number, status);
	process_close(p);
	p->state = PROCESS_DOWN;
	if (p->kind->restart && !p->ending && !m->stopping)
		process_schedule(p);
	p->kind->down(p, !expected);
	master_stop_progress(m);
}

/* Has the master hear of it; false with errno. */
static bool
process_watch(struct process *p, int channel)
{
	socklen_t len = sizeof(p->room);

	if (getsockopt(channel, SOL_SOCKET, SO_SNDBUF, &p->room, &len) == -1)
		return false;
	p->room /= 2;
	errno = ENOMEM; /* libevent does not say */
	return event_assign(&p->channel_event, p->m->base, channel,
		   EV_READ | EV_PERSIST, process_ready, p) == 0 &&
	    event_assign(&p->death_event, p->m->base, p->pidfd,
		EV_READ | EV_PERSIST, process_died, p) == 0 &&
	    event_add(&p->channel_event, NULL) == 0 &&
	    event_add(&p->death_event, NULL) == 0;
}

/* A helper that can't be watched is gone again. */
static bool
process_spawn_watched(struct process *p, int *channel)
{
	int error;

	if (!process_spawn(p->m, p->kind->role, &p->pid, &p->pidfd, channel))
		return false;
	if (process_watch(p, *channel))
		return true;
	error = errno;
	event_del(&p->channel_event);
	process_signal(p->pidfd, SIGKILL);
	process_wait(p->pidfd);
	close(p->pidfd);
	close(*channel);
	errno = error;
	return false;
}

bool
process_start(struct process *p)
{
	struct master *m = p->m;
	int channel;

	p->ending = p->stuck = false;
	p->up_ms = p->full_ms = 0;
	if (!process_spawn_watched(p, &channel)) {
		log_event(m->log, LOG_ERR, "helper-failed",
		    "role=%s error=\"%s\"", roles[p->kind->role].name,
		    strerror(errno));
		p->pidfd = p->channel.fd = -1;
		if (p->kind->restart && !m->stopping)
			process_schedule(p);
		return false;
	}
	p->state = PROCESS_STARTING;
	log_event(m->log, LOG_DEBUG, "helper-started",
	    "role=%s instance=%u pid=%d", roles[p->kind->role].name,
	    p->instance, (int)p->pid);
	channel_init(&p->channel, channel, process_start_rules,
	    sizeof(process_start_rules) / sizeof(process_start_rules[0]), p);
	if (!process_send_start(
		m, channel, p->kind->role, p->instance, p->priority, false))
		process_kill(p); /* its death is seen, and restarts it */
	return true;
}

unsigned
process_wanted(unsigned configured)
{
	return configured != 0 ? configured : search_processors();
}

struct process *
process_start_all(
    struct master *m, const struct process_kind *kind, unsigned count)
{
	struct process *all = calloc(count, sizeof(*all));
	unsigned i;

	if (all == NULL)
		master_fatal(m, "no memory");
	for (i = 0; i < count; i++) {
		all[i].m = m;
		all[i].kind = kind;
		all[i].instance = i;
		process_start(&all[i]);
	}
	return all;
}

void
process_end(struct process *p)
{
	p->ending = true;
	if (p->restart_event.ev_base != NULL)
		evtimer_del(&p->restart_event);
	process_close(p);
}

void
process_kill(struct process *p)
{
	process_signal(p->pidfd, SIGKILL);
}

void
process_give_up(struct process *p, const char *error)
{
	if (!p->stuck)
		log_event(p->m->log, LOG_ERR, "helper-stuck",
		    "role=%s instance=%u pid=%d error=\"%s\"",
		    roles[p->kind->role].name, p->instance, (int)p->pid, error);
	p->stuck = true;
	process_kill(p);
}

bool
process_has_room(struct process *p)
{
	uint64_t now;
	int unread;

	if (p->state != PROCESS_UP || p->channel.fd == -1)
		return false;
	if (ioctl(p->channel.fd, SIOCOUTQ, &unread) == -1 || unread < p->room) {
		p->full_ms = 0;
		return true;
	}
	now = master_now();
	if (p->full_ms == 0)
		p->full_ms = now;
	else if (now - p->full_ms > PROCESS_FULL_MS)
		process_give_up(p, "it does not read its channel");
	return false;
}

bool
process_send(struct process *p, enum message_type type, void *message)
{
	return process_send_fds(p, type, message, NULL);
}

bool
process_send_fds(
    struct process *p, enum message_type type, void *message, const int *fds)
{
	bool sent;

	if (p->channel.fd == -1) {
		errno = ENOTCONN;
		return false;
	}
	sent = fds == NULL
	    ? channel_send(p->channel.fd, type, message)
	    : channel_send_fds(p->channel.fd, type, message, fds);
	if (!sent && errno != EPIPE && errno != ETOOMANYREFS)
		process_give_up(p, strerror(errno));
	return sent;
}

/* What a self-test said. */
struct process_test {
	struct master *m;
	enum role_id role;
	bool done;
	bool right;
};

static bool
process_test_result(void *arg, const union message_any *any, int *fds)
{
	struct process_test *t = arg;
	const struct message_selftest *s = &any->message_selftest;

	t->done = true;
	t->right = s->known_answer && s->syscall == -1;
	if (s->syscall != -1)
		log_event(t->m->log, LOG_CRIT, "self-test-failed",
		    "role=%s syscall=%d why=\"this system's libraries make a "
		    "call that the sandbox does not allow\"",
		    roles[t->role].name, (int)s->syscall);
	else if (!t->right)
		log_event(t->m->log, LOG_CRIT, "self-test-failed",
		    "role=%s why=\"wrong answer\"", roles[t->role].name);
	return true;
}

static bool
process_test_failed(void *arg, const union message_any *any, int *fds)
{
	struct process_test *t = arg;

	t->done = true;
	process_log_failed(t->m, t->role, &any->message_failed);
	return true;
}

/* The zygote's test forked a child, which is ours to reap. */
static bool
process_test_forked(void *arg, const union message_any *any, int *fds)
{
	process_wait(fds[0]);
	close(fds[0]);
	return true;
}

static const struct channel_rule process_test_rules[] = {
	{ MESSAGE_SELFTEST, CHANNEL_ANY_STATE, true, process_test_result },
	{ MESSAGE_FAILED, CHANNEL_ANY_STATE, true, process_test_failed },
	{ MESSAGE_SPAWNED, CHANNEL_ANY_STATE, true, process_test_forked },
};

/* Waits for a message of the self-test; signals that come are for later. */
static bool
process_test_wait(int channel)
{
	struct pollfd p = { channel, POLLIN, 0 };
	int n;

	do
		n = poll(&p, 1, PROCESS_SELF_TEST_MS);
	while (n == -1 && errno == EINTR);
	return n == 1;
}

bool
process_self_test(struct master *m, enum role_id role)
{
	static union message_any message;
	struct process_test t = { m, role, false, false };
	struct channel c;
	pid_t pid;
	int pidfd, channel;

	if (!process_spawn(m, role, &pid, &pidfd, &channel)) {
		log_event(m->log, LOG_CRIT, "self-test-failed",
		    "role=%s error=\"%s\"", roles[role].name, strerror(errno));
		return false;
	}
	channel_init(&c, channel, process_test_rules,
	    sizeof(process_test_rules) / sizeof(process_test_rules[0]), &t);
	if (process_send_start(m, channel, role, 0, PROCESS_NORMAL, true))
		while (!t.done && process_test_wait(channel) &&
		    channel_receive(&c, &message) == CHANNEL_OK)
			continue;
	if (!t.done)
		log_event(m->log, LOG_CRIT, "self-test-failed",
		    "role=%s why=\"it ended or hung without a result\"",
		    roles[role].name);
	process_signal(pidfd, SIGKILL);
	process_wait(pidfd);
	close(pidfd);
	close(channel);
	return t.done && t.right;
}
