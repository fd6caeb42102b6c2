/*
 * tests/fuzz/fuzz_channel_master.c - any messages to the master: from workers,
 * zygote, keys, auth, paramgen, helpers that start, and the control socket.
 *
 * Runs in: the fuzzers alone.  The tables and the functions that serve are the
 * master's own, over real channels; a fork fails always, as where there are
 * too many processes, and any descriptor of a SPAWNED is a worker's.  Each
 * input is a piece of a server's life, and after each step of it the master's
 * books are right: so many sessions, handshakes and descriptors as there are, a
 * violation where one was due, and nobody authenticated but by auth's word.
 *
 * Covers: master/session.c: session_serve_established session_serve_active
 * Covers: master/session.c: session_serve_end session_take_messages
 * Covers: master/session.c: session_serve_spawned session_spawned
 * Covers: master/session.c: session_serve_spawn_failed session_authenticated
 * Covers: master/session.c: session_violation session_end session_refused
 * Covers: master/auth.c: auth_serve_users_read auth_serve_result
 * Covers: master/auth.c: auth_serve_violation auth_serve_begun
 * Covers: master/auth.c: auth_serve_crashed
 * Covers: master/search.c: search_serve_progress search_serve_params
 * Covers: master/stock.c: stock_serve_params
 * Covers: master/status.c: status_serve_keys
 * Covers: master/master.c: master_serve_keys_violation
 * Covers: master/process.c: process_serve_started process_serve_failed
 * Covers: master/process.c: process_test_result process_test_failed
 * Covers: master/process.c: process_test_forked
 * Covers: master/identity.c: identity_serve_read identity_learn
 * Covers: master/identity.c: identity_update identity_give
 * Covers: master/control.c: control_serve control_readable control_run
 * Covers: master/control.c: control_put_row control_put_session control_kill
 * Covers: master/control.c: control_kill_user control_clear_penalties
 * Covers: master/control.c: control_put_penalty control_put_status_row
 */
#include <netinet/in.h>

#include <errno.h>
#include <signal.h>

#include "master/auth.c"
#include "master/control.c"
#include "master/master.c"
#include "master/process.c"
#include "master/search.c"
#include "master/session.c"
#include "master/stock.c"

#include "tests/fuzz/channel.h"

#define SESSIONS_MAX 6
#define STEPS_MAX    60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
pid_t __wrap_fork(void);
int __real_waitid(idtype_t type, id_t id, siginfo_t *info, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options);

/* A helper as the master has it, and its end of the channel. */
struct helper_end {
	struct process process;
	int fd;
};

static struct world {
	struct master m;
	struct helper_end keys, auth, zygote, search, check, starting;
	struct process_test test;
	struct channel test_channel;
	int test_fd;
	int worker[SESSIONS_MAX]; /* ends, by a session's number */
	uint64_t worker_of[SESSIONS_MAX]; /* its session */
	int client; /* of the control socket */
	struct search s;
	uint64_t tests[1];
	struct config *config;
	struct log *log;
	char folder[32];
} world;

pid_t
__wrap_fork(void)
{
	errno = EAGAIN;
	return -1;
}

/* The descriptors of the input are none of a process. */
int
__wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	if (type != P_PIDFD || (options & WNOWAIT) == 0)
		return __real_waitid(type, id, info, options);
	memset(info, 0, sizeof(*info));
	return 0;
}

/* A test's callbacks: what they would start can't be. */
static void
nobody_up(struct process *p)
{
}

static void
nobody_done(void *arg, const struct dh_params *params)
{
}

static const struct process_kind nobody_kind = { .role = ROLE_PARAMGEN,
	.rules = process_start_rules,
	.rule_count = 2,
	.up = nobody_up };

static bool
take_spawn(void *arg, const union message_any *m, int *fds)
{
	int *worker = arg;

	close(fds[0]);
	*worker = fds[1];
	close(fds[2]);
	return true;
}

