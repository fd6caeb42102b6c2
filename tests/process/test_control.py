#!/usr/bin/python3
"""The control socket: what an administrator asks of a server that runs."""

import array
import errno
import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

CTL = os.path.join(harness.BUILD, "flexmusicctl")
GROUP = harness.OTHER_USER + 100000  # of control_group; nobody else's

# struct message_control of privsep/message.h
REQUEST = struct.Struct("HHIIIQ16s33s7xQQ256s")
STATUS, SESSIONS, KILL, KILL_USER = range(4)
COMMANDS = 10
MANY = 1000 if not harness.SANITIZED else 100


def message_types():
    """Names of message types to their numbers."""
    with open(os.path.join(TOP, "privsep", "message.h")) as f:
        table = f.read().split("#define MESSAGES(X)")[1].split("enum ")[0]
    return {name: number for number, name in
            enumerate(re.findall(r"X\((MESSAGE_\w+)", table), 1)}


TYPES = message_types()


def request(command=STATUS, kind=None, length=REQUEST.size, version=2,
            family=0, number=0, user=b"", file=b""):
    """A request as flexmusicctl sends it, or nearly."""
    return REQUEST.pack(TYPES["MESSAGE_CONTROL"] if kind is None else kind,
                        length, version, command, family, number, b"", user,
                        0, 0, file)


# Takes as many connections as it gets, and keeps them.
HOLD = """
import socket, sys
held = []
for _ in range(8):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    held.append(s)
print("held", flush=True)
sys.stdin.read()
"""


def ctl(*arguments, path=None, user=None, groups=(), **how):
    """Runs flexmusicctl; returns the CompletedProcess."""
    command = [CTL] + [str(a) for a in arguments]
    if path is not None:
        command += ["--socket", path]

    def become():
        if user is not None:
            os.setgroups(list(groups))
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
    how.setdefault("stdin", subprocess.DEVNULL)
    if "input" in how:
        del how["stdin"]
    return subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          timeout=harness.DEADLINE, preexec_fn=become, **how)


def on_terminal(*arguments, **environment):
    """What flexmusicctl shows on a terminal."""
    ours, theirs = pty.openpty()
    # 24 rows of 200 columns; no CR before each line's end
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 200, 0, 0))
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    env = dict(os.environ, TERM="xterm", **environment)
    with subprocess.Popen([CTL] + list(arguments), stdin=theirs,
                          stdout=theirs, stderr=subprocess.STDOUT,
                          env=env) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                break
            if not data:
                break
            shown += data
        process.wait(harness.DEADLINE)
    os.close(ours)
    return process.returncode, shown.decode()


