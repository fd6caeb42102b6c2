/*
 * tests/fuzz/fuzz_client_packets.c - a server's packets in the client: packets
 * 1, 3, 5 and 7, an answer to IDENT, to AUTH and to a command, all of it
 * explained.
 *
 * Runs in: the fuzzers alone.  The connection is replaced: what the client
 * sends is kept, and when it wants more it gets the next piece of what the
 * input has made of the packet that is due.  The tests of p, which take long,
 * say yes to the one p that is known.  Whatever comes, the client ends with a
 * status and, where that is not 0, a reason; and nothing of it can move a
 * terminal's cursor.  A server is taken for the one it claims to be only where
 * both sides have seen the same handshake, and its key is known or agreed to.
 * The user's home is a folder of the fuzzer's; the user answers as the input
 * has it; nothing waits for a disk.
 *
 * Covers: client/handshake.c
 * Covers: client/channel.c
 * Covers: client/escape.c: escape_is_ascii escape_byte escape_print escape_text
 * Covers: client/explain.c
 * Covers: client/session.c: session_fail session_unasked session_print
 * Covers: client/session.c: session_ask session_patience session_command
 * Covers: client/session.c: session_quit session_authenticate
 * Covers: client/session.c: session_run_command session_ask_identity
 * Covers: client/identity.c: identity_fail identity_prove identity_ask
 * Covers: client/identity.c: identity_changed identity_meet identity_check
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <readpassphrase.h>
#include <unistd.h>

#include "client/handshake.h"
#include "client/identity.h"
#include "client/known.h"
#include "client/session.h"
#include "fmltp/kex.h"
#include "fmltp/signature.h"
#include "fmltp/text.h"
#include "tests/fuzz/input.h"
#include "tests/vectors.h"

#define PACKET_MAX 16384
#define PACKETS	   12
#define PASSWORD   "correct horse battery"
#define BANNER	   "FlexMusic Server,0.0.0"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum fmltp_error __wrap_connection_read(struct connection *c, int64_t deadline);
enum fmltp_error
__wrap_connection_send(struct connection *c, const void *bytes, size_t len);
bool __wrap_kex_params_quick_check(const struct dh_params *params);
bool __wrap_kex_params_are_safe(const struct dh_params *params);
char *
__wrap_readpassphrase(const char *prompt, char *buf, size_t size, int flags);
int __wrap_fsync(int fd);

/* What the byte after the handshake says of the server's identity. */
enum fuzz_identity {
	IDENTITY_ASKED = 1, /* the client asks for it */
	IDENTITY_ACCEPT = 2, /* --accept-new */
	IDENTITY_WISH = 4, /* --fingerprint */
	IDENTITY_WISH_OTHER = 8, /* ... of another */
	IDENTITY_KNOWN = 16, /* the server's line is there */
	IDENTITY_KNOWN_OTHER = 32, /* ... with another key */
	IDENTITY_ANSWER = 64 /* from here on: the honest answer */
};

enum fuzz_answer {
	ANSWER_SIGNED,
	ANSWER_SIGNED_OTHER, /* by a key that is not the server's */
	ANSWER_NONE,
	ANSWER_NOT_NOW
};

/* What the next byte of the input makes of a packet. */
enum fuzz_made {
	MADE_PATCHED = 1, /* at a place, with bytes */
	MADE_REPLACED = 2, /* before it is sealed, where it is */
	MADE_RAW = 4, /* it is bytes, and not sealed */
	MADE_CUT = 8, /* the rest does not come */
	MADE_PIECES = 16, /* in pieces of a few bytes */
	MADE_LF = 32 /* another line end */
};

static struct server {
	struct fuzz_input *in;
	uint8_t packet[PACKET_MAX];
	size_t len;
	size_t given;
	size_t piece;
	unsigned due; /* the next packet */
	bool cut;
	enum fmltp_error end; /* of the connection */
	uint8_t got[PACKET_MAX]; /* of the client */
	size_t got_len;
	struct secure secure;
	uint8_t raw[STREAM_CLIENT_TOKEN_MAX];
	bool has_key;
	uint8_t identity; /* enum fuzz_identity */
	struct version_line client; /* packet 2 */
	uint8_t client_y[DH_PRIME_MAX];
	unsigned replies; /* that the user has given */
} server;

