/*
 * tests/faults/steps.c - a process that is killed at a chosen step of what it
 * does to the state directory, for the programs below build/faults.
 *
 * Runs in: the test's master.  FLEXMUSIC_TEST_KILL_STEP says when: step 1 is
 * before its first call that changes the directory, step 2 after it, 3 before
 * the second, and so on.  Counted are unlinkat, renameat, fsync, and openat
 * where it makes a file: in the master, only master/state.c calls them.
 * Helpers have no environment, and are left alone.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/faults/fault.h"

void
fault_step(void)
{
	static unsigned long long steps;
	const char *last = getenv("FLEXMUSIC_TEST_KILL_STEP");

	if (last != NULL && ++steps == strtoull(last, NULL, 10))
		kill(getpid(), SIGKILL);
}
