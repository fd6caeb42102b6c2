/*
 * privsep/roles_text.h - what documents say of each role beside what the
 * program decides by: which descriptors it has, and what it never sees.
 *
 * Runs in: no process of the server; documents are made of it, and tests
 * compare it with running processes.
 */
#ifndef PRIVSEP_ROLES_TEXT_H
#define PRIVSEP_ROLES_TEXT_H

#include "privsep/roles.h"

/* What a descriptor is of. */
#define ROLE_DESCRIPTOR_KINDS(X)                                  \
	X(DESCRIPTOR_NULL, "null") /* /dev/null */                \
	X(DESCRIPTOR_CHANNEL, "channel") /* a socketpair */       \
	X(DESCRIPTOR_CONTROL, "control") /* the control socket */ \
	X(DESCRIPTOR_LISTENER, "listener") /* TCP */              \
	X(DESCRIPTOR_CLIENT, "client") /* TCP */                  \
	X(DESCRIPTOR_LOG, "log") /* a datagram socket */          \
	X(DESCRIPTOR_EPOLL, "epoll")                              \
	X(DESCRIPTOR_PIPE, "pipe") /* one end */                  \
	X(DESCRIPTOR_PIDFD, "pidfd")                              \
	X(DESCRIPTOR_PROGRAM, "program") /* a file, O_PATH */     \
	X(DESCRIPTOR_DIRECTORY, "directory") /* O_PATH or not */  \
	X(DESCRIPTOR_FILE, "file")

enum role_descriptor_kind {
#define X(kind, name) kind,
	ROLE_DESCRIPTOR_KINDS(X)
#undef X
};

#define DESCRIPTORS_MANY (~0u)

/* Descriptors that a role has: so many at least and at most. */
struct role_descriptors {
	enum role_id role;
	enum role_descriptor_kind kind;
	unsigned least;
	unsigned most;
	const char *what; /* NULL: the row before says it */
};

struct role_text {
	const char *lives;
	const char *never; /* what it never sees */
};

/* A row whose role is ROLE_COUNT ends it. */
extern const struct role_descriptors role_descriptors[];
extern const struct role_text role_text[ROLE_COUNT];

#endif
