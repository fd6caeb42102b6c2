/*
 * master/config_keys.c - the rules of each key: default, check, printed form.
 *
 * Runs in: master, as root.  Reads the user database; never sees a byte of a
 * client.
 */
#include <sys/un.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <net/if.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "fmltp/dhkey.h"
#include "fmltp/text.h"
#include "master/config_keys.h"
#include "privsep/message.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif
#define NO_ID ((uid_t)-1) /* a user that was not asked for */

static const struct {
	const char *name;
	int facility;
} facilities[] = { { "auth", LOG_AUTH }, { "authpriv", LOG_AUTHPRIV },
	{ "cron", LOG_CRON }, { "daemon", LOG_DAEMON }, { "ftp", LOG_FTP },
	{ "lpr", LOG_LPR }, { "mail", LOG_MAIL }, { "news", LOG_NEWS },
	{ "syslog", LOG_SYSLOG }, { "user", LOG_USER }, { "uucp", LOG_UUCP },
	{ "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },
	{ "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },
	{ "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 },
	{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 } };
#define FACILITIES (sizeof facilities / sizeof facilities[0])

static void __attribute__((format(printf, 3, 4))) value_error(
    struct config_loader *l, const struct config_value *v, const char *fmt, ...)
{
	const struct config_place at = { v->line, config_key_name(v->key),
		v->text, strlen(v->text) };
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	config_message(&l->reader, CONFIG_ERROR, &at, "%s", text);
}

char *
config_copy_text(struct config_loader *l, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		config_file_error(&l->reader, "%s", strerror(errno));
	return copy;
}

/*
 * Reads a decimal number: digits alone, no leading zero, which other readers
 * of such files take for octal.
 */
static bool
parse_number(const char *text, unsigned min, unsigned max, unsigned *out)
{
	const char *error;
	long long n;

	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' ||
	    (text[0] == '0' && text[1] != '\0'))
		return false;
	n = strtonum(text, min, max, &error);
	if (error != NULL)
		return false;
	*out = (unsigned)n;
	return true;
}

static bool
check_number(
    struct config_loader *l, const struct config_value *v, unsigned *out)
{
	if (parse_number(v->text, v->rule->min, v->rule->max, out))
		return true;
	value_error(l, v,
	    "must be a number from %u to %u in plain decimal (no sign, no "
	    "leading zero)",
	    v->rule->min, v->rule->max);
	return false;
}

static void
set_number(struct config_loader *l, const struct config_value *v)
{
	unsigned n;

	if (check_number(l, v, &n))
		memcpy((char *)l->config + v->rule->offset, &n, sizeof n);
}

static void
print_number(const struct config *c, const struct config_rule *k, FILE *out)
{
	unsigned n;

	memcpy(&n, (const char *)c + k->offset, sizeof n);
	fprintf(out, "%u", n);
}

/* Seconds in the file, milliseconds in the configuration. */
static void
set_seconds(struct config_loader *l, const struct config_value *v)
{
	unsigned n;

	if (!check_number(l, v, &n))
		return;
	n *= 1000;
	memcpy((char *)l->config + v->rule->offset, &n, sizeof n);
}

static void
print_seconds(const struct config *c, const struct config_rule *k, FILE *out)
{
	unsigned n;

	memcpy(&n, (const char *)c + k->offset, sizeof n);
	fprintf(out, "%u", n / 1000);
}

/* A text in double quotes, as the file has it. */
static void
print_quoted(const char *text, FILE *out)
{
	putc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('"', out);
}

static void
print_text(const struct config *c, const struct config_rule *k, FILE *out)
{
	char *text;

	memcpy(&text, (const char *)c + k->offset, sizeof text);
	print_quoted(text == NULL ? "none" : text, out);
}

static void
set_port(struct config_loader *l, const struct config_value *v)
{
	unsigned n;

	if (check_number(l, v, &n))
		l->config->port = (uint16_t)n;
}

static void
print_port(const struct config *c, const struct config_rule *k, FILE *out)
{
	fprintf(out, "%u", c->port);
}

/* The number or the name of an interface behind a %. */
static bool
parse_scope(const char *text, uint32_t *scope)
{
	if (text[0] >= '0' && text[0] <= '9')
		return parse_number(text, 1, INT_MAX, scope);
	*scope = if_nametoindex(text);
	return *scope != 0;
}

static bool
parse_address6(const char *text, struct sockaddr_in6 *sin6)
{
	char address[INET6_ADDRSTRLEN];
	const char *scope = strchr(text, '%');
	size_t len = scope != NULL ? (size_t)(scope - text) : strlen(text);

	if (len >= sizeof address)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	sin6->sin6_family = AF_INET6;
	return inet_pton(AF_INET6, address, &sin6->sin6_addr) == 1 &&
	    (scope == NULL || parse_scope(scope + 1, &sin6->sin6_scope_id));
}

/* Why an address can't be listened on, or NULL. */
static const char *
address_fault4(const struct in_addr *a)
{
	const uint32_t n = ntohl(a->s_addr);

	if (IN_MULTICAST(n) || n == INADDR_BROADCAST)
		return "is a multicast or broadcast address";
	return NULL;
}

static const char *
address_fault6(const struct sockaddr_in6 *a)
{
	if (IN6_IS_ADDR_MULTICAST(&a->sin6_addr))
		return "is a multicast address";
	if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr))
		return "is an IPv4 address in IPv6 form: write it as 192.0.2.1";
	if (IN6_IS_ADDR_LINKLOCAL(&a->sin6_addr) && a->sin6_scope_id == 0)
		return "needs its interface behind a %, as in fe80::1%eth0";
	return NULL;
}

