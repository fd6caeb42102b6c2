/*
 * fmltp/error.c - the names of the reasons why a packet was refused.
 *
 * Runs in: worker, keys, client, master.  Pure.  Must never see: the packet
 * that was refused; a name is all that leaves a parser.
 */
#include "fmltp/error.h"

static const char *const error_token[FMLTP_ERROR_COUNT] = {
#define X(e, token, text) [e] = token,
	FMLTP_ERRORS(X)
#undef X
};

static const char *const error_text[FMLTP_ERROR_COUNT] = {
#define X(e, token, text) [e] = text,
	FMLTP_ERRORS(X)
#undef X
};

const char *
fmltp_error_token(enum fmltp_error e)
{
	if ((unsigned)e >= FMLTP_ERROR_COUNT)
		return "unknown";
	return error_token[e];
}

const char *
fmltp_error_text(enum fmltp_error e)
{
	if ((unsigned)e >= FMLTP_ERROR_COUNT)
		return "an unknown error";
	return error_text[e];
}
