/*
 * ctl/report.c - what flexmusicctl says on standard error.
 *
 * Runs in: ctl, as the administrator.  Passwords and hashes are never said.
 */
#include <stdarg.h>
#include <stdio.h>

#include "ctl/report.h"

static void __attribute__((format(printf, 2, 0)))
report_line(const char *kind, const char *fmt, va_list ap)
{
	fprintf(stderr, "flexmusicctl: %s", kind);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

bool
report_error(const char *remedy, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_line("", fmt, ap);
	va_end(ap);
	if (remedy != NULL)
		fprintf(stderr, "flexmusicctl: %s\n", remedy);
	return false;
}

void
report_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_line("note: ", fmt, ap);
	va_end(ap);
}