static bool
take_any(void *arg, const union message_any *m, int *fds)
{
	size_t i;

	for (i = 0; i < message_info[m->header.type].fds; i++)
		close(fds[i]);
	return true;
}

/* What the master says is read, as the helpers would. */
static void
drain(int fd)
{
	static const struct channel_rule rules[] = {
		{ MESSAGE_KEX_CHANNEL, CHANNEL_ANY_STATE, false, take_any },
		{ MESSAGE_STATUS_REQUEST, CHANNEL_ANY_STATE, false, take_any },
		{ MESSAGE_USERS, CHANNEL_ANY_STATE, false, take_any },
		{ MESSAGE_AUTH_CHANNEL, CHANNEL_ANY_STATE, false, take_any },
		{ MESSAGE_LOCKDOWN, CHANNEL_ANY_STATE, false, take_any },
		{ MESSAGE_IDENTITY, CHANNEL_ANY_STATE, false, take_any },
	};
	static union message_any message;
	struct channel c;

	channel_init(&c, fd, rules, sizeof(rules) / sizeof(rules[0]), NULL);
	while (channel_receive(&c, &message) == CHANNEL_OK)
		continue;
}

static void
begin_helper(struct helper_end *h, struct master *m,
    const struct channel_rule *rules, size_t count, void *arg)
{
	int fd[2], room = 0;
	socklen_t len = sizeof(room);

	fuzz_check(channel_pair(fd, false, 0));
	fuzz_check(getsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &room, &len) == 0);
	h->fd = fd[1];
	h->process.m = m;
	h->process.kind = &nobody_kind;
	h->process.pidfd = -1;
	h->process.state = PROCESS_UP;
	h->process.room = room / 2;
	h->process.arg = arg;
	channel_init(&h->process.channel, fd[0], rules, count, &h->process);
}

static void
finish_helper(struct helper_end *h)
{
	close(h->process.channel.fd);
	close(h->fd);
	if (h->process.restart_event.ev_base != NULL)
		evtimer_del(&h->process.restart_event);
}

#define BEGIN_HELPER(h, m, rules, arg) \
	begin_helper(h, m, rules, sizeof(rules) / sizeof(rules[0]), arg)

static void
begin_control(struct world *w)
{
	const struct ucred root = { 1, 0, 0 };
	int fd[2];

	fuzz_check(channel_pair(fd, false, 0));
	fuzz_check(control_begin(&w->m, fd[0], &root));
	w->client = fd[1];
}

/* What no input changes: configuration, log, folder. */
static void
prepare(struct world *w)
{
	char text[512], path[64];
	static const char *const files[] = { "users", "identity" };
	size_t i;
	FILE *f;

	if (w->config != NULL)
		return;
	signal(SIGPIPE, SIG_IGN);
	strlcpy(w->folder, "/tmp/flexmusic-fuzz-XXXXXX", sizeof(w->folder));
	fuzz_check(mkdtemp(w->folder) != NULL);
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", w->folder, files[i]);
		f = fopen(path, "w");
		fuzz_check(f != NULL && fchmod(fileno(f), 0600) == 0);
		fclose(f);
	}
	snprintf(text, sizeof(text),
	    "auth_file = %s/users\nidentity_file = %s/identity\n"
	    "state_dir = %s\nkeep_parameters = 0\n"
	    "control_socket = none\nmax_connections_per_source = 0\n",
	    w->folder, w->folder, w->folder);
	w->config = config_parse("fuzz", text, false, NULL, NULL);
	w->log = log_new("/nonexistent", LOG_DAEMON, 1);
	fuzz_check(w->config != NULL && w->log != NULL);
}

