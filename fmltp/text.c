/*
 * fmltp/text.c - which bytes are text on this wire (docs/FMLTP.md section 5).
 *
 * Runs in: worker, client, and in the master for the configured friendly
 * name.  Pure; no allocation.
 */
#include "fmltp/text.h"

/*
 * Reads the character at the start of the `len` (at least 1) bytes: its
 * length, or 0 where it is not shortest-form UTF-8.
 */
static size_t
text_read_char(const uint8_t *s, size_t len, uint32_t *out)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n, i;
	uint32_t c;

	if (s[0] < 0x80) {
		*out = s[0];
		return 1;
	}
	if ((s[0] & 0xe0) == 0xc0) {
		n = 2;
		c = s[0] & 0x1fu;
	} else if ((s[0] & 0xf0) == 0xe0) {
		n = 3;
		c = s[0] & 0x0fu;
	} else if ((s[0] & 0xf8) == 0xf0) {
		n = 4;
		c = s[0] & 0x07u;
	} else
		return 0;
	if (n > len)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*out = c;
	return n;
}

bool
text_is_printable(const uint8_t *s, size_t len)
{
	uint32_t c;
	size_t n;

	for (; len > 0; s += n, len -= n) {
		if ((n = text_read_char(s, len, &c)) == 0)
			return false;
		if (c < 0x20 || (c >= 0x7f && c <= 0x9f))
			return false;
		/* Line and paragraph separator, then what reorders a line. */
		if (c == 0x2028 || c == 0x2029 ||
		    (c >= 0x202a && c <= 0x202e) ||
		    (c >= 0x2066 && c <= 0x2069))
			return false;
	}
	return true;
}

size_t
text_trim_end(const uint8_t *s, size_t len)
{
	while (len > 0 &&
	    (s[len - 1] == '\r' || s[len - 1] == '\n' || s[len - 1] == ' '))
		len--;
	return len;
}
