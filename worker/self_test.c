/*
 * worker/self_test.c - a worker's calls, once, in its filter, with a known
 * answer: a libc that needs another system call is found at start, not by
 * the first client.
 *
 * Runs in: worker, in a self-test alone.
 */
#include <sys/socket.h>

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "privsep/channel.h"
#include "privsep/start.h"
#include "worker/worker.h"

/*
 * The Fernet specification's "generate" case: key, time, IV and plaintext
 * have this token.
 */
static const uint8_t self_test_key[FERNET_KEY_LEN] = { 0x73, 0x0f, 0xf4, 0xc7,
	0xaf, 0x3d, 0x46, 0x92, 0x3e, 0x8e, 0xd4, 0x51, 0xee, 0x81, 0x3c, 0x87,
	0xf7, 0x90, 0xb0, 0xa2, 0x26, 0xbc, 0x96, 0xa9, 0x2d, 0xe4, 0x9b, 0x5e,
	0x9c, 0x05, 0xe1, 0xee };
static const uint8_t self_test_iv[FERNET_IV_LEN] = { 0, 1, 2, 3, 4, 5, 6, 7, 8,
	9, 10, 11, 12, 13, 14, 15 };
#define SELF_TEST_TIME 499162800
#define SELF_TEST_TOKEN                                                        \
	"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhu" \
	"VUPgJobwOz7JcbmrR64jVmpU4IwqDA=="

bool
worker_self_test(struct helper *h)
{
	static struct worker w;
	static uint8_t raw[WORKER_RAW_MAX];
	static union message_any heard;
	struct channel channel;
	struct buf b;
	size_t taken, len;

	w.client = h->channel;
	w.raw = raw;
	w.master = w.keys = -1;
	secure_init(&w.secure, SECURE_SERVER, self_test_key, w.raw,
	    STREAM_CLIENT_TOKEN_MAX);
	wire_start_packet(&w, sizeof(SELF_TEST_TOKEN), &b);
	fernet_seal(
	    &w.secure.fernet, SELF_TEST_TIME, self_test_iv, "hello", 5, &b);
	if (b.failed || b.len != strlen(SELF_TEST_TOKEN) ||
	    memcmp(b.data, SELF_TEST_TOKEN, b.len) != 0 ||
	    secure_receive(&w.secure, b.data, b.len, &taken, WORKER_PLAIN(&w),
		&len) != FMLTP_OK ||
	    len != 5 || memcmp(WORKER_PLAIN(&w), "hello", 5) != 0)
		return false;
	/* Waiting, time and random bytes, as every connection uses them. */
	if (wire_wait_channel(&w, h->channel, wire_now() + 1) != FMLTP_TIMEOUT)
		return false;
	/* Nothing is there to be heard; that the call may be made counts. */
	channel_init(&channel, WORKER_CHANNEL, NULL, 0, NULL);
	if (channel_receive(&channel, &heard) == CHANNEL_OK)
		return false;
	return getentropy(w.raw, FERNET_IV_LEN) == 0 && wire_time() != 0;
}
