/*
 * tests/fuzz/channel.h - any bytes as messages of a channel, and what has to
 * come of them.
 *
 * Runs in: the fuzzers alone.  A message of the input is, in this order: a
 * byte that chooses its type (of those that the end takes, or any); a byte
 * whose bits change its size, its header and its descriptors; and patches of
 * its body, each a place, a length and bytes, over a body that the fuzzer has
 * filled.
 */
#ifndef TESTS_FUZZ_CHANNEL_H
#define TESTS_FUZZ_CHANNEL_H

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "tests/fuzz/input.h"

#define FUZZ_FDS_MAX	 5 /* more than any message has */
#define FUZZ_PATCHES_MAX 8

/* What the second byte may change. */
enum fuzz_change {
	FUZZ_CHANGE_SIZE = 1, /* the message's, and the header's */
	FUZZ_CHANGE_LEN = 2, /* the header's alone */
	FUZZ_CHANGE_FDS = 4, /* another number of descriptors */
	FUZZ_CHANGE_TYPE = 8, /* any type: two bytes */
	FUZZ_CHANGE_ZERO = 16 /* length 0 */
};

/* A message on its way, and what it is. */
struct fuzz_message {
	union {
		struct message_header header;
		union message_any any;
		uint8_t bytes[sizeof(union message_any) + 64];
	};
	size_t len;
	size_t fds;
};

/* Fills a body as a friendly sender would. */
typedef void fuzz_fill(void *arg, enum message_type type, union message_any *m);

/* The lowest descriptor that is free: the same before and after where none
 * was left open, since that would be the lowest. */
static inline int
fuzz_lowest_fd(void)
{
	int fd = dup(STDIN_FILENO);

	fuzz_check(fd != -1);
	close(fd);
	return fd;
}

/* Takes a message out of the input. */
static inline void
fuzz_message_take(struct fuzz_message *m, struct fuzz_input *in,
    const struct channel_rule *rules, size_t rule_count, fuzz_fill *fill,
    void *arg)
{
	uint16_t type = rules[fuzz_u8(in) % rule_count].type;
	uint8_t change = fuzz_u8(in);
	const uint8_t *bytes;
	size_t i, at, len;

	memset(m, 0, sizeof(*m));
	if ((change & FUZZ_CHANGE_TYPE) != 0)
		type = fuzz_u16(in);
	m->len = sizeof(m->header);
	if (type < MESSAGE_TYPES && message_info[type].size != 0) {
		m->len = message_info[type].size;
		m->fds = message_info[type].fds;
		if (fill != NULL)
			fill(arg, (enum message_type)type, &m->any);
	}
	for (i = change >> 5; i > 0; i--) {
		at = fuzz_u16(in) % m->len;
		bytes = fuzz_bytes(in, m->len - at, &len);
		memcpy(m->bytes + at, bytes, len);
	}
	if ((change & FUZZ_CHANGE_SIZE) != 0)
		m->len = fuzz_u16(in) % sizeof(m->bytes);
	m->header.type = type;
	m->header.len = (uint16_t)m->len;
	if ((change & FUZZ_CHANGE_LEN) != 0)
		m->header.len = fuzz_u16(in);
	if ((change & FUZZ_CHANGE_FDS) != 0)
		m->fds = fuzz_u8(in) % (FUZZ_FDS_MAX + 1);
	if ((change & FUZZ_CHANGE_ZERO) != 0)
		m->len = 0;
}

/* Sends it; `fds`, as many as it has, stay the caller's.  False where the
 * other side does not take it. */
static inline bool
fuzz_message_send(int fd, const struct fuzz_message *m, const int *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FUZZ_FDS_MAX * sizeof(int))];
	} control;
	union {
		const uint8_t *sent;
		void *base;
	} bytes = { m->bytes };
	struct iovec iov = { bytes.base, m->len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cm;

	if (m->fds != 0) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(m->fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(m->fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, m->fds * sizeof(int));
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)m->len;
}

/* The same with descriptors of nothing much, which can be waited for. */
static inline bool
fuzz_message_send_any(int fd, const struct fuzz_message *m)
{
	int fds[FUZZ_FDS_MAX];
	bool sent;
	size_t i;

	for (i = 0; i < m->fds; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		fuzz_check(fds[i] != -1);
	}
	sent = fuzz_message_send(fd, m, fds);
	for (i = 0; i < m->fds; i++)
		close(fds[i]);
	return sent;
}

/*
 * What channel_receive has to say of it before anyone looks at its content,
 * from the definition of a rule: CHANNEL_OK where it is to be served.
 */
static inline enum channel_result
fuzz_message_expect(const struct fuzz_message *m, const struct channel *c)
{
	const struct channel_rule *r = NULL;
	uint32_t i;

	if (m->fds > MESSAGE_FDS_MAX)
		return CHANNEL_FDS;
	if (m->len > sizeof(union message_any))
		return CHANNEL_SIZE;
	if (m->len == 0)
		return CHANNEL_ZERO;
	if (m->len < sizeof(struct message_header))
		return CHANNEL_SIZE;
	for (i = 0; i < c->rule_count && r == NULL; i++)
		if (c->rules[i].type == m->header.type)
			r = &c->rules[i];
	if (r == NULL)
		return CHANNEL_TYPE;
	if (m->len != message_info[r->type].size || m->header.len != m->len)
		return CHANNEL_SIZE;
	if (m->fds != message_info[r->type].fds)
		return CHANNEL_FDS;
	if (!(r->states >> c->state & 1) || (r->once && c->used >> (i - 1) & 1))
		return CHANNEL_MOMENT;
	return CHANNEL_OK;
}

/*
 * Receives it where it was sent to: what comes is what had to, whether it was
 * served or refused, and nothing of it stays in memory.  Returns the result.
 */
static inline enum channel_result
fuzz_message_receive(const struct fuzz_message *m, struct channel *c)
{
	static union message_any received;
	enum channel_result expected = fuzz_message_expect(m, c);
	enum channel_result result = channel_receive(c, &received);
	const uint8_t *byte = (const uint8_t *)&received;
	size_t i;

	if (expected == CHANNEL_OK)
		fuzz_check(result == CHANNEL_OK || result == CHANNEL_REFUSED);
	else
		fuzz_check(result == expected);
	for (i = 0; i < m->len && i < sizeof(received); i++)
		fuzz_check(byte[i] == 0);
	return result;
}

#endif
