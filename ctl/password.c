/*
 * ctl/password.c - a password: from a terminal or standard input, and its
 * hash.
 *
 * Runs in: ctl, as the administrator.  A password never comes from the
 * command line or the environment, where others could read it, and never
 * goes through stdio, which would keep a copy.
 */
#include <crypt.h>
#include <errno.h>
#include <readpassphrase.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/password.h"
#include "ctl/report.h"
#include "fmltp/crypto.h"
#include "fmltp/text.h"

/* The prefix of yescrypt in crypt(5). */
#define PASSWORD_METHOD "$y$"

/*
 * Asks on the terminal.  The buffer is filled before, so that a NUL that was
 * typed differs from the one at the end: it counts as part of the password,
 * and password_fit refuses it.
 */
static bool
password_ask(struct password *p, const char *prompt)
{
	const char *end;

	memset(p->text, 0xff, sizeof(p->text));
	if (readpassphrase(prompt, p->text, sizeof(p->text), RPP_REQUIRE_TTY) ==
	    NULL) {
		explicit_bzero(p, sizeof(*p));
		if (errno == ENOTTY || errno == ENXIO)
			return report_error(
			    "with --stdin it is read from standard input",
			    "there is no terminal to ask for the password on");
		return report_error(NULL,
		    "cannot read the password from the terminal: %s",
		    strerror(errno));
	}
	end = memrchr(p->text, '\0', sizeof(p->text));
	p->len = (size_t)(end - p->text);
	return true;
}

/*
 * One line of standard input, without its end (LF, CR LF or none).  Byte by
 * byte: what follows is another reader's.
 */
static bool
password_read_line(struct password *p)
{
	ssize_t n;
	char c;

	p->len = 0;
	for (;;) {
		n = read(STDIN_FILENO, &c, 1);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return report_error(NULL,
			    "cannot read the password from standard input: %s",
			    strerror(errno));
		if (n == 0 || c == '\n')
			break;
		/* Once it is too long, the rest changes nothing. */
		if (p->len < sizeof(p->text) - 1)
			p->text[p->len++] = c;
	}
	explicit_bzero(&c, 1);
	if (n == 0 && p->len == 0)
		return report_error("give it as one line",
		    "standard input ended before a password");
	if (n == 1 && p->len > 0 && p->text[p->len - 1] == '\r')
		p->len--;
	p->text[p->len] = '\0';
	return true;
}

/* What AUTH can carry. */
static bool
password_fit(const struct password *p)
{
	if (p->len == 0)
		return report_error(NULL, "the password is empty");
	if (p->len > AUTH_PASSWORD_MAX)
		return report_error("choose a shorter one",
		    "the password has more than %d bytes", AUTH_PASSWORD_MAX);
	if (!text_is_printable((const uint8_t *)p->text, p->len))
		return report_error(
		    "use letters, digits, punctuation and blanks, in UTF-8",
		    "the password has a control character, or is not UTF-8");
	return true;
}

/* Characters, of text that is valid UTF-8. */
static size_t
password_characters(const struct password *p)
{
	size_t i, n = 0;

	for (i = 0; i < p->len; i++)
		n += (p->text[i] & 0xc0) != 0x80;
	return n;
}

static bool
password_new_fit(const struct password *p, unsigned min)
{
	size_t n;

	if (!password_fit(p))
		return false;
	n = password_characters(p);
	if (n < min)
		return report_error("choose a longer one",
		    "the password has %zu character%s: at least %u are needed",
		    n, n == 1 ? "" : "s", min);
	return true;
}

bool
password_get(struct password *p, const char *user, bool from_stdin)
{
	char prompt[64];

	snprintf(prompt, sizeof(prompt), "Password of %s: ", user);
	return (from_stdin ? password_read_line(p) : password_ask(p, prompt)) &&
	    password_fit(p);
}

bool
password_get_new(
    struct password *p, const char *user, unsigned min, bool from_stdin)
{
	struct password again;
	char prompt[64];
	bool result;

	if (from_stdin)
		return password_read_line(p) && password_new_fit(p, min);
	snprintf(prompt, sizeof(prompt), "New password of %s: ", user);
	if (!password_ask(p, prompt) || !password_new_fit(p, min) ||
	    !password_ask(&again, "The same again: "))
		return false;
	result =
	    p->len == again.len && crypto_equal(p->text, again.text, p->len);
	explicit_bzero(&again, sizeof(again));
	if (!result)
		return report_error("try again", "the two passwords differ");
	return true;
}

/* crypt(3), with its scratch memory wiped. */
static bool
password_crypt(
    const struct password *p, const char *setting, char out[CRYPT_OUTPUT_SIZE])
{
	struct crypt_data *data;
	const char *hash;

	if ((data = calloc(1, sizeof(*data))) == NULL)
		return report_error(NULL, "no memory");
	hash = crypt_rn(p->text, setting, data, sizeof(*data));
	if (hash != NULL)
		strlcpy(out, hash, CRYPT_OUTPUT_SIZE);
	else
		report_error(
		    NULL, "crypt(3) cannot make a hash: %s", strerror(errno));
	freezero(data, sizeof(*data));
	return hash != NULL;
}

bool
password_hash(const struct password *p, char out[USERS_HASH_MAX + 1])
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], made[CRYPT_OUTPUT_SIZE];
	bool result;

	if (crypt_gensalt_rn(
		PASSWORD_METHOD, 0, NULL, 0, setting, sizeof(setting)) == NULL)
		return report_error("a libcrypt with yescrypt is needed",
		    "crypt(3) cannot make a salt: %s", strerror(errno));
	if (!password_crypt(p, setting, made))
		return false;
	result = users_hash_valid(made, strlen(made)) &&
	    strlcpy(out, made, USERS_HASH_MAX + 1) <= USERS_HASH_MAX;
	explicit_bzero(made, sizeof(made));
	if (!result)
		report_error("a libcrypt with yescrypt is needed",
		    "crypt(3) made a hash that the server would not take");
	return result;
}

enum password_match
password_match(const struct password *p, const char *hash, size_t hash_len)
{
	char setting[USERS_HASH_MAX + 1], made[CRYPT_OUTPUT_SIZE];
	enum password_match result = PASSWORD_FAILED;

	if (hash_len > USERS_HASH_MAX)
		return PASSWORD_FAILED;
	memcpy(setting, hash, hash_len);
	setting[hash_len] = '\0';
	if (password_crypt(p, setting, made))
		result = strlen(made) == hash_len &&
			crypto_equal(made, setting, hash_len)
		    ? PASSWORD_RIGHT
		    : PASSWORD_WRONG;
	explicit_bzero(setting, sizeof(setting));
	explicit_bzero(made, sizeof(made));
	return result;
}
