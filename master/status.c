/*
 * master/status.c - the status report that SIGUSR1 asks for.
 *
 * Runs in: master, as root.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/control.h"
#include "master/master.h"

long
status_memory(pid_t pid)
{
	char path[64], text[128];
	ssize_t n;
	char *end;
	unsigned long pages;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	strtoul(text, &end, 10); /* the first is the size */
	pages = strtoul(end, &end, 10);
	return (long)pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
status_failures(struct master *m)
{
	char line[LOG_LINE_MAX / 2];
	struct buf b;
	unsigned i;

	buf_init(&b, line, sizeof(line) - 1);
	for (i = 0; i < FMLTP_ERROR_COUNT; i++) {
		if (m->counters.failed[i] == 0)
			continue;
		buf_put_str(&b, b.len == 0 ? "" : " ");
		buf_put_str(&b, fmltp_error_token((enum fmltp_error)i));
		buf_put_str(&b, "=");
		buf_put_decimal(&b, m->counters.failed[i]);
	}
	line[b.len] = '\0';
	if (b.len > 0)
		log_event(m->log, LOG_NOTICE, "status-failures", "%s", line);
}

void
status_request(struct master *m)
{
	const struct counters *c = &m->counters;
	const struct generation *g;
	unsigned i, live = 0, handshakes = 0;

	TAILQ_FOREACH(g, &m->generations, entry)
	{
		live++;
		handshakes += g->handshakes;
	}
	log_event(m->log, LOG_NOTICE, "status",
	    "uptime_s=%" PRIu64 " sessions=%u peak=%u total=%" PRIu64
	    " handshaking=%u established=%" PRIu64 " authenticated=%" PRIu64
	    " auth_failed=%" PRIu64 " penalties=%" PRIu64 " refused=%" PRIu64
	    " spawn_failed=%" PRIu64 " attacks=%" PRIu64
	    " listening=%s memory_kib=%ld log_dropped=%llu log_left_out=%llu",
	    (master_now() - m->start_ms) / 1000, c->now, c->peak, c->sessions,
	    c->handshaking, c->established, c->authenticated, c->auth_failed,
	    c->penalties, c->refused, c->spawn_failed, c->attacks,
	    m->listening ? "yes" : "no", status_memory(m->pid),
	    log_dropped(m->log), log_left_out(m->log));
	status_failures(m);
	if (m->generation != NULL)
		log_event(m->log, LOG_NOTICE, "status-generation",
		    "generation=%u age_s=%" PRIu64
		    " bits=%u fingerprint=%s live=%u handshakes=%u "
		    "rotating=%s made_ahead=%zu",
		    m->generation->number,
		    (master_now() - m->generation->since_ms) / 1000,
		    m->generation->params.len * 8u, m->generation->fingerprint,
		    live, handshakes, m->rotation != NULL ? "yes" : "no",
		    stock_count(m));
	if (m->zygote != NULL && m->zygote->state == PROCESS_UP)
		log_event(m->log, LOG_NOTICE, "status-zygote",
		    "pid=%d memory_kib=%ld", (int)m->zygote->pid,
		    status_memory(m->zygote->pid));
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP)
			status_ask(&m->keys[i], true);
}

void
status_ask(struct process *p, bool logged)
{
	struct message_status_request request;

	p->status_asked++;
	if (logged)
		p->status_logged = p->status_asked;
	memset(&request, 0, sizeof(request));
	process_send(p, MESSAGE_STATUS_REQUEST, &request);
}

/* The answer of a keys process. */
bool
status_serve_keys(void *arg, const union message_any *any, int *fds)
{
	const struct message_keys_status *s = &any->message_keys_status;
	struct process *p = arg;

	p->status = *s;
	p->status_answered++;
	control_progress(p->m);
	if (p->status_answered > p->status_logged)
		return true;
	log_event(p->m->log, LOG_NOTICE, "status-keys",
	    "instance=%u pid=%d exchanges=%" PRIu64 " refused=%" PRIu64
	    " channels=%u generations=%u pairs=%u pairs_used=%" PRIu64
	    " memory_kib=%ld",
	    p->instance, (int)p->pid, s->exchanges, s->refused, s->channels,
	    s->generations, s->pairs, s->pairs_used, status_memory(p->pid));
	return true;
}
