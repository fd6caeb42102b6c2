/*
 * master/bar.c - one line on a terminal that says how far a search is.
 *
 * Runs in: master.
 */
#include <sys/ioctl.h>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/bar.h"

#define BAR_COLUMNS  80 /* where the terminal does not say */
#define BAR_LINE_MAX 256
#define BAR_MAX	     20 /* characters between the brackets */
#define BAR_MIN	     5 /* a shorter one says nothing */
#define BAR_CLEAR    "\033[K" /* to the end of the line */

/* a * times / by, as far as it goes. */
static uint64_t
bar_scale(uint64_t a, uint64_t times, uint64_t by)
{
	uint64_t product;

	if (!__builtin_mul_overflow(a, times, &product))
		return product / by;
	if (!__builtin_mul_overflow(a / by, times, &product))
		return product;
	return UINT64_MAX;
}

static void
bar_time(char *out, size_t size, uint64_t ms)
{
	const uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(out, size, "%u.%u s", (unsigned)s,
		    (unsigned)(ms % 1000 / 100));
	else if (s < 3600)
		snprintf(out, size, "%u min %02u s", (unsigned)(s / 60),
		    (unsigned)(s % 60));
	else
		snprintf(out, size, "%" PRIu64 " h %02u min", s / 3600,
		    (unsigned)(s % 3600 / 60));
}

static void
bar_rate(char *out, size_t size, const struct bar_progress *p)
{
	uint64_t tenths = 0;

	if (p->elapsed_ms > 0)
		tenths = bar_scale(p->tests, 10000, p->elapsed_ms);
	if (tenths < 100) /* large primes: a test takes long */
		snprintf(out, size, "%u.%u/s", (unsigned)tenths / 10,
		    (unsigned)tenths % 10);
	else
		snprintf(out, size, "%" PRIu64 "/s", tenths / 10);
}

/* "[#####     ]" of `width` between the brackets. */
static void
bar_draw(char *out, unsigned width, uint64_t percent)
{
	const unsigned full =
	    percent >= 100 ? width : (unsigned)percent * width / 100;

	out[0] = '[';
	memset(out + 1, '#', full);
	memset(out + 1 + full, ' ', width - full);
	out[width + 1] = ']';
	out[width + 2] = '\0';
}

/* The line where the mean of tests is not known: there is no share. */
static void
bar_format_count(char *out, size_t size, size_t max,
    const struct bar_progress *p, const char *elapsed, const char *rate)
{
	const int tests =
	    snprintf(out, size, "%u bits, %" PRIu64 " tests, %s, %s", p->bits,
		p->tests, elapsed, rate);

	if ((size_t)tests > max)
		snprintf(out, size, "%s", elapsed);
}

static void
bar_format_share(char *out, size_t size, size_t max,
    const struct bar_progress *p, const char *elapsed, const char *rate)
{
	const uint64_t percent = bar_scale(p->tests, 100, p->expected);
	char bar[BAR_MAX + 3], tail[128];
	size_t len;

	snprintf(tail, sizeof(tail),
	    "%" PRIu64 "%% of the expected tests, %s, %s", percent, elapsed,
	    rate);
	len = (size_t)snprintf(out, size, "%u bits [] %s", p->bits, tail);
	if (len + BAR_MIN <= max) {
		bar_draw(bar,
		    max - len < BAR_MAX ? (unsigned)(max - len) : BAR_MAX,
		    percent);
		snprintf(out, size, "%u bits %s %s", p->bits, bar, tail);
	} else if (len - 2 <= max) /* a comma for " []" */
		snprintf(out, size, "%u bits, %s", p->bits, tail);
	else if ((size_t)snprintf(out, size, "%u bits, %" PRIu64 "%%, %s",
		     p->bits, percent, elapsed) > max)
		snprintf(out, size, "%" PRIu64 "%%", percent);
}

void
bar_format(char *out, size_t size, unsigned columns,
    const struct bar_progress *progress)
{
	size_t max = columns > 0 ? columns - 1 : 0;
	char line[BAR_LINE_MAX], elapsed[48], rate[32];

	if (size == 0)
		return;
	if (max > size - 1)
		max = size - 1;
	bar_time(elapsed, sizeof(elapsed), progress->elapsed_ms);
	bar_rate(rate, sizeof(rate), progress);
	if (progress->expected == 0)
		bar_format_count(
		    line, sizeof(line), max, progress, elapsed, rate);
	else
		bar_format_share(
		    line, sizeof(line), max, progress, elapsed, rate);
	/* A number without its end would be another one. */
	if (strlcpy(out, line, max + 1) > max)
		out[0] = '\0';
}

/* There is one terminal: does the line stand on it? */
static bool bar_shown;

/* What a terminal does not take at once (it was stopped) is left out: the
 * server does not wait for it.  True if it was written. */
static bool
bar_write(const char *text)
{
	struct pollfd p = { .events = POLLOUT };
	const size_t len = strlen(text);
	bool written;
	int fd;

	/* Standard error is others' too, so it is not made non-blocking; and
	 * root without CAP_DAC_OVERRIDE may not open another's terminal. */
	fd = open(
	    "/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	p.fd = fd != -1 ? fd : STDERR_FILENO;
	written = poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0 &&
	    write(p.fd, text, len) == (ssize_t)len;
	if (fd != -1)
		close(fd);
	return written;
}

bool
bar_show(const struct bar_progress *progress)
{
	char line[BAR_LINE_MAX], text[BAR_LINE_MAX + 8];
	struct winsize size;

	/* The one question is answered by terminals alone. */
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == -1)
		return false;
	bar_format(line, sizeof(line),
	    size.ws_col > 0 ? size.ws_col : BAR_COLUMNS, progress);
	snprintf(text, sizeof(text), "\r%s" BAR_CLEAR, line);
	if (bar_write(text))
		bar_shown = true;
	return true;
}

void
bar_clear(void)
{
	if (bar_shown && bar_write("\r" BAR_CLEAR))
		bar_shown = false;
}
