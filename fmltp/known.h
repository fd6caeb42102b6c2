/*
 * fmltp/known.h - parameters for self-tests; never used for a session.
 *
 * Runs in: keys, paramgen.
 */
#ifndef FMLTP_KNOWN_H
#define FMLTP_KNOWN_H

#include "fmltp/dhkey.h"

/* The safe prime of RFC 2409 section 6.2, of 1024 bits, p = 23 mod 24. */
extern const struct dh_params known_params;

#endif
