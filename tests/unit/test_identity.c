/*
 * tests/unit/test_identity.c - who the server is: known answers of an
 * independent implementation, and every form that is not the one.
 *
 * Runs in: the unit tests alone, as whoever runs them.
 */
#include <string.h>

#include "client/known.h"
#include "fmltp/crypto.h"
#include "fmltp/identity.h"
#include "fmltp/signature.h"
#include "tests/unit/unit.h"
#include "tests/vectors.h"

#define CASES (sizeof(vector_ident) / sizeof(vector_ident[0]))

/* The transcript of a case, from the packets of its exchange. */
static void
put_transcript(struct buf *b, size_t i)
{
	const struct vector_kex *k = &vector_kex[i];
	const struct vector_ident *v = &vector_ident[i];
	struct version_line server, client;
	uint8_t client_y[DH_PRIME_MAX], server_y[DH_PRIME_MAX];
	struct dh_params params;
	size_t taken;

	assert_int_equal(
	    dh_params_parse_pem((const uint8_t *)k->server_kex_init,
		strlen(k->server_kex_init), &params, &taken),
	    FMLTP_OK);
	assert_int_equal(
	    dh_public_parse_pem((const uint8_t *)k->client_kex_id,
		strlen(k->client_kex_id), &params, client_y, &taken),
	    FMLTP_OK);
	assert_int_equal(
	    dh_public_parse_pem((const uint8_t *)k->server_kex_id,
		strlen(k->server_kex_id), &params, server_y, &taken),
	    FMLTP_OK);
	assert_int_equal(version_parse((const uint8_t *)v->server,
			     strlen(v->server), &server),
	    FMLTP_OK);
	assert_int_equal(version_parse((const uint8_t *)v->client,
			     strlen(v->client), &client),
	    FMLTP_OK);
	identity_put_transcript(
	    b, &server, &client, &params, client_y, server_y);
}

static void
test_known_answers(void **state)
{
	static uint8_t bytes[IDENTITY_TRANSCRIPT_MAX];
	uint8_t digest[CRYPTO_SHA256_LEN], public[IDENTITY_PUBLIC_LEN];
	uint8_t signature[IDENTITY_SIGNATURE_LEN], text[256];
	const struct vector_ident *v;
	struct signature_key *key;
	struct buf b, answer;
	size_t i;

	assert_true(CASES >= 4);
	for (i = 0; i < CASES; i++) {
		v = &vector_ident[i];
		buf_init(&b, bytes, sizeof(bytes));
		put_transcript(&b, i);
		assert_false(b.failed);
		assert_int_equal(b.len, v->transcript_len);
		crypto_sha256(b.data, b.len, digest);
		assert_memory_equal(
		    digest, v->transcript_sha256, sizeof(digest));
		key = signature_key_new(v->seed);
		assert_non_null(key);
		signature_key_public(key, public);
		assert_memory_equal(public, v->public, sizeof(public));
		assert_true(signature_make(key, b.data, b.len, signature));
		assert_memory_equal(signature, v->signature, sizeof(signature));
		assert_true(
		    signature_check(public, b.data, b.len, v->signature));
		buf_init(&answer, text, sizeof(text));
		identity_put_answer(&answer, public, signature);
		assert_int_equal(answer.len, strlen(v->answer));
		assert_memory_equal(text, v->answer, answer.len);
		signature_key_free(key);
	}
}

/* A bit anywhere, and the signature does not hold. */
static void
test_signature_holds_for_this_alone(void **state)
{
	static uint8_t bytes[IDENTITY_TRANSCRIPT_MAX];
	uint8_t wrong[IDENTITY_SIGNATURE_LEN], public[IDENTITY_PUBLIC_LEN];
	const struct vector_ident *v = &vector_ident[0];
	struct buf b;
	size_t i;

	buf_init(&b, bytes, sizeof(bytes));
	put_transcript(&b, 0);
	for (i = 0; i < b.len; i++) {
		bytes[i] ^= 0x10;
		assert_false(
		    signature_check(v->public, b.data, b.len, v->signature));
		bytes[i] ^= 0x10;
	}
	for (i = 0; i < sizeof(wrong); i++) {
		memcpy(wrong, v->signature, sizeof(wrong));
		wrong[i] ^= 1;
		assert_false(signature_check(v->public, b.data, b.len, wrong));
	}
	memcpy(public, v->public, sizeof(public));
	public[3] ^= 1;
	assert_false(signature_check(public, b.data, b.len, v->signature));
	assert_false(
	    signature_check(v->public, b.data, b.len - 1, v->signature));
	assert_true(signature_check(v->public, b.data, b.len, v->signature));
}

