#!/usr/bin/python3
"""What the zygote could do that was taken over, shown by one that does it
(tests/rogue): every message on its channel, answers that are wrong, early or
made up, descriptors that are no process's, and calls that it does not have.

The master ends it, says so, starts another, and goes on serving; sessions that
there are do not notice.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import rogue  # noqa: E402
import runner  # noqa: E402

EMPTY, SIZE, TYPE = "empty-message", "wrong-size", "unknown-type"
FDS, REFUSED = "unexpected-descriptor", "refused-content"
CHANNEL = 3  # the zygote's


class Zygote(rogue.Case):
    """A server whose zygote does what a client says."""

    def last(self):
        """The number of the last session that there was."""
        with self.server.client() as client:
            client.handshake()
            begin = self.server.log.wait("session-begin", peer=client.peer)
            client.quit()
        return int(begin["session"])

    def falls(self, act, event, **fields):
        """A zygote does that: one line tells of it, and another takes its
        place."""
        mark = self.server.log.mark()
        with rogue.Rogue(self.server, rogue.ZYGOTE) as r:
            r.where()
            act(r)
            r.ended()
            log = self.server.log
            told = log.wait(event, mark, role="zygote", **fields)
            died = log.wait("helper-died", mark, role="zygote")
            self.assertEqual(died["pid"], told["pid"])
            self.assertEqual(died["signal"], fields.get(
                "signal", str(int(signal.SIGKILL))))
            log.wait("sandbox", mark, role="zygote")
        alerts = [e.name for e in log.read()[mark:] if " alert: " in e.text]
        self.assertEqual(alerts, [event])

    def violates(self, kind, *messages):
        """It is caught by the first of these messages."""
        def act(r):
            for message in messages:
                if isinstance(message, tuple):
                    r.send_fds(CHANNEL, *message)
                else:
                    r.send(CHANNEL, message)
        self.falls(act, "channel-violation", kind=kind)

    def test_every_message(self):
        """Each type, at each border of its size."""
        for name in self.table.names:
            right, most = self.table.sizes[name], self.table.most
            for size in sorted({0, 1, 3, 4, right - 1, right, right + 1, most,
                                most + 1}):
                if size == 0:
                    kind = EMPTY
                elif size < rogue.HEADER or size > most:
                    kind = SIZE
                elif name not in ("SPAWNED", "SPAWN_FAILED"):
                    kind = TYPE
                elif size != right:
                    kind = SIZE
                else:  # for a session that is not there; without a pidfd
                    kind = FDS if name == "SPAWNED" else REFUSED
                with self.subTest(message=name, size=size):
                    self.violates(kind, self.table.bytes(name, size=size))

    def test_descriptors(self):
        """As many as the message has, and no others."""
        spawned = self.table.bytes("SPAWNED")
        failed = self.table.bytes("SPAWN_FAILED")
        before = self.server.at_rest()
        for message, fds in ((spawned, [0, 0]), (spawned, [0] * 3),
                             (spawned, [0] * 4), (spawned, [0] * 250),
                             (failed, [0]), (self.table.bytes("END"), [0])):
            with self.subTest(fds=len(fds)):
                self.violates(TYPE if len(fds) == 1 and message != failed
                              else FDS, (message, fds))
        self.assertEqual(self.server.settle(before), before)

    def test_other_sessions(self):
        """Numbers that it has not to answer for: of nobody, of a session that
        goes on, of the next."""
        begin = self.server.log.wait("session-begin", peer=self.other.peer)
        last = self.last()
        for session in (0, int(begin["session"]), last, last + 2, 2 ** 64 - 1):
            with self.subTest(session=session):
                self.violates(REFUSED, self.table.bytes(
                    "SPAWN_FAILED", rogue.SpawnFailed(session=session)))
                last = self.last()

                def act(r, number=session):
                    r.tell("fork")
                    pid, pidfd = map(int, r.line().split())
                    r.send_fds(CHANNEL, self.table.bytes(
                        "SPAWNED", rogue.Spawned(pid=pid, session=number)),
                        [pidfd])
                self.falls(act, "channel-violation", kind=REFUSED)
                last = self.last()

    def test_no_process(self):
        """In place of a process: /dev/null, the client, a channel, its own
        end of the master's channel."""
        for fd in (0, CHANNEL, 4, 5, 6):
            with self.subTest(fd=fd):
                number = self.last() + 1
                self.violates(REFUSED, (self.table.bytes(
                    "SPAWNED", rogue.Spawned(pid=1, session=number)), [fd]))
                self.assertTrue(self.server.alive())

    def test_one_process_for_two(self):
        """The end of a process is that of every session that has it."""
        number = self.last() + 1
        mark = self.server.log.mark()
        with rogue.Rogue(self.server, rogue.ZYGOTE) as r:
            r.where()
            with self.server.client() as second:
                r.tell("fork")
                pid, pidfd = map(int, r.line().split())
                for session in (number, number + 1):
                    r.send_fds(CHANNEL, self.table.bytes(
                        "SPAWNED", rogue.Spawned(pid=pid, session=session)),
                        [pidfd])
                    self.assertGreater(int(r.line()), 0)
                harness.kill(pid, signal.SIGKILL)
                for peer in (r.peer, second.peer):
                    self.server.log.wait("handshake-failed", mark, peer=peer)
                self.idle()
                # Its queue has the second client's connection still.
                harness.kill(self.server.one("zygote").pid, signal.SIGKILL)
                self.server.log.wait("helper-died", mark, role="zygote")

    def idle(self):
        """The master does not spin: it waits more than it runs."""
        pid = self.server.pid
        before = harness.Process(pid)
        for _ in range(20):
            self.assertTrue(self.other.command("HELP"))
            harness.time.sleep(0.02)
        after = harness.Process(pid)
        self.assertLess(after.ticks - before.ticks, 20)

    def test_twice(self):
        """A second answer for one session is none of its business."""
        number = self.last() + 1

        def act(r):
            r.tell("fork")
            pid, pidfd = map(int, r.line().split())
            for _ in range(2):
                r.send_fds(CHANNEL, self.table.bytes(
                    "SPAWNED", rogue.Spawned(pid=pid, session=number)),
                    [pidfd])
        self.falls(act, "channel-violation", kind=REFUSED)

    def test_flood(self):
        """Whatever comes behind the first is not looked at, though it is
        all there when the master looks."""
        def act(r):
            os.kill(self.server.pid, signal.SIGSTOP)
            for _ in range(40):
                r.sent(CHANNEL, self.table.bytes("END"))
            os.kill(self.server.pid, signal.SIGCONT)
        self.falls(act, "channel-violation", kind=TYPE)

    def test_failures(self):
        """It may say that it can't fork, with any errno: that connection is
        closed, and nothing else."""
        for error in (0, -1, 11, 2 ** 31 - 1, -2 ** 31):
            number = self.last() + 1
            mark = self.server.log.mark()
            with rogue.Rogue(self.server, rogue.ZYGOTE) as r:
                r.where()
                r.sent(CHANNEL, self.table.bytes(
                    "SPAWN_FAILED", rogue.SpawnFailed(error=error,
                                                      session=number)))
                event = self.server.log.wait("spawn-failed", mark,
                                             peer=r.peer)
                self.assertEqual(event["session"], str(number))
            # It forks for that client now, which nobody asked for.
            self.server.log.wait("helper-died", mark, role="zygote")

    def test_violation_before_the_fork(self):
        """A channel that is misused before the worker is known: it is killed
        as soon as it is, not when its time is up."""
        mark = self.server.log.mark()
        with rogue.Rogue(self.server, rogue.ZYGOTE) as r:
            r.where()
            keys = 6  # the worker's end, still in the zygote
            r.send(keys, b"?")
            self.server.log.wait("channel-violation", mark, peer=r.peer,
                                 channel="keys")
            r.tell("leave")
            end = self.server.log.wait("handshake-failed", mark, peer=r.peer)
            self.assertEqual(end["reason"], "channel-violation")
            # SESSION_LINGER_MS is what an honest worker would have got.
            self.assertLess(int(end["ms"]), 3000)

    def test_silence(self):
        """One that does not fork is given up; others wait no longer."""
        mark = self.server.log.mark()
        with rogue.Rogue(self.server, rogue.ZYGOTE) as r:
            r.where()
            with self.server.client() as behind:
                stuck = self.server.log.wait("helper-stuck", mark,
                                             role="zygote")
                self.server.log.wait("helper-died", mark, pid=stuck["pid"])
                self.server.log.wait("spawn-failed", mark, peer=behind.peer)

    @harness.unittest.skipIf(harness.SANITIZED,
                             "sanitizers need these calls")
    def test_forbidden_calls(self):
        """Of which a fork with other flags, and messages to others."""
        calls = rogue.call_numbers()
        for name, arguments in (
                ("execve", ()), ("fork", ()), ("vfork", ()), ("clone3", ()),
                ("clone", (0x11,)), ("clone", (0x8000 | 0x1000 | 0x100,)),
                ("clone", (0x8000,)), ("socket", (1, 1, 0)), ("openat", ()),
                ("connect", (4,)), ("ptrace", ()), ("kill", (1, 9)),
                ("tgkill", (1, 1, 9)), ("pidfd_open", (1,)),
                ("pidfd_send_signal", (0,)), ("sendmsg", (4,)),
                ("recvmsg", (4,)), ("sendto", (3,)), ("mmap", ()),
                ("mprotect", ()), ("prctl", (4, 1)), ("prctl", (1, 0)),
                ("prctl", (15,)), ("prlimit64", (1, 6)),
                ("prlimit64", (0, 4)), ("seccomp", (0,)),
                ("seccomp", (1, 1)), ("dup2", (0, 9)), ("setuid", (0,)),
                ("process_vm_readv", (1,)), ("unshare", ()), ("mount", ())):
            with self.subTest(call=name, arguments=arguments):
                self.falls(lambda r, n=name, a=arguments: r.tell(
                    "call", calls[n], *a), "helper-died",
                    signal=str(int(signal.SIGSYS)))


if __name__ == "__main__":
    runner.main()