/* The port is added when the whole file is read. */
static void
set_host(struct config_loader *l, const struct config_value *v)
{
	struct config *c = l->config;
	struct config_host *h = &c->host[c->hosts];
	struct sockaddr_in *sin = (struct sockaddr_in *)&h->address;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&h->address;
	const char *fault;
	size_t i;

	memset(h, 0, sizeof *h);
	if (strchr(v->text, ':') == NULL &&
	    inet_pton(AF_INET, v->text, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		h->len = sizeof *sin;
		fault = address_fault4(&sin->sin_addr);
	} else if (parse_address6(v->text, sin6)) {
		h->len = sizeof *sin6;
		fault = address_fault6(sin6);
	} else {
		value_error(l, v,
		    "must be a numeric address, such as 127.0.0.1, ::1, "
		    "0.0.0.0 or fe80::1%%eth0, or a list of such: { \"...\", "
		    "\"...\" }");
		return;
	}
	if (fault != NULL) {
		value_error(l, v, "%s", fault);
		return;
	}
	for (i = 0; i < c->hosts; i++)
		if (c->host[i].len == h->len &&
		    memcmp(&c->host[i].address, &h->address, h->len) == 0) {
			value_error(l, v, "stands in the list already");
			return;
		}
	c->hosts++;
}

void
config_host_write(struct config_host *h)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&h->address;
	const struct sockaddr_in6 *sin6 =
	    (const struct sockaddr_in6 *)&h->address;
	char address[INET6_ADDRSTRLEN], scope[IF_NAMESIZE + 1] = "";

	if (h->address.ss_family == AF_INET) {
		inet_ntop(AF_INET, &sin->sin_addr, address, sizeof address);
		snprintf(h->text, sizeof h->text, "%s:%u", address,
		    ntohs(sin->sin_port));
		return;
	}
	inet_ntop(AF_INET6, &sin6->sin6_addr, address, sizeof address);
	if (sin6->sin6_scope_id != 0)
		snprintf(scope, sizeof scope, "%%%u", sin6->sin6_scope_id);
	snprintf(h->text, sizeof h->text, "[%s%s]:%u", address, scope,
	    ntohs(sin6->sin6_port));
}

/* The port to every address, and how it is written. */
void
config_finish_hosts(struct config *c)
{
	struct config_host *h;

	for (h = c->host; h < c->host + c->hosts; h++) {
		if (h->address.ss_family == AF_INET)
			((struct sockaddr_in *)&h->address)->sin_port =
			    htons(c->port);
		else
			((struct sockaddr_in6 *)&h->address)->sin6_port =
			    htons(c->port);
		config_host_write(h);
	}
}

bool
config_host_is_loopback(const struct config_host *h)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&h->address;
	const struct sockaddr_in6 *sin6 =
	    (const struct sockaddr_in6 *)&h->address;

	if (h->address.ss_family == AF_INET)
		return ntohl(sin->sin_addr.s_addr) >> IN_CLASSA_NSHIFT ==
		    IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr);
}

