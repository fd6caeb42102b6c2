"""Starts real servers for the tests and looks at them from outside.

Each server has a folder of its own with its configuration, its state, its
log and its empty chroot directory, a free port of loopback, and a process
group of its own.  What a server is doing is read where an administrator would
read it: in its log and in /proc.
"""

import ctypes
import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import fmltp

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(TOP, "build"))
DAEMON = os.path.join(BUILD, "flexmusicd")
DATA = os.path.join(TOP, "tests", "data")

ROOT = os.getuid() == 0
SANITIZED = bool(os.environ.get("FLEXMUSIC_SANITIZE"))
DEADLINE = fmltp.DEADLINE

# Numbers that no account of a usual system has; nothing is created.  Each run
# has its own: limits of processes count all that a user has anywhere.
WORKER_USER = 30000 + 4 * (os.getpid() % 8000)
KEYS_USER = WORKER_USER + 1
AUTH_USER = WORKER_USER + 2
OTHER_USER = WORKER_USER + 3

FAILURES = ("handshake-failed", "session-end")

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

needs_root = unittest.skipUnless(ROOT, "needs root")


def scaled(count):
    """A number of repetitions, fewer where sanitizers make each slow."""
    return max(1, count // 10) if SANITIZED else count


class Timeout(AssertionError):
    """Something that had to happen did not."""


def wait_for(what, condition, deadline=None, pause=0.01):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + (DEADLINE if deadline is None else deadline)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout("waited in vain for %s" % what)
        time.sleep(pause)


# -- parameters made ahead -----------------------------------------------


def primes(bits):
    """Safe primes of a size from the test data."""
    if bits == 1024:
        with open(os.path.join(DATA, "params-1024.txt")) as f:
            return [int(line, 16) for line in f
                    if line.strip() and not line.startswith("#")]
    with open(os.path.join(DATA, "params-rfc3526.txt")) as f:
        rows = [line.split() for line in f
                if line.strip() and not line.startswith("#")]
    return [int(row[1], 16) for row in rows if int(row[0]) == bits]


def params_pem(p):
    """Packet 3 for a prime."""
    return fmltp.pem(b"DH PARAMETERS", fmltp.dh_parameters(p, 2))


def store_set(directory, bits, content):
    """Puts a set of that content into a state directory."""
    name = "dh-%d-%s.pem" % (bits, hashlib.sha256(content).hexdigest())
    path = os.path.join(directory, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(content)
    owner = os.stat(directory)
    if ROOT:
        os.chown(path, owner.st_uid, owner.st_gid)


def seed_state(directory, bits, n=1, first=0):
    """Puts `n` sets into a state directory; returns their fingerprints."""
    prints = []
    chosen = primes(bits)[first:first + n]
    if len(chosen) < n:
        raise AssertionError("the test data has no %d sets of %d bits" %
                             (n, bits))
    for p in chosen:
        content = params_pem(p)
        store_set(directory, bits, content)
        prints.append(fmltp.fingerprint(content))
    return prints


# -- users ---------------------------------------------------------------


def make_hash(password):
    """SHA-512 of crypt(3), few rounds."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = b"$6$rounds=1000$" + os.urandom(6).hex().encode()
    return library.crypt(password.encode(), salt).decode()


def make_users(path, users):
    """A users file: names and passwords."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as f:
        for name, password in users.items():
            f.write("%s:%s\n" % (name, make_hash(password)))


# -- the log -------------------------------------------------------------

PAIR = re.compile(r'([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|[^\s"]*)')


ESCAPE = re.compile(rb"\\(?:([0-7]{3})|(.))")


def unquoted(value):
    """A quoted value as it was: strvis(3) undone."""
    data = ESCAPE.sub(lambda m: bytes([int(m.group(1), 8)]) if m.group(1)
                      else m.group(2), value[1:-1].encode())
    return data.decode("utf-8", "replace")


class Event(dict):
    """A line of the log: its fields, with the line itself in `text`."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        at = text.find("event=")
        if at >= 0:
            for key, value in PAIR.findall(text[at:]):
                if value.startswith('"'):
                    value = unquoted(value)
                self.setdefault(key, value)

    @property
    def name(self):
        """The event's name, or None where the line has none."""
        return self.get("event")

    def matches(self, name, fields):
        """True for an event of that name (or one of several) whose fields
        have these values (or one of several)."""
        if self.name not in ((name,) if isinstance(name, str) else name):
            return False
        for key, value in fields.items():
            options = value if isinstance(value, (tuple, set)) else (value,)
            if self.get(key) not in [str(option) for option in options]:
                return False
        return True


class Log:
    """A growing file of lines, read as it grows."""

    def __init__(self, path):
        self.path = path
        self.offset = 0
        self.partial = b""
        self.events = []

    def read(self):
        """Takes in what is new; returns all events."""
        try:
            with open(self.path, "rb") as f:
                f.seek(self.offset)
                data = f.read()
        except FileNotFoundError:
            return self.events
        self.offset += len(data)
        lines = (self.partial + data).split(b"\n")
        self.partial = lines.pop()
        self.events += [Event(line.decode("utf-8", "replace"))
                        for line in lines]
        return self.events

    def find(self, name, start=0, **fields):
        """All events of a name with these fields, from an index on."""
        return [e for e in self.read()[start:] if e.matches(name, fields)]

    def wait(self, name, start=0, count=1, deadline=None, **fields):
        """Waits for `count` such events; returns the last one of them."""
        def enough():
            found = self.find(name, start, **fields)
            return found if len(found) >= count else None
        try:
            return wait_for("event %s %s" % (name, fields), enough,
                            deadline)[count - 1]
        except Timeout as e:
            raise Timeout("%s; the log's end:\n%s" % (e, self.tail())) from e

    def mark(self):
        """An index for `start`: events from now on."""
        return len(self.read())

    def tail(self, count=25):
        """The last lines as they stand."""
        return "\n".join("    " + e.text for e in self.read()[-count:])

    def text(self):
        """All of it."""
        return "\n".join(e.text for e in self.read())


# -- /proc ---------------------------------------------------------------


class Process:
    """A process as /proc shows it at one moment."""

    def __init__(self, pid):
        self.pid = pid
        self.status = {}
        with open("/proc/%d/status" % pid) as f:
            for line in f:
                key, _, value = line.partition(":")
                self.status[key] = value.strip()
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            raw = f.read()
        self.title = raw.replace(b"\0", b" ").decode("utf-8",
                                                     "replace").strip()
        self.parent = int(self.status["PPid"])
        self.state = self.status["State"][0]
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
        self.ticks = int(fields[11]) + int(fields[12])
        self.started = int(fields[19])

    @property
    def role(self):
        """master, zygote, keys, paramgen, worker, or an empty string."""
        m = re.search(r"flexmusicd(?:-worker)?: (\w+)", self.title)
        return m.group(1) if m else ""

    @property
    def switches(self):
        """How often it was scheduled."""
        return (int(self.status["voluntary_ctxt_switches"]) +
                int(self.status["nonvoluntary_ctxt_switches"]))

    def __repr__(self):
        return "%d (parent %d, %s) %s" % (self.pid, self.parent, self.state,
                                          self.title)


def look_at(pid):
    """The process, or None where there is none."""
    try:
        return Process(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None


def all_processes():
    """Every process there is."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            p = look_at(int(name))
            if p is not None:
                found.append(p)
    return found


def descriptors(pid):
    """What the process has open: number to target; None if it may not be
    seen, which is so for an ordinary user and a process that is not
    dumpable."""
    try:
        names = os.listdir("/proc/%d/fd" % pid)
    except PermissionError:
        return None
    except FileNotFoundError:
        return {}  # it has ended
    found = {}
    for name in names:
        try:
            found[int(name)] = os.readlink("/proc/%d/fd/%s" % (pid, name))
        except FileNotFoundError:
            continue
    return found


def listening(port, host="127.0.0.1"):
    """True if something listens on that port of loopback."""
    number = "%04X" % port
    if ":" in host:
        table, word = "/proc/net/tcp6", None
    else:
        table = "/proc/net/tcp"
        word = "%08X" % int.from_bytes(socket.inet_aton(host), sys.byteorder)
    with open(table) as f:
        for line in f.readlines()[1:]:
            row = line.split()
            address, _, local = row[1].partition(":")
            if local == number and row[3] == "0A" and \
               (word is None or address == word):
                return True
    return False


def free_port(host="127.0.0.1"):
    """A port that nobody listens on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def have_ipv6():
    """True if ::1 can be bound."""
    try:
        free_port("::1")
    except OSError:
        return False
    return True


def become(user):
    """What a child does between fork and exec to run as another user and to
    end with the tests."""
    parent = os.getpid()

    def start():
        if user is not None and ROOT:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        os.umask(0o022)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    return start


def run_daemon(*arguments, user=None, deadline=None, **how):
    """Runs flexmusicd to its end; returns the CompletedProcess."""
    return subprocess.run([DAEMON] + list(arguments), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=deadline or DEADLINE, text=True,
                          preexec_fn=become(user), check=False, **how)


# -- a server ------------------------------------------------------------


class Server:
    """A flexmusicd of the test's own.

    `seeds` says how many sets of which size lie in the state directory;
    `user` runs it as another user (from root); every other keyword is a key
    of the configuration, None leaving it out.
    """

    def __init__(self, seeds=None, user=None, arguments=("-d", "-v"),
                 directory=None, binary=None, **keys):
        self.user = user
        self.arguments = list(arguments)
        self.binary = binary or DAEMON
        self.process = None
        self.pid = None
        self.error = None  # what stop() found wrong
        self.patience = None  # seconds until it serves; None: as usual
        self.own_directory = directory is None
        if directory is None:
            directory = tempfile.mkdtemp(prefix="flexmusic-test-")
            os.chmod(directory, 0o755)
        self.directory = directory
        self.state_dir = os.path.join(directory, "state")
        self.chroot_dir = os.path.join(directory, "empty")
        self.config_path = os.path.join(directory, "flexmusicd.conf")
        self.control_path = os.path.join(directory, "run", "control")
        self.log_path = os.path.join(directory, "log")
        self.log = Log(self.log_path)
        self.host = "127.0.0.1"
        self.port = keys.pop("port", None) or free_port()
        for path, mode in ((self.state_dir, 0o700), (self.chroot_dir, 0o755),
                           (os.path.dirname(self.control_path), 0o755)):
            if not os.path.isdir(path):
                os.mkdir(path)
                os.chmod(path, mode)
                if ROOT and user is not None:
                    os.chown(path, user, user)
        self.keys = {
            "host": self.host,
            "port": self.port,
            "key_size": 1024,
            "allow_weak_key_size": "yes",
            # No search runs behind a test that is about something else.
            "keep_parameters": 0,
            "state_dir": self.state_dir,
            # Not in the way of a test that is about something else.
            "identity_file": "none",
            "chroot_dir": self.chroot_dir,
            "worker_user": WORKER_USER,
            "keys_user": KEYS_USER,
            "auth_user": AUTH_USER,
            # Not in the way of a test that is about something else.
            "auth_method": "none",
            "max_connections_per_source": 0,
            "control_socket": self.control_path,
        }
        self.keys.update(keys)
        self.write_config()
        self.fingerprints = {}
        for bits, n in ({1024: 1} if seeds is None else seeds).items():
            self.fingerprints[bits] = seed_state(self.state_dir, bits, n)

    @property
    def address(self):
        """Where clients connect to."""
        return (self.host, self.port)

    def write_config(self, text=None, **keys):
        """Writes the configuration, with changed keys or as the text is."""
        self.keys.update(keys)
        if text is None:
            text = "".join("%s = %s\n" % (key, config_value(value))
                           for key, value in self.keys.items()
                           if value is not None)
        with open(self.config_path, "w") as f:
            f.write(text)

    def spawn(self):
        """Starts the program without waiting for anything."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary] + self.arguments + ["-f", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=become(self.user))
        self.pid = self.process.pid

    def start(self):
        """Starts it and waits until it serves.  A port that was taken
        meanwhile is replaced."""
        for attempt in range(5):
            mark = self.log.mark()
            self.spawn()
            wait_for("the server's start", lambda: self.is_ready(mark),
                     self.patience)
            if self.process.poll() is None:
                return self
            if "in use" not in "\n".join(
                    e.text for e in self.log.read()[mark:]):
                break
            self.port = free_port()
            self.write_config(port=self.port)
        raise AssertionError("the server did not start (status %s):\n%s" % (
            self.process.returncode, self.log.tail()))

    def is_ready(self, mark=0):
        """True when it serves, or has ended."""
        if self.process.poll() is not None:
            return True
        if "-d" in self.arguments:
            return bool(self.log.find("ready", mark))
        return listening(self.port, self.host)

    def alive(self):
        """True while the master runs."""
        return self.process is not None and self.process.poll() is None

    def client(self, **how):
        """A new connection to it."""
        return fmltp.Client(self.address, **how)

    def signal(self, number):
        """A signal to the master alone."""
        os.kill(self.pid, number)

    def signal_group(self, number):
        """A signal to all of its processes, as a terminal sends it."""
        os.killpg(self.pid, number)

    def processes(self):
        """The master and all that came from it, zombies left out."""
        everything = {p.pid: p for p in all_processes()}
        family = {self.pid}
        grown = True
        while grown:
            grown = False
            for p in everything.values():
                if p.parent in family and p.pid not in family:
                    family.add(p.pid)
                    grown = True
        return [p for p in everything.values()
                if p.pid in family and p.state != "Z"]

    def role(self, role):
        """Its processes of one role."""
        return [p for p in self.processes() if p.role == role]

    def one(self, role):
        """Its one process of a role, waited for."""
        def single():
            found = self.role(role)
            return found[0] if len(found) == 1 else None
        return wait_for("one %s process" % role, single)

    def worker(self, peer):
        """The worker that serves a peer, waited for."""
        def titled():
            return [p for p in self.role("worker")
                    if re.search(re.escape(peer) + r"(?!\d)", p.title)]
        return wait_for("the worker of %s" % peer, titled)[0]

    def failure(self, peer, deadline=None):
        """The event that says how a peer's connection ended."""
        return self.log.wait(FAILURES, peer=peer, deadline=deadline)

    def quiet(self):
        """Waits until no session is left."""
        wait_for("the end of all sessions",
                 lambda: not self.role("worker"))

    def footprint(self):
        """Processes and descriptors while nothing is going on, to find
        leaks: role to how many, role and number to open descriptors."""
        counts = {}
        for p in self.processes():
            if p.role == "paramgen":
                continue
            counts[p.role] = counts.get(p.role, 0) + 1
            fds = descriptors(p.pid)
            if fds is not None:
                name = "descriptors of " + p.role
                counts[name] = counts.get(name, 0) + len(fds)
        return counts

    def at_rest(self):
        """The footprint, when it is the same twice: no helper that is just
        forked and has its parent's title, no channel that is done with."""
        found = [self.footprint()]

        def same():
            found.append(self.footprint())
            return found[-1] == found[-2] and found[-1].get("master") == 1
        wait_for("a server at rest", same, pause=0.2)
        return found[-1]

    def settle(self, before):
        """Waits until the footprint is what it was; returns it."""
        try:
            wait_for("the old footprint", lambda: self.footprint() == before,
                     pause=0.05)
        except Timeout:
            pass
        return self.footprint()

    def stop(self):
        """Stops it in the ordinary way and checks how it went: exit status
        0, no process left, no sanitizer's report."""
        if self.process is None:
            return
        family = [p for p in self.processes() if p.pid != self.pid]
        problems = []
        if self.alive():
            for p in family:
                if p.state in "Tt":
                    kill(p.pid, signal.SIGCONT)
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                problems.append("did not stop")
                self.signal(signal.SIGKILL)
                self.process.wait()
            else:
                if self.process.returncode != 0:
                    problems.append("stopped with status %d" %
                                    self.process.returncode)
        problems += left_behind(family)
        problems += self.reports()
        if problems:
            raise AssertionError("%s; the log's end:\n%s" %
                                 ("; ".join(problems), self.log.tail()))

    def kill(self):
        """Ends it without a word, for servers that a test has broken."""
        if self.alive():
            self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def reports(self):
        """What sanitizers had to say, and aborts of the C library."""
        words = ("ERROR: AddressSanitizer", "runtime error:",
                 "ERROR: LeakSanitizer", "stack smashing detected",
                 "buffer overflow detected")
        return [e.text for e in self.log.read()
                if any(word in e.text for word in words)]

    def remove(self):
        """Removes its folder."""
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
            else:
                self.kill()
        finally:
            self.remove()


def left_behind(family):
    """Sentences about processes that outlived their server."""
    def gone():
        for p in family:
            now = look_at(p.pid)
            if now is not None and now.started == p.started and \
               now.state != "Z":
                return False
        return True
    try:
        wait_for("the end of all processes", gone, 20)
    except Timeout:
        left = [look_at(p.pid) for p in family]
        return ["left behind: %s" % p for p in left if p is not None]
    return []


def config_value(value):
    """A value as the configuration file has it."""
    if isinstance(value, (list, tuple)):
        return "{ %s }" % ", ".join(config_value(v) for v in value)
    if isinstance(value, int):
        return str(value)
    if re.fullmatch(r"[A-Za-z0-9_./]+", value):
        return value
    return '"%s"' % value


def kill(pid, number):
    """A signal to a process that may be gone; True if it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def limit(pid, which, soft):
    """Changes a soft limit of a running process; returns the old one."""
    old, hard = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, hard))
    return old


class ServerCase(unittest.TestCase):
    """Tests that share one server: SERVER is its keywords; `servers` is for
    the report of a failure."""

    SERVER = {}
    server = None
    servers = []

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.SERVER)
        cls.servers = [cls.server]
        try:
            cls.server.start()
        except BaseException:
            cls.server.kill()
            cls.server.remove()
            raise

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            cls.server.remove()

    def serves(self, server=None):
        """A whole session goes well."""
        client = (server or self.server).client()
        with client:
            client.handshake()
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()


class OwnServerCase(unittest.TestCase):
    """Tests that each start servers of their own; `servers` is for the
    report of a failure."""

    def setUp(self):
        self.servers = []

    def start(self, **keys):
        """A server that the test's end stops."""
        server = Server(**keys)
        self.servers.append(server)
        self.addCleanup(server.remove)
        try:
            server.start()
        except BaseException:
            server.kill()
            raise
        self.addCleanup(self.finish, server)
        return server

    def finish(self, server):
        """Stops it if it still runs; a test that failed has spoken."""
        if server.alive():
            server.stop()

    def serves(self, server):
        """A whole session goes well."""
        with server.client() as client:
            client.handshake()
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()
