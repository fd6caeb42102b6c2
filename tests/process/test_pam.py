#!/usr/bin/python3
"""auth_method = system: PAM for real, with accounts that the tests make.

The suite has a mount namespace of its own, in which /etc/passwd, /etc/shadow
and /etc/pam.d are the tests': modules are Debian's (pam_unix, pam_faildelay,
pam_permit and others).
"""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import memory  # noqa: E402
import memory  # noqa: E402
import runner  # noqa: E402

GRANTED = b"150 Authentication successful.\r\n"
REFUSED = b"151 Authentication failed.\r\n"
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
CAP_AUDIT_WRITE = 29

SERVICE = os.path.join(harness.TOP, "etc/pam.d/flexmusic")
# As Debian's pam-auth-update writes them.
COMMON_AUTH = """\
auth	[success=1 default=ignore]	pam_unix.so nullok
auth	requisite			pam_deny.so
auth	required			pam_permit.so
"""
COMMON_ACCOUNT = """\
account	[success=1 new_authtok_reqd=done default=ignore]	pam_unix.so
account	requisite			pam_deny.so
account	required			pam_permit.so
"""
PASSWORD = "correct horse battery"
ODD = "pa\u00df \u4e2d\u6587 w\u00f6rd "  # blanks, UTF-8
TODAY = int(time.time() // 86400)

# name: uid, password (None: no hash), a mark before the hash, days of the
# last change, day of expiry
ACCOUNTS = {
    "alice": (64501, PASSWORD, "", TODAY, ""),
    "odd.name": (64502, ODD, "", TODAY, ""),
    "locked": (64503, PASSWORD, "!", TODAY, ""),
    "expired": (64504, PASSWORD, "", TODAY, "1"),
    "renew": (64505, PASSWORD, "", 0, ""),
    "nohash": (64506, None, "", TODAY, ""),
    "slow": (64507, PASSWORD, "", TODAY, ""),
    "daemon64": (999, PASSWORD, "", TODAY, ""),
}


SLOW_ROUNDS = 300000  # a tenth of a second and more


def hashed(password, rounds=5000):
    """As crypt(3) has it with SHA-512."""
    return subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "rounds=%d$saltsalt" % rounds,
         "-stdin"], input=password + "\n", stdout=subprocess.PIPE, text=True,
        check=True).stdout.strip()


