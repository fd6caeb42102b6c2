/*
 * ctl/main.c - flexmusicctl(8): commands, options, the exit status.
 *
 * Runs in: ctl, as the administrator.  What is secret (passwords, hashes)
 * stays in this process, which neither dumps core nor can be traced by the
 * user's other programs.
 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/command.h"
#include "ctl/report.h"
#include "ctl/server.h"
#include "ctl/settings.h"
#include "ctl/user.h"
#include "privsep/message.h"

#define CTL_CONFIG SYSCONFDIR "/flexmusic/flexmusicd.conf"

/* The options: the bits of a command's `options`. */
enum {
	CTL_FILE = 1 << 0,
	CTL_MIN_LENGTH = 1 << 1,
	CTL_STDIN = 1 << 2,
	CTL_JSON = 1 << 3,
	CTL_KEEP = 1 << 4,
	CTL_SOCKET = 1 << 5,
	CTL_USER = 1 << 6, /* in the place of the argument */
	CTL_CONFIGURED = 1 << 7
};

/* Of commands for a server, and of those that change a password. */
#define CTL_SERVER   (CTL_CONFIGURED | CTL_JSON | CTL_SOCKET)
#define CTL_PASSWORD (CTL_CHANGE | CTL_MIN_LENGTH | CTL_STDIN)
#define CTL_CHANGE   (CTL_CONFIGURED | CTL_FILE | CTL_SOCKET)

#define CTL_LONG 256 /* what getopt_long gives is this and the bit */

static const struct option ctl_long_options[] = {
	{ "config", required_argument, NULL, CTL_LONG + CTL_CONFIGURED },
	{ "file", required_argument, NULL, CTL_LONG + CTL_FILE },
	{ "json", no_argument, NULL, CTL_LONG + CTL_JSON },
	{ "keep", no_argument, NULL, CTL_LONG + CTL_KEEP },
	{ "min-length", required_argument, NULL, CTL_LONG + CTL_MIN_LENGTH },
	{ "socket", required_argument, NULL, CTL_LONG + CTL_SOCKET },
	{ "stdin", no_argument, NULL, CTL_LONG + CTL_STDIN },
	{ "user", required_argument, NULL, CTL_LONG + CTL_USER },
	{ NULL, 0, NULL, 0 },
};

/* A command: a word or two, what follows it, which options it knows. */
struct ctl_command {
	const char *first;
	const char *second; /* NULL: one word */
	const char *argument; /* NULL: none */
	unsigned options;
	enum ctl_exit (*run)(const struct command_options *o);
};

static const struct ctl_command ctl_commands[] = {
	{ "status", NULL, NULL, CTL_SERVER, server_status },
	{ "sessions", NULL, NULL, CTL_SERVER, server_sessions },
	{ "identity", NULL, NULL, CTL_SERVER, server_identity },
	{ "kill", NULL, "number", CTL_SERVER | CTL_USER, server_kill },
	{ "reload", NULL, NULL, CTL_SERVER, server_reload },
	{ "rotate", NULL, NULL, CTL_SERVER, server_rotate },
	{ "penalties", "clear", "address|all", CTL_SERVER,
	    server_clear_penalties },
	{ "penalties", NULL, NULL, CTL_SERVER, server_penalties },
	{ "log", NULL, "brief|verbose", CTL_SERVER, server_log },
	{ "user", "add", "name", CTL_PASSWORD, user_add },
	{ "user", "passwd", "name", CTL_PASSWORD | CTL_KEEP, user_passwd },
	{ "user", "del", "name", CTL_CHANGE | CTL_KEEP, user_del },
	{ "user", "list", NULL, CTL_CONFIGURED | CTL_FILE | CTL_JSON,
	    user_list },
	{ "user", "check", "name", CTL_CONFIGURED | CTL_FILE | CTL_STDIN,
	    user_check },
};

#define CTL_COMMANDS (sizeof(ctl_commands) / sizeof(ctl_commands[0]))

static const char *
ctl_option_argument(const struct option *o)
{
	switch (o->val - CTL_LONG) {
	case CTL_CONFIGURED:
	case CTL_FILE:
	case CTL_SOCKET:
		return " path";
	case CTL_MIN_LENGTH:
		return " number";
	case CTL_USER:
		return " name";
	default:
		return "";
	}
}

static void
ctl_print_usage(void)
{
	const struct ctl_command *c;
	const struct option *o;

	for (c = ctl_commands; c < ctl_commands + CTL_COMMANDS; c++) {
		fprintf(stderr, "%s flexmusicctl %s",
		    c == ctl_commands ? "usage:" : "      ", c->first);
		if (c->second != NULL)
			fprintf(stderr, " %s", c->second);
		for (o = ctl_long_options; o->name != NULL; o++)
			if (c->options & (unsigned)(o->val - CTL_LONG))
				fprintf(stderr, " [--%s%s]", o->name,
				    ctl_option_argument(o));
		if (c->argument != NULL)
			fprintf(stderr, c->options & CTL_USER ? " [%s]" : " %s",
			    c->argument);
		fputc('\n', stderr);
	}
	fputs("       flexmusicctl -V\n", stderr);
}

