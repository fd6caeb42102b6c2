#!/usr/bin/python3
"""The authoritative phase, from a client's side: docs/FMLTP.md section 5.

A client of other people's code meets the real server with a users file: what
lockdown serves, what AUTH takes, how long a refusal is, and how such a
session ends.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

CRLF = fmltp.CRLF
GRANTED = b"150 Authentication successful.\r\n"
REFUSED = b"151 Authentication failed.\r\n"
INVALID = b"400 Invalid command or operative.\r\n"
TOO_FEW = b"411 Too few arguments passed.\r\n"
GOODBYE = b"200 Goodbye.\r\n"

SLACK = 0.05  # clocks of two processes
PATIENCE = 8 * float(os.environ.get("FLEXMUSIC_TIME_SCALE", "1"))

LONGEST = "L" + "\u00e9" * 255  # 511 bytes
USERS = {
    "alice": "wonderland",
    "Bob": " two  words  and blanks at both ends ",
    "carol": "d\u00e9j\u00e0 \u266b vu",
    "dave": "x",
    "longest": LONGEST,
    "aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09": "32 bytes of a name",
}
# Answered without auth: what is not the form that AUTH has.
MALFORMED = [
    (b"AUTH", TOO_FEW), (b"AUTH\r\n", TOO_FEW), (b"AUTH alice", TOO_FEW),
    (b"AUTH alice ", TOO_FEW), (b"AUTH alice \r\n", TOO_FEW),
    (b"AUTH ", INVALID), (b"AUTH  wonderland", INVALID),
    (b" AUTH alice wonderland", INVALID), (b"auth alice wonderland", INVALID),
    (b"AUTH alice won\0derland", INVALID), (b"AUTH al\0ice x", INVALID),
    (b"AUTH alice wonderland\0", INVALID),
    (b"AUTH alice wonder\nland", INVALID),
    (b"AUTH alice wonder\r\nland", INVALID),
    (b"AUTH alice\nwonderland", INVALID),
    (b"AUTH alice wonderland\r\nHELP", INVALID),
    (b"AUTH alice wonder\tland", INVALID), (b"AUTH alice \xff", INVALID),
    (b"AUTH alice " + b"x" * 4086, INVALID),
]
# Refused by auth, as a wrong password is.
WRONG = [
    (b"alice", b"Wonderland"), (b"alice", b"wonderlan"),
    (b"alice", b"wonderland "), (b"alice", b" wonderland"),
    (b"Alice", b"wonderland"), (b"nobody", b"wonderland"),
    (b"Bob", b"two  words  and blanks at both ends"),
    (b"al", b"ice wonderland"), (b"longest", LONGEST.encode()[:-2]),
    (b"longest", LONGEST.encode() + b"x"), (b"alice", b"x" * 512),
    (b"a" * 33, b"x"), (b"u" * 2000, b"x" * 2000), (b"dave", b"xx"),
    (b"aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09x", b"32 bytes of a name"),
    (b"*", b"x"), ("\u00e9".encode(), b"x"),
]
BEFORE = ["SELECT x", "DESELECT", "SEARCH x", "GET 1", "FETCH 1", "PLAY", ""]


class Users:
    """The users file of this run."""

    directory = None
    path = None

    @classmethod
    def make(cls):
        """Writes it."""
        cls.directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        cls.path = os.path.join(cls.directory, "users")
        harness.make_users(cls.path, USERS)


def setUpModule():  # pylint: disable=invalid-name
    """The users file is there before the first server."""
    Users.make()


def tearDownModule():  # pylint: disable=invalid-name
    """And goes with the last."""
    shutil.rmtree(Users.directory)


def timed(function, *arguments):
    """What it returns, and the seconds that it took."""
    begun = time.monotonic()
    value = function(*arguments)
    return value, time.monotonic() - begun


class Case(harness.ServerCase):
    """Shares a server that authenticates."""

    SERVER = {"auth_method": "auth"}

    @classmethod
    def setUpClass(cls):
        cls.SERVER = dict(cls.SERVER, auth_file=Users.path)
        super().setUpClass()

    def connect(self):
        """A session in lockdown."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.handshake()
        self.assertTrue(client.lockdown)
        return client

    def refused(self, client, seconds, user=b"alice", password=b"wrong"):
        """An AUTH is refused, not sooner than after so many seconds."""
        answer, took = timed(client.auth, user, password)
        self.assertEqual(answer, REFUSED)
        self.assertGreater(took, seconds - SLACK)
        self.assertLess(took, seconds + PATIENCE)

    def closed(self, client, reason):
        """Nothing more comes, and the log says why."""
        self.assertEqual(client.rest(), b"")
        end = self.server.failure(client.peer)
        self.assertEqual((end.name, end["reason"]), ("session-end", reason))
        return end


