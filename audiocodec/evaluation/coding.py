"""What token files and timing lines say about the coding: bitrate, codebook use, real-time factor.

Bitrates are measured from the files: all their bytes (`kbps_file`), or the codes alone (`kbps_payload`), in 1000 bits
per second of audio. A real-time factor is seconds of work per second of audio, reading and writing included; below 1
is faster than real time. Times come from the lines that `encode --json` and `decode --json` print.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from audiocodec.errors import AudioCodecError, MetricUndefined
from audiocodec.evaluation.pairing import Entry
from audiocodec.metrics.codebook import CodeCounter
from audiocodec.tokens.token_file import EXTENSION, TokenFile


@dataclass(frozen=True)
class Bitrate:
    """Size of one token file: bits and the seconds of audio they stand for."""

    seconds: float
    file_bits: int
    payload_bits: int


@final
class TokenSet:
    """Token files of an evaluation, read one by one.

    Attributes:
        bitrates: what was read so far.
        fingerprints: of the codecs that made them, hexadecimal.
    """

    def __init__(self) -> None:
        self.bitrates: list[Bitrate] = []
        self.fingerprints: set[str] = set()
        self._counter = CodeCounter()
        self._problem = ""

    def add(self, path: str | os.PathLike[str]) -> Bitrate:
        """Read a token file and count its codes.

        Raises:
            TokenFileError: it is not a sound token file.
        """
        tokens = TokenFile.read(Path(path))
        seconds = tokens.num_samples / tokens.sample_rate
        bitrate = Bitrate(seconds, 8 * os.path.getsize(path), tokens.payload_bits)
        self.bitrates.append(bitrate)
        self.fingerprints.add(tokens.fingerprint.hex())
        try:
            self._counter.add(tokens.codes, tokens.codebook_sizes)
        except MetricUndefined as error:
            self._problem = str(error)
        return bitrate

    def describe(self) -> dict[str, Any]:
        """Totals over all files, ready for JSON; `codebooks_undefined` says why there is no codebook use."""
        seconds = sum(b.seconds for b in self.bitrates)
        described: dict[str, Any] = {"codecs": sorted(self.fingerprints)}
        if self.bitrates:
            described["kbps_file"] = sum(b.file_bits for b in self.bitrates) / seconds / 1000
            described["kbps_payload"] = sum(b.payload_bits for b in self.bitrates) / seconds / 1000
        if len(self.fingerprints) > 1:
            described["codebooks_undefined"] = f"token files of {len(self.fingerprints)} codecs"
        elif self._problem:
            described["codebooks_undefined"] = self._problem
        else:
            described["codebooks"] = [asdict(use) for use in self._counter.describe()]
        return described


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
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise AudioCodecError(f"{path}: cannot read timings: {error}") from None
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                _add_line(timings, line, f"{path}:{number}")
    return timings


def _add_line(timings: Timings, line: str, where: str) -> None:
    try:
        said = json.loads(line)
        source, target = str(said["input"]), str(said["output"])
        factor = None if "error" in said else float(said["wall_seconds"]) / float(said["seconds"])
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        raise AudioCodecError(f"{where}: not a line of `encode --json` or `decode --json`") from None
    if factor is not None:
        table = timings.encode if target.endswith(EXTENSION) else timings.decode
        table.update({os.path.realpath(source): factor, os.path.realpath(target): factor})


def _find(table: dict[str, float], paths: Iterable[str | None]) -> float | None:
    for path in paths:
        if path is not None and (factor := table.get(os.path.realpath(path))) is not None:
            return factor
    return None
