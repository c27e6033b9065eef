"""Local paths and fsspec addresses: list, stamp, open, read."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from audiocodec.errors import CorpusError
from audiocodec.tokenize.library import fsspec

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_STAMPS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[^/]*)?://")


def is_remote(address: str) -> bool:
    """Whether `address` is opened by fsspec: it has a protocol, `s3://...`."""
    return _REMOTE.match(address) is not None


def absolute(address: str) -> str:
    """The address that means the same in any working directory."""
    return address if is_remote(address) else os.path.abspath(address)


def open_file(address: str) -> BinaryIO:
    """Open for reading, as bytes.

    Raises:
        OSError: as `open` does.
        CorpusError: the package behind the address is not installed.
    """
    if not is_remote(address):
        return open(address, "rb")
    stream: BinaryIO = _file_system(address).open(address, "rb")
    return stream


def expand(patterns: Sequence[str]) -> list[str]:
    """Files that patterns mean: `a-{000..012}.tar`, `{a,b}.tar`, `*.tar`; a name that exists is taken as it is.

    Returns:
        Absolute addresses in the order of the patterns, those of a glob sorted; each once.

    Raises:
        CorpusError: a pattern that matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        names = [pattern] if not is_remote(pattern) and os.path.exists(pattern) else _braces(pattern)
        for name in names:
            matches = _glob(name)
            if not matches:
                raise CorpusError(f"{name}: no such file")
            found.update(dict.fromkeys(matches))
    return list(found)


def stamp(address: str) -> str:
    """Size and time of change (or the store's tag) of a file: another stamp means another content.

    Raises:
        OSError: no such file.
    """
    if not is_remote(address):
        status = os.stat(address)
        return f"{status.st_size} {status.st_mtime_ns}"
    return stamp_of(_file_system(address).info(address))


def stamp_of(info: dict[str, Any]) -> str:
    """The stamp in what a file system tells of a file."""
    tag = next((str(info[name]) for name in _STAMPS if info.get(name) is not None), "")
    return f"{info.get('size')} {tag}".strip()


def walk(root: str) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    """Folders below `root` in sorted order, one at a time; hidden names are left out, links are followed once.

    Yields:
        (relative path of the folder with `/`, "" for the root; its address; (name, stamp) of its files, sorted).
    """
    yield from _walk_remote(root) if is_remote(root) else _walk_local(root, "", set())


def join(root: str, name: str) -> str:
    """`name`, relative to `root` unless it is absolute or an address itself."""
    if is_remote(name) or os.path.isabs(name):
        return name
    return f"{root.rstrip('/')}/{name}" if is_remote(root) else os.path.join(root, name)


def parent(address: str) -> str:
    """The folder of a file."""
    return address.rsplit("/", 1)[0] if is_remote(address) else os.path.dirname(address)


def _walk_local(root: str, inside: str, seen: set[str]) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    folder = os.path.join(root, inside)
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        shown = sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda e: os.fsencode(e.name)
        )
    files = [(entry.name, _entry_stamp(entry)) for entry in shown if entry.is_file() or not os.path.exists(entry.path)]
    folders = [entry.name for entry in shown if entry.is_dir()]
    yield inside, folders, files
    for name in folders:
        yield from _walk_local(root, f"{inside}/{name}" if inside else name, seen)


def _entry_stamp(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError:  # a link to nothing: the worker reports it
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _walk_remote(root: str) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    system = _file_system(root)
    top = system._strip_protocol(root).rstrip("/")
    pending = [""]
    while pending:
        inside = pending.pop()
        listed = system.ls(f"{top}/{inside}" if inside else top, detail=True)
        named = sorted((entry["name"].rstrip("/").rsplit("/", 1)[-1], entry) for entry in listed if entry["name"])
        shown = [(name, entry) for name, entry in named if not name.startswith(".")]
        folders = [name for name, entry in shown if entry["type"] == "directory"]
        yield inside, folders, [(name, stamp_of(entry)) for name, entry in shown if entry["type"] == "file"]
        pending += [f"{inside}/{name}" if inside else name for name in reversed(folders)]


def _glob(name: str) -> list[str]:
    if is_remote(name):
        system = _file_system(name)
        found = system.glob(name) if any(c in name for c in "*?[") else [name] * system.exists(name)
        return sorted(str(system.unstrip_protocol(path)) for path in found)
    if os.path.exists(name):
        return [os.path.abspath(name)]
    return sorted((os.path.abspath(path) for path in glob.glob(name, recursive=True)), key=os.fsencode)


def _braces(pattern: str) -> list[str]:
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    numbers = _RANGE.fullmatch(match[1])
    if numbers is None:
        choices = match[1].split(",")
    else:
        first, last = int(numbers[1]), int(numbers[2])
        choices = [str(n).zfill(len(numbers[1])) for n in range(first, last + 1)]
    return [name for choice in choices for name in _braces(pattern[: match.start()] + choice + pattern[match.end() :])]


def _file_system(address: str) -> Any:
    try:
        return fsspec().core.url_to_fs(address)[0]
    except (ImportError, ValueError) as error:
        raise CorpusError(f"{address}: cannot be opened: {error}") from None