/* An address as config_host_write wrote it, without port and brackets. */
static void
print_host(const struct config_host *h, FILE *out)
{
	const char *begin = h->text, *end = strrchr(h->text, ':');

	if (*begin == '[') {
		begin++;
		end--;
	}
	fprintf(out, "\"%.*s\"", (int)(end - begin), begin);
}

static void
print_hosts(const struct config *c, const struct config_rule *k, FILE *out)
{
	size_t i;

	fputs("{ ", out);
	for (i = 0; i < c->hosts; i++) {
		if (i != 0)
			fputs(", ", out);
		print_host(&c->host[i], out);
	}
	fputs(" }", out);
}

static void
set_exempt(struct config_loader *l, const struct config_value *v)
{
	struct source_limits *limits = &l->config->limits;
	struct source_network *net = &limits->exempt[limits->exempts];
	size_t i;

	if (!source_parse_network(v->text, net)) {
		value_error(l, v,
		    "must be a numeric address, or a network without bits "
		    "beyond its prefix, such as 127.0.0.0/8, ::1 or "
		    "2001:db8::/32, or a list of such: { \"...\", \"...\" }");
		return;
	}
	for (i = 0; i < limits->exempts; i++)
		if (limits->exempt[i].bits == net->bits &&
		    memcmp(limits->exempt[i].address, net->address,
			sizeof net->address) == 0) {
			value_error(l, v, "stands in the list already");
			return;
		}
	limits->exempts++;
}

static void
print_exempt(const struct config *c, const struct config_rule *k, FILE *out)
{
	char text[SOURCE_TEXT_MAX];
	size_t i;

	putc('{', out);
	for (i = 0; i < c->limits.exempts; i++)
		fprintf(out, "%s \"%s\"", i == 0 ? "" : ",",
		    source_network_text(
			&c->limits.exempt[i], text, sizeof text));
	fputs(" }", out);
}

static void
set_key_size(struct config_loader *l, const struct config_value *v)
{
	unsigned n;

	if (parse_number(v->text, 1, UINT_MAX, &n) && dh_bits_valid(n))
		l->config->key_size = n;
	else
		value_error(l, v,
		    "must be one of 2048, 3072, 4096, 6144, 8192 (or 1024 with "
		    "allow_weak_key_size = yes)");
}

bool
config_parse_bool(const char *text, bool *out)
{
	*out = strcasecmp(text, "yes") == 0 || strcasecmp(text, "on") == 0 ||
	    strcasecmp(text, "true") == 0;
	return *out || strcasecmp(text, "no") == 0 ||
	    strcasecmp(text, "off") == 0 || strcasecmp(text, "false") == 0;
}

static void
set_bool(struct config_loader *l, const struct config_value *v)
{
	bool on;

	if (!config_parse_bool(v->text, &on))
		value_error(l, v, "must be yes or no");
	memcpy((char *)l->config + v->rule->offset, &on, sizeof on);
}

static void
print_bool(const struct config *c, const struct config_rule *k, FILE *out)
{
	bool on;

	memcpy(&on, (const char *)c + k->offset, sizeof on);
	fputs(on ? "yes" : "no", out);
}

static void
set_auth_method(struct config_loader *l, const struct config_value *v)
{
	l->config->auth_method = CONFIG_AUTH_AUTH;
	if (strcmp(v->text, "none") == 0)
		l->config->auth_method = CONFIG_AUTH_NONE;
	else if (strcmp(v->text, "system") == 0)
		l->config->auth_method = CONFIG_AUTH_SYSTEM;
	else if (strcmp(v->text, "auth") != 0)
		value_error(l, v, "must be auth, system or none");
}

const char *
config_auth_name(enum config_auth method)
{
	static const char *const name[] = {
		[CONFIG_AUTH_AUTH] = "auth",
		[CONFIG_AUTH_SYSTEM] = "system",
		[CONFIG_AUTH_NONE] = "none",
	};

	return name[method];
}

static void
print_auth_method(
    const struct config *c, const struct config_rule *k, FILE *out)
{
	fputs(config_auth_name(c->auth_method), out);
}

