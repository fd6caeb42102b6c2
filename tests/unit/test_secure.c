/*
 * tests/unit/test_secure.c - the encrypted half of a connection, both sides.
 *
 * Runs in: the unit tests alone.
 */
#include <stdlib.h>

#include "fmltp/base64url.h"
#include "fmltp/secure.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

#define PLAIN_MAX (STREAM_CLIENT_TOKEN_MAX / 4 * 3)

struct fixture {
	struct secure side[2]; /* SECURE_SERVER, SECURE_CLIENT */
	uint8_t raw[2][PLAIN_MAX];
	uint8_t text[STREAM_CLIENT_TOKEN_MAX * 2];
	struct buf out;
	uint8_t plain[PLAIN_MAX];
	size_t plain_len;
	size_t taken;
	uint64_t iv; /* a new one for each packet */
};

static struct fixture *
fixture_new(void)
{
	struct fixture *x = calloc(1, sizeof(*x));
	int i;

	assert_non_null(x);
	for (i = 0; i < 2; i++)
		secure_init(&x->side[i], (enum secure_side)i, vector_kex[0].key,
		    x->raw[i], STREAM_CLIENT_TOKEN_MAX);
	return x;
}

/* Puts one packet of either side into `text`. */
static void
seal(struct fixture *x, uint64_t now, const char *plain)
{
	uint8_t iv[FERNET_IV_LEN] = { 0 };

	x->iv++;
	memcpy(iv, &x->iv, sizeof(x->iv));
	buf_init(&x->out, x->text, sizeof(x->text));
	secure_send(
	    &x->side[SECURE_CLIENT], now, iv, plain, strlen(plain), &x->out);
	assert_false(x->out.failed);
}

/* What `side` says of it. */
static enum fmltp_error
receive(struct fixture *x, enum secure_side side)
{
	enum fmltp_error e;

	memset(x->plain, 0xee, sizeof(x->plain));
	e = secure_receive(&x->side[side], x->text, x->out.len, &x->taken,
	    x->plain, &x->plain_len);
	/* The line end is left for the next call. */
	if (e == FMLTP_OK)
		assert_int_equal(x->taken, x->out.len - 2);
	return e;
}

/* Tokens of the known exchange: sent and received as they are. */
static void
test_secure_vectors(void **state)
{
	const struct vector_kex *v;
	const struct vector_token *t;
	struct fixture *x;
	enum secure_side to;

	for (v = vector_kex; v < vector_kex + COUNT_OF(vector_kex); v++)
		for (t = v->tokens; t < v->tokens + v->token_count; t++) {
			x = fixture_new();
			to = t->plain[0] == '1' || t->plain[0] == '2'
			    ? SECURE_CLIENT
			    : SECURE_SERVER;
			secure_init(&x->side[to], to, v->key, x->raw[to],
			    STREAM_CLIENT_TOKEN_MAX);
			buf_init(&x->out, x->text, sizeof(x->text));
			secure_send(&x->side[to], t->when, t->iv, t->plain,
			    t->plain_len, &x->out);
			assert_int_equal(x->out.len, strlen(t->token) + 2);
			assert_memory_equal(
			    x->text, t->token, strlen(t->token));
			assert_memory_equal(
			    x->text + x->out.len - 2, "\r\n", 2);
			assert_int_equal(receive(x, to), FMLTP_OK);
			assert_int_equal(x->plain_len, t->plain_len);
			assert_memory_equal(x->plain, t->plain, x->plain_len);
			assert_int_equal(receive(x, to), FMLTP_REPLAY_SEEN);
			free(x);
		}
}