class Lockdown(Case):
    """What there is before AUTH, and after it."""

    def test_packet_7(self):
        """It has its second line."""
        client = self.connect()
        self.assertEqual(client.final, b"100 FmLTP/1.0 Interpreter Ready.\r\n"
                         b"Authentication required.\r\n")

    def test_help(self):
        """Each mode shows its own commands."""
        client = self.connect()
        before = client.command("HELP")
        names = [line.split(b" - ")[0] for line in before.split(CRLF)
                 if b" - " in line]
        self.assertEqual(names, [b"AUTH", b"HELP", b"QUIT"])
        self.assertTrue(before.endswith(
            b"Run HELP <command> for more information.\r\n"))
        self.assertTrue(client.command("HELP AUTH").startswith(
            b"200 Help for AUTH:\r\nUsage: AUTH <user> <password>\r\n"))
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        after = client.command("HELP")
        self.assertNotIn(b"AUTH", after)
        self.assertIn(b"\r\nQUIT - ", after)
        self.assertEqual(client.command("HELP AUTH"),
                         b"420 Command AUTH not found.\r\n")
        client.quit()

    def test_commands_before_auth(self):
        """Those of normal mode do not exist."""
        client = self.connect()
        for command in BEFORE:
            with self.subTest(command=command):
                self.assertEqual(client.command(command), INVALID)
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        client.quit()

    def test_quit(self):
        """QUIT ends a session in lockdown."""
        client = self.connect()
        client.quit()
        end = self.server.failure(client.peer)
        self.assertEqual(end["reason"], "quit")

    def test_hang_up(self):
        """So does the client's close."""
        client = self.connect()
        client.close()
        self.assertEqual(self.server.failure(client.peer)["reason"], "closed")

    def test_bundled_client(self):
        """flexmusic -u, right, wrong and without a user."""
        home = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        self.addCleanup(home.cleanup)
        client = [os.path.join(harness.BUILD, "flexmusic"), "--allow-weak",
                  "--accept-new", "-p", str(self.server.port)]
        for options, stdin, status, out, err in (
                (["-u", "Bob", "--password-fd", "0"], USERS["Bob"], 0,
                 "200 Available", "has no identity"),
                (["-u", "Bob", "--password-fd", "0"], "Bob", 9, "",
                 "refused user and password"),
                ([], "", 0, "AUTH - ", "asks for authentication")):
            run = subprocess.run(
                client + options + ["127.0.0.1", "HELP"], text=True,
                input=stdin + "\n", stdout=subprocess.PIPE, check=False,
                stderr=subprocess.PIPE, timeout=harness.DEADLINE,
                env=dict(os.environ, HOME=home.name))
            self.assertEqual(run.returncode, status, run)
            self.assertIn(out, run.stdout)
            self.assertIn(err, run.stderr)


