"""Programs that are measured from outside: their processor time, page faults,
system calls and memory, all their processes counted.

Runs as whoever runs the benchmark.  As root a cgroup of its own counts a
program's time in nanoseconds; else /proc does, in ticks.
"""

import contextlib
import itertools
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))

try:
    import harness  # noqa: E402  pylint: disable=wrong-import-position
except ImportError as e:
    print("bench: %s: apt-get install python3-cryptography" % e,
          file=sys.stderr)
    sys.exit(2)

ROOT = os.getuid() == 0
# Numbers that no account of a usual system has; nothing is created.
WORKER_USER = 64111
KEYS_USER = 64112
AUTH_USER = 64113
BITS = 2048
AT_ONCE = 8
PEERS = 1000  # addresses the load comes from: the log has lines of each
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
ROLES = ("master", "zygote", "keys", "worker")


class Unable(Exception):
    """Something cannot be measured here; the reason is its text."""


class Broken(Exception):
    """What is measured does not do what it should."""


def fields(text):
    """The figures of a program of ours: name=number."""
    return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", text)}


def run(arguments):
    """A program's output; what it says otherwise is the reason it failed."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        raise Broken("%s: %s" % (os.path.basename(arguments[0]),
                                 done.stderr.strip() or done.returncode))
    return done.stdout


# -- /proc ---------------------------------------------------------------


class Stat:
    """The figures of /proc/PID/stat that count here."""

    def __init__(self, pid):
        with open("/proc/%d/stat" % pid) as f:
            row = f.read().rpartition(")")[2].split()
        self.pid = pid
        self.parent = int(row[1])
        self.faults, self.child_faults = int(row[7]), int(row[8])
        self.ticks = int(row[11]) + int(row[12])
        self.child_ticks = int(row[13]) + int(row[14])


def children(pid):
    """The processes whose parent it is."""
    with contextlib.suppress(FileNotFoundError):
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if Stat(int(name)).parent == pid:
                    found.append(int(name))
    return found


def role(pid):
    """What a process of the server's says it is, in its title."""
    with open("/proc/%d/cmdline" % pid, "rb") as f:
        m = re.match(rb"flexmusicd[^:]*: (\w+)", f.read())
    return m.group(1).decode() if m else None


def run_us(pid):
    """The processor time of one process, in nanoseconds' precision."""
    with open("/proc/%d/schedstat" % pid) as f:
        return int(f.read().split()[0]) / 1e3


def kib(path, *names):
    """The sum of some of a file's `Name: number kB`."""
    with open(path) as f:
        rows = dict(line.split(":", 1) for line in f if ":" in line)
    return sum(int(rows[name].split()[0]) for name in names)


def idle_us():
    """The time in which no processor had anything to do."""
    with open("/proc/stat") as f:
        row = f.readline().split()
    return (int(row[4]) + int(row[5])) * TICK_US


# -- programs, counted ---------------------------------------------------


class Cgroup:
    """Counts the processor time of all processes in it, dead ones too."""

    PLACES = (("/sys/fs/cgroup/cpuacct", "cpuacct.usage", 1e-3),
              ("/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage", 1e-3),
              ("/sys/fs/cgroup/unified", "cpu.stat", 1),
              ("/sys/fs/cgroup", "cpu.stat", 1))

    numbers = itertools.count()

    def __init__(self):
        name = "flexmusic-bench-%d-%d" % (os.getpid(), next(self.numbers))
        for place, self.file, self.factor in self.PLACES:
            self.path = os.path.join(place, name)
            if not os.path.exists(os.path.join(place, "cgroup.procs")):
                continue
            try:
                os.mkdir(self.path)
                self.us()
                return
            except OSError:
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)
        raise Unable("no cgroup can be made")

    def enter(self):
        """Called by the process that is to be counted."""
        with open(os.path.join(self.path, "cgroup.procs"), "w") as f:
            f.write("0")

    def us(self):
        """Microseconds so far."""
        with open(os.path.join(self.path, self.file)) as f:
            return int(re.search(r"\d+", f.read()).group()) * self.factor

    def close(self):
        """To be called when its processes have ended."""
        for _ in range(250):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.02)


