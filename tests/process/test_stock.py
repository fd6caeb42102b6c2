#!/usr/bin/python3
"""Parameters made ahead: each set is used once, whatever is killed when; what
is wrong in the state directory is not used; and where the directory can't be
used at all, the server serves all the same.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import pty
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import faults  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

FAULTY = os.path.join(harness.BUILD, "faults", "flexmusicd")
# A search for stock runs only when nothing else wants the processor.
PATIENCE = 5 * harness.DEADLINE
RANDOM_KILLS = 8 if harness.SANITIZED else 20
MANY_STEPS = 200  # more than a run below has

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
MS_PRIVATE, MS_REC = 1 << 18, 16384


def sets(directory, bits=None):
    """The sets in a state directory: name to content."""
    found = {}
    for name in os.listdir(directory):
        if not name.endswith(".pem") or not name.startswith(
                "dh-" if bits is None else "dh-%d-" % bits):
            continue
        try:
            with open(os.path.join(directory, name), "rb") as f:
                found[name] = f.read()
        except FileNotFoundError:
            continue  # used meanwhile
    return found


def unfinished(directory):
    """Files that somebody was writing."""
    return {n for n in os.listdir(directory) if n.startswith(".")}


class StockCase(harness.OwnServerCase):
    """Servers with a stock of their own."""

    def environment(self, name, value):
        """A variable for the servers of this test."""
        os.environ[name] = str(value)
        self.addCleanup(os.environ.pop, name, None)

    def prepared(self, **keys):
        """A server that is not started yet."""
        server = harness.Server(**keys)
        self.servers.append(server)
        self.addCleanup(server.remove)
        self.addCleanup(self.finish, server)
        return server

    def shown(self, server):
        """The fingerprint that a client is shown."""
        with server.client() as client:
            client.until("kex")
            return fmltp.fingerprint(client.params_pem)

    def rotate(self, server):
        """One SIGHUP, until its generation is there: the event."""
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        return server.log.wait("generation-installed", mark, why="signal",
                               deadline=PATIENCE)

    def filled(self, server, count, bits=1024):
        """Waits until the state directory has so many sets."""
        harness.wait_for(
            "%d sets of %d bits" % (count, bits),
            lambda: len(sets(server.state_dir, bits)) >= count, PATIENCE)
        self.assertEqual(len(sets(server.state_dir, bits)), count)

    def freeze_search(self, server, mark):
        """Stops all processes of a search: true if it found nothing before;
        then it is as long as the test wants it."""
        count = int(server.log.wait("generating", mark)["processes"])

        def there():
            return len(server.role("paramgen")) == count or \
                server.log.find("generation-installed", mark)
        harness.wait_for("all processes of a search", there, pause=0.001)
        for p in server.role("paramgen"):
            harness.kill(p.pid, signal.SIGSTOP)
        time.sleep(0.2)  # for a result that is on its way
        if not server.log.find("generation-installed", mark):
            return True
        self.let_search(server)
        return False

    def let_search(self, server):
        """Has them go on."""
        for p in server.role("paramgen"):
            harness.kill(p.pid, signal.SIGCONT)


class Launch(StockCase):
    """What a start takes, and what it makes."""

    def test_two_launches(self):
        """The first one has to search, the second one finds a set."""
        server = self.start(seeds={}, keep_parameters=2)
        first = server.log.find("generation-installed")
        self.assertEqual([e["source"] for e in first], ["generated"])
        self.assertEqual(first[0]["why"], "start")
        self.assertTrue(server.log.find("generating"))
        # It listens only when it has parameters.
        names = [e.name for e in server.log.read()]
        self.assertLess(names.index("generation-installed"),
                        names.index("ready"))
        self.filled(server, 2)
        stored = server.log.wait("set-stored", count=2)
        self.assertEqual((stored["bits"], stored["stock"]), ("1024", "2"))
        ready = {fmltp.fingerprint(c)
                 for c in sets(server.state_dir).values()}
        self.assertEqual({e["fingerprint"]
                          for e in server.log.find("set-stored")}, ready)
        self.assertEqual(self.shown(server), first[0]["fingerprint"])
        server.stop()

        mark = server.log.mark()
        server.start()
        second = server.log.find("generation-installed", mark)
        self.assertEqual([e["source"] for e in second], ["made-ahead"])
        self.assertEqual(server.log.find("generating", mark), [])
        self.assertIn(second[0]["fingerprint"], ready)
        self.assertEqual(self.shown(server), second[0]["fingerprint"])
        server.log.wait("set-stored", mark, deadline=PATIENCE)
        self.filled(server, 2)
        self.assertNotIn(second[0]["fingerprint"],
                         {fmltp.fingerprint(c)
                          for c in sets(server.state_dir).values()})
        for name in sets(server.state_dir):
            mode = os.stat(os.path.join(server.state_dir, name)).st_mode
            self.assertEqual(mode & 0o777, 0o600)

    def test_none_are_kept(self):
        """keep_parameters = 0: what is there is used, nothing is made."""
        server = self.start(seeds={1024: 1}, keep_parameters=0)
        self.assertEqual(server.log.find("generation-installed")[0]["source"],
                         "made-ahead")
        self.assertEqual(self.rotate(server)["source"], "generated")
        self.serves(server)
        self.assertEqual(server.log.find("making-ahead"), [])
        self.assertEqual(server.log.find("set-stored"), [])
        self.assertEqual(sets(server.state_dir), {})

    def test_search_for_stock_is_in_nobodys_way(self):
        """It runs only where nothing else wants to."""
        server = self.start(seeds={8192: 1}, key_size=8192, keep_parameters=1)
        server.log.wait("making-ahead")
        harness.wait_for("one idle process", lambda: [
            os.sched_getscheduler(p.pid)
            for p in server.role("paramgen")] == [os.SCHED_IDLE])

    def test_search_that_is_awaited(self):
        """It has all processors; a server that is told to stop in its middle
        does."""
        server = self.prepared(seeds={}, key_size=8192)
        server.spawn()
        count = int(server.log.wait("generating", bits="8192")["processes"])
        self.assertEqual(count, len(os.sched_getaffinity(0)))
        harness.wait_for("all of them, nice", lambda: [
            (os.sched_getscheduler(p.pid),
             os.getpriority(os.PRIO_PROCESS, p.pid))
            for p in server.role("paramgen")] == count * [
                (os.SCHED_OTHER, 10)])
        server.stop()
        self.assertEqual(server.log.find("generation-installed"), [])


class Reload(StockCase):
    """What a reload changes."""

    def test_more_are_kept(self):
        server = self.start(seeds={1024: 2}, keep_parameters=0)
        server.write_config(keep_parameters=2)
        self.rotate(server)
        self.filled(server, 2)
        server.write_config(keep_parameters=0)
        mark = server.log.mark()
        self.rotate(server)
        self.filled(server, 1)
        self.assertEqual(server.log.find("making-ahead", mark), [])

    def test_another_size(self):
        """The stock is of the size in use; other sets are left alone."""
        server = self.start(seeds={1024: 3, 2048: 1}, keep_parameters=1)
        before = sets(server.state_dir, 1024)
        self.assertEqual(len(before), 2)
        server.write_config(key_size=2048)
        event = self.rotate(server)
        self.assertEqual((event["bits"], event["source"]),
                         ("2048", "made-ahead"))
        stored = server.log.wait("set-stored", deadline=2 * PATIENCE)
        self.assertEqual(stored["bits"], "2048")
        self.assertEqual(len(sets(server.state_dir, 2048)), 1)
        self.assertEqual(sets(server.state_dir, 1024), before)
        server.write_config(key_size=1024)
        event = self.rotate(server)
        self.assertEqual((event["bits"], event["source"]),
                         ("1024", "made-ahead"))
        self.assertEqual(len(sets(server.state_dir, 2048)), 1)


class Rotation(StockCase):
    """How fast, how often."""

    def test_a_ready_set_is_there_at_once(self):
        """Half a second after the signal at most, by the server's log; a
        sanitizer's build is slower."""
        server = self.start(seeds={1024: 6})
        took = []
        for _ in range(5):
            event = self.rotate(server)
            self.assertEqual(event["source"], "made-ahead")
            self.assertEqual(self.shown(server), event["fingerprint"])
            took.append(int(event["ms"]))
        if not harness.SANITIZED:
            self.assertLess(sorted(took)[2], 500)
        harness.seed_state(server.state_dir, 2048)
        server.write_config(key_size=2048)
        event = self.rotate(server)
        self.assertEqual(event["source"], "made-ahead")
        if not harness.SANITIZED:
            self.assertLess(int(event["ms"]), 500)

    def test_while_stock_is_searched(self):
        """Nor does a search for stock stand in its way."""
        server = self.start(seeds={8192: 1, 1024: 2}, key_size=8192,
                            keep_parameters=1)
        server.log.wait("making-ahead", bits="8192")
        harness.wait_for("the search", lambda: server.role("paramgen"))
        server.write_config(key_size=1024)
        event = self.rotate(server)
        self.assertEqual(event["source"], "made-ahead")
        if not harness.SANITIZED:
            self.assertLess(int(event["ms"]), 500)
        self.assertEqual(len(sets(server.state_dir, 1024)), 1)

    def test_by_time(self):
        server = self.start(seeds={1024: 8}, rotate_parameters=1)
        server.log.wait("generation-installed", why="time", count=2)
        events = server.log.find("generation-installed")
        self.assertEqual(events[0]["why"], "start")
        self.assertEqual(len({e["fingerprint"] for e in events}), len(events))
        self.serves(server)
        # Without it, no more: the one that may be under way is the last.
        server.write_config(rotate_parameters=0)
        server.signal(signal.SIGHUP)
        server.log.wait("reload")
        server.log.wait("generation-installed", why="signal")
        mark = server.log.mark()
        time.sleep(1.5)
        self.assertEqual(server.log.find("generation-installed", mark,
                                         why="time"), [])

    def test_signals_during_a_search(self):
        """Twenty of them are one rotation more."""
        server = self.start(seeds={2048: 1}, key_size=2048)
        frozen = False
        while not frozen:
            mark = server.log.mark()
            server.signal(signal.SIGHUP)
            frozen = self.freeze_search(server, mark)
        for count in range(2, 22):
            server.signal(signal.SIGHUP)
            server.log.wait("reload", mark, count=count)
        self.assertEqual(server.log.find("generation-installed", mark), [])
        self.serves(server)
        self.let_search(server)
        server.log.wait("generation-installed", mark, count=2,
                        deadline=PATIENCE)
        # One that nobody asked for would have begun by now.
        self.serves(server)
        self.assertEqual(server.log.find("generating", mark)[2:], [])
        self.assertEqual(server.role("paramgen"), [])
        self.assertEqual(
            len(server.log.find("generation-installed", mark)), 2)


