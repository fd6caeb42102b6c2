/*
 * client/main.c - flexmusic(1): options, and the exit status.
 *
 * Runs in: client, as its user.  No file is opened but known_servers, and the
 * terminal, for a password; what is secret (the password, the session's key and
 * text) stays in this process, which neither dumps core nor can be traced by
 * the user's other programs.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/auth.h"
#include "client/channel.h"
#include "client/connection.h"
#include "client/escape.h"
#include "client/explain.h"
#include "client/handshake.h"
#include "client/identity.h"
#include "client/session.h"
#include "fmltp/proto.h"

#define CLIENT_LIMIT_DEFAULT 10 /* seconds */
#define CLIENT_LIMIT_MAX     3600

struct client_options {
	int family;
	int limit; /* seconds */
	bool verbose;
	bool allow_weak;
	struct auth auth;
	bool accept_new;
	const char *fingerprint;
	struct version_signature signature;
	char port[8];
	const char *host;
	char command[COMMAND_LINE_MAX + 1]; /* "" : interactive */
};

static void __attribute__((noreturn, format(printf, 1, 2)))
client_usage(const char *fmt, ...)
{
	va_list ap;

	fputs("flexmusic: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\nusage: flexmusic [-46Vv] [--accept-new] [--allow-weak] "
	      "[--compatibility x.y.z]\n"
	      "                 [--fingerprint SHA256:...] [-p port] "
	      "[--password-fd number]\n"
	      "                 [-t seconds] [-u user] host [command ...]\n",
	    stderr);
	exit(CLIENT_USAGE);
}

/*
 * A short option is known by its letter alone: it may stand among others in
 * one word.
 */
static void __attribute__((noreturn))
client_wrong_option(const char *word, const char *why)
{
	if (optopt > 0 && optopt < 256)
		client_usage("-%c %s", optopt, why);
	client_usage("%s %s", word, why);
}

/* A decimal number of an option, or the usage message. */
static int
client_number(const char *option, const char *text, int min, int max)
{
	const char *error;
	long long n;

	n = strtonum(text, min, max, &error);
	if (error != NULL)
		client_usage("%s %s: %s; a number from %d to %d is needed",
		    option, text, error, min, max);
	return (int)n;
}

/* The words of the command, joined by blanks. */
static void
client_join(char *out, size_t size, int argc, char **argv)
{
	const char *why;
	int i;

	out[0] = '\0';
	for (i = 0; i < argc; i++)
		if ((i > 0 && strlcat(out, " ", size) >= size) ||
		    strlcat(out, argv[i], size) >= size)
			client_usage("the command is longer than %d bytes",
			    COMMAND_LINE_MAX);
	if (argc > 0 && !session_line_valid(out, strlen(out), &why))
		client_usage("%s", why);
}

static void
client_parse_options(struct client_options *o, int argc, char **argv)
{
	enum {
		ACCEPT_NEW = 256,
		ALLOW_WEAK,
		COMPATIBILITY,
		FINGERPRINT,
		PASSWORD_FD
	};
	static const struct option long_options[] = {
		{ "accept-new", no_argument, NULL, ACCEPT_NEW },
		{ "allow-weak", no_argument, NULL, ALLOW_WEAK },
		{ "compatibility", required_argument, NULL, COMPATIBILITY },
		{ "fingerprint", required_argument, NULL, FINGERPRINT },
		{ "password-fd", required_argument, NULL, PASSWORD_FD },
		{ NULL, 0, NULL, 0 },
	};
	const char *why;
	int c;

	*o = (struct client_options){
		.family = AF_UNSPEC,
		.limit = CLIENT_LIMIT_DEFAULT,
		.auth = { .fd = -1 },
	};
	snprintf(o->port, sizeof(o->port), "%d", FMLTP_PORT);
	opterr = 0;
	/* "+": the command's words are not ours to read as options. */
	while ((c = getopt_long(
		    argc, argv, "+:46p:t:u:Vv", long_options, NULL)) != -1) {
		switch (c) {
		case '4':
			o->family = AF_INET;
			break;
		case '6':
			o->family = AF_INET6;
			break;
		case 'p':
			snprintf(o->port, sizeof(o->port), "%d",
			    client_number("-p", optarg, 1, 65535));
			break;
		case 't':
			o->limit =
			    client_number("-t", optarg, 1, CLIENT_LIMIT_MAX);
			break;
		case 'u':
			if (!auth_user_valid(optarg, &why))
				client_usage("-u: %s", why);
			o->auth.user = optarg;
			break;
		case 'V':
			printf("flexmusic %s\n", FLEXMUSIC_VERSION);
			exit(fflush(stdout) == EOF ? CLIENT_LOCAL : CLIENT_OK);
		case 'v':
			o->verbose = true;
			break;
		case ACCEPT_NEW:
			o->accept_new = true;
			break;
		case FINGERPRINT:
			if (!identity_fingerprint_valid(optarg))
				client_usage("--fingerprint %s: SHA256: and 43 "
					     "characters are needed, as "
					     "`flexmusicctl identity' shows "
					     "them",
				    optarg);
			o->fingerprint = optarg;
			break;
		case ALLOW_WEAK:
			o->allow_weak = true;
			break;
		case COMPATIBILITY:
			if (!version_parse_signature((const uint8_t *)optarg,
				strlen(optarg), &o->signature))
				client_usage(
				    "--compatibility %s: three "
				    "numbers from 0 to 65535 are needed, as "
				    "in 0.0.0",
				    optarg);
			break;
		case PASSWORD_FD:
			o->auth.fd =
			    client_number("--password-fd", optarg, 0, INT_MAX);
			break;
		case ':':
			client_wrong_option(
			    argv[optind - 1], "needs an argument");
		default:
			client_wrong_option(
			    argv[optind - 1], "is not an option of flexmusic");
		}
	}
	if (o->auth.fd != -1 && o->auth.user == NULL)
		client_usage("--password-fd is for a user, given with -u");
	if (optind == argc)
		client_usage("a host is needed");
	o->host = argv[optind++];
	client_join(
	    o->command, sizeof(o->command), argc - optind, argv + optind);
}