static void
begin_master(struct world *w)
{
	struct source_limits limits;
	struct master *m = &w->m;
	struct generation *g = calloc(1, sizeof(*g));
	char why[512];

	memset(m, 0, sizeof(*m));
	m->config = w->config;
	m->config_path = "/nonexistent";
	m->log = w->log;
	m->pid = getpid();
	m->ready = true;
	m->ready_fd = m->notify_fd = m->reserve_fd = -1;
	m->null_fd = m->chroot_fd = -1;
	m->start_ms = master_now();
	m->base = event_base_new();
	m->sources = sources_new();
	fuzz_check(m->base != NULL && m->sources != NULL && g != NULL);
	memset(&limits, 0, sizeof(limits));
	limits.prefix_ipv4 = 32;
	limits.prefix_ipv6 = 64;
	limits.auth_cooldown_ms = limits.crash_cooldown_ms = 60000;
	sources_set_limits(m->sources, &limits);
	TAILQ_INIT(&m->listeners);
	TAILQ_INIT(&m->next_listeners);
	TAILQ_INIT(&m->generations);
	TAILQ_INIT(&m->sessions);
	TAILQ_INIT(&m->spawning);
	fuzz_check(stock_open(m, geteuid(), why, sizeof(why)));
	g->number = m->generation_last = 1;
	g->params.len = 256;
	TAILQ_INSERT_TAIL(&m->generations, g, entry);
	m->generation = g;
}

static void
begin(struct world *w)
{
	struct master *m = &w->m;
	int fd[2];
	size_t i;

	begin_master(w);
	memset(&w->keys, 0, sizeof(w->keys));
	w->auth = w->zygote = w->search = w->check = w->starting = w->keys;
	memset(&w->s, 0, sizeof(w->s));
	w->tests[0] = 0;
	w->s.m = m;
	w->s.done = nobody_done;
	w->s.state.bits = 2048;
	w->s.since_ms = master_now();
	w->s.count = 1;
	w->s.tests = w->tests;
	w->s.process = &w->search.process;
	BEGIN_HELPER(&w->keys, m, master_keys_rules, NULL);
	BEGIN_HELPER(&w->auth, m, auth_rules, NULL);
	BEGIN_HELPER(&w->zygote, m, session_zygote_rules, NULL);
	BEGIN_HELPER(&w->search, m, search_rules, &w->s);
	BEGIN_HELPER(&w->check, m, stock_check_rules, m->stock);
	BEGIN_HELPER(&w->starting, m, process_start_rules, NULL);
	w->keys.process.kind = &master_keys_kind;
	m->stock->check_bits = 2048;
	strlcpy(m->stock->set.name, "dh-nothing", sizeof(m->stock->set.name));
	m->keys = &w->keys.process;
	m->keys_count = m->keys_up = 1;
	m->keys->serving = true;
	m->identity_serial = 1;
	m->auth = &w->auth.process;
	m->auth_count = m->auth_ready = 1;
	m->auth->serving = true;
	m->users_serial = 1;
	m->zygote = &w->zygote.process;
	m->zygote->state = PROCESS_STARTING; /* it is fresh enough */
	memset(&w->test, 0, sizeof(w->test));
	w->test.m = m;
	w->test.role = ROLE_KEYS;
	fuzz_check(channel_pair(fd, false, 0));
	channel_init(&w->test_channel, fd[0], process_test_rules,
	    sizeof(process_test_rules) / sizeof(process_test_rules[0]),
	    &w->test);
	w->test_fd = fd[1];
	m->control = calloc(1, sizeof(*m->control));
	fuzz_check(m->control != NULL);
	TAILQ_INIT(&m->control->clients);
	m->control->fd = -1;
	begin_control(w);
	for (i = 0; i < SESSIONS_MAX; i++) {
		w->worker[i] = -1;
		w->worker_of[i] = 0;
	}
}

