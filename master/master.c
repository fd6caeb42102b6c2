/*
 * master/master.c - the privileged process, from its command line to its
 * end: configuration, listening sockets, supervision, signals, the log.
 *
 * Runs in: master, as root with SETUID, SETGID, SYS_CHROOT, KILL and
 * NET_BIND_SERVICE and no other capability.  It reads no byte that came from
 * the network and holds no private key, password or session key.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/crypto.h>

#include "master/control.h"
#include "master/daemon.h"
#include "master/master.h"
#include "master/notify.h"

#define MASTER_CONFIG	    SYSCONFDIR "/flexmusic/flexmusicd.conf"
#define MASTER_STOP_MS	    2000 /* for handshakes, when stopping */
#define MASTER_END_MS	    1000 /* for workers and helpers to end */
#define MASTER_DESCRIPTORS  128 /* besides those of sessions */
#define MASTER_PER_SESSION  2 /* channel, pidfd */
#define MASTER_ATTACK_MS    600000 /* attacks count together so long */
#define MASTER_ATTACK_MANY  8
#define MASTER_DELAY_MAX_MS 60000
#define MASTER_LOG_FREE_MS  500
#define MASTER_PAM_FILE	    "/etc/pam.d/flexmusic"
#define MASTER_NOBODY	    65534 /* the user with no rights at all */

uint64_t
master_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
master_set_timer(struct event *event, const struct timeval *tv)
{
	if (evtimer_add(event, tv) == -1)
		event_active(event, EV_TIMEOUT, 0);
}

static void
master_remove_pid(struct master *m)
{
	if (m->config != NULL && m->config->pid_file != NULL)
		(void)unlink(m->config->pid_file);
}

