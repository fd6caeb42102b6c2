#!/usr/bin/python3
"""Interoperability: a client of other people's code meets the real server.

A thousand handshakes and more, every way of sending that docs/FMLTP.md has
the server receive, every status of the version exchange, every answer of a
session.
"""

import itertools
import multiprocessing
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

CRLF = fmltp.CRLF
LINE = fmltp.CLIENT_LINE

HANDSHAKES = harness.scaled(1000)
HANDSHAKES_MOST = 20000
PROCESSES = 3


def parallel(function, items):
    """Runs function(item) for all items in several processes."""
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        return pool.map(function, items, chunksize=8)


def attempt(function, *arguments):
    """What a function returns, or the error as text: an exception's object
    does not always travel between processes."""
    try:
        return function(*arguments), None
    except Exception as e:  # any failure is one of the server's tests
        return None, "%s: %s" % (type(e).__name__, e)


# -- ways of sending -----------------------------------------------------


def session(client, version=LINE + CRLF, key=None, token=None, send=None):
    """A whole session.  `key` and `token` change packet 4 and each token
    before they go out, `send` is how they go."""
    key = key or (lambda text: text)
    token = token or (lambda text: text + CRLF)
    send = send or fmltp.Client.send
    client.read_banner()
    send(client, version)
    client.read_params()
    send(client, key(client.make_key()))
    client.read_key()
    send(client, token(client.seal(client.banner)))
    client.read_final()
    send(client, token(client.seal("HELP QUIT")))
    answer = client.read_answer()
    if not answer.startswith(b"200 Help for QUIT:\r\n"):
        raise AssertionError("HELP QUIT was answered %r" % answer)
    send(client, token(client.seal("QUIT")))
    answer = client.read_answer()
    if answer != b"200 Goodbye.\r\n":
        raise AssertionError("QUIT was answered %r" % answer)
    if client.rest():
        raise AssertionError("bytes after QUIT")
    return client.shared[0] == 0


def bytewise(client, data):
    """One byte a segment."""
    client.send(data, split=list(range(1, len(data))), pause=0)


def in_bits(size):
    """Segments of a few bytes."""
    def send(client, data):
        client.send(data, split=list(range(size, len(data), size)), pause=0)
    return send


def late_end(client):
    """Each line end comes 400 ms after what it ends."""
    client.read_banner()
    client.send(LINE)
    time.sleep(0.4)
    client.send(CRLF)
    client.read_params()
    client.send(client.make_key().strip())
    client.read_key()
    time.sleep(0.4)
    client.send(b"\n")
    client.send(client.seal(client.banner))
    client.read_final()
    time.sleep(0.4)
    client.send(CRLF)
    client.quit()


def half_late_end(client):
    """The CR comes with the line, the LF 400 ms later."""
    client.read_banner()
    client.send(LINE + b"\r")
    time.sleep(0.4)
    client.send(b"\n")
    client.read_params()
    client.send_key()
    client.read_key()
    client.send_challenge()
    client.read_final()
    client.quit()


def next_packet_end(end):
    """Each line end comes at the head of the next packet."""
    def run(client):
        client.read_banner()
        client.send(LINE)
        client.read_params()
        client.send(end + client.make_key().strip())
        client.read_key()
        client.send(end + client.seal(client.banner))
        client.read_final()
        client.send(end + client.seal("HELP"))
        client.read_answer()
        client.send(end + client.seal("QUIT"))
        client.read_answer()
        client.rest()
    return run


def together(end, challenge=None, first="HELP", second="HELP QUIT"):
    """CLIENT_KEX_CHAL and a command in one segment, then two commands."""
    def run(client):
        client.until("chal")
        text = client.banner if challenge is None else challenge(client)
        client.send(client.seal(text) + end + client.seal(first) + end)
        final = client.read_answers(2)[0]
        if not final.startswith(b"100 FmLTP/1.0 "):
            raise AssertionError("packet 7 is %r" % final)
        client.send(client.seal(first) + end + client.seal(second) + end)
        answers = client.read_answers(2)
        for text, answer in zip((first, second), answers):
            expected = b"200 " if text in ("HELP", "HELP QUIT") else b"420 "
            if not answer.startswith(expected):
                raise AssertionError("%r was answered %r" % (text, answer))
        client.send(client.seal("HELP") + end + client.seal("QUIT") + end)
        if client.read_answers(2)[1] != b"200 Goodbye.\r\n":
            raise AssertionError("no goodbye")
        client.rest()
    return run


