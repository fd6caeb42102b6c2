/*
 * ctl/settings.c - what flexmusicctl has to know of the server's
 * configuration.
 *
 * Runs in: ctl, as the administrator.  The server is the judge of its file,
 * and says more of a mistake: here the file is read as far as it is needed,
 * with the same library and the same refusals.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <confuse.h>

#include "ctl/report.h"
#include "ctl/settings.h"
#include "privsep/message.h"

#define SETTINGS_USERS_FILE SYSCONFDIR "/flexmusic/users"
#define SETTINGS_MIN_LENGTH 8
#define SETTINGS_FILE_MAX   65536

static const char *const settings_keys[] = { "auth_file", "control_socket",
	"auth_min_password_length" };

/* The library's own message goes to nobody: ours says who has a better one. */
static void
settings_mistake(cfg_t *cfg, const char *fmt, va_list ap)
{
}

/* The whole file as a string; false with errno. */
static bool
settings_load(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n;
	bool read;

	if (f == NULL)
		return false;
	n = fread(out, 1, size - 1, f);
	read = !ferror(f);
	out[n] = '\0';
	if (read && !feof(f)) {
		errno = EFBIG;
		read = false;
	}
	fclose(f);
	return read;
}

/* Whether libconfuse would expand something: in a comment it does not. */
static bool
settings_expands(const char *text)
{
	char quote = '\0';
	const char *p;

	for (p = text; *p != '\0'; p++) {
		if (*p == '\n' || *p == quote)
			quote = '\0';
		else if (quote == '\0' && *p == '#') {
			p += strcspn(p, "\n");
			if (*p == '\0')
				return false;
		} else if (quote == '\0' && (*p == '"' || *p == '\''))
			quote = *p;
		else if (p[0] == '$' && p[1] == '{')
			return true;
	}
	return false;
}

/* A path as the server takes it. */
static bool
settings_path(const char *value)
{
	return value[0] == '/' && value[strlen(value) - 1] != '/';
}

/* A number without a leading zero, which would be another base elsewhere. */
static bool
settings_number(const char *value, unsigned *out)
{
	const char *error;

	if (value[strspn(value, "0123456789")] != '\0' || value[0] == '0')
		return false;
	*out = (unsigned)strtonum(value, 1, AUTH_PASSWORD_MAX, &error);
	return error == NULL;
}

/* The values of a configuration that was read; false where one can't be. */
static bool
settings_take(struct command_options *o, cfg_t *cfg)
{
	const char *file = cfg_getstr(cfg, settings_keys[0]);
	const char *socket = cfg_getstr(cfg, settings_keys[1]);
	const char *length = cfg_getstr(cfg, settings_keys[2]);
	unsigned n = 0;

	if ((file != NULL && !settings_path(file)) ||
	    (socket != NULL && !settings_path(socket) &&
		strcmp(socket, "none") != 0) ||
	    (length != NULL && !settings_number(length, &n)))
		return false;
	if (o->file == NULL && file != NULL)
		o->file = strdup(file);
	if (o->socket == NULL && socket != NULL)
		o->socket = strdup(socket);
	if (o->min_length == 0)
		o->min_length = n;
	return true;
}

static bool
settings_read(struct command_options *o, const char *path, bool wanted)
{
	static char text[SETTINGS_FILE_MAX + 2];
	cfg_opt_t options[] = {
		CFG_STR(settings_keys[0], NULL, CFGF_NODEFAULT),
		CFG_STR(settings_keys[1], NULL, CFGF_NODEFAULT),
		CFG_STR(settings_keys[2], NULL, CFGF_NODEFAULT),
		CFG_END(),
	};
	cfg_t *cfg;
	bool good;

	if (!settings_load(path, text, sizeof(text))) {
		if (!wanted && (errno == ENOENT || errno == EACCES))
			return true;
		return report_error(NULL, "%s: %s", path, strerror(errno));
	}
	cfg = cfg_init(options, CFGF_IGNORE_UNKNOWN);
	if (cfg == NULL)
		return report_error(NULL, "%s: no memory", path);
	cfg_set_error_function(cfg, settings_mistake);
	/* The server refuses what would be expanded. */
	good = !settings_expands(text) &&
	    cfg_parse_buf(cfg, text) == CFG_SUCCESS && settings_take(o, cfg);
	cfg_free(cfg);
	return good ||
	    report_error("`flexmusicd -n' says which; --file, --socket and "
			 "--min-length together do without it",
		"%s has a mistake: nothing is done", path);
}

bool
settings_fill(struct command_options *o, const char *path, bool wanted)
{
	if (path != NULL && !settings_read(o, path, wanted))
		return false;
	if (o->file == NULL)
		o->file = SETTINGS_USERS_FILE;
	if (o->socket == NULL)
		o->socket = CONTROL_SOCKET;
	if (o->min_length == 0)
		o->min_length = SETTINGS_MIN_LENGTH;
	return true;
}
