"""Version 2 of the token file: codes near their entropy, in segments; `docs/reference/token_format.md` is the text of this module.

The fields are those of version 1 in fewer bytes, then a table of the segments. The checksum of a segment is that of its codes:
it finds damage, and a prior that was computed wrongly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CorruptFile, PriorError, TokenFileError, TruncatedFile
from audiocodec.tokens import range_coding
from audiocodec.tokens.bitpack import pack_frames
from audiocodec.tokens.layout import CHECKSUM, COMPRESSED, FINGERPRINT_BYTES, MAGIC, MAX_CODEBOOKS, Header
from audiocodec.tokens.prior import Prior

IntArray = npt.NDArray[np.integer]

_GAIN = struct.Struct("<d")
_VARINT_BYTES = 10


class Segment(NamedTuple):
    """An entry of the table: bytes of a segment, and the CRC32 of its codes as version 1 packs them."""

    size: int
    checksum: int


class Table(NamedTuple):
    """What stands before the notes.

    Attributes:
        header: fields as version 1 has them.
        prior: fingerprint of what predicts the codes.
        segment_frames: frames of each segment but the last.
        segments: one entry for each.
        end: of the table, where the notes begin.
    """

    header: Header
    prior: bytes
    segment_frames: int
    segments: tuple[Segment, ...]
    end: int

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.end + self.header.notes_bytes + sum(part.size for part in self.segments) + CHECKSUM.size


class Damage(NamedTuple):
    """Frames `first` to below `last` that are lost, and why."""

    first: int
    last: int
    reason: str


def write(header: Header, notes: bytes, codes: IntArray, prior: Prior) -> bytes:
    """A whole file.

    Args:
        header: its fields.
        notes: as they stand in the file.
        codes: `[K, T]`.
        prior: what predicts them.
    """
    step, sizes = prior.config.segment_frames, header.codebook_sizes
    numbers = [len(sizes), sizes[0], *(0 if a == b else b for a, b in pairwise(sizes))]
    numbers += [header.sample_rate, header.hop_length, header.num_samples, header.original_channels]
    numbers += [_unless(header.original_sample_rate, header.sample_rate)]
    numbers += [_unless(header.original_num_samples, header.num_samples), header.notes_bytes, step]
    body = MAGIC + bytes([COMPRESSED]) + b"".join(map(_varint, numbers))
    body += _GAIN.pack(header.gain) + header.fingerprint + prior.fingerprint
    coded = range_coding.encode(codes, prior)
    for number, data in enumerate(coded):
        checksum = _checksum(codes[:, number * step : (number + 1) * step], header.widths)
        body += _varint(len(data)) + CHECKSUM.pack(checksum)
    body += notes + b"".join(coded)
    return body + CHECKSUM.pack(zlib.crc32(body))


def read_table(stream: BinaryIO, source: str, start: bytes = b"") -> tuple[Table, bytes]:
    """Read the beginning of a file, and not a byte more.

    Args:
        stream: the file.
        source: its name, for messages.
        start: what was read of it before: magic and version, or nothing.

    Returns:
        (the table, the bytes that were read).

    Raises:
        TruncatedFile: the file ends before the table does.
        CorruptFile: a field is out of its range.
    """
    reader = _Reader(stream, source, start)
    reader.take(len(MAGIC) + 1 - len(start))
    count = reader.number()
    if not 1 <= count <= MAX_CODEBOOKS:
        raise CorruptFile(f"{source}: damaged header: {count} codebooks, must be 1 to {MAX_CODEBOOKS}")
    sizes = [reader.number()]
    for _ in range(count - 1):
        sizes.append(reader.number() or sizes[-1])
    rate, hop, samples, channels, original_rate, original_samples, notes, step = (reader.number() for _ in range(8))
    header = Header(
        original_channels=channels,
        sample_rate=rate,
        hop_length=hop,
        original_sample_rate=original_rate or rate,
        notes_bytes=notes,
        frames=-(-samples // max(hop, 1)),
        num_samples=samples,
        original_num_samples=original_samples or samples,
        gain=_GAIN.unpack(reader.take(_GAIN.size))[0],
        fingerprint=reader.take(FINGERPRINT_BYTES),
        codebook_sizes=tuple(sizes),
    )
    prior = reader.take(FINGERPRINT_BYTES)
    try:
        header.check()
        if step < 1:
            raise TokenFileError("segments of 0 frames")
    except TokenFileError as error:
        raise CorruptFile(f"{source}: damaged header: {error}") from None
    segments = []
    for _ in range(-(-header.frames // step)):
        size = reader.number()
        segments.append(Segment(size, CHECKSUM.unpack(reader.take(CHECKSUM.size))[0]))
    return Table(header, prior, step, tuple(segments), len(reader.data)), bytes(reader.data)


def table_of(data: bytes, source: str) -> Table:
    """The table of a whole file, as `read_table`."""
    return read_table(BytesIO(data), source)[0]


def read_codes(data: bytes, table: Table, prior: Prior, source: str = "<bytes>") -> tuple[IntArray, list[Damage]]:
    """Decode all segments.

    Returns:
        (codes `[K, T]`, 0 in frames that are lost; what is lost).

    Raises:
        PriorError: another prior, or one of another codec.
    """
    header = table.header
    if prior.fingerprint != table.prior:
        raise PriorError(f"{source}: is compressed by prior {table.prior.hex()}, this is {prior.fingerprint.hex()}")
    if bytes.fromhex(prior.config.codec) != header.fingerprint:
        raise PriorError(
            f"{source}: its prior is of codec {prior.config.codec}, its codes of {header.fingerprint.hex()}"
        )
    if header.codebook_sizes != prior.config.codebook_sizes[: len(header.codebook_sizes)]:
        raise CorruptFile(f"{source}: its codebooks are not those of its prior")
    lengths = range_coding.segment_lengths(header.frames, table.segment_frames)
    parts, at = [], table.end + header.notes_bytes
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


class _Reader:
    """Takes bytes and numbers from a stream and keeps what it took."""

    def __init__(self, stream: BinaryIO, source: str, start: bytes) -> None:
        self._stream, self._source, self.data = stream, source, bytearray(start)

    def take(self, count: int) -> bytes:
        found = b""
        while len(found) < count and (more := self._stream.read(count - len(found))):
            found += more
        self.data += found
        if len(found) < count:
            raise TruncatedFile(f"{self._source}: ends after {len(self.data)} bytes, within its header")
        return found

    def number(self) -> int:
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise CorruptFile(f"{self._source}: damaged header: a number of more than {_VARINT_BYTES} bytes")


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have their highest bit set (LEB128)."""
    found = bytearray()
    while number > 127:
        found.append(128 | number & 127)
        number >>= 7
    return bytes([*found, number])


def _unless(value: int, usual: int) -> int:
    """0 for the usual value."""
    return 0 if value == usual else value


def _checksum(codes: IntArray, widths: tuple[int, ...]) -> int:
    return zlib.crc32(pack_frames(codes, widths))
