/*
 * master/master.h - the master's one struct, and what its files offer each
 * other.
 *
 * Runs in: master, as root with five capabilities.  It reads no byte that
 * came from the network, and holds no private key, password or session key.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "master/config.h"
#include "master/log.h"
#include "master/state.h"
#include "privsep/channel.h"
#include "privsep/roles.h"

struct master;

/* process.c: helpers, from exec to restart. */

enum process_state {
	PROCESS_DOWN,
	PROCESS_STARTING,
	PROCESS_UP
};

struct process;

/* What is particular to a role, seen from the master. */
struct process_kind {
	enum role_id role;
	bool restart; /* with a growing delay */
	const struct channel_rule *rules; /* once it is up */
	size_t rule_count;
	void (*up)(struct process *p); /* sandbox in force */
	void (*down)(struct process *p, bool died); /* gone, or given up */
};

struct process {
	struct master *m;
	const struct process_kind *kind;
	unsigned instance;
	enum process_state state;
	bool ending; /* its channel was closed on purpose */
	pid_t pid; /* for the log alone */
	int pidfd;
	struct channel channel;
	struct event channel_event;
	struct event death_event;
	struct event restart_event;
	unsigned failures; /* in a row */
	uint64_t up_ms;
	bool stuck; /* it was logged that it does not do its work */
	unsigned spawning; /* a zygote's: connections that it has */
	void *arg; /* of the kind */
};

/* Starts `p`, which is all zero but for m, kind, instance and arg.  False,
 * logged, where it can't be; where the kind restarts, it is tried again. */
bool process_start(struct process *p);
/* Has it end: closes its channel.  `down` is called when it has. */
void process_end(struct process *p);
/* Kills what process_end did not end. */
void process_kill(struct process *p);
/* Kills a helper that does not do its work: logged once. */
void process_give_up(struct process *p, const char *error);
/* Sends a message; a helper that does not take it is killed. */
bool process_send(struct process *p, enum message_type type, void *message);
bool process_send_fds(
    struct process *p, enum message_type type, void *message, const int *fds);
/* Runs the self-test of a role to its end; logs and prints what is wrong. */
bool process_self_test(struct master *m, enum role_id role);
/* waitid(2) for a pidfd: the signal that ended the process, or 0 and its
 * status; false if it has not ended. */
bool process_reap(int pidfd, int *signal_number, int *status);
/* Sends a signal to a process by its pidfd. */
void process_signal(int pidfd, int signal_number);

/* generation.c: DH parameters, from the state directory or the search. */

struct generation {
	TAILQ_ENTRY(generation) entry;
	uint32_t number;
	unsigned handshakes; /* under way that were shown it */
	uint64_t since_ms;
	struct dh_params params;
	char fingerprint[65]; /* SHA-256 of the DER, in hex */
};

struct rotation; /* a set on its way; generation.c */

/* Has a new generation made and installed; one that is asked for while one
 * is on its way comes after it, and is one, however often asked for. */
void generation_rotate(struct master *m);
/* A session takes the current one; another is done with it. */
struct generation *generation_take(struct master *m);
void generation_release(struct master *m, struct generation *g);
/* Sends every live generation to a keys process that came up. */
bool generation_send_all(struct master *m, struct process *keys);
void generation_free_all(struct master *m);
/* Ends what is on its way: the server stops. */
void generation_stop(struct master *m);

/* session.c: one connection. */

enum session_state {
	SESSION_SPAWNING, /* the zygote has it */
	SESSION_HANDSHAKE,
	SESSION_ESTABLISHED,
	SESSION_ENDED /* the worker said so; or the master ended it */
};

struct session {
	TAILQ_ENTRY(session) entry; /* of all */
	TAILQ_ENTRY(session) spawning; /* of those that the zygote has */
	struct master *m;
	struct process *zygote; /* while SPAWNING */
	uint64_t id;
	enum session_state state;
	struct sockaddr_storage peer;
	struct generation *generation; /* until the handshake is done */
	uint32_t generation_number;
	pid_t pid; /* for the log alone */
	int pidfd;
	struct channel channel;
	struct event channel_event;
	struct event death_event;
	struct event timer;
	bool has_end;
	bool attack; /* it broke a rule */
	bool flood;
	bool killed; /* by the master, since its time was up */
	const char *ended_by_master; /* reason, or NULL */
	uint64_t begin_ms;
	uint64_t established_ms;
	uint64_t active_ms;
	uint64_t actives;
	struct client_version client;
	struct message_end end;
};
TAILQ_HEAD(session_list, session);