class Auth(Case):
    """What AUTH takes and refuses."""

    def test_right(self):
        """Every user of the file, with blanks, UTF-8 and 511 bytes."""
        for name, password in USERS.items():
            with self.subTest(name=name):
                client = self.connect()
                self.assertEqual(client.auth(name, password), GRANTED)
                told = self.server.log.wait("authenticated", peer=client.peer)
                self.assertEqual((told["user"], told["attempt"]), (name, "1"))
                client.quit()

    def test_ended_in_each_way(self):
        """A line end behind the password is none of it."""
        for end in ("\r\n", "\n"):
            client = self.connect()
            self.assertEqual(client.command("AUTH carol " + USERS["carol"] +
                                            end), GRANTED)
            client.quit()

    def test_malformed(self):
        """400 and 411 come at once, and do not count as attempts."""
        client = self.connect()
        for packet, right in MALFORMED:
            with self.subTest(packet=packet[:60]):
                answer, took = timed(client.command, packet)
                self.assertEqual(answer, right)
                self.assertLess(took, PATIENCE)
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        self.assertEqual(
            self.server.log.find("auth-failed", peer=client.peer), [])
        client.quit()

    def test_wrong(self):
        """What is too long, is nobody's or another's: 151 after a second,
        all of them side by side."""
        clients = [self.connect() for _ in WRONG]
        begun = time.monotonic()
        for client, (user, password) in zip(clients, WRONG):
            client.send_command(b"AUTH " + user + b" " + password)
        for client, row in zip(clients, WRONG):
            with self.subTest(row=row):
                self.assertEqual(client.read_answer(), REFUSED)
                self.assertGreater(time.monotonic() - begun, 1 - SLACK)
                self.server.log.wait("auth-failed", peer=client.peer)
        self.assertLess(time.monotonic() - begun, 1 + PATIENCE)
        for client in clients:
            self.assertIn(b"AUTH - ", client.command("HELP"))
            client.quit()

    def test_second_try(self):
        """Each 151 is a second later than the one before; then the right
        password is taken at once."""
        client = self.connect()
        self.refused(client, 1)
        self.refused(client, 2)
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        told = self.server.log.wait("authenticated", peer=client.peer)
        self.assertEqual(told["attempt"], "3")
        self.assertTrue(client.command("HELP").startswith(b"200 "))
        client.quit()

    def test_three_failures(self):
        """The third 151 is followed by the close."""
        client = self.connect()
        for seconds in (1, 2, 3):
            self.refused(client, seconds)
        end = self.closed(client, "auth-failed")
        self.assertEqual(end["commands"], "3")

    def test_twice(self):
        """After AUTH there is no AUTH."""
        client = self.connect()
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        for user, password in (("alice", USERS["alice"]), ("dave", "wrong")):
            self.assertEqual(client.auth(user, password), INVALID)
        client.quit()

    def test_one_segment(self):
        """Three AUTHs at once are served one after the other."""
        client = self.connect()
        right = "AUTH dave " + USERS["dave"]
        begun = time.monotonic()
        client.send(b"".join(client.seal(text) + CRLF for text in (
            "AUTH dave no", right, right, "HELP", "QUIT")))
        answers = client.read_answers(5)
        self.assertGreater(time.monotonic() - begun, 1 - SLACK)
        self.assertEqual(answers[:3], [REFUSED, GRANTED, INVALID])
        self.assertNotIn(b"AUTH", answers[3])
        self.assertEqual(answers[4], GOODBYE)

    def test_one_segment_of_wrong_ones(self):
        """The fourth is not served any more."""
        client = self.connect()
        begun = time.monotonic()
        client.send(b"".join(client.seal("AUTH dave no") + CRLF
                             for _ in range(4)))
        answers = client.read_answers(3)
        self.assertGreater(time.monotonic() - begun, 6 - SLACK)
        self.assertEqual(answers, [REFUSED] * 3)
        self.closed(client, "auth-failed")

    def test_with_packet_6(self):
        """AUTH comes in the segment of packet 6."""
        client = self.server.client()
        self.addCleanup(client.close)
        client.until("chal")
        client.send(client.seal(client.banner) + CRLF +
                    client.seal("AUTH alice " + USERS["alice"]) + CRLF)
        final, answer = client.read_answers(2)
        self.assertTrue(final.endswith(b"Authentication required.\r\n"))
        self.assertEqual(answer, GRANTED)
        client.quit()

    def test_nothing_is_left(self):
        """No descriptor, no process; no password in the log."""
        self.server.quiet()
        before = self.server.at_rest()
        for i in range(harness.scaled(30)):
            client = self.connect()
            if i % 3 == 0:
                self.assertEqual(client.auth("dave", "x"), GRANTED)
                client.quit()
            elif i % 3 == 1:
                client.send_command("AUTH dave y")
                client.reset()
            else:
                client.close()
        self.server.quiet()
        self.assertEqual(self.server.settle(before), before)
        text = self.server.log.text()
        for password in USERS.values():
            if len(password) > 1:
                self.assertNotIn(password, text)


