/*
 * paramgen/sieve.c - strikes out of a window those candidates q for which q
 * or 2q+1 has a small factor.
 *
 * Runs in: paramgen.  Nothing here is secret.
 *
 * Nearly all primes r are larger than the window and strike one candidate at
 * most: what counts is the time for the first hit of a prime, q0's remainder
 * above all.  So primes are multiplied to divisors of up to 64 bits, q0 is
 * divided by each of these once, by Montgomery's way from the lowest word up
 * (two multiplications a word, no division), and several divisors at a time,
 * since each step waits for the one before.
 */
#include <stdlib.h>
#include <string.h>

#include "paramgen/sieve.h"

/* Primes are made as they are needed, in segments of odd numbers. */
#define SEGMENT_WORDS 4096 /* 32 KiB: the processor's nearest cache */
#define SEGMENT_BITS  (SEGMENT_WORDS * 64u)
#define BASE_MAX      65536u /* base primes are below: bounds up to 2^32 */
#define BASE_PRIMES   6542 /* so many are there below, with 2 */
#define PATTERN_WORDS 1155u /* 3 * 5 * 7 * 11: these strike by a pattern */
#define PATTERN_LAST  11u

/* The most primes, from 5 on, whose product has 64 bits: 5 * 7 * ... * 53. */
#define DIVISOR_PRIMES 14

struct sieve_base {
	uint32_t prime;
	uint32_t next; /* its next multiple, as a bit of the segment to come */
};

/* A product of primes. */
struct sieve_divisor {
	unsigned count;
	uint32_t prime[DIVISOR_PRIMES];
};

struct sieve {
	const struct sieve_window *window;
	uint64_t low; /* q0 where it is small enough to be a prime of ours */
	/* Those that wait for sieve_solve; product 1: still empty */
	unsigned filled;
	uint64_t product[SIEVE_LANES];
	struct sieve_divisor divisor[SIEVE_LANES];
	/* The primes from 13 to 65536, those whose squares came, the segment */
	size_t bases;
	size_t bases_used;
	struct sieve_base base[BASE_PRIMES];
	uint64_t pattern[PATTERN_WORDS];
	uint64_t segment[SEGMENT_WORDS];
};

/*
 * The arithmetic.
 */

