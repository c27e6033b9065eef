"""WAV files whose header leaves their length open, or states 0 before samples: the same samples behind a header that does.

Programs that write to a pipe, that are killed, or that go beyond 4 GiB cannot or do not say in the header how many
samples follow; libsndfile then reads none, or up to 2 or 4 GiB.
"""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING

from audiocodec.audio.container import HEAD_BYTES, LITTLE, UNKNOWN_BYTES, Samples, chunks, read_at, samples_of
from audiocodec.audio.whole import unexplained

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LIMIT = 0xFFFFFFFF - HEAD_BYTES  # bytes of samples that a RIFF header can state


def to_its_end(descriptor: int) -> Behind | None:
    """The WAV file with a header that states all that follows; None where it does already, or it is of another kind.

    Raises:
        AudioError: no end of chunks.
    """
    if read_at(descriptor, 4, 0) not in (b"RIFF", b"RF64"):
        return None
    size, found = os.fstat(descriptor).st_size, samples_of(descriptor)
    if found is None or not _is_open(descriptor, found):
        return None
    formats = (part for part in chunks(descriptor, size, 12, LITTLE) if part[0] == b"fmt " and part[1] < found.start)
    _, start, length = next(formats, (b"", 0, 0))
    data = read_at(descriptor, min(length, HEAD_BYTES), start)
    return Behind(_header(data, size - found.start), descriptor, found.start) if data else None


def _is_open(descriptor: int, samples: Samples) -> bool:
    """Whether the header leaves open how many samples follow, or states a number that stands for that."""
    if samples.length is None:
        return True
    return (samples.length == 0 or samples.length >= UNKNOWN_BYTES) and unexplained(
        descriptor, samples, padding=False
    ) > 0


def _header(form: bytes, length: int) -> bytes:
    """Of a WAV file with this chunk `fmt ` and so many bytes of samples: RIFF, or RF64 where that has no room."""
    chunk = b"fmt " + struct.pack("<I", len(form)) + form + bytes(len(form) % 2)
    if length <= _LIMIT:
        return (
            struct.pack("<4sI4s", b"RIFF", 12 + len(chunk) + length, b"WAVE")
            + chunk
            + struct.pack(LITTLE, b"data", length)
        )
    sizes = struct.pack("<4sI3QI", b"ds64", 28, 48 + len(chunk) + length, length, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + chunk + b"data\xff\xff\xff\xff"


class Behind(io.RawIOBase):
    """What follows `start` in an open file, behind other bytes; the file stays open."""

    def __init__(self, first: bytes, descriptor: int, start: int) -> None:
        """Stand at the first byte."""
        self._first, self._descriptor, self._start = first, descriptor, start
        self._size = len(first) + os.fstat(descriptor).st_size - start
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Where it stands."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` as far as the bytes go."""
        view = memoryview(buffer).cast("B")
        data = self._first[self._position : self._position + len(view)]
        while len(data) < len(view):
            place = self._start + self._position + len(data) - len(self._first)
            more = read_at(self._descriptor, len(view) - len(data), place)
            data += more
            if not more:
                break
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
