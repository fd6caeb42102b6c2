/*
 * bench/empty_fork.c - what a process costs at the least: fork, exit and wait
 * of a static program that does nothing else.
 *
 * Runs in: the benchmark, as the user who runs it.  Sees nothing.
 *
 * usage: empty_fork count
 * Prints the CPU time of one fork, parent and child, in microseconds.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double
empty_fork_cpu(void)
{
	static const int who[] = { RUSAGE_SELF, RUSAGE_CHILDREN };
	struct rusage r;
	double us = 0;
	size_t i;

	for (i = 0; i < sizeof(who) / sizeof(who[0]); i++) {
		if (getrusage(who[i], &r) == -1)
			exit(1);
		us += 1e6 * (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec);
		us += (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
	}
	return us;
}

int
main(int argc, char **argv)
{
	long i, count;
	double before;
	pid_t pid;

	if (argc != 2 || (count = strtol(argv[1], NULL, 10)) < 1) {
		fprintf(stderr, "usage: empty_fork count\n");
		return 2;
	}
	before = empty_fork_cpu();
	for (i = 0; i < count; i++) {
		pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid == -1 || waitpid(pid, NULL, 0) != pid) {
			perror("empty_fork");
			return 1;
		}
	}
	printf("fork_us=%.2f\n", (empty_fork_cpu() - before) / (double)count);
	return 0;
}
