/*
 * privsep/message.h - every message of every channel, defined once.
 *
 * Runs in: every server process.  Channels are SOCK_SEQPACKET socketpairs:
 * the kernel keeps the borders, so a message is a header and one C struct of
 * fixed layout, and there is nothing to parse.  Both ends are the same build
 * (the start message proves it), so layouts can't differ.
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
	/* zygote and worker */                                                \
	X(MESSAGE_SPAWN, message_spawn, 3, "master", "zygote")                 \
	X(MESSAGE_SPAWNED, message_spawned, 1, "zygote", "master")             \
	X(MESSAGE_SPAWN_FAILED, message_spawn_failed, 0, "zygote", "master")   \
	X(MESSAGE_ESTABLISHED, message_established, 0, "worker", "master")     \
	X(MESSAGE_ACTIVE, message_active, 0, "worker", "master")               \
	X(MESSAGE_END, message_end, 0, "worker", "master")                     \
	/* paramgen */                                                         \
	X(MESSAGE_GENERATE, message_generate, 0, "master", "paramgen")         \
	X(MESSAGE_CHECK, message_check, 0, "master", "paramgen")               \
	X(MESSAGE_PARAMS, message_params, 0, "paramgen", "master")

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
	uint32_t nproc; /* RLIMIT_NPROC; 0 is a limit; UINT32_MAX leaves it */
	uint32_t nofile; /* RLIMIT_NOFILE */
	int32_t nice;
	/* [0] is the helper's own; [1] that of a worker, for the zygote */
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
	bool known_answer; /* right */
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

/* One connection.  Descriptors: client, channel to master, channel to keys. */
struct message_spawn {
	struct message_header header;
	uint32_t generation;
	uint64_t session;
	uint32_t handshake_ms; /* for each of packets 2, 4 and 6 */
	uint32_t idle_ms; /* for the next command; 0: no limit */
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

struct message_generate {
	struct message_header header;
	uint32_t bits;
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
