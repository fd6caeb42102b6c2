#!/usr/bin/python3
"""With rsyslog as the log's receiver: the lines arrive, unchanged."""

import os
import re
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import runner  # noqa: E402
from rsyslog import RSYSLOGD, Rsyslog  # noqa: E402


class Relay:
    """Stands between server and receiver, keeps a copy of each line, and
    passes it on as it is."""

    def __init__(self, path, to):
        self.path = path
        self.to = to
        self.lines = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        os.chmod(path, 0o666)
        self.out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.out.connect(to)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Until the socket is closed."""
        while True:
            data = self.sock.recv(65536)
            if not data:
                return
            self.lines.append(data)
            self.out.send(data)

    def close(self):
        """Ends the thread."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.path)
        self.thread.join(harness.DEADLINE)
        self.sock.close()
        self.out.close()


def as_rsyslog_writes(line):
    """A line of RFC 3164 in the form of the template above."""
    m = re.fullmatch(rb"<(\d+)>[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d "
                     rb"flexmusicd\[(\d+)\]:(.*)", line, re.DOTALL)
    if m is None:
        raise AssertionError("not a line of RFC 3164: %r" % line)
    priority = int(m.group(1))
    return "%d.%d flexmusicd[%s]:%s" % (
        priority >> 3, priority & 7, m.group(2).decode(), m.group(3).decode())


@unittest.skipUnless(RSYSLOGD, "rsyslogd is not installed")
class Syslog(harness.OwnServerCase):
    """The whole way of a line."""

    NAMES = (
        b"FlexMusic plain",
        b'FlexMusic "quoted" \\ back\\slash',
        "FlexMusic Μουσική ♫".encode(),
        b"FlexMusic %s %n #011 ${HOME} `id` ; event=stop",
        b"FlexMusic".ljust(128, b'"'),
        "FlexMusic".encode().ljust(11) + 58 * "é".encode(),
    )

    def prepare(self, relay):
        """rsyslogd and a server that logs to it, by way of a relay or
        not."""
        server = harness.Server(arguments=("-F", "-v"), seeds={1024: 4},
                                syslog_facility="local3")
        self.addCleanup(server.remove)
        receiver = Rsyslog(server.directory)
        self.addCleanup(receiver.stop)
        receiver.start()
        path = receiver.socket
        between = None
        if relay:
            path = os.path.join(server.directory, "relay")
            between = Relay(path, receiver.socket)
        server.write_config(syslog_socket=path)
        server.start()
        self.addCleanup(self.finish, server)
        return server, receiver, between

    def traffic(self, server):
        """Sessions, failures, a rotation, a status report."""
        for name in self.NAMES:
            with server.client() as client:
                client.handshake(name + b",0.0.1\r\n")
                client.quit()
        for line in (b"nobody\r\n", b"FlexMusic \x1b[2J,0.0.0\r\n",
                     b"FlexMusic\r\n", b"\xff\xfe\r\n", 300 * b"x"):
            with server.client() as client:
                client.read_banner()
                client.send(line)
                client.rest()
        server.signal(signal.SIGUSR1)
        server.signal(signal.SIGHUP)
        time.sleep(0.2)
        self.serves(server)

    def test_unchanged(self):
        server, receiver, relay = self.prepare(relay=True)
        self.traffic(server)
        for event in ("start", "listen", "ready", "session-begin",
                      "session-end", "handshake-failed", "status"):
            receiver.wait(event)
        server.stop()
        relay.close()
        expected = [as_rsyslog_writes(line) for line in relay.lines]
        self.assertGreater(len(expected), 20)
        harness.wait_for("all lines",
                         lambda: len(receiver.lines()) >= len(expected))
        self.assertEqual(receiver.lines(), expected)
        for line in expected:
            self.assertTrue(line.startswith("19."), line)
            self.assertTrue(all(" " <= c <= "~" for c in line), line)

    def test_direct(self):
        server, receiver, _ = self.prepare(relay=False)
        self.traffic(server)
        self.assertEqual(receiver.wait("start").text.split("[")[1].split(
            "]")[0], str(server.pid))
        for name in (b"FlexMusic plain",):
            receiver.wait("session-begin", client=name.decode())
        receiver.wait("session-begin",
                      client='FlexMusic "quoted" \\ back\\slash')
        receiver.wait("session-begin", client="FlexMusic Μουσική ♫")
        receiver.wait("handshake-failed", reason="version-too-long")
        server.stop()
        receiver.wait("stop")
        self.assertEqual([e.text for e in receiver.events()
                          if "dropped" in e], [])

    def test_receiver_restarts(self):
        """rsyslogd ends and comes back: no line is lost that fits the
        ring, and serving goes on."""
        server, receiver, _ = self.prepare(relay=False)
        self.serves(server)
        receiver.wait("session-end")
        receiver.stop()
        peers = []
        for _ in range(5):
            with server.client() as client:
                client.handshake()
                client.quit()
            peers.append(client.peer)
        receiver.start()
        for peer in peers:
            receiver.wait("session-end", peer=peer)

    def test_receiver_stands_still(self):
        """rsyslogd is stopped by a signal while hundreds of lines come."""
        server, receiver, _ = self.prepare(relay=False)
        self.serves(server)
        receiver.wait("session-end")
        receiver.process.send_signal(signal.SIGSTOP)
        peers = []
        for _ in range(harness.scaled(300)):
            with server.client() as client:
                client.handshake()
                client.quit()
            peers.append(client.peer)
        receiver.process.send_signal(signal.SIGCONT)
        receiver.wait("session-end", peer=peers[-1])
        ended = {e["peer"] for e in receiver.events()
                 if e.name == "session-end"}
        self.assertEqual(set(peers) - ended, set())


if __name__ == "__main__":
    runner.main()