class Raw(socket.socket):
    """A connection that may send anything."""

    def __init__(self, path):
        super().__init__(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.settimeout(harness.DEADLINE)
        self.connect(path)

    def answer(self):
        """The types of a whole answer's messages."""
        types = []
        while not types or types[-1] != TYPES["MESSAGE_CONTROL_DONE"]:
            data = self.recv(65536)
            if not data:
                raise AssertionError("closed within an answer")
            types.append(struct.unpack_from("H", data)[0])
        return types

    def is_closed(self):
        """True once the server has closed it."""
        try:
            return self.recv(65536) == b""
        except ConnectionResetError:
            return True


class Case(harness.ServerCase):
    """A server, and questions to it."""

    def ask(self, *arguments, **how):
        """A command that goes well: its output."""
        done = ctl(*arguments, path=self.server.control_path, **how)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def ask_json(self, *arguments):
        """Its output as JSON."""
        return json.loads(self.ask(*arguments, "--json"))

    def connect(self, **how):
        """A client in its session."""
        client = self.server.client(**how)
        self.addCleanup(client.close)
        client.handshake()
        return client

    def session(self, client):
        """What `sessions` says of a client."""
        def found():
            return [s for s in self.ask_json("sessions")
                    if s["peer"] == client.peer]
        return harness.wait_for("the session", found)[0]


class Commands(Case):
    """Each command."""

    def setUp(self):
        self.mark = self.server.log.mark()

    def test_status(self):
        """Figures of the server and of its processes."""
        self.connect()
        status = self.ask_json("status")
        self.assertEqual(status["pid"], self.server.pid)
        self.assertEqual(status["fingerprint"],
                         self.server.log.find("generation-installed")[-1]
                         ["fingerprint"])
        self.assertGreaterEqual(status["sessions"], 1)
        self.assertTrue(status["listening"])
        roles = {}
        for p in status["processes"]:
            roles.setdefault(p["role"], []).append(p)
            self.assertEqual(harness.look_at(p["pid"]).role, p["role"])
            self.assertGreater(p["memory_kib"], 0)
        self.assertEqual(len(roles["keys"]), len(self.server.role("keys")))
        self.assertGreaterEqual(sum(k["exchanges"] for k in roles["keys"]), 1)
        # Its questions to keys leave no lines that SIGUSR1 would.
        self.assertEqual(self.server.log.find("status-keys", self.mark), [])
        event = self.server.log.wait("control", self.mark)
        self.assertEqual((event["uid"], event["command"]),
                         (str(os.getuid()), "status"))

    def test_status_lines(self):
        """A pipe gets a name and a value in each line."""
        for line in self.ask("status").splitlines():
            self.assertRegex(line, r"^[a-z_.0-9-]+ \S+$")

    def test_failures(self):
        """Failed handshakes, by reason."""
        with self.server.client() as client:
            client.read_banner()
            client.send_version(b"GET / HTTP/1.1" + fmltp.CRLF)
            self.server.failure(client.peer)
        self.assertGreaterEqual(
            self.ask_json("status")["failures"]["version-not-flexmusic"], 1)

    def test_sessions(self):
        """What is known of each, in order."""
        first = self.connect()
        second = self.server.client()
        self.addCleanup(second.close)
        second.read_banner()
        one, two = self.session(first), self.session(second)
        self.assertLess(one["id"], two["id"])
        self.assertEqual((one["phase"], two["phase"]),
                         ("session", "handshake"))
        self.assertEqual((one["user"], one["bytes_in"]), ("", None))
        self.assertLessEqual(one["idle_ms"], one["age_ms"])
        ids = [s["id"] for s in self.ask_json("sessions")]
        self.assertEqual(ids, sorted(ids))

    def test_text_of_clients(self):
        """No name breaks a line, moves a cursor or is bad JSON."""
        name = b'FlexMusic "\\x" \xc3\xa9 \xe2\x99\xab'
        client = self.server.client()
        self.addCleanup(client.close)
        client.handshake(name + b",0.0.0" + fmltp.CRLF)
        self.assertEqual(self.session(client)["client"], name.decode())
        line = [row for row in self.ask("sessions").splitlines()
                if client.peer in row]
        self.assertEqual(len(line[0].split(" ")), 8)
        self.assertTrue(line[0].isascii())
        _, shown = on_terminal("sessions", "--socket",
                               self.server.control_path)
        self.assertIn(r"\303\251", shown)

    def test_terminal(self):
        """Aligned, under a bold heading where colour is wanted."""
        self.connect()
        path = self.server.control_path
        status, shown = on_terminal("sessions", "--socket", path, NO_COLOR="")
        self.assertEqual(status, 0)
        self.assertTrue(shown.startswith("\033[1mID"))
        status, shown = on_terminal("sessions", "--socket", path, NO_COLOR="1")
        self.assertNotIn("\033", shown)
        heading, *rows = shown.splitlines()
        at = heading.index("PEER")
        for row in rows:
            self.assertEqual(row[at - 2:at], "  ")
            self.assertTrue(row[at:].startswith("127."))
        self.assertNotIn("\033", self.ask("sessions"))

    def test_kill(self):
        """The one and no other."""
        client, other = self.connect(), self.connect()
        number = self.session(client)["id"]
        self.assertEqual(self.ask_json("kill", number), {"ended": 1})
        event = self.server.failure(client.peer)
        self.assertEqual(event["reason"], "killed")
        self.assertTrue(other.command("HELP").startswith(b"200 "))
        done = ctl("kill", number, path=self.server.control_path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no session %d" % number, done.stderr)

    def test_kill_in_the_handshake(self):
        """One that has not come far goes too."""
        with self.server.client() as client:
            client.read_banner()
            self.ask("kill", self.session(client)["id"])
            self.assertEqual(self.server.failure(client.peer)["reason"],
                             "killed")

    def test_wrong_usage(self):
        """Said, with status 2."""
        for words in (["kill"], ["kill", "one"], ["kill", "1", "2"],
                      ["kill", "1", "--user", "alice"], ["log"],
                      ["log", "loud"], ["penalties", "clear"],
                      ["penalties", "clear", "example.org"],
                      ["status", "--keep"], ["status", "now"]):
            with self.subTest(words=words):
                done = ctl(*words, path=self.server.control_path)
                self.assertEqual(done.returncode, 2)
                self.assertIn("flexmusicctl: ", done.stderr)

    def test_log(self):
        """Verbosity, while it runs."""
        self.ask("log", "brief")
        self.assertEqual(self.ask_json("status")["log"], "brief")
        mark = self.server.log.mark()
        self.ask("reload")
        self.server.log.wait("generation-installed", mark)
        self.assertEqual(self.server.log.find("helper-started", mark), [])
        self.assertEqual(self.ask_json("log", "verbose"), {})
        mark = self.server.log.mark()
        self.ask("rotate")
        self.server.log.wait("generation-installed", mark, why="control")
        self.assertTrue(self.server.log.find("helper-started", mark))
        self.serves()

    def test_reload(self):
        """A wrong file is told, and the configuration stays."""
        self.ask("reload")
        self.server.log.wait("reload", self.mark)
        self.server.write_config(key_size=77)
        try:
            done = ctl("reload", path=self.server.control_path)
        finally:
            self.server.write_config(key_size=1024)
        self.assertEqual(done.returncode, 1)
        self.assertIn("key_size", done.stderr)
        self.server.log.wait("reload-failed", self.mark)
        self.serves()


class Penalties(Case):
    """Sources under penalty."""

    SERVER = {"penalty_exempt": "192.0.2.1"}

    def offend(self, *sources):
        """Earns each source a penalty."""
        for _ in range(3):
            clients = [self.server.client(source=s) for s in sources]
            try:
                for client in clients:
                    client.until("kex")
                    client.send_key(b"-----BEGIN NOTHING-----" + fmltp.CRLF)
                for client in clients:
                    self.server.failure(client.peer)
            finally:
                for client in clients:
                    client.close()

    def test_penalties(self):
        """Listed, and cleared one by one or all."""
        self.assertEqual(self.ask_json("penalties"), [])
        self.offend("127.9.9.1", "127.9.9.2", "127.9.9.3")
        listed = self.ask_json("penalties")
        self.assertEqual([p["source"] for p in listed],
                         ["127.9.9.1", "127.9.9.2", "127.9.9.3"])
        for p in listed:
            self.assertEqual((p["offence"], p["offences"]), ("handshake", 3))
            self.assertTrue(0 < p["left_ms"] <= 5000)
        self.assertRegex(self.ask("penalties"),
                         r"^127\.9\.9\.1 handshake 3 [0-5]\n")
        self.assertEqual(self.ask_json("penalties", "clear", "127.9.9.2"),
                         {"cleared": 1})
        with self.server.client(source="127.9.9.2") as client:
            client.handshake()
        self.assertEqual(len(self.ask_json("penalties")), 2)
        self.assertEqual(self.ask("penalties", "clear", "all"),
                         "penalties cleared: 2\n")
        self.assertEqual(self.ask_json("penalties"), [])


class Rights(harness.OwnServerCase):
    """Who may ask."""

    @harness.needs_root
    def test_nobody_else(self):
        """By the socket's mode; and, were that lost, by who it is."""
        server = self.start()
        mode = os.stat(server.control_path)
        self.assertEqual((stat.S_IMODE(mode.st_mode), mode.st_uid,
                          mode.st_gid), (0o600, 0, os.getgid()))
        done = ctl("status", path=server.control_path,
                   user=harness.OTHER_USER)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("permission denied", done.stderr)
        os.chmod(server.control_path, 0o666)
        done = ctl("status", path=server.control_path,
                   user=harness.OTHER_USER)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("permission denied", done.stderr)
        event = server.log.wait("control-refused",
                                uid=str(harness.OTHER_USER))
        self.assertEqual(event["reason"], "permission")
        self.assertEqual(server.log.find("control"), [])

    @harness.needs_root
    def test_group(self):
        """Members of control_group, by either kind of group."""
        server = self.start(control_group=GROUP)
        mode = os.stat(server.control_path)
        self.assertEqual((stat.S_IMODE(mode.st_mode), mode.st_uid,
                          mode.st_gid), (0o660, 0, GROUP))
        other = harness.OTHER_USER
        for how in ({"user": other, "groups": (GROUP,)},
                    {"user": other, "groups": (1, 2, 3, GROUP, 70000)},
                    {"user": GROUP}):
            with self.subTest(**how):
                done = ctl("status", path=server.control_path, **how)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        os.chmod(server.control_path, 0o666)
        for groups in ((), (1, 2, 3, GROUP + 1)):
            with self.subTest(groups=groups):
                done = ctl("status", path=server.control_path, user=other,
                           groups=groups)
                self.assertEqual(done.returncode, 1)
                self.assertIn("permission denied", done.stderr)

    @harness.needs_root
    def test_members_keep_nobody_out(self):
        """Neither each other nor root, nor other lines from the log."""
        server = self.start(control_group=GROUP)
        holders = []
        for user in (64201, 64202, 64203, 64204):
            holder = subprocess.Popen(
                [sys.executable, "-c", HOLD, server.control_path],
                stdout=subprocess.PIPE, stdin=subprocess.PIPE,
                user=user, group=GROUP, extra_groups=[])
            self.addCleanup(holder.wait)
            self.addCleanup(holder.stdin.close)
            self.addCleanup(holder.stdout.close)
            holders.append(holder)
            self.assertEqual(holder.stdout.readline(), b"held\n")
        server.log.wait("control-refused", reason="too-many")
        done = ctl("status", path=server.control_path)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for holder in holders:
            holder.stdin.close()
            holder.wait()
        mark = server.log.mark()
        for _ in range(30):
            done = ctl("kill", 4711, path=server.control_path, user=64201,
                       groups=(GROUP,))
            self.assertEqual(done.returncode, 1)
            self.assertNotIn("too many", done.stderr)
        time.sleep(1.1)
        ctl("kill", 4711, path=server.control_path)
        lines = server.log.find("control", mark)
        left_out = sum(int(line.get("left_out", 0)) for line in lines)
        self.assertEqual(len(lines) + left_out, 31)
        self.assertEqual(lines[-1]["uid"], "0")

    @harness.needs_root
    def test_server_without_root(self):
        """Its user may, and root."""
        server = self.start(user=harness.OTHER_USER)
        for user in (harness.OTHER_USER, None):
            done = ctl("status", path=server.control_path, user=user)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_unknown_group(self):
        """Told before anything starts."""
        server = harness.Server(control_group="nosuchgroup4711")
        self.addCleanup(server.remove)
        done = harness.run_daemon("-n", "-f", server.config_path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nosuchgroup4711", done.stderr)


class Violations(Case):
    """What is no request closes its client and nothing else."""

    def setUp(self):
        self.bystander = Raw(self.server.control_path)
        self.addCleanup(self.bystander.close)

    def refused(self, data, kind, fds=()):
        """Closed, logged, and nobody else is concerned."""
        mark = self.server.log.mark()
        with Raw(self.server.control_path) as raw:
            raw.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                  array.array("i", fds))] if fds else [])
            self.assertTrue(raw.is_closed())
        self.server.log.wait("control-violation", mark, kind=kind)
        self.bystander.send(request())
        self.assertIn(TYPES["MESSAGE_CONTROL_STATUS"],
                      self.bystander.answer())

    def test_sizes(self):
        """Every kind of wrong size."""
        good = request()
        for size in (1, 3, 4, 5, 351, 353, 4096, 60000):
            with self.subTest(size=size):
                self.refused((good + bytes(60000))[:size], "wrong-size")
        for length in (0, 4, 351, 353, 65535):
            with self.subTest(length=length):
                self.refused(request(length=length), "wrong-size")
        self.refused(b"", "empty-message")
        self.serves()

    def test_types(self):
        """Every type but the one."""
        for kind in [n for n in range(max(TYPES.values()) + 3)
                     if n != TYPES["MESSAGE_CONTROL"]] + [65535]:
            with self.subTest(kind=kind):
                self.refused(request(kind=kind), "unknown-type")
        self.serves()

    def test_contents(self):
        """What no flexmusicctl asks."""
        for what in ({"command": COMMANDS}, {"command": 2 ** 32 - 1},
                     {"user": b"x" * 33}, {"file": b"x" * 256},
                     {"family": 77}, {"command": KILL_USER},
                     {"command": 9, "number": 2}):
            with self.subTest(what=what):
                self.refused(request(**what), "refused-content")

    def test_descriptors(self):
        """None are taken, and none is kept."""
        before = self.server.at_rest()
        for count in (1, 3, 20):
            with self.subTest(count=count):
                self.refused(request(), "unexpected-descriptor",
                             [self.bystander.fileno()] * count)
        self.assertEqual(self.server.settle(before), before)

    def test_version(self):
        """Of another version: told, and not closed."""
        with Raw(self.server.control_path) as raw:
            raw.send(request(version=1))
            self.assertIn(b"different versions", raw.recv(65536))
            raw.send(request())
            raw.answer()


