/*
 * ctl/control.h - a question to a server that runs, and its answer.
 *
 * Runs in: ctl.  The messages are in privsep/message.h.
 */
#ifndef CTL_CONTROL_H
#define CTL_CONTROL_H

#include <stdbool.h>

#include "privsep/message.h"

/* Takes a row of the answer, whose texts end in a NUL. */
typedef void control_row(void *arg, const union message_any *row);

enum control_reach {
	CONTROL_ANSWERED, /* `done` says the rest */
	CONTROL_NO_SERVER, /* none runs, or none has its socket there */
	CONTROL_FORBIDDEN, /* who asks may not */
	CONTROL_BROKEN /* the answer did not come to its end; it was said why */
};

/*
 * Asks the server whose control socket is `path`.  Rows go to `row` (NULL:
 * none are expected) as they come.  The first two failures are the caller's
 * to say: control_explain.
 */
enum control_reach
control_ask(const char *path, struct message_control *request, control_row *row,
    void *arg, struct message_control_done *done);

/* Says what went wrong; false always. */
bool control_explain(const char *path, enum control_reach reach);

#endif
