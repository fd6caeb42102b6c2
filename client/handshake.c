/*
 * client/handshake.c - the client's side of packets 1 to 7.
 *
 * Runs in: client, as its user.
 */
#include <stdio.h>
#include <string.h>

#include "client/escape.h"
#include "client/handshake.h"
#include "fmltp/kex.h"
#include "fmltp/status.h"

static const char remedy_report[] =
    "something between you and the server may have changed the packet, or "
    "the server is broken: tell its administrator";

static const char remedy_newer[] = "a newer client is needed for this server";
static const char remedy_older[] =
    "an older client is needed for this server, or a newer server";
static const char remedy_host[] =
    "check that host and port are a FlexMusic server's";
static const char remedy_later[] =
    "the server may be full, may penalise this address, or may not take this "
    "client's version: try again later, or ask for its log";
static const char remedy_log[] =
    "the server refused something: its log has the reason";

static void
handshake_event(const struct handshake *h, enum handshake_event e)
{
	if (h->tell != NULL)
		h->tell(h->arg, h, e);
}

/*
 * What the user is told when packet `number` does not come, or breaks a
 * rule.
 */
static enum client_exit
handshake_fail(
    struct failure *f, int number, const char *name, enum fmltp_error e)
{
	const char *remedy = remedy_report;

	switch (e) {
	case FMLTP_CLOSED:
	case FMLTP_RESET:
		if (number == HANDSHAKE_SERVER_VEX_INIT)
			remedy = remedy_host;
		else if (number <= HANDSHAKE_SERVER_KEX_INIT)
			remedy = remedy_later;
		else
			remedy = remedy_log;
		return failure_set(f, CLIENT_HANDSHAKE, remedy,
		    "the server closed the connection where packet %d (%s) was "
		    "due",
		    number, name);
	case FMLTP_TIMEOUT:
		return failure_set(f, CLIENT_HANDSHAKE,
		    "check that host and port are a FlexMusic server's, or "
		    "give it more time with -t",
		    "packet %d (%s) did not come whole within the time limit",
		    number, name);
	case FMLTP_SEND_TIMEOUT:
		return failure_set(f, CLIENT_HANDSHAKE,
		    "give the server more time with -t",
		    "the server did not take packet %d (%s) within the time "
		    "limit",
		    number, name);
	case FMLTP_INTERNAL:
		return failure_set(f, CLIENT_LOCAL, NULL,
		    "no memory or no random numbers for packet %d (%s)", number,
		    name);
	case FMLTP_TOKEN_MAC:
		remedy =
		    "the two sides have different keys: somebody is between "
		    "you and the server, or one of the two is broken";
		break;
	default:
		break;
	}
	return failure_set(f, CLIENT_HANDSHAKE, remedy,
	    "packet %d (%s) breaks the protocol: %s", number, name,
	    fmltp_error_text(e));
}

static enum client_exit
handshake_not_flexmusic(
    struct failure *f, const struct connection *c, enum fmltp_error e)
{
	char text[128];
	size_t len = 0;

	while (len < c->in_len && c->in[len] != '\n' && c->in[len] != '\r')
		len++;
	escape_text(text, sizeof(text), c->in, len);
	return failure_set(f, CLIENT_NOT_FLEXMUSIC,
	    "check host and port: something else answers there",
	    "not a FlexMusic server: it began with \"%s\": %s", text,
	    fmltp_error_text(e));
}

/*
 * Packet 1.  CR LF or LF ends it.  What can't become a version line is
 * refused at the first byte that shows it: other servers wait for the client
 * after their greeting.
 */
static enum client_exit
handshake_server_vex_init(
    struct handshake *h, struct connection *c, struct failure *f)
{
	int64_t deadline = connection_deadline(c);
	size_t prefix = strlen(VERSION_PREFIX), text_len, taken;
	enum version_scan found;
	enum fmltp_error e;

