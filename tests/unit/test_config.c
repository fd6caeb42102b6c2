/*
 * tests/unit/test_config.c - flexmusicd.conf: every key, every way to be
 * wrong, and the files that are no good files.
 *
 * Runs in: the unit tests alone, as root or as any user.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "master/config.h"
#include "tests/unit/unit.h"

/* What the reader said. */
struct heard {
	unsigned errors;
	unsigned warnings;
	char text[16384]; /* a line each */
};

static void
hear(void *arg, enum config_severity severity, const char *text)
{
	struct heard *h = arg;

	if (severity == CONFIG_ERROR)
		h->errors++;
	else
		h->warnings++;
	strlcat(h->text, text, sizeof h->text);
	strlcat(h->text, "\n", sizeof h->text);
}

/* As the master reads one. */
static struct config *
parse(const char *text, bool need_users, struct heard *h)
{
	struct config *c;

	memset(h, 0, sizeof *h);
	c = config_parse("t.conf", text, need_users, hear, h);
	if (c != NULL)
		config_warn_of_no_auth(c, hear, h);
	return c;
}

/* A configuration that must be good, without a word said. */
static struct config *
good(const char *text)
{
	struct heard h;
	struct config *c = parse(text, false, &h);

	if (c == NULL || h.text[0] != '\0')
		fail_msg("%s: %s", text, h.text);
	return c;
}

