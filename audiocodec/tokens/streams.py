"""Token bytes from and to files, pipes, stdin and stdout; a file appears whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audiocodec.errors import TokenFileError
from audiocodec.files import replacing
from audiocodec.tokens import layout
from audiocodec.tokens.compressed import read_table

_CHUNK_BYTES = 1 << 20


def read_source(source: Path | str | BinaryIO, whole: bool = True) -> tuple[bytes, str]:
    """Read one token file, no further than its header says and one byte more.

    Args:
        source: a path, `-` for stdin, or a binary file object.
        whole: refuse a file that is shorter than its header says before its codes are read.

    Returns:
        The bytes and the source's name for messages.

    Raises:
        TokenFileError: it cannot be read, or its header is wrong (the subclasses say how).
    """
    if not isinstance(source, (str, Path)):
        return _read_named(source, str(getattr(source, "name", "<stream>")), whole)
    if str(source) == "-":
        return _read_named(sys.stdin.buffer, "<stdin>", whole)
    try:
        with open(source, "rb") as stream:
            return _read_named(stream, str(source), whole)
    except (OSError, ValueError) as error:
        raise TokenFileError(f"{source}: cannot be read: {_cause(error)}") from error


def npy_bytes(array: np.ndarray) -> bytes:
    """A .npy file: numpy itself, writing to a full disk, says how many numbers went, and not why."""
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _read_named(stream: BinaryIO, name: str, whole: bool) -> tuple[bytes, str]:
    data = _read(stream, len(layout.MAGIC) + 1)
    if layout.version_of(data, name) == layout.COMPRESSED:
        table, data = read_table(stream, name, data)
        needed = table.file_bytes
    else:
        data += _read(stream, layout.FIXED_BYTES - len(data))
        data += _read(stream, 4 * layout.count_codebooks(data, name))
        needed = layout.parse_header(data, name).file_bytes
    size = _regular_size(stream) if whole else None
    if size is not None and size < needed:
        layout.check_size(needed, size, name)
    return data + _read(stream, needed + 1 - len(data)), name


def _read(stream: BinaryIO, count: int) -> bytes:
    """Up to `count` bytes; asked for in chunks, since `read(n)` may allocate `n` first."""
    chunks = []
    while count > 0 and (chunk := stream.read(min(count, _CHUNK_BYTES))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _regular_size(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def open_target(target: Path | str | BinaryIO) -> Iterator[BinaryIO]:
    """Open for writing; a file is written under a temporary name and renamed when all went well.

    Args:
        target: a path, `-` for stdout, or a binary file object (the last two are left open).

    Yields:
        The stream to write to.

    Raises:
        TokenFileError: it cannot be written; nothing new is left behind, an older file is untouched.
    """
    name = str(target) if isinstance(target, (str, Path)) else str(getattr(target, "name", "<stream>"))
    try:
        if not isinstance(target, (str, Path)):
            yield target
            target.flush()
        elif name == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
            with open(target, "wb") as stream:  # a pipe or a device must not be replaced by a file
                yield stream
        else:
            real = os.path.realpath(target)  # through a symbolic link, not over it
            with replacing(real) as temporary, open(temporary, "xb") as stream:
                yield stream
    except (OSError, ValueError) as error:
        raise TokenFileError(f"{name}: cannot be written: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
