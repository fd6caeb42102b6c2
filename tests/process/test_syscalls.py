#!/usr/bin/python3
"""System calls that running servers make in their sandboxes, seen by strace
from each process's first instruction to its last: none that the table
(privsep/sandbox_table.c) lacks, and each row that it says is used.

The rows of what the environment may bring about are made under the roles' real
filters in tests/unit/test_sandbox.c, but for those of PAM's modules: here
Debian's are seen with what they call.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import facts  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402
import test_auth  # noqa: E402
import test_control  # noqa: E402
import test_pam  # noqa: E402

CALL = re.compile(r"(\w+)\(([^<]*?)(?:\) += |<unfinished|<\.\.\.)")
RESULT = re.compile(r"\) += (0x[0-9a-f]+|\d+)$")
VARIABLES = re.compile(r"/\* (\d+) vars? \*/")
STRACE = ["strace", "-DD", "-q", "-f", "-ff", "-e", "raw=!execve,execveat"]
# What Debian's modules call that fails, to no harm: libcap-ng looks for the
# last capability (PR_CAPBSET_READ), libselinux for its file system, and
# pam_faillock would give a record to its user.
REFUSED = {("prctl", 23), ("statfs",), ("fchown",), ("fchmod",)}


def why_not():
    """Why no server can be traced here, or None."""
    if harness.SANITIZED:
        return "sanitizers make calls of their own"
    if not harness.ROOT:
        return "needs root to trace processes that are not dumpable"
    if shutil.which("strace") is None:
        return "strace is not installed"
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        return "processes can't be traced here"
    return None


class Trace:
    """What one process did, from its first instruction to its last."""

    def __init__(self, path):
        self.role = None  # as it was executed
        self.variables = 0  # of its environment
        self.children = []
        self.calls = []  # (filters so far, name, arguments)
        self.filters = 0  # those that it loaded itself
        with open(path, errors="replace") as f:
            for line in f:
                self.take(line.rstrip("\n"))

    def take(self, line):
        """A line of strace's."""
        m = CALL.match(line)
        if m is None:
            return
        name, text = m.groups()
        if name in ("execve", "execveat"):
            words = re.search(r'\["flexmusicd", "(\w+)"', line)
            if words and not self.filters:
                self.role = words.group(1)
                self.variables = int(VARIABLES.search(line).group(1))
            text = ""  # words, and no row has them
        try:
            arguments = [int(word, 0) for word in text.split(", ")
                         if word.strip()]
        except ValueError as e:
            raise AssertionError("not understood: " + line) from e
        self.calls.append((self.filters, name, arguments))
        result = RESULT.search(line)
        if result is None:
            return
        if name == "seccomp" and int(result.group(1), 0) == 0:
            self.filters += 1
        if name in ("clone", "clone3", "fork", "vfork"):
            self.children.append(int(result.group(1), 0))


class TracedServer(harness.Server):
    """A server under strace from its start."""

    def __init__(self, **keys):
        super().__init__(**keys)
        self.traces = os.path.join(self.directory, "traces")
        os.mkdir(self.traces)
        self.tracer = 0

    def spawn(self):
        command = STRACE + ["-o", os.path.join(self.traces, "t"), self.binary]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command + self.arguments + ["-f", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=harness.become(None))
        self.pid = self.process.pid

        def traced():
            self.tracer = int(harness.Process(self.pid).status["TracerPid"])
            return self.tracer
        harness.wait_for("the tracer", traced)

    def stop(self):
        super().stop()
        harness.wait_for("the tracer's end",
                         lambda: harness.look_at(self.tracer) is None or
                         harness.look_at(self.tracer).state == "Z")

    def read(self, forks):
        """Role to traces of its processes; `forks' says which role's children
        are of which.  A process of a self-test is of the role "test NAME"."""
        all_of_them = {int(name.split(".")[1]): Trace(
            os.path.join(self.traces, name))
            for name in os.listdir(self.traces)}
        started = {int(e["pid"]) for e in self.log.find("helper-started")}
        roles = {}
        for pid, trace in all_of_them.items():
            if trace.role is None:
                continue
            test = "" if pid in started else "test "
            roles.setdefault(test + trace.role, []).append(trace)
            child = forks.get(trace.role)
            for other in trace.children:
                roles.setdefault(test + child, []).append(all_of_them[other])
        return roles


