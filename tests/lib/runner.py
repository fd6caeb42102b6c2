"""Runs one suite: a line a failure, and a last line for tests/run.py."""

import argparse
import os
import signal
import sys
import time
import unittest


class Result(unittest.TestResult):
    """Counts, and remembers what there is to say."""

    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.passed = 0
        self.bad = []  # (name, text)
        self.left_out = {}  # reason to how many
        self.begun = time.monotonic()
        self.broken = set()  # tests with a failed part

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()

    def say(self, word, test):
        """A line a test, where wanted."""
        if self.verbose:
            print("%-7s %6.2f s  %s" % (word, time.monotonic() - self.begun,
                                        name_of(test)), flush=True)

    def addSuccess(self, test):
        if test.id() not in self.broken:
            self.passed += 1
            self.say("passed", test)

    def addFailure(self, test, err):
        self.record(test, err)

    def addError(self, test, err):
        self.record(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.broken.add(test.id())
            self.record(subtest, err)

    def addUnexpectedSuccess(self, test):
        self.bad.append((name_of(test), "succeeded, which was not expected"))

    def record(self, test, err):
        """A failure in full, with what its servers had to say."""
        case = getattr(test, "test_case", test)
        text = self._exc_info_to_string(err, test)
        for server in getattr(case, "servers", ()):
            text += "the log's end:\n%s\n" % server.log.tail(15)
        self.bad.append((name_of(test), text))
        self.say("FAILED", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.left_out[reason] = self.left_out.get(reason, 0) + 1
        self.say("skipped", test)


def name_of(test):
    """Class and method, without the module's name."""
    return test.id().replace("__main__.", "")


def matching(suite, pattern):
    """The tests of a suite whose name holds the pattern."""
    chosen = unittest.TestSuite()
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            chosen.addTest(matching(item, pattern))
        elif pattern in suite_name() + "." + name_of(item):
            chosen.addTest(item)
    return chosen


def suite_name():
    """The suite's file, without folder and ending."""
    return os.path.splitext(os.path.basename(sys.argv[0]))[0]


def main():
    """For the end of each suite's file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help="run the tests whose SUITE.CLASS.NAME holds it")
    parser.add_argument("--verbose", "-v", action="store_true")
    options = parser.parse_args()
    # Who was started in the background has it ignored, and so had all that is
    # started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tests = unittest.defaultTestLoader.loadTestsFromModule(
        sys.modules["__main__"])
    result = Result(options.verbose)
    begun = time.monotonic()
    matching(tests, options.only).run(result)
    for name, text in result.bad:
        print("FAILED %s\n%s" % (name, text))
    for reason, count in sorted(result.left_out.items()):
        print("SKIPPED %d: %s" % (count, reason))
    print("RESULT passed=%d failed=%d skipped=%d seconds=%.1f" % (
        result.passed, len(result.bad), sum(result.left_out.values()),
        time.monotonic() - begun))
    sys.stdout.flush()
    sys.exit(1 if result.bad else 0)


def row_name(text):
    """A test's name out of a sentence."""
    return "".join(c if c.isalnum() else "_" for c in text)
