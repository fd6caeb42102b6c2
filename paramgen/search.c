/*
 * paramgen/search.c - the search for a safe prime: OpenSSL's own.
 *
 * Runs in: paramgen.  Nothing here is secret.
 */
#include <string.h>

#include <openssl/bn.h>

#include "paramgen/search.h"

bool
search_safe_prime(unsigned bits, struct dh_params *out)
{
	BIGNUM *p = BN_new(), *add = BN_new(), *rem = BN_new();
	bool found = false;

	memset(out, 0, sizeof(*out));
	/* p = 23 mod 24: then 2 generates the subgroup of order (p-1)/2. */
	if (p != NULL && add != NULL && rem != NULL && BN_set_word(add, 24) &&
	    BN_set_word(rem, 23) &&
	    BN_generate_prime_ex(p, (int)bits, 1, add, rem, NULL) &&
	    BN_num_bits(p) == (int)bits && bits / 8 <= sizeof(out->p)) {
		out->len = (uint16_t)(bits / 8);
		found = BN_bn2binpad(p, out->p, out->len) == out->len;
	}
	BN_free(p);
	BN_free(add);
	BN_free(rem);
	return found;
}
