/*
 * client/explain.c - what -v tells.
 *
 * Runs in: client, as its user.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/escape.h"
#include "client/explain.h"

#define EXPLAIN_HEX_SHORT 8 /* bytes of a short hash */
#define EXPLAIN_COLUMNS	  74 /* of a note, without its indent */

static const char explain_auth[] = "AUTH ";
static const char colour_packet[] = "\033[1m";
static const char colour_server[] = "\033[36m";
static const char colour_client[] = "\033[32m";
static const char colour_note[] = "\033[2m";
static const char colour_end[] = "\033[0m";

void
explain_init(struct explain *x, FILE *out, bool utf8)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	x->out = out;
	x->utf8 = utf8;
	x->colour = isatty(fileno(out)) == 1 &&
	    (no_color == NULL || *no_color == '\0') && term != NULL &&
	    *term != '\0' && strcmp(term, "dumb") != 0;
}

static const char *
explain_colour(const struct explain *x, const char *colour)
{
	return x->colour ? colour : "";
}

/* The line above a packet: who, what, how much. */
static void
explain_head(const struct explain *x, bool from_client, const char *name,
    size_t len, bool encrypted)
{
	fprintf(x->out, "\n%s%s%s  %s%s%s  %zu bytes, %s\n",
	    explain_colour(x, colour_packet), name,
	    explain_colour(x, colour_end),
	    explain_colour(x, from_client ? colour_client : colour_server),
	    from_client ? "client -> server" : "server -> client",
	    explain_colour(x, colour_end), len,
	    encrypted ? "encrypted" : "in the clear");
}

/* A sentence or two of explanation, in lines that fit a screen. */
static void __attribute__((format(printf, 2, 3)))
explain_note(const struct explain *x, const char *fmt, ...)
{
	char text[1024];
	const char *p = text;
	size_t n, end;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	while (*p != '\0') {
		n = strlen(p);
		if (n > EXPLAIN_COLUMNS) {
			end = EXPLAIN_COLUMNS;
			while (end > 0 && p[end] != ' ')
				end--;
			n = end > 0 ? end : strcspn(p, " ");
		}
		fprintf(x->out, "    %s%.*s%s\n",
		    explain_colour(x, colour_note), (int)n, p,
		    explain_colour(x, colour_end));
		p += n;
		p += strspn(p, " ");
	}
}

/* A line of text in quotes, and the line end that follows it in `s`. */
static void
explain_line(
    const struct explain *x, const uint8_t *s, size_t len, size_t whole)
{
	static const char *const end[] = { "", " LF", " CR LF" };

	fputs("    \"", x->out);
	escape_print(x->out, s, len, x->utf8);
	fprintf(x->out, "\"%s\n", whole - len <= 2 ? end[whole - len] : "");
}

/* What a packet holds, a line of the screen for each of its own. */
static void
explain_text(const struct explain *x, const uint8_t *s, size_t len)
{
	const uint8_t *end;
	size_t whole, shown;

	while (len > 0) {
		end = memchr(s, '\n', len);
		whole = end == NULL ? len : (size_t)(end - s) + 1;
		shown = end == NULL ? len : whole - 1;
		if (end != NULL && shown > 0 && s[shown - 1] == '\r')
			shown--;
		explain_line(x, s, shown, whole);
		s += whole;
		len -= whole;
	}
}

static const char *
explain_hex(char *out, size_t size, const uint8_t *bytes, size_t len)
{
	size_t i;

	out[0] = '\0';
	for (i = 0; i < len && 2 * i + 2 < size; i++)
		snprintf(out + 2 * i, size - 2 * i, "%02x", bytes[i]);
	return out;
}

static void
explain_version(
    const struct explain *x, const char *whose, const struct version_line *v)
{
	char name[4 * VERSION_NAME_MAX + 1];

	explain_note(x,
	    "%s name is %s; its compatibility signature is class "
	    "%u, stepping %u, sub-stepping %u.",
	    whose, escape_text(name, sizeof(name), v->name, strlen(v->name)),
	    v->signature.class, v->signature.stepping,
	    v->signature.substepping);
}

/* Packet 2 as it was sent. */
static void
explain_reply(const struct explain *x, const struct version_line *v)
{
	uint8_t line[VERSION_LINE_MAX];
	struct buf b;

	buf_init(&b, line, sizeof(line));
	version_put(&b, v);
	explain_line(x, b.data, b.len, b.len + 2);
}

static void
explain_params(const struct explain *x, const struct handshake *h)
{
	char hex[2 * CRYPTO_SHA256_LEN + 1];

	fprintf(x->out, "    -----BEGIN %s----- ...\n", DH_PARAMS_LABEL);
	explain_note(x,
	    "Diffie-Hellman parameters: a prime p of %u bits, and "
	    "the base 2.",
	    h->params.len * 8U);
	explain_note(x, "SHA-256 of their DER: %s",
	    explain_hex(
		hex, sizeof(hex), h->fingerprint, sizeof(h->fingerprint)));
}

static void
explain_public(const struct explain *x, const struct handshake *h,
    const char *whose, const uint8_t *y)
{
	uint8_t digest[CRYPTO_SHA256_LEN];
	char hex[2 * EXPLAIN_HEX_SHORT + 1];

	crypto_sha256(y, h->params.len, digest);
	fprintf(x->out, "    -----BEGIN %s----- ...\n", DH_PUBLIC_LABEL);
	explain_note(x,
	    "%s public value for this p of %u bits; its "
	    "SHA-256 begins with %s.",
	    whose, h->params.len * 8U,
	    explain_hex(hex, sizeof(hex), digest, EXPLAIN_HEX_SHORT));
}

