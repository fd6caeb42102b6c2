/*
 * tests/rogue/rogue.h - a worker, or a zygote, that was taken over: what the
 * test's client tells it, it does.
 *
 * Runs in: the test's zygote and workers (build/rogue), in the sandbox that
 * the server gives them.
 */
#ifndef TESTS_ROGUE_ROGUE_H
#define TESTS_ROGUE_ROGUE_H

#include <stdbool.h>

#include "worker/worker.h"

/* What the attacker's code has got: all that the process has. */
struct rogue {
	int client; /* who tells it what to do */
	int master; /* channels; -1 where it has none */
	int keys;
	struct worker *worker; /* NULL in the zygote */
};

/*
 * Does what the client says, a line a command, until it hangs up, and ends
 * the process.  In the zygote it returns where the client says so.
 *
 *	call NUMBER [ARGUMENT ...]	a system call
 *	call32 NUMBER [ARGUMENT ...]	the same by i386's entry
 *	read ADDRESS LENGTH		the bytes at that address, as they are
 *	write ADDRESS LENGTH		the bytes that follow go there
 *	store ADDRESS			a byte is written, whatever is there
 *	jump ADDRESS			it is executed
 *	fpe, ill, bus			another death by a signal
 *	fork				a child of the master's, which waits
 *	where				addresses and descriptors
 *	messages			name, size, descriptors of each message
 *	leave				back to what a zygote does
 *
 * Answers are lines; numbers are those of strtoull(3).
 */
void rogue_serve(const struct rogue *r);

#endif