/* What config_print says of it, to be freed. */
static char *
printed(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(c, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void
assert_says(const struct heard *h, const char *part)
{
	if (strstr(h->text, part) == NULL)
		fail_msg("\"%s\" is not in: %s", part, h->text);
}

static void
test_config_defaults(void **state)
{
	struct config *c = good("");
	struct sockaddr_in *sin = (struct sockaddr_in *)&c->host[0].address;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&c->host[1].address;

	assert_int_equal(c->hosts, 2);
	assert_string_equal(c->host[0].text, "127.0.0.1:8900");
	assert_int_equal(c->host[0].len, sizeof *sin);
	assert_int_equal(sin->sin_family, AF_INET);
	assert_int_equal(ntohs(sin->sin_port), 8900);
	assert_int_equal(ntohl(sin->sin_addr.s_addr), INADDR_LOOPBACK);
	assert_string_equal(c->host[1].text, "[::1]:8900");
	assert_int_equal(c->host[1].len, sizeof *sin6);
	assert_int_equal(sin6->sin6_family, AF_INET6);
	assert_int_equal(ntohs(sin6->sin6_port), 8900);
	assert_true(IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr));
	assert_int_equal(c->port, 8900);
	assert_int_equal(c->key_size, 2048);
	assert_false(c->allow_weak_key_size);
	assert_int_equal(c->keep_parameters, 2);
	assert_int_equal(c->rotate_parameters, 86400);
	assert_int_equal(c->auth_method, CONFIG_AUTH_AUTH);
	assert_string_equal(c->auth_file, "/etc/flexmusic/users");
	assert_int_equal(c->max_auth_attempts, 3);
	assert_int_equal(c->auth_timeout, 60);
	assert_int_equal(c->limits.connections, 16);
	assert_int_equal(c->limits.rate, 0);
	assert_int_equal(c->limits.burst, 20);
	assert_int_equal(c->limits.prefix_ipv4, 32);
	assert_int_equal(c->limits.prefix_ipv6, 64);
	assert_int_equal(c->limits.handshake_cooldown_ms, 300000);
	assert_int_equal(c->limits.auth_cooldown_ms, 3600000);
	assert_int_equal(c->limits.crash_cooldown_ms, 3600000);
	assert_int_equal(c->limits.exempts, 2);
	assert_int_equal(c->limits.exempt[0].bits, 96 + 8);
	assert_memory_equal(c->limits.exempt[0].address,
	    "\0\0\0\0\0\0\0\0\0\0\377\377\177\0\0", 16);
	assert_int_equal(c->limits.exempt[1].bits, 128);
	assert_memory_equal(c->limits.exempt[1].address, &in6addr_loopback, 16);
	assert_int_equal(c->handshake_client_timeout, 5);
	assert_int_equal(c->session_idle_timeout, 0);
	assert_int_equal(c->max_connections, 256);
	assert_string_equal(c->banner.name, "FlexMusic Server");
	assert_int_equal(c->banner.signature.class, 0);
	assert_int_equal(c->banner.signature.stepping, 0);
	assert_int_equal(c->banner.signature.substepping, 0);
	assert_string_equal(c->state_dir, "/var/lib/flexmusic");
	assert_string_equal(c->chroot_dir, "/run/flexmusic/empty");
	assert_string_equal(c->worker_user.name, "_flexmusic");
	assert_int_equal(c->worker_user.uid, (uid_t)-1);
	assert_int_equal(c->worker_user.gid, (gid_t)-1);
	assert_string_equal(c->keys_user.name, "_flexkeys");
	assert_string_equal(c->auth_user.name, "_flexauth");
	assert_int_equal(c->auth_user.uid, (uid_t)-1);
	assert_int_equal(c->keys_processes, 0);
	assert_int_equal(c->auth_processes, 0);
	assert_int_equal(c->syslog_facility, LOG_DAEMON);
	assert_string_equal(c->syslog_socket, "/dev/log");
	assert_null(c->pid_file);
	assert_string_equal(c->control_socket, "/run/flexmusic/control");
	assert_null(c->control_group);
	assert_string_equal(c->path, "t.conf");
	config_free(c);
}

/* Each value, and how config_print shows it (NULL: the same). */
static void
test_config_good_values(void **state)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "host = 0.0.0.0", "host = { \"0.0.0.0\" }" },
		{ "host = ::", "host = { \"::\" }" },
		{ "host = \"::1\"", "host = { \"::1\" }" },
		{ "host = { 10.1.2.3 }", "host = { \"10.1.2.3\" }" },
		{ "host = {10.1.2.3,'2001:DB8::0:1'}",
		    "host = { \"10.1.2.3\", \"2001:db8::1\" }" },
		{ "host = {\n\t\"10.1.2.3\", # one\n\t/* two */ ::1, // end\n}",
		    "host = { \"10.1.2.3\", \"::1\" }" },
		{ "host = fe80::1%1", "host = { \"fe80::1%1\" }" },
		{ "host = fe80::1%lo", "host = { \"fe80::1%1\" }" },
		{ "port = 1", NULL },
		{ "port = 65535", NULL },
		{ "port = \"80\"", "port = 80" },
		{ "key_size = 2048", NULL },
		{ "key_size = 3072", NULL },
		{ "key_size = 4096", NULL },
		{ "key_size = 6144", NULL },
		{ "key_size = 8192", NULL },
		{ "allow_weak_key_size = yes\nkey_size = 1024",
		    "key_size = 1024" },
		{ "key_size = 1024\nallow_weak_key_size = on",
		    "allow_weak_key_size = yes" },
		{ "allow_weak_key_size = True", "allow_weak_key_size = yes" },
		{ "allow_weak_key_size = false", "allow_weak_key_size = no" },
		{ "allow_weak_key_size = off", "allow_weak_key_size = no" },
		{ "keep_parameters = 0", NULL },
		{ "keep_parameters = 16", NULL },
		{ "rotate_parameters = 0", NULL },
		{ "rotate_parameters = 1", NULL },
		{ "rotate_parameters = 31536000", NULL },
		{ "auth_method = none", NULL },
		{ "auth_method = auth", NULL },
		{ "auth_file = /srv/users", "auth_file = \"/srv/users\"" },
		{ "max_auth_attempts = 1", NULL },
		{ "max_auth_attempts = 10", NULL },
		{ "auth_timeout = 1", NULL },
		{ "auth_timeout = 600", NULL },
		{ "max_connections_per_source = 0", NULL },
		{ "max_connections_per_source = 1000000", NULL },
		{ "accept_rate = 0", NULL },
		{ "accept_rate = 100000", NULL },
		{ "accept_burst = 1", NULL },
		{ "accept_burst = 100000", NULL },
		{ "source_prefix_ipv4 = 8", NULL },
		{ "source_prefix_ipv4 = 32", NULL },
		{ "source_prefix_ipv6 = 16", NULL },
		{ "source_prefix_ipv6 = 128", NULL },
		{ "handshake_failure_cooldown = 0", NULL },
		{ "handshake_failure_cooldown = 86400", NULL },
		{ "auth_failure_cooldown = 0", NULL },
		{ "auth_failure_cooldown = 86400", NULL },
		{ "crash_cooldown = 1", NULL },
		{ "crash_cooldown = 86400", NULL },
		{ "penalty_exempt = {}", "penalty_exempt = { }" },
		{ "penalty_exempt = {\n}", "penalty_exempt = { }" },
		{ "penalty_exempt = 10.0.0.0/8",
		    "penalty_exempt = { \"10.0.0.0/8\" }" },
		{ "penalty_exempt = { ::/0, 0.0.0.0/0,\n2001:DB8::0/32,"
		  " 192.0.2.1/32 }",
		    "penalty_exempt = { \"::/0\", \"0.0.0.0/0\", "
		    "\"2001:db8::/32\", \"192.0.2.1\" }" },
		{ "auth_user = 4245", "auth_user = \"4245\"" },
		{ "auth_processes = 256", NULL },
		{ "auth_method = 'none'", "auth_method = none" },
		{ "handshake_client_timeout = 1", NULL },
		{ "handshake_client_timeout = 3600", NULL },
		{ "session_idle_timeout = 0", NULL },
		{ "session_idle_timeout = 31536000", NULL },
		{ "max_connections = 1", NULL },
		{ "max_connections = 100000", NULL },
		{ "friendly_name = FlexMusic",
		    "friendly_name = \"FlexMusic\"" },
		{ "friendly_name = \"FlexMusic of Zo\303\253\"", NULL },
		{ "friendly_name = 'FlexMusic \"it\\'s\" \\\\ '",
		    "friendly_name = \"FlexMusic \\\"it's\\\" \\\\ \"" },
		{ "friendly_name = \"FlexMusic # no // comment /* here\"",
		    NULL },
		{ "friendly_name = \"FlexMusic {a} = (b) $HOME\"", NULL },
		{ "compatibility = 1.20.65535",
		    "compatibility = \"1.20.65535\"" },
		{ "state_dir = /srv/a-b_c.d/e",
		    "state_dir = \"/srv/a-b_c.d/e\"" },
		{ "state_dir = \"/srv/a b\"", NULL },
		{ "chroot_dir = /srv/empty/", "chroot_dir = \"/srv/empty/\"" },
		{ "worker_user = 4242", "worker_user = \"4242\"" },
		{ "worker_user = nobody:nogroup",
		    "worker_user = \"nobody:nogroup\"" },
		{ "keys_user = 4243:4244", "keys_user = \"4243:4244\"" },
		{ "keys_processes = 256", NULL },
		{ "syslog_facility = auth", NULL },
		{ "syslog_facility = authpriv", NULL },
		{ "syslog_facility = user", NULL },
		{ "syslog_facility = local0", NULL },
		{ "syslog_facility = local7", NULL },
		{ "syslog_socket = /run/x/log",
		    "syslog_socket = \"/run/x/log\"" },
		{ "pid_file = /run/x.pid", "pid_file = \"/run/x.pid\"" },
		{ "pid_file = none", "pid_file = \"none\"" },
		{ "control_socket = none", "control_socket = \"none\"" },
		{ "control_socket = /run/x/c",
		    "control_socket = \"/run/x/c\"" },
		{ "control_group = 4246", "control_group = \"4246\"" },
		{ "control_group = nogroup", "control_group = \"nogroup\"" },
		{ "control_group = none", "control_group = \"none\"" },
	};
	char *text, *again, line[512];
	struct config *c, *c2;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		c = good(t[i].in);
		text = printed(c);
		snprintf(line, sizeof line, "%s\n",
		    t[i].out != NULL ? t[i].out : t[i].in);
		if (strstr(text, line) == NULL)
			fail_msg("%s: printed as %s", t[i].in, text);
		/* What was printed is read as the same. */
		c2 = good(text);
		again = printed(c2);
		assert_string_equal(text, again);
		free(text);
		free(again);
		config_free(c);
		config_free(c2);
	}
}

static void
test_config_port_reaches_every_address(void **state)
{
	struct config *c = good("host = {192.0.2.1, fe80::2%3}\nport = 99");
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&c->host[1].address;

	assert_string_equal(c->host[0].text, "192.0.2.1:99");
	assert_string_equal(c->host[1].text, "[fe80::2%3]:99");
	assert_int_equal(sin6->sin6_scope_id, 3);
	assert_int_equal(ntohs(sin6->sin6_port), 99);
	config_free(c);
}

