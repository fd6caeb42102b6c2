#!/usr/bin/python3
"""The programs as they are built: what the linker and the compiler were asked
for is there."""

import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import runner  # noqa: E402

PROGRAMS = ("flexmusicd", "flexmusicd-worker", "flexmusicd-pam",
            "flexmusicctl", "flexmusic")
# static-pie, but with STATIC=no
STATIC = () if os.path.basename(harness.BUILD) == "dynamic" else (
    "flexmusicd-worker",)
PAGE = 4096
COMPILER = (os.environ.get("CC") or "cc").split()


def readelf(program, *options):
    """What readelf(1) says of it."""
    return subprocess.run(
        ["readelf", "--wide", *options,
         os.path.join(harness.BUILD, program)], capture_output=True,
        text=True, check=True).stdout


def disassembly(program, *options):
    """What objdump(1) makes of its code."""
    return subprocess.run(
        ["objdump", "-d", *options, os.path.join(harness.BUILD, program)],
        capture_output=True, text=True, check=True).stdout


class Segment:
    """A row of the program headers."""

    def __init__(self, row):
        self.kind = row[0]
        self.address = int(row[2], 16)
        self.size = int(row[5], 16)
        self.flags = "".join(row[6:-1])


def segments(program):
    """Its program headers."""
    rows = re.findall(r"^  ([A-Z_]+) +(0x.*)$", readelf(program, "-l"), re.M)
    return [Segment([kind] + row.split()) for kind, row in rows]


def compiler_has(option):
    """True if the compiler does what the option says, as the Makefile asks."""
    return subprocess.run(
        [*COMPILER, "-x", "c", "-Werror", option, "-fsyntax-only", "-"],
        input="int main(void) { return 0; }\n", text=True,
        capture_output=True, check=False).returncode == 0


@unittest.skipIf(harness.SANITIZED, "sanitizers bring flags of their own")
class Binaries(unittest.TestCase):
    """Each of the five."""

    def each(self, judge):
        """Judges one program after the other."""
        for program in PROGRAMS:
            with self.subTest(program=program):
                judge(program)

    def test_position_independent(self):
        """PIE: the layout is another in each process that is executed."""
        def judge(program):
            self.assertIn("DYN (Position-Independent Executable",
                          readelf(program, "-h"))
            self.assertRegex(readelf(program, "-d"), r"\(FLAGS_1\).*\bPIE\b")
            self.assertEqual("INTERP" in {s.kind for s in segments(program)},
                             program not in STATIC)
        self.each(judge)

    def test_the_worker_has_no_library(self):
        """Static: nothing is loaded at its start."""
        def judge(program):
            self.assertEqual("(NEEDED)" in readelf(program, "-d"),
                             program not in STATIC)
        self.each(judge)

    def test_relocations_are_read_only(self):
        """Full RELRO: all is bound at the start, and then sealed."""
        def judge(program):
            dynamic = readelf(program, "-d")
            self.assertRegex(dynamic, r"\(FLAGS_1\).*\bNOW\b")
            found = segments(program)
            relro = [s for s in found if s.kind == "GNU_RELRO"]
            self.assertEqual(len(relro), 1)
            # The table of addresses is in it, whole.
            table = re.findall(
                r"\] \.(got|got\.plt|data\.rel\.ro|init_array) +\S+ +"
                r"([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+)", readelf(program, "-S"))
            self.assertIn("got", {row[0] for row in table})
            for name, address, size in table:
                begin = int(address, 16)
                self.assertGreaterEqual(begin, relro[0].address, name)
                self.assertLessEqual(begin + int(size, 16),
                                     relro[0].address + relro[0].size, name)
        self.each(judge)

    def test_segments(self):
        """None can be written to and executed; code is apart from data."""
        def judge(program):
            found = segments(program)
            loaded = [s for s in found if s.kind == "LOAD"]
            self.assertEqual({s.flags for s in loaded}, {"R", "RE", "RW"})
            stack = [s for s in found if s.kind == "GNU_STACK"]
            self.assertEqual([s.flags for s in stack], ["RW"])
            # -z separate-code: no page has both.
            code = [s for s in loaded if s.flags == "RE"]
            self.assertEqual([s.address % PAGE for s in code], [0])
        self.each(judge)

    def test_no_paths_and_no_text_relocations(self):
        """Libraries come from where the system has them."""
        def judge(program):
            dynamic = readelf(program, "-d")
            for word in ("RPATH", "RUNPATH", "TEXTREL"):
                self.assertNotIn(word, dynamic)
        self.each(judge)

    def test_stack_canary(self):
        """Functions with buffers check theirs."""
        def judge(program):
            self.assertRegex(readelf(program, "--syms"),
                             r" __stack_chk_fail\b")
            code = disassembly(program, "--no-show-raw-insn")
            self.assertGreater(len(re.findall(
                r"(?:call|jmp) .*<__stack_chk_fail", code)), 10)
        self.each(judge)

    def test_fortified(self):
        """The C library's calls know the sizes of their buffers."""
        def judge(program):
            checked = set(re.findall(r" (__(?!stack_)\w+_chk)\b",
                                     readelf(program, "--syms")))
            self.assertLessEqual({"__explicit_bzero_chk"}, checked)
            self.assertTrue(checked & {"__memcpy_chk", "__snprintf_chk"})
        self.each(judge)

    def test_branches(self):
        """Where the compiler can: indirect branches land on endbr64."""
        if os.uname().machine != "x86_64" or not compiler_has(
                "-fcf-protection"):
            self.skipTest("the compiler has no -fcf-protection here")
        # The linker says so of a program if all that is in it has it, and
        # what the C library begins a program with does not everywhere.
        first = subprocess.run([*COMPILER, "-print-file-name=Scrt1.o"],
                               capture_output=True, text=True, check=True)
        noted = "IBT" in readelf(first.stdout.strip(), "-n")

        def judge(program):
            main = int(re.search(r": ([0-9a-f]+) +\d+ FUNC .* main$",
                                 readelf(program, "--syms"), re.M).group(1),
                       16)
            code = disassembly(program, "--start-address=%d" % main,
                               "--stop-address=%d" % (main + 4))
            self.assertIn("endbr64", code)
            if noted and program not in STATIC:
                self.assertRegex(readelf(program, "-n"), r"\bIBT, SHSTK\b")
        self.each(judge)


if __name__ == "__main__":
    runner.main()
