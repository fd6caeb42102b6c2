/*
 * master/listener.c - listening sockets, accept, and who is turned away.
 *
 * Runs in: master, as root.  Decides by address alone, and reads nothing
 * from what it accepts.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fmltp/proto.h"
#include "master/master.h"

#define LISTENER_BATCH	    16 /* connections accepted for one wake-up */
#define LISTENER_REST_MS    100 /* without memory, descriptors, processes */
#define LISTENER_FULL_MS    20 /* while keys or auth have all they can take */
#define LISTENER_REFUSED_MS 1000 /* between two lines about refusals */
#define LISTENER_NO_WAY_MS  1000 /* between two looks for an idle session */
#define LISTENER_OVER_MAX   16 /* sessions that were told to end, beside all */

/* A bound socket. */
struct listener {
	TAILQ_ENTRY(listener) entry;
	struct master *m;
	struct config_host host;
	int fd;
	const struct passed_socket *passed; /* NULL: the server bound it */
	bool listening; /* listen(2) was called, and the log was told */
	struct event event;
};

static void
listener_close(struct listener *l)
{
	if (l->event.ev_base != NULL)
		event_del(&l->event);
	close(l->fd);
	free(l);
}

static void
listener_close_list(struct listener_list *list)
{
	struct listener *l;

	while ((l = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, l, entry);
		listener_close(l);
	}
}

/*
 * One line for all that were turned away since the last.  It speaks of many,
 * so it is not one of its peer's lines, which may be left out.
 */
static void
listener_tell_refused(struct master *m)
{
	char peer[SOURCE_TEXT_MAX];

	if (m->refused_unlogged == 0)
		return;
	log_event(m->log, LOG_NOTICE, "connection-refused",
	    "peer=%s reason=%s count=%llu",
	    log_address(
		peer, sizeof(peer), (const struct sockaddr *)&m->refused_peer),
	    m->refused_reason, (unsigned long long)m->refused_unlogged);
	m->refused_logged_ms = master_now();
	m->refused_unlogged = 0;
}

static void
listener_refused_due(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	m->refused_waiting = false;
	listener_tell_refused(m);
}

/* At a bounded rate; who comes too soon for a line is told of with the others
 * that do. */
static void
listener_log_refused(struct master *m, const struct sockaddr *peer,
    socklen_t len, const char *reason)
{
	const struct timeval tv = { LISTENER_REFUSED_MS / 1000, 0 };

	m->counters.refused++;
	m->refused_unlogged++;
	memcpy(&m->refused_peer, peer, len);
	m->refused_reason = reason;
	if (m->refused_waiting)
		return;
	if (master_now() - m->refused_logged_ms >= LISTENER_REFUSED_MS) {
		listener_tell_refused(m);
		return;
	}
	m->refused_waiting = true;
	evtimer_assign(&m->refused_event, m->base, listener_refused_due, m);
	master_set_timer(&m->refused_event, &tv);
}

/* Packet 1 in one send that does not wait, and the end. */
static void
listener_turn_away(struct master *m, int fd, const struct sockaddr *peer,
    socklen_t len, const char *reason)
{
	char line[VERSION_LINE_MAX + 1];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	version_put(&b, &m->config->banner);
	buf_put_str(&b, "\r\n");
	if (!b.failed)
		(void)send(fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	listener_log_refused(m, peer, len, reason);
}

static void
listener_rested(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	m->resting = false;
	master_update(m);
}

static void
listener_rest(struct master *m, int ms)
{
	const struct timeval tv = { 0, ms * 1000 };

	m->resting = true;
	evtimer_assign(&m->rest_event, m->base, listener_rested, m);
	master_set_timer(&m->rest_event, &tv);
	listener_update(m);
}

/* No descriptor is left: the reserve is given up for one that is accepted
 * and closed, so that the queue does not stay full. */
static void
listener_use_reserve(struct listener *l)
{
	struct master *m = l->m;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	if (m->reserve_fd != -1) {
		close(m->reserve_fd);
		fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd != -1)
			listener_turn_away(m, fd, (struct sockaddr *)&ss, len,
			    "no-descriptors");
	}
	m->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	listener_rest(m, LISTENER_REST_MS);
}

/* True where there is room for one more session, or somebody gave way. */
static bool
listener_has_room(struct master *m)
{
	uint64_t now;

	if (m->counters.now < m->config->max_connections)
		return true;
	if (m->giving_way >= LISTENER_OVER_MAX)
		return false;
	now = master_now();
	if (now - m->no_way_ms < LISTENER_NO_WAY_MS)
		return false;
	if (session_give_way(m))
		return true;
	m->no_way_ms = now;
	return false;
}

