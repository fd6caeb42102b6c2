/*
 * tests/fuzz/fuzz_ctl_answers.c - a server's answers in flexmusicctl.
 *
 * Runs in: the fuzzers alone.  The socket is replaced: what is received are
 * the messages of the input, of any bytes.  Whatever comes, what is printed is
 * lines of ASCII or of text, and, where it was asked for and all has come,
 * JSON.
 *
 * Covers: ctl/control.c: control_check control_receive control_send
 * Covers: ctl/control.c: control_ask control_explain
 * Covers: ctl/server.c: server_ask server_put_text server_put_number
 * Covers: ctl/server.c: server_put_duration server_put_yes server_put_failures
 * Covers: ctl/server.c: server_put_status server_role server_put_process
 * Covers: ctl/server.c: server_put_process_lines server_take_status
 * Covers: ctl/server.c: server_status server_take_session server_list
 * Covers: ctl/server.c: server_sessions server_do server_take_penalty
 * Covers: ctl/server.c: server_penalties
 * Covers: ctl/table.c: table_begin table_add table_text table_number
 * Covers: ctl/table.c: table_duration table_end table_print_json
 */
#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>

#include "ctl/server.h"
#include "ctl/table.h"
#include "fmltp/text.h"
#include "privsep/message.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t len);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t len, int flags);

static struct fuzz_input *input;
static uint8_t start;
static bool complete; /* the last message has come, and says that it is done */

int
__wrap_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	static const int errors[] = { ENOENT, EACCES, EIO };

	if (start % 32 < 29)
		return 0;
	errno = errors[start % 32 - 29];
	return -1;
}

ssize_t
__wrap_send(int fd, const void *bytes, size_t len, int flags)
{
	const struct message_control *m = bytes;

	fuzz_check(len == sizeof(*m) && m->header.len == len &&
	    m->command < CONTROL_COMMANDS);
	if (start % 32 < 28)
		return (ssize_t)len;
	errno = EIO;
	return -1;
}

/* The next message: a kind, its body, and what may be wrong with it. */
ssize_t
__wrap_recv(int fd, void *bytes, size_t room, int flags)
{
	static const uint16_t types[] = { MESSAGE_CONTROL_STATUS,
		MESSAGE_CONTROL_PROCESS, MESSAGE_CONTROL_SESSION,
		MESSAGE_CONTROL_PENALTY, MESSAGE_CONTROL_DONE,
		MESSAGE_CONTROL };
	static const int errors[] = { EAGAIN, ECONNRESET, EINTR };
	union message_any *m = bytes;
	uint8_t kind = fuzz_u8(input), patches;
	const uint8_t *patch;
	size_t size, at, len;

	if (input->left == 0)
		return 0;
	if (kind >= 250) {
		errno = errors[kind % 3];
		return -1;
	}
	memset(m, 0, room);
	m->header.type = types[kind % 6];
	m->header.len = (uint16_t)(size = message_info[types[kind % 6]].size);
	for (patches = kind / 6 % 4; patches > 0; patches--) {
		at = fuzz_u16(input) % size;
		patch = fuzz_bytes(input, size - at, &len);
		memcpy((uint8_t *)bytes + at, patch, len);
	}
	if (kind >= 240)
		size = fuzz_u16(input) % (room + 1);
	complete = size == sizeof(struct message_control_done) &&
	    m->header.type == MESSAGE_CONTROL_DONE && m->header.len == size &&
	    m->message_control_done.result == CONTROL_DONE;
	return (ssize_t)size;
}

/* JSON, as far as flexmusicctl makes it: behind the value at `p`, or NULL. */
static const char *
json_skip_string(const char *p)
{
	for (p++; *p != '"'; p++) {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p != '\\')
			continue;
		p++;
		if (*p == 'u' && strspn(p + 1, "0123456789abcdef") >= 4)
			p += 4;
		else if (*p != '"' && *p != '\\')
			return NULL;
	}
	return p + 1;
}

