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
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import runner  # noqa: E402

ROOMS = ("master", "worker", "keys", "paramgen", "privsep", "fmltp", "client")
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


class Documents(unittest.TestCase):
    """Pages and documents against the source."""

    def test_manual_pages_are_clean(self):
        """mandoc -T lint has nothing to say."""
        if shutil.which("mandoc") is None:
            self.skipTest("mandoc is not installed")
        pages = sources("man", endings=(".1", ".5", ".8"))
        self.assertEqual(len(pages), 3)
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


if __name__ == "__main__":
    runner.main()
