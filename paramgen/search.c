/*
 * paramgen/search.c - the search for a safe prime.
 *
 * Runs in: paramgen.  Nothing here is secret, so nothing takes constant time.
 *
 * Candidates are the numbers q = 11 mod 12, so that p = 2q+1 = 23 mod 24, of
 * a window that begins at a random place.  The sieve leaves about one in a
 * hundred; these are tested in random order until one is a safe prime.  A
 * window without any is given up for another one.
 *
 * In ascending order a prime would come out as often as the gap before it is
 * long.  Here it comes out the more often the fewer there are around it,
 * which differs less: by a simulation with random gaps the result has 0.12
 * bits of entropy less than a uniform choice (ascending order: 0.61), and none
 * comes out more than 4.1 times as often as the mean (ascending order: no
 * limit).
 */
#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "paramgen/search.h"
#include "paramgen/sieve.h"

/* The mean number of safe primes of a window. */
#define SEARCH_WINDOW_PRIMES 4

/*
 * How far to sieve: to 2^log_bound, for sizes up to `bits`.  More primes cost
 * sieving and save tests; with c the time for one prime, T that of a test
 * and N the number of tests, the sum is least near 2NT/c, and where k
 * searches run side by side, each with a sieve of its own and all together
 * with the tests, near 2NT/ck.  Measured by bench/search: c from 20 ns (1024
 * bits) to 50 ns (8192), T from 0.2 ms to 80 ms; chosen for one to two
 * searches.
 */
static const struct search_size {
	unsigned bits;
	unsigned log_bound;
} search_sizes[] = {
	{ 128, 11 },
	{ 256, 15 },
	{ 512, 19 },
	{ 1024, 23 },
	{ 2048, 27 },
	{ 3072, 29 },
	{ 4096, 30 },
	{ DH_PRIME_MAX * 8, 32 },
};

/* How often the clock is read: after so many tests. */
#define SEARCH_CLOCK_TESTS 16

struct search {
	unsigned bits;
	uint32_t bound;
	/* Numbers of OpenSSL: those of the candidate, and scratch */
	BN_CTX *ctx;
	BN_MONT_CTX *mont;
	BN_GENCB *rounds; /* tells of the rounds of OpenSSL's own tests */
	BIGNUM *start;
	BIGNUM *q;
	BIGNUM *p;
	BIGNUM *exponent;
	BIGNUM *power;
	/* The window, and the candidates that the sieve leaves of it */
	uint64_t start_words[DH_PRIME_MAX / sizeof(uint64_t)];
	struct sieve_window window;
	uint32_t window_max; /* candidates of a whole window */
	uint32_t *left;
	uint32_t left_count;
	/* Random numbers not used yet */
	uint32_t pool[64];
	size_t pooled;
	/* Whoever waits */
	search_report *report;
	void *arg;
	struct search_progress progress;
	uint64_t clock; /* us: when what runs now was begun */
};

/* What there is after a window or a candidate. */
enum search_state {
	SEARCH_ON, /* not yet */
	SEARCH_FOUND,
	SEARCH_OVER /* no memory, no randomness, or nobody waits any more */
};

static const struct search_size *
search_size_of(unsigned bits)
{
	const struct search_size *size = search_sizes;

	while (size->bits < bits)
		size++;
	return size;
}

/*
 * ln p ln q / ln(2)^2.  Of p a mean is taken: it is uniform between 3/4 and
 * the whole of 2^bits, where the logarithm by 2 has the mean bits - 0.2.
 */
static double
search_logarithms(unsigned bits)
{
	return (bits - 0.2) * (bits - 1.2);
}

/*
 * One in ln(p) ln(q) / (12 * 0.66016) of the candidates is a safe prime, with
 * the constant of the twin primes: 12 since 2 and 3 divide none of them.
 */
static uint32_t
search_window_max(unsigned bits)
{
	double log2_squared = 0.480453;

	return (uint32_t)(SEARCH_WINDOW_PRIMES * search_logarithms(bits) *
	    log2_squared / (12 * 0.6601618));
}

/*
 * The sieve leaves of each prime r from 5 on the share 1 - 2/r, the product
 * of which has the factor of the density in it; what remains is the square of
 * the product of all 1 - 1/r, 2 and 3 included: e^-gamma / ln(bound), by
 * Mertens.
 */
uint64_t
search_expected_tests(unsigned bits)
{
	double log_bound = search_size_of(bits)->log_bound;
	double e_minus_2_gamma = 0.315237;

	return (uint64_t)(0.5 +
	    search_logarithms(bits) * e_minus_2_gamma /
		(log_bound * log_bound));
}

