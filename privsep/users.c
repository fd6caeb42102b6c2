/*
 * privsep/users.c - the users file: a line `name:hash` each.
 *
 * Runs in: auth, flexmusicctl, tests.  Pure functions of bytes.
 */
#include <string.h>

#include "privsep/users.h"

/* Lengths and bounds of crypt(5). */
#define USERS_BCRYPT_LEN     60
#define USERS_BCRYPT_SALT    22 /* characters, from the 8th on */
#define USERS_SHA512_LEN     86
#define USERS_SHA512_SALT    16
#define USERS_YESCRYPT_LEN   43
#define USERS_YESCRYPT_SALT  86
#define USERS_YESCRYPT_LEAST 20 /* log2 of bytes: 1 MiB, the cost 1 */
#define USERS_YESCRYPT_MOST  30 /* 1 GiB, the cost 11 */

static bool
users_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
users_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
users_name_valid(const char *name, size_t len)
{
	size_t i;

	if (len < USERS_NAME_MIN || len > USERS_NAME_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (!users_is_digit(name[i]) && !users_is_letter(name[i]))
			return false;
	return true;
}

/* The value of a digit in the base 64 of crypt(3), ./0-9A-Za-z; -1. */
static int
users_digit(char c)
{
	static const char digits[] =
	    "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *p = c == '\0' ? NULL : strchr(digits, c);

	return p == NULL ? -1 : (int)(p - digits);
}

/* ... and in that of bcrypt, ./A-Za-z0-9. */
static int
users_bcrypt_digit(char c)
{
	int d = users_digit(c);

	if (users_is_digit(c))
		return d - 2 + 54;
	return d < 2 ? d : d - 10;
}

static bool
users_all_digits(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (users_digit(s[i]) == -1)
			return false;
	return true;
}

/*
 * $2b$NN$, 22 characters of salt, 31 of the hash.  The last of each holds
 * fewer than 6 bits: crypt(3) makes the others 0, and so a hash that has
 * them set is never matched.
 */
static bool
users_bcrypt_valid(const char *s, size_t len)
{
	int cost;

	if (len != USERS_BCRYPT_LEN || !users_is_digit(s[4]) ||
	    !users_is_digit(s[5]) || s[6] != '$' ||
	    !users_all_digits(s + 7, len - 7))
		return false;
	cost = 10 * (s[4] - '0') + s[5] - '0';
	return cost >= 4 && cost <= 31 &&
	    users_bcrypt_digit(s[7 + USERS_BCRYPT_SALT - 1]) % 16 == 0 &&
	    users_bcrypt_digit(s[len - 1]) % 4 == 0;
}

/* rounds=N$, with N from 1000 to 999999999: the length, or 0. */
static size_t
users_sha512_rounds(const char *s, size_t len)
{
	static const char word[] = "rounds=";
	const size_t begin = sizeof(word) - 1;
	size_t n = begin;

	if (len < begin || memcmp(s, word, begin) != 0)
		return 0;
	while (n < len && users_is_digit(s[n]))
		n++;
	if (n - begin < 4 || n - begin > 9 || s[begin] == '0' || n == len ||
	    s[n] != '$')
		return 0;
	return n + 1;
}

/* $6$, perhaps rounds, 1 to 16 characters of salt, $, 86 of the hash. */
static bool
users_sha512_valid(const char *s, size_t len)
{
	const char *hash;
	size_t rounds, salt, i;

	if (len < 3 + 1 + 1 + USERS_SHA512_LEN)
		return false;
	hash = s + len - USERS_SHA512_LEN;
	s += 3;
	rounds = users_sha512_rounds(s, (size_t)(hash - s));
	s += rounds;
	if (hash <= s || hash[-1] != '$')
		return false;
	salt = (size_t)(hash - 1 - s);
	if (salt < 1 || salt > USERS_SHA512_SALT ||
	    (rounds == 0 && salt >= 7 && memcmp(s, "rounds=", 7) == 0))
		return false;
	for (i = 0; i < salt; i++)
		if (s[i] <= ' ' || s[i] > '~' ||
		    strchr("$:;*!\\", s[i]) != NULL)
			return false;
	return users_all_digits(hash, USERS_SHA512_LEN) &&
	    users_digit(hash[USERS_SHA512_LEN - 1]) < 4;
}

/*
 * $y$, three characters of parameters (the one flavour that there is; the
 * memory's size as N and r), $, salt, $, 43 of the hash.
 */
static bool
users_yescrypt_valid(const char *s, size_t len)
{
	static const uint8_t log2_of[] = {
		[1] = 0, [2] = 1, [4] = 2, [8] = 3, [16] = 4, [32] = 5
	};
	const char *hash;
	size_t salt;
	int n, r, memory, rest;

	if (len < 8 + USERS_YESCRYPT_LEN || s[3] != 'j' || s[6] != '$')
		return false;
	n = users_digit(s[4]) + 1;
	r = users_digit(s[5]) + 1;
	/* Greater ones have two characters. */
	if (n < 1 || n > 48 || r < 1 || r > 32 || (r & (r - 1)) != 0)
		return false;
	memory = 7 + log2_of[r] + n;
	if (memory < USERS_YESCRYPT_LEAST || memory > USERS_YESCRYPT_MOST)
		return false;
	hash = s + len - USERS_YESCRYPT_LEN;
	s += 7;
	salt = (size_t)(hash - 1 - s);
	if (hash[-1] != '$' || salt > USERS_YESCRYPT_SALT || salt % 4 == 1 ||
	    !users_all_digits(s, salt))
		return false;
	/* Whole bytes, and no other bits. */
	rest = salt % 4 == 2 ? 4 : salt % 4 == 3 ? 16 : 64;
	if (salt != 0 && users_digit(s[salt - 1]) >= rest)
		return false;
	return users_all_digits(hash, USERS_YESCRYPT_LEN) &&
	    users_digit(hash[USERS_YESCRYPT_LEN - 1]) < 16;
}

static bool
users_begins(const char *s, size_t len, const char *prefix)
{
	return len >= strlen(prefix) && memcmp(s, prefix, strlen(prefix)) == 0;
}

static enum users_fault
users_check_hash(const char *s, size_t len)
{
	bool valid;

	if (users_begins(s, len, "$2b$") || users_begins(s, len, "$2y$") ||
	    users_begins(s, len, "$2a$"))
		valid = users_bcrypt_valid(s, len);
	else if (users_begins(s, len, "$y$"))
		valid = users_yescrypt_valid(s, len);
	else if (users_begins(s, len, "$6$"))
		valid = users_sha512_valid(s, len);
	else
		return USERS_HASH_METHOD;
	return valid && len <= USERS_HASH_MAX ? USERS_OK : USERS_HASH_FORM;
}

bool
users_hash_valid(const char *hash, size_t len)
{
	return users_check_hash(hash, len) == USERS_OK;
}

/* A tabulator may be in a comment. */
static bool
users_has_control(const char *s, size_t len, bool comment)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (((unsigned char)s[i] < ' ' || s[i] == 0x7f) &&
		    (s[i] != '\t' || !comment))
			return true;
	return false;
}

