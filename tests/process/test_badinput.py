#!/usr/bin/python3
"""Bad input: every rule of docs/FMLTP.md, sections 2 to 4, broken once.

Each row ends its own connection, with nothing sent that was not due, and is
logged with its reason; a session that was opened before goes on working.
"""

import base64
import concurrent.futures
import os
import re
import select
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import (  # noqa: E402
    ec, ed25519, rsa)

import fmltp  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

CRLF = fmltp.CRLF
LINE = fmltp.CLIENT_LINE
THREADS = 8


# Packet 3, or nothing: the server may see bad bytes before it sends it.
MAYBE_PARAMS = re.compile(
    rb"(-----BEGIN DH PARAMETERS-----\n.*-----END DH PARAMETERS-----\n)?",
    re.DOTALL)
NOTHING = re.compile(b"")


class Row:
    """A way to break a rule: what is done once a stage is reached."""

    def __init__(self, name, stage, reason, act, flood=False, due=NOTHING,
                 at=None):
        self.name = name
        self.stage = stage
        self.reason = reason
        self.act = act
        self.flood = flood  # more than the server reads before it closes
        self.due = due  # what the server may still send
        self.at = at or stage  # the stage in the log


# -- section 2 -----------------------------------------------------------


def line(text, reason, name=None):
    """A version line that is wrong."""
    if isinstance(text, str):
        text = text.encode()
    return Row("line %s" % (name or repr(text)[2:-1]), "vex", reason,
               lambda c: c.send(text))


def late_number(client):
    """A digit that comes after the silence that ended the line."""
    client.send(b"FlexMusic Test,0.0.1")
    client.read_params()
    client.send(b"2\r\n")


LATE = "version-late-bytes"

VERSION_ROWS = [
    line("FlexMusic 0.0.0\r\n", "version-no-comma"),
    line("FlexMusic\r\n", "version-no-comma"),
    line("FlexMusic,Test,0.0.0\r\n", "version-bad-number", "two commas"),
    line("FlexMusic Test,0.0.0,\r\n", "version-bad-number",
         "a comma at the end"),
    line("FlexMusic Test,0.0.0.0\r\n", "version-bad-number", "four numbers"),
    line("FlexMusic Test,0.0\r\n", "version-bad-number", "two numbers"),
    line("FlexMusic Test,\r\n", "version-bad-number", "no number"),
    line("FlexMusic Test,0..0\r\n", "version-bad-number"),
    line("FlexMusic Test,.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.0.\r\n", "version-bad-number"),
    line("FlexMusic Test,65536.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.65536.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.0.65536\r\n", "version-bad-number"),
    line("FlexMusic Test,0.0.4294967296\r\n", "version-bad-number"),
    line("FlexMusic Test,18446744073709551616.0.0\r\n",
         "version-bad-number"),
    line("FlexMusic Test,-0.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.+1.0\r\n", "version-bad-number"),
    line("FlexMusic Test, 0.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.0.0 \r\n", "version-bad-number"),
    line("FlexMusic Test,00.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.0.01\r\n", "version-bad-number"),
    line("FlexMusic Test,0x0.0.0\r\n", "version-bad-number"),
    line("FlexMusic Test,0.a.0\r\n", "version-bad-number"),
    line("FlexMusic Test,\u0661.0.0\r\n", "version-bad-number",
         "an Arabic digit"),
    line("FlexMusic Test,0.0.0\0\r\n", "version-bad-number",
         "a NUL behind the numbers"),
    line("FlexMusic Test,0.0.0\r\r\n", "version-bad-number", "CR CR LF"),
    line("flexmusic Test,0.0.0\r\n", "version-not-flexmusic"),
    line("FLEXMUSIC Test,0.0.0\r\n", "version-not-flexmusic"),
    line(" FlexMusic Test,0.0.0\r\n", "version-not-flexmusic"),
    line("Flex,0.0.0\r\n", "version-not-flexmusic"),
    line("\r\n", "version-not-flexmusic", "empty"),
    line("\n", "version-not-flexmusic", "a LF alone"),
    line("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "version-not-flexmusic",
         "of HTTP"),
    line("SSH-2.0-OpenSSH_9.2\r\n", "version-not-flexmusic", "of SSH"),
    line("FlexMusic \0,0.0.0\r\n", "version-bad-name", "a NUL"),
    line("FlexMusic \t,0.0.0\r\n", "version-bad-name", "a tab"),
    line("FlexMusic \x1b[2J,0.0.0\r\n", "version-bad-name",
         "an escape sequence"),
    line("FlexMusic \x7f,0.0.0\r\n", "version-bad-name", "DEL"),
    line("FlexMusic \u0085,0.0.0\r\n", "version-bad-name", "a C1 control"),
    line("FlexMusic \u202e,0.0.0\r\n", "version-bad-name",
         "an override of direction"),
    line("FlexMusic \u2067,0.0.0\r\n", "version-bad-name",
         "an isolate of direction"),
    line("FlexMusic \u2029,0.0.0\r\n", "version-bad-name",
         "a paragraph separator"),
    line(b"FlexMusic \xff,0.0.0\r\n", "version-bad-name", "no UTF-8"),
    line(b"FlexMusic \xc0\xa0,0.0.0\r\n", "version-bad-name",
         "UTF-8 in a longer form"),
    line(b"FlexMusic \xed\xa0\x80,0.0.0\r\n", "version-bad-name",
         "a surrogate"),
    line("FlexMusic".ljust(129, "x") + ",0.0.0\r\n", "version-bad-name",
         "a name of 129 bytes"),
    line("FlexMusic".ljust(240, "x") + ",0.0.0\r\n", "version-bad-name",
         "a name of 240 bytes"),
    line("FlexMusic".ljust(300, "x"), "version-too-long",
         "300 bytes without a line end"),
    line(300 * "x", "version-too-long", "300 other bytes"),
    line(300 * b"\0", "version-too-long", "300 NUL"),
    line("FlexMusic".ljust(248, "x") + ",0.0.0\r\n", "version-too-long",
         "256 bytes with its end"),
    line("FlexMusic".ljust(65000, "x"), "version-too-long", "65000 bytes"),
    line("FlexMusic Test,1.0.0\r\n", "version-incompatible"),
    line("FlexMusic Test,65535.0.0", "version-incompatible",
         "another class without a line end"),
    Row("a digit after the silence", "vex", LATE, late_number, at="kex"),
    Row("bytes behind the line", "vex", LATE,
        lambda c: c.send(LINE + CRLF + b"x"), due=MAYBE_PARAMS, at="kex"),
    Row("five line ends before packet 4", "kex", LATE,
        lambda c: c.send(b"\n\n\n\n\n" + c.make_key())),
    Row("three CR LF before packet 4", "kex", LATE,
        lambda c: c.send(CRLF * 3 + c.make_key())),
    Row("a blank before packet 4", "kex", LATE,
        lambda c: c.send(b" " + c.make_key())),
    Row("the version line twice", "kex", LATE,
        lambda c: c.send(LINE + CRLF)),
]


