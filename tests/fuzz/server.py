#!/usr/bin/python3
"""Fuzzes a real server: server.py [--seed N] [--seconds N]

Connections of mutated packets, in batches, against the daemon of BUILD, which
should be one with sanitizers (make fuzz-server builds it).  A connection goes
through the handshake and a session, and at any point its bytes are changed,
repeated, cut into segments, delayed, or it ends: by a close, by a reset, or
half.  Every choice comes from the seed, which is printed; keys and tokens are
made anew each time.

After each batch the server serves a clean session, no sanitizer has said
anything, no worker has died and none has broken the rules of a channel, and
the server has the processes and descriptors that it had.
"""

import argparse
import base64
import os
import random
import socket
import sys
import threading
import time

from cryptography.fernet import InvalidToken

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

import fmltp  # noqa: E402
import harness  # noqa: E402

BATCH = 48  # connections
AT_A_TIME = 8
USER = ("ada", "$2b$04$abcdefghijklmnopqrstuuFmEfrkTQnczNzw475xE2VhDrK1uwJiC",
        "right")

WORDS = (b"HELP", b"QUIT", b"AUTH ", b"HELP QUIT", b"AUTH ada right",
         b"AUTH ada wrong", b"\r\n", b"\0", b" ", b"200 ", b"\xe2\x80\xae",
         b"-----BEGIN PUBLIC KEY-----\n", b"-----END PUBLIC KEY-----\n",
         b"FlexMusic ", b",0.0.0", b"=", b"gAAAAA", b"\x30\x82", b"\x02\x01")

# What never may be in the log.
BAD = (("worker-died", {"attack": "yes"}), ("channel-violation", {}),
       ("helper-died", {}), ("helper-stuck", {}), ("worker-failed", {}))


class Found(Exception):
    """The server did what it must not do."""


class Over(Exception):
    """The connection ends here, as was chosen."""


# -- bytes ----------------------------------------------------------------


def change_bytes(r, data):
    """A few changes at the level of bytes."""
    data = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 4, 16))):
        at = r.randrange(len(data) + 1)
        kind = r.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << r.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = r.choice((0, 0x0a, 0x0d, 0x20, 0x2d, 0x3d, 0x7f, 0x80,
                                 0xff))
        elif kind == 2:
            data[at:at + r.choice((1, 2, 16, 300))] = b""
        elif kind == 3:
            data[at:at] = r.choice(WORDS)
        elif kind == 4:
            data[at:at] = r.randbytes(r.choice((1, 4, 64, 700)))
        elif kind == 5:
            data[at:at] = data[at:at + r.choice((1, 8, 200))] * \
                r.choice((1, 2, 40))
        else:
            del data[at:]
    return bytes(data)


def version_line(r):
    """Packet 2, changed in its structure."""
    numbers = (0, 0, 1, 7, 65535, 65536, "00", "-1", "")
    name = r.choice((fmltp.CLIENT_NAME, b"", b"FlexMusic", b"x" * 300,
                     "FlexMusic \u266b\u202e".encode(), b"FlexMusic,a"))
    return name + b"," + ".".join(
        str(r.choice(numbers)) for _ in range(r.choice((3, 3, 3, 2, 4)))).encode() + \
        r.choice((b"\r\n", b"\n", b"", b"\r", b"\r\n\r\n"))


def public_key(r, client):
    """Packet 4, changed in its structure."""
    p, g, y = client.numbers()
    how = {}
    kind = r.randrange(8)
    if kind == 0:
        y = r.choice((0, 1, 2, p - 2, p - 1, p, p + y, -1, y + 1))
    elif kind == 1:
        p = r.choice((p + 2, p >> 8, 23, p << 64))
    elif kind == 2:
        g = r.choice((0, 1, 3, -2, p))
    elif kind == 3:
        how["private_length"] = r.choice((0, 1, 160, 1024, 1025, 65536, -1))
    elif kind == 4:
        how["oid"] = fmltp.OID_X942
    elif kind == 5:
        how["unused"] = r.choice((1, 7, 8, 255))
    elif kind == 6:
        how["outer_length"] = r.choice((b"\x80", b"\x84\xff\xff\xff\xff",
                                        b"\x82\0\1", b"\x7f"))
    body = fmltp.spki(p, g, y, **how)
    return fmltp.pem(r.choice((b"PUBLIC KEY", b"PUBLIC KEY", b"DH PARAMETERS")),
                     body, r.choice((64, 64, 64, 63, 65, 1, 4096)),
                     r.choice((b"\n", b"\n", b"\r\n", b"\r")))


