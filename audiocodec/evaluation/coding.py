"""What token files, sizes of other coded files and timing lines say: bitrate, codebook use, tokens per second, real-time factor.

Bitrates are measured from the files: all their bytes (`kbps_file`), or the codes alone (`kbps_payload`), in 1000 bits
per second of audio. A real-time factor is seconds of work per second of audio, reading and writing included; below 1
is faster than real time. Times come from the lines that `encode --json` and `decode --json` print.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioCodecError, MetricUndefined, TokenFileError
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.summary_file import CodebookSummary, CodingSummary
from audiocodec.files import read_text
from audiocodec.metrics.codebook import CodeCounter, effective_dimension
from audiocodec.records import from_json, parse
from audiocodec.tokens.token_file import EXTENSION, TokenFile


@dataclass(frozen=True)
class Bitrate:
    """What coding one file cost; None: not known.

    Attributes:
        seconds: of audio.
        file_bits, payload_bits: of the coded file, and of the codes in it.
        tokens: in it, of all codebooks.
        wall_seconds: encoding and decoding took.
    """

    seconds: float
    file_bits: int
    payload_bits: int | None
    tokens: int | None = None
    wall_seconds: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """Measure -> value, of what is known."""
        bits = {"kbps_file": self.file_bits, "kbps_payload": self.payload_bits}
        rates = {"tokens_per_second": self.tokens, "coding_rtf": self.wall_seconds}
        kbps = {name: n / self.seconds / 1000 for name, n in bits.items() if n is not None}
        return kbps | {name: n / self.seconds for name, n in rates.items() if n is not None}


@final
class TokenSet:
    """Token files of an evaluation, read one by one.

    Attributes:
        bitrates: what was read so far.
        fingerprints: of the codecs that made them, hexadecimal.
    """

    measures = ("kbps_file", "kbps_payload", "tokens_per_second")

    def __init__(self) -> None:
        self.bitrates: list[Bitrate] = []
        self.fingerprints: set[str] = set()
        self._counter = CodeCounter()
        self._problem = ""

    def bitrate_of(self, entry: Entry) -> Bitrate:
        """Read the token file of an entry and count its codes.

        Raises:
            TokenFileError: it has none, or not a valid one.
        """
        if entry.tokens is None:
            raise TokenFileError("no token file")
        return self.add(entry.tokens)

    def add(self, path: str | os.PathLike[str]) -> Bitrate:
        """Read a token file and count its codes.

        Raises:
            TokenFileError: it is not a valid token file.
        """
        tokens = TokenFile.read(Path(path))
        seconds = tokens.num_samples / tokens.sample_rate
        bitrate = Bitrate(seconds, 8 * os.path.getsize(path), tokens.payload_bits, tokens.codes.size)
        self.bitrates.append(bitrate)
        self.fingerprints.add(tokens.fingerprint.hex())
        try:
            for codes in tokens.channel_codes:
                self._counter.add(codes, tokens.channel_sizes)
        except MetricUndefined as error:
            self._problem = str(error)
        return bitrate

    def describe(self, codebooks: Sequence[npt.NDArray[np.floating]] = ()) -> CodingSummary:
        """Totals over all files.

        Args:
            codebooks: what each codebook's entries stand for [V, D], for the effective dimension.
        """
        codecs, rates, problem = tuple(sorted(self.fingerprints)), _overall(self.bitrates), self._problem
        if len(codecs) > 1:
            problem = f"token files of {len(codecs)} codecs"
        if problem:
            return CodingSummary(codecs=codecs, rates=rates, codebooks_undefined=problem)
        dimensions = [_effective_dimension(counts, of) for counts, of in zip(self._counter.counts, codebooks)]
        uses = zip_longest(self._counter.describe(), dimensions)
        found = tuple(CodebookSummary(**asdict(use), effective_dimension=dimension) for use, dimension in uses)
        return CodingSummary(codecs=codecs, rates=rates, codebooks=found, with_dimensions=bool(dimensions))


@final
class CodedSizes:
    """Sizes of files of another codec, counted when they were made.

    Args:
        codec: what made them.
        sizes: name of the utterance -> size.
        payload: whether they say how much of each file is codes.
        problems: name of the utterance -> why its size is not to be believed.

    Attributes:
        measures: what `bitrate_of` can tell.
    """

    def __init__(
        self,
        codec: str,
        sizes: Mapping[str, Bitrate],
        payload: bool = True,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self._codec, self._sizes, self._problems = codec, sizes, problems or {}
        self.measures = ("kbps_file", "kbps_payload") if payload else ("kbps_file",)

    def bitrate_of(self, entry: Entry) -> Bitrate:
        """The size of an entry's file.

        Raises:
            AudioCodecError: there is none.
        """
        if entry.id not in self._sizes:
            unknown = self._problems.get(entry.id, "size of the coded file is not known")
            raise AudioCodecError(entry.problem or unknown)
        return self._sizes[entry.id]

    def describe(self, codebooks: Sequence[npt.NDArray[np.floating]] = ()) -> CodingSummary:
        """Totals over all files; there are no codebooks that could be described."""
        return CodingSummary(coded_by=self._codec, rates=_overall(list(self._sizes.values())))


def _overall(bitrates: Sequence[Bitrate]) -> dict[str, float]:
    """Sums over all files per seconds of all files, of what is known of all; empty where there are none."""
    seconds = sum(b.seconds for b in bitrates)
    names = set.intersection(*(set(b.values) for b in bitrates)) if bitrates else set()
    return {name: sum(b.values[name] * b.seconds for b in bitrates) / seconds for name in sorted(names)}


def _effective_dimension(counts: npt.NDArray[np.int64], latents: npt.NDArray[np.floating]) -> float | None:
    try:
        return effective_dimension(counts, latents)
    except MetricUndefined:
        return None


@dataclass(frozen=True)
class Timings:
    """Real-time factors by absolute path of the input and of the output."""

    encode: dict[str, float] = field(default_factory=dict)
    decode: dict[str, float] = field(default_factory=dict)

    def of(self, entry: Entry) -> tuple[float | None, float | None]:
        """(encode, decode) real-time factors of an entry; None where not known."""
        encode = _find(self.encode, (entry.tokens, entry.reference))
        return encode, _find(self.decode, (entry.estimate, entry.tokens))


def read_timings(paths: Iterable[str | os.PathLike[str]]) -> Timings:
    """Read what `encode --json` and `decode --json` printed; lines about failures are left out.

    Args:
        paths: files of JSON lines with `input`, `output`, `seconds`, `wall_seconds`.

    Raises:
        AudioCodecError: a file cannot be read, or a line is something else.
    """
    timings = Timings()
    for path in paths:
        try:
            text = read_text(path)
        except (OSError, ValueError) as error:
            raise AudioCodecError(f"{path}: cannot read timings: {error}") from None
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                _add_line(timings, line, f"{path}:{number}")
    return timings


@dataclass(frozen=True)
class _Line:
    """What a line says, of a success and of a failure."""

    input: str
    output: str
    error: str | None = None
    seconds: float = 0.0
    wall_seconds: float = -1.0


def _add_line(timings: Timings, line: str, where: str) -> None:
    try:
        said = parse(_Line, from_json(line))
        if said.error is None and not (said.seconds > 0 and said.wall_seconds >= 0):
            raise ValueError("no times")
    except ValueError:
        raise AudioCodecError(f"{where}: not a line of `encode --json` or `decode --json`") from None
    if said.error is None:
        table, factor = (
            timings.encode if said.output.endswith(EXTENSION) else timings.decode,
            said.wall_seconds / said.seconds,
        )
        table.update({real: factor for path in (said.input, said.output) if (real := _real(path)) is not None})


def _real(path: str) -> str | None:
    try:
        return os.path.realpath(path)
    except ValueError:  # a NUL, or text that no name of a file can be
        return None


def _find(table: dict[str, float], paths: Iterable[str | None]) -> float | None:
    for path in paths:
        if path is not None and (factor := table.get(_real(path) or "")) is not None:
            return factor
    return None
