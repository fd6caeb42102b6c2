/*
 * bench/limit.c - what no server can do without: two modular exponentiations
 * and a process for each handshake.
 *
 * Runs in: the benchmark, as the user who runs it.  Sees numbers of its own
 * alone.
 *
 * usage: limit empty_fork prime exponentiations forks
 * Prints the CPU time, in microseconds, of one exponentiation modulo the
 * prime (in hex; the exponent has 256 bits) and of one empty fork (the
 * program `empty_fork` measures it).  Every other processor is kept busy
 * meanwhile, as it is under load: that makes a fork dearer.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>

#define LIMIT_EXPONENT_BITS 256

static _Noreturn void
limit_fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
limit_now_us(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) == -1)
		limit_fail("clock_gettime");
	return 1e6 * (double)ts.tv_sec + (double)ts.tv_nsec / 1e3;
}

static void
limit_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == -1)
		limit_fail("sched_setaffinity");
}

/* A process that keeps `cpu` busy until it is killed or its parent ends. */
static pid_t
limit_keep_busy(int cpu)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == -1)
		limit_fail("fork");
	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(1);
	limit_pin(cpu);
	for (;;)
		__asm__ volatile("pause");
}

/* One exponentiation, with all prepared that can be. */
static double
limit_exponentiation(const char *prime, long count)
{
	BN_CTX *ctx = BN_CTX_new();
	BN_MONT_CTX *mont = BN_MONT_CTX_new();
	BIGNUM *p = NULL, *x = BN_new(), *y = BN_new(), *r = BN_new();
	double start, us;
	long i;

	if (ctx == NULL || mont == NULL || x == NULL || y == NULL ||
	    r == NULL || BN_hex2bn(&p, prime) == 0 ||
	    !BN_MONT_CTX_set(mont, p, ctx) ||
	    !BN_rand(
		x, LIMIT_EXPONENT_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) ||
	    !BN_rand_range(y, p)) {
		fprintf(stderr, "limit: the prime or OpenSSL is of no use\n");
		exit(1);
	}
	BN_set_flags(x, BN_FLG_CONSTTIME);
	start = limit_now_us();
	for (i = 0; i < count; i++)
		if (!BN_mod_exp_mont_consttime(r, y, x, p, ctx, mont))
			limit_fail("BN_mod_exp_mont_consttime");
	us = (limit_now_us() - start) / (double)count;
	BN_free(r);
	BN_free(y);
	BN_free(x);
	BN_free(p);
	BN_MONT_CTX_free(mont);
	BN_CTX_free(ctx);
	return us;
}

/* The empty fork's program prints its figure itself. */
static void
limit_forks(char *program, char *count)
{
	int status;
	pid_t pid;

	fflush(stdout);
	if ((pid = fork()) == -1)
		limit_fail("fork");
	if (pid == 0) {
		execl(program, program, count, (char *)NULL);
		limit_fail(program);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "limit: %s failed\n", program);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	pid_t busy[CPU_SETSIZE];
	int cpu, i, own, others = 0;
	cpu_set_t set;
	long count;

	if (argc != 5 || (count = strtol(argv[3], NULL, 10)) < 1) {
		fprintf(stderr,
		    "usage: limit empty_fork prime exponentiations forks\n");
		return 2;
	}
	if (sched_getaffinity(0, sizeof(set), &set) == -1)
		limit_fail("sched_getaffinity");
	for (own = 0; !CPU_ISSET(own, &set); own++)
		continue;
	for (cpu = own + 1; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			busy[others++] = limit_keep_busy(cpu);
	limit_pin(own);
	printf("modexp_us=%.2f\n", limit_exponentiation(argv[2], count));
	limit_forks(argv[1], argv[4]);
	for (i = 0; i < others; i++) {
		kill(busy[i], SIGKILL);
		(void)waitpid(busy[i], NULL, 0);
	}
	return 0;
}
