"""A summary of rows: mean, median, 95 % bootstrap interval of the mean, counts of what has no value and why.

The interval is the percentile bootstrap over utterances (Efron 1979), seeded, so that equal rows give equal numbers.
It says how much the mean would move with other utterances of the same kind; utterances of one speaker or book are taken
as independent, which they are not quite.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import audiocodec
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary_file import (
    Bootstrap,
    CodingSummary,
    GroupSummary,
    MeasureSummary,
    ModelSummary,
    Summary,
)
from audiocodec.machine import cpu_name

LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
_SIGNAL_PACKAGES = ("numpy", "scipy", "torch", "soxr", "soundfile", "librosa")
_METRIC_PACKAGES = (
    "pesq",
    "pystoi",
    "pyloudnorm",
    "swift-f0",
    "Resemblyzer",
    "speechmos",
    "onnxruntime",
    "visqol-python",
)
_PACKAGES = (
    *_SIGNAL_PACKAGES,
    *_METRIC_PACKAGES,
    "pocketsphinx",
    "faster-whisper",
    "ctranslate2",
    "silero-vad",
    "jiwer",
)
_FEW = 5  # fewer utterances have no spread to compare one with
_AT_ONCE = 1 << 22  # indices drawn at a time


def bootstrap_interval(values: Sequence[float], seed: int = SEED) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean, at `LEVEL`.

    Args:
        values: one per utterance.
        seed: of the resampling.

    Returns:
        (low, high); None for fewer than two values, which say nothing about their spread.
    """
    if len(values) < 2:
        return None
    sample, random = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(sample))
    means = [
        sample[random.integers(len(sample), size=(min(at_once, RESAMPLES - done), len(sample)))].mean(axis=1)
        for done in range(0, RESAMPLES, at_once)
    ]
    bounds = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(bounds[0]), float(bounds[1])


def describe_measure(rows: Iterable[Row], name: str) -> MeasureSummary:
    """One measure over all rows.

    Args:
        rows: the rows.
        name: of the measure, a key of `catalogue.MEASURES`.
    """
    pairs = [(row.values.get(name), row.failures.get(name)) for row in rows]
    values = [value for value, _ in pairs if value is not None]
    reasons = Counter(reason for _, reason in pairs if reason is not None)
    return MeasureSummary(
        mean=float(np.mean(values)) if values else None,
        median=float(np.median(values)) if values else None,
        interval=bootstrap_interval(values),
        n_scored=len(values),
        n_failed=sum(reasons.values()),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


def describe_groups(rows: Sequence[Row], measures: Sequence[str]) -> dict[str, dict[str, GroupSummary]]:
    """Column of a table -> value -> summary of the rows with that value."""
    columns = dict.fromkeys(column for row in rows for column in row.groups)
    described: dict[str, dict[str, GroupSummary]] = {}
    for column in columns:
        members: dict[str, list[Row]] = {}
        for row in rows:
            members.setdefault(row.groups.get(column, ""), []).append(row)
        described[column] = {
            value: GroupSummary(len(of), {name: describe_measure(of, name) for name in measures})
            for value, of in sorted(members.items())
        }
    return described


def summarize(
    rows: Sequence[Row],
    measures: Sequence[str],
    tokens: CodingSummary | None = None,
    command: str = "",
    model: ModelSummary | None = None,
) -> Summary:
    """The whole summary.

    Args:
        rows: one per utterance.
        measures: those to describe.
        tokens: of the coded files, where there are any.
        command: that made the rows.
        model: that made the token files, where it is known.
    """
    return Summary(
        command=command,
        n_rows=len(rows),
        n_rows_with_failures=sum(any(name in row.failures for name in measures) for row in rows),
        seconds=sum(row.seconds or 0.0 for row in rows),
        measures={name: describe_measure(rows, name) for name in measures},
        notes=dict(Counter(note for row in rows for note in row.notes)) | dict.fromkeys(_odd_ones(rows, measures), 1),
        groups=describe_groups(rows, measures),
        tokens=tokens,
        bootstrap=Bootstrap(LEVEL, RESAMPLES, SEED),
        versions=versions() | _weights(rows, measures),
        model=model,
    )


def _weights(rows: Sequence[Row], measures: Sequence[str]) -> dict[str, str]:
    """`weights of <measure>` -> what they are called."""
    used = [(name, row.weights[name]) for name in measures for row in rows if name in row.weights]
    return {f"weights of {name}": ", ".join(sorted({w for n, w in used if n == name})) for name in dict(used)}


def _odd_ones(rows: Sequence[Row], measures: Sequence[str]) -> Iterator[str]:
    """A sentence for each mean that a single utterance moves by more than half of what the others spread over."""
    for name in measures:
        scored = [row for row in rows if name in row.values]
        values = np.array([row.values[name] for row in scored], dtype=np.float64)
        if len(values) < _FEW:
            continue
        odd = int(np.argmax(np.abs(values - np.median(values))))
        others = np.delete(values, odd)
        low, high = np.quantile(others, (0.25, 0.75))
        if abs(values.mean() - others.mean()) > (high - low) / 2 > 0:
            numbers = (f"{number:.{MEASURES[name].decimals}f}" for number in (others.mean(), values.mean()))
            without, mean = numbers
            yield f"{MEASURES[name].heading}: {scored[odd].id} alone moves the mean from {without} to {mean}"


def versions() -> dict[str, str]:
    """What the numbers depend on besides the audio: this package and its commit, libraries, machine."""
    found = {"audiocodec": audiocodec.__version__, "python": platform.python_version()}
    if commit := _commit():
        found["commit"] = commit
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "machine": f"{cpu_name()}, {os.cpu_count()} logical CPUs"}


def _commit() -> str:
    """Commit of the source tree this package runs from; empty when it is not one."""
    source = Path(audiocodec.__file__).parent
    commands = (["ls-files", "--error-unmatch", "__init__.py"], ["describe", "--always", "--dirty", "--exclude", "*"])
    said = ""
    for command in commands:
        try:
            done = subprocess.run(["git", *command], cwd=source, capture_output=True, text=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            return ""
        said = done.stdout.strip()
    return said