/*
 * Connections that a zygote may have before it answers: as many as its
 * channel surely holds.  Others wait in the listening socket's queue.
 */
#define SESSION_SPAWNING_MAX 32

/* Has a worker forked for an accepted socket, which the call closes. */
void session_begin(
    struct master *m, int fd, const struct sockaddr *peer, socklen_t peer_len);
/* Ends the established session that is idle longest, if one is for long
 * enough (FMLTP.md section 6): true if there was one. */
bool session_give_way(struct master *m);
/* Ends a session: its worker reads the end of its channel, and ends. */
void session_end(struct session *s, const char *reason);
/* A worker broke the rules of a channel: logged, killed. */
void session_violation(
    struct session *s, const char *channel, enum channel_result kind);
/* The session with this number, or NULL. */
struct session *session_find(struct master *m, uint64_t id);
/* The zygote is gone: what it had not forked yet has failed. */
void session_zygote_lost(struct process *zygote);
#define SESSION_ZYGOTE_RULES 2
extern const struct channel_rule session_zygote_rules[SESSION_ZYGOTE_RULES];

/* listener.c */

struct listener;

/* Binds what the configuration says and is not bound yet.  True, with the
 * new set ready in m->next_listeners; false, reported, with nothing changed. */
bool listener_prepare(
    struct master *m, const struct config *config, char *why, size_t why_len);
/* Makes the prepared set the set in use; closes the rest. */
void listener_commit(struct master *m);
void listener_close_all(struct master *m);
/* Accepts, or stops accepting, as the state of the server says. */
void listener_update(struct master *m);

/* status.c */
void status_request(struct master *m);
bool status_serve_keys(void *arg, const union message_any *m, int *fds);

#define MASTER_ATTACKS 64 /* deaths by attack remembered */

struct counters {
	uint64_t sessions; /* all that began */
	unsigned now; /* that have not ended */
	unsigned peak;
	unsigned handshaking;
	uint64_t established;
	uint64_t refused;
	uint64_t spawn_failed;
	uint64_t attacks;
	uint64_t failed[FMLTP_ERROR_COUNT];
};

TAILQ_HEAD(listener_list, listener);
TAILQ_HEAD(generation_list, generation);

struct master {
	struct event_base *base;
	struct config *config;
	const char *config_path;
	struct log *log;
	bool as_root;
	bool foreground;
	bool log_on_stderr;
	bool ready; /* it has listened once */
	bool stopping;
	bool stopped; /* no session is left, helpers are ending */
	int verbosity;
	pid_t pid;
	int daemon_fd; /* O_PATH: flexmusicd */
	int worker_fd; /* O_PATH: flexmusicd-worker */
	int null_fd;
	int chroot_fd;
	int ready_fd; /* to the parent that waits, or -1 */
	uint32_t nofile; /* hard limit of descriptors */
	struct state *state;

	struct listener_list listeners;
	struct listener_list next_listeners;
	int reserve_fd; /* given up to accept and close on EMFILE */
	bool listening;
	struct event rest_event; /* the listener rests */
	bool resting;
	bool delaying; /* accepts, after many attacks */
	struct event delay_event;
	uint64_t refused_logged_ms;
	uint64_t refused_unlogged;
	uint64_t no_way_ms; /* when nobody could give way */

	struct process *zygote;
	unsigned zygotes_ending;
	struct process *keys; /* keys_count of them */
	unsigned keys_count;
	unsigned keys_next; /* the next session's */
	unsigned keys_up;

	struct generation_list generations;
	struct generation *generation; /* current */
	uint32_t generation_last;
	struct rotation *rotation;
	bool rotate_again;

	struct session_list sessions;
	struct session_list spawning;
	uint64_t session_last;

	struct event signal_event[5];
	struct event stop_event;
	struct counters counters;
	uint64_t start_ms;
	uint64_t attack_ms[MASTER_ATTACKS];
	size_t attack_next;
};

/* master.c */

/* Milliseconds of the monotonic clock. */
uint64_t master_now(void);
/* Something that may change whether connections are taken has changed. */
void master_update(struct master *m);
/* A worker's death or behaviour was an attack: a fresh zygote, and accepts
 * are delayed where they are many. */
void master_count_attack(struct master *m);
/* Starts a zygote in place of the one that there is, which ends when it has
 * forked for the connections that it has. */
void master_replace_zygote(struct master *m);
/* While stopping: a session or helper is gone. */
void master_stop_progress(struct master *m);
/* The server can't go on: logged, and the process ends. */
_Noreturn void master_fatal(struct master *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
