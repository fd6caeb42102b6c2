/*
 * tests/unit/test_notify.c - what systemd is told: sockets of both kinds,
 * receivers that are full or gone, names that can't be used.
 *
 * Runs in: the unit tests alone.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/notify.h"
#include "tests/unit/unit.h"

#define VARIABLE "NOTIFY_SOCKET"

struct place {
	char top[32];
	char name[64]; /* as NOTIFY_SOCKET has it */
	int receiver;
};

static int
setup(void **state)
{
	static struct place place;

	strlcpy(place.top, "/tmp/test_notify.XXXXXX", sizeof place.top);
	if (mkdtemp(place.top) == NULL)
		return -1;
	place.receiver = -1;
	*state = &place;
	return 0;
}

static int
teardown(void **state)
{
	const struct place *p = *state;

	unsetenv(VARIABLE);
	if (p->receiver != -1)
		close(p->receiver);
	if (p->name[0] == '/')
		unlink(p->name);
	return rmdir(p->top);
}

/* A receiver as systemd has it: at a path, or behind @. */
static void
receive_at(struct place *p, char kind)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len;

	/* The same name in both: only its first character says what it is. */
	snprintf(p->name, sizeof p->name, "%c%s/notify", kind, p->top + 1);
	len = strlen(p->name);
	memcpy(sun.sun_path, p->name, len);
	if (kind == '@')
		sun.sun_path[0] = '\0';
	p->receiver =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_not_equal(p->receiver, -1);
	assert_int_equal(
	    bind(p->receiver, (struct sockaddr *)&sun,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
	    0);
	assert_int_equal(setenv(VARIABLE, p->name, 1), 0);
}

/* The next datagram has this text; "" stands for none. */
static void
assert_received(const struct place *p, const char *expected)
{
	char text[1024];
	const ssize_t n = recv(p->receiver, text, sizeof text - 1, 0);

	if (n == -1)
		assert_int_equal(errno, EAGAIN);
	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static void
check_kind(struct place *p, char kind)
{
	int fd;

	receive_at(p, kind);
	fd = notify_open();
	assert_int_not_equal(fd, -1);
	assert_null(getenv(VARIABLE));
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_received(p, "");
	notify_send(fd, "READY=1\nSTATUS=%s, %d", "serving", 7);
	notify_send(fd, "STOPPING=1");
	assert_received(p, "READY=1\nSTATUS=serving, 7");
	assert_received(p, "STOPPING=1");
	assert_received(p, "");
	close(fd);
}

static void
test_notify_path(void **state)
{
	check_kind(*state, '/');
}

static void
test_notify_abstract(void **state)
{
	check_kind(*state, '@');
}

/* Bytes beyond 512 are cut: the first line, which counts, arrives. */
static void
test_notify_long_text(void **state)
{
	struct place *p = *state;
	char text[600], expected[513];
	int fd;

	receive_at(p, '/');
	fd = notify_open();
	memset(text, 's', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	memcpy(text, "READY=1\nSTATUS=", 15);
	notify_send(fd, "%s", text);
	strlcpy(expected, text, sizeof expected);
	assert_received(p, expected);
	expected[511] = '\0';
	notify_send(fd, "%s", expected);
	assert_received(p, expected);
	notify_send(fd, "%s", "");
	assert_received(p, "");
	close(fd);
}

/* A receiver that does not read is not waited for. */
static void
test_notify_full_receiver(void **state)
{
	struct place *p = *state;
	char text[64];
	unsigned i, got = 0;
	int fd;

	receive_at(p, '/');
	fd = notify_open();
	/* net.unix.max_dgram_qlen is 10 as a rule, and 512 at systemd. */
	for (i = 0; i < 100000; i++)
		notify_send(fd, "STATUS=%u", i);
	while (recv(p->receiver, text, sizeof text, 0) > 0)
		got++;
	assert_true(got > 0 && got < i);
	notify_send(fd, "READY=1");
	assert_received(p, "READY=1");
	close(fd);
}

/* One that goes away takes nothing with it. */
static void
test_notify_lost_receiver(void **state)
{
	struct place *p = *state;
	int fd;

	receive_at(p, '/');
	fd = notify_open();
	close(p->receiver);
	p->receiver = -1;
	notify_send(fd, "READY=1");
	notify_send(fd, "STOPPING=1");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	/* And it is not found any more. */
	assert_int_equal(setenv(VARIABLE, p->name, 1), 0);
	assert_int_equal(notify_open(), -1);
	assert_null(getenv(VARIABLE));
}

static void
test_notify_unusable_names(void **state)
{
	static const char *const names[] = { "", "/", "@", "run/notify",
		"vsock:2:1234", "/nonexistent/notify",
		"@flexmusic-nobody-listens-here", "/dev/null" };
	const struct place *p = *state;
	char name[200];
	size_t i;

	assert_null(getenv(VARIABLE));
	assert_int_equal(notify_open(), -1);
	for (i = 0; i < COUNT_OF(names); i++) {
		assert_int_equal(setenv(VARIABLE, names[i], 1), 0);
		assert_int_equal(notify_open(), -1);
		assert_null(getenv(VARIABLE));
	}
	/* Without a socket, nothing is done. */
	notify_send(-1, "READY=1");
	/* Longer than any address: 107 bytes are its end. */
	snprintf(name, sizeof name, "%s/", p->top);
	memset(name + strlen(name), 'n', 150 - strlen(name));
	name[150] = '\0';
	assert_int_equal(setenv(VARIABLE, name, 1), 0);
	assert_int_equal(notify_open(), -1);
	name[0] = '@';
	assert_int_equal(setenv(VARIABLE, name, 1), 0);
	assert_int_equal(notify_open(), -1);
}

/* The longest path that there can be. */
static void
test_notify_longest_path(void **state)
{
	struct place *p = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/", p->top);
	memset(sun.sun_path + strlen(p->top) + 1, 'n',
	    sizeof sun.sun_path - strlen(p->top) - 2);
	p->receiver =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(
	    bind(p->receiver, (struct sockaddr *)&sun, sizeof sun), 0);
	assert_int_equal(setenv(VARIABLE, sun.sun_path, 1), 0);
	assert_int_equal(strlen(sun.sun_path), 107);
	fd = notify_open();
	assert_int_not_equal(fd, -1);
	notify_send(fd, "READY=1");
	assert_received(p, "READY=1");
	close(fd);
	assert_int_equal(unlink(sun.sun_path), 0);
}

int
main(void)
{
#define PLACE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		PLACE(test_notify_path),
		PLACE(test_notify_abstract),
		PLACE(test_notify_long_text),
		PLACE(test_notify_full_receiver),
		PLACE(test_notify_lost_receiver),
		PLACE(test_notify_unusable_names),
		PLACE(test_notify_longest_path),
	};

	return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
