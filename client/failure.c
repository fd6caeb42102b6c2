/*
 * client/failure.c - how the client ends.
 *
 * Runs in: client, as its user.
 */
#include <stdarg.h>
#include <stdio.h>

#include "client/failure.h"

enum client_exit
failure_set(struct failure *f, enum client_exit exit, const char *remedy,
    const char *fmt, ...)
{
	va_list ap;

	f->exit = exit;
	f->remedy = remedy;
	va_start(ap, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
	return exit;
}
