/*
 * keys/pairs.c - key pairs made ahead: the pool of one generation.
 *
 * Runs in: keys, as the keys user.  Private exponents lie here until their
 * one use, or until their generation retires; nothing of a client comes near
 * them.
 */
#include <string.h>

#include "keys/pairs.h"

void
pairs_init(struct pairs *p, struct kex_group *group)
{
	memset(p, 0, sizeof(*p));
	p->group = group;
}

bool
pairs_wanted(const struct pairs *p)
{
	return p->count < KEYS_AHEAD;
}

bool
pairs_make(struct pairs *p)
{
	struct kex_pair *pair;

	if (!pairs_wanted(p) || (pair = kex_pair_new(p->group)) == NULL)
		return false;
	p->pair[p->count++] = pair;
	return true;
}

struct kex_pair *
pairs_take(struct pairs *p)
{
	struct kex_pair *pair;

	if (p->count == 0)
		return NULL;
	pair = p->pair[--p->count];
	p->pair[p->count] = NULL;
	return pair;
}

void
pairs_wipe(struct pairs *p)
{
	struct kex_pair *pair;

	while ((pair = pairs_take(p)) != NULL)
		kex_pair_free(pair);
}
