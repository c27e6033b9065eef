"""Version 2 of the token file: codes near their entropy, in segments; `docs/reference/token_format.md` is the text of this module.

What version 1 has as codes is here a table of segments and their bytes. The checksum of a segment is that of its codes: it
finds damage, and a prior that was computed wrongly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CorruptFile, PriorError, TruncatedFile
from audiocodec.tokens import range_coding
from audiocodec.tokens.bitpack import pack_frames
from audiocodec.tokens.layout import CHECKSUM, RAW, Header
from audiocodec.tokens.prior import Prior

IntArray = npt.NDArray[np.integer]

_FIXED = struct.Struct("<8sI")
_ENTRY = struct.Struct("<II")


class Segment(NamedTuple):
    """An entry of the table: bytes of a segment, and the CRC32 of its codes as version 1 packs them."""

    size: int
    checksum: int


class Table(NamedTuple):
    """What stands between the notes and the segments.

    Attributes:
        prior: fingerprint of what predicts the codes.
        segment_frames: frames of each segment but the last.
        segments: one entry for each.
        end: of the table, where the first segment begins.
    """

    prior: bytes
    segment_frames: int
    segments: tuple[Segment, ...]
    end: int

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.end + sum(segment.size for segment in self.segments) + CHECKSUM.size


class Damage(NamedTuple):
    """Frames `first` to below `last` that are lost, and why."""

    first: int
    last: int
    reason: str


def write(head: bytes, codes: IntArray, widths: tuple[int, ...], prior: Prior) -> bytes:
    """A whole file.

    Args:
        head: its header and notes.
        codes: `[K, T]`.
        widths: bits of a code of each codebook.
        prior: what predicts them.
    """
    step = prior.config.segment_frames
    coded = range_coding.encode(codes, prior)
    body = head + _FIXED.pack(prior.fingerprint, step)
    for number, data in enumerate(coded):
        body += _ENTRY.pack(len(data), _checksum(codes[:, number * step : (number + 1) * step], widths))
    body += CHECKSUM.pack(zlib.crc32(body)) + b"".join(coded)
    return body + CHECKSUM.pack(zlib.crc32(body))


def bytes_needed(data: bytes, header: Header) -> int:
    """How many bytes of a file are to be read at least, given its first ones: to the table, to its end, to the file's end."""
    if data[4] == RAW:
        return header.file_bytes
    start = header.header_bytes + header.notes_bytes + _FIXED.size
    if len(data) < start:
        return start
    step: int = _FIXED.unpack_from(data, start - _FIXED.size)[1]
    end = start + _ENTRY.size * -(-header.frames // max(step, 1))
    if len(data) < end + CHECKSUM.size:
        return end + CHECKSUM.size
    sizes: list[int] = [size for size, _ in _ENTRY.iter_unpack(data[start:end])]
    return end + CHECKSUM.size + sum(sizes) + CHECKSUM.size


def parse_table(data: bytes, header: Header, source: str) -> Table:
    """Read and check the table of a file.

    Raises:
        TruncatedFile: the file ends before it does.
        CorruptFile: it is damaged.
    """
    start = header.header_bytes + header.notes_bytes + _FIXED.size
    needed = bytes_needed(data[:start], header)
    if len(data) < needed:
        raise TruncatedFile(f"{source}: ends after {len(data)} bytes, within its table of segments")
    prior, step = _FIXED.unpack_from(data, start - _FIXED.size)
    end = needed - CHECKSUM.size
    if not step or zlib.crc32(data[:end]) != CHECKSUM.unpack_from(data, end)[0]:
        raise CorruptFile(f"{source}: damaged: the checksum of its header and table does not match")
    return Table(prior, step, tuple(Segment(*entry) for entry in _ENTRY.iter_unpack(data[start:end])), needed)


def read_codes(
    data: bytes, header: Header, table: Table, prior: Prior, source: str = "<bytes>"
) -> tuple[IntArray, list[Damage]]:
    """Decode all segments.

    Returns:
        (codes `[K, T]`, 0 in frames that are lost; what is lost).

    Raises:
        PriorError: the prior is of another codec.
    """
    if prior.fingerprint != table.prior:
        raise PriorError(f"{source}: is compressed by prior {table.prior.hex()}, this is {prior.fingerprint.hex()}")
    if bytes.fromhex(prior.config.codec) != header.fingerprint:
        raise PriorError(
            f"{source}: its prior is of codec {prior.config.codec}, its codes of {header.fingerprint.hex()}"
        )
    if header.codebook_sizes != prior.config.codebook_sizes[: len(header.codebook_sizes)]:
        raise CorruptFile(f"{source}: its codebooks are not those of its prior")
    lengths = range_coding.segment_lengths(header.frames, table.segment_frames)
    parts, at = [], table.end
    for segment in table.segments:
        parts.append(data[at : at + segment.size])
        at += segment.size
    codes, lost = [], []
    for number, found in enumerate(range_coding.decode(parts, lengths, len(header.codebook_sizes), prior)):
        first = number * table.segment_frames
        if found.min() < 0 or _checksum(found, header.widths) != table.segments[number].checksum:
            lost.append(Damage(first, first + lengths[number], f"segment {number + 1} of {len(lengths)}"))
            found = np.zeros_like(found)
        codes.append(found)
    return np.concatenate(codes, 1), lost


def refuse(lost: Sequence[Damage], header: Header, source: str) -> None:
    """Raise CorruptFile that names the lost segments, if there are any."""
    if not lost:
        return
    seconds = header.hop_length / header.sample_rate
    named = ", ".join(f"{one.reason} ({one.first * seconds:.1f} to {one.last * seconds:.1f} s)" for one in lost[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    raise CorruptFile(f"{source}: damaged: {named}{more}; decode --salvage puts silence in their place")


def _checksum(codes: IntArray, widths: tuple[int, ...]) -> int:
    return zlib.crc32(pack_frames(codes, widths))
