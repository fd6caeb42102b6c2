/*
 * ctl/control.c - a question to a server that runs, and its answer.
 *
 * Runs in: ctl, as an administrator.  No password and no hash goes this way.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctl/control.h"
#include "ctl/report.h"

#define CONTROL_PATIENCE_S 15 /* for each message */

static int
control_connect(const char *path, enum control_reach *reach)
{
	const struct timeval patience = { CONTROL_PATIENCE_S, 0 };
	struct sockaddr_un sun;
	int fd;

	*reach = CONTROL_BROKEN;
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path)) {
		report_error(
		    NULL, "%s: the path is too long for a socket", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd == -1) {
		report_error(NULL, "socket: %s", strerror(errno));
		return -1;
	}
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		*reach = CONTROL_NO_SERVER;
	else if (errno == EACCES || errno == EPERM)
		*reach = CONTROL_FORBIDDEN;
	else
		report_error(NULL, "%s: %s", path, strerror(errno));
	close(fd);
	return -1;
}

/* Is it a message for us?  Its texts end then, whatever the server has sent. */
static bool
control_check(union message_any *m, size_t len)
{
	if (len < sizeof(m->header) || m->header.type >= MESSAGE_TYPES ||
	    len != message_info[m->header.type].size || m->header.len != len)
		return false;
	switch (m->header.type) {
	case MESSAGE_CONTROL_STATUS:
		m->message_control_status
		    .fingerprint[sizeof(m->message_control_status.fingerprint) -
			1] = '\0';
		return true;
	case MESSAGE_CONTROL_PROCESS:
		return true;
	case MESSAGE_CONTROL_SESSION:
		m->message_control_session.client.name[VERSION_NAME_MAX] = '\0';
		m->message_control_session.user[AUTH_USER_MAX] = '\0';
		m->message_control_session.peer[PEER_TEXT_MAX - 1] = '\0';
		return true;
	case MESSAGE_CONTROL_PENALTY:
		m->message_control_penalty.source[PEER_TEXT_MAX - 1] = '\0';
		return true;
	case MESSAGE_CONTROL_DONE:
		m->message_control_done.text[CONTROL_TEXT_MAX - 1] = '\0';
		return true;
	default:
		return false;
	}
}

/*
 * A message, checked as the server checks what it gets.  A server that
 * closes before it has read resets the connection, and what it said first is
 * still there.
 */
static bool
control_receive(int fd, union message_any *m)
{
	unsigned resets = 0;
	ssize_t n;

	do
		n = recv(fd, m, sizeof(*m), 0);
	while (n == -1 &&
	    (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
	if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return report_error(NULL, "the server does not answer");
	if (n <= 0)
		return report_error(
		    "it may be of another version than flexmusicctl: see its "
		    "log",
		    "the server has closed the connection");
	return control_check(m, (size_t)n) ||
	    report_error("it is of another version than flexmusicctl",
		"the server's answer is not understood");
}

static bool
control_send(int fd, struct message_control *request)
{
	ssize_t n;

	request->header.type = MESSAGE_CONTROL;
	request->header.len = sizeof(*request);
	request->version = CONTROL_VERSION;
	do
		n = send(fd, request, sizeof(*request), MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	/* One that has closed already may have said why. */
	return n != -1 || errno == EPIPE || errno == ECONNRESET ||
	    report_error(
		NULL, "the server does not listen: %s", strerror(errno));
}

enum control_reach
control_ask(const char *path, struct message_control *request, control_row *row,
    void *arg, struct message_control_done *done)
{
	static union message_any m;
	enum control_reach reach;
	int fd;

	fd = control_connect(path, &reach);
	if (fd == -1)
		return reach;
	if (control_send(fd, request))
		while (control_receive(fd, &m)) {
			if (m.header.type != MESSAGE_CONTROL_DONE) {
				if (row != NULL)
					row(arg, &m);
				continue;
			}
			*done = m.message_control_done;
			reach = done->result == CONTROL_DENIED
			    ? CONTROL_FORBIDDEN
			    : CONTROL_ANSWERED;
			break;
		}
	close(fd);
	return reach;
}

bool
control_explain(const char *path, enum control_reach reach)
{
	if (reach == CONTROL_NO_SERVER)
		return report_error(
		    "is flexmusicd running?  Where its control_socket is "
		    "another, name it with --socket",
		    "no server answers on %s", path);
	if (reach == CONTROL_FORBIDDEN)
		return report_error(
		    "root may, and the members of flexmusicd's control_group",
		    "%s: permission denied", path);
	return false;
}
