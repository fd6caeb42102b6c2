#!/usr/bin/python3
"""Each process's sandbox, read back from /proc and compared with the source's
own tables: those that docs/SECURITY.md section 3 is made of.

Servers with each role in them: with a users file, with PAM, with a search
under way, and started by somebody who is not root.
"""

import contextlib
import os
import re
import resource
import signal
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import facts  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402
import test_auth  # noqa: E402
import test_pam  # noqa: E402

LIMITS = {"nproc": "Max processes", "nofile": "Max open files",
          "core": "Max core file size", "fsize": "Max file size"}
USERS = {"root": 0, "worker_user": harness.WORKER_USER,
         "keys_user": harness.KEYS_USER, "auth_user": harness.AUTH_USER}
CONNECTIONS = 40
GROUPS = [harness.OTHER_USER, harness.OTHER_USER + 1]

SEQPACKET, DATAGRAM = 5, 2
LISTENS = "0A"


def limits(pid):
    """Soft and hard limits of a process by name."""
    found = {}
    with open("/proc/%d/limits" % pid) as f:
        for line in f.readlines()[1:]:
            m = re.match(r"(Max [a-z -]+?)\s{2,}(\S+)\s+(\S+)", line)
            if m:
                found[m.group(1)] = (m.group(2), m.group(3))
    return found


def sockets():
    """Inode to kind, of all sockets there are."""
    found = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), \
                open("/proc/net/" + name) as f:
            for line in f.readlines()[1:]:
                row = line.split()
                found[row[9]] = "listener" if row[3] == LISTENS else "client"
    with open("/proc/net/unix") as f:
        for line in f.readlines()[1:]:
            row = line.split()
            kind = int(row[4], 16)
            if kind == SEQPACKET:
                found[row[6]] = "control" if len(row) > 7 else "channel"
            elif kind == DATAGRAM:
                found[row[6]] = "log"
    return found


def kind_of(pid, number, target, known):
    """What a descriptor is of, as the table has it."""
    if target == "/dev/null":
        return "null"
    m = re.fullmatch(r"socket:\[(\d+)\]", target)
    if m:
        return known.get(m.group(1), "unknown socket")
    if target.startswith("pipe:"):
        return "pipe"
    if target.startswith("anon_inode:"):
        return target[len("anon_inode:"):].strip("[]").replace(
            "eventpoll", "epoll")
    mode = os.stat("/proc/%d/fd/%d" % (pid, number)).st_mode
    with open("/proc/%d/fdinfo/%d" % (pid, number)) as f:
        flags = int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8)
    if stat.S_ISDIR(mode):
        return "directory"
    return "program" if flags & os.O_PATH else "file"


def own_filters():
    """How many filters the tests themselves have, and so every process."""
    return int(harness.Process(os.getpid()).status.get("Seccomp_filters", 0))


