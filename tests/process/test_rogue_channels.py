#!/usr/bin/python3
"""What a worker that was taken over can do with its channels, shown by workers
that do it (tests/rogue): every type of message on each channel, in each state,
in wrong sizes and moments, made-up contents, floods and silence.

The worker dies, its address pays, one line at LOG_ALERT says why, and nobody
else notices; or, where it broke no rule, nothing happens at all.
"""

import errno
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: E402
    Ed25519PublicKey)

import harness  # noqa: E402
import rogue  # noqa: E402
import runner  # noqa: E402

USERS = {"melody": "wrong notes only"}
EMPTY, SIZE, TYPE = "empty-message", "wrong-size", "unknown-type"
MOMENT, REFUSED, FLOOD = "wrong-moment", "refused-content", "flood"

# What each channel takes, in which state.
RULES = {
    "master": {"ESTABLISHED": ("handshake",),
               "ACTIVE": ("established", "lockdown"),
               "END": ("handshake", "established", "lockdown")},
    "keys": {"KEX": ("handshake",), "IDENT": ("exchanged",)},
    "auth": {"AUTH": ("lockdown",)},
}


def violation(channel, kind):
    """The event that tells of one, and its fields."""
    return {"event": "channel-violation", "channel": channel, "kind": kind}


class Case(rogue.Case):
    """Attackers that reach a state of their session first."""

    def reach(self, r, state):
        """The rogue says what a worker says up to there."""
        if state == "handshake":
            return
        if state == "exchanged":
            r.exchange = self.exchange_keys(r)
            return
        r.send(r.where()["master"], self.table.bytes(
            "ESTABLISHED", rogue.Established(client=rogue.Client(b"F"))))
        self.assertEqual(int(r.line()), self.table.sizes["ESTABLISHED"])
        if state == "lockdown":
            self.assertTrue(r.wait(r.where()["master"]))
            message, fds = r.receive_fds(r.where()["master"])
            self.assertEqual(len(message), self.table.sizes["LOCKDOWN"])
            r.auth, = fds

    def exchange_keys(self, r, y=2):
        """An exchange, of which keys keeps what IDENT signs: its answer."""
        keys = r.where()["keys"]
        r.sent(keys, self.table.bytes("KEX", rogue.Kex(
            y=(rogue.u8 * 1024)(*y.to_bytes(128, "big")))))
        self.assertTrue(r.wait(keys))
        reply = rogue.KexReply.from_buffer_copy(r.received(keys))
        self.assertEqual(reply.error, 0)
        return reply

    def on(self, channel, state, *messages):
        """What an attacker does: these messages, on that channel, in that
        state."""
        def act(r):
            self.reach(r, state)
            fd = r.auth if channel == "auth" else r.where()[channel]
            for message in messages:
                r.send(fd, message)
        return act

    def kind(self, channel, state, name, size, said):
        """How a message of so many bytes is judged; None: it is taken."""
        if size == 0:
            return EMPTY
        if size < rogue.HEADER or size > self.table.most:
            return SIZE
        if name not in RULES[channel]:
            return TYPE
        if size != self.table.sizes[name] or said != size:
            return SIZE
        if state not in RULES[channel][name]:
            return MOMENT
        return None

    def wrong(self, channel, state, sizes):
        """An attack for each type of message and each size that `sizes` says
        for it, but those that are right."""
        for name in self.table.names:
            for size, said in sizes(name):
                kind = self.kind(channel, state, name, size, said)
                if kind is not None:
                    yield rogue.Attack(
                        (channel, state, name, size, said),
                        self.on(channel, state, self.table.bytes(
                            name, size=size, said=said)),
                        **violation(channel, kind))

    def borders(self, name):
        """Sizes of a message at which something may change."""
        right, most = self.table.sizes[name], self.table.most
        for size in sorted({0, 1, rogue.HEADER - 1, rogue.HEADER, right - 1,
                            right, right + 1, most, most + 1}):
            yield size, size & 0xffff
        yield right, right + 1
        yield right, 0

    def every(self, name, channel):
        """Every size of what the channel takes, to its right one and one
        more."""
        if name in RULES[channel]:
            for size in range(self.table.sizes[name] + 2):
                yield size, size
                yield size, self.table.sizes[name]

    def matrix(self, channel, state):
        """Each type in the sizes of `borders`."""
        made = self.attack(self.wrong(channel, state, self.borders))
        self.assertGreater(made, 8 * len(self.table.names))


