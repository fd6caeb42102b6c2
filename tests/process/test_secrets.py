#!/usr/bin/python3
"""Secrets in memory: each is where it may be, and nowhere else, and gone when
it has been used.

The memory of every process of a running server is searched, at the moments
that matter, for what the client of the tests knows: the session's key and
what is made of it, the shared secret, the password.  The server's private
exponents are found in the key holder's memory before they are used: that is
where they lie.  What is in a socket's buffer is the kernel's.
"""

import base64
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import warnings

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import fake_server  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import memory  # noqa: E402
import runner  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt  # noqa: E402

GRANTED = b"150 Authentication successful.\r\n"
REFUSED = b"151 Authentication failed.\r\n"
HELD = ("T", "t")

EXPONENT_BITS = 160  # of 1024-bit parameters
SLOW = "$6$rounds=3000000$"  # a check of a second and more
USERS = {  # name to password and setting
    "sha512": ("a password under SHA-512", "$6$rounds=1000$saltsalt"),
    "bcrypt": ("a password under bcrypt!!", "$2b$04$abcdefghijklmnopqrstuu"),
    "yescrypt": ("a password under yescrypt", "$y$j75$saltsalt"),
    "slow": ("a password that takes long", SLOW + "saltsalt"),
}
WRONG = "a password that is wrong"

# Masks of OPENSSL_ia32cap(3): all that there is; without SHA; without AVX2
# and BMI2, too; without ADX; without anything.
PROCESSORS = ("", ":~0x20000000", ":~0x20000128", ":~0x20080000",
              "~0x0:~0xffffffffffffffff", "0x0:0x0")

needs_memory = unittest.skipIf(
    harness.SANITIZED, "sanitizers keep copies of what they watch")


class Held:
    """Processes that are stopped for a moment."""

    def __init__(self, *some):
        self.some = some

    def __enter__(self):
        for p in self.some:
            os.kill(p.pid, signal.SIGSTOP)
        for p in self.some:
            harness.wait_for("%s to stop" % p.role,
                             lambda p=p: harness.look_at(p.pid).state in HELD)
        return self

    def __exit__(self, *unused):
        for p in self.some:
            harness.kill(p.pid, signal.SIGCONT)


