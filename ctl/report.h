/*
 * ctl/report.h - what flexmusicctl says on standard error.
 *
 * Runs in: ctl.
 */
#ifndef CTL_REPORT_H
#define CTL_REPORT_H

#include <stdbool.h>

/*
 * What is wrong, and on a line of its own what to do about it (NULL: that is
 * plain).  False always, for `return report_error(...)`.
 */
bool report_error(const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Something that the administrator should know: no error. */
void report_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