/* One wrong line each, and what is said of it. */
static void
test_config_bad_values(void **state)
{
	static const struct {
		const char *in, *says;
	} t[] = {
		{ "host = localhost",
		    "t.conf:1: host = localhost: must be a numeric address" },
		{ "host = 127.1", "host = 127.1: must be a numeric" },
		{ "host = 127.0.0.01", "must be a numeric" },
		{ "host = 1.2.3.4:80", "must be a numeric" },
		{ "host = [::1]", "host = [::1]: must be a numeric" },
		{ "host = ::1%", "must be a numeric" },
		{ "host = fe80::1%nosuchif0", "must be a numeric" },
		{ "host = fe80::1%0", "must be a numeric" },
		{ "host = fe80::1", "needs its interface" },
		{ "host = ::ffff:1.2.3.4", "IPv4 address in IPv6 form" },
		{ "host = 224.0.0.1", "multicast" },
		{ "host = 255.255.255.255", "broadcast" },
		{ "host = ff02::1", "multicast" },
		{ "host = ''", "t.conf:1: host = : must be a numeric" },
		{ "host = {}", "t.conf:1: host = {: has no value" },
		{ "\nhost = {::1,\n10.0.0.1,\n::1}",
		    "t.conf:4: host = ::1: stands in the list already" },
		{ "host = {"
		  "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,"
		  "1.1.1.7,1.1.1.8,1.1.1.9,1.1.1.10,1.1.1.11,1.1.1.12,1.1.1.13,"
		  "1.1.1.14,1.1.1.15,1.1.1.16,1.1.1.17}",
		    "at most 16" },
		{ "port = 0", "port = 0: must be a number from 1 to 65535" },
		{ "port = 65536", "from 1 to 65535" },
		{ "port = 010", "no leading zero" },
		{ "port = 0x22", "must be a number" },
		{ "port = -1", "must be a number" },
		{ "port = \"+1\"", "port = +1: must be a number" },
		{ "port = ' 1'", "must be a number" },
		{ "port = 1k", "must be a number" },
		{ "port = 99999999999999999999", "must be a number" },
		{ "port = \"\"", "t.conf:1: port = : must be a number" },
		{ "key_size = 1024",
		    "t.conf:1: key_size = 1024: must be one of 2048, 3072, "
		    "4096, 6144, 8192; 1024 can be broken" },
		{ "key_size = 2047", "key_size = 2047: must be one of 2048" },
		{ "key_size = 512", "must be one of" },
		{ "key_size = 02048", "must be one of" },
		{ "key_size = 16384", "must be one of" },
		{ "allow_weak_key_size = 1", "must be yes or no" },
		{ "keep_parameters = 17",
		    "t.conf:1: keep_parameters = 17: must be a number from 0 "
		    "to 16" },
		{ "keep_parameters = -1", "from 0 to 16" },
		{ "keep_parameters = no", "from 0 to 16" },
		{ "rotate_parameters = 31536001", "from 0 to 31536000" },
		{ "rotate_parameters = 1d", "from 0 to 31536000" },
		{ "rotate_parameters = never", "from 0 to 31536000" },
		{ "auth_method = system",
		    "t.conf:1: auth_method = system: needs a server that is "
		    "started as root" },
		{ "auth_method = NONE", "must be auth, system or none" },
		{ "auth_method = ''", "must be auth, system or none" },
		{ "auth_file = users", "must be an absolute path" },
		{ "auth_file = ''", "must be an absolute path" },
		{ "max_auth_attempts = 0", "from 1 to 10" },
		{ "max_auth_attempts = 11", "from 1 to 10" },
		{ "auth_timeout = 0", "from 1 to 600" },
		{ "auth_timeout = 601", "from 1 to 600" },
		{ "max_connections_per_source = 1000001", "from 0 to 1000000" },
		{ "accept_rate = 100001", "from 0 to 100000" },
		{ "accept_rate = 0.5", "from 0 to 100000" },
		{ "accept_burst = 0", "from 1 to 100000" },
		{ "accept_burst = 100001", "from 1 to 100000" },
		{ "source_prefix_ipv4 = 7", "from 8 to 32" },
		{ "source_prefix_ipv4 = 33", "from 8 to 32" },
		{ "source_prefix_ipv6 = 15", "from 16 to 128" },
		{ "source_prefix_ipv6 = 129", "from 16 to 128" },
		{ "handshake_failure_cooldown = 86401", "from 0 to 86400" },
		{ "handshake_failure_cooldown = 2.5", "from 0 to 86400" },
		{ "auth_failure_cooldown = 86401", "from 0 to 86400" },
		{ "crash_cooldown = 86401", "from 0 to 86400" },
		{ "penalty_exempt =", "penalty_exempt = : has no value" },
		{ "penalty_exempt = ''", "must be a numeric address, or a" },
		{ "penalty_exempt = { ::1,\n10.0.0.1/8 }",
		    "t.conf:2: penalty_exempt = 10.0.0.1/8: must be a numeric "
		    "address, or a network without bits beyond its prefix" },
		{ "penalty_exempt = localhost", "= localhost: must be a num" },
		{ "penalty_exempt = { 10.0.0.0/8, ::1, 10.0.0.0/8 }",
		    "penalty_exempt = 10.0.0.0/8: stands in the list already" },
		{ "penalty_exempt = {"
		  "1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,"
		  "1.1.1.8,1.1.1.9,1.1.1.10,1.1.1.11,1.1.1.12,1.1.1.13,"
		  "1.1.1.14,1.1.1.15,1.1.1.16,1.1.1.17,1.1.1.18,1.1.1.19,"
		  "1.1.1.20,1.1.1.21,1.1.1.22,1.1.1.23,1.1.1.24,1.1.1.25,"
		  "1.1.1.26,1.1.1.27,1.1.1.28,1.1.1.29,1.1.1.30,1.1.1.31,"
		  "1.1.1.32,1.1.1.33}",
		    "must be at most 32 networks" },
		{ "penalty_exempt = ${X}", "is not expanded" },
		{ "auth_user = root", "must not be root" },
		{ "auth_processes = 257", "from 0 to 256" },
		{ "runtime_overload_mitigation = maybe",
		    "t.conf:1: runtime_overload_mitigation = maybe: must be "
		    "yes or no" },
		{ "runtime_overload_mitigation = falsehood", "yes or no" },
		{ "handshake_client_timeout = 0", "from 1 to 3600" },
		{ "handshake_client_timeout = 3601", "from 1 to 3600" },
		{ "handshake_client_timeout = 2.5", "from 1 to 3600" },
		{ "session_idle_timeout = 31536001", "from 0 to 31536000" },
		{ "session_idle_timeout = 00", "from 0 to 31536000" },
		{ "max_connections = 0", "from 1 to 100000" },
		{ "max_connections = 100001", "from 1 to 100000" },
		{ "friendly_name = \"flexmusic\"",
		    "must begin with FlexMusic" },
		{ "friendly_name = Music", "must begin with FlexMusic" },
		{ "friendly_name = ''", "must begin with FlexMusic" },
		{ "friendly_name = \"FlexMusic, Inc\"", "without a comma" },
		{ "friendly_name = \"FlexMusic \303\"",
		    "friendly_name = FlexMusic \\303: must be printable" },
		{ "friendly_name = \"FlexMusic \342\200\256\"",
		    "must be printable" },
		{ "friendly_name = FlexMusic_______________________________"
		  "______________________________________________________"
		  "__________________________________x",
		    "at most 128 bytes" },
		{ "compatibility = 1.2", "must be three numbers" },
		{ "compatibility = 1.2.3.4", "must be three numbers" },
		{ "compatibility = 1.2.65536", "must be three numbers" },
		{ "compatibility = 1.02.3", "must be three numbers" },
		{ "state_dir = var/lib", "must be an absolute path" },
		{ "state_dir = ''", "must be an absolute path" },
		{ "state_dir = /", "a directory of its own" },
		{ "chroot_dir = \"//\"", "a directory of its own" },
		{ "chroot_dir = \"/a\200\"", "must be printable" },
		{ "syslog_socket = log", "must be an absolute path" },
		{ "syslog_socket = /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "a"
		  "aaaaaa",
		    "at most 107 bytes" },
		{ "pid_file = no", "must be an absolute path" },
		{ "control_socket = control", "must be an absolute path" },
		{ "control_group = -x", "must be a group's name" },
		{ "control_group = nosuchgroup4711", "there is no group" },
		{ "worker_user = 0", "worker_user = 0: must not be root" },
		{ "worker_user = root", "must not be root" },
		{ "keys_user = nobody:0", "must not be root" },
		{ "keys_user = nobody:root", "must not be root" },
		{ "keys_user = ''", "must be a user's name" },
		{ "keys_user = ':1'", "must be a user's name" },
		{ "keys_user = '1:'", "must be a user's name" },
		{ "keys_user = '1:2:3'", "must be a user's name" },
		{ "keys_user = '-x'", "must be a user's name" },
		{ "keys_user = 'a b'", "must be a user's name" },
		{ "keys_user = 042", "must be a user's name" },
		{ "keys_user = 4294967295", "must be a user's name" },
		{ "keys_user = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		    "must be a user's name" },
		{ "keys_processes = 257", "from 0 to 256" },
		{ "syslog_facility = kern", "must be one of auth, authpriv" },
		{ "syslog_facility = DAEMON", "must be one of auth" },
		/* the statement, not the value */
		{ "colour = blue",
		    "t.conf:1: colour = blue: unknown key: the "
		    "keys are host port key_size" },
		{ "Port = 1", "unknown key" },
		{ "max-connections = 1", "unknown key" },
		{ "x = { a, b }", "unknown key" },
		{ "port = 1\n\nport = 1",
		    "t.conf:3: port = 1: already set in line 1: remove" },
		{ "host = ::1\nhost = ::1", "already set in line 1" },
		{ "port =", "t.conf:1: port = : has no value" },
		{ "port = # 1", "has no value" },
		{ "port = { 1 }", "takes one value, not a list" },
		{ "port = { }", "has no value" },
		{ "state_dir = ${HOME}",
		    "state_dir = ${HOME}: ${...} is not expanded" },
		{ "state_dir = /x/${HOME}/y", "is not expanded" },
		{ "state_dir = \"/x/${HOME:-/}\"", "is not expanded" },
		{ "state_dir = '/x/${HOME}'", "is not expanded" },
	};
	struct heard h;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		if (parse(t[i].in, false, &h) != NULL)
			fail_msg("%s: taken", t[i].in);
		if (h.errors != 1 || strstr(h.text, t[i].says) == NULL)
			fail_msg(
			    "%s: %u errors: %s", t[i].in, h.errors, h.text);
	}
}