class ReadBack(unittest.TestCase):
    """Compares one process with its role's row."""

    as_root = harness.ROOT  # how the server was started
    pam = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.facts = facts.load()

    @classmethod
    def have_groups(cls):
        """What servers are started with from now on; helpers may not keep
        it."""
        if harness.ROOT:
            cls.addClassCleanup(os.setgroups, os.getgroups())
            os.setgroups(GROUPS)

    def role(self, name):
        """What the source says of it."""
        return self.facts["roles"][name]

    def compare(self, p, server, name=None):
        """Everything that /proc shows of a process; `name': its role, where
        it has another's title."""
        name = name or p.role
        role = self.role(name)
        helper = name != "master"
        pid = p.pid
        for check in (self.compare_user, self.compare_capabilities,
                      self.compare_filters, self.compare_limits):
            check(p, role, helper)
        if helper:
            self.assertEqual(int(p.status["SigIgn"], 16) & self.mask(),
                             self.mask(), p)
            self.assertEqual(int(p.status["SigCgt"], 16) & self.mask(), 0, p)
        self.compare_locked(p, role)
        if not harness.ROOT:
            return
        # Of a process that is not dumpable /proc shows root as the owner.
        if helper or not harness.SANITIZED:
            self.assertEqual(os.stat("/proc/%d/environ" % pid).st_uid, 0, p)
        self.compare_descriptors(p, name)
        wanted = server.chroot_dir if role["chroot"] and self.as_root else "/"
        if helper and self.as_root:
            for link in ("root", "cwd"):
                self.assertEqual(os.readlink("/proc/%d/%s" % (pid, link)),
                                 wanted, (p, link))
        if not helper:
            self.assertEqual(os.readlink("/proc/%d/root" % pid), "/", p)
            return
        with open("/proc/%d/environ" % pid, "rb") as f:
            self.assertEqual(f.read().strip(b"\0"), b"", p)

    def compare_locked(self, p, role):
        """Memory that is not swapped: none but where the role says so, and
        the limit is the usual one or more."""
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        allowed = limit == resource.RLIM_INFINITY or limit >= 8 << 20
        if not role["locked"] or harness.SANITIZED:
            self.assertEqual(p.status["VmLck"], "0 kB", p)
        elif allowed:
            self.assertNotEqual(p.status["VmLck"], "0 kB", p)

    def mask(self):
        """The bits of the signals that helpers ignore."""
        return sum(1 << (n - 1) for n in self.facts["signals"])

    def compare_user(self, p, role, helper):
        """Real, effective, saved and file system's; no group besides."""
        if self.as_root:
            user = USERS[role["user"]]
        else:
            user = harness.OTHER_USER if harness.ROOT else os.getuid()
        self.assertEqual(p.status["Uid"].split(), 4 * [str(user)], p)
        groups = [int(group) for group in p.status["Groups"].split()]
        if helper and self.as_root:
            self.assertEqual(p.status["Gid"].split(), 4 * [str(user)], p)
            self.assertEqual(groups, [], p)
        elif self.as_root:
            self.assertEqual(groups, GROUPS, p)

    def compare_capabilities(self, p, role, helper):
        """The five sets."""
        caps = role["capabilities"] if self.as_root else 0
        if role["audit"] and self.as_root and self.pam:
            caps |= self.facts["audit"] & self.had_audit()
        for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb"):
            if name == "CapBnd" and not self.as_root:
                continue  # who is not root can't empty it
            wanted = caps if name in ("CapPrm", "CapEff") or (
                name == "CapInh" and not helper) else 0
            self.assertEqual(int(p.status[name], 16), wanted, (p, name))

    @staticmethod
    def had_audit():
        """The capabilities that the server was started with."""
        return int(harness.Process(os.getpid()).status["CapPrm"], 16)

    def compare_filters(self, p, role, helper):
        """No new privileges, filters, and how many."""
        self.assertEqual(p.status["NoNewPrivs"], "1" if helper else
                         harness.Process(os.getpid()).status["NoNewPrivs"], p)
        if "Seccomp_filters" not in p.status:
            self.assertEqual(p.status["Seccomp"], "2" if helper else "0", p)
            return
        self.assertEqual(int(p.status["Seccomp_filters"]),
                         own_filters() + role["filters"], p)
        self.assertEqual(p.status["Seccomp"],
                         "2" if own_filters() + role["filters"] else "0", p)

    def compare_limits(self, p, role, helper):
        """Soft and hard ones."""
        found = limits(p.pid)
        own = {"nproc": resource.RLIMIT_NPROC, "core": resource.RLIMIT_CORE,
               "fsize": resource.RLIMIT_FSIZE,
               "nofile": resource.RLIMIT_NOFILE}
        for name, title in LIMITS.items():
            limit = role[name]
            if not self.as_root:
                limit = role.get("rootless_" + name, limit)
            before = resource.getrlimit(own[name])
            if limit["kind"] == "left" or (
                    name == "fsize" and harness.SANITIZED):
                wanted = before
            elif limit["kind"] == "descriptors":
                wanted = 2 * (before[1],)
            else:
                wanted = 2 * (limit["times"] * CONNECTIONS + limit["plus"],)
            self.assertEqual(
                found[title],
                tuple("unlimited" if n == resource.RLIM_INFINITY else str(n)
                      for n in wanted), (p, title))

    def compare_descriptors(self, p, name):
        """Each is of a kind that the role has, and as many."""
        known = sockets()
        counts = {}
        for number, target in harness.descriptors(p.pid).items():
            if number < 3 and name == "master":
                continue  # what it was started with
            if number == 2 and harness.SANITIZED:
                self.assertTrue(target.endswith("/log") or
                                target == "/dev/null", (p, target))
                kind = "null"
            else:
                kind = kind_of(p.pid, number, target, known)
            counts[kind] = counts.get(kind, 0) + 1
        rows = self.role(name)["descriptors"]
        self.assertLessEqual(set(counts), {row["kind"] for row in rows},
                             (p, harness.descriptors(p.pid)))
        for kind in {row["kind"] for row in rows}:
            least = sum(row["least"] for row in rows if row["kind"] == kind)
            most = [row["most"] for row in rows if row["kind"] == kind]
            count = counts.get(kind, 0)
            self.assertGreaterEqual(count, least, (p, kind))
            if None not in most:
                self.assertLessEqual(count, sum(most), (p, kind))
        return counts


