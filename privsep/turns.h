/*
 * privsep/turns.h - attempts that wait, served by turns: one of each source.
 *
 * Runs in: auth, pam.  A source that has many attempts waiting holds up nobody
 * but itself.
 */
#ifndef PRIVSEP_TURNS_H
#define PRIVSEP_TURNS_H

#include <sys/queue.h>
#include <sys/tree.h>

#include <stdbool.h>
#include <stdint.h>

#define TURNS_KEY_LEN 16

struct turns_source;

/* A place in the queue, in memory of whoever waits. */
struct turns_place {
	TAILQ_ENTRY(turns_place) entry;
	struct turns_source *source; /* NULL: not in the queue */
	void *owner;
};

struct turns {
	TAILQ_HEAD(, turns_source) turns; /* the first is next */
	RB_HEAD(turns_tree, turns_source) sources;
};

void turns_init(struct turns *q);

/* Waits behind all of the same source.  False without memory. */
bool turns_add(
    struct turns *q, struct turns_place *p, const uint8_t key[TURNS_KEY_LEN]);

/* The next one, taken out; NULL where none waits. */
struct turns_place *turns_take(struct turns *q);

/* Takes one out, if it is in. */
void turns_drop(struct turns *q, struct turns_place *p);

bool turns_is_empty(const struct turns *q);

#endif
