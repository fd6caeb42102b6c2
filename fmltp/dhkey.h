/*
 * fmltp/dhkey.h - packets 3, 4 and 5: DH parameters and public keys in PEM
 * (FMLTP.md section 3; PKCS#3; RFC 5280 SubjectPublicKeyInfo; RFC 7468 PEM).
 *
 * Runs in: worker, paramgen, client.  Pure functions of bytes; no
 * allocation, no big-number arithmetic: numbers are big-endian strings of
 * the prime's length, and the encodings are compared byte for byte with the
 * one form that is allowed.
 */
#ifndef FMLTP_DHKEY_H
#define FMLTP_DHKEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fmltp/buf.h"
#include "fmltp/error.h"

#define DH_PRIME_MAX	1024 /* bytes of p: 8192 bits */
#define DH_PRIME_MIN	128 /* bytes of p: 1024 bits */
#define DH_DER_MAX	(2 * DH_PRIME_MAX + 96) /* bytes of any DER here */
#define DH_PEM_MAX	8192 /* bytes of any PEM block here */
#define DH_PARAMS_LABEL "DH PARAMETERS"
#define DH_PUBLIC_LABEL "PUBLIC KEY"

/* The parameters of a generation: the prime alone, since the base is 2. */
struct dh_params {
	uint16_t len; /* bytes of p; p's highest bit is set */
	uint8_t p[DH_PRIME_MAX]; /* big-endian, `len` bytes used */
};

/* True for 1024, 2048, 3072, 4096, 6144 and 8192. */
bool dh_bits_valid(unsigned bits);

/*
 * Bits N of the private exponent for a prime of `bits` bits: 160, 224, 256,
 * 304, 352, 400 for 1024, 2048, 3072, 4096, 6144, 8192; 0 for other sizes.
 */
unsigned dh_exponent_bits(unsigned bits);

/* Appends DHParameter ::= SEQUENCE { prime, base 2 } in DER. */
void dh_params_put_der(struct buf *b, const struct dh_params *params);
/* Appends packet 3: the same in PEM, 64 columns, LF ends, LF after END. */
void dh_params_put_pem(struct buf *b, const struct dh_params *params);

/*
 * Parses packet 3 from the `len` bytes received so far.  FMLTP_MORE until
 * the END line is there (its line end may be missing); on FMLTP_OK `*taken`
 * counts the bytes used, an immediately following CR LF or LF included if
 * present.  Strict: nothing before BEGIN, canonical DER and base64, lines
 * of 64 characters but the last, LF or CR LF ends, base 2, a size of the
 * list, highest bit set and p = 23 mod 24 (else FMLTP_DH_SIZE / _DH_WEAK /
 * _DER / _PEM_*).  Primality is the caller's to test.
 */
enum fmltp_error dh_params_parse_pem(
    const uint8_t *in, size_t len, struct dh_params *out, size_t *taken);

/* SHA-256 of the parameters' DER: the fingerprint that the log shows. */
void dh_params_fingerprint(const struct dh_params *params, uint8_t digest[32]);

/*
 * Appends packet 5 (and a client's packet 4): SubjectPublicKeyInfo with
 * dhKeyAgreement for `params`, base 2, and the public value `y` of
 * params->len bytes, in PEM, 64 columns, LF ends, LF after END.
 */
void dh_public_put_pem(
    struct buf *b, const struct dh_params *params, const uint8_t *y);

/*
 * Parses packet 4 (the client uses it for packet 5) from the `len` bytes
 * received so far, BEGIN being the first.  FMLTP_MORE until the END line is
 * there; at once an error where what is there can't become a valid packet:
 * a wrong label, a bad character, more than DH_PEM_MAX bytes
 * (FMLTP_PEM_LONG).  The DER must be byte for byte what dh_public_put_pem
 * would encode for `params` and this y, with or without a privateValueLength
 * between 1 and the bits of p in the parameters (FMLTP_DER; FMLTP_DH_GROUP
 * where it is well-formed for another prime or base or another algorithm).
 * A y outside 2..p-2 is FMLTP_DH_RANGE.  On FMLTP_OK `y` has params->len
 * bytes, padded with leading zeros, and `*taken` the bytes up to the END
 * line's last dash, or past its CR LF or LF where that is there.
 */
enum fmltp_error dh_public_parse_pem(const uint8_t *in, size_t len,
    const struct dh_params *params, uint8_t *y, size_t *taken);

/* True if the big-endian y of params->len bytes is in 2..p-2. */
bool dh_public_in_range(const struct dh_params *params, const uint8_t *y);

#endif
