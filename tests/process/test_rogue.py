#!/usr/bin/python3
"""What a worker that was taken over gets, shown by workers that do what the
test's client says (tests/rogue), in the product's sandbox: system calls,
memory, its zygote's secrets, and what many attacks cost.

FLEXMUSIC_TEST_ROUNDS says how many attacks the last test makes, in place of
ROUNDS: heap and descriptors of the other processes are compared half way and
at the end.
"""

import os
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import rogue  # noqa: E402
import runner  # noqa: E402

ROUNDS = 10000
X32 = 0x40000000
UPROBES = (335, 336)  # newer kernels let these past every filter
ALLOWED = ("read", "write", "close", "ppoll", "clock_gettime", "getrandom",
           "shutdown", "exit_group", "rt_sigreturn", "restart_syscall")
# Calls that matter, with the arguments that an attacker would give.
DANGEROUS = (
    ("execve", ()), ("execveat", (-100,)), ("fork", ()), ("vfork", ()),
    ("clone", (17,)), ("clone", (0x9000,)), ("clone3", ()), ("exit", ()),
    ("socket", (2, 1, 0)), ("socket", (1, 1, 0)), ("socketpair", (1, 1)),
    ("connect", (4,)), ("bind", (4,)), ("listen", (4, 1)), ("accept", (4,)),
    ("accept4", (4,)), ("open", ()), ("openat", (-100,)),
    ("openat2", (-100,)), ("creat", ()), ("open_by_handle_at", ()),
    ("memfd_create", ()), ("memfd_secret", ()), ("ptrace", (16, 1)),
    ("process_vm_readv", (1,)), ("process_vm_writev", (1,)),
    ("process_madvise", (0,)), ("kill", (1, 9)), ("kill", (-1, 9)),
    ("tkill", (1, 9)), ("tgkill", (1, 1, 9)), ("rt_sigqueueinfo", (1, 9)),
    ("pidfd_open", (1,)), ("pidfd_send_signal", (0, 9)),
    ("pidfd_getfd", (0, 1)), ("prctl", (4, 1)), ("prctl", (1, 0)),
    ("fcntl", (4, 0)), ("fcntl", (4, 3)), ("ioctl", (4, 0x5412)),
    ("dup", (4,)), ("dup2", (4, 9)), ("dup3", (4, 9)),
    ("sendto", (4,)), ("sendto", (4, 0, 0, 0, 1, 16)), ("sendmsg", (5,)),
    ("sendmmsg", (5,)), ("recvfrom", (4,)), ("recvmmsg", (5,)),
    ("recvmsg", (4,)), ("recvmsg", (6,)), ("recvmsg", (3,)),
    ("setsockopt", (4,)), ("getsockopt", (4,)), ("getpeername", (4,)),
    ("mount", ()), ("umount2", ()), ("move_mount", ()), ("fsopen", ()),
    ("pivot_root", ()), ("chroot", ()), ("chdir", ()), ("fchdir", (0,)),
    ("bpf", ()), ("userfaultfd", ()), ("perf_event_open", ()),
    ("io_uring_setup", ()), ("io_uring_enter", ()), ("io_uring_register", ()),
    ("io_setup", ()), ("keyctl", ()), ("add_key", ()), ("request_key", ()),
    ("mmap", (0, 4096, 7, 0x22, -1)), ("mmap", (0, 4096, 3, 0x22, -1)),
    ("mprotect", (0, 4096, 5)), ("pkey_mprotect", (0, 4096, 5)),
    ("mremap", ()), ("munmap", ()), ("madvise", ()), ("brk", ()),
    ("shmget", ()), ("shmat", ()), ("msgget", ()), ("mq_open", ()),
    ("setuid", ()), ("setgid", ()), ("setresuid", ()), ("setresgid", ()),
    ("setgroups", ()), ("capset", ()), ("unshare", ()), ("setns", (0,)),
    ("seccomp", (0,)), ("seccomp", (1,)), ("landlock_restrict_self", ()),
    ("prlimit64", (0, 7)), ("setrlimit", ()), ("rt_sigaction", (31,)),
    ("rt_sigprocmask", ()), ("sigaltstack", ()), ("arch_prctl", ()),
    ("modify_ldt", ()), ("personality", ()), ("getppid", ()), ("getpid", ()),
    ("init_module", ()), ("kexec_load", ()), ("reboot", ()), ("swapon", ()),
    ("syslog", ()), ("sysinfo", ()), ("uname", ()), ("readlink", ()),
    ("stat", ()), ("access", ()), ("unlink", ()), ("rename", ()),
    ("chmod", ()), ("chown", ()), ("truncate", ()), ("name_to_handle_at", ()),
    ("inotify_init1", ()), ("fanotify_init", ()), ("timer_create", ()),
    ("sched_setscheduler", ()), ("setpriority", ()), ("futex", ()),
    ("splice", ()), ("tee", ()), ("vmsplice", ()), ("sendfile", (4, 0)),
    ("copy_file_range", ()), ("pread64", (4,)), ("pwrite64", (4,)),
    ("readv", (4,)), ("writev", (4,)), ("epoll_create1", ()),
    ("eventfd2", ()), ("signalfd4", ()), ("pipe2", ()), ("poll", ()),
    ("select", ()), ("nanosleep", ()), ("vhangup", ()), ("acct", ()))


