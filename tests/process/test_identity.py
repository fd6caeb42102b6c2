#!/usr/bin/python3
"""The server proves who it is: IDENT, the key's file, what the bundled client
makes of it, and a man in the middle (docs/FMLTP.md section 7).

Signatures are checked, and made, by python3-cryptography.
"""

import base64
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: E402
    Ed25519PrivateKey, Ed25519PublicKey)

import fake_server  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import memory  # noqa: E402
import runner  # noqa: E402

CLIENT = os.path.join(harness.BUILD, "flexmusic")
CTL = os.path.join(harness.BUILD, "flexmusicctl")
ANSWER = re.compile(rb"200 ed25519 ([\w-]{43}) ([\w-]{86})\r\n")
ONCE = b"420 IDENT comes once, before AUTH and other commands.\r\n"
INVALID = b"400 Invalid command or operative.\r\n"
GRANTED = b"150 Authentication successful.\r\n"
REFUSED = b"151 Authentication failed.\r\n"
IDENTITY = 10  # the client's exit status
PASSWORD = "a pass word"
USERS = "alice:$6$rounds=1000$selftest$MzLu03yhbV86VYPRV8eLPp4GNVbptv0OZgj" \
    "YlWT5md.dk7e10dKGVfDQn5twGjivfbtFdFnYWoXSqXurhYAmE0\n"


def raw(text):
    """base64url without padding."""
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def fingerprint(public):
    """As ssh writes one, of the bare key."""
    return "SHA256:" + base64.b64encode(
        hashlib.sha256(public).digest()).rstrip(b"=").decode()


def transcript(client):
    """What has to be signed for this handshake."""
    def counted(data):
        return len(data).to_bytes(2, "big") + data
    numbers = client.params.parameter_numbers()
    size = (numbers.p.bit_length() + 7) // 8
    return b"FmLTP/1.0 identity\0" + b"".join(counted(data) for data in (
        client.banner, client.version,
        numbers.p.to_bytes(size, "big"),
        client.numbers()[2].to_bytes(size, "big"),
        client.server_y.to_bytes(size, "big")))


def prove(client):
    """IDENT, its signature checked: the server's public key."""
    m = ANSWER.fullmatch(client.command("IDENT"))
    public, signature = raw(m.group(1)), raw(m.group(2))
    Ed25519PublicKey.from_public_bytes(public).verify(
        signature, transcript(client))
    return public


