/*
 * client/known.c - the servers whose identity the user knows.
 *
 * Runs in: client, as its user.  The one file that the client reads and writes;
 * it has public keys alone.
 */
#include <sys/file.h>
#include <sys/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/known.h"

#define KNOWN_TYPE  "ed25519"
#define KNOWN_NEW   ".known_servers.new"
#define KNOWN_UNDER "/.config/flexmusic/known_servers"

bool
known_name(char *out, size_t size, const char *host, const char *port)
{
	size_t i;
	int n;

	if (host[0] == '\0' || strlen(host) > KNOWN_HOST_MAX)
		return false;
	for (i = 0; host[i] != '\0'; i++)
		if (host[i] <= ' ' || host[i] > '~' || host[i] == '[' ||
		    host[i] == ']')
			return false;
	n = snprintf(out, size, "[%s]:%s", host, port);
	if (n < 0 || (size_t)n >= size)
		return false;
	for (i = 0; out[i] != '\0'; i++)
		out[i] = (char)tolower((unsigned char)out[i]);
	return true;
}

/* The next word of a line: its length, 0 at the end. */
static size_t
known_word(const char **p, const char *end, const char **word)
{
	while (*p < end && (**p == ' ' || **p == '\t'))
		(*p)++;
	*word = *p;
	while (*p < end && **p != ' ' && **p != '\t')
		(*p)++;
	return (size_t)(*p - *word);
}

enum known_line
known_parse_line(const char *line, size_t len, struct known_server *out)
{
	const char *p = line, *end = line + len, *word;
	size_t n;

	if (len > 0 && end[-1] == '\r')
		end--;
	n = known_word(&p, end, &word);
	if (n == 0 || word[0] == '#')
		return KNOWN_LINE_EMPTY;
	if (word[0] != '[' || n >= sizeof(out->name) ||
	    memchr(word, '\0', n) != NULL)
		return KNOWN_LINE_BAD;
	memcpy(out->name, word, n);
	out->name[n] = '\0';
	if (strstr(out->name, "]:") == NULL)
		return KNOWN_LINE_BAD;
	n = known_word(&p, end, &word);
	if (n != strlen(KNOWN_TYPE) || memcmp(word, KNOWN_TYPE, n) != 0)
		return KNOWN_LINE_BAD;
	n = known_word(&p, end, &word);
	if (!identity_parse_key((const uint8_t *)word, n, out->key))
		return KNOWN_LINE_BAD;
	return known_word(&p, end, &word) == 0 ? KNOWN_LINE_SERVER
					       : KNOWN_LINE_BAD;
}

bool
known_path(char *out, size_t size)
{
	const char *home = getenv("HOME");
	const struct passwd *pw;

	if (home == NULL || home[0] != '/') {
		pw = getpwuid(getuid());
		home = pw == NULL ? "" : pw->pw_dir;
	}
	return home[0] == '/' && strlcpy(out, home, size) < size &&
	    strlcat(out, KNOWN_UNDER, size) < size;
}

static enum client_exit
known_fail(struct failure *f, const char *path, const char *why)
{
	return failure_set(f, CLIENT_LOCAL, NULL, "%s: %s", path, why);
}

/* The whole file, allocated; empty where there is none.  NULL where it can't
 * be read. */
