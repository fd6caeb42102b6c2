/*
 * fmltp/kex.h - the arithmetic of the exchange (FMLTP.md section 3): key
 * pair, shared secret at the full length of p, HKDF-SHA256 (RFC 5869).
 *
 * Runs in: keys, client, never in a worker.  The primitives are OpenSSL's.
 * Secrets live in a `struct kex_pair` or in OpenSSL's cleared bignums, and
 * are wiped by the functions that say so.
 */
#ifndef FMLTP_KEX_H
#define FMLTP_KEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/dhkey.h"
#include "fmltp/fernet.h"

/* Parameters prepared for many exchanges (Montgomery form). */
struct kex_group;
/* A key pair, used once. */
struct kex_pair;

/* Prepares `params`; NULL without memory or for an even p.  kex_group_free
 * frees. */
struct kex_group *kex_group_new(const struct dh_params *params);
void kex_group_free(struct kex_group *g);

/*
 * A fresh pair, private exponent uniform in 2..2^N-1 (dh_exponent_bits), or
 * NULL.  kex_pair_free wipes and frees.
 */
struct kex_pair *kex_pair_new(struct kex_group *g);
/* The same with a given exponent, for known answers: self-test and tests. */
struct kex_pair *
kex_pair_from(struct kex_group *g, const uint8_t *x, size_t x_len);
void kex_pair_free(struct kex_pair *pair);
/* Writes the public value, at p's length. */
void kex_pair_public(const struct kex_pair *pair, uint8_t *y);

/*
 * Derives the session key with the other side's public value `y` (p's
 * length).  FMLTP_OK; FMLTP_DH_RANGE where y is outside 2..p-2;
 * FMLTP_INTERNAL.  The shared secret is wiped.
 */
enum fmltp_error kex_derive(
    const struct kex_pair *pair, const uint8_t *y, uint8_t key[FERNET_KEY_LEN]);

/*
 * True if p is prime and (p-1)/2 is prime: OpenSSL's own tests at its own
 * round counts.  Takes from tens of milliseconds (1024) to seconds (8192).
 */
bool kex_params_are_safe(const struct dh_params *params);
/*
 * The quick test of a set made ahead: highest bit, p = 23 mod 24, and one
 * base-2 Fermat test each of p and (p-1)/2.
 */
bool kex_params_quick_check(const struct dh_params *params);

#endif
