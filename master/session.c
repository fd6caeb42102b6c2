/*
 * master/session.c - a connection as the master sees it: an address, a
 * worker, two messages and an end.
 *
 * Runs in: master, as root.  Never sees a byte of the client: the friendly
 * name that a worker reports is of fixed size and is logged quoted.
 */
#include <sys/wait.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fmltp/proto.h"
#include "master/control.h"
#include "master/master.h"

#define SESSION_KEYS_MS	      30000 /* a worker's wait for keys */
#define SESSION_SLACK_MS      2000 /* the master's timers come later */
#define SESSION_SPAWN_MS      10000 /* for the zygote, to fork */
#define SESSION_LINGER_MS     3000 /* from a worker's last word to its end */
#define SESSION_AUTH_SLACK_MS 15000 /* the last 151 comes late */
#define SESSION_IDLE_GIVE_WAY 60000
#define SESSION_DRAWN	      8 /* sessions of which one gives way */

static const char *const session_stage_token[STAGE_COUNT] = {
	[STAGE_VEX] = "vex",
	[STAGE_KEX] = "kex",
	[STAGE_CHALLENGE] = "chal",
	[STAGE_SESSION] = "session",
};

static const struct sockaddr *
session_peer(const struct session *s)
{
	return (const struct sockaddr *)&s->peer;
}

/* Until its client has shown that it has business here, a session is the
 * first to give way. */
static void
session_wait(struct session *s)
{
	struct master *m = s->m;
	struct session **more;
	size_t room;

	if (m->waiting_count == m->waiting_room) {
		room = m->waiting_room == 0 ? 64 : m->waiting_room * 2;
		more = recallocarray(m->waiting, m->waiting_room, room,
		    sizeof(struct session *));
		if (more == NULL)
			return; /* it is never drawn */
		m->waiting = more;
		m->waiting_room = room;
	}
	m->waiting[m->waiting_count++] = s;
	s->waiting = m->waiting_count;
}

static void
session_wait_over(struct session *s)
{
	struct master *m = s->m;
	struct session *last;

	if (s->waiting == 0)
		return;
	last = m->waiting[--m->waiting_count];
	m->waiting[s->waiting - 1] = last;
	last->waiting = s->waiting;
	s->waiting = 0;
}

/* What a source has done has a price. */
static void
session_offend(struct session *s, enum source_offence offence)
{
	static const char *const token[SOURCE_OFFENCES] = {
		[SOURCE_HANDSHAKE] = "handshake",
		[SOURCE_AUTH] = "auth",
		[SOURCE_CRASH] = "crash",
	};
	struct master *m = s->m;
	char source[SOURCE_TEXT_MAX];
	uint64_t ms;

	ms = source_offend(m->sources, session_peer(s), offence, master_now());
	if (ms == 0)
		return;
	m->counters.penalties++;
	log_peer_event(m->log, LOG_NOTICE, "penalty", session_peer(s),
	    "session=%llu source=%s offence=%s penalty_s=%llu",
	    (unsigned long long)s->id,
	    source_text(m->sources, session_peer(s), source, sizeof(source)),
	    token[offence], (unsigned long long)(ms / 1000));
}

/* The handshake is over, one way or the other. */
static void
session_handshake_over(struct session *s)
{
	if (s->generation == NULL)
		return;
	generation_release(s->m, s->generation);
	s->generation = NULL;
	s->m->counters.handshaking--;
}

static void
session_set_timer(struct session *s, uint64_t ms)
{
	const struct timeval tv = { (time_t)(ms / 1000),
		(suseconds_t)(ms % 1000) * 1000 };

	/* One queue for each length: constant time for any number. */
	const struct timeval *common =
	    event_base_init_common_timeout(s->m->base, &tv);

	master_set_timer(&s->timer, common != NULL ? common : &tv);
}

static void
session_close_channel(struct session *s)
{
	if (s->channel.fd == -1)
		return;
	if (s->channel_event.ev_base != NULL)
		event_del(&s->channel_event);
	close(s->channel.fd);
	s->channel.fd = -1;
}

/* The zygote has done its part, or never will.  One that was replaced ends
 * with the last. */
