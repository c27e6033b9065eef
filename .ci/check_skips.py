"""Compare the skipped tests of a JUnit report with a list of allowed ones: check_skips.py REPORT.xml ALLOWED.txt.

Exits 1 when a test was skipped that no line of the list allows, or when no test ran at all.
"""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree


def skipped_tests(report: Path) -> tuple[int, list[tuple[str, str]]]:
    """The number of tests that ran, and (name, reason) of those that were skipped; expected failures count as run."""
    ran, skipped = 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        skip = case.find("skipped")
        if skip is None or skip.get("type") == "pytest.xfail":
            ran += 1
        else:
            skipped.append((f"{case.get('classname')}::{case.get('name')}", skip.get("message") or ""))
    return ran, skipped


def allowed_patterns(path: Path) -> list[str]:
    """The patterns of the list: the first word of every line that is not empty or a comment."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def main(report: str, allowed: str) -> int:
    """Print the skips that are not allowed; the exit status."""
    ran, skipped = skipped_tests(Path(report))
    patterns = allowed_patterns(Path(allowed))
    unlisted = [(name, reason) for name, reason in skipped if not any(fnmatchcase(name, p) for p in patterns)]
    for name, reason in unlisted:
        print(f"skipped without leave: {name} ({reason})")
    if not ran:
        print(f"{report}: no test ran")
    return 1 if unlisted or not ran else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
