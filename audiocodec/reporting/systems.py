"""What the report is about: one system per folder that `audiocodec evaluate` has finished, with its name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import AudioCodecError, MetricUndefined, TokenFileError
from audiocodec.evaluation.catalogue import MEASURES, Measure
from audiocodec.evaluation.paired import check_references
from audiocodec.evaluation.rows import FINISHED, Row, read_rows
from audiocodec.evaluation.summary_file import MeasureSummary, Summary, read_summary
from audiocodec.metrics.codebook import CodeCounter
from audiocodec.reporting.inputs import labels_of
from audiocodec.tokens.token_file import TokenFile

_PCM = "16-bit PCM at "


@dataclass(frozen=True, eq=False)
class System:
    """One evaluation.

    Attributes:
        label: what the page calls it.
        rows: utterance id -> its scores.
        summary: as in `summary.json`.
        folder: where it is; None: in memory.
    """

    label: str
    rows: dict[str, Row]
    summary: Summary
    folder: Path | None = None

    def described(self, measure: Measure) -> MeasureSummary | None:
        """The summary of one measure; None when it was not asked for."""
        return self.summary.measures.get(measure.name)

    def values(self, measure: Measure) -> dict[str, float]:
        """Utterance id -> value, for those that have one."""
        return {key: row.values[measure.name] for key, row in self.rows.items() if measure.name in row.values}

    def groups(self, column: str) -> dict[str, Mapping[str, MeasureSummary]]:
        """Value of a column of the manifest -> measure -> its summary; empty when there is no such column."""
        found = self.summary.groups.get(column, {})
        return {value or "\u2013": group.measures for value, group in found.items()}

    def values_by_group(self, measure: Measure, column: str) -> dict[str, list[float]]:
        """Value of a column of the manifest -> values of its utterances; empty when there is no such column."""
        found: dict[str, list[float]] = {}
        for row in self.rows.values() if column in self.summary.groups else ():
            if measure.name in row.values:
                found.setdefault(row.groups.get(column) or "\u2013", []).append(row.values[measure.name])
        return found

    @property
    def kbps(self) -> float | None:
        """Mean bitrate of the codes; None: not known, or not coded."""
        found = self.described(MEASURES["kbps_payload"]) if self.competes else None
        return found.mean or None if found is not None else None

    @property
    def competes(self) -> bool:
        """Whether it is a codec: neither the reference nor uncoded samples, whose scores no codec is to be measured by."""
        return not self.is_ground_truth and not self.is_pcm

    @property
    def is_pcm(self) -> bool:
        """Whether it is the baseline that only resamples: `Resampling.describe` is what its summary says coded it."""
        return self.summary.coded_by.startswith(_PCM)

    @property
    def is_ground_truth(self) -> bool:
        """Whether every estimate is the reference itself: the best there can be, not a competitor."""
        pairs = [(row.reference, row.estimate) for row in self.rows.values()]
        return bool(pairs) and all(reference is not None and reference == estimate for reference, estimate in pairs)


def read_systems(eval_dirs: Sequence[str | os.PathLike[str]], names: Sequence[str] = ()) -> list[System]:
    """Read finished evaluations.

    Args:
        eval_dirs: their folders.
        names: what to call them, one for each; empty: named after the folders.

    Raises:
        AudioCodecError: a folder holds no finished evaluation, two would have the same name, or they scored different
            references under the same name.
    """
    folders = [Path(folder) for folder in eval_dirs]
    summaries = [read_summary(folder) for folder in folders]
    labels = list(names) or labels_of(folders, summaries)
    if len(labels) != len(folders):
        raise AudioCodecError(f"{len(labels)} names for {len(folders)} evaluations; give one for each")
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise AudioCodecError(f"two evaluations are called {repeated[0]!r}; name each with --name")
    systems = [_read(*found) for found in zip(labels, folders, summaries)]
    check_references({system.label: system.rows.values() for system in systems})
    return sorted(systems, key=_place)


def measures_used(systems: Sequence[System]) -> list[Measure]:
    """The measures that any of the systems has, in the catalogue's order."""
    return [measure for measure in MEASURES.values() if any(system.described(measure) for system in systems)]


def code_counts(system: System) -> tuple[CodeCounter, str]:
    """Count the codes in the token files of a system.

    Returns:
        (the counts, why they are not complete or "").
    """
    counter, problem = CodeCounter(), ""
    for row in system.rows.values():
        if row.tokens is None:
            continue
        try:
            tokens = TokenFile.read(Path(row.tokens))
            for codes in tokens.channel_codes:
                counter.add(codes, tokens.channel_sizes)
        except (TokenFileError, MetricUndefined, OSError) as error:
            problem = problem or str(error)
    return counter, problem


def _place(system: System) -> tuple[int, float]:
    """Codecs by their bitrate, those of an unknown one, what is not coded; equal ones as they were named."""
    if system.kbps is None:
        return (1 if system.competes else 2), 0.0
    return 0, system.kbps


def _read(label: str, folder: Path, summary: Summary) -> System:
    path = folder / FINISHED
    rows = {row.id: row for row in read_rows(path)}
    if not rows:
        raise AudioCodecError(f"{path}: holds no rows")
    return System(label, rows, summary, folder)
