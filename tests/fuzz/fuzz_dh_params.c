/*
 * tests/fuzz/fuzz_dh_params.c - packet 3: the first byte says whether the
 * others are the PEM text or the DER inside it.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/dhkey.c: dh_params_parse_pem dh_params_take pem_parse
 * Covers: fmltp/dhkey.c: pem_take_text pem_take_border pem_take_end
 * Covers: fmltp/dhkey.c: pem_take_line der_take_any der_take der_take_integer
 * Covers: fmltp/dhkey.c: dh_number_mod24 dh_bits_valid
 */
#include "tests/fuzz/pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const uint8_t *text, size_t len)
{
	static struct dh_params params, other;
	uint8_t der_mem[DH_DER_MAX], again_mem[DH_DER_MAX];
	struct buf der, again;
	size_t taken = 0, n, used;
	enum fmltp_error e;

	e = dh_params_parse_pem(text, len, &params, &taken);
	for (n = 0; n < len; n += 1 + len / 16)
		fuzz_check_early(
		    dh_params_parse_pem(text, n, &other, &used), e);
	if (e != FMLTP_OK)
		return;
	if (taken > len)
		abort();
	buf_init(&der, der_mem, sizeof(der_mem));
	fuzz_get_der(&der, text, taken);
	buf_init(&again, again_mem, sizeof(again_mem));
	dh_params_put_der(&again, &params);
	if (again.failed || again.len != der.len ||
	    memcmp(der_mem, again_mem, der.len) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t mem[1 << 16];
	struct buf text;

	if (size == 0 || size > 16384)
		return 0;
	if (data[0] % 2 == 0) {
		check(data + 1, size - 1);
		return 0;
	}
	buf_init(&text, mem, sizeof(mem));
	fuzz_put_pem(&text, DH_PARAMS_LABEL, data + 1, size - 1);
	check(mem, text.len);
	return 0;
}
