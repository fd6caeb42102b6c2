/*
 * fmltp/buf.c - a bounded buffer to write into and a cursor to read from.
 *
 * Runs in: worker, keys, client, and in the master for the packets that it
 * makes itself.  Pure; no allocation.  Must never see: anything beyond the
 * memory it was started over.
 */
#include <string.h>

#include "fmltp/buf.h"

void
buf_init(struct buf *b, void *mem, size_t cap)
{
	b->data = mem;
	b->len = 0;
	b->cap = cap;
	b->failed = false;
}

uint8_t *
buf_reserve(struct buf *b, size_t len)
{
	uint8_t *p;

	/* After a failure nothing is written any more: no text with a gap. */
	if (b->failed || len > b->cap - b->len) {
		b->failed = true;
		return NULL;
	}
	p = b->data + b->len;
	b->len += len;
	return p;
}

void
buf_put(struct buf *b, const void *bytes, size_t len)
{
	uint8_t *p = buf_reserve(b, len);

	if (p != NULL && len > 0)
		memcpy(p, bytes, len);
}

void
buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

void
buf_put_u16(struct buf *b, uint16_t v)
{
	uint8_t bytes[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	buf_put(b, bytes, sizeof(bytes));
}

void
buf_put_u64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];
	size_t i;

	for (i = sizeof(bytes); i-- > 0; v >>= 8)
		bytes[i] = (uint8_t)v;
	buf_put(b, bytes, sizeof(bytes));
}

void
buf_put_str(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_put_decimal(struct buf *b, uint64_t v)
{
	uint8_t digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (uint8_t)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	buf_put(b, digits + i, sizeof(digits) - i);
}

void
cursor_init(struct cursor *c, const void *bytes, size_t len)
{
	c->p = bytes;
	c->left = len;
	c->failed = false;
}

const uint8_t *
cursor_take(struct cursor *c, size_t len)
{
	const uint8_t *p;

	if (c->failed || len > c->left) {
		c->failed = true;
		return NULL;
	}
	p = c->p;
	if (len > 0)
		c->p += len;
	c->left -= len;
	return p;
}

uint8_t
cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p == NULL ? 0 : p[0];
}

uint16_t
cursor_u16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p == NULL ? 0 : (uint16_t)(p[0] << 8 | p[1]);
}

uint64_t
cursor_u64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);
	uint64_t v = 0;
	size_t i;

	if (p == NULL)
		return 0;
	for (i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

bool
cursor_match(struct cursor *c, const void *bytes, size_t len)
{
	if (c->failed || len > c->left)
		return false;
	if (len > 0) {
		if (memcmp(c->p, bytes, len) != 0)
			return false;
		c->p += len;
		c->left -= len;
	}
	return true;
}