static void
session_leave_zygote(struct session *s)
{
	struct process *zygote = s->zygote;
	struct master *m = s->m;

	TAILQ_REMOVE(&m->spawning, s, spawning);
	s->zygote = NULL;
	zygote->spawning--;
	if (zygote == m->zygote) {
		if (zygote->spawning == SESSION_SPAWNING_MAX / 2)
			listener_update(m);
	} else if (zygote->spawning == 0)
		process_end(zygote);
}

static void
session_free(struct session *s)
{
	struct master *m = s->m;

	session_handshake_over(s);
	session_wait_over(s);
	if (s->giving_way)
		m->giving_way--;
	source_leave(m->sources, session_peer(s), master_now());
	if (s->state == SESSION_SPAWNING)
		session_leave_zygote(s);
	session_close_channel(s);
	evtimer_del(&s->timer);
	if (s->pidfd != -1) {
		event_del(&s->death_event);
		close(s->pidfd);
	}
	control_session_gone(s);
	TAILQ_REMOVE(&m->sessions, s, entry);
	m->counters.now--;
	free(s);
	master_stop_progress(m);
}

static const char *
session_reason(const struct session *s)
{
	if (s->ended_by_master != NULL)
		return s->ended_by_master;
	if (!s->has_end)
		return "worker-died";
	if (s->end.end == SESSION_END_QUIT)
		return "quit";
	if (s->end.end == SESSION_END_IDLE)
		return "idle-timeout";
	if (s->end.end == SESSION_END_AUTH_TIMEOUT)
		return "auth-timeout";
	if (s->end.end == SESSION_END_AUTH_FAILED)
		return "auth-failed";
	if (s->end.end == SESSION_END_AUTH_BUSY)
		return "busy";
	return fmltp_error_token((enum fmltp_error)s->end.error);
}

/* The one or two lines that a session leaves in the log. */
static void
session_log_end(struct session *s)
{
	struct master *m = s->m;
	const char *stage;
	char name[VERSION_NAME_MAX * 4 + 3];
	uint64_t now = master_now();

	stage = session_stage_token[s->established_ms != 0 ? STAGE_SESSION
		: s->has_end				   ? s->end.stage
							   : STAGE_VEX];
	if (s->established_ms != 0) {
		log_peer_event(m->log, LOG_INFO, "session-end", session_peer(s),
		    "session=%llu reason=%s stage=%s ms=%llu commands=%llu "
		    "bytes_in=%llu bytes_out=%llu",
		    (unsigned long long)s->id, session_reason(s), stage,
		    (unsigned long long)(now - s->begin_ms),
		    (unsigned long long)s->end.commands,
		    (unsigned long long)s->end.bytes_in,
		    (unsigned long long)s->end.bytes_out);
		return;
	}
	if (s->has_end && s->ended_by_master == NULL)
		m->counters.failed[s->end.error]++;
	else
		m->counters.failed[FMLTP_INTERNAL]++;
	log_peer_event(m->log, LOG_INFO, "handshake-failed", session_peer(s),
	    "session=%llu stage=%s reason=%s client=%s version=%u.%u.%u "
	    "ms=%llu bytes_in=%llu bytes_out=%llu",
	    (unsigned long long)s->id, stage, session_reason(s),
	    log_quote(name, sizeof(name), s->end.client.name,
		strnlen(s->end.client.name, VERSION_NAME_MAX)),
	    s->end.client.signature.class, s->end.client.signature.stepping,
	    s->end.client.signature.substepping,
	    (unsigned long long)(now - s->begin_ms),
	    (unsigned long long)s->end.bytes_in,
	    (unsigned long long)s->end.bytes_out);
}

void
session_violation(
    struct session *s, const char *channel, enum channel_result kind)
{
	if (s->attack)
		return;
	s->attack = true;
	if (s->ended_by_master == NULL)
		s->ended_by_master = "channel-violation";
	log_peer_event(s->m->log, LOG_ALERT, "channel-violation",
	    session_peer(s), "session=%llu pid=%d channel=%s kind=%s",
	    (unsigned long long)s->id, (int)s->pid, channel,
	    channel_result_token(kind));
	process_signal(s->pidfd, SIGKILL);
	session_offend(s, SOURCE_CRASH);
	master_count_attack(s->m);
}

