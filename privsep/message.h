/*
 * privsep/message.h - every message of every channel, defined once.
 *
 * Runs in: every server process.  Channels are SOCK_SEQPACKET socketpairs:
 * the kernel keeps the borders, so a message is a header and one C struct of
 * fixed layout, and there is nothing to parse.  Both ends are the same build
 * (the start message proves it), so layouts can't differ.  What less trusted
 * sides fill has no bool: there are bytes that are none.
 */
#ifndef PRIVSEP_MESSAGE_H
#define PRIVSEP_MESSAGE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/dhkey.h"
#include "fmltp/error.h"
#include "fmltp/fernet.h"
#include "fmltp/identity.h"
#include "fmltp/version.h"
#include "privsep/sandbox.h"

/* X(enumerator, struct, descriptors, from, to) */
#define MESSAGES(X)                                                            \
	/* every helper */                                                     \
	X(MESSAGE_START, message_start, 1, "master", "helper")                 \
	X(MESSAGE_STARTED, message_started, 0, "helper", "master")             \
	X(MESSAGE_FAILED, message_failed, 0, "helper", "master")               \
	X(MESSAGE_SELFTEST, message_selftest, 0, "helper", "master")           \
	/* keys */                                                             \
	X(MESSAGE_GENERATION, message_generation, 0, "master", "keys")         \
	X(MESSAGE_RETIRE, message_retire, 0, "master", "keys")                 \
	X(MESSAGE_KEX_CHANNEL, message_kex_channel, 1, "master", "keys")       \
	X(MESSAGE_STATUS_REQUEST, message_status_request, 0, "master", "keys") \
	X(MESSAGE_KEYS_STATUS, message_keys_status, 0, "keys", "master")       \
	X(MESSAGE_KEYS_VIOLATION, message_keys_violation, 0, "keys", "master") \
	X(MESSAGE_KEX, message_kex, 0, "worker", "keys")                       \
	X(MESSAGE_KEX_REPLY, message_kex_reply, 0, "keys", "worker")           \
	X(MESSAGE_IDENTITY, message_identity, 1, "master", "keys")             \
	X(MESSAGE_IDENTITY_NEW, message_identity_new, 1, "master", "keys")     \
	X(MESSAGE_IDENTITY_READ, message_identity_read, 0, "keys", "master")   \
	X(MESSAGE_IDENT, message_ident, 0, "worker", "keys")                   \
	X(MESSAGE_IDENT_REPLY, message_ident_reply, 0, "keys", "worker")       \
	/* auth */                                                             \
	X(MESSAGE_USERS, message_users, 1, "master", "auth")                   \
	X(MESSAGE_USERS_READ, message_users_read, 0, "auth", "master")         \
	X(MESSAGE_AUTH_CHANNEL, message_auth_channel, 1, "master", "auth")     \
	X(MESSAGE_AUTH_RESULT, message_auth_result, 0, "auth", "master")       \
	X(MESSAGE_AUTH_VIOLATION, message_auth_violation, 0, "auth", "master") \
	X(MESSAGE_AUTH_BEGUN, message_auth_begun, 0, "pam", "master")          \
	X(MESSAGE_AUTH_CRASHED, message_auth_crashed, 0, "pam", "master")      \
	X(MESSAGE_AUTH, message_auth, 0, "worker", "auth")                     \
	X(MESSAGE_AUTH_REPLY, message_auth_reply, 0, "auth", "worker")         \
	/* zygote and worker */                                                \
	X(MESSAGE_SPAWN, message_spawn, 3, "master", "zygote")                 \
	X(MESSAGE_SPAWNED, message_spawned, 1, "zygote", "master")             \
	X(MESSAGE_SPAWN_FAILED, message_spawn_failed, 0, "zygote", "master")   \
	X(MESSAGE_ESTABLISHED, message_established, 0, "worker", "master")     \
	X(MESSAGE_LOCKDOWN, message_lockdown, 1, "master", "worker")           \
	X(MESSAGE_ACTIVE, message_active, 0, "worker", "master")               \
	X(MESSAGE_END, message_end, 0, "worker", "master")                     \
	/* paramgen */                                                         \
	X(MESSAGE_GENERATE, message_generate, 0, "master", "paramgen")         \
	X(MESSAGE_CHECK, message_check, 0, "master", "paramgen")               \
	X(MESSAGE_PROGRESS, message_progress, 0, "paramgen", "master")         \
	X(MESSAGE_PARAMS, message_params, 0, "paramgen", "master")             \
	/* control socket */                                                   \
	X(MESSAGE_CONTROL, message_control, 0, "ctl", "master")                \
	X(MESSAGE_CONTROL_STATUS, message_control_status, 0, "master", "ctl")  \
	X(MESSAGE_CONTROL_PROCESS, message_control_process, 0, "master",       \
	    "ctl")                                                             \
	X(MESSAGE_CONTROL_SESSION, message_control_session, 0, "master",       \
	    "ctl")                                                             \
	X(MESSAGE_CONTROL_PENALTY, message_control_penalty, 0, "master",       \
	    "ctl")                                                             \
	X(MESSAGE_CONTROL_DONE, message_control_done, 0, "master", "ctl")