def padded_banner(length):
    """Packet 6 with blanks behind its text: with 32 to 47 bytes the token
    has no padding by which its end could be known."""
    return lambda client: client.banner.ljust(length)


def with_length(client, length):
    """Packet 4 with a privateValueLength."""
    client.make_key()
    p, g, y = client.numbers()
    return fmltp.pem(b"PUBLIC KEY", fmltp.spki(p, g, y,
                                               private_length=length))


def private_length(length):
    """A session whose packet 4 has a privateValueLength."""
    def run(client):
        client.until("kex")
        client.send(with_length(client, length))
        client.read_key()
        client.send_challenge()
        client.read_final()
        client.quit()
    return run


def clock(offset):
    """A client whose clock is wrong."""
    def run(client):
        client.until("chal")
        now = int(time.time()) + offset
        client.send(client.seal(client.banner, when=now))
        client.read_final()
        client.send(client.seal("HELP", when=now + 1))
        client.read_answer()
        client.send(client.seal("QUIT", when=now + 1))
        client.read_answer()
        client.rest()
    return run


def stepping_back(client):
    """A clock that steps back by as much as is allowed."""
    client.until("chal")
    now = int(time.time())
    client.send(client.seal(client.banner, when=now))
    client.read_final()
    for when in (now + 3600, now + 3590, now + 3595):
        client.send(client.seal("HELP", when=when))
        client.read_answer()
    client.send(client.seal("QUIT", when=now + 3600))
    client.read_answer()
    client.rest()


def challenge_text(change):
    """Packet 6 with blanks or line ends around its text."""
    def run(client):
        client.until("chal")
        client.send(client.seal(change(client.banner)) + CRLF)
        client.read_final()
        client.quit()
    return run


def skipped(between):
    """CR and LF between tokens."""
    def run(client):
        client.until("session")
        for text in ("HELP", "HELP QUIT"):
            client.send(between + client.seal(text) + between)
            client.read_answer()
        client.quit()
    return run


VARIANTS = [
    ("line ends everywhere",
     lambda c: session(c, key=lambda k: k.replace(b"\n", CRLF))),
    ("LF everywhere",
     lambda c: session(c, LINE + b"\n", token=lambda t: t + b"\n")),
    ("no line ends anywhere",
     lambda c: session(c, LINE, lambda k: k.strip(), lambda t: t)),
    ("no line end behind tokens",
     lambda c: session(c, token=lambda t: t)),
    ("an empty line behind packet 4",
     lambda c: session(c, key=lambda k: k + CRLF)),
    ("four line end bytes before packet 4",
     lambda c: session(c, key=lambda k: CRLF + CRLF + k)),
    ("one byte at a time", lambda c: session(c, send=bytewise)),
    ("one byte at a time without line ends",
     lambda c: session(c, LINE, lambda k: k.strip(), lambda t: t, bytewise)),
    ("three bytes at a time", lambda c: session(c, send=in_bits(3))),
    ("64 bytes at a time", lambda c: session(c, send=in_bits(64))),
    ("line ends 400 ms late", late_end),
    ("LF 400 ms behind its CR", half_late_end),
    ("CR LF with the next packet", next_packet_end(CRLF)),
    ("LF with the next packet", next_packet_end(b"\n")),
    ("packets run together", together(CRLF)),
    ("packets run together with LF", together(b"\n")),
    ("packets run together without line ends", together(b"")),
    ("tokens of 140 characters run together",
     together(b"", padded_banner(40), "HELP " + 30 * "x", "HELP " + 40 * "y")),
    ("tokens of 204 characters run together",
     together(b"", padded_banner(85), "HELP " + 80 * "x", "HELP " + 85 * "y")),
    ("tokens of 140 characters with line ends",
     together(CRLF, padded_banner(47), "HELP " + 27 * "x", "HELP")),
    ("privateValueLength 1", private_length(1)),
    ("privateValueLength 160", private_length(160)),
    ("privateValueLength 1024", private_length(1024)),
    ("a clock an hour behind", clock(-3600)),
    ("a clock a day ahead", clock(86400)),
    ("a clock in 1970", lambda c: clock(10 - int(time.time()))(c)),
    ("a clock that steps back by 10 s", stepping_back),
    ("packet 6 with CR LF inside",
     challenge_text(lambda text: text + CRLF)),
    ("packet 6 with blanks and line ends around",
     challenge_text(lambda text: b"\r\n " + text + b" \n")),
    ("many line ends between tokens", skipped(b"\r\n\n\r\r\n")),
    ("a friendly name of 128 bytes",
     lambda c: session(c, b"FlexMusic".ljust(128, b"x") + b",0.0.0\r\n")),
    ("a friendly name of 9 bytes", lambda c: session(c, b"FlexMusic,0.0.0")),
    ("a friendly name in Greek",
     lambda c: session(c, "FlexMusic Μουσική,0.0.0\r\n".encode())),
    ("a friendly name with quotes and backslashes",
     lambda c: session(c, b'FlexMusic "\\" a=b \',0.0.0\r\n')),
    ("the greatest numbers",
     lambda c: session_status(c, b"FlexMusic,0.65535.65535\r\n", 111)),
]


