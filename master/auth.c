/*
 * master/auth.c - the authenticators, auth or pam: the users file for auth,
 * channels for sessions in lockdown, and what they decide.
 *
 * Runs in: master, as root.  It opens the users file and never reads it: it
 * must never see a password or a hash.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/control.h"
#include "master/master.h"
#include "master/private.h"
#include "privsep/users.h"

#define AUTH_RETRY_MS 5000 /* until an auth without users gets them again */
#define AUTH_BUSY_MS  100 /* until one that has no room does */

/* Opens the users file for one process: each has an offset of its own.  -1,
 * and `why`, where it is not as it must be. */
static int
auth_open_users(const struct master *m, const struct config *config, char *why,
    size_t why_len)
{
	int fd;

	fd = private_open(config->auth_file, m->as_root ? 0 : geteuid(),
	    S_IWGRP | S_IRWXO, "password hashes", why, why_len);
	if (fd == -1 && errno == ENOENT)
		snprintf(why, why_len,
		    "%s is not there: `flexmusicctl user add NAME' makes it",
		    config->auth_file);
	return fd;
}

static void auth_send_users(struct process *p);
static void auth_retry_later(struct master *m, int ms);

/* Who a session belongs to is known in a moment. */
static void
auth_serve(struct process *p)
{
	if (p->serving)
		return;
	p->serving = true;
	p->m->auth_ready++;
	master_update(p->m);
}

/* Nobody could authenticate: fatal at the start, an error later, when the
 * table that there is stays in use. */
static void
auth_users_failed(struct master *m, const char *why)
{
	char quoted[1024];

	if (!m->ready && m->auth_ready == 0)
		master_fatal(m, "%s", why);
	log_event(m->log, LOG_ERR, "users-failed", "error=%s kept=\"%s\"",
	    log_quote(quoted, sizeof(quoted), why, strlen(why)),
	    m->auth_ready > 0 ? "the users before" : "none");
	if (m->auth_ready < m->auth_count)
		auth_retry_later(m, AUTH_RETRY_MS);
}

static void
auth_retry(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	unsigned i;

	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].state == PROCESS_UP &&
		    (!m->auth[i].serving || m->auth[i].users_due))
			auth_send_users(&m->auth[i]);
}

/* Where one has none, an administrator who mends the file need do no more; one
 * that is busy gets it when it is not. */
static void
auth_retry_later(struct master *m, int ms)
{
	const struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	if (m->stopping)
		return;
	if (m->users_event.ev_base == NULL)
		evtimer_assign(&m->users_event, m->base, auth_retry, m);
	master_set_timer(&m->users_event, &tv);
}

static void
auth_send_users(struct process *p)
{
	struct message_users u;
	struct master *m = p->m;
	char why[512];
	int fd;

	fd = auth_open_users(m, m->config, why, sizeof(why));
	if (fd == -1) {
		auth_users_failed(m, why);
		p->users_read = m->users_serial;
		strlcpy(p->users_error, why, sizeof(p->users_error));
		return;
	}
	memset(&u, 0, sizeof(u));
	u.serial = m->users_serial;
	/* Where clients keep it busy, it gets the file when it has room. */
	p->users_due = !process_has_room(p);
	if (p->users_due)
		auth_retry_later(m, AUTH_BUSY_MS);
	else
		process_send_fds(p, MESSAGE_USERS, &u, &fd);
	close(fd);
}

static bool
auth_serve_users_read(void *arg, const union message_any *any, int *fds)
{
	const struct message_users_read *r = &any->message_users_read;
	struct process *p = arg;
	struct master *m = p->m;
	char why[512], quoted[1024];

	if (r->fault >= USERS_FAULT_COUNT || r->serial > m->users_serial)
		return false;
	p->users_read = r->serial;
	p->users_error[0] = '\0';
	if (r->fault != USERS_OK) {
		if (r->line != 0)
			snprintf(why, sizeof(why), "%s:%u: %s",
			    m->config->auth_file, r->line,
			    users_fault_text(r->fault));
		else
			snprintf(why, sizeof(why), "%s: %s",
			    m->config->auth_file, users_fault_text(r->fault));
		strlcpy(p->users_error, why, sizeof(p->users_error));
		auth_users_failed(m, why);
		control_progress(m);
		return true;
	}
	if (r->serial != m->users_logged) {
		m->users_logged = r->serial;
		log_event(m->log, r->users == 0 ? LOG_WARNING : LOG_NOTICE,
		    "users", "file=%s users=%u",
		    log_quote(quoted, sizeof(quoted), m->config->auth_file,
			strlen(m->config->auth_file)),
		    r->users);
	}
	auth_serve(p);
	control_progress(m);
	return true;
}

static bool
auth_serve_result(void *arg, const union message_any *any, int *fds)
{
	const struct message_auth_result *r = &any->message_auth_result;
	struct process *p = arg;
	struct session *s;

	if (r->outcome >= AUTH_OUTCOMES || r->user[sizeof(r->user) - 1] != '\0')
		return false;
	s = session_find(p->m, r->session);
	if (s != NULL) /* else it is gone */
		session_authenticated(s, r);
	return true;
}

static bool
auth_serve_violation(void *arg, const union message_any *any, int *fds)
{
	const struct message_auth_violation *v = &any->message_auth_violation;
	struct process *p = arg;
	struct session *s;

	if (v->kind < CHANNEL_VIOLATION || v->kind >= CHANNEL_RESULTS)
		return false;
	s = session_find(p->m, v->session);
	if (s != NULL)
		session_violation(s, "auth", (enum channel_result)v->kind);
	return true;
}

