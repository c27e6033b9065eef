"""Tars that somebody else may have made, front to back: no member, and no header of one, takes more memory than it may.

`recipes/utils/unpack.py` has limits of its own: it unpacks corpora before anything is installed.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from typing import Any

MAX_MEMBER = 1 << 30  # bytes
_MAX_HEADER = 1 << 20  # of a long name, or of a pax header
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
# What the library raises for damage: numbers in headers are text, and gzip has errors of its own.
ERRORS = (OSError, EOFError, ValueError, OverflowError, tarfile.TarError, zlib.error)


class _Member(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _HEADERS and not 0 <= found.size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {found.size} bytes")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # called by the library before it reads a list of any length
        raise tarfile.ReadError("a sparse file")


def members(raw: Any) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a stream, plain or compressed, in order; `content` gives their bytes.

    Raises:
        One of `ERRORS`.
    """
    with tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Member) as tar:
        for info in tar:
            if info.issparse() or info.size > MAX_MEMBER:
                raise tarfile.ReadError(f"{info.name[:200]!r}: sparse, or larger than {MAX_MEMBER:,} bytes")
            yield tar, info


def content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """The bytes of a member.

    Raises:
        One of `ERRORS`.
    """
    stream = tar.extractfile(info)
    data = stream.read() if stream is not None else b""
    if len(data) != info.size:
        raise tarfile.ReadError(f"{info.name}: {len(data)} of {info.size} bytes")
    return data
