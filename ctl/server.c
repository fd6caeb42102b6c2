/*
 * ctl/server.c - the commands for a server that runs.
 *
 * Runs in: ctl, as an administrator.  What the server tells of its clients is
 * shown escaped.
 */
#include <sys/socket.h>
#include <sys/stat.h>

#include <arpa/inet.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/control.h"
#include "ctl/report.h"
#include "ctl/server.h"
#include "ctl/table.h"
#include "fmltp/error.h"
#include "privsep/roles.h"

/* An answer on its way to standard output. */
struct server_print {
	bool json;
	struct table table;
	size_t rows; /* of the same kind, so far */
	bool found; /* what was looked for */
};

/* Asks; false, with the reason said, where it was not done. */
static bool
server_ask(const struct command_options *o, struct message_control *request,
    control_row *row, void *arg, struct message_control_done *done)
{
	enum control_reach reach;

	reach = control_ask(o->socket, request, row, arg, done);
	if (reach != CONTROL_ANSWERED)
		return control_explain(o->socket, reach);
	if (done->result != CONTROL_DONE)
		return report_error(NULL, "%s", done->text);
	return true;
}

/* The status. */

static void
server_put_text(struct server_print *p, const char *name, const char *text)
{
	if (p->json) {
		printf("%s\"%s\": ", p->rows++ == 0 ? "{" : ", ", name);
		table_print_json(text);
		return;
	}
	table_text(&p->table, name);
	table_text(&p->table, text);
}

static void
server_put_number(struct server_print *p, const char *name, uint64_t n)
{
	if (p->json) {
		printf(
		    "%s\"%s\": %" PRIu64, p->rows++ == 0 ? "{" : ", ", name, n);
		return;
	}
	table_text(&p->table, name);
	table_number(&p->table, n);
}

static void
server_put_duration(struct server_print *p, const char *name, uint64_t ms)
{
	char with_unit[64];

	if (p->json) {
		snprintf(with_unit, sizeof(with_unit), "%s_ms", name);
		server_put_number(p, with_unit, ms);
		return;
	}
	table_text(&p->table, name);
	table_duration(&p->table, ms);
}

static void
server_put_yes(struct server_print *p, const char *name, bool yes)
{
	if (p->json)
		printf("%s\"%s\": %s", p->rows++ == 0 ? "{" : ", ", name,
		    yes ? "true" : "false");
	else
		server_put_text(p, name, yes ? "yes" : "no");
}

static void
server_put_failures(
    struct server_print *p, const struct message_control_status *s)
{
	const char *between = "";
	char name[64];
	unsigned i;

	if (p->json)
		printf(", \"failures\": {");
	for (i = 0; i < FMLTP_ERROR_COUNT; i++) {
		if (s->failed[i] == 0)
			continue;
		if (p->json) {
			printf("%s\"%s\": %" PRIu64, between,
			    fmltp_error_token((enum fmltp_error)i),
			    s->failed[i]);
			between = ", ";
			continue;
		}
		snprintf(name, sizeof(name), "failures.%s",
		    fmltp_error_token((enum fmltp_error)i));
		server_put_number(p, name, s->failed[i]);
	}
	if (p->json)
		putchar('}');
}

static void
server_put_status(
    struct server_print *p, const struct message_control_status *s)
{
	char identity[IDENTITY_TEXT_MAX];

	server_put_number(p, "pid", (uint64_t)s->pid);
	server_put_duration(p, "uptime", s->uptime_ms);
	server_put_yes(p, "listening", s->listening);
	server_put_number(p, "sessions", s->now);
	server_put_number(p, "peak", s->peak);
	server_put_number(p, "total", s->sessions);
	server_put_number(p, "handshaking", s->handshaking);
	server_put_number(p, "established", s->established);
	server_put_number(p, "authenticated", s->authenticated);
	server_put_number(p, "auth_failed", s->auth_failed);
	server_put_number(p, "penalties", s->penalties);
	server_put_number(p, "refused", s->refused);
	server_put_number(p, "spawn_failed", s->spawn_failed);
	server_put_number(p, "attacks", s->attacks);
	server_put_number(p, "sources", s->sources);
	server_put_failures(p, s);
	server_put_text(p, "log", s->verbose ? "verbose" : "brief");
	server_put_number(p, "log_dropped", s->log_dropped);
	server_put_number(p, "log_left_out", s->log_left_out);
	server_put_yes(p, "rotating", s->rotating);
	server_put_number(p, "made_ahead", s->made_ahead);
	server_put_number(p, "generations", s->generations);
	server_put_number(p, "generation", s->generation);
	if (s->generation == 0)
		return;
	server_put_duration(p, "generation_age", s->generation_age_ms);
	server_put_number(p, "generation_bits", s->generation_bits);
	server_put_text(p, "fingerprint", s->fingerprint);
	if (s->has_identity) {
		identity_fingerprint(s->identity, identity);
		server_put_text(p, "identity", identity);
	}
}