	for (;;) {
		found = version_scan(c->in, c->in_len, &text_len, &taken);
		if (found == VERSION_SCAN_LINE || found == VERSION_SCAN_LONG)
			break;
		if (memcmp(c->in, VERSION_PREFIX,
			c->in_len < prefix ? c->in_len : prefix) != 0)
			return handshake_not_flexmusic(f, c, FMLTP_VEX_PREFIX);
		e = connection_read(c, deadline);
		if (e != FMLTP_OK)
			return handshake_fail(
			    f, HANDSHAKE_SERVER_VEX_INIT, "SERVER_VEX_INIT", e);
	}
	if (found == VERSION_SCAN_LONG)
		return handshake_not_flexmusic(f, c, FMLTP_VEX_LONG);
	e = version_parse(c->in, text_len, &h->server);
	if (e != FMLTP_OK)
		return handshake_not_flexmusic(f, c, e);
	memcpy(h->banner, c->in, text_len);
	h->banner_len = text_len;
	h->packet_len = taken;
	connection_take(c, taken);
	handshake_event(h, HANDSHAKE_SERVER_VEX_INIT);
	return CLIENT_OK;
}

/*
 * Packet 2.  It is sent to an incompatible server too, so that the server's
 * log can say which client came.
 */
static enum client_exit
handshake_client_vex_reply(
    struct handshake *h, struct connection *c, struct failure *f)
{
	const struct version_signature *s = &h->server.signature;
	uint8_t line[VERSION_LINE_MAX];
	struct buf b;
	enum fmltp_error e;

	snprintf(h->client.name, sizeof(h->client.name), "%s", HANDSHAKE_NAME);
	h->client.signature = h->signature;
	buf_init(&b, line, sizeof(line));
	version_put(&b, &h->client);
	buf_put_str(&b, "\r\n");
	e = connection_send(c, b.data, b.len);
	h->status = version_compare(s, &h->signature);
	if (h->status == 0)
		return failure_set(f, CLIENT_INCOMPATIBLE,
		    s->class > h->signature.class ? remedy_newer : remedy_older,
		    "incompatible versions: the server has class %u (%u.%u.%u),"
		    " this client %u (%u.%u.%u)",
		    s->class, s->class, s->stepping, s->substepping,
		    h->signature.class, h->signature.class,
		    h->signature.stepping, h->signature.substepping);
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_CLIENT_VEX_REPLY, "CLIENT_VEX_REPLY", e);
	h->packet_len = b.len;
	handshake_event(h, HANDSHAKE_CLIENT_VEX_REPLY);
	return CLIENT_OK;
}

/* Drops `len` bytes of a PEM block; its line end may come later. */
static void
handshake_take_pem(struct handshake *h, struct connection *c, size_t len)
{
	h->packet_len = len;
	h->line_end_due = c->in[len - 1] != '\n';
	connection_take(c, len);
}

/*
 * Drops the line end of packet 3 where it came after the packet.  True if
 * the next packet can begin at the first byte received.
 */
static bool
handshake_skip_line_end(struct handshake *h, struct connection *c)
{
	size_t len;

	if (!h->line_end_due || c->in_len == 0)
		return true;
	len = c->in[0] == '\r' ? 2 : c->in[0] == '\n' ? 1 : 0;
	if (len > c->in_len)
		return false;
	if (len > 0 && c->in[len - 1] == '\n')
		connection_take(c, len);
	h->line_end_due = false;
	return true;
}

static int64_t
handshake_time_check(bool check(const struct dh_params *),
    const struct dh_params *params, bool *passed)
{
	int64_t start = connection_now();

	*passed = check(params);
	return connection_now() - start;
}

static enum client_exit
handshake_not_prime(struct failure *f)
{
	return failure_set(f, CLIENT_HANDSHAKE, remedy_report,
	    "packet 3 (SERVER_KEX_INIT) breaks the protocol: p is not a safe "
	    "prime");
}

/*
 * Packet 3.  Here p has the quick test alone: the full one can take longer
 * than the server waits for packet 4.  Packets 4 to 7 show nothing but the
 * public value of a pair that is used once, and packet 1's text; the full
 * test comes before anything else is sent.
 */
