#!/usr/bin/python3
"""Start and reload: the command line, the configuration and its mistakes,
the daemon's parent, listeners, and what a reload changes and what it leaves.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402


class CommandLine(unittest.TestCase):
    """Options, without a server."""

    def test_version(self):
        done = harness.run_daemon("-V")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^flexmusicd \d+\.\d+\.\d+")

    def test_usage(self):
        for arguments in (("-x",), ("-f",), ("-d", "extra"), ("extra",),
                          ("--nope",)):
            with self.subTest(arguments=arguments):
                done = harness.run_daemon(*arguments)
                self.assertGreater(done.returncode, 0)
                self.assertIn("usage:", done.stderr.lower())
                self.assertIn("-f", done.stderr)
                self.assertEqual(done.stdout, "")

    def test_no_such_file(self):
        done = harness.run_daemon("-n", "-f", "/nonexistent/flexmusicd.conf")
        self.assertGreater(done.returncode, 0)
        self.assertIn("/nonexistent/flexmusicd.conf", done.stderr)

    def test_a_folder_for_a_file(self):
        done = harness.run_daemon("-n", "-f", "/tmp")
        self.assertGreater(done.returncode, 0)
        self.assertIn("/tmp", done.stderr)


# Each is a mistake: name, lines put in front of a good file, the number of
# the line that is told, and words that the message has to hold.
MISTAKES = [
    ("an unknown key", "colour = blue", 1, ("colour",)),
    ("an unknown key with a list", "colour = { blue, red }", 1, ("colour",)),
    ("a misspelt key", "# a comment\n\nprot = 8900", 3, ("prot",)),
    ("no value", "key_size =", None, ("key_size",)),
    ("no equals sign", "key_size 2048", 1, ()),
    ("a value alone", "2048", 1, ()),
    ("an open quote", "friendly_name = \"FlexMusic", None, ()),
    ("a size of 2047", "key_size = 2047", 1, ("key_size", "2047", "3072")),
    ("a size of 512", "key_size = 512", 1, ("key_size", "512")),
    ("a weak size", "\nkey_size = 1024", 2, ("key_size", "1024",
                                             "allow_weak_key_size")),
    ("a weak size, allowed with no",
     "key_size = 1024\nallow_weak_key_size = no", 1, ("key_size", "1024")),
    ("an octal number", "key_size = 04000", 1, ("key_size", "04000")),
    ("a hexadecimal number", "max_connections = 0x10", 1,
     ("max_connections", "0x10")),
    ("a negative number", "max_connections = -1", 1,
     ("max_connections", "-1")),
    ("a number with a unit", "handshake_client_timeout = 5s", 1,
     ("handshake_client_timeout", "5s")),
    ("a fraction", "handshake_client_timeout = 2.5", 1,
     ("handshake_client_timeout", "2.5")),
    ("a port of 0", "port = 0", 1, ("port", "0")),
    ("a port of 65536", "port = 65536", 1, ("port", "65536")),
    ("a port by name", "port = http", 1, ("port", "http")),
    ("a host by name", "host = localhost", 1, ("host", "localhost")),
    ("a host with a port", "host = \"127.0.0.1:8900\"", 1, ("host",)),
    ("a host of three numbers", "host = 127.0.1", 1, ("host", "127.0.1")),
    ("a bad host in a list", "host = {\n\"127.0.0.1\",\n\"nowhere\" }", None,
     ("host", "nowhere")),
    ("an auth_method that is none", "auth_method = password", 1,
     ("auth_method", "password", "must be auth, system or none")),
    ("a relative path for users", "auth_file = users", 1,
     ("auth_file", "users")),
    ("no attempt", "max_auth_attempts = 0", 1, ("max_auth_attempts", "0")),
    ("no time for the password", "auth_timeout = 0", 1,
     ("auth_timeout", "0")),
    ("a burst of none", "accept_burst = 0", 1, ("accept_burst", "0")),
    ("an IPv4 prefix too long", "source_prefix_ipv4 = 33", 1,
     ("source_prefix_ipv4", "33")),
    ("an IPv6 prefix too short", "source_prefix_ipv6 = 15", 1,
     ("source_prefix_ipv6", "15")),
    ("a penalty without end", "crash_cooldown = 86401", 1,
     ("crash_cooldown", "86401")),
    ("a network with bits behind its prefix",
     "penalty_exempt = { \"10.0.0.0/8\", \"192.0.2.1/24\" }", 1,
     ("penalty_exempt", "192.0.2.1/24")),
    ("a truth of FlexMusic that is none",
     "runtime_overload_mitigation = maybe", 1,
     ("runtime_overload_mitigation", "maybe")),
    ("a friendly name of others", "friendly_name = \"Music Server\"", 1,
     ("friendly_name", "Music Server", "FlexMusic")),
    ("a friendly name with a comma", "friendly_name = \"FlexMusic, mine\"",
     1, ("friendly_name", "FlexMusic, mine")),
    ("a friendly name too long",
     "friendly_name = \"FlexMusic %s\"" % (120 * "x"), 1, ("128",)),
    ("a friendly name with an escape", "friendly_name = \"FlexMusic \x1b[m\"",
     1, ()),
    ("a compatibility of two numbers", "compatibility = \"1.0\"", 1,
     ("compatibility", "1.0")),
    ("a compatibility too great", "compatibility = \"0.0.65536\"", 1,
     ("compatibility", "0.0.65536")),
    ("a truth that is none", "allow_weak_key_size = maybe", 1,
     ("allow_weak_key_size", "maybe")),
    ("a facility that is none", "syslog_facility = loud", 1,
     ("syslog_facility", "loud")),
    ("a relative path", "state_dir = state", 1, ("state_dir", "state")),
    ("a root directory for state", "state_dir = /", 1, ("state_dir",)),
    ("a socket path too long", "syslog_socket = /%s" % (120 * "s"), 1,
     ("syslog_socket",)),
    ("root for workers", "worker_user = root", 1, ("worker_user", "root")),
    ("number 0 for workers", "worker_user = 0", 1, ("worker_user", "0")),
    ("root's group for workers", "worker_user = \"64101:0\"", 1,
     ("worker_user",)),
    ("root for keys", "keys_user = root", 1, ("keys_user", "root")),
    ("root for auth", "auth_user = root", 1, ("auth_user", "root")),
    ("an expansion", "friendly_name = \"FlexMusic ${HOME}\"", 1,
     ("friendly_name",)),
    ("an include", "include(\"/etc/passwd\")", 1, ()),
    ("a section", "server {\nport = 1\n}", 1, ()),
    ("a NUL", "# \0", 1, ()),
]

MISTAKES_AS_ROOT = [
    ("one user for two roles", "worker_user = 64101\nkeys_user = 64101", 2,
     ("keys_user", "64101", "worker_user")),
    ("auth as a worker", "worker_user = 64101\nauth_user = 64101", 2,
     ("auth_user", "64101", "worker_user")),
    ("auth as a key holder", "keys_user = 64101\nauth_user = 64101", 2,
     ("auth_user", "64101", "keys_user")),
    ("a user that is not there", "worker_user = nobody_of_that_name", 1,
     ("worker_user", "nobody_of_that_name")),
]


class Configuration(unittest.TestCase):
    """-n, and what is wrong with a file."""

    def setUp(self):
        self.server = harness.Server(seeds={}, key_size=None,
                                     allow_weak_key_size=None,
                                     keep_parameters=None,
                                     auth_method=None,
                                     max_connections_per_source=None)
        self.addCleanup(self.server.remove)

    def check(self):
        """-n on the file as it is."""
        return harness.run_daemon("-n", "-f", self.server.config_path)

    def with_lines(self, lines):
        """A file with these lines first, and good ones for all keys that
        they do not set."""
        own = re.findall(r"(?m)^(\w+)\s*=", lines)
        rest = "".join("%s = %s\n" % (key, harness.config_value(value))
                       for key, value in self.server.keys.items()
                       if value is not None and key not in own)
        self.server.write_config(lines + "\n" + rest)

    def mistake(self, lines, number, words):
        self.with_lines(lines)
        done = self.check()
        self.assertGreater(done.returncode, 0, done.stdout)
        place = self.server.config_path + ":"
        told = [line for line in done.stderr.splitlines() if place in line]
        self.assertTrue(told, done.stderr)
        if number is not None:
            self.assertIn("%s%d:" % (place, number), done.stderr)
        for word in words:
            self.assertTrue([line for line in told if word in line],
                            "%s is not in: %s" % (word, done.stderr))
        self.assertNotIn("\x1b", done.stderr)

    def test_good(self):
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        values = dict(line.split(" = ", 1) for line in
                      done.stdout.splitlines() if " = " in line)
        self.assertEqual(values["port"], str(self.server.port))
        self.assertEqual(values["key_size"], "2048")
        self.assertEqual(values["keep_parameters"], "2")
        self.assertEqual(values["rotate_parameters"], "86400")
        self.assertEqual(values["handshake_client_timeout"], "5")
        self.assertEqual(values["session_idle_timeout"], "0")
        self.assertEqual(values["max_connections"], "256")
        self.assertEqual(values["friendly_name"], '"FlexMusic Server"')
        self.assertEqual(values["compatibility"], '"0.0.0"')
        self.assertEqual(values["auth_method"], "auth")
        self.assertEqual(values["auth_file"], '"/etc/flexmusic/users"')
        self.assertEqual(values["max_connections_per_source"], "16")
        self.assertEqual(values["accept_rate"], "0")
        self.assertEqual(values["handshake_failure_cooldown"], "300")
        self.assertEqual(values["penalty_exempt"],
                         '{ "127.0.0.0/8", "::1" }')

    def test_what_is_printed_is_a_configuration(self):
        self.server.write_config(
            friendly_name='FlexMusic "of mine" \\ here',
            host=["127.0.0.1", "127.0.0.2"], max_connections=17)
        text = "".join(
            "%s = %s\n" % (k, harness.config_value(v))
            for k, v in self.server.keys.items() if v is not None)
        text = text.replace('"FlexMusic "of mine" \\ here"',
                            '"FlexMusic \\"of mine\\" \\\\ here"')
        self.server.write_config(text)
        first = self.check()
        self.assertEqual(first.returncode, 0, first.stderr)
        printed = "".join(line + "\n" for line in first.stdout.splitlines()
                          if " = " in line)
        self.server.write_config(printed)
        second = self.check()
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertEqual(second.stdout, first.stdout)

    def test_repeated_key(self):
        lines = "max_connections = 5\nmax_connections = 6"
        self.mistake(lines, 2, ("max_connections",))

    def test_all_mistakes_are_told(self):
        self.with_lines("port = 0\nkey_size = 1\nhost = here")
        done = self.check()
        for number in (1, 2, 3):
            self.assertIn("%s:%d:" % (self.server.config_path, number),
                          done.stderr)

    def test_comments_and_forms(self):
        self.with_lines("# first\n// second\n/* third\n fourth */\n"
                        "max_connections=7 # behind\n"
                        "handshake_client_timeout = \"9\"\n"
                        "allow_weak_key_size = YES")
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("max_connections = 7\n", done.stdout)
        self.assertIn("handshake_client_timeout = 9\n", done.stdout)
        self.assertIn("allow_weak_key_size = yes\n", done.stdout)

    def test_server_conf(self):
        """A file of FlexMusic is read as it is; what has no meaning here is
        told."""
        foreign = ("youtube", "runtime_overload_mitigation")
        self.with_lines("host = 127.0.0.1\nport = %d\nyoutube = true\n"
                        "auth_method = none\nauth_min_password_length = 8\n"
                        "key_size = 2048\nhandshake_client_timeout = 3\n"
                        "max_connections = 10\n"
                        "handshake_failure_cooldown = 60\n"
                        "runtime_overload_mitigation = true" %
                        self.server.port)
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        for key in foreign:
            self.assertIn(key, done.stderr)
        self.assertIn("max_connections = 10\n", done.stdout)
        self.assertIn("handshake_failure_cooldown = 60\n", done.stdout)
        self.assertIn("accept_rate = 10\n", done.stdout)
        self.assertIn("accept_burst = 20\n", done.stdout)

    def test_nobody_is_authenticated(self):
        """A warning where others than this machine can reach it."""
        self.with_lines("auth_method = none\nhost = {\n127.0.0.1,\n"
                        "\"0.0.0.0\" }")
        done = self.check()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("%s:1: auth_method = none: nobody is authenticated on "
                      "0.0.0.0:%d" % (self.server.config_path,
                                      self.server.port), done.stderr)
        for lines in ("auth_method = none\nhost = 127.0.0.1",
                      "auth_method = auth\nhost = \"0.0.0.0\""):
            self.with_lines(lines)
            done = self.check()
            self.assertNotIn("nobody is authenticated", done.stderr)

    def test_server_conf_serves(self):
        self.server.keys.update(youtube="true", auth_method="none",
                                key_size=1024, allow_weak_key_size="yes",
                                handshake_failure_cooldown=60)
        self.server.write_config()
        harness.seed_state(self.server.state_dir, 1024)
        with self.server as server:
            with server.client() as client:
                client.handshake()
                client.quit()
            self.assertTrue([e for e in server.log.read()
                             if "youtube" in e.text])

    def test_the_file_is_not_changed(self):
        self.with_lines("max_connections = 7")
        with open(self.server.config_path) as f:
            before = f.read()
        self.check()
        with open(self.server.config_path) as f:
            self.assertEqual(f.read(), before)

    def test_check_leaves_a_running_server_alone(self):
        server = harness.Server()
        with server:
            done = harness.run_daemon("-n", "-f", server.config_path)
            self.assertEqual(done.returncode, 0, done.stderr)
            with server.client() as client:
                client.handshake()
                client.quit()

    @harness.needs_root
    def test_mistakes_that_root_is_told(self):
        for name, lines, number, words in MISTAKES_AS_ROOT:
            with self.subTest(row=name):
                self.mistake(lines, number, words)


def add_mistake(name, lines, number, words):
    """A test of a row of MISTAKES."""
    def test(self):
        self.mistake(lines, number, words)
    setattr(Configuration, "test_mistake_" + runner.row_name(name), test)


for mistake_row in MISTAKES:
    add_mistake(*mistake_row)


class Refusals(harness.OwnServerCase):
    """What a start stumbles over is told, and the status is not 0."""

    def refused(self, *words, prepare=None, arguments=("-d",), **keys):
        server = harness.Server(arguments=arguments, **keys)
        self.addCleanup(server.remove)
        if prepare is not None:
            prepare(server)
        server.spawn()
        self.addCleanup(server.kill)
        server.process.wait(harness.DEADLINE)
        self.assertGreater(server.process.returncode, 0, server.log.tail())
        for word in words:
            self.assertIn(word, server.log.text())
        return server

    def occupied(self):
        """A port that somebody else listens on."""
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        return holder.getsockname()[1]

    def test_port_in_use(self):
        port = self.occupied()
        for arguments in (("-d",), ()):
            with self.subTest(arguments=arguments):
                self.refused(str(port), "in use", port=port,
                             arguments=arguments)

    def test_address_that_is_not_ours(self):
        self.refused("192.0.2.1", host="192.0.2.1")

    def test_configuration_as_a_daemon(self):
        server = self.refused(
            ":1:", "key_size", arguments=(),
            prepare=lambda s: s.write_config("key_size = 7\n"))
        self.assertIn(server.config_path, server.log.text())

    def test_state_directory_open_to_others(self):
        def prepare(server):
            os.chmod(server.state_dir, 0o755)
        server = self.refused("state", prepare=prepare)
        self.assertIn(server.state_dir, server.log.text())

    def test_state_directory_a_link(self):
        def prepare(server):
            os.rename(server.state_dir, server.state_dir + ".real")
            os.symlink(server.state_dir + ".real", server.state_dir)
        server = self.refused(prepare=prepare)
        self.assertIn(server.state_dir, server.log.text())

    def test_state_directory_without_parent(self):
        self.refused("/nonexistent/state", state_dir="/nonexistent/state")

    def test_state_directory_is_made(self):
        server = harness.Server(seeds={})
        self.addCleanup(server.remove)
        os.rmdir(server.state_dir)
        server.start()
        self.addCleanup(self.finish, server)
        self.assertEqual(os.stat(server.state_dir).st_mode & 0o777, 0o700)
        self.serves(server)

    @harness.needs_root
    def test_state_directory_of_another(self):
        def prepare(server):
            os.chown(server.state_dir, harness.OTHER_USER,
                     harness.OTHER_USER)
        server = self.refused(prepare=prepare)
        self.assertIn(server.state_dir, server.log.text())

    @harness.needs_root
    def test_chroot_directory_of_another(self):
        def prepare(server):
            os.chown(server.chroot_dir, harness.OTHER_USER,
                     harness.OTHER_USER)
        server = self.refused(prepare=prepare)
        self.assertIn(server.chroot_dir, server.log.text())

    @harness.needs_root
    def test_chroot_directory_that_others_write(self):
        def prepare(server):
            os.chmod(server.chroot_dir, 0o777)
        server = self.refused(prepare=prepare)
        self.assertIn(server.chroot_dir, server.log.text())

    @harness.needs_root
    def test_chroot_directory_not_empty(self):
        def prepare(server):
            with open(os.path.join(server.chroot_dir, "file"), "w"):
                pass
        server = self.refused(prepare=prepare)
        self.assertIn(server.chroot_dir, server.log.text())

    def test_more_connections_than_descriptors(self):
        """The figure that would be needed is told."""
        server = harness.Server(max_connections=100000)
        self.addCleanup(server.remove)
        done = subprocess.run(
            ["prlimit", "--nofile=256:256", harness.DAEMON, "-d", "-f",
             server.config_path], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=harness.DEADLINE, preexec_fn=harness.become(None),
            check=False)
        self.assertGreater(done.returncode, 0)
        self.assertIn("max_connections", done.stdout)
        told = [int(n) for n in re.findall(r"\d+", done.stdout)]
        self.assertTrue([n for n in told if 100000 < n < 1000000],
                        done.stdout)


class Daemon(harness.OwnServerCase):
    """Without -d and -F."""

    def start_daemon(self, **keys):
        """Runs the parent to its end; returns the server, its master known
        by the file."""
        server = harness.Server(arguments=(), **keys)
        self.addCleanup(server.remove)
        pid_file = os.path.join(server.directory, "pid")
        server.write_config(pid_file=pid_file,
                            syslog_socket=os.path.join(server.directory,
                                                       "nobody"))
        done = subprocess.run(
            [harness.DAEMON, "-f", server.config_path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=harness.DEADLINE,
            preexec_fn=os.setsid, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(pid_file) as f:
            pid = f.read()
        self.assertRegex(pid, r"^\d+\n$")
        server.pid = int(pid)
        self.addCleanup(self.end, server)
        return server, pid_file

    def end(self, server):
        """Ends a daemon, which is no child of ours."""
        harness.kill(server.pid, signal.SIGTERM)
        harness.wait_for("the daemon's end",
                         lambda: harness.look_at(server.pid) is None or
                         harness.look_at(server.pid).state == "Z")

    def test_parent_returns_when_it_listens(self):
        server, _ = self.start_daemon()
        self.serves(server)
        master = harness.Process(server.pid)
        self.assertEqual(master.role, "master")
        fds = harness.descriptors(server.pid)
        if fds is not None:
            for number in (0, 1, 2):
                self.assertEqual(fds[number], "/dev/null")
        family = [p for p in server.processes() if p.pid != server.pid]
        self.assertEqual(os.getsid(server.pid) == os.getsid(0), False)
        self.end(server)
        self.assertEqual(harness.left_behind(family), [])

    def test_pid_file(self):
        server, pid_file = self.start_daemon()
        self.assertEqual(os.stat(pid_file).st_mode & 0o133, 0)
        self.end(server)
        self.assertFalse(os.path.exists(pid_file))

    def test_parent_returns_with_parameters_to_make(self):
        """The first set has to be made before anything is served; when the
        parent returns, clients are served."""
        server, _ = self.start_daemon(seeds={})
        self.serves(server)

    def test_stdout_is_let_go(self):
        """A pipe that the parent inherited is not held open."""
        server = harness.Server(arguments=())
        self.addCleanup(server.remove)
        pid_file = os.path.join(server.directory, "pid")
        server.write_config(pid_file=pid_file)
        done = subprocess.Popen(
            [harness.DAEMON, "-f", server.config_path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        output, _ = done.communicate(timeout=harness.DEADLINE)
        self.assertEqual(done.returncode, 0, output)
        with open(pid_file) as f:
            server.pid = int(f.read())
        self.addCleanup(self.end, server)
        self.serves(server)


class Nice(harness.OwnServerCase):
    """nice(1), or a unit's Nice=."""

    @harness.needs_root
    def test_helpers_are_as_nice_as_the_server(self):
        """It has no capability to make them less so."""
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, before + 5)
        try:
            server = self.start()
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        self.serves(server)
        for p in server.processes():
            with self.subTest(process=p):
                self.assertEqual(os.getpriority(os.PRIO_PROCESS, p.pid),
                                 before + 5)


