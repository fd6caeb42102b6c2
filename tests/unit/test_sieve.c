/*
 * tests/unit/test_sieve.c - the sieve of the search for a safe prime,
 * against trial division.
 *
 * Runs in: the unit tests alone.
 */
#include <stdlib.h>

#include <openssl/bn.h>

#include "paramgen/sieve.h"
#include "tests/unit/unit.h"

/* Below this all primes are known, once setup has run. */
#define NUMBERS (1u << 24)

static uint8_t *composite; /* a byte a number */

static int
setup(void **state)
{
	uint32_t i, k;

	if ((composite = calloc(NUMBERS, 1)) == NULL)
		return -1;
	composite[0] = composite[1] = 1;
	for (i = 2; i * i < NUMBERS; i++)
		for (k = i * i; !composite[i] && k < NUMBERS; k += i)
			composite[k] = 1;
	return 0;
}

static int
teardown(void **state)
{
	free(composite);
	return 0;
}

static bool
is_struck(const struct sieve_window *w, uint32_t i)
{
	return w->struck[i / 64] >> i % 64 & 1;
}

static void
window_init(
    struct sieve_window *w, const uint64_t *start, size_t words, uint32_t count)
{
	w->start = start;
	w->words = words;
	w->count = count;
	/* What is there before does not matter. */
	w->struck = malloc(SIEVE_WORDS(count) * sizeof(*w->struck));
	assert_non_null(w->struck);
	memset(w->struck, 0xa5, SIEVE_WORDS(count) * sizeof(*w->struck));
}

static BIGNUM *
number_of(const uint64_t *words, size_t count)
{
	BIGNUM *n = BN_new();
	size_t i;

	assert_non_null(n);
	BN_zero(n);
	for (i = count; i-- > 0;) {
		assert_true(BN_lshift(n, n, 64));
		assert_true(BN_add_word(n, words[i]));
	}
	return n;
}

/*
 * All q of the size, sieved beyond the square root: exactly the safe primes
 * are left.
 */
static void
safe_primes_of(unsigned bits, uint32_t bound)
{
	struct sieve_window w;
	uint64_t q0 = (uint64_t)1 << (bits - 2), q;
	uint32_t i, found = 0;
	bool safe;

	q0 += SIEVE_RESIDUE - q0 % SIEVE_STEP;
	window_init(&w, &q0, 1,
	    (uint32_t)((((uint64_t)1 << (bits - 1)) - q0) / SIEVE_STEP) + 1);
	assert_true(sieve_run(&w, bound, NULL, NULL));
	for (i = 0; i < w.count; i++) {
		q = q0 + SIEVE_STEP * (uint64_t)i;
		if (q >> (bits - 1) != 0)
			break;
		safe = !composite[q] && !composite[2 * q + 1];
		found += safe;
		assert_int_equal(is_struck(&w, i), !safe);
	}
	assert_true(found > 10);
	free(w.struck);
}

static void
finds_all_safe_primes(void **state)
{
	unsigned bits;

	for (bits = 16; bits <= 24; bits++)
		safe_primes_of(bits, 4097);
}

/* Bounds above the candidates themselves. */
static void
no_prime_strikes_itself(void **state)
{
	unsigned bits;

	for (bits = 12; bits <= 20; bits += 4)
		safe_primes_of(bits, 1u << 21);
}

/* Strikes what trial division by the primes from 5 below `bound` does. */
static void
naive(const struct sieve_window *w, uint32_t bound, uint8_t *struck)
{
	BIGNUM *q0 = number_of(w->start, w->words);
	uint32_t r, i;
	uint64_t s;

	memset(struck, 0, w->count);
	for (r = 5; r < bound; r += 2) {
		if (composite[r])
			continue;
		s = BN_mod_word(q0, r);
		for (i = 0; i < w->count; i++) {
			struck[i] |= s == 0 || 2 * s + 1 == r;
			s += SIEVE_STEP % r;
			if (s >= r)
				s -= r;
		}
	}
	BN_free(q0);
}

/* A start of that many bits, 11 mod 12. */
static void
random_start(struct unit_random *r, unsigned bits, uint64_t *words)
{
	size_t n = (bits + 63) / 64, i;
	BIGNUM *q0;

	for (i = 0; i < n; i++)
		words[i] = unit_random_next(r);
	if (bits % 64 != 0)
		words[n - 1] &= ((uint64_t)1 << bits % 64) - 1;
	words[n - 1] |= (uint64_t)1 << (bits - 1) % 64;
	words[0] &= ~(uint64_t)0xff; /* what is added does not carry */
	q0 = number_of(words, n);
	words[0] +=
	    SIEVE_RESIDUE + SIEVE_STEP - (uint64_t)BN_mod_word(q0, SIEVE_STEP);
	BN_free(q0);
}

static void
matches_naive(
    struct unit_random *r, unsigned bits, uint32_t count, uint32_t bound)
{
	uint64_t words[128];
	uint8_t *expected = malloc(count);
	struct sieve_window w;
	uint32_t i;

