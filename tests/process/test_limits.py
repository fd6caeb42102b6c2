#!/usr/bin/python3
"""Who may connect: limits, penalties and giving way, with real connections.

Clients come from different addresses of loopback, and from network namespaces
where a prefix matters.  What the server writes of offences is read as fail2ban
reads it.
"""

import contextlib
import ctypes
import multiprocessing
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

BANNER = b"FlexMusic Server,0.0.0\r\n"
REFUSED = b"151 Authentication failed.\r\n"
GRANTED = b"150 Authentication successful.\r\n"
GONE = (fmltp.Closed, ConnectionError)

SCALE = float(os.environ.get("FLEXMUSIC_TIME_SCALE", "1"))
FIRST = 5  # seconds of the first penalty
FLOOD = harness.scaled(20000)
FLOOD_ROUNDS = 10
FLOOD_RATIO = 1.5
FLOOD_TRIES = 3  # machines have other things to do

CLONE_NEWNET = 0x40000000
PIDFD_GETFD = 438  # its number on every machine
IP_BIND_ADDRESS_NO_PORT = 24

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
IP = shutil.which("ip", path=PATH)
FAIL2BAN = shutil.which("fail2ban-regex", path=PATH)
FILTER = os.path.join(harness.TOP, "etc", "fail2ban", "filter.d",
                      "flexmusicd.conf")
JAIL = os.path.join(harness.TOP, "etc", "fail2ban", "jail.d",
                    "flexmusicd.conf")


# -- offences ------------------------------------------------------------


def public(body, label=b"PUBLIC KEY"):
    """Packet 4 of a DER body."""
    return fmltp.pem(label, body)


def bad_keys(client):
    """Packets 4 that are malformed, by the reason in the log."""
    client.make_key()
    p, g, y = client.numbers()
    whole = fmltp.spki(p, g, y)
    return {
        "pem-bad-label": public(whole, b"CERTIFICATE"),
        "pem-bad-body": public(whole).replace(b"\nM", b"\n*", 1),
        "pem-too-long": b"-----BEGIN PUBLIC KEY-----\n" + 200 * (
            64 * b"A" + b"\n"),
        "der-not-canonical": public(whole + b"\0"),
        "dh-other-parameters": public(fmltp.spki(p, 5, y)),
        "dh-out-of-range": public(fmltp.spki(p, g, 1)),
    }


KEY_REASONS = ("pem-bad-label", "pem-bad-body", "pem-too-long",
               "der-not-canonical", "dh-other-parameters", "dh-out-of-range")
REASONS = KEY_REASONS + ("token-bad-mac",)


def commit(client, reason):
    """Does what has this reason, on a connection that waits for packet 4 or,
    for token-bad-mac, for packet 6."""
    with contextlib.suppress(*GONE):
        if reason == "token-bad-mac":
            client.send(fmltp.token(os.urandom(32), client.banner) +
                        fmltp.CRLF)
        else:
            client.send(bad_keys(client)[reason])
        client.rest()
    client.close()  # until then, its worker has patience


def make_users(directory):
    """A users file: alice, with the password wonderland."""
    path = os.path.join(directory, "users")
    harness.make_users(path, {"alice": "wonderland"})
    return path


class Case(harness.OwnServerCase):
    """What the tests below have in common."""

    def start(self, **keys):
        """Nobody is exempt, and nothing is hurried."""
        keys.setdefault("penalty_exempt", [])
        keys.setdefault("handshake_client_timeout", 60)
        return super().start(**keys)

    def start_auth(self, **keys):
        """A server that authenticates."""
        directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, directory)
        return self.start(auth_method="auth",
                          auth_file=make_users(directory), **keys)

    def connect(self, server, source):
        """A connection from an address; it is only just open."""
        host = "::1" if source == "::1" else server.host
        client = fmltp.Client((host, server.port), source)
        self.addCleanup(client.close)
        return client

    def turned_away(self, server, source, reason=None):
        """Packet 1, and the end."""
        client = self.connect(server, source)
        data = b""
        with contextlib.suppress(ConnectionError):
            data = client.rest()
        self.assertEqual(data, BANNER)
        if reason is not None:
            server.log.wait("connection-refused", reason=reason,
                            peer=client.peer)

    def is_served(self, server, source):
        """True where the connection gets packet 3."""
        client = self.connect(server, source)
        try:
            client.until("kex")
        except GONE:
            return False
        finally:
            client.close()
        return True

    def served(self, server, source):
        """The same, asserted."""
        self.assertTrue(self.is_served(server, source), source)

    def offend(self, server, source, reason="dh-out-of-range", **how):
        """One connection that fails for that reason."""
        client = self.connect(server, source)
        client.until("chal" if reason == "token-bad-mac" else "kex", **how)
        commit(client, reason)
        event = server.log.wait("handshake-failed", peer=client.peer)
        self.assertEqual(event["reason"], reason)
        return client.peer

    def penalties(self, server, source):
        """What it was given so far."""
        return [int(e["penalty_s"])
                for e in server.log.find("penalty", source=source)]

    def crash(self, server, client):
        """A worker dies as an attack on its memory would end it."""
        os.kill(server.worker(client.peer).pid, signal.SIGSEGV)
        event = server.log.wait("worker-died", peer=client.peer)
        self.assertEqual(event["attack"], "yes", event.text)


