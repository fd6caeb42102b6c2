/*
 * master/daemon.h - becoming a daemon: the parent that waits, the pid file,
 * the programs, the chroot directory.
 *
 * Runs in: master, at its start.
 */
#ifndef MASTER_DAEMON_H
#define MASTER_DAEMON_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * Undoes what a starter may have left: descriptors (0 to 2 are open
 * afterwards, then the sockets that were passed, and no other), SIGCHLD
 * ignored, signals blocked.  False with errno.
 */
bool daemon_inherit_nothing(size_t passed);

/*
 * Forks.  The parent waits until the child says that it listens, and exits 0
 * then, or 1 when the child ends before.  In the child: the descriptor for
 * daemon_ready, in a session of its own.  -1 with errno where fork failed.
 */
int daemon_fork(void);
/* Lets the parent go, and standard input, output and error with it. */
void daemon_ready(int ready_fd, int null_fd);

/* Writes the pid file: false with errno. */
bool daemon_write_pid(const char *path, pid_t pid);

/*
 * O_PATH descriptors of the running program, and of flexmusicd-worker: beside
 * it, or in the libexec directory of the installation.  -1 with errno.
 */
int daemon_open_self(void);
int daemon_open_program(const char *name, char *path, size_t path_len);

/*
 * The empty chroot directory, made where it is missing: a directory of
 * `owner`, no link, that nobody else can write, and empty.  -1 and `why`.
 */
int
daemon_open_chroot(const char *path, uid_t owner, char *why, size_t why_len);

#endif