def died(number):
    """The event of a worker's death by a signal, and its fields."""
    return {"event": "worker-died", "signal": int(number), "attack": "yes"}


class Calls(rogue.Case):
    """A server that asks for no authentication."""

    def calls(self, rows):
        """Each of these calls is the end."""
        self.attack(rogue.Attack(
            row, lambda r, row=row: r.tell("call", *(a & 2 ** 64 - 1
                                                     for a in row)),
            **died(signal.SIGSYS)) for row in rows)

    @harness.unittest.skipIf(harness.SANITIZED,
                             "sanitizers need more calls")
    def test_dangerous(self):
        """What an attacker would want, by name."""
        numbers = rogue.call_numbers()
        self.calls((numbers[name], *arguments)
                   for name, arguments in DANGEROUS if name in numbers)

    @harness.unittest.skipIf(harness.SANITIZED,
                             "sanitizers need more calls")
    def test_every_number(self):
        """0 to 1023, and each with the bit of x32, that is not in the list:
        tests/unit/test_sandbox.c has the filters of all roles."""
        numbers = rogue.call_numbers()
        allowed = {numbers[name] for name in ALLOWED}
        with rogue.Rogue(self.server) as r:
            recvmsg = r.where()["master"]
        self.assertEqual(recvmsg, 5)
        self.calls((number, -1, -1, -1) for number in range(1024)
                   if number not in allowed and number not in UPROBES)
        self.calls((number | X32, -1, -1, -1) for number in range(1024))

    def test_other_entry(self):
        """int 0x80: another architecture's calls, or none at all."""
        for number in (1, 2, 4, 5, 11, 102):
            with rogue.Rogue(self.server) as r:
                r.tell("call32", number, 0xffffffff)
                r.ended()
                event = self.server.log.wait("worker-died", peer=r.peer)
                self.assertIn(event["signal"], (str(int(signal.SIGSYS)),
                                                str(int(signal.SIGSEGV))))
                self.assertEqual(event["attack"], "yes")

    def test_other_deaths(self):
        """Faults; nothing that can be written to can be executed, and
        nothing else can be written to."""
        def at(command, place):
            return lambda r: r.tell(command, r.where()[place])
        self.attack([
            rogue.Attack("null", lambda r: r.tell("store", 16),
                         **died(signal.SIGSEGV)),
            rogue.Attack("write to code", at("store", "code"),
                         **died(signal.SIGSEGV)),
            rogue.Attack("execute data", at("jump", "scratch"),
                         **died(signal.SIGSEGV)),
            rogue.Attack("execute the worker's data", at("jump", "worker"),
                         **died(signal.SIGSEGV)),
            rogue.Attack("ill", lambda r: r.tell("ill"),
                         **died(signal.SIGILL)),
            rogue.Attack("fpe", lambda r: r.tell("fpe"),
                         **died(signal.SIGFPE)),
            rogue.Attack("bus", lambda r: r.tell("bus"),
                         **died(signal.SIGBUS))])

    @harness.unittest.skipIf(harness.SANITIZED,
                             "a sanitizer has a descriptor for its reports")
    def test_descriptors(self):
        """It reads and writes its own alone: the others are not there."""
        with rogue.Rogue(self.server) as r:
            place = r.where()
            own = {place["client"], place["master"], place["keys"], 0, 1, 2}
            address = r.scratch(b"x")
            for fd in range(256):
                if fd not in own:
                    self.assertEqual(r.call(1, fd, address, 1), -9, fd)
                    self.assertEqual(r.call(0, fd, address, 1), -9, fd)
            for fd in (0, 1, 2):  # /dev/null
                self.assertEqual(r.call(0, fd, address, 1), 0)
            if harness.ROOT:
                worker = self.server.worker(r.peer)
                self.assertEqual(set(harness.descriptors(worker.pid)), own)

    @harness.needs_root
    def test_a_fresh_zygote(self):
        """Workers of one zygote share its layout and its cookie; each attack
        brings others, whatever it was."""
        def secrets():
            with rogue.Rogue(self.server) as r:
                place = r.where()
                return place["code"], place["worker"], place["canary"]
        seen = set()
        for attack in (lambda r: r.tell("ill"), lambda r: r.tell("store", 16),
                       lambda r: r.send(r.where()["master"], b"?"),
                       lambda r: r.send(r.where()["keys"], b"?"),
                       lambda r: r.tell("call", 500)):
            self.assertEqual(secrets(), secrets())
            self.assertFalse(seen & set(secrets()))
            seen.update(secrets())
            before = self.server.one("zygote").pid
            with rogue.Rogue(self.server) as r:
                r.where()
                attack(r)
                r.ended()
            harness.wait_for("another zygote", lambda: [
                p for p in self.server.role("zygote") if p.pid != before])
        self.assertEqual(len(seen), 15)


