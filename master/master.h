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

#include "master/bar.h"
#include "master/config.h"
#include "master/log.h"
#include "master/passed.h"
#include "master/source.h"
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

/* Who waits for it? */
enum process_priority {
	PROCESS_NORMAL,
	PROCESS_NICE, /* somebody, and it takes long: nice 10 */
	PROCESS_IDLE /* nobody: SCHED_IDLE */
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
	enum process_priority priority;
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
	int room; /* bytes of unread messages that it may have */
	uint64_t full_ms; /* since when it has them; 0: it has not */
	/* An auth has the users, a keys the identity; a pam is up. */
	bool serving;
	bool users_due; /* an auth: it has no room for the users file */
	uint32_t users_read; /* an auth: the last serial that it has answered */
	char users_error[512]; /* why it did not take that one; "" where it did
				*/
	uint64_t
	    status_asked; /* a keys: how often; how often it has answered */
	uint64_t status_answered;
	uint64_t status_logged; /* answers up to this one go to the log */
	struct message_keys_status status; /* its last answer */
	unsigned spawning; /* a zygote's: connections that it has */
	void *arg; /* of the kind */
};

/* Starts `p`, which is all zero but for m, kind, instance and arg.  False,
 * logged, where it can't be; where the kind restarts, it is tried again. */
bool process_start(struct process *p);
/* How many processes of a kind the configuration means: 0 is one for each
 * processor. */
unsigned process_wanted(unsigned configured);
/* Starts so many of a kind that serves workers; fatal without memory. */
struct process *process_start_all(
    struct master *m, const struct process_kind *kind, unsigned count);
/* Has it end: closes its channel.  `down` is called when it has. */
void process_end(struct process *p);
/* Kills what process_end did not end. */
void process_kill(struct process *p);
/* Kills a helper that does not do its work: logged once. */
void process_give_up(struct process *p, const char *error);
/*
 * True where it is up and its channel is less than half full: what is asked of
 * the master in great numbers goes to such a helper alone, so that others can
 * never fill a channel and have the helper killed for it.  One that is full
 * for long is given up.
 */
bool process_has_room(struct process *p);
/* Sends a message; a helper that does not take it is killed. */
bool process_send(struct process *p, enum message_type type, void *message);
bool process_send_fds(
    struct process *p, enum message_type type, void *message, const int *fds);
/* Runs the self-test of a role to its end; logs and prints what is wrong. */
bool process_self_test(struct master *m, enum role_id role);
/* waitid(2) for a pidfd: the signal that ended the process, or 0 and its
 * status; false if it has not ended. */
bool process_reap(int pidfd, int *signal_number, int *status);
/* A signal that says that memory or the sandbox was attacked. */
bool process_signal_is_attack(int signal_number);
/* Sends a signal to a process by its pidfd. */
void process_signal(int pidfd, int signal_number);
/* Waits for the end of one that was killed. */
void process_wait(int pidfd);
/* Children may end that nobody has a pidfd of: looks for them for a while. */
void process_expect_strays(struct master *m);

/* search.c: a search for a set, in processes side by side. */

struct search;

enum search_purpose {
	SEARCH_AWAITED, /* on every processor, nice 10 */
	SEARCH_STOCK /* nobody waits: on one, SCHED_IDLE */
};

#define search_state bar_progress /* how far it is: what a bar shows */

/* Hears of the first result; NULL: every process failed.  Once. */
typedef void search_done(void *arg, const struct dh_params *params);
/* Hears how far it is, several times a second. */
typedef void search_watch(void *arg, const struct search_state *state);

/* Starts a search for a set of `bits`; NULL where no process could be
 * started.  It is gone once `done` was called, or search_cancel was. */
struct search *
search_start(struct master *m, unsigned bits, enum search_purpose purpose,
    search_done *done, search_watch *watch, void *arg);
void search_cancel(struct search *s);
/* Stops its processes for a while, and has them go on. */
void search_hold(struct search *s, bool hold);
/* Processors that this process may use. */
unsigned search_processors(void);

/* stock.c: parameters made ahead, in the state directory. */

struct stock;

/* Hears of a set that was taken and is good; NULL: there is none. */
typedef void stock_taken(void *arg, const struct dh_params *params);

/* Opens the state directory of the configuration: false and `why`. */
bool stock_open(struct master *m, uid_t owner, char *why, size_t why_len);
void stock_close(struct master *m);
/* Takes a set, which nobody else will ever get: true where `taken` was or
 * will be called; false where there is none. */
bool stock_take(struct master *m, unsigned bits, stock_taken *taken, void *arg);
/* Sets ready for the key_size in use. */
size_t stock_count(const struct master *m);
/* Has what is missing made; to be called when anything changed. */
void stock_update(struct master *m);
/*
 * Holds a search for stock while a rotation is under way, which starts
 * processes that somebody waits for: a processor on which SCHED_IDLE runs
 * takes no work from another that has too much.
 */
