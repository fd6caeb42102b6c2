/*
 * tests/unit/test_search.c - the search for a safe prime.
 *
 * Runs in: the unit tests alone.
 */
#include <sys/random.h>

#include <errno.h>
#include <stdlib.h>

#include <openssl/bn.h>

#include "paramgen/search.h"
#include "tests/unit/unit.h"

/* How getrandom(2) behaves from here on. */
static struct {
	bool fails;
	bool stutters; /* EINTR, and less than was asked for */
	unsigned calls;
	const uint8_t *first; /* the first bytes that it gives, or NULL */
	size_t first_len;
} source;

ssize_t __real_getrandom(void *out, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t len, unsigned flags);

ssize_t
__wrap_getrandom(void *out, size_t len, unsigned flags)
{
	source.calls++;
	if (source.fails) {
		errno = ENOSYS;
		return -1;
	}
	if (source.stutters) {
		if (source.calls % 2 == 0) {
			errno = EINTR;
			return -1;
		}
		len = len > 3 ? 3 : len;
	}
	if (source.first != NULL) {
		assert_int_equal(len, source.first_len);
		memcpy(out, source.first, len);
		source.first = NULL;
		return (ssize_t)len;
	}
	return __real_getrandom(out, len, flags);
}

static int
setup(void **state)
{
	memset(&source, 0, sizeof(source));
	return 0;
}

/* Size, both top bits, residue, both primes. */
static void
check_set(const struct dh_params *params, unsigned bits)
{
	BIGNUM *p, *q;
	BN_CTX *ctx = BN_CTX_new();

	assert_int_equal(params->len, bits / 8);
	assert_true(params->p[0] >= 0xc0);
	p = BN_bin2bn(params->p, params->len, NULL);
	q = BN_new();
	assert_true(ctx != NULL && p != NULL && q != NULL);
	assert_int_equal(BN_num_bits(p), bits);
	assert_int_equal(BN_mod_word(p, 24), 23);
	assert_true(BN_rshift1(q, p));
	assert_int_equal(BN_check_prime(p, ctx, NULL), 1);
	assert_int_equal(BN_check_prime(q, ctx, NULL), 1);
	BN_free(q);
	BN_free(p);
	BN_CTX_free(ctx);
}

static void
finds_safe_primes(void **state)
{
	static const struct {
		unsigned bits;
		unsigned runs;
	} sizes[] = {
		{ 64, 40 },
		{ 72, 20 },
		{ 120, 20 },
		{ 128, 20 },
		{ 136, 10 },
		{ 192, 10 },
		{ 256, 10 },
		{ 384, 4 },
		{ 512, 4 },
		{ 1024, 1 },
	};
	struct dh_params params, before;
	size_t i;
	unsigned n;

	memset(&before, 0, sizeof(before));
	for (i = 0; i < COUNT_OF(sizes); i++) {
		for (n = 0; n < sizes[i].runs; n++) {
			assert_true(search_safe_prime(
			    sizes[i].bits, &params, NULL, NULL));
			check_set(&params, sizes[i].bits);
			assert_memory_not_equal(
			    &params, &before, sizeof(params));
			before = params;
		}
	}
}

static void
refuses_other_sizes(void **state)
{
	static const unsigned sizes[] = { 0, 1, 8, 56, 63, 65, 127, 2047, 8191,
		8193, 8200, UINT32_MAX };
	struct dh_params params;
	size_t i;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		assert_false(search_safe_prime(sizes[i], &params, NULL, NULL));
		assert_int_equal(params.len, 0);
	}
}

/*
 * A window that begins just below the end of the numbers of its size has
 * fewer candidates, or none: p never gets a bit more.
 */
static void
stays_in_size(void **state)
{
	struct dh_params params;
	uint8_t start[8];
	unsigned distance, n;

	for (n = 0; n < 60; n++) {
		distance = n * n;
		memset(start, 0xff, sizeof(start));
		start[7] = (uint8_t)(0xff - (distance & 0xff));
		start[6] = (uint8_t)(0xff - (distance >> 8));
		source.first = start;
		source.first_len = sizeof(start);
		assert_true(search_safe_prime(64, &params, NULL, NULL));
		check_set(&params, 64);
	}
}

