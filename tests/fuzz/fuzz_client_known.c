/*
 * tests/fuzz/fuzz_client_known.c - known_servers in the client: any file, any
 * name, and a server that is added.
 *
 * Runs in: the fuzzers alone.  The first byte says what the file is, the next
 * one which HOME there is, and whether the server's key is one of the file's;
 * then come the server's name and port, its key, and the file.  What the client
 * finds is what the lines say, one by one; a file with a line that is none
 * knows nobody; and an added server is known, with all that was there before.
 * Nothing waits for a disk.
 *
 * Covers: client/known.c
 */
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "client/known.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_fsync(int fd);

/* What is in the file's place. */
enum fuzz_place {
	PLACE_FILE,
	PLACE_FILE_TOO, /* most inputs are about lines */
	PLACE_NOTHING,
	PLACE_FOLDER,
	PLACE_OPEN, /* others can write it */
	PLACE_LARGE,
	PLACE_FOREIGN,
	PLACE_UNDER_FILE, /* its directory is a file */
	PLACES
};

static char home[64];

int
__wrap_fsync(int fd)
{
	return 0;
}

static void
remove_home(void)
{
	char path[KNOWN_PATH_MAX];
	size_t n;

	strlcpy(path, home, sizeof(path));
	strlcat(path, "/.config/flexmusic/known_servers", sizeof(path));
	if (unlink(path) != 0)
		(void)rmdir(path);
	for (n = strlen(path); n > strlen(home); n--)
		if (path[n] == '/') {
			path[n] = '\0';
			if (rmdir(path) != 0)
				(void)unlink(path);
		}
}

static void
remove_all(void)
{
	remove_home();
	(void)rmdir(home);
}

static void
prepare(void)
{
	if (home[0] != '\0')
		return;
	strlcpy(home, "/tmp/flexmusic-fuzz-XXXXXX", sizeof(home));
	fuzz_check(mkdtemp(home) != NULL);
	fuzz_check(atexit(remove_all) == 0);
}

/* Which home there is; false where none is to be used. */
static bool
choose_home(uint8_t which, char *path, size_t size)
{
	char far[KNOWN_PATH_MAX];
	bool found;

	switch (which % 8) {
	case 1:
		unsetenv("HOME");
		break;
	case 2:
		setenv("HOME", "relative", 1);
		break;
	case 3:
		memset(far, 'x', sizeof(far));
		far[0] = '/';
		far[sizeof(far) - 1 - which / 8] = '\0';
		setenv("HOME", far, 1);
		fuzz_check(!known_path(path, size));
		return false;
	default:
		setenv("HOME", home, 1);
		found = known_path(path, size);
		fuzz_check(found && strncmp(path, home, strlen(home)) == 0);
		return true;
	}
	/* The user's own, which the fuzzer leaves alone. */
	if (known_path(path, size))
		fuzz_check(path[0] == '/');
	return false;
}

static void
make_place(
    enum fuzz_place place, const char *path, const uint8_t *text, size_t len)
{
	char dir[KNOWN_PATH_MAX];
	char *slash;
	int fd;

	if (place == PLACE_NOTHING)
		return;
	strlcpy(dir, path, sizeof(dir));
	slash = strrchr(dir, '/');
	*slash = '\0';
	slash = strrchr(dir, '/');
	*slash = '\0';
	fuzz_check(mkdir(dir, 0700) == 0);
	*slash = '/';
	if (place == PLACE_UNDER_FILE) {
		fd = open(dir, O_WRONLY | O_CREAT | O_EXCL, 0600);
		fuzz_check(fd != -1);
		close(fd);
		return;
	}
	fuzz_check(mkdir(dir, 0700) == 0);
	if (place == PLACE_FOLDER) {
		fuzz_check(mkdir(path, 0700) == 0);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	fuzz_check(fd != -1 && write(fd, text, len) == (ssize_t)len);
	if (place == PLACE_OPEN)
		fuzz_check(fchmod(fd, 0620) == 0);
	else if (place == PLACE_LARGE)
		fuzz_check(ftruncate(fd, KNOWN_FILE_MAX + 1) == 0);
	else if (place == PLACE_FOREIGN && geteuid() == 0)
		fuzz_check(fchown(fd, 65534, 65534) == 0);
	close(fd);
}

/* What the lines say, one by one; false where one is none. */
static bool
read_lines(const char *text, size_t len, const char *name, const uint8_t *key,
    struct known_answer *a)
{
	struct known_server s;
	const char *end;
	size_t at, n;

