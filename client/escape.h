/*
 * client/escape.h - text from the network on a terminal: what is not
 * printable (docs/FMLTP.md section 5) is escaped as vis(3) does it, so that
 * a server cannot send control sequences to the user's terminal.
 *
 * Runs in: client, as its user.
 */
#ifndef CLIENT_ESCAPE_H
#define CLIENT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * True if the user's locale is a UTF-8 one.  Elsewhere bytes above 0x7e are
 * escaped too: in 8-bit terminals some of them are control characters.
 */
bool escape_locale_is_utf8(void);

/* Prints the `len` bytes: as they are if all is printable, else escaped. */
void escape_print(FILE *out, const uint8_t *s, size_t len, bool utf8);

/*
 * The same into `out` of `size` bytes, with a NUL; always ASCII; cut, with
 * "..." at its end, where it does not fit.  Returns `out`.
 */
const char *escape_text(char *out, size_t size, const void *bytes, size_t len);

#endif