static char home[64], known[KNOWN_PATH_MAX];
static struct signature_key *signer[2]; /* the server's, and another */
static struct dh_params params;
static struct kex_pair *pair;

bool
__wrap_kex_params_quick_check(const struct dh_params *p)
{
	return p->len == params.len && memcmp(p->p, params.p, p->len) == 0;
}

bool
__wrap_kex_params_are_safe(const struct dh_params *p)
{
	return server.end != FMLTP_RESET && __wrap_kex_params_quick_check(p);
}

enum fmltp_error
__wrap_connection_send(struct connection *c, const void *bytes, size_t len)
{
	struct server *s = &server;

	if (s->cut)
		return s->end == FMLTP_TIMEOUT ? FMLTP_SEND_TIMEOUT
					       : FMLTP_RESET;
	fuzz_check(len <= sizeof(s->got));
	memcpy(s->got, bytes, len);
	s->got_len = len;
	return FMLTP_OK;
}

int
__wrap_fsync(int fd)
{
	return 0;
}

/* The user: says yes, something else, or is not there. */
char *
__wrap_readpassphrase(const char *prompt, char *buf, size_t size, int flags)
{
	static const char *const said[] = { "yes", "no", "yes please" };
	uint8_t what = fuzz_u8(server.in) % 4;

	for (; *prompt != '\0'; prompt++)
		fuzz_check(
		    *prompt == '\n' || (*prompt >= ' ' && *prompt <= '~'));
	if (what == 3)
		return NULL;
	server.replies += what == 0;
	strlcpy(buf, said[what], size);
	return buf;
}

/* The key from packet 4, which the client has just sent. */
static void
take_key(struct server *s)
{
	uint8_t y[DH_PRIME_MAX], key[FERNET_KEY_LEN];
	struct dh_params shown = params;
	size_t taken;

	if (dh_public_parse_pem(s->got, s->got_len, &shown, y, &taken) !=
		FMLTP_OK ||
	    kex_derive(pair, y, key) != FMLTP_OK)
		return;
	memcpy(s->client_y, y, sizeof(y));
	memset(&s->secure, 0, sizeof(s->secure));
	secure_init(
	    &s->secure, SECURE_SERVER, key, s->raw, STREAM_CLIENT_TOKEN_MAX);
	s->has_key = true;
}

/* What an honest server has seen of the handshake, signed. */
static void
put_signature(const struct server *s, struct buf *b)
{
	static uint8_t transcript[IDENTITY_TRANSCRIPT_MAX];
	uint8_t y[DH_PRIME_MAX], public[IDENTITY_PUBLIC_LEN];
	uint8_t signature[IDENTITY_SIGNATURE_LEN];
	struct signature_key *k =
	    signer[s->identity / IDENTITY_ANSWER == ANSWER_SIGNED_OTHER];
	struct version_line banner;
	struct buf t;

	fuzz_check(version_parse((const uint8_t *)BANNER, strlen(BANNER),
		       &banner) == FMLTP_OK);
	kex_pair_public(pair, y);
	buf_init(&t, transcript, sizeof(transcript));
	identity_put_transcript(
	    &t, &banner, &s->client, &params, s->client_y, y);
	fuzz_check(!t.failed && signature_make(k, t.data, t.len, signature));
	signature_key_public(k, public);
	identity_put_answer(b, public, signature);
}

static void
honest_identity(const struct server *s, struct buf *b)
{
	switch (s->identity / IDENTITY_ANSWER) {
	case ANSWER_SIGNED:
	case ANSWER_SIGNED_OTHER:
		put_signature(s, b);
		break;
	case ANSWER_NONE:
		buf_put_str(b, "400 Invalid command or operative.\r\n");
		break;
	default:
		buf_put_str(b, "420 The server cannot sign now.\r\n");
	}
}

