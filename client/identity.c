/*
 * client/identity.c - is this the server that the user knows?
 *
 * Runs in: client, as its user.  Public values alone.
 */
#include <errno.h>
#include <readpassphrase.h>
#include <stdio.h>
#include <string.h>

#include "client/escape.h"
#include "client/identity.h"
#include "client/known.h"
#include "fmltp/crypto.h"
#include "fmltp/signature.h"

#define IDENTITY_PREFIX "SHA256:"

/* The server, as it has shown itself. */
struct identity_shown {
	bool has; /* an identity, proved */
	uint8_t key[IDENTITY_PUBLIC_LEN];
	char fingerprint[IDENTITY_TEXT_MAX];
};

bool
identity_fingerprint_valid(const char *text)
{
	const size_t prefix = strlen(IDENTITY_PREFIX);

	return strlen(text) == IDENTITY_TEXT_MAX - 2 &&
	    strncmp(text, IDENTITY_PREFIX, prefix) == 0 &&
	    text[prefix +
		strspn(text + prefix,
		    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		    "0123456789+/")] == '\0';
}

static enum client_exit
identity_fail(struct failure *f, const char *remedy, const char *what)
{
	return failure_set(f, CLIENT_IDENTITY, remedy, "%s", what);
}

/* The proof: the key has signed this handshake, and no other. */
static enum client_exit
identity_prove(const struct session *s, const struct handshake *h,
    struct identity_shown *shown, struct failure *f)
{
	uint8_t signature[IDENTITY_SIGNATURE_LEN];
	uint8_t transcript[IDENTITY_TRANSCRIPT_MAX];
	struct buf b;

	if (!identity_parse_answer(s->channel->plain, s->channel->plain_len,
		shown->key, signature))
		return identity_fail(f,
		    "the server is broken: tell its administrator",
		    "the server's proof of its identity is malformed");
	buf_init(&b, transcript, sizeof(transcript));
	identity_put_transcript(
	    &b, &h->server, &h->client, &h->params, h->client_y, h->server_y);
	if (b.failed || !signature_check(shown->key, b.data, b.len, signature))
		return identity_fail(f,
		    "somebody between you and the server may be reading and "
		    "changing what is sent: nothing secret was sent",
		    "THE SERVER'S PROOF OF ITS IDENTITY IS WRONG");
	identity_fingerprint(shown->key, shown->fingerprint);
	shown->has = true;
	return CLIENT_OK;
}

/* Asks the user on the terminal. */
static enum client_exit
identity_ask(const char *question, struct failure *f)
{
	char answer[16];

	if (readpassphrase(question, answer, sizeof(answer),
		RPP_ECHO_ON | RPP_REQUIRE_TTY) == NULL)
		return identity_fail(f,
		    "without a terminal, give the fingerprint that you expect "
		    "with --fingerprint, or --accept-new",
		    "nobody can be asked whether this is the server");
	if (strcmp(answer, "yes") == 0)
		return CLIENT_OK;
	return identity_fail(f, NULL, "you did not say yes");
}

/* The server that the user knows has another key now. */
static enum client_exit
identity_changed(const char *path, const struct known_answer *a,
    const struct identity_shown *shown, struct failure *f)
{
	char old[IDENTITY_TEXT_MAX];

	identity_fingerprint(a->key, old);
	fprintf(stderr,
	    "flexmusic: WARNING: THE SERVER'S IDENTITY HAS CHANGED\n"
	    "flexmusic: known here: %s\n"
	    "flexmusic: this one:   %s\n"
	    "flexmusic: somebody between you and the server may be posing as "
	    "it.  If its\n"
	    "flexmusic: administrator tells you that it has a new identity, "
	    "remove line %u of\n"
	    "flexmusic: %s and connect again\n",
	    old, shown->has ? shown->fingerprint : "none", a->line, path);
	return identity_fail(f, NULL,
	    shown->has ? "the server is not the one that is known here"
		       : "the server does not prove that it is the one that is "
			 "known here");
}

/* A server that is not known yet. */
static enum client_exit
identity_meet(const char *path, const char *name,
    const struct identity_wishes *w, const struct identity_shown *shown,
    struct failure *f)
{
	char question[1024], host[KNOWN_HOST_MAX + 16];
	enum client_exit result = CLIENT_OK;

	escape_text(host, sizeof(host), name, strlen(name));
	if (!shown->has && w->accept_new) {
		fprintf(stderr,
		    "flexmusic: warning: %s has no identity: nobody can tell "
		    "it from another\n",
		    host);
		return CLIENT_OK;
	}
	if (shown->has)
		snprintf(question, sizeof(question),
		    "The server %s is not known here.  Its identity is\n%s\n"
		    "Is that what its administrator told you? (yes or no) ",
		    host, shown->fingerprint);
	else
		snprintf(question, sizeof(question),
		    "The server %s has no identity: nobody can tell it from "
		    "another.\nGo on? (yes or no) ",
		    host);
	if (!w->accept_new && w->fingerprint == NULL)
		result = identity_ask(question, f);
	if (result == CLIENT_OK && shown->has)
		result = known_add(path, name, shown->key, f);
	return result;
}

enum client_exit
identity_check(struct session *s, const struct handshake *h,
    const struct identity_wishes *w, struct failure *f)
{
	struct identity_shown shown = { .has = false };
	char path[KNOWN_PATH_MAX], name[KNOWN_HOST_MAX + 9];
	struct known_answer a;
	enum client_exit result;
	int code;

	if (!known_name(name, sizeof(name), w->host, w->port) ||
	    !known_path(path, sizeof(path)))
		return failure_set(f, CLIENT_LOCAL,
		    "HOME says where known_servers is",
		    "there is no place for known servers, or no name for this "
		    "one");
	result = session_ask_identity(s, &code, f);
	if (result == CLIENT_OK && code == STATUS_OK)
		result = identity_prove(s, h, &shown, f);
	else if (result == CLIENT_OK && code != STATUS_INVALID)
		result = identity_fail(f, "the server's log has the reason",
		    "the server does not prove its identity now");
	if (result == CLIENT_OK)
		result =
		    known_look(path, name, shown.has ? shown.key : NULL, &a, f);
	if (result != CLIENT_OK)
		return result;
	if (w->fingerprint != NULL &&
	    (!shown.has || strcmp(w->fingerprint, shown.fingerprint) != 0))
		return failure_set(f, CLIENT_IDENTITY,
		    "somebody between you and the server may be posing as it",
		    "the server's identity is %s, not the one that was given",
		    shown.has ? shown.fingerprint : "none");
	if (a.known)
		return a.same ? CLIENT_OK
			      : identity_changed(path, &a, &shown, f);
	return identity_meet(path, name, w, &shown, f);
}