# -- limits --------------------------------------------------------------


class Limits(Case):
    """How many, and how fast."""

    def test_connections_of_one_source(self):
        """So many at a time; another address has its own; who leaves makes
        room.  Silent ones count, exempt from penalties or not."""
        hosts = ["127.0.0.1"] + (["::1"] if harness.have_ipv6() else [])
        server = self.start(host=hosts, max_connections_per_source=3,
                            penalty_exempt=["127.0.0.0/8", "::1"])
        sources = ["127.0.0.2"] + (["::1"] if harness.have_ipv6() else [])
        for i, source in enumerate(sources):
            if i != 0:
                time.sleep(1.1)  # a line a second tells of refusals
            clients = [self.connect(server, source) for _ in range(3)]
            for client in clients:
                self.assertEqual(client.receive(), BANNER)
            self.turned_away(server, source, "max-connections-per-source")
            self.served(server, "127.0.0.9")
            clients[0].close()
            harness.wait_for("a place", lambda s=source:
                             self.is_served(server, s))
            for client in clients[1:]:
                client.resume("vex") if client.banner else client.close()

    def test_rate(self):
        """A burst, and then so many a second, however they end."""
        server = self.start(accept_rate=1, accept_burst=4)
        begun = time.monotonic()
        for _ in range(4):
            client = self.connect(server, "127.0.0.2")
            self.assertEqual(client.receive(), BANNER)
            with contextlib.suppress(*GONE):
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                client.rest()
            client.close()
        served = sum(self.is_served(server, "127.0.0.2") for _ in range(8))
        self.assertLessEqual(served, time.monotonic() - begun)
        server.log.wait("handshake-failed", count=4,
                        reason="version-not-flexmusic")
        server.log.wait("connection-refused", reason="accept-rate")
        self.served(server, "127.0.0.3")
        time.sleep(1.1)
        self.served(server, "127.0.0.2")

    def told(self, server, mark=0):
        """How many refusals the log has told of."""
        return sum(int(e["count"])
                   for e in server.log.find("connection-refused", start=mark))

    def test_each_refusal_is_told(self):
        """A line a second counts them all, the last ones too: none has to
        come after them, and stopping does not forget them."""
        server = self.start(max_connections_per_source=1)
        first = self.connect(server, "127.0.0.2")
        self.assertEqual(first.receive(), BANNER)
        for _ in range(5):
            self.turned_away(server, "127.0.0.2")
        harness.wait_for("a line about each", lambda: self.told(server) == 5)
        mark = server.log.mark()
        for _ in range(5):
            self.turned_away(server, "127.0.0.2")
        first.close()
        server.stop()
        self.assertEqual(self.told(server, mark), 5)

    def test_refusals_beside_many_lines(self):
        """A peer that has had all the lines that it gets: how many were
        turned away is told all the same."""
        server = self.start_auth()
        clients = [self.connect(server, "127.0.0.2").handshake()
                   for _ in range(12)]
        for client in clients:
            client.send_command("AUTH alice sesame")
        server.log.wait("auth-failed", count=10)
        for client in clients:
            client.close()
        harness.wait_for("a penalty", lambda: not self.is_served(
            server, "127.0.0.2"))
        self.turned_away(server, "127.0.0.2")
        server.signal(signal.SIGUSR1)
        refused = int(server.log.wait("status")["refused"])
        self.assertGreaterEqual(refused, 2)
        harness.wait_for("a line about each",
                         lambda: self.told(server) == refused)

    def test_all(self):
        """max_connections, of sessions that do not give way."""
        server = self.start(max_connections=2)
        clients = [self.connect(server, "127.0.0.%d" % (i + 2)).handshake()
                   for i in range(2)]
        self.turned_away(server, "127.0.0.9", "max-connections")
        for client in clients:
            client.quit()
        harness.wait_for("a place",
                         lambda: self.is_served(server, "127.0.0.9"))


