#!/usr/bin/python3
"""Sockets that a service manager passes, and what it is given to run the
server with: units, users, directories, the AppArmor profile.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import apparmor  # noqa: E402
import facts  # noqa: E402
import fmltp  # noqa: E402
import harness  # noqa: E402
import machine  # noqa: E402
import runner  # noqa: E402

# Puts descriptors where sd_listen_fds(3) says, and becomes the program: the
# variables have the number of the process that it is.  First descriptor of
# those that are passed, "=" for each that shall not be there; the values of
# LISTEN_PID ("self": its own), LISTEN_FDS and LISTEN_FDNAMES, "-" for none.
STARTER = """
import os, sys
numbers, pid, fds, names = sys.argv[1:5]
high = [os.dup(int(n)) if n != "=" else None for n in numbers.split(",") if n]
high = [n and os.dup2(n, 100 + i, True) for i, n in enumerate(high)]
os.closerange(3, 100)
for i, n in enumerate(high):
    if n is not None:
        os.dup2(n, 3 + i, True)
os.closerange(100, 200)
for name, value in (("PID", str(os.getpid()) if pid == "self" else pid),
                    ("FDS", fds), ("FDNAMES", names)):
    if value != "-":
        os.environ["LISTEN_" + name] = value
os.execv(sys.argv[5], sys.argv[5:])
"""


def read(path):
    """A file's text."""
    with open(path) as f:
        return f.read()


class PassedServer(harness.Server):
    """A server that is given sockets, and knows how each was made."""

    passed = ()
    variables = ("self", "", "-")

    def spawn(self):
        pid, fds, names = self.variables
        numbers = ["=" if s is None else str(s.fileno()) for s in self.passed]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", STARTER, ",".join(numbers), pid,
                 fds or str(len(numbers)), names, self.binary] +
                self.arguments + ["-f", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[s.fileno() for s in self.passed if s is not None],
                start_new_session=True,
                preexec_fn=harness.become(self.user))
        self.pid = self.process.pid