class Case(unittest.TestCase):
    """Judges what was seen."""

    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)
        super().setUpClass()
        cls.roles = facts.load()["roles"]

    def role_then(self, name, trace, filters):
        """Whose rows hold for a process that has loaded so many filters
        itself, None before the first: a child has its parent's before."""
        if filters or trace.role:  # executed
            return name if filters else None
        return [role for role, facts_of in self.roles.items()
                if facts_of["forks"] == name][0]

    def rows(self, role):
        """Rows of its filter."""
        forks = self.roles[role]["forks"]
        return self.roles[role]["rows"] + (
            self.roles[forks]["rows"] if forks else [])

    def forks(self):
        """Role to the role of its children."""
        return {role: facts_of["forks"]
                for role, facts_of in self.roles.items()}

    def judge(self, seen, roles):
        """All calls are allowed, and all rows of these roles that are marked
        so are used, by servers and not by self-tests.  Returns the calls that
        no row allows, where that is no death: with their option
        where it is prctl(2)."""
        made = {role: set() for role in self.roles}
        outside = set()
        for name, traces in seen.items():
            for trace in traces:
                # /proc can't tell: a title takes the environment's place.
                self.assertEqual(trace.variables, 0, name)
                for filters, call, arguments in trace.calls:
                    role = self.role_then(name.split()[-1], trace, filters)
                    if role is None:
                        continue
                    allowing = facts.allowing(self.rows(role), call, arguments)
                    if not allowing:
                        outside.add((role, call, *(
                            arguments[:1] if call == "prctl" else ())))
                    if not name.startswith("test "):
                        made[role].update(id(row) for row in allowing)
        for role in roles:
            # What its parent does, too, is in an attempt's rows alone.
            users = made[role] | (made["pam"] if role == "attempt" else set())
            missing = [row["call"] for row in self.roles[role]["rows"]
                       if row["use"] == "used" and id(row) not in users]
            with self.subTest(role=role):
                self.assertEqual(missing, [], "marked used, and not made")
        return outside


class Sessions(Case, harness.OwnServerCase):
    """Everything that connections, signals and flexmusicctl bring about."""

    def story(self, server, users):
        """Whatever happens in the life of a server."""
        with server.client() as client:
            client.handshake()
            self.assertTrue(client.command("IDENT").startswith(b"200 "))
            client.command("HELP")
            self.assertEqual(client.auth("alice", "wrong"), test_auth.REFUSED)
            self.assertEqual(client.auth("alice", users["alice"]),
                             test_auth.GRANTED)
            client.command("HELP HELP")
            client.quit()
        for stage in ("vex", "kex", "chal", "session"):
            client = server.client().until(stage)
            client.reset()
            server.failure(client.peer)
        for stage in ("kex", "session"):
            client = server.client().until(stage)
            client.close()
            server.failure(client.peer)
        late = server.client().until("kex")
        self.addCleanup(late.close)
        self.assertEqual(server.failure(late.peer)["reason"], "timeout")
        with server.client() as client:
            client.handshake()
            client.send(b"no token\r\n")
            client.rest()
        held = server.client()
        self.addCleanup(held.close)
        held.handshake()
        # A set that was searched is taken by SIGHUP; users are read again.
        server.log.wait("set-stored")
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        server.log.wait("generation-installed", mark)
        self.assertEqual(held.auth("Bob", users["Bob"]), test_auth.GRANTED)
        with server.client() as client:
            client.handshake()
            client.quit()
        for words in (("status",), ("sessions",), ("identity",), ("rotate",),
                      ("reload",)):
            done = test_control.ctl(*words, path=server.control_path)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = test_control.ctl("kill", server.log.find(
            "session-begin", peer=held.peer)[0]["session"],
            path=server.control_path)
        self.assertEqual(done.returncode, 0, done.stderr)
        server.failure(held.peer)

    def test_calls(self):
        test_auth.Users.make()
        self.addCleanup(shutil.rmtree, test_auth.Users.directory)
        server = TracedServer(seeds={1024: 1}, keep_parameters=1,
                              auth_method="auth",
                              auth_file=test_auth.Users.path,
                              identity_file=os.path.join(
                                  test_auth.Users.directory, "key.pem"),
                              handshake_client_timeout=1)
        self.servers = [server]
        self.addCleanup(server.remove)
        self.addCleanup(server.kill)
        server.start()
        self.story(server, test_auth.USERS)
        server.stop()
        outside = self.judge(server.read(self.forks()), (
            "zygote", "worker", "keys", "paramgen", "auth"))
        self.assertEqual(outside, set())
        self.assertEqual(server.log.find("worker-died"), [])
        self.assertEqual(server.log.find("helper-died"), [])