# -- section 3 -----------------------------------------------------------


def key(name, reason, make, **how):
    """A packet 4 that is wrong: make(client, p, g, y) returns it."""
    def act(client):
        client.make_key()
        client.send(make(client, *client.numbers()))
    return Row("key " + name, "kex", reason, act, **how)


def number(name, reason, change):
    """A public value that is wrong: change(p, y) is a number or its DER."""
    def make(client, p, g, y):
        value = change(p, y)
        if isinstance(value, bytes):
            return public(fmltp.spki(p, g, y, y_der=value))
        return public(fmltp.spki(p, g, value))
    return key(name, reason, make)


def public(body, label=b"PUBLIC KEY", **how):
    """Packet 4 around some DER."""
    return fmltp.pem(label, body, **how)


def good(client):
    """A packet 4 as it should be."""
    return public(fmltp.spki(*client.numbers()))


def other_prime(p):
    """A prime of the test data that is not the server's."""
    return [q for q in harness.primes(1024) if q != p][0]


def foreign(private):
    """A public key of another algorithm."""
    return private.public_key().public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo)


def as_tokens(p):
    """The unsigned bytes of p."""
    return p.to_bytes((p.bit_length() + 7) // 8, "big")


def long_length(n):
    """A length in one byte more than it needs."""
    octets = n.to_bytes((n.bit_length() + 7) // 8 or 1, "big")
    return bytes([0x80 | (len(octets) + 1), 0]) + octets


def outer(change):
    """Changes the outermost DER."""
    def make(client, p, g, y):
        return public(change(fmltp.spki(p, g, y)))
    return make


def long_outer(body):
    """The outer SEQUENCE with a length that has a leading zero byte."""
    content = body[4:]
    return fmltp.der(0x30, content, long_length(len(content)))


def long_inner(client, p, g, y):
    """The parameters' SEQUENCE with such a length."""
    n = len(fmltp.der_integer(p) + fmltp.der_integer(g))
    return public(fmltp.spki(p, g, y, params=fmltp.dh_parameters(
        p, g, sequence_length=long_length(n))))


def long_base(client, p, g, y):
    """The base with its length in the long form: 81 01."""
    params = fmltp.der(0x30, fmltp.der_integer(p) + b"\x02\x81\x01\x02")
    return public(fmltp.spki(p, g, y, params=params))


def indefinite(body):
    """The outer SEQUENCE with an indefinite length (BER)."""
    return b"\x30\x80" + body[4:] + b"\0\0"


def inside_bits(client, p, g, y):
    """A byte behind the number, inside the BIT STRING."""
    return public(fmltp.spki(p, g, y, y_der=fmltp.der_integer(y) + b"\0"))


def behind_algorithm(client, p, g, y):
    """A NULL behind the parameters."""
    return public(fmltp.spki(p, g, y,
                             params=fmltp.dh_parameters(p, g) + b"\5\0"))


def x942(client, p, g, y):
    """The same key as X9.42 has it."""
    params = fmltp.der(0x30, fmltp.der_integer(p) + fmltp.der_integer(g) +
                       fmltp.der_integer((p - 1) // 2))
    return public(fmltp.spki(p, g, y, oid=fmltp.OID_X942, params=params))


def without_parameters(client, p, g, y):
    """No parameters at all."""
    return public(fmltp.spki(p, g, y, params=b""))


def lines(change):
    """Changes packet 4's lines, line ends left out."""
    def make(client, p, g, y):
        return b"\n".join(change(good(client).split(b"\n")))
    return make


def text(change):
    """Changes packet 4 as text."""
    def make(client, p, g, y):
        return change(good(client))
    return make


def unused_bits(rows):
    """The last character before the padding has unused bits set."""
    body = rows[-3]
    if not body.endswith(b"="):
        raise AssertionError("a body without padding has no unused bits")
    bare = body.rstrip(b"=")
    alphabet = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                b"0123456789+/")
    last = alphabet.index(bare[-1:])
    changed = bare[:-1] + alphabet[last + 1:last + 2]
    return rows[:-3] + [changed + body[len(bare):]] + rows[-2:]


def padded_key(client, p, g, y):
    """A packet 4 whose base64 ends in padding, with unused bits set."""
    for length in (None, 1, 1024):
        body = fmltp.spki(p, g, y, private_length=length)
        if len(body) % 3:
            return b"\n".join(unused_bits(public(body).split(b"\n")))
    raise AssertionError("three lengths, all multiples of three")


def twice_padded(client, p, g, y):
    """The padding is missing."""
    for length in (None, 1, 1024):
        body = fmltp.spki(p, g, y, private_length=length)
        if len(body) % 3:
            return public(body).replace(b"=", b"")
    raise AssertionError("three lengths, all multiples of three")


OUT = "dh-out-of-range"
DER = "der-not-canonical"
GROUP = "dh-other-parameters"
LABEL = "pem-bad-label"
BODY = "pem-bad-body"
LONG = "pem-too-long"

KEY_ROWS = [
    number("y = 0", OUT, lambda p, y: 0),
    number("y = 1", OUT, lambda p, y: 1),
    number("y = p - 1", OUT, lambda p, y: p - 1),
    number("y = p", OUT, lambda p, y: p),
    number("y = p + 1", OUT, lambda p, y: p + 1),
    number("y longer than p", OUT, lambda p, y: y << 64 | 1),
    number("y twice as long as p", OUT, lambda p, y: y * p + 1),
    number("y negative", DER, lambda p, y: -y),
    number("y = -1", DER, lambda p, y: -1),
    number("y = y - p", DER, lambda p, y: y - p),
    number("y without its sign byte", DER,
           lambda p, y: fmltp.der(0x02, as_tokens(y | 1 << 1023))),
    number("y with a zero byte too many", DER,
           lambda p, y: fmltp.der(0x02, b"\0\0" + as_tokens(y))),
    number("y empty", DER, lambda p, y: b"\x02\x00"),
    number("y an OCTET STRING", DER,
           lambda p, y: fmltp.der(0x04, fmltp.der_integer(y)[3:])),
    number("y with a long length", DER,
           lambda p, y: fmltp.der(0x02, b"\0" + as_tokens(y), b"\x82\0" +
                                  bytes([len(as_tokens(y)) + 1]))),
    key("of another prime", GROUP,
        lambda c, p, g, y: public(fmltp.spki(other_prime(p), g,
                                             y % other_prime(p)))),
    key("of a longer prime", GROUP,
        lambda c, p, g, y: public(fmltp.spki(harness.primes(2048)[0], g, y))),
    key("of p + 2", GROUP,
        lambda c, p, g, y: public(fmltp.spki(p + 2, g, y))),
    key("of base 5", GROUP, lambda c, p, g, y: public(fmltp.spki(p, 5, y))),
    key("of base 0", GROUP, lambda c, p, g, y: public(fmltp.spki(p, 0, y))),
    key("of base p + 2", GROUP,
        lambda c, p, g, y: public(fmltp.spki(p, p + 2, y))),
    key("of RSA", GROUP,
        lambda c, p, g, y: foreign(rsa.generate_private_key(65537, 1024))),
    key("of RSA, 4096 bits", GROUP,
        lambda c, p, g, y: public(fmltp.der(0x30, bytes.fromhex(
            "300d06092a864886f70d0101010500") + fmltp.der(
                0x03, b"\0" + fmltp.der(0x30, fmltp.der_integer(
                    p ** 4) + fmltp.der_integer(65537)))))),
    key("of P-256", GROUP,
        lambda c, p, g, y: foreign(ec.generate_private_key(ec.SECP256R1()))),
    key("of Ed25519", GROUP,
        lambda c, p, g, y: foreign(ed25519.Ed25519PrivateKey.generate())),
    key("of X9.42", GROUP, x942),
    key("without parameters", DER, without_parameters),
    key("that are the parameters", LABEL,
        lambda c, p, g, y: c.params_pem),
    key("that are the parameters with its label", DER,
        lambda c, p, g, y: public(fmltp.dh_parameters(p, g))),
    key("privateValueLength 0", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y, private_length=0))),
    key("privateValueLength 1025", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y, private_length=1025))),
    key("privateValueLength -1", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y, private_length=-1))),
    key("privateValueLength of 9 bytes", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y,
                                             private_length=1 << 64 | 160))),
    key("a long outer length", DER, outer(long_outer)),
    key("a long inner length", DER, long_inner),
    key("a long length of the base", DER, long_base),
    key("an indefinite length", DER, outer(indefinite)),
    key("a length too great", DER,
        outer(lambda d: d[:3] + bytes([d[3] + 1]) + d[4:])),
    key("a length too small", DER,
        outer(lambda d: d[:3] + bytes([d[3] - 1]) + d[4:])),
    key("a length of 4 GB", DER,
        outer(lambda d: b"\x30\x84\xff\xff\xff\xff" + d[4:])),
    key("cut short", DER, outer(lambda d: d[:-1])),
    key("cut in half", DER, outer(lambda d: d[:len(d) // 2])),
    key("one byte", DER, outer(lambda d: d[:1])),
    key("a SET for the SEQUENCE", DER, outer(lambda d: b"\x31" + d[1:])),
    key("trailing bytes", DER, outer(lambda d: d + b"\0")),
    key("trailing bytes, a second key", DER, outer(lambda d: d + d)),
    key("trailing bytes inside the BIT STRING", DER, inside_bits),
    key("trailing bytes inside the algorithm", DER, behind_algorithm),
    key("unused bits in the BIT STRING", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y, unused=1))),
    key("8 unused bits in the BIT STRING", DER,
        lambda c, p, g, y: public(fmltp.spki(p, g, y, unused=8))),
    key("an empty body", DER,
        lambda c, p, g, y: public(b"")),
    key("PEM with headers", BODY,
        lines(lambda r: r[:1] + [b"Proc-Type: 4,ENCRYPTED",
                                 b"DEK-Info: AES-128-CBC,00", b""] + r[1:])),
    key("PEM of 76 columns", BODY,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), columns=76)),
    key("PEM of 63 columns", BODY,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), columns=63)),
    key("PEM of 60 columns", BODY,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), columns=60)),
    key("PEM in one line", BODY,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), columns=100000)),
    key("PEM with CR alone", BODY,
        text(lambda k: k.replace(b"\n", b"\r") + b"\n")),
    key("PEM with an empty line first", BODY,
        lines(lambda r: r[:1] + [b""] + r[1:])),
    key("PEM with an empty line inside", BODY,
        lines(lambda r: r[:3] + [b""] + r[3:])),
    key("PEM with an empty line last", BODY,
        lines(lambda r: r[:-2] + [b""] + r[-2:])),
    key("PEM with a blank at a line's end", BODY,
        lines(lambda r: r[:2] + [r[2] + b" "] + r[3:])),
    key("PEM with a blank at a line's head", BODY,
        lines(lambda r: r[:2] + [b" " + r[2]] + r[3:])),
    key("PEM with a tab", BODY,
        lines(lambda r: r[:2] + [r[2][:9] + b"\t" + r[2][10:]] + r[3:])),
    key("PEM with a NUL", BODY,
        lines(lambda r: r[:2] + [r[2][:9] + b"\0" + r[2][10:]] + r[3:])),
    key("PEM with a byte of 255", BODY,
        lines(lambda r: r[:2] + [r[2][:9] + b"\xff" + r[2][10:]] + r[3:])),
    key("PEM of base64url", BODY,
        lines(lambda r: r[:2] + [r[2][:9] + b"-" + r[2][10:]] + r[3:])),
    key("PEM with padding inside", BODY,
        lines(lambda r: r[:2] + [r[2][:60] + b"===="] + r[3:])),
    key("PEM with unused bits set", BODY, padded_key),
    key("PEM without its padding", BODY, twice_padded),
    key("PEM with too much padding", BODY,
        lines(lambda r: r[:-3] + [r[-3] + b"===="] + r[-2:])),
    key("label DH PUBLIC KEY", LABEL,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), b"DH PUBLIC KEY")),
    key("label RSA PUBLIC KEY", LABEL,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), b"RSA PUBLIC KEY")),
    key("label in small letters", LABEL,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), b"public key")),
    key("label with a blank at its end", LABEL,
        lambda c, p, g, y: public(fmltp.spki(p, g, y), b"PUBLIC KEY ")),
    key("another label at END", LABEL,
        text(lambda k: k.replace(b"END PUBLIC", b"END DH PUBLIC"))),
    key("END with four dashes", LABEL,
        text(lambda k: k.replace(b"\n-----END", b"\n----END"))),
    key("BEGIN with six dashes", LABEL, text(lambda k: b"-" + k)),
    key("BEGIN with bytes behind it", BODY,
        text(lambda k: k.replace(b"-----\n", b"-----x\n", 1))),
    key("BEGIN twice", LABEL,
        text(lambda k: k[:k.index(b"\n") + 1] + k)),
    key("END at once", LABEL,
        lambda c, p, g, y: b"-----END PUBLIC KEY-----\n"),
    key("a comment before it", LATE, text(lambda k: b"my key\n" + k)),
    key("DER instead of PEM", LATE,
        lambda c, p, g, y: fmltp.spki(p, g, y)),
    key("PEM of 8193 bytes", LONG,
        lambda c, p, g, y: public(fmltp.spki(p, g, y) + bytes(5900))),
    key("PEM of 1 MB", LONG,
        lambda c, p, g, y: public(bytes(760000)), flood=True),
    key("PEM of 1 MB that begins well", LONG,
        lambda c, p, g, y: public(fmltp.spki(p, g, y) + bytes(760000)),
        flood=True),
    key("PEM of 1 MB in one line", BODY,
        lambda c, p, g, y: b"-----BEGIN PUBLIC KEY-----\n" + 1000000 * b"A",
        flood=True),
]