def listener(host="127.0.0.1", port=0, only_ipv6=True):
    """A socket as systemd makes one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    s.bind((host, port))
    s.listen(7)
    return s


class SocketCase(harness.OwnServerCase):
    """Tests of servers that are given sockets."""

    def prepared(self, *passed, variables=None, **keys):
        """A server with these sockets, not started."""
        keys.setdefault("host", None)
        server = PassedServer(**keys)
        if keys["host"] is None:
            server.keys["port"] = None
        server.write_config()
        server.passed = passed
        if variables is not None:
            server.variables = variables
        self.servers.append(server)
        self.addCleanup(server.remove)
        for s in passed:
            if s is not None:
                self.addCleanup(s.close)
        return server

    def given(self, *passed, **keys):
        """The same, started; its address is that of the first socket."""
        server = self.prepared(*passed, **keys)
        server.start()
        self.addCleanup(self.finish, server)
        server.host, server.port = passed[0].getsockname()[:2]
        return server

    def refuses(self, server, words):
        """The server ends with exit status 1 and these words."""
        server.spawn()
        try:
            self.assertEqual(server.process.wait(harness.DEADLINE), 1)
        except BaseException:
            server.kill()
            raise
        self.assertIn(words, server.log.text())
        self.assertEqual(server.log.find("listen"), [])

    @staticmethod
    def inodes(pid):
        """The sockets that a process has."""
        return {target for target in harness.descriptors(pid).values()
                if target.startswith("socket:")}

    @staticmethod
    def inode(sock):
        """A socket as /proc shows it."""
        return "socket:[%d]" % os.fstat(sock.fileno()).st_ino


class Sockets(SocketCase):
    """A server that is given its sockets."""

    def test_serves(self):
        """In place of host and port; no word about it is in the way."""
        sock = listener()
        server = self.given(sock, variables=("self", "1", "flex\tmusic"))
        self.serves(server)
        address = "%s:%d" % sock.getsockname()
        events = server.log.find("listen")
        self.assertEqual([(e["address"], e["source"], e["name"])
                          for e in events],
                         [(address, "systemd", "flex\tmusic")])
        self.assertEqual(server.log.find("config-warning"), [])
        self.assertTrue(os.get_blocking(sock.fileno()) is False)

    def test_survives_reloads(self):
        """The same socket, unclosed; another port is told and not used."""
        sock, other = listener(), harness.free_port()
        server = self.given(sock)
        before = self.inodes(server.pid)
        self.assertIn(self.inode(sock), before)
        with server.client() as session:
            session.handshake()
            for round_, keys in enumerate((
                    {}, {"port": other}, {"port": other, "host": "127.0.0.2"},
                    {"key_size": 1}), 1):
                mark = server.log.mark()
                server.write_config(**keys)
                server.signal(signal.SIGHUP)
                server.log.wait(("reload", "reload-failed"), mark)
                told = [e["text"] for e in server.log.find("config-warning",
                                                           mark)]
                # A file that is wrong is not used in any part.
                wanted = [key for key in ("host", "port")
                          if server.keys[key] is not None and round_ < 4]
                with self.subTest(round=round_):
                    self.assertEqual(len(told), len(wanted), told)
                    for key, text in zip(wanted, told):
                        self.assertIn(" %s = " % key, text)
                        self.assertIn("is not used: the service manager "
                                      "passes the sockets", text)
                    self.serves(server)
                    self.assertFalse(harness.listening(other))
                    self.assertIn(self.inode(sock), self.inodes(server.pid))
            self.assertTrue(session.command("HELP").startswith(b"200 "))
            session.quit()
        self.assertEqual(len(server.log.find("listen")), 1)
        self.assertEqual(server.log.find("listen-end"), [])

    def test_waits_for_the_next_server(self):
        """Clients that come between two servers are served by the second."""
        sock = listener()
        first = self.given(sock)
        self.serves(first)
        first.stop()
        with first.client() as client:
            second = self.given(sock)
            client.handshake()
            client.quit()
            self.serves(second)

    def test_two_sockets_and_ipv6(self):
        hosts = ["127.0.0.1", "127.0.0.2"]
        if harness.have_ipv6():
            hosts += ["::1"]
        socks = [listener(host) for host in hosts]
        server = self.given(*socks, variables=(
            "self", str(len(socks)), ":".join("n%d" % i
                                              for i in range(len(socks)))))
        for i, sock in enumerate(socks):
            host, port = sock.getsockname()[:2]
            with self.subTest(host=host):
                with fmltp.Client((host, port)) as client:
                    client.handshake()
                    client.quit()
                text = "[%s]:%d" if ":" in host else "%s:%d"
                self.assertEqual(
                    [e["address"] for e in server.log.find("listen")
                     if e["name"] == "n%d" % i], [text % (host, port)])

    def test_the_environment_is_clean(self):
        """No process has the variables; the master alone has the socket."""
        sock = listener()
        server = self.given(sock)
        with server.client() as session:
            session.handshake()
            for p in server.processes():
                try:
                    with open("/proc/%d/environ" % p.pid, "rb") as f:
                        self.assertNotIn(b"LISTEN_", f.read())
                except PermissionError:
                    self.assertFalse(harness.ROOT)
                if p.pid == server.pid or not harness.ROOT:
                    continue
                self.assertNotIn(self.inode(sock), self.inodes(p.pid))
            session.quit()

    @harness.needs_root
    def test_the_master_can_bind_nothing(self):
        """CAP_NET_BIND_SERVICE is given up, and is not needed."""
        server = self.given(listener())
        for key in ("CapInh", "CapPrm", "CapEff"):
            caps = int(harness.look_at(server.pid).status[key], 16)
            self.assertEqual(caps & 1 << 10, 0, key)
            self.assertNotEqual(caps & 1 << 7, 0, key)

    @staticmethod
    def without_binding(server):
        """Has the server start without CAP_NET_BIND_SERVICE."""
        server.binary = os.path.join(server.directory, "without")
        with open(server.binary, "w") as f:
            f.write("#!/bin/sh\nexec setpriv --bounding-set "
                    "-net_bind_service --inh-caps -net_bind_service "
                    "%s \"$@\"\n" % harness.DAEMON)
        os.chmod(server.binary, 0o755)

    @harness.needs_root
    def test_without_the_capability(self):
        """... also where the service manager has taken it away."""
        sock = listener()
        server = self.prepared(sock)
        self.without_binding(server)
        server.start()
        self.addCleanup(self.finish, server)
        server.host, server.port = sock.getsockname()
        self.serves(server)

    @harness.needs_root
    def test_ports_without_the_capability(self):
        """A server that binds its own does without it too, and says what is
        missing where the port is too low."""
        server = harness.Server()
        self.servers.append(server)
        self.addCleanup(server.remove)
        self.without_binding(server)
        with server:
            self.serves(server)
            if int(read("/proc/sys/net/ipv4/ip_unprivileged_port_start")) < 9:
                self.skipTest("every port is for everybody here")
            words = "cannot listen on 127.0.0.1:8: Permission denied " \
                "(a port below 1024 needs CAP_NET_BIND_SERVICE)"
            server.write_config(port=8)
            server.signal(signal.SIGHUP)
            server.log.wait("reload-failed")
            self.assertEqual(server.log.find("config-error")[0]["text"],
                             words)
            self.serves(server)
        low = self.prepared(port=8, host="127.0.0.1",
                            variables=("-", "-", "-"))
        self.without_binding(low)
        self.refuses(low, words)

    def test_for_another_process(self):
        """Sockets that are for somebody else are closed, and host and port
        count."""
        for variables in (("1", "1", "-"), ("-", "1", "-"),
                          ("self", "-", "-")):
            sock = listener()
            server = self.prepared(sock, host="127.0.0.1",
                                   variables=variables)
            with self.subTest(variables=variables):
                server.start()
                self.serves(server)
                events = server.log.find("listen")
                self.assertEqual([(e["address"], e["source"])
                                  for e in events],
                                 [("127.0.0.1:%d" % server.port,
                                   "configuration")])
                self.assertNotIn(self.inode(sock), self.inodes(server.pid))
                server.stop()

    def test_as_a_daemon(self):
        """The process that was started is meant, also where it forks."""
        sock = listener()
        server = self.prepared(sock)
        server.write_config(
            pid_file=os.path.join(server.directory, "run", "pid"),
            syslog_socket=os.path.join(server.directory, "none"))
        server.arguments = []
        server.spawn()
        self.assertEqual(server.process.wait(harness.DEADLINE), 0,
                         server.log.tail())
        with open(server.keys["pid_file"]) as f:
            pid = int(f.read())
        try:
            server.host, server.port = sock.getsockname()
            self.serves(server)
        finally:
            os.kill(pid, signal.SIGTERM)
            harness.wait_for("its end", lambda: harness.look_at(pid) is None)

    def test_who_could_come_in(self):
        """The warning about auth_method = none names what was passed."""
        sock = listener("0.0.0.0")
        server = self.given(listener(), sock)
        words = "nobody is authenticated on 0.0.0.0:%d" % \
            sock.getsockname()[1]
        # At start, standard error has it.
        self.assertEqual([e.text for e in server.log.read()
                          if e.text.endswith(words)],
                         ["flexmusicd: warning: %s:%d: auth_method = none: %s"
                          % (server.config_path,
                             list(k for k, v in server.keys.items()
                                  if v is not None).index("auth_method") + 1,
                             words)])
        server.signal(signal.SIGHUP)
        server.log.wait("reload")
        told = server.log.find("config-warning")
        self.assertEqual(len(told), 1)
        self.assertTrue(told[0]["text"].endswith(words))


def bound_only():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s


def connected():
    with listener() as server:
        return socket.create_connection(server.getsockname())


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


def unix():
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0flexmusic-test-%d-%f" % (os.getpid(), time.monotonic()))
    s.listen()
    return s


# What is no socket for the server: name, how it is made, what is said.
WRONG = [
    ("closed", lambda: None, "is not open"),
    ("a file", lambda: open("/dev/null"), "is no socket"),
    ("a unix socket", unix, "is a socket of neither IPv4 nor IPv6"),
    ("udp", udp, "is no TCP socket"),
    ("bound only", bound_only, "does not listen"),
    ("a connection", connected, "does not listen"),
]
if harness.have_ipv6():
    WRONG += [
        ("dual stack", lambda: listener("::", only_ipv6=False),
         "takes IPv4 too: BindIPv6Only=ipv6-only"),
        ("mapped", lambda: listener("::ffff:127.0.0.1", only_ipv6=False),
         "has an IPv4 address in the form of IPv6"),
    ]


class Wrong(SocketCase):
    """What is passed and is of no use."""

    def test_variables(self):
        """Those that make no sense."""
        for variables, words in (
                (("me", "1", "-"), "LISTEN_PID must be"),
                (("self", "0", "-"), "LISTEN_FDS must be"),
                (("self", "17", "-"), "LISTEN_FDS must be"),
                (("self", "1x", "-"), "LISTEN_FDS must be"),
                (("self", "1", "a:b"), "LISTEN_FDNAMES must have")):
            with self.subTest(variables=variables):
                self.refuses(self.prepared(listener(), variables=variables),
                             words)


for _name, _make, _words in WRONG:
    def _test(self, make=_make, words=_words):
        # The second of two: the number is told.
        self.refuses(self.prepared(listener(), make()),
                     "descriptor 4, which the service manager passed, " +
                     words)
    setattr(Wrong, "test_" + runner.row_name(_name), _test)

PASSWORD = "tralalalala"
ETC = os.path.join(harness.TOP, "etc")
DROP_INS = ("pam.conf", "socket.conf")


def needs_program(name):
    """Skips where a program is not there."""
    return unittest.skipIf(shutil.which(name) is None,
                           name + " is not installed")


def unit_calls(*drop_ins):
    """The system calls that flexmusicd.service allows, by its lines."""
    allowed = set()
    for path in [os.path.join(ETC, "flexmusicd.service")] + [
            os.path.join(ETC, "flexmusicd.service.d", name)
            for name in drop_ins]:
        for value in re.findall(r"(?m)^SystemCallFilter=(.*)$", read(path)):
            calls = set()
            for word in value.lstrip("~").split():
                calls |= expanded(word)
            allowed = allowed - calls if value[0] == "~" else allowed | calls
    # Always allowed.
    return allowed | expanded("@default")


def expanded(word):
    """A call, or the calls of a group as systemd knows it."""
    if not word.startswith("@"):
        return {word}
    text = subprocess.run(["systemd-analyze", "syscall-filter", word],
                          check=True, stdout=subprocess.PIPE,
                          text=True).stdout
    calls = set()
    for line in re.findall(r"(?m)^    ([@\w]\S*)", text):
        calls |= expanded(line)
    return calls


@needs_program("systemd-analyze")
class Units(unittest.TestCase):
    """What can be said of the units without running them."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="flexmusic-test-")
        self.addCleanup(shutil.rmtree, self.root)

    def score(self, *drop_ins):
        """What systemd-analyze says of the service with these drop-ins."""
        folder = os.path.join(self.root, "-".join(drop_ins),
                              "etc/systemd/system")
        os.makedirs(os.path.join(folder, "flexmusicd.service.d"))
        for name in ("flexmusicd.service", "flexmusicd.socket"):
            shutil.copy(os.path.join(ETC, name), folder)
        for name in drop_ins:
            shutil.copy(os.path.join(ETC, "flexmusicd.service.d", name),
                        os.path.join(folder, "flexmusicd.service.d"))
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager",
             "--root=" + folder[:-len("/etc/systemd/system")],
             "flexmusicd.service"], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False)
        found = re.search(r"exposure level for flexmusicd.service: ([\d.]+)",
                          done.stdout)
        self.assertIsNotNone(found, done.stdout)
        return float(found.group(1))

    def test_score(self):
        """2.5 or better; and those that files and manual state."""
        scores = {names: self.score(*names) for names in (
            (), ("pam.conf",), ("socket.conf",), DROP_INS)}
        self.assertLessEqual(scores[()], 2.5)
        version = subprocess.run(
            ["systemd-analyze", "--version"], check=True, text=True,
            stdout=subprocess.PIPE).stdout.split()[1]
        if version != "252":
            self.skipTest("the scores that are stated are systemd 252's")
        manual = re.sub(r"\s+(?:\.Pa )?", " ", read(os.path.join(
            harness.TOP, "man", "flexmusicd.8")))
        stated = re.search(r"(\d\.\d) for the unit alone, (\d\.\d) with "
                           r"pam.conf , (\d\.\d) with socket.conf and "
                           r"(\d\.\d) with both", manual)
        self.assertEqual([float(n) for n in stated.groups()],
                         list(scores.values()))
        for name, values in (
                ("flexmusicd.service", [()]),
                ("flexmusicd.service.d/pam.conf", [("pam.conf",), DROP_INS]),
                ("flexmusicd.service.d/socket.conf", [("socket.conf",)])):
            said = re.search(r"# `systemd-analyze security.*?\n(?=\[|#\n)",
                             read(os.path.join(ETC, name)), re.S).group(0)
            with self.subTest(file=name):
                self.assertEqual(
                    [float(n) for n in re.findall(r"\d\.\d", said)],
                    [scores[v] for v in values])

    def test_every_role_may_do_what_it_does(self):
        """The unit's filter has each call of each role's table."""
        allowed = unit_calls()
        self.assertNotIn("mount", allowed)
        self.assertNotIn("ptrace", allowed)
        rows = 0
        for role, what in facts.load()["roles"].items():
            for row in what["rows"]:
                with self.subTest(role=role, call=row["call"]):
                    self.assertTrue(row["call"] in allowed)
                    rows += 1
        self.assertGreater(rows, 100)

    @needs_program("systemd-sysusers")
    def test_users(self):
        """sysusers.d makes the users that are the configuration's defaults,
        each with a group of its own, and no other."""
        os.mkdir(os.path.join(self.root, "etc"))
        done = subprocess.run(
            ["systemd-sysusers", "--root=" + self.root,
             os.path.join(ETC, "flexmusicd.sysusers.conf")], check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        made = [line.split(":") for line in read(os.path.join(
            self.root, "etc/passwd")).splitlines()]
        groups = {line.split(":")[2]: line.split(":")[0] for line in read(
            os.path.join(self.root, "etc/group")).splitlines()}
        wanted = re.findall(r'(?m)^#(?:worker|keys|auth)_user = "(\w+)"$',
                            read(os.path.join(ETC, "flexmusicd.conf")))
        self.assertEqual(len(wanted), 3)
        self.assertEqual(sorted(row[0] for row in made), sorted(wanted))
        for name, _, uid, gid, _, home, shell in made:
            self.assertNotEqual(uid, "0")
            self.assertEqual(groups[gid], name)
            self.assertEqual((home, shell),
                             ("/nonexistent", "/usr/sbin/nologin"))
        self.assertEqual(len({row[2] for row in made}), 3)
        readme = read(os.path.join(harness.TOP, "README.md"))
        self.assertEqual(re.findall(r"useradd --system.* (\w+)\n", readme),
                         wanted)

    @needs_program("systemd-tmpfiles")
    @harness.needs_root
    def test_directories(self):
        """tmpfiles.d makes those that are the configuration's defaults, as
        the server wants them."""
        done = subprocess.run(
            ["systemd-tmpfiles", "--create", "--root=" + self.root,
             os.path.join(ETC, "flexmusicd.tmpfiles.conf")], check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        config = read(os.path.join(ETC, "flexmusicd.conf"))
        wanted = {re.search(r'(?m)^#%s = "(.*)"$' % key, config).group(1):
                  mode for key, mode in (("state_dir", 0o700),
                                         ("chroot_dir", 0o755))}
        control = re.search(r'(?m)^#control_socket = "(.*)"$', config)
        wanted[os.path.dirname(control.group(1))] = 0o755
        made = {}
        for folder, _, files in os.walk(self.root):
            self.assertEqual(files, [])
            status = os.stat(folder)
            self.assertEqual((status.st_uid, status.st_gid), (0, 0))
            made[folder[len(self.root):]] = status.st_mode & 0o7777
        self.assertEqual({path: made.get(path) for path in wanted}, wanted)
        self.assertEqual(set(made) - set(wanted), {
            "", "/run", "/var", "/var/lib"})


@unittest.skipUnless(os.path.exists(apparmor.PARSER),
                     "apparmor is not installed")
class Profiles(unittest.TestCase):
    """The AppArmor profile, as far as its parser goes."""

    PROFILE = os.path.join(ETC, "apparmor.d", "flexmusicd")

    def test_parser_accepts_it(self):
        """Alone, and with what PAM needs."""
        alone = apparmor.parser(self.PROFILE)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        both = apparmor.parser("-I", os.path.join(ETC, "apparmor.d"),
                               self.PROFILE)
        self.assertEqual(both.returncode, 0, both.stderr)
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(read(self.PROFILE).replace("capability kill,",
                                               "capability kil,"))
            f.flush()
            self.assertNotEqual(apparmor.parser(f.name).returncode, 0)

    def test_what_it_allows(self):
        """Not more than the server needs, nor less than its capabilities."""
        profile = apparmor.Profile(self.PROFILE)
        names = {1 << 5: "kill", 1 << 6: "setgid", 1 << 7: "setuid",
                 1 << 10: "net_bind_service", 1 << 18: "sys_chroot"}
        mask = facts.load()["roles"]["master"]["capabilities"]
        self.assertEqual(
            {word for words in profile.words("capability")
             for word in words},
            {name for bit, name in names.items() if mask & bit} |
            {"setpcap"})
        for path, access in (
                ("/etc/flexmusic/users", "r"), ("/dev/null", "rw"),
                ("/var/lib/flexmusic/lock", "rwk"),
                ("/usr/lib/x86_64-linux-gnu/libc.so.6", "mr"),
                ("/proc/4711/statm", "r")):
            with self.subTest(path=path):
                self.assertTrue(profile.allows(path, access))
        for path, access in (
                ("/etc/shadow", "r"), ("/etc/flexmusic/users", "w"),
                ("/etc/passwd", "w"), ("/bin/sh", "x"),
                ("/usr/bin/python3", "x"), ("/root/.ssh/id_rsa", "r"),
                ("/var/lib/flexmusic/a/b", "r"), ("/etc/cron.d/x", "w"),
                ("/usr/local/sbin/flexmusicd", "w"), ("/proc/1/environ", "r"),
                ("/run/docker.sock", "w"), ("/dev/sda", "r")):
            with self.subTest(path=path):
                self.assertFalse(profile.allows(path, access))


@harness.needs_root
@unittest.skipIf(harness.SANITIZED,
                 "a build with sanitizers is not installed")
class Manager(unittest.TestCase):
    """The installed units, under a systemd of the test's own."""

    asked = 0

    @classmethod
    def setUpClass(cls):
        cls.machine = m = machine.Machine()
        m.__enter__()
        cls.addClassCleanup(m.end)
        m.do("systemd-sysusers", "/usr/local/lib/sysusers.d/flexmusicd.conf")
        m.do("systemd-tmpfiles", "--create",
             "/usr/local/lib/tmpfiles.d/flexmusicd.conf")

    def setUp(self):
        self.mark = self.machine.log.mark()
        self.configure()
        self.addCleanup(self.clear)

    def clear(self):
        """Everything is stopped, and drop-ins are gone."""
        m = self.machine
        m.do("systemctl", "stop", "flexmusicd.socket", "flexmusicd.service")
        m.do("rm", "-rf", "/etc/systemd/system/flexmusicd.service.d")
        m.do("systemctl", "daemon-reload")

    def configure(self, **keys):
        """Writes the configuration; sets lie ready."""
        keys = dict({"auth_method": "none", "key_size": 1024,
                     "allow_weak_key_size": "yes", "keep_parameters": 0},
                    **keys)
        with open(self.machine.path("/etc/flexmusic/flexmusicd.conf"),
                  "w") as f:
            f.write("".join("%s = %s\n" % (key, harness.config_value(value))
                            for key, value in keys.items()))
        state = self.machine.path("/var/lib/flexmusic")
        for name in os.listdir(state):
            if name.startswith("dh-"):
                os.unlink(os.path.join(state, name))
        harness.seed_state(state, 1024, 5)

    def drop_in(self, name):
        """Has a drop-in of the documents take effect."""
        folder = "/etc/systemd/system/flexmusicd.service.d"
        m = self.machine
        m.do("mkdir", "-p", folder)
        m.do("cp", "/usr/local/share/doc/flexmusicd/flexmusicd.service.d/" +
             name, folder)
        m.do("systemctl", "daemon-reload")

    def master(self):
        """The master as /proc shows it to this process."""
        inside = self.machine.show("flexmusicd", "MainPID")
        found = [p for p in harness.all_processes()
                 if p.status.get("NSpid", "").split()[1:] == [inside] and
                 "flexmusicd" in p.title]
        self.assertEqual(len(found), 1, found)
        return found[0]

    def at_home(self):
        """The environment of a client that knows no server yet."""
        home = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        self.addCleanup(home.cleanup)
        return dict(os.environ, HOME=home.name)

    def ask(self, *options, **how):
        """A session of the client's, with HELP."""
        Manager.asked += 1
        home = "/run/home%d" % Manager.asked  # where no server is known
        self.machine.do("mkdir", home)
        text = self.machine.do(
            "env", "HOME=" + home, "flexmusic", "--allow-weak",
            "--accept-new", *options, "127.0.0.1", "HELP", **how)
        self.assertTrue(text.startswith("200 "), text)

    def filters(self, process):
        """How many filters of system calls a process has."""
        return int(process.status["Seccomp_filters"])

    def test_units_are_clean(self):
        """systemd-analyze verify has nothing to say of them."""
        for names in ((), DROP_INS):
            for name in names:
                self.drop_in(name)
            done = self.machine.run(
                "systemd-analyze", "verify", "--man=no",
                "--generators=no", "flexmusicd.service", "flexmusicd.socket")
            self.assertEqual((done.returncode, done.stdout + done.stderr),
                             (0, ""))

    def traced(self, user=None, **keys):
        """The lines of strace about a server's life, all of its processes."""
        m = self.machine
        self.configure(**keys)
        state = m.path("/var/lib/flexmusic")
        # A file of a server that was killed is removed, one that is bad is
        # set aside.
        for name in (".dh-left", "dh-1024-%s.pem" % ("0" * 64)):
            with open(os.path.join(state, name), "w") as f:
                f.write("left\n")
            os.chmod(os.path.join(state, name), 0o600)
        m.do("rm", "-rf", "/tmp/trace")
        m.do("mkdir", "/tmp/trace")
        with open(os.path.join(m.directory, "stderr"), "w") as f:
            server = subprocess.Popen(
                ["nsenter", "-t", str(m.pid), "-m", "-u", "-i", "-n", "-p",
                 "strace", "-ff", "-y", "-q", "-s", "4096",
                 "-o", "/tmp/trace/t",
                 "/usr/local/sbin/flexmusicd", "-F"],
                stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        try:
            pid = m.log.wait("ready", self.mark)["pid"]
            options = ()
            if user is not None:
                options = ("-u", user, "--password-fd", "0")
            self.ask(*options, input=PASSWORD + "\n")
            self.configure(**keys)
            m.do("kill", "-HUP", pid)
            m.log.wait("reload", self.mark)
            m.log.wait("generation-installed", self.mark, count=2)
            m.do("flexmusicctl", "status")
            m.do("kill", "-USR1", pid)
            m.log.wait("status-keys", self.mark)
            m.do("kill", "-TERM", pid)
            self.assertEqual(server.wait(harness.DEADLINE), 0)
        finally:
            server.kill()
            server.wait()
        traces = m.path("/tmp/trace")
        lines = [line for name in os.listdir(traces)
                 for line in read(os.path.join(traces, name)).splitlines()]
        self.mark = m.log.mark()
        return lines

    @needs_program("strace")
    def judge(self, lines, profile, calls):
        """Everything that was done is allowed by unit and profile."""
        seen = {apparmor.call_of(line) for line in lines} - {None}
        self.assertGreater(len(seen), 60)
        self.assertEqual(seen - calls, set())
        done = {pair for line in lines for pair in apparmor.accesses(line)}
        paths = {path for path, access in done if access}
        for path in ("/var/lib/flexmusic/.dh-left", "/etc/passwd",
                     "/etc/flexmusic/flexmusicd.conf", "/dev/log",
                     "/var/lib/flexmusic/lock", "/run/flexmusic/control",
                     "/usr/local/libexec/flexmusicd-worker"):
            self.assertIn(path, paths)
        refused = sorted(
            "%s %s" % (path, access) for path, access in done
            if not profile.allows(path, access))
        self.assertEqual(refused, [])
        sockets = {frozenset({found.group(1).lower(), found.group(2).lower()})
                   for line in lines for found in re.finditer(
                       r"^socket(?:pair)?\(AF_(\w+), SOCK_(\w+)", line)}
        allowed = profile.words("network")
        for words in sockets:
            self.assertTrue(any(rule <= words for rule in allowed), words)
        return paths

    @needs_program("strace")
    @unittest.skipUnless(os.path.exists(apparmor.PARSER),
                         "apparmor is not installed")
    def test_what_is_done_is_allowed(self):
        """A server's life under strace, against the profile's rules and the
        unit's filter."""
        m = self.machine
        users = m.path("/etc/flexmusic/users")
        m.do("flexmusicctl", "user", "add", "--stdin", "listener",
             input=PASSWORD + "\n")
        self.addCleanup(os.unlink, users)
        lines = self.traced("listener", auth_method="auth",
                            keep_parameters=1)
        profile = apparmor.Profile(Profiles.PROFILE)
        paths = self.judge(lines, profile, unit_calls())
        self.assertIn("/etc/flexmusic/users", paths)

    @needs_program("strace")
    @unittest.skipUnless(os.path.exists(apparmor.PARSER),
                         "apparmor is not installed")
    def test_what_pam_does_is_allowed(self):
        """The same with auth_method = system, and what that needs."""
        self.account()
        lines = self.traced("listener", auth_method="system")
        profile = apparmor.Profile(Profiles.PROFILE,
                                   os.path.join(ETC, "apparmor.d"))
        paths = self.judge(lines, profile, unit_calls("pam.conf"))
        for path in ("/etc/shadow", "/usr/local/libexec/flexmusicd-pam",
                     "/etc/pam.d/flexmusic"):
            self.assertIn(path, paths)

    def test_life(self):
        """Start, reload, a reload that fails, stop."""
        m = self.machine
        m.do("systemctl", "start", "flexmusicd")
        self.assertEqual(m.show("flexmusicd", "StatusText"), "Serving")
        self.ask()
        master = self.master()
        # SETGID, SETUID, SYS_CHROOT, KILL.
        self.assertEqual(int(master.status["CapPrm"], 16),
                         1 << 6 | 1 << 7 | 1 << 18 | 1 << 5)
        self.assertEqual(int(master.status["CapBnd"], 16), 0)
        self.assertEqual(master.status["NoNewPrivs"], "1")
        self.assertGreater(self.filters(master), 0)
        self.assertNotEqual(os.readlink("/proc/%d/ns/mnt" % master.pid),
                            os.readlink("/proc/%d/ns/mnt" % m.pid))

        # What keys holds is not swapped.
        keys = [p for p in harness.all_processes()
                if p.parent == master.pid and p.role == "keys"]
        self.assertGreater(len(keys), 0)
        for p in keys:
            self.assertNotEqual(p.status["VmLck"], "0 kB")

        # With a session open, which outlives both reloads.
        with subprocess.Popen(
                ["nsenter", "-t", str(m.pid), "-m", "-n", "-p", "flexmusic",
                 "--allow-weak", "--accept-new", "127.0.0.1"],
                stdin=subprocess.PIPE, text=True, env=self.at_home(),
                stdout=subprocess.PIPE) as session:
            m.log.wait("session-begin", self.mark, count=2)
            worker = harness.wait_for("the worker", lambda: [
                p for p in harness.all_processes()
                if p.parent == master.pid and p.role == "worker"])[0]
            self.assertEqual(self.filters(worker), self.filters(master) + 2)
            m.do("systemctl", "reload", "flexmusicd")
            m.log.wait("reload", self.mark)
            self.active()
            self.configure(port=0)
            m.do("systemctl", "reload", "flexmusicd")
            m.log.wait("reload-failed", self.mark)
            self.active()
            self.assertEqual(m.show("flexmusicd", "StatusText"), "Serving")
            self.assertEqual(session.poll(), None)
            text, _ = session.communicate("HELP\n", harness.DEADLINE)
            self.assertTrue(text.startswith("200 "))
            self.assertEqual(session.returncode, 0)
        self.ask()
        self.assertEqual(self.master().pid, master.pid)

        # The status report knows everybody's memory.
        os.kill(master.pid, signal.SIGUSR1)
        for event in ("status", "status-zygote", "status-keys"):
            found = m.log.wait(event, self.mark)
            self.assertGreater(int(found["memory_kib"]), 0, event)
        self.assertIn("sessions", m.do("flexmusicctl", "status"))

        m.do("systemctl", "stop", "flexmusicd")
        self.assertEqual(m.show("flexmusicd", "Result"), "success")
        self.assertEqual(m.show("flexmusicd", "ActiveState"), "inactive")
        m.log.wait("stop", self.mark)
        attacks = [e.text for e in m.log.read()[self.mark:]
                   if e.get("attack") == "yes" or "denied" in e.text or
                   "not permitted" in e.text]
        self.assertEqual(attacks, [])

    def active(self):
        """The reload is over, and the server runs."""
        harness.wait_for("the end of the reload", lambda: self.machine.show(
            "flexmusicd", "ActiveState") == "active")

    def test_the_worker_is_replaced_after_an_attack(self):
        """KILL_PROCESS of a worker's own filter is not taken away."""
        m = self.machine
        m.do("systemctl", "start", "flexmusicd")
        master = self.master()
        with subprocess.Popen(
                ["nsenter", "-t", str(m.pid), "-m", "-n", "-p", "flexmusic",
                 "--allow-weak", "--accept-new", "127.0.0.1"],
                stdin=subprocess.PIPE, text=True, env=self.at_home(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE) as session:
            m.log.wait("session-begin", self.mark)
            worker = [p for p in harness.all_processes()
                      if p.parent == master.pid and p.role == "worker"][0]
            os.kill(worker.pid, signal.SIGSYS)
            m.log.wait("worker-died", self.mark, attack="yes")
            session.communicate()
        self.ask()

    def test_sockets(self):
        """With flexmusicd.socket the first client starts the server, which
        has no network of its own; a restart loses nobody."""
        m = self.machine
        self.drop_in("socket.conf")
        m.do("systemctl", "start", "flexmusicd.socket")
        self.assertEqual(m.show("flexmusicd", "ActiveState"), "inactive")
        self.ask()
        self.active()
        found = m.log.find("listen", self.mark)
        self.assertEqual([(e["address"], e["source"], e["name"])
                          for e in found],
                         [("127.0.0.1:8900", "systemd", "flexmusicd.socket"),
                          ("[::1]:8900", "systemd", "flexmusicd.socket")])
        master = self.master()
        self.assertNotEqual(os.readlink("/proc/%d/ns/net" % master.pid),
                            os.readlink("/proc/%d/ns/net" % m.pid))
        m.do("systemctl", "reload", "flexmusicd")
        m.log.wait("reload", self.mark)
        self.active()
        self.ask()
        m.do("systemctl", "restart", "flexmusicd")
        self.assertNotEqual(self.master().pid, master.pid)
        self.ask()
        m.do("systemctl", "stop", "flexmusicd")
        self.ask()

    def account(self):
        """An account of the machine."""
        m = self.machine
        if m.run("grep", "-q", "^listener:", "/etc/passwd").returncode != 0:
            m.do("useradd", "--no-create-home", "--uid", "2999", "listener")
        m.do("chpasswd", "-c", "SHA512", input="listener:%s\n" % PASSWORD)

    def test_pam(self):
        """auth_method = system, with pam.conf and without it."""
        m = self.machine
        self.account()
        self.configure(auth_method="system")
        m.do("systemctl", "start", "flexmusicd")
        self.assertEqual(m.log.find("layer-missing", self.mark,
                                    layer="audit")[0]["layer"], "audit")
        m.do("systemctl", "stop", "flexmusicd")
        for names in (["pam.conf"], ["pam.conf", "socket.conf"]):
            with self.subTest(drop_ins=names):
                mark = m.log.mark()
                for name in names:
                    self.drop_in(name)
                m.do("systemctl", "start", "flexmusicd")
                self.assertEqual(m.log.find("layer-missing", mark), [])
                self.assertEqual(
                    int(self.master().status["CapPrm"], 16) >> 29 & 1, 1)
                self.ask("-u", "listener", "--password-fd", "0",
                         input=PASSWORD + "\n")
                m.do("systemctl", "stop", "flexmusicd")


if __name__ == "__main__":
    runner.main()
