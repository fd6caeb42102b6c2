/*
 * fmltp/status.c - status codes and commands of a session (docs/FMLTP.md
 * section 5).
 *
 * Runs in: worker, client.  Pure; no allocation.  A command may hold a
 * password: words point into the caller's packet, nothing is copied.
 */
#include <string.h>

#include "fmltp/status.h"
#include "fmltp/text.h"

bool
status_begins(const uint8_t *packet, size_t len)
{
	size_t i;

	if (len < 4 || packet[3] != ' ')
		return false;
	for (i = 0; i < 3; i++)
		if (packet[i] < '0' || packet[i] > '9')
			return false;
	return true;
}

int
status_code(const uint8_t *packet, size_t len)
{
	if (!status_begins(packet, len))
		return -1;
	return (packet[0] - '0') * 100 + (packet[1] - '0') * 10 + packet[2] -
	    '0';
}

bool
status_is_ready(int code)
{
	return code >= STATUS_READY && code < STATUS_READY + 30 &&
	    code % 10 <= 2;
}

bool
command_parse(const uint8_t *packet, size_t len, struct command *out)
{
	const uint8_t *blank;

	if (len > COMMAND_LINE_MAX)
		return false;
	if (len > 0 && packet[len - 1] == '\n') {
		len--;
		if (len > 0 && packet[len - 1] == '\r')
			len--;
	}
	if (len == 0 || packet[0] == ' ' || !text_is_printable(packet, len))
		return false;
	blank = memchr(packet, ' ', len);
	out->has_rest = blank != NULL;
	out->name.s = packet;
	out->name.len = blank == NULL ? len : (size_t)(blank - packet);
	out->rest.s = blank == NULL ? packet + len : blank + 1;
	out->rest.len = (size_t)(packet + len - out->rest.s);
	return true;
}

/* Takes the rest apart; with `rest` the last of `max` words is all that is
 * left, blanks included, and may not be there. */
static bool
command_split(const struct command *c, struct command_word *words, size_t max,
    bool rest, size_t *count)
{
	const uint8_t *s = c->rest.s, *blank;
	size_t left = c->rest.len, n;
	bool last;

	*count = 0;
	if (!c->has_rest)
		return true;
	for (;;) {
		last = rest && *count + 1 == max;
		blank = left == 0 || last ? NULL : memchr(s, ' ', left);
		n = blank == NULL ? left : (size_t)(blank - s);
		if (n == 0)
			return last;
		if (*count < max) {
			words[*count].s = s;
			words[*count].len = n;
		}
		(*count)++;
		if (blank == NULL)
			return true;
		s += n + 1;
		left -= n + 1;
	}
}

bool
command_arguments(const struct command *c, struct command_word *words,
    size_t max, size_t *count)
{
	return command_split(c, words, max, false, count);
}

bool
command_arguments_rest(const struct command *c, struct command_word *words,
    size_t max, size_t *count)
{
	return command_split(c, words, max, true, count);
}

bool
command_word_is(const struct command_word *w, const char *name)
{
	return w->len == strlen(name) && memcmp(w->s, name, w->len) == 0;
}