@unittest.skipUnless(harness.ROOT, "needs root")
class Case(harness.OwnServerCase):
    """An /etc of the tests' own."""

    @classmethod
    def setUpClass(cls):
        cls.etc = tempfile.mkdtemp(prefix="flexmusic-test-")
        cls.addClassCleanup(shutil.rmtree, cls.etc)
        os.chmod(cls.etc, 0o755)
        with open("/etc/passwd") as f:
            passwd = f.read()
        shadow = ["root:%s:%d:0:99999:7:::\n" % (hashed(PASSWORD), TODAY)]
        for name, (uid, password, mark, changed, expiry) in ACCOUNTS.items():
            passwd += "%s:x:%d:%d::/nonexistent:/bin/sh\n" % (name, uid, uid)
            shadow.append("%s:%s%s:%d:0:99999:7::%s:\n" % (
                name, mark, hashed(password, SLOW_ROUNDS if name == "slow"
                                   else 5000) if password else "",
                changed, expiry))
        cls.write("passwd", passwd)
        cls.write("shadow", "".join(shadow), 0o640)
        os.mkdir(os.path.join(cls.etc, "pam.d"))
        with open(SERVICE) as f:
            cls.service = f.read()
        cls.write("pam.d/flexmusic", cls.service)
        cls.write("pam.d/common-auth", COMMON_AUTH)
        cls.write("pam.d/common-account", COMMON_ACCOUNT)
        cls.write("pam.d/other", COMMON_AUTH + COMMON_ACCOUNT)
        if harness.LIBC.unshare(CLONE_NEWNS) != 0 or \
                harness.LIBC.mount(b"none", b"/", None,
                                   MS_REC | MS_PRIVATE, None) != 0:
            raise unittest.SkipTest("no mount namespaces here")
        for name in ("passwd", "shadow", "pam.d"):
            if harness.LIBC.mount(
                    os.path.join(cls.etc, name).encode(),
                    ("/etc/" + name).encode(), None, MS_BIND, None) != 0:
                raise AssertionError("mount of /etc/" + name)
            cls.addClassCleanup(harness.LIBC.umount2,
                                ("/etc/" + name).encode(), 2)

    @classmethod
    def write(cls, name, text, mode=0o644):
        """A file of that /etc."""
        path = os.path.join(cls.etc, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def service_is(self, auth, account=None):
        """Another service file for this test."""
        self.addCleanup(self.write, "pam.d/flexmusic", self.service)
        self.write("pam.d/flexmusic", auth + (account or COMMON_ACCOUNT))

    def start(self, **keys):
        return super().start(**{"auth_method": "system",
                                "penalty_exempt": ["127.0.0.0/8"], **keys})

    def attempt(self, server, user, password):
        """One AUTH of a client: the answer."""
        with server.client() as client:
            client.handshake()
            return client.auth(user, password)

    def reason(self, server, user):
        """How the log has the latest attempt of a user."""
        return server.log.wait("auth-failed", user=user)["reason"]


class Accounts(Case):
    """Who gets in, and who does not."""

    def test_accounts(self):
        server = self.start()
        self.assertEqual(server.log.find("start")[0]["auth_method"],
                         "system")
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)
        self.assertEqual(server.log.wait("authenticated")["user"],
                         "alice")
        self.assertEqual(self.attempt(server, "odd.name", ODD), GRANTED)
        rows = [
            ("alice", PASSWORD + " "), ("alice", PASSWORD[:-1]),
            ("alice", "correct\0horse"), ("nobody-of-this-name", PASSWORD),
            ("locked", PASSWORD), ("expired", PASSWORD),
            ("renew", PASSWORD), ("nohash", PASSWORD), ("nohash", "x"),
            ("root", PASSWORD), ("daemon64", PASSWORD), ("alice\0", PASSWORD),
            ("-alice", PASSWORD), ("../alice", PASSWORD), ("?", PASSWORD),
            ("a" * 33, PASSWORD), ("alice", "x" * 512)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(
                lambda row: self.attempt_raw(server, *row), rows))
        for row, answer in zip(rows, answers):
            with self.subTest(row=row):
                # What is not printable is no command.
                self.assertIn(answer, (REFUSED, b"400 Invalid command or "
                                       b"operative.\r\n"))
                if "\0" not in row[0] + row[1]:
                    self.assertEqual(answer, REFUSED)
        for event in server.log.find("auth-failed"):
            self.assertEqual(event["reason"], "refused", event.text)

    def attempt_raw(self, server, user, password):
        """One AUTH as it is written."""
        with server.client() as client:
            client.handshake()
            return client.command("AUTH %s %s" % (user, password))

    def test_three_failures(self):
        server = self.start()
        with server.client() as client:
            client.handshake()
            began = time.monotonic()
            for i in range(3):
                self.assertEqual(client.auth("alice", "wrong"), REFUSED)
            # 1 s, 2 s, 3 s: ours, and none of PAM's 2 s besides.
            self.assertGreaterEqual(time.monotonic() - began, 6)
            self.assertEqual(client.rest(), b"")
        self.assertEqual(
            [e["reason"] for e in server.log.find("auth-failed")],
            ["refused", "refused", "refused-last"])
        self.assertEqual(server.failure(client.peer)["reason"], "auth-failed")

    def test_address_is_told(self):
        """pam_access decides by the client's address."""
        self.write("access.conf", "+:alice:127.0.0.2\n-:ALL:ALL\n")
        self.service_is(COMMON_AUTH,
                        "account required pam_access.so accessfile=%s "
                        "nodefgroup\n" % os.path.join(self.etc,
                                                      "access.conf") +
                        COMMON_ACCOUNT)
        server = self.start()
        for source, answer in (("127.0.0.1", REFUSED),
                               ("127.0.0.2", GRANTED)):
            with server.client(source=source) as client:
                client.handshake()
                self.assertEqual(client.auth("alice", PASSWORD), answer)


