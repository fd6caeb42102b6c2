/*
 * keys/pairs.h - key pairs made ahead: the pool of one generation.
 *
 * Runs in: keys, as the keys user.  Private exponents lie here until their
 * one use, or until their generation retires; nothing of a client comes near
 * them.
 */
#ifndef KEYS_PAIRS_H
#define KEYS_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "fmltp/kex.h"

/*
 * The most that a pool holds, whatever the size of p.  A full pool costs 32
 * exponentiations at each rotation: 8 ms of a processor's time at 2048 bits,
 * 0.2 s at 8192, where a pair takes 25 times as long, and 36 KiB.  So a
 * smaller bound for large sizes would save little, and a burst of connections
 * is what a pool is for.
 */
#define KEYS_AHEAD 32
/*
 * A pair is made when nothing has come for so long, and the next one after
 * another such silence.  An exponentiation can't be interrupted: so whatever
 * comes waits for one pair at most, and mostly for none.
 */
#define KEYS_QUIET_MS 10

struct pairs {
	struct kex_group *group; /* outlives the pairs */
	struct kex_pair *pair[KEYS_AHEAD];
	uint32_t count;
};

/* An empty pool of pairs in `group`. */
void pairs_init(struct pairs *p, struct kex_group *group);

/* True while there is room. */
bool pairs_wanted(const struct pairs *p);

/* Makes one more.  False where that failed, or without room. */
bool pairs_make(struct pairs *p);

/* Takes one out, which is the caller's to free, or NULL where none is. */
struct kex_pair *pairs_take(struct pairs *p);

/* Wipes and frees all that are left, before the group is freed. */
void pairs_wipe(struct pairs *p);

#endif
