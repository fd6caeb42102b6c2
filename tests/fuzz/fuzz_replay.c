/*
 * tests/fuzz/fuzz_replay.c - tokens at any times: three bytes choose one; the
 * first byte of all says whether the store is nearly full before.
 *
 * What is known from the protocol is checked without the store: nothing is
 * taken twice, nothing behind the window, and what is in the window, new,
 * and above the floor is taken.
 *
 * Runs in: the fuzzers alone.
 *
 * Covers: fmltp/replay.c
 */
#include <stdlib.h>
#include <string.h>

#include "fmltp/replay.h"

#define NEARLY_FULL (REPLAY_ENTRIES - 20)
#define TOKENS_MAX  1000
#define TAKEN_MAX   (NEARLY_FULL + TOKENS_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
	uint64_t when;
	uint32_t id;
};

static struct replay replay;
static struct taken taken[TAKEN_MAX];
static size_t count;

static enum fmltp_error
take(uint64_t when, uint32_t id)
{
	struct replay before;
	uint8_t mac[32] = { 0 };
	bool old, seen = false, remembered = false;
	size_t i;
	enum fmltp_error e;

	memcpy(mac, &id, sizeof(id));
	before.newest = replay.newest;
	before.floor = replay.floor;
	before.has_newest = replay.has_newest;
	before.has_floor = replay.has_floor;
	old = (before.has_newest && before.newest > when &&
		  before.newest - when > REPLAY_WINDOW) ||
	    (before.has_floor && when <= before.floor);
	for (i = 0; i < count; i++)
		if (taken[i].id == id) {
			seen = seen || taken[i].when == when;
			remembered = remembered ||
			    replay.newest - taken[i].when <= REPLAY_WINDOW;
		}
	e = replay_take(&replay, when, mac);
	if ((e == FMLTP_REPLAY_OLD) != old || (e == FMLTP_OK && seen) ||
	    (e == FMLTP_REPLAY_SEEN && !remembered) ||
	    (e == FMLTP_OK && remembered && !replay.has_floor) ||
	    replay.count > REPLAY_ENTRIES)
		abort();
	if (replay.newest < before.newest || replay.floor < before.floor ||
	    replay.has_floor < before.has_floor)
		abort();
	if (e != FMLTP_OK &&
	    (replay.newest != before.newest || replay.floor != before.floor))
		abort();
	if (e == FMLTP_OK) {
		taken[count].when = when;
		taken[count++].id = id;
	}
	return e;
}

/* Starts with a store that has room for 20 more, all at two times. */
static void
fill(uint64_t now)
{
	static struct replay full;
	static struct taken full_taken[NEARLY_FULL];

	if (full.count == 0) {
		while (count < NEARLY_FULL)
			if (take(now + count % 2, (uint32_t)count + 1000) !=
			    FMLTP_OK)
				abort();
		full = replay;
		memcpy(full_taken, taken, sizeof(full_taken));
	}
	replay = full;
	memcpy(taken, full_taken, sizeof(full_taken));
	count = NEARLY_FULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now = 100;
	size_t n;

	if (size == 0 || size > 3 * TOKENS_MAX)
		return 0;
	memset(&replay, 0, sizeof(replay));
	count = 0;
	if (data[0] % 2 == 1)
		fill(now);
	for (data++, size--; size >= 3; data += 3, size -= 3) {
		switch (data[0] % 8) {
		case 0: /* time goes on */
			now += data[1];
			break;
		case 1: /* by far */
			now += (uint64_t)data[1] << 56;
			break;
		case 2: /* one that was taken, again */
			if (count == 0)
				break;
			n = (size_t)(data[1] << 8 | data[2]) % count;
			if (take(taken[n].when, taken[n].id) == FMLTP_OK)
				abort();
			break;
		default:
			take(now - data[1] % 16, data[2]);
		}
	}
	return 0;
}
