"""AppArmor's rules about files, as apparmor_parser reads them: which access
does a profile allow?  For machines whose kernel has no AppArmor to ask.

And what strace saw of a program, as the accesses that AppArmor would check.
"""

import itertools
import os
import re
import subprocess

PARSER = "/sbin/apparmor_parser"
VARIABLE = re.compile(r"^(@\{\w+\})\s*\+?=\s*(.*)$")
RULE = re.compile(r"^(?:(?:audit|allow|owner|file)\s+)*"
                  r"(?P<path>[/@]\S*)\s+(?P<access>[a-zA-Z]+),$")


def parser(*arguments):
    """Runs the parser, without kernel and cache; the CompletedProcess."""
    return subprocess.run([PARSER, "-Q", "-K", *arguments], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)


def expression(glob):
    """A path's pattern as a regular expression."""
    out, depth, i = "", 0, 0
    glob = re.sub(r"/+", "/", glob)
    while i < len(glob):
        c = glob[i]
        if glob.startswith("**", i):
            # Behind a slash, not nothing.
            out += "[^/].*" if out.endswith("/") else ".*"
            i += 1
        elif c == "*":
            behind = out.endswith("/") and glob[i + 1:i + 2] in ("", "/")
            out += "[^/]+" if behind else "[^/]*"
        elif c == "?":
            out += "[^/]"
        elif c == "[":
            end = glob.index("]", i + 1)
            out += glob[i:end + 1]
            i = end
        elif c == "{":
            out += "(?:"
            depth += 1
        elif c == "}":
            out += ")"
            depth -= 1
        elif c == "," and depth:
            out += "|"
        else:
            out += re.escape(c)
        i += 1
    return re.compile(out + r"\Z", re.S)


class Profile:
    """A profile with all that it includes."""

    def __init__(self, path, *include):
        options = [word for folder in include for word in ("-I", folder)]
        done = parser(*options, "-p", path)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        self.variables = {}
        self.rules = []  # expression, letters
        self.lines = [line.split("#")[0].strip()
                      for line in done.stdout.splitlines()]
        for line in self.lines:
            found = VARIABLE.match(line)
            if found:
                self.variables.setdefault(found.group(1), []).extend(
                    word.strip('"') for word in found.group(2).split())
            found = RULE.match(line)
            if found:
                letters = set(re.sub(r"[pPcCuUi]*x", "x",
                                     found.group("access")))
                self.rules += [(expression(one), letters)
                               for one in self.expand(found.group("path"))]

    def expand(self, text):
        """A text with each value of its variables."""
        names = re.findall(r"@\{\w+\}", text)
        if not names:
            return [text]
        choices = [list(itertools.chain.from_iterable(
            self.expand(v) for v in self.variables.get(name, [])))
            for name in names]
        return [self.filled(text, names, values)
                for values in itertools.product(*choices)]

    @staticmethod
    def filled(text, names, values):
        """A text with these values."""
        for name, value in zip(names, values):
            text = text.replace(name, value, 1)
        return text

    def allows(self, path, access):
        """True where the rules together allow all of this."""
        got = set()
        for rule, letters in self.rules:
            if rule.match(path):
                got |= letters
        return set(access) <= got

    def words(self, kind):
        """The rules of another kind, as sets of words: network, capability."""
        return [frozenset(line.rstrip(",").split()[1:])
                for line in self.lines if line.startswith(kind + " ")]


CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+)"
                  r"(?:<(.*)>)?")
AT = r"(?:AT_FDCWD|\d+)<(?P<%s>[^>]*)>, "
ONE = re.compile(AT % "at" + r'"(?P<name>[^"]*)"')
TWO = re.compile(AT % "at" + r'"(?P<name>[^"]*)", ' + AT % "at2" +
                 r'"(?P<name2>[^"]*)"')
FD = re.compile(r"^\d+<(/[^>]*)>")
PLAIN = re.compile(r'^"([^"]*)"')
UNIX = re.compile(r'sun_path="(/[^"]+)"')


def opened(arguments):
    """What an open means."""
    if "O_PATH" in arguments:
        return ""
    access = {"O_RDONLY": "r", "O_WRONLY": "w", "O_RDWR": "rw"}[
        re.search(r"O_(?:RDONLY|WRONLY|RDWR)", arguments).group(0)]
    return access + ("w" if "O_CREAT" in arguments else "")


def accesses(line):
    """The (path, access) pairs of a line of `strace -ff -y`, where its call
    did what it should."""
    found = CALL.match(line)
    if found is None or found.group(3).startswith("-"):
        return []
    call, arguments, _, result = found.groups()
    if call in ("open", "openat", "creat"):
        directory = "/" if "O_DIRECTORY" in arguments else ""
        return [((result or "").rstrip("/") + directory, opened(arguments))]
    if call == "execve":
        return [(PLAIN.match(arguments).group(1), "x")]
    if call == "execveat":
        return [(FD.match(arguments).group(1), "x")]
    if call == "mmap" and "PROT_EXEC" in arguments:
        file = re.search(r", \d+<(/[^>]*)>", arguments)
        return [(file.group(1), "mr")] if file else []
    if call in ("mkdir", "rmdir", "unlink", "chmod"):
        end = "/" if call.endswith("dir") else ""
        return [(PLAIN.match(arguments).group(1) + end, "w")]
    if call in ("unlinkat", "mkdirat", "fchmodat"):
        one = ONE.match(arguments)
        return [(os.path.join(one["at"], one["name"]), "w")]
    if call in ("renameat", "renameat2", "linkat"):
        two = TWO.match(arguments)
        return [(os.path.join(two["at"], two["name"]), "rw"),
                (os.path.join(two["at2"], two["name2"]), "w")]
    if call in ("fchmod", "fchown", "ftruncate", "flock"):
        file = FD.match(arguments)
        return [(file.group(1), "k" if call == "flock" else "w")] \
            if file else []
    if call in ("bind", "connect", "sendto"):
        return [(path, "w") for path in UNIX.findall(arguments)]
    return []


def call_of(line):
    """The name of the call in a line of strace's, or None."""
    found = re.match(r"^(\w+)\(", line)
    return found.group(1) if found else None