enum message_type {
	MESSAGE_NONE,
#define X(type, body, fds, from, to) type,
	MESSAGES(X)
#undef X
	MESSAGE_TYPES
};

struct message_header {
	uint16_t type;
	uint16_t len; /* of the whole message, this header included */
};

#define MESSAGE_FDS_MAX 3
#define BUILD_ID_LEN	32
#define PEER_TEXT_MAX	64 /* "[2001:db8::1]:53422" and its NUL */

/*
 * The first message to a helper: who it is to be, and the filters, compiled
 * by the master.  The descriptor is the chroot directory ("/" when the
 * server runs without root, and then not used).
 */
struct message_start {
	struct message_header header;
	uint8_t build_id[BUILD_ID_LEN]; /* of the sender's program */
	uint8_t table_hash[32]; /* of the sender's MESSAGES table */
	uint32_t role; /* enum role_id */
	uint32_t instance; /* "keys 1" */
	bool as_root; /* drop to uid, gid and chroot */
	bool self_test; /* serve the known answer, report, end */
	uid_t uid;
	gid_t gid;
	pid_t master;
	uint32_t nproc; /* RLIMIT_NPROC; ROLE_UNLIMITED leaves it */
	uint32_t nofile; /* RLIMIT_NOFILE */
	int32_t nice;
	bool idle; /* SCHED_IDLE: runs only where nobody else wants to */
	/* [0] is the helper's own; [1] that of the children it forks, if any */
	struct sandbox_program program[2];
};

/* The sandbox is up; what the kernel lacked is told by `layers`. */
struct message_started {
	struct message_header header;
	struct sandbox_layers layers;
};

/* The sandbox could not be made; the helper ends. */
struct message_failed {
	struct message_header header;
	uint32_t step; /* enum sandbox_step */
	int32_t error; /* errno */
};

/* What the self-test found. */
struct message_selftest {
	struct message_header header;
	uint8_t known_answer; /* right */
	int32_t syscall; /* one that the filter lacks, or -1 */
};

struct message_generation {
	struct message_header header;
	uint32_t generation;
	struct dh_params params;
};

struct message_retire {
	struct message_header header;
	uint32_t generation;
};

/* "This channel, this session, this generation": one exchange. */
struct message_kex_channel {
	struct message_header header;
	uint32_t generation;
	uint64_t session;
};

struct message_status_request {
	struct message_header header;
};

struct message_keys_status {
	struct message_header header;
	uint32_t generations; /* held now */
	uint32_t channels; /* open now */
	uint64_t exchanges; /* answered */
	uint64_t refused; /* public values out of range, and errors */
	uint32_t pairs; /* key pairs made ahead, unused, of all generations */
	uint64_t pairs_used; /* exchanges that found one ready */
};

/* A worker broke the rules of its channel to keys. */
struct message_keys_violation {
	struct message_header header;
	uint32_t kind; /* enum channel_result */
	uint64_t session;
};

/* The client's public value, big-endian at the length of p, then zeros. */
struct message_kex {
	struct message_header header;
	uint8_t y[DH_PRIME_MAX];
};

struct message_kex_reply {
	struct message_header header;
	uint32_t error; /* enum fmltp_error */
	uint8_t key[FERNET_KEY_LEN]; /* a secret: wiped by both sides */
	uint8_t y[DH_PRIME_MAX];
};

/* The server's long-term key: its file, open for reading.  What keys makes of
 * it comes as IDENTITY_READ with the same serial. */
