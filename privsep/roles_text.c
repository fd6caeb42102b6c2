/*
 * privsep/roles_text.c - which descriptors each role has, and what it never
 * sees.
 *
 * Runs in: no process of the server; documents are made of it, and tests
 * compare it with running processes.
 */
#include <stddef.h>

#include "privsep/roles_text.h"

/* Descriptors 0, 1 and 2 of every helper. */
#define STANDARD(role)                            \
	{                                         \
		role, DESCRIPTOR_NULL, 3, 3, NULL \
	}
#define EVENT_LOOP(role)                                \
	{ role, DESCRIPTOR_EPOLL, 1, 1,                 \
		"its event loop's: an epoll, a pipe" }, \
	{                                               \
		role, DESCRIPTOR_PIPE, 2, 2, NULL       \
	}

const struct role_descriptors role_descriptors[] = {
	/* Beside what it was started with as 0, 1 and 2. */
	{ ROLE_MASTER, DESCRIPTOR_LISTENER, 0, DESCRIPTORS_MANY,
	    "listening sockets" },
	{ ROLE_MASTER, DESCRIPTOR_CONTROL, 0, DESCRIPTORS_MANY,
	    "the control socket and its clients" },
	{ ROLE_MASTER, DESCRIPTOR_LOG, 0, 1, "the log's socket" },
	{ ROLE_MASTER, DESCRIPTOR_DIRECTORY, 2, 2,
	    "`state_dir` and its lock; `chroot_dir`" },
	{ ROLE_MASTER, DESCRIPTOR_FILE, 1, 1, NULL },
	{ ROLE_MASTER, DESCRIPTOR_CHANNEL, 1, DESCRIPTORS_MANY,
	    "a channel and a pidfd for each helper and each worker" },
	{ ROLE_MASTER, DESCRIPTOR_PIDFD, 1, DESCRIPTORS_MANY, NULL },
	{ ROLE_MASTER, DESCRIPTOR_PROGRAM, 2, PROGRAMS,
	    "its programs (O_PATH)" },
	{ ROLE_MASTER, DESCRIPTOR_NULL, 1, 2,
	    "/dev/null, for helpers, and in reserve" },
	EVENT_LOOP(ROLE_MASTER),

	STANDARD(ROLE_KEYS),
	{ ROLE_KEYS, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },
	{ ROLE_KEYS, DESCRIPTOR_CHANNEL, 0, DESCRIPTORS_MANY,
	    "a channel for each exchange and lockdown under way" },
	EVENT_LOOP(ROLE_KEYS),
	{ ROLE_KEYS, DESCRIPTOR_FILE, 0, 1,
	    "the identity file while it is read, or a pipe to the master for a "
	    "new one" },
	{ ROLE_KEYS, DESCRIPTOR_PIPE, 0, 1, NULL },

	STANDARD(ROLE_PARAMGEN),
	{ ROLE_PARAMGEN, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },

	STANDARD(ROLE_AUTH),
	{ ROLE_AUTH, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },
	{ ROLE_AUTH, DESCRIPTOR_CHANNEL, 0, DESCRIPTORS_MANY,
	    "a channel for each session in lockdown" },
	EVENT_LOOP(ROLE_AUTH),
	{ ROLE_AUTH, DESCRIPTOR_FILE, 0, 1, "the users file while it is read" },

	STANDARD(ROLE_PAM),
	{ ROLE_PAM, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },
	{ ROLE_PAM, DESCRIPTOR_CHANNEL, 0, DESCRIPTORS_MANY,
	    "a channel for each session in lockdown" },
	EVENT_LOOP(ROLE_PAM),
	{ ROLE_PAM, DESCRIPTOR_PIDFD, 0, DESCRIPTORS_MANY,
	    "a pidfd and a pipe for each child" },
	{ ROLE_PAM, DESCRIPTOR_PIPE, 0, DESCRIPTORS_MANY, NULL },

	STANDARD(ROLE_ATTEMPT),
	{ ROLE_ATTEMPT, DESCRIPTOR_PIPE, 1, 1, "a pipe, for its answer" },
	{ ROLE_ATTEMPT, DESCRIPTOR_FILE, 0, DESCRIPTORS_MANY,
	    "files and sockets that modules open" },
	{ ROLE_ATTEMPT, DESCRIPTOR_LOG, 0, DESCRIPTORS_MANY, NULL },

	STANDARD(ROLE_ZYGOTE),
	{ ROLE_ZYGOTE, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },

	STANDARD(ROLE_WORKER),
	{ ROLE_WORKER, DESCRIPTOR_CLIENT, 1, 1, "the client's socket" },
	{ ROLE_WORKER, DESCRIPTOR_CHANNEL, 1, 1, "channel to the master" },
	{ ROLE_WORKER, DESCRIPTOR_CHANNEL, 0, 2,
	    "channel to keys until the exchange, or, where the server has an "
	    "identity, until IDENT; then one to auth or pam; both until the "
	    "client has authenticated" },

	{ ROLE_COUNT, DESCRIPTOR_NULL, 0, 0, NULL },
};

const struct role_text role_text[ROLE_COUNT] = {
	[ROLE_MASTER] = { "always",
	    "a client's packet, a session key, a private exponent, a shared "
	    "secret" },
	[ROLE_KEYS] = { "always, one a CPU",
	    "a client's packets (it gets the bare number y), the network, "
	    "any file but the identity file, which the master opens for it" },
	[ROLE_PARAMGEN] = { "for one set", "a client, a key" },
	[ROLE_AUTH] = { "always, one a CPU",
	    "a client's packets (it gets name and password alone), a session "
	    "key, the network, any file but the users file, which the master "
	    "opens for it" },
	[ROLE_PAM] = { "with `auth_method = system` alone",
	    "a client's packets (it gets name and password alone), a session "
	    "key" },
	[ROLE_ATTEMPT] = { "for one attempt, a child of pam",
	    "what pam never sees; names and passwords of other sessions" },
	[ROLE_ZYGOTE] = { "always",
	    "a client's byte (it passes the socket on unread), the "
	    "configuration, any session but the one it forks" },
	[ROLE_WORKER] = { "one connection",
	    "another session, a private exponent, a shared secret, the "
	    "configuration, a file" },
};
