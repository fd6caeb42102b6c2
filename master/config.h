/*
 * master/config.h - the configuration: flexmusicd.conf(5), or a FlexMusic
 * server.conf, read through libconfuse into one checked struct.
 *
 * Runs in: master, as root.  Reads one file; never sees a byte of a client.
 */
#ifndef MASTER_CONFIG_H
#define MASTER_CONFIG_H

#include <sys/socket.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "fmltp/version.h"
#include "master/source.h"

#define CONFIG_HOSTS_MAX 16 /* addresses to listen on */
#define CONFIG_LIST_MAX	 SOURCE_NETWORKS_MAX /* values of the longest list */
#define CONFIG_FILE_MAX	 65536 /* bytes of a file */

/*
 * Every key, in the order in which config_print has them: X(enumerator, name
 * in the file, what a change of it needs).
 */
#define CONFIG_KEYS(X)                                                         \
	X(CONFIG_HOST, "host", CONFIG_RELOAD)                                  \
	X(CONFIG_PORT, "port", CONFIG_RELOAD)                                  \
	X(CONFIG_KEY_SIZE, "key_size", CONFIG_RELOAD)                          \
	X(CONFIG_ALLOW_WEAK, "allow_weak_key_size", CONFIG_RELOAD)             \
	X(CONFIG_KEEP_PARAMETERS, "keep_parameters", CONFIG_RELOAD)            \
	X(CONFIG_ROTATE_PARAMETERS, "rotate_parameters", CONFIG_RELOAD)        \
	X(CONFIG_HANDSHAKE_TIMEOUT, "handshake_client_timeout", CONFIG_RELOAD) \
	X(CONFIG_FRIENDLY_NAME, "friendly_name", CONFIG_RELOAD)                \
	X(CONFIG_COMPATIBILITY, "compatibility", CONFIG_RELOAD)                \
	X(CONFIG_AUTH_METHOD, "auth_method", CONFIG_RELOAD)                    \
	X(CONFIG_AUTH_FILE, "auth_file", CONFIG_RELOAD)                        \
	X(CONFIG_MAX_AUTH_ATTEMPTS, "max_auth_attempts", CONFIG_RELOAD)        \
	X(CONFIG_AUTH_TIMEOUT, "auth_timeout", CONFIG_RELOAD)                  \
	X(CONFIG_AUTH_MIN_LENGTH, "auth_min_password_length", CONFIG_RELOAD)   \
	X(CONFIG_IDLE_TIMEOUT, "session_idle_timeout", CONFIG_RELOAD)          \
	X(CONFIG_MAX_CONNECTIONS, "max_connections", CONFIG_RELOAD)            \
	X(CONFIG_MAX_PER_SOURCE, "max_connections_per_source", CONFIG_RELOAD)  \
	X(CONFIG_ACCEPT_RATE, "accept_rate", CONFIG_RELOAD)                    \
	X(CONFIG_ACCEPT_BURST, "accept_burst", CONFIG_RELOAD)                  \
	X(CONFIG_SOURCE_PREFIX_IPV4, "source_prefix_ipv4", CONFIG_RESTART)     \
	X(CONFIG_SOURCE_PREFIX_IPV6, "source_prefix_ipv6", CONFIG_RESTART)     \
	X(CONFIG_HANDSHAKE_COOLDOWN, "handshake_failure_cooldown",             \
	    CONFIG_RELOAD)                                                     \
	X(CONFIG_AUTH_COOLDOWN, "auth_failure_cooldown", CONFIG_RELOAD)        \
	X(CONFIG_CRASH_COOLDOWN, "crash_cooldown", CONFIG_RELOAD)              \
	X(CONFIG_PENALTY_EXEMPT, "penalty_exempt", CONFIG_RELOAD)              \
	X(CONFIG_STATE_DIR, "state_dir", CONFIG_RESTART)                       \
	X(CONFIG_IDENTITY_FILE, "identity_file", CONFIG_RESTART)               \
	X(CONFIG_CHROOT_DIR, "chroot_dir", CONFIG_RESTART)                     \
	X(CONFIG_WORKER_USER, "worker_user", CONFIG_RESTART)                   \
	X(CONFIG_KEYS_USER, "keys_user", CONFIG_RESTART)                       \
	X(CONFIG_AUTH_USER, "auth_user", CONFIG_RESTART)                       \
	X(CONFIG_KEYS_PROCESSES, "keys_processes", CONFIG_RESTART)             \
	X(CONFIG_AUTH_PROCESSES, "auth_processes", CONFIG_RESTART)             \
	X(CONFIG_SYSLOG_FACILITY, "syslog_facility", CONFIG_RELOAD)            \
	X(CONFIG_SYSLOG_SOCKET, "syslog_socket", CONFIG_RESTART)               \
	X(CONFIG_PID_FILE, "pid_file", CONFIG_RESTART)                         \
	X(CONFIG_CONTROL_SOCKET, "control_socket", CONFIG_RESTART)             \
	X(CONFIG_CONTROL_GROUP, "control_group", CONFIG_RESTART)

