/*
 * master/control.c - the control socket: who may ask, what is done, and the
 * answer, a few rows for one wake-up.
 *
 * Runs in: master, as root.  It takes messages of fixed size from root and
 * the members of control_group, and never waits for any of them.
 */
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/control.h"
#include "master/master.h"

#define CONTROL_CLIENTS	  16 /* at a time */
#define CONTROL_OTHERS	  12 /* of them, that are not the server's own user */
#define CONTROL_OF_ONE	  4 /* of these, of one user */
#define CONTROL_LINES	  10 /* of theirs in the log within a second */
#define CONTROL_ROWS	  16 /* sent for one wake-up */
#define CONTROL_BACKLOG	  16
#define CONTROL_SILENCE_S 10 /* one that neither asks nor reads is closed */
#define CONTROL_WAIT_S	  3 /* for what helpers have to say */
#define CONTROL_REST_S	  1 /* where no descriptor is left */
#define CONTROL_LOG_MS	  1000 /* between two lines about refusals, and so on */

/* One that asks. */
struct control_client {
	TAILQ_ENTRY(control_client) entry;
	struct master *m;
	uid_t uid;
	pid_t pid;
	struct channel channel;
	struct event read_event;
	struct event write_event;
	struct event timer;
	bool waiting; /* for helpers */
	bool answering; /* rows, and then `done`, go out */
	struct message_control request;
	struct message_control_done done;
	unsigned step; /* of a status */
	struct session *next; /* of a list of sessions */
	uint64_t last; /* the last one of it */
	struct source_cursor at; /* of a list of penalties */
	struct source_cursor at_next;
	uint64_t *asked; /* of each keys, how often */
	uint32_t serial; /* of the users */
};
TAILQ_HEAD(control_client_list, control_client);

struct control {
	int fd; /* -1: it was taken away */
	struct event event;
	struct event rest_event;
	struct stat st; /* of the socket's file */
	bool has_group;
	gid_t group;
	struct control_client_list clients;
	unsigned count;
	uint64_t line_ms[CONTROL_LINES]; /* when others' lines were logged */
	unsigned line_next; /* the oldest of these */
	unsigned left_out; /* lines, since the last */
	uint64_t refused_ms; /* when a refusal was logged */
	unsigned refused; /* since then */
};

static const char *const control_token[CONTROL_COMMANDS] = {
	[CONTROL_STATUS] = "status",
	[CONTROL_SESSIONS] = "sessions",
	[CONTROL_KILL] = "kill",
	[CONTROL_KILL_USER] = "kill-user",
	[CONTROL_RELOAD] = "reload",
	[CONTROL_ROTATE] = "rotate",
	[CONTROL_PENALTIES] = "penalties",
	[CONTROL_PENALTIES_CLEAR] = "penalties-clear",
	[CONTROL_USERS] = "users",
	[CONTROL_LOG] = "log",
};

static void
control_close(struct control_client *c)
{
	struct control *control = c->m->control;

	TAILQ_REMOVE(&control->clients, c, entry);
	control->count--;
	event_del(&c->read_event);
	event_del(&c->write_event);
	evtimer_del(&c->timer);
	close(c->channel.fd);
	free(c->asked);
	free(c);
}

static void
control_set_timer(struct control_client *c, int seconds)
{
	const struct timeval tv = { seconds, 0 };

	master_set_timer(&c->timer, &tv);
}

/* The rows of an answer. */