static const char *
server_role(uint32_t role)
{
	return role < ROLE_COUNT ? roles[role].name : "unknown";
}

static void
server_put_process(
    struct server_print *p, const struct message_control_process *r)
{
	const struct message_keys_status *k = &r->keys;

	printf("%s{\"role\": \"%s\", \"instance\": %u, \"pid\": %d, "
	       "\"memory_kib\": %" PRId64,
	    p->rows++ == 0 ? "" : ", ", server_role(r->role), r->instance,
	    r->pid, r->memory_kib);
	if (r->has_keys)
		printf(", \"exchanges\": %" PRIu64 ", \"refused\": %" PRIu64
		       ", \"channels\": %u, \"generations\": %u, "
		       "\"pairs\": %u, \"pairs_used\": %" PRIu64,
		    k->exchanges, k->refused, k->channels, k->generations,
		    k->pairs, k->pairs_used);
	putchar('}');
}

/* A line each: whoever reads them by a program finds them by name. */
static void
server_put_process_lines(
    struct server_print *p, const struct message_control_process *r)
{
	const struct {
		const char *name;
		uint64_t n;
		bool known;
	} figure[] = {
		{ "pid", (uint64_t)r->pid, true },
		{ "memory_kib", (uint64_t)r->memory_kib, r->memory_kib >= 0 },
		{ "exchanges", r->keys.exchanges, r->has_keys },
		{ "refused", r->keys.refused, r->has_keys },
		{ "channels", r->keys.channels, r->has_keys },
		{ "generations", r->keys.generations, r->has_keys },
		{ "pairs", r->keys.pairs, r->has_keys },
		{ "pairs_used", r->keys.pairs_used, r->has_keys },
	};
	char name[64];
	size_t i;

	for (i = 0; i < sizeof(figure) / sizeof(figure[0]); i++) {
		if (!figure[i].known)
			continue;
		snprintf(name, sizeof(name), "%s.%u.%s", server_role(r->role),
		    r->instance, figure[i].name);
		server_put_number(p, name, figure[i].n);
	}
}

static void
server_take_status(void *arg, const union message_any *row)
{
	struct server_print *p = arg;

	if (row->header.type == MESSAGE_CONTROL_STATUS) {
		server_put_status(p, &row->message_control_status);
		if (p->json)
			printf(", \"processes\": [");
		p->rows = 0;
	} else if (row->header.type == MESSAGE_CONTROL_PROCESS) {
		if (p->json)
			server_put_process(p, &row->message_control_process);
		else
			server_put_process_lines(
			    p, &row->message_control_process);
	}
}

enum ctl_exit
server_status(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_STATUS };
	struct server_print p = { .json = o->json };
	struct message_control_done done;
	bool result;

	table_begin(&p.table, NULL, 2);
	result = server_ask(o, &request, server_take_status, &p, &done);
	table_end(&p.table, NULL);
	if (result && o->json)
		puts("]}");
	return result ? CTL_OK : CTL_FAILED;
}

/* The identity: what a client is told to expect. */

static void
server_take_identity(void *arg, const union message_any *row)
{
	const struct message_control_status *s = &row->message_control_status;
	struct server_print *p = arg;
	char fingerprint[IDENTITY_TEXT_MAX], key[IDENTITY_KEY_TEXT_LEN + 2];
	struct buf b;

	if (row->header.type != MESSAGE_CONTROL_STATUS || !s->has_identity)
		return;
	identity_fingerprint(s->identity, fingerprint);
	buf_init(&b, key, sizeof(key));
	identity_put_key(&b, s->identity);
	key[b.len] = '\0';
	server_put_text(p, "fingerprint", fingerprint);
	server_put_text(p, "key", key);
	p->found = true;
}

enum ctl_exit
server_identity(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_STATUS };
	struct server_print p = { .json = o->json };
	struct message_control_done done;
	bool result;

	table_begin(&p.table, NULL, 2);
	result = server_ask(o, &request, server_take_identity, &p, &done);
	table_end(&p.table, NULL);
	if (result && !p.found)
		result = report_error(
		    "identity_file names one", "the server has no identity");
	else if (result && o->json)
		puts("}");
	return result ? CTL_OK : CTL_FAILED;
}

