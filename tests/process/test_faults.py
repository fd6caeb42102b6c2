#!/usr/bin/python3
"""Calls that fail: each that can, in each process, wherever it is made.

A first run of each scenario counts which process calls what from where
(tests/faults); then each of these calls fails once, and it is looked at what
becomes of the server: no process crashes or is left behind, no descriptor
either; the client is served or disconnected, never let in with a wrong
password, and sees no byte that it should not; and the server serves again.

At most 12 places are tried for each call, role and scenario (2 for the start),
with one error; how many there were is printed.  With FLEXMUSIC_FAULTS=all it
is every place, its first and later calls, and each error that the call may
have.
"""

import collections
import concurrent.futures
import contextlib
import ctypes
import errno
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import faults  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402
import test_pam  # noqa: E402

ALL = os.environ.get("FLEXMUSIC_FAULTS") == "all"
MOST = 12
MOST_STARTS = 2  # a start takes longest
SERVERS = 6  # at a time
CTL = os.path.join(harness.BUILD, "flexmusicctl")
GRANTED = b"150 Authentication successful.\r\n"
USER, PASSWORD = "alice", test_pam.PASSWORD
CRASHES = {str(int(n)) for n in (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL,
    signal.SIGFPE, signal.SIGSYS)}


# Role, call, function: what the server once did not stand is always tried.
KEPT = (
    ("master", "event_add", "session_watch"),
    ("master", "event_add", "process_watch"),
    ("master", "event_add", "listener_watch"),
    ("master", "calloc", "generation_rotate"),
    ("master", "listen", "control_bind"),
    ("master", "ppoll", "process_ready"),
    ("zygote", "sendmsg", "zygote_spawn"),
    ("worker", "write", "worker_tell_established"),
    ("keys", "event_new", "keys_main"),
    ("auth", "event_new", "authenticator_run"),
    ("auth", "event_add", "authenticator_schedule"),
    ("auth", "write", "auth_serve_users"),
    ("pam", "syscall", "pam_fork"),
)


