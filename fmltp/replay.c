/*
 * fmltp/replay.c - the tokens that a session has taken (docs/FMLTP.md
 * section 4, "Replay").
 *
 * Runs in: worker, client.  Pure; no allocation.  Must never see: keys; what
 * is remembered was on the wire.
 */
#include <string.h>

#include "fmltp/replay.h"

/* Forgets what is behind the window; the rest keeps its order. */
static void
replay_forget_old(struct replay *r)
{
	uint32_t i, kept = 0;

	for (i = 0; i < r->count; i++) {
		if (r->newest - r->entry[i].when > REPLAY_WINDOW)
			continue;
		if (kept != i)
			r->entry[kept] = r->entry[i];
		kept++;
	}
	r->count = kept;
}

/*
 * Makes room in a full store for a token of the time `when`: the place of the
 * oldest one, or NULL where that is the new one itself.  Whatever is not
 * above the time of the one forgotten can't be told from it any more, and is
 * not taken again: so the floor only rises, and all in the store are above
 * it or at it.
 */
static struct replay_entry *
replay_forget_oldest(struct replay *r, uint64_t when)
{
	struct replay_entry *oldest = &r->entry[0];
	uint32_t i;

	for (i = 1; i < r->count; i++)
		if (r->entry[i].when < oldest->when)
			oldest = &r->entry[i];
	r->has_floor = true;
	if (when <= oldest->when) {
		r->floor = when;
		return NULL;
	}
	r->floor = oldest->when;
	return oldest;
}

enum fmltp_error
replay_take(struct replay *r, uint64_t when, const uint8_t mac[32])
{
	struct replay_entry *e;
	uint32_t i;

	if (r->has_newest && r->newest > when &&
	    r->newest - when > REPLAY_WINDOW)
		return FMLTP_REPLAY_OLD;
	if (r->has_floor && when <= r->floor)
		return FMLTP_REPLAY_OLD;
	for (i = 0; i < r->count; i++)
		if (memcmp(r->entry[i].mac, mac, REPLAY_MAC_PART) == 0)
			return FMLTP_REPLAY_SEEN;

	if (!r->has_newest || when > r->newest) {
		r->newest = when;
		r->has_newest = true;
		replay_forget_old(r);
	}
	if (r->count < REPLAY_ENTRIES)
		e = &r->entry[r->count++];
	else
		e = replay_forget_oldest(r, when);
	if (e != NULL) {
		e->when = when;
		memcpy(e->mac, mac, REPLAY_MAC_PART);
	}
	return FMLTP_OK;
}
