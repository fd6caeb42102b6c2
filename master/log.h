/*
 * master/log.h - the log: one line an event, `key=value`, never waited for.
 *
 * Runs in: master, as root; no other process writes the log.  Lines go to a
 * non-blocking datagram socket (syslog_socket, RFC 3164), or to standard
 * error (-d), through a bounded ring while the receiver does not take them.
 * Must never see: keys, passwords, a client's packets.
 */
#ifndef MASTER_LOG_H
#define MASTER_LOG_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

#define LOG_RING_LINES 1024 /* lines kept while the receiver is away */
/* Bytes of a line as it is sent: a longer one is cut before a key, and ends
 * in " cut=yes". */
#define LOG_LINE_MAX   1024
#define LOG_PEER_LINES 10 /* lines a second for one peer */
/* Peers remembered for that; the one that has been quiet longest goes. */
#define LOG_PEERS 1024

struct event_base;
struct log;

/*
 * A log that writes to standard error (`socket_path` NULL) or to the
 * datagram socket at `socket_path`.  `verbosity` 0 leaves LOG_DEBUG lines
 * out; 1 and more lets them through.  Before log_attach, lines that can't be
 * written wait in the ring.  NULL only without memory: a missing receiver is
 * retried, not an error.  The process id in the lines is taken here and
 * again by log_attach.
 */
struct log *log_new(const char *socket_path, int facility, int verbosity);
/* Gives the log its event loop (retry and "left out" timers), once; log_free
 * comes before event_base_free. */
void log_attach(struct log *log, struct event_base *base);
/* Changes what a reload may change. */
void log_set_facility(struct log *log, int facility);
void log_set_verbosity(struct log *log, int verbosity);
int log_verbosity(const struct log *log);
/* Writes what the ring holds, waiting at most `ms`; closes and frees. */
void log_free(struct log *log, int ms);

/*
 * One line: "event=<event>" and, behind a blank, the formatted text, which
 * is `key=value` pairs of the caller's making, or nothing.  `level` is one of
 * LOG_ALERT to LOG_DEBUG.  Whatever came from outside must have gone through
 * log_quote.  A line that is taken at once costs one system call; others
 * wait in the ring, and when that is full they are counted: where they are
 * missing stands a line "event=log-dropped dropped=N".
 */
void log_event(struct log *log, int level, const char *event, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

/*
 * The same for an event of a peer: " peer=ADDRESS" is added after the event,
 * and at most LOG_PEER_LINES lines a second go out for one address (its port
 * aside); then one line "event=log-limited peer=... left_out=N" a second says
 * how many did not.  LOG_ALERT lines are never left out, nor are those of a
 * peer without an IPv4 or IPv6 address ("peer=unknown").
 */
void log_peer_event(struct log *log, int level, const char *event,
    const struct sockaddr *peer, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/*
 * Writes `len` bytes from outside as a quoted value into `out` of `size`
 * bytes: between double quotes, as strvis(3) has it with VIS_OCTAL, VIS_TAB,
 * VIS_NL, VIS_DQ and VIS_NOLOCALE, but without its allocations: every byte
 * that is not printable ASCII, and " and \, as a backslash and three octal
 * digits.  What does not fit is left out, never a part of an escape or the
 * closing quote; a `size` below 3 gives an empty string.  Returns `out`.
 */
const char *log_quote(char *out, size_t size, const void *bytes, size_t len);

/* "127.0.0.1:53422", "[::1]:53422" into `out`; returns `out`. */
const char *log_address(char *out, size_t size, const struct sockaddr *sa);

/* Lines dropped for want of room so far; lines left out for peers. */
unsigned long long log_dropped(const struct log *log);
unsigned long long log_left_out(const struct log *log);

#endif
