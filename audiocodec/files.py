"""Files that appear whole or not at all, and small files that somebody else may have written."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMALL = 1 << 28  # bytes of a table or a summary


def read_text(path: str | os.PathLike[str], limit: int = SMALL) -> str:
    """The UTF-8 text of a regular file of a limited size: no device, no pipe, nothing that fills the memory.

    Raises:
        OSError: it cannot be opened, or is no regular file.
        ValueError: it is larger, no UTF-8, or its name cannot be one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
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
    # Not the whole name: with what is added it could be longer than a name may be.
    temporary = target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