static void
test_secure_reflection(void **state)
{
	static const struct {
		const char *plain;
		enum secure_side from;
	} rows[] = {
		{ "100 FmLTP/1.0 Interpreter Ready.\r\n", SECURE_SERVER },
		{ "200 Goodbye.\r\n", SECURE_SERVER },
		{ "221 0 ", SECURE_SERVER },
		{ "999 ", SECURE_SERVER },
		{ "QUIT", SECURE_CLIENT },
		{ "FlexMusic Server,0.0.0", SECURE_CLIENT },
		{ "", SECURE_CLIENT },
		{ "200", SECURE_CLIENT },
		{ "2000 ", SECURE_CLIENT },
		{ " 200 x", SECURE_CLIENT },
		{ "20x ", SECURE_CLIENT },
		{ "200\tx", SECURE_CLIENT },
	};
	struct fixture *x;
	size_t i;
	enum secure_side from, to;

	for (i = 0; i < COUNT_OF(rows); i++) {
		x = fixture_new();
		from = rows[i].from;
		to = from == SECURE_SERVER ? SECURE_CLIENT : SECURE_SERVER;
		seal(x, 1000, rows[i].plain);
		assert_int_equal(receive(x, from), FMLTP_REFLECTED);
		assert_int_equal(x->plain_len, 0);
		assert_int_equal(receive(x, to), FMLTP_OK);
		assert_int_equal(x->plain_len, strlen(rows[i].plain));
		free(x);
	}
}

/* A refused packet records nothing, so the next good one is taken. */
static void
test_secure_reflection_records_nothing(void **state)
{
	static const struct replay none;
	struct fixture *x = fixture_new();

	/* The server's packet of an hour ahead, sent back to it. */
	seal(x, 4600, "200 Goodbye.\r\n");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_REFLECTED);
	assert_memory_equal(
	    &x->side[SECURE_SERVER].replay, &none, sizeof(none));
	seal(x, 1000, "QUIT");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_OK);
	assert_true(x->side[SECURE_SERVER].replay.newest == 1000);
	free(x);
}

/* The order of the checks: what is wrong first is what is said. */
static void
test_secure_order(void **state)
{
	struct fixture *x = fixture_new();
	uint8_t raw[FERNET_RAW_LEN(0)] = { 0x80 };
	struct crypto_hmac h;

	seal(x, 1000, "HELP");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_OK);

	/* Reflection before age, and age before what was seen. */
	seal(x, 10, "200 x");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_REFLECTED);
	seal(x, 989, "HELP");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_REPLAY_OLD);
	assert_int_equal(x->plain_len, 0);
	seal(x, 990, "HELP");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_OK);
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_REPLAY_SEEN);
	assert_int_equal(x->plain_len, 0);

	/* Padding before age: time 0, a block of chance, a MAC that matches. */
	h = x->side[SECURE_SERVER].fernet.hmac;
	crypto_hmac_update(&h, raw, sizeof(raw) - FERNET_MAC_LEN);
	crypto_hmac_peek(&h, raw + sizeof(raw) - FERNET_MAC_LEN);
	buf_init(&x->out, x->text, sizeof(x->text));
	base64_put(&x->out, BASE64_URL, raw, sizeof(raw));
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_TOKEN_PADDING);

	/* The MAC before all of these. */
	seal(x, 10, "200 x");
	x->text[60] = x->text[60] == 'Q' ? 'g' : 'Q';
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_TOKEN_MAC);
	free(x);
}

/* Two packets in one segment, then a piece: one is given at a time. */
static void
test_secure_several(void **state)
{
	struct fixture *x = fixture_new();
	struct secure *s = &x->side[SECURE_SERVER];
	uint8_t iv[FERNET_IV_LEN] = { 1 };
	size_t at = 0;

	buf_init(&x->out, x->text, sizeof(x->text));
	secure_send(s, 1000, iv, "FlexMusic Server,0.0.0", 22, &x->out);
	iv[0]++;
	secure_send(s, 1001, iv, "HELP", 4, &x->out);
	assert_int_equal(secure_receive(s, x->text, x->out.len - 10, &x->taken,
			     x->plain, &x->plain_len),
	    FMLTP_OK);
	assert_int_equal(x->plain_len, 22);
	at += x->taken;
	assert_int_equal(secure_receive(s, x->text + at, x->out.len - 10 - at,
			     &x->taken, x->plain, &x->plain_len),
	    FMLTP_MORE);
	at += x->taken;
	assert_int_equal(at, x->out.len - 10);
	assert_true(stream_in_token(&s->stream));
	assert_int_equal(secure_receive(s, x->text + at, 10, &x->taken,
			     x->plain, &x->plain_len),
	    FMLTP_OK);
	assert_int_equal(x->plain_len, 4);
	assert_memory_equal(x->plain, "HELP", 4);
	free(x);
}