static bool
parse_answer(const char *text, size_t len)
{
	uint8_t public[IDENTITY_PUBLIC_LEN], signature[IDENTITY_SIGNATURE_LEN];

	return identity_parse_answer(
	    (const uint8_t *)text, len, public, signature);
}

static void
test_answers(void **state)
{
	uint8_t public[IDENTITY_PUBLIC_LEN], signature[IDENTITY_SIGNATURE_LEN];
	const struct vector_ident *v = &vector_ident[0];
	const size_t len = strlen(v->answer);
	char text[256];
	size_t i;

	assert_true(identity_parse_answer(
	    (const uint8_t *)v->answer, len, public, signature));
	assert_memory_equal(public, v->public, sizeof(public));
	assert_memory_equal(signature, v->signature, sizeof(signature));
	for (i = 0; i < len; i++) {
		assert_false(parse_answer(v->answer, i));
		memcpy(text, v->answer, len);
		text[i] = text[i] == '=' ? '.' : '=';
		assert_false(parse_answer(text, len));
	}
	memcpy(text, v->answer, len);
	text[len] = '\n';
	assert_false(parse_answer(text, len + 1));
	/* Unused bits of the key's last character, and of the signature's. */
	memcpy(text, v->answer, len);
	text[12 + 42] = 'B';
	assert_false(parse_answer(text, len));
	memcpy(text, v->answer, len);
	text[len - 3] = 'B';
	assert_false(parse_answer(text, len));
}

static void
test_files(void **state)
{
	uint8_t seed[IDENTITY_SEED_LEN];
	const struct vector_ident *v;
	char text[IDENTITY_PEM_MAX + 8];
	size_t i, n, len;
	struct buf b;

	for (i = 0; i < CASES; i++) {
		v = &vector_ident[i];
		len = strlen(v->pem);
		assert_int_equal(len, IDENTITY_PEM_LEN);
		assert_true(
		    identity_parse_pem((const uint8_t *)v->pem, len, seed));
		assert_memory_equal(seed, v->seed, sizeof(seed));
		/* The last line end is optional. */
		assert_true(
		    identity_parse_pem((const uint8_t *)v->pem, len - 1, seed));
		buf_init(&b, text, sizeof(text));
		identity_put_pem(&b, v->seed);
		assert_int_equal(b.len, len);
		assert_memory_equal(text, v->pem, len);
	}
	v = &vector_ident[0];
	len = strlen(v->pem);
	for (i = 0; i < len - 1; i++)
		assert_false(
		    identity_parse_pem((const uint8_t *)v->pem, i, seed));
	/* Any other character, anywhere; but that of a seed is a seed. */
	for (i = 0; i < len - 1; i++) {
		memcpy(text, v->pem, len);
		text[i] = '!';
		assert_false(
		    identity_parse_pem((const uint8_t *)text, len, seed));
	}
	/* CR LF. */
	for (i = n = 0; i < len; i++) {
		if (v->pem[i] == '\n')
			text[n++] = '\r';
		text[n++] = v->pem[i];
	}
	assert_true(identity_parse_pem((const uint8_t *)text, n, seed));
	text[n] = '\n';
	assert_false(identity_parse_pem((const uint8_t *)text, n + 1, seed));
	assert_false(identity_parse_pem((const uint8_t *)"", 0, seed));
	/* A key of another kind, of the same length: X25519. */
	memcpy(text, v->pem, len);
	memcpy(text + 28, "MC4CAQAwBQYDK2VuBCIEI", 21);
	assert_false(identity_parse_pem((const uint8_t *)text, len, seed));
}