static uint64_t
search_clock(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* The time since it was called last. */
static uint64_t
search_lap(struct search *s)
{
	uint64_t before = s->clock;

	s->clock = search_clock();
	return s->clock - before;
}

static bool
search_tell(void *arg)
{
	struct search *s = arg;

	return s->report == NULL || s->report(s->arg, &s->progress);
}

static int
search_tell_round(int a, int b, BN_GENCB *rounds)
{
	return search_tell(BN_GENCB_get_arg(rounds));
}

/*
 * Randomness.
 */

static bool
search_random_fill(void *out, size_t len)
{
	uint8_t *p = out;
	ssize_t n;

	while (len > 0) {
		n = getrandom(p, len, 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* A number below `limit`, each as likely. */
static bool
search_random_below(struct search *s, uint32_t limit, uint32_t *out)
{
	uint32_t least = (0 - limit) % limit, x;

	do {
		if (s->pooled == 0) {
			if (!search_random_fill(s->pool, sizeof(s->pool)))
				return false;
			s->pooled = sizeof(s->pool) / sizeof(s->pool[0]);
		}
		x = s->pool[--s->pooled];
	} while (x < least);
	*out = x % limit;
	return true;
}

/*
 * Fermat's test.
 */

int
search_fermat(const BIGNUM *e, const BIGNUM *m, BIGNUM *power,
    BN_MONT_CTX *mont, BN_CTX *ctx)
{
	int bit = BN_num_bits(e), limit = BN_num_bits(m), top = 0;

	/* The top bits of e make a power of 2 that is below m by itself. */
	while (bit > 0 && 2 * top + 1 < limit)
		top = 2 * top + BN_is_bit_set(e, --bit);
	BN_zero(power);
	if (!BN_MONT_CTX_set(mont, m, ctx) || !BN_set_bit(power, top) ||
	    !BN_to_montgomery(power, power, mont, ctx))
		return -1;
	while (bit-- > 0) {
		if (!BN_mod_mul_montgomery(power, power, power, mont, ctx))
			return -1;
		if (BN_is_bit_set(e, bit) &&
		    !BN_mod_lshift1_quick(power, power, m))
			return -1;
	}
	return BN_from_montgomery(power, power, mont, ctx) ? BN_is_one(power)
							   : -1;
}

/* Fermat's test of q and then of p, and then OpenSSL's own of both. */
static int
search_is_safe_prime(struct search *s)
{
	int result;

	if (!BN_copy(s->exponent, s->q) || !BN_sub_word(s->exponent, 1))
		return -1;
	result = search_fermat(s->exponent, s->q, s->power, s->mont, s->ctx);
	if (result != 1)
		return result;
	/* p = 7 mod 8: 2 is a square, so its power by (p-1)/2 is 1 too. */
	if (!BN_lshift1(s->p, s->q) || !BN_add_word(s->p, 1))
		return -1;
	result = search_fermat(s->q, s->p, s->power, s->mont, s->ctx);
	if (result != 1)
		return result;
	s->progress.test_us += search_lap(s);
	result = BN_check_prime(s->q, s->ctx, s->rounds);
	if (result == 1)
		result = BN_check_prime(s->p, s->ctx, s->rounds);
	s->progress.check_us += search_lap(s);
	return result;
}

static enum search_state
search_test(struct search *s, uint32_t candidate)
{
	int result;

	if (!BN_copy(s->q, s->start) ||
	    !BN_add_word(s->q, SIEVE_STEP * (BN_ULONG)candidate))
		return SEARCH_OVER;
	result = search_is_safe_prime(s);
	if (result == -1)
		return SEARCH_OVER;
	if (++s->progress.tests % SEARCH_CLOCK_TESTS == 0)
		s->progress.test_us += search_lap(s);
	if (!search_tell(s))
		return SEARCH_OVER;
	return result == 1 ? SEARCH_FOUND : SEARCH_ON;
}

/*
 * The window.
 */

/* Chooses the place: all q of the size, with the two top bits, are as likely.
 */
static bool
search_choose_start(struct search *s)
{
	unsigned q_bits = s->bits - 1;
	uint8_t bytes[DH_PRIME_MAX];
	size_t len = (q_bits + 7) / 8;
	BN_ULONG residue;

	do {
		if (!search_random_fill(bytes, len) ||
		    !BN_bin2bn(bytes, (int)len, s->start))
			return false;
		(void)BN_mask_bits(s->start, (int)q_bits);
		if (!BN_set_bit(s->start, (int)q_bits - 1) ||
		    !BN_set_bit(s->start, (int)q_bits - 2))
			return false;
		residue = BN_mod_word(s->start, SIEVE_STEP);
		if (!BN_add_word(s->start,
			(SIEVE_STEP + SIEVE_RESIDUE - residue) % SIEVE_STEP))
			return false;
	} while (BN_num_bits(s->start) != (int)q_bits);
	return true;
}

/* Sets the window up, so that its last candidate has no bit too many. */
static bool
search_open_window(struct search *s)
{
	uint8_t bytes[sizeof(s->start_words)];
	BN_ULONG room;
	size_t i;

	if (BN_bn2lebinpad(s->start, bytes, sizeof(bytes)) !=
	    (int)sizeof(bytes))
		return false;
	for (i = 0; i < sizeof(bytes); i++) {
		if (i % 8 == 0)
			s->start_words[i / 8] = 0;
		s->start_words[i / 8] |= (uint64_t)bytes[i] << i % 8 * 8;
	}
	s->window.words = (s->bits - 1 + 63) / 64;
	s->window.count = s->window_max;
	BN_zero(s->power);
	if (!BN_set_bit(s->power, (int)s->bits - 1) ||
	    !BN_sub(s->power, s->power, s->start))
		return false;
	room = BN_get_word(s->power); /* all ones where it is more */
	if (room / SIEVE_STEP < s->window.count)
		s->window.count = (uint32_t)(room / SIEVE_STEP) + 1;
	return true;
}

/* Lists what the sieve leaves. */
static bool
search_list(struct search *s)
{
	uint32_t i, n = 0;

	free(s->left);
	s->left_count = 0;
	for (i = 0; i < s->window.count; i++)
		n += !(s->window.struck[i / 64] >> i % 64 & 1);
	if ((s->left = calloc(n + 1, sizeof(*s->left))) == NULL)
		return false;
	for (i = 0; i < s->window.count; i++)
		if (!(s->window.struck[i / 64] >> i % 64 & 1))
			s->left[s->left_count++] = i;
	return true;
}

static enum search_state
search_window(struct search *s)
{
	enum search_state state = SEARCH_ON;
	uint32_t i, k, candidate;

	s->progress.windows++;
	if (!search_choose_start(s) || !search_open_window(s) ||
	    !sieve_run(&s->window, s->bound, search_tell, s) || !search_list(s))
		return SEARCH_OVER;
	s->progress.sieve_us += search_lap(s);
	if (!search_tell(s))
		return SEARCH_OVER;
	for (i = 0; state == SEARCH_ON && i < s->left_count; i++) {
		if (!search_random_below(s, s->left_count - i, &k))
			return SEARCH_OVER;
		candidate = s->left[i + k];
		s->left[i + k] = s->left[i];
		state = search_test(s, candidate);
	}
	s->progress.test_us += search_lap(s);
	return state;
}

static bool
search_prepare(struct search *s)
{
	s->ctx = BN_CTX_new();
	s->mont = BN_MONT_CTX_new();
	s->rounds = BN_GENCB_new();
	s->start = BN_new();
	s->q = BN_new();
	s->p = BN_new();
	s->exponent = BN_new();
	s->power = BN_new();
	s->window_max = search_window_max(s->bits);
	s->window.start = s->start_words;
	s->window.struck =
	    calloc(SIEVE_WORDS(s->window_max), sizeof(*s->window.struck));
	if (s->ctx == NULL || s->mont == NULL || s->rounds == NULL ||
	    s->start == NULL || s->q == NULL || s->p == NULL ||
	    s->exponent == NULL || s->power == NULL || s->window.struck == NULL)
		return false;
	BN_GENCB_set(s->rounds, search_tell_round, s);
	return true;
}

static void
search_free(struct search *s)
{
	free(s->left);
	free(s->window.struck);
	BN_free(s->power);
	BN_free(s->exponent);
	BN_free(s->p);
	BN_free(s->q);
	BN_free(s->start);
	BN_GENCB_free(s->rounds);
	BN_MONT_CTX_free(s->mont);
	BN_CTX_free(s->ctx);
}

bool
search_safe_prime(
    unsigned bits, struct dh_params *out, search_report *report, void *arg)
{
	enum search_state state = SEARCH_ON;
	unsigned log_bound;
	struct search s;

	memset(out, 0, sizeof(*out));
	if (bits < 64 || bits % 8 != 0 || bits / 8 > sizeof(out->p))
		return false;
	memset(&s, 0, sizeof(s));
	s.bits = bits;
	log_bound = search_size_of(bits)->log_bound;
	s.bound = log_bound < 32 ? 1u << log_bound : UINT32_MAX;
	s.report = report;
	s.arg = arg;
	s.progress.expected = search_expected_tests(bits);
	s.clock = search_clock();
	if (!search_prepare(&s))
		state = SEARCH_OVER;
	while (state == SEARCH_ON)
		state = search_window(&s);
	if (state == SEARCH_FOUND) {
		out->len = (uint16_t)(bits / 8);
		if (BN_bn2binpad(s.p, out->p, out->len) != out->len)
			state = SEARCH_OVER;
	}
	search_free(&s);
	return state == SEARCH_FOUND;
}
