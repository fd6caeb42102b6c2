/*
 * client/known.h - the servers whose identity the user knows:
 * ~/.config/flexmusic/known_servers.
 *
 * Runs in: client, as its user.  A line is `[host]:port ed25519 key', as the
 * user named the host; the key is base64url without padding.
 */
#ifndef CLIENT_KNOWN_H
#define CLIENT_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/failure.h"
#include "fmltp/identity.h"

#define KNOWN_FILE_MAX 1048576 /* bytes */
#define KNOWN_HOST_MAX 255
#define KNOWN_PATH_MAX 1024

enum known_line {
	KNOWN_LINE_BAD,
	KNOWN_LINE_EMPTY, /* or a comment */
	KNOWN_LINE_SERVER
};

struct known_server {
	char name[KNOWN_HOST_MAX + 9]; /* "[host]:port" */
	uint8_t key[IDENTITY_PUBLIC_LEN];
};

/* Reads a line of `len` bytes without its end.  Pure. */
enum known_line
known_parse_line(const char *line, size_t len, struct known_server *out);

/* "[host]:port", letters of the host in lower case; false where it is too long
 * or can't stand in a line. */
bool known_name(char *out, size_t size, const char *host, const char *port);

/* What the file says of a server. */
struct known_answer {
	bool known; /* there is a line with its name, */
	bool same; /* and one with this key */
	unsigned line; /* the first line with its name */
	uint8_t key[IDENTITY_PUBLIC_LEN]; /* of that line */
};

/* The file's path, from HOME or the user's entry; false without either. */
bool known_path(char *out, size_t size);

/*
 * Looks a server up.  A file that is not there knows nobody; one that others
 * can write, or that has a line that is none, is an error: CLIENT_LOCAL.
 */
enum client_exit known_look(const char *path, const char *name,
    const uint8_t key[IDENTITY_PUBLIC_LEN], struct known_answer *a,
    struct failure *f);

/*
 * Adds a server: to a copy, which then takes the file's place; locked, so that
 * no line of another client's is lost.  Directory and file are made where they
 * are missing, for the user alone.
 */
enum client_exit known_add(const char *path, const char *name,
    const uint8_t key[IDENTITY_PUBLIC_LEN], struct failure *f);

#endif
