/*
 * master/config_scan.h - the text of a configuration file, looked through
 * before libconfuse reads it.
 *
 * Runs in: master, as root.  Pure functions of the file's bytes; never sees
 * a byte of a client.
 *
 * libconfuse would expand ${...}, append with +=, run functions, take a key
 * twice, skip what it does not understand, stop at the first unknown key,
 * and count lines wrong behind comments.  So this scan knows the one grammar
 * that is allowed, finds the line of every key, and leaves to libconfuse a
 * text in which nothing of that is left.
 */
#ifndef MASTER_CONFIG_SCAN_H
#define MASTER_CONFIG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "master/config.h"

/* One reading of one file. */
struct config_reader {
	const char *file; /* as the messages name it */
	config_report *report;
	void *arg;
	unsigned errors; /* reported so far */
	unsigned line[CONFIG_KEY_COUNT]; /* of each key; 0: not in the file */
	bool skip[CONFIG_KEY_COUNT]; /* it has an error already */
	/* Of each value of a key that takes a list. */
	unsigned value_line[CONFIG_KEY_COUNT][CONFIG_LIST_MAX];
	/* FlexMusic's runtime_overload_mitigation: where, and its value, cut
	 * where it is longer than any that has a meaning. */
	unsigned overload_line;
	char overload[8];
};

#define CONFIG_OVERLOAD "runtime_overload_mitigation"

/* The name of a key in the file. */
const char *config_key_name(enum config_key key);
/* How many values its list may have; 0: it takes no list. */
size_t config_list_max(enum config_key key);

/* Where a message belongs. */
struct config_place {
	unsigned line; /* 0: unknown */
	const char *key; /* NULL: none */
	const char *value; /* `value_len` bytes, or NULL: none */
	size_t value_len;
};

/* Composes a message and hands it to the reader's report function. */
void config_message(struct config_reader *r, enum config_severity severity,
    const struct config_place *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* An error of the file as a whole. */
void config_file_error(struct config_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Looks through the `len` bytes at `text` (text[len] is NUL, no other is).
 * Reports what is wrong, fills the reader's lines, and overwrites comments and
 * whatever libconfuse must not see with blanks.  False after a syntax error:
 * the reading ends.
 */
bool config_scan(struct config_reader *r, char *text, size_t len);

#endif