void
session_end(struct session *s, const char *reason)
{
	if (s->ended_by_master == NULL && !s->has_end)
		s->ended_by_master = reason;
	if (s->state != SESSION_SPAWNING) {
		if (s->state != SESSION_ENDED)
			session_set_timer(s, SESSION_LINGER_MS);
		s->state = SESSION_ENDED;
	}
	/* The worker reads the end of the file, says how far it came, and
	 * ends. */
	if (s->channel.fd != -1)
		(void)shutdown(s->channel.fd, SHUT_WR);
}

/* What outlives its time is killed. */
static void
session_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	if (s->state == SESSION_SPAWNING) {
		process_give_up(s->zygote, "it does not fork");
		return;
	}
	if (s->ended_by_master == NULL && !s->has_end)
		s->ended_by_master = "master-timeout";
	s->killed = true;
	process_signal(s->pidfd, SIGKILL);
}

/* The worker gets its channel to an authenticator, and the phase a limit. */
static void
session_lock_down(struct session *s)
{
	struct message_lockdown l;
	int fd;

	memset(&l, 0, sizeof(l));
	l.phase_ms = s->m->config->auth_timeout * 1000;
	if (!auth_open_channel(s, &fd)) {
		session_end(s, "auth-unavailable");
		return;
	}
	session_set_timer(s, l.phase_ms + SESSION_AUTH_SLACK_MS);
	/* A worker that is gone tells why itself, or its death does. */
	if (!channel_send_fds(s->channel.fd, MESSAGE_LOCKDOWN, &l, &fd) &&
	    errno != EPIPE && errno != ECONNRESET)
		session_end(s, "auth-unavailable");
	close(fd);
}

/*
 * A session whose client was refused and never let in is an offence, however
 * it ends: else a guesser would hang up in place of waiting for its 151.
 */
static void
session_refused(struct session *s)
{
	if ((s->refused || s->checking) && s->user[0] == '\0')
		session_offend(s, SOURCE_AUTH);
	s->refused = s->checking = false;
}

void
session_checked(struct session *s)
{
	if (s->lockdown && s->user[0] == '\0')
		s->checking = true;
}

void
session_auth_crashed(struct session *s, int signal_number)
{
	log_peer_event(s->m->log, LOG_ALERT, "auth-crashed", session_peer(s),
	    "session=%llu signal=%d", (unsigned long long)s->id, signal_number);
	session_offend(s, SOURCE_CRASH);
}

/* Whom a client tried to be. */
static void
session_note_refused(struct session *s, const char *user)
{
	if (!s->refused)
		strlcpy(s->refused_user, user, sizeof(s->refused_user));
	else if (strcmp(s->refused_user, user) != 0)
		s->refused_others = true;
	s->refused = true;
}

/* Who was refused as himself is forgiven; who was refused as somebody else
 * does not become honest by a user of his own. */
static void
session_forgive(struct session *s)
{
	if (s->refused &&
	    (s->refused_others || strcmp(s->refused_user, s->user) != 0))
		session_offend(s, SOURCE_AUTH);
	s->refused = false;
}

void
session_authenticated(struct session *s, const struct message_auth_result *r)
{
	static const char *const reason[AUTH_OUTCOMES] = {
		[AUTH_GRANTED] = "granted",
		[AUTH_REFUSED] = "refused",
		[AUTH_REFUSED_LAST] = "refused-last",
		[AUTH_BUSY] = "busy",
		[AUTH_ERROR] = "error",
	};
	char user[AUTH_USER_MAX * 4 + 3];
	bool unserved;

	if (!s->lockdown || s->user[0] != '\0')
		return;
	/* One that pam gave up has begun: it may be what a guesser waits for.
	 */
	unserved = r->outcome == AUTH_ERROR ||
	    (r->outcome == AUTH_BUSY && !s->checking);
	s->checking = false;
	log_quote(user, sizeof(user), r->user, strlen(r->user));
	if (r->outcome == AUTH_GRANTED) {
		if (s->state != SESSION_ESTABLISHED)
			return; /* it is ending */
		log_peer_event(s->m->log, LOG_NOTICE, "authenticated",
		    session_peer(s), "session=%llu user=%s attempt=%u ms=%u",
		    (unsigned long long)s->id, user, r->attempt, r->ms);
		strlcpy(s->user, r->user, sizeof(s->user));
		session_forgive(s);
		s->active_ms = master_now();
		s->m->counters.authenticated++;
		evtimer_del(&s->timer);
		session_wait_over(s);
		return;
	}
	log_peer_event(s->m->log,
	    r->outcome == AUTH_ERROR ? LOG_ERR : LOG_NOTICE, "auth-failed",
	    session_peer(s), "session=%llu user=%s attempt=%u ms=%u reason=%s",
	    (unsigned long long)s->id, user, r->attempt, r->ms,
	    reason[r->outcome]);
	if (unserved)
		return;
	s->m->counters.auth_failed++;
	session_note_refused(s, r->user);
	if (r->outcome == AUTH_REFUSED_LAST)
		session_refused(s);
}

