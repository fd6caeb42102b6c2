/*
 * worker/wire.c - a worker's socket: reading, writing and waiting.
 *
 * Runs in: worker.  Sees the client's bytes as they come.
 */
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fmltp/proto.h"
#include "worker/worker.h"

/*
 * The system call itself: through the vDSO a process as short-lived as this
 * would pay more in page faults than it saves.
 */
static struct timespec
wire_clock(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	syscall(SYS_clock_gettime, clock, &ts);
	return ts;
}

uint64_t
wire_now(void)
{
	struct timespec ts = wire_clock(CLOCK_MONOTONIC);

	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
wire_time(void)
{
	return (uint64_t)wire_clock(CLOCK_REALTIME).tv_sec;
}

/* Waits until one of `count` descriptors has something, or `deadline`. */
static enum fmltp_error
wire_poll(struct pollfd *p, nfds_t count, uint64_t deadline)
{
	struct timespec ts, *limit;
	uint64_t now, ms;
	int n;

	for (;;) {
		limit = NULL;
		if (deadline != WIRE_NO_LIMIT) {
			now = wire_now();
			ms = deadline > now ? deadline - now : 0;
			ts.tv_sec = (time_t)(ms / 1000);
			ts.tv_nsec = (long)(ms % 1000) * 1000000;
			limit = &ts;
		}
		n = ppoll(p, count, limit, NULL);
		if (n == -1 && errno != EINTR)
			return FMLTP_INTERNAL;
		if (n > 0)
			return FMLTP_OK;
		if (n == 0)
			return FMLTP_TIMEOUT;
	}
}

/*
 * Waits until `fd` has one of `events`, or `deadline`.  But for LOCKDOWN,
 * which is waited for by itself, the master has nothing to say to a worker:
 * whatever its channel shows is its end, and so the worker's.
 */
static enum fmltp_error
wire_wait(struct worker *w, int fd, short events, uint64_t deadline)
{
	struct pollfd p[2] = { { fd, events, 0 }, { w->master, POLLIN, 0 } };
	enum fmltp_error error;

	error = wire_poll(p, 2, deadline);
	if (error == FMLTP_OK && p[1].revents != 0)
		worker_leave(w);
	return error;
}

enum fmltp_error
wire_fill(struct worker *w, uint64_t deadline)
{
	enum fmltp_error error;
	ssize_t n;

	if (w->in_len == sizeof(w->in))
		return FMLTP_INTERNAL;
	for (;;) {
		error = wire_wait(w, w->client, POLLIN, deadline);
		if (error != FMLTP_OK)
			return error;
		n = read(
		    w->client, w->in + w->in_len, sizeof(w->in) - w->in_len);
		if (n > 0) {
			w->in_len += (size_t)n;
			w->bytes_in += (size_t)n;
			return FMLTP_OK;
		}
		if (n == 0)
			return FMLTP_CLOSED;
		if (errno != EAGAIN && errno != EINTR)
			return FMLTP_RESET;
	}
}

void
wire_drop(struct worker *w, size_t len)
{
	w->in_len -= len;
	memmove(w->in, w->in + len, w->in_len);
}

enum fmltp_error
wire_send(struct worker *w, const void *bytes, size_t len)
{
	struct cursor c;
	uint64_t limit = FMLTP_SEND_MS, deadline = 0;
	enum fmltp_error error;
	ssize_t n;

	if (len / FMLTP_SEND_RATE * 1000 > limit)
		limit = len / FMLTP_SEND_RATE * 1000;
	cursor_init(&c, bytes, len);
	while (c.left > 0) {
		n = write(w->client, c.p, c.left);
		if (n >= 0) {
			w->bytes_out += (size_t)n;
			cursor_take(&c, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return FMLTP_RESET;
		if (deadline == 0)
			deadline = wire_now() + limit;
		error = wire_wait(w, w->client, POLLOUT, deadline);
		if (error != FMLTP_OK)
			return error == FMLTP_TIMEOUT ? FMLTP_SEND_TIMEOUT
						      : error;
	}
	return FMLTP_OK;
}

void
wire_start_packet(struct worker *w, size_t len, struct buf *b)
{
	if (len <= sizeof(w->out_hot))
		buf_init(b, w->out_hot, sizeof(w->out_hot));
	else
		buf_init(b, w->out_large, sizeof(w->out_large));
}

enum fmltp_error
wire_send_sealed(struct worker *w, const void *plain, size_t len)
{
	uint8_t iv[FERNET_IV_LEN];
	struct buf out;

	if (getrandom(iv, sizeof(iv), 0) != (ssize_t)sizeof(iv))
		return FMLTP_INTERNAL;
	wire_start_packet(w, FERNET_TOKEN_LEN(len) + 2, &out);
	secure_send(&w->secure, wire_time(), iv, plain, len, &out);
	if (out.failed)
		return FMLTP_INTERNAL;
	return wire_send(w, out.data, out.len);
}

enum fmltp_error
wire_wait_channel(struct worker *w, int fd, uint64_t deadline)
{
	return wire_wait(w, fd, POLLIN, deadline);
}

enum fmltp_error
wire_wait_reply(struct worker *w, int fd, uint64_t deadline)
{
	/* No event of the client's is asked for: what is told unasked is a
	 * connection that is gone in both directions. */
	struct pollfd p[3] = { { fd, POLLIN, 0 }, { w->master, POLLIN, 0 },
		{ w->client, 0, 0 } };
	enum fmltp_error error;

	error = wire_poll(p, 3, deadline);
	if (error != FMLTP_OK)
		return error;
	if (p[1].revents != 0)
		worker_leave(w);
	return p[0].revents != 0 ? FMLTP_OK : FMLTP_RESET;
}

enum fmltp_error
wire_wait_master(struct worker *w, uint64_t deadline)
{
	struct pollfd p = { w->master, POLLIN, 0 };

	return wire_poll(&p, 1, deadline);
}

void
wire_linger(struct worker *w)
{
	uint64_t deadline;
	size_t dropped = 0;

	if (shutdown(w->client, SHUT_WR) == -1)
		return;
	deadline = wire_now() + FMLTP_LINGER_MS;
	while (dropped < FMLTP_LINGER_BYTES) {
		w->in_len = 0;
		if (wire_fill(w, deadline) != FMLTP_OK)
			return;
		dropped += w->in_len;
	}
}