static void
control_put_status(const struct master *m, struct message_control_status *s)
{
	const struct counters *c = &m->counters;
	const struct generation *g;
	uint64_t now = master_now();

	s->pid = (int32_t)m->pid;
	s->now = c->now;
	s->peak = c->peak;
	s->handshaking = c->handshaking;
	s->uptime_ms = now - m->start_ms;
	s->sessions = c->sessions;
	s->established = c->established;
	s->authenticated = c->authenticated;
	s->auth_failed = c->auth_failed;
	s->penalties = c->penalties;
	s->refused = c->refused;
	s->spawn_failed = c->spawn_failed;
	s->attacks = c->attacks;
	memcpy(s->failed, c->failed, sizeof(s->failed));
	s->log_dropped = log_dropped(m->log);
	s->log_left_out = log_left_out(m->log);
	s->sources = sources_known(m->sources);
	s->listening = m->listening;
	s->verbose = log_verbosity(m->log) > 0;
	s->rotating = m->rotation != NULL;
	s->made_ahead = (uint32_t)stock_count(m);
	s->has_identity = m->has_identity;
	memcpy(s->identity, m->identity, sizeof(s->identity));
	TAILQ_FOREACH(g, &m->generations, entry)
	s->generations++;
	if (m->generation == NULL)
		return;
	s->generation = m->generation->number;
	s->generation_bits = m->generation->params.len * 8u;
	s->generation_age_ms = now - m->generation->since_ms;
	strlcpy(
	    s->fingerprint, m->generation->fingerprint, sizeof(s->fingerprint));
}

/* The process at this place of the list of all but workers; NULL at its
 * end.  The master, at place 0, has no struct process. */
static const struct process *
control_process(const struct master *m, unsigned place, bool *end)
{
	*end = false;
	if (place == 0)
		return NULL;
	place--;
	if (place == 0)
		return m->zygote;
	place--;
	if (place < m->keys_count)
		return &m->keys[place];
	place -= m->keys_count;
	if (place < m->auth_count)
		return &m->auth[place];
	*end = true;
	return NULL;
}

/* False where there is no such process now. */
static bool
control_put_process(const struct master *m, const struct process *p,
    struct message_control_process *row)
{
	if (p != NULL && p->state != PROCESS_UP)
		return false;
	row->role = p == NULL ? ROLE_MASTER : p->kind->role;
	row->instance = p == NULL ? 0 : p->instance;
	row->pid = (int32_t)(p == NULL ? m->pid : p->pid);
	row->memory_kib = status_memory(row->pid);
	if (p != NULL && p->kind->role == ROLE_KEYS) {
		row->has_keys = true;
		row->keys = p->status;
	}
	return true;
}

static enum message_type
control_put_status_row(struct control_client *c, union message_any *row)
{
	const struct process *p;
	bool end;

	if (c->step == 0) {
		control_put_status(c->m, &row->message_control_status);
		return MESSAGE_CONTROL_STATUS;
	}
	for (;; c->step++) {
		p = control_process(c->m, c->step - 1, &end);
		if (end)
			return MESSAGE_NONE;
		if ((p != NULL || c->step == 1) &&
		    control_put_process(c->m, p, &row->message_control_process))
			return MESSAGE_CONTROL_PROCESS;
	}
}

static enum control_phase
control_session_phase(const struct session *s)
{
	if (s->state == SESSION_ENDED || s->ended_by_master != NULL)
		return CONTROL_PHASE_ENDING;
	if (s->state != SESSION_ESTABLISHED)
		return CONTROL_PHASE_HANDSHAKE;
	return s->lockdown && s->user[0] == '\0' ? CONTROL_PHASE_LOCKDOWN
						 : CONTROL_PHASE_SESSION;
}

static enum message_type
control_put_session(const struct control_client *c, union message_any *any)
{
	struct message_control_session *row = &any->message_control_session;
	const struct session *s = c->next;
	uint64_t now = master_now();

	if (s == NULL || s->id > c->last)
		return MESSAGE_NONE;
	row->phase = control_session_phase(s);
	row->session = s->id;
	row->age_ms = now - s->begin_ms;
	row->idle_ms = now - (s->active_ms != 0 ? s->active_ms : s->begin_ms);
	row->pid = (int32_t)s->pid;
	row->generation = s->generation_number;
	row->has_bytes = s->has_end;
	row->bytes_in = s->end.bytes_in;
	row->bytes_out = s->end.bytes_out;
	row->client = s->client;
	strlcpy(row->user, s->user, sizeof(row->user));
	log_address(
	    row->peer, sizeof(row->peer), (const struct sockaddr *)&s->peer);
	return MESSAGE_CONTROL_SESSION;
}