_Noreturn void
master_fatal(struct master *m, const char *fmt, ...)
{
	char text[512], quoted[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bar_clear();
	if (m->log == NULL || !m->log_on_stderr || m->no_server)
		fprintf(stderr, "flexmusicd: %s\n", text);
	if (m->log != NULL && !m->no_server) {
		log_event(m->log, LOG_CRIT, "fatal", "error=%s",
		    log_quote(quoted, sizeof(quoted), text, strlen(text)));
		log_free(m->log, MASTER_LOG_FREE_MS);
	}
	if (m->listening)
		master_remove_pid(m);
	control_stop(m);
	/* Whatever was started ends with this process. */
	_exit(1);
}

/* The zygote. */

static void
master_zygote_up(struct process *p)
{
	master_update(p->m);
}

static void
master_zygote_down(struct process *p, bool died)
{
	struct master *m = p->m;

	session_zygote_lost(p);
	if (p->ending)
		m->zygote = NULL;
	master_update(m);
	if (p->ending)
		free(p);
}

static const struct process_kind master_zygote_kind = {
	.role = ROLE_ZYGOTE,
	.restart = true,
	.rules = session_zygote_rules,
	.rule_count = SESSION_ZYGOTE_RULES,
	.up = master_zygote_up,
	.down = master_zygote_down,
};

/* One that was replaced. */
static void
master_old_zygote_down(struct process *p, bool died)
{
	session_zygote_lost(p);
	p->m->zygotes_ending--;
	free(p);
}

static const struct process_kind master_old_zygote_kind = {
	.role = ROLE_ZYGOTE,
	.restart = false,
	.rules = session_zygote_rules,
	.rule_count = SESSION_ZYGOTE_RULES,
	.up = master_zygote_up,
	.down = master_old_zygote_down,
};

static bool
master_start_zygote(struct master *m)
{
	struct process *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return false;
	p->m = m;
	p->kind = &master_zygote_kind;
	m->zygote = p;
	process_start(p);
	return true;
}

void
master_replace_zygote(struct master *m)
{
	struct process *old = m->zygote;

	/* One that is not up yet is fresh enough. */
	if (m->stopping || old == NULL || old->state != PROCESS_UP)
		return;
	/* Without memory for two, the one is killed and comes again. */
	if (!master_start_zygote(m)) {
		process_kill(old);
		return;
	}
	m->zygotes_ending++;
	old->kind = &master_old_zygote_kind;
	if (old->spawning == 0)
		process_end(old);
	listener_update(m);
}

/* keys. */

static bool
master_serve_keys_violation(void *arg, const union message_any *any, int *fds)
{
	const struct message_keys_violation *v = &any->message_keys_violation;
	struct process *p = arg;
	struct session *s = session_find(p->m, v->session);

	if (v->kind < CHANNEL_VIOLATION || v->kind >= CHANNEL_RESULTS)
		return false;
	if (s != NULL)
		session_violation(s, "keys", (enum channel_result)v->kind);
	return true;
}

static void
master_keys_up(struct process *p)
{
	struct master *m = p->m;

	if (generation_send_all(m, p))
		identity_keys_up(p);
}

static void
master_keys_down(struct process *p, bool died)
{
	struct master *m = p->m;

	p->status_asked = p->status_answered = p->status_logged = 0;
	identity_keys_down(p);
	master_update(m);
	control_progress(m);
}

static const struct channel_rule master_keys_rules[] = {
	{ MESSAGE_KEYS_STATUS, CHANNEL_ANY_STATE, false, status_serve_keys },
	{ MESSAGE_IDENTITY_READ, CHANNEL_ANY_STATE, false,
	    identity_serve_read },
	{ MESSAGE_KEYS_VIOLATION, CHANNEL_ANY_STATE, false,
	    master_serve_keys_violation },
};

static const struct process_kind master_keys_kind = {
	.role = ROLE_KEYS,
	.restart = true,
	.rules = master_keys_rules,
	.rule_count = sizeof(master_keys_rules) / sizeof(master_keys_rules[0]),
	.up = master_keys_up,
	.down = master_keys_down,
};

static void
master_start_keys(struct master *m)
{
	m->keys_count = process_wanted(m->config->keys_processes);
	m->keys = process_start_all(m, &master_keys_kind, m->keys_count);
}

/* Serving or not. */

void
master_update(struct master *m)
{
	listener_update(m);
	if (!m->listening || m->ready)
		return;
	m->ready = true;
	log_event(m->log, LOG_NOTICE, "ready", "pid=%d ms=%llu", (int)m->pid,
	    (unsigned long long)(master_now() - m->start_ms));
	notify_send(
	    m->notify_fd, "READY=1\nMAINPID=%d\nSTATUS=Serving", (int)m->pid);
	if (m->ready_fd != -1) {
		daemon_ready(m->ready_fd, m->null_fd);
		m->ready_fd = -1;
	}
}

static void
master_delay_over(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	m->delaying = false;
	listener_update(m);
}

void
master_count_attack(struct master *m)
{
	uint64_t now = master_now(), ms;
	struct timeval tv;
	unsigned count = 0;
	size_t i;

	m->counters.attacks++;
	m->attack_ms[m->attack_next] = now;
	m->attack_next = (m->attack_next + 1) % MASTER_ATTACKS;
	for (i = 0; i < MASTER_ATTACKS; i++)
		if (m->attack_ms[i] != 0 &&
		    now - m->attack_ms[i] < MASTER_ATTACK_MS)
			count++;
	master_replace_zygote(m);
	if (count <= MASTER_ATTACK_MANY || m->stopping)
		return;
	ms = 1000ULL << (count - MASTER_ATTACK_MANY - 1);
	if (count - MASTER_ATTACK_MANY > 6 || ms > MASTER_DELAY_MAX_MS)
		ms = MASTER_DELAY_MAX_MS;
	log_event(m->log, LOG_ALERT, "accept-delayed",
	    "attacks=%u within_s=%d delay_ms=%llu", count,
	    MASTER_ATTACK_MS / 1000, (unsigned long long)ms);
	tv.tv_sec = (time_t)(ms / 1000);
	tv.tv_usec = (suseconds_t)(ms % 1000) * 1000;
	if (m->delaying)
		evtimer_del(&m->delay_event);
	evtimer_assign(&m->delay_event, m->base, master_delay_over, m);
	master_set_timer(&m->delay_event, &tv);
	m->delaying = true;
	listener_update(m);
}

/* Stopping. */

static void
master_end_helpers(struct master *m)
{
	unsigned i;

	if (m->zygote != NULL)
		process_end(m->zygote);
	for (i = 0; i < m->keys_count; i++)
		process_end(&m->keys[i]);
	for (i = 0; i < m->auth_count; i++)
		process_end(&m->auth[i]);
	generation_stop(m);
}

static unsigned
master_helpers_left(const struct master *m)
{
	unsigned i, left = m->zygotes_ending;

	if (m->zygote != NULL && m->zygote->pidfd != -1)
		left++;
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].pidfd != -1)
			left++;
	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].pidfd != -1)
			left++;
	return left + m->paramgens;
}