static void
test_fingerprints(void **state)
{
	uint8_t public[IDENTITY_PUBLIC_LEN];
	char text[IDENTITY_TEXT_MAX];
	struct buf b;
	size_t i;

	for (i = 0; i < CASES; i++) {
		identity_fingerprint(vector_ident[i].public, text);
		assert_string_equal(text, vector_ident[i].fingerprint);
		buf_init(&b, text, sizeof(text));
		identity_put_key(&b, vector_ident[i].public);
		assert_int_equal(b.len, IDENTITY_KEY_TEXT_LEN);
		assert_memory_equal(text, vector_ident[i].key, b.len);
		assert_true(
		    identity_parse_key((const uint8_t *)text, b.len, public));
		assert_memory_equal(
		    public, vector_ident[i].public, sizeof(public));
	}
}

static void
test_fresh_keys(void **state)
{
	uint8_t one[IDENTITY_SEED_LEN], two[IDENTITY_SEED_LEN];

	assert_true(signature_new_seed(one));
	assert_true(signature_new_seed(two));
	assert_memory_not_equal(one, two, sizeof(one));
}

/* Lines of known_servers. */
static void
test_known_lines(void **state)
{
#define KEY "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
	static const struct {
		const char *line;
		enum known_line due;
		const char *name;
	} t[] = {
		{ "", KNOWN_LINE_EMPTY, NULL },
		{ "   ", KNOWN_LINE_EMPTY, NULL },
		{ "\r", KNOWN_LINE_EMPTY, NULL },
		{ "# [a]:1 ed25519 x", KNOWN_LINE_EMPTY, NULL },
		{ "[a]:1 ed25519 " KEY, KNOWN_LINE_SERVER, "[a]:1" },
		{ "[a]:1 ed25519 " KEY "\r", KNOWN_LINE_SERVER, "[a]:1" },
		{ "[2001:db8::1]:8900\ted25519  " KEY " ", KNOWN_LINE_SERVER,
		    "[2001:db8::1]:8900" },
		{ "a:1 ed25519 " KEY, KNOWN_LINE_BAD, NULL },
		{ "[a]1 ed25519 " KEY, KNOWN_LINE_BAD, NULL },
		{ "[a]:1", KNOWN_LINE_BAD, NULL },
		{ "[a]:1 ed25519", KNOWN_LINE_BAD, NULL },
		{ "[a]:1 rsa " KEY, KNOWN_LINE_BAD, NULL },
		{ "[a]:1 ed25519 " KEY "=", KNOWN_LINE_BAD, NULL },
		{ "[a]:1 ed25519 " KEY " comment", KNOWN_LINE_BAD, NULL },
		{ "[a]:1 ed25519 A6EHv", KNOWN_LINE_BAD, NULL },
	};
	char name[KNOWN_HOST_MAX + 9], host[KNOWN_HOST_MAX + 2];
	struct known_server s;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(
		    known_parse_line(t[i].line, strlen(t[i].line), &s),
		    t[i].due);
		if (t[i].name != NULL)
			assert_string_equal(s.name, t[i].name);
	}
	assert_int_equal(known_parse_line("[a\0b]:1 ed25519 " KEY, 16 + 43, &s),
	    KNOWN_LINE_BAD);
	assert_true(known_name(name, sizeof(name), "Music.Example", "8900"));
	assert_string_equal(name, "[music.example]:8900");
	assert_false(known_name(name, sizeof(name), "a b", "8900"));
	assert_false(known_name(name, sizeof(name), "", "8900"));
	assert_false(known_name(name, sizeof(name), "a]:1 ed25519", "1"));
	memset(host, 'a', sizeof(host));
	host[KNOWN_HOST_MAX + 1] = '\0';
	assert_false(known_name(name, sizeof(name), host, "8900"));
	host[KNOWN_HOST_MAX] = '\0';
	assert_true(known_name(name, sizeof(name), host, "65535"));
}

/* Without a file nobody is known, and that is no error. */
static void
test_nobody_known(void **state)
{
	const uint8_t key[IDENTITY_PUBLIC_LEN] = { 1 };
	struct failure f = { 0 };
	struct known_answer a;

	memset(&a, 0xff, sizeof(a));
	assert_int_equal(
	    known_look("/nonexistent/known_servers", "[a]:1", key, &a, &f),
	    CLIENT_OK);
	assert_false(a.known);
	assert_false(a.same);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_signature_holds_for_this_alone),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_fingerprints),
		cmocka_unit_test(test_fresh_keys),
		cmocka_unit_test(test_known_lines),
		cmocka_unit_test(test_nobody_known),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
