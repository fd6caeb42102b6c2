"""A FmLTP server for tests of the client, on python3-cryptography alone.

It serves one connection, by the book (docs/FMLTP.md sections 1 to 5) or with
any packet replaced by one that the client has to refuse.  What the client
sends is judged too: `complaints` collects every way in which it was not the
one form that the protocol has.
"""

import base64
import os
import re
import socket
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import \
    Ed25519PrivateKey

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "lib"))

import fmltp  # noqa: E402

CRLF = b"\r\n"
GIVE_UP = 30.0  # a guard; nothing is expected to come near it
HELP = (b"200 Available commands:\r\n"
        b"HELP - shows the commands\r\n"
        b"QUIT - ends the session\r\n"
        b"Run HELP <command> for more information.\r\n")
HELP_QUIT = b"200 Help for QUIT:\r\nUsage: QUIT\r\nEnds the session.\r\n"
GOODBYE = b"200 Goodbye.\r\n"
INVALID = b"400 Invalid command or operative.\r\n"
READY = b"100 FmLTP/1.0 Interpreter Ready.\r\n"
LOCKED = READY + b"Authentication required.\r\n"
GRANTED = b"150 Authentication successful.\r\n"
REFUSED = b"151 Authentication failed.\r\n"
# All fake servers have this one, so that a port that comes again is no stranger.
IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
USER, PASSWORD = b"user", b" a  password "  # that AUTH takes


class Stall(Exception):
    """Says nothing more, but keeps the connection."""


class Close(Exception):
    """Closes the connection."""


def read_primes():
    """The 1024-bit safe primes of tests/data."""
    with open(os.path.join(TESTS, "data", "params-1024.txt")) as f:
        return [int(line, 16) for line in f]


def read_groups():
    """RFC 3526's primes by their bits."""
    with open(os.path.join(TESTS, "data", "params-rfc3526.txt")) as f:
        return {int(bits): int(p, 16) for bits, p in map(str.split, f)}


