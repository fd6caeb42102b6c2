#!/usr/bin/python3
"""flexmusicctl user: the commands on the users file.

Hashes are made and verified by Python's crypt module, and not by the program
itself; what a change leaves is compared byte for byte.
"""

import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import warnings

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import harness  # noqa: E402
import runner  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt  # noqa: E402

CTL = os.path.join(harness.BUILD, "flexmusicctl")
LIMIT = harness.DEADLINE
GOOD = "correct horse"

# As a FlexMusic server writes them: bcrypt, cost 4 to be quick here.
BCRYPT = crypt.crypt("old secret", "$2b$04$abcdefghijklmnopqrstuu")
SHA512 = crypt.crypt("another one", "$6$saltsalt")
OTHER_USER = harness.OTHER_USER


def verifies(password, hashed):
    """Whether crypt(3), asked by Python, says so."""
    return crypt.crypt(password, hashed) == hashed


class Users(unittest.TestCase):
    """A directory of its own for each test."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="flexmusic-users-")
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        self.file = os.path.join(self.directory, "users")
        self.config = "/dev/null"  # not that of this machine

    def write(self, data, mode=0o600):
        """The users file."""
        with open(self.file, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(self.file, mode)

    def read(self):
        """The users file's bytes; None where there is none."""
        try:
            with open(self.file, "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def hashes(self):
        """Name to hash, of a file without comments."""
        return dict(line.split(":") for line in
                    self.read().decode().splitlines())

    def command(self, *words, file=None):
        """The words with --file behind them."""
        return [CTL, *words, "--file", file or self.file, "--config",
                self.config]

    def ctl(self, *words, status=0, said=None, given=None, file=None, **more):
        """Runs it to its end and judges status and message."""
        if isinstance(given, str):
            given = given.encode()
        done = subprocess.run(
            self.command(*words, file=file), check=False, timeout=LIMIT,
            input=given if given is not None else b"",
            stdout=more.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE, **more)
        errors = done.stderr.decode()
        self.assertEqual(done.returncode, status, errors)
        if status == 0 and said is None:
            self.assertEqual(errors, "")
        if status != 0:
            self.assertTrue(errors.startswith("flexmusicctl: "), errors)
        if said is not None:
            self.assertRegex(errors, said)
        return (done.stdout or b"").decode()

    def alone(self):
        """Nothing lies beside the users file."""
        self.assertLessEqual(set(os.listdir(self.directory)), {"users"})


class Changes(Users):
    """add, passwd, del."""

    def test_add_makes_the_file(self):
        """A line, yescrypt, nobody else's to read; the hash is right."""
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.ctl("user", "add", "--stdin", "alice", given=GOOD + "\n")
        self.assertRegex(self.read(), rb"\Aalice:\$y\$[^:\n]+\n\Z")
        self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o600)
        self.assertTrue(verifies(GOOD, self.hashes()["alice"]))
        self.assertFalse(verifies(GOOD + " ", self.hashes()["alice"]))
        self.alone()

    def test_hashes_have_their_own_salt(self):
        """The same password twice gives two hashes."""
        for user in ("alice", "bob"):
            self.ctl("user", "add", "--stdin", user, given=GOOD)
        hashes = self.hashes()
        self.assertNotEqual(hashes["alice"], hashes["bob"])
        self.assertTrue(verifies(GOOD, hashes["bob"]))

    def test_line_of_standard_input(self):
        """One line, its end not part of it, blanks part of it."""
        rows = {
            "lf": (GOOD + "\n", GOOD),
            "crlf": (GOOD + "\r\n", GOOD),
            "none": (GOOD, GOOD),
            "blanks": ("  two  blanks  \n", "  two  blanks  "),
            "second": ("first line\nsecond line\n", "first line"),
            "utf8": ("Gr\u00fc\u00dfe, \u20ac \U0001f600\n",
                     "Gr\u00fc\u00dfe, \u20ac \U0001f600"),
            "eight": ("\u20ac" * 8, "\u20ac" * 8),
            "long": ("x" * 511 + "\n", "x" * 511),
        }
        for user, (given, password) in rows.items():
            with self.subTest(row=user):
                self.ctl("user", "add", "--stdin", user, given=given)
                self.assertTrue(verifies(password, self.hashes()[user]))

    def test_rest_of_standard_input_is_left(self):
        """What follows the line is the next reader's."""
        done = subprocess.run(
            ["sh", "-c", '"$0" user add alice --stdin --file "$1" && cat',
             CTL, self.file], input=b"the password\nthe rest\n",
            capture_output=True, timeout=LIMIT, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"the rest\n"))

    def test_passwords_refused(self):
        """Each with its reason, and nothing happens to the file."""
        rows = [
            (b"", "ended before a password"),
            (b"\n", "is empty"),
            (b"\r\n", "is empty"),
            (b"seven77\n", "7 characters: at least 8"),
            (b"x", "1 character: at least 8"),
            ("\u20ac".encode() * 7, "7 characters: at least 8"),
            (b"x" * 512, "more than 511 bytes"),
            (b"x" * 100000, "more than 511 bytes"),
            (b"abcd\0efgh\n", "control character"),
            (b"abcdefgh\0\n", "control character"),
            (b"abcd\tefgh", "control character"),
            (b"abcd\refgh\n", "control character"),
            (b"abcd\x1befgh", "control character"),
            (b"abcd\x7fefgh", "control character"),
            (b"abcdefgh\xff", "not UTF-8"),
            (b"abcdefgh\xc0\x8a", "not UTF-8"),
            ("abcdefgh\u202e".encode(), "control character"),
        ]
        before = "alice:%s\n" % BCRYPT
        for content in (None, before):
            if content is not None:
                self.write(content)
            for given, said in rows:
                verb = "add" if content is None else "passwd"
                with self.subTest(verb=verb, password=given[:20]):
                    self.ctl("user", verb, "--stdin", "alice", given=given,
                             status=1, said=said)
                    self.assertEqual(self.read(), content and
                                     content.encode())
        self.alone()

    def test_least_length(self):
        """--min-length instead of 8."""
        for least, password, status in (("1", "x", 0), ("12", "x" * 11, 1),
                                        ("12", "x" * 12, 0),
                                        ("511", "x" * 510, 1)):
            with self.subTest(least=least, password=password):
                self.ctl("user", "add", "u%sx%d" % (least, len(password)),
                         "--stdin", "--min-length", least, given=password,
                         status=status)
        for least in ("0", "-1", "512", "eight", ""):
            with self.subTest(least=least):
                self.ctl("user", "add", "--stdin", "alice", "--min-length",
                         least, given=GOOD, status=2, said="min-length")

    def test_names_refused(self):
        """... by every command, before a password is read."""
        self.write("alice:%s\n" % BCRYPT)
        before = self.read()
        for name in ("", "a", "x" * 33, "al ice", "al:ice", "al\nice",
                     "m\u00fcller", "a-b", "a_b", "../x", "al\x1bice"):
            for verb in ("add", "passwd", "del", "check"):
                words = ["user", verb, name]
                if verb != "del":
                    words.append("--stdin")
                with self.subTest(name=name, verb=verb):
                    self.ctl(*words, given=GOOD, status=1,
                             said="not 2 to 32 letters and digits")
        self.assertEqual(self.read(), before)
        for name in ("ab", "0x", "Z9" * 16):
            self.ctl("user", "add", "--stdin", name, given=GOOD)

    def test_name_that_is_there(self):
        """Also one that differs in case alone."""
        self.write("Alice:%s\n" % BCRYPT)
        before = self.read()
        for name in ("Alice", "alice", "ALICE"):
            self.ctl("user", "add", "--stdin", name, given=GOOD, status=1,
                     said="there is a user Alice already")
        self.assertEqual(self.read(), before)

    def test_name_that_is_not_there(self):
        """Names are compared exactly."""
        self.write("Alice:%s\n" % BCRYPT)
        before = self.read()
        for verb in ("passwd", "del", "check"):
            words = ["--stdin"] if verb != "del" else []
            self.ctl("user", verb, "bob", *words, given=GOOD, status=1,
                     said="there is no user bob in ")
            self.ctl("user", verb, "alice", *words, given=GOOD, status=1,
                     said="there is no user alice, but Alice")
        self.assertEqual(self.read(), before)

    def test_other_lines_stay_byte_for_byte(self):
        """Comments, empty lines, CR LF, an end without a line end."""
        head = b"# our users: \xc3\xa4\xff\tand more\n\n"
        first = b"alice:" + BCRYPT.encode() + b"\r\n"
        middle = b"#alice:x\n\r\n"
        second = b"Bob:" + SHA512.encode() + b"\n"
        last = b"carl:" + BCRYPT.encode()
        self.write(head + first + middle + second + last)
        self.ctl("user", "passwd", "--stdin", "Bob", given=GOOD)
        m = re.fullmatch(re.escape(head + first + middle) +
                         rb"Bob:([^\n]+)\n" + re.escape(last), self.read())
        self.assertTrue(verifies(GOOD, m.group(1).decode()))
        second = b"Bob:" + m.group(1) + b"\n"
        self.ctl("user", "add", "--stdin", "dora", given=GOOD)
        m = re.fullmatch(re.escape(head + first + middle + second + last) +
                         rb"\ndora:(\$y\$[^\n]+)\n", self.read())
        self.assertTrue(verifies(GOOD, m.group(1).decode()))
        fourth = b"\ndora:" + m.group(1) + b"\n"
        self.ctl("user", "passwd", "--stdin", "alice", given=GOOD + "!")
        m = re.fullmatch(re.escape(head) + rb"alice:([^\r\n]+)\r\n" +
                         re.escape(middle + second + last + fourth),
                         self.read())
        self.assertTrue(verifies(GOOD + "!", m.group(1).decode()))
        self.ctl("user", "del", "alice")
        self.assertEqual(self.read(), head + middle + second + last + fourth)
        self.ctl("user", "del", "carl")
        self.assertEqual(self.read(), head + middle + second + fourth[1:])
        self.ctl("user", "del", "Bob")
        self.ctl("user", "del", "dora")
        self.assertEqual(self.read(), head + middle)
        self.alone()

    def test_password_of_a_last_line_without_end(self):
        """No line end is made up."""
        self.write("alice:" + BCRYPT)
        self.ctl("user", "passwd", "--stdin", "alice", given=GOOD)
        self.assertRegex(self.read(), rb"\Aalice:\$y\$[^\n]+\Z")

    def test_many_users(self):
        """10,000 lines, and the 10,001st."""
        self.write("".join("user%d:%s\n" % (i, BCRYPT)
                           for i in range(10000)))
        self.ctl("user", "add", "--stdin", "USER9999", given=GOOD, status=1,
                 said="user9999 already")
        self.ctl("user", "add", "--stdin", "user10000", given=GOOD)
        listed = self.ctl("user", "list").splitlines()
        self.assertEqual(len(listed), 10001)
        self.assertEqual(listed[-1], "user10000 yescrypt")

    def test_too_large(self):
        """16 MiB and a byte are no users file, and none is made."""
        line = b"#" * 511 + b"\n"
        self.write(line * (16 * 1024 * 1024 // 512))
        self.ctl("user", "list")
        self.ctl("user", "add", "--stdin", "alice", given=GOOD, status=1,
                 said="more than 16777216 bytes")
        self.assertEqual(os.stat(self.file).st_size, 16 * 1024 * 1024)
        with open(self.file, "ab") as f:
            f.write(b"\n")
        self.ctl("user", "list", status=1, said="more than 16 MiB")
        self.alone()


class Output(Users):
    """list, check, usage."""

    def fill(self):
        """A user of each method."""
        self.write("# three\nalice:%s\nbob:%s\n" % (BCRYPT, SHA512))
        self.ctl("user", "add", "--stdin", "Zoe7", given=GOOD)

    def test_list(self):
        """In the order of the file: lines, and JSON."""
        self.fill()
        self.assertEqual(self.ctl("user", "list"),
                         "alice bcrypt\nbob SHA-512\nZoe7 yescrypt\n")
        self.assertEqual(json.loads(self.ctl("user", "list", "--json")), [
            {"name": "alice", "method": "bcrypt"},
            {"name": "bob", "method": "SHA-512"},
            {"name": "Zoe7", "method": "yescrypt"}])

    def test_list_of_nobody(self):
        """An empty file is one; a missing one is an error."""
        self.write("# nobody\n")
        self.assertEqual(self.ctl("user", "list"), "")
        self.assertEqual(self.ctl("user", "list", "--json"), "[]\n")
        os.unlink(self.file)
        self.ctl("user", "list", status=1, said="No such file")

    def test_full_standard_output(self):
        """A list that nobody got is no success."""
        self.fill()
        with open("/dev/full", "wb") as full:
            self.ctl("user", "list", stdout=full, status=1,
                     said="standard output: No space left")

    def test_check(self):
        """Each method; right, wrong, and wrong by a little."""
        self.fill()
        for user, password in (("alice", "old secret"),
                               ("bob", "another one"), ("Zoe7", GOOD)):
            with self.subTest(user=user):
                self.assertEqual(
                    self.ctl("user", "check", user, "--stdin",
                             given=password + "\n"),
                    "the password is right\n")
                for wrong in (password + " ", password[:-1],
                              password.upper(), "x"):
                    self.assertEqual(self.ctl(
                        "user", "check", user, "--stdin", given=wrong,
                        status=1, said="the password is wrong"), "")
                self.ctl("user", "check", user, "--stdin", given="\n",
                         status=1, said="is empty")

    def test_bcrypt_variants(self):
        """$2a$ and $2y$ are as good as $2b$."""
        for letter in "aby":
            self.write("alice:" + crypt.crypt(
                "p\u00e4ssword", "$2%s$04$abcdefghijklmnopqrstuu" % letter))
            self.assertEqual(self.ctl("user", "list"), "alice bcrypt\n")
            self.ctl("user", "check", "alice", "--stdin",
                     given="p\u00e4ssword")

    def test_usage(self):
        """Status 2, what is wrong, and how it is meant."""
        rows = [
            ([], "a command is needed"),
            (["user"], "there is no command user"),
            (["user", "lst"], "there is no command user lst"),
            (["users", "list"], "there is no command users list"),
            (["user", "add"], "a name is needed"),
            (["user", "list", "alice"], "words too many"),
            (["user", "add", "alice", "hunter2hunter2"], "words too many"),
            (["user", "list", "--stdin"], "--stdin is not for"),
            (["user", "del", "alice", "--json"], "--json is not for"),
            (["user", "check", "alice", "--min-length", "3"],
             "--min-length is not for"),
            (["user", "list", "--jsn"], "--jsn is not an option"),
            (["user", "list", "-x"], "-x is not an option"),
            (["user", "list", "--file"], "--file needs an argument"),
            (["user", "list", "--file", ""], "--file needs the path"),
            (["user", "list", "--file", "/etc/"], "--file needs the path"),
        ]
        for words, said in rows:
            with self.subTest(words=words):
                done = subprocess.run([CTL, *words], capture_output=True,
                                      stdin=subprocess.DEVNULL, text=True,
                                      timeout=LIMIT, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(said, done.stderr)
                self.assertIn("flexmusicctl user add [", done.stderr)
                self.assertNotIn("hunter2", done.stderr)

    def test_version(self):
        """-V, on standard output."""
        done = subprocess.run([CTL, "-V"], capture_output=True, text=True,
                              timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\Aflexmusicctl \d+\.\d+\.\d+\n\Z")


class Refused(Users):
    """Files that are not changed."""

    VERBS = (("add", ("newone", "--stdin")), ("passwd", ("alice", "--stdin")),
             ("del", ("alice",)), ("list", ()),
             ("check", ("alice", "--stdin")))

    def all_refuse(self, said, file=None):
        """No command takes the file, and none changes it."""
        before = self.read()
        for verb, words in self.VERBS:
            with self.subTest(verb=verb, said=said):
                self.ctl("user", verb, *words, given=GOOD, status=1,
                         said=said, file=file)
                self.assertEqual(self.read(), before)

    def test_malformed(self):
        """File, line, and what is wrong with it."""
        good = b"alice:" + BCRYPT.encode() + b"\n"
        rows = [
            (b"nonsense\n", "not name:hash"),
            (b" bob:" + BCRYPT.encode(), "the name is not"),
            (b"b:" + BCRYPT.encode(), "the name is not"),
            (b"b-b:" + BCRYPT.encode(), "the name is not"),
            (b":" + BCRYPT.encode(), "the name is not"),
            (b"bob:\n", "the hash is not of"),
            (b"bob:secret\n", "the hash is not of"),
            (b"bob:$1$abcdefgh$0123456789012345678901\n", "not of bcrypt"),
            (b"bob:" + BCRYPT.encode()[:-1], "malformed or cut short"),
            (b"bob:" + BCRYPT.encode() + b" ", "malformed or cut short"),
            (b"bob:" + SHA512.encode()[:-1], "malformed or cut short"),
            (b"bob:$y$j9T$abcd\n", "malformed or cut short"),
            (b"bo\0b:" + BCRYPT.encode(), "control character"),
            (b"#" + b"x" * 600 + b"\n", "longer than 512"),
            (b"ALICE:" + BCRYPT.encode(), "twice"),
            (good, "twice"),
        ]
        for bad, fault in rows:
            self.write(b"# one\n" + good + b"\n" + bad)
            self.all_refuse(r"%s:4: .*%s.*\n.*correct that line" % (
                re.escape(self.file), fault))
        self.alone()

    def test_symbolic_links(self):
        """... are refused, also where they lead nowhere."""
        target = os.path.join(self.directory, "target")
        os.symlink(target, self.file)
        self.all_refuse("is a symbolic link")
        self.assertFalse(os.path.exists(target))
        with open(target, "w") as f:
            f.write("alice:%s\n" % BCRYPT)
        self.all_refuse("is a symbolic link")
        self.assertTrue(os.path.islink(self.file))

    def test_link_in_the_place_of_the_new_file(self):
        """It goes, and what it leads to is not written."""
        target = os.path.join(self.directory, "target")
        with open(target, "w") as f:
            f.write("mine")
        os.symlink(target, os.path.join(self.directory, ".users.new"))
        self.ctl("user", "add", "--stdin", "alice", given=GOOD)
        with open(target) as f:
            self.assertEqual(f.read(), "mine")
        self.assertEqual(set(os.listdir(self.directory)),
                         {"users", "target"})
        self.assertFalse(os.path.islink(self.file))

    def test_no_regular_file(self):
        """A directory, and a FIFO, which must not hold it up."""
        os.mkfifo(self.file)
        for verb, words in self.VERBS:
            self.ctl("user", verb, *words, given=GOOD, status=1,
                     said="is not a regular file")
        os.unlink(self.file)
        self.ctl("user", "list", file="/", status=2)
        self.ctl("user", "list", file="/etc", status=1,
                 said="is not a regular file")

    def test_missing(self):
        """Only add makes the file, and never a directory."""
        for verb, words in self.VERBS[1:]:
            self.ctl("user", verb, *words, given=GOOD, status=1,
                     said="cannot open .*No such file")
        self.assertEqual(os.listdir(self.directory), [])
        nowhere = os.path.join(self.directory, "none", "users")
        self.ctl("user", "add", "--stdin", "alice", given=GOOD, status=1,
                 file=nowhere, said="open the directory .*/none: No such")
        self.assertEqual(os.listdir(self.directory), [])

    def test_limit_of_file_size(self):
        """An error like another, not the end by a signal."""
        self.write("alice:%s\n" % BCRYPT)
        before = self.read()
        self.ctl("user", "add", "--stdin", "bob", given=GOOD, status=1,
                 said="cannot write the new .*File too large",
                 preexec_fn=lambda: resource.setrlimit(
                     resource.RLIMIT_FSIZE, (50, 50)))
        self.assertEqual(self.read(), before)
        self.alone()


class Configuration(Users):
    """The keys of the server's configuration that count here."""

    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.directory, "flexmusicd.conf")

    def configure(self, text):
        """What the server's administrator has written."""
        with open(self.config, "w") as f:
            f.write(text)

    def run_with(self, *words, given=GOOD):
        """Without --file."""
        return subprocess.run([CTL, "--config", self.config, *words],
                              input=given.encode(), timeout=LIMIT,
                              capture_output=True, check=False)

    def test_users_file_and_length(self):
        self.configure("# all that a server may have: ${HOME} is a comment\n"
                       "host = { \"127.0.0.1\",\n \"::1\" }\nport = 8900\n"
                       "penalty_exempt = {}\nyoutube = true\n"
                       "auth_min_password_length = 12\n"
                       "auth_file = \"%s\"\ncontrol_socket = none\n"
                       "max_connections=7 # behind\n" % self.file)
        done = self.run_with("user", "add", "--stdin", "alice",
                             given="eleven char")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"12", done.stderr)
        self.assertIsNone(self.read())
        done = self.run_with("user", "add", "--stdin", "alice",
                             given="twelve chars")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(verifies("twelve chars", self.hashes()["alice"]))
        done = self.run_with("user", "list")
        self.assertEqual(done.stdout, b"alice yescrypt\n")
        # The command line goes before.
        done = self.run_with("user", "add", "--stdin", "--min-length", "3",
                             "bob", given="abc")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_socket(self):
        self.configure("control_socket = %s/nowhere\n" % self.directory)
        done = self.run_with("status")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"nowhere", done.stderr)

    def test_mistakes(self):
        """Nothing is done where the server would take nothing."""
        for text in ("auth_file = users\n", "auth_file = \"${HOME}/users\"\n",
                     "auth_min_password_length = 010\n",
                     "auth_min_password_length = 0\n",
                     "auth_min_password_length = 512\n",
                     "auth_min_password_length = -1\n",
                     "auth_min_password_length = ''\n",
                     "control_socket = there\n", "auth_file = \"\n",
                     "auth_file\n", "= 3\n", "auth_file = { \n"):
            with self.subTest(text=text):
                self.configure(text)
                done = self.run_with("user", "add", "--stdin", "alice")
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(b"flexmusicd.conf has a mistake", done.stderr)
                self.assertIn(b"flexmusicd -n", done.stderr)
        self.configure("#" * 70000)
        done = self.run_with("user", "list")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"too large", done.stderr)

    def test_not_there(self):
        """Asked for, it has to be."""
        done = self.run_with("user", "list")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No such file", done.stderr)