static enum message_type
control_put_penalty(struct control_client *c, union message_any *any)
{
	struct message_control_penalty *row = &any->message_control_penalty;
	struct source_penalty penalty;

	c->at_next = c->at;
	if (!source_next_penalty(
		c->m->sources, &c->at_next, master_now(), &penalty))
		return MESSAGE_NONE;
	row->offence = penalty.offence;
	row->offences = penalty.offences;
	row->left_ms = penalty.left_ms;
	strlcpy(row->source, penalty.text, sizeof(row->source));
	return MESSAGE_CONTROL_PENALTY;
}

/* The next row, or `done`; nothing moves on before it was sent. */
static enum message_type
control_put_row(struct control_client *c, union message_any *row)
{
	enum message_type type = MESSAGE_NONE;

	memset(row, 0, sizeof(*row));
	if (c->done.result == CONTROL_DONE)
		switch (c->request.command) {
		case CONTROL_STATUS:
			type = control_put_status_row(c, row);
			break;
		case CONTROL_SESSIONS:
			type = control_put_session(c, row);
			break;
		case CONTROL_PENALTIES:
			type = control_put_penalty(c, row);
			break;
		}
	if (type != MESSAGE_NONE)
		return type;
	row->message_control_done = c->done;
	return MESSAGE_CONTROL_DONE;
}

static void
control_row_sent(struct control_client *c)
{
	c->step++;
	if (c->next != NULL)
		c->next = TAILQ_NEXT(c->next, entry);
	c->at = c->at_next;
}

/* Sends some; the rest goes when the loop comes by again, or when there is
 * room for it. */
static void
control_writable(evutil_socket_t fd, short what, void *arg)
{
	static union message_any row;
	struct control_client *c = arg;
	enum message_type type;
	unsigned i;

	for (i = 0; i < CONTROL_ROWS; i++) {
		type = control_put_row(c, &row);
		if (!channel_send(c->channel.fd, type, &row)) {
			if (errno == EAGAIN || errno == EWOULDBLOCK)
				break;
			control_close(c);
			return;
		}
		control_set_timer(c, CONTROL_SILENCE_S);
		if (type == MESSAGE_CONTROL_DONE) {
			c->answering = false;
			if (event_add(&c->read_event, NULL) == -1)
				control_close(c);
			return;
		}
		control_row_sent(c);
	}
	if (event_add(&c->write_event, NULL) == -1)
		control_close(c);
}

/* Commands. */

static void
control_answer(struct control_client *c)
{
	c->waiting = false;
	c->answering = true;
	control_set_timer(c, CONTROL_SILENCE_S);
	if (event_add(&c->write_event, NULL) == -1)
		event_active(&c->write_event, EV_WRITE, 0);
}

static void __attribute__((format(printf, 2, 3)))
control_fail(struct control_client *c, const char *fmt, ...)
{
	va_list ap;

	c->done.result = CONTROL_FAILED;
	va_start(ap, fmt);
	vsnprintf(c->done.text, sizeof(c->done.text), fmt, ap);
	va_end(ap);
}

static void
control_kill(struct control_client *c)
{
	struct session *s = session_find(c->m, c->request.number);

	if (s == NULL || control_session_phase(s) == CONTROL_PHASE_ENDING) {
		control_fail(c, "there is no session %llu",
		    (unsigned long long)c->request.number);
		return;
	}
	session_end(s, "killed");
	c->done.count = 1;
}

static void
control_kill_user(struct control_client *c)
{
	struct session *s;

	TAILQ_FOREACH(s, &c->m->sessions, entry)
	{
		if (strcmp(s->user, c->request.user) != 0 ||
		    control_session_phase(s) == CONTROL_PHASE_ENDING)
			continue;
		session_end(s, "killed");
		c->done.count++;
	}
}