static void
set_friendly_name(struct config_loader *l, const struct config_value *v)
{
	const size_t len = strlen(v->text);

	if (strncmp(v->text, VERSION_PREFIX, strlen(VERSION_PREFIX)) != 0)
		value_error(l, v,
		    "must begin with %s: clients refuse a server "
		    "whose name does not",
		    VERSION_PREFIX);
	else if (len > VERSION_NAME_MAX)
		value_error(l, v, "must be at most %d bytes", VERSION_NAME_MAX);
	else if (memchr(v->text, ',', len) != NULL ||
	    !text_is_printable((const uint8_t *)v->text, len))
		value_error(l, v,
		    "must be printable text in UTF-8 without a "
		    "comma");
	else
		strlcpy(l->config->banner.name, v->text,
		    sizeof l->config->banner.name);
}

static void
print_friendly_name(
    const struct config *c, const struct config_rule *k, FILE *out)
{
	print_quoted(c->banner.name, out);
}

static void
set_compatibility(struct config_loader *l, const struct config_value *v)
{
	if (!version_parse_signature((const uint8_t *)v->text, strlen(v->text),
		&l->config->banner.signature))
		value_error(l, v,
		    "must be three numbers from 0 to 65535, such "
		    "as \"0.0.0\"");
}

static void
print_compatibility(
    const struct config *c, const struct config_rule *k, FILE *out)
{
	fprintf(out, "\"%u.%u.%u\"", c->banner.signature.class,
	    c->banner.signature.stepping, c->banner.signature.substepping);
}

/* An absolute path of at most `max` bytes. */
static void
set_path_max(struct config_loader *l, const struct config_value *v, size_t max)
{
	const size_t len = strlen(v->text);
	char *path;

	if (v->text[0] != '/') {
		value_error(l, v, "must be an absolute path: it begins with /");
		return;
	}
	if (len > max) {
		value_error(l, v, "must be at most %zu bytes", max);
		return;
	}
	if (!text_is_printable((const uint8_t *)v->text, len)) {
		value_error(l, v, "must be printable text");
		return;
	}
	path = config_copy_text(l, v->text);
	memcpy((char *)l->config + v->rule->offset, &path, sizeof path);
}

static void
set_path(struct config_loader *l, const struct config_value *v)
{
	set_path_max(l, v, PATH_MAX - 1);
}

static void
set_directory(struct config_loader *l, const struct config_value *v)
{
	if (v->text[0] == '/' && v->text[strspn(v->text, "/")] == '\0')
		value_error(l, v, "must be a directory of its own below /");
	else
		set_path(l, v);
}

