/*
 * master/config_scan.c - the text of a configuration file, looked through
 * before libconfuse reads it.
 *
 * Runs in: master, as root.  Pure functions of the file's bytes; never sees
 * a byte of a client.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LIBBSD_NETBSD_VIS /* which strnvis(3), if it were used */
#include <vis.h>

#include "master/config_scan.h"

#define MESSAGE_MAX 4096 /* bytes of a message */
#define VALUE_SHOWN 128 /* bytes of a value that a message shows */
#define FILE_SHOWN  256 /* bytes of a file's name that a message shows */

/* Locales must not decide what is printed: bytes outside ASCII are escaped. */
#define VIS_FLAGS (VIS_OCTAL | VIS_TAB | VIS_NL | VIS_NOLOCALE)

static const char *const key_names[CONFIG_KEY_COUNT] = {
#define X(key, name, change) [key] = name,
	CONFIG_KEYS(X)
#undef X
};

/* All of them for a message: a slip of the pen is then seen at once. */
static const char key_list[] =
#define X(key, name, change) " " name
    CONFIG_KEYS(X)
#undef X
    ;

/* Keys of FlexMusic's server.conf that this server does not have. */
static const char *const foreign_names[] = { "youtube", CONFIG_OVERLOAD };
#define FOREIGN_COUNT (sizeof foreign_names / sizeof foreign_names[0])

/* A part of the text. */
struct slice {
	char *p;
	size_t len;
};

/* The scan: `p` moves through the text. */
struct scan {
	struct config_reader *r;
	char *p;
	unsigned line;
	unsigned foreign_line[FOREIGN_COUNT];
};

/* A `key = value` on its way. */
struct statement {
	unsigned line;
	char key[48]; /* cut where it is longer: then it is unknown anyway */
	char *begin; /* of the key */
	struct slice value; /* the last one of a list */
	bool list;
	bool word; /* the value is not quoted */
	bool expansion; /* a ${ in it */
	size_t values;
	unsigned value_line[CONFIG_LIST_MAX];
};

const char *
config_key_name(enum config_key key)
{
	return key_names[key];
}

size_t
config_list_max(enum config_key key)
{
	switch (key) {
	case CONFIG_HOST:
		return CONFIG_HOSTS_MAX;
	case CONFIG_PENALTY_EXEMPT:
		return SOURCE_NETWORKS_MAX;
	default:
		return 0;
	}
}

static void
shorten(char *out, const char *bytes, size_t len, size_t max)
{
	strvisx(out, bytes, len < max ? len : max, VIS_FLAGS);
	if (len > max)
		strlcat(out, "...", 4 * max + 4);
}

void
config_message(struct config_reader *r, enum config_severity severity,
    const struct config_place *at, const char *fmt, ...)
{
	char file[4 * FILE_SHOWN + 4], value[4 * VALUE_SHOWN + 4];
	char line[16] = "", text[512], all[MESSAGE_MAX];
	va_list ap;

	if (severity == CONFIG_ERROR)
		r->errors++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	shorten(file, r->file, strlen(r->file), FILE_SHOWN);
	if (at->line != 0)
		snprintf(line, sizeof line, ":%u", at->line);
	if (at->key == NULL)
		snprintf(all, sizeof all, "%s%s: %s", file, line, text);
	else if (at->value == NULL)
		snprintf(
		    all, sizeof all, "%s%s: %s: %s", file, line, at->key, text);
	else {
		shorten(value, at->value, at->value_len, VALUE_SHOWN);
		snprintf(all, sizeof all, "%s%s: %s = %s%s: %s", file, line,
		    at->key, value, at->line == 0 ? " (the default)" : "",
		    text);
	}
	r->report(r->arg, severity, all);
}

void
config_file_error(struct config_reader *r, const char *fmt, ...)
{
	const struct config_place at = { 0 };
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	config_message(r, CONFIG_ERROR, &at, "%s", text);
}

/* A syntax error, which ends the reading. */
static bool __attribute__((format(printf, 2, 3)))
syntax(struct scan *s, const char *fmt, ...)
{
	const struct config_place at = { .line = s->line };
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	config_message(s->r, CONFIG_ERROR, &at, "%s", text);
	return false;
}

static void
blank_out(char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != '\n')
			*from = ' ';
}

/* A block comment: its end must be there. */
static bool
skip_block_comment(struct scan *s)
{
	char *begin = s->p, *end;

	end = strstr(begin + 2, "*/");
	if (end == NULL)
		return syntax(s, "the comment that begins here has no */");
	for (s->p = begin; s->p < end; s->p++)
		if (*s->p == '\n')
			s->line++;
	s->p = end + 2;
	blank_out(begin, s->p);
	return true;
}

/*
 * Skips blanks and comments, and line ends too where `lines` is set.  What
 * it skips is blank afterwards.
 */
