/*
 * master/notify.h - tells systemd how the server is: sd_notify(3)'s
 * protocol, datagrams to the socket that NOTIFY_SOCKET names.
 *
 * Runs in: master, as root.  Nothing is ever read from that socket.
 */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

/*
 * Takes NOTIFY_SOCKET out of the environment and returns a connected,
 * non-blocking, close-on-exec datagram socket, or -1 where it is not set or
 * can't be used (a path, or @name of the abstract namespace).  Called before
 * the process forks and loses its environment's meaning.
 */
int notify_open(void);

/*
 * Sends one state, lines `KEY=value` that the format makes, at most 512
 * bytes: "READY=1\nSTATUS=%s".  Never waits; what can't be sent is lost.  No
 * effect for -1.
 */
void
notify_send(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
