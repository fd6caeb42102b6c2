/*
 * master/control.h - the control socket: what an administrator asks of a
 * server that runs.
 *
 * Runs in: master, as root.  Root and the members of control_group may ask;
 * what they send are messages of fixed size (privsep/message.h).
 */
#ifndef MASTER_CONTROL_H
#define MASTER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct control;
struct master;
struct session;

/*
 * Makes the socket that the configuration has.  False and `why` where it
 * can't be made or another server answers there; the default one may be
 * missing, which is logged.
 */
bool control_start(struct master *m, char *why, size_t why_len);
/* Takes it away; answers under way go on. */
void control_stop(struct master *m);
/* Ends those too. */
void control_free(struct master *m);
/* A helper has answered, or is gone: somebody may wait for that. */
void control_progress(struct master *m);
/* A session is about to leave the list of all. */
void control_session_gone(const struct session *s);

#endif
