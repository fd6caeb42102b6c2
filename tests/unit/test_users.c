/*
 * tests/unit/test_users.c - the lines of the users file.
 *
 * Runs in: the test alone.
 */
#include <crypt.h>
#include <stdlib.h>

#include "privsep/users.h"
#include "tests/unit/unit.h"

#define SHA512                                                                 \
	"$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYlWT5md.d" \
	"k7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE0"
#define SHA512_HASH                                                            \
	"MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYlWT5md.dk7e10dKGVfDQn5twGjivfbtF" \
	"dFnYWoXSqXurhYAmE0"
#define BCRYPT_TAIL   "$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"
#define BCRYPT	      "$2b" BCRYPT_TAIL
#define YESCRYPT_HASH "f9xplorlluprJ55ANJjSZGWxrsDC6O.PUygDtlvsP7D"
#define YESCRYPT      "$y$j75$F5Jx5fExrKuPp53xLKQ..1$" YESCRYPT_HASH
#define NAME_32	      "abcdefghijklmnopqrstuvwxyz012345"

static const struct line {
	const char *text;
	size_t len;
	enum users_fault fault;
	const char *name; /* where the line is a user's */
	const char *hash;
} lines[] = {
#define GOOD(text, name, hash)                               \
	{                                                    \
		text, sizeof(text) - 1, USERS_OK, name, hash \
	}
#define NONE(text)                                           \
	{                                                    \
		text, sizeof(text) - 1, USERS_OK, NULL, NULL \
	}
#define BAD(text, fault)                                  \
	{                                                 \
		text, sizeof(text) - 1, fault, NULL, NULL \
	}
	/* Each method, each end. */
	GOOD("ada:" BCRYPT "\n", "ada", BCRYPT),
	GOOD("ada:" BCRYPT "\r\n", "ada", BCRYPT),
	GOOD("ada:" BCRYPT, "ada", BCRYPT),
	GOOD("ada:$2a" BCRYPT_TAIL "\n", "ada", "$2a" BCRYPT_TAIL),
	GOOD("ada:$2y" BCRYPT_TAIL "\n", "ada", "$2y" BCRYPT_TAIL),
	GOOD("Bob7:" SHA512 "\n", "Bob7", SHA512),
	GOOD("Bob7:$6$s$" SHA512_HASH "\n", "Bob7", "$6$s$" SHA512_HASH),
	GOOD("Bob7:$6$abcdefgh~\"%&/()=$" SHA512_HASH "\n", "Bob7",
	    "$6$abcdefgh~\"%&/()=$" SHA512_HASH),
	GOOD("Bob7:$6$rounds=999999999$s$" SHA512_HASH "\n", "Bob7",
	    "$6$rounds=999999999$s$" SHA512_HASH),
	GOOD("42:" YESCRYPT "\n", "42", YESCRYPT),
	GOOD("42:$y$j9T$$" YESCRYPT_HASH, "42", "$y$j9T$$" YESCRYPT_HASH),
	GOOD("42:$y$jFT$ab/$" YESCRYPT_HASH, "42", "$y$jFT$ab/$" YESCRYPT_HASH),
	GOOD(NAME_32 ":" BCRYPT "\n", NAME_32, BCRYPT),
	/* No users. */
	NONE("\n"),
	NONE("\r\n"),
	NONE("#\n"),
	NONE("# ada:" BCRYPT "\n"),
	NONE("#\tM\xc3\xa4rz\r\n"),
	NONE("# no end"),
	/* What no line may be. */
	BAD("ada\n", USERS_NO_COLON),
	BAD(" \n", USERS_NO_COLON),
	BAD(" # no comment\n", USERS_NO_COLON),
	BAD(BCRYPT "\n", USERS_NO_COLON),
	BAD(":" BCRYPT "\n", USERS_NAME),
	BAD("a:" BCRYPT "\n", USERS_NAME),
	BAD(NAME_32 "6:" BCRYPT "\n", USERS_NAME),
	BAD(" ada:" BCRYPT "\n", USERS_NAME),
	BAD("ada :" BCRYPT "\n", USERS_NAME),
	BAD("ad_a:" BCRYPT "\n", USERS_NAME),
	BAD("\xc3\xa4rger:" BCRYPT "\n", USERS_NAME),
	BAD("ada:\n", USERS_HASH_METHOD),
	BAD("ada:secret\n", USERS_HASH_METHOD),
	BAD("ada:x\n", USERS_HASH_METHOD),
	BAD("ada:!" BCRYPT "\n", USERS_HASH_METHOD),
	BAD("ada: " BCRYPT "\n", USERS_HASH_METHOD),
	BAD("ada:$1$abc$G/qhYRjnqTsXVnDNPJVR20\n", USERS_HASH_METHOD),
	BAD("ada:$5$abc$x\n", USERS_HASH_METHOD),
	BAD("ada:$2x" BCRYPT_TAIL "\n", USERS_HASH_METHOD),
	BAD("ada:$gy$j9T$$" YESCRYPT_HASH "\n", USERS_HASH_METHOD),
	BAD("ada:$argon2id$v=19$m=1\n", USERS_HASH_METHOD),
	BAD("ada:$2b\n", USERS_HASH_METHOD),
	/* bcrypt: cut short, too long, costs, salts that can't be. */
	BAD("ada:$2b$\n", USERS_HASH_FORM),
	BAD("ada:" BCRYPT "m\n", USERS_HASH_FORM),
	BAD("ada:" BCRYPT " \n", USERS_HASH_FORM),
	BAD("ada:" BCRYPT ":0\n", USERS_HASH_FORM),
	BAD("ada:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YE\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$03$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/"
	    "TXg5uZV.0P.uO8m3YEm\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$32$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/"
	    "TXg5uZV.0P.uO8m3YEm\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$4$$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/"
	    "TXg5uZV.0P.uO8m3YEm\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$04$cVWp4XaNU8a4v1uMRum2SP026BWLIoQMD/"
	    "TXg5uZV.0P.uO8m3YEm\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/"
	    "TXg5uZV.0P.uO8m3YEn\n",
	    USERS_HASH_FORM),
	BAD("ada:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD-TXg5uZV.0P."
	    "uO8m3YEm\n",
	    USERS_HASH_FORM),
	/* SHA-512. */
	BAD("ada:$6$\n", USERS_HASH_FORM),
	BAD("ada:$6$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$saltsaltsaltsalt7$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$sa:lt$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$s\xc3\xa4$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=999$s$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=0999$s$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=1000000000$s$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=1000$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=10x0$s$" SHA512_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$6$s$" SHA512_HASH "0\n", USERS_HASH_FORM),
	BAD("ada:$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYl"
	    "WT5md.dk7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE\n",
	    USERS_HASH_FORM),
	BAD("ada:$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYl"
	    "WT5md.dk7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE2\n",
	    USERS_HASH_FORM),
	/* yescrypt. */
	BAD("ada:$y$\n", USERS_HASH_FORM),
	BAD("ada:$y$j9T$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:" YESCRYPT "0\n", USERS_HASH_FORM),
	BAD("ada:$y$j9T$$f9xplorlluprJ55ANJjSZGWxrsDC6O.PUygDtlvsP7\n",
	    USERS_HASH_FORM),
	BAD("ada:$y$j9T$$f9xplorlluprJ55ANJjSZGWxrsDC6O.PUygDtlvsP7E\n",
	    USERS_HASH_FORM),
	BAD("ada:$y$i9T$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j65$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$jGT$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j9S$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j9z$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$jD5.7$$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j9T$a$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j9T$aE$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	BAD("ada:$y$j9T$a-..$" YESCRYPT_HASH "\n", USERS_HASH_FORM),
	/* Control characters. */
	BAD("ada:" BCRYPT "\0\n", USERS_NUL),
	BAD("a\0da:" BCRYPT "\n", USERS_NUL),
	BAD("# a\0b\n", USERS_NUL),
	BAD("# a\x7f\n", USERS_NUL),
	BAD("ada\t:" BCRYPT "\n", USERS_NUL),
	BAD("ada:" BCRYPT "\r\r\n", USERS_NUL),
	BAD("ada:" BCRYPT "\r", USERS_NUL),
	BAD("\rada:" BCRYPT "\n", USERS_NUL),
	BAD("\0", USERS_NUL),
#undef GOOD
#undef NONE
#undef BAD
};

static void
test_lines(void **state)
{
	struct users_line l;
	const struct line *c;
	char *copy;
	size_t i;

	for (i = 0; i < COUNT_OF(lines); i++) {
		c = &lines[i];
		/* At its own length, so that a sanitizer sees the end. */
		copy = malloc(c->len);
		assert_non_null(copy);
		memcpy(copy, c->text, c->len);
		if (users_parse_line(copy, c->len, &l) != c->fault)
			fail_msg("%zu: %s: not %s", i, c->text,
			    users_fault_text(c->fault));
		assert_int_equal(l.taken, c->len);
		if (c->fault == USERS_OK && c->name == NULL)
			assert_null(l.name);
		if (c->name != NULL) {
			assert_int_equal(l.name_len, strlen(c->name));
			assert_memory_equal(l.name, c->name, l.name_len);
			assert_int_equal(l.hash_len, strlen(c->hash));
			assert_memory_equal(l.hash, c->hash, l.hash_len);
		}
		free(copy);
	}
}

/* A line ends at its end, whatever follows. */
static void
test_taken(void **state)
{
	static const char two[] = "ada:" BCRYPT "\r\nbob\n";
	struct users_line l;

	assert_int_equal(users_parse_line(two, sizeof(two) - 1, &l), USERS_OK);
	assert_int_equal(l.taken, sizeof(two) - 1 - 4);
	assert_int_equal(
	    users_parse_line(two + l.taken, 4, &l), USERS_NO_COLON);
	assert_int_equal(l.taken, 4);
}

/* 512 bytes, the end included. */
static void
test_long(void **state)
{
	char text[USERS_LINE_MAX + 8];
	struct users_line l;

	memset(text, 'x', sizeof(text));
	text[0] = '#';
	assert_int_equal(users_parse_line(text, USERS_LINE_MAX, &l), USERS_OK);
	assert_int_equal(
	    users_parse_line(text, USERS_LINE_MAX + 1, &l), USERS_LINE_LONG);
	assert_int_equal(l.taken, USERS_LINE_MAX + 1);
	text[USERS_LINE_MAX - 2] = '\r';
	text[USERS_LINE_MAX - 1] = '\n';
	assert_int_equal(users_parse_line(text, sizeof(text), &l), USERS_OK);
	assert_int_equal(l.taken, USERS_LINE_MAX);
	text[USERS_LINE_MAX - 2] = 'x';
	text[USERS_LINE_MAX - 1] = '\r';
	text[USERS_LINE_MAX] = '\n';
	assert_int_equal(
	    users_parse_line(text, sizeof(text), &l), USERS_LINE_LONG);
	assert_int_equal(l.taken, USERS_LINE_MAX + 1);
}

static void
test_texts(void **state)
{
	unsigned i;

	for (i = 0; i < USERS_FAULT_COUNT; i++)
		assert_string_not_equal(users_fault_text(i), "unknown");
	assert_string_equal(users_fault_text(USERS_FAULT_COUNT), "unknown");
}

/* What crypt(3) makes is valid, for every length of a salt that it takes. */
static void
test_crypt_agrees(void **state)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabc"
				     "defghijklmnopqrstuvwxyz";
	static const char *const begin[] = { "$y$j75$", "$y$j85$",
		"$6$rounds=1000$", "$2b$04$", "$2y$04$", "$2a$05$" };
	struct unit_random r = { 20 };
	struct crypt_data *d = calloc(1, sizeof(*d));
	char salt[96], setting[128];
	unsigned made = 0, i, n, len;
	const char *hash;

	assert_non_null(d);
	for (i = 0; i < COUNT_OF(begin); i++)
		for (len = 0; len <= 88; len++) {
			if (i > 1 && len > 24)
				break;
			for (n = 0; n < len; n++)
				salt[n] = digits[unit_random_next(&r) % 64];
			salt[len] = '\0';
			strlcpy(setting, begin[i], sizeof(setting));
			strlcat(setting, salt, sizeof(setting));
			strlcat(setting, "$", sizeof(setting));
			hash = crypt_rn("secret", setting, d, sizeof(*d));
			if (hash == NULL)
				continue;
			made++;
			/* An empty salt of SHA-512 is not in crypt(5). */
			if (!users_hash_valid(hash, strlen(hash)) &&
			    (i != 2 || len != 0))
				fail_msg("%s", hash);
		}
	assert_true(made > 60);
	free(d);
}

/* A valid hash is one that crypt(3) can come to: it takes it for a setting,
 * and keeps all of it but the hash proper. */
static void
test_crypt_takes(void **state)
{
	static const struct {
		const char *hash;
		size_t from; /* behind the costs */
		size_t to; /* where the hash proper begins */
	} c[] = { { BCRYPT, 6, 29 }, { YESCRYPT, 6, 30 }, { SHA512, 14, 24 } };
	struct unit_random r = { 21 };
	struct crypt_data *d = calloc(1, sizeof(*d));
	char hash[USERS_HASH_MAX];
	unsigned valid = 0, i, n;
	size_t len, at;
	const char *made;

	assert_non_null(d);
	for (i = 0; i < COUNT_OF(c); i++)
		for (n = 0; n < 100; n++) {
			len = strlcpy(hash, c[i].hash, sizeof(hash));
			at = c[i].from +
			    unit_random_next(&r) % (c[i].to - c[i].from);
			hash[at] = (char)(' ' + unit_random_next(&r) % 95);
			if (!users_hash_valid(hash, len))
				continue;
			valid++;
			made = crypt_rn("secret", hash, d, sizeof(*d));
			if (made == NULL || strlen(made) != len ||
			    memcmp(made, hash, c[i].to) != 0)
				fail_msg("%s", hash);
		}
	assert_true(valid > 50);
	free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_crypt_agrees),
		cmocka_unit_test(test_crypt_takes),
	};

	return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