/* Sessions. */

static void
server_take_session(void *arg, const union message_any *row)
{
	static const char *const phase[CONTROL_PHASES] = {
		[CONTROL_PHASE_HANDSHAKE] = "handshake",
		[CONTROL_PHASE_LOCKDOWN] = "lockdown",
		[CONTROL_PHASE_SESSION] = "session",
		[CONTROL_PHASE_ENDING] = "ending",
	};
	const struct message_control_session *s = &row->message_control_session;
	const char *in;
	struct server_print *p = arg;
	char bytes[64];

	if (row->header.type != MESSAGE_CONTROL_SESSION)
		return;
	in = s->phase < CONTROL_PHASES ? phase[s->phase] : "unknown";
	if (p->json) {
		printf("%s\n{\"id\": %" PRIu64 ", \"peer\": ",
		    p->rows++ == 0 ? "" : ",", s->session);
		table_print_json(s->peer);
		printf(", \"user\": ");
		table_print_json(s->user);
		printf(", \"client\": ");
		table_print_json(s->client.name);
		printf(", \"version\": \"%u.%u.%u\", \"phase\": \"%s\", "
		       "\"age_ms\": %" PRIu64 ", \"idle_ms\": %" PRIu64
		       ", \"generation\": %u, \"pid\": %d",
		    s->client.signature.class, s->client.signature.stepping,
		    s->client.signature.substepping, in, s->age_ms, s->idle_ms,
		    s->generation, s->pid);
		if (s->has_bytes)
			printf(", \"bytes_in\": %" PRIu64
			       ", \"bytes_out\": %" PRIu64 "}",
			    s->bytes_in, s->bytes_out);
		else
			printf(", \"bytes_in\": null, \"bytes_out\": null}");
		return;
	}
	table_number(&p->table, s->session);
	table_text(&p->table, s->peer);
	table_text(&p->table, s->user);
	table_text(&p->table, s->client.name);
	table_text(&p->table, in);
	table_duration(&p->table, s->age_ms);
	table_duration(&p->table, s->idle_ms);
	snprintf(bytes, sizeof(bytes), "%" PRIu64 "/%" PRIu64, s->bytes_in,
	    s->bytes_out);
	table_text(&p->table, s->has_bytes ? bytes : "");
}

/* A list: an array of objects in JSON, a table or lines else. */
static enum ctl_exit
server_list(const struct command_options *o, enum control_command command,
    control_row *row, struct server_print *p, const char *empty)
{
	struct message_control request = { .command = command };
	struct message_control_done done;
	bool result;

	if (o->json)
		putchar('[');
	result = server_ask(o, &request, row, p, &done);
	table_end(&p->table, result && !o->json ? empty : NULL);
	if (result && o->json)
		puts("]");
	return result ? CTL_OK : CTL_FAILED;
}

enum ctl_exit
server_sessions(const struct command_options *o)
{
	static const char *const names[] = { "ID", "PEER", "USER", "CLIENT",
		"PHASE", "AGE", "IDLE", "IN/OUT" };
	struct server_print p = { .json = o->json };

	table_begin(&p.table, names, sizeof(names) / sizeof(names[0]));
	return server_list(
	    o, CONTROL_SESSIONS, server_take_session, &p, "no sessions");
}

/* Something that was done to so many. */
static enum ctl_exit
server_do(const struct command_options *o, struct message_control *request,
    const char *name, const char *sentence)
{
	struct message_control_done done;

	if (!server_ask(o, request, NULL, NULL, &done))
		return CTL_FAILED;
	if (o->json && name != NULL)
		printf("{\"%s\": %" PRIu64 "}\n", name, done.count);
	else if (o->json)
		puts("{}");
	else if (name != NULL)
		printf("%s %" PRIu64 "\n", sentence, done.count);
	else if (sentence != NULL)
		puts(sentence);
	return CTL_OK;
}

enum ctl_exit
server_kill(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_KILL };
	const char *error;

	if (o->user != NULL) {
		if (o->argument != NULL) {
			report_error(
			    NULL, "a session's number or --user, and not both");
			return CTL_USAGE;
		}
		request.command = CONTROL_KILL_USER;
		if (o->user[0] == '\0' ||
		    strlcpy(request.user, o->user, sizeof(request.user)) >=
			sizeof(request.user)) {
			report_error(NULL, "no user has such a name");
			return CTL_FAILED;
		}
		return server_do(o, &request, "ended", "sessions ended:");
	}
	request.number = (uint64_t)strtonum(o->argument, 1, LLONG_MAX, &error);
	if (error != NULL) {
		report_error("`flexmusicctl sessions` shows them",
		    "this is no session's number");
		return CTL_USAGE;
	}
	return server_do(o, &request, "ended", "sessions ended:");
}