class Modules(Case):
    """Services that are wrong, slow or dead."""

    def refused_start(self):
        """A start that fails: what it says."""
        server = harness.Server(auth_method="system")
        self.addCleanup(server.remove)
        done = harness.run_daemon("-d", "-f", server.config_path)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_start_without_a_service(self):
        """Not the service that PAM has for all others."""
        os.rename(self.etc + "/pam.d/flexmusic", self.etc + "/pam.d/saved")
        self.addCleanup(os.rename, self.etc + "/pam.d/saved",
                        self.etc + "/pam.d/flexmusic")
        self.assertIn("/etc/pam.d/flexmusic: No such file",
                      self.refused_start())

    def test_start_with_a_module_that_is_not_there(self):
        self.service_is("auth required pam_of_no_system.so\n")
        self.assertIn("self-test of pam failed", self.refused_start())

    def test_module_that_goes(self):
        """Nobody gets in, nobody is blamed, and the administrator sees it."""
        server = self.start(penalty_exempt=[])
        self.service_is("auth required pam_of_no_system.so\n")
        for _ in range(4):
            with server.client() as client:
                client.handshake()
                self.assertEqual(client.auth("alice", PASSWORD), REFUSED)
                self.assertEqual(client.rest(), b"")
            self.assertEqual(server.failure(client.peer)["reason"], "busy")
        events = server.log.find("auth-failed")
        self.assertEqual({e["reason"] for e in events}, {"error"})
        self.assertIn(" error: ", events[0].text)
        self.assertEqual(server.log.find("penalty"), [])
        self.write("pam.d/flexmusic", self.service)
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)

    def test_slow_failures_hold_up_nobody(self):
        """Ten wrong passwords at once, slow to check, and then a right one:
        it does not wait for them."""
        server = self.start(max_auth_attempts=1)
        clients = []
        for _ in range(11):
            client = server.client()
            self.addCleanup(client.close)
            client.handshake()
            clients.append(client)
        for client in clients[:10]:
            client.send_command("AUTH slow wrong")
        self.assertEqual(clients[10].auth("alice", PASSWORD), GRANTED)
        self.assertEqual([client.read_answer() for client in clients[:10]],
                         10 * [REFUSED])
        # An answer may be there before its line.
        server.log.wait("auth-failed", count=10)
        names = [e.name for e in server.log.read()
                 if e.name in ("authenticated", "auth-failed")]
        self.assertEqual(len(names), 11)
        self.assertLess(names.index("authenticated"), 5)

    def test_delay_of_pam_is_ours(self):
        """pam_faildelay's 4 s hold no answer and no slot."""
        self.service_is("auth optional pam_faildelay.so delay=4000000\n" +
                        COMMON_AUTH)
        server = self.start()
        began = time.monotonic()
        self.assertEqual(self.attempt(server, "alice", "wrong"), REFUSED)
        self.assertLess(time.monotonic() - began, 3.5)

    def hanging(self, server):
        """A pam that stands, and a client whose attempt it has."""
        pam = server.one("pam")
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        os.kill(pam.pid, signal.SIGSTOP)
        client.send_command("AUTH alice " + PASSWORD)
        time.sleep(0.2)
        return pam, client

    def test_time_limit(self):
        """The phase's end is the end of an attempt, too."""
        server = self.start(auth_timeout=2)
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        stopped = []

        def stop_child():
            for p in server.role("pam"):
                if p.parent != server.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(p.pid, signal.SIGSTOP)
                        stopped.append(p.pid)
            return stopped
        client.send_command("AUTH slow " + PASSWORD)
        harness.wait_for("a child", stop_child, pause=0.0005)
        self.assertEqual(client.read_answer(), REFUSED)
        self.assertEqual(client.rest(), b"")
        self.assertEqual(server.log.wait("auth-failed")["reason"], "busy")
        harness.wait_for("no child", lambda: len(server.role("pam")) == 1)
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)

    def test_helper_dies(self):
        """Attempts under way are busy; a new one serves on."""
        server = self.start()
        pam, client = self.hanging(server)
        os.kill(pam.pid, signal.SIGKILL)
        self.assertEqual(client.read_answer(), REFUSED)
        self.assertEqual(server.failure(client.peer)["reason"], "busy")

        def again():
            try:
                return self.attempt(server, "alice", PASSWORD) == GRANTED
            except (fmltp.Closed, ConnectionError):
                return False
        harness.wait_for("a new pam", again)


    def child(self, server):
        """A child of pam, waited for."""
        def first():
            return [p for p in server.role("pam") if p.parent != server.pid]
        return harness.wait_for("a child of pam", first, pause=0.0005)[0]

    def test_crash(self):
        """What an attack on a module would look like: a penalty at once, and
        a fresh pam."""
        server = self.start(penalty_exempt=[])
        pam = server.one("pam")
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        client.send_command("AUTH slow " + PASSWORD)
        os.kill(self.child(server).pid, signal.SIGSEGV)
        event = server.log.wait("auth-crashed", peer=client.peer)
        self.assertEqual(event["signal"], "11")
        self.assertIn(" alert: ", event.text)
        server.log.wait("penalty", offence="crash")
        self.assertEqual(client.read_answer(), REFUSED)
        server.log.wait("helper-started", role="pam", count=2)
        harness.wait_for("the end of that pam",
                         lambda: harness.look_at(pam.pid) is None)
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)

    def test_hanging_up_is_no_way_out(self):
        """Whoever does not wait while his guess is checked has made it."""
        server = self.start(penalty_exempt=[], source_prefix_ipv4=8)
        for _ in range(3):
            client = server.client()
            client.handshake()
            client.send_command("AUTH slow guess")
            self.child(server)
            client.reset()
            server.failure(client.peer)
            harness.wait_for("the child's end",
                             lambda: len(server.role("pam")) == 1)
        server.log.wait("penalty", offence="auth")

    def test_faillock(self):
        """pam_faillock keeps its records, and forgets them when it should."""
        made = not os.path.isdir("/run/faillock")
        if made:
            os.mkdir("/run/faillock")
            self.addCleanup(os.rmdir, "/run/faillock")
        self.assertEqual(harness.LIBC.mount(b"none", b"/run/faillock",
                                            b"tmpfs", 0, b"mode=755"), 0)
        self.addCleanup(harness.LIBC.umount2, b"/run/faillock", 2)
        self.service_is(
            "auth required pam_faillock.so preauth deny=3\n"
            "auth [success=1 default=bad] pam_unix.so\n"
            "auth [default=die] pam_faillock.so authfail deny=3\n"
            "auth sufficient pam_faillock.so authsucc deny=3\n"
            "auth required pam_deny.so\n")
        server = self.start()
        for _ in range(4):
            self.assertEqual(self.attempt(server, "alice", "typo"), REFUSED)
            self.assertEqual(self.attempt(server, "alice", PASSWORD),
                             GRANTED)
        for _ in range(3):
            self.assertEqual(self.attempt(server, "alice", "guess"), REFUSED)
        self.assertEqual(self.attempt(server, "alice", PASSWORD), REFUSED)