class Crowd(harness.OwnServerCase):
    """Many sessions, many who ask, and who does not read."""

    def test_many_sessions(self):
        """All are listed, in order, while others come and go."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 3 * MANY + 500:
            self.skipTest("the limit of descriptors is %d" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE,
                        (soft, hard))
        server = self.start(max_connections=MANY + 50,
                            handshake_client_timeout=600)
        held = []
        try:
            for _ in range(MANY):
                held.append(socket.create_connection(server.address))
                held[-1].recv(256)  # packet 1: its worker is there
            begin = time.monotonic()
            done = ctl("sessions", "--json", path=server.control_path)
            seconds = time.monotonic() - begin
            listed = json.loads(done.stdout)
            self.assertEqual(len({s["peer"] for s in listed}), MANY)
            ids = [s["id"] for s in listed]
            self.assertEqual(ids, sorted(ids))
            print("%d sessions listed in %.0f ms" % (MANY, seconds * 1000))
            with Raw(server.control_path) as raw:
                raw.send(request(command=SESSIONS))
                raw.recv(65536)
                while len(held) > MANY // 2:
                    held.pop(0).close()
                self.serves(server)
                self.assertLessEqual(len(raw.answer()), MANY)
        finally:
            for s in held:
                s.close()
        server.quiet()

    def test_who_does_not_read(self):
        """Is closed in the end; the server serves all the while."""
        server = self.start()
        with Raw(server.control_path) as raw:
            raw.setblocking(False)
            end = time.monotonic() + harness.DEADLINE
            full = 0
            while full < 20 and time.monotonic() < end:
                try:
                    raw.send(request())
                    full = 0
                except BlockingIOError:
                    full += 1
                    time.sleep(0.02)
            self.assertEqual(full, 20)
            begin = time.monotonic()
            poll = select.poll()
            poll.register(raw, 0)  # hang-ups alone
            while not poll.poll(200):
                self.serves(server)
                self.assertEqual(ctl("status", path=server.control_path)
                                 .returncode, 0)
                self.assertLess(time.monotonic() - begin, 20)
            self.assertGreater(time.monotonic() - begin, 5)

    def test_who_asks_nothing(self):
        """So many at a time, each for a while."""
        server = self.start()
        before = server.at_rest()
        held = [Raw(server.control_path) for _ in range(16)]
        try:
            held[0].send(request())
            held[0].answer()
            done = ctl("status", path=server.control_path)
            self.assertEqual(done.returncode, 1)
            self.assertIn("too many", done.stderr)
            server.log.wait("control-refused", reason="too-many")
            self.assertTrue(held[1].is_closed())
        finally:
            for raw in held:
                raw.close()
        self.assertEqual(server.settle(before), before)
        self.assertEqual(ctl("status", path=server.control_path).returncode,
                         0)


class Socket(harness.OwnServerCase):
    """The file."""

    def second(self, path, **keys):
        """A server that is to be refused: what it says."""
        server = harness.Server(control_socket=path, **keys)
        self.addCleanup(server.remove)
        done = harness.run_daemon("-d", "-f", server.config_path)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_two_servers(self):
        """The second is refused, and the first goes on."""
        server = self.start()
        said = self.second(server.control_path)
        self.assertIn("another server answers on it", said)
        self.assertEqual(ctl("status", path=server.control_path).returncode,
                         0)
        self.serves(server)

    def test_left_behind(self):
        """What a killed server leaves is replaced; one that ends leaves
        nothing."""
        server = self.start()
        server.kill()
        self.assertTrue(stat.S_ISSOCK(os.stat(server.control_path).st_mode))
        done = ctl("status", path=server.control_path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no server answers", done.stderr)
        server.start()
        self.assertEqual(ctl("status", path=server.control_path).returncode,
                         0)
        server.stop()
        self.assertFalse(os.path.exists(server.control_path))

    def test_gone_at_once(self):
        """A server that is stopping gives it to the next."""
        server = self.start()
        with server.client() as client:
            client.read_banner()
            server.signal(signal.SIGTERM)
            harness.wait_for("the socket to go", lambda: not os.path.exists(
                server.control_path))
            self.assertTrue(server.alive())
        server.process.wait(harness.DEADLINE)

    def test_wrong_places(self):
        """A file in its place; a directory that others can write."""
        server = harness.Server()
        self.addCleanup(server.remove)
        with open(server.control_path, "w") as f:
            f.write("mine")
        self.assertIn("is no socket", self.second(server.control_path))
        with open(server.control_path) as f:
            self.assertEqual(f.read(), "mine")
        directory = os.path.dirname(server.control_path)
        path = os.path.join(directory, "other")
        os.chmod(directory, 0o775)
        self.assertIn("others can write", self.second(path))
        os.chmod(directory, 0o755)
        if harness.ROOT:
            os.chown(directory, harness.OTHER_USER, -1)
            self.assertIn("belongs to user", self.second(path))
        self.assertIn("No such file",
                      self.second(os.path.join(directory, "no", "x")))

    def test_reload(self):
        """Only a restart changes it."""
        server = self.start()
        other = server.control_path + "2"
        for key, value in (("control_socket", other),
                           ("control_group", GROUP)):
            mark = server.log.mark()
            server.write_config(**{key: value})
            self.assertEqual(ctl("reload", path=server.control_path)
                             .returncode, 0)
            self.assertIn("restart", server.log.wait("config-warning", mark)
                          ["text"])
        self.assertFalse(os.path.exists(other))

    def test_none(self):
        """Without one."""
        server = self.start(control_socket="none")
        self.assertFalse(os.path.exists(server.control_path))
        self.serves(server)


class Users(harness.OwnServerCase):
    """The running server takes the users file at once."""

    def begin(self):
        """A server with a user."""
        server = harness.Server(auth_method="auth", auth_timeout=20)
        self.addCleanup(server.remove)
        self.file = os.path.join(server.directory, "users")
        server.write_config(auth_file=self.file)
        self.server = server
        self.change("add", "alice", "wonderland")
        server.start()
        self.addCleanup(self.finish, server)
        return server

    def change(self, verb, name, password=None, *more, status=0):
        """A change of the file: what was said."""
        words = ["user", verb, name, "--file", self.file] + list(more)
        how = {}
        if password is not None:
            words.append("--stdin")
            how["input"] = password + "\n"
        done = ctl(*words, path=self.server.control_path, **how)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def login(self, name, password):
        """A client that has authenticated, or None."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.handshake()
        answer = client.auth(name, password)
        return client if answer.startswith(b"150") else None

    def lasts(self, client):
        """True where its session goes on."""
        return client.command("HELP").startswith(b"200 ")

    def test_changes(self):
        """add, passwd and del, as they are made."""
        self.begin()
        mark = self.server.log.mark()
        self.assertEqual(self.change("add", "bob", "buildings"), "")
        self.server.log.wait("users", mark, users=2)
        self.assertEqual(self.server.log.find("generating", mark), [])
        alice, bob = (self.login("alice", "wonderland"),
                      self.login("bob", "buildings"))
        self.assertTrue(alice and bob)
        self.assertEqual(self.change("passwd", "bob", "othersecret",
                                     "--keep"), "")
        self.assertTrue(self.lasts(bob))
        self.assertIsNone(self.login("bob", "buildings"))
        self.assertEqual(self.change("passwd", "bob", "thirdsecret"), "")
        self.assertEqual(self.server.failure(bob.peer)["reason"], "killed")
        bob = self.login("bob", "thirdsecret")
        self.assertEqual(self.change("del", "bob"), "")
        self.assertEqual(self.server.failure(bob.peer)["reason"], "killed")
        self.assertIsNone(self.login("bob", "thirdsecret"))
        self.assertTrue(self.lasts(alice))

    def test_phases_and_kill(self):
        """sessions tells who it is; kill --user ends all of that user."""
        server = self.begin()
        first, second = [self.login("alice", "wonderland") for _ in "12"]
        waiting = server.client()
        self.addCleanup(waiting.close)
        waiting.handshake()
        rows = {s["peer"]: s for s in json.loads(
            ctl("sessions", "--json", path=server.control_path).stdout)}
        self.assertEqual([(rows[c.peer]["phase"], rows[c.peer]["user"])
                          for c in (first, waiting)],
                         [("session", "alice"), ("lockdown", "")])
        done = ctl("kill", "--user", "alice", path=server.control_path)
        self.assertEqual(done.stdout, "sessions ended: 2\n")
        for client in (first, second):
            self.assertEqual(server.failure(client.peer)["reason"], "killed")
        self.assertTrue(waiting.auth("alice", "wonderland")
                        .startswith(b"150"))

    def test_another_file(self):
        """A file that is not the server's concerns nobody there."""
        server = self.begin()
        alice = self.login("alice", "wonderland")
        self.file = os.path.join(server.directory, "others")
        mark = server.log.mark()
        self.assertIn("has its users in", self.change("add", "alice",
                                                      "something"))
        self.change("del", "alice")
        self.assertEqual(server.log.find("users", mark), [])
        self.assertTrue(self.lasts(alice))

    def test_file_that_the_server_refuses(self):
        """It is said; the sessions end all the same."""
        self.begin()
        alice = self.login("alice", "wonderland")
        os.chmod(self.file, 0o644)
        said = self.change("passwd", "alice", "othersecret", status=1)
        self.assertIn("has not taken it", said)
        self.assertEqual(self.server.failure(alice.peer)["reason"], "killed")

    def test_without_a_server(self):
        """Nothing is said."""
        self.begin()
        self.server.stop()
        self.assertEqual(self.change("passwd", "alice", "othersecret"), "")


if __name__ == "__main__":
    runner.main()
