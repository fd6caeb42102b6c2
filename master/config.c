/*
 * master/config.c - the configuration: flexmusicd.conf(5), or a FlexMusic
 * server.conf, read through libconfuse into one checked struct.
 *
 * Runs in: master, as root.  Reads one file; never sees a byte of a client.
 */
#include <sys/stat.h>

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/config_keys.h"

/* Only loopback: a server that anyone can reach must be somebody's
 * decision. */
static const char *const default_hosts[] = { "127.0.0.1", "::1" };
#define DEFAULT_HOSTS (sizeof default_hosts / sizeof default_hosts[0])

static const char *const default_exempt[] = { "127.0.0.0/8", "::1" };
#define DEFAULT_EXEMPT (sizeof default_exempt / sizeof default_exempt[0])

/* What FlexMusic's runtime_overload_mitigation stands for. */
#define OVERLOAD_RATE  10
#define OVERLOAD_BURST 20

static const enum config_change changes[CONFIG_KEY_COUNT] = {
#define X(key, name, change) [key] = change,
	CONFIG_KEYS(X)
#undef X
};

/* What config_scan leaves is right for libconfuse: it has nothing to say. */
static void __attribute__((format(printf, 2, 0)))
ignore_confuse(cfg_t *cfg, const char *fmt, va_list ap)
{
}

/*
 * The values of the text, all as strings: numbers are read by our own rules.
 */
static cfg_t *
read_values(struct config_loader *l, const char *text)
{
	cfg_opt_t options[CONFIG_KEY_COUNT + 1] = { 0 };
	cfg_t *cfg;
	size_t i;

	for (i = 0; i < CONFIG_KEY_COUNT; i++) {
		const cfg_opt_t one =
		    CFG_STR(config_key_name(i), NULL, CFGF_NODEFAULT);
		const cfg_opt_t list =
		    CFG_STR_LIST(config_key_name(i), NULL, CFGF_NODEFAULT);

		options[i] = config_list_max(i) != 0 ? list : one;
	}
	cfg = cfg_init(options, CFGF_NONE);
	if (cfg == NULL) {
		config_file_error(&l->reader, "%s", strerror(errno));
		return NULL;
	}
	cfg_set_error_function(cfg, ignore_confuse);
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS) {
		config_file_error(
		    &l->reader, "libconfuse cannot read this file");
		cfg_free(cfg);
		return NULL;
	}
	return cfg;
}

static void
set_values(struct config_loader *l, struct config_value *v,
    const char *const *values, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		v->text = values[i];
		v->rule->set(l, v);
	}
}

static void
set_default(struct config_loader *l, struct config_value *v)
{
	v->line = 0;
	if (v->key == CONFIG_HOST)
		set_values(l, v, default_hosts, DEFAULT_HOSTS);
	else if (v->key == CONFIG_PENALTY_EXEMPT)
		set_values(l, v, default_exempt, DEFAULT_EXEMPT);
	else
		set_values(l, v, &v->rule->fallback, 1);
}

static void
set_key(struct config_loader *l, cfg_t *cfg, enum config_key id)
{
	const struct config_reader *r = &l->reader;
	struct config_value v = { .key = id, .rule = &config_rules[id] };
	const size_t max = config_list_max(id);
	unsigned i, count;

	if (r->skip[id])
		return;
	if (r->line[id] == 0) {
		set_default(l, &v);
		return;
	}
	count = cfg_size(cfg, config_key_name(id));
	if ((count == 0 && id != CONFIG_PENALTY_EXEMPT) ||
	    count > (max != 0 ? max : 1))
		config_file_error(
		    &l->reader, "libconfuse lost %s", config_key_name(id));
	else
		for (i = 0; i < count; i++) {
			v.line = max != 0 ? r->value_line[id][i] : r->line[id];
			v.text = cfg_getnstr(cfg, config_key_name(id), i);
			v.rule->set(l, &v);
		}
}

/* An error where two roles would have one user. */
static void
check_users(struct config_loader *l, enum config_key key,
    const struct config_user *u, enum config_key other_key,
    const struct config_user *other, const char *why)
{
	struct config_place at = { .key = config_key_name(key) };

	if (!l->need_users || u->name == NULL || other->name == NULL ||
	    u->uid != other->uid)
		return;
	at.line = l->reader.line[key];
	at.value = u->name;
	at.value_len = strlen(u->name);
	config_message(&l->reader, CONFIG_ERROR, &at,
	    "must not be the user of %s: %s", config_key_name(other_key), why);
}

