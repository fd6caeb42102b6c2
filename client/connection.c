/*
 * client/connection.c - one TCP connection with deadlines.
 *
 * Runs in: client, as its user.
 */
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/connection.h"
#include "fmltp/proto.h"

int64_t
connection_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
connection_deadline(const struct connection *c)
{
	return connection_now() + c->limit_ms;
}

/* Waits for `events`: 1, 0 once the deadline is past, -1 with errno. */
static int
connection_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left;
	int n;

	for (;;) {
		left = deadline - connection_now();
		if (left <= 0)
			return 0;
		n = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
		if (n > 0)
			return 1;
		if (n == -1 && errno != EINTR)
			return -1;
	}
}

static void
connection_set_options(int fd)
{
	static const struct {
		int level, name, value;
	} option[] = {
		/* each packet is one write and is to leave at once */
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		/* an idle session notices a server that is gone */
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, FMLTP_KEEPALIVE_IDLE },
		{ IPPROTO_TCP, TCP_KEEPCNT, FMLTP_KEEPALIVE_COUNT },
		{ IPPROTO_TCP, TCP_KEEPINTVL, FMLTP_KEEPALIVE_PERIOD },
	};
	size_t i;

	for (i = 0; i < sizeof(option) / sizeof(option[0]); i++)
		setsockopt(fd, option[i].level, option[i].name,
		    &option[i].value, sizeof(option[i].value));
}

/* A connected socket, or -1 with errno. */
static int
connection_try(const struct addrinfo *ai, int limit_ms)
{
	int fd, error, n, saved;
	socklen_t len = sizeof(error);

	fd = socket(ai->ai_family,
	    ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd == -1)
		return -1;
	connection_set_options(fd);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return fd;
	error = errno;
	if (error == EINPROGRESS) {
		n = connection_wait(fd, POLLOUT, connection_now() + limit_ms);
		if (n == 0)
			error = ETIMEDOUT;
		else if (n == -1 ||
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
			error = errno;
		if (error == 0)
			return fd;
	}
	saved = error;
	close(fd);
	errno = saved;
	return -1;
}

static void
connection_name(char *out, size_t size, const struct addrinfo *ai)
{
	char host[64], port[8];

	if (getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), port,
		sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(out, size, "an address without a name");
	else if (ai->ai_family == AF_INET6)
		snprintf(out, size, "[%s]:%s", host, port);
	else
		snprintf(out, size, "%s:%s", host, port);
}

enum client_exit
connection_open(struct connection *c, const char *host, const char *port,
    int family, int limit_ms, connection_tell *tell, void *arg,
    struct failure *f)
{
	const struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	struct addrinfo *list, *ai;
	char errors[768] = "";
	size_t used;
	int error;

	c->fd = -1;
	c->limit_ms = limit_ms;
	c->in_len = 0;
	error = getaddrinfo(host, port, &hints, &list);
	if (error != 0)
		return failure_set(f, CLIENT_CONNECT,
		    "check the host's name, or give its address",
		    "cannot look up %s: %s", host,
		    error == EAI_SYSTEM ? strerror(errno)
					: gai_strerror(error));
	for (ai = list; ai != NULL && c->fd == -1; ai = ai->ai_next) {
		connection_name(c->address, sizeof(c->address), ai);
		if (tell != NULL)
			tell(arg, c->address);
		c->fd = connection_try(ai, limit_ms);
		if (c->fd != -1)
			break;
		used = strlen(errors);
		snprintf(errors + used, sizeof(errors) - used, "%s%s: %s",
		    used == 0 ? "" : "; ", c->address, strerror(errno));
	}
	freeaddrinfo(list);
	if (c->fd == -1)
		return failure_set(f, CLIENT_CONNECT,
		    "check that the server runs, that host and port (-p) are "
		    "right, and that no firewall is between",
		    "cannot connect to %s: %s", host, errors);
	return CLIENT_OK;
}

void
connection_close(struct connection *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

enum fmltp_error
connection_read(struct connection *c, int64_t deadline)
{
	ssize_t n;

	if (c->in_len == sizeof(c->in))
		return FMLTP_INTERNAL;
	for (;;) {
		switch (connection_wait(c->fd, POLLIN, deadline)) {
		case 0:
			return FMLTP_TIMEOUT;
		case -1:
			return FMLTP_RESET;
		default:
			break;
		}
		n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
		if (n > 0) {
			c->in_len += (size_t)n;
			return FMLTP_OK;
		}
		if (n == 0)
			return FMLTP_CLOSED;
		if (errno != EAGAIN && errno != EINTR)
			return FMLTP_RESET;
	}
}

void
connection_take(struct connection *c, size_t len)
{
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
}

enum fmltp_error
connection_send(struct connection *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	int64_t deadline = connection_deadline(c);
	ssize_t n;

	while (len > 0) {
		n = send(c->fd, p, len, MSG_NOSIGNAL);
		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return FMLTP_RESET;
		switch (connection_wait(c->fd, POLLOUT, deadline)) {
		case 0:
			return FMLTP_SEND_TIMEOUT;
		case -1:
			return FMLTP_RESET;
		default:
			break;
		}
	}
	return FMLTP_OK;
}