/* A worker says who its client is: what can't be is refused here, since it
 * goes on to whoever asks for the sessions. */
static bool
session_is_client(const struct client_version *c)
{
	return memchr(c->name, '\0', sizeof(c->name)) != NULL;
}

static bool
session_serve_established(void *arg, const union message_any *any, int *fds)
{
	const struct message_established *e = &any->message_established;
	struct session *s = arg;
	char name[VERSION_NAME_MAX * 4 + 3];

	if (!session_is_client(&e->client))
		return false;
	/* One that was told to end does not come back. */
	if (s->state != SESSION_HANDSHAKE)
		return true;
	s->channel.state = s->state = SESSION_ESTABLISHED;
	s->established_ms = s->active_ms = master_now();
	s->client = e->client;
	s->m->counters.established++;
	session_handshake_over(s);
	evtimer_del(&s->timer);
	if (!s->lockdown)
		session_wait_over(s);
	log_peer_event(s->m->log, LOG_INFO, "session-begin", session_peer(s),
	    "session=%llu client=%s version=%u.%u.%u status=%u generation=%u "
	    "ms=%llu",
	    (unsigned long long)s->id,
	    log_quote(name, sizeof(name), e->client.name,
		strnlen(e->client.name, VERSION_NAME_MAX)),
	    e->client.signature.class, e->client.signature.stepping,
	    e->client.signature.substepping, e->client.status,
	    s->generation_number,
	    (unsigned long long)(s->established_ms - s->begin_ms));
	if (s->lockdown && !s->m->stopping)
		session_lock_down(s);
	if (s->m->stopping)
		master_stop_progress(s->m);
	return true;
}

/*
 * Said at most once in ACTIVE_PERIOD.  What counts is how many there were in
 * all: messages that waited while the master was stopped come together.
 */
static bool
session_serve_active(void *arg, const union message_any *any, int *fds)
{
	struct session *s = arg;
	uint64_t now = master_now();

	s->actives++;
	s->flood =
	    s->actives > (now - s->begin_ms) / (ACTIVE_PERIOD * 1000) + 1;
	s->active_ms = now;
	return !s->flood;
}

static bool
session_serve_end(void *arg, const union message_any *any, int *fds)
{
	const struct message_end *e = &any->message_end;
	struct session *s = arg;

	if (e->error >= FMLTP_ERROR_COUNT || e->end >= SESSION_END_COUNT ||
	    e->stage >= STAGE_COUNT || !session_is_client(&e->client))
		return false;
	s->end = *e;
	s->has_end = true;
	s->channel.state = s->state = SESSION_ENDED;
	session_handshake_over(s);
	session_set_timer(s, SESSION_LINGER_MS);
	/* Its last word: nothing more is read.  The channel stays open, since
	 * its end would be the worker's, which still takes leave of its
	 * client. */
	event_del(&s->channel_event);
	return true;
}

static const struct channel_rule session_worker_rules[] = {
	{ MESSAGE_ESTABLISHED, CHANNEL_STATE(SESSION_HANDSHAKE), true,
	    session_serve_established },
	{ MESSAGE_ACTIVE, CHANNEL_STATE(SESSION_ESTABLISHED), false,
	    session_serve_active },
	{ MESSAGE_END,
	    CHANNEL_STATE(SESSION_HANDSHAKE) |
		CHANNEL_STATE(SESSION_ESTABLISHED),
	    true, session_serve_end },
};