# -- penalties -----------------------------------------------------------


class Penalties(Case):
    """What a source has done has a price."""

    def test_each_reason(self):
        """The third within a minute costs 5 s, and others nothing."""
        server = self.start(max_connections=100)
        for i, reason in enumerate(REASONS):
            with self.subTest(reason):
                source = "127.0.1.%d" % (i + 1)
                for _ in range(2):
                    self.offend(server, source, reason)
                    self.served(server, source)
                self.assertEqual(self.penalties(server, source), [])
                self.offend(server, source, reason)
                event = server.log.wait("penalty", source=source)
                self.assertEqual((event["offence"], event["penalty_s"]),
                                 ("handshake", str(FIRST)))
                self.turned_away(server, source)
                self.served(server, "127.0.2.1")
        self.assertEqual(len(server.log.find("penalty")), len(REASONS))

    def test_its_end(self):
        """It lasts 5 s, during which an offence of a connection that was
        open doubles it."""
        server = self.start(handshake_failure_cooldown=15)
        begun = time.monotonic()
        for _ in range(3):
            self.offend(server, "127.0.0.2")
        ends = time.monotonic() + FIRST
        server.log.wait("penalty", source="127.0.0.2")
        self.turned_away(server, "127.0.0.2", "penalised")
        others = [self.connect(server, "127.0.0.3").until("kex")
                  for _ in range(6)]
        for client in others:
            commit(client, "pem-bad-body")
            server.log.wait("handshake-failed", peer=client.peer)
        server.log.wait("penalty", source="127.0.0.3", count=4)
        self.assertEqual(self.penalties(server, "127.0.0.3"), [5, 10, 15, 15])
        while not self.is_served(server, "127.0.0.2"):
            self.assertLess(time.monotonic(), ends + FIRST * SCALE)
            time.sleep(0.1)
        self.assertGreater(time.monotonic() - begun, FIRST - 0.1)
        self.turned_away(server, "127.0.0.3")
        self.offend(server, "127.0.0.2")
        server.log.wait("penalty", source="127.0.0.2", penalty_s=10)
        self.turned_away(server, "127.0.0.2")

    def test_failed_session(self):
        """A session that failed all its attempts; together with what the
        handshake has."""
        server = self.start_auth(max_auth_attempts=1,
                                 auth_failure_cooldown=3)
        clients = [self.connect(server, "127.0.0.2").handshake()
                   for _ in range(3)]
        mixed = self.connect(server, "127.0.0.3").handshake()
        for client in clients + [mixed]:
            client.send_command("AUTH alice Wonderland")
        event = server.log.wait("penalty", source="127.0.0.2")
        self.assertEqual((event["offence"], event["penalty_s"]),
                         ("auth", "3"))
        self.turned_away(server, "127.0.0.2", "penalised")
        for client in clients + [mixed]:
            self.assertEqual(client.read_answer(), REFUSED)
            self.assertEqual(client.rest(), b"")
        self.offend(server, "127.0.0.3")
        self.served(server, "127.0.0.3")
        self.offend(server, "127.0.0.3", "token-bad-mac")
        event = server.log.wait("penalty", source="127.0.0.3")
        self.assertEqual((event["offence"], event["penalty_s"]),
                         ("handshake", str(FIRST)))

    def test_wrong_password(self):
        """Whoever succeeds in the end has done nothing."""
        server = self.start_auth(max_auth_attempts=2)
        clients = [self.connect(server, "127.0.0.2").handshake()
                   for _ in range(4)]
        for client in clients:
            client.send_command("AUTH alice Wonderland")
        for client in clients:
            self.assertEqual(client.read_answer(), REFUSED)
            self.assertEqual(client.auth("alice", "wonderland"), GRANTED)
        self.served(server, "127.0.0.2")
        self.assertEqual(server.log.find("penalty"), [])

    def test_crash(self):
        """A worker's costs crash_cooldown at once."""
        cooldown = round(2 * SCALE)
        server = self.start(crash_cooldown=cooldown)
        first = self.connect(server, "127.0.0.2").handshake()
        self.crash(server, first)
        event = server.log.wait("penalty", source="127.0.0.2")
        ends = time.monotonic() + cooldown
        self.assertEqual((event["offence"], event["penalty_s"]),
                         ("crash", str(cooldown)))
        self.turned_away(server, "127.0.0.2", "penalised")
        self.served(server, "127.0.0.3")
        while not self.is_served(server, "127.0.0.2"):
            self.assertLess(time.monotonic(), ends + FIRST * SCALE)
            time.sleep(0.1)
        self.assertGreater(time.monotonic(), ends - 0.5 * SCALE)

    def test_none(self):
        """Browsers, other versions, silence and early closes."""
        server = self.start(handshake_client_timeout=1)
        silent = [self.connect(server, "127.0.0.4") for _ in range(4)]
        silent += [self.connect(server, "127.0.0.4").until("kex")
                   for _ in range(2)]
        said = {"127.0.0.2": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                "127.0.0.3": b"FlexMusic Other,9.0.0\r\n"}
        reasons = {"127.0.0.2": "version-not-flexmusic",
                   "127.0.0.3": "version-incompatible"}
        for _ in range(4):
            for source, line in said.items():
                client = self.connect(server, source)
                client.read_banner()
                with contextlib.suppress(*GONE):
                    client.send(line)
                    client.rest()
                client.close()
                event = server.failure(client.peer)
                self.assertEqual(event["reason"], reasons[source])
            for stage in ("vex", "kex", "chal"):
                client = self.connect(server, "127.0.0.5").until(stage)
                client.close()
                self.assertIn(server.failure(client.peer)["reason"],
                              ("closed", "reset"))
            time.sleep(0.3)  # ten lines a second tell of an address
        for client in silent:
            self.assertEqual(server.failure(client.peer)["reason"], "timeout")
        for source in list(said) + ["127.0.0.4", "127.0.0.5"]:
            self.served(server, source)
        self.assertEqual(server.log.find("penalty"), [])

    def test_exempt(self):
        """Networks without penalties; their neighbours have them."""
        server = self.start(penalty_exempt=["127.9.0.0/16", "127.8.0.1"])
        for source, exempt in (("127.9.1.2", True), ("127.8.0.1", True),
                               ("127.8.0.2", False), ("127.10.0.0", False)):
            with self.subTest(source):
                for _ in range(4 if exempt else 3):
                    self.offend(server, source)
                if exempt:
                    self.served(server, source)
                    self.assertEqual(self.penalties(server, source), [])
                else:
                    server.log.wait("penalty", source=source)
                    self.turned_away(server, source)

    def test_reload(self):
        """Penalties and counted offences outlive SIGHUP; who is exempt from
        then on has none."""
        server = self.start(crash_cooldown=600, seeds={1024: 4})
        self.crash(server, self.connect(server, "127.0.0.2").handshake())
        server.log.wait("penalty", source="127.0.0.2")
        for _ in range(2):
            self.offend(server, "127.0.0.3")
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        server.log.wait("reload", mark)
        self.turned_away(server, "127.0.0.2", "penalised")
        self.offend(server, "127.0.0.3")
        server.log.wait("penalty", source="127.0.0.3", penalty_s=FIRST)
        mark = server.log.mark()
        server.write_config(penalty_exempt=["127.0.0.2"])
        server.signal(signal.SIGHUP)
        server.log.wait("reload", mark)
        self.served(server, "127.0.0.2")
        self.turned_away(server, "127.0.0.3")

    def test_off(self):
        """A cooldown of 0."""
        server = self.start(handshake_failure_cooldown=0)
        for _ in range(4):
            self.offend(server, "127.0.0.2")
        self.served(server, "127.0.0.2")
        self.assertEqual(server.log.find("penalty"), [])


