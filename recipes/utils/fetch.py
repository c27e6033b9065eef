#!/usr/bin/env python3
"""Download one file: fetch.py URL OUT MD5.

What has arrived of an interrupted download is kept as OUT.tmp and gone on from; OUT appears only when its MD5 is right.
A finished OUT is left alone. Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

CHUNK = 1 << 20
TRIES = 5
TIMEOUT_SECONDS = 60


class Failed(Exception):
    """The file cannot be had; the message says why."""


def fetch(url: str, out: Path, md5: str) -> None:
    """Download `url` to `out` unless it is there already.

    Raises:
        Failed: after five tries, or when what arrived is not what the MD5 says.
    """
    if out.exists():
        print(f"{out}: is there", file=sys.stderr)
        return
    part = out.with_name(f"{out.name}.tmp")
    for attempt in range(TRIES):
        try:
            _continue(url, part)
            break
        except urllib.error.HTTPError as error:
            raise Failed(f"{url}: {error}") from error
        except OSError as error:  # the connection; what has arrived stays
            if attempt == TRIES - 1:
                raise Failed(f"{url}: {error}; run again to go on from {_size(part)} bytes") from error
            time.sleep(min(2**attempt, 10))
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise Failed(f"{url}: MD5 is {found}, expected {md5}; the download was deleted")
    os.replace(part, out)


def _continue(url: str, part: Path) -> None:
    """Append what is missing; a server that cannot send from the middle sends all of it again."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what we have: it is complete, or not the same file; MD5 tells
            return
        raise
    with answer:
        resumed = answer.status == 206
        length = int(answer.headers.get("Content-Length") or 0)
        expected = length + (have if resumed else 0) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                _show(part.stem, file.tell(), expected)
    if expected is not None and _size(part) != expected:
        raise OSError(f"the connection ended at {_size(part)} of {expected} bytes")


def _show(name: str, done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f" of {total >> 20} MiB" if total else ""
        print(f"\r{name}: {done >> 20} MiB{share} ", end="" if done != total else "\n", file=sys.stderr)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def main(arguments: list[str]) -> int:
    """Run the command; the exit status."""
    if len(arguments) != 3:
        print("usage: fetch.py URL OUT MD5", file=sys.stderr)
        return 2
    url, out, md5 = arguments
    try:
        fetch(url, Path(out), md5)
    except (Failed, OSError) as error:
        print(f"fetch.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fetch.py: interrupted; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