/* One connection; false when there is none, or the listener is to rest. */
static bool
listener_accept(struct listener *l)
{
	struct master *m = l->m;
	struct sockaddr_storage ss;
	static const char *const refusal[] = {
		[SOURCE_PENALISED] = "penalised",
		[SOURCE_TOO_MANY] = "max-connections-per-source",
		[SOURCE_TOO_FAST] = "accept-rate",
	};
	struct sockaddr *peer = (struct sockaddr *)&ss;
	socklen_t len = sizeof(ss);
	enum source_verdict verdict;
	int fd;

	/* Who is not accepted yet waits in the kernel's queue, unharmed. */
	if (!session_find_keys(m) || !auth_has_room(m)) {
		listener_rest(m, LISTENER_FULL_MS);
		return false;
	}
	fd = accept4(l->fd, peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd == -1) {
		switch (errno) {
		case EAGAIN:
			return false;
		case EMFILE:
			listener_use_reserve(l);
			return false;
		case ENFILE:
		case ENOMEM:
		case ENOBUFS:
			listener_rest(m, LISTENER_REST_MS);
			return false;
		default: /* that connection's own trouble */
			return true;
		}
	}
	verdict = source_admit(m->sources, peer, master_now());
	if (verdict != SOURCE_ADMITTED)
		listener_turn_away(m, fd, peer, len, refusal[verdict]);
	else if (!listener_has_room(m)) {
		source_leave(m->sources, peer, master_now());
		listener_turn_away(m, fd, peer, len, "max-connections");
	} else
		session_begin(m, fd, peer, len);
	if (m->zygote->spawning >= SESSION_SPAWNING_MAX)
		listener_update(m);
	return m->listening;
}

static void
listener_ready(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	int i;

	for (i = 0; i < LISTENER_BATCH; i++)
		if (!listener_accept(l))
			return;
}

/* Options that accepted sockets inherit: no call for each connection. */
static bool
listener_set_options(int fd, int family, bool bound)
{
	const struct {
		int level;
		int name;
		int value;
	} options[] = {
		{ SOL_SOCKET, SO_REUSEADDR, 1 },
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, FMLTP_KEEPALIVE_IDLE },
		{ IPPROTO_TCP, TCP_KEEPINTVL, FMLTP_KEEPALIVE_PERIOD },
		{ IPPROTO_TCP, TCP_KEEPCNT, FMLTP_KEEPALIVE_COUNT },
		{ IPPROTO_IPV6, IPV6_V6ONLY, 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		/* Who bound it has decided about that one. */
		if (options[i].level == IPPROTO_IPV6 &&
		    (family != AF_INET6 || bound))
			continue;
		if (setsockopt(fd, options[i].level, options[i].name,
			&options[i].value, sizeof(options[i].value)) == -1)
			return false;
	}
	return true;
}

/* A socket that was passed listens, with the length of queue that its unit
 * says. */
static bool
listener_listen(struct listener *l)
{
	if (!l->listening && l->passed == NULL &&
	    listen(l->fd, SOMAXCONN) == -1)
		return false;
	l->listening = true;
	return true;
}

/* Before there are parameters the socket is bound, but nobody can connect:
 * a client that could would wait for a packet that does not come. */
static struct listener *
listener_bind(struct master *m, const struct config_host *host)
{
	const struct sockaddr *sa = (const struct sockaddr *)&host->address;
	struct listener *l;
	int error;

	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->m = m;
	l->host = *host;
	l->fd = socket(
	    sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd != -1 && listener_set_options(l->fd, sa->sa_family, false) &&
	    bind(l->fd, sa, host->len) == 0 &&
	    event_assign(&l->event, m->base, l->fd, EV_READ | EV_PERSIST,
		listener_ready, l) == 0 &&
	    (m->generation == NULL || listener_listen(l)))
		return l;
	error = errno;
	if (l->fd != -1)
		close(l->fd);
	free(l);
	errno = error;
	return NULL;
}

static struct listener *
listener_find(struct listener_list *list, const struct config_host *host)
{
	struct listener *l;

	TAILQ_FOREACH(l, list, entry)
	if (l->host.len == host->len &&
	    memcmp(&l->host.address, &host->address, host->len) == 0)
		return l;
	return NULL;
}

static bool
listener_take(struct master *m, size_t i)
{
	const struct passed_socket *passed = &m->passed.socket[i];
	struct listener *l;

	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return false;
	l->m = m;
	l->passed = passed;
	l->host = passed->host;
	l->fd = PASSED_FIRST + (int)i;
	if (!listener_set_options(l->fd, l->host.address.ss_family, true) ||
	    event_assign(&l->event, m->base, l->fd, EV_READ | EV_PERSIST,
		listener_ready, l) == -1) {
		free(l);
		return false;
	}
	TAILQ_INSERT_TAIL(&m->listeners, l, entry);
	return true;
}

