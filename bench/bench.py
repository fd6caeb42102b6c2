#!/usr/bin/python3
"""What a connection costs, beside what it may cost: `make bench`.

The limit is what no such server can do without: two modular exponentiations
and a process.  Limit and load are measured in turn in the same run, because
machines differ, and so does one machine from minute to minute; figures are
medians.  The server is a real one on a free port of loopback, with everything
it has in a temporary folder.  What an ordinary user cannot measure is left
out, and said.

Exit status: 0, or 1 where a requirement is not met (a goal may be missed), or
2 where nothing can be measured.
"""

import contextlib
import os
import statistics
import sys

from measure import (AT_ONCE, BITS, ROLES, Broken, Server, Sshd, Unable,
                     fields, harness, raise_descriptors, run, system_calls)
from report import Report, machine, main, us

ROUNDS = 5
HANDSHAKES = 600  # of a round
SSHD_CONNECTIONS = 2 * AT_ONCE  # of a round
IDLE_SESSIONS = 2000
IDLE_CONNECTIONS = 3000  # max_connections of that server
IDLE_TURNS = 2
IDLE_ROUNDS = 3  # of a turn, without and with the sessions
DESCRIPTORS = 16384  # enough for such a server, and for its clients

COST_MAX, COST_GOAL = 2.5, 1.5
BUSY_MIN = 0.8
SSHD_MAX = 0.1
MEMORY_MAX = 600  # KiB
IDLE_MAX = 1.2
IDENTITY_MAX = 1.1
OTHERS_MENTIONED = 0.05  # share of the processors


def medians(rows):
    """The median of each figure of several rounds."""
    return {key: statistics.median(row[key] for row in rows)
            for key in rows[0]}


def measure_limit(tools):
    """Two exponentiations and a fork, in microseconds."""
    limit = fields(run([os.path.join(tools, "limit"),
                        os.path.join(tools, "empty_fork"),
                        "%x" % harness.primes(BITS)[0], "400", "300"]))
    limit["modexps_us"] = 2 * limit["modexp_us"]
    limit["us"] = limit["modexps_us"] + limit["fork_us"]
    return limit


def report_limit(report, limit):
    """The three lines that the others are compared with."""
    report.row("two modular exponentiations", us(limit["modexps_us"]))
    report.row("fork, exit, wait of an empty static process",
               us(limit["fork_us"]))
    report.row("the limit: both", us(limit["us"]))


def report_cost(report, limit, cost):
    """The server's processor time, and how well it fills the processors."""
    ratio = cost["server"] / limit["us"]
    report.judge("server CPU for a handshake", us(cost["server"]),
                 us(limit["us"]), ratio, "at most", COST_MAX, COST_GOAL)
    report.judge("handshakes/s of %d clients at once" % AT_ONCE,
                 "%.0f" % cost["rate"], "%.0f" % cost["allowed"],
                 cost["busy"], "at least", BUSY_MIN)
    if cost["others"] > OTHERS_MENTIONED:
        report.line("  (limit: less %.0f %% of the processors, which other "
                    "programs had)" % (100 * cost["others"]))


def report_processes(report, name, cost, server):
    """What each process has of a connection."""
    try:
        tool, calls = system_calls(server)
        note = "system calls by %s" % tool
    except Unable as e:
        calls, note = {}, "system calls left out: %s" % e
    report.line()
    report.line("%-22s %14s %14s %14s" % (
        name + ", each", "CPU", "page faults", "system calls"))
    for role in ROLES:
        count = "%.1f" % calls[role] if role in calls else "-"
        if role == "zygote" and calls and role not in calls:
            count = "(in worker)"
        report.line("  %-20s %14s %14.1f %14s" % (
            role, us(cost[role]), cost[role + " faults"], count))
    report.line("  " + note)


def measure_rounds(report, servers, sshd, tools):
    """Limit and loads in turn; the medians of each."""
    limits, rounds = [], {name: [] for name in servers}
    scans = []
    for _ in range(ROUNDS):
        limits.append(measure_limit(tools))
        for name, server in servers.items():
            cost = server.handshakes(HANDSHAKES)
            cost["allowed"] = (1 - cost["others"]) * os.cpu_count() * 1e6 / (
                cost["server"] + cost["client"])
            cost["busy"] = cost["rate"] / cost["allowed"]
            rounds[name].append(cost)
        if sshd:
            scans.append(sshd.connections(SSHD_CONNECTIONS))
    limit = medians(limits)
    costs = {name: medians(rows) for name, rows in rounds.items()}
    report_limit(report, limit)
    report_cost(report, limit, costs["static"])
    if "dynamic" in costs:
        own = costs["dynamic"]["server"]
        report.row("server CPU, the worker linked dynamically", us(own),
                   us(limit["us"]), "%.2f" % (own / limit["us"]))
    if scans:
        other, own = statistics.median(scans), costs["static"]["server"]
        report.judge("the same, beside a key exchange of sshd", us(own),
                     us(other), own / other, "at most", SSHD_MAX)
    return costs


