/*
 * tests/fuzz/fuzz_stream.c - a stream of tokens, cut into segments.
 *
 * The first byte says whether the stream is the input itself or is made
 * after it (tokens with changes, so that MACs match), the next eight choose
 * the segments.  What comes out is compared with a slow search for the
 * shortest token at each place, and must not depend on the segments.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/stream.c
 */
#include <stdlib.h>
#include <string.h>

#include "fmltp/stream.h"
#include "tests/vectors.h"

#define TOKEN_MAX 1024
#define TEXT_MAX  16384
#define FOUND_MAX (TEXT_MAX / FERNET_TOKEN_MIN + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where tokens ended, and how all ended. */
struct found {
	size_t end[FOUND_MAX];
	size_t count;
	size_t used;
	enum fmltp_error error;
};

static struct fernet fernet;

static uint64_t
next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15U);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

/* Feeds all, in segments or at once. */
static void
run(struct found *f, const uint8_t *text, size_t len, uint64_t segments)
{
	struct stream s;
	struct stream_token token;
	uint8_t raw[TOKEN_MAX / 4 * 3];
	uint8_t *copy;
	size_t n, taken;

	memset(f, 0, sizeof(*f));
	stream_init(&s, &fernet, raw, sizeof(raw) / 3 * 4);
	f->error = FMLTP_MORE;
	while (f->used < len) {
		n = len - f->used;
		if (segments != 0)
			n = next(&segments) % (n < 200 ? n : 200) + 1;
		if ((copy = malloc(n)) == NULL)
			abort();
		memcpy(copy, text + f->used, n);
		f->error = stream_feed(&s, copy, n, &taken, &token);
		free(copy);
		if (taken > n || (f->error == FMLTP_MORE && taken != n))
			abort();
		f->used += taken;
		if (f->error == FMLTP_OK) {
			if (token.raw != raw || token.len > sizeof(raw) ||
			    token.mac != raw + token.len - FERNET_MAC_LEN ||
			    stream_in_token(&s))
				abort();
			f->end[f->count++] = f->used;
		} else if (f->error != FMLTP_MORE)
			break;
	}
	if (f->error == FMLTP_OK)
		f->error = FMLTP_MORE;
}

/* The length of the shortest token at the start of the text, or 0. */
static size_t
shortest(const uint8_t *text, size_t len)
{
	uint8_t plain[TOKEN_MAX], mac[FERNET_MAC_LEN];
	uint64_t when;
	size_t n, plain_len;
	enum fmltp_error e;

	for (n = FERNET_TOKEN_MIN; n <= len && n <= TOKEN_MAX; n += 4) {
		e = fernet_open(
		    &fernet, text, n, plain, &plain_len, &when, mac);
		if (e == FMLTP_OK || e == FMLTP_TOKEN_PADDING)
			return n;
	}
	return 0;
}

static void
compare(const uint8_t *text, size_t len, uint64_t segments)
{
	static struct found once, cut;
	size_t i, at = 0, n;

	run(&once, text, len, 0);
	run(&cut, text, len, segments | 1);
	if (memcmp(&once, &cut, sizeof(once)) != 0)
		abort();
	for (i = 0; i < once.count; i++, at += n) {
		while (at < len && (text[at] == '\r' || text[at] == '\n'))
			at++;
		n = shortest(text + at, len - at);
		if (n == 0 || once.end[i] != at + n)
			abort();
	}
	while (at < len && (text[at] == '\r' || text[at] == '\n'))
		at++;
	if (shortest(text + at, len - at) != 0)
		abort();
}

/* Makes a stream after the input: four bytes a token. */
static size_t
make(uint8_t *text, const uint8_t *data, size_t size)
{
	static const char *const ends[] = { "", "\n", "\r\n", "=", "A" };
	static const uint8_t iv[FERNET_IV_LEN];
	uint8_t plain[256] = { 0 };
	struct buf b;
	size_t begin;

	buf_init(&b, text, TEXT_MAX);
	for (; size >= 4 && b.len + 600 < TEXT_MAX; data += 4, size -= 4) {
		begin = b.len;
		plain[0]++;
		fernet_seal(&fernet, data[0], iv, plain, data[0], &b);
		buf_put_str(&b, ends[data[1] % 5]);
		if (data[2] != 0)
			text[begin + data[2] % (b.len - begin)] = data[3];
	}
	if (b.failed)
		abort();
	return b.len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t text[TEXT_MAX];
	uint64_t segments;

	if (size < 9 || size > TEXT_MAX)
		return 0;
	fernet_init(&fernet, vector_kex[0].key);
	memcpy(&segments, data + 1, sizeof(segments));
	if (data[0] % 2 == 0)
		compare(data + 9, size - 9, segments);
	else
		compare(text, make(text, data + 9, size - 9), segments);
	return 0;
}
