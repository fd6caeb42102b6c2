/*
 * master/notify.c - tells systemd how the server is: sd_notify(3)'s
 * protocol, datagrams to the socket that NOTIFY_SOCKET names.
 *
 * Runs in: master, as root.  Nothing is ever read from that socket.
 *
 * By hand, not with libsystemd: a daemon with privileges had better not load
 * a library, and all that it depends on, for one datagram.  systemd's own
 * sd_notify(3) shows such an implementation to copy for this reason, and
 * promises that the protocol stays as it is.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/notify.h"

#define NOTIFY_VARIABLE "NOTIFY_SOCKET"
#define NOTIFY_MAX	512

/* The address of a path, or of @name; 0 for any other text. */
static socklen_t
notify_address(const char *name, struct sockaddr_un *sun)
{
	const size_t len = strlen(name);

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	/* A path has its NUL, and an abstract name begins with one. */
	if (len < 2 || len >= sizeof(sun->sun_path) ||
	    (name[0] != '/' && name[0] != '@'))
		return 0;
	memcpy(sun->sun_path, name, len);
	if (name[0] == '/')
		return (socklen_t)sizeof(*sun);
	sun->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int
notify_open(void)
{
	const char *name = getenv(NOTIFY_VARIABLE);
	struct sockaddr_un sun;
	socklen_t len = 0;
	int fd;

	if (name != NULL)
		len = notify_address(name, &sun);
	unsetenv(NOTIFY_VARIABLE);
	if (len == 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (const struct sockaddr *)&sun, len) == 0)
		return fd;
	close(fd);
	return -1;
}

void
notify_send(int fd, const char *fmt, ...)
{
	char text[NOTIFY_MAX + 1];
	va_list ap;
	int n;

	if (fd == -1)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		send(fd, text, strlen(text), MSG_NOSIGNAL);
}