def token(r, client, plain):
    """A token of any kind: right, or wrong in what the key's owner alone can
    make wrong."""
    now = int(time.time())
    kind = r.randrange(9)
    if kind == 0:
        return fmltp.token(client.key, plain, when=r.choice(
            (0, 1, now - 10**6, now + 10**6, 2**63, 2**64 - 1)))
    if kind == 1:
        return fmltp.token(client.key, plain, version=r.choice((0, 0x81, 255)))
    if kind == 2:
        return fmltp.token(client.key, plain,
                           padded=r.randbytes(16 * r.choice((1, 2, 60))))
    if kind == 3:
        return base64.urlsafe_b64encode(
            change_bytes(r, fmltp.raw_token(client.key, plain)))
    if kind == 4:
        body = r.randbytes(r.choice((0, 9, 25, 41, 57, 500)))
        return base64.urlsafe_b64encode(body + fmltp.mac(client.key, body))
    if kind == 5:
        return fmltp.token(r.randbytes(32), plain)
    return fmltp.token(client.key, plain)


def command(r):
    """A packet of the session."""
    kind = r.randrange(6)
    if kind == 0:
        return b"AUTH ada " + r.choice((b"right", b"wrong", b"", b"p" * 600))
    if kind == 1:
        return r.randbytes(r.choice((0, 1, 5, 300, 4096, 5000)))
    if kind == 2:
        return r.choice(WORDS) * r.choice((1, 2, 300))
    if kind == 3:
        return change_bytes(r, b"HELP QUIT\r\n")
    return r.choice((b"HELP", b"HELP QUIT\r\n", b"QUIT", b"HELP AUTH"))


# -- a connection ---------------------------------------------------------


class Connection:
    """One connection, all of whose choices come from one generator."""

    def __init__(self, address, seed):
        self.r = random.Random(seed)
        self.address = address
        self.wild = self.r.choice((0.02, 0.15, 0.5))
        self.last = b""  # token, to be sent again

    def odd(self, share=None):
        """True now and then."""
        return self.r.random() < (self.wild if share is None else share)

    def send(self, client, data, structure=None):
        """Sends a packet, or what has become of it."""
        r = self.r
        if self.odd() and structure is not None:
            data = structure()
        if self.odd():
            data = change_bytes(r, data)
        if self.odd(0.05):
            data += r.choice(WORDS)
        if self.odd(self.wild / 4):
            client.send(data[:r.randrange(len(data) + 1)])
            raise Over
        places = []
        if self.odd(0.3) and len(data) > 1:
            count = r.choice((1, 2, 5, 30))
            places = sorted(r.randrange(1, len(data)) for _ in range(count))
        client.send(data, split=places, pause=r.choice((0, 0, 0.001, 0.01)))

    def handshake(self, client):
        """Packets 1 to 7, as far as they come."""
        r = self.r
        client.read_banner()
        self.send(client, fmltp.CLIENT_LINE + fmltp.CRLF,
                  lambda: version_line(r))
        client.read_params()
        data = client.make_key()
        self.send(client, data, lambda: public_key(r, client))
        client.read_key()
        self.send(client, client.seal(client.banner) + fmltp.CRLF,
                  lambda: token(r, client, r.choice(
                      (client.banner, client.banner + b" \r\n", b"",
                       client.banner[:-1], b"100 x"))) + fmltp.CRLF)
        client.read_final()

    def session(self, client):
        """Commands, with their answers or before them."""
        r = self.r
        for _ in range(r.randrange(10)):
            if self.odd(self.wild / 2) and self.last:
                data = self.last
            else:
                plain = command(r)
                data = token(r, client, plain) if self.odd() \
                    else fmltp.token(client.key, plain)
            self.last = data
            self.send(client, data + r.choice((b"\r\n", b"\r\n", b"\n", b"",
                                               b"\r\n\r\n", b"\r")))
            if self.odd(0.7):
                client.sock.settimeout(r.choice((0.01, 0.3, 3)))
                client.receive(65536)
        if self.odd(0.5):
            client.quit()

    def run(self):
        """All of it; how a server may end it is all right."""
        with fmltp.Client(self.address, deadline=4) as client:
            try:
                if self.odd(0.04):
                    client.send(self.r.randbytes(self.r.choice((1, 500,
                                                                9000))))
                self.handshake(client)
                self.session(client)
            except (Over, OSError, AssertionError, ValueError, fmltp.Closed,
                    InvalidToken):
                pass
            kind = self.r.randrange(4)
            if kind == 0:
                client.reset()
            elif kind == 1:
                try:
                    client.sock.shutdown(socket.SHUT_WR)
                    client.sock.settimeout(0.2)
                    client.rest()
                except OSError:
                    pass


