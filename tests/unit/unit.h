/*
 * tests/unit/unit.h - what the unit tests share.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
/* A literal's bytes, NUL bytes inside included, as two arguments. */
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

/* Numbers that look random and are the same in each run (SplitMix64). */
struct unit_random {
	uint64_t state;
};

static inline uint64_t
unit_random_next(struct unit_random *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15U);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static inline void
unit_random_fill(struct unit_random *r, uint8_t *out, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = (uint8_t)unit_random_next(r);
}

#endif