class Checking(StockCase):
    """The check of a set that lies ready, and what goes wrong with it."""

    def start_checking(self, bits):
        """A server that has begun to check its one set."""
        server = self.prepared(seeds={bits: 1}, key_size=bits)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("sandbox", role="paramgen")
        return server, harness.wait_for(
            "paramgen", lambda: server.role("paramgen"))[0]

    def set_aside(self, server):
        """The set is kept for the administrator, and was not used."""
        event = server.log.wait("parameters-bad", reason="not-checked",
                                deadline=PATIENCE)
        self.assertIn(event["file"] + ".bad", os.listdir(server.state_dir))
        self.assertEqual(server.log.find("generation-installed",
                                         source="made-ahead"), [])

    def test_checker_that_dies(self):
        """Whatever killed it may be the set."""
        server, checker = self.start_checking(8192)
        self.assertTrue(harness.kill(checker.pid, signal.SIGKILL))
        self.set_aside(server)
        server.log.wait("generating", bits="8192")

    def test_checker_that_hangs(self):
        """It is killed after a while; nothing waits for it for ever."""
        server, checker = self.start_checking(8192)
        self.assertTrue(harness.kill(checker.pid, signal.SIGSTOP))
        server.log.wait("helper-stuck", role="paramgen", deadline=PATIENCE)
        self.set_aside(server)

    def test_checker_that_cannot_be_started(self):
        """The set that was taken for it is the next one that is used."""
        server = faults.Server(seeds={1024: 2})
        self.servers.append(server)
        self.addCleanup(server.remove)
        server.start()
        self.addCleanup(self.finish, server)
        server.arm("master", "fork", errno.EAGAIN, times=faults.ALWAYS)
        server.signal(signal.SIGHUP)
        server.log.wait("rotation-failed")
        server.page.disarm()
        event = self.rotate(server)
        self.assertEqual(event["source"], "made-ahead")
        self.assertEqual(
            sorted(e["fingerprint"] for e in
                   server.log.find("generation-installed")),
            sorted(server.fingerprints[1024]))

    def test_another_size_during_a_search(self):
        """A search for a size that is not wanted any more is given up."""
        server = self.prepared(seeds={1024: 1}, key_size=8192)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("generating", bits="8192")
        server.write_config(key_size=1024)
        server.signal(signal.SIGHUP)
        event = server.log.wait("generation-installed", deadline=PATIENCE)
        self.assertEqual((event["bits"], event["source"]),
                         ("1024", "made-ahead"))
        self.serves(server)

    def test_time_counts_from_the_end(self):
        """A rotation that takes longer than the time between two is not
        followed by another at once."""
        server = self.start(seeds={1024: 1}, rotate_parameters=3)
        for _ in range(20):
            mark = server.log.mark()
            server.signal(signal.SIGHUP)
            if self.freeze_search(server, mark):
                break
        else:
            self.fail("twenty searches were over before they could be held")
        time.sleep(3.5)
        self.let_search(server)
        server.log.wait("generation-installed", mark, why="signal",
                        deadline=PATIENCE)
        time.sleep(1)
        self.assertEqual(server.log.find("generation-installed", mark,
                                         why="time"), [])
        self.assertEqual(len(server.log.find("generating", mark)), 1)


