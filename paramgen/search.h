/*
 * paramgen/search.h - the search for a safe prime, behind one function.
 *
 * Runs in: paramgen.
 */
#ifndef PARAMGEN_SEARCH_H
#define PARAMGEN_SEARCH_H

#include <stdbool.h>

#include "fmltp/dhkey.h"

/*
 * Finds a safe prime p of exactly `bits` bits (a size of dh_bits_valid, or
 * less for tests; a multiple of 8) with p = 23 mod 24, both p and (p-1)/2
 * tested by OpenSSL at its own round counts.  False without memory or
 * randomness.  Takes seconds: one to two at 1024 bits, tens at 2048.
 */
bool search_safe_prime(unsigned bits, struct dh_params *out);

#endif