class Reload(harness.OwnServerCase):
    """SIGHUP and the configuration."""

    def start_one(self, **keys):
        return self.start(seeds={1024: 6}, **keys)

    def reload(self, server, event="reload"):
        """SIGHUP, until the log has it; returns the event and a mark."""
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        return server.log.wait(event, mark), mark

    def banner(self, server):
        """Packet 1 of a new connection."""
        with server.client() as client:
            return client.read_banner()

    def test_friendly_name(self):
        server = self.start_one()
        old = server.client().handshake()
        server.write_config(friendly_name="FlexMusic Reloaded",
                            compatibility="0.3.0")
        self.reload(server)
        self.assertEqual(self.banner(server), b"FlexMusic Reloaded,0.3.0")
        self.serves(server)
        self.assertTrue(old.command("HELP").startswith(b"200 "))
        old.quit()

    def test_handshake_under_way_keeps_its_banner(self):
        server = self.start_one()
        held = server.client().until("chal")
        server.write_config(friendly_name="FlexMusic Reloaded")
        self.reload(server)
        held.resume("chal")
        held.quit()

    def test_bad_configuration(self):
        """The old one stays, and the parameters are rotated all the
        same."""
        server = self.start_one()
        with open(server.config_path) as f:
            good = f.read()
        server.write_config("max_connections = 5\n" + good +
                            "\ncolour = blue\n")
        _, mark = self.reload(server, "reload-failed")
        server.log.wait("generation-installed", mark)
        line = good.count("\n") + 3
        self.assertIn("%s:%d:" % (server.config_path, line),
                      "\n".join(e.text for e in server.log.read()[mark:]))
        self.assertIn("colour", "\n".join(e.text for e in
                                          server.log.read()[mark:]))
        clients = [server.client().handshake() for _ in range(6)]
        for client in clients:
            client.quit()
        server.write_config(good)
        self.reload(server)
        self.serves(server)

    def test_configuration_gone(self):
        server = self.start_one()
        os.rename(server.config_path, server.config_path + ".away")
        _, mark = self.reload(server, "reload-failed")
        server.log.wait("generation-installed", mark)
        self.serves(server)
        os.rename(server.config_path + ".away", server.config_path)
        self.reload(server)
        self.serves(server)

    def test_restart_keys(self):
        """They keep their value, and the log says so."""
        server = self.start_one()
        other = os.path.join(server.directory, "other")
        for key, value in (("state_dir", other), ("chroot_dir", other),
                           ("keys_processes", 7), ("auth_processes", 7),
                           ("auth_user", harness.OTHER_USER),
                           ("source_prefix_ipv4", 24),
                           ("syslog_socket", other)):
            with self.subTest(key=key):
                old = server.keys.get(key)
                server.write_config(**{key: value})
                mark = server.log.mark()
                self.reload(server)
                self.assertTrue([e for e in server.log.read()[mark:]
                                 if key in e.text and "restart" in e.text])
                self.serves(server)
                server.write_config(**{key: old})
        self.assertFalse(os.path.exists(other))

    def test_port(self):
        server = self.start_one()
        old_port = server.port
        old = server.client().handshake()
        held = server.client().until("kex")
        server.port = harness.free_port()
        server.write_config(port=server.port)
        self.reload(server)
        self.serves(server)
        self.assertFalse(harness.listening(old_port))
        with self.assertRaises(ConnectionRefusedError):
            fmltp.Client((server.host, old_port))
        held.resume("kex")
        held.quit()
        self.assertTrue(old.command("HELP").startswith(b"200 "))
        old.quit()

    def test_another_address(self):
        """A listener comes, one stays open, one goes."""
        server = self.start_one()
        server.write_config(host=["127.0.0.1", "127.0.0.2"])
        self.reload(server)
        for host in ("127.0.0.1", "127.0.0.2"):
            with fmltp.Client((host, server.port)) as client:
                client.handshake()
                client.quit()
        server.write_config(host="127.0.0.2")
        self.reload(server)
        with self.assertRaises(ConnectionRefusedError):
            fmltp.Client(("127.0.0.1", server.port))
        with fmltp.Client(("127.0.0.2", server.port)) as client:
            client.handshake()
            client.quit()

    def test_listener_that_cannot_be(self):
        """All or nothing: what is bad keeps what is good from being
        half applied."""
        server = self.start_one()
        server.write_config(host=["127.0.0.1", "192.0.2.1"],
                            friendly_name="FlexMusic Half")
        self.reload(server, "reload-failed")
        self.assertEqual(self.banner(server), b"FlexMusic Server,0.0.0")
        self.serves(server)

    def test_no_connection_is_refused_meanwhile(self):
        """An unchanged socket stays open."""
        server = self.start_one()
        server.signal(signal.SIGHUP)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            self.serves(server)
        server.log.wait("reload")

    def test_key_size(self):
        server = self.start_one()
        harness.seed_state(server.state_dir, 2048)
        server.write_config(key_size=2048)
        _, mark = self.reload(server)
        event = server.log.wait("generation-installed", mark)
        self.assertEqual(event["bits"], "2048")
        with server.client() as client:
            client.handshake()
            self.assertEqual(client.private.key_size, 2048)
            client.quit()

    def test_max_connections(self):
        server = self.start_one()
        held = [server.client().handshake() for _ in range(4)]
        server.write_config(max_connections=4)
        self.reload(server)
        with server.client() as client:
            self.assertEqual(client.rest(), b"FlexMusic Server,0.0.0\r\n")
        for client in held:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()

    def test_time_limits(self):
        server = self.start_one(handshake_client_timeout=300)
        server.write_config(handshake_client_timeout=1)
        self.reload(server)
        with server.client() as client:
            client.read_banner()
            self.assertEqual(client.rest(), b"")
        self.assertEqual(server.failure(client.peer)["reason"], "timeout")


