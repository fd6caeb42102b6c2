"""An FmLTP client for tests, on python3-cryptography alone.

Nothing of the server's own code is used here, so that a mistake which server
and bundled client share cannot hide.  The ordinary path is what a client
author writes: dh, HKDF and Fernet of the cryptography package, one send per
packet, one recv per answer.  Beside it stand encoders that do exactly what
they are told, for the packets that a server has to refuse.

The section numbers are those of docs/FMLTP.md.
"""

import base64
import hashlib
import os
import re
import socket
import struct
import time

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import dh
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# A guard against waiting for ever; nothing is expected to come near it.
DEADLINE = 60.0 * float(os.environ.get("FLEXMUSIC_TIME_SCALE", "1"))

CLIENT_NAME = b"FlexMusic Python Test"
CLIENT_LINE = CLIENT_NAME + b",0.0.0"
CRLF = b"\r\n"

OID_DH = bytes.fromhex("06092a864886f70d010301")  # dhKeyAgreement, PKCS#3
OID_X942 = bytes.fromhex("06072a8648ce3e0201")  # dhpublicnumber, X9.42


class Closed(Exception):
    """The server ended the connection where a packet was due."""


# -- DER and PEM, as told ------------------------------------------------


def der(tag, body, length=None):
    """One DER element; `length` replaces the encoding of its length."""
    if length is None:
        n = len(body)
        if n < 128:
            length = bytes([n])
        else:
            octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
            length = bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + length + body


def der_integer(n):
    """INTEGER, shortest form, negative numbers included."""
    length = 1
    while not -(1 << (8 * length - 1)) <= n < 1 << (8 * length - 1):
        length += 1
    return der(0x02, n.to_bytes(length, "big", signed=True))


def dh_parameters(p, g, private_length=None, sequence_length=None):
    """DHParameter of PKCS#3."""
    body = der_integer(p) + der_integer(g)
    if private_length is not None:
        body += der_integer(private_length)
    return der(0x30, body, sequence_length)


def spki(p, g, y, private_length=None, oid=OID_DH, y_der=None, unused=0,
         outer_length=None, params=None):
    """SubjectPublicKeyInfo of a DH key; everything can be made wrong."""
    if params is None:
        params = dh_parameters(p, g, private_length)
    number = der_integer(y) if y_der is None else y_der
    key = der(0x03, bytes([unused]) + number)
    return der(0x30, der(0x30, oid + params) + key, outer_length)


def pem(label, body, columns=64, end=b"\n"):
    """A PEM block of the DER `body`."""
    text = base64.b64encode(body)
    lines = [text[i:i + columns] for i in range(0, len(text), columns)]
    return b"".join(line + end for line in
                    [b"-----BEGIN " + label + b"-----"] + lines +
                    [b"-----END " + label + b"-----"])


def fingerprint(params_pem):
    """SHA-256 of the parameters' DER, in hexadecimal."""
    body = b"".join(params_pem.split(b"\n")[1:-2])
    return hashlib.sha256(base64.b64decode(body, validate=True)).hexdigest()


# -- Fernet, as told -----------------------------------------------------


def raw_token(key, plain, when=None, iv=None, version=0x80, padded=None):
    """The bytes of a token before base64; `padded` replaces the plaintext
    with its padding."""
    if when is None:
        when = int(time.time())
    if iv is None:
        iv = os.urandom(16)
    if padded is None:
        n = 16 - len(plain) % 16
        padded = plain + bytes([n]) * n
    encryptor = Cipher(algorithms.AES(key[16:]), modes.CBC(iv)).encryptor()
    body = (bytes([version]) + struct.pack(">Q", when) + iv +
            encryptor.update(padded) + encryptor.finalize())
    return body + mac(key, body)


def mac(key, body):
    """The MAC of a token's bytes."""
    h = hmac.HMAC(key[:16], hashes.SHA256())
    h.update(body)
    return h.finalize()


def token(key, plain, **fields):
    """A Fernet token with chosen time, iv, version or padding."""
    return base64.urlsafe_b64encode(raw_token(key, plain, **fields))


