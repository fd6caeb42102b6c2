#!/usr/bin/python3
"""The tree itself: what the compiler does not hold.

Rooms and includes, formatting, calls of unbounded effect, compiler warnings
of the second compiler, manual pages, and documents against the source.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import facts  # noqa: E402
import runner  # noqa: E402

ROOMS = ("master", "worker", "keys", "paramgen", "auth", "pam", "privsep", "fmltp",
         "client", "ctl")
SHARED = ("privsep", "fmltp")


def sources(*folders, endings=(".c", ".h")):
    """Files of these folders below the top."""
    return sorted(path for folder in folders
                  for path in glob.glob(os.path.join(TOP, folder, "**", "*"),
                                        recursive=True)
                  if path.endswith(endings))


def read(path):
    """A file's text."""
    with open(path) as f:
        return f.read()


def name(path):
    """A path as seen from the top."""
    return os.path.relpath(path, TOP)


def code(text):
    """Without comments and string literals, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


class Rooms(unittest.TestCase):
    """A directory is a process."""

    def test_includes_stay_in_their_room(self):
        """Own directory, privsep/ and fmltp/, and no other."""
        for path in sources(*ROOMS):
            room = name(path).split("/")[0]
            for include in re.findall(r'#include "([^"]+)"', read(path)):
                other = include.split("/")[0]
                with self.subTest(file=name(path), include=include):
                    if include == "build_id.h":
                        continue  # made by the Makefile, for privsep
                    self.assertIn("/", include)
                    allowed = {room, "fmltp"}
                    if room not in ("fmltp", "client"):
                        allowed.add("privsep")
                    self.assertIn(other, allowed)

    def test_messages_to_the_trusted_have_no_bool(self):
        """Any byte of a message may come: a bool can't hold each."""
        text = read(os.path.join(TOP, "privsep/message.h")) + \
            read(os.path.join(TOP, "privsep/sandbox.h"))
        structs = dict(re.findall(r"\nstruct (\w+) \{(.*?)\n\};", text, re.S))
        rows = re.findall(r'X\(MESSAGE_\w+, (\w+), \d,[\s\\]*"(\w+)",'
                          r'[\s\\]*"(\w+)"\)', text)
        self.assertGreater(len(rows), 30)
        for struct, sender, receiver in rows:
            if sender == "master" and receiver != "ctl":
                continue
            inside = re.findall(r"struct (\w+) \w+", structs[struct])
            for part in [struct] + [name for name in inside
                                    if name in structs]:
                with self.subTest(message=struct, struct=part):
                    self.assertNotRegex(structs[part], r"\tbool ")

    def test_roles_is_the_one_bridge(self):
        """No room names another's entry but through privsep/roles*."""
        entries = re.findall(r"^(?:int|void|bool) (\w+)\(struct helper \*h\);",
                             read(os.path.join(TOP, "privsep/roles.h")), re.M)
        self.assertGreater(len(entries), 6)
        for path in sources(*ROOMS):
            if name(path).startswith("privsep/roles"):
                continue
            text = code(read(path))
            for entry in entries:
                for use in re.findall(r"^.*\b%s\b.*$" % entry, text, re.M):
                    home = {"zygote": "worker"}.get(entry.split("_")[0],
                                                    entry.split("_")[0])
                    with self.subTest(file=name(path), use=use.strip()):
                        self.assertEqual(name(path).split("/")[0], home)

    def test_first_comment_says_who_runs_it(self):
        """Which process, as its first comment."""
        for path in sources(*ROOMS) + sources("tests/unit"):
            with self.subTest(file=name(path)):
                text = read(path)
                self.assertTrue(text.startswith("/*\n * %s - " % name(path)))
                self.assertRegex(text.split("*/")[0], r"Runs in: ")

    def test_worker_has_no_allocation_or_evp(self):
        """The worker's program is small: no EVP, no libseccomp."""
        program = os.path.join(os.environ.get("BUILD") or
                               os.path.join(TOP, "build"),
                               "flexmusicd-worker")
        if os.environ.get("FLEXMUSIC_SANITIZE"):
            self.skipTest("sanitizers bring their own symbols")
        symbols = subprocess.run(["nm", program], check=True, text=True,
                                 capture_output=True).stdout
        self.assertIn("worker_run", symbols)
        for unwanted in (r"EVP_\w+Init", r"OSSL_PROVIDER", r"seccomp_init",
                         r"master_main", r"keys_main", r"kex_derive",
                         r"BN_mod_exp"):
            self.assertNotRegex(symbols, r" [TtWw] %s" % unwanted)