# -- giving way ----------------------------------------------------------


class GivingWay(Case):
    """A full server, and somebody else who comes."""

    def fill(self, server, source, count):
        """Connections that say nothing."""
        clients = [self.connect(server, source) for _ in range(count)]
        for client in clients:
            self.assertEqual(client.receive(), BANNER)
            client.banner = BANNER[:-2]
        return clients

    def gave_way(self, server, count):
        """The peers that did, waited for."""
        server.log.wait(harness.FAILURES, count=count, reason="gave-way")
        return [e["peer"] for e in server.log.find(harness.FAILURES,
                                                   reason="gave-way")]

    def test_idle_handshakes(self):
        """Each newcomer costs one of those who fill the server, and nobody
        else."""
        server = self.start(max_connections=12)
        single = self.fill(server, "127.0.0.3", 1)[0]
        filling = self.fill(server, "127.0.0.2", 11)
        peers = {client.peer for client in filling}
        sessions = []
        for i in range(6):
            sessions.append(
                self.connect(server, "127.0.1.%d" % (i + 1)).handshake())
            gone = self.gave_way(server, i + 1)
            self.assertEqual(len(gone), i + 1)
            self.assertLessEqual(set(gone), peers)
        single.resume("vex")
        for client in sessions + [single]:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()
        self.assertEqual(len(self.gave_way(server, 6)), 6)

    def test_authenticated_session(self):
        """It never does; a session in lockdown does."""
        server = self.start_auth(max_connections=4)
        sessions = []
        for i in range(3):
            client = self.connect(server, "127.0.0.2").handshake()
            self.assertEqual(client.auth("alice", "wonderland"), GRANTED)
            sessions.append(client)
        locked = self.connect(server, "127.0.0.3").handshake()
        server.log.wait("session-begin", peer=locked.peer)
        newcomer = self.connect(server, "127.0.0.4").handshake()
        self.assertEqual(self.gave_way(server, 1), [locked.peer])
        self.assertEqual(newcomer.auth("alice", "wonderland"), GRANTED)
        server.log.wait("session-end", peer=locked.peer)
        self.turned_away(server, "127.0.0.5", "max-connections")
        for client in sessions + [newcomer]:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
        self.assertEqual(len(self.gave_way(server, 1)), 1)

    def test_established_session(self):
        """Where nobody authenticates, none that was idle for less than a
        minute."""
        server = self.start(max_connections=3)
        sessions = [self.connect(server, "127.0.0.2").handshake()
                    for _ in range(3)]
        time.sleep(1)
        self.turned_away(server, "127.0.0.3", "max-connections")
        time.sleep(1.1)  # it looks again
        self.turned_away(server, "127.0.0.3", "max-connections")
        for client in sessions:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()