def session_status(client, line, status):
    """A handshake whose packet 7 has that status."""
    client.handshake(line)
    if client.status != status:
        raise AssertionError("status %d" % client.status)
    client.quit()


def one_session(address):
    """A plain session; True where the secret had a leading zero byte."""
    with fmltp.Client(address) as client:
        return session(client)


def split_session(item):
    """A session with one packet in two segments."""
    address, packet, place = item
    count = itertools.count(1)

    def send(client, data):
        client.send(data, split=place if next(count) == packet else None)

    with fmltp.Client(address) as client:
        return session(client, send=send)


def guarded_one(address):
    """one_session for another process."""
    return attempt(one_session, address)


def guarded_split(item):
    """split_session for another process."""
    return attempt(split_session, item)


# -- the tests -----------------------------------------------------------


class Many(harness.ServerCase):
    """Handshakes by the thousand, at 1024 bits."""

    def test_thousand_handshakes(self):
        done = zeros = 0
        while done < HANDSHAKES or zeros == 0:
            self.assertLess(done, HANDSHAKES_MOST,
                            "no leading zero byte in that many secrets")
            batch = max(50, HANDSHAKES // 4)
            outcomes = parallel(guarded_one, batch * [self.server.address])
            errors = [e for _, e in outcomes if e is not None]
            self.assertEqual(errors, [])
            done += batch
            zeros += sum(zero for zero, _ in outcomes)

    def test_split_at_every_byte(self):
        with self.server.client() as client:
            client.until("kex")
            key = len(client.make_key())
        # Packet 4 differs by a byte with the sign of y; a place past the end
        # of a packet sends it whole.
        lengths = ((1, len(LINE + CRLF)), (2, key + 1), (3, 122), (4, 102))
        items = [(self.server.address, packet, place)
                 for packet, length in lengths
                 for place in range(1, length)]
        if harness.SANITIZED:
            items = items[::7]
        errors = [(item[1:], error) for item, (_, error) in
                  zip(items, parallel(guarded_split, items))
                  if error is not None]
        self.assertEqual(errors, [])


class Sending(harness.ServerCase):
    """Each way of sending, several times."""

    ROUNDS = 3


def add_variant(name, function):
    """A test of a row of VARIANTS."""
    def test(self):
        for _ in range(self.ROUNDS):
            with self.server.client() as client:
                function(client)
    setattr(Sending, "test_" + runner.row_name(name), test)


for variant in VARIANTS:
    add_variant(*variant)


class Sizes(harness.OwnServerCase):
    """The other sizes of p, up to 8192 bits."""

    def check(self, bits, count):
        server = self.start(seeds={bits: 1}, key_size=bits,
                            allow_weak_key_size=None)
        for _ in range(harness.scaled(count)):
            with server.client() as client:
                session(client)
                self.assertEqual(client.private.key_size, bits)

    def test_2048(self):
        self.check(2048, 40)

    def test_3072(self):
        self.check(3072, 15)

    def test_4096(self):
        self.check(4096, 8)

    def long_packets(self, bits):
        """From 6144 bits on a client has to read until END."""
        server = self.start(seeds={bits: 1}, key_size=bits,
                            allow_weak_key_size=None)
        with server.client() as client:
            client.read_banner()
            client.send_version()
            client.read_params()
            client.send_key()
            data = client.receive(8192)
            while not data.endswith(b"-----END PUBLIC KEY-----\n"):
                data += client.receive(8192)
            client.take_key(data)
            client.send_challenge()
            client.read_final()
            client.quit()

    def test_6144(self):
        self.long_packets(6144)

    def test_8192(self):
        self.long_packets(8192)


class Versions(harness.ServerCase):
    """The comparison of signatures."""

    SERVER = {"compatibility": "0.5.5", "friendly_name": "FlexMusic 5"}

    def test_statuses(self):
        for stepping, substepping in itertools.product((4, 5, 6), repeat=2):
            status = (100 + 10 * {4: 2, 5: 0, 6: 1}[stepping] +
                      {4: 2, 5: 0, 6: 1}[substepping])
            line = b"FlexMusic Test,0.%d.%d\r\n" % (stepping, substepping)
            with self.subTest(line=line), self.server.client() as client:
                session_status(client, line, status)
                self.assertEqual(client.banner, b"FlexMusic 5,0.5.5")
                self.server.log.wait("session-begin", peer=client.peer,
                                     status=status)

    def test_other_class(self):
        with self.server.client() as client:
            client.read_banner()
            client.send(b"FlexMusic Test,1.5.5\r\n")
            self.assertEqual(client.rest(), b"")
        self.server.log.wait(harness.FAILURES, peer=client.peer,
                             reason="version-incompatible")

    def test_log_of_a_session(self):
        with self.server.client() as client:
            client.handshake(b"FlexMusic \"Log\",0.5.5\r\n")
            client.command("HELP")
            client.command("HELP QUIT")
            begin = self.server.log.wait("session-begin", peer=client.peer)
            client.quit()
        self.assertEqual(begin["status"], "100")
        self.assertEqual(begin["version"], "0.5.5")
        self.assertEqual(begin["client"], 'FlexMusic "Log"')
        for key in ("session", "generation", "ms"):
            self.assertTrue(begin[key].isdigit(), begin.text)
        end = self.server.log.wait("session-end", peer=client.peer)
        self.assertEqual(end["session"], begin["session"])
        self.assertEqual(end["stage"], "session")
        self.assertEqual(end["commands"], "3")
        for key in ("ms", "bytes_in", "bytes_out"):
            self.assertTrue(end[key].isdigit(), end.text)


class Packets(harness.ServerCase):
    """What the server sends, byte for byte."""

    def test_packets(self):
        with self.server.client() as client:
            self.assertEqual(client.read_banner(), b"FlexMusic Server,0.0.0")
            client.send_version()
            client.read_params()
            numbers = client.params.parameter_numbers()
            self.assertEqual(numbers.g, 2)
            self.assertEqual(numbers.p.bit_length(), 1024)
            self.assertEqual(numbers.p % 24, 23)
            self.assertEqual(client.params_pem, harness.params_pem(numbers.p))
            client.send_key()
            client.read_key()
            public = fmltp.serialization.load_pem_public_key(client.last)
            y = public.public_numbers().y
            self.assertEqual(client.last, fmltp.pem(
                b"PUBLIC KEY", fmltp.spki(numbers.p, 2, y)))
            self.assertTrue(1 < y < numbers.p - 1)
            client.send_challenge()
            client.read_final()
            self.assertEqual(client.final,
                             b"100 FmLTP/1.0 Interpreter Ready.\r\n")
            self.assertLess(abs(fmltp.token_time(client.last) - time.time()),
                            5 * 60)
            client.quit()

    def test_fresh_key_pairs(self):
        keys = set()
        for _ in range(10):
            with self.server.client() as client:
                client.until("kex")
                client.send_key()
                client.read_key()
                keys.add(client.last)
        self.assertEqual(len(keys), 10)

    def test_fresh_ivs(self):
        tokens = set()
        with self.server.client() as client:
            client.handshake()
            for _ in range(10):
                client.command("HELP")
                tokens.add(fmltp.base64.urlsafe_b64decode(
                    client.last.strip())[9:25])
            client.quit()
        self.assertEqual(len(tokens), 10)

    def test_ipv6(self):
        if not harness.have_ipv6():
            self.skipTest("the machine has no ::1")
        with harness.Server(host=["127.0.0.1", "::1"]) as server:
            for host in ("127.0.0.1", "::1"):
                with fmltp.Client((host, server.port)) as client:
                    session(client)
                server.log.wait("session-begin", peer=client.peer)


INVALID = b"400 Invalid command or operative.\r\n"
TOO_MANY = b"410 Too many arguments passed.\r\n"

ANSWERS = [
    # name, packet, the answer or how it begins
    ("HELP with line end", b"HELP\r\n", b"200 Available commands:\r\n"),
    ("HELP with LF", b"HELP\n", b"200 Available commands:\r\n"),
    ("HELP of HELP", b"HELP HELP", b"200 Help for HELP:\r\nUsage: HELP"),
    ("HELP of QUIT", b"HELP QUIT", b"200 Help for QUIT:\r\nUsage: QUIT"),
    ("HELP of something else", b"HELP nope",
     b"420 Command nope not found.\r\n"),
    ("HELP in small letters", b"HELP quit",
     b"420 Command quit not found.\r\n"),
    ("HELP in Greek", "HELP μουσική".encode(),
     "420 Command μουσική not found.\r\n".encode()),
    ("HELP with a long word", b"HELP " + 4091 * b"x", b"420 "),
    ("HELP with a long word in Greek", ("HELP " + 2045 * "μ").encode(),
     b"420 "),
    ("HELP with two words", b"HELP HELP QUIT", TOO_MANY),
    ("HELP with many words", b"HELP" + 2045 * b" x", TOO_MANY),
    ("QUIT with a word", b"QUIT now", TOO_MANY),
    ("an unknown command", b"PLAY", INVALID),
    ("an unknown command with words", b"PLAY a song", INVALID),
    ("a command in small letters", b"help", INVALID),
    ("a longer command", b"HELPER", INVALID),
    ("a shorter command", b"HEL", INVALID),
    ("AUTH where nobody authenticates", b"AUTH user password", INVALID),
    ("an empty packet", b"", INVALID),
    ("a line end alone", b"\r\n", INVALID),
    ("a blank alone", b" ", INVALID),
    ("a blank before", b" HELP", INVALID),
    ("a blank behind", b"HELP ", INVALID),
    ("two blanks", b"HELP  QUIT", INVALID),
    ("a blank at the end", b"HELP QUIT ", INVALID),
    ("two lines", b"HELP\r\nQUIT", INVALID),
    ("two line ends", b"HELP\r\n\r\n", INVALID),
    ("a tab", b"HELP\tQUIT", INVALID),
    ("a NUL", b"HELP\0", INVALID),
    ("a bare CR", b"HELP\rQUIT", INVALID),
    ("an escape sequence", b"HELP \x1b[2J", INVALID),
    ("DEL", b"HELP \x7f", INVALID),
    ("a C1 control", "HELP \u0085".encode(), INVALID),
    ("a line separator", "HELP \u2028".encode(), INVALID),
    ("an override of direction", "HELP \u202e".encode(), INVALID),
    ("an isolate of direction", "HELP \u2066".encode(), INVALID),
    ("bytes that are no UTF-8", b"HELP \xff\xfe", INVALID),
    ("UTF-8 cut short", b"HELP \xc3", INVALID),
    ("UTF-8 in a longer form", b"HELP \xc1\x88", INVALID),
    ("a surrogate", b"HELP \xed\xa0\x80", INVALID),
    ("past U+10FFFF", b"HELP \xf4\x90\x80\x80", INVALID),
    ("all bytes", bytes(range(256)), INVALID),
    ("4097 bytes", b"HELP " + 4092 * b"x", INVALID),
    ("6000 bytes", 6000 * b"A", INVALID),
    ("three digits without a blank", b"200", INVALID),
]


class Session(harness.ServerCase):
    """Commands and their answers."""

    def test_help(self):
        with self.server.client() as client:
            client.handshake()
            lines = client.command("HELP").split(CRLF)
            client.quit()
        self.assertEqual(lines[0], b"200 Available commands:")
        self.assertEqual(lines[-1], b"")
        self.assertEqual(lines[-2],
                         b"Run HELP <command> for more information.")
        names = []
        for line in lines[1:-2]:
            name, dash, what = line.partition(b" - ")
            self.assertEqual(dash, b" - ", line)
            self.assertTrue(what, line)
            names.append(name)
        self.assertEqual(sorted(names), [b"HELP", b"QUIT"])

    def test_all_in_one_session(self):
        with self.server.client() as client:
            client.handshake()
            for name, packet, answer in ANSWERS:
                with self.subTest(row=name):
                    self.assertEqual(client.command(packet)[:len(answer)],
                                     answer)
            client.quit()

    def test_pipelined(self):
        """Many commands at once are all answered, in order."""
        with self.server.client() as client:
            client.handshake()
            words = ["w%d" % i for i in range(60)]
            client.send(b"".join(client.seal("HELP " + w) for w in words))
            self.assertEqual(client.read_answers(len(words)),
                             [b"420 Command %s not found.\r\n" % w.encode()
                              for w in words])
            client.quit()

    def test_many_commands(self):
        with self.server.client() as client:
            client.handshake()
            for _ in range(harness.scaled(2000)):
                self.assertEqual(client.command("PLAY"), INVALID)
            client.quit()


def add_answer(name, packet, answer):
    """A test of a row of ANSWERS."""
    def test(self):
        with self.server.client() as client:
            client.handshake()
            got = client.command(packet)
            self.assertEqual(got[:len(answer)], answer)
            if answer.endswith(CRLF) and answer.count(CRLF) == 1 and \
               not answer.startswith(b"200"):
                self.assertEqual(got, answer)
            self.assertTrue(got.endswith(CRLF))
            self.assertLessEqual(len(got), 703)
            self.assertEqual(client.command("HELP")[:4], b"200 ")
            client.quit()
    setattr(Session, "test_answer_" + runner.row_name(name), test)


for answer_row in ANSWERS:
    add_answer(*answer_row)


class Closing(harness.ServerCase):
    """The last answer reaches the client, whatever it has sent."""

    def goodbye(self, client):
        self.assertEqual(client.read_answer(), b"200 Goodbye.\r\n")
        self.assertEqual(client.rest(), b"")

    def test_commands_behind_quit(self):
        for _ in range(20):
            with self.server.client() as client:
                client.handshake()
                client.send(b"".join(client.seal(text) + CRLF for text in
                                     ("QUIT", "HELP", "HELP", "QUIT")))
                self.goodbye(client)

    def test_much_behind_quit(self):
        for size in (100, 10000, 60000):
            with self.subTest(size=size), self.server.client() as client:
                client.handshake()
                client.send(client.seal("QUIT") + size * b"x")
                self.goodbye(client)

    def test_sending_ended_behind_quit(self):
        with self.server.client() as client:
            client.handshake()
            client.send_command("QUIT")
            client.sock.shutdown(fmltp.socket.SHUT_WR)
            self.goodbye(client)

    def test_sending_ended_behind_help(self):
        with self.server.client() as client:
            client.handshake()
            client.send_command("HELP")
            client.sock.shutdown(fmltp.socket.SHUT_WR)
            self.assertTrue(client.read_answer().startswith(b"200 "))
            self.assertEqual(client.rest(), b"")

    def test_client_that_never_closes(self):
        with self.server.client() as client:
            client.handshake()
            worker = self.server.worker(client.peer)
            client.send_command("QUIT")
            self.goodbye(client)
            self.server.log.wait("session-end", peer=client.peer)
            harness.wait_for("the worker's end",
                             lambda: harness.look_at(worker.pid) is None)


if __name__ == "__main__":
    runner.main()
