#!/usr/bin/python3
"""Runs the fuzzers of a build, and counts the lines that they reach.

run.py [--seconds N] fuzz NAME ...    runs each for N seconds
run.py coverage NAME ...              over the kept corpus, once
run.py corpus NAME ...                makes the kept corpus anew

What a fuzzer is for is in its first comment: a line `Covers: FILE` or
`Covers: FILE: FUNCTION ...` for each file.  Lines that no input can reach, for
want of memory for example, are in unreached.txt, each with its reason.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(HERE, "corpus")

LEAST = 95  # percent of lines
LENGTH = "-max_len=16384"

sys.path.insert(0, HERE)
import seeds  # noqa: E402


class Wrong(Exception):
    """What ends this program, as a sentence."""


def covers(name):
    """What a fuzzer is for: path to functions, an empty list for all."""
    with open(os.path.join(HERE, "fuzz_%s.c" % name)) as f:
        comment = f.read().split("*/")[0]
    found = {}
    for path, functions in re.findall(
            r"^ \* Covers: ([\w/]+\.c)(?:: ([\w ]+))?$", comment, re.M):
        found.setdefault(path, []).extend(functions.split())
    if not found:
        raise Wrong("fuzz_%s.c does not say what it covers" % name)
    return found


def unreached():
    """Path to the texts of lines that do not count."""
    lines = {}
    with open(os.path.join(HERE, "unreached.txt")) as f:
        for row in f:
            if row.strip() and not row.startswith("#"):
                path, text, _ = [part.strip() for part in row.split(" | ")]
                lines.setdefault(path, []).append(text)
    return lines


def run(command, log=None, **how):
    """Runs a program; raises with its output where it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **how)
    text = done.stdout.decode("utf-8", "replace")
    if log is not None:
        with open(log, "w") as f:
            f.write(text)
    if done.returncode != 0:
        raise Wrong("%s\n%s: status %d" % (text[-20000:], command[0],
                                           done.returncode))
    return text


# -- running --------------------------------------------------------------


def fuzz(build, name, seconds):
    """Runs one for some seconds; the number of its runs."""
    corpus = os.path.join(build, "fuzz", "corpus", name)
    os.makedirs(corpus, exist_ok=True)
    for path in glob.glob(os.path.join(KEPT, name, "*")):
        shutil.copy(path, corpus)
    for number, data in enumerate(seeds.of(name)):
        with open(os.path.join(corpus, "seed-%03d" % number), "wb") as f:
            f.write(data)
    command = [os.path.join(build, "fuzz", name), LENGTH, "-timeout=10",
               "-max_total_time=%d" % seconds, "-print_final_stats=1",
               "-artifact_prefix=%s-" % os.path.join(build, "fuzz",
                                                     "failed-" + name)]
    words = os.path.join(HERE, "%s.dict" % name)
    if os.path.exists(words):
        command.append("-dict=" + words)
    text = run(command + [corpus], os.path.join(build, "fuzz", name + ".log"))
    return int(re.search(r"number_of_executed_units: *(\d+)", text).group(1))


# -- lines ----------------------------------------------------------------


def export(program, profile, kind, paths):
    """What llvm-cov knows of these files."""
    return run(["llvm-cov", "export", "-format=" + kind,
                "-instr-profile=" + profile, program, *paths])


def line_counts(text):
    """lcov's text: path to line to count."""
    counts = {}
    for line in text.splitlines():
        if line.startswith("SF:"):
            here = counts.setdefault(os.path.normpath(line[3:]), {})
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            here[int(number)] = max(int(count), here.get(int(number), 0))
    return counts


def function_lines(text):
    """llvm-cov's JSON: (path, function) to its first and last line."""
    found = {}
    for function in json.loads(text)["data"][0]["functions"]:
        name = function["name"].rpartition(":")[2]
        path = os.path.normpath(function["filenames"][0])
        body = function["regions"][0]
        found[path, name] = body[0], body[2]
    return found


def wanted_lines(path, functions, bodies, counts):
    """The lines of a file that count."""
    if not functions:
        return set(counts)
    lines = set()
    for function in functions:
        if (path, function) not in bodies:
            raise Wrong("%s has no function %s" % (path, function))
        first, last = bodies[path, function]
        lines.update(n for n in counts if first <= n <= last)
    return lines