static void __attribute__((noreturn, format(printf, 1, 2)))
ctl_usage(const char *fmt, ...)
{
	va_list ap;

	fputs("flexmusicctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	ctl_print_usage();
	exit(CTL_USAGE);
}

/*
 * A short option is known by its letter alone: it may stand among others in
 * one word.
 */
static void __attribute__((noreturn))
ctl_wrong_option(const char *word, const char *why)
{
	if (optopt > 0 && optopt < CTL_LONG)
		ctl_usage("-%c %s", optopt, why);
	ctl_usage("%s %s", word, why);
}

/* What was written to standard output has to be there. */
static enum ctl_exit
ctl_flush(enum ctl_exit result)
{
	if (fflush(stdout) != EOF && !ferror(stdout))
		return result;
	report_error(
	    NULL, "cannot write to standard output: %s", strerror(errno));
	return CTL_FAILED;
}

/* Reads the options; which ones there were is in the result's bits. */
static unsigned
ctl_parse_options(struct command_options *o, int argc, char **argv)
{
	const char *error;
	unsigned seen = 0;
	int c;

	opterr = 0;
	while (
	    (c = getopt_long(argc, argv, ":V", ctl_long_options, NULL)) != -1) {
		switch (c) {
		case 'V':
			printf("flexmusicctl %s\n", FLEXMUSIC_VERSION);
			exit(ctl_flush(CTL_OK));
		case CTL_LONG + CTL_CONFIGURED:
			o->config = optarg;
			break;
		case CTL_LONG + CTL_FILE:
			if (optarg[0] == '\0' ||
			    optarg[strlen(optarg) - 1] == '/')
				ctl_usage("--file needs the path of a file");
			o->file = optarg;
			break;
		case CTL_LONG + CTL_JSON:
			o->json = true;
			break;
		case CTL_LONG + CTL_KEEP:
			o->keep = true;
			break;
		case CTL_LONG + CTL_SOCKET:
			o->socket = optarg;
			break;
		case CTL_LONG + CTL_USER:
			o->user = optarg;
			break;
		case CTL_LONG + CTL_MIN_LENGTH:
			o->min_length = (unsigned)strtonum(
			    optarg, 1, AUTH_PASSWORD_MAX, &error);
			if (error != NULL)
				ctl_usage("--min-length %s: %s; a number from "
					  "1 to %d is needed",
				    optarg, error, AUTH_PASSWORD_MAX);
			break;
		case CTL_LONG + CTL_STDIN:
			o->from_stdin = true;
			break;
		case ':':
			ctl_wrong_option(argv[optind - 1], "needs an argument");
		default:
			ctl_wrong_option(argv[optind - 1],
			    "is not an option of flexmusicctl");
		}
		seen |= (unsigned)(c - CTL_LONG);
	}
	return seen;
}

/* The command of these words, its argument put into the options. */
static const struct ctl_command *
ctl_find_command(struct command_options *o, int argc, char **argv)
{
	const struct ctl_command *c;
	int words;

	if (argc == 0)
		ctl_usage("a command is needed");
	for (c = ctl_commands; c < ctl_commands + CTL_COMMANDS; c++) {
		words = c->second != NULL ? 2 : 1;
		if (argc < words || strcmp(argv[0], c->first) != 0 ||
		    (words == 2 && strcmp(argv[1], c->second) != 0))
			continue;
		/* Not repeated: it may be a password, in the wrong place. */
		if (argc > words + (c->argument != NULL))
			ctl_usage("there are words too many");
		if (c->argument != NULL && argc == words && o->user == NULL)
			ctl_usage("a %s is needed", c->argument);
		o->argument = argv[words];
		return c;
	}
	ctl_usage("there is no command %s%s%s", argv[0], argc > 1 ? " " : "",
	    argc > 1 ? argv[1] : "");
}

/*
 * No core, no tracer; no file in the place of a missing standard stream,
 * where a message would go; a limit of file sizes is an error, not the end.
 */
static bool
ctl_harden(void)
{
	const struct rlimit none = { 0, 0 };
	int fd;

	umask(077);
	signal(SIGXFSZ, SIG_IGN);
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

int
main(int argc, char **argv)
{
	struct command_options options = { .config = CTL_CONFIG };
	const struct ctl_command *command;
	const struct option *o;
	unsigned seen;

	if (!ctl_harden()) {
		report_error(
		    NULL, "cannot protect the process: %s", strerror(errno));
		return CTL_FAILED;
	}
	seen = ctl_parse_options(&options, argc, argv);
	command = ctl_find_command(&options, argc - optind, argv + optind);
	for (o = ctl_long_options; o->name != NULL; o++)
		if (seen & ~command->options & (unsigned)(o->val - CTL_LONG))
			ctl_usage("--%s is not for `%s%s%s`", o->name,
			    command->first, command->second != NULL ? " " : "",
			    command->second != NULL ? command->second : "");
	/* Not for what the command line has said. */
	if (!(command->options & ~seen &
		(CTL_FILE | CTL_MIN_LENGTH | CTL_SOCKET)))
		options.config = NULL;
	if (!settings_fill(
		&options, options.config, (seen & CTL_CONFIGURED) != 0))
		return CTL_FAILED;
	return (int)ctl_flush(command->run(&options));
}
