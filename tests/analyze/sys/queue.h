/*
 * tests/analyze/sys/queue.h - the lists of sys/queue.h as cppcheck, which
 * reads no header of the system's, understands them.
 *
 * Runs in: nothing; `make analyze' reads it.
 */
#ifndef TESTS_ANALYZE_QUEUE_H
#define TESTS_ANALYZE_QUEUE_H

#define LIST_ENTRY(t)        \
	struct {             \
		struct t *n; \
	}
#define TAILQ_ENTRY(t) LIST_ENTRY(t)
#define LIST_HEAD(name, t)   \
	struct name {        \
		struct t *f; \
	}
#define TAILQ_HEAD(name, t) LIST_HEAD(name, t)

#define LIST_FOREACH(v, h, e)  for ((v) = (h)->f; (v); (v) = (v)->e.n)
#define TAILQ_FOREACH(v, h, e) LIST_FOREACH(v, h, e)
#define LIST_FOREACH_SAFE(v, h, e, x) \
	for ((v) = (h)->f; (v) && ((x) = (v)->e.n, 1); (v) = (x))
#define TAILQ_FOREACH_SAFE(v, h, e, x) LIST_FOREACH_SAFE(v, h, e, x)

#endif