enum config_change {
	CONFIG_RELOAD,
	CONFIG_RESTART
};

enum config_key {
#define X(key, name, change) key,
	CONFIG_KEYS(X)
#undef X
	CONFIG_KEY_COUNT
};

/* A user that a role runs as. */
struct config_user {
	char *name; /* as written in the file */
	uid_t uid; /* never 0; -1 where users were not asked for */
	gid_t gid;
};

/* A numeric address to listen on, port included. */
struct config_host {
	struct sockaddr_storage address;
	socklen_t len;
	char text[64]; /* "127.0.0.1:8900", "[::1]:8900" */
};

enum config_auth {
	CONFIG_AUTH_AUTH, /* against the users file */
	CONFIG_AUTH_SYSTEM, /* through PAM */
	CONFIG_AUTH_NONE
};

struct config {
	char *path; /* the file it came from */
	unsigned line[CONFIG_KEY_COUNT]; /* where each key stands; 0: default */
	struct config_host host[CONFIG_HOSTS_MAX];
	size_t hosts;
	uint16_t port;
	unsigned key_size; /* bits */
	bool allow_weak_key_size;
	unsigned keep_parameters; /* sets made ahead */
	unsigned rotate_parameters; /* seconds; 0 never */
	enum config_auth auth_method;
	char *auth_file; /* of use with CONFIG_AUTH_AUTH alone */
	unsigned max_auth_attempts; /* of a session */
	unsigned auth_timeout; /* seconds: the whole authoritative phase */
	unsigned auth_min_length; /* of new passwords: for flexmusicctl alone */
	unsigned handshake_client_timeout; /* seconds */
	unsigned session_idle_timeout; /* seconds; 0 none */
	unsigned max_connections;
	struct source_limits limits;
	struct version_line banner; /* friendly_name and compatibility */
	char *state_dir;
	char *identity_file; /* NULL: none */
	char *chroot_dir;
	struct config_user worker_user;
	struct config_user keys_user;
	struct config_user auth_user;
	unsigned keys_processes; /* 0: one for each CPU */
	unsigned auth_processes; /* 0: one for each CPU */
	int syslog_facility; /* LOG_DAEMON, … as syslog(3) has them */
	char *syslog_socket;
	char *pid_file; /* NULL: none */
	char *control_socket; /* NULL: none */
	char *control_group; /* as written in the file; NULL: none */
	gid_t control_gid; /* as it was found when the file was read */
};

/* As the file has it. */
const char *config_auth_name(enum config_auth method);

/* How messages of the reader reach the administrator. */
enum config_severity {
	CONFIG_WARNING,
	CONFIG_ERROR
};

/*
 * Called for each message.  `text` is whole and one line: "flexmusicd.conf:12:
 * key_size = 2047: must be one of 2048, …"; what comes from the file in it
 * has gone through strvis(3).
 */
typedef void
config_report(void *arg, enum config_severity severity, const char *text);

/*
 * Reads and checks the file.  Returns the configuration, to be freed with
 * config_free, or NULL after at least one CONFIG_ERROR was reported: never
 * half of one.  All errors of the file are reported, not only the first
 * (a syntax error ends the reading).  `need_users` false (a server started
 * without root) leaves worker_user, keys_user and auth_user unresolved (uid and
 * gid -1) and unchecked but for syntax.
 */
struct config *config_load(
    const char *path, bool need_users, config_report *report, void *arg);
/* The same from memory, `name` standing for the file: tests, fuzzers. */
struct config *config_parse(const char *name, const char *text, bool need_users,
    config_report *report, void *arg);
/* Frees; NULL is allowed. */
void config_free(struct config *c);

/*
 * Sockets that were passed stand in for host and port, of which each that the
 * file sets is reported as a CONFIG_WARNING.
 */
void config_replace_hosts(struct config *c, const struct config_host *host,
    size_t hosts, config_report *report, void *arg);

/* A CONFIG_WARNING where somebody else than this machine is served without
 * having to say who he is; once the addresses are those of the server. */
void config_warn_of_no_auth(
    const struct config *c, config_report *report, void *arg);

/* Prints every key with the value in effect, as a file that config_load
 * reads. */
void config_print(const struct config *c, FILE *out);

/*
 * Compares a new configuration with the running one.  Each key that only a
 * restart can change, and that differs, is reported as a CONFIG_WARNING and
 * set back in `next` to its running value (see CONFIG_KEYS).  False without
 * memory: `next` is then of no use.
 */
bool config_keep_restart_keys(struct config *next, const struct config *running,
    config_report *report, void *arg);

#endif
