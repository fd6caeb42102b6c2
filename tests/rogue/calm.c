/*
 * tests/rogue/calm.c - attacks that are not held against those that come
 * after them, so that a test can make thousands: accepts are not delayed, and
 * helpers are restarted at once.
 *
 * Runs in: the test's master (build/rogue), around two functions of its own,
 * by the linker, and only while FLEXMUSIC_TEST_CALM is set.
 */
#include <stdlib.h>
#include <string.h>

#include "master/master.h"

void __real_master_count_attack(struct master *m);
void __wrap_master_count_attack(struct master *m);
void __real_session_zygote_lost(struct process *zygote);
void __wrap_session_zygote_lost(struct process *zygote);

void
__wrap_master_count_attack(struct master *m)
{
	if (getenv("FLEXMUSIC_TEST_CALM") != NULL)
		memset(m->attack_ms, 0, sizeof(m->attack_ms));
	__real_master_count_attack(m);
}

void
__wrap_session_zygote_lost(struct process *zygote)
{
	__real_session_zygote_lost(zygote);
	if (getenv("FLEXMUSIC_TEST_CALM") != NULL)
		zygote->failures = 0;
}
