/*
 * tests/faults/fault.c - which call fails: the page that a test shares with
 * all processes of its server.
 *
 * Runs in: the test's servers, all processes of them, before main() and then
 * in each wrapped call.  Nothing here makes a system call after that, so a
 * confined process may use it.
 */
#include <sys/mman.h>

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <unwind.h>

#include "tests/faults/fault.h"

#define FAULT_SKIPPED 2 /* fault_here and the wrapper */

extern const char __ehdr_start[], _end[];

static struct fault_page *page;
static enum fault_role role;

struct frames {
	uint32_t *at;
	unsigned skip;
	unsigned count;
};

static _Unwind_Reason_Code
fault_take_frame(struct _Unwind_Context *context, void *arg)
{
	struct frames *f = arg;
	const char *ip = (const char *)_Unwind_GetIP(context);

	if (f->skip > 0) {
		f->skip--;
		return _URC_NO_REASON;
	}
	if (ip < __ehdr_start || ip >= _end)
		return f->count == 0 ? _URC_NO_REASON : _URC_END_OF_STACK;
	f->at[f->count++] = (uint32_t)(ip - __ehdr_start);
	return f->count == FAULT_FRAMES ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/* The innermost frames of the program's own, up to the first that a library
 * is behind. */
static void __attribute__((noinline)) fault_place(struct fault_site *s)
{
	struct frames f = { s->frame, FAULT_SKIPPED + 1, 0 };

	_Unwind_Backtrace(fault_take_frame, &f);
}

/* Two processes may add the same place at once: the test adds them up. */
static void
fault_record(const struct fault_site *s)
{
	uint32_t i, count = __atomic_load_n(&page->sites, __ATOMIC_ACQUIRE);

	if (count > FAULT_SITES)
		count = FAULT_SITES;
	for (i = 0; i < count; i++)
		if (memcmp(&page->site[i], s,
			offsetof(struct fault_site, count)) == 0)
			break;
	if (i == count) {
		i = __atomic_fetch_add(&page->sites, 1, __ATOMIC_ACQ_REL);
		if (i >= FAULT_SITES)
			return;
		memcpy(&page->site[i], s, offsetof(struct fault_site, count));
	}
	__atomic_fetch_add(&page->site[i].count, 1, __ATOMIC_ACQ_REL);
}

static bool
fault_is_target(const struct fault_site *s)
{
	const struct fault_site *t = &page->target;

	return t->role == s->role && t->call == s->call &&
	    (t->frame[0] == 0 ||
		memcmp(t->frame, s->frame, sizeof(t->frame)) == 0);
}

bool
fault_here(enum fault_call call)
{
	struct fault_site s;
	uint32_t n;

	if (page == NULL)
		return false;
	memset(&s, 0, sizeof(s));
	s.role = role;
	s.call = call;
	fault_place(&s);
	if (page->recording)
		fault_record(&s);
	if (!__atomic_load_n(&page->armed, __ATOMIC_ACQUIRE) ||
	    !fault_is_target(&s))
		return false;
	n = __atomic_add_fetch(&page->hits, 1, __ATOMIC_ACQ_REL);
	if (n < page->target.count ||
	    (n - page->target.count) % page->every != 0 ||
	    page->fired == page->times)
		return false;
	__atomic_fetch_add(&page->fired, 1, __ATOMIC_ACQ_REL);
	errno = (int)page->error;
	return true;
}

void
fault_become(enum fault_role now)
{
	role = now;
}

enum fault_role
fault_who(void)
{
	return role;
}

/* Maps the file beside the program, if it is there. */
static void
fault_open(void)
{
	static const char name[] = "faults";
	char path[4096];
	void *map;
	char *slash;
	ssize_t n;
	int fd;

	n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(name));
	if (n <= 0)
		return;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		return;
	memcpy(slash + 1, name, sizeof(name));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return;
	map = mmap(
	    NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		page = map;
}

/* A helper's arguments are its role and padding (privsep/main.c). */
static void __attribute__((constructor)) fault_begin(int argc, char **argv)
{
	static const char *const names[] = {
#define X(name) #name,
		FAULT_ROLES(X)
#undef X
	};
	struct fault_site s;
	unsigned i;

	for (i = 0; argc == 3 && i < FAULT_ROLE_COUNT; i++)
		if (strcmp(argv[1], names[i]) == 0)
			role = (enum fault_role)i;
	/* What the unwinder prepares, it prepares now. */
	fault_place(&s);
	fault_open();
}