class Open(Case):
    """A server that asks for no authentication."""

    def test_master_in_the_handshake(self):
        self.matrix("master", "handshake")

    def test_master_in_the_session(self):
        self.matrix("master", "established")

    def test_keys(self):
        self.matrix("keys", "handshake")

    @harness.unittest.skipIf(harness.SANITIZED, "thousands of attacks")
    def test_every_size(self):
        """Of what the channel takes."""
        for channel in ("master", "keys"):
            self.attack(self.wrong(channel, "handshake",
                                   lambda name, c=channel: self.every(name,
                                                                      c)))

    def test_after_the_end(self):
        """Nothing is heard any more, whatever it is."""
        last = self.table.bytes("END", rogue.End())
        self.attack(
            rogue.Attack(("after END", name), self.quit_after(self.on(
                "master", "established", last, self.table.bytes(name),
                b"", b"x" * (self.table.most + 1))))
            for name in self.table.names)

    def quit_after(self, act):
        """Does that, hears how it went, and ends."""
        def acts(r):
            act(r)
            r.tell("call", 231, 0)
        return acts

    def test_twice(self):
        """ESTABLISHED comes once."""
        established = self.table.bytes("ESTABLISHED", rogue.Established(
            client=rogue.Client(b"FlexMusic twice")))
        self.attack([rogue.Attack("ESTABLISHED twice", self.on(
            "master", "handshake", established, established),
            **violation("master", MOMENT))])

    def test_flood(self):
        """ACTIVE comes once in five seconds, and a batch is 16."""
        active = self.table.bytes("ACTIVE")
        for count in (2, 3, 16, 17, 64):
            self.attack([rogue.Attack(("ACTIVE", count), self.on(
                "master", "established", *[active] * count),
                **violation("master", FLOOD))])

    def test_out_of_range(self):
        """Numbers that are none of their kind."""
        for fields in ({"error": 2 ** 32 - 1}, {"error": 200}, {"end": 6},
                       {"end": 2 ** 31}, {"stage": 4},
                       {"stage": 2 ** 32 - 1}):
            for state in ("handshake", "established"):
                self.attack([rogue.Attack((fields, state), self.on(
                    "master", state,
                    self.table.bytes("END", rogue.End(**fields))),
                    **violation("master", REFUSED))])

    def test_name_without_end(self):
        """A name that fills its place, with no NUL behind it."""
        client = rogue.Client(b"x" * 129)
        for name, message in (("ESTABLISHED", rogue.Established(
                client=client)), ("END", rogue.End(client=client))):
            self.attack([rogue.Attack(name, self.on(
                "master", "handshake", self.table.bytes(name, message)),
                **violation("master", REFUSED))])

    def test_text(self):
        """A name is quoted whatever it is: it makes no line, no field and no
        control character."""
        for text in (b"\n2026 flexmusicd[1]: alert: event=fatal error=\"x\"\n",
                     b"%s%n%x%p%999999d", b"\x1b]0;owned\x07\x1b[2J\x9b31m",
                     b'" session=1 event=authenticated user="root',
                     b"\\\\\\\"\\", bytes(range(1, 129)),
                     bytes(range(128, 256)), b"\r\n" * 60, b"\x7f" * 128):
            client = rogue.Client(text, signature=(65535, 65535, 65535))
            shown = text.decode("utf-8", "replace")
            with self.subTest(text=text):
                mark = self.server.log.mark()
                with rogue.Rogue(self.server) as r:
                    master = r.where()["master"]
                    r.sent(master, self.table.bytes(
                        "ESTABLISHED", rogue.Established(client=client)))
                    begin = self.server.log.wait("session-begin", mark,
                                                 peer=r.peer)
                    self.assertEqual(begin["client"], shown)
                with rogue.Rogue(self.server) as r:
                    self.quit_after(self.on(
                        "master", "handshake", self.table.bytes(
                            "END", rogue.End(error=5, client=client))))(r)
                    end = self.server.log.wait("handshake-failed", mark,
                                               peer=r.peer)
                    self.assertEqual(end["client"], shown)
                self.alone()
                lines = [e for e in self.server.log.read()[mark:]
                         if " debug: " not in e.text]
                self.assertEqual(
                    sorted(e.name for e in lines),
                    ["handshake-failed", "session-begin", "session-end"])

    def test_closed(self):
        """A channel that is closed is a quiet end, in each state; one that
        is shut down for writing alone looks as an empty message does."""
        established = self.table.bytes("ESTABLISHED", rogue.Established(
            client=rogue.Client(b"F")))
        attacks = []
        for channel, state in (("master", "handshake"), ("keys", "handshake"),
                               ("master", "established"),
                               ("keys", "established")):
            for name, number, how, kind in (
                    ("close", 3, 0, None), ("shutdown both", 48, 2, None),
                    ("shutdown writing", 48, 1, EMPTY)):
                def act(r, c=channel, s=state, n=number, h=how):
                    self.reach(r, s)
                    r.tell("call", n, r.where()[c], h)
                    # It goes on as if nothing were.
                    r.tell("call", 1, r.where()[c],
                           r.scratch(established), len(established))
                    if h != 1:
                        r.tell("call", 231, 0)
                attacks.append(rogue.Attack(
                    (channel, state, name), act,
                    **(violation(channel, kind) if kind else {})))
        self.attack(attacks)

    def exchange(self, *messages):
        """What keys answers to these messages, until it closes."""
        with rogue.Rogue(self.server) as r:
            keys = r.where()["keys"]
            for message in messages:
                r.sent(keys, message)
            replies = []
            while True:
                self.assertTrue(r.wait(keys))
                got = r.received(keys)
                if got == b"":
                    return replies
                if got != -errno.ECONNRESET:  # what it did not read
                    replies.append(rogue.KexReply.from_buffer_copy(got))

    def test_one_exchange(self):
        """keys answers once; whatever follows has no answer."""
        kex = self.table.bytes("KEX", rogue.Kex(
            y=(rogue.u8 * 1024)(*[0] * 127 + [2])))
        for count in (1, 2, 3):
            reply, = self.exchange(*[kex] * count)
            self.assertEqual(reply.error, 0)
            self.assertNotEqual(bytes(reply.key), bytes(32))
        reply, = self.exchange(self.table.bytes("KEX"))
        self.assertNotEqual(reply.error, 0)
        self.assertEqual(bytes(reply.key) + bytes(reply.y), bytes(1056))

    def test_unread(self):
        """Answers that are not fetched hold up nobody."""
        kex = self.table.bytes("KEX", rogue.Kex(
            y=(rogue.u8 * 1024)(*[0] * 127 + [2])))
        rogues = [rogue.Rogue(self.server) for _ in range(32)]
        for r in rogues:
            r.sent(r.where()["keys"], kex)
        for _ in range(4):
            self.connect().quit()
        for r in rogues:
            r.close()
        self.alone()

    @harness.unittest.skipIf(harness.SANITIZED,
                             "sanitizers need these calls")
    def test_descriptors_cannot_be_sent(self):
        """There is no call for it."""
        def act(r):
            r.send_fds(r.where()["master"], self.table.bytes(
                "ESTABLISHED", rogue.Established()), [0])
        self.attack([rogue.Attack("sendmsg", act, "worker-died", signal=31,
                                  attack="yes")])