void stock_hold(struct master *m, bool hold);
/* An administrator has asked: what failed may be tried again at once. */
void stock_reload(struct master *m);
/* Gives up a search for stock: somebody waits for another. */
void stock_pause(struct master *m);
/* Ends what is on its way: the server stops. */
void stock_stop(struct master *m);

/* generation.c: DH parameters in use. */

struct generation {
	TAILQ_ENTRY(generation) entry;
	uint32_t number;
	unsigned handshakes; /* under way that were shown it */
	uint64_t since_ms;
	struct dh_params params;
	char fingerprint[65]; /* SHA-256 of the DER, in hex */
};

struct rotation; /* a set on its way; generation.c */

/* Has a new generation installed; one that is asked for while one is on its
 * way comes after it, and is one, however often asked for.  `why` is a word
 * for the log, and stays the caller's. */
void generation_rotate(struct master *m, const char *why);
/* Sets the time of the next rotation, by rotate_parameters. */
void generation_schedule(struct master *m);
/* SHA-256 of the parameters' DER in hex. */
void generation_fingerprint(const struct dh_params *params, char hex[65]);
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

/* In order of id: a new one comes last. */
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
	size_t
	    waiting; /* its place among those that do not count yet, from 1 */
	bool lockdown; /* it has to authenticate */
	bool refused; /* it has tried, and the offence is not counted yet */
	bool checking; /* pam checks its attempt */
	char refused_user[AUTH_USER_MAX + 1]; /* whom it tried to be first */
	bool refused_others; /* and it tried others */
	bool giving_way; /* it was told to end, for another */
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
	char user[AUTH_USER_MAX + 1]; /* who it is: auth has said so */
	struct message_end end;
};
TAILQ_HEAD(session_list, session);

/*
 * Connections that a zygote may have before it answers: as many as its
 * channel surely holds.  Others wait in the listening socket's queue.
 */
#define SESSION_SPAWNING_MAX 32
#define SESSION_SNDBUF	     4096 /* of a worker's ends of its channels */

/* Looks for a keys process that takes another channel: the next session's.
 * False where each has all that it can take, or none is up. */
bool session_find_keys(struct master *m);
/* Has a worker forked for an accepted socket, which the call closes; after
 * session_find_keys. */
void session_begin(
    struct master *m, int fd, const struct sockaddr *peer, socklen_t peer_len);
/* Ends a session for a new one: one whose client has not shown yet that it
 * has business here, by chance, the likelier the more of these its source
 * has; else the one without authentication that is idle longest, if one is
 * for long enough (FMLTP.md section 6).  True if there was one. */
bool session_give_way(struct master *m);
/* Ends a session: its worker reads the end of its channel, and ends. */
void session_end(struct session *s, const char *reason);
/* A worker broke the rules of a channel: logged, killed. */
void session_violation(
    struct session *s, const char *channel, enum channel_result kind);
/* What auth has decided about it. */
void
session_authenticated(struct session *s, const struct message_auth_result *r);
/* Its attempt is being checked: who does not wait for the answer has had one
 * that was refused. */
void session_checked(struct session *s);
/* A child of pam crashed on what its client gave. */
void session_auth_crashed(struct session *s, int signal_number);
/* The session with this number, or NULL. */
struct session *session_find(struct master *m, uint64_t id);
/* The zygote is gone: what it had not forked yet has failed. */
void session_zygote_lost(struct process *zygote);
#define SESSION_ZYGOTE_RULES 2
extern const struct channel_rule session_zygote_rules[SESSION_ZYGOTE_RULES];

/* identity.c: the server's long-term key. */

/* A keys process is up: it gets the key, and serves when it has it. */
void identity_keys_up(struct process *p);
void identity_keys_down(struct process *p);
/* The file may have changed: all of them read it again. */
void identity_update(struct master *m);
/* What one has made of it. */
bool identity_serve_read(void *arg, const union message_any *any, int *fds);
/* -I, without a server: a new key, after asking where there is one.  The exit
 * status. */
int identity_main(struct master *m);

/* auth.c: the authenticators. */

/* Starts them where the configuration wants them, or gives them the users
 * file again: at start, and when it may have changed. */
void auth_update(struct master *m);
/* Whether the users file can be used, as far as can be said without reading
 * it: false and `why`. */
bool auth_check_users(const struct master *m, const struct config *config,
    char *why, size_t why_len);
/* Whether one of them takes another channel; true where none is needed. */
bool auth_has_room(const struct master *m);
/* A channel to an authenticator for a session in lockdown: the worker's end,
 * which the caller closes.  False where there is none. */
bool auth_open_channel(struct session *s, int *to_worker);

/* listener.c */

struct listener;

/* Takes the sockets that were passed, which stay until the server stops:
 * false and `why`. */
bool listener_take_passed(struct master *m, char *why, size_t why_len);
/* Binds what the configuration says and is not bound yet.  True, with the
 * new set ready in m->next_listeners; false, reported, with nothing changed. */