/* Time is up: what is left is killed, and the loop ends. */
static void
master_stop_now(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	struct session *s;
	unsigned i;

	TAILQ_FOREACH(s, &m->sessions, entry)
	process_signal(s->pidfd, SIGKILL);
	if (m->zygote != NULL)
		process_kill(m->zygote);
	for (i = 0; i < m->keys_count; i++)
		process_kill(&m->keys[i]);
	for (i = 0; i < m->auth_count; i++)
		process_kill(&m->auth[i]);
	event_base_loopbreak(m->base);
}

/* All sessions and helpers are told to end, and get a moment for it. */
static void
master_stop_sessions(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval tv = { MASTER_END_MS / 1000,
		MASTER_END_MS % 1000 * 1000 };
	struct master *m = arg;
	struct session *s, *next;

	if (m->stopped)
		return;
	m->stopped = true;
	evtimer_del(&m->stop_event);
	evtimer_assign(&m->stop_event, m->base, master_stop_now, m);
	master_set_timer(&m->stop_event, &tv);
	TAILQ_FOREACH_SAFE(s, &m->sessions, entry, next)
	session_end(s, "shutdown");
	master_end_helpers(m);
	master_stop_progress(m);
}

void
master_stop_progress(struct master *m)
{
	if (!m->stopping)
		return;
	if (!m->stopped) {
		if (m->counters.handshaking == 0)
			event_active(&m->stop_event, EV_TIMEOUT, 0);
		return;
	}
	if (TAILQ_EMPTY(&m->sessions) && master_helpers_left(m) == 0)
		event_base_loopbreak(m->base);
}

static void
master_stop(struct master *m)
{
	const struct timeval tv = { MASTER_STOP_MS / 1000, 0 };

	if (m->stopping) {
		master_stop_now(-1, 0, m);
		return;
	}
	m->stopping = true;
	notify_send(m->notify_fd, "STOPPING=1\nSTATUS=Stopping");
	log_event(m->log, LOG_NOTICE, "shutdown", "sessions=%u handshaking=%u",
	    m->counters.now, m->counters.handshaking);
	listener_update(m);
	listener_close_all(m);
	/* The next server may have it. */
	control_stop(m);
	evtimer_assign(&m->stop_event, m->base, master_stop_sessions, m);
	master_set_timer(&m->stop_event, &tv);
	master_stop_progress(m);
}

/* Configuration. */

/* Where the reader's messages go: the terminal, and the log once it is. */
static void
master_report(void *arg, enum config_severity severity, const char *text)
{
	struct master *m = arg;
	char quoted[1536];

	if (severity == CONFIG_ERROR && m->error[0] == '\0')
		strlcpy(m->error, text, sizeof(m->error));
	if (m->log == NULL || (!m->ready && !m->log_on_stderr))
		fprintf(stderr, "flexmusicd: %s%s\n",
		    severity == CONFIG_WARNING ? "warning: " : "", text);
	if (m->log != NULL)
		log_event(m->log,
		    severity == CONFIG_WARNING ? LOG_WARNING : LOG_ERR,
		    severity == CONFIG_WARNING ? "config-warning"
					       : "config-error",
		    "text=%s",
		    log_quote(quoted, sizeof(quoted), text, strlen(text)));
}

