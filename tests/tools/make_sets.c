/*
 * tests/tools/make_sets.c - makes sets of DH parameters for the tests.
 *
 * Runs in: the tests alone, as whoever runs them.
 *
 * usage: make_sets bits count
 * Prints `count` sets in PEM.  Unlike the server it makes small ones too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fmltp/buf.h"
#include "fmltp/dhkey.h"
#include "paramgen/search.h"

int
main(int argc, char **argv)
{
	static struct dh_params params;
	uint8_t mem[DH_PEM_MAX];
	const char *bits_error = NULL, *count_error = NULL;
	unsigned bits = 0, count = 0;
	struct buf pem;

	if (argc == 3) {
		bits = (unsigned)strtonum(
		    argv[1], 64, DH_PRIME_MAX * 8, &bits_error);
		count = (unsigned)strtonum(argv[2], 1, 1000000, &count_error);
	}
	if (argc != 3 || bits_error != NULL || count_error != NULL) {
		fprintf(stderr, "usage: make_sets bits count\n");
		return 2;
	}
	for (; count > 0; count--) {
		buf_init(&pem, mem, sizeof(mem));
		if (!search_safe_prime(bits, &params, NULL, NULL)) {
			fprintf(stderr, "make_sets: the search failed\n");
			return 1;
		}
		dh_params_put_pem(&pem, &params);
		if (pem.failed || fwrite(pem.data, pem.len, 1, stdout) != 1)
			return 1;
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
