/*
 * tests/fuzz/fuzz_dh_public.c - packets 4 and 5: the first byte says whether
 * the others are the PEM text or the DER inside it.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/dhkey.c: dh_public_parse_pem dh_public_parse_der
 * Covers: fmltp/dhkey.c: dh_public_check_params dh_public_in_range
 * Covers: fmltp/dhkey.c: dh_private_length_valid pem_parse pem_take_text
 * Covers: fmltp/dhkey.c: pem_take_border pem_take_end pem_take_line
 * Covers: fmltp/dhkey.c: der_take_any der_take der_take_integer
 */
#include "tests/fuzz/pem.h"
#include "tests/vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dh_params params;

/*
 * The DER is what would be sent for this y; or it is longer by a
 * privateValueLength, and then ends as that would.
 */
static void
check_der(const struct buf *der, const uint8_t *y)
{
	uint8_t text[DH_PEM_MAX], mem[DH_DER_MAX];
	struct buf pem, again;
	size_t tail;

	buf_init(&pem, text, sizeof(text));
	dh_public_put_pem(&pem, &params, y);
	buf_init(&again, mem, sizeof(mem));
	fuzz_get_der(&again, text, pem.len);
	if (again.len == der->len) {
		if (memcmp(der->data, mem, der->len) != 0)
			abort();
		return;
	}
	if (der->len < again.len + 3 || der->len > again.len + 6)
		abort();
	/* The BIT STRING is the same: y, with its header. */
	tail = params.len;
	if (memcmp(der->data + der->len - tail, mem + again.len - tail, tail) !=
	    0)
		abort();
}

static void
check(const uint8_t *text, size_t len)
{
	static uint8_t y[DH_PRIME_MAX], other[DH_PRIME_MAX];
	uint8_t mem[DH_DER_MAX];
	struct buf der;
	size_t taken = 0, n, used;
	enum fmltp_error e;

	e = dh_public_parse_pem(text, len, &params, y, &taken);
	for (n = 0; n < len; n += 1 + len / 16)
		fuzz_check_early(
		    dh_public_parse_pem(text, n, &params, other, &used), e);
	if (e != FMLTP_OK)
		return;
	if (taken > len || !dh_public_in_range(&params, y))
		abort();
	buf_init(&der, mem, sizeof(mem));
	fuzz_get_der(&der, text, taken);
	check_der(&der, y);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t mem[1 << 16];
	const char *init = vector_kex[0].server_kex_init;
	struct buf text;
	size_t taken;

	if (params.len == 0 &&
	    dh_params_parse_pem((const uint8_t *)init, strlen(init), &params,
		&taken) != FMLTP_OK)
		abort();
	if (size == 0 || size > 16384)
		return 0;
	if (data[0] % 2 == 0) {
		check(data + 1, size - 1);
		return 0;
	}
	buf_init(&text, mem, sizeof(mem));
	fuzz_put_pem(&text, DH_PUBLIC_LABEL, data + 1, size - 1);
	check(mem, text.len);
	return 0;
}