/* FlexMusic's key for the rate of connections. */
static void
apply_overload(struct config_loader *l)
{
	struct config_reader *r = &l->reader;
	const struct config_place at = { r->overload_line, CONFIG_OVERLOAD,
		r->overload, strlen(r->overload) };
	const bool rate = r->line[CONFIG_ACCEPT_RATE] == 0;
	const bool burst = r->line[CONFIG_ACCEPT_BURST] == 0;
	bool on;

	if (r->overload_line == 0)
		return;
	if (!config_parse_bool(r->overload, &on)) {
		config_message(r, CONFIG_ERROR, &at, "must be yes or no");
		return;
	}
	if (!on) {
		config_message(r, CONFIG_WARNING, &at,
		    "has no meaning for this server and is ignored");
		return;
	}
	if (rate)
		l->config->limits.rate = OVERLOAD_RATE;
	if (burst)
		l->config->limits.burst = OVERLOAD_BURST;
	config_message(r, CONFIG_WARNING, &at,
	    "stands for accept_rate = %d and accept_burst = %d%s",
	    OVERLOAD_RATE, OVERLOAD_BURST,
	    rate && burst ? "" : ", but where this file sets them itself");
}

/* Rules for two keys together. */
static void
check_together(struct config_loader *l)
{
	const struct config *c = l->config;
	struct config_place at = { 0 };
	char size[16];

	if (c->key_size == 1024 && !c->allow_weak_key_size) {
		snprintf(size, sizeof size, "%u", c->key_size);
		at.line = l->reader.line[CONFIG_KEY_SIZE];
		at.key = config_key_name(CONFIG_KEY_SIZE);
		at.value = size;
		at.value_len = strlen(size);
		config_message(&l->reader, CONFIG_ERROR, &at,
		    "must be one of 2048, 3072, 4096, 6144, 8192; 1024 can be "
		    "broken, and needs allow_weak_key_size = yes");
	}
	check_users(l, CONFIG_KEYS_USER, &c->keys_user, CONFIG_WORKER_USER,
	    &c->worker_user, "a worker could reach into the key holder");
	check_users(l, CONFIG_AUTH_USER, &c->auth_user, CONFIG_WORKER_USER,
	    &c->worker_user, "a worker could reach into auth");
	check_users(l, CONFIG_AUTH_USER, &c->auth_user, CONFIG_KEYS_USER,
	    &c->keys_user, "auth could reach into the key holder");
	apply_overload(l);
	if (c->auth_method == CONFIG_AUTH_SYSTEM && !l->need_users) {
		at.line = l->reader.line[CONFIG_AUTH_METHOD];
		at.key = config_key_name(CONFIG_AUTH_METHOD);
		at.value = "system";
		at.value_len = strlen(at.value);
		config_message(&l->reader, CONFIG_ERROR, &at,
		    "needs a server that is started as root");
	}
}

/* Fills the configuration from the text; errors are counted. */
static void
load_text(struct config_loader *l, char *text, size_t len)
{
	const char *nul = memchr(text, '\0', len);
	struct config_place at = { .line = 1 };
	cfg_t *cfg;
	size_t i;

	if (nul != NULL) {
		for (i = 0; text + i < nul; i++)
			at.line += text[i] == '\n';
		config_message(&l->reader, CONFIG_ERROR, &at,
		    "a NUL byte: the file must be text in ASCII or UTF-8");
		return;
	}
	if (!config_scan(&l->reader, text, len))
		return;
	cfg = read_values(l, text);
	if (cfg == NULL)
		return;
	for (i = 0; i < CONFIG_KEY_COUNT; i++)
		set_key(l, cfg, i);
	cfg_free(cfg);
	config_finish_hosts(l->config);
	check_together(l);
	memcpy(l->config->line, l->reader.line, sizeof l->config->line);
}

/* Makes a configuration of the `len` bytes at `text`; text[len] is NUL. */
static struct config *
make_config(struct config_loader *l, char *text, size_t len)
{
	l->config = calloc(1, sizeof *l->config);
	if (l->config == NULL) {
		config_file_error(&l->reader, "%s", strerror(errno));
		return NULL;
	}
	l->config->path = config_copy_text(l, l->reader.file);
	load_text(l, text, len);
	if (l->reader.errors == 0)
		return l->config;
	config_free(l->config);
	return NULL;
}