class Unprivileged(harness.OwnServerCase):
    """Started by an ordinary user, the server says what is missing."""

    def test_serves_and_says_so(self):
        user = harness.OTHER_USER if harness.ROOT else None
        if user is not None and not self.reachable():
            self.skipTest("the build folder is closed to other users")
        server = self.start(user=user, worker_user="_flexmusic",
                            keys_user="_flexkeys", auth_user="_flexauth")
        self.serves(server)
        text = server.log.text()
        self.assertIn("root", text)
        said = [e for e in server.log.read()
                if e.name in ("start", "sandbox", "sandbox-missing",
                              "unprivileged")]
        self.assertTrue(said)
        for p in server.processes():
            if p.role in ("zygote", "keys", "worker"):
                self.assertEqual(p.status["Seccomp"], "2", p)
                self.assertEqual(p.status["NoNewPrivs"], "1", p)
        server.signal(signal.SIGHUP)
        server.log.wait("generation-installed", count=2)
        self.serves(server)

    def reachable(self):
        """True if another user can run the program."""
        return subprocess.run(
            [harness.DAEMON, "-V"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False,
            cwd=tempfile.gettempdir(),
            preexec_fn=harness.become(harness.OTHER_USER)).returncode == 0


if __name__ == "__main__":
    runner.main()
