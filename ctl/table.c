/*
 * ctl/table.c - tables for a terminal, plain lines for a pipe, strings of
 * JSON.
 *
 * Runs in: ctl, as an administrator.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_NETBSD_VIS /* which strnvis(3), if it were used */
#include <vis.h>

#include "ctl/table.h"
#include "fmltp/text.h"

#define TABLE_CELL_MAX 1024

bool
table_has_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (no == NULL || no[0] == '\0') && term != NULL &&
	    strcmp(term, "dumb") != 0;
}

void
table_begin(struct table *t, const char *const *names, size_t columns)
{
	size_t i;

	memset(t, 0, sizeof(*t));
	t->terminal = isatty(STDOUT_FILENO) == 1;
	t->names = names;
	t->columns = columns;
	for (i = 0; t->terminal && names != NULL && i < columns; i++)
		table_text(t, names[i]);
}

/* A cell as it is to be seen. */
static void
table_add(struct table *t, const char *seen)
{
	size_t room;
	char **cells;

	if (!t->terminal) {
		t->column = (t->column + 1) % t->columns;
		printf("%s%c", seen, t->column == 0 ? '\n' : ' ');
		return;
	}
	if (t->count == t->room) {
		room = t->room == 0 ? 256 : t->room * 2;
		cells =
		    recallocarray(t->cells, t->room, room, sizeof(*t->cells));
		if (cells == NULL)
			abort();
		t->cells = cells;
		t->room = room;
	}
	t->cells[t->count] = strdup(seen);
	if (t->cells[t->count++] == NULL)
		abort();
}

void
table_text(struct table *t, const char *text)
{
	char seen[TABLE_CELL_MAX * 4 + 1], cut[TABLE_CELL_MAX];

	strlcpy(cut, text[0] == '\0' ? "-" : text, sizeof(cut));
	strvis(seen, cut,
	    VIS_OCTAL | VIS_TAB | VIS_NL | VIS_NOLOCALE |
		(t->terminal ? 0 : VIS_SP));
	table_add(t, seen);
}

void
table_number(struct table *t, uint64_t n)
{
	char seen[32];

	snprintf(seen, sizeof(seen), "%" PRIu64, n);
	table_add(t, seen);
}

void
table_duration(struct table *t, uint64_t ms)
{
	const uint64_t s = ms / 1000;
	char seen[32];

	if (!t->terminal)
		snprintf(seen, sizeof(seen), "%" PRIu64, s);
	else if (s < 60)
		snprintf(seen, sizeof(seen), "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(seen, sizeof(seen), "%" PRIu64 "m%02" PRIu64 "s",
		    s / 60, s % 60);
	else if (s < 86400)
		snprintf(seen, sizeof(seen), "%" PRIu64 "h%02" PRIu64 "m",
		    s / 3600, s / 60 % 60);
	else
		snprintf(seen, sizeof(seen), "%" PRIu64 "d%02" PRIu64 "h",
		    s / 86400, s / 3600 % 24);
	table_add(t, seen);
}

void
table_end(struct table *t, const char *empty)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 }, i, column, len;
	bool bold = t->names != NULL && table_has_colour();

	for (i = 0; i < t->count; i++) {
		len = strlen(t->cells[i]);
		if (len > width[i % t->columns])
			width[i % t->columns] = len;
	}
	if (t->terminal && empty != NULL && t->count <= t->columns)
		puts(empty);
	else
		for (i = 0; i < t->count; i++) {
			column = i % t->columns;
			if (i == 0 && bold)
				fputs("\033[1m", stdout);
			if (column + 1 < t->columns)
				printf(
				    "%-*s  ", (int)width[column], t->cells[i]);
			else
				printf("%s%s\n", t->cells[i],
				    bold && i + 1 == t->columns ? "\033[0m"
								: "");
		}
	for (i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	memset(t, 0, sizeof(*t));
}

void
table_print_json(const char *text)
{
	const bool utf8 =
	    text_is_printable((const uint8_t *)text, strlen(text));
	const unsigned char *c;

	putchar('"');
	for (c = (const unsigned char *)text; *c != '\0'; c++)
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f || (*c >= 0x80 && !utf8))
			printf("\\u%04x", *c);
		else
			putchar(*c);
	putchar('"');
}