/* The descriptors that a configuration needs; false where they don't fit. */
static bool
master_check_descriptors(
    const struct master *m, const struct config *c, char *why, size_t why_len)
{
	unsigned long needed =
	    (unsigned long)c->max_connections * MASTER_PER_SESSION +
	    MASTER_DESCRIPTORS + c->hosts;

	/* A channel and a pidfd for each of those that serve workers, and for
	 * each process of a search. */
	needed += 2UL *
	    (search_processors() + process_wanted(c->auth_processes) +
		process_wanted(c->keys_processes));

	if (needed <= m->nofile)
		return true;
	snprintf(why, why_len,
	    "max_connections = %u needs %lu descriptors, and the limit is %u: "
	    "raise it (ulimit -Hn, LimitNOFILE=) or lower max_connections",
	    c->max_connections, needed, m->nofile);
	return false;
}

static bool
master_apply(struct master *m, struct config *next)
{
	struct config *old = m->config;
	bool fresh_zygote = old->max_connections != next->max_connections;
	char why[256];

	if (!config_keep_restart_keys(next, old, master_report, m))
		snprintf(why, sizeof(why), "no memory for a configuration");
	else if ((m->auth_ready > 0 ||
		     auth_check_users(m, next, why, sizeof(why))) &&
	    master_check_descriptors(m, next, why, sizeof(why)) &&
	    listener_prepare(m, next, why, sizeof(why)))
		why[0] = '\0';
	if (why[0] != '\0') {
		master_report(m, CONFIG_ERROR, why);
		return false;
	}
	m->config = next;
	listener_commit(m);
	log_set_facility(m->log, next->syslog_facility);
	sources_set_limits(m->sources, &next->limits);
	config_free(old);
	identity_update(m);
	auth_update(m);
	master_update(m);
	/* The limit of a zygote's user goes with the number of sessions. */
	if (fresh_zygote)
		master_replace_zygote(m);
	return true;
}

/* systemd compares the time with that of its signal. */
static void
master_notify_reload(struct master *m)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	notify_send(m->notify_fd, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)ts.tv_sec * 1000000 +
		(unsigned long long)ts.tv_nsec / 1000);
}

/* The file, and which sockets there are. */
static struct config *
master_read_config(struct master *m)
{
	struct config_host host[CONFIG_HOSTS_MAX];
	struct config *c;
	size_t i;

	c = config_load(m->config_path, m->as_root, master_report, m);
	if (c == NULL)
		return NULL;
	for (i = 0; i < m->passed.count; i++)
		host[i] = m->passed.socket[i].host;
	if (m->passed.count > 0)
		config_replace_hosts(
		    c, host, m->passed.count, master_report, m);
	config_warn_of_no_auth(c, master_report, m);
	return c;
}

bool
master_reload(struct master *m, const char *why)
{
	struct config *next;

	strlcpy(m->error, "the server is stopping", sizeof(m->error));
	if (m->stopping)
		return false;
	m->error[0] = '\0';
	if (m->ready)
		master_notify_reload(m);
	next = master_read_config(m);
	if (next != NULL && !master_apply(m, next)) {
		config_free(next);
		next = NULL;
	}
	if (next != NULL)
		log_event(
		    m->log, LOG_NOTICE, "reload", "file=%s", m->config_path);
	else
		log_event(m->log, LOG_ERR, "reload-failed",
		    "file=%s kept=\"the running configuration\"",
		    m->config_path);
	if (m->ready)
		notify_send(m->notify_fd, "READY=1\nSTATUS=Serving");
	stock_reload(m);
	generation_rotate(m, why);
	return next != NULL;
}

static void
master_signal(evutil_socket_t number, short what, void *arg)
{
	struct master *m = arg;

	log_event(m->log, LOG_DEBUG, "signal", "signal=%d", (int)number);
	switch (number) {
	case SIGHUP:
		(void)master_reload(m, "signal");
		break;
	case SIGUSR1:
		status_request(m);
		break;
	default:
		master_stop(m);
	}
}

static void
master_catch_signals(struct master *m)
{
	static const int numbers[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1 };
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (evsignal_assign(&m->signal_event[i], m->base, numbers[i],
			master_signal, m) == -1 ||
		    evsignal_add(&m->signal_event[i], NULL) == -1)
			master_fatal(m, "cannot catch signals");
}

