/*
 * fmltp/fernet.h - Fernet tokens (the Fernet specification; FMLTP.md
 * section 4): version 0x80, 64-bit seconds, IV, AES-128-CBC with PKCS#7,
 * HMAC-SHA256 over all before it; base64url with canonical padding.
 *
 * Runs in: worker, client.  Pure; no allocation after fernet_init.  The
 * primitives are OpenSSL's.  Keys and plaintext stay in memory that the
 * caller owns and wipes.
 */
#ifndef FMLTP_FERNET_H
#define FMLTP_FERNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/buf.h"
#include "fmltp/crypto.h"
#include "fmltp/error.h"

#define FERNET_KEY_LEN	32 /* 16 sign, 16 encrypt */
#define FERNET_IV_LEN	16
#define FERNET_MAC_LEN	32
#define FERNET_HEAD_LEN 25 /* version, time, IV */
/* Raw bytes of a token for `n` bytes of plaintext, and its characters. */
#define FERNET_RAW_LEN(n) \
	(FERNET_HEAD_LEN + ((n) / 16 + 1) * 16 + FERNET_MAC_LEN)
#define FERNET_TOKEN_LEN(n) ((FERNET_RAW_LEN(n) + 2) / 3 * 4)
#define FERNET_TOKEN_MIN    FERNET_TOKEN_LEN(0) /* 100: one block */

/* A session's key, ready for use. */
struct fernet {
	struct crypto_hmac hmac; /* keyed, nothing hashed yet */
	struct crypto_aes aes; /* both directions */
};

/*
 * Prepares `f` with the 32 bytes of `key`; the caller wipes `key`.
 * fernet_wipe wipes `f`.
 */
void fernet_init(struct fernet *f, const uint8_t key[FERNET_KEY_LEN]);
void fernet_wipe(struct fernet *f);

/* True if a raw token can have `len` bytes: a head, whole blocks, a MAC. */
bool fernet_raw_len_valid(size_t len);

/*
 * Appends to `out` the token of `len` bytes of plaintext at the time `now`
 * (seconds since 1970) under the 16 random bytes `iv`, without a line end.
 * The plaintext may not overlap the output.  Sets out->failed where the
 * token does not fit.
 */
void fernet_seal(const struct fernet *f, uint64_t now,
    const uint8_t iv[FERNET_IV_LEN], const void *plain, size_t len,
    struct buf *out);

/*
 * Opens one whole token of `len` characters (its MAC is checked, in constant
 * time, before anything is decrypted).  FMLTP_OK: `plain` (room for `len`
 * bytes) has `*plain_len` bytes, `*when` its time and `mac` its MAC.  Else
 * one of FMLTP_TOKEN_*.  No TTL, no comparison with a clock.
 */
enum fmltp_error fernet_open(const struct fernet *f, const uint8_t *token,
    size_t len, uint8_t *plain, size_t *plain_len, uint64_t *when,
    uint8_t mac[FERNET_MAC_LEN]);

/*
 * Decrypts a raw token (not base64) of `len` bytes whose MAC has been
 * checked already: the token stream does that.  FMLTP_OK or
 * FMLTP_TOKEN_PADDING.
 */
enum fmltp_error fernet_decrypt_checked(const struct fernet *f,
    const uint8_t *raw, size_t len, uint8_t *plain, size_t *plain_len);

#endif
