/*
 * fmltp/version.h - packets 1 and 2, the version lines (FMLTP.md section 2).
 *
 * Runs in: worker, client, and in the master to make packet 1 from the
 * configuration.  Pure; no allocation.
 */
#ifndef FMLTP_VERSION_H
#define FMLTP_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/buf.h"
#include "fmltp/error.h"

#define VERSION_NAME_MAX 128 /* bytes of a friendly name */
#define VERSION_LINE_MAX 255 /* bytes of a line with its end */
#define VERSION_PREFIX	 "FlexMusic"

/* A compatibility signature: class.stepping.sub-stepping. */
struct version_signature {
	uint16_t class;
	uint16_t stepping;
	uint16_t substepping;
};

struct version_line {
	char name[VERSION_NAME_MAX + 1]; /* NUL-terminated */
	struct version_signature signature;
};

/* What version_scan found at the start of a stream. */
enum version_scan {
	VERSION_SCAN_MORE, /* not complete as it stands */
	VERSION_SCAN_BARE, /* complete as it stands, without a line end: 250 ms
			      of silence end it */
	VERSION_SCAN_LINE, /* a line with its end (LF or CR LF) */
	VERSION_SCAN_LONG /* longer than 255 bytes with its end */
};

/*
 * Looks for a version line at the start of the `len` bytes received so far.
 * On LINE `*text_len` is the length without line end and `*taken` with it;
 * on BARE `*text_len` is the length without a CR that may be there already,
 * `*taken` is `len`.  BARE is only returned if version_parse accepts the
 * text.  A line of 255 bytes without its end is LONG.
 */
enum version_scan
version_scan(const uint8_t *in, size_t len, size_t *text_len, size_t *taken);

/*
 * Parses a line without its end.  Returns FMLTP_OK and fills `out`, or one
 * of FMLTP_VEX_LONG, _NO_COMMA, _PREFIX, _NAME, _NUMBER.  The friendly name
 * holds no comma, so a second comma is a bad number.  The prefix is checked
 * before everything else but the length, so that a port scanner's request is
 * told from a broken client.
 */
enum fmltp_error
version_parse(const uint8_t *in, size_t len, struct version_line *out);

/* Parses "x.y.z" alone, len bytes; false if it is not three numbers. */
bool version_parse_signature(
    const uint8_t *in, size_t len, struct version_signature *out);

/* Appends `name,x.y.z` without a line end to `b`. */
void version_put(struct buf *b, const struct version_line *v);

/*
 * Compares signatures: 0 where the class differs, else the status of packet
 * 7: 100 + 10a + b with a, b = 0 equal, 1 the client's is higher, 2 the
 * server's is (a for the stepping, b for the sub-stepping).
 */
int version_compare(const struct version_signature *server,
    const struct version_signature *client);

#endif
