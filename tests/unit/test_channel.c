/*
 * tests/unit/test_channel.c - channels: what a side takes, and every way in
 * which the other side can break the rules.
 *
 * Runs in: the test alone.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "tests/unit/unit.h"

/* A receiver: what was served, and the descriptors that came. */
struct receiver {
	struct channel c;
	int other; /* the end that the test writes to */
	int served;
	int fds[MESSAGE_FDS_MAX];
	bool refuse;
	uint32_t generation;
};

static bool
serve_retire(void *arg, const union message_any *m, int *fds)
{
	struct receiver *r = arg;

	r->served++;
	r->generation = m->message_retire.generation;
	return !r->refuse;
}

static bool
serve_channel(void *arg, const union message_any *m, int *fds)
{
	struct receiver *r = arg;

	r->served++;
	r->fds[0] = fds[0];
	return true;
}

static bool
serve_once(void *arg, const union message_any *m, int *fds)
{
	struct receiver *r = arg;

	r->served++;
	r->c.state = 1;
	return true;
}

static const struct channel_rule rules[] = {
	{ MESSAGE_RETIRE, CHANNEL_ANY_STATE, false, serve_retire },
	{ MESSAGE_KEX_CHANNEL, CHANNEL_ANY_STATE, false, serve_channel },
	{ MESSAGE_STATUS_REQUEST, CHANNEL_STATE(0), false, serve_once },
	{ MESSAGE_ACTIVE, CHANNEL_ANY_STATE, true, serve_once },
};

static int
setup(void **state)
{
	static struct receiver r;
	int fd[2];

	memset(&r, 0, sizeof(r));
	if (!channel_pair(fd, false, 0))
		return -1;
	channel_init(&r.c, fd[0], rules, sizeof(rules) / sizeof(rules[0]), &r);
	r.other = fd[1];
	*state = &r;
	return 0;
}

static int
teardown(void **state)
{
	struct receiver *r = *state;

	close(r->c.fd);
	if (r->other != -1)
		close(r->other);
	return 0;
}

static enum channel_result
receive(struct receiver *r)
{
	static union message_any m;

	return channel_receive(&r->c, &m);
}

