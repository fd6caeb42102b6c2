"""The fuzzers' first inputs."""

import base64
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import fmltp  # noqa: E402

VECTORS = os.path.join(HERE, "..", "vectors")


# What a configuration may have, and what it may not.
CONFIG_LINES = [
    "host = { \"127.0.0.1\", \"::1\", \"fe80::1%lo\" }", "host = 0.0.0.0",
    "host = { 127.0.0.1, 127.0.0.1 }", "host = \"::ffff:1.2.3.4\"",
    "host = 224.0.0.1", "host = \"ff02::1\"", "host = \"fe80::1\"",
    "host = \"fe80::1%nowhere\"", "host = localhost", "host = {}",
    "host = 255.255.255.255", "port = 65536", "port = 0", "port = 010",
    "key_size = 1024\nallow_weak_key_size = yes", "key_size = 1024",
    "allow_weak_key_size = maybe", "rotate_parameters = 0",
    "rotate_parameters = 59", "friendly_name = \"FlexMusic \\\"x\\\\\"",
    "friendly_name = Other", "friendly_name = \"FlexMusic,x\"",
    "friendly_name = \"FlexMusic " + "x" * 240 + "\"",
    "compatibility = \"1.2.3\"", "compatibility = \"1.2\"",
    "compatibility = \"1.2.65536\"", "auth_method = none",
    "auth_method = system", "auth_method = other", "auth_file = users",
    "auth_file = /a/", "auth_file = /" + "x" * 5000, "auth_file = \"/\x07\"",
    "auth_min_password_length = 512", "auth_min_password_length = 12",
    "penalty_exempt = { \"127.0.0.0/8\", \"2001:db8::/32\" }",
    "penalty_exempt = { \"127.0.0.0/8\", \"127.0.0.0/8\" }",
    "penalty_exempt = 1.2.3.4/8", "penalty_exempt = { " +
    ", ".join("10.0.0.%d" % n for n in range(34)) + " }",
    "host = { " + ", ".join("127.0.1.%d" % n for n in range(70)) + " }",
    "worker_user = root", "worker_user = 65534", "worker_user = nobody",
    "worker_user = keys\nkeys_user = keys", "keys_user = nobodyofthisname",
    "syslog_facility = local7", "syslog_facility = kern",
    "syslog_socket = /dev/log", "pid_file = none", "pid_file = /run/x.pid",
    "control_socket = none", "control_socket = /run/x", "control_group = 17",
    "control_group = nogroup", "control_group = nobodyofthisname",
    "control_socket = /" + "x" * 200, "state_dir = /", "state_dir = /x",
    "max_connections = 1\nmax_connections = 2", "unknown = 1", "= 1", "port",
    "port =", "port = 1 port = 2", "port = 1 # x\n// y\n/* z\n */ key_size=2048",
    "/* never closed", "friendly_name = \"never closed", "port = ${HOME}",
    "friendly_name = 'FlexMusic a'", "friendly_name = \"FlexMusic\\x41\\n\"",
    "runtime_overload_mitigation = yes", "youtube = no", "youtube = { 1, 2 }",
    "port = { 1, 2 }", "worker_user = 7\nkeys_user = 8\nauth_user = 9",
    "worker_user = 7\nkeys_user = 8\nauth_user = 9\nstate_dir = /other\n"
    "control_group = root\nauth_method = system\nkeys_processes = 3",
    "worker_user = games\nkeys_user = 8\nauth_user = 9\npid_file = none",
    "auth_method = none\nhost = { 192.0.2.1, 127.0.0.1, 192.0.2.2 }",
    "runtime_overload_mitigation = no\nruntime_overload_mitigation = 1",
    "section {\n}", "include(\"x\")", "port = \"8900\"", "port = -1",
    "host = { 1.2.3.4", "host = { , }", "host = 1.2.3.4, 1.2.3.5",
    "source_prefix_ipv4 = 33", "source_prefix_ipv6 = 48", "\xff\xfe = 1",
    "friendly_name = \"FlexMusic \u202e\"", "handshake_client_timeout = 0",
    "friendly_name = \"a\nb\"", "port = 1;", "host = 1.2.3.4 }",
]