/* The descriptor's bytes with a NUL behind them, to be freed; or NULL. */
static char *
read_all(struct config_reader *r, int fd, size_t *len)
{
	char *text;
	ssize_t n;

	text = malloc(CONFIG_FILE_MAX + 2);
	if (text == NULL) {
		config_file_error(r, "%s", strerror(errno));
		return NULL;
	}
	*len = 0;
	do {
		n = read(fd, text + *len, CONFIG_FILE_MAX + 1 - *len);
		if (n > 0)
			*len += (size_t)n;
	} while (n > 0 || (n == -1 && errno == EINTR));
	if (n == -1)
		config_file_error(r, "cannot read it: %s", strerror(errno));
	else if (*len > CONFIG_FILE_MAX)
		config_file_error(
		    r, "must be at most %d bytes", CONFIG_FILE_MAX);
	else {
		text[*len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

/* Opens the file: a link is followed, but its end must be a regular file. */
static int
open_file(struct config_reader *r, const char *path)
{
	const struct config_place at = { 0 };
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		if (errno == EACCES && geteuid() == 0)
			config_file_error(r,
			    "root without CAP_DAC_OVERRIDE cannot read %s: "
			    "chown it to root",
			    path);
		else
			config_file_error(
			    r, "cannot open it: %s", strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == -1)
		config_file_error(r, "%s", strerror(errno));
	else if (S_ISDIR(st.st_mode))
		config_file_error(r, "is a directory; a file is needed");
	else if (!S_ISREG(st.st_mode))
		config_file_error(r, "is not a regular file");
	else {
		if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
			config_message(r, CONFIG_WARNING, &at,
			    "others than its owner can write it: chmod go-w");
		return fd;
	}
	close(fd);
	return -1;
}

struct config *
config_load(const char *path, bool need_users, config_report *report, void *arg)
{
	struct config_loader l = {
		.reader = { .file = path, .report = report, .arg = arg },
		.need_users = need_users
	};
	struct config *c = NULL;
	size_t len;
	char *text;
	int fd;

	fd = open_file(&l.reader, path);
	if (fd == -1)
		return NULL;
	text = read_all(&l.reader, fd, &len);
	close(fd);
	if (text != NULL)
		c = make_config(&l, text, len);
	free(text);
	return c;
}

struct config *
config_parse(const char *name, const char *text, bool need_users,
    config_report *report, void *arg)
{
	struct config_loader l = {
		.reader = { .file = name, .report = report, .arg = arg },
		.need_users = need_users
	};
	struct config *c;
	char *copy;

	copy = config_copy_text(&l, text);
	if (copy == NULL)
		return NULL;
	c = make_config(&l, copy, strlen(copy));
	free(copy);
	return c;
}

void
config_free(struct config *c)
{
	if (c == NULL)
		return;
	free(c->path);
	free(c->auth_file);
	free(c->state_dir);
	free(c->identity_file);
	free(c->chroot_dir);
	free(c->worker_user.name);
	free(c->keys_user.name);
	free(c->auth_user.name);
	free(c->syslog_socket);
	free(c->pid_file);
	free(c->control_socket);
	free(c->control_group);
	free(c);
}

void
config_print(const struct config *c, FILE *out)
{
	size_t i;

	for (i = 0; i < CONFIG_KEY_COUNT; i++) {
		fprintf(out, "%s = ", config_key_name(i));
		config_rules[i].print(c, &config_rules[i], out);
		putc('\n', out);
	}
}

/* A key's value as config_print has it, to be freed; NULL without memory. */
static char *
value_text(const struct config *c, enum config_key key)
{
	char *text = NULL;
	size_t len;
	FILE *out;

	out = open_memstream(&text, &len);
	if (out == NULL)
		return NULL;
	config_rules[key].print(c, &config_rules[key], out);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static bool
copy_string(char **to, const char *from)
{
	char *copy = NULL;

	if (from != NULL && (copy = strdup(from)) == NULL)
		return false;
	free(*to);
	*to = copy;
	return true;
}

/* Sets the key back to its running value. */
static bool
set_back(struct config *next, const struct config *running,
    const struct config_rule *k)
{
	char *to = (char *)next + k->offset;
	const char *from = (const char *)running + k->offset;
	const struct config_user *old;
	struct config_user *new;

	switch (k->kind) {
	case CONFIG_KIND_NUMBER:
		memcpy(to, from, sizeof(unsigned));
		return true;
	case CONFIG_KIND_TEXT:
		return copy_string((char **)to, *(char *const *)from);
	case CONFIG_KIND_USER:
		new = (struct config_user *)to;
		old = (const struct config_user *)from;
		new->uid = old->uid;
		new->gid = old->gid;
		return copy_string(&new->name, old->name);
	case CONFIG_KIND_BOOL:
	case CONFIG_KIND_OTHER:
		break;
	}
	return false;
}

static bool
same_value(const struct config *a, const struct config *b,
    const struct config_rule *k, const char *text_a, const char *text_b)
{
	const struct config_user *user_a, *user_b;

	if (k->kind == CONFIG_KIND_USER) {
		user_a =
		    (const struct config_user *)((const char *)a + k->offset);
		user_b =
		    (const struct config_user *)((const char *)b + k->offset);
		if (user_a->uid != user_b->uid || user_a->gid != user_b->gid)
			return false;
	}
	return strcmp(text_a, text_b) == 0;
}

/* A message stands in quotes in the log: none inside. */
static void
strip_quotes(char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	if (len < 2 || text[0] != '"' || text[len - 1] != '"')
		return;
	memmove(text, text + 1, len - 2);
	text[len - 2] = '\0';
}

static bool
keep_key(struct config_reader *r, struct config *next,
    const struct config *running, enum config_key key)
{
	struct config_place at = { .line = next->line[key],
		.key = config_key_name(key) };
	char *new = value_text(next, key), *old = value_text(running, key);
	bool ok = new != NULL &&old != NULL;

	strip_quotes(new);
	strip_quotes(old);
	if (ok && !same_value(next, running, &config_rules[key], new, old)) {
		at.value = new;
		at.value_len = strlen(new);
		config_message(r, CONFIG_WARNING, &at,
		    "only a restart can change this: it stays %s", old);
		ok = set_back(next, running, &config_rules[key]);
	}
	free(new);
	free(old);
	return ok;
}

/* auth and none may change to each other, but what system needs (a program,
 * a capability) there is from the start or never. */
static void
keep_auth_system(
    struct config_reader *r, struct config *next, const struct config *running)
{
	const char *new = config_auth_name(next->auth_method);
	const struct config_place at = { next->line[CONFIG_AUTH_METHOD],
		config_key_name(CONFIG_AUTH_METHOD), new, strlen(new) };

	if ((next->auth_method == CONFIG_AUTH_SYSTEM) ==
	    (running->auth_method == CONFIG_AUTH_SYSTEM))
		return;
	config_message(r, CONFIG_WARNING, &at,
	    "only a restart can change this: it stays %s",
	    config_auth_name(running->auth_method));
	next->auth_method = running->auth_method;
}

bool
config_keep_restart_keys(struct config *next, const struct config *running,
    config_report *report, void *arg)
{
	struct config_reader r = {
		.file = next->path, .report = report, .arg = arg
	};
	bool ok = true;
	size_t i;

	for (i = 0; i < CONFIG_KEY_COUNT; i++)
		if (changes[i] == CONFIG_RESTART &&
		    !keep_key(&r, next, running, i))
			ok = false;
	keep_auth_system(&r, next, running);
	return ok;
}

void
config_replace_hosts(struct config *c, const struct config_host *host,
    size_t hosts, config_report *report, void *arg)
{
	static const enum config_key keys[] = { CONFIG_HOST, CONFIG_PORT };
	struct config_reader r = {
		.file = c->path, .report = report, .arg = arg
	};
	struct config_place at = { 0 };
	char *value;
	size_t i;

	for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (c->line[keys[i]] == 0)
			continue;
		value = value_text(c, keys[i]);
		at.line = c->line[keys[i]];
		at.key = config_key_name(keys[i]);
		at.value = value;
		at.value_len = value == NULL ? 0 : strlen(value);
		config_message(&r, CONFIG_WARNING, &at,
		    "is not used: the service manager passes the sockets");
		free(value);
	}
	memcpy(c->host, host, hosts * sizeof *host);
	c->hosts = hosts;
}

void
config_warn_of_no_auth(const struct config *c, config_report *report, void *arg)
{
	struct config_reader r = {
		.file = c->path, .report = report, .arg = arg
	};
	const struct config_place at = { c->line[CONFIG_AUTH_METHOD],
		config_key_name(CONFIG_AUTH_METHOD), "none", strlen("none") };
	char list[CONFIG_HOSTS_MAX * sizeof c->host[0].text] = "";
	size_t i;

	if (c->auth_method != CONFIG_AUTH_NONE)
		return;
	for (i = 0; i < c->hosts; i++) {
		if (config_host_is_loopback(&c->host[i]))
			continue;
		if (list[0] != '\0')
			strlcat(list, ", ", sizeof list);
		strlcat(list, c->host[i].text, sizeof list);
	}
	if (list[0] != '\0')
		config_message(&r, CONFIG_WARNING, &at,
		    "nobody is authenticated on %s", list);
}