static void
finish(struct world *w)
{
	struct master *m = &w->m;
	struct session *s;
	size_t i;

	/* Books that are kept for the end of a server are not looked at. */
	while ((s = TAILQ_FIRST(&m->sessions)) != NULL)
		session_free(s);
	fuzz_check(m->counters.now == 0 && m->counters.handshaking == 0 &&
	    m->waiting_count == 0 && TAILQ_EMPTY(&m->spawning));
	control_free(m);
	close(w->client);
	for (i = 0; i < SESSIONS_MAX; i++)
		if (w->worker[i] != -1)
			close(w->worker[i]);
	generation_stop(m);
	stock_close(m);
	finish_helper(&w->keys);
	finish_helper(&w->auth);
	finish_helper(&w->zygote);
	finish_helper(&w->search);
	finish_helper(&w->check);
	finish_helper(&w->starting);
	close(w->test_channel.fd);
	close(w->test_fd);
	generation_free_all(m);
	sources_free(m->sources);
	free(m->waiting);
	event_base_free(m->base);
}

/* What friends of the master would say. */
static void
fill(void *arg, enum message_type type, union message_any *m)
{
	const struct world *w = arg;
	const struct session *s = TAILQ_FIRST(&w->m.sessions);
	const struct session *spawning = TAILQ_FIRST(&w->m.spawning);
	uint64_t id = s != NULL ? s->id : 0;
	struct stat st;

	if (type == MESSAGE_SPAWNED)
		m->message_spawned.session = spawning ? spawning->id : 0;
	else if (type == MESSAGE_SPAWN_FAILED)
		m->message_spawn_failed.session = spawning ? spawning->id : 0;
	else if (type == MESSAGE_ESTABLISHED)
		memcpy(m->message_established.client.name, "FlexMusic", 9);
	else if (type == MESSAGE_AUTH_RESULT) {
		m->message_auth_result.session = id;
		memcpy(m->message_auth_result.user, "ada", 3);
	} else if (type == MESSAGE_AUTH_VIOLATION) {
		m->message_auth_violation.session = id;
		m->message_auth_violation.kind = CHANNEL_TYPE;
	} else if (type == MESSAGE_AUTH_BEGUN)
		m->message_auth_begun.session = id;
	else if (type == MESSAGE_AUTH_CRASHED)
		m->message_auth_crashed.session = id;
	else if (type == MESSAGE_KEYS_VIOLATION) {
		m->message_keys_violation.session = id;
		m->message_keys_violation.kind = CHANNEL_TYPE;
	} else if (type == MESSAGE_USERS_READ)
		m->message_users_read.serial = w->m.users_serial;
	else if (type == MESSAGE_IDENTITY_READ)
		m->message_identity_read.serial = w->m.identity_serial;
	else if (type == MESSAGE_PARAMS)
		m->message_params.params.len = 256;
	else if (type == MESSAGE_CONTROL) {
		m->message_control.version = CONTROL_VERSION;
		memcpy(m->message_control.user, "ada", 3);
		memcpy(m->message_control.file, "users", 5);
		m->message_control.number = id;
		if (stat(w->folder, &st) == 0) {
			m->message_control.directory_device = st.st_dev;
			m->message_control.directory_inode = st.st_ino;
		}
	}
}

/* The books are right. */
static void
check_books(const struct world *w)
{
	const struct master *m = &w->m;
	const struct session *s;
	unsigned now = 0, handshaking = 0, waiting = 0, spawning = 0;

	TAILQ_FOREACH(s, &m->sessions, entry)
	{
		now++;
		handshaking += s->generation != NULL;
		spawning += s->state == SESSION_SPAWNING;
		if (s->waiting != 0) {
			waiting++;
			fuzz_check(m->waiting[s->waiting - 1] == s);
		}
		fuzz_check(memchr(s->user, 0, sizeof(s->user)) != NULL);
		fuzz_check(s->user[0] == '\0' || s->lockdown);
		fuzz_check(!s->has_end || s->end.error < FMLTP_ERROR_COUNT);
		fuzz_check(s->state != SESSION_ESTABLISHED ||
		    (s->established_ms != 0 && s->generation == NULL));
		fuzz_check(session_reason(s) != NULL);
	}
	fuzz_check(now == m->counters.now && now <= m->counters.peak &&
	    handshaking == m->counters.handshaking &&
	    waiting == m->waiting_count && spawning == m->zygote->spawning);
	fuzz_check(m->generation->handshakes == handshaking);
	/* keys alone makes it known. */
	fuzz_check(m->keys_up == 1 && m->identity_maker == NULL);
}

