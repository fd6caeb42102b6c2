/*
 * privsep/build_id.c - which build this program is: SHA-256 over the sources
 * of both server programs, so that a replaced binary is noticed at once.
 *
 * Runs in: every server process.
 */
#include "privsep/start.h"

#include "build_id.h"

const uint8_t build_id[BUILD_ID_LEN] = { BUILD_ID };
