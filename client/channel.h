/*
 * client/channel.h - the encrypted half of a connection: packets out and in
 * once the session key is there (docs/FMLTP.md section 4).
 *
 * Runs in: client, as its user.  Holds the session's key: allocate it with
 * channel_new and end with channel_free, which wipes it.
 */
#ifndef CLIENT_CHANNEL_H
#define CLIENT_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "client/connection.h"
#include "fmltp/secure.h"
#include "fmltp/status.h"

#define CHANNEL_PLAIN_MAX (STREAM_SERVER_TOKEN_MAX / 4 * 3)

struct channel {
	struct connection *connection;
	struct secure secure;
	uint64_t sent_when; /* time of the last token sent */
	uint64_t when; /* time of the last token received */
	int64_t token_deadline; /* for the token under way; 0: none is */
	size_t packet_len; /* bytes of the last packet, line end included */
	size_t plain_len;
	uint8_t plain[CHANNEL_PLAIN_MAX]; /* the last packet received */
	uint8_t raw[CHANNEL_PLAIN_MAX]; /* the token under way */
};

/* NULL without memory. */
struct channel *channel_new(struct connection *c);
void channel_free(struct channel *ch);
/* Starts with the session key; the caller wipes `key`. */
void channel_start(struct channel *ch, const uint8_t key[FERNET_KEY_LEN]);

/*
 * Sends a packet of at most COMMAND_LINE_MAX bytes as one token.  FMLTP_OK,
 * what connection_send returns, or FMLTP_INTERNAL (too long, or no random
 * numbers).
 */
enum fmltp_error
channel_send(struct channel *ch, const void *plain, size_t len);

/*
 * Looks for a packet in what the connection has received already: FMLTP_OK
 * (it is in `plain`), FMLTP_MORE, or the rule that the bytes break.
 */
enum fmltp_error channel_feed(struct channel *ch);
/*
 * Waits for a packet: channel_feed and connection_read in turn, until the
 * deadline, and not longer than FMLTP_TOKEN_MS after a token's first byte.
 */
enum fmltp_error channel_receive(struct channel *ch, int64_t deadline);

#endif
