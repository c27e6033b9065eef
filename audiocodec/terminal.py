"""Text that a terminal shows and does not obey: names of files and models may hold anything."""

from __future__ import annotations

import re

# C0 and C1 control characters but for tab and line break, and what turns the direction of text around.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with control characters written out: `\\x1b` for Escape."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