class Style(unittest.TestCase):
    """What .clang-format and the habits of the project ask for."""

    def test_format(self):
        """clang-format would change nothing."""
        if shutil.which("clang-format") is None:
            self.skipTest("clang-format is not installed")
        files = sources(*ROOMS, "tests", "bench")
        result = subprocess.run(["clang-format", "--dry-run", "-Werror",
                                 *files], capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stderr[:4000])

    def test_calls_of_unbounded_effect(self):
        """strcpy and its kind are not used."""
        bad = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|"
                         r"system|popen|alloca|mktemp|tmpnam|strtok)\s*\(")
        for path in sources(*ROOMS, "tests", "bench"):
            for line in code(read(path)).splitlines():
                with self.subTest(file=name(path)):
                    self.assertIsNone(bad.search(line), line)

    def test_nothing_is_unfinished(self):
        """A thing is finished or absent."""
        bad = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|not implemented", re.I)
        paths = sources(*ROOMS, "tests/unit", "tests/fuzz", "bench") + \
            sources("man", "docs", "etc", endings=(
                ".md", ".1", ".5", ".8", ".conf", ".service"))
        for path in paths:
            for line in read(path).splitlines():
                with self.subTest(file=name(path)):
                    self.assertIsNone(bad.search(line), line)

    def test_second_compiler(self):
        """clang finds nothing to warn of."""
        if shutil.which("clang") is None:
            self.skipTest("clang is not installed")
        flags = subprocess.run(
            ["make", "-s", "-C", TOP, "print-flags", "CC=clang"],
            capture_output=True, text=True, check=True).stdout.split()
        self.assertIn("-Wall", flags)
        for path in sources(*ROOMS, endings=(".c",)):
            with self.subTest(file=name(path)):
                build = os.environ.get("BUILD") or os.path.join(TOP, "build")
                result = subprocess.run(
                    ["clang", *flags, "-I" + build, "-fsyntax-only",
                     name(path)], cwd=TOP, capture_output=True, text=True,
                    check=False)
                self.assertEqual(result.returncode, 0, result.stderr)


class Fuzzers(unittest.TestCase):
    """What belongs to each fuzzer."""

    def test_each_has_a_corpus_and_a_purpose(self):
        """... a comment that says so, and a place in the documents."""
        folder = os.path.join(TOP, "tests", "fuzz")
        document = read(os.path.join(TOP, "docs/ARCHITECTURE.md"))
        names = [os.path.basename(path)[len("fuzz_"):-len(".c")]
                 for path in glob.glob(os.path.join(folder, "fuzz_*.c"))]
        self.assertGreater(len(names), 18)
        size = 0
        for fuzzer in names:
            head = read(os.path.join(folder, "fuzz_%s.c" % fuzzer)).split(
                "*/")[0]
            with self.subTest(fuzzer=fuzzer):
                self.assertIn("Runs in: the fuzzers alone.", head)
                self.assertRegex(head, r"\n \* Covers: ")
                self.assertIn("`%s`" % fuzzer, document)
                kept = glob.glob(os.path.join(folder, "corpus", fuzzer, "*"))
                self.assertGreater(len(kept), 4)
                self.assertLess(len(kept), 1000)
                size += sum(os.path.getsize(path) for path in kept)
        self.assertLess(size, 1536 * 1024)
        self.assertEqual(
            sorted(os.listdir(os.path.join(folder, "corpus"))), sorted(names))


