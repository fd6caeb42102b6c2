/*
 * ctl/user.h - the commands on the users file.
 *
 * Runs in: ctl.
 */
#ifndef CTL_USER_H
#define CTL_USER_H

#include "ctl/command.h"

enum ctl_exit user_add(const struct command_options *o);
enum ctl_exit user_passwd(const struct command_options *o);
enum ctl_exit user_del(const struct command_options *o);
enum ctl_exit user_list(const struct command_options *o);
enum ctl_exit user_check(const struct command_options *o);

#endif
