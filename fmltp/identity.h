/*
 * fmltp/identity.h - who the server is (FMLTP.md section 7): the transcript
 * that is signed, the answer to IDENT, the fingerprint, and the form of the
 * key's file.
 *
 * Runs in: worker (the answer alone), keys, client; the master and
 * flexmusicctl for the fingerprint.  Pure functions of bytes; the arithmetic
 * is signature.h's.
 */
#ifndef FMLTP_IDENTITY_H
#define FMLTP_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/buf.h"
#include "fmltp/dhkey.h"
#include "fmltp/version.h"

#define IDENTITY_PUBLIC_LEN    32 /* Ed25519 (RFC 8032 section 5.1) */
#define IDENTITY_SEED_LEN      32
#define IDENTITY_SIGNATURE_LEN 64
#define IDENTITY_PEM_LEN       119 /* bytes of the key's file */
#define IDENTITY_PEM_MAX       128 /* with CR LF, and room to see more */
#define IDENTITY_TEXT_MAX      52 /* a fingerprint and its NUL */
#define IDENTITY_KEY_TEXT_LEN  43 /* a public key in base64url */
#define IDENTITY_TRANSCRIPT_MAX \
	(19 + 2 * (2 + VERSION_LINE_MAX) + 3 * (2 + DH_PRIME_MAX))

/*
 * Appends what is signed: the domain, the texts of packets 1 and 2, p and both
 * public values, the last three of params->len bytes.
 */
void identity_put_transcript(struct buf *b, const struct version_line *server,
    const struct version_line *client, const struct dh_params *params,
    const uint8_t *client_y, const uint8_t *server_y);

/* Appends the answer to IDENT, with its CR LF. */
void
identity_put_answer(struct buf *b, const uint8_t public[IDENTITY_PUBLIC_LEN],
    const uint8_t signature[IDENTITY_SIGNATURE_LEN]);
/* Reads one, its CR LF included: false for every other form. */
bool identity_parse_answer(const uint8_t *in, size_t len,
    uint8_t public[IDENTITY_PUBLIC_LEN],
    uint8_t signature[IDENTITY_SIGNATURE_LEN]);

/* A public key as text: base64url without padding (RFC 4648 section 5). */
void identity_put_key(struct buf *b, const uint8_t public[IDENTITY_PUBLIC_LEN]);
bool identity_parse_key(
    const uint8_t *in, size_t len, uint8_t public[IDENTITY_PUBLIC_LEN]);

/* Writes `SHA256:` and the hash of the public key, base64 without padding, and
 * a NUL. */
void identity_fingerprint(
    const uint8_t public[IDENTITY_PUBLIC_LEN], char text[IDENTITY_TEXT_MAX]);

/*
 * The key's file: PKCS#8 in PEM (RFC 8410, RFC 7468), a secret.  Parsing takes
 * the one form that OpenSSL writes, its lines ended by LF or CR LF, the last
 * end optional; false for every other.
 */
void identity_put_pem(struct buf *b, const uint8_t seed[IDENTITY_SEED_LEN]);
bool identity_parse_pem(
    const uint8_t *in, size_t len, uint8_t seed[IDENTITY_SEED_LEN]);

#endif