def shared_secret(client):
    """The number that both sides have computed."""
    return memory.number("shared secret", int.from_bytes(
        client.shared, "big"), len(client.shared))


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
class Search(memory.Judge):
    """The search itself, in this process."""

    def test_forms(self):
        """Each form is found that this process has, and no other."""
        secret = os.urandom(32)
        needles = memory.session_key(secret)
        self.assertEqual(len({name for name, _ in needles}), len(needles))
        found = memory.find(memory.snapshot(os.getpid()), needles)
        self.assertEqual(set(found), {name for name, _ in needles})
        other = [(name, bytes(8) + b"\1" * 8 + needle[::-1])
                 for name, needle in needles]
        masked = [(name, bytes(b ^ 0x55 for b in needle))
                  for name, needle in other]
        child = subprocess.Popen(["sleep", "60"])
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(memory.find(memory.snapshot(child.pid), masked), {})

    def test_other_process(self):
        """In a child's memory a text is found, and its place is right."""
        word = os.urandom(16).hex()
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys, time\n"
             "kept = bytearray(sys.argv[1].encode() * 2)\n"
             "print(flush=True)\ntime.sleep(60)", word],
            stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        child.stdout.readline()
        needles = memory.text("word", word.encode())
        found = memory.find(memory.snapshot(child.pid), needles)
        self.assertEqual(set(found), {"word, byte %d" % i
                                      for i in range(0, 32, 8)})
        address, region = found["word, byte 0"]
        self.assertEqual(region.data[address - region.start:][:8],
                         word[:8].encode())


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
class Exchange(harness.ServerCase, memory.Judge):
    """Session keys, shared secrets, private exponents."""

    SERVER = {"keys_processes": 1}

    def connect(self, stage="session"):
        """A connection at a stage, and its worker."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.until(stage)
        return client, self.server.worker(client.peer)

    def test_key_is_in_its_worker_alone(self):
        """In the handshake, in the session, and beside another session."""
        other, others_worker = self.connect()
        for stage in ("chal", "session"):
            client, worker = self.connect(stage)
            with self.subTest(stage=stage):
                needles = memory.session_key(client.key)
                self.here(worker, needles, 30)
                self.nowhere(self.server, needles, but=[worker])
        needles = memory.session_key(other.key)
        self.here(others_worker, needles, 30)
        self.nowhere(self.server, needles, but=[others_worker])

    @needs_memory
    def test_key_as_it_came_is_wiped(self):
        """In the session there is what was made of it."""
        client, worker = self.connect()
        client.command("HELP")
        mac = memory.pieces("MAC key", client.key[:16])
        self.nowhere(self.server, mac)
        self.here(worker, memory.expanded_key(client.key), 20)

    @needs_memory
    def test_shared_secret_is_gone(self):
        """By the time packet 5 comes, or little later."""
        for _ in range(3):
            client, _ = self.connect("chal")
            self.nowhere(self.server, shared_secret(client))

    @needs_memory
    def test_key_holder_has_forgotten(self):
        """As soon as it has answered: the worker has not even read it."""
        keys = self.server.one("keys")
        client, worker = self.connect("kex")
        before = int(self.status()["exchanges"])
        with Held(keys):
            client.send_key()
            # The worker has asked when it has read all, and waits again.
            harness.wait_for("the worker's question",
                             lambda: self.waits_for_keys(worker))
            with Held(worker):
                os.kill(keys.pid, signal.SIGCONT)
                harness.wait_for("the answer of keys", lambda: int(
                    self.status()["exchanges"]) == before + 1)
                taken = {p.pid: memory.snapshot(p.pid)
                         for p in self.server.processes()}
        client.read_key()
        for name, needles in (("key", memory.session_key(client.key)),
                              ("secret", shared_secret(client))):
            for p in self.server.processes():
                with self.subTest(name=name, process=p):
                    self.assertEqual(memory.find(taken[p.pid], needles), {})
        client.send_challenge()
        client.read_final()
        client.quit()

    def status(self):
        """What keys says of itself."""
        mark = self.server.log.mark()
        self.server.signal(signal.SIGUSR1)
        return self.server.log.wait("status-keys", start=mark)

    def waits_for_keys(self, worker):
        """It has sent its one message, and sleeps in ppoll(2)."""
        inode = harness.descriptors(worker.pid)
        before = harness.look_at(worker.pid)
        time.sleep(0.05)
        after = harness.look_at(worker.pid)
        return len(inode) > 0 and before.state == after.state == "S" and \
            before.switches == after.switches and self.unread(worker) == 0

    @staticmethod
    def unread(worker):
        """Bytes that wait at its client's socket."""
        inodes = [target[8:-1] for target in
                  harness.descriptors(worker.pid).values()
                  if target.startswith("socket:")]
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                row = line.split()
                if row[9] in inodes:
                    return int(row[4].split(":")[1], 16)
        return None

    @needs_memory
    def test_private_exponent(self):
        """Made ahead, it lies in keys alone; used, it is gone."""
        keys = self.server.one("keys")
        self.full_pool()
        client, _ = self.connect("kex")
        before = memory.snapshot(keys.pid)
        client.send_key()
        client.read_key()
        p, _, _ = client.numbers()
        public = fmltp_public(client)
        x = exponent_of(before, p, public)
        self.assertIsNotNone(x, "no pair of this exchange was ready")
        needles = memory.number("exponent", x, EXPONENT_BITS // 8)
        found = memory.find(before, needles)
        self.assertTrue(found)
        self.nowhere(self.server, needles)

    @needs_memory
    def test_private_exponents_retire(self):
        """Those that were not used go with their generation."""
        with harness.Server(seeds={1024: 2}, keys_processes=1) as server:
            self.servers = [server]
            keys = server.one("keys")
            self.full_pool(server)
            with server.client() as client:
                client.until("session")
                p, _, _ = client.numbers()
                publics = ready_publics(memory.snapshot(keys.pid), p)
                client.quit()
            self.assertGreater(len(publics), 8)
            server.quiet()
            server.signal(signal.SIGHUP)
            server.log.wait("generation-retired")
            needles = []
            for i, x in enumerate(publics.values()):
                needles += memory.number("exponent %d" % i, x,
                                         EXPONENT_BITS // 8)
            self.nowhere(server, needles)

    def full_pool(self, server=None):
        """Waits until the key pairs made ahead are all there."""
        server = server or self.server

        def full():
            mark = server.log.mark()
            server.signal(signal.SIGUSR1)
            said = server.log.wait("status-keys", start=mark)
            return int(said["pairs"]) >= 32
        harness.wait_for("key pairs ahead", full, pause=0.5)

    def test_end_of_the_session(self):
        """Nothing is left in those that live on."""
        client, _ = self.connect()
        client.command("HELP")
        needles = memory.session_key(client.key)
        client.quit()
        self.server.failure(client.peer)
        self.nowhere(self.server, needles + shared_secret(client))

    def leaves_no_key(self, until, leave):
        """A worker is looked at between its connection's end and its own."""
        for _ in range(20):
            client, worker = self.connect(*until)
            leave(client)
            self.assertEqual(client.rest(), b"")
            # It waits a second at most for the client's end.
            if not harness.kill(worker.pid, signal.SIGSTOP):
                continue
            taken = memory.snapshot(worker.pid)
            harness.kill(worker.pid, signal.SIGCONT)
            if taken:
                self.assertEqual(memory.find(
                    taken, memory.session_key(client.key)), {})
                return
        self.fail("no worker was there any more")

    @needs_memory
    def test_worker_that_takes_its_leave(self):
        """The key is gone before the connection is."""
        def leave(client):
            client.command("HELP")
            self.assertEqual(client.command("QUIT"), b"200 Goodbye.\r\n")
        self.leaves_no_key((), leave)

    @needs_memory
    def test_handshake_that_fails(self):
        """So it is after a handshake that does not come to its end."""
        self.leaves_no_key(("chal",), lambda client: client.send(
            client.seal("another text") + b"\r\n"))


def fmltp_public(client):
    """The server's public value, of packet 5."""
    key = fmltp.serialization.load_pem_public_key(client.last)
    return key.public_numbers().y


def candidates(taken):
    """Numbers that may be exponents: where the C library's allocator has a
    block of their size."""
    limbs = (EXPONENT_BITS + 63) // 64
    for region in taken:
        data = region.data
        for at in range(16, len(data) - 8 * limbs, 16):
            size = struct.unpack_from("<Q", data, at - 8)[0] & ~7
            if size != 32:
                continue
            x = int.from_bytes(data[at:at + 8 * limbs], "little")
            if x >> (EXPONENT_BITS - 32) and not x >> EXPONENT_BITS:
                yield x


def exponent_of(taken, p, public):
    """The exponent of a public value, out of a process's memory."""
    for x in candidates(taken):
        if pow(2, x, p) == public:
            return x
    return None


def ready_publics(taken, p):
    """Public value to exponent, of all pairs that lie ready."""
    found = {}
    for x in candidates(taken):
        public = pow(2, x, p)
        data = public.to_bytes((p.bit_length() + 7) // 8, "big")
        if memory.find(taken, [("public value", data)]):
            found[public] = x
    return found


class Users:
    """A users file."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.path = os.path.join(self.directory, "users")
        self.hashes = {name: crypt.crypt(password, setting)
                       for name, (password, setting) in USERS.items()}
        self.write()

    def write(self):
        """As the hashes are."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as f:
            for name, hashed in self.hashes.items():
                f.write("%s:%s\n" % (name, hashed))

    def needle(self, name):
        """The hash without its setting."""
        return memory.text("hash", self.hashes[name][-31:].encode())

    def remove(self):
        """The whole directory."""
        shutil.rmtree(self.directory)


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
class Passwords(harness.ServerCase, memory.Judge):
    """What lockdown brings: passwords and hashes."""

    @classmethod
    def setUpClass(cls):
        cls.users = Users()
        cls.addClassCleanup(cls.users.remove)
        cls.SERVER = {"auth_method": "auth", "auth_file": cls.users.path,
                      "auth_processes": 1, "keys_processes": 1,
                      "penalty_exempt": ["127.0.0.0/8"]}
        super().setUpClass()

    def connect(self):
        """A session in lockdown, and its worker."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.handshake()
        return client, self.server.worker(client.peer)

    def test_key_in_lockdown(self):
        """The session's key is in its worker alone."""
        client, worker = self.connect()
        needles = memory.session_key(client.key)
        self.here(worker, needles, 30)
        self.nowhere(self.server, needles, but=[worker])

    @needs_memory
    def test_password_on_its_way(self):
        """The worker has passed it on, auth has not taken it."""
        auth = self.server.one("auth")
        for name, password in (("sha512", USERS["sha512"][0]),
                               ("sha512", WRONG), ("nobody", WRONG),
                               ("u" * 40, WRONG)):
            client, _ = self.connect()
            with self.subTest(name=name, password=password):
                with Held(auth):
                    client.send_command("AUTH %s %s" % (name, password))
                    self.taken(client)
                    self.nowhere(self.server, memory.text(
                        "password", password.encode()))
                client.read_answer()

    def taken(self, client):
        """Waits until the worker has read what was sent."""
        port = client.sock.getsockname()[1]

        def unsent():
            with open("/proc/net/tcp") as f:
                for line in f.readlines()[1:]:
                    row = line.split()
                    if row[2].endswith(":%04X" % port) and \
                            row[1].endswith(":%04X" % self.server.port):
                        return row[4].endswith(":00000000")
            return False
        harness.wait_for("the worker to read", unsent)

    @needs_memory
    def test_password_while_it_is_checked(self):
        """It is in auth; and when the verdict is there, nowhere."""
        auth = self.server.one("auth")
        client, _ = self.connect()
        needles = memory.text("password", WRONG.encode())
        client.send_command("AUTH slow " + WRONG)
        harness.wait_for("the password in auth", lambda: memory.find(
            memory.snapshot(auth.pid), needles))
        self.nowhere(self.server, needles, but=[auth])
        self.server.log.wait("auth-failed", peer=client.peer)
        self.nowhere(self.server, needles)
        self.assertEqual(client.read_answer(), REFUSED)

    @needs_memory
    def test_password_is_gone(self):
        """With each method, right and wrong, while the session goes on."""
        for name, (password, _) in USERS.items():
            if name == "slow":
                continue
            client, _ = self.connect()
            with self.subTest(method=name):
                for word, right in ((WRONG, REFUSED), (password, GRANTED)):
                    self.assertEqual(client.auth(name, word), right)
                    self.nowhere(self.server,
                                 memory.text("password", word.encode()))
                client.command("HELP")
                client.quit()

    @needs_memory
    def test_password_that_nobody_waits_for(self):
        """The client is gone before its turn comes."""
        auth = self.server.one("auth")
        client, _ = self.connect()
        with Held(auth):
            client.send_command("AUTH sha512 " + WRONG)
            self.taken(client)
            client.reset()
            self.server.failure(client.peer)
        self.nowhere(self.server, memory.text("password", WRONG.encode()))

    @needs_memory
    def test_hashes_are_in_auth_alone(self):
        """The master opens the file, and reads none of it."""
        auth = self.server.one("auth")
        client, _ = self.connect()
        client.auth("sha512", USERS["sha512"][0])
        for name in USERS:
            with self.subTest(name=name):
                needles = self.users.needle(name)
                self.here(auth, needles)
                self.nowhere(self.server, needles, but=[auth])
        client.quit()

    @needs_memory
    def test_hash_that_was_replaced(self):
        """A file that has changed: what was in the old one is forgotten."""
        auth = self.server.one("auth")
        old = self.users.needle("bcrypt")
        self.here(auth, old)
        self.users.hashes["bcrypt"] = crypt.crypt(
            USERS["bcrypt"][0], "$2b$04$" + "zyxwvutsrqponmlkjihgfu")
        self.users.write()
        mark = self.server.log.mark()
        self.server.signal(signal.SIGHUP)
        self.server.log.wait("users", start=mark)
        self.nowhere(self.server, old)
        self.here(auth, self.users.needle("bcrypt"))


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
@needs_memory
class LongTermKey(harness.OwnServerCase, memory.Judge):
    """The server's own: in keys, where it is made, read and used."""

    def needles(self, path):
        """The key in the file there: as it is, and as the file has it."""
        with open(path, "rb") as f:
            body = b"".join(f.read().split(b"\n")[1:-2])
        seed = base64.b64decode(body)[-32:]
        # A piece of its base64 that is of the key alone.
        return memory.pieces("key", seed) + memory.pieces(
            "file", body[24:56])

    def judge(self, server, path):
        """Of all processes, and after IDENT."""
        with server.client() as client:
            client.handshake()
            self.assertTrue(client.command("IDENT").startswith(
                b"200 ed25519 "))
            client.command("HELP")
            needles = self.needles(path)
            keys = server.role("keys")
            for p in keys:
                self.here(p, needles[:4], least=4)
                # The file's text is gone once it is read, or written.
                self.nowhere_in(p.pid, needles[4:])
            self.nowhere(server, needles, but=keys)
            client.quit()

    def test_long_term_key(self):
        """Made at the first start, read at the next, and by a new keys."""
        folder = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "key.pem")
        server = self.start(identity_file=path)
        self.judge(server, path)
        server.stop()
        server.start()
        self.judge(server, path)


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
@needs_memory
class Locked(harness.OwnServerCase, memory.Judge):
    """What is secret is not swapped out, where the system lets it be."""

    def start(self, **keys):
        users = Users()
        self.addCleanup(users.remove)
        return super().start(auth_method="auth", auth_file=users.path,
                             auth_processes=1, **keys)

    def test_locked(self):
        """The memory of keys and auth: heap, data, stack."""
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] not in (
                -1, resource.RLIM_INFINITY) and resource.getrlimit(
                    resource.RLIMIT_MEMLOCK)[1] < 8 << 20:
            self.skipTest("RLIMIT_MEMLOCK is below 8 MiB")
        server = self.start()
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.auth("sha512", USERS["sha512"][0]),
                             GRANTED)
            for p in server.role("keys") + server.role("auth"):
                with self.subTest(process=p):
                    self.assertGreater(int(p.status["VmLck"].split()[0]),
                                       2048)
                    written = [r for r in memory.regions(p.pid)
                               if "wr" in r.flags and "sh" not in r.flags]
                    self.assertLessEqual({"[heap]", "[stack]"},
                                         {r.name for r in written})
                    self.assertEqual([r for r in written
                                      if "lo" not in r.flags], [])
                    # Only what is touched: the heap is made ahead.
                    self.assertLess(int(p.status["VmRSS"].split()[0]), 16384)
            client.quit()
        self.assertEqual(server.log.find("layer-missing",
                                         layer="memory-lock"), [])
        for role, word in (("keys", "locked"), ("auth", "locked"),
                           ("zygote", "plain")):
            self.assertEqual({e["memory"] for e in server.log.find(
                "sandbox", role=role)}, {word})

    def test_not_allowed(self):
        """Where the limit is too low, it is said once, and all is served."""
        server = self.start(
            binary="/usr/bin/prlimit",
            arguments=["--memlock=65536:65536", harness.DAEMON, "-d", "-v"],
            keys_processes=2)
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.auth("yescrypt", USERS["yescrypt"][0]),
                             GRANTED)
            client.quit()
        for p in server.role("keys") + server.role("auth"):
            self.assertEqual(p.status["VmLck"], "0 kB", p)
        self.assertEqual(len(server.log.find(
            "layer-missing", layer="memory-lock")), 1)
        self.assertEqual({e["memory"] for e in server.log.find(
            "sandbox", role=("keys", "auth"))}, {"unlocked"})