static int
open_descriptors(void)
{
	int fd, count = 0;

	for (fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			count++;
	return count;
}

static void
test_served(void **state)
{
	struct receiver *r = *state;
	struct message_retire m;

	memset(&m, 0, sizeof(m));
	m.generation = 7;
	assert_int_equal(receive(r), CHANNEL_EMPTY);
	assert_true(channel_send(r->other, MESSAGE_RETIRE, &m));
	assert_int_equal(receive(r), CHANNEL_OK);
	assert_int_equal(r->served, 1);
	assert_int_equal(r->generation, 7);
	assert_int_equal(receive(r), CHANNEL_EMPTY);
}

static void
test_message_is_wiped(void **state)
{
	struct receiver *r = *state;
	struct message_retire m;
	union message_any any;
	size_t i;

	memset(&m, 0, sizeof(m));
	m.generation = 0x51515151;
	memset(&any, 0, sizeof(any));
	assert_true(channel_send(r->other, MESSAGE_RETIRE, &m));
	assert_int_equal(channel_receive(&r->c, &any), CHANNEL_OK);
	for (i = 0; i < sizeof(any); i++)
		assert_int_equal(((const uint8_t *)&any)[i], 0);
}

static void
test_closed(void **state)
{
	struct receiver *r = *state;

	close(r->other);
	r->other = -1;
	assert_int_equal(receive(r), CHANNEL_CLOSED);
	assert_int_equal(r->served, 0);
}

static void
test_empty_message(void **state)
{
	struct receiver *r = *state;

	assert_int_equal(write(r->other, "", 0), 0);
	assert_int_equal(receive(r), CHANNEL_ZERO);
}

static void
test_every_size(void **state)
{
	struct receiver *r = *state;
	union message_any m;
	size_t size;
	enum channel_result result;

	for (size = 1; size < sizeof(m); size++) {
		memset(&m, 0, sizeof(m));
		m.header.type = MESSAGE_RETIRE;
		m.header.len = (uint16_t)size;
		assert_int_equal(write(r->other, &m, size), (ssize_t)size);
		result = receive(r);
		if (size == sizeof(struct message_retire))
			assert_int_equal(result, CHANNEL_OK);
		else
			assert_int_equal(result, CHANNEL_SIZE);
	}
	assert_int_equal(r->served, 1);
}

static void
test_longer_than_any(void **state)
{
	struct receiver *r = *state;
	static uint8_t bytes[sizeof(union message_any) + 1];
	struct message_header h = { MESSAGE_RETIRE,
		sizeof(struct message_retire) };

	memcpy(bytes, &h, sizeof(h));
	assert_int_equal(
	    write(r->other, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	assert_int_equal(receive(r), CHANNEL_SIZE);
	assert_int_equal(r->served, 0);
}

static void
test_lying_header(void **state)
{
	struct receiver *r = *state;
	struct message_retire m;

	memset(&m, 0, sizeof(m));
	m.header.type = MESSAGE_RETIRE;
	m.header.len = sizeof(m) - 1;
	assert_int_equal(write(r->other, &m, sizeof(m)), (ssize_t)sizeof(m));
	assert_int_equal(receive(r), CHANNEL_SIZE);
}

static void
test_every_other_type(void **state)
{
	struct receiver *r = *state;
	union message_any m;
	unsigned type;

	for (type = 0; type <= UINT16_MAX; type++) {
		if (type == MESSAGE_RETIRE || type == MESSAGE_KEX_CHANNEL ||
		    type == MESSAGE_STATUS_REQUEST || type == MESSAGE_ACTIVE)
			continue;
		memset(&m, 0, sizeof(m));
		m.header.type = (uint16_t)type;
		m.header.len = type < MESSAGE_TYPES && type != 0
		    ? message_info[type].size
		    : sizeof(m.header);
		assert_int_equal(
		    write(r->other, &m, m.header.len), m.header.len);
		assert_int_equal(receive(r), CHANNEL_TYPE);
	}
	assert_int_equal(r->served, 0);
}

static void
test_wrong_moment(void **state)
{
	struct receiver *r = *state;
	struct message_status_request m;
	struct message_active a;

	assert_true(channel_send(r->other, MESSAGE_STATUS_REQUEST, &m));
	assert_int_equal(receive(r), CHANNEL_OK); /* moves the state */
	assert_true(channel_send(r->other, MESSAGE_STATUS_REQUEST, &m));
	assert_int_equal(receive(r), CHANNEL_MOMENT);
	assert_true(channel_send(r->other, MESSAGE_ACTIVE, &a));
	assert_int_equal(receive(r), CHANNEL_OK);
	assert_true(channel_send(r->other, MESSAGE_ACTIVE, &a)); /* once */
	assert_int_equal(receive(r), CHANNEL_MOMENT);
	assert_int_equal(r->served, 2);
}

static void
test_refused_content(void **state)
{
	struct receiver *r = *state;
	struct message_retire m;

	memset(&m, 0, sizeof(m));
	r->refuse = true;
	assert_true(channel_send(r->other, MESSAGE_RETIRE, &m));
	assert_int_equal(receive(r), CHANNEL_REFUSED);
	assert_true(CHANNEL_REFUSED >= CHANNEL_VIOLATION);
	assert_true(CHANNEL_CLOSED < CHANNEL_VIOLATION);
	assert_true(CHANNEL_ERROR < CHANNEL_VIOLATION);
}

/* Sends `count` descriptors with a message that may have none or one. */
static void
send_with(int fd, void *message, size_t len, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control;
	struct iovec iov = { message, len };
	struct msghdr mh;
	struct cmsghdr *cm;
	size_t i;
	int null = 0;

	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = control.bytes;
	mh.msg_controllen = CMSG_SPACE(count * sizeof(int));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(cm) + i * sizeof(int), &null, sizeof(null));
	assert_int_equal(sendmsg(fd, &mh, 0), (ssize_t)len);
}

static void
test_descriptors(void **state)
{
	struct receiver *r = *state;
	struct message_retire none;
	struct message_kex_channel one;
	size_t count;
	int before, fd = 0;

	/* One that belongs to it comes, close-on-exec. */
	memset(&one, 0, sizeof(one));
	assert_true(channel_send_fds(r->other, MESSAGE_KEX_CHANNEL, &one, &fd));
	assert_int_equal(receive(r), CHANNEL_OK);
	assert_int_equal(fcntl(r->fds[0], F_GETFD), FD_CLOEXEC);
	close(r->fds[0]);
	/* Any that does not is closed, also where there is no room for it. */
	before = open_descriptors();
	for (count = 1; count <= 16; count++) {
		memset(&none, 0, sizeof(none));
		none.header.type = MESSAGE_RETIRE;
		none.header.len = sizeof(none);
		send_with(r->other, &none, sizeof(none), count);
		assert_int_equal(receive(r), CHANNEL_FDS);
	}
	for (count = 2; count <= 16; count++) {
		memset(&one, 0, sizeof(one));
		one.header.type = MESSAGE_KEX_CHANNEL;
		one.header.len = sizeof(one);
		send_with(r->other, &one, sizeof(one), count);
		assert_int_equal(receive(r), CHANNEL_FDS);
	}
	assert_int_equal(write(r->other, &one, sizeof(one)),
	    (ssize_t)sizeof(one)); /* and one that is missing */
	assert_int_equal(receive(r), CHANNEL_FDS);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(r->served, 1);
}

static void
test_send_does_not_wait(void **state)
{
	struct receiver *r = *state;
	struct message_retire m;
	int i;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < 1000000; i++)
		if (!channel_send(r->other, MESSAGE_RETIRE, &m))
			break;
	assert_int_equal(errno, EAGAIN);
	assert_true(i > 0 && i < 1000000);
}

static void
test_read_one(void **state)
{
	struct receiver *r = *state;
	union message_any any;
	struct message_retire m;
	struct message_active wrong;

	assert_int_equal(
	    channel_read(r->c.fd, MESSAGE_RETIRE, &any), CHANNEL_EMPTY);
	memset(&m, 0, sizeof(m));
	assert_true(channel_send(r->other, MESSAGE_RETIRE, &m));
	assert_int_equal(
	    channel_read(r->c.fd, MESSAGE_RETIRE, &any), CHANNEL_OK);
	assert_true(channel_send(r->other, MESSAGE_ACTIVE, &wrong));
	assert_int_equal(
	    channel_read(r->c.fd, MESSAGE_RETIRE, &any), CHANNEL_SIZE);
	assert_true(channel_send(r->other, MESSAGE_RETIRE, &m));
	assert_int_equal(
	    channel_read(r->c.fd, MESSAGE_RETIRE + 0, &any), CHANNEL_OK);
	close(r->other);
	r->other = -1;
	assert_int_equal(
	    channel_read(r->c.fd, MESSAGE_RETIRE, &any), CHANNEL_CLOSED);
}

static void
test_table_hash(void **state)
{
	uint8_t a[32], b[32];

	message_table_hash(a);
	message_table_hash(b);
	assert_memory_equal(a, b, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int
main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_served),
		TEST(test_message_is_wiped),
		TEST(test_closed),
		TEST(test_empty_message),
		TEST(test_every_size),
		TEST(test_longer_than_any),
		TEST(test_lying_header),
		TEST(test_every_other_type),
		TEST(test_wrong_moment),
		TEST(test_refused_content),
		TEST(test_descriptors),
		TEST(test_send_does_not_wait),
		TEST(test_read_one),
		cmocka_unit_test(test_table_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
