/*
 * fmltp/base64url.h - base64url and base64 (RFC 4648 sections 4 and 5),
 * canonical: unused low bits zero, padding where the length needs it.
 *
 * Runs in: worker, paramgen, client.  Pure; no allocation.
 */
#ifndef FMLTP_BASE64URL_H
#define FMLTP_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/buf.h"

enum base64_alphabet {
	BASE64_STANDARD, /* + and /, for PEM */
	BASE64_URL /* - and _, for tokens */
};

/* The value 0..63 of a character of the alphabet, or -1. */
int base64_value(enum base64_alphabet a, uint8_t c);
/*
 * Appends the encoding of `len` bytes, with padding, to `out`.  The bytes may
 * lie where the encoding will end: the last `len` of its place.
 */
void base64_put(
    struct buf *out, enum base64_alphabet a, const uint8_t *in, size_t len);
/*
 * Appends the bytes that `len` characters stand for to `out`; false, with
 * `out` undefined, where they are not canonical (a character outside the
 * alphabet, a length not a multiple of 4, wrong padding, unused bits set).
 */
bool base64_get(
    struct buf *out, enum base64_alphabet a, const uint8_t *in, size_t len);

#endif