class Program:
    """A program with all the processes that it starts."""

    def __init__(self, arguments, log):
        self.cgroup = None
        if ROOT:
            with contextlib.suppress(Unable):
                self.cgroup = Cgroup()
        dies_with_us = harness.become(None)

        def start():
            dies_with_us()
            if self.cgroup:
                self.cgroup.enter()

        try:
            with open(log, "ab") as f:
                self.process = subprocess.Popen(
                    arguments, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                    start_new_session=True, preexec_fn=start)
        except BaseException:
            if self.cgroup:
                self.cgroup.close()
            raise
        self.pid = self.process.pid
        self.log = log

    def wait_listening(self, port, seconds=60):
        """Waits until it serves; what it said instead is the reason."""
        deadline = time.monotonic() + seconds
        while not harness.listening(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, errors="replace") as f:
                    raise Broken("no server listens: %s" % f.read().strip())
            time.sleep(0.02)

    def settle(self, count):
        """Waits until it has so many children and no more."""
        deadline = time.monotonic() + 60
        while len(children(self.pid)) > count:
            if time.monotonic() > deadline:
                raise Broken("a server's processes do not end")
            time.sleep(0.02)

    def us(self):
        """Processor time so far, of all its processes."""
        if self.cgroup:
            return self.cgroup.us()
        ticks = 0
        for pid in [self.pid] + children(self.pid):
            with contextlib.suppress(OSError):  # it has just ended
                stat = Stat(pid)
                ticks += stat.ticks + stat.child_ticks
        return ticks * TICK_US

    def close(self):
        """Ends it, and makes sure that it has."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
        if self.cgroup:
            self.cgroup.close()


class Temporary:
    """A temporary folder and a program in it; a context that leaves nothing
    behind."""

    def __init__(self):
        self.program = None
        self.directory = tempfile.mkdtemp(prefix="flexmusic-bench-")
        os.chmod(self.directory, 0o755)

    def path(self, name):
        """A place in the folder."""
        return os.path.join(self.directory, name)

    def start(self):
        """What a kind of program does first."""
        raise NotImplementedError

    def close(self):
        """Ends the program, removes the folder."""
        if self.program:
            self.program.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()


# -- the server under test -----------------------------------------------


class Daemon(Temporary):
    """A flexmusicd of the benchmark's own.

    `seeds` says how many sets of BITS bits from the test data lie in its
    state directory; every other keyword is a key of its configuration.
    """

    def __init__(self, build, tools, seeds=1, **keys):
        super().__init__()
        self.build = build
        self.tools = tools
        self.seeds = seeds
        self.arguments = ["-d"]
        self.patience = 60  # seconds until it listens
        self.port = harness.free_port()
        self.keys = {"host": "127.0.0.1", "port": self.port, "key_size": BITS,
                     # No search runs beside what is about something else.
                     "keep_parameters": 0,
                     "state_dir": self.path("state"),
                     "identity_file": self.path("identity.pem"),
                     "chroot_dir": self.path("empty"),
                     "control_socket": "none", "auth_method": "none",
                     "max_connections_per_source": 0,
                     "worker_user": WORKER_USER, "keys_user": KEYS_USER,
                     "auth_user": AUTH_USER}
        self.keys.update(keys)
        for name, mode in (("state", 0o700), ("empty", 0o755)):
            os.mkdir(self.path(name))
            os.chmod(self.path(name), mode)

    def configure(self):
        """Writes the configuration; returns its path."""
        with open(self.path("conf"), "w") as f:
            for key, value in self.keys.items():
                f.write('%s = "%s"\n' % (key, value))
        return self.path("conf")

    def start(self):
        """Starts it, and waits until it listens."""
        if self.seeds:
            harness.seed_state(self.path("state"), BITS, self.seeds)
        self.program = Program(
            [os.path.join(self.build, "flexmusicd"), *self.arguments, "-f",
             self.configure()], self.path("log"))
        self.program.wait_listening(self.port, self.patience)

    def client(self, count, *options):
        """The command line of a load."""
        return [os.path.join(self.tools, "load"), *options, "-n", str(count),
                "-c", str(AT_ONCE), "-a", str(PEERS), "127.0.0.1",
                str(self.port)]


class Server(Daemon):
    """One whose processes are measured, and the load on it."""

    def __init__(self, build, tools, max_connections=256, **keys):
        super().__init__(build, tools, max_connections=max_connections,
                         **keys)
        self.helpers = {}

    def start(self):
        """Starts it, and waits until it has served for the first time."""
        super().start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.helpers = {"master": [self.program.pid]}
            for pid in children(self.program.pid):
                self.helpers.setdefault(role(pid), []).append(pid)
            if not set(self.helpers) - set(ROLES):
                break
            time.sleep(0.02)
        else:
            raise Broken("the server has a helper that does not end")
        self.load(50)  # what is done once is done

    def settle(self, workers=0):
        """Waits until no more workers than these are left."""
        self.program.settle(sum(map(len, self.helpers.values())) - 1 + workers)

    def load(self, count, workers=0, options=()):
        """Complete handshakes, and what was left when the last was done."""
        before = idle_us(), time.monotonic()
        figures = fields(run(self.client(count, *options)))
        figures["span_us"] = (time.monotonic() - before[1]) * 1e6
        figures["idle_us"] = idle_us() - before[0]
        figures["server_us"] = self.program.us()
        self.settle(workers)
        return figures

    def by_role(self):
        """CPU and faults of each role so far.  Workers are ever new ones:
        the master has the faults of those that it has reaped."""
        figures = {"worker": (0, Stat(self.program.pid).child_faults)}
        for name, pids in self.helpers.items():
            figures[name] = (sum(map(run_us, pids)),
                             sum(Stat(pid).faults for pid in pids))
        return figures

    def handshakes(self, count, workers=0, options=()):
        """What one of so many handshakes costs, and how fast they come."""
        before, roles_before = self.program.us(), self.by_role()
        load = self.load(count, workers, options)
        roles = self.by_role()
        cost = {"server": (self.program.us() - before) / count,
                "client": load["cpu_us"] / count,
                "rate": count / load["wall_us"] * 1e6}
        for name, (us, faults) in roles.items():
            cost[name] = (us - roles_before[name][0]) / count
            cost[name + " faults"] = (faults - roles_before[name][1]) / count
        cost["worker"] = cost["server"] - sum(
            cost[name] for name in self.helpers)
        # What others took of the processors, the server could not have.
        ours = load["server_us"] - before + load["cpu_us"]
        span = load["span_us"] * os.cpu_count()
        cost["others"] = max(0, 1 - (ours + load["idle_us"]) / span)
        return cost

    @contextlib.contextmanager
    def idle_sessions(self, count):
        """Holds sessions that do nothing."""
        with subprocess.Popen(self.client(count, "-i"), text=True,
                              stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as client:
            try:
                if fields(client.stdout.readline()).get("done") != count:
                    raise Broken("not all sessions could be opened")
                self.settle(count)
                yield
                held = len(self.workers())
                if held != count:
                    raise Broken("%d of %d idle sessions were left" %
                                 (held, count))
            finally:
                client.stdin.close()
        self.settle()

    def workers(self):
        """The processes of its sessions."""
        lasting = sum(self.helpers.values(), [])
        return [pid for pid in children(self.program.pid)
                if pid not in lasting]

    def memory(self):
        """KiB that the server has: proportional share of all processes'
        pages, and what the whole kernel has of some kinds."""
        pids = sum(self.helpers.values(), []) + self.workers()
        try:
            pss = sum(kib("/proc/%d/smaps_rollup" % pid, "Pss")
                      for pid in pids)
        except OSError as e:
            raise Unable("the memory of its processes cannot be read "
                         "without root") from e
        return {"pss": pss,
                "tables": kib("/proc/meminfo", "PageTables"),
                "stacks": kib("/proc/meminfo", "KernelStack"),
                "slab": kib("/proc/meminfo", "Slab")}


# -- system calls --------------------------------------------------------


class Counters:
    """Programs attached to the server's processes that count its calls."""

    def __init__(self):
        self.jobs = {}

    def attach(self, name, arguments, pids):
        """Starts one; its last words come on stderr."""
        self.jobs[name] = subprocess.Popen(
            arguments + ["-p", ",".join(map(str, pids))], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)

    def count(self, server, handshakes, total):
        """Each one's total, found by a pattern in its last words, for one of
        so many handshakes."""
        time.sleep(0.5)  # they have no way to say that they are ready
        if any(job.poll() is not None for job in self.jobs.values()):
            raise Unable("may not be attached to the server's processes")
        server.load(handshakes)
        calls = {}
        for name, job in self.jobs.items():
            job.send_signal(signal.SIGINT)
            m = re.search(total, job.communicate()[1], re.M)
            if not m:
                raise Unable("counts no system calls here")
            calls[name] = int(m.group(1)) / handshakes
        return calls

    def close(self):
        """Leaves none attached."""
        for job in self.jobs.values():
            if job.poll() is None:
                job.terminate()
            job.wait()
            job.stderr.close()