@unittest.skipUnless(harness.ROOT, "needs root to read memory")
@needs_memory
class Programs(memory.Judge):
    """flexmusic and flexmusicctl."""

    def start_client(self, server, *options, env=None):
        """flexmusic, its standard input open, at home with nobody."""
        home = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        self.addCleanup(home.cleanup)
        process = subprocess.Popen(
            [os.path.join(harness.BUILD, "flexmusic"), "--allow-weak",
             "--accept-new", "-p", str(server.port), *options, "127.0.0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=dict(os.environ, HOME=home.name, **env or {}))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.kill)
        return process

    def fake(self, **how):
        """A server in Python."""
        server = fake_server.FakeServer(fake_server.read_primes()[0], **how)
        self.addCleanup(server.stop)
        return server

    def test_password_of_the_client(self):
        """One that was typed as a command is gone once it is sent, also
        where what follows is shorter."""
        server = self.fake(replace={
            "packet_7": lambda s: s.seal(fake_server.LOCKED)})
        client = self.start_client(server)
        for command in (b"AUTH user " + WRONG.encode(), b"HELP"):
            client.stdin.write(command + b"\n")
            client.stdin.flush()
            harness.wait_for("the command",
                             lambda c=command: c in server.commands)
            client.stdout.readline()
            self.nowhere_in(client.pid,
                            memory.text("password", WRONG.encode()))

    def test_password_from_a_descriptor(self):
        """AUTH is granted, the session goes on."""
        for options in ((), ("-v",)):
            server = self.fake(replace={
                "packet_7": lambda s: s.seal(fake_server.LOCKED)})
            client = self.start_client(
                server, "-u", fake_server.USER.decode(), "--password-fd", "0",
                *options)
            client.stdin.write(fake_server.PASSWORD + b"\nHELP\n")
            client.stdin.flush()
            harness.wait_for("HELP", lambda s=server: b"HELP" in s.commands)
            client.stdout.readline()
            self.nowhere_in(client.pid, memory.text(
                "password", fake_server.PASSWORD))

    def test_shared_secret_of_the_client(self):
        """Of the exchange there is left what the session needs, whichever
        code of OpenSSL's this processor has it run."""
        for mask in PROCESSORS:
            with self.subTest(mask=mask):
                server = self.fake()
                client = self.start_client(server,
                                           env={"OPENSSL_ia32cap": mask})
                harness.wait_for("the session", server.idle.is_set)
                shared = pow(server.client_y, server.x, server.p)
                self.nowhere_in(client.pid, memory.number(
                    "shared secret", shared, server.size) +
                                memory.pieces("MAC key", server.key[:16]))
                self.assertTrue(memory.find(
                    memory.snapshot(client.pid),
                    memory.expanded_key(server.key)))

    def test_password_of_flexmusicctl(self):
        """While it waits for the server, password and hash are gone."""
        directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, directory)
        control = os.path.join(directory, "control")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(listener.close)
        listener.bind(control)
        listener.listen(1)
        listener.settimeout(harness.DEADLINE)
        users = os.path.join(directory, "users")
        ctl = subprocess.Popen(
            [os.path.join(harness.BUILD, "flexmusicctl"), "user", "add",
             "--file", users, "--socket", control, "--min-length", "1",
             "--stdin", "alice"], stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        self.addCleanup(ctl.wait)
        self.addCleanup(ctl.kill)
        self.addCleanup(ctl.stdin.close)
        ctl.stdin.write(WRONG.encode() + b"\n")
        ctl.stdin.close()
        peer, _ = listener.accept()
        self.addCleanup(peer.close)
        with open(users) as f:
            hashed = f.read().strip().split(":")[1]
        self.nowhere_in(ctl.pid, memory.text("password", WRONG.encode()) +
                        memory.text("hash", hashed[-31:].encode()))


if __name__ == "__main__":
    runner.main()
