/*
 * tests/unit/memory.h - what of a secret is left in this process's memory.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#ifndef TESTS_UNIT_MEMORY_H
#define TESTS_UNIT_MEMORY_H

#include <stdio.h>

#include "tests/unit/unit.h"

#define MEMORY_PIECE   8
#define MEMORY_PIECES  128 /* of a secret */
#define MEMORY_FORMS   3
#define MEMORY_NEEDLES (MEMORY_PIECES * MEMORY_FORMS)

/* Sanitizers and valgrind watch every access, and keep copies. */
#ifdef FLEXMUSIC_SANITIZER
#define MEMORY_CAN_BE_READ false
#else
#define MEMORY_CAN_BE_READ true
#endif

/* What is looked for is never whole in memory, but in the test's constants. */
#define MEMORY_MASK  0x5ac3f01e96b7d248U
#define MEMORY_STACK 65536 /* bytes that calls may have used */

struct memory_needles {
	uint64_t masked[MEMORY_NEEDLES];
	size_t count;
};

/* Eight bytes each: as they are, as OpenSSL's limbs, as words of a hash's
 * input. */
static inline void
memory_make_needles(
    struct memory_needles *all, const volatile uint8_t *secret, size_t len)
{
	uint64_t *m = all->masked;
	size_t i, n;

	for (i = 0; i + MEMORY_PIECE <= len; i += MEMORY_PIECE) {
		m[0] = m[1] = m[2] = MEMORY_MASK;
		for (n = 0; n < MEMORY_PIECE; n++) {
			m[0] ^= (uint64_t)secret[i + n] << (8 * n);
			m[1] ^= (uint64_t)secret[i + n] << (56 - 8 * n);
			m[2] ^= (uint64_t)secret[i + (n ^ 3)] << (8 * n);
		}
		m += MEMORY_FORMS;
	}
	all->count = (size_t)(m - all->masked);
}

/* Not inline, and without a call: nothing of the stack is written over. */
static unsigned __attribute__((noinline)) memory_count_range(
    const struct memory_needles *all, uintptr_t begin, uintptr_t end)
{
	unsigned found = 0;
	uint64_t v;
	size_t i;

	for (; begin + MEMORY_PIECE <= end; begin++) {
		__builtin_memcpy(&v, (const void *)begin, sizeof(v));
		v ^= MEMORY_MASK;
		for (i = 0; i < all->count; i++)
			found += v == all->masked[i];
	}
	return found;
}

/*
 * How many places of memory that can be written to have eight bytes of the
 * secret, which has to be a constant itself.  What lies below the stack's end
 * is looked at first, before the calls that are made here write over it.
 */
static inline unsigned
memory_count(const uint8_t *secret, size_t len)
{
	static struct memory_needles all;
	static char line[512];
	const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	unsigned long begin, end;
	unsigned found;
	char mode[8];
	FILE *maps;

	memory_make_needles(&all, secret, len);
	found = memory_count_range(&all, here - MEMORY_STACK, here);
	assert_true(all.count <= MEMORY_NEEDLES);
	maps = fopen("/proc/self/maps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &begin, &end, mode) == 3 &&
		    mode[0] == 'r' && mode[1] == 'w')
			found += memory_count_range(&all, begin, end);
	fclose(maps);
	return found;
}

#endif