static void
control_clear_penalties(struct control_client *c)
{
	const struct message_control *r = &c->request;
	struct sockaddr_storage address;
	struct sockaddr_in *sin = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&address;

	memset(&address, 0, sizeof(address));
	address.ss_family = (sa_family_t)r->family;
	if (r->family == AF_INET)
		memcpy(&sin->sin_addr, r->address, sizeof(sin->sin_addr));
	else if (r->family == AF_INET6)
		memcpy(&sin6->sin6_addr, r->address, sizeof(sin6->sin6_addr));
	c->done.count = source_clear(c->m->sources,
	    r->family == AF_UNSPEC ? NULL : (struct sockaddr *)&address,
	    master_now());
}

/* Asks every keys for its figures. */
static void
control_ask_keys(struct control_client *c)
{
	struct master *m = c->m;
	unsigned i;

	c->asked = calloc(m->keys_count, sizeof(*c->asked));
	if (c->asked == NULL)
		return; /* their last ones will do */
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP) {
			status_ask(&m->keys[i], false);
			c->asked[i] = m->keys[i].status_asked;
		}
	c->waiting = true;
}

/* Is it this file that the server has its users from?  Its own inode tells
 * nothing: a change gives the name to a new one. */
static bool
control_is_users_file(const struct control_client *c)
{
	const char *path = c->m->config->auth_file, *name;
	char directory[PATH_MAX];
	struct stat st;

	name = strrchr(path, '/') + 1;
	if (strcmp(name, c->request.file) != 0 ||
	    (size_t)(name - path) >= sizeof(directory))
		return false;
	memcpy(directory, path, (size_t)(name - path));
	directory[name - path] = '\0';
	return stat(directory, &st) == 0 &&
	    st.st_dev == c->request.directory_device &&
	    st.st_ino == c->request.directory_inode;
}

static void
control_read_users(struct control_client *c)
{
	struct master *m = c->m;

	if (m->config->auth_method != CONFIG_AUTH_AUTH)
		strlcpy(c->done.text,
		    m->config->auth_method == CONFIG_AUTH_NONE
			? "the running server authenticates nobody"
			: "the running server has no users file: it asks PAM",
		    sizeof(c->done.text));
	else if (!control_is_users_file(c))
		snprintf(c->done.text, sizeof(c->done.text),
		    "the running server has its users in %.400s",
		    m->config->auth_file);
	else {
		auth_update(m);
		c->serial = m->users_serial;
		c->waiting = true;
	}
}

/* The table is in use: who was removed from it cannot authenticate any
 * more, so whoever has done so goes now. */
static void
control_users_read(struct control_client *c)
{
	const struct master *m = c->m;
	unsigned i;

	if (c->request.user[0] != '\0')
		control_kill_user(c);
	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].state == PROCESS_UP &&
		    m->auth[i].users_error[0] != '\0') {
			control_fail(c, "%s", m->auth[i].users_error);
			return;
		}
}

static void
control_run(struct control_client *c)
{
	const struct message_control *r = &c->request;
	struct master *m = c->m;

	switch (r->command) {
	case CONTROL_STATUS:
		control_ask_keys(c);
		break;
	case CONTROL_SESSIONS:
		c->next = TAILQ_FIRST(&m->sessions);
		c->last = m->session_last;
		break;
	case CONTROL_KILL:
		control_kill(c);
		break;
	case CONTROL_KILL_USER:
		control_kill_user(c);
		break;
	case CONTROL_RELOAD:
		if (!master_reload(m, "control"))
			control_fail(c, "%s", m->error);
		break;
	case CONTROL_ROTATE:
		if (m->stopping)
			control_fail(c, "the server is stopping");
		else
			generation_rotate(m, "control");
		break;
	case CONTROL_PENALTIES_CLEAR:
		control_clear_penalties(c);
		break;
	case CONTROL_USERS:
		control_read_users(c);
		break;
	case CONTROL_LOG:
		log_set_verbosity(m->log, r->number != 0);
		break;
	}
}

