/*
 * fmltp/signature.h - Ed25519 (RFC 8032): the server's long-term key.
 *
 * Runs in: keys (signing), client (checking); never in a worker.  The
 * primitive is OpenSSL's.
 */
#ifndef FMLTP_SIGNATURE_H
#define FMLTP_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/identity.h"

struct signature_key; /* a private key */

/* A fresh seed, from OpenSSL's private random numbers: false without any. */
bool signature_new_seed(uint8_t seed[IDENTITY_SEED_LEN]);

/* The key of a seed, which the caller wipes; NULL without memory. */
struct signature_key *signature_key_new(const uint8_t seed[IDENTITY_SEED_LEN]);
void signature_key_free(struct signature_key *k);
void signature_key_public(
    const struct signature_key *k, uint8_t public[IDENTITY_PUBLIC_LEN]);

/* Signs `len` bytes.  False without memory. */
bool signature_make(const struct signature_key *k, const uint8_t *in,
    size_t len, uint8_t signature[IDENTITY_SIGNATURE_LEN]);

/* Whether the key of this public half has signed these bytes. */
bool
signature_check(const uint8_t public[IDENTITY_PUBLIC_LEN], const uint8_t *in,
    size_t len, const uint8_t signature[IDENTITY_SIGNATURE_LEN]);

#endif