/* A packet as an honest server has it: its bytes, or what to seal. */
static void
honest(struct server *s, struct buf *b)
{
	uint8_t y[DH_PRIME_MAX];
	unsigned due = s->due;

	if ((s->identity & IDENTITY_ASKED) != 0 && due >= 4) {
		if (due == 4) {
			honest_identity(s, b);
			return;
		}
		due--;
	}
	switch (due) {
	case 0:
		buf_put_str(b, BANNER "\r\n");
		break;
	case 1:
		/* Packet 2 and its CR LF; where packet 1 was no whole line the
		 * client has sent none. */
		if (s->got_len < 2 ||
		    version_parse(s->got, s->got_len - 2, &s->client) !=
			FMLTP_OK)
			memset(&s->client, 0, sizeof(s->client));
		dh_params_put_pem(b, &params);
		break;
	case 2:
		take_key(s);
		kex_pair_public(pair, y);
		dh_public_put_pem(b, &params, y);
		break;
	case 3:
		buf_put_str(b, "100 FmLTP/1.0 Interpreter Ready.\r\n");
		buf_put_str(b, "Authentication required.\r\n");
		break;
	case 4:
		buf_put_str(b, "150 Authentication successful.\r\n");
		break;
	default:
		buf_put_str(b, "200 Goodbye.\r\n");
	}
}

static void
patch(struct buf *b, struct fuzz_input *in)
{
	const uint8_t *bytes;
	size_t at, len;

	if (b->len == 0)
		return;
	at = fuzz_u16(in) % b->len;
	bytes = fuzz_bytes(in, b->len - at, &len);
	memcpy(b->data + at, bytes, len);
}

/* Makes the packet that is due. */
static void
make_packet(struct server *s)
{
	static uint8_t plain[PACKET_MAX];
	struct fuzz_input *in = s->in;
	uint8_t made = fuzz_u8(in), iv[FERNET_IV_LEN] = { 0 };
	bool sealed = s->due >= 3 && s->has_key && (made & MADE_RAW) == 0;
	const uint8_t *bytes;
	struct buf b, out;
	size_t len;

	buf_init(&b, plain, sizeof(plain));
	honest(s, &b);
	if ((made & MADE_REPLACED) != 0) {
		bytes = fuzz_bytes(in, 4096, &len);
		memcpy(plain, bytes, len);
		b.len = len;
	}
	if ((made & MADE_PATCHED) != 0 && made % 4 != 3)
		patch(&b, in);
	buf_init(&out, s->packet, sizeof(s->packet));
	if (sealed) {
		iv[0] = (uint8_t)s->due;
		fernet_seal(&s->secure.fernet,
		    made % 4 == 3 ? fuzz_u16(in) : 1000 + s->due, iv, b.data,
		    b.len, &out);
		buf_put_str(&out, (made & MADE_LF) != 0 ? "\n" : "\r\n");
	} else
		buf_put(&out, b.data, b.len);
	if (made % 4 == 3)
		patch(&out, in);
	fuzz_check(!out.failed);
	s->len = out.len;
	if ((made & MADE_CUT) != 0) {
		s->len = fuzz_u16(in) % (s->len + 1);
		s->cut = true;
	}
	s->piece = (made & MADE_PIECES) != 0 ? fuzz_u8(in) + 1u : PACKET_MAX;
	s->given = 0;
	s->due++;
}

enum fmltp_error
__wrap_connection_read(struct connection *c, int64_t deadline)
{
	struct server *s = &server;
	size_t n;

	if (c->in_len == sizeof(c->in))
		return FMLTP_INTERNAL;
	while (s->given == s->len) {
		if (s->cut || s->due == PACKETS)
			return s->end;
		make_packet(s);
	}
	n = s->len - s->given;
	n = n > s->piece ? s->piece : n;
	if (n > sizeof(c->in) - c->in_len)
		n = sizeof(c->in) - c->in_len;
	memcpy(c->in + c->in_len, s->packet + s->given, n);
	s->given += n;
	c->in_len += n;
	return FMLTP_OK;
}

/* What is shown is lines of text, whatever the server has sent. */
static void
check_shown(const char *text, size_t len, bool utf8)
{
	const char *end;
	size_t n, i;

	for (; len > 0; text += n + 1, len -= n + 1) {
		end = memchr(text, '\n', len);
		fuzz_check(end != NULL);
		n = (size_t)(end - text);
		if (utf8)
			fuzz_check(text_is_printable((const uint8_t *)text, n));
		for (i = 0; !utf8 && i < n; i++)
			fuzz_check(text[i] >= ' ' && text[i] <= '~');
	}
}

