/*
 * privsep/main.c - main() of flexmusicd and of the programs that it starts:
 * which role is this?
 *
 * Runs in: every server process, before anything else.
 */
#include <sys/socket.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include "privsep/roles.h"
#include "privsep/start.h"

/* True if the descriptor is a channel, as the master's fork leaves it. */
static bool
main_has_channel(void)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(HELPER_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &len) ==
	    0 &&
	    type == SOCK_SEQPACKET;
}

int
main(int argc, char **argv, char **envp)
{
	enum role_id role;

	setproctitle_init(argc, argv, envp);
	if (argc == 3 && strcmp(argv[2], HELPER_PADDING) == 0) {
		role = role_by_name(argv[1]);
		if (role != ROLE_COUNT && role != ROLE_MASTER &&
		    role_helper_prepare[role] != NULL && main_has_channel())
			return helper_run(role, argv[0],
			    (size_t)(argv[2] + strlen(argv[2]) - argv[0]));
	}
	if (role_master_entry != NULL)
		return role_master_entry(argc, argv);
	fprintf(stderr, "started by flexmusicd alone; see flexmusicd(8)\n");
	return 1;
}