class Documents(unittest.TestCase):
    """Pages and documents against the source."""

    def test_manual_pages_are_clean(self):
        """mandoc -T lint has nothing to say."""
        if shutil.which("mandoc") is None:
            self.skipTest("mandoc is not installed")
        pages = sources("man", endings=(".1", ".5", ".8"))
        self.assertEqual(len(pages), 4)
        for page in pages:
            result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning",
                                     page], capture_output=True, text=True,
                                    check=False)
            with self.subTest(page=name(page)):
                self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_every_event_is_in_the_manual(self):
        """flexmusicd(8) lists each event of the log."""
        page = read(os.path.join(TOP, "man/flexmusicd.8"))
        events = set()
        for path in sources("master", endings=(".c",)):
            text = re.sub(r"\s+", " ", read(path))
            events.update(re.findall(
                r'log_(?:peer_)?event\( ?[^;"]*?LOG_[^;"]*?"([a-z-]+)"', text))
        self.assertGreater(len(events), 25)
        for event in sorted(events):
            with self.subTest(event=event):
                self.assertIn(event, page)

    def test_every_field_is_in_the_manual(self):
        """... with its level and its fields."""
        levels = {"ALERT": "alert", "CRIT": "critical", "ERR": "error",
                  "WARNING": "warning", "NOTICE": "notice", "INFO": "info",
                  "DEBUG": "debug"}
        entries = dict(
            (found[0], found[1:]) for found in re.findall(
                r"\n\.It Cm ([a-z-]+) Pq ([a-z ]+)\n(.*?)(?=\n\.It |\n\.El)",
                read(os.path.join(TOP, "man/flexmusicd.8")), re.S))
        checked = 0
        for path in sources("master", endings=(".c",)):
            for call in re.findall(r"\blog_(?:peer_)?event\(.*?\);",
                                   read(path), re.S):
                call = re.sub(r"\bPRI\w+", '""', call)
                call = re.sub(r'(?<!\\)"\s+"', "", call)
                texts = re.findall(r'"((?:\\.|[^"\\])*)"', call)
                fields = {field for text in texts for field in
                          re.findall(r"(?:^| )([a-z_]+)=", text)}
                if call.startswith("log_peer_event"):
                    fields.add("peer")
                for event in set(texts) & set(entries):
                    level, entry = entries[event]
                    with self.subTest(file=name(path), event=event):
                        for named in re.findall(r"\bLOG_([A-Z]+)\b", call):
                            if not event.startswith("config-"):
                                self.assertIn(levels[named], level)
                        for field in fields:
                            self.assertRegex(entry, r"\b%s\b" % field)
                    checked += 1
        self.assertGreater(checked, 40)

    def test_security_tables_are_those_of_the_source(self):
        """docs/SECURITY.md section 3 is what `make docs' would write."""
        text = read(facts.DOCUMENT)
        wanted = facts.rewritten(text)
        self.assertEqual(text.splitlines(), wanted.splitlines(),
                         "run `make docs'")

    def test_every_error_token_is_documented(self):
        """docs/FMLTP.md names each reason that the log can show."""
        tokens = re.findall(r'X\(FMLTP_\w+,\s*"([a-z-]+)"',
                            read(os.path.join(TOP, "fmltp/error.h")))
        self.assertGreater(len(tokens), 30)
        text = read(os.path.join(TOP, "docs/FMLTP.md")) + \
            read(os.path.join(TOP, "man/flexmusicd.8"))
        for token in tokens:
            if token not in ("ok", "incomplete"):
                with self.subTest(token=token):
                    self.assertIn(token, text)

    def test_options_are_in_the_manual(self):
        """The options that getopt knows are those of the page."""
        known = re.search(r'getopt\(argc, argv, "([^"]+)"\)',
                          read(os.path.join(TOP, "master/master.c")))
        page = read(os.path.join(TOP, "man/flexmusicd.8"))
        for option in known.group(1).replace(":", ""):
            with self.subTest(option=option):
                self.assertRegex(page, r"\n\.It Fl %s\b" % option)

    def test_options_of_the_client_are_in_the_manual(self):
        """So are the client's, and its exit statuses."""
        page = read(os.path.join(TOP, "man/flexmusic.1"))
        usage = re.search(r"usage: flexmusic .*?;",
                          read(os.path.join(TOP, "client/main.c")),
                          re.S).group(0)
        options = re.findall(r"\[-(-[a-z-]+|[a-z])\b", usage) + list("46Vv")
        self.assertGreater(len(options), 6)
        for option in options:
            with self.subTest(option=option):
                self.assertRegex(page, r"\n\.It Fl %s\b" % option)
        statuses = re.findall(r"\tCLIENT_\w+ = (\d+)",
                              read(os.path.join(TOP, "client/failure.h")))
        self.assertGreater(len(statuses), 7)
        for status in statuses:
            with self.subTest(status=status):
                self.assertRegex(page, r"\n\.It %s\n" % status)

    def test_commands_of_flexmusicctl_are_in_the_manual(self):
        """Each command and option is in flexmusicctl(8), and no other."""
        page = read(os.path.join(TOP, "man/flexmusicctl.8"))
        source = read(os.path.join(TOP, "ctl/main.c"))
        commands = [
            " ".join(word for word in found if word) for found in re.findall(
                r'\n\t\{ "(\w+)", (?:"(\w+)"|NULL), (?:"[\w|]+"|NULL),\s',
                source)]
        self.assertGreater(len(commands), 4)
        self.assertEqual(re.findall(r"\n\.It Cm ([a-z]+(?: [a-z]+)?)", page),
                         commands)
        options = re.findall(r'\{ "([a-z-]+)", \w+_argument, NULL', source)
        self.assertGreater(len(options), 3)
        self.assertEqual(re.findall(r"\n\.It Fl -([a-z-]+)", page), options)

    def test_files_named_in_documents_exist(self):
        """Paths of the tree in the documents are right."""
        for path in sources("docs", endings=(".md",)) + [
                os.path.join(TOP, "README.md")]:
            for mention in re.findall(
                    r"`((?:%s|tests|bench|etc|man|docs)/[\w./-]+\.\w+)`" %
                    "|".join(ROOMS), read(path)):
                with self.subTest(document=name(path), file=mention):
                    self.assertTrue(os.path.exists(os.path.join(TOP,
                                                                mention)))


