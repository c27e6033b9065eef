"""The token file's header, byte by byte: `docs/reference/token_format.md` is the text of this module.

Everything a damaged header could claim is checked here, before its numbers are used for a size.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from audiocodec.errors import CorruptFile, NotATokenFile, TokenFileError, TruncatedFile, UnsupportedVersion
from audiocodec.tokens.bitpack import packed_bytes

MAGIC = b"\x89ACT"
RAW, COMPRESSED = 1, 2  # versions
FINGERPRINT_BYTES = 8
MAX_CODEBOOKS = 255
MAX_CODEBOOK_SIZE = 1 << 24
CHECKSUM = struct.Struct("<I")
_FIXED = struct.Struct("<4sBBHIIIIQQQd8s")
FIXED_BYTES = _FIXED.size
_LIMITS = {
    "sample_rate": (1, 2**32 - 1),
    "hop_length": (1, 2**32 - 1),
    "num_samples": (1, 2**64 - 1),
    "original_sample_rate": (1, 2**32 - 1),
    "original_channels": (1, 2**16 - 1),
    "original_num_samples": (1, 2**64 - 1),
    "frames": (1, 2**64 - 1),
    "notes_bytes": (0, 2**32 - 1),
}


class Header(NamedTuple):
    """Everything before the notes; see `TokenFile` for what the fields mean."""

    original_channels: int
    sample_rate: int
    hop_length: int
    original_sample_rate: int
    notes_bytes: int
    frames: int
    num_samples: int
    original_num_samples: int
    gain: float
    fingerprint: bytes
    codebook_sizes: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits per code [K]."""
        return tuple((size - 1).bit_length() for size in self.codebook_sizes)

    @property
    def header_bytes(self) -> int:
        """Bytes of the header with its codebook sizes."""
        return FIXED_BYTES + 4 * len(self.codebook_sizes)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the packed codes in version 1."""
        return packed_bytes(sum(self.widths), self.frames)

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file in version 1."""
        return self.header_bytes + self.notes_bytes + self.payload_bytes + CHECKSUM.size

    def check(self) -> None:
        """Raise TokenFileError for the first field out of its range or against another."""
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise TokenFileError(f"{name} is {value}, must be {low} to {high}")
        if not 1 <= len(self.codebook_sizes) <= MAX_CODEBOOKS:
            raise TokenFileError(f"{len(self.codebook_sizes)} codebooks, must be 1 to {MAX_CODEBOOKS}")
        for index, size in enumerate(self.codebook_sizes):
            if not 2 <= size <= MAX_CODEBOOK_SIZE:
                raise TokenFileError(f"codebook {index} has {size} entries, must be 2 to {MAX_CODEBOOK_SIZE}")
        expected = -(-self.num_samples // self.hop_length)
        if self.frames != expected:
            hops = f"{self.num_samples} samples in hops of {self.hop_length}"
            raise TokenFileError(f"{self.frames} frames contradict {hops}, which make {expected}")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise TokenFileError(f"gain is {self.gain}, must be finite and above 0")
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise TokenFileError(f"fingerprint has {len(self.fingerprint)} bytes, must have {FINGERPRINT_BYTES}")

    def to_bytes(self) -> bytes:
        """The header as it stands in a file of version 1."""
        *fields, sizes = self
        return _FIXED.pack(MAGIC, RAW, len(sizes), *fields) + struct.pack(f"<{len(sizes)}I", *sizes)


def version_of(start: bytes, source: str) -> int:
    """The version of a file, by its first bytes.

    Raises:
        NotATokenFile, UnsupportedVersion, TruncatedFile: as they say.
    """
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise NotATokenFile(f"{source}: not a token file: starts with {start[:4].hex(' ')}, not {MAGIC.hex(' ')}")
    if len(start) > 4 and start[4] not in (RAW, COMPRESSED):
        hint = "a newer audiocodec may read it" if start[4] > COMPRESSED else "there is no such version"
        raise UnsupportedVersion(
            f"{source}: token file of version {start[4]}, this reads {RAW} and {COMPRESSED}; {hint}"
        )
    if len(start) <= len(MAGIC):
        raise TruncatedFile(f"{source}: ends after {len(start)} bytes, within its header of {FIXED_BYTES}")
    return start[4]


def count_codebooks(start: bytes, source: str) -> int:
    """Check the fixed part of a header of version 1.

    Args:
        start: the first bytes of the file, `FIXED_BYTES` or more; fewer only if the file has no more.
        source: the file's name, for messages.

    Returns:
        Number of codebooks K; their sizes are the next `4 * K` bytes.

    Raises:
        NotATokenFile, UnsupportedVersion, TruncatedFile, CorruptFile: as they say.
    """
    version_of(start, source)
    if len(start) < FIXED_BYTES:
        raise TruncatedFile(f"{source}: ends after {len(start)} bytes, within its header of {FIXED_BYTES}")
    if not start[5]:
        raise CorruptFile(f"{source}: 0 codebooks, must be 1 to {MAX_CODEBOOKS}")
    return start[5]


def parse_header(start: bytes, source: str) -> Header:
    """Read and check a header.

    Args:
        start: the first bytes of the file, up to the end of its header or further.
        source: the file's name, for messages.

    Returns:
        The header; every field is in range and frames, samples and hop agree.

    Raises:
        NotATokenFile, UnsupportedVersion, TruncatedFile, CorruptFile: as they say.
    """
    num_codebooks = count_codebooks(start, source)
    end = FIXED_BYTES + 4 * num_codebooks
    if len(start) < end:
        raise TruncatedFile(f"{source}: ends after {len(start)} bytes, within its header of {end}")
    _, _, _, *fields = _FIXED.unpack_from(start)
    header = Header._make([*fields, struct.unpack_from(f"<{num_codebooks}I", start, FIXED_BYTES)])
    try:
        header.check()
    except TokenFileError as error:
        raise CorruptFile(f"{source}: damaged header: {error}") from None
    return header


def check_size(expected: int, size: int, source: str) -> None:
    """Compare a file's size with what its header says.

    Args:
        expected: what it says.
        size: its bytes.
        source: its name, for messages.

    Raises:
        TruncatedFile, CorruptFile: too few bytes, or too many.
    """
    if size < expected:
        raise TruncatedFile(f"{source}: has {size} bytes, its header says {expected}")
    if size > expected:
        raise CorruptFile(f"{source}: goes on after the {expected} bytes its header says")