static void
auth_up(struct process *p)
{
	auth_send_users(p);
}

static void
auth_down(struct process *p, bool died)
{
	if (p->serving)
		p->m->auth_ready--;
	p->serving = false;
	p->users_read = 0;
	master_update(p->m);
	control_progress(p->m);
}

static bool
auth_serve_begun(void *arg, const union message_any *any, int *fds)
{
	struct process *p = arg;
	struct session *s = session_find(p->m, any->message_auth_begun.session);

	if (s != NULL)
		session_checked(s);
	return true;
}

/* What a client typed has broken into a module, or into libpam: the next
 * child shall have another layout. */
static bool
auth_serve_crashed(void *arg, const union message_any *any, int *fds)
{
	const struct message_auth_crashed *c = &any->message_auth_crashed;
	struct process *p = arg;
	struct session *s = session_find(p->m, c->session);

	if (s != NULL)
		session_auth_crashed(s, c->signal);
	else
		log_event(p->m->log, LOG_ALERT, "auth-crashed",
		    "session=%llu signal=%d", (unsigned long long)c->session,
		    (int)c->signal);
	process_kill(p);
	master_count_attack(p->m);
	return true;
}

/* The first is not for pam; the last two are for it alone. */
static const struct channel_rule auth_rules[] = {
	{ MESSAGE_USERS_READ, CHANNEL_ANY_STATE, false, auth_serve_users_read },
	{ MESSAGE_AUTH_RESULT, CHANNEL_ANY_STATE, false, auth_serve_result },
	{ MESSAGE_AUTH_VIOLATION, CHANNEL_ANY_STATE, false,
	    auth_serve_violation },
	{ MESSAGE_AUTH_BEGUN, CHANNEL_ANY_STATE, false, auth_serve_begun },
	{ MESSAGE_AUTH_CRASHED, CHANNEL_ANY_STATE, false, auth_serve_crashed },
};
#define AUTH_RULES     (sizeof(auth_rules) / sizeof(auth_rules[0]))
#define AUTH_PAM_RULES 2

static const struct process_kind auth_kind = {
	.role = ROLE_AUTH,
	.restart = true,
	.rules = auth_rules,
	.rule_count = AUTH_RULES - AUTH_PAM_RULES,
	.up = auth_up,
	.down = auth_down,
};

/* pam has no users to be told: it asks the system. */
static const struct process_kind auth_pam_kind = {
	.role = ROLE_PAM,
	.restart = true,
	.rules = auth_rules + 1,
	.rule_count = AUTH_RULES - 1,
	.up = auth_serve,
	.down = auth_down,
};

void
auth_update(struct master *m)
{
	unsigned i;

	if (m->config->auth_method == CONFIG_AUTH_SYSTEM && m->auth == NULL) {
		m->auth_count = 1;
		m->auth = process_start_all(m, &auth_pam_kind, m->auth_count);
	}
	if (m->config->auth_method != CONFIG_AUTH_AUTH)
		return;
	m->users_serial++;
	if (m->auth == NULL) {
		m->auth_count = process_wanted(m->config->auth_processes);
		m->auth = process_start_all(m, &auth_kind, m->auth_count);
		return;
	}
	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].state == PROCESS_UP)
			auth_send_users(&m->auth[i]);
}

bool
auth_check_users(const struct master *m, const struct config *config, char *why,
    size_t why_len)
{
	int fd;

	if (config->auth_method != CONFIG_AUTH_AUTH)
		return true;
	fd = auth_open_users(m, config, why, why_len);
	if (fd == -1)
		return false;
	close(fd);
	return true;
}

/* The address alone, as PAM and its modules want it. */
static void
auth_address(const struct sockaddr_storage *peer, char *out, size_t len)
{
	if (getnameinfo((const struct sockaddr *)peer, sizeof(*peer), out,
		(socklen_t)len, NULL, 0, NI_NUMERICHOST) != 0)
		out[0] = '\0';
}

bool
auth_has_room(const struct master *m)
{
	unsigned i;

	if (m->config->auth_method == CONFIG_AUTH_NONE)
		return true;
	for (i = 0; i < m->auth_count; i++)
		if (m->auth[i].serving && process_has_room(&m->auth[i]))
			return true;
	return false;
}

bool
auth_open_channel(struct session *s, int *to_worker)
{
	struct message_auth_channel c;
	struct master *m = s->m;
	struct process *p;
	unsigned i;
	int fd[2];
	bool sent = false;

	if (!channel_pair(fd, false, SESSION_SNDBUF))
		return false;
	memset(&c, 0, sizeof(c));
	c.session = s->id;
	source_key(m->sources, (const struct sockaddr *)&s->peer, c.source);
	c.phase_ms = m->config->auth_timeout * 1000;
	c.attempts = m->config->max_auth_attempts;
	if (m->config->auth_method == CONFIG_AUTH_SYSTEM)
		auth_address(&s->peer, c.address, sizeof(c.address));
	/* One that is in the middle of a slow check may have no room: clients
	 * must not be able to have it killed for that. */
	for (i = 0; i < m->auth_count && !sent; i++) {
		m->auth_next = (m->auth_next + 1) % m->auth_count;
		p = &m->auth[m->auth_next];
		sent = p->serving && process_has_room(p) &&
		    channel_send_fds(
			p->channel.fd, MESSAGE_AUTH_CHANNEL, &c, &fd[0]);
	}
	close(fd[0]);
	if (!sent) {
		close(fd[1]);
		return false;
	}
	*to_worker = fd[1];
	return true;
}
