/*
 * client/escape.c - text from the network on a terminal.
 *
 * Runs in: client, as its user.  The process stays in the C locale, so that
 * vis(3) judges bytes and nothing else changes with the environment.
 */
#include <langinfo.h>
#include <locale.h>
#include <string.h>
/* which of the two strnvis(3) there are: neither is used */
#define LIBBSD_OPENBSD_VIS
#include <vis.h>

#include "client/escape.h"
#include "fmltp/text.h"

/* Escapes of vis(3): \n, \r, ... and three octal digits for the rest. */
#define ESCAPE_FLAGS (VIS_CSTYLE | VIS_OCTAL | VIS_NL | VIS_TAB)

bool
escape_locale_is_utf8(void)
{
	locale_t user;
	bool utf8;

	user = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	if (user == (locale_t)0)
		return false;
	utf8 = strcmp(nl_langinfo_l(CODESET, user), "UTF-8") == 0;
	freelocale(user);
	return utf8;
}

static bool
escape_is_ascii(const uint8_t *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return true;
}

static size_t
escape_byte(char out[8], const uint8_t *s, size_t len, size_t i)
{
	int next = i + 1 < len ? s[i + 1] : 0;

	if (s[i] == ' ') {
		out[0] = ' ';
		out[1] = '\0';
		return 1;
	}
	return (size_t)(vis(out, s[i], ESCAPE_FLAGS, next) - out);
}

void
escape_print(FILE *out, const uint8_t *s, size_t len, bool utf8)
{
	char byte[8];
	size_t i;

	if (utf8 ? text_is_printable(s, len) : escape_is_ascii(s, len)) {
		fwrite(s, 1, len, out);
		return;
	}
	for (i = 0; i < len; i++) {
		escape_byte(byte, s, len, i);
		fputs(byte, out);
	}
}

const char *
escape_text(char *out, size_t size, const void *bytes, size_t len)
{
	static const char cut[] = "...";
	const uint8_t *s = bytes;
	char byte[8];
	size_t i, n, used = 0;

	for (i = 0; i < len; i++) {
		n = escape_byte(byte, s, len, i);
		if (used + n + sizeof(cut) > size) {
			memcpy(out + used, cut, sizeof(cut));
			return out;
		}
		memcpy(out + used, byte, n);
		used += n;
	}
	out[used] = '\0';
	return out;
}
