"""What libsndfile does not say about a file: whether bytes are missing at its end, whether its length is stated.

libsndfile reads a WAV, AIFF or Ogg file that was cut short as if it were simply shorter, and guesses the length
of an MP3 without a Xing header. Only the outer container is read here, never samples.
"""

from __future__ import annotations

import os
import struct

UNKNOWN_FRAMES = 1 << 62  # libsndfile reports more than this where a header leaves the length open
_UNKNOWN_BYTES = 0x7FFFF000  # writers to a pipe put this or more where they cannot know
_PAGE_HEADER = 27
_LARGEST_PAGE = _PAGE_HEADER + 255 + 255 * 255


def missing_bytes(descriptor: int) -> int:
    """How many bytes (at least) a RIFF, AIFF or Ogg file lacks at its end; 0 when complete or not one of these."""
    size = os.fstat(descriptor).st_size
    magic = os.pread(descriptor, 12, 0)
    if magic[:4] in (b"RIFF", b"RIFX", b"FORM"):
        return _missing_chunk_bytes(descriptor, size, "<" if magic[:4] == b"RIFF" else ">")
    if magic[:4] == b"OggS":
        return _missing_page_bytes(descriptor, size)
    return 0


def length_is_stated(path: str | os.PathLike[str], frames: int) -> bool:
    """Whether the number of samples libsndfile reports was written in the file and not guessed."""
    if frames >= UNKNOWN_FRAMES:
        return False
    with open(path, "rb") as f:
        head = f.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:10]:
                size = size << 7 | (byte & 0x7F)
            f.seek(10 + size)
        else:
            f.seek(0)
        frame = f.read(64)
    is_mpeg = len(frame) > 1 and frame[0] == 0xFF and frame[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return not is_mpeg or b"Xing" in frame or b"Info" in frame or b"VBRI" in frame


def _missing_chunk_bytes(descriptor: int, size: int, endian: str) -> int:
    """Walk the chunks to the samples and compare what they claim with what is there."""
    position = 12
    while position + 8 <= size:
        name, length = struct.unpack(endian + "4sI", os.pread(descriptor, 8, position))
        position += 8
        if name in (b"data", b"SSND"):
            return max(0, position + length - size) if length < _UNKNOWN_BYTES else 0
        position += length + length % 2
    return 0


def _missing_page_bytes(descriptor: int, size: int) -> int:
    """Compare the last Ogg page's segment table with what is there.

    A stream that stops between two pages is taken as complete: recordings of live streams end like that.
    """
    start = max(0, size - _LARGEST_PAGE)
    tail = os.pread(descriptor, size - start, start)
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + _PAGE_HEADER:
        return 1 if page >= 0 else 0
    segments = tail[page + _PAGE_HEADER - 1]
    table = tail[page + _PAGE_HEADER : page + _PAGE_HEADER + segments]
    return max(0, page + _PAGE_HEADER + segments + sum(table) - len(tail))
