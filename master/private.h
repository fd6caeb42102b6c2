/*
 * master/private.h - opening a file that only its owner may have.
 *
 * Runs in: master, as root or as who started it.
 */
#ifndef MASTER_PRIVATE_H
#define MASTER_PRIVATE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * Opens a regular file for reading, to be passed on: the caller never reads
 * it.  It must belong to `owner`, have none of the bits `forbidden` of its
 * mode, and be no link; `has` says for the message what is in it.  -1 with
 * errno and `why`, what is wrong and what to do; ENOENT where it is not there,
 * for which the caller has words of its own.
 */
int private_open(const char *path, uid_t owner, mode_t forbidden,
    const char *has, char *why, size_t why_len);

#endif
