#!/usr/bin/python3
"""Which lines of the programs the tests run: `make coverage`.

    tests/coverage.py --unit PROGRAM ... [--suite FILE ...]

Runs the unit tests and the suites of tests/process (without --suite: all of
them but those of OTHERS) with the build of BUILD, in which every process
leaves its counters in raw/, and prints each directory's share of lines that
were run.  The exit status is 1 where a share is below its LEAST.  Whether tests
pass is for `make check` to say: here a process has a descriptor more, of its
counters, and all are slower.
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys

TESTS = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(TESTS)
BUILD = os.path.abspath(os.environ.get("BUILD") or
                        os.path.join(TOP, "build", "coverage"))
RAW = os.path.join(BUILD, "raw")
PROFILE = os.path.join(BUILD, "coverage.profdata")
PROGRAMS = ("flexmusicd", "flexmusicd-worker", "flexmusicd-pam", "flexmusic",
            "flexmusicctl")
# These look at the tree, or compare times.
OTHERS = ("test_tree", "test_flood", "test_limits")
# Per cent of lines; None: printed alone.
LEAST = {"fmltp": 90, "privsep": 90, "keys": 90, "paramgen": 90, "worker": 90,
         "auth": 90, "pam": None, "master": 85, "ctl": None, "client": None}


def merge():
    """Adds what lies in raw/ to the profile."""
    files = glob.glob(os.path.join(RAW, "*.profraw"))
    if os.path.exists(PROFILE):
        files.append(PROFILE)
    if not files:
        raise SystemExit("no process has left its counters in %s" % RAW)
    names = os.path.join(BUILD, "raw.txt")
    with open(names, "w") as f:
        f.write("\n".join(files) + "\n")
    # Of a process that was killed before its file was whole, nothing counts.
    subprocess.run(["llvm-profdata", "merge", "-sparse", "-failure-mode=all",
                    "-input-files=" + names, "-o", PROFILE + ".new"],
                   check=True, stderr=subprocess.DEVNULL)
    os.replace(PROFILE + ".new", PROFILE)
    for name in files:
        if name != PROFILE:
            os.unlink(name)


def shares():
    """Directory to (lines, lines that were run)."""
    command = ["llvm-cov", "export", "-summary-only",
               "-instr-profile=" + PROFILE,
               os.path.join(BUILD, PROGRAMS[0])]
    for name in PROGRAMS[1:]:
        command += ["-object", os.path.join(BUILD, name)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found = {}
    for row in json.loads(done.stdout)["data"][0]["files"]:
        room = os.path.relpath(row["filename"], TOP).split("/")[0]
        lines, run = found.get(room, (0, 0))
        found[room] = (lines + row["summary"]["lines"]["count"],
                       run + row["summary"]["lines"]["covered"])
    return found


def main():
    """Runs, adds up, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--unit", nargs="*", default=[])
    parser.add_argument("--suite", nargs="*", action="extend", default=None)
    options = parser.parse_args()
    suites = options.suite or [
        path for path in sorted(glob.glob(os.path.join(
            TESTS, "process", "test_*.py")))
        if os.path.basename(path)[:-3] not in OTHERS]
    shutil.rmtree(RAW, ignore_errors=True)
    os.mkdir(RAW)
    os.chmod(RAW, 0o1777)  # processes of any user
    if os.path.exists(PROFILE):
        os.unlink(PROFILE)
    runner = [sys.executable, os.path.join(TESTS, "run.py")]
    # What leaves most files comes by itself.
    many = [path for path in suites if path.endswith("test_faults.py")]
    for what in (["--unit"] + options.unit + ["--suite"] +
                 [path for path in suites if path not in many],
                 ["--suite"] + many):
        subprocess.run(runner + what, check=False)
        merge()
    found, bad = shares(), 0
    print("%-12s %7s %7s %8s %7s" % ("directory", "lines", "run", "share",
                                     "least"))
    for room, least in LEAST.items():
        lines, run = found[room]
        share = 100 * run / lines
        low = least is not None and share < least
        bad += low
        print("%-12s %7d %7d %7.1f%% %7s%s" % (
            room + "/", lines, run, share,
            "" if least is None else "%d%%" % least, " too low" * low))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