/* Has everything come that it waits for? */
static bool
control_arrived(const struct control_client *c)
{
	const struct master *m = c->m;
	unsigned i;

	if (c->request.command == CONTROL_STATUS) {
		for (i = 0; i < m->keys_count; i++)
			if (m->keys[i].state == PROCESS_UP &&
			    m->keys[i].status_asked >= c->asked[i] &&
			    m->keys[i].status_answered < c->asked[i])
				return false;
		return true;
	}
	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].state == PROCESS_UP &&
		    m->auth[i].users_read < c->serial)
			return false;
	return true;
}

static void
control_go_on(struct control_client *c, bool arrived)
{
	if (c->request.command == CONTROL_USERS) {
		control_users_read(c);
		if (!arrived)
			control_fail(c, "the authenticators do not answer");
	}
	control_answer(c);
}

void
control_progress(struct master *m)
{
	struct control_client *c;

	if (m->control == NULL)
		return;
	TAILQ_FOREACH(c, &m->control->clients, entry)
	if (c->waiting && control_arrived(c))
		control_go_on(c, true);
}

void
control_session_gone(const struct session *s)
{
	struct control_client *c;

	if (s->m->control == NULL)
		return;
	TAILQ_FOREACH(c, &s->m->control->clients, entry)
	if (c->next == s)
		c->next = TAILQ_NEXT(s, entry);
}

static void
control_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct control_client *c = arg;

	if (c->waiting)
		control_go_on(c, false);
	else
		control_close(c);
}

/* Requests. */

static bool
control_is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
control_serve(void *arg, const union message_any *any, int *fds)
{
	const struct message_control *r = &any->message_control;
	struct control_client *c = arg;

	if (r->command >= CONTROL_COMMANDS ||
	    !control_is_text(r->user, sizeof(r->user)) ||
	    !control_is_text(r->file, sizeof(r->file)) ||
	    (r->family != AF_UNSPEC && r->family != AF_INET &&
		r->family != AF_INET6) ||
	    (r->command == CONTROL_KILL_USER && r->user[0] == '\0') ||
	    (r->command == CONTROL_LOG && r->number > 1))
		return false;
	c->request = *r;
	return true;
}

static const struct channel_rule control_rules[] = {
	{ MESSAGE_CONTROL, CHANNEL_ANY_STATE, false, control_serve },
};

