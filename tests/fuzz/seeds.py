"""The fuzzers' first inputs."""

import base64
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors")


def der(pem):
    lines = pem.strip().splitlines()
    return base64.b64decode("".join(lines[1:-1]))


def seeds():
    """Pairs of a fuzzer's name and an input."""
    with open(os.path.join(VECTORS, "kex.json"), encoding="utf-8") as f:
        cases = json.load(f)["cases"]

    for line in ("FlexMusic Server,0.0.0\r\n", "FlexMusic,1.20.300\n",
                 "FlexMusic Python Client Library,0.0.0", "GET / HTTP/1.1\r\n",
                 "FlexMusic " + "x" * 118 + ",65535.65535.65535\r\n",
                 "FlexMusic \u266b,00.0.65536\n", "x" * 255):
        yield "version", line.encode()

    for case in cases:
        init = case["server_kex_init"]
        yield "dh_params", b"\0" + init.encode()
        yield "dh_params", b"\0" + init.replace("\n", "\r\n").encode()
        yield "dh_params", b"\1" + der(init)
        for name in ("client_kex_id", "server_kex_id"):
            packet = case[name]
            yield "dh_public", b"\0" + packet.encode()
            yield "dh_public", b"\0" + packet.replace("\n", "\r\n").encode()
            yield "dh_public", b"\1" + der(packet)
            # With a privateValueLength of 160: each length around it grows.
            raw = bytearray(der(packet))
            params = raw.index(b"\2\1\2\3") + 3
            raw[params:params] = b"\2\2\0\xa0"
            yield "dh_public", b"\1" + bytes(raw)

    tokens = [t["token"].encode() for t in cases[0]["tokens"]]
    segments = bytes(range(8))
    for end in (b"", b"\n", b"\r\n"):
        yield "stream", b"\0" + segments + end.join(tokens) + end
    for token in tokens:
        raw = base64.urlsafe_b64decode(token)
        yield "stream", b"\0" + segments + token
        yield "fernet", b"\0" + token
        yield "fernet", b"\1" + raw
        yield "fernet", b"\2" + raw[:-32]
    yield "stream", b"\1" + segments + bytes(
        b for n in range(0, 256, 5) for b in (n, n % 3, 0, 0))
    yield "stream", b"\1" + segments + bytes(
        b for n in range(0, 256, 24) for b in (n, n % 5, n, 65))

    some = b"\4\0\1\4\0\1\4\5\2\0\1\0\4\0\3\2\0\0\0\13\0\2\0\0"
    yield "replay", b"\0" + some
    yield "replay", b"\1" + some
    yield "replay", b"\0\1\377\0\4\0\1\1\377\0\4\0\2\2\0\0\4\17\3"
    yield "replay", b"\1\0\2\0" + bytes(
        b for n in range(40) for b in (4, 0, n)) + b"\2\0\0\0\1\0" * 4

    for packet in ("HELP\r\n", "HELP QUIT", "QUIT\n", "AUTH user pass word",
                   "FETCH 12 0 4096\r\n", "200 Goodbye.\r\n",
                   "SEARCH Gr\u00fc\u00df\u20ac", "HELP  x", "", "HELP \u202e",
                   "100 FmLTP/1.0 Interpreter Ready.\r\n"):
        yield "command", packet.encode()

    for text in ("192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32",
                 "::1", "::/0", "::ffff:192.0.2.0/120", "10.0.0.1/8",
                 "192.0.2.0/33", "fe80::/10", "1.2.3.4/032"):
        yield "networks", text.encode() + b"\0" + bytes(10) + b"\xff\xff" + \
            bytes([192, 0, 2, 7])
        yield "networks", text.encode() + b"\0\x20\x01\x0d\xb8"

    for kind in range(4):
        for text in (b"", b"Zg==", b"Zm8=", b"Zm9v", b"Zh==", b"Zm9=", b"-_+/",
                     b"Zm9vYmFy" * 9):
            yield "base64url", bytes([kind]) + text

    def packets(*lines):
        return b"".join(len(line).to_bytes(2, "big") + line for line in lines)
    commands = (b"HELP", b"HELP QUIT\r\n", b"HELP AUTH", b"HELP nothing",
                b"HELP HELP x", b"HELP " + b"x" * 61 + b"\xe2\x99\xab" * 9,
                b"AUTH", b"AUTH ada", b"200 x", b"\x07")
    auths = (b"AUTH ada secret of some length", b"AUTH " + b"x" * 33 + b" y",
             b"AUTH ada " + b"p" * 512, b"AUTH ada secret")
    for start in range(16):
        yield "session", bytes([start, 0, 9, 0]) + packets(*commands[:8])
        yield "session", bytes([start, 0, 9, 0]) + packets(*commands, b"QUIT")
        yield "session", bytes([start, 0, 9, 0]) + packets(b"QUIT", b"HELP")
        for reply in range(8):
            yield "session", bytes([start, 1, 255, 3, 1, 1, reply]) + packets(
                *auths, b"HELP", b"QUIT")
        yield "session", bytes([start, 1, 255, 2, 1, 240]) + packets(*auths)
        yield "session", bytes([start, 1, 255, 1, 248]) + packets(*auths)

    # Messages: a rule, what is changed, what the change needs.
    for rule in range(4):
        for change in (b"\0", b"\1\0\7", b"\2\0\7", b"\4\1", b"\4\4",
                       b"\10\0\1", b"\10\0\377", b"\20", b"\40\0\4\0\1\7"):
            message = bytes([rule]) + change
            known = b"\3\0\0"
            channels = b"\3\2\0" * 3
            yield "channel_keys", b"\3" + message
            yield "channel_keys", known + channels + b"\3" + message + \
                b"\2\0\1\0\3\3\0"
            yield "channel_keys", known + channels + b"\1\2\0\0\0\0" + \
                b"\2\2\0\1" + message + b"\3\3\0\3\1\0"
            users, open_two = b"\6\0\0\0\0", b"\6\1\0\6\1\0"
            for kind in range(2):
                rest = b"" if kind else users
                channel = open_two.replace(b"\6\1", b"\6\0") if kind \
                    else open_two
                for after in (b"\3\0", b"\3\1\3\3", b"\5\0\0\5\0\0",
                              b"\5\0\3\0\0\0\0", b"\2\0"):
                    yield "channel_auth", bytes([kind]) + rest + channel + \
                        b"\0\0\0\0" + after * 4 + b"\1\1" + message + \
                        after + b"\6" + message
                    yield "channel_auth", bytes([kind]) + rest + channel + \
                        b"\0\0\0\40\0\60\0\1x" + after * 3 + \
                        b"\0\0\0\40\0\60\0\1x" + after * 3 + \
                        b"\1\1\0\0" + after
            spawned, begun = b"\0\2\0\0", b"\4\0\0\0"
            for what in range(2, 16):
                here = b"\0" if 4 <= what <= 7 else \
                    bytes([rule + 2]) if what == 15 else b""
                step = bytes([what]) + here + message
                yield "channel_master", step * 2
                yield "channel_master", spawned + step * 2 + b"\7\0" + \
                    bytes([rule])
                yield "channel_master", spawned + begun + step + b"\0" + \
                    b"\11\1\0" + step + b"\4\0\2\0" + b"\17" + \
                    bytes([rule]) + b"\0\0"
            yield "channel_master", spawned + begun + b"".join(
                b"\17" + bytes([command + 16 * (rule % 2)]) + b"\0\0"
                for command in range(12))
            for kind in range(5):
                for choice in (0, 1):
                    yield "channel_helpers", bytes([kind, choice]) + (
                        bytes([choice]) if kind == 1 else b"") + message + \
                        b"\1" + message

    users = (b"ada:$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YE"
             b"m\n# users\r\n\nbob:$y$j75$F5Jx5fExrKuPp53xLKQ..1$f9xplorlluprJ5"
             b"5ANJjSZGWxrsDC6O.PUygDtlvsP7D\r\ncleo:$6$rounds=1000$selftest$Mz"
             b"Lu03yhbV86VYPRV8eLPp4GNVbptv0OZgjYlWT5md.dk7e10dKGVfDQn5twGjivf"
             b"btFdFnYWoXSqXurhYAmE0")
    yield "users", users
    for line in users.split(b"\n"):
        yield "users", line + b"\n" + line.swapcase() + b"\n"


def of(name):
    """The first inputs of one fuzzer."""
    return [data for fuzzer, data in seeds() if fuzzer == name]