static inline uint64_t
word_multiply_high(uint64_t a, uint64_t b)
{
	return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* The inverse of an odd d by 2^64: Newton's steps double 5 correct bits. */
static inline uint64_t
word_inverse(uint64_t d)
{
	uint64_t x = (3 * d) ^ 2;

	x *= 2 - d * x;
	x *= 2 - d * x;
	x *= 2 - d * x;
	return x * (2 - d * x);
}

/* Montgomery's product a b / 2^64 mod d. */
static inline uint64_t
word_montgomery(uint64_t a, uint64_t b, uint64_t d, uint64_t inverse)
{
	unsigned __int128 x = (unsigned __int128)a * b;
	uint64_t high = (uint64_t)(x >> 64);
	uint64_t m = word_multiply_high((uint64_t)x * inverse, d);

	return high < m ? high - m + d : high - m;
}

void
sieve_solve(const struct sieve_window *w, const uint64_t d[SIEVE_LANES],
    uint64_t t[SIEVE_LANES])
{
	uint64_t inverse[SIEVE_LANES], c[SIEVE_LANES], f[SIEVE_LANES];
	uint64_t e = (uint64_t)w->words * 64, x, y, j;
	unsigned lane, shift = 0;
	size_t i;

	for (lane = 0; lane < SIEVE_LANES; lane++) {
		inverse[lane] = word_inverse(d[lane]);
		c[lane] = 0;
	}
	/* c = -q0 / 2^e mod d, and may be d itself. */
	for (i = 0; i < w->words; i++) {
#pragma GCC unroll 8
		for (lane = 0; lane < SIEVE_LANES; lane++) {
			x = w->start[i] - c[lane];
			c[lane] = (w->start[i] < c[lane]) +
			    word_multiply_high(x * inverse[lane], d[lane]);
		}
	}
	/* f = 2^(64 + e) mod d takes the power away again. */
	while (e >> shift >= 64)
		shift++;
	for (lane = 0; lane < SIEVE_LANES; lane++)
		f[lane] =
		    (uint64_t)(((unsigned __int128)1 << (64 + (e >> shift))) %
			d[lane]);
	while (shift-- > 0) {
		for (lane = 0; lane < SIEVE_LANES; lane++) {
			f[lane] = word_montgomery(
			    f[lane], f[lane], d[lane], inverse[lane]);
			if (e >> shift & 1)
				f[lane] -= f[lane] < d[lane] - f[lane]
				    ? 0 - f[lane]
				    : d[lane] - f[lane];
		}
	}
	/* t = x / 12: d is its own inverse mod 12, so j makes x + jd even. */
	for (lane = 0; lane < SIEVE_LANES; lane++) {
		x = word_montgomery(c[lane], f[lane], d[lane], inverse[lane]);
		y = d[lane];
		j = (12 - x % 12) * (y % 12) % 12;
		t[lane] = x / 12 + j * (y / 12) + (x % 12 + j * (y % 12)) / 12;
	}
}

/*
 * Striking.
 */

static inline void
sieve_strike(const struct sieve_window *w, uint64_t i, uint32_t r)
{
	for (; i < w->count; i += r)
		w->struck[i / 64] |= (uint64_t)1 << i % 64;
}

/* Strikes by one prime, whose first multiple among the q is candidate t. */
static inline void
sieve_strike_prime(const struct sieve *s, uint32_t r, uint32_t t)
{
	const struct sieve_window *w = s->window;
	uint64_t i = t, inverse;

	if (i < w->count) {
		if (s->low + SIEVE_STEP * i == r)
			i += r;
		sieve_strike(w, i, r);
	}
	/* r divides 2q+1 where q = -1/2, which is 1/24 candidates earlier. */
	inverse = (1 + (24 - r % 24) * (uint64_t)r) / 24;
	i = t < inverse ? t - inverse + r : t - inverse;
	if (i < w->count) {
		if (2 * (s->low + SIEVE_STEP * i) + 1 == r)
			i += r;
		sieve_strike(w, i, r);
	}
}

/* Strikes by the primes of all divisors that are there. */
static void
sieve_flush(struct sieve *s)
{
	uint64_t t[SIEVE_LANES] = { 0 };
	const struct sieve_divisor *v;
	unsigned lane, i;

	sieve_solve(s->window, s->product, t);
	for (lane = 0; lane < SIEVE_LANES; lane++) {
		v = &s->divisor[lane];
		for (i = 0; i < v->count; i++)
			sieve_strike_prime(
			    s, v->prime[i], (uint32_t)(t[lane] % v->prime[i]));
		s->product[lane] = 1;
		s->divisor[lane].count = 0;
	}
	s->filled = 0;
}

static inline void
sieve_add(struct sieve *s, uint32_t r)
{
	uint64_t product;

	if (__builtin_mul_overflow(s->product[s->filled], r, &product)) {
		if (++s->filled == SIEVE_LANES)
			sieve_flush(s);
		product = r;
	}
	s->product[s->filled] = product;
	s->divisor[s->filled].prime[s->divisor[s->filled].count++] = r;
}

/*
 * The primes: bit i of a segment stands for the number 2 (first + i) + 1.
 */

static void
sieve_prepare_primes(struct sieve *s)
{
	static const unsigned early[] = { 3, 5, 7, 11 };
	uint64_t *composite = s->segment;
	uint32_t r, i;
	size_t k;

	for (r = 3; r < BASE_MAX; r += 2) {
		if (composite[r / 128] >> r / 2 % 64 & 1)
			continue;
		for (i = r + r / 2; i < BASE_MAX / 2; i += r)
			composite[i / 64] |= (uint64_t)1 << i % 64;
		if (r > PATTERN_LAST)
			s->base[s->bases++].prime = r;
	}
	for (k = 0; k < sizeof(early) / sizeof(early[0]); k++)
		for (i = early[k] / 2; i < PATTERN_WORDS * 64; i += early[k])
			s->pattern[i / 64] |= (uint64_t)1 << i % 64;
}

/* Marks the composite numbers of the segment whose first bit is `first`. */
static void
sieve_fill_segment(struct sieve *s, uint32_t first)
{
	size_t at = first / 64 % PATTERN_WORDS, i;
	struct sieve_base *b;
	uint32_t k, square;

	for (i = 0; i < SEGMENT_WORDS; i++) {
		s->segment[i] = s->pattern[at];
		if (++at == PATTERN_WORDS)
			at = 0;
	}
	for (; s->bases_used < s->bases; s->bases_used++) {
		b = &s->base[s->bases_used];
		square = (uint32_t)((uint64_t)b->prime * b->prime / 2);
		if (square >= first + SEGMENT_BITS)
			break;
		b->next = square - first;
	}
	for (i = 0; i < s->bases_used; i++) {
		b = &s->base[i];
		for (k = b->next; k < SEGMENT_BITS; k += b->prime)
			s->segment[k / 64] |= (uint64_t)1 << k % 64;
		b->next = k - SEGMENT_BITS;
	}
}

/* Adds the primes of the segment that are below `bound`. */
static void
sieve_add_segment(struct sieve *s, uint32_t first, uint32_t bound)
{
	uint64_t primes;
	uint32_t r, i;

	for (i = 0; i < SEGMENT_WORDS; i++) {
		primes = ~s->segment[i];
		for (; primes != 0; primes &= primes - 1) {
			r = 2 *
				(first + i * 64 +
				    (uint32_t)__builtin_ctzll(primes)) +
			    1;
			if (r >= bound)
				return;
			sieve_add(s, r);
		}
	}
}

bool
sieve_run(
    const struct sieve_window *w, uint32_t bound, sieve_tick *tick, void *arg)
{
	static const uint32_t early[] = { 5, 7, 11 };
	struct sieve *s;
	uint32_t first;
	size_t i;
	bool going = true;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return false;
	s->window = w;
	/* The second value has no prime of 32 bits near it, nor its double. */
	s->low = w->words == 1 && w->start[0] >> 32 == 0 ? w->start[0]
							 : (uint64_t)1 << 62;
	for (i = 0; i < SIEVE_LANES; i++)
		s->product[i] = 1;
	memset(w->struck, 0, SIEVE_WORDS(w->count) * sizeof(*w->struck));
	sieve_prepare_primes(s);
	for (i = 0; i < sizeof(early) / sizeof(early[0]); i++)
		if (early[i] < bound)
			sieve_add(s, early[i]);
	for (first = 0; going && first < bound / 2; first += SEGMENT_BITS) {
		sieve_fill_segment(s, first);
		if (first == 0) /* 1, and the primes to 11 */
			s->segment[0] |= 0x3f;
		sieve_add_segment(s, first, bound);
		going = tick == NULL || tick(arg);
	}
	sieve_flush(s);
	free(s);
	return going;
}
