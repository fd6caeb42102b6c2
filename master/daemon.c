/*
 * master/daemon.c - becoming a daemon.
 *
 * Runs in: master, at its start, as root without CAP_DAC_OVERRIDE.
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/daemon.h"

bool
daemon_inherit_nothing(size_t passed)
{
	sigset_t none;
	int fd;

	/* A closed one would become one of the server's own descriptors. */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd != -1 && fd < 3);
	if (fd == -1)
		return false;
	closefrom(3 + (int)passed);
	/* Where SIGCHLD is ignored, nobody hears how a child ended. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

int
daemon_fork(void)
{
	int fd[2], status;
	char byte;
	pid_t pid;
	ssize_t n;

	if (pipe2(fd, O_CLOEXEC) == -1)
		return -1;
	pid = fork();
	if (pid == -1)
		return -1;
	if (pid == 0) {
		close(fd[0]);
		if (setsid() == -1 || chdir("/") == -1)
			_exit(1);
		return fd[1];
	}
	close(fd[1]);
	do
		n = read(fd[0], &byte, 1);
	while (n == -1 && errno == EINTR);
	if (n == 1)
		_exit(0);
	if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
		fprintf(stderr, "flexmusicd: ended by signal %d\n",
		    WTERMSIG(status));
	_exit(1);
}

void
daemon_ready(int ready_fd, int null_fd)
{
	int fd;

	for (fd = 0; fd < 3; fd++)
		(void)dup2(null_fd, fd);
	(void)!write(ready_fd, "", 1);
	close(ready_fd);
}

bool
daemon_write_pid(const char *path, pid_t pid)
{
	char text[32];
	int fd, len, error;
	bool written;

	/* A stale file of a server that was killed is replaced; a link is
	 * not followed. */
	fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd == -1)
		return false;
	len = snprintf(text, sizeof(text), "%d\n", (int)pid);
	written = write(fd, text, (size_t)len) == len && fchmod(fd, 0644) == 0;
	error = errno;
	if (close(fd) == -1)
		return false;
	errno = error;
	return written;
}

int
daemon_open_self(void)
{
	return open("/proc/self/exe", O_PATH | O_CLOEXEC);
}

int
daemon_open_program(const char *name, char *path, size_t path_len)
{
	char self[1024];
	ssize_t n;
	char *slash;
	int fd;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash != NULL)
			*slash = '\0';
		snprintf(path, path_len, "%s/%s", self, name);
		fd = open(path, O_PATH | O_CLOEXEC);
		if (fd != -1)
			return fd;
	}
	snprintf(path, path_len, LIBEXECDIR "/%s", name);
	return open(path, O_PATH | O_CLOEXEC);
}

/* Makes the directory and the one above it, for all to look at. */
static void
daemon_make_chroot(const char *path)
{
	char above[1024];
	char *slash;
	mode_t mask;

	if (strlcpy(above, path, sizeof(above)) >= sizeof(above))
		return;
	mask = umask(022);
	slash = strrchr(above, '/');
	if (slash != NULL && slash != above) {
		*slash = '\0';
		(void)mkdir(above, 0755);
	}
	(void)mkdir(path, 0755);
	(void)umask(mask);
}

static bool
daemon_is_empty(int fd)
{
	struct dirent *entry;
	bool empty = true;
	DIR *dir;
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (copy == -1)
		return false;
	dir = fdopendir(copy);
	if (dir == NULL) {
		close(copy);
		return false;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			empty = false;
	closedir(dir);
	return empty;
}

int
daemon_open_chroot(const char *path, uid_t owner, char *why, size_t why_len)
{
	struct stat st;
	int fd;

	daemon_make_chroot(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1) {
		snprintf(
		    why, why_len, "chroot_dir %s: %s", path, strerror(errno));
		if (fd != -1)
			close(fd);
		return -1;
	}
	if (st.st_uid != owner || (st.st_mode & 022) != 0)
		snprintf(why, why_len,
		    "chroot_dir %s: must belong to user %u and be writable by "
		    "nobody else: chown %u %s; chmod 0755 %s",
		    path, (unsigned)owner, (unsigned)owner, path, path);
	else if (!daemon_is_empty(fd))
		snprintf(why, why_len, "chroot_dir %s: must be empty", path);
	else
		return fd;
	close(fd);
	return -1;
}
