#!/usr/bin/python3
"""The bundled client against a server that keeps, or breaks, one rule.

Each row of the tables below is a server that is right but for one thing, and
says which exit status of flexmusic(1) the client has to end with and what it
has to tell.  Usage: test_client.py [--client build/flexmusic] [--only WORD]
[--verbose]
"""

import argparse
import atexit
import base64
import concurrent.futures
import fcntl
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import traceback

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import fake_server
from fake_server import (CRLF, Close, FakeServer, GOODBYE, HELP, HELP_QUIT,
                         INVALID, LOCKED, PASSWORD, READY, REFUSED as NO,
                         Stall, USER, fmltp)

SCALE = float(os.environ.get("FLEXMUSIC_TIME_SCALE", "1"))
LIMIT = 30 * SCALE  # seconds for one run of the client
SANITIZED = bool(os.environ.get("FLEXMUSIC_SANITIZE"))
OTHER_USER = 64103  # a number that no account has
AT_ONCE = 4  # rows that run side by side

OK, USAGE, CONNECT, NOT_FLEXMUSIC, INCOMPATIBLE = 0, 1, 2, 3, 4
HANDSHAKE, COMMAND, LOST, LOCAL, REFUSED = 5, 6, 7, 8, 9

PRIMES = fake_server.read_primes()
GROUPS = fake_server.read_groups()
P = PRIMES[0]
# Numbers near P: a prime whose (p-1)/2 is none, a prime that is 7 mod 24,
# and a safe prime of its own that is 11 mod 24.
P_NOT_SAFE = P + 24 * 133
P_7_MOD_24 = P - 16 + 24 * 575
P_11_MOD_24 = int(
    "af16f4e01512335449f6b38b2ca9a105da76a6c6c38cc1bf6f2ff9fce3953d3e"
    "d53c53305149c6298b78d540200fce80b1fcabfe9b80d1a12324b56b654de835"
    "9f7020e63a5979c7cf804fe405998a6e53803621408ff0195d0ecead10aafdfc"
    "ba13b8c4149aef5bd30c7cb433e909d7d9e197d86c2a769983b786dffb6428f3"
    , 16)
# Here (p-1)/2 is r(12r-11); it passes Fermat's test to base 2, as p does.
P_PSEUDO = int(
    "f4285cf0ec1f2929a477c55ae89174246c362b68abc134470e400eab68a3fd84"
    "4ba3a596c2ab0cb44b8c7a749f99f927a396323f1b6a5d68c4914e32ccc7c8c2"
    "803d19bdfd4f4000b4135f9fd12fce943c84d0b19e593ea99fdaf45daa3c6bab"
    "267d5ea5865467d3d9f442bcb7ccd3ff4cb9a6cdff6b54e1acc9feb417ffa9d7"
    , 16)
P_512 = int(
    "cdf89d882979b453256a228c4bad32828186f4b8540724b0ece9b953796e6b36"
    "60dd09a07f541b310c473bdc59eefdcca867f627704dbf1db9ba518f5a9faae7"
    , 16)

# What must never reach a terminal from the network.
HOSTILE = ("\x1b[2J\x1b]0;title\x07 back\bspace \x9b31m "
           "\u202egnp.exe").encode()