bool
listener_take_passed(struct master *m, char *why, size_t why_len)
{
	size_t i;

	for (i = 0; i < m->passed.count; i++)
		if (!listener_take(m, i)) {
			snprintf(why, why_len, "descriptor %d, %s: %s",
			    PASSED_FIRST + (int)i,
			    m->passed.socket[i].host.text, strerror(errno));
			return false;
		}
	return true;
}

bool
listener_prepare(
    struct master *m, const struct config *config, char *why, size_t why_len)
{
	struct listener *l;
	size_t i;

	for (i = 0; i < config->hosts; i++) {
		if (listener_find(&m->listeners, &config->host[i]) != NULL ||
		    listener_find(&m->next_listeners, &config->host[i]) != NULL)
			continue;
		l = listener_bind(m, &config->host[i]);
		if (l == NULL) {
			snprintf(why, why_len, "cannot listen on %s: %s%s",
			    config->host[i].text, strerror(errno),
			    errno == EACCES ? " (a port below 1024 needs "
					      "CAP_NET_BIND_SERVICE)"
					    : "");
			listener_close_list(&m->next_listeners);
			return false;
		}
		TAILQ_INSERT_TAIL(&m->next_listeners, l, entry);
	}
	return true;
}

/* Has it accept; where that can't be, all rest, and it is tried again. */
static void
listener_watch(struct listener *l)
{
	if (event_add(&l->event, NULL) == -1)
		listener_rest(l->m, LISTENER_REST_MS);
}

static bool
listener_is_wanted(const struct master *m, const struct listener *l)
{
	size_t i;

	for (i = 0; i < m->config->hosts; i++)
		if (l->host.len == m->config->host[i].len &&
		    memcmp(&l->host.address, &m->config->host[i].address,
			l->host.len) == 0)
			return true;
	return false;
}

static void
listener_log(const struct listener *l)
{
	const struct passed_socket *passed = l->passed;
	char name[4 * PASSED_NAME_MAX + 3];

	if (passed == NULL)
		log_event(l->m->log, LOG_NOTICE, "listen",
		    "address=%s source=configuration", l->host.text);
	else
		log_event(l->m->log, LOG_NOTICE, "listen",
		    "address=%s source=systemd name=%s", l->host.text,
		    log_quote(name, sizeof(name), passed->name,
			strlen(passed->name)));
}

void
listener_commit(struct master *m)
{
	struct listener *l, *next;

	TAILQ_FOREACH_SAFE(l, &m->listeners, entry, next)
	{
		if (listener_is_wanted(m, l))
			continue;
		log_event(m->log, LOG_NOTICE, "listen-end", "address=%s",
		    l->host.text);
		TAILQ_REMOVE(&m->listeners, l, entry);
		listener_close(l);
	}
	TAILQ_FOREACH_SAFE(l, &m->next_listeners, entry, next)
	{
		TAILQ_REMOVE(&m->next_listeners, l, entry);
		TAILQ_INSERT_TAIL(&m->listeners, l, entry);
		if (l->listening)
			listener_log(l);
		if (m->listening)
			listener_watch(l);
	}
}

void
listener_close_all(struct master *m)
{
	listener_close_list(&m->listeners);
	listener_close_list(&m->next_listeners);
	if (m->refused_waiting) {
		evtimer_del(&m->refused_event);
		listener_refused_due(-1, 0, m);
	}
}

void
listener_update(struct master *m)
{
	struct listener *l;
	bool listen_now = !m->stopping && !m->resting && !m->delaying &&
	    m->generation != NULL && m->keys_up > 0 &&
	    (m->config->auth_method == CONFIG_AUTH_NONE || m->auth_ready > 0) &&
	    m->zygote != NULL && m->zygote->state == PROCESS_UP;

	/* Where it was too much for the zygote, half is to be done first. */
	if (listen_now)
		listen_now = m->zygote->spawning <
		    (m->listening ? SESSION_SPAWNING_MAX
				  : SESSION_SPAWNING_MAX / 2 + 1);
	if (listen_now == m->listening)
		return;
	m->listening = listen_now;
	TAILQ_FOREACH(l, &m->listeners, entry)
	{
		if (!m->listening) {
			event_del(&l->event);
			continue;
		}
		if (!l->listening) {
			if (!listener_listen(l))
				master_fatal(m, "cannot listen on %s: %s",
				    l->host.text, strerror(errno));
			listener_log(l);
		}
		listener_watch(l);
	}
}