static enum client_exit
known_read(const char *path, char **text, size_t *len, struct failure *f)
{
	enum client_exit result = CLIENT_OK;
	struct stat st;
	ssize_t n = 0;
	int fd;

	*len = 0;
	*text = malloc(KNOWN_FILE_MAX + 1);
	if (*text == NULL)
		return known_fail(f, path, "no memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 && errno == ENOENT)
		return CLIENT_OK;
	if (fd == -1 || fstat(fd, &st) == -1)
		result = known_fail(f, path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		result = known_fail(f, path, "it is not a regular file");
	else if (st.st_uid != geteuid() && st.st_uid != 0)
		result = known_fail(f, path, "it belongs to somebody else");
	else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		result =
		    known_fail(f, path, "others can write it: chmod 0600 it");
	else if (st.st_size > KNOWN_FILE_MAX)
		result = known_fail(f, path, "it is too large");
	while (result == CLIENT_OK && *len <= KNOWN_FILE_MAX &&
	    (n = read(fd, *text + *len, KNOWN_FILE_MAX + 1 - *len)) > 0)
		*len += (size_t)n;
	if (result == CLIENT_OK && n == -1)
		result = known_fail(f, path, strerror(errno));
	if (result == CLIENT_OK && *len > KNOWN_FILE_MAX)
		result = known_fail(f, path, "it is too large");
	if (fd != -1)
		close(fd);
	if (result != CLIENT_OK) {
		free(*text);
		*text = NULL;
	}
	return result;
}

/* Looks through the lines; 0, or the first one that is none. */
static unsigned
known_search(const char *text, size_t len, const char *name, const uint8_t *key,
    struct known_answer *a)
{
	const char *p = text, *end = text + len, *next;
	struct known_server s;
	unsigned line = 0;

	for (; p < end; p = next) {
		line++;
		next = memchr(p, '\n', (size_t)(end - p));
		switch (known_parse_line(
		    p, (size_t)((next == NULL ? end : next) - p), &s)) {
		case KNOWN_LINE_BAD:
			return line;
		case KNOWN_LINE_EMPTY:
			break;
		case KNOWN_LINE_SERVER:
			if (strcmp(s.name, name) != 0)
				break;
			if (!a->known) {
				memcpy(a->key, s.key, sizeof(a->key));
				a->line = line;
			}
			a->known = true;
			if (key != NULL &&
			    memcmp(s.key, key, sizeof(s.key)) == 0)
				a->same = true;
			break;
		}
		next = next == NULL ? end : next + 1;
	}
	return 0;
}

enum client_exit
known_look(const char *path, const char *name,
    const uint8_t key[IDENTITY_PUBLIC_LEN], struct known_answer *a,
    struct failure *f)
{
	enum client_exit result;
	unsigned bad;
	size_t len;
	char *text;

	memset(a, 0, sizeof(*a));
	result = known_read(path, &text, &len, f);
	if (result != CLIENT_OK)
		return result;
	bad = known_search(text, len, name, key, a);
	free(text);
	if (bad != 0)
		return failure_set(f, CLIENT_LOCAL,
		    "a line is `[host]:port ed25519 key', or a comment after #",
		    "%s:%u: this is no known server", path, bad);
	return CLIENT_OK;
}

/* The file's directory, made where it is missing, and locked. */
static int
known_lock(const char *path, const char **name)
{
	char dir[KNOWN_PATH_MAX];
	char *p;
	int fd;

	strlcpy(dir, path, sizeof(dir));
	p = strrchr(dir, '/');
	*p = '\0';
	*name = path + (p - dir) + 1;
	for (p = strchr(dir + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(dir, 0700);
		*p = '/';
	}
	(void)mkdir(dir, 0700);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	while (flock(fd, LOCK_EX) == -1)
		if (errno != EINTR) {
			close(fd);
			return -1;
		}
	return fd;
}

/* All of it, and to the disk. */
static bool
known_write(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, text, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) == 0;
}

/* The new file beside the old one, and then in its place. */
static bool
known_replace(
    int dir, const char *name, const char *text, size_t len, const char *line)
{
	bool ends = len == 0 || text[len - 1] == '\n', done;
	int fd, error;

	(void)unlinkat(dir, KNOWN_NEW, 0);
	fd = openat(dir, KNOWN_NEW,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return false;
	done = known_write(fd, text, len) &&
	    known_write(fd, "\n", ends ? 0 : 1) &&
	    known_write(fd, line, strlen(line)) &&
	    renameat(dir, KNOWN_NEW, dir, name) == 0 && fsync(dir) == 0;
	error = errno;
	close(fd);
	if (!done)
		(void)unlinkat(dir, KNOWN_NEW, 0);
	errno = error;
	return done;
}

enum client_exit
known_add(const char *path, const char *name,
    const uint8_t key[IDENTITY_PUBLIC_LEN], struct failure *f)
{
	char line[KNOWN_HOST_MAX + IDENTITY_KEY_TEXT_LEN + 32];
	enum client_exit result;
	const char *file;
	struct buf b;
	size_t len;
	char *text;
	int dir;

	buf_init(&b, line, sizeof(line) - 1);
	buf_put_str(&b, name);
	buf_put_str(&b, " " KNOWN_TYPE " ");
	identity_put_key(&b, key);
	buf_put_str(&b, "\n");
	line[b.len] = '\0';
	dir = known_lock(path, &file);
	if (dir == -1)
		return known_fail(f, path, strerror(errno));
	result = known_read(path, &text, &len, f);
	if (result == CLIENT_OK && !known_replace(dir, file, text, len, line))
		result = known_fail(f, path, strerror(errno));
	free(text);
	close(dir);
	return result;
}
