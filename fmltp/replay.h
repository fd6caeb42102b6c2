/*
 * fmltp/replay.h - the tokens that a session has taken (FMLTP.md section 4,
 * "Replay").
 *
 * Runs in: worker, client.  Pure; no allocation; a fresh store is all zero,
 * and only as much of it is touched as tokens are remembered.
 */
#ifndef FMLTP_REPLAY_H
#define FMLTP_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/error.h"

#define REPLAY_WINDOW	10 /* seconds */
#define REPLAY_ENTRIES	4096
#define REPLAY_MAC_PART 16 /* bytes of a MAC remembered */

struct replay_entry {
	uint64_t when;
	uint8_t mac[REPLAY_MAC_PART];
};

struct replay {
	uint64_t newest; /* greatest time taken */
	uint64_t floor; /* no time up to this one is taken any more */
	bool has_newest; /* a token was taken */
	bool has_floor; /* an entry was forgotten because the store was full */
	uint32_t count;
	struct replay_entry entry[REPLAY_ENTRIES];
};

/*
 * Takes the token with the time `when` and MAC `mac`: FMLTP_OK and
 * remembered, or FMLTP_REPLAY_OLD, FMLTP_REPLAY_SEEN and nothing changed.
 */
enum fmltp_error
replay_take(struct replay *r, uint64_t when, const uint8_t mac[32]);

#endif
