/*
 * tests/rogue/serve.c - the attacker's code: system calls, memory and
 * messages as the test's client tells them.
 *
 * Runs in: the test's zygote and workers (build/rogue).  It uses what its
 * process has and nothing else: no file, no other descriptor.
 */
#include <sys/syscall.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/rogue/rogue.h"

#define ROGUE_LINE  256
#define ROGUE_WORDS 8
#define ROGUE_STACK 16384

/* Where the client lays out messages and arguments. */
static _Alignas(16) uint8_t rogue_scratch[32768];
static _Alignas(16) uint8_t rogue_stack[ROGUE_STACK];

/* Waits for the client alone: whatever the master says is not heard. */
static void
rogue_wait(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	(void)ppoll(&p, 1, NULL, NULL);
}

/* False where the client has hung up. */
static bool
rogue_read(const struct rogue *r, void *to, size_t len)
{
	uint8_t *at = to;
	ssize_t n;

	while (len > 0) {
		n = read(r->client, at, len);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n == -1 && errno == EAGAIN)
			rogue_wait(r->client, POLLIN);
		else
			return false;
	}
	return true;
}

static void
rogue_write(const struct rogue *r, const void *from, size_t len)
{
	const uint8_t *at = from;
	ssize_t n;

	while (len > 0) {
		n = write(r->client, at, len);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (n == -1 && errno == EAGAIN)
			rogue_wait(r->client, POLLOUT);
		else
			_exit(0);
	}
}

__attribute__((format(printf, 2, 3))) static void
rogue_say(const struct rogue *r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rogue_write(r, text, (size_t)n);
}

static void
rogue_call(const struct rogue *r, const uint64_t *a)
{
	long result = syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);

	rogue_say(r, "%ld\n", result == -1 ? -(long)errno : result);
}

static void
rogue_call32(const struct rogue *r, const uint64_t *a)
{
	long result = -ENOSYS;

#ifdef __x86_64__
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3])
			 : "memory", "r8", "r9", "r10", "r11");
#endif
	rogue_say(r, "%ld\n", result);
}

static void
rogue_peek(const struct rogue *r, const uint64_t *a)
{
	rogue_write(r, (const void *)a[0], (size_t)a[1]);
}

static void
rogue_poke(const struct rogue *r, const uint64_t *a)
{
	if (!rogue_read(r, (void *)a[0], (size_t)a[1]))
		_exit(0);
}

static void
rogue_store(const struct rogue *r, const uint64_t *a)
{
	*(volatile uint8_t *)a[0] = 0;
	rogue_say(r, "stored\n");
}

static void
rogue_jump(const struct rogue *r, const uint64_t *a)
{
	((void (*)(void))a[0])();
	rogue_say(r, "returned\n");
}

static void
rogue_fault_fpe(const struct rogue *r, const uint64_t *a)
{
#ifdef __x86_64__
	__asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; divl %%ecx"
			 :
			 :
			 : "eax", "ecx", "edx", "cc");
#endif
	rogue_say(r, "went on\n");
}

static void
rogue_fault_ill(const struct rogue *r, const uint64_t *a)
{
	__builtin_trap();
}

/* An access that is not aligned, with alignment checked. */
static void
rogue_fault_bus(const struct rogue *r, const uint64_t *a)
{
#ifdef __x86_64__
	__asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq\n\t"
			 "orl $0x40000, (%%rsp); popfq\n\t"
			 "movl 1(%0), %%eax"
			 :
			 : "r"(rogue_scratch)
			 : "eax", "cc", "memory");
#endif
	rogue_say(r, "went on\n");
}

static int
rogue_child(void *arg)
{
	while (ppoll(NULL, 0, NULL, NULL) != 0)
		continue;
	return 0;
}

/* With a stack of its own: the zygote's is left out of forks. */
static void
rogue_fork(const struct rogue *r, const uint64_t *a)
{
	int pidfd = -1;
	int pid = clone(rogue_child, rogue_stack + sizeof(rogue_stack),
	    CLONE_PARENT | CLONE_PIDFD, NULL, &pidfd);

	rogue_say(r, "%d %d\n", pid, pidfd);
}

/* The value that the compiler's check of the stack compares with. */
static uint64_t
rogue_canary(void)
{
	uint64_t value = 0;

#ifdef __x86_64__
	__asm__("movq %%fs:0x28, %0" : "=r"(value));
#endif
	return value;
}

static void
rogue_where(const struct rogue *r, const uint64_t *a)
{
	rogue_say(r,
	    "client=%d master=%d keys=%d worker=%#llx worker_size=%#zx "
	    "scratch=%#llx scratch_size=%#zx code=%#llx canary=%#llx\n",
	    r->client, r->master, r->keys,
	    (unsigned long long)(uintptr_t)r->worker, sizeof(*r->worker),
	    (unsigned long long)(uintptr_t)rogue_scratch, sizeof(rogue_scratch),
	    (unsigned long long)(uintptr_t)rogue_serve,
	    (unsigned long long)rogue_canary());
}

static void
rogue_messages(const struct rogue *r, const uint64_t *a)
{
	int i;

	for (i = 1; i < MESSAGE_TYPES; i++)
		rogue_say(r, "%s %u %u\n", message_info[i].name,
		    message_info[i].size, message_info[i].fds);
	rogue_say(r, "max %zu 0\n", sizeof(union message_any));
}

static const struct rogue_command {
	const char *name;
	void (*serve)(const struct rogue *r, const uint64_t *a);
} rogue_commands[] = {
	{ "call", rogue_call },
	{ "call32", rogue_call32 },
	{ "read", rogue_peek },
	{ "write", rogue_poke },
	{ "store", rogue_store },
	{ "jump", rogue_jump },
	{ "fpe", rogue_fault_fpe },
	{ "ill", rogue_fault_ill },
	{ "bus", rogue_fault_bus },
	{ "fork", rogue_fork },
	{ "where", rogue_where },
	{ "messages", rogue_messages },
};

static bool
rogue_read_line(const struct rogue *r, char *line)
{
	size_t len = 0;

	while (rogue_read(r, line + len, 1) && line[len] != '\n')
		if (++len == ROGUE_LINE)
			return false;
	if (line[len] != '\n')
		return false;
	line[len] = '\0';
	return true;
}

/* False where the client says to leave. */
static bool
rogue_obey(const struct rogue *r, char *line)
{
	const struct rogue_command *c = rogue_commands;
	uint64_t a[ROGUE_WORDS] = { 0 };
	char *word, *rest = line;
	const char *name = strsep(&rest, " ");
	size_t i;

	if (strcmp(name, "leave") == 0)
		return false;
	for (i = 0; i < ROGUE_WORDS && (word = strsep(&rest, " ")) != NULL; i++)
		a[i] = strtoull(word, NULL, 0);
	while (strcmp(name, c->name) != 0)
		if (++c ==
		    rogue_commands +
			sizeof(rogue_commands) / sizeof(rogue_commands[0]))
			__builtin_trap(); /* the test is wrong */
	c->serve(r, a);
	return true;
}

void
rogue_serve(const struct rogue *r)
{
	char line[ROGUE_LINE + 1];

	do
		if (!rogue_read_line(r, line))
			_exit(0);
	while (rogue_obey(r, line));
}