# -- prefixes ------------------------------------------------------------


def namespace_call(name, *arguments):
    """setns(2) or unshare(2), of this thread."""
    if getattr(harness.LIBC, name)(*arguments) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Namespace:
    """A network of its own."""

    def __init__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            namespace_call("unshare", CLONE_NEWNET)
            try:
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            finally:
                namespace_call("setns", self.home, CLONE_NEWNET)
        except BaseException:
            os.close(self.home)
            raise

    @property
    def path(self):
        """Its file, for ip(8)."""
        return "/proc/%d/fd/%d" % (os.getpid(), self.fd)

    def __enter__(self):
        namespace_call("setns", self.fd, CLONE_NEWNET)
        return self

    def __exit__(self, *unused):
        namespace_call("setns", self.home, CLONE_NEWNET)

    def close(self):
        """It goes with its last process."""
        os.close(self.fd)
        os.close(self.home)


def ip(*arguments):
    """Runs ip(8)."""
    subprocess.run((IP,) + arguments, check=True, timeout=harness.DEADLINE)


@harness.needs_root
@unittest.skipUnless(IP, "ip (iproute2) is not installed")
class Prefixes(Case):
    """Networks as sources, with a link between two namespaces."""

    SERVER = "2001:db8::1"
    CLIENTS = ("2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::2")

    def link(self):
        """The two ends of a link, with their addresses."""
        ends = []
        for _ in range(2):
            try:
                ends.append(Namespace())
            except OSError as e:
                self.skipTest("no network namespaces: %s" % e.strerror)
            self.addCleanup(ends[-1].close)
        here, there = ends
        with here:
            ip("link", "set", "lo", "up")
            ip("link", "add", "here", "type", "veth", "peer", "name", "there")
            ip("link", "set", "there", "netns", there.path)
            ip("addr", "add", self.SERVER + "/32", "dev", "here", "nodad")
            ip("link", "set", "here", "up")
        with there:
            for address in self.CLIENTS:
                ip("addr", "add", address + "/32", "dev", "there", "nodad")
            ip("link", "set", "there", "up")
        return here, there

    def start_linked(self, **keys):
        """A server at one end; the other end."""
        here, there = self.link()
        with here:
            server = harness.Server(host=self.SERVER, penalty_exempt=[],
                                    handshake_client_timeout=60, **keys)
            self.servers.append(server)
            self.addCleanup(server.remove)
            server.host = self.SERVER
            self.addCleanup(self.finish, server)
            server.start()
        return server, there

    def test_connections(self):
        """Two addresses of one /64 are one source; of two, two."""
        server, there = self.start_linked(max_connections_per_source=2)
        first, second, other = self.CLIENTS
        with there:
            clients = [self.connect(server, source)
                       for source in (first, second)]
            for client in clients:
                self.assertEqual(client.receive(), BANNER)
            self.turned_away(server, first, "max-connections-per-source")
            self.turned_away(server, second)
            self.served(server, other)

    def test_penalty(self):
        """Offences are those of the /64."""
        server, there = self.start_linked()
        first, second, other = self.CLIENTS
        with there:
            for source in (first, second, first, other, other):
                self.offend(server, source)
            server.log.wait("penalty", source="2001:db8:0:1::/64")
            self.turned_away(server, first, "penalised")
            self.turned_away(server, second)
            self.served(server, other)

    def test_other_prefix(self):
        """As configured."""
        server, there = self.start_linked(max_connections_per_source=2,
                                          source_prefix_ipv6=48)
        first, second, other = self.CLIENTS
        with there:
            for source in (first, other):
                self.assertEqual(self.connect(server, source).receive(),
                                 BANNER)
            self.turned_away(server, second, "max-connections-per-source")


