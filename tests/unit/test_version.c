/*
 * tests/unit/test_version.c - version lines (docs/FMLTP.md section 2).
 *
 * Runs in: the unit tests alone.
 */
#include "fmltp/version.h"
#include "tests/unit/unit.h"

#define TEN	     "xxxxxxxxxx"
#define FIFTY	     TEN TEN TEN TEN TEN
#define NAME_OF_118  "FlexMusic" FIFTY FIFTY "xxxxxxxxx"
#define NAME_OF_128  NAME_OF_118 TEN
#define BYTES_OF_250 FIFTY FIFTY FIFTY FIFTY FIFTY

static void
test_version_parse_good(void **state)
{
	static const struct {
		const char *text;
		const char *name;
		struct version_signature v;
	} rows[] = {
		{ "FlexMusic Server,0.0.0", "FlexMusic Server", { 0, 0, 0 } },
		{ "FlexMusic,0.0.0", "FlexMusic", { 0, 0, 0 } },
		{ "FlexMusic Python Client Library,1.20.300",
		    "FlexMusic Python Client Library", { 1, 20, 300 } },
		{ "FlexMusic,65535.65535.65535", "FlexMusic",
		    { 65535, 65535, 65535 } },
		{ "FlexMusicbot,0.10.0", "FlexMusicbot", { 0, 10, 0 } },
		{ "FlexMusic ,1.2.3", "FlexMusic ", { 1, 2, 3 } },
		{ "FlexMusic \xe2\x99\xab,1.2.3", "FlexMusic \xe2\x99\xab",
		    { 1, 2, 3 } },
		{ NAME_OF_128 ",1.2.3", NAME_OF_128, { 1, 2, 3 } },
	};
	struct version_line line;
	uint8_t mem[VERSION_LINE_MAX];
	struct buf b;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		memset(&line, 0xee, sizeof(line));
		assert_int_equal(version_parse((const uint8_t *)rows[i].text,
				     strlen(rows[i].text), &line),
		    FMLTP_OK);
		assert_string_equal(line.name, rows[i].name);
		assert_memory_equal(
		    &line.signature, &rows[i].v, sizeof(rows[i].v));
		buf_init(&b, mem, sizeof(mem));
		version_put(&b, &line);
		assert_false(b.failed);
		assert_int_equal(b.len, strlen(rows[i].text));
		assert_memory_equal(mem, rows[i].text, b.len);
	}
}

