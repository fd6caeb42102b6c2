/*
 * privsep/turns.c - attempts that wait, served by turns: one of each source.
 *
 * Runs in: auth, pam.  It holds places alone, no names and no passwords.
 */
#include <stdlib.h>
#include <string.h>

#include "privsep/turns.h"

/* A source with at least one that waits. */
struct turns_source {
	TAILQ_ENTRY(turns_source) turn;
	RB_ENTRY(turns_source) entry;
	TAILQ_HEAD(, turns_place) places;
	uint8_t key[TURNS_KEY_LEN];
};

static int
turns_compare(const struct turns_source *a, const struct turns_source *b)
{
	return memcmp(a->key, b->key, sizeof(a->key));
}

/* libbsd's RB_GENERATE_STATIC needs a macro that it does not define. */
RB_GENERATE_INTERNAL(turns_tree, turns_source, entry, turns_compare,
    __attribute__((__unused__)) static)

void
turns_init(struct turns *q)
{
	TAILQ_INIT(&q->turns);
	RB_INIT(&q->sources);
}

bool
turns_add(
    struct turns *q, struct turns_place *p, const uint8_t key[TURNS_KEY_LEN])
{
	struct turns_source *s, wanted;

	memcpy(wanted.key, key, sizeof(wanted.key));
	s = RB_FIND(turns_tree, &q->sources, &wanted);
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL)
			return false;
		memcpy(s->key, key, sizeof(s->key));
		TAILQ_INIT(&s->places);
		RB_INSERT(turns_tree, &q->sources, s);
		TAILQ_INSERT_TAIL(&q->turns, s, turn);
	}
	p->source = s;
	TAILQ_INSERT_TAIL(&s->places, p, entry);
	return true;
}

void
turns_drop(struct turns *q, struct turns_place *p)
{
	struct turns_source *s = p->source;

	if (s == NULL)
		return;
	p->source = NULL;
	TAILQ_REMOVE(&s->places, p, entry);
	if (!TAILQ_EMPTY(&s->places))
		return;
	TAILQ_REMOVE(&q->turns, s, turn);
	RB_REMOVE(turns_tree, &q->sources, s);
	free(s);
}

struct turns_place *
turns_take(struct turns *q)
{
	struct turns_source *s = TAILQ_FIRST(&q->turns);
	struct turns_place *p;

	if (s == NULL)
		return NULL;
	TAILQ_REMOVE(&q->turns, s, turn);
	TAILQ_INSERT_TAIL(&q->turns, s, turn);
	p = TAILQ_FIRST(&s->places);
	turns_drop(q, p);
	return p;
}

bool
turns_is_empty(const struct turns *q)
{
	return TAILQ_EMPTY(&q->turns);
}