static enum client_exit
handshake_server_kex_init(
    struct handshake *h, struct connection *c, struct failure *f)
{
	int64_t deadline = connection_deadline(c);
	enum fmltp_error e;
	size_t taken;
	bool passed;

	while ((e = dh_params_parse_pem(
		    c->in, c->in_len, &h->params, &taken)) == FMLTP_MORE) {
		e = connection_read(c, deadline);
		if (e != FMLTP_OK)
			break;
	}
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_SERVER_KEX_INIT, "SERVER_KEX_INIT", e);
	handshake_take_pem(h, c, taken);
	dh_params_fingerprint(&h->params, h->fingerprint);
	handshake_event(h, HANDSHAKE_SERVER_KEX_INIT);
	if (h->params.len * 8 < HANDSHAKE_BITS_STRONG && !h->allow_weak)
		return failure_set(f, CLIENT_HANDSHAKE,
		    "ask for a larger key_size, or accept it with --allow-weak "
		    "where nothing is at stake",
		    "the server's parameters are weak: p has %u bits, fewer "
		    "than %u",
		    h->params.len * 8U, HANDSHAKE_BITS_STRONG);
	h->check_ms =
	    handshake_time_check(kex_params_quick_check, &h->params, &passed);
	if (!passed)
		return handshake_not_prime(f);
	handshake_event(h, HANDSHAKE_QUICK_CHECKED);
	return CLIENT_OK;
}

/* Packet 4. */
static enum client_exit
handshake_client_kex_id(struct handshake *h, struct connection *c,
    const struct kex_pair *pair, struct failure *f)
{
	uint8_t pem[DH_PEM_MAX];
	struct buf b;
	enum fmltp_error e;

	kex_pair_public(pair, h->client_y);
	buf_init(&b, pem, sizeof(pem));
	dh_public_put_pem(&b, &h->params, h->client_y);
	e = b.failed ? FMLTP_INTERNAL : connection_send(c, b.data, b.len);
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_CLIENT_KEX_ID, "CLIENT_KEX_ID", e);
	h->packet_len = b.len;
	handshake_event(h, HANDSHAKE_CLIENT_KEX_ID);
	return CLIENT_OK;
}

/* Packet 5. */
static enum client_exit
handshake_server_kex_id(
    struct handshake *h, struct connection *c, struct failure *f)
{
	int64_t deadline = connection_deadline(c);
	enum fmltp_error e;
	size_t taken;

	for (;;) {
		e = FMLTP_MORE;
		if (handshake_skip_line_end(h, c))
			e = dh_public_parse_pem(
			    c->in, c->in_len, &h->params, h->server_y, &taken);
		if (e != FMLTP_MORE)
			break;
		e = connection_read(c, deadline);
		if (e != FMLTP_OK)
			break;
	}
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_SERVER_KEX_ID, "SERVER_KEX_ID", e);
	handshake_take_pem(h, c, taken);
	handshake_event(h, HANDSHAKE_SERVER_KEX_ID);
	return CLIENT_OK;
}

/* Packets 4 and 5, and the session key from them. */
static enum client_exit
handshake_exchange_keys(
    struct handshake *h, struct channel *ch, struct failure *f)
{
	struct connection *c = ch->connection;
	uint8_t key[FERNET_KEY_LEN];
	struct kex_group *group;
	struct kex_pair *pair = NULL;
	enum client_exit result;

	group = kex_group_new(&h->params);
	if (group != NULL)
		pair = kex_pair_new(group);
	if (pair == NULL) {
		result = failure_set(f, CLIENT_LOCAL, NULL,
		    "no memory or no random numbers for a key pair");
		goto done;
	}
	result = handshake_client_kex_id(h, c, pair, f);
	if (result != CLIENT_OK)
		goto done;
	result = handshake_server_kex_id(h, c, f);
	if (result != CLIENT_OK)
		goto done;
	if (kex_derive(pair, h->server_y, key) != FMLTP_OK) {
		result = failure_set(f, CLIENT_LOCAL, NULL,
		    "the session key could not be derived");
		goto done;
	}
	channel_start(ch, key);
	handshake_event(h, HANDSHAKE_KEY_DERIVED);
done:
	explicit_bzero(key, sizeof(key));
	kex_pair_free(pair);
	kex_group_free(group);
	return result;
}