def coverage(build, name, corpora):
    """Runs one over folders, once: lines reached, lines, and a text that
    names those that were not."""
    program = os.path.join(build, "lines", name)
    wanted = covers(name)
    left_out = unreached()
    with tempfile.TemporaryDirectory() as folder:
        raw = os.path.join(folder, "raw")
        profile = os.path.join(folder, "profile")
        run([program, LENGTH, "-runs=0", "-timeout=10", *corpora],
            env=dict(os.environ, LLVM_PROFILE_FILE=raw))
        run(["llvm-profdata", "merge", "-sparse", raw, "-o", profile])
        paths = [os.path.join(TOP, path) for path in wanted]
        counts = line_counts(export(program, profile, "lcov", []))
        bodies = function_lines(export(program, profile, "text", []))
    reached = total = 0
    missed = []
    for path, functions in zip(paths, wanted.values()):
        short = os.path.relpath(path, TOP)
        if path not in counts:
            raise Wrong("fuzz_%s.c has no line of %s" % (name, short))
        with open(path) as f:
            text = f.read().splitlines()
        for n in sorted(wanted_lines(path, functions, bodies, counts[path])):
            if text[n - 1].strip() in left_out.get(short, ()):
                continue
            total += 1
            if counts[path][n] > 0:
                reached += 1
            else:
                missed.append("%s:%d: %s" % (short, n, text[n - 1].strip()))
    return reached, total, missed


def check_unreached():
    """Each line that is left out is there."""
    for path, lines in unreached().items():
        with open(os.path.join(TOP, path)) as f:
            there = {line.strip() for line in f}
        for line in lines:
            if line not in there:
                raise Wrong("unreached.txt: %s has no line: %s" % (path, line))


# -- the kept corpus ------------------------------------------------------


def keep(build, name):
    """Makes the kept corpus of one anew: what is needed of it, of the seeds
    and of what was found."""
    found = os.path.join(build, "fuzz", "corpus", name)
    new = os.path.join(build, "fuzz", "corpus", name + ".new")
    old = os.path.join(KEPT, name)
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    os.makedirs(old, exist_ok=True)
    run([os.path.join(build, "fuzz", name), LENGTH, "-merge=1", new, old] +
        ([found] if os.path.isdir(found) else []))
    shutil.rmtree(old)
    shutil.copytree(new, old)
    shutil.rmtree(new)
    files = glob.glob(os.path.join(old, "*"))
    return len(files), sum(os.path.getsize(path) for path in files)


# -- commands -------------------------------------------------------------


def each(names, jobs, work):
    """work(name) for each, some at a time, in the order of the names."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [(name, pool.submit(work, name)) for name in names]
        for name, future in running:
            try:
                yield name, future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def say(text):
    """A line, at once."""
    print(text)
    sys.stdout.flush()


def share(reached, total):
    """Percent, never rounded up."""
    return 1000 * reached // total / 10


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--missed", action="store_true",
                        help="name the lines that were not reached")
    parser.add_argument("command", choices=("fuzz", "coverage", "corpus"))
    parser.add_argument("names", nargs="+")
    o = parser.parse_args()

    def fuzz_one(name):
        runs = fuzz(o.build, name, o.seconds)
        return runs, coverage(o.build, name, [
            os.path.join(o.build, "fuzz", "corpus", name)])

    try:
        check_unreached()
        if o.command == "fuzz":
            for name, (runs, (reached, total, missed)) in each(
                    o.names, o.jobs, fuzz_one):
                say("  FUZZ %-16s %8d runs, %5.1f%% of %d lines" % (
                    name, runs, share(reached, total), total))
                if o.missed:
                    say("\n".join(missed))
        elif o.command == "corpus":
            for name, (count, size) in each(
                    o.names, o.jobs, lambda name: keep(o.build, name)):
                say("  KEPT %-16s %4d files, %7d bytes" % (name, count, size))
        else:
            bad = 0
            for name, (reached, total, missed) in each(
                    o.names, o.jobs, lambda name: coverage(
                        o.build, name, [os.path.join(KEPT, name)])):
                say("  LINES %-16s %5.1f%% of %d" % (
                    name, share(reached, total), total))
                low = share(reached, total) < LEAST
                bad += low
                if low or o.missed:
                    say("\n".join(missed))
            if bad:
                raise Wrong("%d of them reach less than %d%%" % (bad, LEAST))
    except Wrong as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
