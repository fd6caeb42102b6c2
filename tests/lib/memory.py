"""Looks for secrets in the memory of running processes, as root.

What a process has mapped from a file and never written to is left out: it is
the page cache's, as what is in a socket's buffer is the kernel's.

A secret is looked for in each form that code gives it, and in pieces of eight
bytes: half of a key that was overwritten is a key that is half known.
"""

import os
import re
import struct
import time
import unittest

import harness

PIECE = 8
SHADOW = 1 << 27  # so large is only what a sanitizer keeps beside the memory
# Wiping takes no time; what is slow is a machine that has other things to do.
GONE = 10 * float(os.environ.get("FLEXMUSIC_TIME_SCALE", "1"))


class Region:
    """A mapping: its place, what it is of, its flags, and its bytes."""

    def __init__(self, match):
        self.start = int(match.group(1), 16)
        self.end = int(match.group(2), 16)
        self.readable = match.group(3).startswith("r")
        self.is_file = match.group(4) != "0"
        self.name = match.group(5)
        self.own = 0  # KiB that are this process's alone
        self.flags = []  # as in proc(5): "lo" is locked
        self.data = b""

    def __repr__(self):
        return "%x-%x %s" % (self.start, self.end, self.name or "[anonymous]")


HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")


def regions(pid):
    """The mappings of a process that can hold what it has written."""
    found = []
    with open("/proc/%d/smaps" % pid) as f:
        for line in f:
            match = HEAD.match(line)
            if match:
                found.append(Region(match))
            elif line.startswith("Anonymous:"):
                found[-1].own = int(line.split()[1])
            elif line.startswith("VmFlags:"):
                found[-1].flags = line.split()[1:]
    return [r for r in found if r.readable and (not r.is_file or r.own > 0)
            and not (harness.SANITIZED and r.end - r.start >= SHADOW)
            and r.name not in ("[vvar]", "[vdso]", "[vsyscall]")]


def snapshot(pid):
    """The regions of a process with their bytes; none where it is gone."""
    try:
        found = regions(pid)
        with open("/proc/%d/mem" % pid, "rb", buffering=0) as f:
            for region in found:
                try:
                    f.seek(region.start)
                    region.data = f.read(region.end - region.start)
                except OSError:
                    continue  # no page of it can be read, or it is gone
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found


def written(pid):
    """The bytes of these regions; None where they can't be read here."""
    try:
        return b"".join(region.data for region in snapshot(pid))
    except PermissionError:
        return None


def find(taken, needles):
    """Where in a snapshot one of the needles is: needle's name to place."""
    found = {}
    for name, needle in needles:
        for region in taken:
            at = region.data.find(needle)
            if at >= 0:
                found[name] = (region.start + at, region)
                break
    return found


def search(found, needles):
    """Role and process id to what was found in it."""
    places = {}
    for p in found:
        here = find(snapshot(p.pid), needles)
        if here:
            places["%s %d" % (p.role, p.pid)] = here
    return places


class Judge(unittest.TestCase):
    """What is found where."""

    def nowhere(self, server, needles, but=()):
        """In no process but these, within the limit."""
        allowed = {p.pid for p in but}
        left = [p for p in server.processes() if p.pid not in allowed]
        self.assertTrue(left)
        end = time.monotonic() + GONE
        while True:
            places = search(left, needles)
            if not places:
                return
            if time.monotonic() > end:
                self.fail("still there: %s" % places)
            time.sleep(0.02)

    def here(self, process, needles, least=1):
        """In this one: so what is not found elsewhere is not there."""
        found = find(snapshot(process.pid), needles)
        self.assertGreaterEqual(len(found), least, process)
        return found

    def nowhere_in(self, pid, needles):
        """As nowhere(), in one process that is no server's."""
        end = time.monotonic() + GONE
        while True:
            taken = snapshot(pid)
            self.assertTrue(taken, "it has ended")
            found = find(taken, needles)
            if not found:
                return
            if time.monotonic() > end:
                self.fail("still there: %s" % found)
            time.sleep(0.02)


# -- the forms of a secret -------------------------------------------------


def pieces(name, data):
    """Eight bytes each, so that a remainder is found, too."""
    return [("%s, byte %d" % (name, i), data[i:i + PIECE])
            for i in range(0, len(data) - PIECE + 1, PIECE)]


