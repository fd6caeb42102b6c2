/*
 * tests/faults/clock.c - a clock that runs faster, for the programs below
 * build/faults: what the master reckons in minutes is seen in a second.
 *
 * Runs in: the test's master.  FLEXMUSIC_TEST_CLOCK says how many times as
 * fast; timers keep their own time.
 */
#include <stdint.h>
#include <stdlib.h>

uint64_t __real_master_now(void);
uint64_t __wrap_master_now(void);

uint64_t
__wrap_master_now(void)
{
	const char *times = getenv("FLEXMUSIC_TEST_CLOCK");

	return __real_master_now() *
	    (times == NULL ? 1 : strtoull(times, NULL, 10));
}