# -- batches --------------------------------------------------------------


def run_batch(server, r):
    """Some connections, a few at a time, each with a seed of its own."""
    seeds = [r.getrandbits(64) for _ in range(BATCH)]
    failures = []
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not seeds:
                    return
                seed = seeds.pop()
            try:
                Connection(server.address, seed).run()
            except ConnectionRefusedError:
                failures.append("a connection was refused")
            except OSError:
                continue
            except BaseException as e:
                failures.append("%s: %s" % (type(e).__name__, e))
    threads = [threading.Thread(target=work) for _ in range(AT_A_TIME)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise Found(failures[0])


def clean(server, auth):
    """A whole session, by the book."""
    with server.client() as client:
        client.handshake()
        if auth and client.auth(USER[0], USER[2])[:4] != b"150 ":
            raise Found("who has the right password is not let in")
        if not client.command("HELP").startswith(b"200 "):
            raise Found("HELP is not answered")
        client.quit()


def check(server, before, mark, auth):
    """What has to be so after a batch."""
    clean(server, auth)
    server.quiet()
    if not server.alive():
        raise Found("the server is gone")
    reports = server.reports()
    if reports:
        raise Found(reports[0])
    for name, fields in BAD:
        found = server.log.find(name, mark, **fields)
        if found:
            raise Found(found[0].text)
    after = server.settle(before)
    if after != before:
        raise Found("left behind: before %s, after %s" % (before, after))


def fuzz(auth, r, seconds):
    """One server, for some seconds; connections, and reasons of their
    ends."""
    keys = {"max_connections": 200, "handshake_client_timeout": 2,
            "accept_rate": 0, "auth_failure_cooldown": 0,
            "handshake_failure_cooldown": 0, "keys_processes": 1}
    server = harness.Server(**keys)
    if auth:
        users = os.path.join(server.directory, "users")
        with open(users, "w") as f:
            f.write("%s:%s\n" % USER[:2])
        os.chmod(users, 0o600)
        server.write_config(auth_method="auth", auth_file=users,
                            auth_timeout=5, auth_processes=1)
    count = 0
    with server:
        clean(server, auth)
        server.quiet()
        before = server.footprint()
        end = time.monotonic() + seconds
        try:
            while count == 0 or time.monotonic() < end:
                mark = server.log.mark()
                run_batch(server, r)
                count += BATCH
                check(server, before, mark, auth)
        except (Found, harness.Timeout, OSError, AssertionError) as e:
            raise Found("%s\n%s" % (e, server.log.tail(40))) from e
        reasons = {e.get("reason") for e in server.log.read()
                   if e.matches(harness.FAILURES, {})}
    return count, reasons


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=int, default=20)
    o = parser.parse_args()
    seed = o.seed if o.seed is not None else \
        int.from_bytes(os.urandom(4), "big")
    print("  FUZZ server           --seed %d" % seed)
    sys.stdout.flush()
    r = random.Random(seed)
    total, reasons = 0, set()
    try:
        for auth in (False, True):
            count, more = fuzz(auth, r, o.seconds / 2)
            total += count
            reasons |= more
    except Found as e:
        sys.exit("seed %d: %s" % (seed, e))
    print("  FUZZ server           %d connections, ended in %d ways: %s" % (
        total, len(reasons), " ".join(sorted(reasons))))
    if len(reasons) < 8:
        sys.exit("seed %d: these are too few ways to end" % seed)


if __name__ == "__main__":
    main()
