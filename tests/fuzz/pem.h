/*
 * tests/fuzz/pem.h - what the fuzzers of packets 3, 4 and 5 share.
 *
 * Runs in: the fuzzers alone.
 */
#ifndef TESTS_FUZZ_PEM_H
#define TESTS_FUZZ_PEM_H

#include <stdlib.h>
#include <string.h>

#include "fmltp/base64url.h"
#include "fmltp/dhkey.h"

/* Puts DER into PEM, as a sender would. */
static inline void
fuzz_put_pem(struct buf *out, const char *label, const uint8_t *der, size_t len)
{
	size_t n;

	buf_put_str(out, "-----BEGIN ");
	buf_put_str(out, label);
	buf_put_str(out, "-----\n");
	for (; len > 0; der += n, len -= n) {
		n = len < 48 ? len : 48;
		base64_put(out, BASE64_STANDARD, der, n);
		buf_put_u8(out, '\n');
	}
	buf_put_str(out, "-----END ");
	buf_put_str(out, label);
	buf_put_str(out, "-----\n");
}

/* Takes PEM that was accepted apart: the DER. */
static inline void
fuzz_get_der(struct buf *der, const uint8_t *text, size_t len)
{
	uint8_t body[DH_PEM_MAX];
	const uint8_t *line = memchr(text, '\n', len);
	struct buf b;

	buf_init(&b, body, sizeof(body));
	while (line != NULL && ++line < text + len && *line != '-') {
		for (; *line != '\n'; line++)
			if (*line != '\r')
				buf_put_u8(&b, *line);
	}
	if (b.failed || !base64_get(der, BASE64_STANDARD, b.data, b.len))
		abort();
}

/* An error may come early, but then it is the error. */
static inline void
fuzz_check_early(enum fmltp_error early, enum fmltp_error all)
{
	if (early != FMLTP_MORE && early != all)
		abort();
}

#endif
