/*
 * tests/rogue/heap.c - counts what is allocated and not freed, of this program
 * and of all libraries that it has: malloc(3) and its kin, in front of the C
 * library's.
 *
 * Runs in: the test's master, keys, auth and paramgen (build/rogue).  The
 * test reads `rogue_heap` in /proc/PID/mem.
 */
#ifndef FLEXMUSIC_SANITIZER
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

extern struct rogue_heap {
	uint64_t blocks;
	uint64_t bytes;
} rogue_heap;
struct rogue_heap rogue_heap;

static void *
heap_add(void *p)
{
	if (p != NULL) {
		rogue_heap.blocks++;
		rogue_heap.bytes += malloc_usable_size(p);
	}
	return p;
}

static void
heap_take(size_t size)
{
	rogue_heap.blocks--;
	rogue_heap.bytes -= size;
}

void *
malloc(size_t size)
{
	return heap_add(__libc_malloc(size));
}

void *
calloc(size_t count, size_t size)
{
	return heap_add(__libc_calloc(count, size));
}

void *
realloc(void *p, size_t size)
{
	size_t before = p == NULL ? 0 : malloc_usable_size(p);
	void *q = __libc_realloc(p, size);

	/* It stays what it was where there is no memory. */
	if (p != NULL && (q != NULL || size == 0))
		heap_take(before);
	return heap_add(q);
}

void
free(void *p)
{
	if (p != NULL)
		heap_take(malloc_usable_size(p));
	__libc_free(p);
}

void *
memalign(size_t alignment, size_t size)
{
	return heap_add(__libc_memalign(alignment, size));
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int
posix_memalign(void **p, size_t alignment, size_t size)
{
	void *q = memalign(alignment, size);

	if (q == NULL)
		return ENOMEM;
	*p = q;
	return 0;
}
#endif