class Sandbox(Case):
    """Root, but not all of it."""

    def test_process(self):
        server = self.start()
        pam = server.one("pam")
        status = pam.status
        self.assertEqual(status["Uid"].split(), ["0"] * 4)
        self.assertEqual(status["Gid"].split(), ["0"] * 4)
        self.assertEqual(status["Groups"].split(), [])
        caps = {key: int(status[key], 16) for key in
                ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        self.assertEqual(caps["CapBnd"], 0)
        self.assertEqual(caps["CapInh"], 0)
        self.assertEqual(caps["CapAmb"], 0)
        self.assertEqual(caps["CapPrm"] & ~(1 << CAP_AUDIT_WRITE), 0)
        self.assertEqual(caps["CapEff"], caps["CapPrm"])
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        with open("/proc/%d/environ" % pam.pid, "rb") as f:
            self.assertEqual(f.read(), b"")
        master = harness.look_at(server.pid)
        have = int(harness.look_at(os.getpid()).status["CapEff"], 16)
        self.assertEqual(
            int(master.status["CapPrm"], 16) & 1 << CAP_AUDIT_WRITE,
            have & 1 << CAP_AUDIT_WRITE)
        self.assertEqual(int(master.status["CapBnd"], 16), 0)

    def test_capability_is_the_masters_only_then(self):
        server = self.start(auth_method="none")
        master = harness.look_at(server.pid)
        for key in ("CapInh", "CapPrm", "CapEff", "CapBnd"):
            self.assertEqual(
                int(master.status[key], 16) & 1 << CAP_AUDIT_WRITE, 0)
        self.assertEqual(server.role("pam"), [])

    def test_no_program_and_no_file(self):
        """A module can start no program and write no file."""
        mark = os.path.join(self.etc, "written")
        self.service_is("auth sufficient pam_exec.so /usr/bin/touch %s\n"
                        "auth required pam_deny.so\n" % mark)
        server = harness.Server(auth_method="system")
        self.addCleanup(server.remove)
        server.start()
        self.addCleanup(server.stop)
        self.assertEqual(self.attempt(server, "alice", PASSWORD), REFUSED)
        self.assertFalse(os.path.exists(mark))

    def test_reload_does_not_change_it(self):
        """To and from PAM needs a restart."""
        server = self.start()
        mark = server.log.mark()
        server.write_config(auth_method="none")
        server.signal(signal.SIGHUP)
        event = server.log.wait("config-warning", mark)
        self.assertIn("only a restart can change this: it stays system",
                      event["text"])
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)
        server.stop()
        server.write_config(auth_method="none")
        server.start()
        server.write_config(auth_method="system")
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        event = server.log.wait("config-warning", mark)
        self.assertIn("it stays none", event["text"])

    def test_secrets_leave(self):
        """No password stays in pam, whoever gave it."""
        server = self.start()
        self.assertEqual(self.attempt(server, "alice", PASSWORD), GRANTED)
        self.assertEqual(self.attempt(server, "alice", "wrong-" + PASSWORD),
                         REFUSED)
        pam = server.one("pam")
        written = memory.written(pam.pid)
        if written is None:
            self.skipTest("another process's memory can't be looked at here")
        self.assertIn(b"fm-pam", written)
        self.assertNotIn(PASSWORD.encode(), written)


