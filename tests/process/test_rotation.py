#!/usr/bin/python3
"""Rotation: SIGHUP brings new parameters and loses nobody.

Two thousand handshakes are under way while SIGHUP comes ten times.  None
fails, and each uses exactly one generation: the one whose parameters it was
shown, which is the one the log names, and under which both sides have the
same key.
"""

import multiprocessing
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

HANDSHAKES = harness.scaled(2000)
ROTATIONS = 10
SEEDS = 16
PROCESSES = 4


def one(address):
    """A handshake; returns peer, the fingerprint it was shown, and an
    error or None."""
    try:
        with fmltp.Client(address) as client:
            client.handshake()
            shown = fmltp.fingerprint(client.params_pem)
            client.quit()
            return client.peer, shown, None
    except Exception as e:  # told by the test
        return None, None, "%s: %s" % (type(e).__name__, e)


def keep_going(address, begun, end, outcomes):
    """Handshakes until it is said that they end; `begun` counts all."""
    results = []
    while not end.is_set():
        with begun.get_lock():
            begun.value += 1
        results.append(one(address))
    outcomes.put(results)


def same(fingerprint, logged):
    """The log may write a fingerprint in capitals or with colons."""
    return logged.replace(":", "").lower() == fingerprint


class Rotation(harness.OwnServerCase):
    """SIGHUP."""

    def generations(self, server):
        """Generation to fingerprint, from the log."""
        return {e["generation"]: e["fingerprint"]
                for e in server.log.find("generation-installed")}

    def rotate(self, server):
        """One SIGHUP, until its generation is there."""
        before = len(server.log.find("generation-installed"))
        server.signal(signal.SIGHUP)
        server.log.wait("generation-installed", count=before + 1)

    def test_two_thousand_handshakes(self):
        server = self.start(seeds={1024: SEEDS})
        context = multiprocessing.get_context("fork")
        begun = context.Value("i", 0)
        end = context.Event()
        outcomes = context.Queue()
        children = [context.Process(target=keep_going, args=(
            server.address, begun, end, outcomes))
            for _ in range(PROCESSES)]
        for child in children:
            child.start()

        def go_on(count):
            """Waits until so many handshakes more have begun."""
            goal = begun.value + count
            harness.wait_for("handshakes", lambda: begun.value >= goal)

        for _ in range(ROTATIONS):
            go_on(HANDSHAKES // (ROTATIONS + 1))
            self.rotate(server)
        go_on(max(HANDSHAKES // (ROTATIONS + 1), HANDSHAKES - begun.value))
        end.set()
        results = sum((outcomes.get(timeout=600) for _ in children), [])
        for child in children:
            child.join()
        self.assertEqual([e for _, _, e in results if e is not None], [])
        self.assertGreaterEqual(len(results), HANDSHAKES)

        installed = self.generations(server)
        self.assertGreaterEqual(len(installed), ROTATIONS + 1)
        self.assertEqual(len(set(installed.values())), len(installed),
                         "a set was used twice")
        harness.wait_for("every session's line", lambda: len(
            server.log.find("session-begin")) >= len(results))
        logged = {}
        for e in server.log.find("session-begin"):
            logged.setdefault(e["peer"], []).append(e["generation"])
        used = set()
        for peer, shown, _ in results:
            self.assertEqual(len(logged[peer]), 1)
            generation = logged[peer][0]
            used.add(generation)
            self.assertTrue(same(shown, installed[generation]),
                            "%s was shown %s, the log says generation %s" %
                            (peer, shown, generation))
        self.assertGreaterEqual(len(used), ROTATIONS + 1)
        self.assertEqual(server.log.find("handshake-failed"), [])

    def test_handshakes_that_straddle(self):
        """A handshake that was shown the old parameters ends with them."""
        server = self.start(seeds={1024: 4})
        held = {stage: [server.client().until(stage) for _ in range(5)]
                for stage in ("vex", "kex", "chal", "session")}
        shown = {c: fmltp.fingerprint(c.params_pem)
                 for stage in ("kex", "chal", "session") for c in held[stage]}
        old = server.log.find("generation-installed")[-1]
        for _ in range(2):
            self.rotate(server)
        newest = server.log.find("generation-installed")[-1]
        self.assertNotEqual(old["fingerprint"], newest["fingerprint"])
        for stage, clients in held.items():
            for client in clients:
                client.resume(stage)
                self.assertTrue(client.command("HELP").startswith(b"200 "))
                begin = server.log.wait("session-begin", peer=client.peer)
                if client in shown:
                    self.assertEqual(begin["generation"], old["generation"])
                    self.assertEqual(fmltp.fingerprint(client.params_pem),
                                     shown[client])
                client.quit()
        server.log.wait("generation-retired", generation=old["generation"])
        with server.client() as client:
            client.handshake()
            self.assertTrue(same(fmltp.fingerprint(client.params_pem),
                                 newest["fingerprint"]))
            client.quit()

    def test_each_set_is_used_once(self):
        server = self.start(seeds={1024: 3})
        seeded = set(server.fingerprints[1024])
        for _ in range(2):
            self.rotate(server)
        events = server.log.find("generation-installed")
        self.assertEqual([e["source"] for e in events], 3 * ["made-ahead"])
        self.assertEqual({e["fingerprint"].lower() for e in events}, seeded)
        names = os.listdir(server.state_dir)
        for fingerprint in seeded:
            content = [n for n in names if self.holds(server, n, fingerprint)]
            self.assertEqual(content, [])

    def holds(self, server, name, fingerprint):
        """True if a file of the state directory has these parameters."""
        if not name.endswith(".pem"):
            return False
        with open(os.path.join(server.state_dir, name), "rb") as f:
            return fmltp.fingerprint(f.read()) == fingerprint

    def test_without_a_set(self):
        """Where nothing was made ahead, the first set is made before the
        start is over, the next one while the old one serves."""
        server = self.start(seeds={1024: 0})
        first = server.log.find("generation-installed")[-1]
        self.assertEqual(first["source"], "generated")
        self.serves(server)
        server.signal(signal.SIGHUP)
        self.serves(server)
        server.log.wait("generation-installed", count=2, generation=(1, 2))
        with server.client() as client:
            client.until("kex")
            numbers = client.params.parameter_numbers()
            self.assertEqual(numbers.p % 24, 23)
            self.assertEqual(numbers.p.bit_length(), 1024)
            self.assertNotEqual(fmltp.fingerprint(client.params_pem),
                                first["fingerprint"])
        self.serves(server)

    def test_a_wrong_set_is_set_aside(self):
        """A set that is no safe prime, a file that is not what its name
        says, and one that others may write are not used."""
        server = harness.Server(seeds={1024: 1})
        self.addCleanup(server.remove)
        p = harness.primes(1024)[5]
        self.put(server, harness.params_pem(p + 24))
        self.put(server, harness.params_pem(harness.primes(1024)[6]),
                 digest="0" * 64)
        self.put(server, harness.params_pem(harness.primes(1024)[7]),
                 mode=0o666)
        server.start()
        self.addCleanup(self.finish, server)
        for _ in range(3):
            self.rotate(server)
        wrong = {fmltp.fingerprint(harness.params_pem(q)) for q in
                 (p + 24, harness.primes(1024)[6], harness.primes(1024)[7])}
        used = {e["fingerprint"].lower()
                for e in server.log.find("generation-installed")}
        self.assertEqual(used & wrong, set())
        self.serves(server)
        self.assertTrue([n for n in os.listdir(server.state_dir)
                         if n.endswith(".bad")])

    def put(self, server, content, digest=None, mode=0o600):
        """A file in the state directory."""
        digest = digest or fmltp.hashlib.sha256(content).hexdigest()
        path = os.path.join(server.state_dir, "dh-1024-%s.pem" % digest)
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, mode)

    def test_hangups_in_a_row(self):
        """Several SIGHUPs at once end in a server that serves."""
        server = self.start(seeds={1024: SEEDS})
        for _ in range(20):
            server.signal(signal.SIGHUP)
            time.sleep(0.005)
        server.log.wait("generation-installed", count=2)
        self.serves(server)
        server.log.wait("reload")
        self.assertTrue(server.alive())


if __name__ == "__main__":
    runner.main()