/* What ends the reading; said in the right line. */
static void
test_config_syntax(void **state)
{
	static const struct {
		const char *in, *says;
	} t[] = {
		{ "port",
		    "t.conf:1: the end of the line after port where = "
		    "should be" },
		{ "port\n= 1", "t.conf:1: the end of the line after port" },
		{ "port 1", "t.conf:1: `1' after port where =" },
		{ "\n# x\n/* \n */\n// y\nport : 1", "t.conf:6: `:' after" },
		{ "[server]", "t.conf:1: there are no [sections]" },
		{ "server {\nport = 1\n}", "there are no sections" },
		{ "include(\"/etc/passwd\")", "there are no functions" },
		{ "include (\"/etc/passwd\")", "no include()" },
		{ "host += ::1",
		    "t.conf:1: nothing can be added with +=: "
		    "write `host = '" },
		{ "}", "t.conf:1: `}' where a key should be" },
		{ "= 1", "`=' where a key should be" },
		{ "\"port\" = 1", "where a key should be" },
		{ "port = 1 host = ::1",
		    "`h' behind the value of port: put a "
		    "value with blanks" },
		{ "port = 1;2 3", "`3' behind the value" },
		{ "port = 1, 2", "`,' behind the value" },
		{ "port = \"1\" 2", "where the line should end" },
		{ "port = \"1\"2", "where the line should end" },
		{ "port == 1", "`=' where a value should be" },
		{ "port = =", "`=' where a value should be" },
		{ "port = (1)", "`(' where a value should be" },
		{ "port = *", "`*' where a value should be" },
		{ "state_dir = /a//b", "// or /* inside a value without" },
		{ "state_dir = /a/*b", "// or /* inside a value without" },
		{ "port = 7// comment", "or a blank before a comment" },
		{ "state_dir = /a\\b", "`\\134' behind the value" },
		{ "friendly_name = FlexMusic\303\251",
		    "`\\303' behind the value" },
		{ "friendly_name = FlexMusic Server",
		    "put a value with "
		    "blanks or such characters between \" and \"" },
		{ "host = \"::1", "t.conf:1: the string has no \" at its end" },
		{ "host = '::1", "the string has no ' at its end" },
		{ "host = \"::1\n\"", "the string has no \"" },
		{ "host = \"a\\n\"", "a backslash is written \\\\" },
		{ "host = 'a\\\"'", "a quote \\'" },
		{ "host = \"a\\", "a backslash is written" },
		{ "host = \"a\tb\"", "`\\011' in a string" },
		{ "host = \"\033[2J\"", "`\\033' in a string" },
		{ "host = \033", "`\\033' where a value should be" },
		{ "host = { ::1", "the end of the file in a list" },
		{ "host = { ::1,", "t.conf:1: the list of host has no }" },
		{ "host = {", "the list of host has no }" },
		{ "host = { ::1 ::2 }", "`:' in a list where , or }" },
		{ "host = { , }", "`,' where a value should be" },
		{ "host = { { ::1 } }", "`{' where a value should be" },
		{ "host = { ::1 } }", "`}' behind the value" },
		{ "port = 1\rhost = ::1\n", "carriage return without" },
		{ "/* never ended", "t.conf:1: the comment that begins here" },
		{ "port = 1\n/* a\n\n", "t.conf:2: the comment" },
		{ "port = ${x", "${ without a }" },
		{ "port = $", "must be a number" },
	};
	struct heard h;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		if (parse(t[i].in, false, &h) != NULL)
			fail_msg("%s: taken", t[i].in);
		if (h.errors != 1 || strstr(h.text, t[i].says) == NULL)
			fail_msg(
			    "%s: %u errors: %s", t[i].in, h.errors, h.text);
	}
}