def der(pem):
    lines = pem.strip().splitlines()
    return base64.b64decode("".join(lines[1:-1]))


def packets(*lines):
    """Each with its length before it."""
    return b"".join(len(line).to_bytes(2, "big") + line for line in lines)


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

    # Of the first case, which the fuzzer knows: each way to be wrong.
    p = int.from_bytes(der(cases[0]["server_kex_init"])[6:-3], "big")
    y = 2 ** 1000 + 1
    for how in ({"y": n} for n in (-1, 0, 1, 2, p - 2, p - 1, p, p + 1, y)):
        yield "dh_public", b"\1" + fmltp.spki(p, 2, **how)
    for how in ({"private_length": n} for n in (0, 1, 160, 1024, 1025, 65536,
                                                -1)):
        yield "dh_public", b"\1" + fmltp.spki(p, 2, y, **how)
    for other, g in ((p + 2, 2), (p, 3), (p, -2), (p >> 8, 2), (0, 0)):
        yield "dh_public", b"\1" + fmltp.spki(other, g, y)
    for how in ({"oid": fmltp.OID_X942}, {"unused": 1}, {"params": b""},
                {"params": b"\2\0\2\1\2"}, {"y_der": b"\2\0"},
                {"y_der": b"\2\2\0\1"}, {"y_der": b"\2\1\2x"},
                {"outer_length": b"\x80"}, {"outer_length": b"\x82\0\1"},
                {"outer_length": b"\x84\xff\xff\xff\xff"},
                {"params": fmltp.dh_parameters(p, 2) + b"x"}):
        yield "dh_public", b"\1" + fmltp.spki(p, 2, y, **how)
    for name in ("dh_public", "dh_params"):
        label = b"PUBLIC KEY" if name == "dh_public" else b"DH PARAMETERS"
        for columns in (1, 63, 65):
            yield name, b"\0" + fmltp.pem(label, bytes(60), columns)
        yield name, b"\0" + fmltp.pem(label, bytes(6300))
        yield name, b"\0" + fmltp.pem(label, bytes(2400))
        yield name, b"\1" + bytes(4000)
        for bits in (512, 1000, 1024, 1025, 8192):
            for rest in (23, 7, 1):
                prime = 2 ** (bits - 1) + 2 ** (bits - 2)
                prime += (rest - prime) % 24
                yield "dh_params", b"\1" + fmltp.dh_parameters(prime, 2)
                yield "dh_params", b"\1" + fmltp.dh_parameters(prime, 5)

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

    # Some text of each kind, and what to make it of.
    key = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=")
    proof = base64.urlsafe_b64encode(bytes(range(64))).rstrip(b"=")
    pem = b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(
        bytes.fromhex("302e020100300506032b657004220420") +
        bytes(range(32))) + b"\n-----END PRIVATE KEY-----\n"
    answer = b"200 ed25519 " + key + b" " + proof + b"\r\n"
    for text in (pem, pem[:-1], pem.replace(b"\n", b"\r\n"), pem + b"\n",
                 pem.replace(b"MC4C", b"MC4D"), pem[:60], pem[40:]):
        yield "identity", b"\0" + text
    for text in (answer, answer[:-1], answer.replace(b" ", b"  "),
                 answer.replace(proof, proof[:-1] + b"_"), answer + b"\n"):
        yield "identity", b"\2" + text
    for text in (key, key[:-1], key + b"=", key[:-1] + b"9", b""):
        yield "identity", b"\4" + text
    for at in range(0, 250, 9):
        yield "identity", b"\1" + bytes(range(32)) + bytes([at, 1])
        yield "identity", b"\3" + bytes(range(96)) + bytes([at, at % 3])
    for line in (b"FlexMusic Server,1.2.3", b"FlexMusic,0.0.0"):
        seen = packets(b"FlexMusic Server,1.2.3", line) + b"\0\3abcdefghi"
        yield "identity", b"\5" + seen * 2
        yield "identity", b"\5" + seen + seen[:-1] + b"x\0\1"
        yield "identity", b"\5" + seen + packets(line, line) + b"\0\4abcd"

    lines = [b"[server]:8900 ed25519 " + key, b"# a comment", b"",
             b"[::1]:1\ted25519  " + key + b"\r", b"[server]:8900 ed25519 " +
             key[1:] + b"A", b"[server]:8900 rsa " + key, b"server " + key,
             b"[server]:8900 ed25519 " + key + b" x", b"[server] ed25519 x",
             b"[" + b"x" * 300 + b"]:1 ed25519 " + key]
    for which in (*range(8), 31 * 8 + 3, 128, 192):
        for place in range(8):
            for first in range(len(lines)):
                if (which + place + first) % 3 != 0 and which != 128:
                    continue
                for host in (b"Server", b"", b"a b", b"[", b"x" * 256):
                    if host != b"Server" and (place or first):
                        continue
                    text = b"\n".join(lines[first:] + lines[:first][:3])
                    head = bytes([place, which]) + packets(host) + b"\42\304"
                    yield "client_known", head + packets(bytes(range(32))) + \
                        text + b"\n"
                    yield "client_known", head + packets(b"\7") + lines[first]

    for kind in range(4):
        for text in (b"", b"Zg==", b"Zm8=", b"Zm9v", b"Zh==", b"Zm9=", b"-_+/",
                     b"Zm9vYmFy" * 9):
            yield "base64url", bytes([kind]) + text

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

        for reply in range(8):
            head = bytes([start + 16 * (reply % 2) + 32 * (reply // 2), 0, 9])
            yield "session", head + b"\1\1" + packets(
                b"IDENT", b"IDENT", *auths[:1], b"IDENT")
            yield "session", bytes([start % 16 | 48 | reply % 4 * 64, 0, 9]) + \
                b"\2\1\0" + packets(b"IDENT x", b"IDENT\r\n", b"AUTH a b",
                                    b"HELP", b"IDENT", b"QUIT")

    # Messages: a rule, what is changed, what the change needs.
    for rule in range(6):
        for change in (b"\0", b"\1\0\7", b"\2\0\7", b"\4\1", b"\4\4",
                       b"\10\0\1", b"\10\0\377", b"\20", b"\40\0\4\0\1\7"):
            message = bytes([rule]) + change
            key, new, known = b"\3\0\0\0\7", b"\3\1\0\0", b"\3\2\0"
            channels = b"\3\4\0" * 3
            kex, ident = b"\0%c\0\0", b"\0%c\1\0"
            for given in (b"", key, new):
                yield "channel_keys", given + known + channels + kex % 0 + \
                    ident % 0 + kex % 1 + b"\0\1" + message + b"\0\0" + \
                    message + new + kex % 2 + b"\3\3\0" + ident % 2
            for field in (8, 16, 24, 140, 150, 160, 280):
                yield "channel_keys", key + known + channels + kex % 0 + \
                    b"\0\0\1\40" + field.to_bytes(2, "big") + b"\0\1" + \
                    message[:1] + ident % 0
            for kind in range(4):
                file = bytes([kind, 5, 20]) + b"\0\3\rab"
                yield "channel_keys", b"\3\0\0" + file + key + \
                    b"\3\1\0" + bytes([kind]) + b"\3\0\0" + file
            yield "channel_keys", b"\3" + message
            yield "channel_keys", known + channels + b"\3" + message + \
                b"\2\0\1\0\3\5\0"
            yield "channel_keys", known + channels + b"\1\2\0\0\0\0" + \
                b"\2\2\0\1" + message + b"\3\5\0\3\3\0"
            users, open_two = b"\7\0\0\0\0", b"\7\1\0\7\1\0"
            for kind in range(2):
                rest = b"" if kind else users
                channel = open_two.replace(b"\7\1", b"\7\0") if kind \
                    else open_two
                for after in (b"\3\0", b"\3\1\3\3", b"\5\0\0\5\0\0",
                              b"\5\0\3\0\0\0\0", b"\2\0"):
                    yield "channel_auth", bytes([kind]) + rest + channel + \
                        b"\0\0\0\0" + after * 4 + b"\1\1" + message + \
                        after + b"\7" + message
                    yield "channel_auth", bytes([kind]) + rest + channel + \
                        b"\0\0\0\40\0\60\0\1x" + after * 3 + \
                        b"\0\0\0\40\0\60\0\1x" + after * 3 + \
                        b"\1\1\0\0" + after
                    yield "channel_auth", bytes([kind]) + rest + channel + \
                        b"\0\0\0\0\6\377" + after * 2 + b"\1\1" + message
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

    for start in range(0, 256, 3):
        yield "client_packets", bytes([start]) + bytes(10)
        for place in range(8):
            for made in (b"\1\0\10\0\1x", b"\2\0\4200 ", b"\6\0\2\r\n",
                         b"\3\0\0\0\5\0\50\0\1x", b"\10\0\20", b"\20\4", b"\40",
                         b"\2\0\43100 FmLTP/1.0 Interpreter Ready.\r\n",
                         b"\2\0\16151 \303\274\033\r\nab\r\n",
                         b"\2\0\30FlexMusic Server,1.2.3\r\n"):
                if (start + place + made[0]) % 5 == 0:
                    yield "client_packets", bytes([start]) + bytes(place) + \
                        made

    # After packets 1, 3, 5 and 7: the identity, its answer, the user's.
    for identity in range(1, 256, 2):
        for said in range(4):
            if (identity // 2 + said) % 3 == 0:
                yield "client_packets", bytes([4, 0, 0, 0, 0, identity, 0, said])
        yield "client_packets", bytes([12, 0, 0, 0, 0, identity]) + \
            b"\1\0\40\0\1x" + bytes(4)
        if identity < 32:
            yield "client_packets", bytes([4]) + b"\1\0\24\0\0011" + \
                bytes([0, 0, 0, identity]) + bytes(4)

    # Answers: rows of each kind, as they are or changed, and their end.
    for start in (*range(0, 64, 5), 28, 29, 30, 31, 60, 61, 62, 63):
        for command in range(5):
            head = bytes([start, command])
            yield "ctl_answers", head + b"\4\0"
            for rows in (b"\0\1\1\1\2\2\3\3", b"\6\0\60\0\40" + b"\7" * 32,
                         b"\7\0\4\0\30\0\0\0\2" + bytes(16) + b"\1" * 4,
                         b"\10\0\100\0\40" + b"\303\274\033\"\\" * 8,
                         b"\10\0\4\0\1\2", b"\11\0\30\0\20::1/64 \377\033xx",
                         b"\373", b"\374", b"\375", b"\5", b"\361\0\4"):
                yield "ctl_answers", head + rows + b"\4\0"
                yield "ctl_answers", head + rows * 2 + b"\12\0\4\0\1\1\0\0"
                yield "ctl_answers", head + rows + b"\12\0\4\0\1\2\0\0"

    with open(os.path.join(HERE, "..", "..", "etc", "flexmusicd.conf"),
              encoding="utf-8") as f:
        example = f.read()
    keys = re.findall(r"^#?([a-z_0-9]+ *=.*)$", example, re.M)
    for name in ("config", "ctl_settings"):
        yield name, example.encode()
        yield name, "\n".join(keys).encode()
        for line in keys + CONFIG_LINES:
            yield name, line.encode() + b"\n"
            yield name, line.encode().replace(b"=", b"+=")

    # One field of a message to the master, changed, with a session there.
    begun = b"\0\2\0\0\4\0\0\0"
    for what in range(8, 16):
        for rule in range(5):
            for at in (4, 8, 12):
                for value in (1, 2, 3, 4, 5, 10):
                    here = bytes([what]) + (
                        bytes([7, 0]) if what == 15 else bytes([rule]))
                    field = b"\40\0" + bytes([at]) + b"\0\1" + bytes([value])
                    yield "channel_master", begun + (here + field) * 2

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
