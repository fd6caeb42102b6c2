/*
 * fmltp/text.h - which bytes are text on this wire (docs/FMLTP.md section 5).
 *
 * Runs in: worker, client.  Pure; no allocation.
 */
#ifndef FMLTP_TEXT_H
#define FMLTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * True if the `len` bytes are valid shortest-form UTF-8 (RFC 3629) without
 * U+0000-001F, 007F-009F, 2028, 2029, 202A-202E and 2066-2069.  Empty text
 * is printable.
 */
bool text_is_printable(const uint8_t *s, size_t len);

/* Length without the CR and LF bytes and blanks at the end of `s`. */
size_t text_trim_end(const uint8_t *s, size_t len);

#endif
