/*
 * tests/fuzz/fuzz_identity.c - the identity's texts: the key's file, the answer
 * to IDENT, a public key, and what is signed.
 *
 * Runs in: the fuzzers alone.  The first byte says which, and whether what
 * follows is text or what to make text of.  What is read is what would be
 * written for it, but for the ends of a file's lines; what is written is read
 * as it was, and one changed byte never means the same; and two handshakes
 * that differ in anything are signed differently.
 *
 * Covers: fmltp/identity.c
 */
#include "fmltp/base64url.h"
#include "fmltp/crypto.h"
#include "fmltp/identity.h"
#include "tests/fuzz/input.h"

#define TEXT_MAX    256
#define PATCHES_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is signed of a handshake. */
struct handshake_seen {
	struct version_line server;
	struct version_line client;
	struct dh_params params;
	uint8_t client_y[DH_PRIME_MAX];
	uint8_t server_y[DH_PRIME_MAX];
};

/* So many bytes, zeros where the input has no more. */
static void
take(struct fuzz_input *in, uint8_t *out, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		out[i] = fuzz_u8(in);
}

/* The key's file, whatever it has. */
static void
check_file(const uint8_t *text, size_t len)
{
	uint8_t seed[IDENTITY_SEED_LEN], mem[IDENTITY_PEM_LEN];
	struct buf b;
	size_t i, at = 0;

	if (!identity_parse_pem(text, len, seed))
		return;
	fuzz_check(len < IDENTITY_PEM_MAX);
	buf_init(&b, mem, sizeof(mem));
	identity_put_pem(&b, seed);
	fuzz_check(!b.failed && b.len == IDENTITY_PEM_LEN);
	for (i = 0; i < len; i++) {
		if (text[i] == '\r')
			continue;
		fuzz_check(at < b.len && text[i] == mem[at]);
		at++;
	}
	fuzz_check(at == b.len || (at == b.len - 1 && mem[at] == '\n'));
}

/* A key, its file, and the file with one byte changed. */
static void
check_seed(struct fuzz_input *in)
{
	uint8_t seed[IDENTITY_SEED_LEN], again[IDENTITY_SEED_LEN];
	uint8_t mem[IDENTITY_PEM_LEN], change;
	struct buf b, small;
	size_t at;

	take(in, seed, sizeof(seed));
	buf_init(&b, mem, sizeof(mem));
	identity_put_pem(&b, seed);
	fuzz_check(!b.failed && b.len == sizeof(mem));
	fuzz_check(identity_parse_pem(mem, b.len, again) &&
	    memcmp(seed, again, sizeof(seed)) == 0);
	/* The last end may be missing, and nothing else. */
	fuzz_check(identity_parse_pem(mem, b.len - 1, again));
	at = fuzz_u8(in) % (b.len - 1);
	fuzz_check(!identity_parse_pem(mem, at, again));
	change = fuzz_u8(in);
	mem[at] ^= change;
	if (change != 0)
		fuzz_check(!identity_parse_pem(mem, b.len, again) ||
		    memcmp(seed, again, sizeof(seed)) != 0);
	buf_init(&small, mem, at);
	identity_put_pem(&small, seed);
	fuzz_check(small.failed);
}

static void
check_answer(const uint8_t *text, size_t len)
{
	uint8_t public[IDENTITY_PUBLIC_LEN];
	uint8_t signature[IDENTITY_SIGNATURE_LEN];
	uint8_t mem[TEXT_MAX];
	struct buf b;

	if (!identity_parse_answer(text, len, public, signature))
		return;
	buf_init(&b, mem, sizeof(mem));
	identity_put_answer(&b, public, signature);
	fuzz_check(!b.failed && b.len == len && memcmp(mem, text, len) == 0);
}

static void
check_proof(struct fuzz_input *in)
{
	uint8_t proof[2][IDENTITY_PUBLIC_LEN + IDENTITY_SIGNATURE_LEN];
	uint8_t mem[TEXT_MAX], change;
	struct buf b;
	size_t at;

	take(in, proof[0], sizeof(proof[0]));
	buf_init(&b, mem, sizeof(mem));
	identity_put_answer(&b, proof[0], proof[0] + IDENTITY_PUBLIC_LEN);
	fuzz_check(!b.failed);
	fuzz_check(identity_parse_answer(
		       mem, b.len, proof[1], proof[1] + IDENTITY_PUBLIC_LEN) &&
	    memcmp(proof[0], proof[1], sizeof(proof[0])) == 0);
	at = fuzz_u8(in) % b.len;
	fuzz_check(!identity_parse_answer(
	    mem, at, proof[1], proof[1] + IDENTITY_PUBLIC_LEN));
	change = fuzz_u8(in);
	mem[at] ^= change;
	if (change != 0)
		fuzz_check(!identity_parse_answer(mem, b.len, proof[1],
			       proof[1] + IDENTITY_PUBLIC_LEN) ||
		    memcmp(proof[0], proof[1], sizeof(proof[0])) != 0);
}