# -- section 4 -----------------------------------------------------------


def raw(change):
    """A token whose bytes are changed after its MAC was made."""
    def make(client, plain):
        return base64.urlsafe_b64encode(
            bytes(change(bytearray(fmltp.raw_token(client.key, plain)))))
    return make


def signed(change):
    """A token whose bytes are changed before its MAC is made."""
    def make(client, plain):
        body = bytes(change(bytearray(
            fmltp.raw_token(client.key, plain)[:-32])))
        return base64.urlsafe_b64encode(body + fmltp.mac(client.key, body))
    return make


def flip(at, bit=1):
    """Changes a bit of the byte at a place."""
    def change(data):
        data[at] ^= bit
        return data
    return change


def fields(**values):
    """A well-made token with these fields."""
    return lambda client, plain: client.seal(plain, **values)


def other_key(client, plain):
    """A token under a key with one bit changed."""
    return fmltp.token(bytes(flip(5)(bytearray(client.key))), plain)


def swapped_key(client, plain):
    """A token with the two halves of the key exchanged."""
    return fmltp.token(client.key[16:] + client.key[:16], plain)


def padding(end):
    """A block with another padding, all else right."""
    def make(client, plain):
        return client.seal(plain, padded=(plain + 16 * b"x")[:32 - len(end)] +
                           end)
    return make


