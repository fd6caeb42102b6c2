#!/usr/bin/python3
"""Turns the known answers of this folder (*.json) into a C header for the
unit tests, on standard output."""

import base64
import datetime
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))

TYPES = """\
/* Made by tests/vectors/generate.py; not to be edited. */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector_token {
	const char *plain;
	size_t plain_len;
	uint64_t when;
	uint8_t iv[16];
	const char *token;
};

struct vector_kex {
	const char *name;
	unsigned bits;
	bool leading_zero;
	const char *server_kex_init;
	const uint8_t *client_x;
	size_t client_x_len;
	const char *client_kex_id;
	const uint8_t *server_x;
	size_t server_x_len;
	const char *server_kex_id;
	const uint8_t *secret;
	size_t secret_len;
	uint8_t key[32];
	const char *key_base64;
	const struct vector_token *tokens;
	size_t token_count;
};

/* IDENT after the exchange of the case of vector_kex with the same index. */
struct vector_ident {
	const char *server;
	const char *client;
	uint8_t seed[32];
	const char *pem;
	uint8_t public[32];
	const char *key;
	const char *fingerprint;
	uint8_t transcript_sha256[32];
	size_t transcript_len;
	uint8_t signature[64];
	const char *answer;
};

/* A case of the Fernet specification; what it does not have is zero. */
struct vector_fernet {
	const char *desc;
	const char *token;
	uint64_t now;
	uint8_t iv[16];
	const char *src;
	uint8_t key[32];
};
"""


def load(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return json.load(f)


def string(text):
    """A C string literal, cut after each line end."""
    out = []
    for line in text.splitlines(keepends=True) or [""]:
        chars = []
        for byte in line.encode():
            char = chr(byte)
            if char in "\\\"":
                chars.append("\\" + char)
            elif 0x20 <= byte < 0x7f:
                chars.append(char)
            else:
                chars.append("\\%03o" % byte)
        out.append('"%s"' % "".join(chars))
    return "\n\t    ".join(out)


def array(data):
    """The inside of a C array of bytes."""
    rows = [data[i:i + 12] for i in range(0, len(data), 12)]
    return ",\n\t    ".join(
        ", ".join("0x%02x" % b for b in row) for row in rows)


def print_bytes(name, data):
    print("static const uint8_t %s[] = { %s };" % (name, array(data)))


def print_kex():
    cases = load("kex.json")["cases"]
    for i, case in enumerate(cases):
        print_bytes("vector_kex_client_x_%d" % i,
                    bytes.fromhex(case["client_private_x_hex"]))
        print_bytes("vector_kex_server_x_%d" % i,
                    bytes.fromhex(case["server_private_x_hex"]))
        print_bytes("vector_kex_secret_%d" % i,
                    bytes.fromhex(case["shared_secret_hex"]))
        print("static const struct vector_token vector_kex_tokens_%d[] = {" % i)
        for token in case["tokens"]:
            print("\t{ %s,\n\t    %d, %dU, { %s },\n\t    %s }," % (
                string(token["plaintext"]), len(token["plaintext"].encode()),
                token["time"], array(bytes.fromhex(token["iv"])),
                string(token["token"])))
        print("};")
    print("static const struct vector_kex vector_kex[] = {")
    for i, case in enumerate(cases):
        print("\t{ %s, %d, %s,\n\t    %s," % (
            string(case["name"]), case["bits"],
            "true" if case["leading_zero"] else "false",
            string(case["server_kex_init"])))
        print("\t    vector_kex_client_x_%d, sizeof(vector_kex_client_x_%d),"
              % (i, i))
        print("\t    %s," % string(case["client_kex_id"]))
        print("\t    vector_kex_server_x_%d, sizeof(vector_kex_server_x_%d),"
              % (i, i))
        print("\t    %s," % string(case["server_kex_id"]))
        print("\t    vector_kex_secret_%d, sizeof(vector_kex_secret_%d),"
              % (i, i))
        print("\t    { %s }," % array(bytes.fromhex(case["fernet_key_hex"])))
        print("\t    %s," % string(case["fernet_key_b64"]))
        print("\t    vector_kex_tokens_%d, %d }," % (i, len(case["tokens"])))
    print("};")


def print_ident():
    print("static const struct vector_ident vector_ident[] = {")
    for case in load("ident.json")["cases"]:
        print("\t{ %s, %s, { %s }, %s, { %s }, %s, %s, { %s }, %d, { %s }, %s }," % (
            string(case["server"]), string(case["client"]),
            array(bytes.fromhex(case["seed_hex"])), string(case["pem"]),
            array(bytes.fromhex(case["public_hex"])), string(case["key"]),
            string(case["fingerprint"]),
            array(bytes.fromhex(case["transcript_sha256"])),
            case["transcript_len"],
            array(bytes.fromhex(case["signature_hex"])),
            string(case["answer"])))
    print("};")


def print_fernet(name):
    print("static const struct vector_fernet vector_fernet_%s[] = {" % name)
    for case in load("fernet-%s.json" % name):
        now = datetime.datetime.fromisoformat(case["now"])
        print("\t{ %s,\n\t    %s,\n\t    %dU, { %s }, %s,\n\t    { %s } }," % (
            string(case.get("desc", name)), string(case["token"]),
            int(now.timestamp()), array(bytes(case.get("iv", [0]))),
            string(case["src"]) if "src" in case else "NULL",
            array(base64.urlsafe_b64decode(case["secret"]))))
    print("};")


def main():
    print(TYPES)
    print_kex()
    print_ident()
    for name in ("generate", "verify", "invalid"):
        print_fernet(name)
    print("\n#endif")


if __name__ == "__main__":
    main()