# -- a flood -------------------------------------------------------------


def flood(orders, source, port):
    """A process that connects as often as it is told, so politely that the
    processors stay the server's: an attacker has his own."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    linger = struct.pack("ii", 1, 0)
    while True:
        left = orders.recv()
        if left == 0:
            return
        turned_away = 0
        while left > 0:
            socks = []
            for _ in range(min(left, 16)):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                s.bind((source, 0))
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", port))
                socks.append(s)
            for s in socks:
                s.settimeout(harness.DEADLINE)
                if s.recv(2048) == BANNER and s.recv(1) == b"":
                    turned_away += 1
                s.close()
            left -= len(socks)
        orders.send(turned_away)


class Flood(Case):
    """One penalised address, and everybody else."""

    SOURCE = "127.0.0.2"

    def flooder(self, server):
        """A process, and the end that gives it orders."""
        context = multiprocessing.get_context("fork")
        mine, its = context.Pipe()
        process = context.Process(target=flood,
                                  args=(its, self.SOURCE, server.port))
        process.start()
        its.close()
        self.addCleanup(mine.close)
        self.addCleanup(process.join, harness.DEADLINE)
        self.addCleanup(process.kill)
        return mine

    def handshake_ms(self, server):
        """One of another address."""
        begun = time.monotonic()
        client = fmltp.Client(server.address, "127.0.0.3")
        client.handshake()
        took = time.monotonic() - begun
        client.close()
        return 1000 * took

    def measure(self, server, orders):
        """Medians without and with a flood, by turns; how many connections
        and how many seconds the flood had."""
        quiet, flooded = [], []
        count, seconds = 0, 0.0
        for _ in range(FLOOD_ROUNDS):
            quiet += [self.handshake_ms(server) for _ in range(8)]
            begun = time.monotonic()
            orders.send(FLOOD // FLOOD_ROUNDS)
            while not orders.poll():
                flooded.append(self.handshake_ms(server))
            count += orders.recv()
            seconds += time.monotonic() - begun
        return (statistics.median(quiet), statistics.median(flooded), count,
                seconds)

    def test_of_connections(self):
        """It is turned away, and hardly felt."""
        server = self.start(max_connections=100)
        orders = self.flooder(server)
        self.crash(server, self.connect(server, self.SOURCE).handshake())
        server.log.wait("penalty", source=self.SOURCE)
        self.served(server, "127.0.0.3")
        said = []
        for _ in range(FLOOD_TRIES):
            quiet, flooded, count, seconds = self.measure(server, orders)
            self.assertEqual(count, FLOOD)
            said.append("%.1f ms, %.1f beside %d connections a second" % (
                quiet, flooded, count / seconds))
            if flooded <= FLOOD_RATIO * quiet:
                break
        else:
            self.fail("a handshake took " + "; ".join(said))
        print("a handshake took " + "; ".join(said))
        server.signal(signal.SIGUSR1)
        status = server.log.wait("status")
        self.assertGreaterEqual(int(status["refused"]), FLOOD)
        # A line a second, not one for each.
        refused = server.log.find("connection-refused", reason="penalised")
        self.assertLess(len(refused), FLOOD // 20)
        orders.send(0)


# -- fail2ban ------------------------------------------------------------


class Receiver:
    """Takes the log's datagrams and writes them to a file as rsyslog does."""

    HOST = "host.example"

    def __init__(self, directory):
        self.socket = os.path.join(directory, "log.socket")
        self.path = os.path.join(directory, "syslog")
        self.log = harness.Log(self.path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.socket)
        os.chmod(self.socket, 0o666)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Until an empty datagram comes."""
        with open(self.path, "wb", buffering=0) as f:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return
                m = re.fullmatch(rb"<\d+>(.{15}) (.*)", data, re.DOTALL)
                f.write(b"%s %s %s\n" % (m.group(1), self.HOST.encode(),
                                         m.group(2)))

    def close(self):
        """Ends the thread."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.socket)
        self.thread.join(harness.DEADLINE)
        self.sock.close()


