/*
 * fmltp/error.h - why a packet was refused: one list for all parsers.
 *
 * Runs in: worker, keys, client; the master knows the names alone, to log
 * them.  The list is data (X-macro) so that enum, log token and the text for
 * a person can't differ.
 */
#ifndef FMLTP_ERROR_H
#define FMLTP_ERROR_H

/* X(enumerator, token in the log, sentence for a person) */
#define FMLTP_ERRORS(X)                                                       \
	X(FMLTP_OK, "ok", "no error")                                         \
	X(FMLTP_MORE, "incomplete", "more bytes are needed")                  \
	/* version lines, section 2 */                                        \
	X(FMLTP_VEX_LONG, "version-too-long",                                 \
	    "the version line is longer than 255 bytes")                      \
	X(FMLTP_VEX_NO_COMMA, "version-no-comma",                             \
	    "the version line has no comma")                                  \
	X(FMLTP_VEX_PREFIX, "version-not-flexmusic",                          \
	    "the friendly name does not begin with FlexMusic")                \
	X(FMLTP_VEX_NAME, "version-bad-name",                                 \
	    "the friendly name is not 1 to 128 bytes of printable text")      \
	X(FMLTP_VEX_NUMBER, "version-bad-number",                             \
	    "the version is not three numbers of 0 to 65535")                 \
	X(FMLTP_VEX_CLASS, "version-incompatible",                            \
	    "the compatibility class differs")                                \
	X(FMLTP_VEX_LATE, "version-late-bytes",                               \
	    "bytes came after the end of the version line")                   \
	/* key packets, section 3 */                                          \
	X(FMLTP_PEM_LABEL, "pem-bad-label",                                   \
	    "the PEM block has another label or does not begin at once")      \
	X(FMLTP_PEM_BODY, "pem-bad-body",                                     \
	    "the PEM body is not canonical base64 in lines of 64 characters") \
	X(FMLTP_PEM_LONG, "pem-too-long", "the PEM block is too long")        \
	X(FMLTP_DER, "der-not-canonical",                                     \
	    "the key is not encoded as this protocol has it")                 \
	X(FMLTP_DH_GROUP, "dh-other-parameters",                              \
	    "the key is for other parameters")                                \
	X(FMLTP_DH_RANGE, "dh-out-of-range",                                  \
	    "the public value is outside 2..p-2")                             \
	X(FMLTP_DH_SIZE, "dh-bad-size", "p has a size that is not allowed")   \
	X(FMLTP_DH_WEAK, "dh-weak-parameters",                                \
	    "p is not a safe prime with p = 23 mod 24, or the base is not 2") \
	/* tokens, section 4 */                                               \
	X(FMLTP_TOKEN_LONG, "token-too-long", "the token is too long")        \
	X(FMLTP_TOKEN_BASE64, "token-bad-base64",                             \
	    "the token is not canonical base64url")                           \
	X(FMLTP_TOKEN_SHORT, "token-cut-short",                               \
	    "the token ended before it was whole")                            \
	X(FMLTP_TOKEN_VERSION, "token-bad-version",                           \
	    "the token's version is not 0x80")                                \
	X(FMLTP_TOKEN_MAC, "token-bad-mac", "the token's MAC does not match") \
	X(FMLTP_TOKEN_PADDING, "token-bad-padding",                           \
	    "the token's plaintext padding is wrong")                         \
	X(FMLTP_REFLECTED, "reflected",                                       \
	    "the packet is one that the other side sends")                    \
	X(FMLTP_REPLAY_OLD, "replay-too-old",                                 \
	    "the token's time is behind the window")                          \
	X(FMLTP_REPLAY_SEEN, "replayed", "the token was seen before")         \
	X(FMLTP_CHALLENGE, "challenge-mismatch",                              \
	    "the challenge is not the server's version line")                 \
	X(FMLTP_STATUS, "bad-status", "the packet has no valid status code")  \
	/* what is not in the bytes */                                        \
	X(FMLTP_TIMEOUT, "timeout", "the time limit ran out")                 \
	X(FMLTP_CLOSED, "closed", "the peer closed the connection")           \
	X(FMLTP_RESET, "reset", "the connection broke")                       \
	X(FMLTP_SEND_TIMEOUT, "send-timeout",                                 \
	    "the peer did not take what was sent to it")                      \
	X(FMLTP_KEYS, "keys-unavailable", "the key holder did not answer")    \
	X(FMLTP_INTERNAL, "internal", "an internal error")

enum fmltp_error {
#define X(e, token, text) e,
	FMLTP_ERRORS(X)
#undef X
	FMLTP_ERROR_COUNT
};

/* The token of `e` for the log; "unknown" for a value outside the list. */
const char *fmltp_error_token(enum fmltp_error e);
/* The sentence of `e` for a person. */
const char *fmltp_error_text(enum fmltp_error e);

#endif
