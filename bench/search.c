/*
 * bench/search.c - what the search for a safe prime costs.
 *
 * Runs in: the benchmark, as the user who runs it, in one process.  Sees
 * nothing secret.
 *
 * usage: search bits seconds
 *        search -w bits runs
 * The first form searches again and again for so many seconds of processor
 * time and prints one line of JSON: how much was done, the times of the
 * parts, and from these the mean time of a search (expected_s), which is
 * much steadier than any number of whole searches.  The second one prints a
 * line of JSON for each of so many whole searches: its wall time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "paramgen/search.h"

struct bench {
	double end; /* processor time */
	struct search_progress now; /* of the search that runs */
	struct search_progress sum; /* of those before it */
};

static double
bench_clock(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) == -1) {
		perror("clock_gettime");
		exit(1);
	}
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool
bench_report(void *arg, const struct search_progress *progress)
{
	struct bench *b = arg;

	b->now = *progress;
	return bench_clock(CLOCK_PROCESS_CPUTIME_ID) < b->end;
}

static void
bench_sum(struct bench *b)
{
	b->sum.windows += b->now.windows;
	b->sum.tests += b->now.tests;
	b->sum.sieve_us += b->now.sieve_us;
	b->sum.test_us += b->now.test_us;
	b->sum.check_us += b->now.check_us;
	memset(&b->now, 0, sizeof(b->now));
}

/* The parts' times are wall time: their shares of `cpu` are printed. */
static void
bench_print(const struct bench *b, unsigned bits, unsigned found, double cpu)
{
	double wall, share, test, sieve, check, expected;

	expected = (double)search_expected_tests(bits);
	wall = (double)(b->sum.sieve_us + b->sum.test_us + b->sum.check_us);
	share = wall > 0 ? cpu / wall : 0;
	sieve = (double)b->sum.sieve_us * share;
	test = (double)b->sum.test_us * share;
	check = (double)b->sum.check_us * share;
	printf("{\"bits\": %u, \"tests\": %llu, "
	       "\"windows\": %llu, "
	       "\"found\": %u, \"expected_tests\": %.0f, \"cpu_s\": %.3f, "
	       "\"sieve_s\": %.3f, \"test_s\": %.3f, \"check_s\": %.3f",
	    bits, (unsigned long long)b->sum.tests,
	    (unsigned long long)b->sum.windows, found, expected, cpu, sieve,
	    test, check);
	if (b->sum.tests > 0)
		printf(", \"us_per_test\": %.2f",
		    1e6 * test / (double)b->sum.tests);
	/* Of a search that the end cut short, the sieve was whole. */
	if (b->sum.tests > 0 && found > 0)
		printf(", \"expected_s\": %.4f",
		    expected * test / (double)b->sum.tests +
			sieve / (double)b->sum.windows + check / found);
	printf("}\n");
}

static int
bench_cost(unsigned bits, double seconds)
{
	static struct dh_params params;
	struct bench b;
	unsigned found = 0;
	double begun;

	memset(&b, 0, sizeof(b));
	begun = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
	b.end = begun + seconds;
	do {
		found += search_safe_prime(bits, &params, bench_report, &b);
		bench_sum(&b);
	} while (bench_clock(CLOCK_PROCESS_CPUTIME_ID) < b.end);
	bench_print(
	    &b, bits, found, bench_clock(CLOCK_PROCESS_CPUTIME_ID) - begun);
	return 0;
}

static int
bench_walls(unsigned bits, unsigned runs)
{
	static struct dh_params params;
	double begun;

	for (; runs > 0; runs--) {
		begun = bench_clock(CLOCK_MONOTONIC);
		if (!search_safe_prime(bits, &params, NULL, NULL)) {
			fprintf(stderr, "search: failed\n");
			return 1;
		}
		printf("{\"bits\": %u, \"wall_s\": %.4f}\n", bits,
		    bench_clock(CLOCK_MONOTONIC) - begun);
		fflush(stdout);
	}
	return 0;
}

static unsigned
bench_number(const char *text, long long max)
{
	const char *error;
	unsigned n = (unsigned)strtonum(text, 1, max, &error);

	if (error != NULL) {
		fprintf(stderr, "search: %s is %s\n", text, error);
		exit(2);
	}
	return n;
}

int
main(int argc, char **argv)
{
	if (argc == 3)
		return bench_cost(bench_number(argv[1], DH_PRIME_MAX * 8),
		    bench_number(argv[2], 86400));
	if (argc == 4 && strcmp(argv[1], "-w") == 0)
		return bench_walls(bench_number(argv[2], DH_PRIME_MAX * 8),
		    bench_number(argv[3], 1000000));
	fprintf(stderr,
	    "usage: search bits seconds\n"
	    "       search -w bits runs\n");
	return 2;
}