/* Root, or who started the server. */
static bool
control_is_owner(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* True if one more line of others may go out now: the log is the server's. */
static bool
control_may_log(struct control *control)
{
	uint64_t *oldest = &control->line_ms[control->line_next];
	uint64_t now = master_now();

	if (*oldest != 0 && now - *oldest < CONTROL_LOG_MS) {
		control->left_out++;
		return false;
	}
	*oldest = now;
	control->line_next = (control->line_next + 1) % CONTROL_LINES;
	return true;
}

static void
control_log_command(const struct control_client *c)
{
	const struct message_control *r = &c->request;
	struct control *control = c->m->control;
	char user[AUTH_USER_MAX * 4 + 3], about[sizeof(user) + 64] = "";
	size_t len;

	if (!control_is_owner(c->uid) && !control_may_log(control))
		return;
	if (r->user[0] != '\0')
		snprintf(about, sizeof(about), " user=%s",
		    log_quote(user, sizeof(user), r->user, strlen(r->user)));
	else if (r->command == CONTROL_KILL)
		snprintf(about, sizeof(about), " session=%llu",
		    (unsigned long long)r->number);
	else if (r->command == CONTROL_LOG)
		snprintf(
		    about, sizeof(about), " verbosity=%u", (unsigned)r->number);
	len = strlen(about);
	if (control->left_out != 0)
		snprintf(about + len, sizeof(about) - len, " left_out=%u",
		    control->left_out);
	control->left_out = 0;
	log_event(c->m->log, LOG_NOTICE, "control",
	    "uid=%lu pid=%d command=%s%s", (unsigned long)c->uid, (int)c->pid,
	    control_token[r->command], about);
}

static void
control_readable(evutil_socket_t fd, short what, void *arg)
{
	static union message_any message;
	struct control_client *c = arg;
	enum channel_result result;

	result = channel_receive(&c->channel, &message);
	if (result == CHANNEL_EMPTY) {
		if (event_add(&c->read_event, NULL) == -1)
			control_close(c);
		return;
	}
	if (result != CHANNEL_OK) {
		if (result >= CHANNEL_VIOLATION)
			log_event(c->m->log, LOG_WARNING, "control-violation",
			    "uid=%lu pid=%d kind=%s", (unsigned long)c->uid,
			    (int)c->pid, channel_result_token(result));
		control_close(c);
		return;
	}
	memset(&c->done, 0, sizeof(c->done));
	memset(&c->at, 0, sizeof(c->at));
	memset(&c->at_next, 0, sizeof(c->at_next));
	c->next = NULL;
	c->step = 0;
	free(c->asked);
	c->asked = NULL;
	if (c->request.version != CONTROL_VERSION)
		control_fail(
		    c, "flexmusicd and flexmusicctl are of different versions");
	else {
		control_log_command(c);
		control_run(c);
	}
	if (c->waiting && !control_arrived(c))
		control_set_timer(c, CONTROL_WAIT_S);
	else if (c->waiting)
		control_go_on(c, true);
	else
		control_answer(c);
}

/* Who comes. */

/* Is it a member of the group, as its connection says? */
static bool
control_in_group(int fd, const struct ucred *cred, gid_t group)
{
	gid_t *groups = NULL;
	socklen_t len = 0;
	bool found = cred->gid == group;
	size_t i;

	if (found)
		return true;
	/* Without room it says how much it needs. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 ||
	    errno != ERANGE || (groups = malloc(len)) == NULL)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0)
		for (i = 0; i < len / sizeof(*groups) && !found; i++)
			found = groups[i] == group;
	free(groups);
	return found;
}

static void
control_refuse(struct master *m, int fd, const struct ucred *cred,
    enum control_result result)
{
	static const char *const text[CONTROL_RESULTS] = {
		[CONTROL_DENIED] = "permission denied",
		[CONTROL_BUSY] = "too many ask at a time",
	};
	struct control *control = m->control;
	struct message_control_done done;
	uint64_t now = master_now();

	memset(&done, 0, sizeof(done));
	done.result = result;
	strlcpy(done.text, text[result], sizeof(done.text));
	(void)channel_send(fd, MESSAGE_CONTROL_DONE, &done);
	control->refused++;
	if (control->refused_ms != 0 &&
	    now - control->refused_ms < CONTROL_LOG_MS)
		return;
	log_event(m->log, LOG_WARNING, "control-refused",
	    "uid=%lu gid=%lu pid=%d reason=%s count=%u",
	    (unsigned long)cred->uid, (unsigned long)cred->gid, (int)cred->pid,
	    result == CONTROL_DENIED ? "permission" : "too-many",
	    control->refused);
	control->refused_ms = now;
	control->refused = 0;
}

static bool
control_begin(struct master *m, int fd, const struct ucred *cred)
{
	struct control *control = m->control;
	struct control_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return false;
	c->m = m;
	c->uid = cred->uid;
	c->pid = cred->pid;
	channel_init(&c->channel, fd, control_rules,
	    sizeof(control_rules) / sizeof(control_rules[0]), c);
	evtimer_assign(&c->timer, m->base, control_timeout, c);
	event_assign(&c->read_event, m->base, fd, EV_READ, control_readable, c);
	event_assign(
	    &c->write_event, m->base, fd, EV_WRITE, control_writable, c);
	if (event_add(&c->read_event, NULL) == -1) {
		free(c);
		return false;
	}
	control_set_timer(c, CONTROL_SILENCE_S);
	TAILQ_INSERT_TAIL(&control->clients, c, entry);
	control->count++;
	return true;
}

/* Who may ask must not keep others from it, and least of all root. */
static bool
control_has_room(const struct control *control, uid_t uid)
{
	const struct control_client *c;
	unsigned others = 0, same = 0;

	if (control_is_owner(uid))
		return control->count < CONTROL_CLIENTS;
	TAILQ_FOREACH(c, &control->clients, entry)
	{
		others += !control_is_owner(c->uid);
		same += c->uid == uid;
	}
	return others < CONTROL_OTHERS && same < CONTROL_OF_ONE;
}

/* Takes a connection, or refuses it, which closes it. */
static void
control_admit(struct master *m, int fd)
{
	struct control *control = m->control;
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;
	bool allowed;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
		close(fd);
		return;
	}
	allowed = control_is_owner(cred.uid) ||
	    (control->has_group && control_in_group(fd, &cred, control->group));
	if (!allowed)
		control_refuse(m, fd, &cred, CONTROL_DENIED);
	else if (!control_has_room(control, cred.uid))
		control_refuse(m, fd, &cred, CONTROL_BUSY);
	else if (control_begin(m, fd, &cred))
		return;
	close(fd);
}

static void control_watch(struct master *m);

static void
control_rested(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	if (m->control->fd != -1)
		control_watch(m);
}

/* Takes connections; where that can't be, it is tried again. */
static void
control_watch(struct master *m)
{
	static const struct timeval rest = { CONTROL_REST_S, 0 };

	if (event_add(&m->control->event, NULL) == -1)
		master_set_timer(&m->control->rest_event, &rest);
}

static void
control_accept(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval rest = { CONTROL_REST_S, 0 };
	struct master *m = arg;
	int client;

	client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client != -1)
		control_admit(m, client);
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR &&
	    errno != ECONNABORTED) {
		/* No descriptor, or no memory: it would be called at once. */
		event_del(&m->control->event);
		master_set_timer(&m->control->rest_event, &rest);
	}
}