def characters(change):
    """A token whose characters are changed."""
    return lambda client, plain: change(client.seal(plain))


def unused_token_bits(data):
    """The last character before the padding has unused bits set."""
    bare = data.rstrip(b"=")
    if bare == data:
        raise AssertionError("a token without padding has no unused bits")
    alphabet = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                b"0123456789-_")
    last = alphabet.index(bare[-1:])
    return bare[:-1] + alphabet[last + 1:last + 2] + data[len(bare):]


def standard_alphabet(client, plain):
    """A good token in the other base64."""
    while True:
        data = client.seal(plain, iv=os.urandom(16))
        if b"-" in data or b"_" in data:
            return data.replace(b"-", b"+").replace(b"_", b"/")


def blocks(count):
    """A token of `count` bytes of ciphertext, its MAC right."""
    def make(client, plain):
        body = b"\x80" + struct.pack(">Q", int(time.time())) + \
            os.urandom(16 + count)
        return base64.urlsafe_b64encode(body + fmltp.mac(client.key, body))
    return make


MAC = "token-bad-mac"
BASE64 = "token-bad-base64"
SHORT = "token-cut-short"
VERSION = "token-bad-version"
PADDING = "token-bad-padding"
TOKEN_LONG = "token-too-long"

# Broken tokens, tried for packet 6 and for a command: name, reason, make.
TOKENS = [
    ("version 0x81", VERSION, fields(version=0x81)),
    ("version 0x00", VERSION, fields(version=0)),
    ("version 0x81, MAC of 0x80", VERSION, raw(flip(0))),
    ("another time", MAC, raw(flip(8))),
    ("another IV", MAC, raw(flip(9))),
    ("another ciphertext", MAC, raw(flip(25, 0x80))),
    ("another last byte of ciphertext", MAC, raw(flip(-33))),
    ("another first byte of the MAC", MAC, raw(flip(-32))),
    ("another last byte of the MAC", MAC, raw(flip(-1))),
    ("a MAC of zeros", MAC, raw(lambda d: d[:-32] + bytes(32))),
    ("another key", MAC, other_key),
    ("exchanged halves of the key", MAC, swapped_key),
    ("padding of zeros", PADDING, padding(16 * b"\0")),
    ("padding of 17", PADDING, padding(16 * b"\x11")),
    ("padding of 255", PADDING, padding(16 * b"\xff")),
    ("padding with a wrong byte", PADDING, padding(b"\3\2\3")),
    ("padding that does not come", PADDING, padding(b"\2\5")),
    ("no ciphertext", SHORT, blocks(0)),
    ("half a block", SHORT, blocks(8)),
    ("a block and a half", SHORT, blocks(24)),
    ("unused bits set", BASE64, characters(unused_token_bits)),
    ("the other alphabet", BASE64, standard_alphabet),
    ("no padding", SHORT,
     characters(lambda t: t.rstrip(b"="))),
    ("padding at once", BASE64,
     characters(lambda t: b"=" + t)),
    ("padding inside", SHORT,
     characters(lambda t: t[:49] + b"A==" + t[52:])),
    ("padding inside, with unused bits set", BASE64,
     characters(lambda t: t[:49] + b"B==" + t[52:])),
    ("a line end inside", SHORT,
     characters(lambda t: t[:48] + CRLF + t[48:])),
    ("a line end inside a group", SHORT,
     characters(lambda t: t[:50] + b"\n" + t[50:])),
    ("a blank before", BASE64, characters(lambda t: b" " + t)),
    ("a blank inside", BASE64, characters(lambda t: t[:50] + b" " + t[50:])),
    ("a NUL inside", BASE64, characters(lambda t: t[:50] + b"\0" + t[51:])),
    ("a byte of 255", BASE64, characters(lambda t: b"\xff" + t[1:])),
    ("its first half", SHORT, characters(lambda t: t[:60])),
    ("all but its first character", VERSION,
     characters(lambda t: t[1:])),
    ("text in the clear", VERSION,
     lambda client, plain: plain),
    ("a PEM line", VERSION,
     lambda client, plain: b"-----BEGIN PUBLIC KEY-----"),
    ("9 KiB of A", VERSION,
     lambda client, plain: 9216 * b"A"),
    ("9 KiB that begin well", TOKEN_LONG,
     lambda client, plain: b"gAAAAA".ljust(9216, b"A")),
    ("a good token of 9 KiB", TOKEN_LONG,
     lambda client, plain: client.seal(plain.ljust(6800))),
    ("a token of the server's kind", "reflected",
     lambda client, plain: client.seal("200 " + plain.decode())),
    ("a token of packet 7's kind", "reflected",
     lambda client, plain:
     client.seal(b"100 FmLTP/1.0 Interpreter Ready.\r\n")),
]