class Once(StockCase):
    """No set is used by two generations, whatever is killed when."""

    def setUp(self):
        super().setUp()
        self.used = {}  # fingerprint to the run that used it
        self.run = 0

    def note(self, server, mark, shown):
        """What this run has used: nobody else has, and no file is left."""
        installed = [e["fingerprint"]
                     for e in server.log.find("generation-installed", mark)]
        self.assertEqual(len(set(installed)), len(installed))
        # The log's line comes before a client can be shown anything.
        self.assertLessEqual(shown, set(installed))
        for fingerprint in installed:
            self.assertNotIn(fingerprint, self.used,
                             "used by run %s and by run %d" % (
                                 self.used.get(fingerprint), self.run))
            self.used[fingerprint] = self.run
        for name, content in sets(server.state_dir).items():
            self.assertEqual(
                name, "dh-1024-%s.pem" % hashlib.sha256(content).hexdigest())
            self.assertNotIn(fmltp.fingerprint(content), self.used)
        self.assertEqual(server.log.find("parameters-bad", mark), [])

    def look(self, server, shown):
        """What a client is shown, where there is a server."""
        try:
            shown.add(self.shown(server))
        except (OSError, fmltp.Closed):
            pass

    def until(self, server, what, mark, count=1):
        """Waits for an event, or the server's end: true if it lives."""
        harness.wait_for(
            "event %s or the end" % what, lambda: not server.alive() or
            len(server.log.find(what, mark)) >= count, PATIENCE)
        return server.alive()

    def one_run(self, server, mark, shown):
        """A launch on an empty or a filled directory, two rotations, and the
        stock made again: true if it was not killed."""
        server.spawn()
        if not self.until(server, "ready", mark):
            return False
        self.look(server, shown)
        for _ in range(2):
            # Full again, so that every run does the same steps.
            harness.wait_for(
                "two sets, or the end", lambda: not server.alive() or
                len(sets(server.state_dir)) == 2, PATIENCE)
            count = len(server.log.find("generation-installed", mark)) + 1
            if not harness.kill(server.pid, signal.SIGHUP) or \
               not self.until(server, "generation-installed", mark, count):
                return False
            self.look(server, shown)
        return self.until(
            server, "set-stored", mark,
            len(server.log.find("set-stored", mark)) +
            2 - len(sets(server.state_dir)))

    def test_killed_at_each_step(self):
        """Before and after each call that changes the directory."""
        server = self.prepared(seeds={}, keep_parameters=2, binary=FAULTY)
        left = set()
        deaths = 0
        for self.run in range(1, MANY_STEPS):
            self.environment("FLEXMUSIC_TEST_KILL_STEP", self.run)
            mark = server.log.mark()
            shown = set()
            whole = self.one_run(server, mark, shown)
            if whole:
                server.stop()
            else:
                server.process.wait()
                self.assertEqual(server.process.returncode, -signal.SIGKILL)
                deaths += 1
            if server.log.find("ready", mark):
                self.assertEqual(unfinished(server.state_dir) & left, set())
            left = unfinished(server.state_dir)
            self.note(server, mark, shown)
            if whole:
                break
        # Launch and two rotations take three sets and store three or more,
        # at 4 and 8 steps each; the lock is 2.
        self.assertGreater(deaths, 30)
        self.assertLess(deaths, MANY_STEPS - 2)
        del os.environ["FLEXMUSIC_TEST_KILL_STEP"]
        mark = server.log.mark()
        server.start()
        self.filled(server, 2)
        self.assertEqual(unfinished(server.state_dir), set())
        server.stop()
        self.run += 1
        self.note(server, mark, set())

    def test_killed_at_random(self):
        server = self.prepared(seeds={}, keep_parameters=2)
        moments = random.Random(0)
        left = set()
        for self.run in range(RANDOM_KILLS):
            mark = server.log.mark()
            shown = set()
            server.spawn()
            end = time.monotonic() + moments.uniform(0.05, 2)
            if self.until(server, "ready", mark):
                while time.monotonic() < end:
                    server.signal(signal.SIGHUP)
                    self.look(server, shown)
                    # Some signals find a stock, some the search for it.
                    time.sleep(moments.choice((
                        moments.uniform(0, 0.1), moments.uniform(0.3, 0.8))))
                self.assertEqual(unfinished(server.state_dir) & left, set())
            family = [p for p in server.processes() if p.pid != server.pid]
            server.kill()
            self.assertEqual(server.process.returncode, -signal.SIGKILL)
            self.assertEqual(harness.left_behind(family), [])
            left = unfinished(server.state_dir)
            self.note(server, mark, shown)
        self.assertGreater(len(self.used), RANDOM_KILLS)
        for source in ("made-ahead", "generated"):
            self.assertTrue(server.log.find("generation-installed",
                                            source=source), source)


