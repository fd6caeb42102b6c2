/*
 * auth/queue.c - attempts that wait, served by turns: one of each source.
 *
 * Runs in: auth.  It holds places alone, no names and no passwords.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/queue.h"

/* A source with at least one that waits. */
struct queue_source {
	TAILQ_ENTRY(queue_source) turn;
	RB_ENTRY(queue_source) entry;
	TAILQ_HEAD(, queue_place) places;
	uint8_t key[QUEUE_KEY_LEN];
};

static int
queue_compare(const struct queue_source *a, const struct queue_source *b)
{
	return memcmp(a->key, b->key, sizeof(a->key));
}

/* libbsd's RB_GENERATE_STATIC needs a macro that it does not define. */
RB_GENERATE_INTERNAL(queue_tree, queue_source, entry, queue_compare,
    __attribute__((__unused__)) static)

void
queue_init(struct queue *q)
{
	TAILQ_INIT(&q->turns);
	RB_INIT(&q->sources);
}

bool
queue_add(
    struct queue *q, struct queue_place *p, const uint8_t key[QUEUE_KEY_LEN])
{
	struct queue_source *s, wanted;

	memcpy(wanted.key, key, sizeof(wanted.key));
	s = RB_FIND(queue_tree, &q->sources, &wanted);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL)
			return false;
		memcpy(s->key, key, sizeof(s->key));
		TAILQ_INIT(&s->places);
		RB_INSERT(queue_tree, &q->sources, s);
		TAILQ_INSERT_TAIL(&q->turns, s, turn);
	}
	p->source = s;
	TAILQ_INSERT_TAIL(&s->places, p, entry);
	return true;
}

void
queue_drop(struct queue *q, struct queue_place *p)
{
	struct queue_source *s = p->source;

	if (s == NULL)
		return;
	p->source = NULL;
	TAILQ_REMOVE(&s->places, p, entry);
	if (!TAILQ_EMPTY(&s->places))
		return;
	TAILQ_REMOVE(&q->turns, s, turn);
	RB_REMOVE(queue_tree, &q->sources, s);
	free(s);
}

struct queue_place *
queue_take(struct queue *q)
{
	struct queue_source *s = TAILQ_FIRST(&q->turns);
	struct queue_place *p;

	if (s == NULL)
		return NULL;
	TAILQ_REMOVE(&q->turns, s, turn);
	TAILQ_INSERT_TAIL(&q->turns, s, turn);
	p = TAILQ_FIRST(&s->places);
	queue_drop(q, p);
	return p;
}

bool
queue_is_empty(const struct queue *q)
{
	return TAILQ_EMPTY(&q->turns);
}