/* The hard limit of descriptors, raised to. */
static void
master_raise_descriptors(struct master *m)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		master_fatal(m, "getrlimit: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	m->nofile = limit.rlim_max > UINT32_MAX - 1 ? UINT32_MAX - 1
						    : (uint32_t)limit.rlim_max;
}

static void
master_open_program(struct master *m, enum role_program program)
{
	char path[1024];

	m->program_fd[program] =
	    daemon_open_program(role_program_name[program], path, sizeof(path));
	if (m->program_fd[program] == -1)
		master_fatal(m,
		    "no %s beside flexmusicd, and %s: %s: `make install' puts "
		    "it there",
		    role_program_name[program], path, strerror(errno));
}

void
master_open(struct master *m, bool server)
{
	char why[512];
	uid_t owner = m->as_root ? 0 : geteuid();

	m->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	m->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	m->program_fd[PROGRAM_DAEMON] = daemon_open_self();
	m->program_fd[PROGRAM_WORKER] = m->program_fd[PROGRAM_PAM] = -1;
	if (m->null_fd == -1 || m->program_fd[PROGRAM_DAEMON] == -1)
		master_fatal(
		    m, "/dev/null or /proc/self/exe: %s", strerror(errno));
	if (server)
		master_open_program(m, PROGRAM_WORKER);
	if (server && m->config->auth_method == CONFIG_AUTH_SYSTEM)
		master_open_program(m, PROGRAM_PAM);
	if (m->as_root)
		m->chroot_fd = daemon_open_chroot(
		    m->config->chroot_dir, owner, why, sizeof(why));
	else {
		m->chroot_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		snprintf(why, sizeof(why), "/: %s", strerror(errno));
	}
	if (m->chroot_fd == -1)
		master_fatal(m, "%s", why);
}

static void
master_self_tests(struct master *m)
{
	static const enum role_id role[] = { ROLE_ZYGOTE, ROLE_WORKER,
		ROLE_KEYS, ROLE_PARAMGEN, ROLE_AUTH };
	size_t i;

	if (m->config->auth_method == CONFIG_AUTH_SYSTEM) {
		/* Else PAM would take what is for services without a file. */
		if (access(MASTER_PAM_FILE, F_OK) == -1)
			master_fatal(m,
			    MASTER_PAM_FILE ": %s: auth_method = system needs "
					    "it; `make install' puts it there",
			    strerror(errno));
		if (!process_self_test(m, ROLE_PAM))
			master_fatal(m,
			    "the self-test of pam failed: see what PAM has "
			    "logged (facility authpriv) "
			    "about " MASTER_PAM_FILE);
	}

	for (i = 0; i < sizeof(role) / sizeof(role[0]); i++)
		if (!process_self_test(m, role[i]))
			master_fatal(m, "the self-test of %s failed",
			    roles[role[i]].name);
}

static void
master_log_start(struct master *m)
{
	log_event(m->log, LOG_NOTICE, "start",
	    "version=%s pid=%d config=%s key_size=%u auth_method=%s "
	    "openssl=%s libevent=%s",
	    FLEXMUSIC_VERSION, (int)m->pid, m->config_path, m->config->key_size,
	    config_auth_name(m->config->auth_method),
	    OpenSSL_version(OPENSSL_VERSION_STRING), event_get_version());
	log_event(m->log, LOG_NOTICE, "sandbox-layers",
	    "users=%s chroot=%s capabilities=%s seccomp=yes landlock_abi=%d",
	    m->as_root ? "yes" : "no", m->as_root ? "yes" : "no",
	    m->as_root ? "limited" : "none", sandbox_landlock_abi());
	if (!m->as_root)
		log_event(m->log, LOG_WARNING, "unprivileged",
		    "missing=\"separate users, chroot\" why=\"started without "
		    "root\"");
	if (m->config->auth_method == CONFIG_AUTH_SYSTEM &&
	    !sandbox_has_audit())
		log_event(m->log, LOG_WARNING, "layer-missing",
		    "layer=audit why=\"without CAP_AUDIT_WRITE, PAM may refuse "
		    "everybody where the kernel has an audit log\"");
	if (sandbox_landlock_abi() == 0)
		log_event(m->log, LOG_WARNING, "layer-missing",
		    "layer=landlock why=\"the kernel has none\"");
}

