#!/usr/bin/python3
"""Floods and odd starters: more connections at once than the helpers can
take, helpers replaced or stopped meanwhile, and a server started with what a
careless starter leaves to it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

BANNER = b"FlexMusic Server,0.0.0\r\n"
TROUBLE = ("helper-stuck", "helper-died", "spawn-failed", "worker-died",
           "channel-violation")


class FloodCase(harness.OwnServerCase):
    """What the tests below have in common."""

    def knock(self, server, count):
        """Connections that don't wait for each other."""
        socks = []
        for _ in range(count):
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(server.address)
            socks.append(sock)
        return socks

    def greeted(self, socks):
        """All of them are sent packet 1."""
        for sock in socks:
            sock.settimeout(harness.DEADLINE)
            self.assertEqual(sock.recv(2048), BANNER)

    def no_trouble(self, server):
        """No helper suffered."""
        for name in TROUBLE:
            self.assertEqual([e.text for e in server.log.find(name)], [])

    def zombies(self, server):
        """Children that the master has not reaped."""
        return [p for p in harness.all_processes()
                if p.parent == server.pid and p.state == "Z"]

    def pause(self, p):
        """Stops a process, and waits until it stands."""
        os.kill(p.pid, signal.SIGSTOP)
        harness.wait_for("the stop of %s" % p,
                         lambda: harness.look_at(p.pid).state == "T")


