/*
 * client/failure.h - how the client ends: its exit statuses, and what it
 * tells the user about a failure.
 *
 * Runs in: client, as its user.
 */
#ifndef CLIENT_FAILURE_H
#define CLIENT_FAILURE_H

/* The exit statuses, as flexmusic(1) documents them. */
enum client_exit {
	CLIENT_OK = 0,
	CLIENT_USAGE = 1, /* wrong options or arguments */
	CLIENT_CONNECT = 2, /* no connection to the host */
	CLIENT_NOT_FLEXMUSIC = 3, /* the first packet is no version line */
	CLIENT_INCOMPATIBLE = 4, /* another compatibility class */
	CLIENT_HANDSHAKE = 5, /* packets 3 to 7, or none came in time */
	CLIENT_COMMAND = 6, /* the server answered 3xx or above */
	CLIENT_LOST = 7, /* the session ended before its goodbye */
	CLIENT_LOCAL = 8, /* memory, random numbers, input or output */
	CLIENT_REFUSED = 9, /* the server refused user and password */
	CLIENT_IDENTITY = 10 /* it is not the server that it should be */
};

struct failure {
	enum client_exit exit;
	char what[1024]; /* a sentence without its full stop */
	const char *remedy; /* what the user can do; NULL: nothing to add */
};

/*
 * Fills `f` and returns `exit`, so that a function can fail in one
 * statement.  Text from the network must have gone through escape_text.
 */
enum client_exit
failure_set(struct failure *f, enum client_exit exit, const char *remedy,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
