/*
 * master/private.c - opening a file that only its owner may have.
 *
 * Runs in: master, as root or as who started it.  What is in such a file (the
 * long-term key, hashes of passwords) is for the helper that gets the
 * descriptor.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/private.h"

int
private_open(const char *path, uid_t owner, mode_t forbidden, const char *has,
    char *why, size_t why_len)
{
	struct stat st;
	int fd;

	/* Without waiting, should it be a pipe. */
	fd = open(
	    path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1) {
		snprintf(why, why_len, "%s: %s", path,
		    errno == ELOOP ? "it is a symbolic link: name the file "
				     "itself"
			: errno == EACCES && owner == 0
			? "root without CAP_DAC_OVERRIDE cannot read it: chown "
			  "it to root"
			: strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == -1)
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(why, why_len, "%s is not a regular file", path);
	else if (st.st_uid != owner)
		snprintf(why, why_len,
		    "%s belongs to user %lu: chown it to user %lu", path,
		    (unsigned long)st.st_uid, (unsigned long)owner);
	else if ((st.st_mode & forbidden) != 0)
		snprintf(why, why_len,
		    "%s has mode %04o: chmod 0600 it, since it has %s", path,
		    (unsigned)st.st_mode & 07777, has);
	else
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}
