/*
 * tests/fuzz/fuzz_base64url.c - base64url and base64: the first byte says
 * which, and whether the others are text or what to make text of.
 *
 * Runs in: the fuzzers alone.  What is read is, character by character, what
 * would be written for it; what is written is read as it was; and one changed
 * character never means the same.
 *
 * Covers: fmltp/base64url.c
 * Covers: fmltp/buf.c: buf_reserve buf_init
 */
#include "fmltp/base64url.h"
#include "tests/fuzz/input.h"

#define TEXT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(enum base64_alphabet a, const uint8_t *text, size_t len)
{
	uint8_t raw_mem[TEXT_MAX], text_mem[TEXT_MAX], *fit;
	struct buf raw, again, small;
	size_t i;

	buf_init(&raw, raw_mem, sizeof(raw_mem));
	if (!base64_get(&raw, a, text, len)) {
		for (i = 0; i < len; i++)
			if (base64_value(a, text[i]) < 0)
				return;
		/* All its characters are right: its length or end is not. */
		fuzz_check(!raw.failed && len % 4 != 0);
		return;
	}
	buf_init(&again, text_mem, sizeof(text_mem));
	base64_put(&again, a, raw.data, raw.len);
	fuzz_check(!again.failed && again.len == len &&
	    memcmp(text_mem, text, len) == 0);
	/* Memory that is one byte short is too short, and stays as it is. */
	if (raw.len == 0)
		return;
	fit = malloc(raw.len - 1 + (raw.len == 1));
	fuzz_check(fit != NULL);
	buf_init(&small, fit, raw.len - 1);
	fuzz_check(!base64_get(&small, a, text, len) && small.failed &&
	    small.len == 0);
	free(fit);
}

static void
check_bytes(enum base64_alphabet a, const uint8_t *bytes, size_t len)
{
	uint8_t text_mem[TEXT_MAX], raw_mem[TEXT_MAX], *place;
	size_t text_len = (len + 2) / 3 * 4;
	struct buf text, raw, over;

	buf_init(&text, text_mem, sizeof(text_mem));
	base64_put(&text, a, bytes, len);
	fuzz_check(!text.failed && text.len == text_len);
	buf_init(&raw, raw_mem, sizeof(raw_mem));
	fuzz_check(base64_get(&raw, a, text.data, text.len) && raw.len == len &&
	    memcmp(raw.data, bytes, len) == 0);
	/* The bytes may lie where the text will end. */
	place = malloc(text_len + (text_len == 0));
	fuzz_check(place != NULL);
	memcpy(place + text_len - len, bytes, len);
	buf_init(&over, place, text_len);
	base64_put(&over, a, place + text_len - len, len);
	fuzz_check(!over.failed && memcmp(place, text_mem, text_len) == 0);
	if (text_len > 0) {
		buf_init(&over, place, text_len - 1);
		base64_put(&over, a, bytes, len);
		fuzz_check(over.failed && over.len == 0);
	}
	free(place);
	buf_init(&over, text_mem, sizeof(text_mem));
	base64_put(&over, a, bytes, SIZE_MAX - len);
	fuzz_check(over.failed && over.len == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum base64_alphabet a;

	if (size == 0 || size > TEXT_MAX / 2)
		return 0;
	a = data[0] & 1 ? BASE64_URL : BASE64_STANDARD;
	if ((data[0] & 2) != 0)
		check_text(a, data + 1, size - 1);
	else
		check_bytes(a, data + 1, size - 1);
	return 0;
}