struct message_identity {
	struct message_header header;
	uint32_t serial;
};

/* There is none yet: keys makes one, and writes its file's content to this
 * pipe, which the master's own memory never holds. */
struct message_identity_new {
	struct message_header header;
	uint32_t serial;
};

enum identity_fault {
	IDENTITY_OK, /* it is in use, or was made */
	IDENTITY_UNREADABLE,
	IDENTITY_FORMAT, /* no Ed25519 key in PKCS#8, PEM */
	IDENTITY_FAILED, /* no memory, no random numbers */
	IDENTITY_FAULTS
};

struct message_identity_read {
	struct message_header header;
	uint32_t serial;
	uint32_t fault; /* enum identity_fault */
	uint8_t public[IDENTITY_PUBLIC_LEN];
};

/* IDENT: sign the transcript of this channel's exchange, once.  What a worker
 * adds to it is the two lines. */
struct message_ident {
	struct message_header header;
	struct version_line server;
	struct version_line client;
};

struct message_ident_reply {
	struct message_header header;
	uint8_t made;
	uint8_t public[IDENTITY_PUBLIC_LEN];
	uint8_t signature[IDENTITY_SIGNATURE_LEN];
};

/* The users file, at start and when it has changed: open for reading.  What
 * auth makes of it comes as USERS_READ with the same serial. */
struct message_users {
	struct message_header header;
	uint32_t serial;
};

/* The table is in use; or it is not, and the one before it stays. */
struct message_users_read {
	struct message_header header;
	uint32_t serial;
	uint32_t fault; /* enum users_fault; USERS_OK: it is in use */
	uint32_t line; /* where the fault is; 0: in no line */
	uint32_t users; /* how many there are now */
};

#define AUTH_USER_MAX	  32 /* bytes of a name (FMLTP.md section 5) */
#define AUTH_PASSWORD_MAX 511
#define AUTH_ADDRESS_MAX  64 /* "2001:db8::1%eth0" and its NUL */

/*
 * "This channel, this session": a session in lockdown.  What it may do is
 * the master's to say.
 */
struct message_auth_channel {
	struct message_header header;
	uint64_t session;
	uint8_t source[16]; /* its source: the queue is served by turns */
	char address[AUTH_ADDRESS_MAX]; /* its peer's, for pam; "" for auth */
	uint32_t phase_ms; /* of the authoritative phase, from now on */
	uint32_t attempts; /* it may make */
};

/* The outcome of an attempt. */
enum auth_outcome {
	AUTH_GRANTED,
	AUTH_REFUSED, /* 151; another attempt may follow */
	AUTH_REFUSED_LAST, /* 151 and the close */
	AUTH_BUSY, /* could not be served in time: not counted; the close */
	AUTH_ERROR, /* could not be checked: as late as a refusal; the close */
	AUTH_OUTCOMES
};

/* auth decides, and tells the master before it tells the worker. */
struct message_auth_result {
	struct message_header header;
	uint32_t outcome; /* enum auth_outcome */
	uint64_t session;
	uint32_t attempt; /* from 1 */
	uint32_t ms; /* the check took, without waiting */
	char user[AUTH_USER_MAX + 1]; /* as the client gave it; "" if unfit */
};

/* pam checks an attempt from now on: one that its client does not wait for
 * counts as one that was refused. */
struct message_auth_begun {
	struct message_header header;
	uint64_t session;
};

/* The child of pam that checked it was ended as an attack would end it. */
struct message_auth_crashed {
	struct message_header header;
	int32_t signal;
	uint64_t session;
};

/* A worker broke the rules of its channel to auth. */
struct message_auth_violation {
	struct message_header header;
	uint32_t kind; /* enum channel_result */
	uint64_t session;
};

/* A name and a password: a secret, wiped by both sides. */
struct message_auth {
	struct message_header header;
	uint32_t user_len; /* 0: what was given can be no user's */
	uint32_t password_len;
	uint8_t user[AUTH_USER_MAX];
	uint8_t password[AUTH_PASSWORD_MAX + 1]; /* and a NUL */
};

/* Comes when the 151 may be sent: auth keeps the delay. */
struct message_auth_reply {
	struct message_header header;
	uint32_t outcome; /* enum auth_outcome */
};

/* After ESTABLISHED, where the server authenticates.  Descriptor: the
 * worker's end of its channel to auth. */
