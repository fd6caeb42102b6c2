/*
 * worker/lean.c - the zygote's memory, made cheap to fork.
 *
 * Runs in: zygote, at its start, before its sandbox, as what it was started
 * as.  It sees its own program and memory map, and nothing from outside.
 *
 * What a fork costs is page tables: each region of memory far from the
 * others takes up to three pages of them, cleared, filled and freed again,
 * and each page that the child touches first takes a fault.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/lean.h"

#define LEAN_PAGE 4096

#ifndef FLEXMUSIC_SANITIZER
/*
 * The kernel writes to the thread's rseq area each time that it schedules
 * the process: one page to copy in each worker, for a feature that nothing
 * here uses.
 */
static void
lean_leave_rseq(void)
{
#if defined(__x86_64__) && defined(RSEQ_SIG)
	if (__rseq_size > 0)
		syscall(SYS_rseq,
		    (char *)__builtin_thread_pointer() + __rseq_offset,
		    sizeof(struct rseq), RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
#endif
}

/* Makes the first page of a segment this process's own copy, and maps all. */
static void
lean_own_segment(int mem, uintptr_t begin, uintptr_t end)
{
	volatile const uint8_t *first = (volatile const uint8_t *)begin;
	uint8_t byte = *first;

	if (pwrite(mem, &byte, 1, (off_t)begin) == 1)
		(void)madvise((void *)begin, end - begin, MADV_POPULATE_READ);
}

static int
lean_own_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const ElfW(Phdr) * p;
	uintptr_t begin;
	int i;

	for (i = 0; i < info->dlpi_phnum; i++) {
		p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD || (p->p_flags & PF_W) != 0)
			continue;
		begin = (info->dlpi_addr + p->p_vaddr) &
		    ~(uintptr_t)(LEAN_PAGE - 1);
		lean_own_segment(*(int *)arg, begin,
		    info->dlpi_addr + p->p_vaddr + p->p_memsz);
	}
	return 0;
}

/*
 * A fork does not copy the page table of a file's mapping: each worker would
 * fault in code and constants again, 64 KB at a time.  It does copy that of
 * a mapping of which one page is the process's own.  So one byte of each is
 * written over with what it is, as a debugger sets a breakpoint: no page is
 * ever writable and executable.  Where a system forbids it, workers are
 * slower, and nothing else.
 */
static void
lean_own_program(void)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (mem == -1)
		return;
	dl_iterate_phdr(lean_own_object, &mem);
	close(mem);
}

void
lean_program(void)
{
	lean_leave_rseq();
	lean_own_program();
}

/* The range of this process's stack, from its own memory map. */
static bool
lean_find_stack(uintptr_t *begin, uintptr_t *end)
{
	char line[256];
	unsigned long from, to;
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");

	if (maps == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), maps) != NULL)
		found = strstr(line, "[stack]") != NULL &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2;
	fclose(maps);
	if (found) {
		*begin = from;
		*end = to;
	}
	return found;
}

/* Fills in where the program's code and data are. */
static int
lean_map_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct prctl_mm_map *map = arg;
	const ElfW(Phdr) * p;
	int i;

	for (i = 0; i < info->dlpi_phnum; i++) {
		p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD)
			continue;
		if ((p->p_flags & PF_X) != 0) {
			map->start_code = info->dlpi_addr + p->p_vaddr;
			map->end_code = map->start_code + p->p_memsz;
		} else if ((p->p_flags & PF_W) != 0)
			map->start_data = map->end_data =
			    info->dlpi_addr + p->p_vaddr;
	}
	return 1; /* the first is the program itself */
}

/* Tells the kernel that the arguments, for ps(1), are at `home`. */
static bool
lean_move_title(char *home, size_t len, uintptr_t stack)
{
	struct prctl_mm_map map;

	memset(&map, 0, sizeof(map));
	dl_iterate_phdr(lean_map_program, &map);
	map.start_brk = map.brk = (uintptr_t)syscall(SYS_brk, 0);
	map.start_stack = stack;
	map.arg_start = (uintptr_t)home;
	map.arg_end = map.env_start = map.env_end = map.arg_start + len;
	map.exe_fd = (uint32_t)-1;
	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) == 0;
}

char *
lean_stack(char *title, char *home, size_t len)
{
	uintptr_t begin, end;

	memcpy(home, title, len);
	if (!lean_find_stack(&begin, &end) ||
	    !lean_move_title(home, len, begin))
		return title;
	(void)madvise((void *)begin, end - begin, MADV_DONTFORK);
	return home;
}
#else
/* The sanitizers' runtimes have their own idea of memory. */
void
lean_program(void)
{
}

char *
lean_stack(char *title, char *home, size_t len)
{
	return title;
}
#endif
