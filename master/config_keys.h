/*
 * master/config_keys.h - the rules of each key: default, check, printed form.
 *
 * Runs in: master, as root.  Reads the user database; never sees a byte of a
 * client.
 */
#ifndef MASTER_CONFIG_KEYS_H
#define MASTER_CONFIG_KEYS_H

#include "master/config.h"
#include "master/config_scan.h"

/* A configuration in the making. */
struct config_loader {
	struct config_reader reader;
	struct config *config;
	bool need_users;
};

/* A value that is to be checked and set. */
struct config_value {
	enum config_key key;
	const struct config_rule *rule;
	const char *text;
	unsigned line; /* 0: the default */
};

/* What struct config has at a key's offset. */
enum config_kind {
	CONFIG_KIND_OTHER,
	CONFIG_KIND_BOOL,
	CONFIG_KIND_NUMBER,
	CONFIG_KIND_TEXT,
	CONFIG_KIND_USER
};

/* What is known of a key beside its name. */
struct config_rule {
	/* As it would stand in the file; NULL for a list. */
	const char *fallback;
	/* Checks the value and sets it, or reports an error. */
	void (*set)(struct config_loader *l, const struct config_value *v);
	/* Prints the value as it would stand in the file. */
	void (*print)(
	    const struct config *c, const struct config_rule *k, FILE *out);
	enum config_kind kind;
	size_t offset; /* in struct config; not for CONFIG_KIND_OTHER */
	unsigned min; /* of numbers */
	unsigned max;
};

extern const struct config_rule config_rules[CONFIG_KEY_COUNT];

/* Gives every address its port and its text, when all keys are set. */
void config_finish_hosts(struct config *c);
/* Writes an address's text. */
void config_host_write(struct config_host *h);
/* True for an address that this machine alone can reach. */
bool config_host_is_loopback(const struct config_host *h);

/* Yes or no, in its several forms. */
bool config_parse_bool(const char *text, bool *out);

/* A copy for the configuration; without memory, NULL and an error. */
char *config_copy_text(struct config_loader *l, const char *text);

#endif
