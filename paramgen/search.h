/*
 * paramgen/search.h - the search for a safe prime, behind one function.
 *
 * Runs in: paramgen.  Nothing here is secret.
 */
#ifndef PARAMGEN_SEARCH_H
#define PARAMGEN_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/bn.h>

#include "fmltp/dhkey.h"

/* How far a search is. */
struct search_progress {
	uint64_t windows; /* begun */
	uint64_t tests; /* Fermat tests of (p-1)/2, of all windows */
	uint64_t expected; /* search_expected_tests */
	uint64_t sieve_us; /* spent on sieving so far, wall time */
	uint64_t test_us; /* on Fermat tests */
	uint64_t check_us; /* on OpenSSL's tests of what passed these */
};

/*
 * Called after each window's sieve and after each test, and now and then
 * within the sieve and the last tests of the one found.  False ends the
 * search without a result.
 */
typedef bool search_report(void *arg, const struct search_progress *progress);

/*
 * Finds a safe prime p of exactly `bits` bits with its two highest bits set
 * and p = 23 mod 24, so that 2 generates the subgroup of order (p-1)/2.
 * `bits` is a size of dh_bits_valid, or, for tests, a multiple of 8 from 64
 * on.  p and (p-1)/2 were tested by OpenSSL at its own round counts.  `report`
 * may be NULL.  False without memory or randomness, or where `report` said
 * so.
 */
bool search_safe_prime(
    unsigned bits, struct dh_params *out, search_report *report, void *arg);

/*
 * The mean number of tests that a search takes, by the conjecture of Hardy
 * and Littlewood for pairs q, 2q+1 among what the sieve of this size leaves.
 */
uint64_t search_expected_tests(unsigned bits);

/*
 * Fermat's test: 1 if 2^e = 1 mod m for an odd m > 1 and e > 0, 0 if not, -1
 * without memory.  `power`, `mont` and `ctx` are scratch.
 */
int search_fermat(const BIGNUM *e, const BIGNUM *m, BIGNUM *power,
    BN_MONT_CTX *mont, BN_CTX *ctx);

#endif
