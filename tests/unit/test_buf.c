/*
 * tests/unit/test_buf.c - the bounded buffer and the cursor.
 *
 * Runs in: the unit tests alone.
 */
#include "fmltp/buf.h"
#include "tests/unit/unit.h"

static void
test_buf_integers(void **state)
{
	static const uint8_t expected[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
		0x07, 0x08, 0x09, 0x0a, 0x0b, 'x', 'y' };
	uint8_t mem[32];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	buf_put_u8(&b, 0x01);
	buf_put_u16(&b, 0x0203);
	buf_put_u64(&b, 0x0405060708090a0bU);
	buf_put_str(&b, "xy");
	buf_put_str(&b, "");
	assert_false(b.failed);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(mem, expected, sizeof(expected));
}

static void
test_buf_decimal(void **state)
{
	static const struct {
		uint64_t v;
		const char *text;
	} rows[] = {
		{ 0, "0" },
		{ 9, "9" },
		{ 10, "10" },
		{ 65535, "65535" },
		{ 1000000, "1000000" },
		{ UINT64_MAX, "18446744073709551615" },
	};
	uint8_t mem[20];
	struct buf b;
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++) {
		buf_init(&b, mem, sizeof(mem));
		buf_put_decimal(&b, rows[i].v);
		assert_false(b.failed);
		assert_int_equal(b.len, strlen(rows[i].text));
		assert_memory_equal(mem, rows[i].text, b.len);
	}
}

/* What does not fit writes nothing, and nothing is written afterwards. */
static void
test_buf_bound(void **state)
{
	uint8_t mem[8];
	struct buf b;

	memset(mem, 0xee, sizeof(mem));
	buf_init(&b, mem, 4);
	buf_put(&b, "abc", 3);
	buf_put_u16(&b, 0x4142);
	assert_true(b.failed);
	assert_int_equal(b.len, 3);
	buf_put_u8(&b, 'd');
	assert_true(b.failed);
	assert_int_equal(b.len, 3);
	assert_memory_equal(mem, "abc\xee\xee\xee\xee\xee", sizeof(mem));

	buf_init(&b, mem, 4);
	buf_put(&b, "abcd", 4);
	assert_false(b.failed);
	buf_put(&b, NULL, 0);
	assert_false(b.failed);
	assert_int_equal(mem[4], 0xee);

	buf_init(&b, mem, 4);
	buf_put(&b, mem, SIZE_MAX);
	assert_true(b.failed);

	buf_init(&b, NULL, 0);
	buf_put_u8(&b, 0);
	assert_true(b.failed);
}

static void
test_buf_reserve(void **state)
{
	uint8_t mem[8];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	buf_put_u8(&b, 1);
	assert_ptr_equal(buf_reserve(&b, 7), mem + 1);
	assert_int_equal(b.len, 8);
	assert_null(buf_reserve(&b, 1));
	assert_true(b.failed);
	assert_null(buf_reserve(&b, 0));
}

static void
test_cursor_integers(void **state)
{
	static const uint8_t bytes[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
		0x07, 0x08, 0x09, 0x0a, 0xff, 'x', 'y' };
	struct cursor c;

	cursor_init(&c, bytes, sizeof(bytes));
	assert_int_equal(cursor_u16(&c), 0x0102);
	assert_true(cursor_u64(&c) == 0x030405060708090aU);
	assert_int_equal(cursor_u8(&c), 0xff);
	assert_false(cursor_match(&c, "xz", 2));
	assert_false(cursor_match(&c, "xyz", 3));
	assert_int_equal(c.left, 2);
	assert_true(cursor_match(&c, "x", 1));
	assert_true(cursor_match(&c, "", 0));
	assert_ptr_equal(cursor_take(&c, 1), bytes + 12);
	assert_int_equal(c.left, 0);
	assert_false(c.failed);
	assert_true(cursor_match(&c, "", 0));
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(c.failed);
}

/* Each read that asks for too much takes nothing and fails for good. */
static void
test_cursor_bound(void **state)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct cursor c;

	cursor_init(&c, bytes, 7);
	assert_true(cursor_u64(&c) == 0);
	assert_true(c.failed);
	assert_int_equal(c.left, 7);
	assert_int_equal(cursor_u8(&c), 0);
	assert_false(cursor_match(&c, bytes, 1));

	cursor_init(&c, bytes, 1);
	assert_int_equal(cursor_u16(&c), 0);
	assert_true(c.failed);

	cursor_init(&c, bytes, 8);
	assert_null(cursor_take(&c, SIZE_MAX));
	assert_true(c.failed);
	assert_null(cursor_take(&c, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_integers),
		cmocka_unit_test(test_buf_decimal),
		cmocka_unit_test(test_buf_bound),
		cmocka_unit_test(test_buf_reserve),
		cmocka_unit_test(test_cursor_integers),
		cmocka_unit_test(test_cursor_bound),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