/* The socket. */

/* The directory's mode is what keeps others from taking the name. */
static bool
control_check_directory(
    const struct master *m, const char *path, char *why, size_t why_len)
{
	const uid_t owner = m->as_root ? 0 : geteuid();
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat st;
	char *slash;

	strlcpy(directory, path, sizeof(directory));
	slash = strrchr(directory, '/');
	slash[slash == directory ? 1 : 0] = '\0';
	if (stat(directory, &st) == -1)
		snprintf(why, why_len, "control_socket %s: %s: %s", path,
		    directory, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		snprintf(why, why_len,
		    "control_socket %s: %s is not a directory", path,
		    directory);
	else if (st.st_uid != owner)
		snprintf(why, why_len,
		    "control_socket %s: %s belongs to user %lu: chown it to "
		    "user %lu",
		    path, directory, (unsigned long)st.st_uid,
		    (unsigned long)owner);
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		snprintf(why, why_len,
		    "control_socket %s: others can write in %s: chmod go-w it",
		    path, directory);
	else
		return true;
	return false;
}

/* What a server that did not end in order has left goes; `in_use` where one
 * answers. */
static bool
control_clear_name(
    const struct sockaddr_un *sun, bool *in_use, char *why, size_t why_len)
{
	const char *path = sun->sun_path;
	struct stat st;
	int fd, error = 0;

	if (lstat(path, &st) == -1) {
		if (errno == ENOENT)
			return true;
		snprintf(why, why_len, "control_socket %s: %s", path,
		    strerror(errno));
		return false;
	}
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, why_len,
		    "control_socket %s is there and is no socket: remove it",
		    path);
		return false;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 ||
	    connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == -1)
		error = errno;
	if (fd != -1)
		close(fd);
	if (error == ECONNREFUSED && unlink(path) == 0)
		return true;
	*in_use = error == 0 || error == EAGAIN || error == EPROTOTYPE;
	if (*in_use)
		snprintf(why, why_len,
		    "control_socket %s: another server answers on it: stop "
		    "that one, or give this one a control_socket of its own",
		    path);
	else
		snprintf(why, why_len, "control_socket %s: %s", path,
		    strerror(error == ECONNREFUSED ? errno : error));
	return false;
}