/* A token: `whole` bytes came or went, with what holds `len` of plaintext. */
static void
explain_token(const struct explain *x, uint64_t when, size_t len, size_t whole)
{
	static const char *const end[] = { "", " and LF", " and CR LF" };
	size_t token = FERNET_TOKEN_LEN(len);
	char text[64] = "no date";
	time_t t = (time_t)when;
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	explain_note(x,
	    "A Fernet token of %zu characters%s, made at %" PRIu64
	    " (%s). It holds:",
	    token, whole - token <= 2 ? end[whole - token] : "", when, text);
}

void
explain_connecting(void *arg, const char *address)
{
	const struct explain *x = arg;

	fprintf(x->out, "Connecting to %s.\n", address);
}

void
explain_handshake(void *arg, const struct handshake *h, enum handshake_event e)
{
	const struct explain *x = arg;

	switch (e) {
	case HANDSHAKE_SERVER_VEX_INIT:
		explain_head(
		    x, false, "1 SERVER_VEX_INIT", h->packet_len, false);
		explain_line(x, h->banner, h->banner_len, h->packet_len);
		explain_version(x, "The server's", &h->server);
		break;
	case HANDSHAKE_CLIENT_VEX_REPLY:
		explain_head(
		    x, true, "2 CLIENT_VEX_REPLY", h->packet_len, false);
		explain_reply(x, &h->client);
		explain_version(x, "The client's", &h->client);
		explain_note(x,
		    "Both compare the two signatures: another "
		    "class would end the connection here.");
		break;
	case HANDSHAKE_SERVER_KEX_INIT:
		explain_head(
		    x, false, "3 SERVER_KEX_INIT", h->packet_len, false);
		explain_params(x, h);
		break;
	case HANDSHAKE_QUICK_CHECKED:
		explain_note(x,
		    "p = 23 mod 24, and p and (p-1)/2 pass a quick "
		    "test: probably a safe prime (%" PRId64 " ms).",
		    h->check_ms);
		break;
	case HANDSHAKE_CLIENT_KEX_ID:
		explain_head(x, true, "4 CLIENT_KEX_ID", h->packet_len, false);
		explain_public(x, h, "The client's", h->client_y);
		explain_note(x,
		    "Its private exponent has %u random bits and "
		    "is used for this connection alone.",
		    dh_exponent_bits(h->params.len * 8U));
		break;
	case HANDSHAKE_SERVER_KEX_ID:
		explain_head(x, false, "5 SERVER_KEX_ID", h->packet_len, false);
		explain_public(x, h, "The server's", h->server_y);
		break;
	case HANDSHAKE_KEY_DERIVED:
		explain_note(x,
		    "Both sides now have the same shared secret; "
		    "HKDF-SHA256 makes the session key of it (16 bytes sign, "
		    "16 encrypt). From here on every packet is a token under "
		    "that key.");
		break;
	case HANDSHAKE_CLIENT_KEX_CHAL:
		explain_head(x, true, "6 CLIENT_KEX_CHAL", h->packet_len, true);
		explain_token(x, h->when, h->banner_len, h->packet_len);
		explain_text(x, h->banner, h->banner_len);
		explain_note(x,
		    "Packet 1, encrypted: it proves that the "
		    "client has the key.");
		break;
	case HANDSHAKE_SERVER_KEX_FINAL:
		explain_head(
		    x, false, "7 SERVER_KEX_FINAL", h->packet_len, true);
		explain_token(x, h->when, strlen(h->final), h->packet_len);
		explain_text(x, (const uint8_t *)h->final, strlen(h->final));
		explain_note(x,
		    "The server has the key too. The status %d "
		    "says how the steppings of the two versions compare.",
		    h->status);
		explain_note(x, "%s",
		    h->authentication ? "It wants AUTH before anything else."
				      : "It asks for no authentication.");
		break;
	case HANDSHAKE_FULL_CHECK:
		fprintf(x->out,
		    "\nTesting p in full before anything of yours "
		    "is sent%s ...\n",
		    h->params.len * 8U >= 4096
			? " (this takes a while at this size)"
			: "");
		fflush(x->out);
		break;
	case HANDSHAKE_FULL_CHECKED:
		explain_note(x,
		    "p and (p-1)/2 are prime (%" PRId64 " ms): the "
		    "handshake is complete.",
		    h->check_ms);
		break;
	}
}

void
explain_no_authentication(const struct explain *x)
{
	explain_note(
	    x, "Nobody is authenticated here: user and password are not sent.");
}

/* The bytes of a command that may be shown: all of them, but for an AUTH's
 * password. */
static size_t
explain_public_len(const uint8_t *plain, size_t len)
{
	const uint8_t *blank = NULL;

	if (len > strlen(explain_auth) &&
	    memcmp(plain, explain_auth, strlen(explain_auth)) == 0)
		blank = memchr(plain + strlen(explain_auth), ' ',
		    len - strlen(explain_auth));
	return blank == NULL ? len : (size_t)(blank - plain);
}

void
explain_session(const struct explain *x, bool from_client, uint64_t when,
    const uint8_t *plain, size_t len, size_t whole)
{
	size_t shown = from_client ? explain_public_len(plain, len) : len;

	explain_head(
	    x, from_client, from_client ? "command" : "answer", whole, true);
	explain_token(x, when, len, whole);
	if (shown == len)
		explain_text(x, plain, len);
	else {
		fputs("    \"", x->out);
		escape_print(x->out, plain, shown, x->utf8);
		fputs(" ********\"\n", x->out);
		explain_note(x, "The password is not shown.");
	}
}

void
explain_closed(const struct explain *x)
{
	fprintf(x->out, "\nThe session is over; the connection is closed.\n");
}