	assert_non_null(expected);
	random_start(r, bits, words);
	window_init(&w, words, (bits + 63) / 64, count);
	assert_true(sieve_run(&w, bound, NULL, NULL));
	naive(&w, bound, expected);
	for (i = 0; i < count; i++)
		assert_int_equal(is_struck(&w, i), expected[i]);
	free(w.struck);
	free(expected);
}

static void
strikes_like_trial_division(void **state)
{
	static const unsigned bits[] = { 63, 64, 65, 71, 127, 128, 255, 511,
		1023, 1535, 2047, 4095, 8191 };
	struct unit_random r = { 1 };
	size_t i;

	for (i = 0; i < COUNT_OF(bits); i++) {
		matches_naive(&r, bits[i], 1, 3000);
		matches_naive(&r, bits[i], 1000, 3000);
		matches_naive(&r, bits[i], 20011, 500);
	}
}

/* 5, 7 and 11 have a path of their own; the bound itself is not used. */
static void
every_bound_is_exact(void **state)
{
	struct unit_random r = { 2 };
	uint32_t bound;

	for (bound = 0; bound < 300; bound++)
		matches_naive(&r, 191, 500, bound);
}

/* Several segments of primes, and a border between two of them. */
static void
sieves_beyond_a_segment(void **state)
{
	struct unit_random r = { 3 };

	matches_naive(&r, 255, 100, 1200000);
	matches_naive(&r, 255, 400, 524288);
	matches_naive(&r, 255, 400, 524350);
}

static void
solves(const struct sieve_window *w, const uint64_t *d)
{
	BIGNUM *q0 = number_of(w->start, w->words);
	uint64_t t[SIEVE_LANES];
	unsigned __int128 sum;
	unsigned i;

	sieve_solve(w, d, t);
	for (i = 0; i < SIEVE_LANES; i++) {
		assert_true(t[i] < d[i]);
		sum = (unsigned __int128)t[i] * SIEVE_STEP +
		    BN_mod_word(q0, d[i]);
		assert_true(sum % d[i] == 0);
	}
	BN_free(q0);
}

static uint64_t
random_divisor(struct unit_random *r)
{
	uint64_t d;

	do
		d = unit_random_next(r) >> unit_random_next(r) % 61 | 1;
	while (d % 3 == 0 || d == 1);
	return d;
}

static void
remainders_are_right(void **state)
{
	/* 2^32 and 2^64 and what lies about them, with and without factors */
	static const uint64_t edge[][SIEVE_LANES] = {
		{ 5, 7, 11, 13, 25, 35, 65521, 65537 },
		{ 4294967291, 4294967293, 4294967297, 4294967299, 2147483647,
		    2147483659, 3215031751, 5 },
		{ UINT64_MAX - 58, UINT64_MAX - 4, UINT64_MAX - 2,
		    UINT64_MAX / 2, ((uint64_t)1 << 63) + 29,
		    ((uint64_t)1 << 63) - 25, 18446744030759878681U, 7 },
	};
	static const size_t sizes[] = { 1, 2, 3, 5, 16, 31, 32, 48, 64, 96, 127,
		128 };
	struct unit_random r = { 4 };
	uint64_t words[128], d[SIEVE_LANES];
	struct sieve_window w = { words, 0, 1, NULL };
	size_t i, k, n, lane;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		w.words = sizes[i];
		for (n = 0; n < 6; n++) {
			for (k = 0; k < w.words; k++)
				words[k] = n < 3 ? unit_random_next(&r)
				    : n == 3	 ? UINT64_MAX
						 : 0;
			if (n == 5) /* a power of 2 */
				words[w.words - 1] = (uint64_t)1 << 63;
			for (k = 0; k < COUNT_OF(edge); k++)
				solves(&w, edge[k]);
			for (k = 0; k < 200; k++) {
				for (lane = 0; lane < SIEVE_LANES; lane++)
					d[lane] = random_divisor(&r);
				solves(&w, d);
			}
		}
	}
}

static bool
count_down(void *arg)
{
	int *left = arg;

	return --*left > 0;
}

static void
ends_when_told(void **state)
{
	uint64_t q0 = ((uint64_t)1 << 62) + 7, struck[2];
	struct sieve_window w = { &q0, 1, 100, struck };
	int left, n;

	assert_int_equal(q0 % SIEVE_STEP, SIEVE_RESIDUE);
	for (left = 1; left <= 3; left++) {
		n = left; /* four ticks and more would come */
		assert_false(sieve_run(&w, 1u << 21, count_down, &n));
		assert_int_equal(n, 0);
	}
	left = 1000;
	assert_true(sieve_run(&w, 1u << 21, count_down, &left));
	assert_true(left < 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_all_safe_primes),
		cmocka_unit_test(no_prime_strikes_itself),
		cmocka_unit_test(strikes_like_trial_division),
		cmocka_unit_test(every_bound_is_exact),
		cmocka_unit_test(sieves_beyond_a_segment),
		cmocka_unit_test(remainders_are_right),
		cmocka_unit_test(ends_when_told),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