class Time(Case):
    """The phase has a limit of its own, here of two seconds."""

    SERVER = {"auth_method": "auth", "auth_timeout": 2,
              "session_idle_timeout": 1}

    def over(self, client, begun, reason="auth-timeout"):
        """It ends when the time has come, and not much later."""
        end = self.closed(client, reason)
        took = time.monotonic() - begun
        self.assertGreater(took, 2 - SLACK)
        self.assertLess(took, 2 + PATIENCE)
        return end

    def test_silence(self):
        """The session's own idle limit is not meant here."""
        begun = time.monotonic()
        self.over(self.connect(), begun)

    def test_half_a_token(self):
        """Nor is that of a token."""
        begun = time.monotonic()
        client = self.connect()
        client.send(client.seal("AUTH alice x")[:50])
        self.over(client, begun)

    def test_other_commands(self):
        """Somebody who asks for HELP all the time has no longer."""
        begun = time.monotonic()
        client = self.connect()
        try:
            while time.monotonic() < begun + 2 + PATIENCE:
                client.command("HELP")
                time.sleep(0.1)
        except (fmltp.Closed, ConnectionError):
            pass
        self.over(client, begun)

    def test_answer_is_not_cut(self):
        """An AUTH of the last moment is answered, and late enough."""
        begun = time.monotonic()
        client = self.connect()
        time.sleep(max(0.0, begun + 1.4 - time.monotonic()))
        self.refused(client, 1)
        self.over(client, begun)

    def test_right_in_time(self):
        """From AUTH on, the idle limit of sessions holds."""
        client = self.connect()
        time.sleep(1.3)
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        begun = time.monotonic()
        self.closed(client, "idle-timeout")
        self.assertGreater(time.monotonic() - begun, 1 - SLACK)

    def test_stays_after_auth(self):
        """The phase's limit does not end a session that has authenticated."""
        client = self.connect()
        self.assertEqual(client.auth("alice", USERS["alice"]), GRANTED)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            time.sleep(0.2)
        client.quit()


class Broken(harness.OwnServerCase):
    """auth does not answer."""

    def lock(self, **keys):
        """A server that authenticates, its auth processes, a session."""
        server = self.start(auth_method="auth", auth_file=Users.path, **keys)
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        return server, [p.pid for p in server.role("auth")], client

    def stop_auth(self, processes):
        """Stops them; the test's end lets them go on."""
        for pid in processes:
            self.addCleanup(harness.kill, pid, signal.SIGCONT)
            harness.kill(pid, signal.SIGSTOP)

    def test_busy(self):
        """What is not served in the phase's time is busy, not wrong."""
        server, processes, client = self.lock(auth_timeout=1)
        self.stop_auth(processes)
        client.send_command("AUTH alice " + USERS["alice"])
        time.sleep(1.5)
        for pid in processes:
            harness.kill(pid, signal.SIGCONT)
        self.assertEqual(client.read_answer(), REFUSED)
        self.assertEqual(client.rest(), b"")
        self.assertEqual(server.failure(client.peer)["reason"], "busy")

    def test_killed(self):
        """So is what auth had when it died."""
        server, processes, client = self.lock()
        self.stop_auth(processes)
        client.send_command("AUTH alice " + USERS["alice"])
        time.sleep(0.2)
        for pid in processes:
            harness.kill(pid, signal.SIGKILL)
        self.assertEqual(client.read_answer(), REFUSED)
        self.assertEqual(client.rest(), b"")
        self.assertEqual(server.failure(client.peer)["reason"], "busy")

        def again():
            try:
                with server.client() as other:
                    other.handshake()
                    return other.auth("alice", USERS["alice"]) == GRANTED
            except (fmltp.Closed, ConnectionError):
                return False
        harness.wait_for("new auth processes", again)

    def test_client_gives_up(self):
        """A client that is gone does not keep its worker waiting."""
        server, processes, client = self.lock()
        self.stop_auth(processes)
        client.send_command("AUTH alice " + USERS["alice"])
        time.sleep(0.2)
        client.reset()
        server.failure(client.peer)
        server.quiet()

    def test_stopped_for_good(self):
        """A worker does not wait for ever."""
        server, processes, client = self.lock(auth_timeout=1)
        self.stop_auth(processes)
        begun = time.monotonic()
        self.assertEqual(client.auth("alice", USERS["alice"]), REFUSED)
        self.assertEqual(client.rest(), b"")
        self.assertLess(time.monotonic() - begun, 15 + PATIENCE)
        self.assertEqual(server.failure(client.peer)["reason"],
                         "auth-timeout")


