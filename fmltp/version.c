/*
 * fmltp/version.c - packets 1 and 2, the version lines (docs/FMLTP.md
 * section 2).
 *
 * Runs in: worker, client, and in the master to make packet 1 from the
 * configuration.  Pure; no allocation.
 */
#include <string.h>

#include "fmltp/text.h"
#include "fmltp/version.h"

enum version_scan
version_scan(const uint8_t *in, size_t len, size_t *text_len, size_t *taken)
{
	struct version_line line;
	const uint8_t *lf;
	size_t n, seen;

	seen = len < VERSION_LINE_MAX ? len : VERSION_LINE_MAX;
	lf = seen == 0 ? NULL : memchr(in, '\n', seen);
	if (lf == NULL && len >= VERSION_LINE_MAX)
		return VERSION_SCAN_LONG;
	n = lf == NULL ? len : (size_t)(lf - in);
	*taken = lf == NULL ? len : n + 1;
	if (n > 0 && in[n - 1] == '\r')
		n--;
	*text_len = n;
	if (lf != NULL)
		return VERSION_SCAN_LINE;
	if (version_parse(in, n, &line) == FMLTP_OK)
		return VERSION_SCAN_BARE;
	return VERSION_SCAN_MORE;
}

/* Takes a number of 0 to 65535 in plain decimal. */
static bool
version_take_number(struct cursor *c, uint16_t *out)
{
	uint32_t v = 0;
	size_t n;

	for (n = 0; n < c->left && c->p[n] >= '0' && c->p[n] <= '9'; n++) {
		if (n == 5)
			return false;
		v = v * 10 + (uint32_t)(c->p[n] - '0');
	}
	if (n == 0 || v > UINT16_MAX || (n > 1 && c->p[0] == '0'))
		return false;
	*out = (uint16_t)v;
	return cursor_take(c, n) != NULL;
}

bool
version_parse_signature(
    const uint8_t *in, size_t len, struct version_signature *out)
{
	struct cursor c;

	cursor_init(&c, in, len);
	return version_take_number(&c, &out->class) &&
	    cursor_match(&c, ".", 1) &&
	    version_take_number(&c, &out->stepping) &&
	    cursor_match(&c, ".", 1) &&
	    version_take_number(&c, &out->substepping) && c.left == 0;
}

enum fmltp_error
version_parse(const uint8_t *in, size_t len, struct version_line *out)
{
	const size_t prefix = sizeof(VERSION_PREFIX) - 1;
	const uint8_t *comma;
	size_t n;

	if (len >= VERSION_LINE_MAX)
		return FMLTP_VEX_LONG;
	if (len < prefix || memcmp(in, VERSION_PREFIX, prefix) != 0)
		return FMLTP_VEX_PREFIX;
	if ((comma = memchr(in, ',', len)) == NULL)
		return FMLTP_VEX_NO_COMMA;
	n = (size_t)(comma - in);
	if (n > VERSION_NAME_MAX || !text_is_printable(in, n))
		return FMLTP_VEX_NAME;
	if (!version_parse_signature(comma + 1, len - n - 1, &out->signature))
		return FMLTP_VEX_NUMBER;
	memcpy(out->name, in, n);
	out->name[n] = '\0';
	return FMLTP_OK;
}

void
version_put(struct buf *b, const struct version_line *v)
{
	buf_put_str(b, v->name);
	buf_put_u8(b, ',');
	buf_put_decimal(b, v->signature.class);
	buf_put_u8(b, '.');
	buf_put_decimal(b, v->signature.stepping);
	buf_put_u8(b, '.');
	buf_put_decimal(b, v->signature.substepping);
}

/* A digit of packet 7's status. */
static int
version_compare_number(uint16_t server, uint16_t client)
{
	if (client > server)
		return 1;
	return client < server ? 2 : 0;
}

int
version_compare(const struct version_signature *server,
    const struct version_signature *client)
{
	if (server->class != client->class)
		return 0;
	return 100 +
	    10 * version_compare_number(server->stepping, client->stepping) +
	    version_compare_number(server->substepping, client->substepping);
}