/* Takes what the worker has said: at most a batch for one wake-up. */
static void
session_take_messages(struct session *s)
{
	static union message_any message;
	enum channel_result result = CHANNEL_OK;
	int i;

	if (s->channel.fd == -1 || s->has_end)
		return;
	for (i = 0; i < CHANNEL_BATCH && result == CHANNEL_OK && !s->has_end;
	     i++)
		result = channel_receive(&s->channel, &message);
	if (result == CHANNEL_OK || result == CHANNEL_EMPTY)
		return;
	if (result >= CHANNEL_VIOLATION)
		session_violation(
		    s, "master", s->flood ? CHANNEL_FLOOD : result);
	else if (s->state != SESSION_ENDED) {
		/* A closed channel is a quiet end: its death says the rest. */
		s->state = SESSION_ENDED;
		session_set_timer(s, SESSION_LINGER_MS);
	}
	session_close_channel(s);
}

static void
session_channel_ready(evutil_socket_t fd, short what, void *arg)
{
	session_take_messages(arg);
}

/* Did the handshake fail by what no client of this protocol sends?  Who is
 * lost, slow or curious has done nothing. */
static bool
session_is_malformed(const struct session *s)
{
	if (!s->has_end || s->established_ms != 0 || s->ended_by_master != NULL)
		return false;
	switch (s->end.error) {
	case FMLTP_PEM_LABEL:
	case FMLTP_PEM_BODY:
	case FMLTP_PEM_LONG:
	case FMLTP_DER:
	case FMLTP_DH_GROUP:
	case FMLTP_DH_RANGE:
		return s->end.stage == STAGE_KEX;
	case FMLTP_TOKEN_MAC:
		return s->end.stage == STAGE_CHALLENGE;
	default:
		return false;
	}
}

static void
session_died(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct master *m = s->m;
	int signal_number, status;
	bool attack;

	session_take_messages(s);
	if (!process_reap(s->pidfd, &signal_number, &status))
		return;
	/* That the master had ended it is no excuse for an attack. */
	attack = !s->attack && process_signal_is_attack(signal_number);
	if (attack ||
	    (signal_number != 0 && s->ended_by_master == NULL &&
		!(s->killed && signal_number == SIGKILL))) {
		log_peer_event(m->log, attack ? LOG_ALERT : LOG_WARNING,
		    "worker-died", session_peer(s),
		    "session=%llu pid=%d signal=%d attack=%s",
		    (unsigned long long)s->id, (int)s->pid, signal_number,
		    attack ? "yes" : "no");
		s->has_end = false;
	} else if (signal_number == 0 && status != 0)
		log_peer_event(m->log, LOG_ERR, "worker-failed",
		    session_peer(s), "session=%llu pid=%d status=%d",
		    (unsigned long long)s->id, (int)s->pid, status);
	else if (!s->has_end && s->ended_by_master == NULL)
		s->ended_by_master = "closed";
	session_log_end(s);
	if (attack)
		session_offend(s, SOURCE_CRASH);
	else if (session_is_malformed(s))
		session_offend(s, SOURCE_HANDSHAKE);
	session_refused(s);
	session_free(s);
	if (attack)
		master_count_attack(m);
}

bool
session_find_keys(struct master *m)
{
	unsigned i;

	for (i = 0; i < m->keys_count; i++) {
		m->keys_next = (m->keys_next + 1) % m->keys_count;
		if (m->keys[m->keys_next].serving &&
		    process_has_room(&m->keys[m->keys_next]))
			return true;
	}
	return false;
}

