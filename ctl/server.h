/*
 * ctl/server.h - the commands for a server that runs.
 *
 * Runs in: ctl.
 */
#ifndef CTL_SERVER_H
#define CTL_SERVER_H

#include "ctl/command.h"

enum ctl_exit server_status(const struct command_options *o);
enum ctl_exit server_sessions(const struct command_options *o);
enum ctl_exit server_identity(const struct command_options *o);
enum ctl_exit server_kill(const struct command_options *o);
enum ctl_exit server_reload(const struct command_options *o);
enum ctl_exit server_rotate(const struct command_options *o);
enum ctl_exit server_penalties(const struct command_options *o);
enum ctl_exit server_clear_penalties(const struct command_options *o);
enum ctl_exit server_log(const struct command_options *o);

/*
 * The users file was changed: a server that has its users there, if one runs
 * and may be asked, takes the new one, and ends the sessions of `user` (NULL:
 * of nobody).  CTL_FAILED, with the reason said, where it could not.
 */
enum ctl_exit
server_take_users(const struct command_options *o, const char *user);

#endif