	memset(a, 0, sizeof(*a));
	for (at = 0, a->line = 1; at < len; at += n + 1, a->line++) {
		end = memchr(text + at, '\n', len - at);
		n = end == NULL ? len - at : (size_t)(end - text) - at;
		switch (known_parse_line(text + at, n, &s)) {
		case KNOWN_LINE_BAD:
			return false;
		case KNOWN_LINE_EMPTY:
			continue;
		case KNOWN_LINE_SERVER:
			break;
		}
		fuzz_check(s.name[0] == '[' && strpbrk(s.name, " \t") == NULL);
		if (strcmp(s.name, name) != 0)
			continue;
		if (!a->known)
			memcpy(a->key, s.key, sizeof(a->key));
		a->known = true;
		if (memcmp(s.key, key, sizeof(s.key)) == 0)
			a->same = true;
	}
	return true;
}

static void
check_failure(const struct failure *f, const char *path)
{
	fuzz_check(f->exit == CLIENT_LOCAL && strstr(f->what, path) != NULL);
}

/* It is looked up, added, and looked up again. */
static void
check_server(enum fuzz_place place, const char *path, const char *name,
    const uint8_t *key, const char *text, size_t len)
{
	struct known_answer told, found;
	struct failure f = { 0 };
	struct stat st;
	enum client_exit result = known_look(path, name, key, &found, &f);
	bool there = place <= PLACE_FILE_TOO ||
	    (place == PLACE_FOREIGN && geteuid() != 0);
	bool readable = there || place == PLACE_NOTHING;
	bool right = read_lines(text, there ? len : 0, name, key, &told);

	fuzz_check((result == CLIENT_OK) == (readable && right));
	if (result != CLIENT_OK)
		check_failure(&f, path);
	else {
		fuzz_check(found.known == told.known &&
		    found.same == told.same &&
		    memcmp(found.key, told.key, sizeof(told.key)) == 0);
		fuzz_check(
		    known_look(path, name, NULL, &told, &f) == CLIENT_OK &&
		    told.known == found.known && told.line == found.line);
	}
	memset(&f, 0, sizeof(f));
	result = known_add(path, name, key, &f);
	fuzz_check((result == CLIENT_OK) == readable);
	if (!readable) {
		check_failure(&f, path);
		return;
	}
	fuzz_check(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	if (!right)
		return;
	told = found;
	fuzz_check(known_look(path, name, key, &found, &f) == CLIENT_OK);
	fuzz_check(found.known && found.same);
	if (told.known)
		fuzz_check(found.line == told.line &&
		    memcmp(found.key, told.key, sizeof(told.key)) == 0);
	else
		fuzz_check(memcmp(found.key, key, sizeof(found.key)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	enum fuzz_place place = fuzz_u8(&in) % PLACES;
	uint8_t which = fuzz_u8(&in);
	char path[KNOWN_PATH_MAX], host[KNOWN_HOST_MAX + 2], port[8];
	char name[KNOWN_HOST_MAX + 9], *copy;
	struct known_server first;
	uint8_t key[IDENTITY_PUBLIC_LEN] = { 0 };
	const uint8_t *bytes, *end;
	size_t len;

	prepare();
	bytes = fuzz_bytes(&in, sizeof(host) - 1, &len);
	memcpy(host, bytes, len);
	host[len] = '\0';
	snprintf(port, sizeof(port), "%u", (unsigned)fuzz_u16(&in));
	bytes = fuzz_bytes(&in, sizeof(key), &len);
	memcpy(key, bytes, len);
	/* Of its own size, for the sanitizer. */
	copy = malloc(in.left);
	fuzz_check(copy != NULL || in.left == 0);
	if (in.left > 0)
		memcpy(copy, in.at, in.left);
	fuzz_check(!known_name(name, strlen(host), host, port));
	end = memchr(in.at, '\n', in.left);
	len = end == NULL ? in.left : (size_t)(end - in.at);
	if (known_parse_line(copy, len, &first) == KNOWN_LINE_SERVER &&
	    which >= 128)
		memcpy(key, first.key, sizeof(key));
	if (known_name(name, sizeof(name), host, port) &&
	    choose_home(which, path, sizeof(path))) {
		make_place(place, path, in.at, in.left);
		check_server(place, path, name, key, copy, in.left);
		remove_home();
	}
	free(copy);
	return 0;
}