class Serving(ReadBack, harness.ServerCase):
    """A server with a users file: connections in every stage."""

    SERVER = {"auth_method": "auth", "seeds": {1024: 1},
              "max_connections": CONNECTIONS,
              # Each client stays where it is while others are looked at.
              "handshake_client_timeout": 60}
    ROLES = {"master", "zygote", "worker", "keys", "auth"}
    # Channels of a worker: to the master, to keys until IDENT or the end of
    # lockdown, and to auth in lockdown.
    STAGES = {"vex": 2, "kex": 2, "chal": 2, "lockdown": 3, "proved": 2,
              "authenticated": 1}

    @classmethod
    def setUpClass(cls):
        test_auth.Users.make()
        cls.addClassCleanup(test_auth.shutil.rmtree,
                            test_auth.Users.directory)
        cls.SERVER = dict(
            cls.SERVER, auth_file=test_auth.Users.path,
            identity_file=os.path.join(test_auth.Users.directory, "key.pem"))
        if cls.SERVER.get("user") is not None:
            os.chown(test_auth.Users.directory, *2 * (cls.SERVER["user"],))
            os.chown(test_auth.Users.path, *2 * (cls.SERVER["user"],))
        cls.have_groups()
        super().setUpClass()
        cls.clients = {
            stage: cls.server.client().until(
                stage if stage in ("vex", "kex", "chal") else "session")
            for stage in cls.STAGES}
        for client in cls.clients.values():
            cls.addClassCleanup(client.close)
        answer = cls.clients["authenticated"].auth("alice",
                                                   test_auth.USERS["alice"])
        assert answer == test_auth.GRANTED, answer
        cls.clients["lockdown"].command("HELP")
        answer = cls.clients["proved"].command("IDENT")
        assert answer.startswith(b"200 ed25519 "), answer
        cls.workers = {stage: cls.server.worker(c.peer)
                       for stage, c in cls.clients.items()}
        cls.all = cls.server.processes()

    def test_every_process(self):
        """Whatever runs is as its role's row says."""
        self.assertEqual({p.role for p in self.all}, self.ROLES)
        for p in self.all:
            with self.subTest(process=p.title):
                self.compare(p, self.server)

    def test_workers_by_stage(self):
        """A channel leaves a worker when it is done with."""
        if not harness.ROOT:
            self.skipTest("needs root to see another process's descriptors")
        for stage, channels in self.STAGES.items():
            with self.subTest(stage=stage):
                p = self.workers[stage]
                self.compare(p, self.server)
                counts = self.compare_descriptors(p, "worker")
                self.assertEqual(counts.get("channel"), channels)

    def test_the_chroot_directory_is_empty(self):
        self.assertEqual(os.listdir(self.server.chroot_dir), [])

    def test_what_is_logged(self):
        """The events `sandbox' say the same."""
        for event in self.server.log.find("sandbox"):
            role = self.role(event["role"])
            self.assertEqual(event["seccomp"], "yes", event.text)
            for field, fact in (("users", role["user"] != "root"),
                                ("chroot", role["chroot"])):
                self.assertEqual(event[field], "yes" if fact and self.as_root
                                 else "no", event.text)
        self.assertLessEqual(self.ROLES - {"master", "worker"}, {
            e["role"] for e in self.server.log.find("sandbox")})


@harness.needs_root
class WithoutRoot(Serving):
    """The same, started by an ordinary user: no user, no chroot."""

    SERVER = dict(Serving.SERVER, user=harness.OTHER_USER)
    as_root = False


class Maker(ReadBack, harness.OwnServerCase):
    """paramgen, while it searches."""

    def test_paramgen(self):
        self.have_groups()
        server = harness.Server(seeds={}, key_size=4096,
                                max_connections=CONNECTIONS,
                                allow_weak_key_size=None)
        self.addCleanup(server.remove)
        server.spawn()
        self.addCleanup(server.kill)
        server.log.wait("generating")

        def settled():
            return [p for p in server.role("paramgen")
                    if p.status["Seccomp"] == "2"]
        p = harness.wait_for("paramgen in its sandbox", settled)[0]
        self.assertEqual(p.parent, server.pid)
        self.compare(p, server)


class Pam(ReadBack, test_pam.Case):
    """pam, and a child that asks modules."""

    pam = True

    def test_pam(self):
        self.have_groups()
        server = self.start(max_connections=CONNECTIONS)
        client = server.client()
        self.addCleanup(client.close)
        client.handshake()
        for role in ("master", "pam"):
            self.compare(server.one(role), server)
        stopped = []

        def stop_child():
            for p in server.role("pam"):
                if p.parent != server.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(p.pid, signal.SIGSTOP)
                        stopped.append(p.pid)
            return stopped
        client.send_command("AUTH slow " + test_pam.PASSWORD)
        harness.wait_for("a child", stop_child, pause=0.0005)

        def settled():
            # Before the first module it has let go of what was its parent's.
            pipes = [n for n, target in harness.descriptors(stopped[0]).items()
                     if target.startswith("pipe:")]
            if pipes == [3]:
                return True
            os.kill(stopped[0], signal.SIGCONT)
            os.kill(stopped[0], signal.SIGSTOP)
            return False
        harness.wait_for("a child that is alone", settled, pause=0.0005)
        self.compare(harness.Process(stopped[0]), server, "attempt")
        parent = [p for p in server.role("pam") if p.parent == server.pid]
        self.compare(parent[0], server)
        os.kill(stopped[0], signal.SIGCONT)
        self.assertEqual(client.read_answer(), test_pam.GRANTED)
        self.compare(server.one("pam"), server)
        self.compare(server.one("master"), server)


if __name__ == "__main__":
    runner.main()