def token_time(text):
    """The time that a token carries."""
    return struct.unpack(">Q", base64.urlsafe_b64decode(text.strip())[1:9])[0]


# -- the exchange --------------------------------------------------------


def derive(shared):
    """The session's 32 bytes from the shared secret at full length."""
    return HKDF(hashes.SHA256(), 32, None, b"").derive(shared)


def new_source():
    """An address of our own on loopback: the server's log and limits treat
    addresses one by one, and tests should not share one by accident."""
    a, b, c = os.urandom(3)
    return "127.%d.%d.%d" % (1 + a % 250, b, 1 + c % 250)


def format_peer(name):
    """An address as the log writes it."""
    if ":" in name[0]:
        return "[%s]:%d" % name[:2]
    return "%s:%d" % name[:2]


class Client:
    """One connection.  Each method is a packet; handshake() does all."""

    def __init__(self, address, source=None, deadline=DEADLINE, receive=None):
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(deadline)
        if receive is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        if source is None and family == socket.AF_INET:
            source = new_source()
        try:
            if source is not None:
                self.sock.bind((source, 0))
            self.sock.connect((host, port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = format_peer(self.sock.getsockname())
        self.banner = None  # packet 1 without its line end
        self.version = None  # packet 2, likewise
        self.params_pem = None  # packet 3
        self.params = None
        self.private = None
        self.server_y = None
        self.shared = None
        self.key = None
        self.fernet = None
        self.status = None  # of packet 7
        self.final = None  # its text
        self.lockdown = None  # it asks for authentication
        self.last = None  # the server's last packet, as it came

    # bytes

    def send(self, data, split=None, pause=0.001):
        """Sends `data`; in two segments where `split` is a place in it, in
        as many as there are places where it is a list."""
        places = [] if split is None else split
        if isinstance(places, int):
            places = [places]
        start = 0
        for place in places:
            self.sock.sendall(data[start:place])
            start = place
            time.sleep(pause)
        self.sock.sendall(data[start:])

    def receive(self, size=2048):
        """What one recv() returns."""
        data = self.sock.recv(size)
        if not data:
            raise Closed("connection closed where a packet was due")
        self.last = data
        return data

    def rest(self):
        """All that comes until the server closes."""
        parts = []
        while True:
            data = self.sock.recv(65536)
            if not data:
                return b"".join(parts)
            parts.append(data)

    def close(self):
        """Closes in the ordinary way."""
        self.sock.close()

    def reset(self):
        """Closes with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    # packets

    def read_banner(self):
        """Packet 1."""
        data = self.receive()
        if not data.endswith(CRLF):
            raise AssertionError("packet 1 has no line end: %r" % data)
        self.banner = data[:-2]
        return self.banner

    def send_version(self, line=CLIENT_LINE + CRLF, **how):
        """Packet 2."""
        self.version = line.rstrip(CRLF)
        self.send(line, **how)

    def read_params(self):
        """Packet 3."""
        data = self.receive()
        if not (data.startswith(b"-----BEGIN DH PARAMETERS-----\n") and
                data.endswith(b"\n-----END DH PARAMETERS-----\n")):
            raise AssertionError("packet 3 is not whole: %r" % data)
        self.params_pem = data
        self.params = serialization.load_pem_parameters(data)
        return self.params

    def make_key(self):
        """A key pair; returns packet 4 as the package writes it."""
        self.private = self.params.generate_private_key()
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo)

    def numbers(self):
        """p, g and y of the own key."""
        n = self.private.public_key().public_numbers()
        return n.parameter_numbers.p, n.parameter_numbers.g, n.y

    def send_key(self, data=None, **how):
        """Packet 4."""
        if data is None:
            data = self.make_key()
        self.send(data, **how)

    def read_key(self):
        """Packet 5; makes the session's key."""
        data = self.receive()
        if not data.endswith(b"-----END PUBLIC KEY-----\n"):
            raise AssertionError("packet 5 is not whole: %r" % data)
        self.take_key(data)

    def take_key(self, data):
        """Makes the session's key from packet 5."""
        public = serialization.load_pem_public_key(data)
        if not isinstance(public, dh.DHPublicKey):
            raise AssertionError("packet 5 is no DH key")
        self.server_y = public.public_numbers().y
        self.shared = self.private.exchange(public)
        if len(self.shared) * 8 != self.private.key_size:
            raise AssertionError("shared secret of %d bytes" %
                                 len(self.shared))
        self.key = derive(self.shared)
        self.fernet = Fernet(base64.urlsafe_b64encode(self.key))

    def seal(self, text, **fields):
        """A token: the package's own, unless a field is given."""
        if isinstance(text, str):
            text = text.encode()
        if fields:
            return token(self.key, text, **fields)
        return self.fernet.encrypt(text)

    def send_challenge(self, data=None, end=CRLF, **how):
        """Packet 6."""
        if data is None:
            data = self.seal(self.banner) + end
        self.send(data, **how)

    def open(self, data):
        """The text of one of the server's tokens, checked for its form."""
        if not data.endswith(CRLF):
            raise AssertionError("a token without a line end: %r" % data[-8:])
        text = self.fernet.decrypt(data[:-2])
        if not re.match(rb"[0-9]{3} ", text):
            raise AssertionError("no status code: %r" % text)
        return text

    def read_final(self):
        """Packet 7."""
        self.final = self.open(self.receive())
        m = re.fullmatch(rb"([0-9]{3}) FmLTP/1\.0 Interpreter Ready\.\r\n"
                         rb"(Authentication required\.\r\n)?", self.final)
        if m is None:
            raise AssertionError("packet 7 is %r" % self.final)
        self.status = int(m.group(1))
        self.lockdown = m.group(2) is not None
        return self.status

    def until(self, stage, line=CLIENT_LINE + CRLF):
        """Goes through the handshake up to where packet 2 (vex), 4 (kex), 6
        (chal) or the first command (session) is the next to send."""
        self.read_banner()
        if stage == "vex":
            return self
        self.send_version(line)
        self.read_params()
        if stage == "kex":
            return self
        self.send_key()
        self.read_key()
        if stage == "chal":
            return self
        self.send_challenge()
        self.read_final()
        return self

    def resume(self, stage, line=CLIENT_LINE + CRLF):
        """Goes on from a stage that until() stopped at, to the end."""
        if stage == "vex":
            self.send_version(line)
            self.read_params()
        if stage in ("vex", "kex"):
            self.send_key()
            self.read_key()
        if stage != "session":
            self.send_challenge()
            self.read_final()
        return self

    def handshake(self, line=CLIENT_LINE + CRLF):
        """Packets 1 to 7."""
        return self.until("session", line)

    # the session

    def send_command(self, text, end=CRLF, **how):
        """A command's packet."""
        self.send(self.seal(text) + end, **how)

    def read_answer(self):
        """An answer, which has to fit one recv(1024)."""
        return self.open(self.receive(1024))

    def read_answers(self, count):
        """`count` answers, which may come in one segment."""
        data = b""
        while data.count(CRLF) < count:
            data += self.receive(65536)
        parts = data.split(CRLF)
        if len(parts) != count + 1 or parts[-1]:
            raise AssertionError("more than %d answers: %r" % (count, data))
        return [self.open(part + CRLF) for part in parts[:-1]]

    def command(self, text):
        """One command, its answer."""
        self.send_command(text)
        return self.read_answer()

    def auth(self, user, password):
        """AUTH, its answer."""
        return self.command(b" ".join(
            word.encode() if isinstance(word, str) else word
            for word in ("AUTH", user, password)))

    def quit(self):
        """QUIT, up to the server's close."""
        answer = self.command("QUIT")
        if answer != b"200 Goodbye.\r\n":
            raise AssertionError("QUIT was answered %r" % answer)
        trailing = self.rest()
        if trailing:
            raise AssertionError("bytes after QUIT: %r" % trailing)
        self.close()
