/*
 * tests/unit/test_replay.c - the tokens that a session has taken.
 *
 * Runs in: the unit tests alone.
 */
#include <stdlib.h>

#include "fmltp/replay.h"
#include "tests/unit/unit.h"

static struct replay *
fresh(void)
{
	struct replay *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	return r;
}

/* A MAC that only `id` has; its second half is the same in all. */
static enum fmltp_error
take(struct replay *r, uint64_t when, uint64_t id)
{
	uint8_t mac[32] = { 0 };

	memcpy(mac, &id, sizeof(id));
	return replay_take(r, when, mac);
}

/* Refused, and nothing changed. */
static void
refused(struct replay *r, uint64_t when, uint64_t id, enum fmltp_error e)
{
	struct replay *kept = fresh();

	*kept = *r;
	assert_int_equal(take(r, when, id), e);
	assert_memory_equal(r, kept, sizeof(*r));
	free(kept);
}

static void
test_replay_window(void **state)
{
	struct replay *r = fresh();

	assert_int_equal(take(r, 1000, 1), FMLTP_OK);
	refused(r, 1000, 1, FMLTP_REPLAY_SEEN);
	refused(r, 1005, 1, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 1000, 2), FMLTP_OK);
	assert_int_equal(take(r, 990, 3), FMLTP_OK);
	refused(r, 989, 4, FMLTP_REPLAY_OLD);
	refused(r, 0, 4, FMLTP_REPLAY_OLD);
	assert_true(r->newest == 1000);
	assert_int_equal(take(r, 1001, 4), FMLTP_OK);
	assert_true(r->newest == 1001);
	refused(r, 990, 5, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, 991, 5), FMLTP_OK);
	free(r);
}

/* What falls behind the window is forgotten, not what came first. */
static void
test_replay_forgets_by_time(void **state)
{
	struct replay *r = fresh();

	assert_int_equal(take(r, 1000, 1), FMLTP_OK);
	assert_int_equal(take(r, 995, 2), FMLTP_OK);
	assert_int_equal(take(r, 1000, 3), FMLTP_OK);
	assert_int_equal(take(r, 1005, 4), FMLTP_OK);
	assert_int_equal(r->count, 4);
	assert_int_equal(take(r, 1006, 5), FMLTP_OK);
	assert_int_equal(r->count, 4);
	refused(r, 1000, 1, FMLTP_REPLAY_SEEN);
	refused(r, 1000, 3, FMLTP_REPLAY_SEEN);
	refused(r, 995, 2, FMLTP_REPLAY_OLD);
	/* At the edge: 10 behind is remembered, 11 is not. */
	assert_int_equal(take(r, 1010, 6), FMLTP_OK);
	refused(r, 1000, 1, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 1011, 7), FMLTP_OK);
	assert_int_equal(r->count, 4);
	refused(r, 1000, 1, FMLTP_REPLAY_OLD);
	/* Its MAC is free again for a time in the window. */
	assert_int_equal(take(r, 1011, 1), FMLTP_OK);
	assert_false(r->has_floor);
	free(r);
}

/* Nothing is taken twice, whatever the order of the times. */
static void
test_replay_never_twice(void **state)
{
	enum {
		TOKENS = 2000
	};
	static uint64_t when[TOKENS];
	static bool taken[TOKENS];
	struct unit_random rnd = { 7 };
	struct replay *r = fresh();
	uint64_t now = 5000, newest = 0;
	size_t i, id, got = 0;
	enum fmltp_error e;

	for (i = 0; i < 40000; i++) {
		if (unit_random_next(&rnd) % 100 == 0)
			now++;
		id = unit_random_next(&rnd) % TOKENS;
		if (when[id] == 0)
			when[id] = now - unit_random_next(&rnd) % 15;
		e = take(r, when[id], id);
		if (newest > when[id] && newest - when[id] > REPLAY_WINDOW)
			assert_int_equal(e, FMLTP_REPLAY_OLD);
		else if (taken[id])
			assert_int_equal(e, FMLTP_REPLAY_SEEN);
		else
			assert_int_equal(e, FMLTP_OK);
		if (e != FMLTP_OK)
			continue;
		taken[id] = true;
		got++;
		if (when[id] > newest)
			newest = when[id];
	}
	assert_true(got > TOKENS / 2);
	free(r);
}

/* A full store: the oldest goes, and its time is the floor from then on. */
static void
test_replay_full(void **state)
{
	struct replay *r = fresh();
	uint64_t id;

	/* 2,000 at 1001, and the others at 1000, which come later. */
	for (id = 0; id < REPLAY_ENTRIES; id++)
		assert_int_equal(
		    take(r, id < 2000 ? 1001 : 1000, id), FMLTP_OK);
	assert_false(r->has_floor);
	assert_int_equal(r->count, REPLAY_ENTRIES);
	refused(r, 1000, REPLAY_ENTRIES - 1, FMLTP_REPLAY_SEEN);

	assert_int_equal(take(r, 1002, id++), FMLTP_OK);
	assert_true(r->has_floor);
	assert_true(r->floor == 1000);
	assert_int_equal(r->count, REPLAY_ENTRIES);
	/* Seen or not can't be told of any at 1000 now. */
	refused(r, 1000, id, FMLTP_REPLAY_OLD);
	refused(r, 1000, 3000, FMLTP_REPLAY_OLD);
	refused(r, 999, id, FMLTP_REPLAY_OLD);
	refused(r, 1001, 0, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 1001, id++), FMLTP_OK);

	/* All those at 1000 go before one at 1001 does. */
	while (id < 2 * REPLAY_ENTRIES - 2000)
		assert_int_equal(take(r, 1002, id++), FMLTP_OK);
	assert_true(r->floor == 1000);
	refused(r, 1001, 1999, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 1002, id++), FMLTP_OK);
	assert_true(r->floor == 1001);
	refused(r, 1001, 1999, FMLTP_REPLAY_OLD);
	refused(r, 1002, id - 1, FMLTP_REPLAY_SEEN);

	/* Time goes on: the store empties, the floor stays. */
	assert_int_equal(take(r, 1020, id++), FMLTP_OK);
	assert_int_equal(r->count, 1);
	assert_true(r->floor == 1001);
	free(r);
}

