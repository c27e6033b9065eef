"""The scores of one pair of files, as the worker processes compute them.

Both files are mixed to one channel. An error in a file is the reason why all its metrics have no value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from audiocodec.audio import io
from audiocodec.data.manifest import audio_file
from audiocodec.errors import AudioError, ManifestError, MetricUndefined
from audiocodec.evaluation.pairing import Entry
from audiocodec.metrics.pairs import check_rates

_LIBRARIES = {"pesq": "pesq", "stoi": "pystoi", "mel_distance": "librosa.filters"}


@dataclass(frozen=True)
class Task:
    """What to score: the pair and the metrics (names of `rows.METRICS`)."""

    entry: Entry
    metrics: tuple[str, ...]
    allow_pipes: bool = False


@dataclass
class Scores:
    """What came out: length of the reference in seconds, metric -> value, metric -> why there is none."""

    seconds: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def missing_libraries(metrics: tuple[str, ...]) -> list[str]:
    """Why metrics cannot run here: one message for each library that cannot be imported."""
    problems = []
    for metric in metrics:
        try:
            import_module(_LIBRARIES[metric])
        except ImportError as error:
            problems.append(f"{metric} needs {_LIBRARIES[metric].partition('.')[0]} ({error})")
    return problems


def score(task: Task) -> Scores:
    """Score one pair.

    Args:
        task: what to score.

    Returns:
        A value or a reason for every metric.
    """
    scores = Scores()
    try:
        reference, rate = _read(task.entry.reference, "reference", task.allow_pipes)
        scores.seconds = len(reference) / rate
        if task.entry.problem:
            raise MetricUndefined(task.entry.problem)
        estimate, estimate_rate = _read(task.entry.estimate, "estimate", task.allow_pipes)
        check_rates(reference=rate, estimate=estimate_rate)
    except MetricUndefined as error:
        scores.failures = dict.fromkeys(task.metrics, task.entry.problem or str(error))
        return scores
    for metric in task.metrics:
        try:
            scores.values[metric] = _compute(metric, reference, estimate, rate)
        except MetricUndefined as error:
            scores.failures[metric] = str(error)
    return scores


def _compute(metric: str, reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    # Imported here: a metric that is not asked for needs no library.
    if metric == "pesq":
        from audiocodec.metrics.pesq import pesq

        return pesq(reference=reference, estimate=estimate, sample_rate=sample_rate)
    if metric == "stoi":
        from audiocodec.metrics.stoi import stoi

        return stoi(reference=reference, estimate=estimate, sample_rate=sample_rate)
    if metric == "mel_distance":
        from audiocodec.metrics.mel_distance import mel_distance

        return mel_distance(reference=reference, estimate=estimate, sample_rate=sample_rate)
    raise ValueError(f"unknown metric {metric!r}")


def _read(source: str | None, role: str, allow_pipes: bool) -> tuple[np.ndarray, int]:
    """One channel [S] and the sample rate; an unreadable file is a `MetricUndefined` without the file's name."""
    if source is None:
        raise MetricUndefined(f"no {role}")
    try:
        with audio_file(source, allow_pipes) as path:
            wav, rate = io.read(path)
    except (AudioError, ManifestError) as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise MetricUndefined(f"{role}: {reason}") from None
    return wav.mean(axis=0, dtype=np.float32), rate