static void
test_version_parse_bad(void **state)
{
	static const struct {
		const char *why;
		const char *text;
		size_t len;
		enum fmltp_error error;
	} rows[] = {
#define ROW(why, text, error) { why, text, sizeof(text) - 1, error }
		ROW("empty", "", FMLTP_VEX_PREFIX),
		ROW("another protocol", "GET / HTTP/1.1", FMLTP_VEX_PREFIX),
		ROW("lower case", "flexmusic,0.0.0", FMLTP_VEX_PREFIX),
		ROW("short prefix", "FlexMusi", FMLTP_VEX_PREFIX),
		ROW("blank first", " FlexMusic,0.0.0", FMLTP_VEX_PREFIX),
		ROW("prefix later", "The FlexMusic,0.0.0", FMLTP_VEX_PREFIX),
		ROW("no comma", "FlexMusic 0.0.0", FMLTP_VEX_NO_COMMA),
		ROW("no comma, NUL", "FlexMusic\0", FMLTP_VEX_NO_COMMA),
		ROW("two commas", "FlexMusic,a,0.0.0", FMLTP_VEX_NUMBER),
		ROW("comma last", "FlexMusic,0.0.0,", FMLTP_VEX_NUMBER),
		ROW("name of 129", NAME_OF_128 "y,0.0.0", FMLTP_VEX_NAME),
		ROW("NUL in the name", "FlexMusic\0,0.0.0", FMLTP_VEX_NAME),
		ROW("tab in the name", "FlexMusic\ta,0.0.0", FMLTP_VEX_NAME),
		ROW("CR in the name", "FlexMusic\ra,0.0.0", FMLTP_VEX_NAME),
		ROW("escape in the name", "FlexMusic\033[1m,0.0.0",
		    FMLTP_VEX_NAME),
		ROW("Latin-1 in the name", "FlexMusic \xe4,0.0.0",
		    FMLTP_VEX_NAME),
		ROW("no version", "FlexMusic,", FMLTP_VEX_NUMBER),
		ROW("one number", "FlexMusic,0", FMLTP_VEX_NUMBER),
		ROW("two numbers", "FlexMusic,0.0", FMLTP_VEX_NUMBER),
		ROW("two and a dot", "FlexMusic,0.0.", FMLTP_VEX_NUMBER),
		ROW("four numbers", "FlexMusic,0.0.0.0", FMLTP_VEX_NUMBER),
		ROW("a dot more", "FlexMusic,0.0.0.", FMLTP_VEX_NUMBER),
		ROW("empty number", "FlexMusic,0..0", FMLTP_VEX_NUMBER),
		ROW("dot first", "FlexMusic,.0.0", FMLTP_VEX_NUMBER),
		ROW("65536", "FlexMusic,0.0.65536", FMLTP_VEX_NUMBER),
		ROW("99999", "FlexMusic,99999.0.0", FMLTP_VEX_NUMBER),
		ROW("100000", "FlexMusic,0.100000.0", FMLTP_VEX_NUMBER),
		ROW("2^32", "FlexMusic,4294967296.0.0", FMLTP_VEX_NUMBER),
		ROW("2^64 and 1", "FlexMusic,18446744073709551617.0.0",
		    FMLTP_VEX_NUMBER),
		ROW("leading zero", "FlexMusic,00.0.0", FMLTP_VEX_NUMBER),
		ROW("leading zero, 01", "FlexMusic,0.01.0", FMLTP_VEX_NUMBER),
		ROW("plus", "FlexMusic,+1.0.0", FMLTP_VEX_NUMBER),
		ROW("minus", "FlexMusic,-1.0.0", FMLTP_VEX_NUMBER),
		ROW("blank before", "FlexMusic, 0.0.0", FMLTP_VEX_NUMBER),
		ROW("blank after", "FlexMusic,0.0.0 ", FMLTP_VEX_NUMBER),
		ROW("blank inside", "FlexMusic,0. 0.0", FMLTP_VEX_NUMBER),
		ROW("hexadecimal", "FlexMusic,0x1.0.0", FMLTP_VEX_NUMBER),
		ROW("letter", "FlexMusic,a.0.0", FMLTP_VEX_NUMBER),
		ROW("NUL after", "FlexMusic,0.0.0\0", FMLTP_VEX_NUMBER),
		ROW("line end kept", "FlexMusic,0.0.0\n", FMLTP_VEX_NUMBER),
		ROW("CR kept", "FlexMusic,0.0.0\r", FMLTP_VEX_NUMBER),
		ROW("254 bytes", "FlexM" BYTES_OF_250, FMLTP_VEX_LONG),
		ROW("254, prefix", "Flex" BYTES_OF_250, FMLTP_VEX_PREFIX),
		ROW("long before prefix", "xxxxx" BYTES_OF_250, FMLTP_VEX_LONG),
#undef ROW
	};
	struct version_line line;
	enum fmltp_error e;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		e = version_parse(
		    (const uint8_t *)rows[i].text, rows[i].len, &line);
		if (e != rows[i].error)
			fail_msg("%s: %s", rows[i].why, fmltp_error_token(e));
	}
}

static void
test_version_scan(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		enum version_scan scan;
		size_t text_len, taken;
	} rows[] = {
#define ROW(text, scan, text_len, taken) \
	{ text, sizeof(text) - 1, scan, text_len, taken }
		ROW("", VERSION_SCAN_MORE, 0, 0),
		ROW("FlexMusic", VERSION_SCAN_MORE, 0, 0),
		ROW("FlexMusic,0.0.", VERSION_SCAN_MORE, 0, 0),
		ROW("FlexMusic,0.0.0", VERSION_SCAN_BARE, 15, 15),
		ROW("FlexMusic,0.0.0\r", VERSION_SCAN_BARE, 15, 16),
		ROW("FlexMusic,0.0.0\r\r", VERSION_SCAN_MORE, 0, 0),
		ROW("FlexMusic,0.0.0\n", VERSION_SCAN_LINE, 15, 16),
		ROW("FlexMusic,0.0.0\r\n", VERSION_SCAN_LINE, 15, 17),
		ROW("FlexMusic,0.0.0\r\n-----", VERSION_SCAN_LINE, 15, 17),
		ROW("FlexMusic,0.0.0\n\n", VERSION_SCAN_LINE, 15, 16),
		ROW("FlexMusic,0.0.0\r\r\n", VERSION_SCAN_LINE, 16, 18),
		ROW("FlexMusic,0.0.65536", VERSION_SCAN_MORE, 0, 0),
		ROW("\n", VERSION_SCAN_LINE, 0, 1),
		ROW("\r\n", VERSION_SCAN_LINE, 0, 2),
		ROW("rubbish\n", VERSION_SCAN_LINE, 7, 8),
		/* 255 bytes with the end is the most. */
		ROW(BYTES_OF_250 "1234\n", VERSION_SCAN_LINE, 254, 255),
		ROW(BYTES_OF_250 "123\r\n", VERSION_SCAN_LINE, 253, 255),
		ROW(BYTES_OF_250 "1234", VERSION_SCAN_MORE, 0, 0),
		ROW(BYTES_OF_250 "12345", VERSION_SCAN_LONG, 0, 0),
		ROW(BYTES_OF_250 "1234\r", VERSION_SCAN_LONG, 0, 0),
		ROW(BYTES_OF_250 "12345\n", VERSION_SCAN_LONG, 0, 0),
		ROW(BYTES_OF_250 "1234\r\n", VERSION_SCAN_LONG, 0, 0),
		ROW(BYTES_OF_250 FIFTY, VERSION_SCAN_LONG, 0, 0),
#undef ROW
	};
	size_t i, text_len, taken;
	enum version_scan scan;

	for (i = 0; i < COUNT_OF(rows); i++) {
		scan = version_scan((const uint8_t *)rows[i].text, rows[i].len,
		    &text_len, &taken);
		if (scan != rows[i].scan)
			fail_msg("row %zu: %d", i, (int)scan);
		if (scan != VERSION_SCAN_BARE && scan != VERSION_SCAN_LINE)
			continue;
		assert_int_equal(text_len, rows[i].text_len);
		assert_int_equal(taken, rows[i].taken);
	}
}