struct message_lockdown {
	struct message_header header;
	uint32_t phase_ms; /* of the authoritative phase, from now on */
};

/* One connection.  Descriptors: client, channel to master, channel to keys. */
struct message_spawn {
	struct message_header header;
	uint32_t generation;
	uint64_t session;
	uint32_t handshake_ms; /* for each of packets 2, 4 and 6 */
	uint32_t idle_ms; /* for the next command; 0: no limit */
	bool lockdown; /* the client has to authenticate: packet 7 says so */
	bool identity; /* the server has one: IDENT exists */
	struct version_line banner;
	char peer[PEER_TEXT_MAX];
	struct dh_params params;
};

struct message_spawned { /* descriptor: a pidfd */
	struct message_header header;
	pid_t pid; /* for the log alone */
	uint64_t session;
};

struct message_spawn_failed {
	struct message_header header;
	int32_t error;
	uint64_t session;
};

/* How far a connection came. */
enum stage {
	STAGE_VEX, /* waiting for packet 2 */
	STAGE_KEX, /* for packet 4 */
	STAGE_CHALLENGE, /* for packet 6 */
	STAGE_SESSION,
	STAGE_COUNT
};

/* The client as it names itself; name[0] is 0 before packet 2. */
struct client_version {
	char name[VERSION_NAME_MAX + 1];
	uint8_t status; /* of packet 7 */
	struct version_signature signature;
};

/* The handshake is complete: packet 7 is sent. */
struct message_established {
	struct message_header header;
	struct client_version client;
};

/* A command came, and the last such message is ACTIVE_PERIOD ago. */
#define ACTIVE_PERIOD 5 /* seconds */
struct message_active {
	struct message_header header;
};

/* Why a session ended that came that far. */
enum session_end {
	SESSION_END_ERROR, /* see `error` */
	SESSION_END_QUIT,
	SESSION_END_IDLE,
	SESSION_END_AUTH_TIMEOUT, /* the authoritative phase took too long */
	SESSION_END_AUTH_FAILED, /* every attempt was refused */
	SESSION_END_AUTH_BUSY, /* auth could not serve it in time */
	SESSION_END_COUNT
};

/* The last message of a worker. */
struct message_end {
	struct message_header header;
	uint32_t error; /* enum fmltp_error */
	uint32_t end; /* enum session_end */
	uint32_t stage; /* enum stage */
	uint64_t commands;
	uint64_t bytes_in;
	uint64_t bytes_out;
	struct client_version client;
};

/* Search for a set. */
struct message_generate {
	struct message_header header;
	uint32_t bits;
};

/* How far the search is, a few times a second while it lasts. */
#define PROGRESS_PERIOD 200 /* ms */
struct message_progress {
	struct message_header header;
	uint64_t tests; /* Fermat tests of this process, of all its windows */
	uint64_t expected; /* the mean number that a search takes */
};

#define PARAMS_PEM_MAX 4096
/* Check a set made ahead. */
struct message_check {
	struct message_header header;
	uint32_t bits;
	uint32_t len;
	uint8_t digest[32];
	uint8_t pem[PARAMS_PEM_MAX];
};

/* Why a set is not used; see params_result_text. */
enum params_result {
	PARAMS_OK,
	PARAMS_DIGEST, /* the content is not what its name says */
	PARAMS_FORMAT, /* not parameters in PEM as packet 3 has them */
	PARAMS_SIZE, /* of another size */
	PARAMS_NOT_SAFE, /* not a safe prime with p = 23 mod 24 */
	PARAMS_FAILED, /* the search failed */
	PARAMS_RESULTS
};

struct message_params {
	struct message_header header;
	uint32_t result; /* enum params_result */
	struct dh_params params;
};

/*
 * The control socket.  Its two ends are two programs, which may be of two
 * builds: the version is of all that stands from here on.
 */
#define CONTROL_VERSION	 2
#define CONTROL_SOCKET	 "/run/flexmusic/control" /* control_socket's default */
#define CONTROL_TEXT_MAX 512
#define CONTROL_NAME_MAX 256 /* of a file, and its NUL */