/*
 * No core, no tracer; and no socket in the place of a missing standard
 * stream, where an answer would go out in the clear.
 */
static bool
client_harden(void)
{
	const struct rlimit none = { 0, 0 };
	int fd;

	signal(SIGPIPE, SIG_IGN);
	do {
		fd = open("/dev/null", O_RDWR);
		if (fd == -1)
			return false;
	} while (fd <= STDERR_FILENO);
	close(fd);
	if (setrlimit(RLIMIT_CORE, &none) == -1)
		return false;
#ifndef FLEXMUSIC_SANITIZER
	/* the leak sanitizer looks at the process as a tracer does */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		return false;
#endif
	return true;
}

/* After the handshake: sends AUTH where the server asks for it. */
static enum client_exit
client_authenticate(
    struct client_options *o, bool asked, struct session *s, struct failure *f)
{
	enum client_exit result;

	if (!asked) {
		if (o->auth.user != NULL && s->explain != NULL)
			explain_no_authentication(s->explain);
		auth_wipe(&o->auth);
		return CLIENT_OK;
	}
	if (o->auth.user == NULL) {
		fputs("flexmusic: the server asks for authentication: give "
		      "a user with -u (HELP and QUIT work without)\n",
		    stderr);
		return CLIENT_OK;
	}
	result = auth_ask(&o->auth, o->host, f);
	if (result == CLIENT_OK)
		result = session_authenticate(s, &o->auth, f);
	auth_wipe(&o->auth);
	return result;
}

/* Connects, does the handshake, and has the session. */
static enum client_exit
client_run(struct client_options *o, struct connection *c, struct failure *f)
{
	bool utf8 = escape_locale_is_utf8();
	bool prompt = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
	struct explain explain;
	struct handshake h = {
		.signature = o->signature,
		.allow_weak = o->allow_weak,
		.tell = o->verbose ? explain_handshake : NULL,
		.arg = &explain,
	};
	struct session s = {
		.explain = o->verbose ? &explain : NULL,
		.out = stdout,
		.utf8 = utf8,
	};
	const struct identity_wishes wishes = {
		.host = o->host,
		.port = o->port,
		.fingerprint = o->fingerprint,
		.accept_new = o->accept_new,
	};
	enum client_exit result;

	explain_init(&explain, stderr, utf8);
	/* First of all: what follows it may be commands. */
	if (o->auth.fd != -1) {
		result = auth_read(&o->auth, f);
		if (result != CLIENT_OK)
			return result;
	}
	s.channel = channel_new(c);
	if (s.channel == NULL)
		return failure_set(f, CLIENT_LOCAL, NULL, "no memory");
	result =
	    connection_open(c, o->host, o->port, o->family, o->limit * 1000,
		o->verbose ? explain_connecting : NULL, &explain, f);
	if (result == CLIENT_OK)
		result = handshake_run(&h, s.channel, f);
	if (result == CLIENT_OK)
		result = identity_check(&s, &h, &wishes, f);
	if (result == CLIENT_OK)
		result = client_authenticate(o, h.authentication, &s, f);
	if (result == CLIENT_OK)
		result = o->command[0] != '\0'
		    ? session_run_command(&s, o->command, strlen(o->command), f)
		    : session_run_lines(&s, STDIN_FILENO, prompt, f);
	connection_close(c);
	channel_free(s.channel);
	if (o->verbose && (result == CLIENT_OK || result == CLIENT_COMMAND))
		explain_closed(&explain);
	return result;
}

int
main(int argc, char **argv)
{
	struct client_options options;
	struct connection connection = { .fd = -1 };
	struct failure failure;
	enum client_exit result;

	if (!client_harden()) {
		fprintf(stderr, "flexmusic: cannot protect the process: %s\n",
		    strerror(errno));
		return CLIENT_LOCAL;
	}
	client_parse_options(&options, argc, argv);
	result = client_run(&options, &connection, &failure);
	explicit_bzero(&options, sizeof(options));
	explicit_bzero(&connection, sizeof(connection));
	if (result == CLIENT_OK)
		return CLIENT_OK;
	fprintf(stderr, "flexmusic: %s\n", failure.what);
	if (failure.remedy != NULL)
		fprintf(stderr, "flexmusic: %s\n", failure.remedy);
	return (int)result;
}
