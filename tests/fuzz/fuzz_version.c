/*
 * tests/fuzz/fuzz_version.c - a version line of any bytes, at every length.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/version.c: version_scan version_parse version_put
 * Covers: fmltp/version.c: version_take_number version_parse_signature
 * Covers: fmltp/text.c: text_is_printable text_read_char
 * Covers: fmltp/version.c: version_compare version_compare_number
 */
#include <stdlib.h>
#include <string.h>

#include "fmltp/text.h"
#include "fmltp/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Against itself it is the same; against another, the codes mirror. */
static void
check_compare(const struct version_signature *s)
{
	static const struct version_signature other = { 1, 7, 7 };
	int there = version_compare(s, &other);
	int back = version_compare(&other, s);

	if (version_compare(s, s) != 100 || (there == 0) != (s->class != 1) ||
	    (back == 0) != (there == 0))
		abort();
	if (there == 0)
		return;
	/* 0 the same, 1 and 2 newer on one side or the other. */
	if ((3 - there / 10 % 10) % 3 != back / 10 % 10 ||
	    (3 - there % 10) % 3 != back % 10)
		abort();
}

/* What is taken for a line is, byte for byte, what would be sent for it. */
static void
check_line(const uint8_t *text, size_t len)
{
	struct version_line line;
	uint8_t mem[VERSION_LINE_MAX];
	struct buf b;

	if (version_parse(text, len, &line) != FMLTP_OK)
		return;
	check_compare(&line.signature);
	buf_init(&b, mem, sizeof(mem));
	version_put(&b, &line);
	if (b.failed || b.len != len || memcmp(mem, text, len) != 0 ||
	    !text_is_printable(text, len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len, text_len = 0, taken = 0, last_text = 0, last_taken = 0;
	enum version_scan scan, last = VERSION_SCAN_MORE;

	if (size > VERSION_LINE_MAX)
		check_line(data, size);
	for (len = 0; len <= size && len < 2 * VERSION_LINE_MAX; len++) {
		scan = version_scan(data, len, &text_len, &taken);
		if (scan == VERSION_SCAN_BARE || scan == VERSION_SCAN_LINE) {
			if (text_len > taken || taken > len)
				abort();
			check_line(data, text_len);
		}
		/* A line with its end, or one that is too long, stays so. */
		if ((last == VERSION_SCAN_LINE || last == VERSION_SCAN_LONG) &&
		    scan != last)
			abort();
		if (last == VERSION_SCAN_LINE &&
		    (text_len != last_text || taken != last_taken))
			abort();
		last = scan;
		last_text = text_len;
		last_taken = taken;
	}
	return 0;
}
