/*
 * auth/queue.h - attempts that wait, served by turns: one of each source.
 *
 * Runs in: auth.  A source that has many attempts waiting holds up nobody
 * but itself.
 */
#ifndef AUTH_QUEUE_H
#define AUTH_QUEUE_H

#include <sys/queue.h>
#include <sys/tree.h>

#include <stdbool.h>
#include <stdint.h>

#define QUEUE_KEY_LEN 16

struct queue_source;

/* A place in the queue, in memory of whoever waits. */
struct queue_place {
	TAILQ_ENTRY(queue_place) entry;
	struct queue_source *source; /* NULL: not in the queue */
	void *owner;
};

struct queue {
	TAILQ_HEAD(, queue_source) turns; /* the first is next */
	RB_HEAD(queue_tree, queue_source) sources;
};

void queue_init(struct queue *q);

/* Waits behind all of the same source.  False without memory. */
bool queue_add(
    struct queue *q, struct queue_place *p, const uint8_t key[QUEUE_KEY_LEN]);

/* The next one, taken out; NULL where none waits. */
struct queue_place *queue_take(struct queue *q);

/* Takes one out, if it is in. */
void queue_drop(struct queue *q, struct queue_place *p);

bool queue_is_empty(const struct queue *q);

#endif