# Each is a file that is wrong: what it is, and what the log says of it.
BAD_FILES = [
    ("truncated", "wrong-digest"),
    ("wrong_digest", "wrong-digest"),
    ("composite", "not-a-safe-prime"),
    ("other_generator", "not-a-safe-prime"),
    ("no_parameters", "not-parameters"),
    ("other_size", "other-size"),
    ("wrong_owner", "belongs to user"),
    ("mode", "has mode 0666: others may write it"),
    ("symbolic_link", "is a symbolic link"),
    ("hard_link", "has 2 hard links"),
    ("fifo", "is not a regular file"),
    ("directory", "is not a regular file"),
    ("empty", "is empty"),
    ("too_large", "has more than 4096 bytes"),
]


class BadFiles(StockCase):
    """They are told, set aside, and not used."""

    def setUp(self):
        super().setUp()
        self.server = self.prepared(seeds={}, keep_parameters=1)
        self.folder = self.server.state_dir
        self.other = os.path.join(self.server.directory, "other")

    def put(self, content, digest=None, mode=0o600):
        """A file under the name that its content has, or another."""
        name = "dh-1024-%s.pem" % (digest or
                                   hashlib.sha256(content).hexdigest())
        with open(os.path.join(self.folder, name), "xb") as f:
            f.write(content)
        os.chmod(f.name, mode)
        return name

    def put_link(self, content, link):
        """A set whose name is a link of some kind to another file."""
        name = self.put(content)
        path = os.path.join(self.folder, name)
        if link is os.symlink:
            os.rename(path, self.other + "-symbolic")
            os.symlink(self.other + "-symbolic", path)
        else:
            os.link(path, self.other + "-hard")
        return name

    def put_special(self, digit, make):
        """A thing that is no file, under a set's name."""
        name = "dh-1024-%s.pem" % (64 * digit)
        make(os.path.join(self.folder, name))
        return name

    def make(self, kind):
        """One bad file: its name, or None where it can't be made."""
        primes = harness.primes(1024)
        row = [k for k, _ in BAD_FILES].index(kind)
        good = harness.params_pem(primes[row])
        digest = hashlib.sha256(good).hexdigest()
        p24 = harness.params_pem(primes[row] + 24)
        five = fmltp.pem(b"DH PARAMETERS",
                         fmltp.dh_parameters(primes[row], 5))
        large = harness.params_pem(harness.primes(2048)[0])
        if kind == "wrong_owner":
            if not harness.ROOT:
                return None
            name = self.put(good)
            os.chown(os.path.join(self.folder, name), harness.OTHER_USER,
                     harness.OTHER_USER)
            return name
        return {
            "truncated": lambda: self.put(good[:-40], digest),
            "wrong_digest": lambda: self.put(good, 64 * "0"),
            "composite": lambda: self.put(p24),
            "other_generator": lambda: self.put(five),
            "no_parameters": lambda: self.put(b"\0 no PEM \xff\n"),
            "other_size": lambda: self.put(large),
            "mode": lambda: self.put(good, mode=0o666),
            "symbolic_link": lambda: self.put_link(good, os.symlink),
            "hard_link": lambda: self.put_link(good, os.link),
            "fifo": lambda: self.put_special("1", os.mkfifo),
            "directory": lambda: self.put_special("2", os.mkdir),
            "empty": lambda: self.put(b"", 64 * "3"),
            "too_large": lambda: self.put(good + 4096 * b"\n", 64 * "4"),
        }[kind]()

    def test_bad_files(self):
        names = {kind: self.make(kind) for kind, _ in BAD_FILES}
        server = self.server
        server.start()
        event = server.log.find("generation-installed")[0]
        self.assertEqual(event["source"], "generated")
        self.serves(server)
        for kind, reason in BAD_FILES:
            name = names[kind]
            with self.subTest(kind=kind):
                if name is None:
                    continue
                events = server.log.find("parameters-bad", file=name)
                self.assertEqual(len(events), 1)
                self.assertIn(reason, events[0]["reason"])
                path = os.path.join(self.folder, name)
                self.assertFalse(os.path.lexists(path))
                self.assertTrue(os.path.lexists(path + ".bad"))
        # None of the primes in them was used, or lies there as a set now.
        self.filled(server, 1)
        bad = {fmltp.fingerprint(harness.params_pem(p + d))
               for p in harness.primes(1024) for d in (0, 24)}
        self.assertNotIn(event["fingerprint"], bad)
        for content in sets(self.folder).values():
            self.assertNotIn(fmltp.fingerprint(content), bad)
        # The other names of linked files are as they were.
        for suffix in ("-symbolic", "-hard"):
            self.assertTrue(os.path.exists(self.other + suffix))
        server.stop()
        # They are not looked at again.
        mark = server.log.mark()
        server.start()
        self.assertEqual(server.log.find("parameters-bad", mark), [])
        self.assertEqual(server.log.find("generation-installed",
                                         mark)[0]["source"], "made-ahead")
        self.serves(server)


