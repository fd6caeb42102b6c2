#!/usr/bin/python3
"""Signals: only the master acts on one, whoever gets it; and a process that
is stopped and continued, in whatever state, has lost nothing.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

OBEYED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
IGNORED = (signal.SIGUSR2, signal.SIGPIPE)
STAGES = ("vex", "kex", "chal", "session")


class Children(harness.ServerCase):
    """A signal to a child changes nothing."""

    SERVER = {"seeds": {1024: 12}}

    def check(self, number):
        """The signal to every process but the master, at every stage."""
        clients = {stage: self.server.client().until(stage)
                   for stage in STAGES}
        workers = {stage: self.server.worker(c.peer)
                   for stage, c in clients.items()}
        children = [p for p in self.server.processes()
                    if p.role in ("zygote", "keys", "worker")]
        self.assertGreaterEqual({p.role for p in children},
                                {"zygote", "keys", "worker"})
        mark = self.server.log.mark()
        for _ in range(3):
            for p in children:
                self.assertTrue(harness.kill(p.pid, number), p)
        time.sleep(0.05)
        for stage, client in clients.items():
            client.resume(stage)
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            now = harness.look_at(workers[stage].pid)
            self.assertIsNotNone(now)
            self.assertEqual(now.started, workers[stage].started)
            client.quit()
        self.serves()
        for p in children:
            if p.role != "worker":
                now = harness.look_at(p.pid)
                self.assertIsNotNone(now, p)
                self.assertEqual(now.started, p.started)
        self.assertTrue(self.server.alive())
        self.assertEqual(self.server.log.find(
            ("reload", "signal", "shutdown", "status", "worker-died",
             "helper-died", "helper-started"), mark), [])

    def test_usr2_and_pipe_do_nothing_to_the_master(self):
        mark = self.server.log.mark()
        for number in IGNORED:
            self.server.signal(number)
        self.serves()
        self.assertEqual(self.server.log.find(
            ("reload", "shutdown", "stop", "generation-installed"), mark), [])


def add_child_test(number):
    """A test of a signal to each child."""
    def test(self):
        self.check(number)
    setattr(Children, "test_" + signal.Signals(number).name, test)


for child_signal in OBEYED + IGNORED:
    add_child_test(child_signal)


class Group(harness.OwnServerCase):
    """A signal to the whole process group is a signal to the master."""

    def prepared(self, **keys):
        """A server with a client at each stage."""
        server = self.start(**keys)
        clients = {stage: server.client().until(stage) for stage in STAGES}
        return server, clients

    def go_on(self, server, clients):
        """The clients are served as if nothing had been."""
        for stage, client in clients.items():
            client.resume(stage)
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()
        self.serves(server)

    def test_hup(self):
        server, clients = self.prepared(seeds={1024: 6})
        mark = server.log.mark()
        server.signal_group(signal.SIGHUP)
        server.log.wait("generation-installed", mark)
        self.go_on(server, clients)
        self.assertEqual(len(server.log.find("reload", mark)), 1)
        self.assertEqual(len(server.log.find("generation-installed", mark)),
                         1)
        self.assertEqual(server.log.find(("worker-died", "helper-died"),
                                         mark), [])

    def test_usr1(self):
        server, clients = self.prepared()
        mark = server.log.mark()
        server.signal_group(signal.SIGUSR1)
        server.log.wait("status", mark)
        self.go_on(server, clients)
        self.assertEqual(server.log.find(
            ("worker-died", "helper-died", "generation-installed"), mark), [])

    def test_usr2_and_pipe(self):
        server, clients = self.prepared()
        mark = server.log.mark()
        server.signal_group(signal.SIGUSR2)
        server.signal_group(signal.SIGPIPE)
        self.go_on(server, clients)
        self.assertEqual(server.log.find(
            ("reload", "status", "worker-died", "helper-died",
             "generation-installed"), mark), [])

    def ends(self, number):
        """The signal ends everything, in order."""
        server, clients = self.prepared()
        family = [p for p in server.processes() if p.pid != server.pid]
        self.assertGreater(len(family), len(STAGES))
        server.signal_group(number)
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0, server.log.tail())
        self.assertEqual(harness.left_behind(family), [])
        for client in clients.values():
            client.rest()
            client.close()
        self.assertTrue(server.log.find(("shutdown", "stop")))
        self.assertEqual(server.log.find(("worker-died", "helper-died")), [])

    def test_int(self):
        self.ends(signal.SIGINT)

    def test_term(self):
        self.ends(signal.SIGTERM)


class Shutdown(harness.OwnServerCase):
    """SIGTERM: stop accepting, let handshakes finish, end all."""

    def test_handshakes_finish(self):
        server = self.start(handshake_client_timeout=60)
        held = {stage: server.client().until(stage)
                for stage in ("vex", "kex", "chal")}
        idle = server.client().handshake()
        family = [p for p in server.processes() if p.pid != server.pid]
        server.signal(signal.SIGTERM)
        harness.wait_for("the listener's end",
                         lambda: not harness.listening(server.port))
        for stage, client in held.items():
            client.resume(stage)
        for client in list(held.values()) + [idle]:
            client.rest()
            client.close()
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0)
        self.assertEqual(harness.left_behind(family), [])

    def test_nothing_is_accepted(self):
        server = self.start(handshake_client_timeout=60)
        held = server.client().until("kex")
        server.signal(signal.SIGTERM)
        harness.wait_for("the listener's end",
                         lambda: not harness.listening(server.port))
        with self.assertRaises(ConnectionRefusedError):
            server.client()
        held.close()
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0)

    def test_the_log_says_how_far_each_came(self):
        """A worker that is told to end reports its figures."""
        server = self.start(handshake_client_timeout=60)
        client = server.client().handshake()
        self.assertTrue(client.command("HELP").startswith(b"200 "))
        half = server.client().until("chal")
        server.signal(signal.SIGTERM)
        end = server.log.wait("session-end", reason="shutdown")
        self.assertEqual(end["commands"], "1")
        self.assertGreater(int(end["bytes_in"]), 500)
        self.assertGreater(int(end["bytes_out"]), 500)
        failed = server.log.wait("handshake-failed", reason="shutdown")
        self.assertEqual(failed["stage"], "chal")
        self.assertGreater(int(failed["bytes_in"]), 100)
        client.close()
        half.close()
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0)

    def ended(self, client):
        """The connection is over, in whatever way."""
        try:
            self.assertEqual(client.rest(), b"")
        except ConnectionResetError:
            pass
        client.close()

    def seconds_to_end(self, signals):
        """How long a server with handshakes under way takes to end, from
        the last of so many SIGTERMs on."""
        server = self.start(handshake_client_timeout=300)
        held = [server.client().until("kex") for _ in range(3)]
        family = [p for p in server.processes() if p.pid != server.pid]
        for _ in range(signals):
            begun = time.monotonic()
            server.signal(signal.SIGTERM)
            harness.wait_for("the listener's end",
                             lambda: not harness.listening(server.port))
        server.process.wait(harness.DEADLINE)
        taken = time.monotonic() - begun
        self.assertEqual(server.process.returncode, 0)
        self.assertEqual(harness.left_behind(family), [])
        for client in held:
            self.ended(client)
        return taken

    def test_second_signal_ends_at_once(self):
        """One SIGTERM leaves the handshakes their two seconds, a second one
        does not."""
        patient = self.seconds_to_end(1)
        at_once = self.seconds_to_end(2)
        self.assertLess(at_once, patient / 2)

    def test_while_parameters_are_made(self):
        server = harness.Server(seeds={2048: 0}, key_size=2048)
        self.addCleanup(server.remove)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("generating")
        harness.wait_for("paramgen", lambda: server.role("paramgen"))
        family = [p for p in server.processes() if p.pid != server.pid]
        server.signal(signal.SIGTERM)
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0, server.log.tail())
        self.assertEqual(harness.left_behind(family), [])

    def test_sighup_during_shutdown(self):
        server = self.start(seeds={1024: 3}, handshake_client_timeout=60)
        held = server.client().until("kex")
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR1)
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0, server.log.tail())
        held.close()


class Status(harness.OwnServerCase):
    """SIGUSR1."""

    def test_report(self):
        server = self.start()
        installed = server.log.find("generation-installed")[-1]
        for _ in range(3):
            self.serves(server)
        with server.client() as client:
            client.read_banner()
            client.send(b"nobody\r\n")
            client.rest()
        server.failure(client.peer)
        with server.client() as client:
            client.handshake()
            server.log.wait("session-begin", peer=client.peer)
            harness.wait_for("one session",
                             lambda: len(server.role("worker")) == 1)
            mark = server.log.mark()
            server.signal(signal.SIGUSR1)
            keys = len(server.role("keys"))
            server.log.wait("status-keys", mark, count=keys)
            client.quit()

        def line(name):
            return server.log.find(name, mark)[0]

        status = line("status")
        self.assertEqual((status["sessions"], status["total"],
                          status["established"], status["handshaking"]),
                         ("1", "5", "4", "0"), status.text)
        self.assertTrue(1 <= int(status["peak"]) <= 5, status.text)
        self.assertTrue(status["uptime_s"].isdigit(), status.text)
        self.assertEqual(line("status-failures")["version-not-flexmusic"],
                         "1")
        generation = line("status-generation")
        for key in ("generation", "bits", "fingerprint"):
            self.assertEqual(generation[key], installed[key])
        self.assertTrue(generation["age_s"].isdigit(), generation.text)
        holders = server.log.find("status-keys", mark)
        self.assertEqual(len(holders), keys)
        self.assertEqual(sum(int(e["exchanges"]) for e in holders), 4)
        for e in [status, line("status-zygote")] + holders:
            self.assertGreater(int(e["memory_kib"]), 0, e.text)

    def test_many(self):
        server = self.start()
        for _ in range(50):
            server.signal(signal.SIGUSR1)
        server.log.wait("status")
        self.serves(server)


class Stopped(harness.OwnServerCase):
    """SIGSTOP and SIGCONT."""

    def start_one(self):
        return self.start(seeds={1024: 3}, handshake_client_timeout=60)

    def pause(self, pid, seconds=0.1):
        """Stops a process, and waits until it stands."""
        os.kill(pid, signal.SIGSTOP)
        harness.wait_for("the stop of %d" % pid,
                         lambda: harness.look_at(pid).state == "T")
        time.sleep(seconds)

    def test_workers_that_wait(self):
        """A worker that waits for packet 2, 4, 6, a command."""
        server = self.start_one()
        for stage in STAGES:
            with self.subTest(stage=stage), server.client() as client:
                client.until(stage)
                worker = server.worker(client.peer)
                for _ in range(3):
                    self.pause(worker.pid, 0.02)
                    os.kill(worker.pid, signal.SIGCONT)
                client.resume(stage)
                client.quit()
        self.unharmed(server)

    def test_workers_while_bytes_come(self):
        """What comes while it is stopped is there when it goes on."""
        server = self.start_one()
        for stage in STAGES:
            with self.subTest(stage=stage), server.client() as client:
                client.until(stage)
                worker = server.worker(client.peer)
                self.pause(worker.pid, 0)
                if stage == "vex":
                    client.send_version()
                elif stage == "kex":
                    client.send_key()
                elif stage == "chal":
                    client.send_challenge()
                else:
                    client.send_command("HELP")
                time.sleep(0.1)
                os.kill(worker.pid, signal.SIGCONT)
                if stage == "vex":
                    client.read_params()
                    client.resume("kex")
                elif stage == "kex":
                    client.read_key()
                    client.resume("chal")
                elif stage == "chal":
                    client.read_final()
                else:
                    client.read_answer()
                client.quit()
        self.unharmed(server)

    def test_workers_inside_a_packet(self):
        server = self.start_one()
        for stage in ("vex", "silence", "kex", "chal", "session"):
            with self.subTest(stage=stage), server.client() as client:
                client.until("vex" if stage == "silence" else stage)
                if stage == "vex":
                    data = fmltp.CLIENT_LINE + fmltp.CRLF
                elif stage == "silence":
                    data = fmltp.CLIENT_LINE
                elif stage == "kex":
                    data = client.make_key()
                else:
                    data = client.seal(client.banner if stage == "chal"
                                       else "HELP")
                worker = server.worker(client.peer)
                place = len(data) if stage == "silence" else len(data) // 2
                client.send(data[:place])
                for _ in range(2):
                    self.pause(worker.pid, 0.1)
                    os.kill(worker.pid, signal.SIGCONT)
                client.send(data[place:])
                if stage in ("vex", "silence"):
                    client.read_params()
                    client.resume("kex")
                elif stage == "kex":
                    client.read_key()
                    client.resume("chal")
                elif stage == "chal":
                    client.read_final()
                else:
                    client.read_answer()
                client.quit()
        self.unharmed(server)

    def test_keys(self):
        """The key holders stand still while packet 4 comes."""
        server = self.start_one()
        holders = server.role("keys")
        with server.client() as client:
            client.until("kex")
            for p in holders:
                self.pause(p.pid, 0)
            client.send_key()
            time.sleep(0.2)
            for p in holders:
                os.kill(p.pid, signal.SIGCONT)
            client.read_key()
            client.resume("chal")
            client.quit()
        self.unharmed(server)

    def test_zygote(self):
        """The zygote stands still while connections come."""
        server = self.start_one()
        zygote = server.one("zygote")
        self.pause(zygote.pid, 0)
        clients = [server.client() for _ in range(5)]
        time.sleep(0.2)
        os.kill(zygote.pid, signal.SIGCONT)
        for client in clients:
            client.handshake()
            client.quit()
        self.unharmed(server)

    def test_master(self):
        """The master stands still while connections come and go."""
        server = self.start_one()
        held = {stage: server.client().until(stage) for stage in STAGES}
        self.pause(server.pid, 0)
        for stage, client in held.items():
            client.resume(stage)
            client.quit()
        clients = [server.client() for _ in range(5)]
        time.sleep(0.2)
        server.signal(signal.SIGCONT)
        for client in clients:
            client.handshake()
            client.quit()
        self.unharmed(server)

    def test_everything(self):
        """The whole group, as a terminal or a debugger does it."""
        server = self.start_one()
        held = {stage: server.client().until(stage) for stage in STAGES}
        for _ in range(3):
            server.signal_group(signal.SIGSTOP)
            time.sleep(0.1)
            server.signal_group(signal.SIGCONT)
        for stage, client in held.items():
            client.resume(stage)
            client.quit()
        self.unharmed(server)

    def test_paramgen(self):
        """The maker of parameters stands still."""
        server = harness.Server(seeds={1024: 0})
        self.addCleanup(server.remove)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("generating")
        maker = harness.wait_for("paramgen",
                                 lambda: server.role("paramgen"))[0]
        if harness.kill(maker.pid, signal.SIGSTOP):
            time.sleep(0.2)
            harness.kill(maker.pid, signal.SIGCONT)
        server.log.wait("ready")
        self.serves(server)
        server.stop()

    def test_signals_to_paramgen(self):
        """The makers of parameters obey their channel alone.  A search of this
        size takes minutes, so they are there all the time."""
        server = harness.Server(seeds={}, key_size=8192)
        self.addCleanup(server.remove)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("sandbox", role="paramgen")
        count = int(server.log.find("generating")[0]["processes"])
        makers = harness.wait_for("all of them", lambda: [
            p for p in [server.role("paramgen")] if len(p) == count])[0]
        for maker in makers:
            for number in OBEYED + IGNORED:
                self.assertTrue(harness.kill(maker.pid, number))
        time.sleep(0.3)
        self.assertEqual(sorted(p.pid for p in server.role("paramgen")),
                         sorted(p.pid for p in makers))
        self.assertEqual(server.log.find(("helper-died", "shutdown")), [])
        server.signal(signal.SIGTERM)
        server.process.wait(harness.DEADLINE)
        self.assertEqual(server.process.returncode, 0)
        self.assertEqual(harness.left_behind(makers), [])

    def unharmed(self, server):
        """Nothing died, and a new client is served."""
        self.serves(server)
        self.assertEqual(server.log.find(
            ("worker-died", "helper-died", "channel-violation",
             "handshake-failed")), [])


if __name__ == "__main__":
    runner.main()
