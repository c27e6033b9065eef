"""What libsndfile does not say about a file: whether bytes are missing at its end, whether its length is stated.

libsndfile reads a file that was cut short as if it were simply shorter (all formats but FLAC and MP3), and guesses the
length of an MP3 without a Xing header. Only the outer container is read here, never samples. Formats in which missing
bytes cannot be seen are none of `CHECKED`.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable

CHECKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")  # as libsndfile calls them
UNKNOWN_FRAMES = 1 << 62  # libsndfile reports more than this where a header leaves the length open
_UNKNOWN_BYTES = 0x7FFFF000  # writers to a pipe put this or more where they cannot know
_PAGE_HEADER = 27
_LARGEST_PAGE = _PAGE_HEADER + 255 + 255 * 255


def missing_bytes(descriptor: int) -> int:
    """How many bytes (at least) a file lacks at its end; 0 when complete, or of a format that reading finds cut."""
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, 1024, 0)
    if head[:4] == b"OggS":
        return _missing_page_bytes(descriptor, size)
    for magic, end_of_samples in _ENDS.items():
        if head.startswith(magic):
            end = end_of_samples(descriptor, size, head)
            return max(0, (end or 0) - size)
    return 0


def length_is_stated(descriptor: int, frames: int) -> bool:
    """Whether the number of samples libsndfile reports was written in the file and not guessed."""
    if frames >= UNKNOWN_FRAMES:
        return False
    head, start = os.pread(descriptor, 10, 0), 0
    if head[:3] == b"ID3" and len(head) == 10:
        for byte in head[6:10]:
            start = start << 7 | (byte & 0x7F)
        start += 10
    frame = os.pread(descriptor, 64, start)
    is_mpeg = len(frame) > 1 and frame[0] == 0xFF and frame[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return not is_mpeg or b"Xing" in frame or b"Info" in frame or b"VBRI" in frame


def _end_in_chunks(descriptor: int, size: int, head: bytes) -> int | None:
    """RIFF, RF64 (EBU 3306) and AIFF: walk the chunks to the samples; None where their length is left open."""
    endian = ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    position, long_length = 12, None
    while position + 8 <= size:
        name, length = struct.unpack(endian + "4sI", os.pread(descriptor, 8, position))
        position += 8
        if name == b"ds64" and length >= 16:
            (long_length,) = struct.unpack("<Q", os.pread(descriptor, 8, position + 8).ljust(8, b"\0"))
        if name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and long_length is not None:
                return position + int(long_length)
            return position + length if length < _UNKNOWN_BYTES else None
        position += length + length % 2
    return None


def _end_in_wave64(descriptor: int, size: int, head: bytes) -> int | None:
    """Sony Wave64: chunks named by 16 bytes, of lengths that count their header, at multiples of 8."""
    position = 40
    while position + 24 <= size:
        name, length = struct.unpack("<4s12xQ", os.pread(descriptor, 24, position))
        if name == b"data":
            return position + int(length) if length < UNKNOWN_FRAMES else None
        position += max(24, -(-length // 8) * 8)
    return None


def _end_in_caf(descriptor: int, size: int, head: bytes) -> int | None:
    """Apple's Core Audio Format: chunks of 64-bit lengths, -1 where the samples go on to the end of the file."""
    position = 8
    while position + 12 <= size:
        name, length = struct.unpack(">4sq", os.pread(descriptor, 12, position))
        position += 12
        if length < 0:
            return None
        if name == b"data":
            return position + int(length)
        position += length
    return None


def _end_in_au(descriptor: int, size: int, head: bytes) -> int | None:
    """Sun's .snd: where the samples start and how many bytes they take, in either byte order."""
    if len(head) < 12:
        return None
    start, length = struct.unpack((">" if head[:4] == b".snd" else "<") + "4x2I", head[:12])
    return int(start) + int(length) if length < _UNKNOWN_BYTES else None


def _end_in_sphere(descriptor: int, size: int, head: bytes) -> int | None:
    """NIST SPHERE: lines of text say the header's length, and of what how many."""
    fields = dict(re.findall(rb"^(\w+) -(?:i|s\d+) (\d+)$", head, re.MULTILINE))
    start = head[8:16].strip()
    counts = [fields.get(name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not start.isdigit() or None in counts:
        return None
    return int(start) + math.prod(int(count or 0) for count in counts)


_ENDS: dict[bytes, Callable[[int, int, bytes], int | None]] = {
    b"RIFF": _end_in_chunks,
    b"RIFX": _end_in_chunks,
    b"RF64": _end_in_chunks,
    b"FORM": _end_in_chunks,
    b"riff": _end_in_wave64,
    b"caff": _end_in_caf,
    b".snd": _end_in_au,
    b"dns.": _end_in_au,
    b"NIST": _end_in_sphere,
}


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