static void
new_session(struct world *w, uint8_t what)
{
	static const struct channel_rule rules[] = {
		{ MESSAGE_SPAWN, CHANNEL_ANY_STATE, false, take_spawn },
	};
	static union message_any message;
	struct sockaddr_in sin = { .sin_family = AF_INET };
	const struct sockaddr *sa = (const struct sockaddr *)&sin;
	struct channel c;
	int *worker = &w->worker[w->m.session_last % SESSIONS_MAX];

	if (w->m.counters.now >= SESSIONS_MAX || *worker != -1)
		return;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK + what % 2);
	fuzz_check(session_find_keys(&w->m));
	if (source_admit(w->m.sources, sa, master_now()) != SOURCE_ADMITTED)
		return;
	session_begin(&w->m, eventfd(0, EFD_CLOEXEC), sa, sizeof(sin));
	w->worker_of[(w->m.session_last - 1) % SESSIONS_MAX] =
	    w->m.session_last;
	channel_init(&c, w->zygote.fd, rules, 1, worker);
	fuzz_check(channel_receive(&c, &message) == CHANNEL_OK);
}

/* Any message to a table, which sees it as the process's would. */
static void
say(struct world *w, struct fuzz_input *in, int fd, struct channel *c)
{
	struct fuzz_message m;

	fuzz_message_take(&m, in, c->rules, c->rule_count, fill, w);
	/* A helper of another build is the end of the server. */
	if (m.header.type == MESSAGE_FAILED &&
	    m.any.message_failed.step == SANDBOX_BUILD)
		m.any.message_failed.step = SANDBOX_SECCOMP;
	fuzz_check(fuzz_message_send_any(fd, &m));
	if (fuzz_message_receive(&m, c) >= CHANNEL_VIOLATION)
		c->used = 0; /* it is killed, and there is another */
}

/* The session whose worker this is. */
static struct session *
session_of(struct world *w, size_t place)
{
	struct session *s;

	/* Others of this place may linger, with their workers gone. */
	TAILQ_FOREACH(s, &w->m.sessions, entry)
	if (s->id == w->worker_of[place])
		return s;
	return NULL;
}

static void
worker_says(struct world *w, struct fuzz_input *in)
{
	size_t place = fuzz_u8(in) % SESSIONS_MAX;
	struct session *s = session_of(w, place);
	struct fuzz_message m;
	enum channel_result expected;
	uint64_t attacks = w->m.counters.attacks;

	if (s == NULL || s->state == SESSION_SPAWNING || s->channel.fd == -1 ||
	    w->worker[place] == -1)
		return;
	drain(w->worker[place]);
	fuzz_message_take(&m, in, session_worker_rules,
	    sizeof(session_worker_rules) / sizeof(session_worker_rules[0]),
	    fill, w);
	expected =
	    s->has_end ? CHANNEL_EMPTY : fuzz_message_expect(&m, &s->channel);
	fuzz_check(fuzz_message_send_any(w->worker[place], &m) || s->has_end);
	session_take_messages(s);
	if (expected >= CHANNEL_VIOLATION)
		fuzz_check(s->attack && s->channel.fd == -1 &&
		    s->ended_by_master != NULL);
	if (w->m.counters.attacks != attacks)
		fuzz_check(s->attack);
	if (expected == CHANNEL_OK && m.header.type == MESSAGE_END &&
	    !s->attack)
		fuzz_check(s->has_end && s->state == SESSION_ENDED &&
		    memcmp(&s->end, m.bytes, sizeof(s->end)) == 0);
	drain(w->auth.fd);
}