/* Not only the first error is told, and each in its line, although
 * libconfuse would stop at the second line, and counts comments twice. */
static void
test_config_all_errors(void **state)
{
	struct heard h;

	assert_null(parse("# one\n"
			  "nonsense = 1\n"
			  "/* two\n"
			  "   lines */\n"
			  "port = 0 // comment\n"
			  "max_connections = 0\n"
			  "host = { ::1, # fine\n"
			  "         localhost,\n"
			  "         ${HOST} }\n"
			  "key_size = 2000\n"
			  "key_size = 2048\n"
			  "pid_file = x\n",
	    false, &h));
	assert_says(&h, "t.conf:2: nonsense = 1: unknown key");
	assert_says(&h, "t.conf:5: port = 0: must be");
	assert_says(&h, "t.conf:6: max_connections = 0: must be");
	assert_says(&h, "t.conf:7: host = ${HOST}: ${...} is not expanded");
	assert_says(&h, "t.conf:10: key_size = 2000: must be");
	assert_says(&h, "t.conf:11: key_size = 2048: already set in line 10");
	assert_says(&h, "t.conf:12: pid_file = x: must be");
	assert_int_equal(h.errors, 7);
}

static void
test_config_lines(void **state)
{
	struct config *c = good("# x\n/* a\n b */\nport = 1\n\nhost = { ::1,\n"
				"::2\n}\npid_file = none // x\n");

	assert_int_equal(c->line[CONFIG_PORT], 4);
	assert_int_equal(c->line[CONFIG_HOST], 6);
	assert_int_equal(c->line[CONFIG_PID_FILE], 9);
	assert_int_equal(c->line[CONFIG_KEY_SIZE], 0);
	config_free(c);
}

/* Forms of text that editors produce. */
static void
test_config_text_forms(void **state)
{
	static const char *const same[] = { "port = 7\nmax_connections = 8\n",
		"port = 7\nmax_connections = 8", "port=7\nmax_connections=8",
		"port = 7\r\nmax_connections = 8\r\n",
		"port = 7\r\nmax_connections = 8",
		"\357\273\277port = 7\nmax_connections = 8\n",
		"\357\273\277\r\n# c\r\nport = 7\r\nmax_connections = 8",
		"\tport\t=\t7\t\n\n\n  max_connections  =  8  \n\n",
		"#c\nport = 7#c\nmax_connections = 8 # \"c\" = {\n#",
		"//c\nport = 7 //c\nmax_connections = 8 //\n//",
		"/**/port = 7 /* = */\nmax_connections /*x*/ = /*\"*/ 8 /***/",
		"# \200\377\033 port = 1\nport = 7\nmax_connections = 8",
		"port = \"7\"\nmax_connections = '8'" };
	struct config *c;
	size_t i;

	for (i = 0; i < COUNT_OF(same); i++) {
		c = good(same[i]);
		assert_int_equal(c->port, 7);
		assert_int_equal(c->max_connections, 8);
		config_free(c);
	}
}

/* FlexMusic's own file, as it writes it. */
static void
test_config_server_conf(void **state)
{
	static const char text[] = "\n"
				   "# FlexMusic Server Configuration File\n"
				   "# ONLY MODIFY THIS FILE IF YOU KNOW WHAT "
				   "YOU ARE DOING\n"
				   "\n"
				   "# Host/port to listen on\n"
				   "host = 0.0.0.0\n"
				   "port = 8901\n"
				   "youtube = true\n"
				   "auth_method = none\n"
				   "auth_min_password_length = 9\n"
				   "key_size = 2048\n"
				   "handshake_client_timeout = 7\n"
				   "max_connections = 12\n"
				   "handshake_failure_cooldown = 60\n"
				   "runtime_overload_mitigation = yes\n";
	struct heard h;
	struct config *c = parse(text, false, &h);

	assert_non_null(c);
	assert_int_equal(h.errors, 0);
	assert_int_equal(h.warnings, 3);
	assert_says(&h, "t.conf:8: youtube = true: has no meaning");
	assert_says(&h,
	    "t.conf:15: runtime_overload_mitigation = yes: stands for "
	    "accept_rate = 10 and accept_burst = 20\n");
	assert_says(&h,
	    "t.conf:9: auth_method = none: nobody is authenticated on "
	    "0.0.0.0:8901\n");
	assert_int_equal(c->limits.handshake_cooldown_ms, 60000);
	assert_int_equal(c->limits.rate, 10);
	assert_int_equal(c->limits.burst, 20);
	assert_int_equal(c->hosts, 1);
	assert_string_equal(c->host[0].text, "0.0.0.0:8901");
	assert_int_equal(c->key_size, 2048);
	assert_int_equal(c->handshake_client_timeout, 7);
	assert_int_equal(c->max_connections, 12);
	assert_int_equal(c->auth_min_length, 9);
	config_free(c);

	assert_null(parse("youtube = no\nyoutube = no", false, &h));
	assert_says(&h, "t.conf:2: youtube = no: already set in line 1");
}