/* Byte by byte, a number may go on after it could have ended. */
static void
test_version_scan_split(void **state)
{
	static const char line[] = "FlexMusic Bot,1.22.333\r\nx";
	size_t len, text_len, taken;
	enum version_scan scan, expected;

	for (len = 0; len < sizeof(line); len++) {
		scan =
		    version_scan((const uint8_t *)line, len, &text_len, &taken);
		expected = len < 20 ? VERSION_SCAN_MORE
		    : len < 24	    ? VERSION_SCAN_BARE
				    : VERSION_SCAN_LINE;
		assert_int_equal(scan, expected);
		if (scan == VERSION_SCAN_MORE)
			continue;
		assert_int_equal(text_len, len < 22 ? len : 22);
		assert_int_equal(taken, len < 24 ? len : 24);
	}
}

static void
test_version_signature(void **state)
{
	struct version_signature v;

	assert_true(version_parse_signature(BYTES("0.0.0"), &v));
	assert_true(version_parse_signature(BYTES("7.8.65535"), &v));
	assert_int_equal(v.class, 7);
	assert_int_equal(v.stepping, 8);
	assert_int_equal(v.substepping, 65535);
	assert_false(version_parse_signature(BYTES(""), &v));
	assert_false(version_parse_signature(BYTES("0.0"), &v));
	assert_false(version_parse_signature(BYTES("0.0.0\n"), &v));
	assert_false(version_parse_signature(BYTES("0,0,0"), &v));
}

static void
test_version_compare(void **state)
{
	static const struct {
		struct version_signature server, client;
		int status;
	} rows[] = {
		{ { 0, 0, 0 }, { 0, 0, 0 }, 100 },
		{ { 0, 0, 0 }, { 0, 0, 1 }, 101 },
		{ { 0, 0, 1 }, { 0, 0, 0 }, 102 },
		{ { 0, 0, 0 }, { 0, 1, 0 }, 110 },
		{ { 0, 0, 0 }, { 0, 1, 1 }, 111 },
		{ { 0, 0, 1 }, { 0, 1, 0 }, 112 },
		{ { 0, 1, 0 }, { 0, 0, 0 }, 120 },
		{ { 0, 1, 0 }, { 0, 0, 1 }, 121 },
		{ { 0, 1, 1 }, { 0, 0, 0 }, 122 },
		{ { 3, 65535, 0 }, { 3, 0, 65535 }, 121 },
		{ { 0, 0, 0 }, { 1, 0, 0 }, 0 },
		{ { 1, 2, 3 }, { 0, 2, 3 }, 0 },
	};
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(
		    version_compare(&rows[i].server, &rows[i].client),
		    rows[i].status);
}

/* A line that does not fit says so. */
static void
test_version_put_bound(void **state)
{
	struct version_line line = { "FlexMusic", { 1, 2, 3 } };
	uint8_t mem[15];
	struct buf b;

	buf_init(&b, mem, 15);
	version_put(&b, &line);
	assert_false(b.failed);
	buf_init(&b, mem, 14);
	version_put(&b, &line);
	assert_true(b.failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_parse_good),
		cmocka_unit_test(test_version_parse_bad),
		cmocka_unit_test(test_version_scan),
		cmocka_unit_test(test_version_scan_split),
		cmocka_unit_test(test_version_signature),
		cmocka_unit_test(test_version_compare),
		cmocka_unit_test(test_version_put_bound),
	};

	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
