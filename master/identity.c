/*
 * master/identity.c - the server's long-term key (FMLTP.md section 7): its
 * file, made at the first start, and keys processes that have it.
 *
 * Runs in: master, as root or as who started it.  It must never see the key:
 * keys reads the file that is opened here, and makes a new one into a pipe,
 * which is spliced into a file; neither passes through this process's memory.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/master.h"
#include "master/private.h"

#define IDENTITY_RETRY_MS 5000 /* until a keys without it gets it again */
#define IDENTITY_NEW_FILE ".identity.new"

static const char *const identity_fault_text[IDENTITY_FAULTS] = {
	[IDENTITY_OK] = "it is in use",
	[IDENTITY_UNREADABLE] = "it can't be read",
	[IDENTITY_FORMAT] = ("it is no Ed25519 key in PKCS#8, PEM: put back "
			     "the right one, or make a new one with "
			     "flexmusicd -I"),
	[IDENTITY_FAILED] = "keys has no memory, or no random numbers",
};

/* The key's file, for one message; -1 and `why`. */
static int
identity_open(const struct master *m, char *why, size_t why_len)
{
	return private_open(m->config->identity_file,
	    m->as_root ? 0 : geteuid(), S_IRWXG | S_IRWXO,
	    "the server's private key", why, why_len);
}

/* The directory of the key's file. */
static int
identity_open_directory(const struct master *m, const char **name)
{
	char path[PATH_MAX];
	char *slash;

	strlcpy(path, m->config->identity_file, sizeof(path));
	slash = strrchr(path, '/');
	*name = m->config->identity_file + (slash - path) + 1;
	slash[slash == path] = '\0';
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* From the pipe to a file, by the kernel alone. */
static bool
identity_splice(int pipe_fd, int fd)
{
	size_t left = IDENTITY_PEM_LEN;
	ssize_t n;

	while (left > 0) {
		n = splice(pipe_fd, NULL, fd, NULL, left, 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EPIPE;
			return false;
		}
		left -= (size_t)n;
	}
	return fsync(fd) == 0;
}

/*
 * Stores what the pipe holds: whole and on the disk, or not at all.  With
 * `replace` in place of the file that there is.
 */
static bool
identity_store(struct master *m, int pipe_fd, bool replace)
{
	const char *name;
	int dir, fd, error;
	bool stored = false;

	dir = identity_open_directory(m, &name);
	if (dir == -1)
		return false;
	/* What a start that was killed has left. */
	(void)unlinkat(dir, IDENTITY_NEW_FILE, 0);
	fd = openat(dir, IDENTITY_NEW_FILE,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd != -1) {
		stored = identity_splice(pipe_fd, fd) &&
		    renameat2(dir, IDENTITY_NEW_FILE, dir, name,
			replace ? 0 : RENAME_NOREPLACE) == 0 &&
		    fsync(dir) == 0;
		error = errno;
		close(fd);
		if (!stored)
			(void)unlinkat(dir, IDENTITY_NEW_FILE, 0);
		errno = error;
	}
	error = errno;
	close(dir);
	errno = error;
	return stored;
}

/* Has a keys process make a key: its end of the pipe. */
static int
identity_ask_new(struct process *keys, uint32_t serial)
{
	struct message_identity_new n;
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) == -1)
		return -1;
	memset(&n, 0, sizeof(n));
	n.serial = serial;
	process_send_fds(keys, MESSAGE_IDENTITY_NEW, &n, &fd[1]);
	close(fd[1]);
	return fd[0];
}

/* Has a keys process read the file. */
static void
identity_send(struct process *keys, int fd, uint32_t serial)
{
	struct message_identity i;

	memset(&i, 0, sizeof(i));
	i.serial = serial;
	process_send_fds(keys, MESSAGE_IDENTITY, &i, &fd);
}

/* The server. */

static void identity_give(struct process *p);

static void
identity_retry(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	unsigned i;

	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP && !m->keys[i].serving)
			identity_give(&m->keys[i]);
}

/* Without it nobody could tell this server from another: fatal at the start,
 * an error later, when those that have it go on with it. */
