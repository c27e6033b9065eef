"""The scores of one pair of files, as the worker processes compute them.

Both files are mixed to one channel. An error in a file is the reason why all its metrics have no value. An estimate that
is a little longer or shorter, as codecs leave it that code whole frames, is scored over the common part, with a note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from audiocodec.audio import io
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioError, ManifestError, MetricUndefined
from audiocodec.evaluation.catalogue import Metric, measures_of
from audiocodec.evaluation.pairing import Entry
from audiocodec.metrics.alignment import alignment
from audiocodec.metrics.pairs import check_rates

ODD_GAIN_DB = 6.0  # a change of level that deserves a note
SPARE_SECONDS, SPARE_SHARE = 0.1, 0.1  # of the reference: by how much an estimate may be longer or shorter


@dataclass(frozen=True)
class Task:
    """What to score.

    Attributes:
        entry, metrics: the pair, and what to compute.
        allow_pipes: run commands found in `wav.scp`.
        resample: bring an estimate of another rate to that of the reference.
        channel: of files that have several, the one to score, from 1 on; None: the mean of all.
    """

    entry: Entry
    metrics: tuple[Metric, ...]
    allow_pipes: bool = False
    resample: bool = False
    channel: int | None = None


@dataclass
class Scores:
    """What came out.

    Attributes:
        seconds: length of the reference.
        reference_hash: as in `Row`.
        values: measure -> value.
        failures: measure -> why there is none.
        details, notes: as in `Row`.
        again: whether the failures say nothing about the pair: another try may have none.
    """

    seconds: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    again: bool = False
    reference_hash: str = ""

    def fail(self, measures: Iterable[str], error: Exception) -> None:
        """Write down why `measures` have no value."""
        reason = error.reason if isinstance(error, MetricUndefined) else str(error)
        self.failures |= dict.fromkeys(measures, reason)
        if isinstance(error, MetricUndefined) and error.detail:
            self.details[reason] = error.detail


def score(task: Task) -> Scores:
    """Score one pair.

    Args:
        task: what to score.

    Returns:
        A value or a reason for every measure.
    """
    scores = Scores()
    try:
        reference, rate = _read(task.entry.reference, "reference", task)
        scores.seconds = len(reference) / rate
        scores.reference_hash = _hash(reference, rate)
        if task.entry.problem:
            raise MetricUndefined(task.entry.problem)
        estimate, estimate_rate = _read(task.entry.estimate, "estimate", task)
        if task.resample and estimate_rate != rate:
            estimate = io.resample(estimate, estimate_rate, rate)
            scores.notes = (f"estimate resampled from {estimate_rate} to {rate} Hz",)
            estimate_rate = rate
        check_rates(reference=rate, estimate=estimate_rate)
        reference, estimate = _common(reference, estimate, rate, scores)
        scores.notes += _check_alignment(reference, estimate, rate)
    except (AudioError, ManifestError, MetricUndefined) as error:
        scores.notes, scores.details = (), {}  # which are about scores
        scores.fail(measures_of(task.metrics), MetricUndefined(task.entry.problem) if task.entry.problem else error)
        scores.again = not isinstance(error, MetricUndefined)
        return scores
    for metric in task.metrics:
        for name, value in _compute(metric, reference, estimate, rate).items():
            if isinstance(value, MetricUndefined):
                scores.fail([name], value)
            else:
                scores.values[name] = value
    return scores


def _hash(wav: np.ndarray, sample_rate: int) -> str:
    """Of one channel [S]; the same for a file in another lossless format."""
    return hashlib.sha256(sample_rate.to_bytes(4, "little") + wav.astype("<f4").tobytes()).hexdigest()[:16]


def _common(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, scores: Scores
) -> tuple[np.ndarray, np.ndarray]:
    """Both as far as both go, where the difference is small, which `scores` then note; else as they are."""
    spare = min(SPARE_SECONDS * sample_rate, SPARE_SHARE * len(reference))
    difference = len(estimate) - len(reference)
    if difference == 0 or abs(difference) > spare:
        return reference, estimate
    note = f"estimate {'longer' if difference > 0 else 'shorter'} by up to {SPARE_SECONDS} s, common part scored"
    scores.notes += (note,)
    scores.details[note] = f"reference {len(reference)} samples, estimate {len(estimate)}"
    common = min(len(reference), len(estimate))
    return reference[:common], estimate[:common]


def _check_alignment(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> tuple[str, ...]:
    """What is odd about the pair; a lag is more than that: `MetricUndefined`."""
    found = alignment(reference=reference, estimate=estimate, sample_rate=sample_rate)
    if found.lag_ms:
        how = "late" if found.lag_ms > 0 else "early"
        raise MetricUndefined("misaligned", f"estimate is {abs(found.lag_ms):.4g} ms {how}")
    notes = []
    if found.inverted:
        notes.append("polarity inverted")
    if abs(found.gain_db) > ODD_GAIN_DB:
        notes.append(f"estimate more than {ODD_GAIN_DB:g} dB {'louder' if found.gain_db > 0 else 'quieter'}")
    return tuple(notes)


def _compute(
    metric: Metric, reference: np.ndarray, estimate: np.ndarray, sample_rate: int
) -> Mapping[str, float | MetricUndefined]:
    names = measures_of([metric])
    try:
        result = metric.compute(reference=reference, estimate=estimate, sample_rate=sample_rate)
    except MetricUndefined as error:
        return dict.fromkeys(names, error)
    return {names[0]: result} if isinstance(result, float) else result


def _read(source: str | None, role: str, task: Task) -> tuple[np.ndarray, int]:
    """One channel [S] and the sample rate; an unreadable file is an `AudioError` without the file's name."""
    if source is None:
        raise MetricUndefined(f"no {role}")
    try:
        with audio_file(source, task.allow_pipes) as path:
            wav, rate = io.read(path)
        if task.channel is not None and len(wav) > 1:
            wav = wav[_index(task.channel, len(wav)), None]
        mono = np.concatenate(list(io.mono_blocks(wav)))
    except (AudioError, ManifestError) as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise AudioError(f"{role}: {reason}") from None
    return mono, rate


def _index(channel: int, count: int) -> int:
    if channel > count:
        raise AudioError(f"has {count} channels, no channel {channel}")
    return channel - 1