class Connections(FloodCase):
    """Many at once."""

    def test_more_than_the_zygote_can_fork(self):
        """They wait; nobody takes the zygote for stuck."""
        server = self.start(max_connections=600)
        self.greeted(self.knock(server, 400))
        self.no_trouble(server)

    def test_zygote_that_stands(self):
        """It is given up after a while, and its connections with it; those
        that waited in the queue are served."""
        server = self.start(max_connections=600)
        zygote = server.one("zygote")
        self.pause(zygote)
        socks = self.knock(server, 100)
        server.log.wait("helper-died", pid=zygote.pid)
        self.assertEqual(len(server.log.find("helper-stuck")), 1)
        greeted = 0
        for sock in socks:
            sock.settimeout(harness.DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                greeted += sock.recv(2048) == BANNER
        self.assertGreaterEqual(greeted, 100 - 32)
        self.serves(server)

    def test_zygote_replaced_meanwhile(self):
        """A new limit brings a new zygote with SIGHUP; what the old one has
        is served by it, and reaped."""
        server = self.start(seeds={1024: 12}, max_connections=300)
        end = threading.Event()
        failed = []

        def come():
            while not end.is_set():
                try:
                    with server.client() as client:
                        client.read_banner()
                except (fmltp.Closed, OSError) as e:
                    failed.append(repr(e))

        threads = [threading.Thread(target=come) for _ in range(8)]
        for thread in threads:
            thread.start()
        for i in range(8):
            mark = server.log.mark()
            server.write_config(max_connections=301 + i)
            server.signal(signal.SIGHUP)
            server.log.wait("reload", mark)
            server.log.wait("sandbox", mark, role="zygote")
            time.sleep(0.1)
        end.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.no_trouble(server)
        server.quiet()
        harness.wait_for("no zombie", lambda: not self.zombies(server))
        server.one("zygote")

    def test_keys_with_a_queue(self):
        """While many exchanges wait, keys still takes new channels."""
        server = self.start(seeds={8192: 1}, key_size=8192, keys_processes=1,
                            max_connections=1000,
                            handshake_client_timeout=60)
        clients = []
        for _ in range(40):
            client = server.client()
            self.addCleanup(client.close)
            client.read_banner()
            client.send_version()
            clients.append(client)
        for client in clients:
            data = b""
            while not data.endswith(b"END DH PARAMETERS-----\n"):
                data += client.receive(8192)
        clients[0].params = fmltp.serialization.load_pem_parameters(data)
        key = clients[0].make_key()
        keys = server.one("keys")
        self.pause(keys)
        for client in clients:
            client.send(key)
        time.sleep(0.5)
        os.kill(keys.pid, signal.SIGCONT)
        self.greeted(self.knock(server, 600))
        for client in clients:
            self.assertTrue(client.receive(8192).startswith(
                b"-----BEGIN PUBLIC KEY"))
        self.no_trouble(server)

    def test_keys_that_stands(self):
        """Its channel is never filled: others wait in the queue meanwhile."""
        server = self.start(keys_processes=1, max_connections=800)
        keys = server.one("keys")
        self.pause(keys)
        socks = self.knock(server, 600)
        time.sleep(1)
        os.kill(keys.pid, signal.SIGCONT)
        self.greeted(socks)
        self.no_trouble(server)

    def test_keys_that_stands_for_good(self):
        """It is given up after a while; who waited is served by the next."""
        server = self.start(keys_processes=1, max_connections=800,
                            handshake_client_timeout=60)
        keys = server.one("keys")
        self.pause(keys)
        socks = self.knock(server, 600)
        server.log.wait("helper-died", pid=keys.pid, deadline=40)
        self.assertEqual(len(server.log.find("helper-stuck")), 1)
        self.greeted(socks)
        self.serves(server)


    def test_auth_that_stands(self):
        """Its channel is not filled either: who comes waits in the queue, and
        a reload meanwhile does not have it killed."""
        with tempfile.NamedTemporaryFile("w") as users:
            users.write("ada:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV"
                        ".0P.uO8m3YEm\n")
            users.flush()
            server = self.start(seeds={1024: 2}, auth_method="auth",
                                auth_file=users.name, auth_processes=1,
                                max_connections=800,
                                handshake_client_timeout=60)
            auth = server.one("auth")
            self.pause(auth)
            clients, failed = [], []

            def come():
                for _ in range(75):
                    try:
                        client = server.client(deadline=60)
                        clients.append(client)
                        client.handshake()
                    except (fmltp.Closed, OSError) as e:
                        failed.append(repr(e))

            threads = [threading.Thread(target=come) for _ in range(4)]
            for thread in threads:
                thread.start()
            harness.wait_for("a full channel", lambda: self.stands(server),
                             60)
            server.signal(signal.SIGHUP)
            server.log.wait("reload")
            os.kill(auth.pid, signal.SIGCONT)
            for thread in threads:
                thread.join()
            self.assertEqual(failed, [])
            server.log.wait("users", count=2)
            with server.client() as client:
                client.handshake()
                self.assertEqual(client.auth("ada", "Kk4DQuMMfZL9o"),
                                 b"150 Authentication successful.\r\n")
            self.no_trouble(server)
            for client in clients:
                client.close()

    def stands(self, server):
        """True when no handshake has been completed for a while."""
        before = len(server.log.find("session-begin"))
        time.sleep(0.5)
        return before > 0 and \
            len(server.log.find("session-begin")) == before


class Attacks(FloodCase):
    """Deaths that say that memory was attacked."""

    def test_after_the_master_ended_it(self):
        """A worker that is told to end, and crashes instead."""
        server = self.start()
        with server.client() as client:
            client.handshake()
            worker = server.worker(client.peer)
            self.pause(worker)
            server.signal(signal.SIGTERM)
            server.log.wait("shutdown")
            time.sleep(0.3)
            os.kill(worker.pid, signal.SIGSEGV)
            os.kill(worker.pid, signal.SIGCONT)
            event = server.log.wait("worker-died", peer=client.peer)
            self.assertEqual(event["attack"], "yes", event.text)
        server.process.wait(harness.DEADLINE)


class Starters(FloodCase):
    """What a starter may leave."""

    def start_with(self, before, arguments=("-F",), **keys):
        """A server whose starter did `before` in its own process."""
        server = harness.Server(arguments=arguments, **keys)
        self.addCleanup(server.remove)
        server.process = subprocess.Popen(
            [server.binary] + list(arguments) + ["-f", server.config_path],
            preexec_fn=before, start_new_session=True)
        server.pid = server.process.pid
        self.addCleanup(server.kill)
        harness.wait_for("the server", lambda: harness.listening(server.port))
        return server

    def ends(self, server):
        """SIGTERM ends it."""
        server.signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(harness.DEADLINE), 0)

    def test_child_signal_ignored(self):
        """It hears of its children's ends all the same."""
        server = self.start_with(
            lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.serves(server)
        old = server.one("zygote")
        os.kill(old.pid, signal.SIGKILL)
        harness.wait_for("another zygote", lambda: [
            p for p in server.role("zygote") if p.pid != old.pid])
        time.sleep(0.2)
        self.serves(server)
        begun = harness.look_at(server.pid).ticks
        time.sleep(1)
        self.assertLess(harness.look_at(server.pid).ticks - begun,
                        os.sysconf("SC_CLK_TCK") // 2)
        self.ends(server)

    def test_signals_blocked(self):
        """They are heard."""
        server = self.start_with(lambda: signal.pthread_sigmask(
            signal.SIG_BLOCK, signal.valid_signals()))
        self.serves(server)
        self.ends(server)

    def test_standard_descriptors_closed(self):
        """None of its own takes their places: what is written to standard
        error goes nowhere else."""
        server = self.start_with(lambda: [os.close(fd) for fd in (0, 1, 2)])
        self.serves(server)
        fds = harness.descriptors(server.pid)
        if fds is not None:
            for number in (0, 1, 2):
                self.assertEqual(fds[number], "/dev/null")
        self.ends(server)


if __name__ == "__main__":
    runner.main()
