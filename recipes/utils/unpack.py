#!/usr/bin/env python3
"""Unpack one folder of a tar or tar.gz archive: unpack.py ARCHIVE FOLDER OUT puts FOLDER (`.`: all) of the archive at OUT.

An archive is not trusted: absolute names, names with `..`, links, devices and anything else that is not a plain file or
a folder make it refused as a whole, and so do sparse files, folders nested deeper than 50, and what unpacks to more than
MAX_RATIO times its size. OUT appears only when all of it is there; until then it is OUT.tmp. Modes, owners
and times of the archive are not kept. Every member is checked just before it is written: a large archive is read once.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sys
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

MAX_DEPTH = 50  # folders
MAX_HEADER = 1 << 16  # bytes of a long name or of a pax header
MAX_RATIO, MAX_SMALL = (
    20,
    100_000_000,
)  # audio hardly compresses: bytes that come out per byte, beside the first so many
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class Refused(Exception):
    """The archive is damaged or holds something it should not."""


class _Member(tarfile.TarInfo):
    """A member whose headers take no more memory than they should."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _HEADERS and not 0 <= found.size <= MAX_HEADER:
            raise Refused(f"holds a header of {found.size} bytes")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise Refused("holds a sparse file")
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # called by the library before it reads a list of any length
        raise Refused("holds a sparse file")


class _Counted(io.RawIOBase):
    """A stream that is refused after `limit` bytes."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        super().__init__()
        self._stream, self._limit = stream, limit

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._limit -= len(data)
        if self._limit < 0:
            raise Refused("unpacks to far more than its size")
        return data


def unpack(archive: Path, folder: str, out: Path) -> int:
    """Unpack `folder` of `archive` to `out`.

    Returns:
        The number of files; 0 when `out` was there already.

    Raises:
        Refused: an unsafe member, a damaged archive, or no such folder in it.
    """
    if out.exists():
        print(f"{out}: is there", file=sys.stderr)
        return 0
    temporary = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        count = _extract(archive, PurePosixPath(folder), temporary)
        if not count:
            raise Refused(f"{archive}: holds no files below {folder}")
        os.replace(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return count


def _extract(archive: Path, folder: PurePosixPath, target: Path) -> int:
    count = 0
    try:
        limit = MAX_SMALL + MAX_RATIO * archive.stat().st_size
        with (
            _stream(archive) as file,
            _Counted(file, limit) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar,
        ):
            for member in tar:
                name = _checked(archive, member)
                if not member.isfile() or folder not in name.parents:
                    continue
                path = target / name.relative_to(folder)
                path.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None  # it is a file
                with source, open(path, "xb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                count += 1
            while stream.read(1 << 20):  # to its end, where the checksum of a tar.gz is
                pass
    except Refused as error:
        raise error if str(archive) in str(error) else Refused(f"{archive}: refused, {error}") from None
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise Refused(f"{archive}: damaged: {error}") from error
    except FileExistsError as error:
        raise Refused(f"{archive}: holds {error.filename} twice") from error
    return count


def _stream(archive: Path) -> BinaryIO:
    """The tar in the archive; the content says whether it is compressed. Only the zeros at its end tell that a plain one is whole."""
    with open(archive, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return cast(BinaryIO, gzip.open(archive))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1024))
        if file.read().strip(b"\0"):
            raise Refused(f"{archive}: damaged: no tar.gz, and does not end as a tar does")
    return open(archive, "rb")


def _checked(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise Refused(f"{archive}: refused, {member.name!r} leads out of the archive")
    if "\0" in member.name or len(name.parts) > MAX_DEPTH:
        shown = ascii(member.name[:100])
        raise Refused(f"{archive}: refused, {shown} is nested deeper than {MAX_DEPTH} or holds a NUL byte")
    if member.issparse():
        raise Refused(f"{archive}: refused, {member.name!r} is a sparse file")
    if not (member.isfile() or member.isdir()):
        raise Refused(f"{archive}: refused, {member.name!r} is neither a file nor a folder")
    return name


def main(arguments: list[str]) -> int:
    """Run the command; the exit status."""
    if len(arguments) != 3:
        print("usage: unpack.py ARCHIVE FOLDER OUT", file=sys.stderr)
        return 2
    archive, folder, out = arguments
    try:
        count = unpack(Path(archive), folder, Path(out))
    except (Refused, OSError) as error:
        print(f"unpack.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if count:
        print(f"{out}: {count} files", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