class Owner(Users):
    """Owner, mode, and who may."""

    @harness.needs_root
    def test_owner_and_mode_stay(self):
        """Root's changes keep both."""
        for mode in (0o600, 0o640, 0o400):
            self.write("alice:%s\n" % BCRYPT)
            os.chown(self.file, 12345, 23456)
            os.chmod(self.file, mode)
            self.ctl("user", "add", "--stdin", "bob", given=GOOD)
            self.ctl("user", "passwd", "--stdin", "bob", given=GOOD)
            self.ctl("user", "del", "alice")
            st = os.stat(self.file)
            self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o7777),
                             (12345, 23456, mode))

    def test_note_of_others(self):
        """A file that others can read stays so, but it is told."""
        self.write("alice:%s\n" % BCRYPT, 0o644)
        self.ctl("user", "add", "--stdin", "bob", given=GOOD,
                 said="note: .* has mode 644: .*chmod o=")
        self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o644)

    @harness.needs_root
    def test_an_ordinary_user_on_a_file_of_his_own(self):
        """Everything works without root."""
        os.chown(self.directory, OTHER_USER, OTHER_USER)
        who = {"user": OTHER_USER, "group": OTHER_USER, "extra_groups": []}
        self.ctl("user", "add", "--stdin", "alice", given=GOOD, **who)
        self.ctl("user", "add", "--stdin", "bob", given=GOOD, **who)
        self.ctl("user", "passwd", "--stdin", "bob", given="new secret",
                 **who)
        self.ctl("user", "check", "--stdin", "bob", given="new secret",
                 **who)
        self.ctl("user", "del", "alice", **who)
        self.assertEqual(self.ctl("user", "list", **who), "bob yescrypt\n")
        st = os.stat(self.file)
        self.assertEqual((st.st_uid, st.st_mode & 0o7777),
                         (OTHER_USER, 0o600))
        self.alone()

    @harness.needs_root
    def test_an_ordinary_user_on_a_file_of_root(self):
        """Nothing does, and the message says who may."""
        self.write("alice:%s\n" % BCRYPT)
        before = self.read()
        who = {"user": OTHER_USER, "group": OTHER_USER, "extra_groups": []}
        for verb, words in Refused.VERBS:
            self.ctl("user", verb, *words, given=GOOD, status=1, **who,
                     said="Permission denied\n.*as root or as the file's")
        # Readable, in a directory that is not his.
        os.chmod(self.file, 0o644)
        self.ctl("user", "del", "alice", status=1, **who,
                 said="cannot make a file beside .*Permission denied")
        # In a directory of his: it would become his file.
        os.chown(self.directory, OTHER_USER, OTHER_USER)
        self.ctl("user", "del", "alice", status=1, **who,
                 said="cannot give the new .* owner and mode")
        self.assertEqual(self.read(), before)
        self.alone()