static void
master_start(struct master *m)
{
	uid_t owner = m->as_root ? 0 : geteuid();
	char why[512];

	if (!master_check_descriptors(m, m->config, why, sizeof(why)))
		master_fatal(m, "%s", why);
	m->base = event_base_new();
	if (m->base == NULL)
		master_fatal(m, "no event loop");
	log_attach(m->log, m->base);
	master_catch_signals(m);
	if (!stock_open(m, owner, why, sizeof(why)) ||
	    !auth_check_users(m, m->config, why, sizeof(why)))
		master_fatal(m, "%s", why);
	m->sources = sources_new();
	if (m->sources == NULL)
		master_fatal(m, "no memory");
	sources_set_limits(m->sources, &m->config->limits);
	if (!listener_take_passed(m, why, sizeof(why)) ||
	    !listener_prepare(m, m->config, why, sizeof(why)))
		master_fatal(m, "%s", why);
	listener_commit(m);
	if (!control_start(m, why, sizeof(why)))
		master_fatal(m, "%s", why);
	master_self_tests(m);
	if (m->config->pid_file != NULL &&
	    !daemon_write_pid(m->config->pid_file, m->pid))
		master_fatal(
		    m, "pid_file %s: %s", m->config->pid_file, strerror(errno));
	master_log_start(m);
	master_start_keys(m);
	auth_update(m);
	if (!master_start_zygote(m))
		master_fatal(m, "no memory");
	generation_rotate(m, "start");
}

static void
master_usage(void)
{
	fprintf(stderr,
	    "usage: flexmusicd [-dFnVv] [-f file]\n"
	    "       flexmusicd -G bits [-f file] [-o directory]\n"
	    "       flexmusicd -I [-f file]\n");
	exit(2);
}

/* -n: what is in effect, and with root whether the sandboxes hold. */
static int
master_check_only(struct master *m)
{
	char why[256];

	if (!master_check_descriptors(m, m->config, why, sizeof(why)))
		master_fatal(m, "%s", why);
	if (!auth_check_users(m, m->config, why, sizeof(why)))
		master_report(m, CONFIG_WARNING, why);
	if (m->as_root) {
		master_open(m, true);
		master_self_tests(m);
	}
	config_print(m->config, stdout);
	if (fflush(stdout) != 0 || ferror(stdout))
		master_fatal(m, "standard output: %s", strerror(errno));
	log_free(m->log, 0);
	return 0;
}

/* The size that -G was given, or the end. */
static unsigned
master_parse_bits(const char *text)
{
	const char *error;
	long long bits;

	bits = strtonum(text, 1, UINT_MAX, &error);
	if (error == NULL && dh_bits_valid((unsigned)bits)) {
		if (bits < 2048)
			fprintf(stderr,
			    "flexmusicd: warning: %lld bits are weak: for "
			    "tests alone\n",
			    bits);
		return (unsigned)bits;
	}
	fprintf(stderr,
	    "flexmusicd: -G %s: must be 2048, 3072, 4096, 6144 or 8192 (or "
	    "1024, for tests)\n",
	    text);
	exit(2);
}

/*
 * The configuration.  -G does without a file where there is none, and then
 * without the server's users too: a machine may not have them yet.
 */
static struct config *
master_load(struct master *m, bool optional)
{
	struct config *c;

	if (m->config_path == NULL) {
		m->config_path = MASTER_CONFIG;
		if (optional && access(MASTER_CONFIG, F_OK) == -1 &&
		    errno == ENOENT) {
			c = config_parse("built-in configuration", "", false,
			    master_report, m);
			if (c != NULL && m->as_root)
				c->keys_user.uid = c->keys_user.gid =
				    MASTER_NOBODY;
			return c;
		}
	}
	return master_read_config(m);
}

