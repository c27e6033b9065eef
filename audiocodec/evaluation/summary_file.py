"""What `summary.json` holds, typed: one way in, checked, and one way out, which gives the same bytes for the same summary."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.catalogue import CODING
from audiocodec.evaluation.rows import SUMMARY
from audiocodec.files import read_text
from audiocodec.metrics.codebook import CodebookUse
from audiocodec.records import from_json, parse

_RATES = {measure.name for measure in CODING}


@dataclass(frozen=True)
class MeasureSummary:
    """One measure over all utterances.

    Attributes:
        mean, median: over those that have a value; None without any.
        interval: of the mean, 95 %; None for fewer than two values.
        n_scored, n_failed: utterances with a value, and with a reason why there is none.
        reasons: reason -> how often, most frequent first.
    """

    mean: float | None
    median: float | None
    interval: tuple[float, float] | None
    n_scored: int
    n_failed: int
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupSummary:
    """The `n_rows` utterances with one value in a column of a table: measure -> its summary."""

    n_rows: int
    measures: Mapping[str, MeasureSummary]


@dataclass(frozen=True)
class CodebookSummary(CodebookUse):
    """How a codebook is used; `effective_dimension` is None where it is undefined or nobody asked."""

    effective_dimension: float | None = None


@dataclass(frozen=True, kw_only=True)
class CodingSummary:
    """What is known of the coded files.

    Attributes:
        codecs: fingerprints of the codecs that made token files, hexadecimal.
        coded_by: another codec, in words.
        rates: measure of `catalogue.CODING` -> its value over all files together.
        codebooks: their use; None where it is undefined or files have no codebooks.
        codebooks_undefined: why.
        with_dimensions: whether effective dimensions were asked for.
    """

    codecs: tuple[str, ...] = ()
    coded_by: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    codebooks: tuple[CodebookSummary, ...] | None = None
    codebooks_undefined: str | None = None
    with_dimensions: bool = False

    @classmethod
    def from_json(cls, record: Mapping[str, Any], where: str) -> CodingSummary:
        """The value of `tokens`; raises ValueError with a key."""
        rates = {name: value for name, value in record.items() if name in _RATES}
        uses = record.get("codebooks")
        dimensions = isinstance(uses, list) and any(
            "effective_dimension" in use for use in uses if isinstance(use, dict)
        )
        return parse(cls, {**record, "rates": rates, "with_dimensions": dimensions}, where)

    def to_json(self) -> dict[str, Any]:
        """The value of `tokens`."""
        said: dict[str, Any] = {"codecs": list(self.codecs), "coded_by": self.coded_by, **self.rates}
        said |= {"codebooks_undefined": self.codebooks_undefined, "codebooks": self._codebooks()}
        return {name: value for name, value in said.items() if value is not None}

    def _codebooks(self) -> list[dict[str, Any]] | None:
        if self.codebooks is None:
            return None
        left_out = () if self.with_dimensions else ("effective_dimension",)
        return [{name: v for name, v in asdict(use).items() if name not in left_out} for use in self.codebooks]


@dataclass(frozen=True)
class ModelSummary:
    """The model that made token files.

    Attributes:
        name: that its configuration gives it.
        config_fingerprint: hash of the whole configuration, hexadecimal.
        fingerprint: of its weights and sizes, hexadecimal, as token files have it.
        latency_ms: algorithmic latency.
        warning: what everybody should know who sees results of it; empty: nothing.
    """

    name: str
    config_fingerprint: str
    fingerprint: str
    latency_ms: float
    warning: str = ""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals were found."""

    level: float
    resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An evaluation.

    Attributes:
        command: that made it; empty: not written down.
        n_rows, n_rows_with_failures: utterances; those that lack a measure which was asked for.
        seconds: of all references.
        measures: measure -> its summary.
        notes: oddity of a pair that was scored -> how often.
        groups: column of a table -> value -> its summary.
        tokens: of the coded files; None where nothing is known of them.
        bootstrap: how intervals were found.
        versions: of this package, libraries and machine.
        model: that made the token files, where it is known.
    """

    command: str
    n_rows: int
    n_rows_with_failures: int = 0
    seconds: float = 0.0
    measures: Mapping[str, MeasureSummary]
    notes: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, GroupSummary]] = field(default_factory=dict)
    tokens: CodingSummary | None = None
    bootstrap: Bootstrap | None = None
    versions: Mapping[str, str]
    model: ModelSummary | None = None

    @property
    def codecs(self) -> tuple[str, ...]:
        """Fingerprints of the codecs that made token files."""
        return self.tokens.codecs if self.tokens is not None else ()

    @property
    def codebooks(self) -> Sequence[CodebookSummary]:
        """Use of each codebook; empty where it is not known."""
        return (self.tokens.codebooks or ()) if self.tokens is not None else ()

    @property
    def coded_by(self) -> str:
        """Another codec, in words; empty for ours, and where nothing was coded."""
        return (self.tokens.coded_by or "") if self.tokens is not None else ""

    @classmethod
    def from_json(cls, record: Any) -> Summary:
        """A summary out of JSON.

        Raises:
            ValueError: with the key that is missing or of the wrong kind.
        """
        tokens = record.get("tokens") if isinstance(record, dict) else None
        if not tokens or not isinstance(tokens, dict):
            return parse(cls, {**record, "tokens": tokens or None} if isinstance(record, dict) else record)
        rest = parse(cls, {**record, "tokens": None})
        return cls(**{**vars(rest), "tokens": CodingSummary.from_json(tokens, "tokens")})

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        said = asdict(self) | {"tokens": {} if self.tokens is None else self.tokens.to_json()}
        if self.model is not None and not self.model.warning:
            del said["model"]["warning"]
        return said

    def to_text(self) -> str:
        """What `summary.json` holds."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"


def read_summary(folder: str | os.PathLike[str]) -> Summary:
    """The summary in an evaluation's folder.

    Raises:
        AudioCodecError: there is none, or it is not one; with the key that is missing or of the wrong kind.
    """
    path = Path(folder) / SUMMARY
    try:
        record = from_json(read_text(path))
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot read the summary: {error}") from None
    try:
        return Summary.from_json(record)
    except ValueError as error:
        raise AudioCodecError(f"{path}: is not a summary of `audiocodec evaluate`: {error}") from None
