/*
 * master/passed.c - listening sockets that a service manager has passed:
 * sd_listen_fds(3)'s protocol.
 *
 * Runs in: master, at its start.  Nothing is read from these sockets.
 *
 * By hand, for the reason that master/notify.c gives.  A socket that is not
 * what the server would have made is refused, and not put up with: it would
 * show only with the first client.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <netinet/in.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/config_keys.h"
#include "master/passed.h"

/* A decimal number from 1 to `max`: no sign, no blank, nothing behind it. */
static bool
passed_number(const char *text, int max, int *out)
{
	const char *error;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return false;
	*out = (int)strtonum(text, 1, max, &error);
	return error == NULL;
}

/* One name for each socket, with colons between them. */
static bool
passed_split(struct passed *p, const char *names)
{
	size_t i, len;

	for (i = 0; i < p->count; i++) {
		len = strcspn(names, ":");
		snprintf(p->socket[i].name, sizeof(p->socket[i].name), "%.*s",
		    (int)len, names);
		names += len;
		if ((*names == ':') != (i + 1 < p->count))
			return false;
		names++;
	}
	return true;
}

bool
passed_parse(struct passed *p, const char *pid, const char *fds,
    const char *names, pid_t self, char *why, size_t why_len)
{
	int number, count;

	memset(p, 0, sizeof(*p));
	if (pid == NULL)
		return true;
	if (!passed_number(pid, INT_MAX, &number)) {
		snprintf(why, why_len, "LISTEN_PID must be a process id");
		return false;
	}
	/* Meant for the process that started this one, or left over. */
	if (number != self || fds == NULL)
		return true;
	if (!passed_number(fds, CONFIG_HOSTS_MAX, &count)) {
		snprintf(why, why_len,
		    "LISTEN_FDS must be a number of sockets, 1 to %d",
		    CONFIG_HOSTS_MAX);
		return false;
	}
	p->count = (size_t)count;
	if (names == NULL || passed_split(p, names))
		return true;
	p->count = 0;
	snprintf(
	    why, why_len, "LISTEN_FDNAMES must have a name for each socket");
	return false;
}

/* An option that is a number; -1 where there is none. */
static int
passed_option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

/* What is wrong with a socket's address, or NULL. */
static const char *
passed_address_fault(int fd, struct config_host *host)
{
	const struct sockaddr_in6 *sin6 =
	    (const struct sockaddr_in6 *)&host->address;

	host->len = sizeof(host->address);
	if (getsockname(fd, (struct sockaddr *)&host->address, &host->len) ==
	    -1)
		return "has no address";
	config_host_write(host);
	if (host->address.ss_family == AF_INET)
		return NULL;
	/* Clients with IPv4 would all be of one network of IPv6: one source,
	 * for limits and penalties. */
	if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		return "has an IPv4 address in the form of IPv6";
	if (IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr) &&
	    passed_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0)
		return "takes IPv4 too: BindIPv6Only=ipv6-only, and a socket "
		       "of its own for IPv4, are needed";
	return NULL;
}

/* What is wrong with a descriptor, or NULL: then `host` says where it
 * listens. */
static const char *
passed_fault(int fd, struct config_host *host)
{
	struct stat st;
	int flags, family;

	if (fstat(fd, &st) == -1)
		return "is not open";
	if (!S_ISSOCK(st.st_mode))
		return "is no socket";
	family = passed_option(fd, SOL_SOCKET, SO_DOMAIN);
	if (family != AF_INET && family != AF_INET6)
		return "is a socket of neither IPv4 nor IPv6";
	if (passed_option(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM ||
	    passed_option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP)
		return "is no TCP socket";
	if (passed_option(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
		return "does not listen (Accept=no is needed)";
	flags = fcntl(fd, F_GETFL);
	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
		return "cannot be made non-blocking";
	return passed_address_fault(fd, host);
}

bool
passed_take(struct passed *p, char *why, size_t why_len)
{
	const char *fault;
	size_t i;
	int fd;
	bool ok;

	ok = passed_parse(p, getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
	    getenv("LISTEN_FDNAMES"), getpid(), why, why_len);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	for (i = 0; ok && i < p->count; i++) {
		fd = PASSED_FIRST + (int)i;
		fault = passed_fault(fd, &p->socket[i].host);
		if (fault == NULL)
			continue;
		snprintf(why, why_len,
		    "descriptor %d, which the service manager passed, %s", fd,
		    fault);
		ok = false;
	}
	return ok;
}
