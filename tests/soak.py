#!/usr/bin/python3
"""Load on a real server for a while: soak.py [--seconds N]  (make soak)

64 clients at a time, good and bad, against the daemon of BUILD, while its
parameters are rotated, its workers are killed and its log's receiver, a real
rsyslogd, is restarted.  Bad clients come from other addresses than good ones.

A warm-up under the same load comes first, in which the receiver is away until
the server's ring of lines is full: from then on no page of it is new.  Then
memory and descriptors are taken, while nothing goes on; and once more when the
load is over.  At the end each connection has to be found in the log.

A receiver that ends takes with it what is in its socket, and no sender can
know of that.  So before rsyslogd is stopped, the master is (SIGSTOP), until
rsyslogd has written all that it was sent; the master goes on when it is gone.
"""

import argparse
import collections
import json
import multiprocessing
import os
import pickle
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "process"))
sys.path.insert(0, os.path.join(HERE, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import test_identity  # noqa: E402
import test_parameters  # noqa: E402
from rsyslog import RSYSLOGD, Rsyslog  # noqa: E402

CTL = os.path.join(harness.BUILD, "flexmusicctl")
PROCESSES = 4
# How many clients there are of each kind; together 64.
CLIENTS = {"short": 24, "long": 8, "slow": 8, "half-open": 8, "garbage": 12,
           "killed": 4}
GOOD = ("short", "long", "slow")
ADDRESSES = 8  # that a client comes from, in turn
WARM_UP = 20  # seconds
HUP = 5
BITS = 1024  # of the parameters
SPARE = 8  # sets made ahead beside one for each SIGHUP: a warm-up may last
RESTART = 12  # seconds between two restarts of rsyslogd
AWAY = 1  # that it is away
FOUND = 3  # until the server has found it for sure: it looks once a second
PER_SOURCE = 6  # connections at once
FLOOD = 30  # connections, as fast as they come
BATCH = 25  # commands in one send
# How a ClientHello begins.
TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
# What a process may have more of at the end: an allocator does not give back
# each page, and the order of things is another each time.
TOLERANCE_KIB = 256
LASTING = ("master", "zygote", "keys", "auth")
ENDS = ("session-end", "handshake-failed", "spawn-failed")
# What never may be in the log.
TROUBLE = ("channel-violation", "helper-died", "helper-stuck", "helper-failed",
           "worker-failed", "spawn-failed", "rotation-failed", "reload-failed",
           "accept-delayed", "users-failed", "identity-failed",
           "parameters-bad")

# A connection: of what kind, from where, whether it became a session, how long
# its handshake took, when it was begun and over, and what was wrong with it.
Record = collections.namedtuple(
    "Record", "kind peer session handshake begun ended fault")


class Fault(Exception):
    """A session did not go as it had to."""


# -- clients --------------------------------------------------------------


def drips(r, data):
    """Places to cut a packet at, for one that takes about a second."""
    count = min(len(data) - 1, 30)
    return sorted(r.sample(range(1, len(data)), count))


class Actor(threading.Thread):
    """One client after the other, all of one kind."""

    def __init__(self, server, kind, number, seed, over):
        super().__init__(daemon=True)
        self.server = server
        self.kind = kind
        self.r = random.Random(seed)
        self.over = over
        self.records = []
        # A range of addresses for each kind, and in it for each client.
        self.net = "127.%d.%d." % (
            10 + list(CLIENTS).index(kind), 1 + number)
        self.turn = 0

    def run(self):
        play = getattr(self, self.kind.replace("-", "_"))
        while not self.over.is_set():
            self.turn += 1
            self.one(play, "%s%d" % (self.net,
                                     1 + self.turn % ADDRESSES))
            if self.kind not in GOOD:
                time.sleep(self.r.uniform(0.05, 0.3))

    def one(self, play, source):
        """One connection, and its record."""
        begun = time.monotonic()
        peer, fault, handshake, client = None, None, None, None
        try:
            with self.server.client(source=source) as client:
                peer = client.peer
                handshake = play(client, begun)
        except Exception as e:  # whatever it is, it is reported
            fault = "%s: %s" % (type(e).__name__, e)
        self.records.append(Record(
            self.kind, peer, client is not None and client.status is not None,
            handshake, begun, time.monotonic(), fault))

    # good ones

    def enter(self, client):
        """IDENT, as half of them do, and AUTH."""
        if not client.lockdown:
            raise Fault("let in without authentication")
        if self.r.random() < 0.5:
            test_identity.prove(client)
        answer = client.auth("alice", test_identity.PASSWORD)
        if answer != test_identity.GRANTED:
            raise Fault("AUTH was answered %r" % answer)

    def work(self, client, pause=0.0):
        """Some commands, and QUIT."""
        for _ in range(self.r.randrange(1, 6)):
            text = self.r.choice(("HELP", "HELP QUIT"))
            if not client.command(text).startswith(b"200 "):
                raise Fault("%s was not answered" % text)
            time.sleep(pause * self.r.random())
        client.quit()

    def short(self, client, begun):
        """A session by the book; some do not say who they are."""
        client.handshake()
        took = time.monotonic() - begun
        if self.r.random() < 0.7:
            self.enter(client)
        self.work(client)
        return took

    def long(self, client, begun):
        """One that lasts, or has much to ask."""
        client.handshake()
        took = time.monotonic() - begun
        self.enter(client)
        if self.r.random() < 0.3:
            self.batches(client)
        self.work(client, pause=3.0)
        return took

    def batches(self, client):
        """Hundreds of commands, a lot of them at a time."""
        for _ in range(20):
            client.send(b"".join(client.seal("HELP QUIT") + fmltp.CRLF
                                 for _ in range(BATCH)))
            for answer in client.read_answers(BATCH):
                if not answer.startswith(b"200 "):
                    raise Fault("HELP was answered %r" % answer)

    def slow(self, client, begun):
        """One whose packets come in drips."""
        def drip(send, data):
            send(data, split=drips(self.r, data), pause=0.03)
        client.read_banner()
        drip(client.send_version, fmltp.CLIENT_LINE + fmltp.CRLF)
        client.read_params()
        drip(client.send_key, client.make_key())
        client.read_key()
        drip(client.send_challenge, client.seal(client.banner) + fmltp.CRLF)
        client.read_final()
        self.enter(client)
        drip(client.send, client.seal("HELP") + fmltp.CRLF)
        if not client.read_answer().startswith(b"200 "):
            raise Fault("HELP was not answered")
        self.work(client)

    def killed(self, client, _):
        """One whose worker is killed."""
        client.until(self.r.choice(("vex", "kex", "chal", "session")))
        if not harness.kill(self.server.worker(client.peer).pid,
                            signal.SIGKILL):
            raise Fault("no worker to kill")
        try:
            client.rest()
        except ConnectionResetError:
            pass

    # bad ones: how the server ends them is all right, but it has to

    def until_end(self, client):
        """Reads until the server closes."""
        try:
            client.rest()
        except ConnectionError:
            pass
        except TimeoutError as e:
            raise Fault("was not closed") from e

    def stage(self, client):
        """Some way into the handshake; None where the server ended it, for
        a source that has a penalty is turned away."""
        stage = self.r.choice(("vex", "kex", "chal", "session"))
        try:
            client.until(stage)
        except (fmltp.Closed, ConnectionError):
            return None
        return stage

    def packet(self, client, stage):
        """The next packet, as it should be."""
        if stage == "vex":
            return fmltp.CLIENT_LINE + fmltp.CRLF
        if stage == "kex":
            return client.make_key()
        return client.seal(client.banner) + fmltp.CRLF

    def half_open(self, client, _):
        """Stops before or within a packet, and waits, or is gone."""
        if self.r.random() < 0.3:
            stage = None  # not even packet 1 is read
        else:
            stage = self.stage(client)
        if stage is not None and self.r.random() < 0.6:
            data = self.packet(client, stage)
            client.send(data[:self.r.randrange(1, len(data) - 4)])
        if self.r.random() < 0.3:
            client.reset()
        else:
            self.until_end(client)

    def garbage(self, client, _):
        """What is no packet of that place, in many ways."""
        if self.r.random() < 0.05:
            self.crowd(client)
            return
        stage = self.stage(client)
        if stage is None:
            return
        try:
            self.spoil(client, stage)
        except (ConnectionError, fmltp.Closed):
            return
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        self.until_end(client)

    def spoil(self, client, stage):
        """Sends something that is wrong there."""
        r = self.r
        noise = r.randbytes(r.choice((1, 40, 700, 6000)))
        if stage == "vex":
            client.send(r.choice((
                noise, noise + fmltp.CRLF, TLS + noise,
                b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")))
        elif stage == "kex":
            data = client.make_key()
            p, g, y = client.numbers()
            client.send(r.choice((
                noise, data[:60] + noise + data[60:],
                fmltp.pem(b"PUBLIC KEY", fmltp.spki(p, g, r.choice(
                    (0, 1, p - 1, p, p + y)))))))
        elif stage == "chal":
            client.send(r.choice((noise, fmltp.token(
                r.randbytes(32), client.banner))) + fmltp.CRLF)
        elif r.random() < 0.5:
            again = client.seal("HELP") + fmltp.CRLF
            client.send(r.choice((noise + fmltp.CRLF, again + again,
                                  fmltp.token(r.randbytes(32), b"HELP") +
                                  fmltp.CRLF)))
        else:
            client.auth("alice", "wrong")

    def crowd(self, client):
        """More connections at once than one source may have, or more one
        after the other than the log has lines for."""
        at_once = self.r.random() < 0.5
        source = client.peer.partition(":")[0]
        others = []
        for _ in range(PER_SOURCE + 2 if at_once else FLOOD):
            begun = time.monotonic()
            other = self.server.client(source=source)
            others.append((other, begun))
            if not at_once:
                other.reset()
        for other, begun in others:
            if at_once:
                other.reset()
            self.records.append(Record(self.kind, other.peer, False, None,
                                       begun, time.monotonic(), None))


def play(server, shares, seed, over, path):
    """A process of clients, to its end; their records go into a file."""
    actors = [Actor(server, kind, number, "%s %s %d" % (seed, kind, number),
                    over) for kind, number in shares]
    for actor in actors:
        actor.start()
    for actor in actors:
        actor.join()
    with open(path, "wb") as f:
        pickle.dump([tuple(record) for actor in actors
                     for record in actor.records], f)


# -- what is done to the server -------------------------------------------


class Soak:
    """The server, its receiver, and what has been done."""

    def __init__(self, seconds, seed):
        self.seed = seed
        # What lets the good ones in: more connections than all clients have
        # at once, so that nobody gives way, and the rest for each source.
        self.server = harness.Server(
            arguments=("-F",), seeds={}, syslog_facility="local3",
            auth_method="auth", max_connections=512,
            max_connections_per_source=PER_SOURCE, accept_rate=20,
            accept_burst=40, handshake_failure_cooldown=20,
            auth_failure_cooldown=20, penalty_exempt=[],
            handshake_client_timeout=15, auth_timeout=15)
        s = self.server
        users = os.path.join(s.directory, "users")
        with open(users, "w") as f:
            f.write(test_identity.USERS)
        os.chmod(users, 0o600)
        self.receiver = Rsyslog(s.directory)
        s.write_config(auth_file=users, syslog_socket=self.receiver.socket,
                       identity_file=os.path.join(s.directory,
                                                  "identity.pem"))
        self.words = s.log  # what sanitizers say
        s.log = harness.Log(self.receiver.file)
        self.stock((WARM_UP + seconds) // HUP + SPARE)
        self.hups = 0
        self.restarts = 0
        self.marks = 0
        self.away = []  # from when to when

    def ctl_status(self):
        """The report of flexmusicctl status."""
        return json.loads(subprocess.run(
            [CTL, "status", "--json", "--socket", self.server.control_path],
            check=True, capture_output=True, text=True,
            timeout=harness.DEADLINE).stdout)

    def stock(self, count):
        """Sets made ahead, one for each SIGHUP: each is used once."""
        for content in test_parameters.make(BITS, count):
            harness.store_set(self.server.state_dir, BITS, content)

    def rotated(self):
        """Each SIGHUP has brought its generation."""
        return self.ctl_status()["generation"] == 1 + self.hups

    def rotate(self):
        """SIGHUP, once the one before is done: several that coincide are
        one."""
        harness.wait_for("a rotation", self.rotated, pause=0.1)
        self.hups += 1
        self.server.signal(signal.SIGHUP)

    def written(self):
        """Waits until the receiver has written all that it was sent."""
        self.marks += 1
        mark = "soak-mark-%d" % self.marks
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.settimeout(harness.DEADLINE)
            s.connect(self.receiver.socket)
            s.send(b"<29>Jan  1 00:00:00 soak: event=%s" % mark.encode())
        self.server.log.wait(mark)

    def stop_receiver(self):
        """The receiver goes away, and loses nothing that it was sent."""
        self.restarts += 1
        begun = time.monotonic()
        self.server.signal(signal.SIGSTOP)
        try:
            harness.wait_for("the master to stand still", lambda: harness.
                             look_at(self.server.pid).state == "T")
            self.written()
            self.receiver.stop()
        finally:
            self.server.signal(signal.SIGCONT)
        return begun

    def start_receiver(self, begun):
        """... and comes back."""
        self.receiver.start()
        self.away.append((begun, time.monotonic()))

    def fill_ring(self):
        """Keeps the receiver away until the server loses lines."""
        begun = self.stop_receiver()
        before = self.ctl_status()["log_dropped"]
        harness.wait_for("a full ring",
                         lambda: self.ctl_status()["log_dropped"] > before,
                         pause=0.5)
        self.start_receiver(begun)

    def load(self, seconds, warm):
        """All clients for so long, or longer, where the warm-up needs it;
        returns their records."""
        everyone = [(kind, n) for kind, count in CLIENTS.items()
                    for n in range(count)]
        over = multiprocessing.Event()
        paths, children = [], []
        for i in range(PROCESSES):
            path = os.path.join(self.server.directory, "records-%d" % i)
            child = multiprocessing.Process(target=play, daemon=True, args=(
                self.server, everyone[i::PROCESSES],
                "%d %s" % (self.seed, warm), over, path))
            child.start()
            paths.append(path)
            children.append(child)
        try:
            self.trouble(time.monotonic() + seconds, warm)
            over.set()
            return self.collect(paths, children)
        finally:
            for child in children:
                child.kill()
                child.join()

    def trouble(self, until, warm):
        """What happens beside the clients."""
        hup = restart = time.monotonic()
        if warm:
            self.fill_ring()
        while time.monotonic() < until:
            now = time.monotonic()
            if now - hup >= HUP:
                hup = now
                self.rotate()
            if not warm and now - restart >= RESTART:
                restart = now
                begun = self.stop_receiver()
                time.sleep(AWAY)
                self.start_receiver(begun)
            time.sleep(0.1)

    def collect(self, paths, children):
        """The records of clients that come to their end."""
        records = []
        for path, child in zip(paths, children):
            child.join()
            if child.exitcode != 0:
                raise Fault("clients ended with status %d" % child.exitcode)
            with open(path, "rb") as f:
                records += [Record(*fields) for fields in pickle.load(f)]
            os.remove(path)
        return records

    def settled(self):
        """Waits until nothing goes on and all is in the log; returns the
        status report."""
        s = self.server
        harness.wait_for("the end of all sessions and searches", lambda: all(
            p.role in LASTING for p in s.processes()))
        harness.wait_for("the last rotation", self.rotated, pause=0.1)
        harness.wait_for("the end of all sessions",
                         lambda: self.ctl_status()["sessions"] == 0)
        time.sleep(FOUND)  # lines that wait, and those about many
        self.written()
        start = s.log.mark()
        s.signal(signal.SIGUSR1)
        report = s.log.wait("status", start)
        report["generation"] = s.log.wait("status-generation",
                                          start)["generation"]
        return report


def measure(server):
    """Of each process that lasts: KiB of its own, shared with nobody while
    there is no worker, and descriptors.  Pages of its program's file are left
    out: whether they count as private depends on who else has it mapped, and
    whether as dirty, on how long ago it was linked."""
    found = {}
    for p in server.processes():
        if p.role not in LASTING:
            continue
        with open("/proc/%d/smaps_rollup" % p.pid) as f:
            kib = sum(int(size) for size in re.findall(
                r"^(?:Anonymous|Swap): +(\d+)", f.read(), re.M))
        found[p.pid] = (p.role, kib, len(harness.descriptors(p.pid)))
    return found


# -- what has to be so ----------------------------------------------------


def excused(r, away):
    """True where the receiver was away during a connection, or nearly."""
    return any(begun <= r.ended + FOUND and r.begun <= ended + FOUND
               for begun, ended in away)


class Account:
    """The connections of a load against the log's lines."""

    def __init__(self, records, events, away):
        self.events = events
        self.faults = []
        self.made = collections.Counter(r.peer for r in records if r.peer)
        self.ends = collections.Counter(
            e["peer"] for e in events if e.name in ENDS)
        self.begins, self.ended, self.failed = (
            collections.Counter(e["peer"] for e in events if e.name == name)
            for name in ("session-begin", "session-end", "handshake-failed"))
        self.refused = sum(int(e["count"]) for e in events
                           if e.name == "connection-refused")
        self.left_out = collections.Counter()
        for e in events:
            if e.name == "log-limited":
                self.left_out[e["peer"].rpartition(":")[0]] += \
                    int(e["left_out"])
        self.dropped = sum(int(e["dropped"]) for e in events
                           if e.name == "log-dropped")
        self.lost = 0  # lines that have to be there, and are not
        # An address and port may come twice, and the line of either be gone:
        # those that the receiver's absence explains are looked at first.
        records = sorted(records, key=lambda r: not excused(r, away))
        self.check_sessions(records, away)
        self.check(records, away)

    def miss(self, r, what, away):
        """A line about a connection is not there: was it left out, or can it
        be lost?"""
        source = r.peer.rpartition(":")[0]
        if self.left_out[source] > 0:
            self.left_out[source] -= 1
            return
        self.lost += 1
        if not excused(r, away):
            self.faults.append("%s %s has no %s, and the receiver was there" %
                               (r.kind, r.peer, what))

    def check_sessions(self, records, away):
        """Who was sent packet 7 has a session-begin, and nobody else."""
        sessions = collections.Counter(r.peer for r in records if r.session)
        for name, lines in (("session-begin", self.begins),
                            ("session-end", self.ended)):
            for peer, count in (lines - sessions).items():
                self.faults.append("%d %s too many of %s" % (
                    count, name, peer))
        missing = sessions - self.begins
        for r in records:
            # A worker may be killed before it could tell of packet 7.
            if r.kind == "killed" and self.failed[r.peer]:
                continue
            if r.session and missing[r.peer]:
                missing[r.peer] -= 1
                self.miss(r, "session-begin", away)

    def check(self, records, away):
        """Each has an end, or was refused."""
        for peer, count in (self.ends - self.made).items():
            self.faults.append("%d ends too many of %s" % (count, peer))
        missing = self.made - self.ends
        for r in records:
            if r.kind == "garbage" or not missing[r.peer]:
                continue
            # Nothing turns these away: they have an end.
            missing[r.peer] -= 1
            self.miss(r, "end", away)
        if self.lost > self.dropped:
            self.faults.append(
                "%d lines are missing, and the server says that it lost %d" %
                (self.lost, self.dropped))
        rest = sum(missing.values())
        slack = self.dropped - self.lost + sum(self.left_out.values())
        if not self.refused <= rest <= self.refused + slack:
            self.faults.append(
                "%d connections of garbage have no end of their own, but %d "
                "were refused, and %d lines were left out" % (
                    rest, self.refused, slack))


def percentile(values, share):
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Report:
    """Checks, each with its reasons."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, name, faults):
        """One line that passed, or some that say why not."""
        if not faults:
            self.passed += 1
            print("  passed  " + name)
            return
        self.failed += 1
        print("  FAILED  " + name)
        for fault in faults[:10]:
            print("          " + fault)
        if len(faults) > 10:
            print("          and %d more" % (len(faults) - 10))


def show(rows):
    """A table."""
    widths = [max(len(str(row[i])) for row in rows)
              for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in
                               zip(row, widths)).rstrip())
    print()


def show_sessions(records, seconds):
    """Kinds and handshakes."""
    counts = collections.Counter(r.kind for r in records)
    failed = collections.Counter(r.kind for r in records if r.fault)
    show([("sessions", "clients", "made", "failed")] +
         [(kind, clients, counts[kind], failed[kind])
          for kind, clients in CLIENTS.items()])
    good = sum(r.kind in GOOD and not r.fault for r in records)
    took = [r.handshake for r in records if r.handshake is not None]
    if took:
        show([("good handshakes/s", "p50 ms", "p99 ms"),
              ("%.1f" % (good / seconds), "%.1f" % (
                  1000 * percentile(took, 0.5)), "%.1f" % (
                      1000 * percentile(took, 0.99)))])


def grown(before, after):
    """Faults of memory and of descriptors."""
    memory, fds = [], []
    for pid in before.keys() & after.keys():
        role, kib, count = before[pid]
        _, kib_after, count_after = after[pid]
        if kib_after > kib + TOLERANCE_KIB:
            memory.append("%s %d has grown from %d to %d KiB" % (
                role, pid, kib, kib_after))
        if count_after != count:
            fds.append("%s %d had %d descriptors, and has %d: %s" % (
                role, pid, count, count_after, harness.descriptors(pid)))
    return memory, fds


def soak(seconds, seed, report):
    """All of it."""
    it = Soak(seconds, seed)
    server = it.server
    it.receiver.start()
    try:
        with server:
            warm = it.load(WARM_UP, True)
            first = it.settled()
            before = measure(server)
            mark, hups, restarts = server.log.mark(), it.hups, it.restarts
            begun = time.monotonic()
            records = it.load(seconds, False)
            took = time.monotonic() - begun
            last = it.settled()
            after = measure(server)
            events = server.log.read()
            judge(it, report, (warm, events[:mark], first),
                  (records, events[mark:], last), (before, after),
                  (it.hups - hups, it.restarts - restarts, took))
            faults = []
            try:
                server.stop()
            except AssertionError as e:
                faults = [str(e)]
            server.log = it.words
            report.check("the server stops, and no process is left",
                         faults + server.reports())
    finally:
        it.receiver.stop()


def judge(it, report, warm, load, sizes, done):
    """Figures and checks."""
    records, events, last = load
    hups, restarts, took = done
    before, after = sizes
    names = collections.Counter(e.name for e in events)
    show_sessions(records, took)
    account = Account(records, events, it.away)
    left_out, dropped, rotations = (
        int(last[key]) - int(warm[2][key])
        for key in ("log_left_out", "log_dropped", "generation"))
    show([("SIGHUPs", "rotations", "kills", "penalties", "refused",
           "rsyslogd restarts"),
          (hups, rotations,
           sum(r.kind == "killed" and not r.fault for r in records),
           names["penalty"], account.refused, restarts)])
    show([("log lines", "ends", "left out", "dropped"),
          (len(events), sum(account.ends.values()), left_out, dropped)])
    show([("process", "pid", "KiB at start", "at end", "fds at start",
           "at end")] +
         [(role, pid, kib, after.get(pid, ("", "-", "-"))[1], fds,
           after.get(pid, ("", "-", "-"))[2])
          for pid, (role, kib, fds) in sorted(before.items())])

    both = warm[0] + records
    reasons = {e["peer"]: e.get("reason") for e in warm[1] + events
               if e.name in ENDS}
    report.check("no good session failed", [
        "%s %s: %s; in the log: %s" % (r.kind, r.peer, r.fault,
                                       reasons.get(r.peer, "no end"))
        for r in both if r.kind in GOOD and r.fault])
    report.check("bad clients and killed ones are closed", [
        "%s %s: %s" % (r.kind, r.peer, r.fault) for r in both
        if r.kind not in GOOD and r.fault])
    counts = collections.Counter(r.kind for r in records)
    report.check("all kinds were there, and had penalties, rotations, "
                 "restarts", [
                     "none: " + what for what, count in (
                         [(kind, counts[kind]) for kind in CLIENTS] +
                         [("penalty", names["penalty"]),
                          ("connection-refused", account.refused),
                          ("restart of rsyslogd", restarts)])
                     if count == 0])
    report.check("each SIGHUP rotated", [] if rotations == hups else
                 ["%d SIGHUPs, %d rotations" % (hups, rotations)])
    report.check("the processes are those of the start", [
        "%s %d is gone" % (before[pid][0], pid)
        for pid in before.keys() - after.keys()] + [
            "%s %d is new" % (after[pid][0], pid)
            for pid in after.keys() - before.keys()])
    memory, fds = grown(before, after)
    report.check("memory is that of the start, and %d KiB at most" %
                 TOLERANCE_KIB, memory)
    report.check("descriptors are those of the start", fds)
    faults = []
    for name, (made, lines, status), earlier in (
            ("warm-up", warm, None), ("load", load, warm[2])):
        total, refused = (int(status[key]) - int(earlier[key] if earlier
                                                 else 0)
                          for key in ("total", "refused"))
        connected = sum(r.peer is not None for r in made)
        if connected != total + refused:
            faults.append("%s: %d connections, but %d sessions and %d "
                          "refused" % (name, connected, total, refused))
        told = sum(int(e["count"]) for e in lines
                   if e.name == "connection-refused")
        lost, noted = (sum(int(e[field]) for e in lines if e.name == event)
                       for event, field in (("log-dropped", "dropped"),
                                            ("log-limited", "left_out")))
        counted, limited = (
            int(status[key]) - int(earlier[key] if earlier else 0)
            for key in ("log_dropped", "log_left_out"))
        if lost != counted:
            faults.append("%s: the server lost %d lines, and tells of %d" % (
                name, counted, lost))
        # With lines that were lost, such lines may be among them.
        if told > refused or (lost == 0 and told != refused):
            faults.append("%s: %d refused, and %d told of" % (
                name, refused, told))
        if noted > limited or (lost == 0 and noted != limited):
            faults.append("%s: %d lines left out, and %d told of" % (
                name, limited, noted))
    report.check("the server has counted each connection, and what its log "
                 "has not", faults)
    report.check("each connection is in the log (warm-up, with a full ring)",
                 Account(warm[0], warm[1], it.away).faults)
    report.check("each connection is in the log", account.faults)
    died = {e["peer"] for e in events if e.name == "worker-died"}
    killed = {r.peer for r in records if r.kind == "killed" and not r.fault}
    report.check("each kill is in the log, and no other death", [
        "no worker-died: " + peer for peer in killed - died
        if account.dropped == 0] + [
            "worker-died: " + peer for peer in died - killed])
    report.check("the log tells of no trouble", [
        e.text for e in warm[1] + events if e.name in TROUBLE])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int)
    o = parser.parse_args()
    if harness.SANITIZED:
        sys.exit("soak compares memory, which sanitizers do not give back")
    if not harness.ROOT or RSYSLOGD is None:
        sys.exit("soak needs root and rsyslogd")
    seed = o.seed if o.seed is not None else \
        int.from_bytes(os.urandom(4), "big")
    print("soak: %d clients for %d s after a warm-up of %d s, --seed %d\n" % (
        sum(CLIENTS.values()), o.seconds, WARM_UP, seed), flush=True)
    report = Report()
    try:
        soak(o.seconds, seed, report)
    except (Fault, OSError, AssertionError) as e:
        report.check("the run comes to its end",
                     ["%s: %s" % (type(e).__name__, e)])
    print("\n%d passed, %d failed" % (report.passed, report.failed))
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
