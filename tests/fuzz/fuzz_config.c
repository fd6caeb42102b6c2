/*
 * tests/fuzz/fuzz_config.c - a configuration file of any bytes.
 *
 * Runs in: the fuzzers alone.  Whatever the text is: it is either refused
 * with a message, or what config_print makes of it is read as the same; the
 * messages are printable; and libconfuse never meets what the scan before it
 * let pass by mistake.
 *
 * Covers: master/config.c: ignore_confuse read_values set_values set_default
 * Covers: master/config.c: set_key check_users apply_overload
 * Covers: master/config.c: config_warn_of_no_auth config_replace_hosts
 * Covers: master/config.c: check_together load_text make_config config_parse
 * Covers: master/config.c: config_free config_print value_text copy_string
 * Covers: master/config.c: set_back same_value strip_quotes keep_key
 * Covers: master/config.c: keep_auth_system config_keep_restart_keys
 * Covers: master/config_keys.c
 * Covers: master/config_scan.c
 */
#include <sys/mman.h>
#include <sys/stat.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was said about one text. */
struct heard {
	unsigned errors;
	unsigned said;
};

static void
hear(void *arg, enum config_severity severity, const char *text)
{
	struct heard *h = arg;
	const char *p;

	h->errors += severity == CONFIG_ERROR;
	h->said++;
	for (p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			abort();
	/* The scan and libconfuse do not agree. */
	if (strncmp(text, "fuzz: libconfuse", 16) == 0)
		abort();
}

static char *
print(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		abort();
	config_print(c, out);
	fclose(out);
	return text;
}

/*
 * As a reload has it: what only a restart can change goes back to what runs,
 * and is then the same.
 */
static void
check_keep(const struct config *running, struct config *next)
{
	struct heard h = { 0 }, again = { 0 };

	if (!config_keep_restart_keys(next, running, hear, &h) ||
	    !config_keep_restart_keys(next, running, hear, &again) ||
	    h.errors != 0 || again.said != 0)
		abort();
}

/*
 * As a server with passed sockets has it, here those of the file: nothing but
 * warnings.
 */
static void
check_passed(struct config *c)
{
	struct config_host host[CONFIG_HOSTS_MAX];
	const size_t hosts = c->hosts;
	struct heard h = { 0 };

	memcpy(host, c->host, sizeof(host));
	config_warn_of_no_auth(c, hear, &h);
	config_replace_hosts(c, host, hosts, hear, &h);
	if (h.errors != 0 || c->hosts != hosts ||
	    memcmp(host, c->host, hosts * sizeof(host[0])) != 0)
		abort();
}

/* As root's server has it, users and groups looked up: it is the same from a
 * file as from memory. */
static void
check_users(const char *text)
{
	struct heard h = { 0 }, from_file = { 0 };
	struct config *c, *loaded, *running;
	char path[64];
	int fd;

	c = config_parse("fuzz", text, true, hear, &h);
	fd = memfd_create("conf", MFD_CLOEXEC);
	if (fd == -1 || fchmod(fd, 0600) == -1 ||
	    write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	loaded = config_load(path, true, hear, &from_file);
	if ((loaded == NULL) != (c == NULL) || h.said != from_file.said)
		abort();
	close(fd);
	config_free(loaded);
	running = config_parse("fuzz",
	    "worker_user = 7\nkeys_user = 8\nauth_user = 9\n", true, hear, &h);
	if (running == NULL)
		abort();
	if (c != NULL)
		check_keep(running, c);
	config_free(running);
	config_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct heard h = { 0 };
	struct config *c, *again;
	char *text, *first, *second;

	text = malloc(size + 1);
	if (text == NULL)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	c = config_parse("fuzz", text, false, hear, &h);
	check_users(text);
	free(text);
	if ((c == NULL) != (h.errors != 0))
		abort();
	if (c == NULL)
		return 0;
	check_passed(c);
	first = print(c);
	again = config_parse("fuzz", first, false, hear, &h);
	if (again == NULL || h.errors != 0)
		abort();
	second = print(again);
	if (strcmp(first, second) != 0)
		abort();
	free(first);
	free(second);
	config_free(c);
	config_free(again);
	return 0;
}