static bool
skip(struct scan *s, bool lines)
{
	char *begin;

	for (;;) {
		if (*s->p == ' ' || *s->p == '\t')
			s->p++;
		else if (lines && *s->p == '\n') {
			s->line++;
			s->p++;
		} else if (s->p[0] == '\r' && s->p[1] == '\n')
			*s->p++ = ' ';
		else if (*s->p == '#' || (s->p[0] == '/' && s->p[1] == '/')) {
			begin = s->p;
			s->p += strcspn(s->p, "\n");
			blank_out(begin, s->p);
		} else if (s->p[0] == '/' && s->p[1] == '*') {
			if (!skip_block_comment(s))
				return false;
		} else
			return true;
	}
}

/* The name of the character at `p` for a message. */
static const char *
character(const char *p, char out[16])
{
	char one[8];

	if (*p == '\0' || *p == '\n')
		return "the end of the line";
	if (*p == '\r')
		return "a carriage return without a line feed";
	strvisx(one, p, 1, VIS_FLAGS);
	snprintf(out, 16, "`%s'", one);
	return out;
}

static bool
is_key(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* What a value without quotes may hold: all that libconfuse takes for a part
 * of a word, but for what is better quoted. */
static bool
is_word(const char *p)
{
	if (p[0] == '/' && (p[1] == '/' || p[1] == '*'))
		return false;
	return *p > ' ' && *p < 0x7f && strchr("#\"'={}()+,*\\", *p) == NULL;
}

static bool
scan_quoted(struct scan *s, struct statement *st)
{
	const char quote = *s->p;
	char name[16];

	st->value.p = ++s->p;
	for (; *s->p != quote; s->p++) {
		if (*s->p == '\0' || *s->p == '\n')
			return syntax(s,
			    "the string has no %c at its end on "
			    "this line",
			    quote);
		if (*s->p == '\\') {
			s->p++;
			if (*s->p != '\\' && *s->p != quote)
				return syntax(s,
				    "in a string, a backslash is "
				    "written \\\\ and a quote \\%c",
				    quote);
		} else if ((uint8_t)*s->p < ' ' || *s->p == 0x7f)
			return syntax(
			    s, "%s in a string", character(s->p, name));
		else if (s->p[0] == '$' && s->p[1] == '{')
			st->expansion = true;
	}
	st->value.len = (size_t)(s->p - st->value.p);
	st->word = false;
	s->p++;
	return true;
}

static bool
scan_value(struct scan *s, struct statement *st)
{
	char name[16];

	if (st->values < CONFIG_LIST_MAX)
		st->value_line[st->values] = s->line;
	st->values++;
	if (*s->p == '"' || *s->p == '\'')
		return scan_quoted(s, st);
	st->value.p = s->p;
	while (is_word(s->p)) {
		if (s->p[0] == '$' && s->p[1] == '{') {
			st->expansion = true;
			s->p += strcspn(s->p, "}\n");
			if (*s->p != '}')
				return syntax(s, "${ without a }");
		}
		s->p++;
	}
	st->value.len = (size_t)(s->p - st->value.p);
	st->word = true;
	/* `/a//b' is no path with a comment: nobody would see what it is. */
	if (st->value.len != 0 && *s->p == '/')
		return syntax(s,
		    "// or /* inside a value without quotes: put the value "
		    "between \" and \", or a blank before a comment");
	if (st->value.len == 0)
		return syntax(s,
		    "%s where a value should be: put a value with "
		    "such a character between \" and \"",
		    character(s->p, name));
	return true;
}

static bool
scan_list(struct scan *s, struct statement *st)
{
	char name[16];

	st->list = true;
	st->value.p = s->p++;
	st->value.len = 1;
	for (;;) {
		if (!skip(s, true))
			return false;
		if (*s->p == '}')
			break;
		if (*s->p == '\0')
			return syntax(
			    s, "the list of %s has no } at its end", st->key);
		if (!scan_value(s, st) || !skip(s, true))
			return false;
		if (*s->p == '}')
			break;
		if (*s->p != ',')
			return syntax(s, "%s in a list where , or } should be",
			    *s->p == '\0' ? "the end of the file"
					  : character(s->p, name));
		s->p++;
	}
	s->p++;
	return true;
}

/* The key and what follows it up to its value. */
static bool
scan_key(struct scan *s, struct statement *st)
{
	char name[16];

	st->line = s->line;
	st->begin = s->p;
	if (*s->p == '[')
		return syntax(s, "there are no [sections]: remove this line");
	while (is_key(*s->p))
		s->p++;
	snprintf(st->key, sizeof st->key, "%.*s", (int)(s->p - st->begin),
	    st->begin);
	if (st->key[0] == '\0')
		return syntax(s,
		    "%s where a key should be: a line is "
		    "`key = value'",
		    character(s->p, name));
	if (!skip(s, false))
		return false;
	if (*s->p == '(')
		return syntax(s,
		    "there are no functions, and no include(): "
		    "remove this line");
	if (*s->p == '{')
		return syntax(s,
		    "there are no sections: a line is "
		    "`key = value'");
	if (*s->p == '+')
		return syntax(s,
		    "nothing can be added with +=: write `%s = ' "
		    "and the whole list",
		    st->key);
	if (*s->p != '=')
		return syntax(s, "%s after %s where = should be",
		    character(s->p, name), st->key);
	s->p++;
	return skip(s, false);
}

/* The line in which this key was met before is kept at the address that is
 * returned; NULL for an unknown key. */
static unsigned *
find_key(struct scan *s, const char *name, size_t *key)
{
	size_t i;

	for (i = 0; i < CONFIG_KEY_COUNT; i++)
		if (strcmp(name, key_names[i]) == 0) {
			*key = i;
			return &s->r->line[i];
		}
	for (i = 0; i < FOREIGN_COUNT; i++)
		if (strcmp(name, foreign_names[i]) == 0) {
			*key = CONFIG_KEY_COUNT;
			return &s->foreign_line[i];
		}
	return NULL;
}

/* A key that this server does not have. */
static void
judge_foreign(struct config_reader *r, const struct config_place *at)
{
	if (strcmp(at->key, CONFIG_OVERLOAD) == 0) {
		r->overload_line = at->line;
		snprintf(r->overload, sizeof r->overload, "%.*s",
		    (int)at->value_len, at->value);
	} else
		config_message(r, CONFIG_WARNING, at,
		    "has no meaning for this server and is ignored");
}

/* Whether the key takes such and so many values. */
static bool
judge_count(struct config_reader *r, const struct config_place *at,
    const struct statement *st, enum config_key key)
{
	const size_t max = config_list_max(key);

	if (st->values == 0 && !(st->list && key == CONFIG_PENALTY_EXEMPT))
		config_message(r, CONFIG_ERROR, at, "has no value");
	else if (st->expansion)
		config_message(r, CONFIG_ERROR, at,
		    "${...} is not expanded: write the value itself");
	else if (st->list && max == 0)
		config_message(
		    r, CONFIG_ERROR, at, "takes one value, not a list");
	else if (max != 0 && st->values > max)
		config_message(r, CONFIG_ERROR, at, "must be at most %zu %s",
		    max, key == CONFIG_HOST ? "addresses" : "networks");
	else
		return true;
	return false;
}

/* The rules for a statement that is well written; true if libconfuse is to
 * see it. */
static bool
judge(struct scan *s, const struct statement *st)
{
	const struct config_place at = { st->line, st->key, st->value.p,
		st->value.len };
	size_t key;
	unsigned *line;
	struct config_reader *r = s->r;

	line = find_key(s, st->key, &key);
	if (line == NULL) {
		config_message(r, CONFIG_ERROR, &at,
		    "unknown key: the keys are%s", key_list);
		return false;
	}
	if (*line != 0) {
		config_message(r, CONFIG_ERROR, &at,
		    "already set in line %u: remove one of the two", *line);
		return false;
	}
	*line = st->line;
	if (key == CONFIG_KEY_COUNT) {
		judge_foreign(r, &at);
		return false;
	}
	r->skip[key] = !judge_count(r, &at, st, key);
	memcpy(r->value_line[key], st->value_line, sizeof r->value_line[key]);
	return !r->skip[key];
}

static bool
scan_statement(struct scan *s)
{
	struct statement st = { 0 };
	char *end, name[16];

	if (!scan_key(s, &st))
		return false;
	if (*s->p == '{') {
		if (!scan_list(s, &st))
			return false;
	} else if (*s->p != '\n' && *s->p != '\0') {
		if (!scan_value(s, &st))
			return false;
	} else {
		st.value.p = s->p;
		st.value.len = 0;
	}
	end = s->p;
	if (!skip(s, false))
		return false;
	if (*s->p != '\n' && *s->p != '\0')
		return syntax(s, "%s behind the value of %s%s",
		    character(s->p, name), st.key,
		    st.word ? ": put a value with blanks or such characters "
			      "between \" and \""
			    : ", where the line should end");
	if (!judge(s, &st))
		blank_out(st.begin, end);
	return true;
}

bool
config_scan(struct config_reader *r, char *text, size_t len)
{
	struct scan s = { .r = r, .p = text, .line = 1 };

	/* A byte order mark, as editors of Windows leave it. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		memset(text, ' ', 3);
	for (;;) {
		if (!skip(&s, true))
			return false;
		if (*s.p == '\0')
			return true;
		if (!scan_statement(&s))
			return false;
	}
}