def perf_calls(server):
    """By the kernel's trace point, which costs the processes little."""
    command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter"]
    counters = Counters()
    try:
        for name in server.helpers:
            counters.attach(name, command + ["--no-inherit"],
                            server.helpers[name])
        # The zygote's children are counted with it.
        counters.attach("both", command, server.helpers["zygote"])
        calls = counters.count(server, 300, r"^(\d+),.*raw_syscalls")
    finally:
        counters.close()
    calls["worker"] = calls.pop("both") - calls["zygote"]
    return calls


def strace_calls(server):
    """By a tracer, of which a process has only one: the zygote's calls are
    counted with its workers'."""
    counters = Counters()
    try:
        for name in ("master", "keys"):
            counters.attach(name, ["strace", "-q", "-c"],
                            server.helpers[name])
        counters.attach("worker", ["strace", "-q", "-c", "-f"],
                        server.helpers["zygote"])
        return counters.count(server, 200,
                              r"^100\.00 +\S+ +(?:\S+ +)?(\d+) .*total$")
    finally:
        counters.close()


def system_calls(server):
    """System calls of each role for a connection, and what counted them."""
    reasons = []
    for tool, count in (("perf", perf_calls), ("strace", strace_calls)):
        if not shutil.which(tool):
            reasons.append("%s is not installed" % tool)
            continue
        try:
            return tool, count(server)
        except Unable as e:
            reasons.append("%s %s" % (tool, e))
    raise Unable("; ".join(reasons))


