/*
 * privsep/channel.h - one end of a channel: send, and receive through a
 * table that says which message may come, when, and who serves it.
 *
 * Runs in: every server process.  The model is OpenSSH's monitor: what the
 * other side can have done is data, not control flow.
 */
#ifndef PRIVSEP_CHANNEL_H
#define PRIVSEP_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "privsep/message.h"

#define CHANNEL_BATCH 16 /* messages taken for one wake-up */

/* What channel_receive found.  From CHANNEL_VIOLATION on, the other side has
 * broken the rules. */
enum channel_result {
	CHANNEL_OK, /* a message was served */
	CHANNEL_EMPTY, /* nothing to read now */
	CHANNEL_CLOSED, /* the other side is gone */
	CHANNEL_ERROR, /* errno says; never the other side's fault */
	CHANNEL_REFUSED, /* the function that serves it refused its content */
	CHANNEL_ZERO, /* a message of length 0 */
	CHANNEL_TYPE, /* a type that this end does not take */
	CHANNEL_SIZE, /* a wrong size */
	CHANNEL_FDS, /* descriptors that do not belong to it, or are missing */
	CHANNEL_MOMENT, /* not in this state, or a second time */
	CHANNEL_FLOOD, /* too many */
	CHANNEL_RESULTS
};
#define CHANNEL_VIOLATION CHANNEL_REFUSED

struct channel;

/*
 * Serves a message.  `fds` are the descriptors that came with it (as many as
 * message_info says), which the function owns from here on.  False: the
 * content is refused (CHANNEL_REFUSED).
 */
typedef bool channel_serve(void *arg, const union message_any *m, int *fds);

struct channel_rule {
	enum message_type type;
	unsigned states; /* bit n: may come in state n */
	bool once;
	channel_serve *serve;
};
#define CHANNEL_STATE(n)  (1u << (n))
#define CHANNEL_ANY_STATE (~0u)

/* One end. */
struct channel {
	int fd;
	bool wait; /* channel_receive waits for a message */
	unsigned state; /* moved by the functions that serve */
	uint32_t used; /* bit n: rule n was served */
	const struct channel_rule *rules;
	size_t rule_count;
	void *arg;
};

/* Starts an end over `fd`, which the caller closes. */
void channel_init(struct channel *c, int fd, const struct channel_rule *rules,
    size_t rule_count, void *arg);

/*
 * Takes one message into `m` and serves it.  Does not wait, unless `wait`
 * is set.  The message is wiped from `m` afterwards.
 */
enum channel_result channel_receive(struct channel *c, union message_any *m);

/*
 * Sends a message whose header's type is set by the call.  With descriptors:
 * exactly as many as the type has; they stay the caller's.  False with errno
 * (EAGAIN: the other side does not read; the master drops such a peer).
 */
bool channel_send(int fd, enum message_type type, void *message);
bool
channel_send_fds(int fd, enum message_type type, void *message, const int *fds);

/*
 * Receives one message of one type without a table, with read(2): the worker
 * waits for a single answer, and has no recvmsg.  CHANNEL_OK, _EMPTY,
 * _CLOSED, _ERROR or a violation.  What a message has beyond the type's size
 * and its own header's length, read(2) drops and does not tell: so this is for
 * answers of a side that is trusted more.
 */
enum channel_result channel_read(int fd, enum message_type type, void *message);

/*
 * A pair of ends, close-on-exec.  fd[0], the privileged side's, does not
 * block; fd[1] does where `waits`.  `sndbuf` bytes of send buffer for fd[1],
 * or 0 for the system's default.  False with errno.
 */
bool channel_pair(int fd[2], bool waits, int sndbuf);

/* The token of a result for the log. */
const char *channel_result_token(enum channel_result r);

#endif
