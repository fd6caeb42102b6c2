#!/usr/bin/python3
"""Runs all tests: unit test programs and the suites of tests/process.

    tests/run.py [--only PATTERN] [--unit PROGRAM ...] [--suite FILE ...]

Without --suite every tests/process/test_*.py is run; with --unit and no
--suite these come behind the programs.  One line a suite; what failed is
shown in full, what was left out with its reason.  The last line is
`N passed, N failed`, with `, N skipped` where something was; the exit status
is 0 only if something ran and nothing failed.

Environment: BUILD is the build directory (build); FLEXMUSIC_SANITIZE, not
empty, says that it was built with sanitizers: fewer repetitions, and time
limits five times as long.
"""

import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(TESTS)
PYTHON = "/usr/bin/python3"
HANG = 600  # seconds after which a suite is given up
JOBS = min(3, 2 * (os.cpu_count() or 1))  # suites at a time: most wait
# These have the machine for themselves: they compare times, or build.
ALONE = ("test_flood", "test_limits", "test_tree")


class Outcome:
    """How a suite went."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.reasons = []
        self.seconds = 0.0
        self.output = ""

    @property
    def ran(self):
        """True if there was anything in it."""
        return self.passed + self.failed + self.skipped > 0


def environment():
    """What the suites see."""
    env = dict(os.environ)
    env["BUILD"] = os.path.abspath(env.get("BUILD") or
                                   os.path.join(TOP, "build"))
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if env.get("FLEXMUSIC_SANITIZE"):
        env.setdefault("FLEXMUSIC_TIME_SCALE", "5")
    env.setdefault("FLEXMUSIC_TIME_SCALE", "1")
    return env


def run(command, env):
    """Runs a suite to its end: exit status (None where it hung), output,
    seconds."""
    begun = time.monotonic()
    limit = HANG * float(env["FLEXMUSIC_TIME_SCALE"])
    process = subprocess.Popen(
        command, env=env, cwd=TOP, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += "\ngiven up after %d s\n" % limit
        status = None
    return status, output, time.monotonic() - begun


def status_text(status):
    """An exit status in words."""
    if status is None:
        return "hung"
    if status < 0:
        return "died by signal %d (%s)" % (-status,
                                           signal.Signals(-status).name)
    return "ended with status %d" % status


def run_unit(program, env):
    """A cmocka program, read in its TAP form."""
    outcome = Outcome(os.path.basename(program))
    status, text, outcome.seconds = run(
        [os.path.abspath(program)], dict(env, CMOCKA_MESSAGE_OUTPUT="TAP"))
    said = ""
    for line in text.splitlines():
        m = re.match(r"(not )?ok\b", line)
        if m is None:
            if not line.startswith("#"):
                said = re.sub(r"^skipped: ", "", line)
            continue
        skip = re.search(r"#\s*skip\S*\s*(.*)", line, re.IGNORECASE)
        if skip:
            outcome.skipped += 1
            outcome.reasons.append("%s: %s" % (
                skip.group(1), said or "no reason given"))
        elif m.group(1):
            outcome.failed += 1
        else:
            outcome.passed += 1
        said = ""
    planned = sum(int(n) for n in re.findall(r"(?m)^1\.\.(\d+)$", text))
    done = outcome.passed + outcome.failed + outcome.skipped
    if status != 0 and outcome.failed == 0:
        outcome.failed += 1
        text += "\n%s %s\n" % (outcome.name, status_text(status))
    elif planned > done or not done:
        outcome.failed += 1
        text += "\n%s planned %d tests and ran %d\n" % (outcome.name,
                                                       planned, done)
    if outcome.failed:
        outcome.output = text
    return outcome


def run_suite(path, only, env):
    """A suite in Python; its last line has the counts."""
    name = os.path.splitext(os.path.basename(path))[0]
    outcome = Outcome(name)
    command = [PYTHON, path]
    if only and only not in name:
        command += ["--only", only]
    status, text, outcome.seconds = run(command, env)
    lines = text.strip().splitlines()
    last = lines[-1] if lines else ""
    m = (re.fullmatch(r"RESULT passed=(\d+) failed=(\d+) skipped=(\d+) .*",
                      last) or
         re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?",
                      last))
    if m:
        outcome.passed = int(m.group(1))
        outcome.failed = int(m.group(2))
        outcome.skipped = int(m.group(3) or 0)
    for line in lines:
        skip = re.match(r"SKIPPED (\d+): (.*)", line)
        if skip:
            outcome.reasons += int(skip.group(1)) * [skip.group(2)]
    nothing = m and not outcome.ran
    if m is None or (status != 0 and not outcome.failed and
                     not (nothing and only)):
        outcome.failed += 1
        text += "\n%s %s\n" % (name, status_text(status))
    if outcome.failed:
        outcome.output = text
    return outcome


def report(outcome):
    """A suite's line, and what there is to say."""
    print("%-24s %5d passed %3d failed %3d skipped %7.1f s" % (
        outcome.name, outcome.passed, outcome.failed, outcome.skipped,
        outcome.seconds))
    for reason in sorted(set(outcome.reasons)):
        print("    skipped %d: %s" % (outcome.reasons.count(reason), reason))
    if outcome.output:
        print("    " + outcome.output.strip().replace("\n", "\n    "))
    sys.stdout.flush()


def run_all(tasks, jobs):
    """Runs (name, function, arguments...) and reports in order; those that
    have to be alone come last."""
    outcomes = []
    together = [t for t in tasks if t[0] not in ALONE]
    for some, count in ((together, jobs),
                        ([t for t in tasks if t[0] in ALONE], 1)):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            for outcome in pool.map(lambda t: t[1](*t[2:]), some):
                if outcome.ran:
                    outcomes.append(outcome)
                    report(outcome)
    return outcomes


def main():
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="suites, or tests SUITE.CLASS.NAME, whose name "
                        "holds it")
    parser.add_argument("--unit", nargs="*", action="extend", default=[],
                        metavar="PROGRAM", help="a cmocka program")
    parser.add_argument("--suite", nargs="*", action="extend", default=None,
                        metavar="FILE", help="a suite in Python")
    parser.add_argument("--jobs", type=int, default=JOBS, metavar="N",
                        help="suites at a time (%d)" % JOBS)
    options = parser.parse_args()
    suites = options.suite
    if suites is None:
        suites = sorted(glob.glob(os.path.join(TESTS, "process",
                                               "test_*.py")))
    env = environment()
    outcomes = run_all(
        [(os.path.basename(program), run_unit, program, env)
         for program in options.unit
         if options.only in os.path.basename(program)] +
        [(os.path.splitext(os.path.basename(path))[0], run_suite, path,
          options.only, env) for path in suites], max(1, options.jobs))
    passed = sum(o.passed for o in outcomes)
    failed = sum(o.failed for o in outcomes)
    skipped = sum(o.skipped for o in outcomes)
    print("%d passed, %d failed%s" % (
        passed, failed, ", %d skipped" % skipped if skipped else ""))
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