class AtOnce(harness.OwnServerCase):
    """Many who authenticate, with hashes as they are made today."""

    COUNT = 16
    PASSWORD = "correct horse"
    HANDSHAKES = 40

    def users(self):
        """A file with as many users, hashed by flexmusicctl."""
        path = os.path.join(Users.directory, "at-once")
        self.addCleanup(os.unlink, path)
        for i in range(self.COUNT):
            subprocess.run(
                [os.path.join(harness.BUILD, "flexmusicctl"), "--config",
                 "/dev/null", "user", "add", "--stdin", "--file", path,
                 "--socket", path + ".none", "user%d" % i],
                input=self.PASSWORD.encode(), check=True)
        return path

    def handshake(self, server):
        """One, and the seconds it took."""
        with server.client() as client:
            return timed(client.handshake)[1]

    def test_handshakes_go_on(self):
        """Their checks take all processors; who comes meanwhile is served
        before they are all done, and no slower by much."""
        server = self.start(auth_method="auth", auth_file=self.users())
        quiet = statistics.median(self.handshake(server)
                                  for _ in range(self.HANDSHAKES))
        clients = []
        for _ in range(self.COUNT):
            client = server.client()
            self.addCleanup(client.close)
            client.handshake()
            clients.append(client)
        begun = time.monotonic()
        for i, client in enumerate(clients):
            client.send_command("AUTH user%d %s" % (i, self.PASSWORD))
        busy = []
        while len(server.log.find("authenticated")) < self.COUNT:
            busy.append(self.handshake(server))
        took = time.monotonic() - begun
        for client in clients:
            self.assertEqual(client.read_answer(), GRANTED)
        checks = [int(e["ms"]) for e in server.log.find("authenticated")]
        print("%d AUTH at once took %.0f ms (one check %d ms); a handshake "
              "%.1f ms, alone %.1f ms" % (
                  self.COUNT, 1000 * took, statistics.median(checks),
                  1000 * statistics.median(busy), 1000 * quiet))
        # One after the other they would be 16 checks later.
        self.assertGreater(len(busy), 3)
        self.assertLess(statistics.median(busy), took / 3)


class NotAsked(harness.OwnServerCase):
    """auth_method = none."""

    def test_no_lockdown(self):
        """Nothing is asked for, and AUTH does not exist."""
        server = self.start(auth_method="none")
        with server.client() as client:
            client.handshake()
            self.assertFalse(client.lockdown)
            self.assertEqual(client.auth("alice", USERS["alice"]), INVALID)
            self.assertEqual(client.command("AUTH"), INVALID)
            self.assertNotIn(b"AUTH", client.command("HELP"))
            client.quit()

    def test_from_a_reload_on(self):
        """A server that is told to authenticate asks whoever comes later."""
        server = self.start(auth_method="none", seeds={1024: 2})

        def asked():
            with server.client() as client:
                client.handshake()
                return client.lockdown and \
                    client.auth("dave", "x") == GRANTED

        with server.client() as early:
            early.handshake()
            server.write_config(auth_method="auth", auth_file=Users.path)
            server.signal(signal.SIGHUP)
            harness.wait_for("a session in lockdown", asked, pause=0.1)
            self.assertTrue(early.command("HELP").startswith(b"200 "))
            early.quit()

    def test_reload_without_users(self):
        """A reload that would leave nobody able to come in is refused."""
        server = self.start(auth_method="none", seeds={1024: 2})
        server.write_config(auth_method="auth",
                            auth_file=server.directory + "/none-there")
        server.signal(signal.SIGHUP)
        server.log.wait("reload-failed")
        self.serves(server)


