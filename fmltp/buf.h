/*
 * fmltp/buf.h - a bounded buffer to write into and a cursor to read from.
 *
 * Runs in: worker, keys, client.  Pure functions of bytes: no process, no
 * socket, no global state, no allocation.  No other file of fmltp/ does
 * arithmetic on raw pointers where one of these two can do it.
 */
#ifndef FMLTP_BUF_H
#define FMLTP_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A writer over memory that the caller owns.  A write that does not fit
 * writes nothing and sets `failed`, which stays set: a caller may make many
 * writes and check once.
 */
struct buf {
	uint8_t *data; /* the caller's memory */
	size_t len; /* bytes written so far */
	size_t cap; /* bytes of memory */
	bool failed; /* a write did not fit */
};

/* A reader over bytes that the caller owns; see buf for `failed`. */
struct cursor {
	const uint8_t *p; /* the next byte */
	size_t left; /* bytes not read yet */
	bool failed; /* a read asked for more than there was */
};

/* Starts an empty buffer over the `cap` bytes at `mem`. */
void buf_init(struct buf *b, void *mem, size_t cap);
/* Appends `len` bytes, a byte, big-endian integers, a C string. */
void buf_put(struct buf *b, const void *bytes, size_t len);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_str(struct buf *b, const char *s);
/* Appends `v` in decimal, without leading zeros. */
void buf_put_decimal(struct buf *b, uint64_t v);
/* Appends `len` bytes to be filled by the caller; NULL when they don't fit. */
uint8_t *buf_reserve(struct buf *b, size_t len);

/* Starts reading the `len` bytes at `bytes`. */
void cursor_init(struct cursor *c, const void *bytes, size_t len);
/* Takes `len` bytes; NULL, and `failed`, when there are fewer. */
const uint8_t *cursor_take(struct cursor *c, size_t len);
/* Takes a byte, a big-endian integer; 0, and `failed`, at the end. */
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* Takes `len` bytes if they are equal to those at `bytes`; else false. */
bool cursor_match(struct cursor *c, const void *bytes, size_t len);

#endif
