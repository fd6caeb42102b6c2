/*
 * ctl/user.c - the commands on the users file.
 *
 * Runs in: ctl, as the administrator.
 *
 * A command looks at the file before it asks for a password, so that a wrong
 * name is told at once, and again, locked, after it: nobody waits for a
 * person who types.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/password.h"
#include "ctl/report.h"
#include "ctl/server.h"
#include "ctl/table.h"
#include "ctl/user.h"
#include "ctl/userfile.h"

/* The name of a line, for printf's "%.*s". */
#define USER_NAME(user) (int)(user)->line.name_len, (user)->line.name

static bool
user_name_fit(const char *name)
{
	if (users_name_valid(name, strlen(name)))
		return true;
	return report_error("choose another name",
	    "the name is not %d to %d letters and digits", USERS_NAME_MIN,
	    USERS_NAME_MAX);
}

static bool
user_is_free(const struct userfile *u, const char *name)
{
	const struct userfile_user *other = userfile_find_alike(u, name);

	if (other == NULL)
		return true;
	if (userfile_find(u, name) != NULL)
		return report_error(
		    "`flexmusicctl user passwd` gives a new password",
		    "there is a user %s already", name);
	return report_error("choose a name that differs in more than case",
	    "there is a user %.*s already", USER_NAME(other));
}

static const struct userfile_user *
user_get(const struct userfile *u, const char *name)
{
	const struct userfile_user *user, *other;

	if ((user = userfile_find(u, name)) != NULL)
		return user;
	if ((other = userfile_find_alike(u, name)) != NULL)
		report_error("names are compared exactly",
		    "there is no user %s, but %.*s", name, USER_NAME(other));
	else
		report_error("`flexmusicctl user list` shows all",
		    "there is no user %s in %s", name, u->path);
	return NULL;
}

/* The server takes no file that others can read. */
static void
user_warn_of_mode(const struct userfile *u)
{
	if (u->st.st_mode & (S_IROTH | S_IWOTH))
		report_note(
		    "%s has mode %03o: flexmusicd refuses a file that others "
		    "can read; use chmod o= on it",
		    u->path, (unsigned)u->st.st_mode & 0777);
}

/* Whether the name can be added, or is there, as the file is now. */
static bool
user_look(const struct command_options *o, bool add)
{
	struct userfile u;
	bool result = false;

	if (userfile_read(&u, o->file, add))
		result = add ? user_is_free(&u, o->argument)
			     : user_get(&u, o->argument) != NULL;
	userfile_close(&u);
	return result;
}

/* A new password's hash, by which nothing of the password stays. */
static bool
user_get_hash(const struct command_options *o, char hash[USERS_HASH_MAX + 1])
{
	struct password password;
	bool result;

	result = password_get_new(
		     &password, o->argument, o->min_length, o->from_stdin) &&
	    password_hash(&password, hash);
	explicit_bzero(&password, sizeof(password));
	return result;
}

enum ctl_exit
user_add(const struct command_options *o)
{
	char hash[USERS_HASH_MAX + 1];
	struct userfile u;
	bool result;

	if (!user_name_fit(o->argument) || !user_look(o, true) ||
	    !user_get_hash(o, hash))
		return CTL_FAILED;
	result = userfile_lock(&u, o->file, true) &&
	    user_is_free(&u, o->argument) &&
	    userfile_add(&u, o->argument, hash);
	if (result)
		user_warn_of_mode(&u);
	userfile_close(&u);
	explicit_bzero(hash, sizeof(hash));
	return result ? server_take_users(o, NULL) : CTL_FAILED;
}