def token_rows():
    """Each of TOKENS for packet 6 and for a command."""
    for stage in ("chal", "session"):
        for name, reason, make in TOKENS:
            def act(client, make=make, stage=stage):
                plain = client.banner if stage == "chal" else b"HELP"
                if stage == "session":
                    plain = b"HELP QUIT FOR LONG"
                client.send(make(client, plain) + CRLF)
            yield Row("%s token %s" % (stage, name), stage, reason, act)


def challenge(name, change, reason="challenge-mismatch"):
    """A packet 6 that says something else."""
    return Row("challenge " + name, "chal", reason,
               lambda c: c.send(c.seal(change(c.banner)) + CRLF))


def again(offset, wait=0, between=0):
    """A command's token that is sent a second time."""
    def act(client):
        now = int(time.time()) + offset
        data = client.seal("HELP", when=now)
        client.send(data)
        client.read_answer()
        for i in range(between):
            client.send(client.seal("HELP", when=now + 1 + 5 * i))
            client.read_answer()
        time.sleep(wait)
        client.send(data)
    return act


def challenge_again(client):
    """Packet 6 a second time, as the first command."""
    client.until("chal")
    data = client.seal(client.banner)
    client.send(data)
    client.read_final()
    client.send(data)


def other_session(client):
    """A token that is good in another session."""
    with fmltp.Client(client.sock.getpeername()[:2]) as other:
        other.handshake()
        client.send(other.seal("HELP"))


