"""Which system is marked as best by a measure, and which cannot be told from it.

Systems are compared on the utterances that all of them have a score for, so that nobody gains by failing on the hard
ones. The best mean is marked; when intervals overlap with the best one's, all of those are marked as a tie. Overlap is
a cautious test: a paired comparison can tell systems apart whose intervals overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.evaluation.catalogue import CODING, LOWER, NEITHER, Measure
from audiocodec.evaluation.summary import bootstrap_interval
from audiocodec.report.systems import System

BEST, TIE = "best", "tie"


@dataclass(frozen=True)
class Ranking:
    """`marks`: label -> `BEST` or `TIE`; `common`: how many utterances all competitors have scores for."""

    marks: dict[str, str]
    common: int


def rank(systems: Sequence[System], measure: Measure) -> Ranking:
    """Mark the best systems by one measure.

    Args:
        systems: all of the report; those that are no codecs do not compete.
        measure: costs (bitrate, time) and measures without a better side give no marks.

    Returns:
        No marks with fewer than two competitors or fewer than two common utterances.
    """
    scores = {system.label: system.values(measure) for system in systems if system.competes}
    scores = {label: values for label, values in scores.items() if values}
    if measure in CODING or measure.better == NEITHER or len(scores) < 2:
        return Ranking({}, 0)
    common = sorted(set.intersection(*(set(values) for values in scores.values())))
    if len(common) < 2:
        return Ranking({}, len(common))
    means = {label: float(np.mean([values[key] for key in common])) for label, values in scores.items()}
    best = (min if measure.better == LOWER else max)(means, key=means.__getitem__)
    intervals = {label: _interval([values[key] for key in common]) for label, values in scores.items()}
    tied = [label for label, interval in intervals.items() if _overlap(interval, intervals[best])]
    return Ranking(dict.fromkeys(tied, TIE) if len(tied) > 1 else {best: BEST}, len(common))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = bootstrap_interval(values) or (-np.inf, np.inf)
    return low, high


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