enum users_fault
users_parse_line(const char *bytes, size_t len, struct users_line *out)
{
	const char *end = memchr(bytes, '\n', len), *colon;
	size_t n;
	bool comment;

	memset(out, 0, sizeof(*out));
	n = end == NULL ? len : (size_t)(end - bytes);
	out->taken = end == NULL ? len : n + 1;
	if (out->taken > USERS_LINE_MAX)
		return USERS_LINE_LONG;
	if (end != NULL && n > 0 && bytes[n - 1] == '\r')
		n--;
	comment = n == 0 || bytes[0] == '#';
	if (users_has_control(bytes, n, comment))
		return USERS_NUL;
	if (comment)
		return USERS_OK;
	colon = memchr(bytes, ':', n);
	if (colon == NULL)
		return USERS_NO_COLON;
	if (!users_name_valid(bytes, (size_t)(colon - bytes)))
		return USERS_NAME;
	out->name = bytes;
	out->name_len = (size_t)(colon - bytes);
	out->hash = colon + 1;
	out->hash_len = n - out->name_len - 1;
	return users_check_hash(out->hash, out->hash_len);
}

const char *
users_fault_text(unsigned fault)
{
	static const char *const text[] = {
#define X(name, words) [name] = words,
		USERS_FAULTS(X)
#undef X
	};

	return fault < USERS_FAULT_COUNT ? text[fault] : "unknown";
}
