"""Servers whose calls fail when a test wants it: tests/faults/fault.h.

Each has programs of its own, links to those below build/faults, and beside
them the page that all of its processes share with the test.
"""

import collections
import errno
import mmap
import os
import re
import shutil
import struct
import subprocess

import harness

PROGRAMS = ("flexmusicd", "flexmusicd-worker", "flexmusicd-pam")
FOLDER = os.path.join(harness.BUILD, "faults")
ALWAYS = 0xffffffff


def table(name):
    """A list of fault.h: names in order."""
    with open(os.path.join(harness.TOP, "tests/faults/fault.h")) as f:
        rows = f.read().split("#define %s(X)" % name)[1].split("\n\n")[0]
    return re.findall(r"X\((\w+)\)", rows)


ROLES = table("FAULT_ROLES")
CALLS = table("FAULT_CALLS")
FRAMES, SITES = 4, 4096
SITE = struct.Struct("%dI" % (2 + FRAMES + 1))
# armed; target; every, times, error; hits, fired; recording, sites
AT_TARGET = 4
AT_HOW = AT_TARGET + SITE.size
AT_HITS = AT_HOW + 12
AT_FIRED = AT_HITS + 4
AT_RECORDING = AT_FIRED + 4
AT_SITES = AT_RECORDING + 4
SIZE = AT_SITES + 4 + SITES * SITE.size

# How a call fails; ENOMEM where nothing else is said.  The first is what a
# machine that runs short of something says.
ERRORS = {
    "accept4": (errno.ENFILE, errno.EMFILE, errno.ECONNABORTED, errno.ENOMEM),
    "bind": (errno.EADDRINUSE, errno.EACCES),
    "chdir": (errno.EACCES,), "chroot": (errno.EPERM,),
    "clone": (errno.EAGAIN, errno.ENOMEM),
    "close_range": (errno.ENOMEM,), "connect": (errno.ECONNREFUSED,),
    "dup2": (errno.EMFILE,), "fchdir": (errno.EACCES,),
    "fchmod": (errno.EROFS,), "fcntl": (errno.EMFILE,),
    "fdopendir": (errno.ENOMEM,), "fexecve": (errno.ENOMEM,),
    "flock": (errno.ENOLCK,), "fopen": (errno.EMFILE,),
    "fork": (errno.EAGAIN, errno.ENOMEM),
    "fstat": (errno.EIO,), "fstatat": (errno.EIO,), "fsync": (errno.EIO,),
    "getentropy": (errno.EIO,), "getpwnam": (errno.EIO,),
    "getrandom": (errno.EIO,), "getrlimit": (errno.EPERM,),
    "getsockopt": (errno.ENOBUFS,), "ioctl": (errno.EIO,),
    "listen": (errno.EADDRINUSE,), "lseek": (errno.EIO,),
    "mkdir": (errno.ENOSPC, errno.EACCES),
    "open": (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO),
    "openat": (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO),
    "pipe2": (errno.EMFILE,), "prctl": (errno.EPERM,),
    "pread": (errno.EIO,), "pwrite": (errno.EIO,), "read": (errno.EIO,),
    "readdir": (errno.EIO,), "readlink": (errno.EACCES,),
    "recvmsg": (errno.ENOMEM, errno.ECONNRESET),
    "renameat": (errno.ENOSPC, errno.EIO),
    "seccomp_export_bpf": (errno.EIO,),
    "send": (errno.EAGAIN, errno.EPIPE),
    "sendmsg": (errno.ENOBUFS, errno.EAGAIN, errno.EPIPE,
                errno.ETOOMANYREFS),
    "setgroups": (errno.EPERM,), "setpriority": (errno.EACCES,),
    "setresgid": (errno.EPERM,), "setresuid": (errno.EAGAIN,),
    "setrlimit": (errno.EPERM,), "setsockopt": (errno.ENOBUFS,),
    "socket": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS),
    "socketpair": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS),
    "syscall": (errno.EMFILE, errno.ENOSYS),
    "unlinkat": (errno.EIO, errno.EROFS),
    "write": (errno.EAGAIN, errno.EPIPE, errno.ENOBUFS),
}