def swapped(data):
    """Each 32-bit word turned round: as SHA-256 and AES have it in C."""
    return b"".join(data[i:i + 4][::-1] for i in range(0, len(data) - 3, 4))


def pad(data, byte):
    """As HMAC begins with it."""
    return bytes(b ^ byte for b in data)


def number(name, value, size):
    """A number: its bytes, OpenSSL's limbs, and words of a hash's input."""
    data = value.to_bytes(size, "big")
    return (pieces(name, data) + pieces(name + " in limbs", data[::-1]) +
            pieces(name + " in words", swapped(data)))


def text(name, data):
    """A text: itself, and as the key of an HMAC."""
    return (pieces(name, data) + pieces(name + " ^ 36", pad(data, 0x36)) +
            pieces(name + " ^ 5c", pad(data, 0x5c)))


def raw_key(key):
    """A session key as keys hands it out: its two halves."""
    found = []
    for name, half in (("MAC key", key[:16]), ("AES key", key[16:])):
        found += pieces(name, half) + pieces(name + " in words",
                                             swapped(half))
    return found


def expanded_key(key):
    """What a session makes of it: pads, hash states, round keys."""
    found = []
    for name, byte in (("inner", 0x36), ("outer", 0x5c)):
        half = pad(key[:16], byte)
        state = sha256_block(half + bytes([byte]) * 48)
        found += (pieces(name + " pad", half) +
                  pieces(name + " pad in words", swapped(half)) +
                  pieces(name + " state", struct.pack("<8I", *state)))
    # The first is the key itself.
    for i, schedule in enumerate(aes128_schedule(key[16:])[1:]):
        name = "round key %d" % (i + 1)
        found += pieces(name, schedule) + pieces(name + " in words",
                                                 swapped(schedule))
    return found


def session_key(key):
    """All of it."""
    return raw_key(key) + expanded_key(key)


# -- what hashes and ciphers make of a key ----------------------------------


def primes(count):
    """The first of them."""
    found = []
    n = 2
    while len(found) < count:
        if all(n % p for p in found):
            found.append(n)
        n += 1
    return found


def root(n, degree):
    """The first 32 bits behind the point of a root, in integers."""
    value = n << (32 * degree)
    low, high = 0, 1 << 40
    while low < high - 1:
        middle = (low + high) // 2
        if middle ** degree <= value:
            low = middle
        else:
            high = middle
    return low & 0xffffffff


K = [root(p, 3) for p in primes(64)]
FIRST = [root(p, 2) for p in primes(8)]


def rotate(word, count):
    """To the right."""
    return (word >> count | word << (32 - count)) & 0xffffffff


def sha256_block(block):
    """The state of SHA-256 behind its first block (FIPS 180-4)."""
    w = list(struct.unpack(">16I", block))
    for i in range(16, 64):
        a, b = w[i - 15], w[i - 2]
        w.append((w[i - 16] + w[i - 7] +
                  (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                  (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10)) & 0xffffffff)
    s = list(FIRST)
    for i in range(64):
        a, b, c, d, e, f, g, h = s
        t = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
             (e & f ^ ~e & g) + K[i] + w[i])
        u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + \
            (a & b ^ a & c ^ b & c)
        s = [(t + u) & 0xffffffff, a, b, c, (d + t) & 0xffffffff, e, f, g]
    return [(x + y) & 0xffffffff for x, y in zip(s, FIRST)]


def aes_times(a, b):
    """In AES's field."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11b if a & 0x80 else 0)
        b >>= 1
    return product


def aes_substitute(byte):
    """AES's S-box, from its definition."""
    inverse = next((x for x in range(256) if aes_times(byte, x) == 1), 0)
    return 0x63 ^ inverse ^ (inverse << 1 | inverse >> 7) & 0xff ^ \
        (inverse << 2 | inverse >> 6) & 0xff ^ \
        (inverse << 3 | inverse >> 5) & 0xff ^ \
        (inverse << 4 | inverse >> 4) & 0xff


def aes128_schedule(key):
    """Its eleven round keys (FIPS 197)."""
    words = [key[i:i + 4] for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = bytes(map(aes_substitute, word[1:] + word[:1]))
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = aes_times(constant, 2)
        words.append(bytes(a ^ b for a, b in zip(words[i - 4], word)))
    return [b"".join(words[i:i + 4]) for i in range(0, 44, 4)]