class Case(harness.OwnServerCase):
    """Servers with an identity of their own."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = os.path.join(self.folder, "identity.pem")
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home)
        self.known = os.path.join(self.home,
                                  ".config/flexmusic/known_servers")

    def start(self, **keys):
        return super().start(**{"identity_file": self.file, **keys})

    def with_users(self, **keys):
        """One that authenticates."""
        path = os.path.join(self.folder, "users")
        with open(path, "w") as f:
            f.write(USERS)
        os.chmod(path, 0o600)
        return self.start(auth_method="auth", auth_file=path, **keys)

    def public(self, server):
        """The key, by a handshake."""
        with server.client() as client:
            client.handshake()
            return prove(client)

    def flexmusic(self, port, *arguments, given=b""):
        """The bundled client, to its end."""
        return subprocess.run(
            [CLIENT, "--allow-weak", "-p", str(port), *arguments[:-1],
             "127.0.0.1", arguments[-1]], input=given,
            env=dict(os.environ, HOME=self.home), capture_output=True,
            timeout=harness.DEADLINE, check=False, start_new_session=True)

    def converse(self, terminal, answer=b""):
        """Until the program's end: what it showed.  Its question is
        answered."""
        shown = b""
        while True:
            if not select.select([terminal], [], [], harness.DEADLINE)[0]:
                self.fail("it waits: %r" % shown)
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
            if answer and b"(yes or no) " in shown:
                os.write(terminal, answer)
                answer = b""
        os.close(terminal)
        return shown

    def lines(self):
        """known_servers."""
        with open(self.known) as f:
            return f.read().splitlines()


class Ident(Case):
    """The command."""

    def test_without_authentication(self):
        server = self.start()
        with server.client() as client:
            client.handshake()
            public = prove(client)
            self.assertEqual(client.command("IDENT"), ONCE)
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()
        event = server.log.find("identity")[0]
        self.assertEqual(event["fingerprint"], fingerprint(public))
        # After another command it is too late.
        for first in ("HELP", "HELP IDENT", "NOTHING"):
            with server.client() as client:
                client.handshake()
                client.command(first)
                self.assertEqual(client.command("IDENT"), ONCE)
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.command("IDENT now"),
                             b"410 Too many arguments passed.\r\n")

    def test_in_lockdown(self):
        server = self.with_users()
        with server.client() as client:
            client.handshake()
            self.assertIn(b"IDENT - ", client.command("HELP"))
            self.assertEqual(client.auth("alice", "wrong"), REFUSED)
            public = prove(client)
            self.assertEqual(client.command("IDENT"), ONCE)
            self.assertEqual(client.auth("alice", PASSWORD), GRANTED)
            self.assertEqual(client.command("IDENT"), ONCE)
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.auth("alice", PASSWORD), GRANTED)
            self.assertEqual(client.command("IDENT"), ONCE)
        self.assertEqual(public, self.public(server))

    def test_each_key_size_and_name(self):
        """The transcript has p's length; packet 2's text as it was sent."""
        for bits in (1024, 2048, 4096):
            server = self.start(seeds={bits: 1}, key_size=bits,
                                friendly_name="FlexMusic S\u00e9rver",
                                compatibility="0.7.65535")
            for name in ("FlexMusic", "FlexMusic " + "x" * 118,
                         "FlexMusic\u00e9"):
                with server.client() as client:
                    client.handshake(name.encode() + b",0.7.1\r\n")
                    prove(client)
            server.stop()

    def test_every_keys_process_and_after_a_restart(self):
        server = self.start(keys_processes=3)
        self.assertEqual(len({self.public(server) for _ in range(6)}), 1)
        before = self.public(server)
        for p in server.role("keys"):
            harness.kill(p.pid, signal.SIGKILL)
        server.log.wait("helper-died", count=3)

        def again():
            try:
                return self.public(server) == before
            except (fmltp.Closed, ConnectionError):
                return False
        harness.wait_for("keys with the same identity", again)
        server.stop()
        server.start()
        self.assertEqual(self.public(server), before)
        self.assertEqual(len(server.log.find("identity-made")), 1)

    def test_none(self):
        """A server without one has no such command."""
        server = self.start(identity_file="none")
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.command("IDENT"), INVALID)
            self.assertNotIn(b"IDENT", client.command("HELP"))
        done = subprocess.run([CTL, "identity", "--socket",
                               server.control_path], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no identity", done.stderr)

    def test_nothing_is_left(self):
        """Channels to keys end with their sessions, used or not."""
        server = self.with_users(max_connections=200)
        self.public(server)
        server.quiet()
        before = server.at_rest()
        for i in range(60):
            with server.client() as client:
                client.handshake()
                if i % 3 == 0:
                    prove(client)
                elif i % 3 == 1:
                    client.auth("alice", PASSWORD)
        server.quiet()
        self.assertEqual(server.settle(before), before)

    def test_rotation_meanwhile(self):
        """A generation that retires does not take the transcript along."""
        server = self.start(seeds={1024: 3})
        with server.client() as client:
            client.handshake()
            for _ in range(2):
                mark = server.log.mark()
                server.signal(signal.SIGHUP)
                server.log.wait("generation-installed", mark)
            prove(client)

    def test_control(self):
        """flexmusicctl identity shows what clients see."""
        server = self.start()
        public = self.public(server)
        done = subprocess.run([CTL, "identity", "--socket",
                               server.control_path], capture_output=True,
                              text=True, check=True)
        self.assertEqual(done.stdout, "fingerprint %s\nkey %s\n" % (
            fingerprint(public),
            base64.urlsafe_b64encode(public).rstrip(b"=").decode()))


class File(Case):
    """The key's file."""

    def test_made(self):
        server = self.start()
        st = os.stat(self.file)
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_nlink),
                         (0o600, os.geteuid(), 1))
        with open(self.file, "rb") as f:
            content = f.read()
        key = serialization.load_pem_private_key(content, None)
        self.assertEqual(key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw),
                         self.public(server))
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["home", "identity.pem"])
        self.assertEqual(len(server.log.find("identity-made")), 1)

    def test_of_another_program(self):
        """What python3-cryptography and openssl write is read."""
        key = Ed25519PrivateKey.generate()
        with open(self.file, "wb") as f:
            f.write(key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
        os.chmod(self.file, 0o600)
        server = self.start()
        self.assertEqual(self.public(server),
                         key.public_key().public_bytes(
                             serialization.Encoding.Raw,
                             serialization.PublicFormat.Raw))
        # Another one, taken by SIGHUP.
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out",
                        self.file], check=True)
        os.chmod(self.file, 0o600)
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        event = server.log.wait("identity", mark)
        self.assertEqual(event["changed"], "yes")
        harness.wait_for("the new identity", lambda: fingerprint(
            self.public(server)) == event["fingerprint"])

    def refused(self, why):
        """A start that fails, and says why."""
        server = harness.Server(identity_file=self.file)
        self.addCleanup(server.remove)
        done = harness.run_daemon("-d", "-f", server.config_path)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("identity_file", done.stderr)
        self.assertIn(self.file, done.stderr)
        self.assertRegex(done.stderr, why)

    def test_wrong(self):
        """Owner, mode, kind, content: each is an error that says what to do."""
        self.start().stop()
        with open(self.file, "rb") as f:
            good = f.read()
        os.chmod(self.file, 0o640)
        self.refused("mode 0640: chmod 0600")
        os.chmod(self.file, 0o600)
        if harness.ROOT:
            os.chown(self.file, harness.OTHER_USER, 0)
            self.refused("cannot read it: chown it to root|belongs to user")
            os.chown(self.file, 0, 0)
        for content in (b"", b"x", good[:-20], good + b"\n\n", good * 2,
                        good.replace(b"PRIVATE", b"PUBLIC"),
                        good.replace(b"MC4CAQAwBQYDK2Vw", b"MC4CAQAwBQYDK2Vu"),
                        b"\0" * 119):
            with self.subTest(content=content):
                with open(self.file, "wb") as f:
                    f.write(content)
                self.refused("no Ed25519 key.*flexmusicd -I")
        os.rename(self.file, self.file + ".there")
        os.symlink(self.file + ".there", self.file)
        self.refused("symbolic link")
        os.unlink(self.file)
        os.mkfifo(self.file, 0o600)
        self.refused("not a regular file")

    def test_place_that_takes_none(self):
        """A first start that can't keep its key is none."""
        self.file = os.path.join(self.folder, "nowhere", "identity.pem")
        self.refused("cannot write the new key: No such file")
        if harness.ROOT:
            place = os.path.join(self.folder, "full")
            os.mkdir(place)
            self.assertEqual(harness.LIBC.mount(
                b"none", place.encode(), b"tmpfs", 0, b"nr_inodes=1"), 0)
            self.addCleanup(harness.LIBC.umount2, place.encode(), 2)
            self.file = os.path.join(place, "identity.pem")
            self.refused("cannot write the new key: No space left")

    def test_reload_of_a_wrong_one(self):
        """The identity before stays."""
        server = self.start()
        before = self.public(server)
        with open(self.file, "w") as f:
            f.write("nothing\n")
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        server.log.wait("identity-failed", mark)
        self.assertEqual(self.public(server), before)

    def renew(self, *answer, config):
        """flexmusicd -I on a terminal: status and what it showed."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [harness.DAEMON, "-I", "-f", config], stdin=slave, stdout=slave,
            stderr=slave, start_new_session=True)
        os.close(slave)
        shown = self.converse(master, *answer)
        return process.wait(), shown.decode()

    def test_renewal(self):
        server = self.start()
        before = self.public(server)
        done = harness.run_daemon("-I", "-f", server.config_path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("without a terminal", done.stderr)
        status, shown = self.renew(b"no\n", config=server.config_path)
        self.assertEqual(status, 1, shown)
        self.assertIn(fingerprint(before), shown)
        self.assertIn("nothing is changed", shown)
        status, shown = self.renew(b"yes\n", config=server.config_path)
        self.assertEqual(status, 0, shown)
        self.assertEqual(self.public(server), before)
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        event = server.log.wait("identity", mark)
        self.assertIn(event["fingerprint"], shown)
        self.assertNotEqual(event["fingerprint"], fingerprint(before))
        server.stop()
        # Nobody is asked where there is none.
        os.unlink(self.file)
        done = harness.run_daemon("-I", "-f", server.config_path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^SHA256:[\w+/]{43}\n$")

    @harness.needs_root
    def test_master_never_has_it(self):
        """Neither when it is made nor when it is read."""
        server = self.start()
        with open(self.file, "rb") as f:
            body = f.read().splitlines()[1]
        seed = base64.b64decode(body)[16:]
        found = {}
        for p in server.processes():
            written = memory.written(p.pid)
            if written is None:
                self.skipTest("other processes' memory can't be read here")
            found.setdefault(p.role, False)
            if body in written or seed in written:
                found[p.role] = True
        self.assertEqual({role for role, has in found.items() if has},
                         {"keys"})


class Client(Case):
    """What flexmusic(1) makes of it."""

    def test_first_use(self):
        server = self.start()
        port = server.port
        shown = fingerprint(self.public(server))
        # Nobody can be asked.
        done = self.flexmusic(port, "HELP")
        self.assertEqual(done.returncode, IDENTITY)
        self.assertIn(b"--fingerprint", done.stderr)
        self.assertFalse(os.path.exists(self.known))
        # The fingerprint is given: a wrong one, and the right one.
        wrong = "SHA256:" + "A" * 43
        done = self.flexmusic(port, "--fingerprint", wrong, "HELP")
        self.assertEqual(done.returncode, IDENTITY)
        self.assertIn(shown.encode(), done.stderr)
        self.assertFalse(os.path.exists(self.known))
        done = self.flexmusic(port, "--fingerprint", shown, "HELP")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.lines()), 1)
        self.assertTrue(self.lines()[0].startswith(
            "[127.0.0.1]:%d ed25519 " % port))
        self.assertEqual(stat.S_IMODE(os.stat(self.known).st_mode), 0o600)
        # And then it is known.
        done = self.flexmusic(port, "HELP")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(len(self.lines()), 1)

    def test_accept_new(self):
        server = self.start()
        done = self.flexmusic(server.port, "--accept-new", "HELP")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(len(self.lines()), 1)

    def ask(self, port, answer):
        """On a terminal: status and what was shown."""
        pid, master = pty.fork()
        if pid == 0:
            os.environ["HOME"] = self.home
            os.execv(CLIENT, [CLIENT, "--allow-weak", "-p", str(port),
                              "127.0.0.1", "HELP"])
        shown = self.converse(master, answer)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown

    def test_asks(self):
        server = self.start()
        shown = fingerprint(self.public(server)).encode()
        for answer in (b"no\n", b"\n", b"y\n"):
            status, text = self.ask(server.port, answer)
            self.assertEqual(status, IDENTITY, text)
            self.assertIn(shown, text)
            self.assertNotIn(b"200 Available", text)
            self.assertFalse(os.path.exists(self.known))
        status, text = self.ask(server.port, b"yes\n")
        self.assertEqual(status, 0, text)
        self.assertIn(b"200 Available", text)
        self.assertEqual(len(self.lines()), 1)

    def test_changed(self):
        """A clear warning, never silently, whatever the options."""
        server = self.start()
        port = server.port
        self.flexmusic(port, "--accept-new", "HELP")
        before = self.lines()
        old = fingerprint(self.public(server))
        os.unlink(self.file)
        server.stop()
        server.start()
        self.assertEqual(server.port, port)
        new = fingerprint(self.public(server))
        for options in ([], ["--accept-new"], ["--fingerprint", new]):
            done = self.flexmusic(port, *options, "HELP")
            self.assertEqual(done.returncode, IDENTITY)
            self.assertEqual(done.stdout, b"")
            for word in (b"IDENTITY HAS CHANGED", old.encode(), new.encode(),
                         b"remove line 1", self.known.encode()):
                self.assertIn(word, done.stderr)
        self.assertEqual(self.lines(), before)
        os.unlink(self.known)
        done = self.flexmusic(port, "--fingerprint", new, "HELP")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_known_server_without_identity(self):
        """Refused; one that was never known is asked about."""
        server = self.start()
        port = server.port
        self.flexmusic(port, "--accept-new", "HELP")
        server.stop()
        server.write_config(identity_file="none")
        server.start()
        done = self.flexmusic(port, "--accept-new", "HELP")
        self.assertEqual(done.returncode, IDENTITY)
        self.assertIn(b"IDENTITY HAS CHANGED", done.stderr)
        os.unlink(self.known)
        done = self.flexmusic(port, "HELP")
        self.assertEqual(done.returncode, IDENTITY)
        done = self.flexmusic(port, "--fingerprint", "SHA256:" + "A" * 43,
                              "HELP")
        self.assertEqual(done.returncode, IDENTITY)
        status, text = self.ask(port, b"yes\n")
        self.assertEqual(status, 0, text)
        self.assertIn(b"nobody can tell it from another", text)
        self.assertFalse(os.path.exists(self.known))
        done = self.flexmusic(port, "--accept-new", "HELP")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"has no identity", done.stderr)

    def test_bad_known_servers(self):
        server = self.start()
        os.makedirs(os.path.dirname(self.known))
        with open(self.known, "w") as f:
            f.write("# servers\n\n[a]:1 ed25519 nonsense\n")
        done = self.flexmusic(server.port, "--accept-new", "HELP")
        self.assertEqual(done.returncode, 8)
        self.assertIn(b"known_servers:3: this is no known server",
                      done.stderr)
        with open(self.known, "w") as f:
            f.write("# servers, without an end")
        os.chmod(self.known, 0o666)
        done = self.flexmusic(server.port, "--accept-new", "HELP")
        self.assertEqual(done.returncode, 8)
        self.assertIn(b"others can write it", done.stderr)
        os.chmod(self.known, 0o600)
        done = self.flexmusic(server.port, "--accept-new", "HELP")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.lines()[0], "# servers, without an end")
        self.assertEqual(len(self.lines()), 2)

    def test_many_at_once(self):
        """No line of another client's is lost."""
        servers = [self.start(identity_file=self.file) for _ in range(3)]
        runs = [subprocess.Popen(
            [CLIENT, "--allow-weak", "--accept-new", "-p", str(s.port), host,
             "HELP"], env=dict(os.environ, HOME=self.home),
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
                for s in servers for host in ("127.0.0.1", "localhost")]
        self.assertEqual([run.wait() for run in runs], 6 * [0])
        self.assertEqual(len(set(self.lines())), 6)

    def test_proofs_that_are_wrong(self):
        """A malformed one, of another transcript, of another key."""
        def other(server):
            return server.seal(server.proof(transcript=b"x"))

        def edited(change):
            return lambda server: server.seal(change(server.proof()))
        rows = {
            "another transcript": (other, "PROOF OF ITS IDENTITY IS WRONG"),
            "a changed key": (edited(lambda p: p[:12] + b"B" + p[13:]),
                              "IDENTITY IS WRONG|malformed"),
            "half": (edited(lambda p: p[:80]), "malformed"),
            "empty": (edited(lambda p: b"200 \r\n"), "malformed"),
            "420": (edited(lambda p: b"420 no\r\n"), "does not prove"),
        }
        for name, (ident, message) in rows.items():
            with self.subTest(name):
                server = fake_server.FakeServer(
                    fake_server.read_primes()[0], ident=ident)
                try:
                    done = self.flexmusic(server.port, "--accept-new",
                                          "HELP")
                finally:
                    server.stop()
                self.assertEqual(done.returncode, IDENTITY, done.stderr)
                self.assertRegex(done.stderr.decode(), message)
                self.assertEqual(server.commands, [])
                self.assertFalse(os.path.exists(self.known))


class Middle:
    """A man in the middle: one handshake with the client, one with the server,
    and everything read, passed on, or changed."""

    def __init__(self, address, ident="relay"):
        self.how = ident
        self.read = []  # what the client sent, in the clear
        self.old = None  # an answer to IDENT from another session
        self.upstream = fmltp.Client(address)
        self.front = fake_server.FakeServer(
            fake_server.read_primes()[1],
            replace={"answer": self.pass_on}, ident=self.pass_ident)
        self.upstream.handshake()
        # It shows the client what the server has shown.
        self.front.banner = self.upstream.banner
        ready = self.upstream.final
        self.front.replace["packet_7"] = lambda s: s.seal(ready)

    def pass_on(self, server, command):
        """A command, read and passed on; its answer back."""
        self.read.append(command)
        return server.seal(self.upstream.command(command.decode()))

    def pass_ident(self, server):
        """What becomes of IDENT."""
        if self.how == "relay":
            return server.seal(self.upstream.command("IDENT"))
        if self.how == "replay":
            return server.seal(self.old)
        if self.how == "resign":
            return server.seal(server.proof(key=Ed25519PrivateKey.generate()))
        if self.how == "mixed":  # the server's key, our signature
            real = self.upstream.command("IDENT").split()
            ours = server.proof(key=Ed25519PrivateKey.generate()).split()
            return server.seal(b" ".join([*real[:3], ours[3]]) + b"\r\n")
        return server.seal(INVALID)  # none: "I have no identity"

    def close(self):
        self.front.stop()
        self.upstream.close()


class ManInTheMiddle(Case):
    """Between the bundled client and the real server, with two exchanges."""

    def test_who_does_not_ask(self):
        """An old client's password is read: nothing can help it."""
        server = self.with_users()
        middle = Middle(server.address)
        try:
            with fmltp.Client(("127.0.0.1", middle.front.port)) as client:
                client.handshake()
                self.assertEqual(client.auth("alice", PASSWORD), GRANTED)
        finally:
            middle.close()
        self.assertEqual(middle.read[0],
                         b"AUTH alice " + PASSWORD.encode())

    def test_who_asks(self):
        """It gets nothing from a client that knows the server."""
        server = self.with_users()
        with server.client() as client:
            client.handshake()
            old = client.command("IDENT")
        public = raw(ANSWER.fullmatch(old).group(1))
        os.makedirs(os.path.dirname(self.known))
        for how in ("relay", "replay", "resign", "mixed", "none"):
            with self.subTest(how):
                middle = Middle(server.address, how)
                middle.old = old
                with open(self.known, "w") as f:
                    f.write("[127.0.0.1]:%d ed25519 %s\n" % (
                        middle.front.port,
                        base64.urlsafe_b64encode(public).rstrip(b"=")
                        .decode()))
                os.chmod(self.known, 0o600)
                try:
                    done = subprocess.run(
                        [CLIENT, "--allow-weak", "--accept-new", "-u",
                         "alice", "--password-fd", "0", "-p",
                         str(middle.front.port), "127.0.0.1", "HELP"],
                        input=PASSWORD.encode() + b"\n",
                        env=dict(os.environ, HOME=self.home),
                        capture_output=True, timeout=harness.DEADLINE,
                        check=False, start_new_session=True)
                finally:
                    middle.close()
                self.assertEqual(done.returncode, IDENTITY, done.stderr)
                self.assertEqual(middle.read, [])
                self.assertEqual(middle.front.commands, [])
        # The same client, and the server itself.
        with open(self.known, "w") as f:
            f.write("[127.0.0.1]:%d ed25519 %s\n" % (
                server.port,
                base64.urlsafe_b64encode(public).rstrip(b"=").decode()))
        done = subprocess.run(
            [CLIENT, "--allow-weak", "-u", "alice", "--password-fd", "0",
             "-p", str(server.port), "127.0.0.1", "HELP"],
            input=PASSWORD.encode() + b"\n",
            env=dict(os.environ, HOME=self.home), capture_output=True,
            timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    runner.main()
