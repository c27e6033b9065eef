"""Files and folders that appear whole or not at all, and small files that somebody else may have written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

SMALL = 1 << 28  # bytes of a table or a summary
_TEMPORARY = re.compile(r"\..*\.(?:([0-9a-f]{4})-)?([0-9]+)-[0-9a-f]+\.tmp", re.DOTALL)  # early ones name no machine
_FORGOTTEN = 86_400  # seconds without a change after which a temporary file of another machine is nobody's
_tidied: set[str] = set()  # folders that this process has looked through


def read_text(path: str | os.PathLike[str], limit: int = SMALL) -> str:
    """The UTF-8 text of a regular file of a limited size: no device, no pipe, nothing that fills the memory.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        ValueError: it is larger, no UTF-8, or its name cannot be one.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a named pipe would be waited for
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no regular file'}")
        data = file.read(min(status.st_size, limit) + 1)  # for so many bytes memory is taken
    if len(data) > limit:
        raise ValueError(f"has more than {limit:,} bytes")
    return data.decode()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file, whole or not at all. What has no UTF-8, as names of files may, is written as `\\udcff`."""
    with replacing(path) as temporary:
        temporary.write_bytes(text_bytes(text))


def text_bytes(text: str) -> bytes:
    """What `write_text` writes."""
    return text.encode(errors="backslashreplace")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name beside `path` to write to: moved there on leaving; on failure, Ctrl-C too, it goes and `path` is untouched."""
    target = Path(path)
    temporary = temporary_beside(target)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `replacing`, of a folder that must not be there yet; its parent is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        temporary.mkdir()
        yield temporary
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def temporary_beside(target: Path) -> Path:
    """A hidden name of this process's own in the folder of `target`, in which nothing of a killed process is left then."""
    if (folder := os.path.abspath(target.parent)) not in _tidied:
        _tidied.add(folder)
        remove_leftovers(folder)
    # Not the whole name: with what is added it could be longer than a name may be.
    return target.with_name(f".{target.name[:40]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and folders of processes that are gone."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and _is_left(entry.path, match[1] or _machine(), int(match[2])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _is_left(path: str, machine: str, process: int) -> bool:
    if machine == _machine():
        return not _is_alive(process)
    try:
        return time.time() - os.lstat(path).st_mtime > _FORGOTTEN
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


@cache
def _machine() -> str:
    """Stands for the machine, and on Linux for the container, in which a process number means one process."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode(errors="replace")).hexdigest()[:4]