def report_memory(report, server):
    """What the server and the kernel have more of with idle sessions."""
    what = "memory of an idle session"
    try:
        before = server.memory()
        with server.idle_sessions(IDLE_SESSIONS):
            after = server.memory()
    except Unable as e:
        report.skipped(what, e)
        return
    grown = {key: (after[key] - before[key]) / IDLE_SESSIONS for key in after}
    kib = sum(grown.values())
    report.judge(what, "%.0f KiB" % kib, "%d KiB" % MEMORY_MAX,
                 kib / MEMORY_MAX, "at most", 1)
    for key, name in (("pss", "PSS, all the server's processes together"),
                      ("tables", "page tables"), ("stacks", "kernel stacks"),
                      ("slab", "kernel objects, the client's too")):
        report.row("  " + name, "%.0f KiB" % grown[key])


def report_beside_idle(report, server):
    """What idle sessions cost the others: with and without, in turn."""
    without, beside = [], []
    for _ in range(IDLE_TURNS):
        for _ in range(IDLE_ROUNDS):
            without.append(server.handshakes(HANDSHAKES)["server"])
        with server.idle_sessions(IDLE_SESSIONS):
            for _ in range(IDLE_ROUNDS):
                beside.append(server.handshakes(HANDSHAKES, IDLE_SESSIONS)
                              ["server"])
    cost, free = statistics.median(beside), statistics.median(without)
    report.judge("server CPU beside %d idle sessions" % IDLE_SESSIONS,
                 us(cost), us(free), cost / free, "at most", IDLE_MAX)


def measure_identity(report, build, tools):
    """What it costs to be able to say who the server is, and to say it."""
    costs = {"without": [], "unasked": [], "asked": []}
    with Server(build, tools, identity_file="none") as without, \
            Server(build, tools) as server:
        for _ in range(ROUNDS):
            costs["without"].append(without.handshakes(HANDSHAKES)["server"])
            costs["unasked"].append(server.handshakes(HANDSHAKES)["server"])
            costs["asked"].append(
                server.handshakes(HANDSHAKES, options=["-I"])["server"])
    cost = {name: statistics.median(row) for name, row in costs.items()}
    report.judge("server CPU with an identity, beside none",
                 us(cost["unasked"]), us(cost["without"]),
                 cost["unasked"] / cost["without"], "at most", IDENTITY_MAX)
    report.row("server CPU where the client asks, beside not",
               us(cost["asked"]), us(cost["unasked"]),
               "%.2f" % (cost["asked"] / cost["unasked"]))


def measure_idle(report, build, tools):
    """Many idle sessions: their memory, and what they cost the others."""
    what = "%d idle sessions" % IDLE_SESSIONS
    if not raise_descriptors(DESCRIPTORS):
        report.skipped(what, "they need %d descriptors (ulimit -Hn)" %
                       DESCRIPTORS)
        return
    try:
        with Server(build, tools, IDLE_CONNECTIONS) as server:
            report_memory(report, server)
            report_beside_idle(report, server)
    except Broken as e:
        report.broken(what, e)


def start_report(server):
    """The heading."""
    print("DH of %d bits on %s, CPU time by %s\n" %
          (BITS, machine(), "cgroup" if server.program.cgroup else "/proc"))
    return Report()


def bench(build, quick):
    """The whole run; true if every requirement is met."""
    tools = os.path.join(build, "bench")
    with contextlib.ExitStack() as stack:
        servers = {"static": stack.enter_context(Server(build, tools))}
        sshd, no_sshd = None, None
        if not quick:
            servers["dynamic"] = stack.enter_context(
                Server(os.path.join(build, "dynamic"), tools))
            try:
                sshd = stack.enter_context(Sshd())
            except Unable as e:
                no_sshd = e
        report = start_report(servers["static"])
        costs = measure_rounds(report, servers, sshd, tools)
        if no_sshd:
            report.skipped("the same, beside a key exchange of sshd", no_sshd)
        if not quick:
            measure_identity(report, build, tools)
            measure_idle(report, build, tools)
        for name, server in servers.items():
            report_processes(report, name, costs[name], server)
        return report.met


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0],
                  "only the cost of a handshake: 15 s", bench))
