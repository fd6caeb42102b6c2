/*
 * tests/faults/events.c - libevent's calls that may fail for want of memory,
 * for the programs below build/faults.  What only fails where it is misused
 * (event_assign, event_priority_set) is left alone.
 *
 * Runs in: the test's master, keys, auth and pam.
 */
#include <event2/event.h>

#include "tests/faults/fault.h"

WRAP(int, -1, event_add, (struct event * e, const struct timeval *tv), (e, tv))
WRAP(const struct timeval *, NULL, event_base_init_common_timeout,
    (struct event_base * base, const struct timeval *tv), (base, tv))
WRAP(struct event_base *, NULL, event_base_new, (void), ())
WRAP(struct event_base *, NULL, event_base_new_with_config,
    (const struct event_config *config), (config))
WRAP(int, -1, event_base_priority_init, (struct event_base * base, int count),
    (base, count))
WRAP(struct event_config *, NULL, event_config_new, (void), ())
WRAP(struct event *, NULL, event_new,
    (struct event_base * base, evutil_socket_t fd, short what,
	event_callback_fn fn, void *arg),
    (base, fd, what, fn, arg))