enum ctl_exit
server_reload(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_RELOAD };

	return server_do(o, &request, NULL, NULL);
}

enum ctl_exit
server_rotate(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_ROTATE };

	return server_do(o, &request, NULL, NULL);
}

/* Penalties. */

static void
server_take_penalty(void *arg, const union message_any *row)
{
	static const char *const offence[] = { "handshake", "auth", "crash" };
	const struct message_control_penalty *r = &row->message_control_penalty;
	struct server_print *p = arg;
	const char *last;

	if (row->header.type != MESSAGE_CONTROL_PENALTY)
		return;
	last = r->offence < sizeof(offence) / sizeof(offence[0])
	    ? offence[r->offence]
	    : "unknown";
	if (p->json) {
		printf("%s\n{\"source\": ", p->rows++ == 0 ? "" : ",");
		table_print_json(r->source);
		printf(", \"offence\": \"%s\", \"offences\": %u, "
		       "\"left_ms\": %" PRIu64 "}",
		    last, r->offences, r->left_ms);
		return;
	}
	table_text(&p->table, r->source);
	table_text(&p->table, last);
	table_number(&p->table, r->offences);
	table_duration(&p->table, r->left_ms);
}

enum ctl_exit
server_penalties(const struct command_options *o)
{
	static const char *const names[] = { "SOURCE", "OFFENCE", "OFFENCES",
		"LEFT" };
	struct server_print p = { .json = o->json };

	table_begin(&p.table, names, sizeof(names) / sizeof(names[0]));
	return server_list(
	    o, CONTROL_PENALTIES, server_take_penalty, &p, "no penalties");
}

enum ctl_exit
server_clear_penalties(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_PENALTIES_CLEAR };
	char address[64];
	char *slash;

	/* A source as the list has it is one too: any address of it will
	 * do. */
	if (strlcpy(address, o->argument, sizeof(address)) >= sizeof(address))
		address[0] = '\0';
	slash = strchr(address, '/');
	if (slash != NULL)
		*slash = '\0';
	if (strcmp(o->argument, "all") == 0)
		request.family = AF_UNSPEC;
	else if (inet_pton(AF_INET, address, request.address) == 1)
		request.family = AF_INET;
	else if (inet_pton(AF_INET6, address, request.address) == 1)
		request.family = AF_INET6;
	else {
		report_error(NULL, "a numeric address is needed, or all");
		return CTL_USAGE;
	}
	return server_do(o, &request, "cleared", "penalties cleared:");
}

enum ctl_exit
server_log(const struct command_options *o)
{
	struct message_control request = { .command = CONTROL_LOG };

	if (strcmp(o->argument, "verbose") == 0)
		request.number = 1;
	else if (strcmp(o->argument, "brief") != 0) {
		report_error(NULL, "log brief, or log verbose");
		return CTL_USAGE;
	}
	return server_do(o, &request, NULL, NULL);
}

enum ctl_exit
server_take_users(const struct command_options *o, const char *user)
{
	struct message_control request = { .command = CONTROL_USERS };
	const char *name = strrchr(o->file, '/');
	struct message_control_done done;
	char directory[PATH_MAX] = ".";
	enum control_reach reach;
	struct stat st;

	if (name != NULL) {
		name++;
		if ((size_t)(name - o->file) >= sizeof(directory))
			return CTL_OK;
		memcpy(directory, o->file, (size_t)(name - o->file));
		directory[name - o->file] = '\0';
	} else
		name = o->file;
	if (stat(directory, &st) == -1 ||
	    strlcpy(request.file, name, sizeof(request.file)) >=
		sizeof(request.file))
		return CTL_OK;
	request.directory_device = st.st_dev;
	request.directory_inode = st.st_ino;
	if (user != NULL)
		strlcpy(request.user, user, sizeof(request.user));
	reach = control_ask(o->socket, &request, NULL, NULL, &done);
	if (reach == CONTROL_NO_SERVER || reach == CONTROL_FORBIDDEN)
		return CTL_OK;
	if (reach == CONTROL_ANSWERED && done.result == CONTROL_DONE) {
		if (done.text[0] != '\0')
			report_note("%s", done.text);
		return CTL_OK;
	}
	if (reach == CONTROL_ANSWERED)
		report_error(NULL, "%s", done.text);
	report_note(
	    "%s is changed, but the running server has not taken it", o->file);
	return CTL_FAILED;
}