/* What a file says itself stays. */
static void
test_config_overload(void **state)
{
	static const struct {
		const char *in;
		unsigned rate, burst;
		const char *says;
	} t[] = {
		{ "runtime_overload_mitigation = true", 10, 20,
		    "accept_burst = 20\n" },
		{ "accept_rate = 3\nruntime_overload_mitigation = on", 3, 20,
		    "t.conf:2: runtime_overload_mitigation = on: stands for "
		    "accept_rate = 10 and accept_burst = 20, but where" },
		{ "runtime_overload_mitigation = \"yes\"\naccept_burst = 3", 10,
		    3, "but where this file sets them itself" },
		{ "runtime_overload_mitigation = True\naccept_rate = 0\n"
		  "accept_burst = 4",
		    0, 4, "but where this file sets them itself" },
		{ "runtime_overload_mitigation = false", 0, 20,
		    "= false: has no meaning for this server and is ignored" },
	};
	struct config *c;
	struct heard h;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		c = parse(t[i].in, false, &h);
		assert_non_null(c);
		assert_int_equal(h.warnings, 1);
		assert_int_equal(h.errors, 0);
		assert_says(&h, t[i].says);
		assert_int_equal(c->limits.rate, t[i].rate);
		assert_int_equal(c->limits.burst, t[i].burst);
		config_free(c);
	}
}

/* Who could come in without a password is told. */
static void
test_config_no_authentication(void **state)
{
	static const struct {
		const char *in, *says; /* NULL: nothing */
	} t[] = {
		{ "auth_method = none", NULL },
		{ "auth_method = none\nhost = { 127.0.0.1, 127.9.9.9, ::1 }",
		    NULL },
		{ "auth_method = auth\nhost = { 0.0.0.0, :: }", NULL },
		{ "host = { 0.0.0.0, :: }", NULL },
		{ "\nauth_method = none\nport = 7\n"
		  "host = { 127.0.0.1, 128.0.0.1, ::1, ::2, :: }",
		    "t.conf:2: auth_method = none: nobody is authenticated on "
		    "128.0.0.1:7, [::2]:7, [::]:7\n" },
	};
	struct config *c;
	struct heard h;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		c = parse(t[i].in, false, &h);
		assert_non_null(c);
		assert_int_equal(h.errors, 0);
		assert_int_equal(h.warnings, t[i].says != NULL);
		if (t[i].says != NULL)
			assert_string_equal(h.text, t[i].says);
		config_free(c);
	}
}

/* Sockets that were passed: what the file says of addresses has no effect,
 * and who could come in without a password is told of them. */
static void
test_config_replaced_hosts(void **state)
{
	static const struct {
		const char *in, *says;
	} t[] = {
		{ "", "" },
		{ "auth_method = none",
		    "t.conf:1: auth_method = none: nobody is authenticated on "
		    "0.0.0.0:99\n" },
		{ "port = 7\n\nhost = ::1",
		    "t.conf:3: host = { \"::1\" }: is not used: the "
		    "service "
		    "manager passes the sockets\n"
		    "t.conf:1: port = 7: is not used: the service manager "
		    "passes the sockets\n" },
	};
	struct config *passed = good("host = { 0.0.0.0, ::1 }\nport = 99"), *c;
	struct heard h;
	size_t i;

	for (i = 0; i < COUNT_OF(t); i++) {
		memset(&h, 0, sizeof h);
		c = config_parse("t.conf", t[i].in, false, hear, &h);
		assert_non_null(c);
		config_replace_hosts(c, passed->host, passed->hosts, hear, &h);
		config_warn_of_no_auth(c, hear, &h);
		assert_int_equal(h.errors, 0);
		assert_string_equal(h.text, t[i].says);
		assert_int_equal(c->hosts, 2);
		assert_memory_equal(
		    c->host, passed->host, 2 * sizeof c->host[0]);
		config_free(c);
	}
	config_free(passed);
}

/* No byte of a file reaches a terminal as it is. */
static void
test_config_messages_are_safe(void **state)
{
	static const char *const texts[] = { "port = \"\303\251\200\"",
		"x\033[31m = 1", "\033 = 1", "host = \"\001\"", "port = a\177",
		"port = \"\177\"", "\302\233 = 1" };
	struct heard h;
	size_t i, j;

	for (i = 0; i < COUNT_OF(texts); i++) {
		memset(&h, 0, sizeof h);
		assert_null(
		    config_parse("a\nb\033\200", texts[i], false, hear, &h));
		for (j = 0; h.text[j] != '\0'; j++)
			assert_true((h.text[j] >= ' ' && h.text[j] < 0x7f) ||
			    (h.text[j] == '\n' && h.text[j + 1] == '\0'));
	}
}

/* A message of bounded length for a value and a key without bound. */
static void
test_config_long_values(void **state)
{
	static char text[60000];
	struct heard h;

	memset(text, 'a', sizeof text - 1);
	memcpy(text, "port = ", 7);
	assert_null(parse(text, false, &h));
	assert_says(&h, "aaaa...: must be a number");
	assert_true(strlen(h.text) < 400);

	memset(text, 'a', sizeof text - 1);
	memcpy(text + sizeof text - 5, " = 1", 4);
	assert_null(parse(text, false, &h));
	assert_says(&h, "= 1: unknown key");
	assert_int_equal(h.errors, 1);
}