def take_descriptor(pid, number):
    """A copy of another process's descriptor."""
    pidfd = os.pidfd_open(pid)
    try:
        fd = harness.LIBC.syscall(PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)
    if fd == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def break_channel(worker):
    """Says to the master, as the worker, what no worker says."""
    for number, target in harness.descriptors(worker.pid).items():
        if not target.startswith("socket:"):
            continue
        with socket.socket(fileno=take_descriptor(worker.pid, number)) as s:
            if s.family == socket.AF_UNIX:
                s.send(b"\xff\xff\xff\xff")
                return
    raise AssertionError("the worker has no channel")


def address_of(peer):
    """Of "127.0.0.1:5" and "[::1]:5"."""
    return peer.rpartition(":")[0].strip("[]")


@unittest.skipUnless(FAIL2BAN, "fail2ban-regex (fail2ban) is not installed")
class Fail2ban(Case):
    """etc/fail2ban, and the lines of a real server."""

    FORGED = (
        b'FlexMusic" version=0.0.0 event=penalty peer=1.2.3.4:5 session=1',
        b"FlexMusic peer=1.2.3.4:5 session=1 stage=kex reason=pem-bad-body",
        b"FlexMusic Nov 23 05:53:32 h flexmusicd[1]: event=auth-failed "
        b"peer=1.2.3.4:5 session=1 user=",
        b"FlexMusic [1.2.3.4]",
    )
    FORGED_USERS = (
        b'x"peer=1.2.3.4:5', b"peer=1.2.3.4:5", b"1.2.3.4",
        b'x"\x20attempt=1\x20ms=1\x20reason=refused',
    )

    def prepare(self):
        """A server that logs to a receiver of ours."""
        hosts = ["127.0.0.1"] + (["::1"] if harness.have_ipv6() else [])
        directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        receiver = Receiver(directory)
        self.addCleanup(receiver.close)
        server = self.start_auth(
            arguments=("-F", "-v"), syslog_socket=receiver.socket,
            host=hosts, max_auth_attempts=2, handshake_client_timeout=2)
        server.log = receiver.log
        return server

    def wrong(self, server, source, user):
        """A session with two wrong attempts; its peer."""
        client = self.connect(server, source).handshake()
        for _ in range(2):
            client.send_command(b"AUTH " + user + b" Wonderland")
        return client.peer

    def offences(self, server):
        """Commits them; event and peer of each line that there is to be."""
        wanted = []
        for i, user in enumerate((b"alice", b"nobody") + self.FORGED_USERS):
            wanted += 2 * [("auth-failed",
                            self.wrong(server, "127.1.0.%d" % (i + 1), user))]
        for i, reason in enumerate(REASONS):
            wanted.append(("handshake-failed", self.offend(
                server, "127.2.0.%d" % (i + 1), reason)))
        for i, name in enumerate(self.FORGED):
            wanted.append(("handshake-failed", self.offend(
                server, "127.3.0.%d" % (i + 1), line=name + b",0.0.0\r\n")))
        if harness.have_ipv6():
            wanted.append(("handshake-failed", self.offend(server, "::1")))
        for _ in range(3):
            peer = self.offend(server, "127.4.0.1")
            wanted.append(("handshake-failed", peer))
        wanted.append(("penalty", peer))
        client = self.connect(server, "127.5.0.1").handshake()
        self.crash(server, client)
        wanted += [("worker-died", client.peer), ("penalty", client.peer)]
        if harness.ROOT:
            client = self.connect(server, "127.6.0.1").handshake()
            break_channel(server.worker(client.peer))
            wanted += [("channel-violation", client.peer),
                       ("penalty", client.peer)]
        return wanted

    def harmless(self, server):
        """What is none; the peers, whose ends are waited for."""
        peers = []
        for i, name in enumerate((fmltp.CLIENT_NAME,) + self.FORGED):
            client = self.connect(server, "127.7.0.%d" % (i + 1))
            client.handshake(name + b",0.0.0\r\n")
            self.assertEqual(client.auth("alice", "wonderland"), GRANTED)
            client.quit()
            peers.append(client.peer)
            client = self.connect(server, "127.8.0.%d" % (i + 1))
            client.until("kex", name + b",0.0.0\r\n")
            client.close()
            peers.append(client.peer)
            client = self.connect(server, "127.9.0.%d" % (i + 1))
            client.until(("vex", "kex", "chal")[i % 3], name + b",0.0.0\r\n")
            peers.append(client.peer)  # silent
        for i, line in enumerate((b"GET / HTTP/1.1", b"FlexMusic,9.0.0",
                                  b'x peer=1.2.3.4:5 "', b"FlexMusic")):
            client = self.connect(server, "127.10.0.%d" % (i + 1))
            client.read_banner()
            with contextlib.suppress(*GONE):
                client.send(line + b"\r\n")
                client.rest()
            client.close()
            peers.append(client.peer)
        return peers

    def matched(self, path):
        """Address, event and peer of each line that the filter matches."""
        said = subprocess.run(
            [FAIL2BAN, "-o", "<ip> <matches>", path, FILTER],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=harness.DEADLINE, check=True).stdout
        rows = []
        for line in said.splitlines():
            address, _, rest = line.partition(" ")
            event = harness.Event(rest)
            rows.append((address, event.name, event["peer"]))
        return sorted(rows)

    def test_filter(self):
        """It finds each offence with its address, and nothing else."""
        server = self.prepare()
        wanted = self.offences(server)
        for peer in self.harmless(server):
            server.failure(peer)
        for event, peer in wanted:
            server.log.wait(event, peer=peer, count=wanted.count((event,
                                                                  peer)))
        server.stop()
        self.assertEqual(server.log.find("log-limited"), [])
        for name in ("session-begin", "authenticated", "session-end"):
            self.assertTrue(server.log.find(name))
        expected = sorted((address_of(peer), event, peer)
                          for event, peer in wanted)
        self.assertEqual(self.matched(server.log.path), expected)
        # The other form of time that rsyslog has, and another's lines.
        other = server.log.path + ".other"
        with open(server.log.path) as f, open(other, "w") as out:
            for line in f:
                out.write("2026-11-23T05:53:32.123456+00:00" + line[15:])
                out.write(line.replace("flexmusicd[", "sshd[", 1))
                out.write("%s sshd[1]: Invalid user %s" % (
                    line[:28], line[line.index("flexmusicd["):]))
        self.assertEqual(self.matched(other), expected)

    def test_jail(self):
        """fail2ban reads the example, which is disabled."""
        directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, directory)
        config = os.path.join(directory, "fail2ban")
        shutil.copytree("/etc/fail2ban", config)
        for name in os.listdir(os.path.join(config, "jail.d")):
            os.remove(os.path.join(config, "jail.d", name))
        for path, name in ((FILTER, "filter.d"), (JAIL, "jail.d")):
            shutil.copy(path, os.path.join(config, name))

        def dump():
            done = subprocess.run(
                [FAIL2BAN.replace("-regex", "-client"), "-c", config, "-d"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                check=False, timeout=harness.DEADLINE)
            self.assertEqual(done.returncode, 0, done.stdout)
            return [line for line in done.stdout.splitlines()
                    if "'flexmusicd'" in line]
        self.assertEqual(dump(), [])
        log = os.path.join(directory, "syslog")
        with open(log, "w"):
            pass
        with open(JAIL) as f:
            text = f.read()
        with open(os.path.join(config, "jail.d", "flexmusicd.conf"),
                  "w") as f:
            f.write(text.replace("enabled = false", "enabled = true").replace(
                "/var/log/syslog", log))
        enabled = "\n".join(dump())
        for word in ("['add', 'flexmusicd'", "['start', 'flexmusicd']",
                     "addfailregex", "event=channel-violation", log,
                     "'maxretry', 6"):
            self.assertIn(word, enabled)


if __name__ == "__main__":
    runner.main()