bool listener_prepare(
    struct master *m, const struct config *config, char *why, size_t why_len);
/* Makes the prepared set the set in use; closes the rest. */
void listener_commit(struct master *m);
void listener_close_all(struct master *m);
/* Accepts, or stops accepting, as the state of the server says. */
void listener_update(struct master *m);

/* generate.c: -G, without a server: parameters to standard output, or, with
 * a directory, as many as keep_parameters says into it.  The exit status. */
int generate_main(struct master *m, unsigned bits, const char *dir);

/* status.c */
void status_request(struct master *m);
bool status_serve_keys(void *arg, const union message_any *m, int *fds);
/* Asks a keys process for its figures; `logged` if they are for the log. */
void status_ask(struct process *keys, bool logged);
/* Resident KiB of a process; -1 where that is not known. */
long status_memory(pid_t pid);

/* What is not heard of for so long, systemd gives up while it starts. */
#define NOTIFY_EXTEND_S 30

#define MASTER_ATTACKS 64 /* deaths by attack remembered */

struct counters {
	uint64_t sessions; /* all that began */
	unsigned now; /* that have not ended */
	unsigned peak;
	unsigned handshaking;
	uint64_t established;
	uint64_t refused;
	uint64_t authenticated;
	uint64_t auth_failed; /* attempts */
	uint64_t penalties;
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
	bool no_server; /* -G */
	bool ready; /* it has listened once */
	bool stopping;
	bool stopped; /* no session is left, helpers are ending */
	int verbosity;
	pid_t pid;
	int program_fd[PROGRAMS]; /* O_PATH; -1: not needed */
	int null_fd;
	int chroot_fd;
	int ready_fd; /* to the parent that waits, or -1 */
	uint32_t nofile; /* hard limit of descriptors */
	bool unlocked_logged; /* that memory is not locked */
	int notify_fd; /* to systemd, or -1 */

	struct passed passed; /* sockets; count 0: the configuration says */
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
	struct sockaddr_storage refused_peer; /* the last of them, */
	const char *refused_reason; /* and why */
	struct event refused_event; /* tells of them */
	bool refused_waiting; /* for that */
	uint64_t no_way_ms; /* when nobody could give way */

	struct process *zygote;
	unsigned zygotes_ending;
	struct event stray_event; /* workers that nobody waits for */
	pid_t stray; /* such a one, perhaps */
	unsigned stray_looks; /* still to come */
	struct process *keys; /* keys_count of them */
	unsigned keys_count;
	unsigned keys_next; /* the next session's */
	unsigned keys_up; /* that serve */

	bool has_identity;
	uint8_t identity[IDENTITY_PUBLIC_LEN];
	uint32_t identity_serial;
	struct process *identity_maker; /* a keys that makes it, or NULL */
	int identity_pipe; /* from that one */
	struct event identity_event; /* a keys has none: it gets it again */

	struct process *auth; /* auth_count of them, or NULL */
	unsigned auth_count;
	unsigned auth_next;
	unsigned auth_ready; /* that have the users */
	uint32_t users_serial;
	uint32_t users_logged;
	struct event users_event; /* an auth has no users: it gets them again */

	struct sources *sources;
	struct control *control; /* NULL: no control socket */
	char error[CONTROL_TEXT_MAX]; /* the first of a reload, or "" */

	struct generation_list generations;
	struct generation *generation; /* current */
	uint32_t generation_last;
	struct rotation *rotation;
	const char *rotate_again; /* why, or NULL */
	struct event rotate_event; /* rotate_parameters */
	struct stock *stock;
	unsigned paramgens; /* processes that search or check */

	struct session_list sessions;
	struct session_list spawning;
	/* Those that give way first: in the handshake or in lockdown. */
	struct session **waiting;
	size_t waiting_count;
	size_t waiting_room;
	unsigned giving_way; /* sessions that do, and have not ended */
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
/* Opens what helpers are started with, before the first of them; with a
 * server, flexmusicd-worker too.  Fatal where something is wrong. */
void master_open(struct master *m, bool server);
/* Has the event come after that time, or, where no timer can be set, at once:
 * whatever waits for it, too early does less harm than never. */
void master_set_timer(struct event *event, const struct timeval *tv);
/* Something that may change whether connections are taken has changed. */
void master_update(struct master *m);
/* A worker's death or behaviour was an attack: a fresh zygote, and accepts
 * are delayed where they are many. */
void master_count_attack(struct master *m);
/* Reads the configuration again, and has a new generation made.  False,
 * logged, and told by m->error, where the running configuration stays. */
bool master_reload(struct master *m, const char *why);
/* Starts a zygote in place of the one that there is, which ends when it has
 * forked for the connections that it has. */
void master_replace_zygote(struct master *m);
/* While stopping: a session or helper is gone. */
void master_stop_progress(struct master *m);
/* The server can't go on: logged, and the process ends. */
_Noreturn void master_fatal(struct master *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