/* A full store, and a token that is older than all in it: the floor rises. */
static void
test_replay_full_of_newer(void **state)
{
	struct replay *r = fresh();
	uint64_t id;

	for (id = 0; id < REPLAY_ENTRIES; id++)
		assert_int_equal(take(r, 1005, id), FMLTP_OK);
	assert_int_equal(take(r, 1000, id), FMLTP_OK);
	assert_true(r->floor == 1000);
	refused(r, 1000, id, FMLTP_REPLAY_OLD);
	refused(r, 1005, 0, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 1003, ++id), FMLTP_OK);
	assert_true(r->floor == 1003);
	refused(r, 1001, id + 1, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, 1006, ++id), FMLTP_OK);
	assert_true(r->floor == 1005);
	refused(r, 1005, 0, FMLTP_REPLAY_OLD);
	refused(r, 1003, id - 1, FMLTP_REPLAY_OLD);
	refused(r, 1006, id, FMLTP_REPLAY_SEEN);
	free(r);
}

/* More than the store holds in one second: that second is over. */
static void
test_replay_full_of_one_second(void **state)
{
	struct replay *r = fresh();
	uint64_t id;

	for (id = 0; id <= REPLAY_ENTRIES; id++)
		assert_int_equal(take(r, 1000, id), FMLTP_OK);
	refused(r, 1000, id, FMLTP_REPLAY_OLD);
	refused(r, 1000, 5, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, 1001, id), FMLTP_OK);
	free(r);
}

/* A floor at 0 is a floor. */
static void
test_replay_floor_zero(void **state)
{
	struct replay *r = fresh();
	uint64_t id;

	for (id = 0; id <= REPLAY_ENTRIES; id++)
		assert_int_equal(take(r, 0, id), FMLTP_OK);
	refused(r, 0, id, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, 1, id), FMLTP_OK);
	free(r);
}

/* Times are unsigned, and no difference wraps. */
static void
test_replay_ends_of_time(void **state)
{
	struct replay *r = fresh();

	/* A first token at 0, and others below the window's length. */
	assert_int_equal(take(r, 0, 1), FMLTP_OK);
	refused(r, 0, 1, FMLTP_REPLAY_SEEN);
	assert_int_equal(take(r, 5, 2), FMLTP_OK);
	assert_int_equal(take(r, 0, 3), FMLTP_OK);
	assert_int_equal(take(r, 10, 4), FMLTP_OK);
	refused(r, 0, 1, FMLTP_REPLAY_SEEN);
	/* A negative time would be far ahead, not behind. */
	assert_int_equal(take(r, UINT64_MAX - 4, 5), FMLTP_OK);
	assert_true(r->newest == UINT64_MAX - 4);
	assert_int_equal(r->count, 1);
	refused(r, 10, 6, FMLTP_REPLAY_OLD);
	refused(r, 1700000000, 6, FMLTP_REPLAY_OLD);
	refused(r, (uint64_t)INT64_MAX + 1, 6, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, UINT64_MAX, 6), FMLTP_OK);
	refused(r, UINT64_MAX - 4, 5, FMLTP_REPLAY_SEEN);
	refused(r, UINT64_MAX - 11, 7, FMLTP_REPLAY_OLD);
	assert_int_equal(take(r, UINT64_MAX - 10, 7), FMLTP_OK);
	free(r);
}

/* The half of the MAC that is remembered decides. */
static void
test_replay_mac_part(void **state)
{
	struct replay *r = fresh();
	uint8_t mac[32] = { 0 };
	size_t bit;

	assert_int_equal(replay_take(r, 1000, mac), FMLTP_OK);
	for (bit = 0; bit < 8 * REPLAY_MAC_PART; bit++) {
		mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(replay_take(r, 1000, mac), FMLTP_OK);
		assert_int_equal(replay_take(r, 1000, mac), FMLTP_REPLAY_SEEN);
		mac[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	mac[REPLAY_MAC_PART] = 1;
	assert_int_equal(replay_take(r, 1000, mac), FMLTP_REPLAY_SEEN);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay_window),
		cmocka_unit_test(test_replay_forgets_by_time),
		cmocka_unit_test(test_replay_never_twice),
		cmocka_unit_test(test_replay_full),
		cmocka_unit_test(test_replay_full_of_newer),
		cmocka_unit_test(test_replay_full_of_one_second),
		cmocka_unit_test(test_replay_floor_zero),
		cmocka_unit_test(test_replay_ends_of_time),
		cmocka_unit_test(test_replay_mac_part),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