class Unusable(StockCase):
    """A directory that takes nothing: the server serves all the same."""

    mounts = None  # in a namespace of this process's own

    def system(self, result):
        """A system call's result, or its error."""
        if result == -1:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def mount(self, source, target, kind, flags, options):
        """mount(2)."""
        self.system(harness.LIBC.mount(
            source and source.encode(), target.encode(),
            kind and kind.encode(), ctypes.c_ulong(flags),
            options and options.encode()))

    def file_systems(self):
        """Has mounts of this test's own, or leaves it out."""
        if Unusable.mounts is None:
            try:
                self.system(harness.LIBC.unshare(CLONE_NEWNS))
                self.mount(None, "/", None, MS_REC | MS_PRIVATE, None)
                Unusable.mounts = ""
            except OSError as e:
                Unusable.mounts = "no file system can be mounted: %s" % e
        if Unusable.mounts:
            self.skipTest(Unusable.mounts)

    def on_tmpfs(self, server, options):
        """Puts the state directory on a small file system."""
        self.file_systems()
        self.mount("none", server.state_dir, "tmpfs", 0,
                   "mode=0700," + options)
        self.addCleanup(harness.LIBC.umount2, server.state_dir.encode(), 2)

    def rotates_by_search(self, server):
        """It serves, and a signal brings parameters."""
        self.serves(server)
        event = self.rotate(server)
        self.assertEqual(event["source"], "generated")
        self.assertEqual(self.shown(server), event["fingerprint"])
        self.serves(server)

    def used_once(self, server):
        """No fingerprint twice."""
        used = [e["fingerprint"]
                for e in server.log.find("generation-installed")]
        self.assertEqual(len(set(used)), len(used))

    def test_full_disk(self):
        server = self.prepared(seeds={}, keep_parameters=1)
        self.on_tmpfs(server, "size=16k")
        filler = os.path.join(server.state_dir, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(4096 * b"x")
            except OSError:
                pass
        server.start()
        self.serves(server)
        event = server.log.wait("set-not-stored", deadline=PATIENCE)
        self.assertIn("No space left", event["error"])
        self.assertEqual(sorted(os.listdir(server.state_dir)),
                         ["filler", "lock"])
        # What could not be stored is used from memory; the next one is
        # made, or searched for.
        for _ in range(3):
            event = self.rotate(server)
            self.assertEqual(self.shown(server), event["fingerprint"])
        self.serves(server)
        # With room again, SIGHUP does not wait for the retry's time.
        server.log.wait("set-not-stored", count=2, deadline=PATIENCE)
        os.unlink(filler)
        self.rotate(server)
        server.log.wait("set-stored", deadline=PATIENCE)
        self.used_once(server)

    def test_full_disk_at_the_start(self):
        """There is no room even for the lock's file."""
        server = self.prepared(seeds={}, keep_parameters=0)
        self.on_tmpfs(server, "nr_inodes=1")
        server.start()
        event = server.log.find("state-unusable")[0]
        self.assertIn(server.state_dir, event["why"])
        self.assertIn("No space left", event["why"])
        self.rotates_by_search(server)
        # As soon as there is room, it is used.
        self.mount("none", server.state_dir, "tmpfs", MS_REMOUNT,
                   "nr_inodes=9")
        seeded = harness.seed_state(server.state_dir, 1024)
        event = self.rotate(server)
        self.assertEqual(event["source"], "made-ahead")
        self.assertIn(event["fingerprint"], seeded)
        self.used_once(server)

    def test_read_only_mount(self):
        """The sets there can't be removed, so they are not used."""
        server = self.prepared(seeds={1024: 2}, keep_parameters=2)
        self.file_systems()
        self.mount(server.state_dir, server.state_dir, None, MS_BIND, None)
        self.addCleanup(harness.LIBC.umount2, server.state_dir.encode(), 2)
        self.mount(None, server.state_dir, None,
                   MS_BIND | MS_REMOUNT | MS_RDONLY, None)
        before = sets(server.state_dir)
        server.start()
        event = server.log.find("state-unusable")[0]
        self.assertIn("Read-only file system", event["why"])
        self.rotates_by_search(server)
        self.used_once(server)
        self.assertEqual(sets(server.state_dir), before)

    def read_only(self, lock):
        """A directory without the right to write: a server on it, and what
        was in it."""
        server = self.prepared(seeds={1024: 2}, keep_parameters=2)
        if lock:
            with open(os.path.join(server.state_dir, "lock"), "w") as f:
                os.chmod(f.fileno(), 0o600)
        os.chmod(server.state_dir, 0o500)
        self.addCleanup(os.chmod, server.state_dir, 0o700)
        before = sets(server.state_dir)
        server.start()
        self.assertEqual(
            server.log.find("generation-installed")[0]["source"],
            "generated")
        self.rotates_by_search(server)
        self.used_once(server)
        self.assertEqual(sets(server.state_dir), before)
        return server, before

    def test_read_only_directory(self):
        server, _ = self.read_only(lock=False)
        event = server.log.find("state-unusable")[0]
        self.assertIn("Permission denied", event["why"])
        self.assertIn("chmod 0700", event["why"])
        # Put right, it is used.
        os.chmod(server.state_dir, 0o700)
        self.assertEqual(self.rotate(server)["source"], "made-ahead")
        self.used_once(server)

    def test_read_only_directory_with_lock(self):
        server, before = self.read_only(lock=True)
        events = server.log.find("parameters-bad")
        # One line a rotation, not one a set.
        self.assertEqual(len(events), 2)
        for event in events:
            self.assertIn(event["file"], before)
            self.assertIn("cannot be removed", event["reason"])


class Systemd(StockCase):
    """What a service manager is told."""

    def setUp(self):
        super().setUp()
        folder = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.environment("NOTIFY_SOCKET", path)
        self.said = []

    def read(self):
        """All that was said so far: each a dictionary."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.said
            self.said.append(dict(line.split("=", 1)
                                  for line in text.split("\n") if line))

    def keys(self):
        """The keys that mean something, in order."""
        return [key for message in self.read() for key in message
                if key not in ("STATUS", "MAINPID", "MONOTONIC_USEC")]

    def test_start_with_a_search(self):
        """More time is asked for; READY comes when it listens."""
        server = self.prepared(seeds={}, key_size=2048)
        frozen = False
        while not frozen:
            server.stop()
            self.read().clear()
            mark = server.log.mark()
            server.spawn()
            frozen = self.freeze_search(server, mark)
        harness.wait_for("a word", self.read)
        self.assertEqual(set(self.keys()), {"EXTEND_TIMEOUT_USEC"})
        self.assertFalse(harness.listening(server.port))
        self.let_search(server)
        harness.wait_for("READY=1", lambda: "READY" in self.keys(), PATIENCE)
        self.assertTrue(harness.listening(server.port))
        keys = self.keys()
        self.assertEqual(keys.index("READY"), len(keys) - 1)
        self.assertEqual(self.said[-1]["READY"], "1")
        for message in self.said[:-1]:
            self.assertGreaterEqual(int(message["EXTEND_TIMEOUT_USEC"]),
                                    5000000)

    def test_whole_life(self):
        server = self.start(seeds={1024: 2})
        harness.wait_for("READY=1", lambda: "READY" in self.keys())
        self.assertEqual(self.keys(), ["READY"])
        self.assertEqual(self.said[0]["MAINPID"], str(server.pid))
        self.assertTrue(self.said[0]["STATUS"])

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.rotate(server)
        server.log.wait("reload")
        harness.wait_for("the end of the reload",
                         lambda: len(self.keys()) >= 3)
        self.assertEqual(self.keys(), ["READY", "RELOADING", "READY"])
        moment = int(self.said[1]["MONOTONIC_USEC"])
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        # The server's clock counts milliseconds.
        self.assertLessEqual(before - 1000, moment)
        self.assertLessEqual(moment, after)

        # A search while it serves is nobody's concern.
        self.rotate(server)
        self.serves(server)
        self.assertEqual(self.keys()[3:], ["RELOADING", "READY"])
        server.stop()
        self.assertEqual(self.keys()[5:], ["STOPPING"])

    def test_helpers_do_not_have_the_socket(self):
        server = self.start(seeds={1024: 1})
        session = server.client().handshake()
        helpers = [p for p in server.processes() if p.pid != server.pid]
        self.assertEqual({p.role for p in helpers},
                         {"zygote", "keys", "worker"})
        for p in helpers:
            try:
                with open("/proc/%d/environ" % p.pid, "rb") as f:
                    self.assertNotIn(b"NOTIFY_SOCKET", f.read())
            except PermissionError:
                self.assertFalse(harness.ROOT)
            fds = harness.descriptors(p.pid)
            if fds is None:
                continue
            peers = self.inodes(self.socket.getsockname())
            self.assertEqual(peers & {
                t[len("socket:["):-1] for t in fds.values()}, set())
        session.quit()

    def inodes(self, path):
        """Inodes of sockets that have this address."""
        found = set()
        with open("/proc/net/unix") as f:
            for line in f:
                row = line.split()
                if row[-1] == path:
                    found.add(row[6])
        return found

    def test_no_receiver(self):
        """A socket that is gone does no harm."""
        self.socket.close()
        server = self.start(seeds={1024: 2})
        self.rotate(server)
        self.serves(server)


def screen(output):
    """The lines that a terminal shows after this output."""
    lines = [""]
    at = 0
    for token in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", output):
        if token == "\r":
            at = 0
        elif token == "\n":
            lines.append("")
            at = 0
        elif token == "\x1b[K":
            lines[-1] = lines[-1][:at]
        else:
            lines[-1] = lines[-1][:at] + token + lines[-1][at + len(token):]
            at += len(token)
    return lines


class Terminal(StockCase):
    """What somebody sees who starts a server with -d and has to wait."""

    def launch(self):
        """A launch to its end, on a terminal: how long the search took, and
        the output."""
        server = self.prepared(seeds={}, key_size=2048)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, 1000, 0, 0))
        server.process = subprocess.Popen(
            [harness.DAEMON, "-d", "-f", server.config_path],
            stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=harness.become(None))
        os.close(slave)
        server.pid = server.process.pid
        output = ""
        while "event=ready" not in output:
            readable, _, _ = select.select([master], [], [], PATIENCE)
            self.assertTrue(readable, output)
            output += os.read(master, 65536).decode()
        took = re.search(r"event=generation-installed .* ms=(\d+)", output)
        server.signal(signal.SIGTERM)
        try:
            while True:
                output += os.read(master, 65536).decode()
        except OSError:  # its other end is closed
            pass
        self.assertEqual(server.process.wait(), 0)
        return int(took.group(1)), output

    def test_bar(self):
        """A line that says how far it is, and is gone when it is over."""
        took = 0
        while took < 1000:  # a search may be luckier than it can tell
            took, output = self.launch()
        self.assertRegex(output, r"\r2048 bits \[#* *\] \d+% of the expected "
                         r"tests, \d+\.\d s, \d+/s\x1b\[K")
        lines = [line for line in screen(output) if line]
        self.assertGreater(len(lines), 5)
        for line in lines:
            self.assertRegex(line, r"^\w{3} [ \d]\d .*event=")
            self.assertNotIn("expected tests", line)


class Fill(StockCase):
    """flexmusicd -G -o, as an installation fills the directory."""

    def fill(self, server, *arguments):
        """Runs it to its end."""
        return harness.run_daemon("-G", "1024", "-f", server.config_path,
                                  *arguments, deadline=PATIENCE)

    def test_directory(self):
        server = self.prepared(seeds={}, keep_parameters=2)
        done = self.fill(server, "-o", server.state_dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "")
        ready = {fmltp.fingerprint(c) for c in
                 sets(server.state_dir, 1024).values()}
        self.assertEqual(len(ready), 2)
        # Full already: nothing is added.
        done = self.fill(server, "-o", server.state_dir)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({fmltp.fingerprint(c) for c in
                          sets(server.state_dir).values()}, ready)
        server.start()
        event = server.log.find("generation-installed")[0]
        self.assertEqual(event["source"], "made-ahead")
        self.assertIn(event["fingerprint"], ready)
        # While a server has the directory, nobody else writes there.
        done = self.fill(server, "-o", server.state_dir)
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use by another flexmusicd", done.stderr)

    def test_directory_that_takes_nothing(self):
        server = self.prepared(seeds={})
        os.chmod(server.state_dir, 0o500)
        done = self.fill(server, "-o", server.state_dir)
        self.assertEqual(done.returncode, 1)
        self.assertIn("chmod 0700", done.stderr)
        self.assertEqual(os.listdir(server.state_dir), [])


if __name__ == "__main__":
    runner.main()
