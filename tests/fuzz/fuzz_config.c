/*
 * tests/fuzz/fuzz_config.c - a configuration file of any bytes.
 *
 * Runs in: the fuzzers alone.  Whatever the text is: it is either refused
 * with a message, or what config_print makes of it is read as the same; the
 * messages are printable; and libconfuse never meets what the scan before it
 * let pass by mistake.
 *
 * Covers: master/config.c
 * Covers: master/config_keys.c
 * Covers: master/config_scan.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was said about one text. */
struct heard {
	unsigned errors;
};

static void
hear(void *arg, enum config_severity severity, const char *text)
{
	struct heard *h = arg;
	const char *p;

	h->errors += severity == CONFIG_ERROR;
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
	free(text);
	if ((c == NULL) != (h.errors != 0))
		abort();
	if (c == NULL)
		return 0;
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