static void
randomness_that_stutters(void **state)
{
	struct dh_params params;

	source.stutters = true;
	assert_true(search_safe_prime(128, &params, NULL, NULL));
	assert_true(source.calls > 10);
	check_set(&params, 128);
}

static void
randomness_that_fails(void **state)
{
	struct dh_params params;

	source.fails = true;
	assert_false(search_safe_prime(128, &params, NULL, NULL));
	assert_int_equal(params.len, 0);
	assert_int_equal(source.calls, 1);
}

/*
 * What is told on the way.
 */

struct listener {
	unsigned calls;
	unsigned last; /* the call that is answered with false; 0: none */
	uint64_t most; /* tests after which false is answered; 0: none */
	struct search_progress progress;
};

static bool
listen_to(void *arg, const struct search_progress *progress)
{
	struct listener *l = arg;

	assert_true(l->last == 0 || l->calls < l->last);
	assert_true(progress->windows >= l->progress.windows);
	assert_true(progress->tests >= l->progress.tests);
	assert_true(progress->tests <= l->progress.tests + 1);
	assert_true(progress->sieve_us >= l->progress.sieve_us);
	assert_true(progress->test_us >= l->progress.test_us);
	assert_true(progress->check_us >= l->progress.check_us);
	assert_true(progress->windows > 0);
	l->progress = *progress;
	l->calls++;
	return l->calls != l->last &&
	    (l->most == 0 || progress->tests < l->most);
}

static void
tells_how_far_it_is(void **state)
{
	struct dh_params params;
	struct listener l;

	memset(&l, 0, sizeof(l));
	assert_true(search_safe_prime(256, &params, listen_to, &l));
	assert_int_equal(l.progress.expected, search_expected_tests(256));
	assert_true(l.progress.tests > 0);
	assert_true(l.calls > l.progress.tests + l.progress.windows);
	assert_true(l.progress.sieve_us > 0);
	assert_true(l.progress.check_us > 0);
}

static void
ends_when_told(void **state)
{
	struct dh_params params;
	struct listener l;
	unsigned last;

	for (last = 1; last < 10; last++) {
		memset(&l, 0, sizeof(l));
		l.last = last;
		assert_false(search_safe_prime(1024, &params, listen_to, &l));
		assert_int_equal(l.calls, last);
		assert_int_equal(params.len, 0);
	}
}

/* The mean number of tests is what is expected, over many searches. */
static void
expectation_is_right(void **state)
{
	const unsigned bits = 128, runs = 800;
	struct dh_params params;
	struct listener l;
	uint64_t tests = 0;
	double ratio;
	unsigned n;

	for (n = 0; n < runs; n++) {
		memset(&l, 0, sizeof(l));
		assert_true(search_safe_prime(bits, &params, listen_to, &l));
		tests += l.progress.tests;
	}
	ratio = (double)tests /
	    ((double)runs * (double)search_expected_tests(bits));
	/* The number of one search spreads like an exponential one: these are
	 * seven standard deviations. */
	assert_true(ratio > 0.75 && ratio < 1.25);
}

static void
expectation_grows_with_size(void **state)
{
	static const unsigned sizes[] = { 64, 128, 256, 512, 1024, 2048, 3072,
		4096, 6144, 8192 };
	uint64_t before = 0, expected;
	size_t i;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		expected = search_expected_tests(sizes[i]);
		assert_true(expected > before);
		/* Each test saves the more others the larger the number is. */
		assert_true(expected < sizes[i] * sizes[i] / 150u);
		before = expected;
	}
	/* ln(p) ln(q) / (e^gamma ln(2^27))^2, worked out by hand */
	assert_in_range(search_expected_tests(2048), 1700, 2000);
}

/*
 * Fermat's test.
 */