# -- sshd ----------------------------------------------------------------


class Sshd(Temporary):
    """Debian's sshd, with a configuration and key of its own."""

    PROGRAM = "/usr/sbin/sshd"
    SEPARATION = "/run/sshd"  # without it sshd does not start as root

    def __init__(self):
        super().__init__()
        self.port = harness.free_port()
        self.made_separation = False

    def start(self):
        """Starts it, and waits until it has served for the first time."""
        for tool in (self.PROGRAM, "ssh-keygen", "ssh-keyscan"):
            if not shutil.which(tool):
                raise Unable("%s is not installed" % os.path.basename(tool))
        try:
            self.serve()
        except Broken as e:
            raise Unable("it does not run here: %s" % e) from e

    def serve(self):
        """Makes key and configuration, and starts it."""
        if ROOT and not os.path.isdir(self.SEPARATION):
            os.mkdir(self.SEPARATION, 0o755)
            self.made_separation = True
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
             self.path("key")])
        with open(self.path("conf"), "w") as f:
            f.write("Port %d\nListenAddress 127.0.0.1\nHostKey %s\n"
                    "KexAlgorithms diffie-hellman-group14-sha256\n"
                    "UsePAM no\nPidFile none\nMaxStartups 100\n" %
                    (self.port, self.path("key")))
        self.program = Program([self.PROGRAM, "-D", "-e", "-f",
                                self.path("conf")], self.path("log"))
        self.program.wait_listening(self.port)
        self.connections(AT_ONCE)

    def close(self):
        """Leaves no folder either that it needed elsewhere."""
        super().close()
        if self.made_separation:
            with contextlib.suppress(OSError):
                os.rmdir(self.SEPARATION)

    def connections(self, count):
        """What one of so many key exchanges at once costs."""
        before = self.program.us()
        clients = [subprocess.Popen(
            ["ssh-keyscan", "-T", "30", "-t", "ed25519", "-p", str(self.port),
             "127.0.0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True) for _ in range(count)]
        answers = [client.communicate()[0] for client in clients]
        if not all("ssh-ed25519 " in answer for answer in answers):
            raise Broken("sshd does not answer")
        self.program.settle(0)
        return (self.program.us() - before) / count


def raise_descriptors(needed):
    """Lets this process and its children have so many; false if it may not
    be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (max(soft, needed), hard))
        return True
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
    except (ValueError, OSError):
        return False
    return True
