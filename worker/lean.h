/*
 * worker/lean.h - the zygote's memory, made cheap to fork.
 *
 * Runs in: zygote, at its start, before its sandbox.  Nothing here is needed
 * for a worker to be right: where a system forbids or lacks one of these,
 * workers are slower, and nothing else.
 */
#ifndef WORKER_LEAN_H
#define WORKER_LEAN_H

#include <stddef.h>

/*
 * Has a fork copy the page tables of the program, and keeps the kernel from
 * writing to the thread's memory.
 */
void lean_program(void);

/*
 * Moves the title that ps(1) shows from `title` to `home`, both of `len`
 * bytes, and leaves the stack out of every fork from now on: a worker has
 * one of its own.  Returns where the title is now.
 */
char *lean_stack(char *title, char *home, size_t len);

#endif