class Place(collections.namedtuple("Place", "role call frames")):
    """Who calls what, from where."""

    @property
    def program(self):
        """The program that the frames are in."""
        return PROGRAMS[1 if self.role in ("worker", "zygote") else
                        2 if self.role in ("pam", "attempt") else 0]

    def __str__(self):
        """With the functions, innermost first."""
        done = subprocess.run(
            ["addr2line", "-fse", os.path.join(FOLDER, self.program)] +
            ["0x%x" % (frame - 1) for frame in self.frames if frame],
            stdout=subprocess.PIPE, text=True, check=True)
        lines = done.stdout.splitlines()
        return "%s %s in %s" % (self.role, self.call, " < ".join(
            "%s (%s)" % pair for pair in zip(lines[::2], lines[1::2])))


class Fault(collections.namedtuple("Fault", "place count error")):
    """The count-th call there fails, with this errno."""

    def __str__(self):
        return "%s, call %d: %s" % (self.place, self.count,
                                    errno.errorcode[self.error])


class Page:
    """What the test shares with its server."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(fd, SIZE)
            self.map = mmap.mmap(fd, SIZE)
        finally:
            os.close(fd)

    def get(self, at):
        """A number in it."""
        return struct.unpack_from("I", self.map, at)[0]

    def put(self, at, *values):
        """Numbers in it."""
        struct.pack_into("%dI" % len(values), self.map, at, *values)

    def arm(self, fault, every=1, times=1):
        """From now on that call fails."""
        self.disarm()
        place = fault.place
        frames = tuple(place.frames) + (0,) * (FRAMES - len(place.frames))
        self.put(AT_TARGET, ROLES.index(place.role), CALLS.index(place.call),
                 *frames, fault.count)
        self.put(AT_HOW, every, times, fault.error)
        self.put(AT_HITS, 0, 0)
        self.put(0, 1)

    def disarm(self):
        """None fails any more."""
        self.put(0, 0)

    @property
    def fired(self):
        """How many have failed."""
        return self.get(AT_FIRED)

    def record(self):
        """From now on all calls are counted, from 0."""
        self.put(AT_RECORDING, 0)
        self.map[AT_SITES + 4:] = bytes(SIZE - AT_SITES - 4)
        self.put(AT_SITES, 0)
        self.put(AT_RECORDING, 1)

    def recorded(self):
        """What was called meanwhile: place to count."""
        self.put(AT_RECORDING, 0)
        sites = self.get(AT_SITES)
        if sites > SITES:
            raise AssertionError("%d places do not fit" % sites)
        found = collections.Counter()
        for i in range(sites):
            role, call, *frames, count = SITE.unpack_from(
                self.map, AT_SITES + 4 + i * SITE.size)
            found[Place(ROLES[role], CALLS[call], tuple(frames))] += count
        return found


def children(pid):
    """Its children's numbers."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Server(harness.Server):
    """A server whose calls can be made to fail."""

    def __init__(self, **keys):
        super().__init__(**keys)
        folder = os.path.join(self.directory, "programs")
        os.mkdir(folder)
        os.chmod(folder, 0o755)
        for name in PROGRAMS:
            source = os.path.join(FOLDER, name)
            try:
                os.link(source, os.path.join(folder, name))
            except OSError:
                shutil.copy(source, folder)
        path = os.path.join(folder, "faults")
        self.page = Page(path)
        if harness.ROOT and self.user is not None:
            os.chown(path, self.user, self.user)
        self.binary = os.path.join(folder, "flexmusicd")

    def processes(self):
        """As the class above has it, but without a look at all of /proc."""
        return [p for p in self.family() if p.state != "Z"]

    def zombies(self):
        """Children that nobody has waited for."""
        return [p for p in self.family() if p.state == "Z"]

    def family(self):
        """The master and all that came from it."""
        found, pids = [], [self.pid]
        while pids:
            p = harness.look_at(pids.pop())
            if p is not None:
                found.append(p)
                pids += children(p.pid)
        return found

    def arm(self, role, call, error, count=1, **how):
        """From now on the count-th such call fails, wherever it is made."""
        self.page.arm(Fault(Place(role, call, ()), count, error), **how)
