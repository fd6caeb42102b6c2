/*
 * tests/fuzz/fuzz_client_packets.c - a server's packets in the client: packets
 * 1, 3, 5 and 7, an answer to AUTH and to a command, all of it explained.
 *
 * Runs in: the fuzzers alone.  The connection is replaced: what the client
 * sends is kept, and when it wants more it gets the next piece of what the
 * input has made of the packet that is due.  The tests of p, which take long,
 * say yes to the one p that is known.  Whatever comes, the client ends with a
 * status and, where that is not 0, a reason; and nothing of it can move a
 * terminal's cursor.
 *
 * Covers: client/handshake.c
 * Covers: client/channel.c
 * Covers: client/escape.c: escape_is_ascii escape_byte escape_print escape_text
 * Covers: client/explain.c
 * Covers: client/session.c: session_fail session_unasked session_print
 * Covers: client/session.c: session_ask session_patience session_command
 * Covers: client/session.c: session_quit session_authenticate
 * Covers: client/session.c: session_run_command
 */
#include "client/handshake.h"
#include "client/session.h"
#include "fmltp/kex.h"
#include "fmltp/text.h"
#include "tests/fuzz/input.h"
#include "tests/vectors.h"

#define PACKET_MAX 16384
#define PACKETS	   12
#define PASSWORD   "correct horse battery"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum fmltp_error __wrap_connection_read(struct connection *c, int64_t deadline);
enum fmltp_error
__wrap_connection_send(struct connection *c, const void *bytes, size_t len);
bool __wrap_kex_params_quick_check(const struct dh_params *params);
bool __wrap_kex_params_are_safe(const struct dh_params *params);

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
} server;

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
	memset(&s->secure, 0, sizeof(s->secure));
	secure_init(
	    &s->secure, SECURE_SERVER, key, s->raw, STREAM_CLIENT_TOKEN_MAX);
	s->has_key = true;
}

/* A packet as an honest server has it: its bytes, or what to seal. */
static void
honest(struct server *s, struct buf *b)
{
	uint8_t y[DH_PRIME_MAX];

	switch (s->due) {
	case 0:
		buf_put_str(b, "FlexMusic Server,0.0.0\r\n");
		break;
	case 1:
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

/* After the handshake: AUTH where it is asked for, and one command. */
static enum client_exit
session(struct session *s, const struct handshake *h, uint8_t start,
    struct failure *f)
{
	static const char *const command[] = { "HELP", "QUIT", "AUTH a b",
		"X" };
	const char *line = command[start / 32 % 4];
	struct auth a = { .user = "ada", .has_password = true };
	enum client_exit result = CLIENT_OK;

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
prepare(void)
{
	const char *init = vector_kex[0].server_kex_init;
	struct kex_group *group;
	size_t taken;

	if (pair != NULL)
		return;
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
	fuzz_check(memmem(text, len, PASSWORD, strlen(PASSWORD)) == NULL);
	free(text);
	channel_free(s.channel);
	return 0;
}