def key_schedule(key):
    """A session's AES key as the first words of its schedule, in either
    order of bytes: a worker keeps no other form of it."""
    words = struct.unpack(">4I", key[16:])
    return key[16:], struct.pack("<4I", *words)


class Memory(rogue.Case):
    """What lies in the memory of a worker that was taken over."""

    USERS = {"quaverley": "a semibreve of silence",
             "crotchetta": "mordents and trills"}
    NAMES = (b"FlexMusic Zephyrine", b"FlexMusic Ocarinaut")
    COMMAND = "HELP Bombardon"

    @harness.needs_root
    @harness.unittest.skipIf(harness.SANITIZED,
                             "a sanitizer's shadow is terabytes")
    def test_no_other_session(self):
        """Peers, names, users, passwords, packets, keys of sessions that were
        there before; configuration; penalties: nothing of it."""
        server = self.server
        penalised = "127.251.99.99"
        with rogue.Rogue(server, source=penalised) as r:
            r.tell("ill")
            r.ended()
        server.log.wait("penalty", source=penalised)
        sessions = []
        for name, (user, password) in zip(self.NAMES, self.USERS.items()):
            client = server.client()
            self.addCleanup(client.close)
            client.handshake(name + b",0.0.0\r\n")
            client.auth(user, password)
            client.command(self.COMMAND)
            sessions.append(client)
        begun = server.client()
        self.addCleanup(begun.close)
        begun.until("kex", b"FlexMusic Glockenspieler,0.0.0\r\n")
        with rogue.Rogue(server) as r:
            r.where()
            own = rogue.memory(server.worker(r.peer).pid)
        self.assertIn(r.peer.encode(), own)
        secrets = [penalised, server.directory, server.state_dir,
                   server.config_path, server.keys["auth_file"], "auth_file",
                   str(self.USERS["quaverley"]), "$6$", "Bombardon",
                   "Glockenspieler", begun.peer, self.other.peer]
        secrets += list(self.USERS) + list(self.USERS.values())
        secrets += [client.peer for client in sessions]
        secrets = [text.encode() for text in secrets] + list(self.NAMES)
        for client in sessions + [self.other]:
            secrets += [client.key[:16], *key_schedule(client.key)]
        for text in secrets:
            with self.subTest(text=text):
                self.assertNotIn(text, own)
        # That the search finds what is there:
        for client, name in zip(sessions, self.NAMES):
            theirs = rogue.memory(server.worker(client.peer).pid)
            for text in (client.peer.encode(), name):
                self.assertIn(text, theirs)
            self.assertTrue([text for text in key_schedule(client.key)
                             if text in theirs])
        master = rogue.memory(server.pid)
        for text in (server.state_dir, "quaverley"):
            self.assertIn(text.encode(), master)
        # The master has no key and no password.
        for client in sessions:
            for text in (client.key[:16], *key_schedule(client.key)):
                self.assertNotIn(text, master)
        for text in self.USERS.values():
            self.assertNotIn(text.encode(), master)