static void
test_config_users(void **state)
{
	struct heard h;
	struct config *c;

	c = parse("worker_user = 4242\nkeys_user = 4243:4244\n"
		  "auth_user = 4245:4246",
	    true, &h);
	assert_non_null(c);
	assert_int_equal(c->worker_user.uid, 4242);
	assert_int_equal(c->worker_user.gid, 4242);
	assert_int_equal(c->keys_user.uid, 4243);
	assert_int_equal(c->keys_user.gid, 4244);
	assert_int_equal(c->auth_user.uid, 4245);
	assert_int_equal(c->auth_user.gid, 4246);
	config_free(c);

	/* base-passwd's numbers, the same on every Debian and Ubuntu. */
	c = parse("worker_user = nobody\nkeys_user = 77:daemon\n"
		  "auth_user = 78",
	    true, &h);
	assert_non_null(c);
	assert_int_equal(c->worker_user.uid, 65534);
	assert_int_equal(c->worker_user.gid, 65534);
	assert_int_equal(c->keys_user.uid, 77);
	assert_int_equal(c->keys_user.gid, 1);
	config_free(c);

	assert_null(parse("worker_user = nosuchuser\n"
			  "keys_user = 1:nosuchgrp\nauth_user = 7",
	    true, &h));
	assert_int_equal(h.errors, 2);
	assert_says(&h,
	    "t.conf:1: worker_user = nosuchuser: there is no user "
	    "nosuchuser: make it with `useradd");
	assert_says(&h,
	    "t.conf:2: keys_user = 1:nosuchgrp: there is no group "
	    "nosuchgrp");

	assert_null(parse("worker_user = root\nkeys_user = 5:0\n"
			  "auth_user = 7",
	    true, &h));
	assert_int_equal(h.errors, 2);
	assert_says(&h, "t.conf:1: worker_user = root: must not be root");
	assert_says(&h, "t.conf:2: keys_user = 5:0: must not be root");

	assert_null(parse("worker_user = nobody\nkeys_user = 65534:7\n"
			  "auth_user = 7",
	    true, &h));
	assert_int_equal(h.errors, 1);
	assert_says(&h,
	    "t.conf:2: keys_user = 65534:7: must not be the user "
	    "of worker_user");

	assert_null(
	    parse("worker_user = 7\nkeys_user = 8\nauth_user = 7", true, &h));
	assert_int_equal(h.errors, 1);
	assert_says(
	    &h, "t.conf:3: auth_user = 7: must not be the user of worker_user");
	assert_null(
	    parse("worker_user = 7\nkeys_user = 8\nauth_user = 8:9", true, &h));
	assert_int_equal(h.errors, 1);
	assert_says(
	    &h, "t.conf:3: auth_user = 8:9: must not be the user of keys_user");
}

static void
test_config_restart_keys(void **state)
{
	static const char old_text[] = "state_dir = /a\nchroot_dir = /b\n"
				       "worker_user = 11\nkeys_user = 12\n"
				       "keys_processes = 3\n"
				       "syslog_socket = /c\n"
				       "pid_file = /d\nport = 1\n"
				       "auth_user = 13\n"
				       "auth_processes = 2\n"
				       "source_prefix_ipv4 = 24\n"
				       "source_prefix_ipv6 = 48\n";
	static const char new_text[] = "state_dir = /x/a\nchroot_dir = /x/b\n"
				       "worker_user = 21\nkeys_user = 22\n"
				       "keys_processes = 4\n"
				       "syslog_socket = /x/c\nport = 2\n"
				       "auth_user = 23\n"
				       "auth_processes = 4\n"
				       "source_prefix_ipv4 = 25\n"
				       "auth_method = none\n"
				       "auth_file = /e\n"
				       "accept_rate = 5\n"
				       "penalty_exempt = {}\n";
	struct heard h;
	struct config *old = parse(old_text, true, &h);
	struct config *new = parse(new_text, true, &h);

	assert_non_null(old);
	assert_non_null(new);
	assert_true(config_keep_restart_keys(new, old, hear, &h));
	assert_int_equal(h.warnings, 11);
	assert_int_equal(h.errors, 0);
	assert_says(&h,
	    "t.conf:1: state_dir = /x/a: only a restart can "
	    "change this: it stays /a");
	assert_says(&h,
	    "t.conf:5: keys_processes = 4: only a restart can "
	    "change this: it stays 3");
	assert_says(&h,
	    "t.conf: pid_file = none (the default): only a "
	    "restart can change this: it stays /d");
	assert_string_equal(new->state_dir, "/a");
	assert_string_equal(new->chroot_dir, "/b");
	assert_string_equal(new->worker_user.name, "11");
	assert_int_equal(new->worker_user.uid, 11);
	assert_int_equal(new->worker_user.gid, 11);
	assert_string_equal(new->keys_user.name, "12");
	assert_int_equal(new->keys_user.uid, 12);
	assert_int_equal(new->keys_processes, 3);
	assert_string_equal(new->syslog_socket, "/c");
	assert_string_equal(new->pid_file, "/d");
	assert_int_equal(new->port, 2);
	assert_string_equal(new->auth_user.name, "13");
	assert_int_equal(new->auth_user.uid, 13);
	assert_int_equal(new->auth_processes, 2);
	assert_int_equal(new->limits.prefix_ipv4, 24);
	assert_int_equal(new->limits.prefix_ipv6, 48);
	assert_int_equal(new->auth_method, CONFIG_AUTH_NONE);
	assert_string_equal(new->auth_file, "/e");
	assert_int_equal(new->limits.rate, 5);
	assert_int_equal(new->limits.exempts, 0);

	/* Now they are the same: nothing is said. */
	memset(&h, 0, sizeof h);
	assert_true(config_keep_restart_keys(new, old, hear, &h));
	assert_int_equal(h.warnings, 0);

	/* The same name, that has become another user. */
	new->worker_user.uid = 99;
	assert_true(config_keep_restart_keys(new, old, hear, &h));
	assert_int_equal(h.warnings, 1);
	assert_int_equal(new->worker_user.uid, 11);
	config_free(old);
	config_free(new);
}

/* --- files -------------------------------------------------------------- */

struct place {
	char dir[32];
	char file[64];
};

static int
setup_place(void **state)
{
	static struct place place;

	strlcpy(place.dir, "/tmp/test_config.XXXXXX", sizeof place.dir);
	if (mkdtemp(place.dir) == NULL)
		return -1;
	snprintf(place.file, sizeof place.file, "%s/f.conf", place.dir);
	*state = &place;
	return 0;
}

static int
teardown_place(void **state)
{
	const struct place *p = *state;

	unlink(p->file);
	return rmdir(p->dir);
}

