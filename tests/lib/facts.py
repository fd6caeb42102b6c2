"""What the source's own tables say of each role's sandbox, as the program
tests/tools/facts.c prints it; and the regions of docs/SECURITY.md that are
made of it."""

import json
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
PROGRAM = os.path.join(BUILD, "tests", "tools", "facts")
DOCUMENT = os.path.join(TOP, "docs", "SECURITY.md")
REGIONS = ("processes", "calls")


def ask(what):
    """What the program prints."""
    return subprocess.run([PROGRAM, what], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def load():
    """All of it: "roles" by name, "signals" that helpers ignore, and the
    mask of CAP_AUDIT_WRITE, "audit"."""
    return json.loads(ask("json"))


def rewritten(text):
    """The document with its regions as the tables have them."""
    for region in REGIONS:
        text, count = re.subn(
            r"(<!-- begin %s: [^\n]*-->\n).*?(<!-- end %s -->\n)" %
            (region, region),
            lambda m, region=region: m.group(1) + ask(region) + m.group(2),
            text, flags=re.S)
        if count != 1:
            raise AssertionError("%s has %d regions %s" % (DOCUMENT, count,
                                                           region))
    return text


def allowing(rows, call, arguments):
    """The rows that allow a call with these arguments."""
    def holds(check):
        index, operation, a, b = check
        value = arguments[index]
        return {"==": value == a, "<=": value <= a,
                "&": value & a == b}[operation]
    return [row for row in rows if row["call"] == call and
            all(holds(check) for check in row["checks"])]