/* A public key as text, and its fingerprint. */
static void
check_key(const uint8_t *text, size_t len)
{
	uint8_t public[IDENTITY_PUBLIC_LEN] = { 0 }, again[sizeof(public)];
	uint8_t mem[IDENTITY_KEY_TEXT_LEN + 1], digest[CRYPTO_SHA256_LEN];
	char shown[IDENTITY_TEXT_MAX];
	struct buf b;

	if (!identity_parse_key(text, len, public))
		memcpy(
		    public, text, len < sizeof(public) ? len : sizeof(public));
	buf_init(&b, mem, sizeof(mem));
	identity_put_key(&b, public);
	fuzz_check(!b.failed && b.len == IDENTITY_KEY_TEXT_LEN);
	fuzz_check(identity_parse_key(mem, b.len, again) &&
	    memcmp(public, again, sizeof(public)) == 0);
	if (identity_parse_key(text, len, again))
		fuzz_check(len == b.len && memcmp(mem, text, len) == 0);
	identity_fingerprint(public, shown);
	crypto_sha256(public, sizeof(public), digest);
	buf_init(&b, mem, sizeof(mem));
	base64_put(&b, BASE64_STANDARD, digest, sizeof(digest));
	fuzz_check(!b.failed && strlen(shown) == IDENTITY_TEXT_MAX - 2 &&
	    memcmp(shown, "SHA256:", 7) == 0 &&
	    memcmp(shown + 7, mem, IDENTITY_KEY_TEXT_LEN) == 0 &&
	    mem[IDENTITY_KEY_TEXT_LEN] == '=');
}

/* Any two lines that are some, and numbers. */
static bool
take_handshake(struct fuzz_input *in, struct handshake_seen *h)
{
	const uint8_t *line;
	size_t len;

	memset(h, 0, sizeof(*h));
	line = fuzz_bytes(in, VERSION_LINE_MAX, &len);
	if (version_parse(line, len, &h->server) != FMLTP_OK)
		return false;
	line = fuzz_bytes(in, VERSION_LINE_MAX, &len);
	if (version_parse(line, len, &h->client) != FMLTP_OK)
		return false;
	h->params.len = fuzz_u16(in) % (DH_PRIME_MAX + 1);
	take(in, h->params.p, h->params.len);
	take(in, h->client_y, h->params.len);
	take(in, h->server_y, h->params.len);
	return true;
}

static bool
same_line(const struct version_line *a, const struct version_line *b)
{
	return strcmp(a->name, b->name) == 0 &&
	    memcmp(&a->signature, &b->signature, sizeof(a->signature)) == 0;
}

static void
check_transcripts(struct fuzz_input *in)
{
	static struct handshake_seen h[2];
	static uint8_t mem[2][IDENTITY_TRANSCRIPT_MAX];
	struct buf b[2], small;
	size_t i, n;
	bool same;

	if (!take_handshake(in, &h[0]) || !take_handshake(in, &h[1]))
		return;
	for (i = 0; i < 2; i++) {
		buf_init(&b[i], mem[i], sizeof(mem[i]));
		identity_put_transcript(&b[i], &h[i].server, &h[i].client,
		    &h[i].params, h[i].client_y, h[i].server_y);
		fuzz_check(!b[i].failed);
	}
	n = h[0].params.len;
	same = same_line(&h[0].server, &h[1].server) &&
	    same_line(&h[0].client, &h[1].client) && n == h[1].params.len &&
	    memcmp(h[0].params.p, h[1].params.p, n) == 0 &&
	    memcmp(h[0].client_y, h[1].client_y, n) == 0 &&
	    memcmp(h[0].server_y, h[1].server_y, n) == 0;
	fuzz_check(same ==
	    (b[0].len == b[1].len && memcmp(mem[0], mem[1], b[0].len) == 0));
	buf_init(&small, mem[1], fuzz_u16(in) % b[0].len);
	identity_put_transcript(&small, &h[0].server, &h[0].client,
	    &h[0].params, h[0].client_y, h[0].server_y);
	fuzz_check(small.failed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	switch (fuzz_u8(&in) % 6) {
	case 0:
		check_file(in.at, in.left);
		break;
	case 1:
		check_seed(&in);
		break;
	case 2:
		check_answer(in.at, in.left);
		break;
	case 3:
		check_proof(&in);
		break;
	case 4:
		check_key(in.at, in.left);
		break;
	default:
		check_transcripts(&in);
	}
	return 0;
}