static void
write_file(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

static struct config *
load(const char *path, struct heard *h)
{
	memset(h, 0, sizeof *h);
	return config_load(path, false, hear, h);
}

static void
test_config_file(void **state)
{
	const struct place *p = *state;
	char link[64];
	struct config *c;
	struct heard h;

	write_file(p->file, "port = 7\n", 9);
	c = load(p->file, &h);
	assert_non_null(c);
	assert_int_equal(h.warnings, 0);
	assert_int_equal(c->port, 7);
	assert_string_equal(c->path, p->file);
	config_free(c);

	snprintf(link, sizeof link, "%s/link", p->dir);
	assert_int_equal(symlink(p->file, link), 0);
	c = load(link, &h);
	assert_int_equal(unlink(link), 0);
	assert_non_null(c);
	config_free(c);

	assert_int_equal(chmod(p->file, 0664), 0);
	c = load(p->file, &h);
	assert_non_null(c);
	assert_int_equal(h.warnings, 1);
	assert_says(&h, "f.conf: others than its owner can write it");
	config_free(c);

	write_file(p->file, "", 0);
	c = load(p->file, &h);
	assert_non_null(c);
	assert_int_equal(c->port, 8900);
	config_free(c);
}

static void
test_config_file_contents(void **state)
{
	static char big[CONFIG_FILE_MAX + 1];
	const struct place *p = *state;
	struct config *c;
	struct heard h;

	write_file(p->file, "# a\nport = 7\0\n", 14);
	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf:2: a NUL byte");
	write_file(p->file, "\0", 1);
	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf:1: a NUL byte");
	write_file(p->file, "\377\376p\0o\0r\0t\0", 10);
	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf:1: a NUL byte");

	memset(big, '#', sizeof big);
	write_file(p->file, big, CONFIG_FILE_MAX);
	c = load(p->file, &h);
	assert_non_null(c);
	config_free(c);
	write_file(p->file, big, CONFIG_FILE_MAX + 1);
	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf: must be at most 65536 bytes");
}

static void
test_config_no_file(void **state)
{
	const struct place *p = *state;
	struct heard h;

	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf: cannot open it: No such file");
	assert_int_equal(h.errors, 1);
	assert_null(load(p->dir, &h));
	assert_says(&h, ": is a directory");
	assert_null(load("/dev/null", &h));
	assert_says(&h, "/dev/null: is not a regular file");
	assert_int_equal(mkfifo(p->file, 0644), 0);
	assert_null(load(p->file, &h));
	assert_says(&h, "f.conf: is not a regular file");
}

/* A file that this process, with root's number or without, can't read. */
static int
read_without_capabilities(const char *path, const char *says)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { { 0 } };
	struct heard h;
	struct config *c;

	if (syscall(SYS_capset, &head, none) == -1)
		return 3;
	c = load(path, &h);
	if (c != NULL)
		return 4;
	return strstr(h.text, says) != NULL ? 0 : 5;
}

static void
test_config_unreadable(void **state)
{
	const struct place *p = *state;
	char says[160];
	int status;
	pid_t pid;

	write_file(p->file, "", 0);
	assert_int_equal(chmod(p->file, 0), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(p->file, 4242, 4242), 0);
		snprintf(says, sizeof says,
		    "root without CAP_DAC_OVERRIDE "
		    "cannot read %s: chown it to root",
		    p->file);
	} else
		snprintf(says, sizeof says, "cannot open it: Permission");
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(read_without_capabilities(p->file, says));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Every key stands in the sample, commented out, with its default. */
static void
test_config_sample(void **state)
{
	static char text[CONFIG_FILE_MAX];
	char *expected, *sample, *line, *rest;
	size_t n, keys = 0;
	struct config *c;
	FILE *f;

	c = good("");
	expected = printed(c);
	config_free(c);
	f = fopen("etc/flexmusicd.conf", "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	c = good(text);
	sample = printed(c);
	assert_string_equal(sample, expected);
	free(sample);
	config_free(c);
	/* "#key = value" is a key, "# text" is not. */
	for (line = text; line != NULL; line = rest) {
		rest = strchr(line, '\n');
		if (rest != NULL)
			rest++;
		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
			line[0] = ' ';
			keys++;
		}
	}
	assert_int_equal(keys, CONFIG_KEY_COUNT);
	c = good(text);
	sample = printed(c);
	assert_string_equal(sample, expected);
	for (n = 0; n < CONFIG_KEY_COUNT; n++)
		assert_int_not_equal(c->line[n], 0);
	free(sample);
	free(expected);
	config_free(c);
}

/* The manual has every key, and says what a change of it needs. */
static void
test_config_manual(void **state)
{
	static const struct {
		const char *name;
		enum config_change change;
	} keys[] = {
#define X(key, name, change) { name, change },
		CONFIG_KEYS(X)
#undef X
	};
	static char text[CONFIG_FILE_MAX];
	const char *entry, *reload, *restart;
	char item[64];
	size_t i;
	FILE *f;

	f = fopen("man/flexmusicd.conf.5", "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	for (i = 0; i < COUNT_OF(keys); i++) {
		snprintf(item, sizeof item, "\n.It Ic %s No = ", keys[i].name);
		entry = strstr(text, item);
		if (entry == NULL)
			fail_msg("%s is missing", keys[i].name);
		reload = strstr(entry, "\nChange: reload");
		restart = strstr(entry, "\nChange: restart");
		if (reload == NULL)
			reload = text + sizeof text;
		if (restart == NULL)
			restart = text + sizeof text;
		if ((reload < restart) != (keys[i].change == CONFIG_RELOAD))
			fail_msg("%s: wrong change", keys[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_defaults),
		cmocka_unit_test(test_config_good_values),
		cmocka_unit_test(test_config_port_reaches_every_address),
		cmocka_unit_test(test_config_bad_values),
		cmocka_unit_test(test_config_syntax),
		cmocka_unit_test(test_config_all_errors),
		cmocka_unit_test(test_config_lines),
		cmocka_unit_test(test_config_text_forms),
		cmocka_unit_test(test_config_server_conf),
		cmocka_unit_test(test_config_overload),
		cmocka_unit_test(test_config_no_authentication),
		cmocka_unit_test(test_config_replaced_hosts),
		cmocka_unit_test(test_config_messages_are_safe),
		cmocka_unit_test(test_config_long_values),
		cmocka_unit_test(test_config_users),
		cmocka_unit_test(test_config_restart_keys),
		cmocka_unit_test_setup_teardown(
		    test_config_file, setup_place, teardown_place),
		cmocka_unit_test_setup_teardown(
		    test_config_file_contents, setup_place, teardown_place),
		cmocka_unit_test_setup_teardown(
		    test_config_no_file, setup_place, teardown_place),
		cmocka_unit_test_setup_teardown(
		    test_config_unreadable, setup_place, teardown_place),
		cmocka_unit_test(test_config_sample),
		cmocka_unit_test(test_config_manual),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
