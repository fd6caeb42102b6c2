/*
 * privsep/message.c - what is known of each message type.
 *
 * Runs in: every server process; flexmusicctl.
 */
#include <string.h>

#include "fmltp/crypto.h"
#include "privsep/message.h"

const struct message_info message_info[MESSAGE_TYPES] = {
#define X(type, body, fds, from, to) \
	[type] = { #type, sizeof(struct body), fds },
	MESSAGES(X)
#undef X
};

#define X(type, body, fds, from, to)                              \
	_Static_assert(sizeof(struct body) <= UINT16_MAX, #type); \
	_Static_assert((fds) <= MESSAGE_FDS_MAX, #type);          \
	_Static_assert(offsetof(struct body, header) == 0, #type);
MESSAGES(X)
#undef X

void
message_table_hash(uint8_t digest[32])
{
	char row[128];
	struct buf b;
	uint8_t all[32 + sizeof(row)];
	int i;

	memset(digest, 0, 32);
	for (i = 1; i < MESSAGE_TYPES; i++) {
		buf_init(&b, all, sizeof(all));
		buf_put(&b, digest, 32);
		buf_put_str(&b, message_info[i].name);
		buf_put_u16(&b, message_info[i].size);
		buf_put_u8(&b, message_info[i].fds);
		crypto_sha256(all, b.len, digest);
	}
}