class Guessing(harness.OwnServerCase):
    """Whoever guesses passwords, and a users file that is lost."""

    def test_hanging_up_is_no_way_out(self):
        """A client that does not wait for its 151 has an offence all the
        same, and the third brings a penalty."""
        server = self.start(auth_method="auth", auth_file=Users.path,
                            penalty_exempt=[], source_prefix_ipv4=8)
        for i in range(3):
            client = server.client()
            client.handshake()
            client.send_command("AUTH alice guess%d" % i)
            server.log.wait("auth-failed", count=i + 1)
            client.close()
        event = server.log.wait("penalty", offence="auth")
        self.assertEqual(event["penalty_s"], "5")

    def test_getting_in_forgives(self):
        """A user who mistypes and then gets in has done nothing."""
        server = self.start(auth_method="auth", auth_file=Users.path,
                            penalty_exempt=[], source_prefix_ipv4=8)
        for _ in range(4):
            with server.client() as client:
                client.handshake()
                self.assertEqual(client.auth("dave", "y"), REFUSED)
                self.assertEqual(client.auth("dave", "x"), GRANTED)
                client.quit()
        self.assertEqual(server.log.find("penalty"), [])

    def test_getting_in_as_oneself_forgives_nothing_else(self):
        """Who guesses at another's password and then shows his own has an
        offence."""
        server = self.start(auth_method="auth", auth_file=Users.path,
                            penalty_exempt=[], source_prefix_ipv4=8)
        for first in ("alice", "alice", "nobody"):
            self.assertEqual(server.log.find("penalty"), [])
            with server.client() as client:
                client.handshake()
                self.assertEqual(client.auth(first, "y"), REFUSED)
                self.assertEqual(client.auth("dave", "x"), GRANTED)
        server.log.wait("penalty", offence="auth")

    def test_lines_are_not_pushed_out(self):
        """A client that makes other lines does not hide its guesses."""
        server = self.start(auth_method="auth", auth_file=Users.path)
        source = fmltp.new_source()
        client = server.client(source=source)
        self.addCleanup(client.close)
        client.handshake()
        for _ in range(40):
            server.client(source=source).close()
        self.assertEqual(client.auth("alice", "guess"), REFUSED)
        self.assertEqual(client.auth("dave", "x"), GRANTED)
        server.log.wait("log-limited")
        self.assertEqual(len(server.log.find("auth-failed")), 1)
        self.assertEqual(len(server.log.find("authenticated")), 1)

    def test_users_file_that_comes_back(self):
        """Where every auth process has died while the file was wrong, a file
        that is right again is used without a signal."""
        server = self.start(auth_method="auth", auth_file=Users.path)
        path = server.directory + "/users"
        shutil.copy(Users.path, path)
        server.write_config(auth_file=path)
        mark = server.log.mark()
        server.signal(signal.SIGHUP)
        server.log.wait("users", mark)
        with open(path, "w") as f:
            f.write("no users\n")
        for process in server.role("auth"):
            harness.kill(process.pid, signal.SIGKILL)
        server.log.wait("users-failed", mark, kept="none")
        shutil.copy(Users.path, path)
        server.log.wait("users", mark, count=1, deadline=PATIENCE * 4)

        def served():
            with server.client() as client:
                client.handshake()
                return client.auth("dave", "x") == GRANTED
        self.assertTrue(harness.wait_for("a user that gets in", served))


class Gone(Case):
    """A worker that is killed before the master has heard of packet 7."""

    def test_its_death_is_told(self):
        """auth has nothing to do with it."""
        with self.server.client() as client:
            client.until("chal")
            worker = self.server.worker(client.peer)
            self.server.signal(signal.SIGSTOP)
            try:
                harness.wait_for(
                    "a master that stands", lambda: harness.look_at(
                        self.server.pid).state == "T")
                client.send_challenge()
                client.read_final()
                os.kill(worker.pid, signal.SIGKILL)
                harness.wait_for("the worker's end", lambda: harness.look_at(
                    worker.pid).state == "Z")
            finally:
                self.server.signal(signal.SIGCONT)
            event = self.server.failure(client.peer)
        self.assertEqual(event["reason"], "worker-died", event.text)
        died = self.server.log.wait("worker-died", peer=client.peer)
        self.assertEqual((died["signal"], died["attack"]), ("9", "no"))


if __name__ == "__main__":
    runner.main()
