/*
 * tests/fuzz/fuzz_ctl_settings.c - a configuration of any bytes in
 * flexmusicctl.
 *
 * Runs in: the fuzzers alone.  It is refused with a reason, and then nothing
 * is filled in by it; or what is taken is what may be taken, and what was
 * given stays.
 *
 * Covers: ctl/settings.c
 */
#include <sys/mman.h>

#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/input.h"

#define KEPT_MAX 16

/* Its strings stay allocated until the process ends, which is here. */
static char *kept[KEPT_MAX];
static size_t kept_count;

static char *
fuzz_strdup(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len + 1);

	fuzz_check(copy != NULL && kept_count < KEPT_MAX);
	memcpy(copy, text, len + 1);
	kept[kept_count++] = copy;
	return copy;
}

#define strdup fuzz_strdup
#include "ctl/settings.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char given_file[] = "given", given_socket[] = "/given";

static void
check_filled(const struct command_options *o)
{
	fuzz_check(o->file == given_file ||
	    (o->file[0] == '/' && o->file[strlen(o->file) - 1] != '/'));
	fuzz_check(o->socket[0] == '/' || strcmp(o->socket, "none") == 0);
	fuzz_check(o->min_length >= 1 && o->min_length <= AUTH_PASSWORD_MAX);
}

/* Fills in what was not given; true where the file has no mistake. */
static bool
fill(const char *path, bool wanted, struct command_options *o, bool with)
{
	FILE *err = stderr;
	char *said = NULL;
	size_t len = 0;
	bool filled;

	memset(o, 0, sizeof(*o));
	if (with) {
		o->file = given_file;
		o->socket = given_socket;
		o->min_length = 17;
	}
	stderr = open_memstream(&said, &len);
	filled = settings_fill(o, path, wanted);
	fclose(stderr);
	stderr = err;
	fuzz_check(filled == (len == 0));
	free(said);
	if (filled)
		check_filled(o);
	return filled;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command_options o, given;
	char path[64];
	bool filled;
	int fd;

	fd = memfd_create("conf", MFD_CLOEXEC);
	fuzz_check(fd != -1 && write(fd, data, size) == (ssize_t)size);
	/* The largest file is one byte longer than what is read. */
	if (size > 0 && data[0] == 0xff)
		fuzz_check(ftruncate(fd, 65537 + data[size - 1]) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	filled = fill(path, true, &o, false);
	fuzz_check(fill(path, true, &given, true) == filled);
	if (filled)
		fuzz_check(given.file == given_file &&
		    given.socket == given_socket && given.min_length == 17);
	close(fd);
	/* One that is not there is a mistake only where it was named. */
	if (size % 16 == 0) {
		fuzz_check(!fill(path, true, &o, false));
		fuzz_check(fill(path, false, &o, false));
		fuzz_check(fill(NULL, false, &o, false));
	}
	while (kept_count > 0)
		free(kept[--kept_count]);
	return 0;
}