class Identity(Case):
    """A server with a long-term key, which signs one exchange a channel."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="flexmusic-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.SERVER = {"identity_file": os.path.join(folder.name, "key.pem")}
        super().setUpClass()
        with cls.server.client() as client:
            client.handshake()
            numbers = client.params.parameter_numbers()
        cls.prime = numbers.p.to_bytes(128, "big")

    def ident(self, r, *lines):
        """Asks for a signature: what comes, as an IdentReply, or None."""
        r.sent(r.where()["keys"], self.table.bytes("IDENT",
                                                   rogue.Ident(*lines)))
        self.assertTrue(r.wait(r.where()["keys"]))
        got = r.received(r.where()["keys"])
        return rogue.IdentReply.from_buffer_copy(got) if isinstance(
            got, bytes) and got else None

    def test_before_and_after_the_exchange(self):
        self.matrix("keys", "handshake")
        self.matrix("keys", "exchanged")

    @harness.unittest.skipIf(harness.SANITIZED, "thousands of attacks")
    def test_every_size(self):
        """Of what the channel takes."""
        self.attack(self.wrong("keys", "exchanged",
                               lambda name: self.every(name, "keys")))

    def test_no_text_of_its_own_is_signed(self):
        """Nothing but what a client or a server could have sent."""
        self.attack(
            rogue.Attack((place, name), self.on(
                "keys", "exchanged", self.table.bytes("IDENT", rogue.Ident(
                    **{place: rogue.Version(name)}))),
                **violation("keys", REFUSED))
            for place in ("server", "client")
            for name in (b"", b"Flex", b"FlexMusic" + b"x" * 120,
                         b"FlexMusic,1.0.0", b"FlexMusic\n", b"FlexMusic\r",
                         b"FlexMusic\x1b[2J", b"FlexMusic\x7f",
                         b"FlexMusic\xff"))

    def test_what_is_signed(self):
        """Its own exchange, once, with version lines of its choice: no more
        can be proved with that than what is so."""
        server = rogue.Version(b"FlexMusic Other", (9, 8, 7))
        client = rogue.Version(b"FlexMusic" + b"y" * 119, (1, 2, 65535))
        with rogue.Rogue(self.server) as r:
            self.reach(r, "exchanged")
            reply = self.ident(r, server, client)
            self.assertEqual(reply.made, 1)
            parts = (b"FlexMusic Other,9.8.7",
                     b"FlexMusic" + b"y" * 119 + b",1.2.65535", self.prime,
                     (2).to_bytes(128, "big"), bytes(r.exchange.y)[:128])
            Ed25519PublicKey.from_public_bytes(bytes(reply.public)).verify(
                bytes(reply.signature), b"FmLTP/1.0 identity\0" + b"".join(
                    len(part).to_bytes(2, "big") + part for part in parts))
            self.assertIsNone(self.ident(r, server, client))
        self.alone()
        self.assertEqual(self.server.log.find("channel-violation",
                                              peer=r.peer), [])

    def test_not_without_an_exchange_that_was_made(self):
        """A public value that keys refuses is not signed."""
        with rogue.Rogue(self.server) as r:
            keys = r.where()["keys"]
            r.sent(keys, self.table.bytes("KEX"))
            self.assertTrue(r.wait(keys))
            reply = rogue.KexReply.from_buffer_copy(r.received(keys))
            self.assertNotEqual(reply.error, 0)
            self.assertIsNone(self.ident(r))

    def test_closed(self):
        """A quiet end, before a signature is asked for and after."""
        def leaves(asked):
            def act(r):
                self.reach(r, "exchanged")
                if asked:
                    self.assertIsNotNone(self.ident(r))
                self.assertEqual(r.call(3, r.where()["keys"]), 0)
                r.tell("call", 231, 0)
            return act
        self.attack([rogue.Attack(("closed", asked), leaves(asked))
                     for asked in (False, True)])

    def test_in_lockdown(self):
        """The channel is the session's until it leaves; it is of no use for
        a second exchange."""
        kex = self.table.bytes("KEX", rogue.Kex())

        def act(r):
            self.reach(r, "exchanged")
            self.reach(r, "established")
            r.send(r.where()["keys"], kex)
        self.attack([rogue.Attack("second exchange", act,
                                  **violation("keys", MOMENT))])


class Lockdown(Case):
    """A server that authenticates."""

    USERS = USERS

    def test_master(self):
        self.matrix("master", "lockdown")

    def test_auth(self):
        self.matrix("auth", "lockdown")

    @harness.unittest.skipIf(harness.SANITIZED, "thousands of attacks")
    def test_every_size(self):
        """Of what auth takes."""
        self.attack(self.wrong("auth", "lockdown",
                               lambda name: self.every(name, "auth")))

    def test_made_up_results(self):
        """Only auth says who somebody is."""
        for channel in ("master", "auth"):
            for outcome in (0, 1, 5):
                result = self.table.bytes("AUTH_RESULT", rogue.AuthResult(
                    outcome=outcome, session=1, attempt=1,
                    user=(rogue.u8 * 33)(*b"melody")))
                self.attack([rogue.Attack(
                    (channel, outcome), self.on(channel, "lockdown", result),
                    **violation(channel, TYPE))])
        for channel in ("master", "auth"):
            self.attack([rogue.Attack(
                (channel, "reply"), self.on(
                    channel, "lockdown",
                    self.table.bytes("AUTH_REPLY", rogue.AuthReply())),
                **violation(channel, TYPE))])
        for e in self.server.log.find("authenticated"):
            self.assertFalse(e["peer"].startswith(rogue.WORKER), e.text)

    def test_lengths(self):
        """A name or a password that is longer than it can be."""
        for fields in ({"user_len": 33}, {"password_len": 512},
                       {"user_len": 2 ** 32 - 1}, {"password_len": 2 ** 31},
                       {"user_len": 2 ** 32 - 1,
                        "password_len": 2 ** 32 - 1}):
            self.attack([rogue.Attack(fields, self.on(
                "auth", "lockdown", self.table.bytes("AUTH", rogue.Auth(
                    b"melody", b"x", **fields))),
                **violation("auth", REFUSED))])

    def test_two_attempts_at_once(self):
        """The next comes after the answer."""
        attempt = self.table.bytes("AUTH", rogue.Auth(b"melody", b"guess"))
        for count in (2, 16):
            self.attack([rogue.Attack(("AUTH", count), self.on(
                "auth", "lockdown", *[attempt] * count),
                **violation("auth", MOMENT))])

    def test_text(self):
        """Names are quoted; one with a NUL is nobody's."""
        for user in (b"\nevent=authenticated", b"%n%n%s", b"\x1b[2J\x07",
                     bytes(range(1, 33)), bytes(range(224, 256)), b"a\0b"):
            with self.subTest(user=user):
                mark = self.server.log.mark()
                with rogue.Rogue(self.server) as r:
                    self.on("auth", "lockdown", self.table.bytes(
                        "AUTH", rogue.Auth(user, b"x")))(r)
                    failed = self.server.log.wait("auth-failed", mark,
                                                  peer=r.peer)
                    self.assertEqual(
                        failed["user"], "" if b"\0" in user else
                        user.decode("utf-8", "replace"))

    def test_attempts_are_limited(self):
        """No more than the client has, whoever asks; and each refusal waits
        for its time."""
        with rogue.Rogue(self.server) as r:
            self.reach(r, "lockdown")
            attempt = self.table.bytes("AUTH", rogue.Auth(b"melody", b"no"))
            outcomes = []
            while r.sent(r.auth, attempt) > 0:
                self.assertTrue(r.wait(r.auth))
                reply = r.received(r.auth)
                if not isinstance(reply, bytes) or not reply:
                    break
                outcomes.append(
                    rogue.AuthReply.from_buffer_copy(reply).outcome)
            self.assertEqual(outcomes, [1, 1, 2])
            self.assertEqual(len(self.server.log.find(
                "auth-failed", peer=r.peer)), 3)
            self.assertEqual(self.server.log.find(
                "authenticated", peer=r.peer), [])

    def test_closed_at_each_step(self):
        """Quiet ends: before LOCKDOWN is fetched, after it, and with an
        attempt under way."""
        attempt = self.table.bytes("AUTH", rogue.Auth(b"melody", b"guess"))

        def unread(r):
            self.reach(r, "established")
            r.tell("call", 231, 0)

        def shut(r):
            self.reach(r, "lockdown")
            self.assertEqual(r.call(48, r.auth, 2), 0)
            r.tell("call", 231, 0)

        def closed(r):
            self.reach(r, "lockdown")
            self.assertEqual(r.call(3, r.auth), 0)
            r.tell("call", 231, 0)

        def leaves(r):
            self.reach(r, "lockdown")
            self.assertEqual(r.call(3, r.where()["master"]), 0)
            self.assertEqual(r.call(3, r.auth), 0)
            r.tell("call", 231, 0)
        self.attack([rogue.Attack("LOCKDOWN unread", unread),
                     rogue.Attack("shut down", shut),
                     rogue.Attack("closed", closed),
                     rogue.Attack("both closed", leaves)])
        mark = self.server.log.mark()
        with rogue.Rogue(self.server) as r:
            self.on("auth", "lockdown", attempt)(r)
        self.alone()
        self.assertEqual([e.text for e in self.server.log.read()[mark:]
                          if " alert: " in e.text], [])

    def test_lockdown_without_its_descriptor(self):
        """Fetched with read(2), the message has none: the channel is closed,
        and that is all."""
        def act(r):
            self.reach(r, "established")
            master = r.where()["master"]
            self.assertTrue(r.wait(master))
            self.assertEqual(len(r.received(master)),
                             self.table.sizes["LOCKDOWN"])
            r.tell("call", 231, 0)
        self.attack([rogue.Attack("read", act)])

    def test_nothing_is_sent_twice(self):
        """A second ESTABLISHED brings no second channel to auth, but the
        end."""
        established = self.table.bytes("ESTABLISHED", rogue.Established(
            client=rogue.Client(b"F")))
        self.attack([rogue.Attack(
            "ESTABLISHED twice",
            self.on("master", "lockdown", established),
            **violation("master", MOMENT))])


if __name__ == "__main__":
    runner.main()