static void
check_end(enum client_exit result, const struct failure *f)
{
	if (result == CLIENT_OK)
		return;
	fuzz_check(f->exit == result && f->what[0] != '\0');
	for (result = 0; f->what[result] != '\0'; result++)
		fuzz_check(f->what[result] >= ' ' && f->what[result] <= '~');
}

/* The user's file, before. */
static void
write_known(uint8_t identity)
{
	static const uint8_t bad[] = "no server\n";
	uint8_t public[IDENTITY_PUBLIC_LEN], text[256];
	struct buf b;
	int fd;

	(void)unlink(known);
	if ((identity & (IDENTITY_KNOWN | IDENTITY_KNOWN_OTHER)) == 0)
		return;
	buf_init(&b, text, sizeof(text));
	if ((identity & IDENTITY_KNOWN) == 0 &&
	    (identity & IDENTITY_WISH_OTHER) != 0)
		buf_put(&b, bad, sizeof(bad) - 1);
	buf_put_str(&b, "[server]:8900 ed25519 ");
	signature_key_public(
	    signer[(identity & IDENTITY_KNOWN_OTHER) != 0], public);
	identity_put_key(&b, public);
	fd = open(known, O_WRONLY | O_CREAT | O_EXCL, 0600);
	fuzz_check(fd != -1 && write(fd, b.data, b.len) == (ssize_t)b.len);
	close(fd);
}

/* Who is the server?  Nothing is taken for proved that is not. */
static enum client_exit
ask_identity(struct session *s, const struct handshake *h, struct failure *f)
{
	const uint8_t identity = server.identity;
	uint8_t public[IDENTITY_PUBLIC_LEN], y[DH_PRIME_MAX];
	char fingerprint[IDENTITY_TEXT_MAX], line[VERSION_LINE_MAX];
	const uint8_t wishes =
	    identity & (IDENTITY_ACCEPT | IDENTITY_WISH | IDENTITY_WISH_OTHER);
	struct identity_wishes w = {
		.host = wishes == IDENTITY_WISH_OTHER ? "no host" : "Server",
		.port = "8900",
		.accept_new = (identity & IDENTITY_ACCEPT) != 0
	};
	enum client_exit result;
	struct known_answer a;
	struct failure ignored;
	struct buf b;

	write_known(identity);
	if ((identity & IDENTITY_WISH) != 0) {
		signature_key_public(
		    signer[(identity & IDENTITY_WISH_OTHER) != 0], public);
		identity_fingerprint(public, fingerprint);
		fuzz_check(identity_fingerprint_valid(fingerprint));
		w.fingerprint = fingerprint;
	}
	result = identity_check(s, h, &w, f);
	if (result != CLIENT_OK)
		return result;
	fuzz_check(known_look(known, "[server]:8900", NULL, &a, &ignored) ==
	    CLIENT_OK);
	if (!a.known) {
		/* It has none, and the user knows. */
		fuzz_check((w.accept_new || server.replies > 0) &&
		    w.fingerprint == NULL);
		return result;
	}
	if ((identity & (IDENTITY_KNOWN | IDENTITY_KNOWN_OTHER)) == 0)
		fuzz_check(w.accept_new || w.fingerprint != NULL ||
		    server.replies > 0);
	kex_pair_public(pair, y);
	buf_init(&b, line, sizeof(line));
	version_put(&b, &h->server);
	fuzz_check(b.len == strlen(BANNER) && memcmp(line, BANNER, b.len) == 0);
	fuzz_check(memcmp(h->client_y, server.client_y, params.len) == 0 &&
	    memcmp(h->server_y, y, params.len) == 0);
	return result;
}

/* After the handshake: who it is, AUTH where it is asked for, and one
 * command. */
static enum client_exit
session(struct session *s, const struct handshake *h, uint8_t start,
    struct failure *f)
{
	static const char *const command[] = { "HELP", "QUIT", "AUTH a b",
		"X" };
	const char *line = command[start / 32 % 4];
	struct auth a = { .user = "ada", .has_password = true };
	enum client_exit result = CLIENT_OK;