class Modules(Case, test_pam.Case):
    """Modules of Debian's, as an administrator stacks them."""

    AUTH = """\
auth	requisite	pam_nologin.so
auth	required	pam_faillock.so preauth
auth	[success=1 default=ignore]	pam_unix.so
auth	[default=die]	pam_faillock.so authfail
auth	sufficient	pam_faillock.so authsucc
auth	required	pam_permit.so
"""
    ACCOUNT = """\
account	required	pam_nologin.so
account	required	pam_access.so accessfile=%s nodefgroup
account	required	pam_faillock.so
""" + test_pam.COMMON_ACCOUNT

    def test_calls(self):
        self.write("access.conf", "+:alice slow:ALL\n-:ALL:ALL\n")
        self.service_is(self.AUTH, self.ACCOUNT %
                        os.path.join(self.etc, "access.conf"))
        # Records and nologin(5) lie there: not this machine's.
        if harness.LIBC.mount(b"none", b"/run", b"tmpfs", 0, None) != 0:
            raise AssertionError("mount of /run")
        self.addCleanup(harness.LIBC.umount2, b"/run", 2)
        os.mkdir("/run/faillock", 0o755)
        server = TracedServer(auth_method="system", auth_timeout=2,
                              penalty_exempt=["127.0.0.0/8"])
        self.servers = [server]
        self.addCleanup(server.remove)
        self.addCleanup(server.kill)
        server.start()
        for user, password in (("alice", "wrong"),
                               ("alice", test_pam.PASSWORD),
                               ("locked", test_pam.PASSWORD),
                               ("odd.name", test_pam.ODD),
                               ("nobody-of-this-name", "x")):
            wanted = test_pam.GRANTED if (user, password) == (
                "alice", test_pam.PASSWORD) else test_pam.REFUSED
            self.assertEqual(self.attempt(server, user, password), wanted,
                             user)
        # A child whose time is up is killed.
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        client.send_command("AUTH slow " + test_pam.PASSWORD)

        def stop_child():
            return [p for p in server.role("pam") if p.parent != server.pid
                    and harness.kill(p.pid, signal.SIGSTOP)]
        harness.wait_for("a child", stop_child, pause=0.0005)
        self.assertEqual(client.read_answer(), test_pam.REFUSED)
        client.close()
        # The modules did what they are for.
        self.assertEqual(os.path.getsize("/run/faillock/alice"), 0)
        self.assertGreater(os.path.getsize("/run/faillock/locked"), 0)
        with open("/run/nologin", "w") as f:
            f.write("not now\n")
        self.assertEqual(self.attempt(server, "alice", test_pam.PASSWORD),
                         test_pam.REFUSED)
        os.unlink("/run/nologin")
        for _ in range(3):
            self.attempt(server, "alice", "wrong")
        self.assertEqual(self.attempt(server, "alice", test_pam.PASSWORD),
                         test_pam.REFUSED)
        server.stop()
        outside = self.judge(server.read(self.forks()), ("pam", "attempt"))
        self.assertLessEqual({call[1:] for call in outside}, REFUSED)


if __name__ == "__main__":
    runner.main()