static const char *
json_skip_blanks(const char *p)
{
	return p + strspn(p, " \n");
}

static const char *
json_skip(const char *p)
{
	char open = *p;
	char close = open == '{' ? '}' : ']';
	size_t n;

	if (open == '"')
		return json_skip_string(p);
	if (open != '{' && open != '[') {
		n = strspn(p, "-0123456789");
		if (n == 0)
			n = strncmp(p, "true", 4) == 0 ? 4
			    : strncmp(p, "null", 4) == 0
			    ? 4
			    : (strncmp(p, "false", 5) == 0 ? 5 : 0);
		return n == 0 ? NULL : p + n;
	}
	p = json_skip_blanks(p + 1);
	if (*p == close)
		return p + 1;
	for (;;) {
		if (open == '{') {
			if (*p != '"' || (p = json_skip_string(p)) == NULL ||
			    *p != ':')
				return NULL;
			p = json_skip_blanks(p + 1);
		}
		if ((p = json_skip(p)) == NULL)
			return NULL;
		p = json_skip_blanks(p);
		if (*p == close)
			return p + 1;
		if (*p != ',')
			return NULL;
		p = json_skip_blanks(p + 1);
	}
}

static void
check_json(const char *text)
{
	const char *end = json_skip(json_skip_blanks(text));

	fuzz_check(end != NULL && *json_skip_blanks(end) == '\0');
}

/* Lines, each of the same number of words. */
static void
check_lines(const char *text, size_t words)
{
	size_t blanks = 0;

	for (; *text != '\0'; text++) {
		fuzz_check(*text == '\n' || (*text >= ' ' && *text <= '~'));
		blanks += *text == ' ';
		if (*text != '\n')
			continue;
		fuzz_check(blanks == words - 1);
		blanks = 0;
	}
	fuzz_check(blanks == 0);
}

/* The same for a terminal, which is none: its columns are aligned. */
static void
check_table(struct fuzz_input *in)
{
	static const char *const names[] = { "A", "B" };
	struct table t;
	char text[300];
	const uint8_t *bytes;
	size_t len;

	table_begin(&t, names, 2);
	t.terminal = true;
	while (in->left > 0 && t.count < 600) {
		bytes = fuzz_bytes(in, sizeof(text) - 1, &len);
		memcpy(text, bytes, len);
		text[len] = '\0';
		table_text(&t, text);
		table_duration(&t, (uint64_t)len << fuzz_u8(in) % 32);
		table_number(&t, len);
	}
	if (t.count % 2 != 0)
		table_number(&t, 1);
	table_end(&t, "none");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct command_options o = { .socket = "/nonexistent" };
	FILE *out = stdout, *err = stderr;
	enum ctl_exit result = CTL_OK;
	char *text = NULL, *said = NULL;
	size_t len = 0, said_len = 0;
	uint8_t command;

	input = &in;
	start = fuzz_u8(&in);
	command = fuzz_u8(&in) % 5;
	complete = false;
	o.json = start / 32 % 2 == 1;
	o.argument = "17";
	stdout = open_memstream(&text, &len);
	stderr = open_memstream(&said, &said_len);
	if (command == 0)
		result = server_status(&o);
	else if (command == 1)
		result = server_sessions(&o);
	else if (command == 2)
		result = server_penalties(&o);
	else if (command == 3)
		result = server_kill(&o);
	else
		check_table(&in);
	fclose(stdout);
	fclose(stderr);
	stdout = out;
	stderr = err;
	fuzz_check(result == CTL_OK || said_len > 0);
	fuzz_check(command == 4 || (result == CTL_OK) == complete);
	if (o.json && command < 4)
		fuzz_check(memchr(text, '\033', len) == NULL);
	if (o.json && command != 4 && command != 0 && result == CTL_OK)
		check_json(text);
	else if (!o.json && command < 3)
		check_lines(text, command == 0 ? 2 : command == 1 ? 8 : 4);
	free(text);
	free(said);
	return 0;
}
