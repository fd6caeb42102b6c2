/*
 * paramgen/sieve.h - strikes out of a window those candidates q for which q
 * or 2q+1 has a small factor.
 *
 * Runs in: paramgen.  Nothing here is secret.
 */
#ifndef PARAMGEN_SIEVE_H
#define PARAMGEN_SIEVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIEVE_STEP    12 /* between two candidates */
#define SIEVE_RESIDUE 11 /* of all candidates by that step */

/* The candidates q0 + 12 i, for all i < count. */
struct sieve_window {
	const uint64_t *start; /* q0 = 11 mod 12, lowest word first */
	size_t words; /* of q0; the highest is not 0 */
	uint32_t count;
	uint64_t *struck; /* bit i: candidate i is out; written by the sieve */
};

/* Words of `struck` for a window of so many candidates. */
#define SIEVE_WORDS(count) (((size_t)(count) + 63) / 64)

/* Called now and then, some thousand times a second: false ends the sieve. */
typedef bool sieve_tick(void *arg);

/*
 * Sieves the window by all primes r with 5 <= r < bound.  A prime does not
 * strike itself.  False without memory, or where `tick` (which may be NULL)
 * said so.
 */
bool sieve_run(
    const struct sieve_window *w, uint32_t bound, sieve_tick *tick, void *arg);

/* How many divisors sieve_solve takes at a time. */
#define SIEVE_LANES 8

/*
 * For each of the divisors d, odd, without factor 3 and above 1: the t < d
 * with q0 + 12 t = 0 mod d.
 */
void sieve_solve(const struct sieve_window *w, const uint64_t d[SIEVE_LANES],
    uint64_t t[SIEVE_LANES]);

#endif
