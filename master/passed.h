/*
 * master/passed.h - listening sockets that a service manager has passed:
 * sd_listen_fds(3)'s protocol.
 *
 * Runs in: master, at its start.  Nothing is read from these sockets.
 */
#ifndef MASTER_PASSED_H
#define MASTER_PASSED_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

#include "master/config.h"

#define PASSED_FIRST	3 /* the first descriptor; the others follow it */
#define PASSED_NAME_MAX 63 /* bytes of a name; a longer one is cut */

struct passed_socket {
	struct config_host host; /* where it listens */
	char name[PASSED_NAME_MAX + 1]; /* FileDescriptorName=, or "" */
};

struct passed {
	size_t count; /* 0: none; the server binds its own */
	struct passed_socket socket[CONFIG_HOSTS_MAX];
};

/*
 * What the variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES mean to the
 * process `self`; NULL stands for one that is not set.  Sets count, and the
 * names.  None for this process is no error; one that makes no sense is:
 * false and `why`.  A pure function of its arguments.
 */
bool passed_parse(struct passed *p, const char *pid, const char *fds,
    const char *names, pid_t self, char *why, size_t why_len);

/*
 * Takes the variables out of the environment, and the sockets that they are
 * about: checked, non-blocking, close-on-exec.  False, and `why` names the
 * descriptor and what is wrong with it.
 */
bool passed_take(struct passed *p, char *why, size_t why_len);

#endif
