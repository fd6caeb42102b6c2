/*
 * ctl/table.h - tables for a terminal, plain lines for a pipe, strings of
 * JSON.
 *
 * Runs in: ctl.  Text may come from clients: nothing of it can move a cursor
 * or break a line.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_COLUMNS_MAX 8

/*
 * A terminal gets aligned columns under a heading, when all rows are there;
 * a pipe gets each row at once, cells between blanks: blanks of a text as
 * \040, and an empty one as "-".
 */
struct table {
	bool terminal;
	const char *const *names; /* NULL: no heading */
	size_t columns;
	char **cells; /* kept for the terminal */
	size_t count;
	size_t room;
	size_t column; /* the next cell's */
};

void table_begin(struct table *t, const char *const *names, size_t columns);
/* The next cell, row by row. */
void table_text(struct table *t, const char *text);
void table_number(struct table *t, uint64_t n);
/* "3h12m" on a terminal, seconds in a pipe. */
void table_duration(struct table *t, uint64_t ms);
/* Prints what was kept; `empty` (NULL: nothing) where a terminal would get
 * no row. */
void table_end(struct table *t, const char *empty);

/* Whether a heading may be bold. */
bool table_has_colour(void);

/* A string of JSON, in its quotes; what is no UTF-8 is taken for Latin-1. */
void table_print_json(const char *text);

#endif