@unittest.skipIf(os.environ.get("FLEXMUSIC_SANITIZE"),
                 "a build with sanitizers is not installed")
class Install(unittest.TestCase):
    """make install and make uninstall, from a copy of the build."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        cls.addClassCleanup(cls.directory.cleanup)
        os.chmod(cls.directory.name, 0o755)
        cls.prefix = os.path.join(cls.directory.name, "prefix")
        cls.etc = os.path.join(cls.directory.name, "etc")
        cls.build = os.path.join(cls.directory.name, "build")
        shutil.copytree(
            os.environ.get("BUILD") or os.path.join(TOP, "build"), cls.build,
            ignore=shutil.ignore_patterns("tests", "fuzz", "bench", "dynamic",
                                          "sanitize", "run", "*.d"))
        cls.make("install")

    @classmethod
    def make(cls, target):
        """A target of the Makefile, for the place of this test."""
        env = {key: value for key, value in os.environ.items()
               if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            ["make", "-C", TOP, "B=" + cls.build, "PREFIX=" + cls.prefix,
             "SYSCONFDIR=" + cls.etc, target], env=env, check=False,
            capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)

    def test_programs_find_each_other(self):
        """Built for another PREFIX before, they are built for this one."""
        config = os.path.join(self.etc, "flexmusic", "flexmusicd.conf")
        with open(config, "a") as f:
            f.write("worker_user = 64131\nkeys_user = 64132\n"
                    "auth_user = 64133\nauth_method = none\n"
                    "state_dir = %s/state\nchroot_dir = %s/empty\n" %
                    (self.directory.name, self.directory.name))
        daemon = os.path.join(self.prefix, "sbin", "flexmusicd")
        done = subprocess.run([daemon, "-n"], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("%s/state" % self.directory.name, done.stdout)

    def test_pages_and_unit_name_the_places(self):
        """What is installed says where."""
        page = read(os.path.join(self.prefix, "share/man/man8/flexmusicd.8"))
        self.assertIn(self.prefix + "/libexec/flexmusicd-worker", page)
        self.assertIn(self.etc + "/flexmusic/flexmusicd.conf", page)
        unit = read(os.path.join(self.prefix,
                                 "lib/systemd/system/flexmusicd.service"))
        self.assertIn("\nExecStart=%s/sbin/flexmusicd -F -f "
                      "%s/flexmusic/flexmusicd.conf\n" %
                      (self.prefix, self.etc), unit)

    def test_links_of_the_documents_lead_somewhere(self):
        """Also where the documents are installed."""
        top = os.path.join(self.prefix, "share/doc/flexmusicd")
        links = 0
        for path in glob.glob(top + "/**/*.md", recursive=True):
            for link in re.findall(r"\]\(([^)#:]+)\)", read(path)):
                links += 1
                with self.subTest(document=path, link=link):
                    self.assertTrue(os.path.exists(
                        os.path.join(os.path.dirname(path), link)))
        self.assertGreater(links, 5)

    def test_uninstall_leaves_the_configuration(self):
        """... and nothing else; a second install keeps it."""
        config = os.path.join(self.etc, "flexmusic", "flexmusicd.conf")
        with open(config, "a") as f:
            f.write("# mine\n")
        self.make("uninstall")
        left = [os.path.join(folder, file)
                for root in (self.prefix, self.etc)
                for folder, _, files in os.walk(root) for file in files]
        self.assertEqual(
            left, [config, os.path.join(self.etc, "pam.d", "flexmusic")])
        self.make("install")
        self.assertTrue(read(config).endswith("# mine\n"))


if __name__ == "__main__":
    runner.main()