/* Everything that a worker needs, to the zygote, in one message. */
static bool
session_spawn(struct session *s, int client)
{
	static struct message_spawn spawn;
	struct message_kex_channel kex;
	struct master *m = s->m;
	struct process *keys = &m->keys[m->keys_next];
	int to_worker[2], to_keys[2], fds[3], error;
	bool sent;

	if (!channel_pair(to_worker, false, SESSION_SNDBUF))
		return false;
	if (!channel_pair(to_keys, false, SESSION_SNDBUF)) {
		error = errno;
		close(to_worker[0]);
		close(to_worker[1]);
		errno = error;
		return false;
	}
	memset(&kex, 0, sizeof(kex));
	kex.generation = s->generation_number;
	kex.session = s->id;
	memset(&spawn, 0, sizeof(spawn));
	spawn.generation = s->generation_number;
	spawn.session = s->id;
	spawn.handshake_ms = m->config->handshake_client_timeout * 1000;
	spawn.idle_ms = m->config->session_idle_timeout * 1000;
	spawn.lockdown = s->lockdown;
	spawn.identity = m->has_identity;
	spawn.banner = m->config->banner;
	spawn.params = s->generation->params;
	log_address(spawn.peer, sizeof(spawn.peer), session_peer(s));
	fds[0] = client;
	fds[1] = to_worker[1];
	fds[2] = to_keys[1];
	sent = process_send_fds(keys, MESSAGE_KEX_CHANNEL, &kex, &to_keys[0]) &&
	    process_send_fds(m->zygote, MESSAGE_SPAWN, &spawn, fds);
	error = errno;
	close(to_worker[1]);
	close(to_keys[0]);
	close(to_keys[1]);
	if (!sent) {
		close(to_worker[0]);
		errno = error;
		return false;
	}
	channel_init(&s->channel, to_worker[0], session_worker_rules,
	    sizeof(session_worker_rules) / sizeof(session_worker_rules[0]), s);
	s->channel.state = SESSION_HANDSHAKE;
	return true;
}

/* It has no worker, and never will. */
static void
session_fail_spawn(struct session *s, const char *error)
{
	s->m->counters.spawn_failed++;
	log_peer_event(s->m->log, LOG_ERR, "spawn-failed", session_peer(s),
	    "session=%llu error=\"%s\"", (unsigned long long)s->id, error);
	session_free(s);
}

void
session_begin(
    struct master *m, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
	struct session *s;

	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		close(fd);
		source_leave(m->sources, peer, master_now());
		m->counters.spawn_failed++;
		return;
	}
	s->m = m;
	s->id = ++m->session_last;
	s->pidfd = s->channel.fd = -1;
	s->begin_ms = master_now();
	memcpy(&s->peer, peer, peer_len);
	s->generation = generation_take(m);
	s->generation_number = s->generation->number;
	s->zygote = m->zygote;
	s->state = SESSION_SPAWNING;
	s->lockdown = m->config->auth_method != CONFIG_AUTH_NONE;
	session_wait(s);
	TAILQ_INSERT_TAIL(&m->sessions, s, entry);
	TAILQ_INSERT_TAIL(&m->spawning, s, spawning);
	m->zygote->spawning++;
	m->counters.sessions++;
	m->counters.handshaking++;
	if (++m->counters.now > m->counters.peak)
		m->counters.peak = m->counters.now;
	evtimer_assign(&s->timer, m->base, session_timeout, s);
	session_set_timer(s, SESSION_SPAWN_MS);
	if (!session_spawn(s, fd))
		session_fail_spawn(s, strerror(errno));
	close(fd);
}

/*
 * A process that the zygote has forked is a child, and its pidfd tells when it
 * ends.  Any other descriptor would never say so, or could not be waited for.
 */
