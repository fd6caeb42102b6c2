#!/usr/bin/python3
"""make demo: a private server, two clients, and what each process may do.

The server listens on a free port of loopback and keeps its state in a
temporary folder that is removed at the end.  Nothing else is touched.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "lib"))

import harness  # noqa: E402

BUILD = os.path.abspath(os.environ.get("BUILD") or "build")
CLIENT = os.path.join(BUILD, "flexmusic")
CAPABILITIES = {0: "none"}
NAMES = {5: "KILL", 6: "SETGID", 7: "SETUID", 10: "NET_BIND_SERVICE",
         18: "SYS_CHROOT"}
SEARCH = 180  # seconds; one in many thousand searches takes longer
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    """Coloured only on a terminal."""
    return "\033[%sm%s\033[0m" % (code, text) if COLOUR else text


def step(number, text):
    """A heading."""
    print("\n" + paint("1;36", "%d. %s" % (number, text)), flush=True)


def capabilities(mask):
    """The names in a set."""
    bits = [b for b in range(64) if mask >> b & 1]
    return " ".join(NAMES.get(b, str(b)) for b in bits) or "none"


def status(pid):
    """/proc/PID/status as a dictionary."""
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1)
                    for line in f if ":\t" in line)


def root_of(pid):
    """The root directory, where it may be seen."""
    try:
        return os.readlink("/proc/%d/root" % pid)
    except OSError:
        return "(not shown: the process is not dumpable)"


def table(server):
    """What each process may do, read from /proc."""
    rows = [("pid", "user", "capabilities", "seccomp", "new privileges",
             "root directory", "title")]
    for process in sorted(server.processes(), key=lambda p: p.pid):
        s = status(process.pid)
        with open("/proc/%d/cmdline" % process.pid, "rb") as f:
            title = f.read().split(b"\0")[0].decode(errors="replace").strip()
        rows.append((str(process.pid), s["Uid"].split()[0],
                     capabilities(int(s["CapEff"], 16)),
                     {"0": "no filter", "2": "%s filter(s)" %
                      s.get("Seccomp_filters", "?")}.get(s["Seccomp"], "?"),
                     {"0": "yes", "1": "never"}[s["NoNewPrivs"]],
                     root_of(process.pid).replace(server.directory, "…"),
                     title))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        line = "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip()
        print(paint("1", line) if n == 0 else line)


def show(server, start, *names):
    """The log's lines of these events."""
    for name in names:
        for event in server.log.find(name, start=start):
            print(paint("2", event.text.split(": ", 1)[-1]))


def client(server, *arguments, check=True):
    """The bundled client, its words on this screen."""
    identity = server.log.find("identity")[-1]["fingerprint"]
    command = [CLIENT, "-v", "-p", str(server.port), "--fingerprint", identity,
               server.host, *arguments]
    print(paint("1", "$ flexmusic " + " ".join(command[1:])), flush=True)
    result = subprocess.run(command, stdin=subprocess.DEVNULL,
                            env=dict(os.environ, HOME=server.directory),
                            stderr=subprocess.STDOUT, timeout=30)
    if check and result.returncode != 0:
        raise SystemExit("the client ended with status %d"
                         % result.returncode)


def main():
    """The story, from start to shutdown."""
    print(paint("1", "flexmusicd: a demonstration"))
    print("Searching new DH parameters of 2048 bits: a matter of luck, "
          "a few seconds as a rule.", flush=True)
    if os.geteuid() != 0:
        print("Started without root, so separate users and chroot are left "
              "out here;\nthe filters, Landlock and limits are not.")
    server = harness.Server(seeds={}, arguments=("-d", "-v"), key_size=2048,
                            allow_weak_key_size=None, keep_parameters=None)
    server.write_config(identity_file=os.path.join(server.directory,
                                                   "identity.pem"))
    server.patience = SEARCH
    with server:
        start = server.log.mark()
        step(1, "The server has started: its own new parameters, each "
                "helper in its sandbox")
        show(server, 0, "start", "sandbox-layers", "unprivileged", "sandbox",
             "generating", "generation-installed", "listen")
        step(2, "A client goes through the handshake; every packet explained")
        client(server, "HELP")
        step(3, "The processes, with a session open, and what each may do")
        held = server.client()
        held.handshake()
        table(server)
        start = server.log.mark()
        step(4, "SIGHUP: new parameters, made ahead, while that session goes "
                "on")
        server.log.wait("set-stored", deadline=SEARCH)
        server.signal(1)
        server.log.wait("generation-installed", start=start, deadline=SEARCH)
        show(server, start, "set-stored", "reload", "generating",
             "generation-installed")
        answer = held.command("HELP HELP").decode().splitlines()
        print("the open session still answers: " + answer[0])
        held.quit()
        step(5, "A second client is shown the new parameters (compare the "
                "SHA-256)")
        client(server, "HELP", "QUIT")
        step(6, "SIGTERM: the server ends, and every process with it")
        server.stop()
        show(server, start, "session-begin", "session-end", "shutdown",
             "stop")
    print("\n" + paint("1;32", "Done.") + "  make check runs the tests; "
          "make run starts a server to try clients against.")


if __name__ == "__main__":
    main()