struct fermat {
	BN_CTX *ctx;
	BN_MONT_CTX *mont;
	BIGNUM *e;
	BIGNUM *m;
	BIGNUM *power;
	BIGNUM *two;
};

static int
fermat_setup(void **state)
{
	struct fermat *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->ctx = BN_CTX_new();
	f->mont = BN_MONT_CTX_new();
	f->e = BN_new();
	f->m = BN_new();
	f->power = BN_new();
	f->two = BN_new();
	assert_true(f->two != NULL && BN_set_word(f->two, 2));
	*state = f;
	return setup(NULL);
}

static int
fermat_teardown(void **state)
{
	struct fermat *f = *state;

	BN_free(f->two);
	BN_free(f->power);
	BN_free(f->m);
	BN_free(f->e);
	BN_MONT_CTX_free(f->mont);
	BN_CTX_free(f->ctx);
	free(f);
	return 0;
}

/* The answer, after OpenSSL's own exponentiation has agreed. */
static int
fermat(struct fermat *f)
{
	int result = search_fermat(f->e, f->m, f->power, f->mont, f->ctx);

	assert_true(BN_mod_exp(f->power, f->two, f->e, f->m, f->ctx));
	assert_int_equal(result, BN_is_one(f->power));
	return result;
}

static void
fermat_of_small_numbers(void **state)
{
	struct fermat *f = *state;
	BN_ULONG m, e;
	unsigned passed = 0;

	for (m = 3; m < 200; m += 2) {
		for (e = 1; e < 200; e++) {
			assert_true(BN_set_word(f->m, m));
			assert_true(BN_set_word(f->e, e));
			passed += (unsigned)fermat(f);
		}
	}
	assert_true(passed > 99);
	/* The smallest composite that passes: 11 * 31. */
	assert_true(BN_set_word(f->m, 341) && BN_set_word(f->e, 340));
	assert_int_equal(fermat(f), 1);
}

static void
fermat_of_large_numbers(void **state)
{
	static const int sizes[] = { 32, 63, 64, 65, 127, 128, 129, 255, 256,
		511, 512, 513, 1023, 1024, 2047, 2048 };
	struct fermat *f = *state;
	size_t i;
	int n;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		for (n = 0; n < 10; n++) {
			assert_true(BN_rand(f->m, sizes[i], BN_RAND_TOP_ONE,
			    BN_RAND_BOTTOM_ODD));
			assert_true(BN_rand(f->e, sizes[i], BN_RAND_TOP_ANY,
			    BN_RAND_BOTTOM_ANY));
			assert_true(BN_add_word(f->e, 1));
			fermat(f);
			assert_true(
			    BN_copy(f->e, f->m) && BN_sub_word(f->e, 1));
			/* At this size no composite comes that passes. */
			if (sizes[i] > 500)
				assert_int_equal(fermat(f),
				    BN_check_prime(f->m, f->ctx, NULL));
		}
		if (sizes[i] > 513)
			continue;
		for (n = 0; n < 3; n++) {
			assert_true(BN_generate_prime_ex(
			    f->m, sizes[i], 0, NULL, NULL, NULL));
			assert_true(
			    BN_copy(f->e, f->m) && BN_sub_word(f->e, 1));
			assert_int_equal(fermat(f), 1);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(finds_safe_primes, setup),
		cmocka_unit_test_setup(refuses_other_sizes, setup),
		cmocka_unit_test_setup(stays_in_size, setup),
		cmocka_unit_test_setup(randomness_that_stutters, setup),
		cmocka_unit_test_setup(randomness_that_fails, setup),
		cmocka_unit_test_setup(tells_how_far_it_is, setup),
		cmocka_unit_test_setup(ends_when_told, setup),
		cmocka_unit_test_setup(expectation_is_right, setup),
		cmocka_unit_test_setup(expectation_grows_with_size, setup),
		cmocka_unit_test_setup_teardown(
		    fermat_of_small_numbers, fermat_setup, fermat_teardown),
		cmocka_unit_test_setup_teardown(
		    fermat_of_large_numbers, fermat_setup, fermat_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
