/*
 * tests/fuzz/input.h - a fuzzer's input, taken apart from its beginning, and
 * the check that all of them make.
 *
 * Runs in: the fuzzers alone.
 */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* What must be so; a fuzzer that finds it otherwise has found something. */
#define fuzz_check(right) \
	((right) ? (void)0 : fuzz_wrong(__FILE__, __LINE__, #right))

static inline _Noreturn void
fuzz_wrong(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

/* The next byte; 0 at the end. */
static inline uint8_t
fuzz_u8(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint16_t
fuzz_u16(struct fuzz_input *in)
{
	uint16_t high = fuzz_u8(in);

	return (uint16_t)(high << 8 | fuzz_u8(in));
}

/* Up to `max` bytes: as many as the next two bytes say, and there are. */
static inline const uint8_t *
fuzz_bytes(struct fuzz_input *in, size_t max, size_t *len)
{
	const uint8_t *bytes;
	size_t n = fuzz_u16(in);

	if (n > max)
		n = max;
	if (n > in->left)
		n = in->left;
	bytes = in->at;
	in->at += n;
	in->left -= n;
	*len = n;
	return bytes;
}

#endif