static bool
session_is_worker(int pidfd)
{
	siginfo_t info;

	return waitid(P_PIDFD, (id_t)pidfd, &info,
		   WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* The zygote answers in the order in which it was asked. */
static struct session *
session_spawned(struct process *zygote, uint64_t id)
{
	struct session *s;

	TAILQ_FOREACH(s, &zygote->m->spawning, spawning)
	if (s->zygote == zygote)
		return s->id == id ? s : NULL;
	return NULL;
}

/* Has the master hear of the worker's words and of its end. */
static bool
session_watch(struct session *s)
{
	struct event_base *base = s->m->base;

	return event_assign(&s->death_event, base, s->pidfd,
		   EV_READ | EV_PERSIST, session_died, s) == 0 &&
	    event_assign(&s->channel_event, base, s->channel.fd,
		EV_READ | EV_PERSIST, session_channel_ready, s) == 0 &&
	    event_add(&s->death_event, NULL) == 0 &&
	    event_add(&s->channel_event, NULL) == 0;
}

/* A worker that can't be watched ends now: it has not lived long. */
static void
session_abandon(struct session *s)
{
	process_signal(s->pidfd, SIGKILL);
	process_wait(s->pidfd);
	session_fail_spawn(s, strerror(ENOMEM));
}

static bool
session_serve_spawned(void *arg, const union message_any *any, int *fds)
{
	struct process *zygote = arg;
	struct master *m = zygote->m;
	struct session *s =
	    session_spawned(zygote, any->message_spawned.session);

	if (s == NULL || !session_is_worker(fds[0])) {
		process_signal(fds[0], SIGKILL);
		close(fds[0]);
		return false;
	}
	session_leave_zygote(s);
	s->state = SESSION_HANDSHAKE;
	s->pidfd = fds[0];
	s->pid = any->message_spawned.pid;
	if (!session_watch(s)) {
		session_abandon(s);
		return true;
	}
	if (s->ended_by_master != NULL) { /* before it was forked */
		if (s->attack) /* keys has told first */
			process_signal(s->pidfd, SIGKILL);
		s->state = SESSION_ENDED;
		session_set_timer(s, SESSION_LINGER_MS);
		return true;
	}
	session_set_timer(s,
	    3 * m->config->handshake_client_timeout * 1000ULL +
		SESSION_KEYS_MS + SESSION_SLACK_MS);
	return true;
}

static bool
session_serve_spawn_failed(void *arg, const union message_any *any, int *fds)
{
	struct process *zygote = arg;
	struct session *s =
	    session_spawned(zygote, any->message_spawn_failed.session);

	if (s == NULL)
		return false;
	/* It may have been forked, and only its pidfd not be sent. */
	process_expect_strays(s->m);
	session_fail_spawn(s, strerror(any->message_spawn_failed.error));
	return true;
}

const struct channel_rule session_zygote_rules[SESSION_ZYGOTE_RULES] = {
	{ MESSAGE_SPAWNED, CHANNEL_ANY_STATE, false, session_serve_spawned },
	{ MESSAGE_SPAWN_FAILED, CHANNEL_ANY_STATE, false,
	    session_serve_spawn_failed },
};

void
session_zygote_lost(struct process *zygote)
{
	struct session *s, *next;

	TAILQ_FOREACH_SAFE(s, &zygote->m->spawning, spawning, next)
	{
		if (s->zygote != zygote)
			continue;
		process_expect_strays(s->m);
		session_fail_spawn(s, "the zygote died");
	}
}

struct session *
session_find(struct master *m, uint64_t id)
{
	struct session *s;

	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->id == id)
		return s;
	return NULL;
}

static void
session_make_way(struct session *s)
{
	session_wait_over(s);
	s->giving_way = true;
	s->m->giving_way++;
	session_end(s, "gave-way");
}

/*
 * Of a few that are drawn, the one whose source has most connections: whoever
 * fills the server is the likeliest to lose one, at a cost that does not grow
 * with their number.
 */
static struct session *
session_draw(struct master *m)
{
	struct session *s, *drawn = NULL;
	unsigned i;
	uint64_t most = 0, rank;

	for (i = 0; i < SESSION_DRAWN && m->waiting_count > 0; i++) {
		s = m->waiting[arc4random_uniform((uint32_t)m->waiting_count)];
		rank = source_connections(m->sources, session_peer(s));
		/* A key exchange is more than a flood of connections has. */
		if (s->established_ms == 0)
			rank += UINT32_MAX;
		if (drawn == NULL || rank > most) {
			drawn = s;
			most = rank;
		}
	}
	return drawn;
}

bool
session_give_way(struct master *m)
{
	struct session *s, *longest = NULL;
	uint64_t now = master_now();

	s = session_draw(m);
	if (s != NULL) {
		session_make_way(s);
		return true;
	}
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->state == SESSION_ESTABLISHED && !s->lockdown &&
	    now - s->active_ms >= SESSION_IDLE_GIVE_WAY &&
	    (longest == NULL || s->active_ms < longest->active_ms))
		longest = s;
	if (longest == NULL)
		return false;
	session_make_way(longest);
	return true;
}
