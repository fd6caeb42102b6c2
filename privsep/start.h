/*
 * privsep/start.h - the first moments of a helper: it reads one message,
 * gives up everything, says so, and becomes its role.
 *
 * Runs in: every helper.
 */
#ifndef PRIVSEP_START_H
#define PRIVSEP_START_H

#include "privsep/message.h"
#include "privsep/roles.h"

#define HELPER_CHANNEL 3 /* the descriptor of a helper's channel */
/* That of a worker's channel to the master: the zygote has its own channel
 * alone, and MESSAGE_SPAWN's descriptors come behind it. */
#define WORKER_CHANNEL 5
/* argv[2]: room for the process title. */
#define HELPER_PADDING                                                     \
	"                                                                " \
	"                                                                "

/* A helper's own view of itself. */
struct helper {
	int channel; /* to the master */
	enum role_id role;
	void *state; /* of the role: set by its prepare function */
	enum sandbox_memory memory; /* likewise */
	struct message_start start;
	/* Where ps(1) reads the process's title: the memory of argv. */
	char *title;
	size_t title_len;
};

/*
 * The life of a helper, to its exit status: start message, sandbox, role.
 * Never returns to a caller that has anything else to do.  `title` is the
 * memory of argv, title_len bytes.
 */
int helper_run(enum role_id role, char *title, size_t title_len);

/* Identifies the program's build: a hash of its sources. */
extern const uint8_t build_id[BUILD_ID_LEN];

#endif
