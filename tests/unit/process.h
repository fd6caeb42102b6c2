/*
 * tests/unit/process.h - what the unit tests share that run a helper's code in
 * a child.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#ifndef TESTS_UNIT_PROCESS_H
#define TESTS_UNIT_PROCESS_H

#include <sys/wait.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "tests/unit/unit.h"

static inline void
rest_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) == -1)
		continue;
}

/* One message that is on its way. */
static inline void
expect_message_within(int fd, int ms, enum message_type type, void *message)
{
	struct pollfd p = { fd, POLLIN, 0 };

	assert_int_equal(poll(&p, 1, ms), 1);
	assert_int_equal(channel_read(fd, type, message), CHANNEL_OK);
}

/* The process ends with its master's channel, and well. */
static inline void
expect_end_of(pid_t *pid, int *master)
{
	int status;

	close(*master);
	*master = -1;
	assert_int_equal(waitpid(*pid, &status, 0), *pid);
	*pid = -1;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* How often the process waited for something. */
static inline unsigned long
voluntary_switches(pid_t pid)
{
	char path[64], line[128];
	unsigned long n = 0;
	FILE *f;

	assert_true(
	    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid) > 0);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
			n = strtoul(line + 24, NULL, 10);
	fclose(f);
	assert_true(n > 0);
	return n;
}

#endif