static void
identity_failed(struct master *m, const char *why)
{
	const struct timeval tv = { IDENTITY_RETRY_MS / 1000, 0 };
	char quoted[1024];

	if (!m->ready && !m->has_identity)
		master_fatal(m, "identity_file: %s", why);
	log_event(m->log, LOG_ERR, "identity-failed", "error=%s kept=\"%s\"",
	    log_quote(quoted, sizeof(quoted), why, strlen(why)),
	    "the identity before");
	if (m->stopping)
		return;
	if (m->identity_event.ev_base == NULL)
		evtimer_assign(&m->identity_event, m->base, identity_retry, m);
	master_set_timer(&m->identity_event, &tv);
}

/* A keys process that is up gets it; the first one makes it where there is
 * none, and the others wait. */
static void
identity_give(struct process *p)
{
	struct master *m = p->m;
	char why[512];
	int fd;

	fd = identity_open(m, why, sizeof(why));
	if (fd != -1) {
		identity_send(p, fd, m->identity_serial);
		close(fd);
	} else if (errno != ENOENT || m->has_identity)
		identity_failed(m, why);
	else if (m->identity_maker == NULL) {
		m->identity_pipe = identity_ask_new(p, m->identity_serial);
		if (m->identity_pipe == -1)
			identity_failed(m, strerror(errno));
		else
			m->identity_maker = p;
	}
}

static void
identity_serve(struct process *p)
{
	if (p->serving)
		return;
	p->serving = true;
	p->m->keys_up++;
	master_update(p->m);
}

void
identity_keys_up(struct process *p)
{
	if (p->m->config->identity_file == NULL)
		identity_serve(p);
	else
		identity_give(p);
}

void
identity_keys_down(struct process *p)
{
	struct master *m = p->m;

	if (p->serving)
		m->keys_up--;
	p->serving = false;
	if (m->identity_maker != p)
		return;
	close(m->identity_pipe);
	m->identity_maker = NULL;
	identity_retry(-1, 0, m);
}

void
identity_update(struct master *m)
{
	unsigned i;

	if (m->config->identity_file == NULL)
		return;
	m->identity_serial++;
	for (i = 0; i < m->keys_count; i++)
		if (m->keys[i].state == PROCESS_UP)
			identity_give(&m->keys[i]);
}

/* The new key is in its file, or the server does not start. */
static void
identity_made(struct master *m)
{
	char quoted[1024];
	const char *path = m->config->identity_file;
	char why[512];

	if (!identity_store(m, m->identity_pipe, false)) {
		snprintf(why, sizeof(why), "%s: cannot write the new key: %s",
		    path, strerror(errno));
		master_fatal(m, "identity_file: %s", why);
	}
	close(m->identity_pipe);
	m->identity_maker = NULL;
	log_event(m->log, LOG_NOTICE, "identity-made", "file=%s",
	    log_quote(quoted, sizeof(quoted), path, strlen(path)));
}

/* True if it is another than the server had. */
static bool
identity_learn(struct master *m, const uint8_t *public)
{
	char text[IDENTITY_TEXT_MAX];
	bool had = m->has_identity;

	if (had && memcmp(m->identity, public, sizeof(m->identity)) == 0)
		return false;
	memcpy(m->identity, public, sizeof(m->identity));
	identity_fingerprint(public, text);
	log_event(m->log, had ? LOG_WARNING : LOG_NOTICE, "identity",
	    "fingerprint=%s changed=%s", text, had ? "yes" : "no");
	m->has_identity = true;
	return had;
}

bool
identity_serve_read(void *arg, const union message_any *any, int *fds)
{
	const struct message_identity_read *r = &any->message_identity_read;
	struct process *p = arg;
	struct master *m = p->m;
	char why[512];
	bool changed, made = m->identity_maker == p;

	if (r->fault >= IDENTITY_FAULTS || r->serial > m->identity_serial)
		return false;
	if (r->fault != IDENTITY_OK) {
		snprintf(why, sizeof(why), "%s: %s", m->config->identity_file,
		    identity_fault_text[r->fault]);
		identity_failed(m, why);
		return true;
	}
	if (made)
		identity_made(m);
	changed = identity_learn(m, r->public);
	identity_serve(p);
	if (made)
		identity_retry(-1, 0, m);
	/* The file has changed since the others have read it. */
	else if (changed && r->serial == m->identity_serial)
		identity_update(m);
	return true;
}

