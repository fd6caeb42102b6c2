#!/usr/bin/python3
"""Failure: processes that die, descriptors and processes that run out, a log
that nobody reads.  The server is serving again afterwards, works little
meanwhile, and nothing leaks.
"""

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import faults  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

STAGES = ("vex", "kex", "chal", "session")
WATCH = 2.0  # seconds of counting system calls

# A process that spins makes hundreds of thousands of system calls in that
# time; one that waits 100 ms between attempts makes a few hundred.
CALLS_MOST = 4000


def names_of_signal(number):
    """How a log may write a signal."""
    name = signal.Signals(number).name
    return (str(int(number)), name, name[3:])


def system_calls(pid):
    """How many system calls a process makes in a while, by strace; None
    where it may not be traced."""
    path = "/tmp/flexmusic-strace-%d-%d" % (os.getpid(), pid)
    try:
        tracer = subprocess.Popen(
            ["strace", "-c", "-f", "-q", "-o", path, "-p", str(pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    time.sleep(WATCH)
    attached = tracer.poll() is None
    if attached:
        tracer.send_signal(signal.SIGINT)
    tracer.wait()
    total = []
    with contextlib.suppress(FileNotFoundError):
        with open(path) as f:
            total = [line for line in f if line.rstrip().endswith("total")]
        os.unlink(path)
    if not attached:
        return None
    return int(total[-1].split()[3]) if total else 0


@contextlib.contextmanager
def knocking(server):
    """Connections that come all the while, twenty a second."""
    end = threading.Event()

    def knock():
        clients = []
        while not end.wait(0.05):
            with contextlib.suppress(OSError):
                clients.append(server.client())
            if len(clients) > 20:
                clients.pop(0).close()
        for client in clients:
            client.close()

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


class Receiver:
    """The log's receiver: a datagram socket and what came to it."""

    def __init__(self, path):
        self.path = path
        self.sock = None
        self.lines = []

    def open(self):
        """Begins to exist."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o666)
        self.sock.setblocking(False)
        return self

    def close(self):
        """Is gone, its name too."""
        if self.sock is not None:
            self.sock.close()
            os.unlink(self.path)
            self.sock = None

    def read(self):
        """Takes what is there; returns all lines so far."""
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return self.lines
            self.lines.append(harness.Event(data.decode()))

    def find(self, name, **fields):
        """Events among them."""
        return [e for e in self.read() if e.matches(name, fields)]

    def wait(self, name, **fields):
        """Waits for such an event."""
        return harness.wait_for("%s %s at the log's receiver" %
                                (name, fields),
                                lambda: self.find(name, **fields))[-1]


class FailureCase(harness.OwnServerCase):
    """What the tests below have in common."""

    def hold(self, server):
        """A client at each stage."""
        return {stage: server.client().until(stage) for stage in STAGES}

    def go_on(self, clients):
        """They are served to the end."""
        for stage, client in clients.items():
            client.resume(stage)
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()

    def serves_again(self, server):
        """A whole session goes well, soon: while a process is being
        replaced, attempts may fail."""
        def works():
            try:
                with server.client() as client:
                    client.handshake()
                    client.quit()
            except (fmltp.Closed, OSError):
                return False
            return True
        harness.wait_for("service", works, pause=0.1)

    def calm(self, *processes):
        """None of them is spinning."""
        begun = {p.pid: harness.look_at(p.pid) for p in processes}
        calls = {}
        threads = [threading.Thread(target=lambda p=p: calls.update(
            {p.pid: system_calls(p.pid)})) for p in processes]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(max(0, start + WATCH - time.monotonic()))
        for p in processes:
            now = harness.look_at(p.pid)
            if now is None or now.started != p.started:
                continue
            if calls[p.pid] is not None:
                self.assertLess(calls[p.pid], CALLS_MOST, p)
            elapsed = time.monotonic() - start
            used = ((now.ticks - begun[p.pid].ticks) /
                    os.sysconf("SC_CLK_TCK"))
            self.assertLess(used, elapsed / 2, "%s is busy" % p)


class Deaths(FailureCase):
    """Processes killed."""

    def worker_dies(self, number):
        server = self.start()
        before = server.at_rest()
        others = self.hold(server)
        zygote = server.one("zygote")
        for stage in STAGES:
            client = server.client().until(stage)
            worker = server.worker(client.peer)
            os.kill(worker.pid, number)
            try:
                self.assertEqual(client.rest(), b"")
            except ConnectionResetError:
                pass
            client.close()
            event = server.log.wait("worker-died", peer=client.peer)
            self.assertIn(event["signal"], names_of_signal(number))
            self.assertTrue(event["session"].isdigit(), event.text)
        if number == signal.SIGKILL:
            self.assertEqual(server.one("zygote").pid, zygote.pid)
        else:
            harness.wait_for("a fresh zygote", lambda: [
                p for p in server.role("zygote") if p.pid != zygote.pid])
        self.serves_again(server)
        self.go_on(others)
        server.quiet()
        self.assertEqual(server.settle(before), before)

    def test_worker_killed(self):
        self.worker_dies(signal.SIGKILL)

    def test_worker_crashes(self):
        self.worker_dies(signal.SIGSEGV)

    def helper_dies(self, role, number):
        server = self.start()
        before = server.at_rest()
        clients = {}
        for p in server.role(role):
            held = self.hold(server)
            mark = server.log.mark()
            os.kill(p.pid, number)
            event = server.log.wait("helper-died", mark, pid=p.pid)
            self.assertEqual(event["role"].split()[0], role)
            self.assertIn(event["signal"], names_of_signal(number))
            server.log.wait("helper-started", mark)
            clients[p.pid] = held
        self.serves_again(server)
        for held in clients.values():
            if role == "keys":
                # Exchanges that the dead process held fail; what comes
                # behind the exchange does not.
                for stage in ("vex", "kex"):
                    held.pop(stage).close()
            self.go_on(held)
        server.quiet()
        self.assertEqual(server.settle(before), before)

    def test_zygote_killed(self):
        self.helper_dies("zygote", signal.SIGKILL)

    def test_zygote_crashes(self):
        self.helper_dies("zygote", signal.SIGSEGV)

    def test_keys_killed(self):
        self.helper_dies("keys", signal.SIGKILL)

    def test_keys_crashes(self):
        self.helper_dies("keys", signal.SIGSEGV)

    def test_keys_killed_during_an_exchange(self):
        server = self.start()
        session = server.client().handshake()
        client = server.client().until("kex")
        holders = server.role("keys")
        for p in holders:
            os.kill(p.pid, signal.SIGSTOP)
        client.send_key()
        time.sleep(0.1)
        for p in holders:
            os.kill(p.pid, signal.SIGKILL)
        self.assertEqual(client.rest(), b"")
        client.close()
        event = server.failure(client.peer)
        self.assertEqual(event["reason"], "keys-unavailable", event.text)
        self.assertEqual(event["stage"], "kex", event.text)
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        session.quit()

    def test_zygote_killed_with_connections_waiting(self):
        server = self.start()
        zygote = server.one("zygote")
        os.kill(zygote.pid, signal.SIGSTOP)
        clients = [server.client() for _ in range(10)]
        time.sleep(0.1)
        os.kill(zygote.pid, signal.SIGKILL)
        for client in clients:
            try:
                client.handshake()
                client.quit()
            except (fmltp.Closed, ConnectionResetError):
                client.close()
        self.serves_again(server)

    def test_helpers_killed_again_and_again(self):
        server = self.start()
        before = server.at_rest()
        session = server.client().handshake()
        for _ in range(3):
            for role in ("zygote", "keys"):
                mark = server.log.mark()
                old = server.role(role)
                for p in old:
                    os.kill(p.pid, signal.SIGKILL)
                server.log.wait("helper-started", mark, count=len(old))
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        session.quit()
        server.quiet()
        self.assertEqual(server.settle(before), before)

    def test_calm_while_a_helper_is_away(self):
        server = self.start()
        holders = server.role("keys")
        for p in holders:
            os.kill(p.pid, signal.SIGSTOP)
        clients = [server.client().until("kex") for _ in range(5)]
        for client in clients:
            client.send_key()
        self.calm(harness.Process(server.pid), server.one("zygote"),
                  server.worker(clients[0].peer))
        for p in holders:
            os.kill(p.pid, signal.SIGCONT)
        for client in clients:
            client.close()
        self.serves(server)

    def test_paramgen_killed(self):
        """The current parameters stay, and the next rotation is none the
        worse for it."""
        server = self.start(seeds={2048: 1}, key_size=2048)
        self.serves(server)
        for number in (signal.SIGKILL, signal.SIGSEGV):
            server.signal(signal.SIGHUP)
            maker = harness.wait_for("paramgen",
                                     lambda: server.role("paramgen"))[0]
            if harness.kill(maker.pid, number):
                server.log.wait("helper-died", pid=maker.pid)
            self.serves(server)
        harness.seed_state(server.state_dir, 1024)
        server.write_config(key_size=1024)
        server.signal(signal.SIGHUP)
        server.log.wait("generation-installed", bits=1024)
        self.serves(server)

    def test_master_killed(self):
        server = self.start(seeds={2048: 1}, key_size=2048)
        clients = self.hold(server)
        server.signal(signal.SIGHUP)
        harness.wait_for("paramgen", lambda: server.role("paramgen"))
        family = [p for p in server.processes() if p.pid != server.pid]
        self.assertGreaterEqual({p.role for p in family},
                                {"zygote", "keys", "worker", "paramgen"})
        server.kill()
        self.assertEqual(harness.left_behind(family), [])
        for client in clients.values():
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(client.rest(), b"")
            client.close()
        self.assertFalse(harness.listening(server.port))
        harness.seed_state(server.state_dir, 2048)
        server.start()
        self.serves(server)

    def test_nothing_leaks(self):
        """Descriptors and processes before and after a few hundred
        connections of every kind."""
        server = self.start(handshake_client_timeout=2)
        self.serves(server)
        server.quiet()
        before = server.at_rest()
        for _ in range(harness.scaled(40)):
            self.serves(server)
            for stage in STAGES:
                client = server.client().until(stage)
                client.close()
                client = server.client().until(stage)
                client.reset()
            with server.client() as client:
                client.read_banner()
                client.send(b"nobody\r\n")
                client.rest()
        silent = [server.client() for _ in range(10)]
        for client in silent:
            client.rest()
            client.close()
        server.signal(signal.SIGHUP)
        server.log.wait("generation-installed", count=2)
        server.quiet()
        self.assertEqual(server.settle(before), before)


class Shortage(FailureCase):
    """Descriptors and processes that run out."""

    def test_no_descriptors(self):
        server = self.start()
        master = harness.Process(server.pid)
        session = server.client().handshake()
        self.serves(server)
        before = server.at_rest()
        fds = harness.descriptors(server.pid)
        used = len(fds) if fds is not None else 48
        old = harness.limit(server.pid, resource.RLIMIT_NOFILE, used + 10)
        clients = []
        for _ in range(60):
            with contextlib.suppress(OSError):
                clients.append(server.client())
        with knocking(server):
            self.calm(master)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        for client in clients:
            client.close()
        self.serves_again(server)
        harness.limit(server.pid, resource.RLIMIT_NOFILE, old)
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        self.assertEqual(server.settle(before), before)
        session.quit()
        self.assertTrue(server.alive())

    def test_not_one_descriptor(self):
        """Not even the accepted socket has one: the reserve is used."""
        server = self.start()
        self.serves(server)
        server.quiet()
        before = server.at_rest()
        fds = harness.descriptors(server.pid)
        if fds is None:
            self.skipTest("needs root to count the master's descriptors")
        old = harness.limit(server.pid, resource.RLIMIT_NOFILE,
                            max(fds) + 1)
        clients = [server.client() for _ in range(20)]
        with knocking(server):
            self.calm(harness.Process(server.pid))
        for client in clients:
            client.close()
        harness.limit(server.pid, resource.RLIMIT_NOFILE, old)
        self.serves_again(server)
        self.assertEqual(server.settle(before), before)

    def cgroup(self):
        """An empty pids cgroup of our own, or the test is skipped."""
        for parent in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
            path = os.path.join(parent, "flexmusic-test-%d" % os.getpid())
            try:
                os.mkdir(path)
            except OSError:
                continue
            if os.path.exists(os.path.join(path, "pids.max")):
                self.addCleanup(os.rmdir, path)
                return path
            os.rmdir(path)
        return self.skipTest("no pids cgroup can be written")

    def write(self, path, name, value):
        """A file of a cgroup."""
        with open(os.path.join(path, name), "w") as f:
            f.write(str(value))

    def leave(self, path, pids):
        """Moves what is left out of the cgroup, so that it can go."""
        parent = os.path.dirname(path)
        for pid in pids:
            with contextlib.suppress(OSError):
                self.write(parent, "cgroup.procs", pid)

    def confined(self):
        """A server in a cgroup, and the cgroup."""
        path = self.cgroup()
        server = self.start()
        session = server.client().handshake()
        for p in server.processes():
            self.write(path, "cgroup.procs", p.pid)
        self.addCleanup(lambda: server.alive() and server.stop())
        return path, server, session

    def no_processes(self, path):
        """From now on nothing there can fork."""
        with open(os.path.join(path, "pids.current")) as f:
            self.write(path, "pids.max", f.read().strip())

    def test_no_processes(self):
        path, server, session = self.confined()
        self.serves(server)
        before = server.at_rest()
        server.log.wait("session-end")
        harness.wait_for("the worker's end",
                         lambda: len(server.role("worker")) == 1)
        self.no_processes(path)
        clients = [server.client() for _ in range(30)]
        with knocking(server):
            self.calm(harness.Process(server.pid), server.one("zygote"))
        for client in clients:
            client.close()
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        self.write(path, "pids.max", "max")
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        self.assertEqual(server.settle(before), before)
        session.quit()

    def test_no_process_for_a_helper(self):
        """The zygote dies while nothing can be forked: it is back when
        there is room, and the master does not spin meanwhile."""
        path, server, session = self.confined()
        before = server.at_rest()
        mark = server.log.mark()
        self.no_processes(path)
        for role in ("zygote", "keys"):
            for p in server.role(role):
                os.kill(p.pid, signal.SIGKILL)
        server.log.wait("helper-died", mark)
        # The dead made room; take it away.
        time.sleep(0.05)
        self.write(path, "pids.max", 1)
        with knocking(server):
            self.calm(harness.Process(server.pid))
        self.assertTrue(server.alive())
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        self.write(path, "pids.max", "max")
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        self.assertEqual(server.settle(before), before)
        session.quit()

    def test_max_connections(self):
        """What is too many is sent packet 1 and closed."""
        server = self.start(max_connections=5)
        held = [server.client().handshake() for _ in range(5)]
        refused = 8
        for _ in range(refused):
            with server.client() as client:
                self.assertEqual(client.rest(),
                                 b"FlexMusic Server,0.0.0\r\n")

        def all_counted():
            """The log has one line now and then, with a count."""
            events = server.log.find("connection-refused",
                                     reason="max-connections")
            return refused == sum(int(e["count"]) for e in events)
        harness.wait_for("a line that counts them", all_counted, pause=0.05)
        for client in held:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
        held.pop().quit()
        self.serves_again(server)
        for client in held:
            client.quit()
        self.serves_again(server)


class Attacks(FailureCase):
    """Deaths that only an attack brings about, over all addresses."""

    MANY = 8  # in ten minutes

    def crash(self, server):
        """One worker dies of SIGSEGV; returns the zygote that made it."""
        zygote = server.one("zygote").pid
        with server.client() as client:
            client.handshake()
            os.kill(server.worker(client.peer).pid, signal.SIGSEGV)
            event = server.log.wait("worker-died", peer=client.peer)
            self.assertEqual(event["attack"], "yes")
        return zygote

    def test_each_brings_a_fresh_zygote_and_many_a_delay(self):
        server = self.start()
        before = server.at_rest()
        session = server.client().handshake()
        zygotes = set()
        for _ in range(self.MANY):
            zygotes.add(self.crash(server))
            self.serves_again(server)
        self.assertEqual(len(zygotes), self.MANY)
        self.assertEqual(server.log.find("accept-delayed"), [])
        self.crash(server)
        delayed = server.log.wait("accept-delayed")
        self.assertEqual((delayed["attacks"], delayed["delay_ms"]),
                         (str(self.MANY + 1), "1000"))
        self.serves_again(server)
        self.crash(server)
        delayed = server.log.wait("accept-delayed", count=2)
        self.assertEqual((delayed["attacks"], delayed["delay_ms"]),
                         (str(self.MANY + 2), "2000"))
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        session.quit()
        server.quiet()
        self.assertEqual(server.settle(before), before)


class FullServer(FailureCase):
    """Nobody waits behind a session that does nothing: with a clock that runs
    faster (tests/faults)."""

    def test_longest_idle_session_gives_way(self):
        os.environ["FLEXMUSIC_TEST_CLOCK"] = "200"
        self.addCleanup(os.environ.pop, "FLEXMUSIC_TEST_CLOCK")
        server = self.start(binary=os.path.join(
            harness.BUILD, "faults", "flexmusicd"), max_connections=2)
        first = server.client().handshake()
        second = server.client().handshake()
        time.sleep(1)  # 200 s by the master's clock
        with server.client() as third:
            third.handshake()
            event = server.log.wait("session-end", reason="gave-way")
            self.assertEqual(event["peer"], first.peer)
            try:
                self.assertEqual(first.rest(), b"")
            except ConnectionResetError:
                pass
            self.assertTrue(second.command("HELP").startswith(b"200 "))
            third.quit()
        first.close()
        second.quit()


class Fork(FailureCase):
    """The same without a cgroup: forks that fail when a test wants it
    (tests/faults)."""

    def faulty(self):
        """A server whose calls can fail."""
        server = faults.Server()
        self.servers.append(server)
        self.addCleanup(server.remove)
        server.start()
        self.addCleanup(self.finish, server)
        return server

    def test_of_the_zygote(self):
        """Every fourth connection finds no process: it is closed, and the
        others do not notice."""
        server = self.faulty()
        self.serves(server)
        server.log.wait("session-end")
        server.quiet()
        before = server.at_rest()
        session = server.client().handshake()
        server.arm("zygote", "clone", errno.EAGAIN, count=4, every=4,
                   times=faults.ALWAYS)
        served = failed = 0
        for _ in range(40):
            with server.client() as client:
                try:
                    client.handshake()
                    client.quit()
                    served += 1
                except (fmltp.Closed, ConnectionResetError):
                    failed += 1
        self.assertEqual((served, failed), (30, 10))
        events = harness.wait_for(
            "a line for each", lambda: [
                e for e in [server.log.find("spawn-failed")]
                if len(e) == failed])[0]
        for event in events:
            self.assertIn(os.strerror(errno.EAGAIN), event["error"])
        server.page.disarm()
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        session.quit()
        server.quiet()
        self.assertEqual(server.settle(before), before)

    def test_of_the_master(self):
        """Helpers die while the master can fork none: they are back when it
        can, and it does not spin meanwhile."""
        server = self.faulty()
        before = server.at_rest()
        session = server.client().handshake()
        server.arm("master", "fork", errno.EAGAIN, times=faults.ALWAYS)
        for role in ("zygote", "keys"):
            for p in server.role(role):
                os.kill(p.pid, signal.SIGKILL)
            event = server.log.wait("helper-failed", role=role)
            self.assertIn(os.strerror(errno.EAGAIN), event["error"])
        with knocking(server):
            self.calm(harness.Process(server.pid))
        self.assertTrue(server.alive())
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        server.page.disarm()
        self.serves_again(server)
        self.assertTrue(session.command("HELP").startswith(b"200 "))
        session.quit()
        server.quiet()
        self.assertEqual(server.settle(before), before)


class Second(FailureCase):
    """A second server on the same state directory."""

    def test_refused(self):
        first = self.start()
        second = harness.Server(state_dir=first.state_dir)
        self.addCleanup(second.remove)
        second.spawn()
        second.process.wait(harness.DEADLINE)
        self.assertNotEqual(second.process.returncode, 0)
        self.assertGreater(second.process.returncode, 0)
        self.assertIn(first.state_dir, second.log.text())
        self.serves(first)
        first.stop()
        harness.seed_state(first.state_dir, 1024, first=3)
        second.start()
        self.serves(second)
        second.stop()


class Logging(FailureCase):
    """Serving never waits for the log."""

    def with_receiver(self, open_at_once=True, **keys):
        """A server that logs to a receiver of our own."""
        server = harness.Server(arguments=("-F", "-v"), **keys)
        self.addCleanup(server.remove)
        receiver = Receiver(os.path.join(server.directory, "syslog"))
        server.write_config(syslog_socket=receiver.path)
        if open_at_once:
            receiver.open()
        self.addCleanup(receiver.close)
        server.start()
        self.addCleanup(self.finish, server)
        return server, receiver

    def test_receiver_reads(self):
        server, receiver = self.with_receiver()
        self.serves(server)
        for name in ("start", "listen", "ready", "generation-installed",
                     "session-begin", "session-end"):
            line = receiver.wait(name)
            self.assertRegex(line.text,
                             r"^<\d+>[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d "
                             r"flexmusicd\[%d\]: " % server.pid)

    def test_receiver_absent(self):
        server, receiver = self.with_receiver(open_at_once=False)
        peers = []
        for _ in range(5):
            with server.client() as client:
                client.handshake()
                client.quit()
            peers.append(client.peer)
        self.calm(harness.Process(server.pid))
        receiver.open()
        for name in ("start", "listen", "ready"):
            receiver.wait(name)
        for peer in peers:
            receiver.wait("session-end", peer=peer)

    def test_receiver_restarted(self):
        server, receiver = self.with_receiver()
        peers = []
        for i in range(6):
            if i == 2:
                # What lies unread in a socket that is closed is lost.
                receiver.wait("session-end", peer=peers[-1])
                receiver.close()
            if i == 4:
                receiver.open()
            with server.client() as client:
                client.handshake()
                client.quit()
            peers.append(client.peer)
        for peer in peers:
            receiver.wait("session-end", peer=peer)
            self.assertEqual(len(receiver.find("session-begin", peer=peer)),
                             1)

    def test_receiver_does_not_read(self):
        server, receiver = self.with_receiver()
        for _ in range(harness.scaled(100)):
            self.serves(server)
        self.calm(harness.Process(server.pid))
        with server.client() as client:
            client.handshake()
            client.quit()
        receiver.wait("session-end", peer=client.peer)
        receiver.wait("ready")

    def test_more_lines_than_are_kept(self):
        """What did not fit is counted."""
        server, receiver = self.with_receiver()
        with open("/proc/sys/net/unix/max_dgram_qlen") as f:
            count = 1024 + int(f.read()) + 200

        def knock(n):
            for _ in range(n):
                with server.client() as client:
                    client.read_banner()
                    client.send(b"nobody\r\n")
                    client.rest()

        threads = [threading.Thread(target=knock, args=(count // 8 + 1,))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.serves(server)
        line = harness.wait_for("the count of dropped lines", lambda: [
            e for e in receiver.read() if "dropped" in e])[0]
        self.assertGreater(int(line["dropped"]), 0)
        with server.client() as client:
            client.handshake()
            client.quit()
        receiver.wait("session-end", peer=client.peer)


class Overdue:
    """Workers that stand still, to be looked at half a minute later: the
    master's own time limits come behind those of the workers and of keys,
    and nothing is to wait for them meanwhile."""

    def __init__(self):
        self.server = harness.Server(handshake_client_timeout=1)
        self.server.start()
        self.clients = {stage: self.server.client()
                        for stage in ("vex", "quit")}
        self.workers = {}
        for stage, client in self.clients.items():
            if stage == "quit":
                client.handshake()
            self.workers[stage] = self.server.worker(client.peer)
        quitting = self.clients["quit"]
        quitting.command("QUIT")
        quitting.rest()
        for worker in self.workers.values():
            os.kill(worker.pid, signal.SIGSTOP)

    def end(self):
        """Stops the server."""
        for client in self.clients.values():
            client.close()
        try:
            self.server.stop()
        finally:
            self.server.remove()


OVERDUE = []


def setUpModule():
    """Begins what takes long."""
    OVERDUE.append(Overdue())


def tearDownModule():
    """Ends it."""
    OVERDUE.pop().end()


class Standstill(FailureCase):
    """The master ends a worker that outlives its time."""

    def check(self, stage, event, reason):
        overdue = OVERDUE[0]
        client = overdue.clients[stage]
        found = overdue.server.log.wait(event, peer=client.peer)
        self.assertEqual(found["reason"], reason, found.text)
        worker = overdue.workers[stage]
        self.assertEqual(harness.left_behind([worker]), [])

    def test_a_handshake(self):
        self.check("vex", "handshake-failed", "master-timeout")
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(OVERDUE[0].clients["vex"].rest(),
                             b"FlexMusic Server,0.0.0\r\n")

    def test_a_session_that_has_ended(self):
        self.check("quit", "session-end", "quit")

    def test_the_others_were_served(self):
        self.serves(OVERDUE[0].server)


if __name__ == "__main__":
    runner.main()