def reflect_final(client):
    """Packet 7 goes back to the server."""
    client.send(client.last)


def reflect_answer(client):
    """An answer goes back to the server."""
    client.command("HELP")
    client.send(client.last)


def reflect_behind(client):
    """The same with a client whose clock is an hour behind: to it the
    server's tokens come from the future, which is no reason to take one."""
    now = int(time.time()) - 3600
    client.until("chal")
    client.send(client.seal(client.banner, when=now))
    client.read_final()
    final = client.last
    client.send(client.seal("HELP", when=now + 1))
    client.read_answer()
    client.send(final)


def old(by):
    """A token that is older than the newest by so many seconds."""
    def act(client):
        now = int(time.time())
        client.send(client.seal("HELP", when=now + 100))
        client.read_answer()
        client.send(client.seal("HELP", when=now + 100 - by))
    return act


def full_store(client):
    """With 4,096 tokens remembered, the oldest is forgotten, and its time
    is not taken any more."""
    now = int(time.time())
    client.until("chal")
    client.send(client.seal(client.banner, when=now))
    client.read_final()
    for _ in range(64):
        client.send(b"".join(client.seal("X", when=now + 1)
                             for _ in range(64)))
        client.read_answers(64)
    client.send(client.seal("X", when=now))


SEEN = "replayed"
BEHIND = "replay-too-old"

SESSION_ROWS = [
    challenge("in small letters", bytes.lower),
    challenge("with another version", lambda t: t[:-1] + b"1"),
    challenge("with a byte more", lambda t: t + b"x"),
    challenge("with a byte less", lambda t: t[:-1]),
    challenge("with a NUL at its end", lambda t: t + b"\0"),
    challenge("with a blank inside", lambda t: t.replace(b",", b", ")),
    challenge("empty", lambda t: b""),
    challenge("blank", lambda t: b" \r\n"),
    challenge("the client's own line", lambda t: LINE),
    challenge("a command", lambda t: b"HELP"),
    challenge("twice", lambda t: t + CRLF + t),
    Row("packet 6 in the clear", "chal", VERSION,
        lambda c: c.send(c.banner + CRLF)),
    Row("packet 6 again", "none", SEEN, challenge_again, at="session"),
    Row("replay at once", "session", SEEN, again(0)),
    Row("replay 11 s later", "session", SEEN, again(0, wait=11)),
    Row("replay 11 s later with commands between", "session", BEHIND,
        again(0, wait=11, between=3)),
    Row("replay within the window", "session", SEEN, again(1, between=2)),
    Row("replay behind the window", "session", BEHIND, again(1, between=4)),
    Row("a long token that ends where a shorter one could", "session", MAC,
        lambda c: c.send(c.seal(80 * "x")[:140] + CRLF)),
    Row("a token of another session", "session", MAC,
        lambda c: (other_session(c), c.send(CRLF))),
    Row("packet 7 reflected", "session", "reflected", reflect_final),
    Row("an answer reflected", "session", "reflected", reflect_answer),
    Row("packet 7 reflected by a clock an hour behind", "none", "reflected",
        reflect_behind, at="session"),
    Row("older than the window", "session", BEHIND, old(11)),
    Row("an hour older", "session", BEHIND, old(3600)),
    Row("of 1970", "session", BEHIND,
        lambda c: c.send(c.seal("HELP", when=0))),
    Row("older than what was forgotten", "none", BEHIND, full_store,
        at="session"),
]

