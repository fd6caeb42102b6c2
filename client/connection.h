/*
 * client/connection.h - one TCP connection: connect, send and receive, each
 * with a deadline.
 *
 * Runs in: client, as its user.  Non-blocking socket and poll(2); bytes are
 * handed on unread.
 */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include <stddef.h>
#include <stdint.h>

#include "client/failure.h"
#include "fmltp/dhkey.h"
#include "fmltp/error.h"

#define CONNECTION_IN_MAX (2 * DH_PEM_MAX) /* bytes received, not yet used */

struct connection {
	int fd; /* -1: none */
	int limit_ms; /* for connecting, and for each packet */
	char address[80]; /* of the server: "127.0.0.1:8900", "[::1]:8900" */
	uint8_t in[CONNECTION_IN_MAX];
	size_t in_len;
};

/* Called before each address is tried. */
typedef void connection_tell(void *arg, const char *address);

/*
 * Connects to the first of the host's addresses that answers; each is given
 * limit_ms.  `family` is AF_UNSPEC, AF_INET or AF_INET6; `port` a decimal
 * number.
 */
enum client_exit connection_open(struct connection *c, const char *host,
    const char *port, int family, int limit_ms, connection_tell *tell,
    void *arg, struct failure *f);
void connection_close(struct connection *c);

/* The monotonic clock in milliseconds; the deadline of a packet from now. */
int64_t connection_now(void);
int64_t connection_deadline(const struct connection *c);

/*
 * Waits for bytes and appends them to `in`.  FMLTP_OK, FMLTP_TIMEOUT,
 * FMLTP_CLOSED, FMLTP_RESET, or FMLTP_INTERNAL when `in` is full.
 */
enum fmltp_error connection_read(struct connection *c, int64_t deadline);
/* Drops the first `len` bytes of `in`. */
void connection_take(struct connection *c, size_t len);
/*
 * Sends a packet in one write (what the socket does not take at once follows
 * as it can).  FMLTP_OK, FMLTP_SEND_TIMEOUT, FMLTP_RESET.
 */
enum fmltp_error
connection_send(struct connection *c, const void *bytes, size_t len);

#endif
