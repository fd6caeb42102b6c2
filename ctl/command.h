/*
 * ctl/command.h - what the commands of flexmusicctl get, and what they give.
 *
 * Runs in: ctl.
 */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <stdbool.h>

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1, /* or a wrong password */
	CTL_USAGE = 2
};

struct command_options {
	const char *argument; /* NULL: the command takes none */
	const char *config; /* the server's configuration */
	const char *file; /* the users file */
	unsigned min_length; /* characters of a new password */
	bool from_stdin;
	bool json;
	const char *socket; /* of a server that runs */
	const char *user; /* whose sessions; NULL: not given */
	bool keep; /* sessions of the user go on */
};

#endif
