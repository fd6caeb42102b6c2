/*
 * tests/fuzz/fuzz_command.c - a client's packet in a session, and the status
 * of a server's.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/status.c
 * Covers: fmltp/text.c: text_is_printable text_read_char
 */
#include <stdlib.h>
#include <string.h>

#include "fmltp/status.h"
#include "fmltp/text.h"

#define WORDS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Name, words and blanks between them are the line, with nothing left. */
static void
check_words(const uint8_t *line, const struct command *c)
{
	struct command_word words[WORDS_MAX];
	const uint8_t *at = c->rest.s;
	size_t count, i, blanks = 0;
	bool good;

	for (i = 0; i < c->rest.len; i++)
		blanks += c->rest.s[i] == ' ';
	good = command_arguments(c, words, WORDS_MAX, &count);
	if (!c->has_rest) {
		if (!good || count != 0 || c->rest.len != 0)
			abort();
		return;
	}
	if (c->rest.s != line + c->name.len + 1)
		abort();
	if (!good)
		return;
	if (count != blanks + 1)
		abort();
	for (i = 0; i < count && i < WORDS_MAX; i++) {
		if (words[i].s != at || words[i].len == 0 ||
		    memchr(at, ' ', words[i].len) != NULL)
			abort();
		at += words[i].len + 1;
	}
}

/* With a last argument that is the rest of the line: the same words before
 * it, and all of the line. */
static void
check_rest(const uint8_t *line, const struct command *c)
{
	struct command_word words[WORDS_MAX], last;
	size_t count, max, left;

	for (max = 1; max <= WORDS_MAX; max++) {
		if (!command_arguments_rest(c, words, max, &count))
			continue;
		if (count > max || (count > 0) != (c->rest.len > 0))
			abort();
		if (count == 0)
			continue;
		/* A last argument that is empty is not there, its blank is. */
		last = words[count - 1];
		left = (size_t)(c->rest.s + c->rest.len - last.s) - last.len;
		if (last.len == 0 || left > (count + 1 == max) ||
		    words[0].s != c->rest.s)
			abort();
	}
	if (command_word_is(&c->name, "HELP") !=
	    (c->name.len == 4 && memcmp(line, "HELP", 4) == 0))
		abort();
}

/* Packet 7's codes are three, three times. */
static void
check_ready(int code)
{
	bool ready = code == 100 || code == 101 || code == 102 || code == 110 ||
	    code == 111 || code == 112 || code == 120 || code == 121 ||
	    code == 122;

	if (status_is_ready(code) != ready)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command c;
	int code = status_code(data, size);

	if (status_begins(data, size) != (code >= 0) || code > 999)
		abort();
	check_ready(code);
	if (!command_parse(data, size, &c))
		return 0;
	if (size > COMMAND_LINE_MAX || c.name.s != data || c.name.len == 0 ||
	    memchr(c.name.s, ' ', c.name.len) != NULL ||
	    c.rest.s + c.rest.len > data + size ||
	    !text_is_printable(c.name.s, c.name.len) ||
	    !text_is_printable(c.rest.s, c.rest.len))
		abort();
	check_words(data, &c);
	check_rest(data, &c);
	return 0;
}
