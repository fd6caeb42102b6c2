#!/usr/bin/python3
"""make docs: writes the regions of docs/SECURITY.md that are made of the
source's tables."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "lib"))

import facts  # noqa: E402


def main():
    """Writes only what has changed."""
    with open(facts.DOCUMENT) as f:
        text = f.read()
    new = facts.rewritten(text)
    if new != text:
        with open(facts.DOCUMENT, "w") as f:
            f.write(new)
        print("docs/SECURITY.md is new")


if __name__ == "__main__":
    main()