class WithoutRoot(harness.OwnServerCase):
    """Started by somebody else."""

    def test_refused(self):
        server = harness.Server(
            auth_method="system",
            user=harness.OTHER_USER if harness.ROOT else None)
        self.addCleanup(server.remove)
        done = harness.run_daemon("-d", "-f", server.config_path,
                                  user=server.user)
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs a server that is started as root", done.stderr)


@unittest.skipIf(harness.SANITIZED,
                 "sanitizers keep copies of what they watch")
class Memory(Case, memory.Judge):
    """Where a password is."""

    def test_password(self):
        """With the verdict it is gone; until then it is in pam alone."""
        server = self.start()
        pam = server.one("pam")
        for name, word, answer in (("slow", "a password that is wrong",
                                    REFUSED), ("alice", PASSWORD, GRANTED)):
            # Its first word is one that programs have, too.
            needles = memory.text("password", word[8:].encode())
            with server.client() as client:
                client.handshake()
                client.send_command("AUTH %s %s" % (name, word))
                if name == "slow":
                    harness.wait_for("the password in pam", lambda n=needles:
                                     memory.find(memory.snapshot(pam.pid), n))
                    self.nowhere(server, needles, but=server.role("pam"))
                self.assertEqual(client.read_answer(), answer)
                self.nowhere(server, needles)
                client.quit()


if __name__ == "__main__":
    runner.main()
