/*
 * fmltp/proto.h - what both sides of a connection agree on besides the
 * packets: times and sizes (FMLTP.md sections 1, 2 and 6).
 *
 * Runs in: master, worker, client.
 */
#ifndef FMLTP_PROTO_H
#define FMLTP_PROTO_H

#define FMLTP_PORT	       8900
#define FMLTP_LINE_SILENCE_MS  250 /* ends a version line without an end */
#define FMLTP_SKIP_MAX	       4 /* CR and LF before packet 4's BEGIN */
#define FMLTP_TOKEN_MS	       30000 /* a token, from its first byte */
#define FMLTP_SEND_MS	       30000 /* a packet, to be taken whole */
#define FMLTP_SEND_RATE	       1024 /* bytes a second, for a longer one */
#define FMLTP_AUTH_DELAY_MS    1000 /* a 151 comes no sooner after its AUTH */
#define FMLTP_AUTH_SLACK_MS    12000 /* of the last 151, past the phase's end */
#define FMLTP_LINGER_MS	       1000 /* read and drop after a close */
#define FMLTP_LINGER_BYTES     65536
#define FMLTP_KEEPALIVE_IDLE   60 /* seconds */
#define FMLTP_KEEPALIVE_COUNT  6
#define FMLTP_KEEPALIVE_PERIOD 10 /* seconds */

#endif
