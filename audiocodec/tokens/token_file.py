"""A token file as a value: codes and all that is needed to turn them back into audio.

The layout is in `docs/reference/token_format.md`; this module knows no model. Without loss: what was written is
read back equal, and a file of which a single bit was changed or a single byte cut is refused.
"""

from __future__ import annotations

import json
import operator
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CorruptFile, PriorError, TokenFileError
from audiocodec.tokens import compressed, layout, streams
from audiocodec.tokens.bitpack import pack_frames, unpack_frames
from audiocodec.tokens.prior import Prior
from audiocodec.tokens.priors import find

EXTENSION = ".act"
CODED_CHANNELS = "coded_channels"  # note of a file with the codes of several channels


@dataclass(frozen=True, eq=False)
class TokenFile:
    """Codes of one piece of audio; checked when made, unchangeable afterwards.

    Args:
        codes: integers [K, T], row `k` below `codebook_sizes[k]`; T = ceil(num_samples / hop_length) >= 1. With C coded
            channels, row `k * C + c` is codebook `k` of channel `c`.
        codebook_sizes: entries of each codebook [K], 2 to 2**24.
        sample_rate: Hz of the codec.
        hop_length: samples per frame.
        num_samples: exact length at `sample_rate`, 1 or more.
        original_sample_rate: Hz of the audio before it was resampled for the codec.
        original_channels: its channels, which are coded each, or were mixed to one.
        original_num_samples: its samples per channel.
        gain: the audio was multiplied by this before encoding; decoding divides by it.
        fingerprint: 8 bytes that name the codec's weights.
        notes: a JSON object for anything else; `{"coded_channels": 2}`: the codes are of two channels.

    Raises:
        TokenFileError: a field is out of range, of the wrong kind, or contradicts another.

    Example:
        >>> tokens = audiocodec.TokenFile.read("speech.act")
        >>> tokens.codes.shape, tokens.codebook_sizes, tokens.sample_rate
        ((1, 75), (65536,), 24000)
        >>> audiocodec.TokenFile.from_bytes(tokens.to_bytes()) == tokens
        True
    """

    codes: npt.NDArray[np.int32]
    codebook_sizes: tuple[int, ...]
    sample_rate: int
    hop_length: int
    num_samples: int
    original_sample_rate: int
    original_channels: int
    original_num_samples: int
    gain: float
    fingerprint: bytes
    notes: Mapping[str, Any] = field(default_factory=dict)
    # Of the file that it was read from, whose notes may hold white space that we would not write.
    _stored: tuple[int, int] | None = field(default=None, init=False, repr=False)  # version and bytes of the file

    def __post_init__(self) -> None:
        try:
            for name in _INTEGERS:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            sizes = tuple(operator.index(size) for size in self.codebook_sizes)
            object.__setattr__(self, "codebook_sizes", sizes)
            object.__setattr__(self, "gain", float(self.gain))
            object.__setattr__(self, "fingerprint", memoryview(self.fingerprint).tobytes())
            object.__setattr__(self, "notes", json.loads(_notes_text(self.notes)))
            codes = np.array(self.codes)  # a copy: the caller's array stays writable
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TokenFileError(f"a field is of the wrong kind: {error}") from error
        if codes.ndim != 2 or codes.dtype.kind not in "iu":
            raise TokenFileError(f"codes are {codes.dtype} {list(codes.shape)}, must be integers [codebooks, frames]")
        if codes.shape[0] != len(sizes):
            raise TokenFileError(f"{codes.shape[0]} rows of codes for {len(sizes)} codebook sizes")
        object.__setattr__(self, "codes", codes)
        self._header().check()
        _check_codes(codes, sizes)
        codes = np.ascontiguousarray(codes, dtype=np.int32)
        codes.flags.writeable = False
        object.__setattr__(self, "codes", codes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenFile):
            return NotImplemented
        names = [item.name for item in fields(self) if item.init and item.name != "codes"]
        same = all(getattr(self, name) == getattr(other, name) for name in names)
        return same and np.array_equal(self.codes, other.codes)

    __hash__ = None  # type: ignore[assignment]

    # --- bytes

    def to_bytes(self, prior: Prior | None = None) -> bytes:
        """The whole file; equal token files give equal bytes.

        Args:
            prior: of the codec: compress with it; None: codes as they are. What was compressed is decoded again before it is
                returned; codes stay as they are where compression does not make the file smaller.

        Returns:
            Header, notes, codes, CRC32.

        Raises:
            PriorError: the prior is of another codec, the codes are of several channels, or constriction is missing.
        """
        notes = _notes_text(self.notes).encode() if self.notes else b""
        header = self._header()
        body = header.to_bytes() + notes + pack_frames(self.codes, header.widths)
        raw = body + layout.CHECKSUM.pack(zlib.crc32(body))
        if prior is None:
            return raw
        if self.coded_channels > 1:
            raise PriorError(f"a prior predicts the codes of one channel, these are of {self.coded_channels}")
        if prior.config.codec != self.fingerprint.hex():
            raise PriorError(f"the prior is of codec {prior.config.codec}, the tokens of {self.fingerprint.hex()}")
        data = compressed.write(header, notes, self.codes, prior)
        if len(data) >= len(raw):
            return raw
        again, lost = compressed.read_codes(data, compressed.table_of(data, "<bytes>"), prior)
        return data if not lost and np.array_equal(again, self.codes) else raw

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "<bytes>", prior: Prior | None = None) -> TokenFile:
        """Read a whole file.

        Args:
            data: its bytes.
            source: what error messages call it.
            prior: of a compressed file; None: it is looked for (`tokens.priors`).

        Returns:
            The token file.

        Raises:
            NotATokenFile, UnsupportedVersion, TruncatedFile, CorruptFile: as they say.
            PriorError: it is compressed, and its prior is not at hand.
        """
        compressed_file = layout.version_of(data[: len(layout.MAGIC) + 1], source) == layout.COMPRESSED
        table = compressed.table_of(data, source) if compressed_file else None
        header = table.header if table else layout.parse_header(data, source)
        layout.check_size(table.file_bytes if table else header.file_bytes, len(data), source)
        end = len(data) - layout.CHECKSUM.size
        intact = zlib.crc32(memoryview(data)[:end]) == layout.CHECKSUM.unpack_from(data, end)[0]
        if table is None:
            if not intact:
                raise CorruptFile(f"{source}: damaged: the checksum does not match")
            start = header.header_bytes + header.notes_bytes
            return cls._made(
                header,
                data,
                header.header_bytes,
                lambda: unpack_frames(data[start:end], header.widths, header.frames),
                source,
            )
        codes, lost = compressed.read_codes(data, table, prior or find(table.prior, source), source)
        compressed.refuse(lost, header, source)
        if not intact:
            raise CorruptFile(f"{source}: damaged: the checksum does not match")
        return cls._made(header, data, table.end, lambda: codes, source)

    @classmethod
    def salvage(cls, source: Path | str | BinaryIO) -> tuple[TokenFile, list[compressed.Damage]]:
        """Read what can be read of a compressed file; any other is read as `read` does.

        Args:
            source: as for `read`.

        Returns:
            (the token file, with code 0 in frames that are lost; what is lost).

        Raises:
            TokenFileError: as for `read`; of a compressed file the header and the table must be whole.
        """
        data, name = streams.read_source(source, whole=False)
        if data[4] == layout.RAW:
            return cls.from_bytes(data, name), []
        table = compressed.table_of(data, name)
        codes, lost = compressed.read_codes(data, table, find(table.prior, name), name)
        return cls._made(table.header, data, table.end, lambda: codes, name), lost

    @classmethod
    def _made(
        cls,
        header: layout.Header,
        data: bytes,
        notes_at: int,
        codes: Callable[[], npt.NDArray[np.integer]],
        source: str,
    ) -> TokenFile:
        """A token file of bytes; an error in its parts is one of the file."""
        values = {name: getattr(header, name) for name in (*_INTEGERS, "codebook_sizes", "gain", "fingerprint")}
        try:
            notes = _parse_notes(data[notes_at : notes_at + header.notes_bytes])
            made = cls(codes=codes().astype(np.int32), notes=notes, **values)
        except TokenFileError as error:
            raise CorruptFile(f"{source}: {error}") from None
        object.__setattr__(made, "_stored", (data[4], len(data)))
        return made

    @classmethod
    def read(cls, source: Path | str | BinaryIO) -> TokenFile:
        """Read a file.

        Args:
            source: a path, `-` for stdin, or a binary file object.

        Returns:
            The token file.

        Raises:
            TokenFileError: it cannot be read, or is not a valid token file (the subclasses say how).
        """
        return cls.from_bytes(*streams.read_source(source))

    def write(self, target: Path | str | BinaryIO, prior: Prior | None = None) -> int:
        """Write the file, under a temporary name first; an existing one is replaced.

        Args:
            target: a path, `-` for stdout, or a binary file object.
            prior: as for `to_bytes`.

        Returns:
            Bytes written.

        Raises:
            TokenFileError: it cannot be written; the message names file and cause.
        """
        data = self.to_bytes(prior)
        with streams.open_target(target) as stream:
            stream.write(data)
        return len(data)

    # --- views

    @property
    def payload_bits(self) -> int:
        """Bits the codes take, without the bits that fill the last byte."""
        header = self._header()
        return sum(header.widths) * header.frames

    @property
    def coded_channels(self) -> int:
        """Channels whose codes these are; 1 but where the notes say otherwise."""
        return _channels_in(self.notes, len(self.codebook_sizes))

    @property
    def channel_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook of a coded channel [K / C]."""
        return self.codebook_sizes[:: self.coded_channels]

    @property
    def num_codebooks(self) -> int:
        """Codebooks of each coded channel, K / C."""
        return len(self.codebook_sizes) // self.coded_channels

    @property
    def channel_codes(self) -> tuple[npt.NDArray[np.int32], ...]:
        """Codes `[K / C, T]` of each of the C coded channels, the left one first."""
        return tuple(self.codes[channel :: self.coded_channels] for channel in range(self.coded_channels))

    def truncate(self, num_codebooks: int) -> TokenFile:
        """The same audio in its first codebooks only: fewer bits, coarser sound.

        Args:
            num_codebooks: how many to keep of each coded channel, from 1 on.

        Returns:
            A token file with so many rows of codes for each channel, everything else unchanged.

        Raises:
            TokenFileError: there are not so many.
        """
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise TokenFileError(f"cannot keep {num_codebooks} codebooks of {self.num_codebooks}")
        rows = num_codebooks * self.coded_channels
        return replace(self, codes=self.codes[:rows], codebook_sizes=self.codebook_sizes[:rows])

    def describe(self) -> dict[str, Any]:
        """What is in the file, ready for JSON; kbps are 1000 bits per second of audio.

        Returns:
            Field name -> value, `seconds` at the codec's rate.
        """
        header = self._header()
        return _described(header, self.notes, *(self._stored or (layout.RAW, header.file_bytes)))

    def _header(self) -> layout.Header:
        values = {name: getattr(self, name) for name in (*_INTEGERS, "codebook_sizes", "gain", "fingerprint")}
        notes_bytes = len(_notes_text(self.notes).encode()) if self.notes else 0
        return layout.Header(frames=int(self.codes.shape[1]), notes_bytes=notes_bytes, **values)


def row_sizes(channel_sizes: Sequence[int], channels: int) -> tuple[int, ...]:
    """`TokenFile.codebook_sizes` of so many coded channels, each with codebooks of these sizes."""
    return tuple(size for size in channel_sizes for _ in range(channels))


def describe_file(source: Path | str | BinaryIO) -> dict[str, Any]:
    """What is in a file, as `TokenFile.describe` has it; the codes of a compressed one are not decoded, which needs no prior.

    Raises:
        TokenFileError: as for `TokenFile.read`.
    """
    data, name = streams.read_source(source)
    if data[4] == layout.RAW:
        return TokenFile.from_bytes(data, name).describe()
    table = compressed.table_of(data, name)
    layout.check_size(table.file_bytes, len(data), name)
    end = len(data) - layout.CHECKSUM.size
    if zlib.crc32(data[:end]) != layout.CHECKSUM.unpack_from(data, end)[0]:
        raise CorruptFile(f"{name}: damaged: the checksum does not match")
    notes = _parse_notes(data[table.end : table.end + table.header.notes_bytes])
    return {**_described(table.header, notes, data[4], len(data)), "prior": table.prior.hex()}


def _described(header: layout.Header, notes: Mapping[str, Any], version: int, file_bytes: int) -> dict[str, Any]:
    seconds, bits = header.num_samples / header.sample_rate, sum(header.widths)
    channels = _channels_in(notes, len(header.codebook_sizes))
    return {
        "version": version,
        "coding": "raw" if version == layout.RAW else "range",
        "seconds": seconds,
        "frames": header.frames,
        "frame_rate": header.sample_rate / header.hop_length,
        "coded_channels": channels,
        "num_codebooks": len(header.codebook_sizes) // channels,
        "codebook_sizes": list(header.codebook_sizes),
        "bits_per_frame": bits,
        "payload_bits": bits * header.frames,
        "file_bytes": file_bytes,
        "kbps_payload": bits * header.frames / seconds / 1000,
        "kbps_file": 8 * file_bytes / seconds / 1000,
        **{name: getattr(header, name) for name in (*_INTEGERS, "gain")},
        "fingerprint": header.fingerprint.hex(),
        "notes": dict(notes),
    }


def _channels_in(notes: Mapping[str, Any], rows: int) -> int:
    """What notes say of coded channels; anybody may have written notes, so what makes no sense says nothing."""
    said = notes.get(CODED_CHANNELS)
    return said if type(said) is int and said > 1 and rows % said == 0 else 1


_INTEGERS = (
    "sample_rate",
    "hop_length",
    "num_samples",
    "original_sample_rate",
    "original_channels",
    "original_num_samples",
)


def _check_codes(codes: npt.NDArray[np.integer], sizes: tuple[int, ...]) -> None:
    for index, (row, size) in enumerate(zip(codes, sizes)):
        low, high = int(row.min()), int(row.max())
        if low < 0 or high >= size:
            bad = high if high >= size else low
            raise TokenFileError(f"codebook {index} has {size} entries, a code is {bad}; must be 0 to {size - 1}")


def _notes_text(notes: Mapping[str, Any]) -> str:
    if not isinstance(notes, Mapping):
        raise TypeError(f"notes must be a mapping, got {type(notes).__name__}")
    text = json.dumps(dict(notes), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    text.encode()  # a lone surrogate is text that no file can hold
    return text


def _parse_notes(data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    try:
        notes = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"the notes are not JSON: {error}") from None
    if not isinstance(notes, dict) or not notes:
        raise CorruptFile("the notes are not a JSON object with entries")
    return notes


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
