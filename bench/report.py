"""The table that `make bench` prints, and how each part of it is run: figure,
limit, ratio, and whether a requirement is met.
"""

import argparse
import os
import platform
import signal
import sys

from measure import ROOT, TOP, Broken, Unable


def us(value):
    """A time, as the table has it."""
    return "%.0f us" % value


class Report:
    """The table, and whether all requirements were met."""

    def __init__(self, limit="limit"):
        self.met = True
        self.line("%-46s %11s %11s %7s" % ("", "figure", limit, "ratio"))

    @staticmethod
    def line(text=""):
        """A line, as it is."""
        print(text.rstrip(), flush=True)

    def row(self, what, figure="", limit="", ratio="", judged=""):
        """A line of the table."""
        self.line("%-46s %11s %11s %7s  %s" % (what, figure, limit, ratio,
                                               judged))

    def judge(self, what, figure, limit, ratio, rule, bound, goal=None):
        """A line with a requirement: "at most" or "at least" the bound."""
        ok = ratio <= bound if rule == "at most" else ratio >= bound
        judged = "%s %g: %s" % (rule, bound, "met" if ok else "NOT MET")
        if goal is not None:
            judged += "; goal %g: %s" % (
                goal, "met" if ratio <= goal else "not yet")
        self.met = self.met and ok
        self.row(what, figure, limit, "%.2f" % ratio, judged)

    def broken(self, what, why):
        """A line of what does not work."""
        self.met = False
        self.row(what, judged="NOT MET: %s" % why)

    def skipped(self, what, why):
        """A line of what is left out."""
        self.row(what, judged="left out: %s" % why)


def machine():
    """Where all this is measured, and as whom."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return "%s, %d processors, Linux %s; %s" % (
        model, os.cpu_count(), platform.release(),
        "as root" if ROOT else "as an ordinary user (one user for all "
        "processes, no chroot)")


def stop(number, frame):
    """A signal ends the run as an exception does: with nothing left."""
    sys.exit(128 + number)


def main(description, quick, bench):
    """Arguments in, exit status out; `bench` takes the build directory and
    whether the run is quick, and returns whether all requirements are met."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default=os.path.join(TOP, "build"),
                        help="the build directory, bench/ and dynamic/ in it")
    parser.add_argument("--quick", action="store_true", help=quick)
    args = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        return 0 if bench(os.path.abspath(args.build), args.quick) else 1
    except (Broken, Unable, OSError) as e:
        print("bench: %s" % e, file=sys.stderr)
        return 2