	server.identity = fuzz_u8(server.in);
	if ((server.identity & IDENTITY_ASKED) != 0)
		result = ask_identity(s, h, f);
	if (result != CLIENT_OK)
		return result;
	if (h->authentication && start / 64 % 2 == 0) {
		a.len = strlcpy(a.password, PASSWORD, sizeof(a.password));
		result = session_authenticate(s, &a, f);
		fuzz_check(a.len == 0 && a.password[0] == '\0');
	} else if (s->explain != NULL)
		explain_no_authentication(s->explain);
	if (result == CLIENT_OK)
		result = session_run_command(s, line, strlen(line), f);
	if (result == CLIENT_OK && s->explain != NULL)
		explain_closed(s->explain);
	return result;
}

static void
remove_home(void)
{
	char *slash;

	(void)unlink(known);
	while ((slash = strrchr(known, '/')) != known + strlen("/tmp")) {
		*slash = '\0';
		(void)rmdir(known);
	}
}

static void
prepare_home(void)
{
	const uint8_t seed[2][IDENTITY_SEED_LEN] = { { 1 }, { 2 } };
	char *slash;
	size_t i;

	strlcpy(home, "/tmp/flexmusic-fuzz-XXXXXX", sizeof(home));
	fuzz_check(mkdtemp(home) != NULL && setenv("HOME", home, 1) == 0);
	fuzz_check(known_path(known, sizeof(known)));
	slash = known + strlen(home);
	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		fuzz_check(mkdir(known, 0700) == 0);
		*slash = '/';
	}
	fuzz_check(atexit(remove_home) == 0);
	for (i = 0; i < 2; i++) {
		signer[i] = signature_key_new(seed[i]);
		fuzz_check(signer[i] != NULL);
	}
}

static void
prepare(void)
{
	const char *init = vector_kex[0].server_kex_init;
	struct kex_group *group;
	size_t taken;

	if (pair != NULL)
		return;
	prepare_home();
	fuzz_check(dh_params_parse_pem((const uint8_t *)init, strlen(init),
		       &params, &taken) == FMLTP_OK);
	group = kex_group_new(&params);
	fuzz_check(group != NULL);
	pair = kex_pair_new(group);
	fuzz_check(pair != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum fmltp_error ends[] = { FMLTP_CLOSED, FMLTP_RESET,
		FMLTP_TIMEOUT, FMLTP_INTERNAL };
	static struct connection c;
	struct fuzz_input in = { data, size };
	uint8_t start = fuzz_u8(&in);
	struct handshake h = { .allow_weak = start % 16 != 15,
		.signature = { start / 16 % 16 == 15, 0, 0 } };
	char *text = NULL;
	size_t len = 0;
	struct explain explain = { .utf8 = start / 4 % 2 == 1 };
	struct session s = { .utf8 = start / 4 % 2 == 1 };
	struct failure f = { 0 };
	enum client_exit result;

	prepare();
	memset(&server, 0, sizeof(server));
	server.in = &in;
	server.end = ends[start % 4];
	memset(&c, 0, sizeof(c));
	c.fd = -1;
	s.channel = channel_new(&c);
	s.out = open_memstream(&text, &len);
	fuzz_check(s.channel != NULL && s.out != NULL);
	explain_init(&explain, s.out, explain.utf8);
	explain_connecting(&explain, "127.0.0.1:8900");
	if (start / 8 % 2 == 1) {
		s.explain = &explain;
		h.tell = explain_handshake;
		h.arg = &explain;
	}
	result = handshake_run(&h, s.channel, &f);
	if (result == CLIENT_OK)
		result = session(&s, &h, start, &f);
	check_end(result, &f);
	fclose(s.out);
	check_shown(text, len, s.utf8);
	/* Unless the server has said it itself, by chance. */
	fuzz_check(memmem(data, size, PASSWORD, strlen(PASSWORD)) != NULL ||
	    memmem(text, len, PASSWORD, strlen(PASSWORD)) == NULL);
	free(text);
	channel_free(s.channel);
	return 0;
}
