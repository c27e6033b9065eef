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
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audiocodec.errors import AudioError

CHECKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")  # as libsndfile calls them
UNKNOWN_FRAMES = 1 << 62  # libsndfile reports more than this where a header leaves the length open
UNKNOWN_BYTES = 0x7FFFF000  # writers to a pipe put this or more where they cannot know
HEAD_BYTES = 1024  # of a file, that tell its kind
_MOST_CHUNKS = 4096  # real files have a few dozen; a header of zeros would be walked 8 bytes at a time
_PAGE_HEADER = 27
_LARGEST_PAGE = _PAGE_HEADER + 255 + 255 * 255


@dataclass(frozen=True)
class Samples:
    """Where the bytes of samples lie in a container: from `start`, `length` many; None: its header leaves that open."""

    start: int
    length: int | None


def read_at(descriptor: int, count: int, position: int) -> bytes:
    """Bytes of an open file from `position`; fewer at its end."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, position)
    os.lseek(descriptor, position, os.SEEK_SET)  # Windows; whoever reads by position itself seeks first
    return os.read(descriptor, count)


def missing_bytes(descriptor: int) -> int:
    """How many bytes (at least) a file lacks at its end; 0 when complete, or of a format that reading finds cut.

    Raises:
        AudioError: no end of chunks.
    """
    size = os.fstat(descriptor).st_size
    if read_at(descriptor, 4, 0) == b"OggS":
        return _missing_page_bytes(descriptor, size)
    found = samples_of(descriptor)
    return 0 if found is None or found.length is None else max(0, found.start + found.length - size)


def samples_of(descriptor: int) -> Samples | None:
    """Where a file says that its samples are; None where it does not, or is of another kind.

    Raises:
        AudioError: no end of chunks.
    """
    head = read_at(descriptor, HEAD_BYTES, 0)
    for magic, samples in _SAMPLES.items():
        if head.startswith(magic):
            return samples(descriptor, os.fstat(descriptor).st_size, head)
    return None


def length_is_stated(descriptor: int, frames: int) -> bool:
    """Whether the number of samples libsndfile reports was written in the file and not guessed."""
    if frames >= UNKNOWN_FRAMES:
        return False
    frame = read_at(descriptor, 64, after_id3(descriptor, 0))
    is_mpeg = len(frame) > 1 and frame[0] == 0xFF and frame[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return not is_mpeg or b"Xing" in frame or b"Info" in frame or b"VBRI" in frame


def after_id3(descriptor: int, position: int) -> int:
    """`position`, or where an ID3v2 tag ends that is there."""
    head, length = read_at(descriptor, 10, position), 0
    if head[:3] != b"ID3" or len(head) < 10:
        return position
    for byte in head[6:10]:
        length = length << 7 | (byte & 0x7F)
    return position + 10 + length


def chunks(descriptor: int, size: int, position: int, layout: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and length of the content of each chunk from `position` on.

    Args:
        descriptor: of the file.
        size: of the file.
        position: of the first chunk.
        layout: of a chunk's header, for `struct`.

    Raises:
        AudioError: there are more than a real file has.
    """
    header = struct.calcsize(layout)
    for _ in range(_MOST_CHUNKS):
        if position + header > size:
            return
        name, length = struct.unpack(layout, read_at(descriptor, header, position))
        if layout == WAVE64:  # lengths count the header, and are rounded up to multiples of 8
            yield name, position + header, length - header
            position += max(header, -(-length // 8) * 8)
        else:
            yield name, position + header, length
            position += header + length + (length % 2 if layout != CORE_AUDIO else 0)
    raise AudioError(f"not audio, or damaged: its header has more than {_MOST_CHUNKS} chunks")


LITTLE, BIG, WAVE64, CORE_AUDIO = "<4sI", ">4sI", "<4s12xQ", ">4sq"


def _in_chunks(descriptor: int, size: int, head: bytes) -> Samples | None:
    """RIFF, RF64 (EBU 3306) and AIFF."""
    long_length = None
    for name, position, length in chunks(descriptor, size, 12, BIG if head[:4] in (b"RIFX", b"FORM") else LITTLE):
        if name == b"ds64" and length >= 16:
            (long_length,) = struct.unpack("<Q", read_at(descriptor, 8, position + 8).ljust(8, b"\0"))
        if name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and long_length is not None:
                return Samples(position, long_length)
            is_open = length >= UNKNOWN_BYTES and position + length > size
            return Samples(position, None if is_open else length)
    return None


def _in_wave64(descriptor: int, size: int, head: bytes) -> Samples | None:
    """Sony Wave64: chunks named by 16 bytes, of lengths that count their header, at multiples of 8."""
    for name, position, length in chunks(descriptor, size, 40, WAVE64):
        if name == b"data":
            return Samples(position, max(0, length) if length < UNKNOWN_FRAMES else None)
    return None


def _in_caf(descriptor: int, size: int, head: bytes) -> Samples | None:
    """Apple's Core Audio Format: chunks of 64-bit lengths, -1 where the samples go on to the end of the file."""
    for name, position, length in chunks(descriptor, size, 8, CORE_AUDIO):
        if length < 0:
            return None
        if name == b"data":
            return Samples(position, length)
    return None


def _in_au(descriptor: int, size: int, head: bytes) -> Samples | None:
    """Sun's .snd: where the samples start and how many bytes they take, in either byte order."""
    if len(head) < 12:
        return None
    start, length = struct.unpack((">" if head[:4] == b".snd" else "<") + "4x2I", head[:12])
    return Samples(start, length if length < UNKNOWN_BYTES else None)


def _in_sphere(descriptor: int, size: int, head: bytes) -> Samples | None:
    """NIST SPHERE: lines of text say the header's length, and of what how many; unless these are compressed."""
    if re.search(rb"^sample_coding -s\d+ .*(shorten|wavpack|shortpack)", head, re.MULTILINE):
        return None
    fields = dict(re.findall(rb"^(\w+) -(?:i|s\d+) (\d+)$", head, re.MULTILINE))
    start = head[8:16].strip()
    counts = [fields.get(name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not start.isdigit() or None in counts:
        return None
    return Samples(int(start), math.prod(int(count or 0) for count in counts))


_SAMPLES: dict[bytes, Callable[[int, int, bytes], Samples | None]] = {
    b"RIFF": _in_chunks,
    b"RIFX": _in_chunks,
    b"RF64": _in_chunks,
    b"FORM": _in_chunks,
    b"riff": _in_wave64,
    b"caff": _in_caf,
    b".snd": _in_au,
    b"dns.": _in_au,
    b"NIST": _in_sphere,
}


def _missing_page_bytes(descriptor: int, size: int) -> int:
    """Compare the last Ogg page's segment table with what is there.

    A stream that stops between two pages is taken as complete: recordings of live streams end like that.
    """
    start = max(0, size - _LARGEST_PAGE)
    tail = read_at(descriptor, size - start, start)
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + _PAGE_HEADER:
        return 1 if page >= 0 else 0
    segments = tail[page + _PAGE_HEADER - 1]
    table = tail[page + _PAGE_HEADER : page + _PAGE_HEADER + segments]
    return max(0, page + _PAGE_HEADER + segments + sum(table) - len(tail))
