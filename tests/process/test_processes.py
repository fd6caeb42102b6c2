#!/usr/bin/python3
"""Which processes there are and what they share, read from /proc.  What each
may do is in test_readback.py.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import harness  # noqa: E402
import runner  # noqa: E402

CONFINED = ("zygote", "keys", "worker")


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


if __name__ == "__main__":
    runner.main()