class FakeServer:
    """One listening socket, one connection, one thread.

    `replace` maps "packet_1", "packet_3", "packet_5", "packet_7" and "answer"
    to bytes, or to a function of the server (and, for an answer, of the
    command) that returns the bytes to send, or None for the right ones.
    `early`: packet 3 goes out with packet 1, so that the client's next two
    may come together; `unread`: packet 6 is taken unseen.
    """

    def __init__(self, p, replace=None, drip=False, early=False,
                 unread=False, host="127.0.0.1",
                 ident=lambda server: server.seal(server.proof())):
        self.p = p
        self.size = (p.bit_length() + 7) // 8
        self.replace = replace or {}
        self.drip = drip
        self.early = early
        self.unread = unread
        self.left = b""  # received, not yet looked at
        self.x = int.from_bytes(os.urandom(28), "big") | 1
        self.y = pow(2, self.x, p)
        self.banner = b"FlexMusic Server,0.0.0"
        self.line = None  # packet 2
        self.client_y = None
        self.key = None
        self.fernet = None
        self.sent = []  # every packet, in order
        self.received = []  # every token of the client, in order
        self.commands = []
        self.ident = ident  # what IDENT is answered with; None: `answer`
        self.asked = 0
        self.complaints = []
        self.crash = None  # an error of the server itself
        self.connection = None
        self.idle = threading.Event()  # a session has begun
        self.end = threading.Event()  # a stalled server may go
        self.listener = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.bind((host, 0))
        self.listener.listen(4)
        self.listener.settimeout(GIVE_UP)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        """Waits for the connection's end."""
        self.end.set()
        self.thread.join(GIVE_UP)
        self.listener.close()

    # bytes

    def send(self, data):
        """One packet in one write, or a byte a write."""
        self.sent.append(data)
        if not self.drip:
            self.connection.sendall(data)
            return
        for i in range(len(data)):
            self.connection.sendall(data[i:i + 1])
            if i % 16 == 0:
                time.sleep(0.001)

    def receive(self, whole):
        """What one recv returns; `whole` is the pattern that it has to be."""
        data = self.left or self.connection.recv(65536)
        self.left = b""
        if not data:
            raise EOFError
        m = re.match(whole, data, re.DOTALL)
        if self.early and m is not None:
            data, self.left = data[:m.end()], data[m.end():]
        elif m is None or m.end() != len(data):
            self.complaints.append("not a whole packet: %r" % data)
        return data

    def packet(self, name, right, *args):
        """Sends a packet: the right one, or what stands in its place."""
        data = self.replace.get(name)
        if callable(data):
            data = data(self, *args)
        self.send(right() if data is None else data)

    # packets

    def params(self, g=2, p=None, **fields):
        """The DER of packet 3."""
        return fmltp.dh_parameters(p or self.p, g, **fields)

    def packet_3(self):
        """PEM by hand: the package refuses to write some bad ones."""
        return fmltp.pem(b"DH PARAMETERS", self.params())

    def packet_5(self, y=None, p=None, g=2, **fields):
        """The public key for y."""
        return fmltp.pem(b"PUBLIC KEY", fmltp.spki(
            p or self.p, g, self.y if y is None else y, **fields))

    def take_packet_4(self, data):
        """Reads the client's key with the package; what it would write for
        the same numbers has to be what came."""
        key = serialization.load_pem_public_key(data)
        again = key.public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)
        if again != data:
            self.complaints.append("packet 4 has another form: %r" % data)
        numbers = key.public_numbers()
        group = numbers.parameter_numbers
        if (group.p, group.g) != (self.p, 2):
            self.complaints.append("packet 4 has other parameters")
        self.client_y = numbers.y
        shared = pow(self.client_y, self.x, self.p)
        self.key = fmltp.derive(shared.to_bytes(self.size, "big"))
        self.fernet = Fernet(base64.urlsafe_b64encode(self.key))

    def seal(self, text, **fields):
        """A token with its line end."""
        return fmltp.token(self.key, text, **fields) + CRLF

    def transcript(self):
        """What IDENT signs (docs/FMLTP.md section 7)."""
        def counted(data):
            return len(data).to_bytes(2, "big") + data
        return b"FmLTP/1.0 identity\0" + b"".join(counted(data) for data in (
            self.banner, self.line.strip(b"\r\n"),
            self.p.to_bytes(self.size, "big"),
            self.client_y.to_bytes(self.size, "big"),
            self.y.to_bytes(self.size, "big")))

    def proof(self, key=IDENTITY, transcript=None):
        """The answer to IDENT."""
        public = key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        signature = key.sign(transcript or self.transcript())
        return b"200 ed25519 %s %s\r\n" % tuple(
            base64.urlsafe_b64encode(data).rstrip(b"=")
            for data in (public, signature))

    def take_token(self):
        """A token of the client's and its text."""
        data = self.receive(rb"[A-Za-z0-9_-]+=*\r\n")
        self.received.append(data)
        return self.fernet.decrypt(data.strip())

    def answer(self, command):
        """The right answer to a command."""
        if command.startswith(b"AUTH "):
            right = b"AUTH " + USER + b" " + PASSWORD
            return self.seal(GRANTED if command == right else REFUSED)
        return self.seal({b"HELP": HELP, b"HELP QUIT": HELP_QUIT,
                          b"QUIT": GOODBYE}.get(command, INVALID))

    # the connection

    def run(self):
        """The thread."""
        try:
            self.connection, _ = self.listener.accept()
        except OSError:
            return
        self.connection.settimeout(GIVE_UP)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.serve()
        except Stall:
            self.end.wait(GIVE_UP)
        except (Close, EOFError, ConnectionError, socket.timeout):
            pass
        except (AssertionError, ValueError, TypeError, InvalidToken,
                InvalidSignature) as error:
            self.crash = error
        finally:
            self.connection.close()

    def serve(self):
        """The protocol."""
        self.packet("packet_1", lambda: self.banner + CRLF +
                    (self.packet_3() if self.early else b""))
        self.line = self.receive(rb"FlexMusic [^,]+,\d+\.\d+\.\d+\r\n")
        if not self.early:
            self.packet("packet_3", self.packet_3)
        self.take_packet_4(self.receive(
            rb"-----BEGIN.*-----END PUBLIC KEY-----\n"))
        self.packet("packet_5", self.packet_5)
        if self.unread:
            self.receive(rb"[A-Za-z0-9_-]+=*\r\n")
        else:
            challenge = self.take_token()
            if challenge != self.banner:
                self.complaints.append("packet 6 is %r" % challenge)
        self.packet("packet_7", lambda: self.seal(READY))
        self.idle.set()
        command = None
        while command != b"QUIT":
            command = self.take_token()
            if command == b"IDENT" and self.ident is not None:
                # A question of every client, and no command of its user.
                self.received.pop()
                self.asked += 1
                self.connection.sendall(self.ident(self))
                continue
            self.commands.append(command)
            self.packet("answer", lambda: self.answer(command), command)
        # the client closes first or last: both are fine
        self.connection.shutdown(socket.SHUT_WR)
