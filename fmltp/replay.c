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
 * Forgets the entry with the least time: whatever has its time or an older
 * one can't be told from it any more, so none of these is taken again.
 */
static void
replay_forget_oldest(struct replay *r)
{
	uint32_t i, oldest = 0;

	for (i = 1; i < r->count; i++)
		if (r->entry[i].when < r->entry[oldest].when)
			oldest = i;
	r->floor = r->entry[oldest].when;
	r->has_floor = true;
	r->entry[oldest] = r->entry[--r->count];
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
	if (r->count == REPLAY_ENTRIES)
		replay_forget_oldest(r);
	e = &r->entry[r->count++];
	e->when = when;
	memcpy(e->mac, mac, REPLAY_MAC_PART);
	return FMLTP_OK;
}
