#!/usr/bin/python3
"""What each process may do, read from the running processes: /proc says it,
not the source.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import runner  # noqa: E402

CONFINED = ("zygote", "keys", "worker")

CAPABILITIES = {"KILL": 5, "SETGID": 6, "SETUID": 7, "NET_BIND_SERVICE": 10,
                "SYS_CHROOT": 18}
MASTER = sum(1 << bit for bit in CAPABILITIES.values())

IGNORED_SIGNALS = (1, 2, 10, 12, 13, 15)

# More than these would mean that something leaks from one to another.
DESCRIPTORS_MOST = {"worker": 6, "zygote": 8, "keys": 12}


def limits(pid):
    """Soft and hard limits of a process by name."""
    found = {}
    with open("/proc/%d/limits" % pid) as f:
        for line in f.readlines()[1:]:
            m = re.match(r"(Max [a-z -]+?)\s{2,}(\S+)\s+(\S+)", line)
            if m:
                found[m.group(1)] = (m.group(2), m.group(3))
    return found


class Processes(harness.ServerCase):
    """A server with a session and two handshakes under way."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clients = {stage: cls.server.client().until(stage)
                       for stage in ("vex", "kex", "chal", "session")}
        cls.workers = {stage: cls.server.worker(c.peer)
                       for stage, c in cls.clients.items()}
        cls.all = cls.server.processes()

    @classmethod
    def tearDownClass(cls):
        for client in cls.clients.values():
            client.close()
        super().tearDownClass()

    def confined(self):
        """Every process but master and paramgen."""
        found = [p for p in self.all if p.role in CONFINED]
        self.assertEqual({p.role for p in found}, set(CONFINED))
        return found

    def master(self):
        """The master."""
        return [p for p in self.all if p.pid == self.server.pid][0]

    def test_which_there_are(self):
        roles = [p.role for p in self.all]
        self.assertEqual(roles.count("master"), 1)
        self.assertEqual(roles.count("zygote"), 1)
        self.assertEqual(roles.count("worker"), 4)
        self.assertEqual(roles.count("keys"),
                         os.sysconf("SC_NPROCESSORS_ONLN"))
        self.assertLessEqual(set(roles),
                             {"master", "zygote", "worker", "keys",
                              "paramgen"})

    def test_titles(self):
        self.assertTrue(self.master().title.startswith("flexmusicd: master"))
        titles = sorted(p.title for p in self.all)
        self.assertTrue([t for t in titles
                         if t.startswith("flexmusicd: zygote")])
        for i in range(os.sysconf("SC_NPROCESSORS_ONLN")):
            self.assertTrue([t for t in titles if
                             t.startswith("flexmusicd: keys %d" % i)], titles)
        for stage, worker in self.workers.items():
            self.assertRegex(
                worker.title, r"^flexmusicd: worker \[session \d+\] %s" %
                re.escape(self.clients[stage].peer))

    def test_sessions_are_numbered(self):
        peer = self.clients["session"].peer
        begin = self.server.log.wait("session-begin", peer=peer)
        self.assertIn("[session %s]" % begin["session"],
                      self.workers["session"].title)

    def test_the_master_is_the_parent(self):
        for p in self.confined():
            self.assertEqual(p.parent, self.server.pid, p)

    def test_no_process_has_a_thread_more(self):
        for p in self.all:
            self.assertEqual(p.status["Threads"], "1", p)

    def test_seccomp_and_no_new_privileges(self):
        for p in self.confined():
            self.assertEqual(p.status["Seccomp"], "2", p)
            self.assertEqual(p.status["NoNewPrivs"], "1", p)

    def test_workers_have_a_filter_more(self):
        zygote = [p for p in self.all if p.role == "zygote"][0]
        if "Seccomp_filters" not in zygote.status:
            self.skipTest("the kernel does not count filters")
        base = int(zygote.status["Seccomp_filters"])
        for p in self.workers.values():
            self.assertGreater(int(p.status["Seccomp_filters"]), base, p)

    def test_signals_are_ignored(self):
        for p in self.confined():
            ignored = int(p.status["SigIgn"], 16)
            for number in IGNORED_SIGNALS:
                self.assertTrue(ignored >> (number - 1) & 1,
                                "%s does not ignore %d" % (p, number))
            self.assertEqual(int(p.status["SigCgt"], 16) &
                             sum(1 << (n - 1) for n in IGNORED_SIGNALS), 0, p)

    def test_limits(self):
        for p in self.confined():
            found = limits(p.pid)
            self.assertEqual(found["Max core file size"], ("0", "0"), p)
            if not harness.SANITIZED:  # their reports are files
                self.assertEqual(found["Max file size"], ("0", "0"), p)
            if p.role != "zygote":
                self.assertEqual(found["Max processes"], ("0", "0"), p)
            if p.role == "worker":
                self.assertLessEqual(int(found["Max open files"][1]), 64, p)

    @harness.needs_root
    def test_users(self):
        for p in self.confined():
            wanted = str(harness.KEYS_USER if p.role == "keys"
                         else harness.WORKER_USER)
            self.assertEqual(p.status["Uid"].split(), 4 * [wanted], p)
            self.assertEqual(p.status["Gid"].split(), 4 * [wanted], p)
            self.assertEqual(p.status["Groups"].split(), [], p)
        self.assertEqual(self.master().status["Uid"].split(), 4 * ["0"])

    def test_no_capabilities(self):
        for p in self.confined():
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                if name == "CapBnd" and not harness.ROOT:
                    continue
                self.assertEqual(int(p.status[name], 16), 0,
                                 "%s of %s" % (name, p))

    @harness.needs_root
    def test_capabilities_of_the_master(self):
        status = self.master().status
        for name in ("CapInh", "CapPrm", "CapEff"):
            self.assertEqual(int(status[name], 16), MASTER, name)
        for name in ("CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)

    @harness.needs_root
    def test_root_directory(self):
        for p in self.confined():
            for name in ("root", "cwd"):
                self.assertEqual(os.readlink("/proc/%d/%s" % (p.pid, name)),
                                 self.server.chroot_dir, p)
        self.assertEqual(os.listdir(self.server.chroot_dir), [])

    @harness.needs_root
    def test_environment(self):
        for p in self.confined():
            with open("/proc/%d/environ" % p.pid, "rb") as f:
                self.assertEqual(f.read().strip(b"\0"), b"", p)

    @harness.needs_root
    def test_descriptors(self):
        """Each has a socket or two, what it waits with, and no file."""
        for p in self.confined():
            found = harness.descriptors(p.pid)
            self.assertLessEqual(len(found), DESCRIPTORS_MOST[p.role] + (
                8 if p.role == "keys" else 0), "%s: %s" % (p, found))
            for target in found.values():
                self.assertTrue(
                    target == "/dev/null" or
                    target.startswith(("socket:", "anon_inode:", "pipe:")) or
                    (harness.SANITIZED and target == self.server.log_path),
                    "%s has %s" % (p, target))

    @harness.needs_root
    def test_no_listener_outside_the_master(self):
        inodes = set()
        with open("/proc/net/tcp") as f:
            for line in f.readlines()[1:]:
                row = line.split()
                if row[3] == "0A" and row[1].endswith(
                        ":%04X" % self.server.port):
                    inodes.add("socket:[%s]" % row[9])
        self.assertTrue(inodes)
        for p in self.confined():
            self.assertEqual(inodes & set(
                harness.descriptors(p.pid).values()), set(), p)
        self.assertLessEqual(inodes, set(
            harness.descriptors(self.server.pid).values()))

    @harness.needs_root
    def test_a_client_socket_is_in_its_worker_alone(self):
        """The master gives it away, and no other worker inherits it."""
        for stage, client in self.clients.items():
            port = client.sock.getsockname()[1]
            inode = None
            with open("/proc/net/tcp") as f:
                for line in f.readlines()[1:]:
                    row = line.split()
                    if row[1].endswith(":%04X" % self.server.port) and \
                       row[2].endswith(":%04X" % port):
                        inode = "socket:[%s]" % row[9]
            self.assertIsNotNone(inode)
            holders = [p.pid for p in self.all if inode in
                       harness.descriptors(p.pid).values()]
            self.assertEqual(holders, [self.workers[stage].pid])

    @harness.needs_root
    def test_not_dumpable(self):
        """Other users, and the same one, may not look inside: /proc shows
        such a process as root's."""
        for p in self.confined():
            owner = os.stat("/proc/%d/environ" % p.pid).st_uid
            self.assertEqual(owner, 0, p)

    def test_layouts_differ(self):
        """Helpers are executed, not forked: none shares its address layout
        with another."""
        if not harness.ROOT:
            self.skipTest("needs root to read another process's maps")
        stacks = []
        for p in self.all:
            if p.role in ("master", "zygote", "keys"):
                with open("/proc/%d/maps" % p.pid) as f:
                    stacks += [line.split("-")[0] for line in f
                               if "[stack]" in line]
        self.assertEqual(len(stacks), len(set(stacks)))
        self.assertGreaterEqual(len(stacks), 3)

    @harness.needs_root
    def test_nothing_is_executable_and_writable(self):
        for p in self.all:
            with open("/proc/%d/maps" % p.pid) as f:
                for line in f:
                    self.assertNotRegex(line.split()[1], "^.wx", p)

    def test_sandbox_is_logged(self):
        roles = {e["role"] for e in self.server.log.find("sandbox")
                 if "role" in e}
        self.assertLessEqual({"zygote", "keys"}, roles)
        for e in self.server.log.find("sandbox"):
            if "role" in e:
                self.assertEqual(e["seccomp"], "yes", e.text)
                self.assertEqual(e["users"],
                                 "yes" if harness.ROOT else "no", e.text)


class Maker(harness.OwnServerCase):
    """paramgen, while it works."""

    def test_paramgen(self):
        server = harness.Server(seeds={}, key_size=4096,
                                allow_weak_key_size=None)
        self.addCleanup(server.remove)
        server.spawn()
        self.addCleanup(server.kill)

        def settled():
            found = server.role("paramgen")
            return found and found[0].status["Seccomp"] == "2" and found
        server.log.wait("generating")
        p = harness.wait_for("paramgen in its sandbox", settled)[0]
        self.assertEqual(p.parent, server.pid)
        self.assertEqual(p.status["NoNewPrivs"], "1")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(p.status[name], 16), 0, name)
        found = limits(p.pid)
        self.assertEqual(found["Max core file size"], ("0", "0"))
        if harness.ROOT:
            self.assertEqual(p.status["Uid"].split(),
                             4 * [str(harness.KEYS_USER)])
            self.assertEqual(int(p.status["CapBnd"], 16), 0)
            self.assertEqual(os.readlink("/proc/%d/root" % p.pid),
                             server.chroot_dir)
            for target in harness.descriptors(p.pid).values():
                self.assertTrue(target == "/dev/null" or
                                target.startswith(("socket:", "pipe:",
                                                   "anon_inode:")) or
                                (harness.SANITIZED and
                                 target == server.log_path), target)


if __name__ == "__main__":
    runner.main()