enum ctl_exit
user_passwd(const struct command_options *o)
{
	const struct userfile_user *user;
	char hash[USERS_HASH_MAX + 1];
	struct userfile u;
	bool result;

	if (!user_name_fit(o->argument) || !user_look(o, false) ||
	    !user_get_hash(o, hash))
		return CTL_FAILED;
	result = userfile_lock(&u, o->file, false) &&
	    (user = user_get(&u, o->argument)) != NULL &&
	    userfile_set_hash(&u, user, hash);
	if (result)
		user_warn_of_mode(&u);
	userfile_close(&u);
	explicit_bzero(hash, sizeof(hash));
	return result ? server_take_users(o, o->keep ? NULL : o->argument)
		      : CTL_FAILED;
}

enum ctl_exit
user_del(const struct command_options *o)
{
	const struct userfile_user *user;
	struct userfile u;
	bool result;

	if (!user_name_fit(o->argument))
		return CTL_FAILED;
	result = userfile_lock(&u, o->file, false) &&
	    (user = user_get(&u, o->argument)) != NULL &&
	    userfile_remove(&u, user);
	if (result)
		user_warn_of_mode(&u);
	userfile_close(&u);
	return result ? server_take_users(o, o->keep ? NULL : o->argument)
		      : CTL_FAILED;
}

/*
 * The list.
 */

static const char *
user_method(const struct userfile_user *user)
{
	if (user->line.hash_len > 1 && user->line.hash[0] == '$') {
		switch (user->line.hash[1]) {
		case 'y':
			return "yescrypt";
		case '2':
			return "bcrypt";
		case '6':
			return "SHA-512";
		}
	}
	return "unknown";
}

static void
user_print_json(const struct userfile *u)
{
	size_t i;

	/* Names are letters and digits: nothing needs an escape. */
	putchar('[');
	for (i = 0; i < u->count; i++)
		printf("%s{\"name\": \"%.*s\", \"method\": \"%s\"}",
		    i > 0 ? ", " : "", USER_NAME(&u->users[i]),
		    user_method(&u->users[i]));
	puts("]");
}

static void
user_print_plain(const struct userfile *u)
{
	size_t i;

	for (i = 0; i < u->count; i++)
		printf("%.*s %s\n", USER_NAME(&u->users[i]),
		    user_method(&u->users[i]));
}

static void
user_print_table(const struct userfile *u)
{
	bool colour = table_has_colour();
	size_t i, width = strlen("NAME");

	if (u->count == 0) {
		puts("no users");
		return;
	}
	for (i = 0; i < u->count; i++)
		if (u->users[i].line.name_len > width)
			width = u->users[i].line.name_len;
	printf("%s%-*s  METHOD%s\n", colour ? "\033[1m" : "", (int)width,
	    "NAME", colour ? "\033[0m" : "");
	for (i = 0; i < u->count; i++)
		printf("%.*s%*s  %s\n", USER_NAME(&u->users[i]),
		    (int)(width - u->users[i].line.name_len), "",
		    user_method(&u->users[i]));
}

enum ctl_exit
user_list(const struct command_options *o)
{
	struct userfile u;
	bool result;

	if ((result = userfile_read(&u, o->file, false))) {
		if (o->json)
			user_print_json(&u);
		else if (isatty(STDOUT_FILENO) == 1)
			user_print_table(&u);
		else
			user_print_plain(&u);
	}
	userfile_close(&u);
	return result ? CTL_OK : CTL_FAILED;
}

enum ctl_exit
user_check(const struct command_options *o)
{
	const struct userfile_user *user;
	struct password password;
	struct userfile u;
	enum password_match match = PASSWORD_FAILED;

	if (!user_name_fit(o->argument))
		return CTL_FAILED;
	if (userfile_read(&u, o->file, false) &&
	    (user = user_get(&u, o->argument)) != NULL &&
	    password_get(&password, o->argument, o->from_stdin))
		match = password_match(
		    &password, user->line.hash, user->line.hash_len);
	explicit_bzero(&password, sizeof(password));
	userfile_close(&u);
	if (match == PASSWORD_RIGHT)
		puts("the password is right");
	else if (match == PASSWORD_WRONG)
		report_error(NULL, "the password is wrong");
	return match == PASSWORD_RIGHT ? CTL_OK : CTL_FAILED;
}
