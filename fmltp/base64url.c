/*
 * fmltp/base64url.c - base64url and base64, canonical (RFC 4648 sections 4
 * and 5).
 *
 * Runs in: worker, paramgen, client.  Pure; no allocation.  Must never see:
 * a key (nothing here runs in a time that is independent of its input).
 */
#include "fmltp/base64url.h"

static const char base64_chars[2][65] = {
	[BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
			    "yz0123456789+/",
	[BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
		       "yz0123456789-_",
};

int
base64_value(enum base64_alphabet a, uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (uint8_t)base64_chars[a][62])
		return 62;
	if (c == (uint8_t)base64_chars[a][63])
		return 63;
	return -1;
}

void
base64_put(
    struct buf *out, enum base64_alphabet a, const uint8_t *in, size_t len)
{
	const char *chars = base64_chars[a];
	uint8_t *to;
	uint32_t v;

	if (len > SIZE_MAX / 4 * 3 - 2) {
		out->failed = true;
		return;
	}
	if ((to = buf_reserve(out, (len + 2) / 3 * 4)) == NULL)
		return;
	/*
	 * Each group is read before its characters are written: the input may
	 * be the end of the reserved room.
	 */
	for (; len >= 3; in += 3, len -= 3, to += 4) {
		v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
		to[0] = (uint8_t)chars[v >> 18];
		to[1] = (uint8_t)chars[v >> 12 & 63];
		to[2] = (uint8_t)chars[v >> 6 & 63];
		to[3] = (uint8_t)chars[v & 63];
	}
	if (len == 0)
		return;
	v = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
	to[0] = (uint8_t)chars[v >> 18];
	to[1] = (uint8_t)chars[v >> 12 & 63];
	to[2] = len == 2 ? (uint8_t)chars[v >> 6 & 63] : '=';
	to[3] = '=';
}

bool
base64_get(
    struct buf *out, enum base64_alphabet a, const uint8_t *in, size_t len)
{
	size_t i, pad, whole;
	uint8_t *to;
	uint32_t v;
	int c;

	if (len % 4 != 0)
		return false;
	if (len == 0)
		return true;
	pad = in[len - 1] != '=' ? 0 : in[len - 2] != '=' ? 1 : 2;
	if ((to = buf_reserve(out, len / 4 * 3 - pad)) == NULL)
		return false;
	whole = len - pad;
	v = 0;
	for (i = 0; i < whole; i++) {
		if ((c = base64_value(a, in[i])) < 0)
			return false;
		v = v << 6 | (uint32_t)c;
		if (i % 4 == 3) {
			*to++ = (uint8_t)(v >> 16);
			*to++ = (uint8_t)(v >> 8);
			*to++ = (uint8_t)v;
		}
	}
	if (pad == 1) {
		*to++ = (uint8_t)(v >> 10);
		*to = (uint8_t)(v >> 2);
		return (v & 3) == 0;
	}
	if (pad == 2) {
		*to = (uint8_t)(v >> 4);
		return (v & 15) == 0;
	}
	return true;
}
