#!/usr/bin/python3
"""Parameters: a thousand small sets, checked by other people's code.

What the server's search finds is looked at by openssl dhparam and by
python3-cryptography.  Small sets are made by the thousand in seconds, by the
same search that makes the large ones.
"""

import base64
import concurrent.futures
import os
import re
import subprocess
import sys
import textwrap
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

from cryptography.hazmat.primitives.serialization import (  # noqa: E402
    Encoding, ParameterFormat, load_pem_parameters)

import harness  # noqa: E402
import runner  # noqa: E402

MAKE_SETS = os.path.join(harness.BUILD, "tests", "tools", "make_sets")
SETS = harness.scaled(1000)
PROCESSES = 2
PEM = re.compile(rb"-----BEGIN DH PARAMETERS-----\n.*?"
                 rb"-----END DH PARAMETERS-----\n", re.DOTALL)
TIMEOUT = 300


def make_some(bits, count):
    """Sets in PEM, by one process; they are all that is printed."""
    done = subprocess.run([MAKE_SETS, str(bits), str(count)], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          timeout=TIMEOUT)
    sets = PEM.findall(done.stdout)
    if b"".join(sets) != done.stdout:
        raise AssertionError("something beside the sets is printed")
    return sets


def make(bits, count):
    """The same, by several."""
    shares = [count * (i + 1) // PROCESSES - count * i // PROCESSES
              for i in range(PROCESSES)]
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        parts = pool.map(lambda n: make_some(bits, n), filter(None, shares))
        return [pem for part in parts for pem in part]


def integer(number):
    """An INTEGER in DER, of up to 127 bytes."""
    body = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([2, len(body)]) + body


def encode(p, g):
    """A set in PEM."""
    der = integer(p) + integer(g)
    der = (bytes([0x30, len(der)]) if len(der) < 128 else
           bytes([0x30, 0x81, len(der)])) + der
    text = base64.b64encode(der).decode()
    return ("-----BEGIN DH PARAMETERS-----\n%s\n"
            "-----END DH PARAMETERS-----\n" %
            "\n".join(textwrap.wrap(text, 64))).encode()


def prime_of(pem):
    """The prime, as python3-cryptography reads it.  Of less than 512 bits it
    gives no numbers out, but it writes such a set again."""
    der = load_pem_parameters(pem).parameter_bytes(Encoding.DER,
                                                   ParameterFormat.PKCS3)
    at = 3 if der[1] == 0x81 else 2
    return int.from_bytes(der[at + 2:at + 2 + der[at + 1]], "big")


def openssl_says(pem):
    """The verdict of openssl dhparam -check: status and text."""
    done = subprocess.run(["openssl", "dhparam", "-check", "-noout"],
                          input=pem, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=TIMEOUT,
                          check=False)
    return done.returncode, done.stdout.decode()


def faults(said):
    """What openssl found wrong: the reasons on its error queue."""
    return re.findall(r":Diffie-Hellman routines:DH_check_ex:([^:]*):", said)


class Sets(unittest.TestCase):
    """Sets of one size, and what others say of them."""

    bits = None
    size_faults = None

    @classmethod
    def setUpClass(cls):
        cls.sets = make(cls.bits, SETS)
        cls.primes = [prime_of(pem) for pem in cls.sets]

    def test_there_are_all_of_them(self):
        """As many as were asked for, and no two alike."""
        self.assertEqual(len(self.primes), SETS)
        self.assertEqual(len(set(self.primes)), SETS)

    def test_cryptography_reads_them(self):
        """Exact size, both top bits, the residue that makes 2 a generator of
        the subgroup, base 2, and nothing else in the encoding."""
        for pem, p in zip(self.sets, self.primes):
            with self.subTest(p=hex(p)):
                self.assertEqual(p.bit_length(), self.bits)
                self.assertEqual(p >> (self.bits - 2), 3)
                self.assertEqual(p % 24, 23)
                self.assertEqual(pow(2, p >> 1, p), 1)
                self.assertEqual(pem, encode(p, 2))

    def test_openssl_finds_nothing_wrong(self):
        """openssl dhparam -check tests p and (p-1)/2 itself."""
        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            verdicts = list(pool.map(openssl_says, self.sets))
        for pem, (status, said) in zip(self.sets, verdicts):
            with self.subTest(pem=pem):
                self.assertEqual(faults(said), self.size_faults)
                self.assertEqual(status, 1 if self.size_faults else 0)


class Sets512(Sets):
    """The smallest size that nobody has anything to say against."""

    bits = 512
    size_faults = []

    def test_cryptography_gives_numbers(self):
        """From this size on."""
        for pem, p in zip(self.sets, self.primes):
            numbers = load_pem_parameters(pem).parameter_numbers()
            self.assertEqual((numbers.p, numbers.g, numbers.q), (p, 2, None))


class Sets256(Sets):
    """Too small for openssl, which says so, and nothing else."""

    bits = 256
    size_faults = ["modulus too small"]


class Verdicts(unittest.TestCase):
    """What is checked with would find a fault, at both sizes."""

    def test_faults_are_found(self):
        """A composite p, and a prime p with a composite (p-1)/2."""
        for bits, size_faults in ((512, []), (256, ["modulus too small"])):
            safe = prime_of(make(bits, 1)[0])
            not_safe = next(p for p in range(safe + 24, safe << 1, 24)
                            if pow(2, p - 1, p) == 1)
            composite = next(p for p in range(safe + 24, safe << 1, 24)
                             if pow(2, p - 1, p) != 1)
            for p, fault in ((composite, "check p not prime"),
                             (not_safe, "check p not safe prime")):
                with self.subTest(p=hex(p)):
                    status, said = openssl_says(encode(p, 2))
                    self.assertEqual(status, 1)
                    self.assertIn(fault, faults(said))
                    self.assertEqual(
                        [f for f in faults(said) if "small" in f],
                        size_faults)


del Sets  # has no size of its own

if __name__ == "__main__":
    runner.main()
