#!/usr/bin/python3
"""Sockets that a service manager passes, and what it is given to run the
server with: units, users, directories, the AppArmor profile.
"""

import os
import signal
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

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


class PassedServer(harness.Server):
    """A server that is given sockets, and knows how each was made."""

    passed = ()
    variables = ("self", "", "-")

    def spawn(self):
        pid, fds, names = self.variables
        numbers = ["=" if s is None else str(s.fileno()) for s in self.passed]
        with open(self.log_path, "ab") as log:
            self.process = harness.subprocess.Popen(
                [sys.executable, "-c", STARTER, ",".join(numbers), pid,
                 fds or str(len(numbers)), names, self.binary] +
                self.arguments + ["-f", self.config_path],
                stdin=harness.subprocess.DEVNULL, stdout=log, stderr=log,
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

    @harness.needs_root
    def test_without_the_capability(self):
        """... also where the service manager has taken it away."""
        sock = listener(port=harness.free_port())
        server = self.prepared(sock)
        script = os.path.join(server.directory, "without")
        with open(script, "w") as f:
            f.write("#!/bin/sh\nexec setpriv --bounding-set "
                    "-net_bind_service --inh-caps -net_bind_service "
                    "%s \"$@\"\n" % harness.DAEMON)
        os.chmod(script, 0o755)
        server.binary = script
        server.start()
        self.addCleanup(self.finish, server)
        server.host, server.port = sock.getsockname()
        self.serves(server)

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

@harness.needs_root
@unittest.skipIf(harness.SANITIZED,
                 "a build with sanitizers is not installed")
class Manager(unittest.TestCase):
    """The installed units, under a systemd of the test's own."""

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

    def ask(self, *options, **how):
        """A session of the client's, with HELP."""
        text = self.machine.do("flexmusic", "--allow-weak", *options,
                               "127.0.0.1", "HELP", **how)
        self.assertTrue(text.startswith("200 "), text)

    def filters(self, process):
        """How many filters of system calls a process has."""
        return int(process.status["Seccomp_filters"])

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

        # With a session open, which outlives both reloads.
        with machine.subprocess.Popen(
                ["nsenter", "-t", str(m.pid), "-m", "-n", "-p", "flexmusic",
                 "--allow-weak", "127.0.0.1"],
                stdin=machine.subprocess.PIPE, text=True,
                stdout=machine.subprocess.PIPE) as session:
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
        with machine.subprocess.Popen(
                ["nsenter", "-t", str(m.pid), "-m", "-n", "-p", "flexmusic",
                 "--allow-weak", "127.0.0.1"],
                stdin=machine.subprocess.PIPE, text=True,
                stdout=machine.subprocess.PIPE,
                stderr=machine.subprocess.PIPE) as session:
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

    def test_pam(self):
        """auth_method = system, with pam.conf and without it."""
        m = self.machine
        if m.run("grep", "-q", "^listener:", "/etc/passwd").returncode != 0:
            m.do("useradd", "--no-create-home", "--uid", "2999", "listener")
        m.do("chpasswd", "-c", "SHA512", input="listener:tralala\n")
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
                         input="tralala\n")
                m.do("systemctl", "stop", "flexmusicd")


if __name__ == "__main__":
    runner.main()