class Together(Users):
    """Several at once."""

    def at_once(self, commands):
        """Starts all (words and password), and waits for success."""
        running = []
        for words, password in commands:
            child = subprocess.Popen(
                self.command(*words), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            running.append((child, password))
        for child, password in running:
            child.stdin.write(password.encode())
            child.stdin.close()
        for child, _ in running:
            errors = child.stderr.read()
            self.assertEqual(child.wait(LIMIT), 0, errors)
            child.stderr.close()
            child.stdout.close()

    def test_adds(self):
        """Eight at once are all there, also where there is no file yet."""
        for start in (None, "# ours\nzoe:%s\n" % BCRYPT):
            if start is not None:
                self.write(start)
            self.at_once([(("user", "add", "--stdin", "user%d" % i),
                           "password %d" % i) for i in range(8)])
            lines = [line for line in self.read().decode().splitlines()
                     if line.startswith("user")]
            self.assertEqual(len(lines), 8)
            for line in lines:
                user, hashed = line.split(":")
                self.assertTrue(verifies("password " + user[4:], hashed))
            if start is not None:
                self.assertTrue(self.read().startswith(start.encode()))
            self.alone()

    def test_the_same_name(self):
        """Of eight adds of one name, one gets it."""
        running = [subprocess.Popen(
            self.command("user", "add", "--stdin", name),
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for name in ("alice", "Alice") * 4]
        for child in running:
            child.stdin.write(GOOD.encode())
            child.stdin.close()
        statuses = sorted(child.wait(LIMIT) for child in running)
        self.assertEqual(statuses, [0] + 7 * [1])
        self.assertEqual(len(self.read().splitlines()), 1)
        self.alone()

    def test_changes_of_all_kinds(self):
        """Adds, removals and new passwords do not undo each other."""
        self.write("".join("%s%d:%s\n" % (kind, i, BCRYPT)
                           for kind in ("gone", "kept") for i in range(4)))
        self.at_once(
            [(("user", "del", "gone%d" % i), "") for i in range(4)] +
            [(("user", "passwd", "--stdin", "kept%d" % i), GOOD)
             for i in range(4)] +
            [(("user", "add", "--stdin", "made%d" % i), GOOD)
             for i in range(4)])
        hashes = self.hashes()
        self.assertEqual(sorted(hashes), ["%s%d" % (kind, i) for kind in
                                          ("kept", "made") for i in range(4)])
        for hashed in hashes.values():
            self.assertTrue(verifies(GOOD, hashed))
        self.alone()

    def waiting(self, *words):
        """A command that waits for the lock of the file, which is held
        here: the child, and the descriptor that holds the lock."""
        held = os.open(self.file, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        child = subprocess.Popen(self.command(*words),
                                 stdin=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        self.addCleanup(child.stderr.close)

        def waits():
            with open("/proc/locks") as f:
                return any(" -> FLOCK" in line and
                           " %d " % child.pid in line for line in f)
        harness.wait_for("the wait for the lock", waits)
        return child, held

    def test_a_file_replaced_while_waiting(self):
        """The change is made in the new one."""
        self.write("alice:%s\nbob:%s\n" % (BCRYPT, BCRYPT))
        child, held = self.waiting("user", "del", "alice")
        other = os.path.join(self.directory, "other")
        with open(other, "w") as f:
            f.write("carl:%s\nalice:%s\n" % (BCRYPT, BCRYPT))
        os.rename(other, self.file)
        os.close(held)
        self.assertEqual(child.wait(LIMIT), 0, child.stderr.read())
        self.assertEqual(self.read().decode(), "carl:%s\n" % BCRYPT)
        self.alone()

    def test_a_signal_while_waiting(self):
        """... ends it, and nothing has happened."""
        self.write("alice:%s\n" % BCRYPT)
        before = self.read()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child, held = self.waiting("user", "del", "alice")
            child.send_signal(number)
            self.assertEqual(child.wait(LIMIT), -number)
            os.close(held)
            self.assertEqual(self.read(), before)
            self.alone()

    def test_a_list_waits_for_nobody(self):
        """Readers need no lock."""
        self.write("alice:%s\n" % BCRYPT)
        child, held = self.waiting("user", "del", "alice")
        self.assertEqual(self.ctl("user", "list"), "alice bcrypt\n")
        os.close(held)
        self.assertEqual(child.wait(LIMIT), 0)


def strace_works():
    """Whether a program can be traced here."""
    try:
        return subprocess.run(
            ["strace", "-o", "/dev/null", "-e", "inject=fsync:error=EIO",
             "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


class Faults(Users):
    """A change that is cut off, at each of its steps."""

    def traced(self, verb, inject, *words):
        """A command with a fault at a system call: status and message."""
        done = subprocess.run(
            ["strace", "-o", "/dev/null", "-e", "inject=" + inject,
             *self.command("user", verb, *words)], input=GOOD.encode(),
            capture_output=True, timeout=LIMIT, check=False)
        return done.returncode, done.stderr.decode()

    @unittest.skipUnless(strace_works(), "strace cannot trace here")
    def test_errors(self):
        """The old file stays, or none where there was none."""
        rows = [
            ("write:error=ENOSPC:when=1", "add", "No space left"),
            ("fsync:error=EIO:when=1", "passwd", "Input/output error"),
            ("fchmod:error=EPERM:when=1", "del", "owner and mode"),
            ("renameat:error=EROFS:when=1", "add", "Read-only"),
            ("flock:error=ENOLCK:when=1", "add", "cannot lock"),
        ]
        content = b"alice:" + BCRYPT.encode() + b"\n"
        for inject, verb, said in rows:
            with self.subTest(inject=inject):
                self.write(content)
                words = ("newone",) if verb == "add" else ("alice",)
                words += () if verb == "del" else ("--stdin",)
                status, errors = self.traced(verb, inject, *words)
                self.assertEqual(status, 1, errors)
                self.assertIn(said, errors)
                self.assertEqual(self.read(), content)
                self.alone()
                if verb == "add":
                    os.unlink(self.file)
                    status, errors = self.traced(verb, inject, *words)
                    self.assertEqual((status, os.listdir(self.directory)),
                                     (1, []), errors)

    @unittest.skipUnless(strace_works(), "strace cannot trace here")
    def test_directory_not_on_disk(self):
        """The change is there, but it is no success."""
        status, errors = self.traced("add", "fsync:error=EIO:when=2",
                                     "--stdin", "alice")
        self.assertEqual(status, 1)
        self.assertIn("a crash of the machine may undo", errors)
        self.assertTrue(verifies(GOOD, self.hashes()["alice"]))
        self.alone()

    @unittest.skipUnless(strace_works(), "strace cannot trace here")
    def test_signals(self):
        """One that comes in the middle waits for the end of the change."""
        for call in ("flock", "write", "fsync", "fchmod", "renameat"):
            for start in (None, "bob:%s\n" % BCRYPT):
                if start is None and self.read() is not None:
                    os.unlink(self.file)
                if start is not None:
                    self.write(start)
                with self.subTest(call=call, start=start):
                    status, _ = self.traced(
                        "add", call + ":signal=TERM:when=1", "--stdin",
                        "alice")
                    self.assertEqual(status, -signal.SIGTERM)
                    text = (self.read() or b"").decode()
                    if call == "flock" and start is not None:
                        self.assertEqual(text, start)
                    else:
                        self.assertRegex(text, r"\A%salice:[^\n]+\n\Z" %
                                         re.escape(start or ""))
                    self.alone()

    @unittest.skipUnless(strace_works(), "strace cannot trace here")
    def test_sudden_death(self):
        """SIGKILL leaves the old file; the next change cleans up."""
        content = b"bob:" + BCRYPT.encode() + b"\n"
        self.write(content)
        status, _ = self.traced("add", "fsync:signal=KILL:when=1", "--stdin",
                                "alice")
        self.assertEqual(status, -signal.SIGKILL)
        self.assertEqual(self.read(), content)
        self.assertEqual(set(os.listdir(self.directory)),
                         {"users", ".users.new"})
        self.ctl("user", "add", "--stdin", "alice", given=GOOD)
        self.alone()

    def full(self, options, fill):
        """A change on a file system that has no room for it."""
        place = os.path.join(self.directory, "disk")
        os.mkdir(place)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
            stderr=subprocess.DEVNULL, check=False)
        if mounted.returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        self.file = os.path.join(place, "users")
        for start in (None, b"#" * 500 + b"\nalice:" + BCRYPT.encode() +
                      b"\n"):
            if start is not None:
                self.write(start)
            if fill:
                with self.assertRaises(OSError), \
                        open(os.path.join(place, "filler"), "wb",
                             buffering=0) as f:
                    while True:
                        f.write(b"x" * 4096)
            names = sorted(os.listdir(place))
            self.ctl("user", "add", "--stdin", "bob", given=GOOD, status=1,
                     said="No space left on device")
            self.assertEqual(self.read(), start)
            self.assertEqual(sorted(os.listdir(place)), names)
            if fill:
                os.unlink(os.path.join(place, "filler"))
        if fill:
            self.ctl("user", "add", "--stdin", "bob", given=GOOD)
            self.assertEqual(self.ctl("user", "list"),
                             "alice bcrypt\nbob yescrypt\n")

    @harness.needs_root
    def test_full_disk(self):
        """No block: the old file stays; with room it goes on."""
        self.full("size=64k", True)

    @harness.needs_root
    def test_no_inode(self):
        """The users file is the last one that there is room for."""
        place = os.path.join(self.directory, "inodes")
        os.mkdir(place)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2",
                           "tmpfs", place], stderr=subprocess.DEVNULL,
                          check=False).returncode != 0:
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        self.file = os.path.join(place, "users")
        self.ctl("user", "add", "--stdin", "bob", given=GOOD, status=1,
                 said="No space left on device")
        self.assertEqual(os.listdir(place), [])
        self.write("alice:%s\n" % BCRYPT)
        before = self.read()
        self.ctl("user", "add", "--stdin", "bob", given=GOOD, status=1,
                 said="cannot make a file beside .*No space left")
        self.assertEqual(self.read(), before)


class Secrets(Users):
    """Where a password is not."""

    def test_command_line_and_environment(self):
        """Neither has it; nobody's core or debugger gets it."""
        child = subprocess.Popen(self.command("user", "add", "--stdin",
                                              "alice"),
                                 stdin=subprocess.PIPE)
        os.write(child.stdin.fileno(), GOOD.encode())

        def taken():
            size = fcntl.ioctl(child.stdin.fileno(), termios.FIONREAD,
                               b"\0" * 4)
            return size == b"\0" * 4
        harness.wait_for("the password to be read", taken)
        with open("/proc/%d/cmdline" % child.pid, "rb") as f:
            self.assertNotIn(GOOD.encode(), f.read())
        if harness.ROOT:
            with open("/proc/%d/environ" % child.pid, "rb") as f:
                self.assertNotIn(GOOD.encode(), f.read())
        else:  # the process is not dumpable, so not even its user may look
            with self.assertRaises(PermissionError):
                open("/proc/%d/environ" % child.pid, "rb").close()
        with open("/proc/%d/limits" % child.pid) as f:
            self.assertRegex(f.read(), r"Max core file size +0 +0 ")
        child.stdin.close()
        self.assertEqual(child.wait(LIMIT), 0)

    @harness.needs_root
    @unittest.skipIf(harness.SANITIZED, "the leak sanitizer is a tracer")
    def test_not_dumpable(self):
        """Another process of the same user cannot look into it."""
        os.chown(self.directory, OTHER_USER, OTHER_USER)
        child = subprocess.Popen(
            self.command("user", "add", "--stdin", "alice"),
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            user=OTHER_USER, group=OTHER_USER, extra_groups=[])
        os.write(child.stdin.fileno(), b"x")
        harness.wait_for("an owner root of /proc/PID/mem", lambda: os.stat(
            "/proc/%d/mem" % child.pid).st_uid == 0)
        with open("/proc/%d/status" % child.pid) as f:
            self.assertIn("Uid:\t%d" % OTHER_USER, f.read())
        child.stdin.close()
        self.assertEqual(child.wait(LIMIT), 1)

    def test_what_is_said(self):
        """No message has a password or a hash."""
        self.write("alice:%s\nbob:%sx\n" % (BCRYPT, BCRYPT))
        for password in ("hunter2", "hunter2hunter2", "hunter2\x01 hunter2"):
            done = subprocess.run(
                self.command("user", "passwd", "--stdin", "alice"),
                input=password.encode(), capture_output=True, timeout=LIMIT,
                check=False)
            self.assertEqual(done.returncode, 1)
            self.assertNotIn(b"hunter2", done.stdout + done.stderr)
            self.assertNotIn(BCRYPT[7:20].encode(),
                             done.stdout + done.stderr)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, env=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(command[0], command,
                          dict(os.environ, TERM="xterm", **(env or {})))
            finally:
                os._exit(127)
        self.seen = b""

    def until(self, text):
        """Reads until the text has come."""
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError("%r expected, there is %r" % (
                    text, self.seen))
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            if not data:
                raise AssertionError("%r expected, the end came after %r" % (
                    text, self.seen))
            self.seen += data
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def type(self, data):
        """Keys, once the program has turned the echo off."""
        harness.wait_for("the echo to be off", lambda: not (
            termios.tcgetattr(self.fd)[3] & termios.ECHO))
        os.write(self.fd, data)

    def echoes(self):
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self):
        """The rest that it says, and its status (negative: a signal)."""
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return self.seen, os.waitstatus_to_exitcode(status)


class Terminals(Users):
    """Passwords that are typed, tables that are read."""

    def ask(self, verb, *typed, status=0):
        """Types at each prompt; what was shown, in all."""
        terminal = Terminal(self.command("user", verb, "alice"))
        shown = b""
        for keys in typed:
            shown += terminal.until(b": ")
            terminal.type(keys)
        rest, code = terminal.end()
        self.assertEqual(code, status, shown + rest)
        shown += rest
        for keys in typed:
            self.assertNotIn(keys, shown.replace(b"\r\n", b"."))
            self.assertFalse(keys.strip() and keys.strip() in shown)
        return shown.decode()

    def test_add_passwd_check(self):
        """Nothing that is typed is shown."""
        shown = self.ask("add", b"correct horse\n", b"correct horse\n")
        self.assertRegex(shown, r"\ANew password of alice: \r\n"
                         r"The same again: \r\n\Z")
        self.assertTrue(verifies("correct horse", self.hashes()["alice"]))
        self.ask("passwd", "Gr\u00fc\u00dfe an\n".encode(),
                 "Gr\u00fc\u00dfe an\n".encode())
        self.assertTrue(verifies("Gr\u00fc\u00dfe an",
                                 self.hashes()["alice"]))
        self.assertIn("the password is right",
                      self.ask("check", "Gr\u00fc\u00dfe an\n".encode()))
        self.assertIn("the password is wrong",
                      self.ask("check", b"correct horse\n", status=1))

    def test_longest(self):
        """511 bytes from the terminal, and not one more."""
        self.ask("add", b"y" * 511 + b"\n", b"y" * 511 + b"\n")
        self.assertTrue(verifies("y" * 511, self.hashes()["alice"]))
        for more in (512, 2000):
            self.assertIn("more than 511 bytes", self.ask(
                "passwd", b"z" * more + b"\n", status=1))

    def test_refused(self):
        """A wrong one is told before it is asked for again."""
        self.assertIn("7 characters", self.ask("add", b"seven77\n", status=1))
        self.assertIn("is empty", self.ask("add", b"\n", status=1))
        self.assertIn("control character", self.ask(
            "add", b"abcd\0efgh1\n", status=1))
        self.assertIn("control character", self.ask(
            "add", b"abcdefgh\0\n", status=1))
        self.assertIn("the two passwords differ", self.ask(
            "add", b"correct horse\n", b"correct Horse\n", status=1))
        self.assertIn("the two passwords differ", self.ask(
            "add", b"correct horse\n", b"correct horse2\n", status=1))
        self.assertEqual(os.listdir(self.directory), [])

    def test_name_is_judged_first(self):
        """Nobody types a password for a name that is there."""
        self.write("alice:%s\n" % BCRYPT)
        self.assertNotIn("password of", self.ask("add", status=1))

    def test_interrupt(self):
        """^C restores the terminal, and nothing has happened."""
        terminal = Terminal(["/bin/sh", "-c", "trap : INT; \"$@\"; echo st=$?"
                             "; read x", "sh",
                             *self.command("user", "add", "alice")])
        terminal.until(b"alice: ")
        with open("/proc/%d/task/%d/children" % (terminal.pid,
                                                 terminal.pid)) as f:
            child = int(f.read())

        # readpassphrase(3) misses a signal between its prompt and its read.
        def reads():
            with open("/proc/%d/stat" % child) as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "S"
        harness.wait_for("the program to read", reads)
        terminal.type(b"corr\x03")
        terminal.until(b"st=130")
        self.assertTrue(terminal.echoes())
        os.write(terminal.fd, b"\n")
        terminal.end()
        self.assertEqual(os.listdir(self.directory), [])

    def test_no_terminal(self):
        """Standard input is not read unless --stdin says so."""
        self.ctl("user", "add", "alice", given=GOOD, status=1,
                 said="no terminal .*\n.*--stdin", start_new_session=True)
        self.assertEqual(os.listdir(self.directory), [])

    def test_table(self):
        """A heading, columns in line, bold where colours are wanted."""
        self.write("al:%s\nlongername:%s\n" % (BCRYPT, SHA512))
        command = self.command("user", "list")
        for env, bold in (({}, True), ({"NO_COLOR": "1"}, False),
                          ({"TERM": "dumb"}, False)):
            shown, status = Terminal([
                "/usr/bin/env", "-u", "NO_COLOR", "TERM=xterm", *(
                    "%s=%s" % row for row in env.items()), *command]).end()
            self.assertEqual(status, 0)
            head = "NAME        METHOD"
            self.assertEqual(shown.decode().replace("\r\n", "\n"),
                             ("\x1b[1m%s\x1b[0m\n" if bold else "%s\n") %
                             head + "al          bcrypt\n"
                             "longername  SHA-512\n")
        shown, _ = Terminal(command + ["--json"]).end()
        self.assertEqual(len(json.loads(shown)), 2)
        self.write("")
        self.assertEqual(Terminal(command).end()[0], b"no users\r\n")


if __name__ == "__main__":
    runner.main()