/* A worker closes its channel, or is gone; the master ends a session. */
static void
session_goes(struct world *w, struct fuzz_input *in)
{
	size_t place = fuzz_u8(in) % SESSIONS_MAX;
	struct session *s = session_of(w, place);
	uint8_t what = fuzz_u8(in) % 5;

	if (s == NULL)
		return;
	if (what == 0)
		session_end(s, "killed");
	else if (what == 1 && s->state != SESSION_SPAWNING)
		session_timeout(-1, EV_TIMEOUT, s);
	else if (w->worker[place] != -1) {
		close(w->worker[place]);
		w->worker[place] = -1;
	}
	if (what == 2)
		return;
	if (s->state != SESSION_SPAWNING)
		session_take_messages(s);
	if (what == 3 && s->state != SESSION_SPAWNING) {
		session_log_end(s);
		session_refused(s);
		session_free(s);
	}
}

static void
control_says(struct world *w, struct fuzz_input *in)
{
	static union message_any row;
	struct control_client *c = TAILQ_FIRST(&w->m.control->clients);
	struct fuzz_message m;
	enum channel_result expected;
	uint8_t command = fuzz_u8(in);
	ssize_t n;

	fuzz_message_take(&m, in, control_rules, 1, fill, w);
	expected = fuzz_message_expect(&m, &c->channel);
	if (m.header.type == MESSAGE_CONTROL && command % 16 < CONTROL_COMMANDS)
		m.any.message_control.command = command % 16;
	fuzz_check(fuzz_message_send_any(w->client, &m));
	control_readable(c->channel.fd, EV_READ, c);
	if (w->m.control->count == 0) {
		close(w->client);
		begin_control(w);
		return;
	}
	fuzz_check(expected == CHANNEL_OK);
	if (c->waiting && command % 32 < 16)
		control_progress(&w->m);
	if (c->waiting)
		control_timeout(-1, EV_TIMEOUT, c);
	while (c->answering)
		control_writable(c->channel.fd, EV_WRITE, c);
	do {
		n = recv(w->client, &row, sizeof(row), MSG_DONTWAIT);
		fuzz_check(n > 0 && row.header.type < MESSAGE_TYPES &&
		    n == message_info[row.header.type].size);
	} while (row.header.type != MESSAGE_CONTROL_DONE);
	fuzz_check(row.message_control_done.result < CONTROL_RESULTS &&
	    memchr(row.message_control_done.text, 0, CONTROL_TEXT_MAX) != NULL);
	drain(w->keys.fd);
	drain(w->auth.fd);
}

/* One step. */
static void
step(struct world *w, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	struct helper_end *h = NULL;

	switch (what % 16) {
	case 0:
	case 1:
		new_session(w, what / 16);
		break;
	case 2:
	case 3:
		h = &w->zygote;
		break;
	case 4:
	case 5:
	case 6:
		worker_says(w, in);
		break;
	case 7:
		session_goes(w, in);
		break;
	case 8:
		h = &w->keys;
		break;
	case 9:
	case 10:
		h = &w->auth;
		break;
	case 11:
		h = &w->search;
		break;
	case 12:
		h = &w->check;
		break;
	case 13:
		say(w, in, w->test_fd, &w->test_channel);
		break;
	case 14:
		h = &w->starting;
		break;
	default:
		control_says(w, in);
	}
	if (h != NULL)
		say(w, in, h->fd, &h->process.channel);
	drain(w->keys.fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	int lowest, i;

	prepare(&world);
	lowest = fuzz_lowest_fd();
	begin(&world);
	for (i = 0; i < STEPS_MAX && in.left > 0; i++) {
		step(&world, &in);
		check_books(&world);
	}
	finish(&world);
	fuzz_check(fuzz_lowest_fd() == lowest);
	return 0;
}