ROWS = VERSION_ROWS + KEY_ROWS + list(token_rows()) + SESSION_ROWS


# -- time ----------------------------------------------------------------


def drip(data, pause=0.2, limit=100):
    """Sends a byte now and then, for ever."""
    def act(client):
        try:
            for i in range(limit):
                client.send(data[i % len(data):i % len(data) + 1])
                time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            return
        raise AssertionError("nobody stopped it")
    return act


def half(make):
    """Sends half a packet and stops."""
    def act(client):
        data = make(client)
        client.send(data[:len(data) // 2])
    return act


def drip_key(client):
    """Packet 4 byte by byte, slower than it may be."""
    drip(client.make_key())(client)


def drip_challenge(client):
    """Packet 6 byte by byte, slower than it may be."""
    drip(client.seal(client.banner))(client)


def full_pipe(client):
    """Commands without end, and no answer is ever read.  Their times go
    ahead: of one second no more than 4,096 tokens are taken."""
    client.sock.settimeout(3)
    now = int(time.time())
    try:
        for i in range(10000):
            client.send(b"".join(client.seal("HELP", when=now + i)
                                 for _ in range(100)))
    except TimeoutError:
        pass
    client.sock.settimeout(fmltp.DEADLINE)
    waiting = select.poll()
    waiting.register(client.sock, 0)
    waiting.poll(45000)


STOPS = [
    Row("stop before packet 2", "vex", "timeout", lambda c: None),
    Row("stop in packet 2", "vex", "timeout", lambda c: c.send(b"FlexMu")),
    Row("stop in the numbers", "vex", "timeout",
        lambda c: c.send(b"FlexMusic Test,0.0.")),
    Row("stop without a comma", "vex", "timeout",
        lambda c: c.send(b"FlexMusic Test")),
    Row("stop with bytes of TLS", "vex", "timeout",
        lambda c: c.send(bytes.fromhex("16030100c8010000c40303"))),
    Row("stop before packet 4", "kex", "timeout", lambda c: None),
    Row("stop behind line ends before packet 4", "kex", "timeout",
        lambda c: c.send(CRLF)),
    Row("stop in BEGIN", "kex", "timeout", lambda c: c.send(b"-----BEGIN ")),
    Row("stop in packet 4", "kex", "timeout",
        half(fmltp.Client.make_key)),
    Row("stop before END's last dash", "kex", "timeout",
        lambda c: c.send(c.make_key().strip()[:-1])),
    Row("stop before packet 6", "chal", "timeout", lambda c: None),
    Row("stop behind line ends before packet 6", "chal", "timeout",
        lambda c: c.send(CRLF)),
    Row("stop in packet 6", "chal", "timeout",
        half(lambda c: c.seal(c.banner))),
    Row("stop before packet 6's last character", "chal", "timeout",
        lambda c: c.send(c.seal(c.banner)[:-1])),
    Row("a slow packet 2", "vex", "timeout",
        drip(b"FlexMusic".ljust(200, b"x")), flood=True),
    Row("a slow packet 4", "kex", "timeout", drip_key, flood=True),
    Row("a slow packet 6", "chal", "timeout", drip_challenge, flood=True),
    Row("line ends for ever before packet 6", "chal", "timeout", drip(CRLF),
        flood=True),
]

# These wait for the limits that no configuration changes, 30 s each.
LONG_WAITS = [
    Row("a token not whole for 30 s", "session", "timeout",
        lambda c: c.send(c.seal("HELP")[:-5])),
    Row("a token that drips for 30 s", "session", "timeout",
        drip(b"gAAAAA".ljust(500, b"A"), 1), flood=True),
    Row("answers that are not taken", "session", "send-timeout", full_pipe,
        flood=True),
]


def ends(act):
    """What a client does that goes away."""
    def run(client):
        act(client)
        client.sock.shutdown(fmltp.socket.SHUT_WR)
    return run


def resets(client):
    """A client that goes away with a reset."""
    client.reset()


def closing_rows():
    """The client goes away at each stage."""
    for stage in ("vex", "kex", "chal", "session"):
        yield Row("end at " + stage, stage, "closed", ends(lambda c: None))
        yield Row("reset at " + stage, stage, "reset", resets,
                  flood=True)
    yield Row("end in packet 2", "vex", "closed",
              ends(lambda c: c.send(b"FlexMusic")))
    yield Row("end in packet 4", "kex", "closed",
              ends(half(fmltp.Client.make_key)))
    yield Row("end in packet 6", "chal", "closed",
              ends(half(lambda c: c.seal(c.banner))))
    yield Row("end in a token", "session", "closed",
              ends(half(lambda c: c.seal("HELP"))))


# -- running -------------------------------------------------------------


class Outcome:
    """How a row went, on the client's side."""

    def __init__(self, row):
        self.row = row
        self.peer = None
        self.rest = None
        self.problem = None


def play(row, server, witness):
    """Breaks the rule; the session of before has to work after it."""
    outcome = Outcome(row)
    client = server.client()
    outcome.peer = client.peer
    try:
        if row.stage != "none":
            client.until(row.stage)
        try:
            row.act(client)
            outcome.rest = client.rest()
        except (ConnectionResetError, BrokenPipeError, OSError) as e:
            if not row.flood or isinstance(e, TimeoutError):
                raise
            outcome.rest = b""
    except Exception as e:  # told by the row's own test
        outcome.problem = "%s: %s" % (type(e).__name__, e)
    finally:
        client.close()
    witness.check()
    return outcome


class Witness:
    """A session that was there before."""

    def __init__(self, server):
        self.lock = threading.Lock()
        self.client = server.client().handshake()
        self.problem = None

    def check(self):
        """It works, or what it says is kept."""
        with self.lock:
            try:
                answer = self.client.command("HELP QUIT")
                if not answer.startswith(b"200 Help for QUIT:"):
                    raise AssertionError("answered %r" % answer)
            except Exception as e:  # told by a test of its own
                self.problem = self.problem or "%s: %s" % (
                    type(e).__name__, e)


class Table:
    """A table of rows, played in threads; a test for each looks at it.  For
    harness.ServerCase to be mixed with."""

    ROWS = []
    THREADS = THREADS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.witness = Witness(cls.server)
        with concurrent.futures.ThreadPoolExecutor(cls.THREADS) as pool:
            cls.outcomes = {o.row.name: o for o in pool.map(
                lambda row: play(row, cls.server, cls.witness), cls.ROWS)}

    def check(self, row):
        """The row ended as it should."""
        outcome = self.outcomes[row.name]
        self.assertIsNone(outcome.problem)
        if row.reason != "send-timeout":
            self.assertTrue(row.due.fullmatch(outcome.rest), outcome.rest)
        event = self.server.failure(outcome.peer)
        self.assertEqual(event.get("reason"), row.reason, event.text)
        self.assertEqual(event.get("stage"), row.at, event.text)

    def check_all(self):
        """What holds after all rows."""
        self.assertIsNone(self.witness.problem)
        self.witness.check()
        self.assertIsNone(self.witness.problem)
        self.serves()
        self.assertEqual(self.server.log.find(
            ("worker-died", "channel-violation", "helper-died")), [])


def make_table(name, rows, **server):
    """A class of tests for the rows."""
    rows = list(rows)
    body = {"ROWS": rows, "SERVER": server, "THREADS": min(24, len(rows))
            if server["handshake_client_timeout"] < 60 else THREADS}
    for row in rows:
        def test(self, row=row):
            self.check(row)
        method = "test_" + runner.row_name(row.name)
        if method in body:
            method += "_%d" % len(body)
        body[method] = test
    body["test_everything_else_goes_on"] = lambda self: self.check_all()
    return type(name, (Table, harness.ServerCase), body)


# The limit is far away where a row must end by itself, and near where the
# row is to run into it.
VersionLines = make_table("VersionLines", VERSION_ROWS,
                          handshake_client_timeout=60)
Keys = make_table("Keys", KEY_ROWS, handshake_client_timeout=60)
Tokens = make_table("Tokens", list(token_rows()) + SESSION_ROWS,
                    handshake_client_timeout=60)
Leaving = make_table("Leaving", closing_rows(), handshake_client_timeout=60)
Time = make_table("Time", LONG_WAITS + STOPS, handshake_client_timeout=2)


class Idle(harness.ServerCase):
    """session_idle_timeout."""

    SERVER = {"session_idle_timeout": 1}

    def test_idle_session_ends(self):
        with self.server.client() as client:
            client.handshake()
            client.command("HELP")
            self.assertEqual(client.rest(), b"")
        event = self.server.log.wait("session-end", peer=client.peer)
        self.assertEqual(event["reason"], "idle-timeout", event.text)
        self.assertEqual(event["stage"], "session")


class Patience(harness.ServerCase):
    """Time limits of the handshake do not hold for a session."""

    SERVER = {"handshake_client_timeout": 1}

    def test_session_outlives_the_handshake_limit(self):
        with self.server.client() as client:
            client.handshake()
            time.sleep(4)
            self.assertTrue(client.command("HELP").startswith(b"200 "))
            client.quit()


class Statistics(harness.ServerCase):
    """One address that fails often does not fill the log."""

    def test_log_is_limited_for_a_peer(self):
        source = fmltp.new_source()
        count = 60
        for _ in range(count):
            with self.server.client(source=source) as client:
                client.read_banner()
                client.send(b"nobody\r\n")
                client.rest()
        event = self.server.log.wait("log-limited")
        self.assertGreater(int(event["left_out"]), 0)
        lines_of_it = self.server.log.find(harness.FAILURES,
                                           reason="version-not-flexmusic")
        self.assertLess(len(lines_of_it), count)
        self.serves()


if __name__ == "__main__":
    runner.main()
