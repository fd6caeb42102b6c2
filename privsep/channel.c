/*
 * privsep/channel.c - sending and receiving messages.
 *
 * Runs in: every server process.  Trusts nothing that arrives until the
 * table has said that it may.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"

void
channel_init(struct channel *c, int fd, const struct channel_rule *rules,
    size_t rule_count, void *arg)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->rules = rules;
	c->rule_count = rule_count;
	c->arg = arg;
}

static void
channel_close_all(const int *fds, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		close(fds[i]);
}

/* Collects the descriptors of a message; false where there were more than
 * there was room for. */
static bool
channel_take_fds(struct msghdr *mh, int *fds, size_t max, size_t *count)
{
	struct cmsghdr *cm;
	size_t n, i;
	int fd;
	bool fits = (mh->msg_flags & MSG_CTRUNC) == 0;

	*count = 0;
	for (cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(
			    &fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (*count < max)
				fds[(*count)++] = fd;
			else {
				close(fd);
				fits = false;
			}
		}
	}
	return fits;
}

/* The end of the file reads as a message of length 0 does; what tells them
 * apart is that the other side is gone.  Where that can't be seen, nobody is
 * accused. */
static bool
channel_hung_up(int fd)
{
	const struct timespec at_once = { 0, 0 };
	struct pollfd p = { fd, POLLIN, 0 };

	return ppoll(&p, 1, &at_once, NULL) == -1 || (p.revents & POLLHUP) != 0;
}

/* Everything that can be wrong with a message, in one place. */
static enum channel_result
channel_check(const struct channel *c, const union message_any *m, size_t len,
    size_t fds, size_t *rule)
{
	const struct channel_rule *r;
	size_t i;

	if (len == 0)
		return CHANNEL_ZERO;
	if (len < sizeof(m->header))
		return CHANNEL_SIZE;
	for (i = 0; i < c->rule_count; i++)
		if (c->rules[i].type == m->header.type)
			break;
	if (i == c->rule_count)
		return CHANNEL_TYPE;
	r = &c->rules[i];
	if (len != message_info[r->type].size || m->header.len != len)
		return CHANNEL_SIZE;
	if (fds != message_info[r->type].fds)
		return CHANNEL_FDS;
	if ((r->states & CHANNEL_STATE(c->state)) == 0 ||
	    (r->once && (c->used & (1u << i)) != 0))
		return CHANNEL_MOMENT;
	*rule = i;
	return CHANNEL_OK;
}

enum channel_result
channel_receive(struct channel *c, union message_any *m)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr mh;
	int fds[MESSAGE_FDS_MAX];
	size_t fd_count, rule = 0;
	ssize_t n;
	enum channel_result result;
	bool fits;

	memset(&mh, 0, sizeof(mh));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = control.bytes;
	mh.msg_controllen = sizeof(control.bytes);
	do
		n = recvmsg(c->fd, &mh,
		    MSG_CMSG_CLOEXEC | (c->wait ? 0 : MSG_DONTWAIT));
	while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return CHANNEL_EMPTY;
		return errno == ECONNRESET ? CHANNEL_CLOSED : CHANNEL_ERROR;
	}
	fits = channel_take_fds(&mh, fds, MESSAGE_FDS_MAX, &fd_count);
	if (n == 0 && fd_count == 0 && channel_hung_up(c->fd))
		return CHANNEL_CLOSED;
	if (!fits)
		result = CHANNEL_FDS;
	else if ((mh.msg_flags & MSG_TRUNC) != 0)
		result = CHANNEL_SIZE;
	else
		result = channel_check(c, m, (size_t)n, fd_count, &rule);
	if (result != CHANNEL_OK)
		channel_close_all(fds, fd_count);
	else {
		c->used |= 1u << rule;
		if (!c->rules[rule].serve(c->arg, m, fds))
			result = CHANNEL_REFUSED;
	}
	explicit_bzero(m, (size_t)n);
	return result;
}

bool
channel_send(int fd, enum message_type type, void *message)
{
	struct message_header *h = message;
	ssize_t n;

	h->type = (uint16_t)type;
	h->len = message_info[type].size;
	do
		n = write(fd, message, h->len);
	while (n == -1 && errno == EINTR);
	return n == (ssize_t)h->len;
}

bool
channel_send_fds(int fd, enum message_type type, void *message, const int *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MESSAGE_FDS_MAX * sizeof(int))];
	} control;
	struct message_header *h = message;
	size_t bytes = message_info[type].fds * sizeof(int);
	struct iovec iov;
	struct msghdr mh;
	struct cmsghdr *cm;
	ssize_t n;

	h->type = (uint16_t)type;
	h->len = message_info[type].size;
	iov.iov_base = message;
	iov.iov_len = h->len;
	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = control.bytes;
	mh.msg_controllen = CMSG_SPACE(bytes);
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(cm), fds, bytes);
	do
		n = sendmsg(fd, &mh, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	return n == (ssize_t)h->len;
}

enum channel_result
channel_read(int fd, enum message_type type, void *message)
{
	struct message_header *h = message;
	size_t size = message_info[type].size;
	ssize_t n;

	do
		n = read(fd, message, size);
	while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return CHANNEL_EMPTY;
		return errno == ECONNRESET ? CHANNEL_CLOSED : CHANNEL_ERROR;
	}
	if (n == 0)
		return CHANNEL_CLOSED;
	if ((size_t)n != size || h->len != size)
		return CHANNEL_SIZE;
	return h->type == type ? CHANNEL_OK : CHANNEL_TYPE;
}

bool
channel_pair(int fd[2], bool waits, int sndbuf)
{
	int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK);

	if (socketpair(AF_UNIX, type, 0, fd) == -1)
		return false;
	if ((waits && fcntl(fd[0], F_SETFL, O_NONBLOCK) == -1) ||
	    (sndbuf != 0 &&
		setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &sndbuf,
		    sizeof(sndbuf)) == -1)) {
		close(fd[0]);
		close(fd[1]);
		return false;
	}
	return true;
}

const char *
channel_result_token(enum channel_result r)
{
	static const char *const token[CHANNEL_RESULTS] = {
		[CHANNEL_OK] = "ok",
		[CHANNEL_EMPTY] = "empty",
		[CHANNEL_CLOSED] = "closed",
		[CHANNEL_ERROR] = "error",
		[CHANNEL_REFUSED] = "refused-content",
		[CHANNEL_ZERO] = "empty-message",
		[CHANNEL_TYPE] = "unknown-type",
		[CHANNEL_SIZE] = "wrong-size",
		[CHANNEL_FDS] = "unexpected-descriptor",
		[CHANNEL_MOMENT] = "wrong-moment",
		[CHANNEL_FLOOD] = "flood",
	};

	return (unsigned)r < CHANNEL_RESULTS ? token[r] : "unknown";
}