enum control_command {
	CONTROL_STATUS,
	CONTROL_SESSIONS,
	CONTROL_KILL, /* session `number` */
	CONTROL_KILL_USER, /* all of `user` */
	CONTROL_RELOAD,
	CONTROL_ROTATE,
	CONTROL_PENALTIES,
	CONTROL_PENALTIES_CLEAR, /* of `family` and `address`; AF_UNSPEC: all */
	CONTROL_USERS, /* read `file` again; then as KILL_USER, if `user` */
	CONTROL_LOG, /* verbosity `number` */
	CONTROL_COMMANDS
};

/* A command.  What it has no use for is zero. */
struct message_control {
	struct message_header header;
	uint32_t version; /* CONTROL_VERSION */
	uint32_t command; /* enum control_command */
	uint32_t family; /* AF_INET, AF_INET6 */
	uint64_t number;
	uint8_t address[16];
	char user[AUTH_USER_MAX + 1];
	/* A file by its directory and name: what does not change with it. */
	uint64_t directory_device;
	uint64_t directory_inode;
	char file[CONTROL_NAME_MAX];
};

/* The server as a whole: the first row of CONTROL_STATUS. */
struct message_control_status {
	struct message_header header;
	int32_t pid;
	uint32_t now; /* sessions */
	uint32_t peak;
	uint32_t handshaking;
	uint64_t uptime_ms;
	uint64_t sessions;
	uint64_t established;
	uint64_t authenticated;
	uint64_t auth_failed;
	uint64_t penalties;
	uint64_t refused;
	uint64_t spawn_failed;
	uint64_t attacks;
	uint64_t failed[FMLTP_ERROR_COUNT]; /* handshakes, by reason */
	uint64_t log_dropped;
	uint64_t log_left_out;
	uint64_t sources; /* known */
	uint8_t listening;
	uint8_t verbose; /* the log */
	uint8_t rotating;
	uint32_t generation; /* 0: none yet */
	uint32_t generation_bits;
	uint64_t generation_age_ms;
	char fingerprint[65];
	uint32_t generations; /* live */
	uint32_t made_ahead; /* sets */
	uint8_t has_identity;
	uint8_t identity[IDENTITY_PUBLIC_LEN];
};

/* One of its processes, workers aside. */
struct message_control_process {
	struct message_header header;
	uint32_t role; /* enum role_id */
	uint32_t instance;
	int32_t pid;
	int64_t memory_kib; /* -1: not known */
	uint8_t has_keys; /* a keys: */
	struct message_keys_status keys;
};

enum control_phase {
	CONTROL_PHASE_HANDSHAKE,
	CONTROL_PHASE_LOCKDOWN,
	CONTROL_PHASE_SESSION,
	CONTROL_PHASE_ENDING,
	CONTROL_PHASES
};

/* A session. */
struct message_control_session {
	struct message_header header;
	uint32_t phase; /* enum control_phase */
	uint64_t session;
	uint64_t age_ms;
	uint64_t idle_ms; /* to ACTIVE_PERIOD */
	int32_t pid; /* 0: not forked yet */
	uint32_t generation;
	uint8_t has_bytes; /* a worker tells at its end */
	uint64_t bytes_in;
	uint64_t bytes_out;
	struct client_version client;
	char user[AUTH_USER_MAX + 1];
	char peer[PEER_TEXT_MAX];
};

/* A source under penalty. */
struct message_control_penalty {
	struct message_header header;
	uint32_t offence; /* 0 handshake, 1 auth, 2 crash */
	uint32_t offences;
	uint64_t left_ms;
	char source[PEER_TEXT_MAX];
};

enum control_result {
	CONTROL_DONE,
	CONTROL_FAILED, /* `text` says why */
	CONTROL_DENIED, /* who asks may not */
	CONTROL_BUSY, /* too many ask */
	CONTROL_RESULTS
};

/* The last message of an answer. */
struct message_control_done {
	struct message_header header;
	uint32_t result; /* enum control_result */
	uint64_t count; /* sessions ended, penalties cleared */
	char text[CONTROL_TEXT_MAX];
};

/* What is known of a type. */
struct message_info {
	const char *name;
	uint16_t size;
	uint8_t fds;
};

extern const struct message_info message_info[MESSAGE_TYPES];

/* Room for any message. */
union message_any {
	struct message_header header;
#define X(type, body, fds, from, to) struct body body;
	MESSAGES(X)
#undef X
};

/* SHA-256 over the table: name, size and descriptors of each type. */
void message_table_hash(uint8_t digest[32]);

#endif
