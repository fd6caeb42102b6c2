/*
 * master/bar.h - one line on a terminal that says how far a search is.
 *
 * Runs in: master.
 */
#ifndef MASTER_BAR_H
#define MASTER_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far a search is, all its processes together. */
struct bar_progress {
	unsigned bits;
	unsigned processes;
	uint64_t tests;
	uint64_t expected; /* mean number of a search; 0: not known yet */
	uint64_t elapsed_ms;
};

/*
 * Writes the line, without escapes or line end, into `out`, for a terminal
 * of `columns`:
 * "2048 bits [#######             ] 37% of the expected tests, 1.2 s, 1630/s".
 * The share may pass 100%: the search has no memory, so it is then said as it
 * is and the bar is full.  Never longer than columns - 1: a narrow terminal
 * gets a shorter bar, then none, then a shorter text.
 */
void bar_format(char *out, size_t size, unsigned columns,
    const struct bar_progress *progress);

/* Shows the line on standard error in place of the one before, if that is a
 * terminal (true); else does nothing (false). */
bool bar_show(const struct bar_progress *progress);
/* Removes it, before other text is written or the work is over. */
void bar_clear(void);

#endif
