/*
 * client/auth.c - the user's password, from a descriptor or the terminal.
 *
 * Runs in: client, as its user.
 */
#include <errno.h>
#include <readpassphrase.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/auth.h"
#include "client/escape.h"
#include "fmltp/text.h"

bool
auth_user_valid(const char *user, const char **why)
{
	size_t len = strlen(user);

	if (len == 0 || len > AUTH_USER_MAX)
		*why = "a user's name has 1 to 32 bytes";
	else if (strchr(user, ' ') != NULL ||
	    !text_is_printable((const uint8_t *)user, len))
		*why = "a user's name is printable text without a blank";
	else
		return true;
	return false;
}

/* What the protocol can't carry is told here and not sent. */
static enum client_exit
auth_check(struct auth *a, struct failure *f)
{
	const char *why;

	if (a->len == 0)
		why = "it is empty";
	else if (a->len > AUTH_PASSWORD_MAX)
		why = "it is longer than 511 bytes";
	else if (!text_is_printable((const uint8_t *)a->password, a->len))
		why = "it is not printable text in UTF-8";
	else {
		a->has_password = true;
		return CLIENT_OK;
	}
	return failure_set(
	    f, CLIENT_LOCAL, NULL, "the password cannot be sent: %s", why);
}

enum client_exit
auth_read(struct auth *a, struct failure *f)
{
	enum client_exit result = CLIENT_OK;
	ssize_t n;
	char c;

	a->len = 0;
	while (a->len <= AUTH_PASSWORD_MAX) {
		n = read(a->fd, &c, 1);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			result = failure_set(f, CLIENT_LOCAL, NULL,
			    "cannot read the password from descriptor %d: %s",
			    a->fd, strerror(errno));
		if (n != 1 || c == '\n')
			break;
		a->password[a->len++] = c;
	}
	explicit_bzero(&c, sizeof(c));
	if (a->fd > STDERR_FILENO)
		close(a->fd);
	if (result != CLIENT_OK)
		return result;
	if (a->len > 0 && a->password[a->len - 1] == '\r')
		a->len--;
	return auth_check(a, f);
}

enum client_exit
auth_ask(struct auth *a, const char *host, struct failure *f)
{
	char prompt[256], shown[128];

	if (a->has_password)
		return CLIENT_OK;
	escape_text(shown, sizeof(shown), host, strlen(host));
	snprintf(
	    prompt, sizeof(prompt), "Password of %s at %s: ", a->user, shown);
	if (readpassphrase(prompt, a->password, sizeof(a->password),
		RPP_REQUIRE_TTY) == NULL)
		return failure_set(f, CLIENT_LOCAL,
		    errno == ENOTTY
			? "without a terminal, give the password with "
			  "--password-fd"
			: NULL,
		    "cannot ask for the password: %s", strerror(errno));
	a->len = strlen(a->password);
	return auth_check(a, f);
}

void
auth_wipe(struct auth *a)
{
	explicit_bzero(a->password, sizeof(a->password));
	a->len = 0;
	a->has_password = false;
}