/* Has the socket made with its mode and its group: there is no moment at
 * which it has others, and no CAP_CHOWN. */
static bool
control_bind(struct control *control, const struct sockaddr_un *sun, char *why,
    size_t why_len)
{
	gid_t group = control->has_group ? control->group : getegid();
	mode_t mask = umask(control->has_group ? 0117 : 0177);
	int result;

	(void)setfsgid(group);
	result = bind(control->fd, (const struct sockaddr *)sun, sizeof(*sun));
	(void)setfsgid(getegid());
	(void)umask(mask);
	if (result == -1 || lstat(sun->sun_path, &control->st) == -1) {
		snprintf(why, why_len, "control_socket %s: %s", sun->sun_path,
		    strerror(errno));
		return false;
	}
	if (control->st.st_gid != group) {
		(void)unlink(sun->sun_path);
		snprintf(why, why_len,
		    "control_socket %s: it cannot be given to group %lu",
		    sun->sun_path, (unsigned long)group);
		return false;
	}
	if (listen(control->fd, CONTROL_BACKLOG) == 0)
		return true;
	snprintf(why, why_len, "control_socket %s: %s", sun->sun_path,
	    strerror(errno));
	(void)unlink(sun->sun_path);
	return false;
}

static bool
control_open(struct master *m, struct control *control, bool *in_use, char *why,
    size_t why_len)
{
	struct sockaddr_un sun;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	strlcpy(sun.sun_path, m->config->control_socket, sizeof(sun.sun_path));
	if (!control_check_directory(m, sun.sun_path, why, why_len) ||
	    !control_clear_name(&sun, in_use, why, why_len))
		return false;
	control->fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd == -1) {
		snprintf(why, why_len, "socket: %s", strerror(errno));
		return false;
	}
	return control_bind(control, &sun, why, why_len);
}

bool
control_start(struct master *m, char *why, size_t why_len)
{
	struct control *control;
	char quoted[1024];
	bool in_use = false;

	if (m->config->control_socket == NULL)
		return true;
	control = calloc(1, sizeof(*control));
	if (control == NULL) {
		snprintf(why, why_len, "no memory");
		return false;
	}
	TAILQ_INIT(&control->clients);
	control->fd = -1;
	control->has_group = m->config->control_group != NULL;
	control->group = m->config->control_gid;
	if (control_open(m, control, &in_use, why, why_len)) {
		event_assign(&control->event, m->base, control->fd,
		    EV_READ | EV_PERSIST, control_accept, m);
		evtimer_assign(
		    &control->rest_event, m->base, control_rested, m);
		m->control = control;
		control_watch(m);
		return true;
	}
	if (control->fd != -1)
		close(control->fd);
	free(control);
	/* The default is there where flexmusicd was installed. */
	if (in_use || m->config->line[CONFIG_CONTROL_SOCKET] != 0)
		return false;
	log_event(m->log, LOG_WARNING, "control-unavailable", "error=%s",
	    log_quote(quoted, sizeof(quoted), why, strlen(why)));
	return true;
}

void
control_stop(struct master *m)
{
	struct control *control = m->control;
	const char *path;
	struct stat st;

	if (control == NULL || control->fd == -1)
		return;
	path = m->config->control_socket;
	event_del(&control->event);
	evtimer_del(&control->rest_event);
	/* It may be another server's by now. */
	if (lstat(path, &st) == 0 && st.st_dev == control->st.st_dev &&
	    st.st_ino == control->st.st_ino)
		(void)unlink(path);
	close(control->fd);
	control->fd = -1;
}

void
control_free(struct master *m)
{
	struct control_client *c, *next;

	if (m->control == NULL)
		return;
	control_stop(m);
	TAILQ_FOREACH_SAFE(c, &m->control->clients, entry, next)
	control_close(c);
	free(m->control);
	m->control = NULL;
}