/* flexmusicd -I. */

struct identity_renewal {
	struct master *m;
	struct process keys;
	bool asked; /* or nothing there to ask about */
	int pipe_fd;
	bool done;
};

/* The administrator's word, where a key is replaced. */
static void
identity_confirm(struct master *m, const char *fingerprint)
{
	char line[16];

	if (isatty(STDIN_FILENO) != 1)
		master_fatal(m,
		    "%s is there: without a terminal it is not replaced; "
		    "remove it first",
		    m->config->identity_file);
	fprintf(stderr,
	    "%s has the identity %s.\n"
	    "Clients that know it will refuse the server with a new one.\n"
	    "Replace it? (yes or no) ",
	    m->config->identity_file, fingerprint);
	if (fgets(line, sizeof(line), stdin) == NULL ||
	    strcmp(line, "yes\n") != 0)
		master_fatal(m, "nothing is changed");
}

static void
identity_renew(struct identity_renewal *n)
{
	n->asked = true;
	n->pipe_fd = identity_ask_new(&n->keys, 0);
	if (n->pipe_fd == -1)
		master_fatal(n->m, "%s", strerror(errno));
}

static void
identity_renewal_up(struct process *p)
{
	struct identity_renewal *n = p->arg;
	char why[512];
	int fd;

	fd = identity_open(n->m, why, sizeof(why));
	if (fd != -1) {
		identity_send(p, fd, 0);
		close(fd);
	} else if (errno == ENOENT)
		identity_renew(n);
	else
		master_fatal(n->m, "%s", why);
}

static bool
identity_renewal_read(void *arg, const union message_any *any, int *fds)
{
	const struct message_identity_read *r = &any->message_identity_read;
	struct process *p = arg;
	struct identity_renewal *n = p->arg;
	struct master *m = n->m;
	char text[IDENTITY_TEXT_MAX] = "of a file that is no key";

	if (r->fault == IDENTITY_OK)
		identity_fingerprint(r->public, text);
	if (!n->asked) {
		identity_confirm(m, text);
		identity_renew(n);
		return true;
	}
	if (r->fault != IDENTITY_OK || !identity_store(m, n->pipe_fd, true))
		master_fatal(m, "%s: cannot make a new key: %s",
		    m->config->identity_file,
		    r->fault == IDENTITY_OK ? strerror(errno)
					    : identity_fault_text[r->fault]);
	printf("%s\n", text);
	n->done = true;
	event_base_loopbreak(m->base);
	return true;
}

static void
identity_renewal_down(struct process *p, bool died)
{
	event_base_loopbreak(p->m->base);
}

static const struct channel_rule identity_renewal_rules[] = {
	{ MESSAGE_IDENTITY_READ, CHANNEL_ANY_STATE, false,
	    identity_renewal_read },
};

static const struct process_kind identity_renewal_kind = {
	.role = ROLE_KEYS,
	.restart = false,
	.rules = identity_renewal_rules,
	.rule_count = 1,
	.up = identity_renewal_up,
	.down = identity_renewal_down,
};

int
identity_main(struct master *m)
{
	struct identity_renewal n;

	if (m->config->identity_file == NULL)
		master_fatal(
		    m, "identity_file = none: there is no key to make");
	memset(&n, 0, sizeof(n));
	n.m = n.keys.m = m;
	n.keys.kind = &identity_renewal_kind;
	n.keys.arg = &n;
	n.pipe_fd = -1;
	master_open(m, false);
	m->base = event_base_new();
	if (m->base == NULL)
		master_fatal(m, "no event loop");
	log_attach(m->log, m->base);
	if (process_start(&n.keys))
		event_base_dispatch(m->base);
	if (!n.done)
		master_fatal(m, "the key holder could not be started");
	if (fflush(stdout) != 0)
		master_fatal(m, "standard output: %s", strerror(errno));
	fprintf(stderr,
	    "flexmusicd: %s has a new identity; a running server takes it with "
	    "SIGHUP\n",
	    m->config->identity_file);
	return 0;
}
