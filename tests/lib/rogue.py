"""A worker, or the zygote, that was taken over: tests/rogue has its side.

The server is build/rogue/flexmusicd, with the product's sandboxes, channels
and messages.  Connections from 127.251.0.0/16 get a worker that does what its
client says, with all that a worker has; one from 127.252.0.0/16 has the
zygote do so, in place of forking.  All others are served as ever.
"""

import ctypes
import itertools
import os
import re
import socket
import struct
import subprocess
import tempfile

import fmltp
import harness

DAEMON = os.path.join(harness.BUILD, "rogue", "flexmusicd")
WORKER = "127.251"  # networks that are taken over
ZYGOTE = "127.252"
CALM = "FLEXMUSIC_TEST_CALM"  # tests/rogue/calm.c
HEADER = 4
AT_ONCE = 16  # attackers
CLEAN = re.compile(rb"[ -~\n]*")

u8, u16, u32, u64 = (ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32,
                     ctypes.c_uint64)


def call_numbers():
    """The system calls of this machine: name to number."""
    text = subprocess.run(["gcc", "-E", "-dM", "-include", "sys/syscall.h",
                           "-xc", "/dev/null"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return {name: int(number) for name, number in
            re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)}


# -- messages, as privsep/message.h lays them out -------------------------


class Client(ctypes.Structure):
    """struct client_version"""
    _fields_ = [("name", u8 * 129), ("status", u8), ("signature", u16 * 3)]

    def __init__(self, name=b"", status=100, signature=(0, 0, 0)):
        super().__init__((u8 * 129)(*name), status, (u16 * 3)(*signature))


class Message(ctypes.Structure):
    """A message; its header is filled in when it is sent."""
    _fields_ = [("type", u16), ("len", u16)]


class Established(Message):
    """The handshake is complete."""
    _fields_ = [("client", Client)]


class Active(Message):
    """A command came."""


class End(Message):
    """A worker's last word."""
    _fields_ = [("error", u32), ("end", u32), ("stage", u32),
                ("commands", u64), ("bytes_in", u64), ("bytes_out", u64),
                ("client", Client)]


class Kex(Message):
    """A public value."""
    _fields_ = [("y", u8 * 1024)]


class KexReply(Message):
    """Its answer."""
    _fields_ = [("error", u32), ("key", u8 * 32), ("y", u8 * 1024)]


class Version(ctypes.Structure):
    """struct version_line"""
    _fields_ = [("name", u8 * 129), ("signature", u16 * 3)]

    def __init__(self, name=b"FlexMusic", signature=(1, 0, 0)):
        super().__init__((u8 * 129)(*name), (u16 * 3)(*signature))


class Ident(Message):
    """The version lines of an exchange that is to be signed."""
    _fields_ = [("server", Version), ("client", Version)]

    def __init__(self, server=None, client=None):
        super().__init__(server=server or Version(),
                         client=client or Version())


class IdentReply(Message):
    """Its answer."""
    _fields_ = [("made", u8), ("public", u8 * 32), ("signature", u8 * 64)]


class Auth(Message):
    """A name and a password."""
    _fields_ = [("user_len", u32), ("password_len", u32), ("user", u8 * 32),
                ("password", u8 * 512)]

    def __init__(self, user=b"", password=b"", **fields):
        super().__init__(user_len=len(user), password_len=len(password),
                         user=(u8 * 32)(*user[:32]),
                         password=(u8 * 512)(*password[:512]))
        for key, value in fields.items():
            setattr(self, key, value)


class AuthReply(Message):
    """Its answer."""
    _fields_ = [("outcome", u32)]


class AuthResult(Message):
    """What auth tells the master."""
    _fields_ = [("outcome", u32), ("session", u64), ("attempt", u32),
                ("ms", u32), ("user", u8 * 33)]


class Spawned(Message):
    """The zygote has forked."""
    _fields_ = [("pid", ctypes.c_int32), ("session", u64)]


class SpawnFailed(Message):
    """It has not."""
    _fields_ = [("error", ctypes.c_int32), ("session", u64)]


STRUCTS = {"ESTABLISHED": Established, "ACTIVE": Active, "END": End,
           "KEX": Kex, "KEX_REPLY": KexReply, "IDENT": Ident,
           "IDENT_REPLY": IdentReply, "AUTH": Auth,
           "AUTH_REPLY": AuthReply, "AUTH_RESULT": AuthResult,
           "SPAWNED": Spawned, "SPAWN_FAILED": SpawnFailed}


class Table:
    """The table of messages as a running program has it."""

    def __init__(self, rows):
        self.names = [name for name, _, _ in rows[:-1]]
        self.types = {name: i + 1 for i, name in enumerate(self.names)}
        self.sizes = {name: size for name, size, _ in rows[:-1]}
        self.most = rows[-1][1]
        for name, layout in STRUCTS.items():
            if ctypes.sizeof(layout) != self.sizes[name]:
                raise AssertionError("%s is laid out in another way" % name)

    def bytes(self, name, message=None, size=None, said=None):
        """A message of a type: as it stands, or of `size` bytes; `said` is
        the length that its header names."""
        size = self.sizes[name] if size is None else size
        body = bytes(message) if message is not None else b""
        head = struct.pack("<HH", self.types[name],
                           size if said is None else said)
        return (head + body[HEADER:]).ljust(size, b"\0")[:size]


# -- the attacker ----------------------------------------------------------


USED = itertools.count()  # addresses: each attack has one of its own


def new_source(network):
    """An address that is taken over, and that nobody had before."""
    n = next(USED)
    return "%s.%d.%d" % (network, n // 250 % 256, 1 + n % 250)


class Rogue:
    """A connection whose worker, or zygote, does as it is told."""

    def __init__(self, server, network=WORKER, source=None):
        self.sock = socket.socket()
        self.sock.settimeout(fmltp.DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.source = source or new_source(network)
        self.sock.bind((self.source, 0))
        self.sock.connect(server.address)
        self.peer = fmltp.format_peer(self.sock.getsockname())
        self.pending = b""
        self.place = None
        self.auth = None  # its channel, where it has one

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """It hangs up: a rogue that is alive then ends."""
        self.sock.close()

    def tell(self, *words, data=b""):
        """A command, unanswered yet.  One that is dead does not hear it."""
        line = " ".join(str(word) for word in words)
        try:
            self.sock.sendall(line.encode() + b"\n" + data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def line(self):
        """A line of an answer."""
        while b"\n" not in self.pending:
            data = self.sock.recv(65536)
            if not data:
                raise fmltp.Closed("the rogue has ended")
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode()

    def where(self):
        """Addresses and descriptors by name."""
        if self.place is None:
            self.tell("where")
            self.place = {key: int(value, 0) for key, value in
                          (word.split("=") for word in self.line().split())}
        return self.place

    def call(self, number, *arguments):
        """A system call: its result, or minus errno."""
        self.tell("call", number, *(a & 2 ** 64 - 1 for a in arguments))
        return int(self.line())

    def peek(self, address, length):
        """Bytes of its memory, which has to be mapped."""
        self.tell("read", address, length)
        while len(self.pending) < length:
            data = self.sock.recv(65536)
            if not data:
                raise fmltp.Closed("the rogue has ended")
            self.pending += data
        data, self.pending = self.pending[:length], self.pending[length:]
        return data

    def poke(self, address, data):
        """Puts bytes there."""
        self.tell("write", address, len(data), data=data)

    def scratch(self, data, at=0):
        """Puts bytes where there is room for them; their address."""
        address = self.where()["scratch"] + at
        self.poke(address, data)
        return address

    def send(self, fd, data):
        """A message on a channel, unanswered; write(2) may end it."""
        address = self.scratch(data)
        self.tell("call", 1, fd, address, len(data))

    def sent(self, fd, data):
        """The same, with write(2)'s result."""
        self.send(fd, data)
        return int(self.line())

    def received(self, fd, size=8192):
        """A message of a channel: its bytes, or minus errno."""
        address = self.where()["scratch"]
        n = self.call(0, fd, address, size)
        return n if n < 0 else self.peek(address, n)

    def wait(self, fd, ms=30000):
        """Waits until there is something; false where nothing comes."""
        address = self.scratch(struct.pack("<ihh", fd, 1, 0) +
                               struct.pack("<qq", ms // 1000,
                                           ms % 1000 * 1000000))
        return self.call(271, address, 1, address + 8, 0, 8) == 1

    def header(self, data_len, fds=()):
        """A struct msghdr for sendmsg(2) or recvmsg(2); the message's bytes
        are 4096 behind it."""
        control = b""
        if fds:
            body = struct.pack("<%di" % len(fds), *fds)
            control = struct.pack("<Qii", 16 + len(body), socket.SOL_SOCKET,
                                  socket.SCM_RIGHTS) + body
            control = control.ljust((len(control) + 7) // 8 * 8, b"\0")
        base = self.where()["scratch"]
        head = struct.pack("<QIIQQQQiI", 0, 0, 0, base + 64, 1,
                           base + 80, len(control) if fds else 128, 0, 0)
        head = head.ljust(64, b"\0") + struct.pack("<QQ", base + 4096,
                                                   data_len)
        self.scratch((head + control).ljust(256, b"\0"))
        return base

    def send_fds(self, fd, data, fds):
        """A message with descriptors, by sendmsg(2), unanswered."""
        head = self.header(len(data), fds)
        self.scratch(data, 4096)
        self.tell("call", 46, fd, head, 0)

    def receive_fds(self, fd, size=8192):
        """A message with descriptors, by recvmsg(2): both; or minus errno."""
        head = self.header(size)
        n = self.call(47, fd, head, 0)
        if n < 0:
            return n, []
        control = self.peek(head + 80, 128)
        length = struct.unpack_from("<Q", control)[0]
        count = max(0, (min(length, 128) - 16) // 4)
        fds = list(struct.unpack_from("<%di" % count, control, 16))
        return self.peek(head + 4096, n), fds

    def table(self):
        """The messages that it knows."""
        self.tell("messages")
        rows = []
        while not rows or rows[-1][0] != "max":
            name, size, fds = self.line().split()
            rows.append((name.replace("MESSAGE_", ""), int(size), int(fds)))
        return Table(rows)

    def ended(self):
        """Waits until nothing more comes; what came."""
        left = self.pending
        while True:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return left
            left += data


# -- many attacks ------------------------------------------------------------


class Attack:
    """What one attacker does, and what has to come of it: `event` with
    `fields` at LOG_ALERT, or a quiet end where there is none."""

    def __init__(self, name, act, event=None, **fields):
        self.name = name
        self.act = act
        self.event = event
        self.fields = fields


class Case(harness.ServerCase):
    """A server whose workers are taken over, and a session on it that must
    not notice."""

    SERVER = {}
    USERS = None  # names and passwords, where clients authenticate

    @classmethod
    def setUpClass(cls):
        os.environ[CALM] = "1"
        cls.addClassCleanup(os.environ.pop, CALM)
        cls.SERVER = dict({"binary": DAEMON, "penalty_exempt": []},
                          **cls.SERVER)
        if cls.USERS is not None:
            folder = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
            cls.addClassCleanup(folder.cleanup)
            path = os.path.join(folder.name, "users")
            harness.make_users(path, cls.USERS)
            cls.SERVER.update(auth_method="auth", auth_file=path)
        super().setUpClass()
        cls.other = cls.connect()
        cls.other_worker = cls.server.worker(cls.other.peer)
        with Rogue(cls.server) as r:
            cls.table = r.table()

    @classmethod
    def tearDownClass(cls):
        cls.other.quit()
        super().tearDownClass()

    @classmethod
    def connect(cls):
        """A session of an honest client."""
        client = cls.server.client().handshake()
        for user, password in list((cls.USERS or {}).items())[:1]:
            client.auth(user, password)
        return client

    def tearDown(self):
        """The other session goes on, in the same process; new ones come; and
        the log is text."""
        self.assertTrue(self.other.command("HELP").startswith(b"200 "))
        self.assertEqual(harness.look_at(self.other_worker.pid).started,
                         self.other_worker.started)
        self.connect().quit()
        with open(self.server.log_path, "rb") as f:
            self.assertTrue(CLEAN.fullmatch(f.read()))

    def alone(self):
        """Waits until the other session is the only one."""
        harness.wait_for("the end of all sessions but one", lambda: [
            p.pid for p in self.server.role("worker")] ==
            [self.other_worker.pid])

    def attack(self, attacks, network=WORKER):
        """Makes them, some at once, and looks at what came of each."""
        attacks = list(attacks)
        for i in range(0, len(attacks), AT_ONCE):
            some = attacks[i:i + AT_ONCE]
            mark = self.server.log.mark()
            rogues = [Rogue(self.server, network) for _ in some]
            for r, attack in zip(rogues, some):
                attack.act(r)
            for r in rogues:
                r.ended()
                r.close()
            for r, attack in zip(rogues, some):
                with self.subTest(attack=attack.name):
                    self.judge(r, attack, mark)
        return len(attacks)

    def judge(self, r, attack, mark):
        """What came of one of them."""
        log = self.server.log
        end = log.wait(harness.FAILURES, mark, peer=r.peer)
        if attack.event is not None:  # the penalty's line is the one behind
            log.wait("penalty", mark, source=r.source)
        alerts = [e for e in log.read()[mark:] if " alert: " in e.text and
                  e.get("peer") == r.peer]
        penalties = log.find("penalty", mark, source=r.source)
        if attack.event is None:
            self.assertEqual((alerts, penalties), ([], []))
        else:
            self.assertEqual([e.name for e in alerts], [attack.event])
            self.assertTrue(alerts[0].matches(attack.event, attack.fields),
                            alerts[0].text)
            self.assertEqual([e["offence"] for e in penalties], ["crash"])
        if "pid" in (alerts or [{}])[0]:
            self.assertIsNone(harness.look_at(int(alerts[0]["pid"])))
        return end


# -- what root sees of a process -------------------------------------------


def mappings(pid):
    """(start, end, permissions, name) of each."""
    found = []
    with open("/proc/%d/maps" % pid) as f:
        for row in f:
            fields = row.split(None, 5)
            start, end = (int(word, 16) for word in fields[0].split("-"))
            found.append((start, end, fields[1],
                          fields[5].strip() if len(fields) > 5 else ""))
    return found


def memory(pid):
    """Everything that the process itself can read."""
    parts = []
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as f:
        for start, end, permissions, name in mappings(pid):
            if "r" not in permissions or name in ("[vvar]", "[vsyscall]",
                                                  "[vvar_vclock]"):
                continue
            f.seek(start)
            left = end - start
            while left > 0:
                data = f.read(left)
                if not data:
                    raise AssertionError("%s of %d can't be read" %
                                         (name, pid))
                parts.append(data)
                left -= len(data)
    return b"".join(parts)


class Heap:
    """Live allocations of the programs in build/rogue/flexmusicd."""

    def __init__(self):
        symbols = subprocess.run(["nm", DAEMON], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
        self.offset = int(re.search(r"^([0-9a-f]+) \w rogue_heap$", symbols,
                                    re.M).group(1), 16)

    def of(self, pid):
        """Blocks and bytes."""
        base = min(start for start, _, _, name in mappings(pid)
                   if name == DAEMON)
        with open("/proc/%d/mem" % pid, "rb", buffering=0) as f:
            f.seek(base + self.offset)
            return struct.unpack("<QQ", f.read(16))
