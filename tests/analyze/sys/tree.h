/*
 * tests/analyze/sys/tree.h - the trees of sys/tree.h as cppcheck, which reads
 * no header of the system's, understands them.
 *
 * Runs in: nothing; `make analyze' reads it.
 */
#ifndef TESTS_ANALYZE_TREE_H
#define TESTS_ANALYZE_TREE_H

#define RB_ENTRY(t)          \
	struct {             \
		struct t *n; \
	}
#define RB_HEAD(name, t)     \
	struct name {        \
		struct t *f; \
	}
#define RB_GENERATE_INTERNAL(name, t, e, compare, attribute)

#endif