int
master_main(int argc, char **argv)
{
	static struct master m;
	const char *directory = NULL;
	char why[256];
	unsigned generate = 0; /* bits, with -G */
	bool check = false, renew = false;
	int c;

	m.notify_fd = m.ready_fd = m.chroot_fd = m.reserve_fd = -1;
	m.start_ms = master_now();
	TAILQ_INIT(&m.listeners);
	TAILQ_INIT(&m.next_listeners);
	TAILQ_INIT(&m.generations);
	TAILQ_INIT(&m.sessions);
	TAILQ_INIT(&m.spawning);
	while ((c = getopt(argc, argv, "dFf:G:Ino:Vv")) != -1) {
		switch (c) {
		case 'd':
			m.log_on_stderr = m.foreground = true;
			break;
		case 'F':
			m.foreground = true;
			break;
		case 'f':
			m.config_path = optarg;
			break;
		case 'G':
			generate = master_parse_bits(optarg);
			m.no_server = true;
			break;
		case 'I':
			renew = m.no_server = true;
			break;
		case 'n':
			check = true;
			break;
		case 'o':
			directory = optarg;
			break;
		case 'V':
			printf("flexmusicd %s\n", FLEXMUSIC_VERSION);
			return 0;
		case 'v':
			m.verbosity++;
			break;
		default:
			master_usage();
		}
	}
	if (optind != argc || (directory != NULL && generate == 0) ||
	    (m.no_server && (check || m.foreground)) ||
	    (renew && generate != 0))
		master_usage();

	if (!check && generate == 0 &&
	    !passed_take(&m.passed, why, sizeof(why)))
		master_fatal(&m, "%s", why);
	if (!daemon_inherit_nothing(m.passed.count))
		master_fatal(&m, "/dev/null: %s", strerror(errno));
	m.as_root = geteuid() == 0;
	if (sandbox_forbid_dumps() == -1)
		master_fatal(
		    &m, "cannot forbid core dumps: %s", strerror(errno));
	/* Before any file is opened, so that start and reload see the same
	 * permissions. */
	if (m.as_root && sandbox_limit_master(m.passed.count == 0) == -1)
		master_fatal(&m,
		    "cannot limit the capabilities: %s (SETUID, SETGID, "
		    "SYS_CHROOT, KILL and SETPCAP are needed)",
		    strerror(errno));
	umask(077);
	master_raise_descriptors(&m);
	m.config = master_load(&m, generate != 0);
	if (m.config == NULL)
		return 1;
	if (m.as_root && m.config->auth_method != CONFIG_AUTH_SYSTEM &&
	    sandbox_drop_audit() == -1)
		master_fatal(
		    &m, "cannot limit the capabilities: %s", strerror(errno));
	m.log_on_stderr |= check || m.no_server;
	if (!check && !m.no_server)
		m.notify_fd = notify_open();
	if (!m.foreground && !m.log_on_stderr) {
		m.config_path = realpath(m.config_path, NULL);
		m.ready_fd = m.config_path == NULL ? -1 : daemon_fork();
		if (m.ready_fd == -1)
			master_fatal(&m, "fork: %s", strerror(errno));
	}
	m.pid = getpid();
	setproctitle("master [%s]", m.config_path);
	m.log = log_new(m.log_on_stderr ? NULL : m.config->syslog_socket,
	    m.config->syslog_facility, m.verbosity);
	if (m.log == NULL)
		master_fatal(&m, "no memory");
	if (check)
		return master_check_only(&m);
	if (generate != 0)
		return generate_main(&m, generate, directory);
	if (renew)
		return identity_main(&m);
	master_open(&m, true);
	master_start(&m);
	event_base_dispatch(m.base);

	log_event(m.log, LOG_NOTICE, "stop", "sessions=%llu uptime_s=%llu",
	    (unsigned long long)m.counters.sessions,
	    (unsigned long long)((master_now() - m.start_ms) / 1000));
	master_remove_pid(&m);
	generation_free_all(&m);
	stock_close(&m);
	control_free(&m);
	sources_free(m.sources);
	log_free(m.log, MASTER_LOG_FREE_MS);
	return 0;
}