HOME = tempfile.mkdtemp(prefix="flexmusic-test-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


class Client:
    """Runs the program that is tested."""

    path = None
    # What a server's identity is, test_identity.py tests.
    always = ["--accept-new"]

    @classmethod
    def run(cls, args, stdin=b"", env=None, stdout=subprocess.PIPE):
        """Runs it to its end: status, output, errors, seconds."""
        begun = time.monotonic()
        done = subprocess.run([cls.path] + cls.always + args, input=stdin,
                              timeout=LIMIT,
                              stdout=stdout, stderr=subprocess.PIPE,
                              env=environment(env), check=False)
        return (done.returncode, done.stdout or b"", done.stderr,
                time.monotonic() - begun)

    @classmethod
    def start(cls, args, **streams):
        """Starts it and goes on."""
        return subprocess.Popen([cls.path] + cls.always + args,
                                env=environment(streams.pop("env", None)),
                                **streams)


def environment(more):
    """The environment of a run: UTF-8 and colours unless said otherwise."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("LC_") and k not in ("LANG", "NO_COLOR")}
    env.update({"LC_ALL": "C.UTF-8", "TERM": "xterm", "HOME": HOME})
    env.update(more or {})
    return env


def check(condition, text):
    """An assertion that python -O keeps."""
    if not condition:
        raise AssertionError(text)


def expect(run, status, message=None, output=None):
    """Judges a run: its status, its errors (a pattern), its output."""
    code, out, err, _ = run
    said = "status %d\n  output %r\n  errors %r" % (code, out, err)
    check(code == status, "status %d expected, got %s" % (status, said))
    if message is not None:
        check(re.search(message.encode(), err), "%r expected, got %s" % (
            message, said))
    if output is not None:
        check(out == output, "output %r expected, got %s" % (output, said))
    if status != OK:
        check(err.startswith(b"flexmusic: "), "no message: %s" % said)
    check(b"\x1b" not in out + err and b"\xc2\x9b" not in out + err,
          "control characters in %s" % said)


# -- what the rows put in the place of a packet ---------------------------


def stall(*_):
    """Nothing, for as long as it takes."""
    raise Stall


def close(*_):
    """The end of the connection."""
    raise Close


def half(name, then):
    """Half of the right packet, and then a stall or a close."""
    def send(server, *args):
        right = {"packet_1": lambda: server.banner + CRLF,
                 "packet_3": server.packet_3,
                 "packet_5": server.packet_5,
                 "packet_7": lambda: server.seal(READY),
                 "answer": lambda: server.answer(*args)}[name]()
        server.send(right[:len(right) // 2])
        raise then
    return send


def params(g=2, p=None, label=b"DH PARAMETERS", columns=64, end=b"\n",
           **fields):
    """Packet 3 with another p, g or form."""
    return lambda s: fmltp.pem(label, s.params(g, p, **fields), columns, end)


def key(**fields):
    """Packet 5 with another y, p, g or form."""
    return lambda s: s.packet_5(**fields)


def key_y(number):
    """Packet 5 with a y that depends on p."""
    return lambda s: s.packet_5(y=number(s.p))


def edit(name, change):
    """The right packet, changed."""
    return lambda s: change(getattr(s, name)())


def final(text, **fields):
    """Packet 7 with another text."""
    return lambda s: s.seal(text, **fields)


def edit_token(change, text=READY):
    """A token whose bytes before base64 are changed, MAC and all."""
    def send(server, *_):
        raw = bytearray(fmltp.raw_token(server.key, text))
        return base64.urlsafe_b64encode(bytes(change(raw))) + CRLF
    return send


def flip(place):
    """Inverts a bit of a token."""
    def change(raw):
        raw[place] ^= 1
        return raw
    return change


def unused_bits(server, *_):
    """A token of two =: the bits of the last character that no byte has are
    set, which many decoders ignore."""
    token = server.seal(LOCKED).strip()
    check(token.endswith(b"=="), "not a token with unused bits")
    alphabet = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                b"0123456789-_")
    last = alphabet[alphabet.index(token[-3:-2]) | 1:][:1]
    return token[:-3] + last + b"==" + CRLF


def long_token(*_):
    """A token that never ends; its version is right."""
    return b"gAAA" + b"A" * 70000


def foreign_key(kind):
    """An RSA or EC key in the place of the DH key."""
    def send(_):
        if kind == "rsa":
            private = rsa.generate_private_key(65537, 1024)
        else:
            private = ec.generate_private_key(ec.SECP256R1())
        return private.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)
    return send


def answer(text, **fields):
    """Every answer but the goodbye is this one."""
    return lambda s, c: None if c == b"QUIT" else s.seal(text, **fields)


class Row:
    """A server with one difference, and what becomes of it."""

    def __init__(self, name, status, message=None, args=("HELP",),
                 options=(), p=P, output=None, weak=True, server=None,
                 env=None, stdin=b"", **replace):
        self.name = name
        self.status = status
        self.message = message
        self.options = (["--allow-weak"] if weak else []) + list(options)
        self.args = list(args)
        self.p = p
        self.output = output
        self.server = server or {}
        self.env = env
        self.stdin = stdin
        self.replace = replace
        if status == OK and output is None and self.args == ["HELP"]:
            self.output = shown(HELP)

    def run(self):
        """Runs the client against the row's server."""
        server = FakeServer(self.p, self.replace, **self.server)
        try:
            begun = Client.run(
                self.options + ["-p", str(server.port), "127.0.0.1"] +
                self.args, env=self.env, stdin=self.stdin)
        finally:
            server.stop()
        check(server.crash is None, "the server: %r" % server.crash)
        check(not server.complaints, "the client: %s" % server.complaints)
        expect(begun, self.status, self.message, self.output)
        check(self.status != OK or self.message or begun[2] == b"",
              "errors %r" % begun[2])
        return begun, server


def shown(text):
    """An answer as the client prints it."""
    return text.replace(CRLF, b"\n")


def stall_row(name, status, message, **replace):
    """A row whose server stops: with -t 1 the client ends after a second."""
    row = Row(name, status, message, options=["-t", "1"], **replace)
    plain = row.run

    def run():
        begun, server = plain()
        check(0.9 < begun[3] < 1 + 9 * SCALE, "it took %.1f s" % begun[3])
        return begun, server
    row.run = run
    return row


def unharmed(row):
    """Whatever becomes of the handshake, no command is sent."""
    plain = row.run

    def run():
        begun, server = plain()
        check(not server.commands, "sent %r" % server.commands)
        return begun, server
    row.run = run
    return row


NOT = "not a FlexMusic server"
SAFE = "safe prime"
TOKEN = "packet 7 .* breaks the protocol: "

PACKET_1 = [
    Row("SSH answers", NOT_FLEXMUSIC, NOT + '.*"SSH-2.0-OpenSSH_9.2',
        packet_1=b"SSH-2.0-OpenSSH_9.2\r\n"),
    Row("a greeting without a line end", NOT_FLEXMUSIC, NOT,
        packet_1=b"220 mail.example.org ESMTP"),
    Row("lower case", NOT_FLEXMUSIC, "begin with FlexMusic",
        packet_1=b"flexmusic Server,0.0.0\r\n"),
    Row("a blank first", NOT_FLEXMUSIC, NOT,
        packet_1=b" FlexMusic Server,0.0.0\r\n"),
    Row("no comma", NOT_FLEXMUSIC, "has no comma",
        packet_1=b"FlexMusic Server 0.0.0\r\n"),
    Row("two commas", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic,Server,0.0.0\r\n"),
    Row("two numbers", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server,0.0\r\n"),
    Row("four numbers", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server,0.0.0.0\r\n"),
    Row("a number of 65536", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server,0.0.65536\r\n"),
    Row("a leading zero", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server,0.00.0\r\n"),
    Row("a sign", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server,+0.0.0\r\n"),
    Row("a blank after the comma", NOT_FLEXMUSIC, "three numbers",
        packet_1=b"FlexMusic Server, 0.0.0\r\n"),
    Row("a name of 129 bytes", NOT_FLEXMUSIC, "printable text",
        packet_1=b"FlexMusic" + b"x" * 120 + b",0.0.0\r\n"),
    Row("a name with a NUL", NOT_FLEXMUSIC, "printable text",
        packet_1=b"FlexMusic\0Server,0.0.0\r\n"),
    Row("a name that is not UTF-8", NOT_FLEXMUSIC, "printable text",
        packet_1=b"FlexMusic \xff\xfe,0.0.0\r\n"),
    Row("a name with escape sequences", NOT_FLEXMUSIC, r"\\033\[2J",
        packet_1=b"FlexMusic " + HOSTILE + b",0.0.0\r\n"),
    Row("escape sequences alone", NOT_FLEXMUSIC, r"\\033\[2J",
        packet_1=HOSTILE + CRLF),
    Row("300 bytes without a line end", NOT_FLEXMUSIC, "longer than 255",
        packet_1=b"FlexMusic " + b"x" * 290),
    Row("LF alone ends the line", OK,
        packet_1=lambda s: s.banner + b"\n"),
    Row("a higher class", INCOMPATIBLE, "newer client",
        packet_1=b"FlexMusic Server,1.0.0\r\n"),
    Row("a lower class", INCOMPATIBLE, "server has class 0",
        options=["--compatibility", "3.0.0"]),
    stall_row("packet 1: no line end", HANDSHAKE, "time limit",
              packet_1=lambda s: (s.send(s.banner), stall())),
    stall_row("packet 1: stall", HANDSHAKE, "SERVER_VEX_INIT.*time limit",
              packet_1=stall),
    stall_row("packet 1: half and stall", HANDSHAKE, "SERVER_VEX_INIT",
              packet_1=half("packet_1", Stall)),
    Row("packet 1: close", HANDSHAKE, "closed .*SERVER_VEX_INIT",
        packet_1=close),
    Row("packet 1: half and close", HANDSHAKE, "closed .*SERVER_VEX_INIT",
        packet_1=half("packet_1", Close)),
]

PACKET_3 = [
    Row("p is composite", HANDSHAKE, SAFE, packet_3=params(p=P + 24)),
    Row("p is prime, (p-1)/2 is not", HANDSHAKE, SAFE,
        packet_3=params(p=P_NOT_SAFE)),
    unharmed(Row("p passes the quick test alone", HANDSHAKE, SAFE,
                 p=P_PSEUDO)),
    Row("p is 7 mod 24", HANDSHAKE, "23 mod 24",
        packet_3=params(p=P_7_MOD_24)),
    Row("p is safe but 11 mod 24", HANDSHAKE, "23 mod 24",
        packet_3=params(p=P_11_MOD_24)),
    Row("p is even", HANDSHAKE, "23 mod 24", packet_3=params(p=P + 1)),
    Row("p is negative", HANDSHAKE, "not encoded", packet_3=params(p=-P)),
    Row("base 5", HANDSHAKE, "base is not 2|not encoded",
        packet_3=params(g=5)),
    Row("base 1", HANDSHAKE, "base is not 2|not encoded",
        packet_3=params(g=1)),
    Row("512 bits", HANDSHAKE, "size", packet_3=params(p=P_512)),
    Row("1032 bits", HANDSHAKE, "size", packet_3=params(p=P << 8 | 7)),
    Row("1024 bits, not allowed", HANDSHAKE, "--allow-weak", weak=False),
    Row("a privateValueLength", HANDSHAKE, "not encoded",
        packet_3=params(private_length=160)),
    Row("a byte after the DER", HANDSHAKE, "not encoded",
        packet_3=lambda s: fmltp.pem(b"DH PARAMETERS", s.params() + b"\0")),
    Row("a long-form length", HANDSHAKE, "not encoded",
        packet_3=params(sequence_length=b"\x82\x00\x87")),
    Row("another label", HANDSHAKE, "label",
        packet_3=params(label=b"X9.42 DH PARAMETERS")),
    Row("text before BEGIN", HANDSHAKE, "begin at once",
        packet_3=edit("packet_3", lambda d: b"hello\n" + d)),
    Row("a blank line before BEGIN", HANDSHAKE, "begin at once",
        packet_3=edit("packet_3", lambda d: b"\n" + d)),
    Row("PEM with headers", HANDSHAKE, "PEM body",
        packet_3=edit("packet_3", lambda d: d.replace(
            b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\n\n", 1))),
    Row("PEM of 76 columns", HANDSHAKE, "PEM body",
        packet_3=params(columns=76)),
    Row("PEM without its padding", HANDSHAKE, "PEM body|not encoded",
        packet_3=edit("packet_3", lambda d: d.replace(b"AgEC\n", b"AgE\n"))),
    Row("PEM without end", HANDSHAKE, "too long",
        packet_3=b"-----BEGIN DH PARAMETERS-----\n" +
        (b"A" * 64 + b"\n") * 300),
    Row("an END line of another label", HANDSHAKE, "PEM|label",
        packet_3=edit("packet_3", lambda d: d.replace(
            b"END DH PARAMETERS", b"END PUBLIC KEYXXX"))),
    Row("PEM with CR LF", OK, packet_3=params(end=CRLF)),
    Row("no line end after END", OK,
        packet_3=edit("packet_3", lambda d: d[:-1])),
    Row("the line end comes with packet 5", OK,
        packet_3=edit("packet_3", lambda d: d[:-1]),
        packet_5=edit("packet_5", lambda d: b"\n" + d)),
    Row("CR LF comes with packet 5", OK,
        packet_3=edit("packet_3", lambda d: d[:-1]),
        packet_5=edit("packet_5", lambda d: CRLF + d)),
    Row("two line ends come with packet 5", HANDSHAKE, "begin at once",
        packet_3=edit("packet_3", lambda d: d[:-1]),
        packet_5=edit("packet_5", lambda d: b"\n\n" + d)),
    stall_row("packet 3: stall", HANDSHAKE, "SERVER_KEX_INIT.*time limit",
              packet_3=stall),
    stall_row("packet 3: half and stall", HANDSHAKE, "SERVER_KEX_INIT",
              packet_3=half("packet_3", Stall)),
    Row("packet 3: close", HANDSHAKE, "closed .*SERVER_KEX_INIT",
        packet_3=close),
    Row("packet 3: half and close", HANDSHAKE, "closed .*SERVER_KEX_INIT",
        packet_3=half("packet_3", Close)),
]

PACKET_5 = [
    Row("y is 0", HANDSHAKE, r"outside 2\.\.p-2", packet_5=key(y=0)),
    Row("y is 1", HANDSHAKE, r"outside 2\.\.p-2", packet_5=key(y=1)),
    Row("y is p-1", HANDSHAKE, r"outside 2\.\.p-2",
        packet_5=key_y(lambda p: p - 1)),
    Row("y is p", HANDSHAKE, r"outside 2\.\.p-2", packet_5=key_y(lambda p: p)),
    Row("y is p+1", HANDSHAKE, r"outside 2\.\.p-2",
        packet_5=key_y(lambda p: p + 1)),
    Row("y is longer than p", HANDSHAKE, "outside|not encoded",
        packet_5=key_y(lambda p: p << 16)),
    Row("y is negative", HANDSHAKE, "outside|not encoded",
        packet_5=key_y(lambda p: 2 - p)),
    Row("y for another p", HANDSHAKE, "other parameters",
        packet_5=key(p=PRIMES[1])),
    Row("y for another base", HANDSHAKE, "other parameters",
        packet_5=key(g=5)),
    Row("an RSA key", HANDSHAKE, "other parameters|not encoded",
        packet_5=foreign_key("rsa")),
    Row("an EC key", HANDSHAKE, "other parameters|not encoded",
        packet_5=foreign_key("ec")),
    Row("an X9.42 key", HANDSHAKE, "other parameters|not encoded",
        packet_5=key(oid=fmltp.OID_X942)),
    Row("packet 3 again", HANDSHAKE, "label",
        packet_5=lambda s: s.packet_3()),
    Row("unused bits in the BIT STRING", HANDSHAKE, "not encoded",
        packet_5=key(unused=1)),
    Row("a long-form length in packet 5", HANDSHAKE, "not encoded",
        packet_5=key(outer_length=b"\x83\x00\x01\x20")),
    Row("packet 5 with headers", HANDSHAKE, "PEM body",
        packet_5=edit("packet_5", lambda d: d.replace(
            b"-----\n", b"-----\nComment: x\n\n", 1))),
    Row("text before packet 5", HANDSHAKE, "begin at once",
        packet_5=edit("packet_5", lambda d: b"hello\n" + d)),
    Row("a privateValueLength in packet 5", OK,
        packet_5=key(private_length=225)),
    Row("a privateValueLength of 0", HANDSHAKE, "other parameters|not encoded",
        packet_5=key(private_length=0)),
    Row("a privateValueLength longer than p", HANDSHAKE,
        "other parameters|not encoded", packet_5=key(private_length=1025)),
    Row("another y than the server's own", HANDSHAKE,
        TOKEN + "the token's MAC.*\n.*different keys",
        packet_5=key(y=4), server={"unread": True}),
    Row("packet 5 with CR LF", OK,
        packet_5=edit("packet_5", lambda d: d.replace(b"\n", CRLF))),
    Row("no line end after packet 5", OK,
        packet_5=edit("packet_5", lambda d: d[:-1])),
    stall_row("packet 5: stall", HANDSHAKE, "SERVER_KEX_ID.*time limit",
              packet_5=stall),
    stall_row("packet 5: half and stall", HANDSHAKE, "SERVER_KEX_ID",
              packet_5=half("packet_5", Stall)),
    Row("packet 5: close", HANDSHAKE, "closed .*SERVER_KEX_ID",
        packet_5=close),
    Row("packet 5: half and close", HANDSHAKE, "closed .*SERVER_KEX_ID",
        packet_5=half("packet_5", Close)),
]

WRONG_FINAL = [
    (b"100 FmLTP/1.0 Interpreter Ready.", "without line end"),
    (b"100 FmLTP/1.0 Interpreter Ready.\n", "with LF alone"),
    (b"100 FmLTP/1.0 interpreter ready.\r\n", "in lower case"),
    (b"100 FmLTP/1.1 Interpreter Ready.\r\n", "of another protocol"),
    (b"200 FmLTP/1.0 Interpreter Ready.\r\n", "with 200"),
    (b"103 FmLTP/1.0 Interpreter Ready.\r\n", "with 103"),
    (READY + b"Authentication required.", "with half a second line"),
    (READY + b"Authentication required.\r\n\r\n", "with a third line"),
    (READY + READY, "twice"),
    (b"100 ", "without text"),
    (b"100 FmLTP/1.0 Interpreter Ready.\0\r\n", "with a NUL"),
    (b"100 " + HOSTILE + CRLF, "with escape sequences"),
]

PACKET_7 = [
    Row("packet 7 " + name, HANDSHAKE, "not the one that the protocol has",
        packet_7=final(text)) for text, name in WRONG_FINAL
] + [
    Row("packet 7 without a status", HANDSHAKE, "the other side sends",
        packet_7=final(b"FmLTP/1.0 Interpreter Ready.\r\n")),
    Row("packet 7 is empty", HANDSHAKE, "the other side sends",
        packet_7=final(b"")),
    Row("packet 7 is the client's token", HANDSHAKE, "the other side sends",
        packet_7=lambda s: s.received[-1]),
    Row("a status that disagrees", HANDSHAKE, "status 110.* make it 100",
        packet_7=final(READY.replace(b"100", b"110"))),
    Row("a status that leaves out the client's stepping", HANDSHAKE,
        "status 100.* make it 110", options=["--compatibility", "0.1.0"]),
    Row("a wrong MAC", HANDSHAKE, TOKEN + "the token's MAC",
        packet_7=edit_token(flip(-1))),
    Row("a ciphertext that was changed", HANDSHAKE, TOKEN + "the token's MAC",
        packet_7=edit_token(flip(30))),
    Row("a time that was changed", HANDSHAKE, TOKEN + "the token's MAC",
        packet_7=edit_token(flip(8))),
    Row("version 0x81", HANDSHAKE, "version is not 0x80",
        packet_7=final(READY, version=0x81)),
    Row("padding of 0", HANDSHAKE, "padding",
        packet_7=lambda s: s.seal(b"", padded=b"100 " + b"\0" * 12)),
    Row("padding of 17", HANDSHAKE, "padding",
        packet_7=lambda s: s.seal(b"", padded=b"100 " + b"\x11" * 28)),
    Row("padding that differs", HANDSHAKE, "padding",
        packet_7=lambda s: s.seal(b"", padded=b"100 " + b"\x0b" +
                                  b"\x0c" * 11)),
    Row("unused bits set", HANDSHAKE, "canonical|MAC", packet_7=unused_bits),
    Row("a character outside the alphabet", HANDSHAKE, "canonical",
        packet_7=lambda s: s.seal(READY).replace(b"gAAA", b"gA+A", 1)),
    Row("a token in the clear", HANDSHAKE, TOKEN, packet_7=READY),
    Row("a token cut by a line end", HANDSHAKE, TOKEN,
        packet_7=lambda s: s.seal(READY)[:60] + CRLF),
    Row("a token that never ends", HANDSHAKE, "too long",
        packet_7=long_token),
    Row("a token of the year 2100", OK,
        packet_7=final(READY, when=4102444800),
        server={"ident": lambda s: s.seal(s.proof(), when=4102444800)},
        answer=lambda s, c: s.seal(GOODBYE if c == b"QUIT" else HELP,
                                   when=4102444800)),
    Row("a token without line end", OK,
        packet_7=lambda s: s.seal(READY).strip(),
        answer=lambda s, c: s.answer(c).strip()),
    stall_row("packet 7: stall", HANDSHAKE, "SERVER_KEX_FINAL.*time limit",
              packet_7=stall),
    stall_row("packet 7: half and stall", HANDSHAKE, "SERVER_KEX_FINAL",
              packet_7=half("packet_7", Stall)),
    Row("packet 7: close", HANDSHAKE, "closed .*SERVER_KEX_FINAL",
        packet_7=close),
    Row("packet 7: half and close", HANDSHAKE, "closed .*SERVER_KEX_FINAL",
        packet_7=half("packet_7", Close)),
]

STATUSES = [("0.0.0", "0.0.0", 100), ("0.0.0", "0.0.1", 101),
            ("0.0.1", "0.0.0", 102), ("0.0.0", "0.1.0", 110),
            ("0.4.6", "0.5.7", 111), ("0.0.9", "0.1.0", 112),
            ("0.65535.0", "0.65534.0", 120), ("0.2.0", "0.1.1", 121),
            ("7.2.2", "7.1.1", 122)]


def status_row(server, client, status):
    """A pair of signatures with the status that follows."""
    def first(s):
        s.banner = b"FlexMusic Server," + server.encode()
        return s.banner + CRLF
    row = Row("signatures %s and %s" % (server, client), OK,
              options=["--compatibility", client], packet_1=first,
              packet_7=final(READY.replace(b"100", b"%d" % status)))
    plain = row.run

    def run():
        begun, fake = plain()
        check(fake.line == b"FlexMusic C Client,%s\r\n" % client.encode(),
              "packet 2 is %r" % fake.line)
        return begun, fake
    row.run = run
    return row


def old_time(server, command):
    """The first answer has the time, the second is 11 s older."""
    if command == b"QUIT":
        return server.seal(GOODBYE, when=int(time.time()) - 11)
    return None


def replay(server, _):
    """Packet 7 in the place of the answer."""
    return server.sent[3]


def replay_answer(server, command):
    """The answer to HELP in the place of the goodbye."""
    return server.sent[-1] if command == b"QUIT" else None


def not_ascii(text):
    """What vis(3) makes of bytes above 0x7e."""
    return b"".join(b"\\%o" % c if c > 0x7e else bytes([c]) for c in text)


SESSION = [
    Row("HELP", OK, output=shown(HELP)),
    Row("HELP QUIT is one command", OK, args=["HELP", "QUIT"],
        output=shown(HELP_QUIT)),
    Row("QUIT", OK, args=["QUIT"], output=shown(GOODBYE)),
    Row("a command that fails", COMMAND, "status 400", args=["PLAY"],
        output=shown(INVALID)),
    Row("a status of 3xx", COMMAND, "status 300", answer=answer(b"300 x\r\n"),
        output=b"300 x\n"),
    Row("a status of 1xx", OK, answer=answer(b"150 x\r\n"),
        output=b"150 x\n"),
    Row("an answer without line end", OK, answer=answer(b"200 x"),
        output=b"200 x\n"),
    Row("an answer of 49,000 bytes", OK,
        answer=answer(b"200 " + b"x" * 48995 + b"\r\n"),
        output=b"200 " + b"x" * 48995 + b"\n"),
    Row("an answer longer than 64 KiB", LOST, "too long",
        answer=answer(b"200 " + b"x" * 50000 + b"\r\n")),
    Row("escape sequences in an answer", OK,
        answer=answer(b"200 " + HOSTILE + CRLF),
        output=b"200 \\033[2J\\033]0;title\\a back\\bspace \\302\\23331m "
        b"\\342\\200\\256gnp.exe\n"),
    Row("a CR inside a line", OK, answer=answer(b"200 a\rb\r\n"),
        output=b"200 a\\rb\n"),
    Row("a NUL", OK, answer=answer(b"200 a\0b\0001\r\n"),
        output=b"200 a\\0b\\0001\n"),
    Row("bytes that are not UTF-8", OK, answer=answer(b"200 \xe9\r\n"),
        output=b"200 \\351\n"),
    Row("UTF-8", OK, answer=answer("200 Björk \u266b\r\n".encode()),
        output="200 Björk \u266b\n".encode()),
    Row("UTF-8 where the locale has none", OK, env={"LC_ALL": "C"},
        answer=answer("200 Björk \u266b\r\n".encode()),
        output=not_ascii("200 Björk \u266b\n".encode())),
    Row("a backslash", OK, answer=answer(b'200 {"a": "\\n"}\r\n'),
        output=b'200 {"a": "\\n"}\n'),
    Row("an answer without a status", LOST, "the other side sends",
        answer=answer(b"Available commands:\r\n")),
    Row("a status of two digits", LOST, "the other side sends",
        answer=answer(b"20 x\r\n")),
    Row("the client's token comes back", LOST, "the other side sends",
        answer=lambda s, c: s.received[-1]),
    Row("packet 7 comes again", LOST, "seen before", answer=replay),
    Row("an answer comes again", LOST, "seen before", answer=replay_answer),
    Row("an answer that is too old", LOST, "behind the window",
        answer=old_time),
    Row("an answer with a wrong MAC", LOST, "MAC does not match",
        answer=edit_token(flip(-1), HELP)),
    Row("two answers to one command", LOST, "nobody asked for",
        answer=lambda s, c: s.answer(c) + s.answer(c)),
    Row("an answer before the command", LOST, "nobody asked for",
        packet_7=lambda s: s.seal(READY) + s.seal(HELP)),
    Row("no goodbye", LOST, "closed the connection", output=shown(HELP),
        answer=lambda s, c: close() if c == b"QUIT" else None),
    Row("a goodbye with 400", LOST, "goodbye",
        answer=lambda s, c: s.seal(INVALID) if c == b"QUIT" else None),
    stall_row("answer: stall", LOST, "time limit", answer=stall),
    stall_row("answer: half and stall", LOST, "time limit",
              answer=half("answer", Stall)),
    Row("answer: close", LOST, "closed the connection", answer=close),
    Row("answer: half and close", LOST, "closed the connection",
        answer=half("answer", Close)),
] + [status_row(*row) for row in STATUSES]

FORMS = [
    Row("1 byte at a time", OK, server={"drip": True}),
    Row("packets 1 and 3 in one segment", OK, server={"early": True}),
] + [
    Row("%d bits" % bits, OK, p=GROUPS[bits], weak=False)
    for bits in (2048, 3072, 4096)
] + [Row("prime %d" % i, OK, p=p) for i, p in enumerate(PRIMES)]

LINES = [
    Row("lines from a pipe", OK, args=[], stdin=b"HELP\nHELP QUIT\nQUIT\n",
        output=shown(HELP + HELP_QUIT + GOODBYE)),
    Row("the end of input ends the session", OK, args=[],
        stdin=b"HELP\nHELP QUIT", output=shown(HELP + HELP_QUIT)),
    Row("no input at all", OK, args=[], output=b""),
    Row("nothing is sent after QUIT", OK, args=[], stdin=b"QUIT\nHELP\n",
        output=shown(GOODBYE)),
    Row("empty lines and CR LF", OK, args=[], stdin=b"\n\r\nHELP\r\n\n",
        output=shown(HELP)),
    Row("a failed command among others", COMMAND, "status 400", args=[],
        stdin=b"PLAY\nHELP\n", output=shown(INVALID + HELP)),
    Row("a line that cannot be sent", COMMAND, "not sent: .*three digits",
        args=[], stdin=b"200 x\nHELP\n", output=shown(HELP)),
    Row("a line of 4096 bytes", COMMAND, "status 400", args=[],
        stdin=b"x" * 4096 + b"\nHELP\n", output=shown(INVALID + HELP)),
    Row("a line of 4097 bytes", COMMAND, "not longer than 4096", args=[],
        stdin=b"x" * 4097 + b"\nHELP\n", output=shown(HELP)),
    Row("a line of 20,000 bytes", COMMAND, "not longer than 4096", args=[],
        stdin=b"x" * 20000 + b"\nHELP\n", output=shown(HELP)),
    Row("a line of 12,294 bytes at the end", COMMAND, "not longer than 4096",
        args=[], stdin=b"HELP\n" + b"x" * (3 * 4098), output=shown(HELP)),
    Row("a line of 20,000 bytes at the end", COMMAND, "not longer than 4096",
        args=[], stdin=b"HELP\n" + b"x" * 20000, output=shown(HELP)),
]

RIGHT = b"AUTH " + USER + b" " + PASSWORD
AS_USER = ("-u", USER.decode(), "--password-fd", "0")
BOTH = [b"HELP", b"QUIT"]


def auth_row(name, status, message, stdin, commands, options=AS_USER,
             final_text=LOCKED, **fields):
    """A row whose server asks for authentication: what it is sent."""
    row = Row(name, status, message, options=options, stdin=stdin,
              packet_7=final(final_text), **fields)
    plain = row.run

    def run():
        begun, server = plain()
        check(server.commands == commands, "sent %r" % server.commands)
        return begun, server
    row.run = run
    return row


def only_auth(text):
    """AUTH is answered so, then the server closes."""
    def send(server, command):
        if not command.startswith(b"AUTH "):
            return None
        server.send(server.seal(text))
        raise Close
    return send


AUTH = [
    auth_row("no user is given", OK, "asks for authentication.* -u", b"",
             BOTH, options=()),
    auth_row("a user types AUTH himself", OK, "asks for authentication",
             RIGHT + b"\nHELP\n", [RIGHT] + BOTH, options=(), args=[],
             output=b"150 Authentication successful.\n" + shown(HELP)),
    auth_row("the right password", OK, None, PASSWORD + b"\n",
             [RIGHT] + BOTH),
    auth_row("a password that CR LF ends", OK, None, PASSWORD + CRLF,
             [RIGHT] + BOTH),
    auth_row("a password that nothing ends", OK, None, PASSWORD,
             [RIGHT] + BOTH),
    auth_row("commands after the password", OK, None,
             PASSWORD + b"\nHELP QUIT\nHELP\n",
             [RIGHT, b"HELP QUIT"] + BOTH, args=[],
             output=shown(HELP_QUIT + HELP)),
    auth_row("a wrong password", REFUSED, "refused user and password",
             b"wrong\nHELP\n", [b"AUTH user wrong", b"QUIT"], args=[],
             output=b""),
    auth_row("a wrong password, and a command", REFUSED, "refused user and",
             b"wrong\n", [b"AUTH user wrong", b"QUIT"], output=b""),
    auth_row("another user", REFUSED, "refused user and password",
             PASSWORD + b"\n", [RIGHT.replace(USER, b"User"), b"QUIT"],
             options=("--password-fd", "0", "-u", "User"), output=b""),
    auth_row("a 151 and a close", REFUSED, "refused user and password",
             b"wrong\n", [b"AUTH user wrong"], answer=only_auth(NO)),
    auth_row("AUTH is answered with 400", REFUSED, "AUTH .*status 400",
             b"wrong\n", [b"AUTH user wrong", b"QUIT"],
             answer=lambda s, c: s.seal(INVALID) if c != b"QUIT" else None),
    auth_row("AUTH is answered with 200", REFUSED, "AUTH .*status 200",
             b"wrong\n", [b"AUTH user wrong", b"QUIT"],
             answer=lambda s, c: s.seal(GOODBYE)),
    auth_row("a close instead of an answer", LOST, "closed the connection",
             b"wrong\n", [b"AUTH user wrong"], answer=close),
    auth_row("a password of 511 bytes and UTF-8", REFUSED, "refused user",
             b"p" + "\u00e9".encode() * 255 + b"\n",
             [b"AUTH user p" + "\u00e9".encode() * 255, b"QUIT"]),
    auth_row("a user of 32 bytes", REFUSED, "refused user", b"p\n",
             [b"AUTH " + b"u" * 32 + b" p", b"QUIT"],
             options=("-u", "u" * 32, "--password-fd", "0")),
    auth_row("nobody is asked for: the password stays here", OK, None,
             PASSWORD + b"\nHELP\n", BOTH, args=[], final_text=READY,
             output=shown(HELP)),
    auth_row("nobody is asked for, explained", OK,
             "asks for no auth(.|\n)*password are not sent", PASSWORD + b"\n",
             BOTH, options=AS_USER + ("-v",), final_text=READY),
    auth_row("nobody is asked for, on a terminal that is not there", OK, None,
             b"", BOTH, options=AS_USER[:2], final_text=READY),
]

# Passwords that AUTH cannot carry: nothing is connected.
UNFIT = [
    (b"", "empty"), (b"\n", "empty"), (b"\r\n", "empty"),
    (b"x" * 512 + b"\n", "longer than 511"), (b"x" * 5000, "longer than 511"),
    (b"a\tb\n", "printable"), (b"a\0b\n", "printable"),
    (b"a\rb\n", "printable"), (b"\xff\n", "printable"),
    ("\u202e\n".encode(), "printable"),
]

USAGE_ROWS = [
    ([], "a host is needed"), (["-x", "h"], "-x is not an option"),
    (["--weak", "h"], "--weak is not an option"),
    (["-x4", "h"], "-x is not"), (["-4x", "h"], "-x is not"),
    (["--compatibility"], "--compatibility needs an argument"),
    (["-p"], "-p needs an argument"), (["-p", "0", "h"], "-p 0"),
    (["-p", "65536", "h"], "-p 65536"), (["-p", "ssh", "h"], "-p ssh"),
    (["-t", "0", "h"], "-t 0"), (["-t", "1.5", "h"], "-t 1.5"),
    (["--compatibility", "1.2", "h"], "--compatibility 1.2"),
    (["--compatibility", "0.0.65536", "h"], "--compatibility"),
    (["h", "200", "x"], "three digits"), (["h", ""], "not empty"),
    (["h", "x" * 4097], "longer than 4096"),
    (["-u"], "-u needs an argument"), (["-u", "", "h"], "-u: a user's name"),
    (["-u", "u" * 33, "h"], "1 to 32 bytes"),
    (["-u", "a b", "h"], "without a blank"),
    (["-u", "a\nb", "h"], "printable text"),
    (["-u", b"\xff", "h"], "printable text"),
    (["--password-fd", "0", "h"], "for a user, given with -u"),
    (["--password-fd"], "--password-fd needs an argument"),
    (["-u", "u", "--password-fd", "x", "h"], "--password-fd x"),
    (["-u", "u", "--password-fd", "-1", "h"], "--password-fd -1"),
]


# -- tests that are no row of a table --------------------------------------


def test_usage():
    """Wrong options: nothing is connected, the message names the reason."""
    for args, message in USAGE_ROWS:
        run = Client.run(args)
        expect(run, USAGE, re.escape(message), b"")
        check(b"usage: flexmusic " in run[2], "no usage in %r" % run[2])


def test_version():
    """-V prints name and version."""
    code, out, err, _ = Client.run(["-V"])
    check(code == OK and err == b"", "%d %r" % (code, err))
    check(re.fullmatch(rb"flexmusic \d+\.\d+\.\d+\n", out), repr(out))


def test_refused():
    """Nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        expect(Client.run(["-p", str(s.getsockname()[1]), "127.0.0.1"]),
               CONNECT, r"127\.0\.0\.1:\d+: Connection refused\n")


def test_unknown_name():
    """No such host."""
    expect(Client.run(["host.invalid"]), CONNECT, "cannot look up")


def test_incompatible_is_told():
    """A server of another class learns who came: packet 2 is sent."""
    server = FakeServer(P)
    try:
        run = Client.run(["--compatibility", "3.1.2", "-p", str(server.port),
                          "127.0.0.1", "HELP"])
    finally:
        server.stop()
    expect(run, INCOMPATIBLE)
    check(server.line == b"FlexMusic C Client,3.1.2\r\n", repr(server.line))


def test_wrong_family():
    """-6 with an IPv4 address, and the other way round."""
    expect(Client.run(["-6", "127.0.0.1"]), CONNECT, "cannot look up")
    expect(Client.run(["-4", "::1"]), CONNECT, "cannot look up")


def test_no_answer_to_connect():
    """A full queue of connections: the time limit holds for connecting."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        fill = []
        for _ in range(4):
            c = socket.socket()
            c.setblocking(False)
            c.connect_ex(s.getsockname())
            fill.append(c)
        time.sleep(0.2)
        run = Client.run(["-t", "1", "-p", str(s.getsockname()[1]),
                          "127.0.0.1"])
        for c in fill:
            c.close()
        expect(run, CONNECT, "timed out")
        check(0.9 < run[3] < 1 + 9 * SCALE, "it took %.1f s" % run[3])


def test_every_address_is_tried():
    """localhost is ::1 and 127.0.0.1 on most machines; the server has one."""
    names = {a[4][0] for a in socket.getaddrinfo("localhost", 1)}
    hosts = [h for h in ("127.0.0.1", "::1") if h in names]
    for host in hosts:
        for family in ([], ["-6" if ":" in host else "-4"]):
            server = FakeServer(P, host=host)
            try:
                run = Client.run(family + ["--allow-weak", "-p", str(
                    server.port), "localhost", "HELP"])
            finally:
                server.stop()
            expect(run, OK, output=shown(HELP))
            other = Client.run(["-4" if ":" in host else "-6", "-p", str(
                server.port), "localhost", "HELP"])
            expect(other, CONNECT, "cannot (connect|look up)")


def test_full_disk():
    """An answer that cannot be written is a failure."""
    server = FakeServer(P)
    try:
        with open("/dev/full", "wb") as full:
            run = Client.run(["--allow-weak", "-p", str(server.port),
                              "127.0.0.1", "HELP"], stdout=full)
    finally:
        server.stop()
    expect(run, LOCAL, "cannot write an answer: No space left")


def test_no_stdout():
    """With standard output closed, no answer gets into the socket."""
    server = FakeServer(P)
    try:
        process = subprocess.run(
            ["/bin/sh", "-c", 'exec "$0" "$@" >&- <&-', Client.path,
             "--accept-new", "--allow-weak", "-p", str(server.port),
             "127.0.0.1", "HELP"], env=environment(None),
            stderr=subprocess.PIPE, timeout=LIMIT, check=False)
    finally:
        server.stop()
    check(not server.complaints and server.crash is None,
          "%s %r" % (server.complaints, server.crash))
    check(server.commands == [b"HELP", b"QUIT"], repr(server.commands))
    check(process.returncode == OK, repr(process))


def test_explained():
    """-v names every packet, its size, and what can be checked from outside;
    it never shows the key."""
    server = FakeServer(P)
    try:
        run = Client.run(["-v", "--allow-weak", "-p", str(server.port),
                          "127.0.0.1", "HELP"])
    finally:
        server.stop()
    expect(run, OK, output=shown(HELP))
    text = run[2].decode()
    for number, name, size in (
            (1, "SERVER_VEX_INIT", len(server.sent[0])),
            (2, "CLIENT_VEX_REPLY", len(server.line)),
            (3, "SERVER_KEX_INIT", len(server.sent[1])),
            (4, "CLIENT_KEX_ID", None),
            (5, "SERVER_KEX_ID", len(server.sent[2])),
            (6, "CLIENT_KEX_CHAL", len(server.received[0])),
            (7, "SERVER_KEX_FINAL", len(server.sent[3]))):
        way = "client -> server" if number in (2, 4, 6) else \
            "server -> client"
        m = re.search(r"^%d %s  %s  (\d+) bytes, (in the clear|encrypted)$" %
                      (number, name, way), text, re.M)
        check(m, "%s is not in %s" % (name, text))
        check(size is None or int(m.group(1)) == size, "%s: %s bytes, not %s"
              % (name, m.group(1), size))
        check((m.group(2) == "encrypted") == (number >= 6), name)
    digest = hashlib.sha256(server.params()).hexdigest()
    for y in (server.client_y, server.y):
        check(hashlib.sha256(y.to_bytes(128, "big")).hexdigest()[:16] in text,
              "no hash of %x" % y)
    joined = " ".join(text.split())
    for wanted in (digest, '"FlexMusic Server,0.0.0"', "1024 bits",
                   "session key", '"HELP"', '"200 Available commands:" CR LF',
                   '"QUIT"', '"200 Goodbye." CR LF', "safe prime",
                   str(fmltp.token_time(server.received[0])),
                   str(fmltp.token_time(server.sent[3]))):
        check(wanted in text or wanted in joined, "%r is not in %s" % (
            wanted, text))
    shared = pow(server.client_y, server.x, P)
    for secret in (server.key, server.key[:16], server.key[16:]):
        for shape in (secret.hex(), base64.b64encode(secret).decode().strip(
                "="), base64.urlsafe_b64encode(secret).decode().strip("=")):
            check(shape not in text, "the key is in the text")
    check("%x" % shared not in text, "the shared secret is in the text")
    check("\x1b" not in text, "colour in a file")


def test_unfit_passwords():
    """What AUTH cannot carry is told before anything is connected."""
    for password, message in UNFIT:
        run = Client.run([*AS_USER, "-p", "1", "127.0.0.1"], stdin=password)
        expect(run, LOCAL, "password cannot be sent: .*" + message, b"")


def test_password_descriptor():
    """Any descriptor will do, and one that is not there is told."""
    run = Client.run(["-u", "u", "--password-fd", "77", "127.0.0.1"])
    expect(run, LOCAL, "password from descriptor 77: Bad file descriptor")
    server = FakeServer(P, {"packet_7": final(LOCKED)})
    there, here = os.pipe()
    os.write(here, PASSWORD + b"\n")
    os.close(here)
    try:
        process = Client.start(
            ["--allow-weak", "-u", USER.decode(), "--password-fd", str(there),
             "-p", str(server.port), "127.0.0.1", "HELP"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, pass_fds=[there])
        out, err = process.communicate(timeout=LIMIT)
    finally:
        os.close(there)
        server.stop()
    check((process.returncode, out, err) == (OK, shown(HELP), b""),
          "%d %r %r" % (process.returncode, out, err))
    check(server.commands == [RIGHT] + BOTH, repr(server.commands))


def test_password_without_terminal():
    """No terminal: the password is not taken from the commands' input."""
    server = FakeServer(P, {"packet_7": final(LOCKED)})
    try:
        process = Client.start(
            ["--allow-weak", "-u", "user", "-p", str(server.port),
             "127.0.0.1"], start_new_session=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(PASSWORD + b"\n", timeout=LIMIT)
    finally:
        server.stop()
    expect((process.returncode, out, err, 0), LOCAL,
           "cannot ask for the password.*\n.*--password-fd", b"")
    check(not server.commands, repr(server.commands))


def test_password_is_not_explained():
    """-v shows who, and neither the password nor what it is made of."""
    for options, stdin in ((AS_USER, b"geheimnis\nHELP\n"),
                           ((), b"AUTH user geheimnis\nHELP\n")):
        server = FakeServer(P, {"packet_7": final(LOCKED)})
        try:
            run = Client.run(["-v", "--allow-weak", *options, "-p", str(
                server.port), "127.0.0.1"], stdin=stdin)
        finally:
            server.stop()
        check(server.commands[0] == b"AUTH user geheimnis",
              repr(server.commands))
        text = run[2].decode()
        for wanted in ('"AUTH user ********"', "It wants AUTH before",
                       '"151 Authentication failed." CR LF'):
            check(wanted in text, "%r is not in %s" % (wanted, text))
        check("geheim" not in text + run[1].decode(), text)


class Terminal:
    """A pseudo-terminal with the client on it."""

    def __init__(self, args, env=None, only_errors=False):
        self.master, slave = pty.openpty()
        self.text = b""
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attributes)

        def own():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        if only_errors:
            streams.update(stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL)
        self.process = Client.start(args, env=env, preexec_fn=own, **streams)
        os.close(slave)

    def until(self, wanted, seconds=10.0):
        """Reads until the pattern is there."""
        end = time.monotonic() + seconds * SCALE
        while re.search(wanted, self.text) is None:
            left = end - time.monotonic()
            check(left > 0, "no %r in %r" % (wanted, self.text))
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    data = b""
                check(data, "ended without %r: %r" % (wanted, self.text))
                self.text += data

    def type(self, text):
        """Keys."""
        os.write(self.master, text)

    def finish(self):
        """The exit status."""
        end = time.monotonic() + 10 * SCALE
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self.master, 65536)
                except OSError:
                    pass
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            self.text += data
        os.close(self.master)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            raise AssertionError("it did not end: %r" % self.text)
        return self.process.returncode


def on_terminal(server, options=(), **how):
    """A terminal with the client connected to the server."""
    return Terminal(["--allow-weak", *options, "-p", str(server.port),
                     "127.0.0.1"], **how)


def test_terminal():
    """A prompt, commands typed, a failed one that does not count, QUIT."""
    server = FakeServer(P)
    try:
        t = on_terminal(server)
        t.until(b"flexmusic> $")
        t.type(b"HELPX\x7f\n")
        t.until(b"more information.\nflexmusic> $")
        t.type(b"PLAY\n")
        t.until(b"400 Invalid.*\nflexmusic> $")
        t.type(b"\n")
        t.until(b"flexmusic> [\r\n]+flexmusic> $")
        t.type(b"QUIT\n")
        code = t.finish()
    finally:
        server.stop()
    check(b"200 Goodbye.\n" in t.text, repr(t.text))
    check(code == OK, "status %d: %r" % (code, t.text))
    check(server.commands == [b"HELP", b"PLAY", b"QUIT"],
          repr(server.commands))


def test_terminal_password():
    """The password is asked for on the terminal, without an echo."""
    for password, status in ((PASSWORD, OK), (b"wrong", REFUSED),
                             (b"", LOCAL), (b"x" * 512, LOCAL)):
        server = FakeServer(P, {"packet_7": final(LOCKED)})
        try:
            t = on_terminal(server, ["-u", USER.decode()])
            t.until(b"Password of user at 127.0.0.1: $")
            t.type(password + b"\n")
            if status == OK:
                t.until(b"flexmusic> $")
                t.type(b"QUIT\n")
            code = t.finish()
        finally:
            server.stop()
        check(code == status, "status %d: %r" % (code, t.text))
        check(password == b"" or password not in t.text, repr(t.text))
        check(server.commands == ([b"AUTH " + USER + b" " + password, b"QUIT"]
                                  if status != LOCAL else []),
              repr(server.commands))


def test_terminal_end_of_file():
    """^D is QUIT."""
    server = FakeServer(P)
    try:
        t = on_terminal(server)
        t.until(b"flexmusic> $")
        t.type(b"\x04")
        code = t.finish()
    finally:
        server.stop()
    check(code == OK, "status %d: %r" % (code, t.text))
    check(server.commands == [b"QUIT"], repr(server.commands))


def close_when_told(server, command):
    """After the first answer the server closes when the test says so."""
    server.send(server.answer(command))
    server.end.wait(LIMIT)
    raise Close


def test_terminal_server_closes():
    """A close at the prompt is told at once."""
    server = FakeServer(P, {"answer": close_when_told})
    try:
        t = on_terminal(server)
        t.until(b"flexmusic> $")
        t.type(b"HELP\n")
        t.until(b"more information.\nflexmusic> $")
        begun = time.monotonic()
        server.end.set()
        t.until(b"flexmusic: the server closed the connection", 2.0)
        check(time.monotonic() - begun < 2 * SCALE, "not at once")
        code = t.finish()
    finally:
        server.stop()
    check(code == LOST, "status %d: %r" % (code, t.text))


def test_pipe_server_closes():
    """The same where the input is a pipe that stays silent."""
    server = FakeServer(P, {"answer": close_when_told})
    process = Client.start(
        ["--allow-weak", "-p", str(server.port), "127.0.0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.stdin.write(b"HELP\n")
        process.stdin.flush()
        got = b""
        while not got.endswith(b"information.\n"):
            got += os.read(process.stdout.fileno(), 4096)
        server.end.set()
        code = process.wait(10 * SCALE)
        err = process.stderr.read()
    finally:
        server.stop()
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
        process.wait()
    check(code == LOST and b"closed the connection" in err,
          "%d %r" % (code, err))


def test_unasked_while_idle():
    """A packet that comes while nothing was asked ends the session."""
    def unasked(server, command):
        server.send(server.answer(command))
        server.end.wait(LIMIT)
        server.send(server.seal(HELP))
        raise Stall
    server = FakeServer(P, {"answer": unasked})
    try:
        t = on_terminal(server)
        t.until(b"flexmusic> $")
        t.type(b"HELP\n")
        t.until(b"more information.\nflexmusic> $")
        server.end.set()
        t.until(b"nobody asked for")
        code = t.finish()
    finally:
        server.stop()
    check(code == LOST, "status %d: %r" % (code, t.text))


def test_colour():
    """-v has colours on a terminal, unless NO_COLOR or TERM say no."""
    for env, wanted in (({}, True), ({"NO_COLOR": "1"}, False),
                        ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)):
        server = FakeServer(P)
        try:
            t = on_terminal(server, ["-v"], env=env, only_errors=True)
            code = t.finish()
        finally:
            server.stop()
        check(code == OK, "status %d: %r" % (code, t.text))
        check(b"7 SERVER_KEX_FINAL" in t.text, repr(t.text))
        check((b"\x1b[" in t.text) == wanted, "%s: %r" % (env, t.text))


def test_protected():
    """No core dump, no tracer of the same user, and no descriptor but the
    three streams and the socket."""
    server = FakeServer(P)
    root = os.getuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        path, user = Client.path, {}
        home = os.path.join(folder, "home")
        os.mkdir(home)
        if root:  # of root's own processes /proc says nothing
            path = shutil.copy(path, folder)
            os.chmod(folder, 0o755)
            os.chown(home, OTHER_USER, OTHER_USER)
            user = {"user": OTHER_USER, "group": OTHER_USER,
                    "extra_groups": []}
        process = subprocess.Popen(
            [path, "--accept-new", "--allow-weak", "-p", str(server.port),
             "127.0.0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment({"HOME": home}), cwd="/", **user)
        try:
            check(server.idle.wait(LIMIT), "no session")
            proc = "/proc/%d/" % process.pid
            with open(proc + "limits") as f:
                limits = f.read()
            links = sorted(os.listdir(proc + "fd")) if root else None
            owner = os.stat(proc + "environ").st_uid
            process.stdin.close()
            code = process.wait(LIMIT)
        finally:
            server.stop()
            process.kill()
            process.wait()
            process.stdout.close()
    check(re.search(r"Max core file size +0 +0 ", limits), limits)
    check(links in (None, ["0", "1", "2", "3"]), "descriptors %s" % links)
    # what is not dumpable belongs to root in /proc
    check(owner == 0 or SANITIZED, "owner %d" % owner)
    check(code == OK, "status %d" % code)


def test_killed_by_nothing():
    """A closed pipe for the answers is an error, not a signal."""
    server = FakeServer(P)
    try:
        process = Client.start(
            ["--allow-weak", "-p", str(server.port), "127.0.0.1", "HELP"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        code = process.wait(LIMIT)
    finally:
        server.stop()
    check(code == LOCAL, "status %d: %r" % (code, err))
    check(b"Broken pipe" in err, repr(err))


# -- running them -----------------------------------------------------------


def all_tests():
    """Name and function of every test."""
    tests = [("%s: %s" % (table, row.name), row.run) for table, rows in (
        ("packet 1", PACKET_1), ("packet 3", PACKET_3),
        ("packet 5", PACKET_5), ("packet 7", PACKET_7),
        ("session", SESSION), ("forms", FORMS), ("lines", LINES),
        ("auth", AUTH))
        for row in rows]
    tests += [(name[5:], function) for name, function in
              sorted(globals().items()) if name.startswith("test_")]
    check(len({name for name, _ in tests}) == len(tests), "names repeat")
    return tests


def run_one(test):
    """None, or what went wrong."""
    name, function = test
    begun = time.monotonic()
    try:
        function()
        return name, None, time.monotonic() - begun
    except Exception:  # pylint: disable=broad-except
        return name, traceback.format_exc(limit=-2), time.monotonic() - begun


def main():
    """Runs what was asked for."""
    parser = argparse.ArgumentParser()
    top = os.path.dirname(fake_server.TESTS)
    parser.add_argument("--client", default=os.path.join(
        os.environ.get("BUILD") or os.path.join(top, "build"), "flexmusic"))
    parser.add_argument("--only", default="", metavar="WORD",
                        help="run the tests whose name holds it")
    parser.add_argument("--verbose", "-v", action="store_true")
    options = parser.parse_args()
    Client.path = os.path.abspath(options.client)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    tests = [t for t in all_tests() if options.only in t[0]]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for name, error, seconds in pool.map(run_one, tests):
            if error is not None:
                failed += 1
                print("FAILED %s\n%s" % (name, error), flush=True)
            elif options.verbose:
                print("passed %5.2f s  %s" % (seconds, name), flush=True)
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