static void
test_secure_send_bound(void **state)
{
	struct fixture *x = fixture_new();
	static const uint8_t iv[FERNET_IV_LEN];

	buf_init(&x->out, x->text, FERNET_TOKEN_LEN(4) + 2);
	secure_send(&x->side[SECURE_CLIENT], 1, iv, "QUIT", 4, &x->out);
	assert_false(x->out.failed);
	buf_init(&x->out, x->text, FERNET_TOKEN_LEN(4) + 1);
	secure_send(&x->side[SECURE_CLIENT], 1, iv, "QUIT", 4, &x->out);
	assert_true(x->out.failed);
	free(x);
}

static void
test_secure_wipe(void **state)
{
	static const struct fernet no_key;
	static const struct replay none;
	struct fixture *x = fixture_new();
	struct secure *s = &x->side[SECURE_SERVER];
	const uint8_t *p;
	size_t i;
	uint8_t seen = 0;

	seal(x, 1000, "HELP");
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_OK);
	/* In the middle of a token a keyed hash is running. */
	seal(x, 1000, "HELP");
	x->out.len = 90;
	assert_int_equal(receive(x, SECURE_SERVER), FMLTP_MORE);
	secure_wipe(s);
	assert_memory_equal(&s->fernet, &no_key, sizeof(no_key));
	assert_memory_equal(&s->replay, &none, sizeof(none));
	p = (const uint8_t *)&s->stream;
	for (i = 0; i < sizeof(s->stream); i++)
		seen |= p[i];
	assert_int_equal(seen, 0);
	free(x);
}

static void
test_secure_challenge(void **state)
{
	static const char text[] = "FlexMusic Server,0.0.0";
	static const struct {
		const char *packet;
		bool matches;
	} rows[] = {
		{ "FlexMusic Server,0.0.0", true },
		{ "FlexMusic Server,0.0.0\r\n", true },
		{ "FlexMusic Server,0.0.0\n", true },
		{ "\r\n FlexMusic Server,0.0.0 \r\n", true },
		{ "", false },
		{ " \r\n", false },
		{ "FlexMusic Server,0.0.", false },
		{ "FlexMusic Server,0.0.00", false },
		{ "FlexMusic Server,0.0.1", false },
		{ "flexMusic Server,0.0.0", false },
		{ "FlexMusic  Server,0.0.0", false },
		{ "\tFlexMusic Server,0.0.0", false },
		{ "FlexMusic Server,0.0.0 FlexMusic Server,0.0.0", false },
	};
	char changed[sizeof(text)];
	size_t i;

	for (i = 0; i < COUNT_OF(rows); i++)
		assert_true(
		    secure_challenge_matches((const uint8_t *)rows[i].packet,
			strlen(rows[i].packet),
			BYTES(text)) == rows[i].matches);
	for (i = 0; i < sizeof(text) - 1; i++) {
		memcpy(changed, text, sizeof(text));
		changed[i] ^= 1;
		assert_false(secure_challenge_matches(
		    (uint8_t *)changed, sizeof(text) - 1, BYTES(text)));
		assert_false(secure_challenge_matches(
		    (const uint8_t *)text, i, BYTES(text)));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secure_vectors),
		cmocka_unit_test(test_secure_reflection),
		cmocka_unit_test(test_secure_reflection_records_nothing),
		cmocka_unit_test(test_secure_order),
		cmocka_unit_test(test_secure_several),
		cmocka_unit_test(test_secure_send_bound),
		cmocka_unit_test(test_secure_wipe),
		cmocka_unit_test(test_secure_challenge),
	};

	return cmocka_run_group_tests_name("secure", tests, NULL, NULL);
}
