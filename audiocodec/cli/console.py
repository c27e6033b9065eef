"""What the verbs say to people: on stderr what happens, on stdout results. Names of files may hold anything."""

from __future__ import annotations

import sys

from audiocodec.terminal import printable


def say(text: str) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr)


def show(text: str, end: str = "\n") -> None:
    """Text on stdout."""
    print(printable(text), end=end)