class Cost(harness.OwnServerCase):
    """What attacks cost those who make them."""

    def test_penalty_and_delay(self):
        """The address is turned away at once; and from the ninth attack on,
        whatever addresses they come from, accepts are delayed, longer each
        time."""
        server = self.start(binary=rogue.DAEMON, penalty_exempt=[])
        other = server.client().handshake()
        rogues = [rogue.Rogue(server) for _ in range(12)]
        for r in rogues:
            r.where()
        for i, r in enumerate(rogues):
            r.send(r.where()["master"], b"?")
            r.ended()
            r.close()
            server.log.wait("penalty", source=r.source, offence="crash")
            if i == 0:
                with rogue.Rogue(server, source=r.source) as again:
                    self.assertTrue(again.ended().startswith(b"FlexMusic"))
                event = server.log.wait("connection-refused",
                                        peer=again.peer)
                self.assertEqual(event["reason"], "penalised", event.text)
        server.log.wait("accept-delayed", count=4)
        delays = [e["delay_ms"] for e in server.log.find("accept-delayed")]
        self.assertEqual(delays, ["1000", "2000", "4000", "8000"])
        self.assertTrue(other.command("HELP").startswith(b"200 "))
        self.serves(server)
        other.quit()


class Leaks(rogue.Case):
    """Many attacks leave nothing behind."""

    USERS = {"melody": "wrong notes only"}
    # With penalties, what is known of each address would stay for an hour.
    SERVER = {"penalty_exempt": ["127.0.0.0/8"]}

    def lockdown(self, r):
        """A rogue's channel to auth."""
        r.sent(r.where()["master"], self.table.bytes(
            "ESTABLISHED", rogue.Established(client=rogue.Client(b"F"))))
        self.assertTrue(r.wait(r.where()["master"]))
        _, fds = r.receive_fds(r.where()["master"])
        return fds[0]

    def crowd(self):
        """More at a time than there will be later: libevent keeps a record
        for each number that a descriptor ever had."""
        rogues = [rogue.Rogue(self.server) for _ in range(64)]
        for r in rogues:
            self.lockdown(r)
        for r in rogues:
            r.close()
        self.alone()

    def attacks(self):
        """One of each kind that leaves the other processes something to tidy
        up."""
        established = self.table.bytes("ESTABLISHED", rogue.Established(
            client=rogue.Client(b"F")))
        kex = self.table.bytes("KEX", rogue.Kex(
            y=(rogue.u8 * 1024)(*[0] * 127 + [2])))

        lockdown = self.lockdown

        def master(r):
            r.send(r.where()["master"], b"?")

        def keys(r):
            r.send(r.where()["keys"], b"?")

        def exchange(r):
            r.sent(r.where()["keys"], kex)
            r.send(r.where()["master"], b"?")

        def auth(r):
            r.send(lockdown(r), b"?")

        def result(r):
            r.send(lockdown(r), self.table.bytes("AUTH_RESULT"))

        def attempt(r):
            r.sent(lockdown(r), self.table.bytes(
                "AUTH", rogue.Auth(b"melody", b"no")))
            r.tell("ill")

        def call(r):
            r.tell("call", 57)

        def unread(r):
            r.sent(r.where()["master"], established)
            r.tell("store", 16)
        return (master, keys, exchange, auth, result, attempt, call, unread)

    def rounds(self, count):
        """So many attacks, one after the other."""
        kinds = self.attacks()
        for i in range(count):
            with rogue.Rogue(self.server) as r:
                kinds[i % len(kinds)](r)
                r.ended()
        self.alone()

    def live(self, heap):
        """Allocations and descriptors of each process, when all is quiet."""
        state = {"footprint": self.server.footprint()}
        for p in self.server.processes():
            if p.role in ("master", "keys", "auth"):
                state[p.title.split(" [")[0], p.pid] = heap.of(p.pid)
        return state

    @harness.needs_root
    @harness.unittest.skipIf(harness.SANITIZED,
                             "a sanitizer has its own allocator")
    def test_heap_and_descriptors(self):
        """Live heap and descriptors of master, keys and auth are the same in
        the middle of many attacks and at their end."""
        count = int(os.environ.get("FLEXMUSIC_TEST_ROUNDS") or ROUNDS)
        heap = rogue.Heap()
        self.crowd()
        self.rounds(count // 2)
        made = count // 2
        # What libcrypto keeps from its first need on may come late, and then
        # stays; what leaks goes on.
        for _ in range(3):
            middle = self.steady(heap)
            self.rounds(count - count // 2)
            made += count - count // 2
            end = self.steady(heap)
            if end == middle:
                break
        self.assertEqual(end, middle)
        alerts = [e for e in self.server.log.read() if " alert: " in e.text]
        self.assertEqual(len(alerts), made)

    def steady(self, heap):
        """The same figures twice, a second apart: key pairs are made ahead,
        attempts come to their end."""
        seen = [None]

        def same():
            before, seen[0] = seen[0], self.live(heap)
            return before == seen[0]
        harness.wait_for("quiet", same, pause=1.0)
        return seen[0]


if __name__ == "__main__":
    runner.main()
