#!/usr/bin/python3
"""What new DH parameters cost: the second part of `make bench`.

A search is a matter of luck, its time spread like an exponential.  So the two
programs that search are compared by what luck has no part in: the time of a
candidate, and the number of candidates that theory expects for one prime,
which depends on how far each sieves.  Wall times stand beside it, not judged.
The rest is what a server's clients have of it: launches, rotations, how long
handshakes take meanwhile, and how long an exchange takes with key pairs made
ahead.

Exit status: 0, or 1 where a requirement is not met, or 2 where nothing can be
measured.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time

from measure import (BITS, Broken, Daemon, Unable, children, fields, harness,
                     idle_us, run, run_us)
from report import Report, machine, main, us

SIZES = (2048, 3072)
TURNS = 3
OURS_S, OPENSSL_S = 10, 15  # processor time for a size, of all turns
QUICK_S = 3
SHORTER_ONE, SHORTER_ALL = 5, 10

RUNS = 20  # of whole searches

LAUNCH_BITS = 4096
LAUNCH_PATIENCE_S = 1200
LAUNCH_MAX_S = 1

# The largest number there is: a search runs whatever the rotations left.
KEEP = 16
STEADY_TURNS = 6
STEADY_TRIES = 24  # turns at most, where some are disturbed
STEADY_SETS = 6  # ready at a turn's begin: more than it takes
STEADY_S = 5
STEADY_LOAD = 1 / 3  # of what the machine can do
STEADY_MIN = 1000  # handshakes of a turn
SIGNAL_S = 2  # between rotations, and longer where a turn is
P99_MAX = 1.5
SEARCHING_MIN = 0.9  # of the time
OTHERS_MAX = 0.05  # share of the processors in a turn

ROTATIONS = 10
ROTATION_MAX_MS = 500

EXCHANGE_MAX = 0.75


def seconds(value):
    """A longer time, as the table has it."""
    return "%.2f s" % value if value < 100 else "%.0f s" % value


# -- theory --------------------------------------------------------------


def primes_below(bound):
    """All primes below a bound."""
    sieve = bytearray([1]) * bound
    sieve[:2] = bytes(2)
    for i in range(2, math.isqrt(bound) + 1):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, bound, i)))
    return [i for i in range(bound) if sieve[i]]


class Theory:
    """What `openssl dhparam` is to expect of its candidates.

    Hardy and Littlewood: a number of the size of p is prime with probability
    1 / ln p; where its residue by a small prime r is known not to be 0, that
    grows by the factor 1 / (1 - 1/r).  p and q = (p-1)/2 are known not to be
    divisible by 2 and 3, as p = 23 mod 24, nor by the primes of OpenSSL's
    trial division, which rejects p = 0 and p = 1 modulo each.  By a larger r
    neither is divisible with probability 1 - 2/r; were they independent, it
    would be (1 - 1/r)^2.
    """

    FAR = 10 ** 6  # beyond it the rest of the product is 1 within 1e-7

    def __init__(self, bits):
        # Each version 3 tries so many of the first primes, 2 among them.
        tried = 384 if bits <= 2048 else 1024 if bits <= 4096 else 2048
        rows = primes_below(self.FAR)
        known = math.prod(1 / (1 - 1 / r) for r in rows[:tried])
        rest = math.prod((1 - 2 / r) / (1 - 1 / r) ** 2 for r in rows[tried:])
        # p is uniform between 2^(bits-1) and 2^bits.
        ln_p = bits * math.log(2) + math.log(0.75)
        self.p_prime = known / ln_p
        self.both_prime = known ** 2 * rest / (ln_p * (ln_p - math.log(2)))


# -- searches ------------------------------------------------------------


def children_cpu():
    """Processor seconds of the programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Openssl:
    """`openssl dhparam`: its candidates, counted by the marks it prints."""

    def __init__(self, bits):
        if not shutil.which("openssl"):
            raise Unable("openssl is not installed")
        m = re.match(r"OpenSSL 3\S+", run(["openssl", "version"]))
        if not m:
            raise Unable("how openssl searches is known of version 3 alone")
        self.version = m.group()
        self.bits = bits
        self.cpu = 0
        self.candidates = 0
        self.p_primes = 0
        self.stars = 0
        # The rounds of its last test of p and q; ours has the same ones.
        self.rounds = 64 if bits <= 2048 else 128
        p = harness.primes(bits)[0]
        before = children_cpu()
        run(["openssl", "prime", "-hex", "%X" % p, "%X" % (p // 2)])
        self.check = children_cpu() - before

    def measure(self, budget):
        """Has it search for so many seconds of processor time."""
        end = self.cpu + budget
        while self.cpu < end:
            self.search(end - self.cpu)

    def search(self, budget):
        """One search, ended when it has had so much."""
        before = children_cpu()
        with subprocess.Popen(
                ["openssl", "dhparam", "-noout", str(self.bits)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                preexec_fn=harness.become(None)) as search:
            # What it prints meanwhile fits the pipe.
            while search.poll() is None:
                if run_us(search.pid) >= budget * 1e6:
                    search.kill()
                    break
                time.sleep(0.02)
            marks = search.stderr.read().partition(b"\n")[2]
        if search.returncode not in (0, -signal.SIGKILL):
            raise Broken("openssl dhparam fails")
        self.cpu += children_cpu() - before
        # A dot for each candidate, a plus where p is found to be prime; then,
        # if q is prime too, a star for each round, with a plus each between.
        self.candidates += marks.count(b".")
        self.p_primes += len(re.findall(rb"\.\+", marks))
        self.stars += marks.count(b"*")

    @property
    def candidate(self):
        """The processor time of a candidate."""
        last = self.stars / self.rounds * self.check
        return (self.cpu - last) / self.candidates


class Ours:
    """Our own search: candidates, and the times of its parts."""

    WINDOW = 4  # safe primes expected of a window: paramgen/search.c

    def __init__(self, tools, bits, processes):
        self.command = [os.path.join(tools, "search"), str(bits)]
        self.processes = processes
        self.sums = {}
        self.expected = 0

    def measure(self, budget):
        """Has it search, so many processes at once."""
        command = self.command + ["%.0f" % budget]
        with contextlib.ExitStack() as stack:
            searches = [stack.enter_context(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                preexec_fn=harness.become(None)))
                        for _ in range(self.processes)]
            for search in searches:
                figures = json.loads(search.stdout.read())
                self.expected = figures["expected_tests"]
                for key, value in figures.items():
                    self.sums[key] = self.sums.get(key, 0) + value

    @property
    def candidate(self):
        """The processor time of a candidate."""
        return self.sums["test_s"] / self.sums["tests"]

    @property
    def sieves(self):
        """The time for sieving of each process of a search."""
        windows = 1 / (1 - math.exp(-self.WINDOW * self.processes))
        return windows * self.sums["sieve_s"] / self.sums["windows"]

    def search(self, check):
        """The expected time of a search, the test of its result included:
        the processes share the tests, and sieve each for itself."""
        return (self.candidate * self.expected / self.processes +
                self.sieves + check)


def report_search(report, tools, bits, quick):
    """Ours beside openssl dhparam, in turn, so that what else the machine
    does meets both."""
    try:
        theirs = Openssl(bits)
    except Unable as e:
        report.skipped("search for %d bits" % bits, e)
        return
    processors = len(os.sched_getaffinity(0))
    one, side_by_side = Ours(tools, bits, 1), Ours(tools, bits, processors)
    turns = 1 if quick else TURNS
    for _ in range(turns):
        one.measure(QUICK_S if quick else OURS_S / turns)
        theirs.measure(QUICK_S if quick else OPENSSL_S / turns)
        side_by_side.measure(QUICK_S if quick else OURS_S / turns)
    theory = Theory(bits)
    expected = 1 / theory.both_prime
    report.line("search for %d bits, beside %s dhparam" % (
        bits, theirs.version))
    report.row("  candidates tested in a CPU-second",
               "%.0f" % (1 / one.candidate), "%.0f" % (1 / theirs.candidate),
               "%.2f" % (theirs.candidate / one.candidate))
    report.row("  candidates expected for a prime", "%.0f" % one.expected,
               "%.0f" % expected, "%.2f" % (expected / one.expected))
    report.row("    p was prime so often: counted; expected",
               "%d" % theirs.p_primes,
               "%.0f" % (theirs.candidates * theory.p_prime))
    report.row("  time of a candidate", us(1e6 * one.candidate),
               us(1e6 * theirs.candidate))
    report.row("    %d processes at once" % processors,
               us(1e6 * side_by_side.candidate))
    report.row("  last test of the result", seconds(theirs.check),
               seconds(theirs.check))
    slow = expected * theirs.candidate + theirs.check
    for ours, bound in ((one, SHORTER_ONE), (side_by_side, SHORTER_ALL)):
        whole = ours.search(theirs.check)
        report.row("  sieve on %d: time; share of a search" % ours.processes,
                   seconds(ours.sieves),
                   "%.0f %%" % (100 * ours.sieves / whole))
        what = "  expected time on %d of %d processors" % (
            ours.processes, processors)
        figures = what, seconds(whole), seconds(slow)
        if bits == BITS and (ours is one or processors == 2):
            report.judge(*figures, slow / whole, "at least", bound)
        else:
            report.row(*figures, "%.2f" % (slow / whole))


def report_walls(report, build, tools, bits):
    """How long whole searches take that use all processors, each with the
    start of its processes; returns what they found."""
    found, took = [], []
    with contextlib.closing(Server(build, tools)) as place:
        command = [os.path.join(build, "flexmusicd"), "-f",
                   place.configure(), "-G", str(bits)]
        for _ in range(RUNS):
            since = time.monotonic()
            found.append(run(command).encode())
            took.append(time.monotonic() - since)
    report.row("  wall time of flexmusicd -G %d: mean of %d" % (bits, RUNS),
               seconds(statistics.mean(took)))
    report.row("  median; longest", seconds(statistics.median(took)),
               seconds(max(took)))
    return found


# -- servers -------------------------------------------------------------


class Server(Daemon):
    """One whose log is read, with these sets made ahead."""

    def __init__(self, build, tools, sets=(), **keys):
        super().__init__(build, tools, seeds=0, **keys)
        self.arguments.append("-v")
        self.log = harness.Log(self.path("log"))
        for pem in sets:
            self.store(pem)

    def store(self, pem):
        """Puts a set into the state directory, as if it was made ahead."""
        name = "dh-%d-%s.pem" % (self.keys["key_size"],
                                 hashlib.sha256(pem).hexdigest())
        path = os.path.join(self.path("state"), name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
                  "wb") as f:
            f.write(pem)

    def searches(self):
        """The processes that make sets ahead, each with the microseconds
        that it has had."""
        found = {}
        for pid in children(self.program.pid):
            with contextlib.suppress(OSError):  # it has just ended
                if os.sched_getscheduler(pid) == os.SCHED_IDLE:
                    found[pid] = run_us(pid)
        return found

    def rotate(self):
        """Asks for the next generation."""
        os.kill(self.program.pid, signal.SIGHUP)

    def steady(self, rate, count, signal_s=None):
        """How long so many handshakes take that come at a rate; with a
        rotation every so many seconds, if any."""
        mark, since = self.log.mark(), time.monotonic()
        due = since + signal_s / 2 if signal_s else math.inf
        looks, seen, had = 0, 0, {}
        searches, used = self.searches(), self.used_us()
        with subprocess.Popen(self.client(count, "-l", "-r", str(rate)),
                              stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE,
                              preexec_fn=harness.become(None)) as client:
            while client.poll() is None:
                now = self.searches()
                looks, seen = looks + 1, seen + bool(now)
                had.update(now)
                if time.monotonic() >= due:
                    due += signal_s
                    self.rotate()
                time.sleep(0.1)
            figures = fields(client.stdout.read())
        if "p99_us" not in figures:
            raise Broken("the load did not get through")
        span = (time.monotonic() - since) * 1e6
        figures["others"] = max(0, 1 - (
            self.used_us() - used + figures["cpu_us"]) / span /
                                os.cpu_count())
        figures["searching"] = seen / looks
        figures["search_share"] = sum(
            spent - searches.get(pid, 0) for pid, spent in had.items()) / span
        figures["stored"] = len(self.log.find("set-stored", mark))
        figures["installed"] = [
            (event["source"], float(event["ms"]))
            for event in self.log.find("generation-installed", mark)]
        return figures

    def used_us(self):
        """What server and benchmark had of the processors so far, and what
        nobody wanted."""
        return self.program.us() + time.process_time() * 1e6 + idle_us()


def steady_turn(build, tools, sets, rate, rotating):
    """One server's figures under a steady load."""
    count = max(STEADY_MIN, rate * STEADY_S)
    if not rotating:
        with Server(build, tools, sets[:1]) as server:
            run(server.client(500))
            return server.steady(rate, count)
    with Server(build, tools, sets[:STEADY_SETS],
                keep_parameters=KEEP) as server:
        run(server.client(500))
        return server.steady(rate, count, max(
            SIGNAL_S, count / rate / (STEADY_SETS - 3)))


def steady_turns(report, build, tools, sets, rate):
    """All turns, without and with rotations.  One is taken again where other
    programs had too much of the processors: they delay handshakes, too."""
    turns, disturbed = ([], []), ([], [])
    for number in range(STEADY_TRIES):
        rotating = number % 2
        if len(turns[rotating]) == STEADY_TURNS:
            rotating = 1 - rotating
        figures = steady_turn(build, tools, sets, rate, rotating)
        kind = disturbed if figures["others"] > OTHERS_MAX else turns
        kind[rotating].append(figures)
        if min(map(len, turns)) == STEADY_TURNS:
            break
    else:
        report.line("  (all turns count, though other programs had more than "
                    "%.0f %% of the processors)" % (100 * OTHERS_MAX))
        turns, disturbed = tuple(map(list.__add__, turns, disturbed)), ()
    return turns, sum(map(len, disturbed))


def report_steady(report, build, tools, sets):
    """Handshakes at a steady rate: alone, and while parameters rotate and a
    search for more runs, in turn."""
    with Server(build, tools, sets[:1]) as server:
        load = fields(run(server.client(1000)))
    rate = int(STEADY_LOAD * 1e6 * load["done"] / load["wall_us"])
    (quiet, rotating), again = steady_turns(report, build, tools, sets, rate)
    figures = {key: [statistics.median(turn[key] for turn in turns)
                     for turns in (rotating, quiet)]
               for key in ("p50_us", "p99_us", "max_us")}
    what = "handshakes, %d/s" % rate
    report.row(what + ": median", *map(us, figures["p50_us"]),
               "%.2f" % (figures["p50_us"][0] / figures["p50_us"][1]))
    report.judge(what + ": 99th percentile", *map(us, figures["p99_us"]),
                 figures["p99_us"][0] / figures["p99_us"][1], "at most",
                 P99_MAX)
    report.row(what + ": longest", *map(us, figures["max_us"]))
    turns = quiet + rotating
    failed = sum(turn["failed"] for turn in turns)
    report.judge("  that failed, of %d" % sum(
        turn["done"] + turn["failed"] for turn in turns),
                 "%d" % failed, "0", failed, "at most", 0)
    if again:
        report.row("  turns that other programs disturbed: repeated",
                   "%d" % again, "%d" % len(turns))
    report_rotating(report, quiet, rotating)


def report_rotating(report, quiet, rotating):
    """What went on during the load: it has to be what it is said to be."""
    installed = [row for turn in rotating for row in turn["installed"]]
    searching = min(turn["searching"] for turn in rotating)
    report.row("  rotations meanwhile, of sets made ahead",
               "%d" % len(installed))
    report.row("  the slowest of them",
               "%.0f ms" % max(ms for _, ms in installed))
    report.row("  searched for more, of the time",
               "%.0f %%" % (100 * searching))
    report.row("  processor the search had",
               "%.0f %%" % (100 * statistics.mean(
                   turn["search_share"] for turn in rotating)))
    report.row("  sets it found",
               "%d" % sum(turn["stored"] for turn in rotating))
    if searching < SEARCHING_MIN or \
       any(source != "made-ahead" for source, _ in installed):
        report.broken("  a search for stock alone, all the time", "not so")
    if any(turn["searching"] for turn in quiet):
        report.broken("  no search without rotations", "there was one")


def report_rotations(report, build, tools, sets):
    """From the signal to the line in the log, on an idle server."""
    took = []
    with Server(build, tools, sets[:ROTATIONS + 1]) as server:
        for _ in range(ROTATIONS):
            mark, since = server.log.mark(), time.monotonic()
            server.rotate()
            server.log.wait("generation-installed", mark,
                            source="made-ahead")
            took.append((time.monotonic() - since) * 1e3)
            time.sleep(0.3)
    what = "SIGHUP until a ready set is installed"
    report.row(what + ": median", "%.0f ms" % statistics.median(took))
    report.judge("  slowest of %d" % ROTATIONS, "%.0f ms" % max(took),
                 "%d ms" % ROTATION_MAX_MS, max(took) / ROTATION_MAX_MS,
                 "at most", 1)


def report_launches(report, build, tools):
    """From the start of a server to its first handshake."""
    def launch():
        since = time.monotonic()
        server.start()
        run(server.client(1))
        return time.monotonic() - since

    what = "%d bits: launch until the first handshake" % LAUNCH_BITS
    server = Server(build, tools, key_size=LAUNCH_BITS, keep_parameters=1)
    server.patience = LAUNCH_PATIENCE_S
    since = time.monotonic()
    with server:
        run(server.client(1))
        report.row(what, seconds(time.monotonic() - since))
        server.program.close()
        run([os.path.join(build, "flexmusicd"), "-f", server.configure(),
             "-G", str(LAUNCH_BITS), "-o", server.path("state")])
        took = launch()
    report.judge("  with a set made ahead", seconds(took),
                 seconds(LAUNCH_MAX_S), took / LAUNCH_MAX_S, "at most", 1)


def report_exchange(report, tools):
    """From a worker's question to the key holder's answer, both idle."""
    figures = json.loads(run([os.path.join(tools, "exchange")]))
    report.row("one modular exponentiation", us(figures["modexp_us"]))
    for name, what in (("", "exchange, its key pair made ahead"),
                       ("burst_", "%d of them at once" % figures["burst"])):
        ready = figures[name + "ready_us"]
        without = figures[name + "without_us"]
        report.judge(what, us(ready), us(without), ready / without,
                     "at most", EXCHANGE_MAX)


# -- the run -------------------------------------------------------------


def attempt(report, what, part, *arguments):
    """One part of the run; where it does not work the others go on."""
    try:
        return part(report, *arguments)
    except (Broken, harness.Timeout) as e:
        report.broken(what, e)
    except Unable as e:
        report.skipped(what, e)
    return None


def bench(build, quick):
    """The whole run; true if every requirement is met."""
    tools = os.path.join(build, "bench")
    print("new DH parameters on %s\n" % machine())
    report = Report("beside")
    sets = {}
    for bits in SIZES:
        attempt(report, "search", report_search, tools, bits, quick)
        if not quick:
            sets[bits] = attempt(report, "flexmusicd -G", report_walls, build,
                                 tools, bits)
    if quick:
        report.skipped("whole searches, rotations, launches", "--quick")
    elif sets[BITS]:
        attempt(report, "rotations during a load", report_steady, build,
                tools, sets[BITS])
        attempt(report, "rotations", report_rotations, build, tools,
                sets[BITS])
    attempt(report, "exchange", report_exchange, tools)
    if not quick:
        attempt(report, "launches", report_launches, build, tools)
    return report.met


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0],
                  "less of the searches, and nothing that takes minutes",
                  bench))