/* Packet 6. */
static enum client_exit
handshake_client_kex_chal(
    struct handshake *h, struct channel *ch, struct failure *f)
{
	enum fmltp_error e;

	e = channel_send(ch, h->banner, h->banner_len);
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_CLIENT_KEX_CHAL, "CLIENT_KEX_CHAL", e);
	h->packet_len = ch->packet_len;
	h->when = ch->sent_when;
	handshake_event(h, HANDSHAKE_CLIENT_KEX_CHAL);
	return CLIENT_OK;
}

/* True if the packet is `text`, byte for byte. */
static bool
handshake_final_is(const struct channel *ch, const char *text)
{
	return ch->plain_len == strlen(text) &&
	    memcmp(ch->plain, text, ch->plain_len) == 0;
}

/*
 * Packet 7: one of the two texts that the protocol has, with the status that
 * follows from the two version lines.
 */
static enum client_exit
handshake_server_kex_final(
    struct handshake *h, struct channel *ch, struct failure *f)
{
	char plain[48], auth[HANDSHAKE_FINAL_MAX], shown[160];
	enum fmltp_error e;
	int code;

	e = channel_receive(ch, connection_deadline(ch->connection));
	if (e != FMLTP_OK)
		return handshake_fail(
		    f, HANDSHAKE_SERVER_KEX_FINAL, "SERVER_KEX_FINAL", e);
	code = status_code(ch->plain, ch->plain_len);
	snprintf(plain, sizeof(plain), "%03d FmLTP/1.0 Interpreter Ready.\r\n",
	    code);
	snprintf(auth, sizeof(auth), "%sAuthentication required.\r\n", plain);
	h->authentication = handshake_final_is(ch, auth);
	if (!status_is_ready(code) ||
	    (!h->authentication && !handshake_final_is(ch, plain))) {
		escape_text(shown, sizeof(shown), ch->plain, ch->plain_len);
		return failure_set(f, CLIENT_HANDSHAKE, remedy_report,
		    "packet 7 (SERVER_KEX_FINAL) is not the one that the "
		    "protocol has: \"%s\"",
		    shown);
	}
	if (code != h->status)
		return failure_set(f, CLIENT_HANDSHAKE, remedy_report,
		    "packet 7 (SERVER_KEX_FINAL) has the status %d, but the "
		    "two version lines make it %d",
		    code, h->status);
	snprintf(
	    h->final, sizeof(h->final), "%s", h->authentication ? auth : plain);
	h->packet_len = ch->packet_len;
	h->when = ch->when;
	handshake_event(h, HANDSHAKE_SERVER_KEX_FINAL);
	return CLIENT_OK;
}

/* The full test of p, before anything of the user's is sent. */
static enum client_exit
handshake_check_params(struct handshake *h, struct failure *f)
{
	bool passed;

	handshake_event(h, HANDSHAKE_FULL_CHECK);
	h->check_ms =
	    handshake_time_check(kex_params_are_safe, &h->params, &passed);
	if (!passed)
		return handshake_not_prime(f);
	handshake_event(h, HANDSHAKE_FULL_CHECKED);
	return CLIENT_OK;
}

enum client_exit
handshake_run(struct handshake *h, struct channel *ch, struct failure *f)
{
	struct connection *c = ch->connection;
	enum client_exit result;

	if ((result = handshake_server_vex_init(h, c, f)) == CLIENT_OK &&
	    (result = handshake_client_vex_reply(h, c, f)) == CLIENT_OK &&
	    (result = handshake_server_kex_init(h, c, f)) == CLIENT_OK &&
	    (result = handshake_exchange_keys(h, ch, f)) == CLIENT_OK &&
	    (result = handshake_client_kex_chal(h, ch, f)) == CLIENT_OK &&
	    (result = handshake_server_kex_final(h, ch, f)) == CLIENT_OK)
		result = handshake_check_params(h, f);
	return result;
}