static void
set_socket(struct config_loader *l, const struct config_value *v)
{
	set_path_max(l, v, sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
}

static void
set_path_or_none(struct config_loader *l, const struct config_value *v)
{
	if (strcmp(v->text, "none") != 0)
		set_path(l, v);
}

static void
set_control_socket(struct config_loader *l, const struct config_value *v)
{
	if (strcmp(v->text, "none") != 0)
		set_socket(l, v);
}

static void
set_facility(struct config_loader *l, const struct config_value *v)
{
	size_t i;

	for (i = 0; i < FACILITIES; i++)
		if (strcmp(v->text, facilities[i].name) == 0) {
			l->config->syslog_facility = facilities[i].facility;
			return;
		}
	value_error(l, v,
	    "must be one of auth, authpriv, cron, daemon, ftp, lpr, mail, "
	    "news, syslog, user, uucp, local0 to local7");
}

static void
print_facility(const struct config *c, const struct config_rule *k, FILE *out)
{
	size_t i;

	for (i = 0; i < FACILITIES; i++)
		if (facilities[i].facility == c->syslog_facility)
			fputs(facilities[i].name, out);
}

/* A name that useradd(8) would take, or a number. */
static bool
id_is_well_formed(const char *text)
{
	unsigned n;

	if (text[0] >= '0' && text[0] <= '9')
		return parse_number(text, 0, UINT_MAX - 1, &n);
	return strlen(text) <= 32 && text[0] != '\0' && text[0] != '-' &&
	    text[0] != '.' &&
	    text[strspn(text,
		"abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

static bool
names_root(const char *text)
{
	return strcmp(text, "root") == 0 || strcmp(text, "0") == 0;
}

static bool
lookup_user(struct config_loader *l, const struct config_value *v,
    const char *name, struct config_user *u)
{
	const struct passwd *pw;
	unsigned n;

	if (parse_number(name, 0, UINT_MAX - 1, &n)) {
		u->uid = n;
		u->gid = n;
		return true;
	}
	errno = 0;
	pw = getpwnam(name);
	if (pw != NULL) {
		u->uid = pw->pw_uid;
		u->gid = pw->pw_gid;
		return true;
	}
	/* getpwnam(3): these too can mean that there is no such user. */
	if (errno == 0 || errno == ENOENT || errno == ESRCH || errno == EBADF ||
	    errno == EPERM)
		value_error(l, v,
		    "there is no user %s: make it with `useradd --system "
		    "--user-group --no-create-home --shell /usr/sbin/nologin "
		    "%s', or give the number of an unused one",
		    name, name);
	else
		value_error(
		    l, v, "cannot look up the user: %s", strerror(errno));
	return false;
}

static bool
lookup_group(struct config_loader *l, const struct config_value *v,
    const char *name, struct config_user *u)
{
	const struct group *gr;
	unsigned n;

	if (parse_number(name, 0, UINT_MAX - 1, &n)) {
		u->gid = n;
		return true;
	}
	errno = 0;
	gr = getgrnam(name);
	if (gr != NULL) {
		u->gid = gr->gr_gid;
		return true;
	}
	value_error(l, v, "there is no group %s%s%s", name,
	    errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
	return false;
}

static void
set_user(struct config_loader *l, const struct config_value *v)
{
	struct config_user *u;
	char user[80], *group;

	u = (struct config_user *)((char *)l->config + v->rule->offset);
	u->uid = NO_ID;
	u->gid = NO_ID;
	if (strlcpy(user, v->text, sizeof user) >= sizeof user)
		user[0] = '\0';
	group = strchr(user, ':');
	if (group != NULL)
		*group++ = '\0';
	if (!id_is_well_formed(user) ||
	    (group != NULL && !id_is_well_formed(group))) {
		value_error(l, v,
		    "must be a user's name, a number, or "
		    "user:group");
		return;
	}
	if (l->need_users &&
	    (!lookup_user(l, v, user, u) ||
		(group != NULL && !lookup_group(l, v, group, u))))
		return;
	if (u->uid == 0 || u->gid == 0 || names_root(user) ||
	    (group != NULL && names_root(group))) {
		value_error(l, v,
		    "must not be root: a process becomes this "
		    "user to have no rights");
		return;
	}
	u->name = config_copy_text(l, v->text);
}

/* The group whose members may give commands. */
static void
set_control_group(struct config_loader *l, const struct config_value *v)
{
	struct config_user u = { 0 };

	if (strcmp(v->text, "none") == 0)
		return;
	if (!id_is_well_formed(v->text)) {
		value_error(l, v, "must be a group's name, a number, or none");
		return;
	}
	if (!lookup_group(l, v, v->text, &u))
		return;
	l->config->control_gid = u.gid;
	l->config->control_group = config_copy_text(l, v->text);
}

static void
print_user(const struct config *c, const struct config_rule *k, FILE *out)
{
	const struct config_user *u;

	u = (const struct config_user *)((const char *)c + k->offset);
	print_quoted(u->name, out);
}

#define AT(name) .offset = offsetof(struct config, name)

const struct config_rule config_rules[CONFIG_KEY_COUNT] = {
	[CONFIG_HOST] = { .set = set_host, .print = print_hosts },
	[CONFIG_PORT] = { .fallback = "8900",
	    .set = set_port,
	    .print = print_port,
	    .min = 1,
	    .max = 65535 },
	[CONFIG_KEY_SIZE] = { "2048", set_key_size, print_number,
	    CONFIG_KIND_NUMBER, AT(key_size) },
	[CONFIG_ALLOW_WEAK] = { "no", set_bool, print_bool, CONFIG_KIND_BOOL,
	    AT(allow_weak_key_size) },
	[CONFIG_KEEP_PARAMETERS] = { "2", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(keep_parameters), 0, 16 },
	[CONFIG_ROTATE_PARAMETERS] = { "86400", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(rotate_parameters), 0, 31536000 },
	[CONFIG_AUTH_METHOD] = { .fallback = "auth",
	    .set = set_auth_method,
	    .print = print_auth_method },
	[CONFIG_AUTH_FILE] = { SYSCONFDIR "/flexmusic/users", set_path,
	    print_text, CONFIG_KIND_TEXT, AT(auth_file) },
	[CONFIG_MAX_AUTH_ATTEMPTS] = { "3", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(max_auth_attempts), 1, 10 },
	[CONFIG_AUTH_TIMEOUT] = { "60", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(auth_timeout), 1, 600 },
	[CONFIG_AUTH_MIN_LENGTH] = { "8", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(auth_min_length), 1, AUTH_PASSWORD_MAX },
	[CONFIG_HANDSHAKE_TIMEOUT] = { "5", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(handshake_client_timeout), 1, 3600 },
	[CONFIG_IDLE_TIMEOUT] = { "0", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(session_idle_timeout), 0, 31536000 },
	[CONFIG_MAX_CONNECTIONS] = { "256", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(max_connections), 1, 100000 },
	[CONFIG_MAX_PER_SOURCE] = { "16", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(limits.connections), 0, 1000000 },
	[CONFIG_ACCEPT_RATE] = { "0", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(limits.rate), 0, 100000 },
	[CONFIG_ACCEPT_BURST] = { "20", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(limits.burst), 1, 100000 },
	[CONFIG_SOURCE_PREFIX_IPV4] = { "32", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(limits.prefix_ipv4), 8, 32 },
	[CONFIG_SOURCE_PREFIX_IPV6] = { "64", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(limits.prefix_ipv6), 16, 128 },
	[CONFIG_HANDSHAKE_COOLDOWN] = { "300", set_seconds, print_seconds,
	    CONFIG_KIND_NUMBER, AT(limits.handshake_cooldown_ms), 0, 86400 },
	[CONFIG_AUTH_COOLDOWN] = { "3600", set_seconds, print_seconds,
	    CONFIG_KIND_NUMBER, AT(limits.auth_cooldown_ms), 0, 86400 },
	[CONFIG_CRASH_COOLDOWN] = { "3600", set_seconds, print_seconds,
	    CONFIG_KIND_NUMBER, AT(limits.crash_cooldown_ms), 0, 86400 },
	[CONFIG_PENALTY_EXEMPT] = { .set = set_exempt, .print = print_exempt },
	[CONFIG_FRIENDLY_NAME] = { .fallback = "FlexMusic Server",
	    .set = set_friendly_name,
	    .print = print_friendly_name },
	[CONFIG_COMPATIBILITY] = { .fallback = "0.0.0",
	    .set = set_compatibility,
	    .print = print_compatibility },
	[CONFIG_STATE_DIR] = { "/var/lib/flexmusic", set_directory, print_text,
	    CONFIG_KIND_TEXT, AT(state_dir) },
	[CONFIG_IDENTITY_FILE] = { "/var/lib/flexmusic/identity.pem",
	    set_path_or_none, print_text, CONFIG_KIND_TEXT, AT(identity_file) },
	[CONFIG_CHROOT_DIR] = { "/run/flexmusic/empty", set_directory,
	    print_text, CONFIG_KIND_TEXT, AT(chroot_dir) },
	[CONFIG_WORKER_USER] = { "_flexmusic", set_user, print_user,
	    CONFIG_KIND_USER, AT(worker_user) },
	[CONFIG_KEYS_USER] = { "_flexkeys", set_user, print_user,
	    CONFIG_KIND_USER, AT(keys_user) },
	[CONFIG_AUTH_USER] = { "_flexauth", set_user, print_user,
	    CONFIG_KIND_USER, AT(auth_user) },
	[CONFIG_AUTH_PROCESSES] = { "0", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(auth_processes), 0, 256 },
	[CONFIG_KEYS_PROCESSES] = { "0", set_number, print_number,
	    CONFIG_KIND_NUMBER, AT(keys_processes), 0, 256 },
	[CONFIG_SYSLOG_FACILITY] = { .fallback = "daemon",
	    .set = set_facility,
	    .print = print_facility },
	[CONFIG_SYSLOG_SOCKET] = { "/dev/log", set_socket, print_text,
	    CONFIG_KIND_TEXT, AT(syslog_socket) },
	[CONFIG_PID_FILE] = { "none", set_path_or_none, print_text,
	    CONFIG_KIND_TEXT, AT(pid_file) },
	[CONFIG_CONTROL_SOCKET] = { CONTROL_SOCKET, set_control_socket,
	    print_text, CONFIG_KIND_TEXT, AT(control_socket) },
	[CONFIG_CONTROL_GROUP] = { "none", set_control_group, print_text,
	    CONFIG_KIND_TEXT, AT(control_group) },
};
