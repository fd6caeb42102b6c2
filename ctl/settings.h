/*
 * ctl/settings.h - what flexmusicctl has to know of the server's
 * configuration: three keys of flexmusicd.conf(5).
 *
 * Runs in: ctl.
 */
#ifndef CTL_SETTINGS_H
#define CTL_SETTINGS_H

#include <stdbool.h>

#include "ctl/command.h"

/*
 * Fills in `file`, `socket` and `min_length` of the options where they are
 * NULL or 0: by auth_file, control_socket and auth_min_password_length of the
 * configuration at `path` (NULL: it is not read), or by their defaults.  A file
 * that is not there, or not to be read by this user, is one without these keys
 * unless it was asked for (`wanted`).  The strings stay allocated until the
 * process ends.  False, reported, where the file has a mistake.
 */
bool settings_fill(struct command_options *o, const char *path, bool wanted);

#endif