class Users:
    """The users file of this run."""

    directory = None
    path = None

    @classmethod
    def make(cls):
        """Writes it."""
        library = ctypes.CDLL("libcrypt.so.1")
        library.crypt.restype = ctypes.c_char_p
        cls.directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        cls.path = os.path.join(cls.directory, "users")
        fd = os.open(cls.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write("%s:%s\n" % (USER, library.crypt(
                PASSWORD.encode(), b"$6$rounds=1000$saltsalt").decode()))


def setUpModule():  # pylint: disable=invalid-name
    """The users file is there before the first server."""
    Users.make()


def tearDownModule():  # pylint: disable=invalid-name
    """And goes with the last."""
    shutil.rmtree(Users.directory)


# -- scenarios -----------------------------------------------------------


def talk(server, password):
    """A client that does everything.  True if it was served to the end; an
    AssertionError for what no server may say."""
    try:
        with server.client() as client:
            client.handshake()
            answer = client.auth(USER, password)
            if answer == GRANTED and password != PASSWORD:
                raise AssertionError("let in with a wrong password")
            if not client.command("HELP").startswith(b"200 "):
                raise AssertionError("HELP was not answered")
            client.quit()
            return answer == GRANTED
    except (fmltp.Closed, ConnectionResetError, BrokenPipeError):
        return False


def session(server):
    """Handshake, AUTH, HELP, QUIT."""
    talk(server, PASSWORD)


def wrong(server):
    """The same with a wrong password."""
    talk(server, PASSWORD.upper())


def ctl(server, *arguments):
    """What flexmusicctl says; it may have failed, but not hang."""
    subprocess.run([CTL] + list(arguments) + ["--socket", server.control_path],
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=harness.DEADLINE,
                   check=False)


def control(server):
    """What an administrator asks, while there is a session."""
    client = None
    try:
        client = server.client()
        client.handshake()
    except (fmltp.Closed, ConnectionResetError):
        pass
    server.signal(signal.SIGUSR1)
    for command in (("status",), ("sessions",), ("penalties",),
                    ("kill", "--user", USER), ("penalties", "clear"),
                    ("log", "verbose"), ("log", "normal"), ("reload",)):
        ctl(server, *command)
    for row in server.log.find("session-begin"):
        ctl(server, "kill", row["session"])
    if client is not None:
        client.close()


def seed(server):
    """One more set for the next rotation."""
    server.seeded = getattr(server, "seeded", 0) + 1
    with contextlib.suppress(FileExistsError):  # not used yet: it will do
        harness.seed_state(server.state_dir, 1024,
                           first=server.seeded % len(harness.primes(1024)))


def reload(server):
    """SIGHUP, and new parameters."""
    mark = server.log.mark()
    server.signal(signal.SIGHUP)
    harness.wait_for("the end of the reload", lambda: server.log.find(
        ("generation-installed", "rotation-failed"), mark) or
        not server.alive())


def rotated(server):
    """Nothing is searched or checked any more."""
    harness.wait_for("the end of the rotation",
                     lambda: not server.role("paramgen"))


def deaths(server):
    """Helpers die and come again."""
    mark = server.log.mark()
    dead = [p for p in server.processes()
            if p.role in ("keys", "auth", "pam", "zygote")]
    for p in dead:
        harness.kill(p.pid, signal.SIGKILL)
    server.log.wait("helper-died", mark, count=len(dead))


# -- what happens to the server ------------------------------------------


def is_kept(place):
    """Has this place once not been stood?"""
    return any((place.role, place.call) == row[:2] and row[2] in str(place)
               for row in KEPT)


def choose(places, roles, most):
    """Which faults are tried: at most so many for each role and call, evenly
    chosen; all of them where that is wanted."""
    kinds = collections.defaultdict(list)
    for place, count in sorted(places.items()):
        if roles is None or place.role in roles:
            kinds[place.role, place.call].append((place, count))
    chosen = []
    for (_, call), rows in kinds.items():
        errors = faults.ERRORS.get(call, (errno.ENOMEM,))
        if not ALL:
            kept = [row for row in rows if is_kept(row[0])]
            rows = sorted(set(evenly(rows, most) + kept))
            errors = errors[:1]
        for place, count in rows:
            counts = evenly(range(1, count + 1), MOST) if ALL else (1,)
            chosen += [faults.Fault(place, n, error) for error in errors
                       for n in counts]
    return chosen


def evenly(rows, most):
    """At most so many of them, the first and the last too."""
    rows = list(rows)
    if len(rows) <= most:
        return rows
    return [rows[i * (len(rows) - 1) // (most - 1)] for i in range(most)]


def crashes(server, mark):
    """Lines about processes that ended as they never should."""
    return [e.text for e in server.log.read()[mark:]
            if (e.name == "worker-died" and e["attack"] == "yes") or
            (e.name == "helper-died" and e["signal"] in CRASHES) or
            e.name == "channel-violation"] + server.reports()


def of_session(number):
    """Processes of a session that the tests' server began."""
    found = []
    for p in harness.all_processes():
        try:
            if os.getsid(p.pid) == number and p.state != "Z":
                found.append(p)
        except ProcessLookupError:
            continue
    return found


@unittest.skipIf(harness.SANITIZED, "hundreds of starts take too long with "
                 "sanitizers")
class FaultCase(unittest.TestCase):
    """Scenarios, each of whose calls fail."""

    KEYS = {}
    ROLES = None
    SCENARIOS = ()

    def setUp(self):
        self.bad = []
        self.fired = 0
        self.tried = 0
        self.lock = threading.Lock()

    @classmethod
    def server(cls):
        """A new one, not started."""
        return faults.Server(keys_processes=1, **dict({
            "auth_method": "auth", "auth_file": Users.path,
            "auth_processes": 1, "penalty_exempt": ["127.0.0.0/8"],
            "seeds": {1024: 1}}, **cls.KEYS))

    def started(self):
        """A new one that serves: it, and its footprint."""
        server = self.server()
        try:
            server.start()
            self.assertTrue(talk(server, PASSWORD))
            server.log.wait("session-end")
            server.quiet()
        except BaseException:
            server.kill()
            server.remove()
            raise
        server.before = server.at_rest()
        return server

    def note(self, fault, server, error):
        """A fault that the server did not stand."""
        with self.lock:
            self.bad.append("%s\n  %s\n%s" % (fault, error,
                                             server.log.tail(12)))

    def count(self, server):
        """One more was tried."""
        with self.lock:
            self.tried += 1
            self.fired += 1 if server.page.fired else 0

    def all_of(self, name, cases, work):
        """Does work(queue) in several threads, and reports."""
        waiting = queue.Queue()
        for case in cases:
            waiting.put(case)
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(SERVERS) as pool:
            for future in [pool.submit(work, waiting)
                           for _ in range(SERVERS)]:
                future.result()
        print("%s: %d faults, %d came about, %d not stood, %.1f s" % (
            name, self.tried, self.fired, len(self.bad),
            time.monotonic() - begun), flush=True)
        self.assertGreater(self.fired, 0)
        self.assertFalse(self.bad, "\n".join(self.bad))

    def each_of(self, name, cases, once):
        """Does once(fault) for each, on a server of its own."""
        def work(waiting):
            while True:
                try:
                    fault = waiting.get_nowait()
                except queue.Empty:
                    return
                once(fault)

        self.all_of(name, cases, work)

    @classmethod
    def setUpClass(cls):
        """What is called from where: each place counts for the first
        scenario alone that comes by it."""
        cls.places = {}
        server = cls.server()
        try:
            server.page.record()
            server.start()
            cls.note_places("start", server)
            talk(server, PASSWORD)
            server.quiet()
            for scenario in cls.SCENARIOS:
                seed(server)
                server.page.record()
                scenario(server)
                server.quiet()
                rotated(server)
                cls.note_places(scenario.__name__, server)
            harness.wait_for("service", lambda: talk(server, PASSWORD))
            client = server.client().handshake()
            server.page.record()
            server.stop()
            client.close()
            cls.note_places("stop", server)
        finally:
            server.kill()
            server.remove()

    @classmethod
    def note_places(cls, name, server):
        """Those that are new."""
        known = set().union(*cls.places.values())
        cls.places[name] = {
            place: count for place, count in server.page.recorded().items()
            if place not in known}

    # while it runs

    def stands(self, server, fault, scenario):
        """The fault, and what comes of it."""
        mark = server.log.mark()
        server.page.arm(fault)
        scenario(server)
        server.page.disarm()
        if not server.alive():
            raise AssertionError("the master ended, status %s" %
                                 server.process.returncode)
        harness.wait_for("service", lambda: talk(server, PASSWORD) or
                         not server.alive(), pause=0.1)
        server.quiet()
        rotated(server)
        after = server.settle(server.before)
        if after != server.before:
            raise AssertionError("%s before, %s afterwards" % (
                server.before, after))
        harness.wait_for("the end of zombies", lambda: not server.zombies())
        problems = crashes(server, mark)
        if problems:
            raise AssertionError("; ".join(problems))

    def running(self, scenario, prepare=None, most=MOST, deaths_most=2):
        """All faults of a scenario of a server that runs."""
        def work(waiting):
            server = None
            while True:
                try:
                    fault = waiting.get_nowait()
                except queue.Empty:
                    break
                server = server or self.started()
                if prepare:
                    prepare(server)
                good = True
                try:
                    self.stands(server, fault, scenario)
                except (AssertionError, OSError) as e:
                    self.note(fault, server, e)
                    good = False
                self.count(server)
                # What has died comes again with a growing delay.
                if not good or len(
                        server.log.find("helper-died")) > deaths_most:
                    self.end(server, fault, good)
                    server = None
            if server is not None:
                self.end(server, "the end", True)

        self.all_of(scenario.__name__, choose(
            self.places[scenario.__name__], self.ROLES, most), work)

    def end(self, server, fault, good):
        """Stops it in the ordinary way, where it was well so far."""
        try:
            if good:
                server.stop()
        except AssertionError as e:
            self.note(fault, server, e)
        server.kill()
        server.remove()

    # at its start

    def start_once(self, fault):
        """It serves, or ends with a clear message and leaves nothing."""
        server = self.server()
        try:
            server.page.arm(fault)
            server.spawn()
            harness.wait_for("a start or an end", server.is_ready)
            server.page.disarm()
            if server.alive():
                harness.wait_for("service", lambda: talk(server, PASSWORD) or
                                 not server.alive(), pause=0.1)
                problems = crashes(server, 0)
                if problems:
                    raise AssertionError("; ".join(problems))
                server.stop()
            else:
                self.ended_well(server)
        except (AssertionError, OSError) as e:
            self.note(fault, server, e)
        finally:
            self.count(server)
            server.kill()
            server.remove()

    def ended_well(self, server):
        """A start that failed."""
        if server.process.returncode != 1:
            raise AssertionError("ended with %d" % server.process.returncode)
        if not re.search(r"^flexmusicd: \S|event=fatal error=\S",
                         server.log.text(), re.M):
            raise AssertionError("ended without a message")
        harness.wait_for("the end of all processes",
                         lambda: not of_session(server.pid))
        left = os.listdir(os.path.dirname(server.control_path)) + [
            name for name in os.listdir(server.state_dir)
            if name.startswith(".")]
        if left:
            raise AssertionError("left behind: %s" % left)

    def starting(self):
        """All faults of a start."""
        self.each_of("start", choose(self.places["start"], self.ROLES,
                                     MOST_STARTS), self.start_once)

    # at its end

    def stop_once(self, fault):
        """Status 0, and nothing is left."""
        server = self.started()
        try:
            with server.client() as client:
                client.handshake()
                server.page.arm(fault)
                server.stop()
        except (AssertionError, OSError) as e:
            self.note(fault, server, e)
        finally:
            self.count(server)
            server.kill()
            server.remove()

    def stopping(self):
        """All faults of SIGTERM."""
        self.each_of("stop", choose(self.places["stop"], self.ROLES, MOST),
                     self.stop_once)


class Faults(FaultCase):
    """Master, keys, paramgen, auth, zygote, worker."""

    SCENARIOS = (session, wrong, control, reload, deaths)

    def test_start(self):
        self.starting()

    def test_session(self):
        self.running(session)

    def test_wrong_password(self):
        self.running(wrong)

    def test_control(self):
        self.running(control, prepare=seed)

    def test_reload(self):
        self.running(reload, prepare=seed)

    def test_stop(self):
        self.stopping()

    def test_deaths(self):
        self.running(deaths, deaths_most=0)


class Pam(FaultCase, test_pam.Case):
    """pam and its children."""

    KEYS = {"auth_method": "system"}
    ROLES = ("pam", "attempt")
    SCENARIOS = (session, wrong, deaths)

    @classmethod
    def setUpClass(cls):
        test_pam.Case.setUpClass.__func__(cls)
        super().setUpClass()

    def test_start(self):
        self.starting()

    def test_session(self):
        self.running(session)

    def test_stop(self):
        self.stopping()


if __name__ == "__main__":
    runner.main()
