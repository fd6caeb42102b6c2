"""A machine in namespaces: a systemd of its own as process 1, with flexmusicd
as `make install` puts it there, and nothing else of this machine's services.

It has its own mounts (/etc is a copy; /dev has what every program may use; /run,
/tmp and /var/lib are empty), process ids, network and control groups.  What is changed in
it is gone with it.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import harness

SYSTEMD = "/lib/systemd/systemd"
UNITS = "/usr/lib/systemd/system"

# What flexmusicd's units refer to; they mean nothing here.
TARGETS = ("sysinit", "basic", "shutdown", "sockets", "network-online",
           "nss-user-lookup", "multi-user", "machine")

# $1: the directory with root, etc, units and dev.
BOOT = r"""
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1/etc" /etc
mount --bind "$1/root/usr/local" /usr/local
mount --bind "$1/units" /usr/lib/systemd/system
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for node in null zero full random urandom tty; do
	cp -a "/dev/$node" "$1/dev"
done
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/mqueue" "$1/dev/hugepages"
ln -s pts/ptmx "$1/dev/ptmx"
ln -s /proc/self/fd "$1/dev/fd"
ln -s /run/systemd/journal/dev-log "$1/dev/log"
mount --move "$1/dev" /dev
for place in /run /var/lib /tmp /var/tmp; do
	mount -t tmpfs -o mode=755 tmpfs $place
done
chmod 1777 /tmp /var/tmp
mkdir -p /run/lock /run/systemd/journal
ip link set lo up
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system \
    --unit=machine.target --log-target=console --log-level=notice \
    --show-status=no
"""


class Machine:
    """One; use it as a context."""

    def __init__(self):
        for program in (SYSTEMD, "/usr/bin/systemctl"):
            if not os.path.exists(program):
                raise unittest.SkipTest("systemd is not installed")
        self.directory = tempfile.mkdtemp(prefix="flexmusic-test-")
        os.chmod(self.directory, 0o755)
        self.group = None
        self.starter = None
        self.pid = None
        self.receiver = None
        self.log = harness.Log(os.path.join(self.directory, "log"))

    def __enter__(self):
        try:
            self.install()
            self.boot()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.end()

    def install(self):
        """The programs, in their places, and an /etc."""
        root = os.path.join(self.directory, "root")
        env = {key: value for key, value in os.environ.items()
               if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            ["make", "-C", harness.TOP, "B=" + harness.BUILD,
             "DESTDIR=" + root, "install"], env=env, check=False,
            capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        etc = os.path.join(self.directory, "etc")
        subprocess.run(["cp", "-a", "/etc", etc], check=True)
        shutil.rmtree(os.path.join(etc, "systemd", "system"))
        os.mkdir(os.path.join(etc, "systemd", "system"))
        subprocess.run(["cp", "-a", os.path.join(root, "etc") + "/.", etc],
                       check=True)
        os.mkdir(os.path.join(self.directory, "dev"))
        units = os.path.join(self.directory, "units")
        os.mkdir(units)
        for name in TARGETS:
            with open(os.path.join(units, name + ".target"), "w") as f:
                f.write("[Unit]\nDefaultDependencies=no\n")

    def boot(self):
        """Starts its systemd and waits until that answers; where there can be
        none, the test is skipped."""
        for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            if os.path.exists(os.path.join(mount, "cgroup.procs")):
                break
        group = os.path.join(mount, "flexmusic-test-%d" % os.getpid())
        try:
            os.mkdir(group)
            self.group = group
            if not os.path.exists(os.path.join(group, "cgroup.procs")):
                raise unittest.SkipTest("no control groups (v2) here")
            with open(os.path.join(group, "cgroup.procs"), "w") as f:
                f.write("0")  # this process, for what it starts
            self.start()
        except OSError as e:
            raise unittest.SkipTest("no control group can be made: %s" %
                                    e) from e
        finally:
            if self.group is not None:
                self.leave()

        def first():
            if self.starter.poll() is not None:
                return True
            children = [p for p in harness.all_processes()
                        if p.parent == self.starter.pid]
            if children and children[0].title.startswith(SYSTEMD):
                self.pid = children[0].pid
                done = self.run("systemctl", "is-active", "machine.target")
                return done.stdout.strip() == "active"
            return False
        harness.wait_for("systemd", first)
        if self.starter.poll() is not None:
            with open(self.console) as f:
                raise unittest.SkipTest(
                    "no systemd can be started in namespaces here: %s" %
                    " ".join(f.read().split())[:200])
        self.listen()

    def start(self):
        """Process 1, and what makes its namespaces."""
        self.console = os.path.join(self.directory, "console")
        with open(self.console, "wb") as f:
            self.starter = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child",
                 "--uts", "--ipc", "--cgroup", "--net", "sh", "-ec", BOOT,
                 "boot", self.directory], stdin=subprocess.DEVNULL, stdout=f,
                stderr=f, start_new_session=True,
                preexec_fn=harness.become(None))

    def leave(self):
        """This process goes back to where it was."""
        with open(os.path.join(os.path.dirname(self.group), "cgroup.procs"),
                  "w") as f:
            f.write("0")

    def listen(self):
        """Takes what goes to its /dev/log into a file."""
        self.receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.bind(self.path("/run/systemd/journal/dev-log"))

        def take(receiver, path):
            with open(path, "ab", buffering=0) as f:
                while True:
                    line = receiver.recv(8192)
                    if not line:
                        return
                    f.write(line.rstrip(b"\0\n") + b"\n")
        threading.Thread(target=take, args=(self.receiver, self.log.path),
                         daemon=True).start()

    def path(self, inside):
        """A path of the machine as this process can use it."""
        return "/proc/%d/root%s" % (self.pid, inside)

    def run(self, *command, **how):
        """Runs a command in it; returns the CompletedProcess."""
        if "input" not in how:
            how["stdin"] = subprocess.DEVNULL
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p",
             *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=harness.DEADLINE, check=False, **how)

    def do(self, *command, **how):
        """The same, where it must not fail; returns what it prints."""
        done = self.run(*command, **how)
        if done.returncode != 0:
            raise AssertionError("%s: status %d\n%s%s\n%s\n%s" % (
                " ".join(command), done.returncode, done.stdout, done.stderr,
                self.log.tail(), self.console_text()[-2000:]))
        return done.stdout

    def console_text(self):
        """What its systemd has said."""
        with open(self.console) as f:
            return f.read()

    def show(self, unit, name):
        """A property of a unit."""
        return self.do("systemctl", "show", "-P", name, unit).strip()

    def end(self):
        """All that is in it ends with its process 1."""
        if self.receiver is not None:
            self.receiver.shutdown(socket.SHUT_RDWR)
        if self.starter is not None:
            if self.pid is not None:
                harness.kill(self.pid, signal.SIGKILL)
            else:
                self.starter.kill()
            self.starter.wait()
        if self.group is not None:
            def removed():
                for folder, _, _ in os.walk(self.group, topdown=False):
                    try:
                        os.rmdir(folder)
                    except OSError:
                        return False
                return True
            harness.wait_for("the end of the machine's control groups",
                             removed)
        shutil.rmtree(self.directory, ignore_errors=True)
