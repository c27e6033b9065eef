"""Which system is marked as best by a measure, and which cannot be told from it.

Systems are compared on the utterances that all of them have a score for, so that nobody gains by failing on the hard
ones. The best mean is marked; systems whose paired difference from it has an interval with zero inside are a tie with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.evaluation.catalogue import CODING, NEITHER, Measure
from audiocodec.evaluation.paired import Difference, difference
from audiocodec.reporting.systems import System

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
    scores = {system: values for system in systems if system.competes and (values := system.values(measure))}
    if measure in CODING or measure.better == NEITHER or len(scores) < 2:
        return Ranking({}, 0)
    common = sorted(set.intersection(*(set(values) for values in scores.values())))
    if len(common) < 2:
        return Ranking({}, len(common))
    means = {
        system: float(np.mean([measure.compared(values[key]) for key in common])) for system, values in scores.items()
    }
    best = (min if measure.less_is_better else max)(means, key=means.__getitem__)
    rows = {system: [system.rows[key] for key in common] for system in scores}
    others = [system for system in scores if system is not best]
    tied = [other for other in others if not differs(difference(rows[best], rows[other], measure.name))]
    marks = {system.label: TIE for system in (best, *tied)} if tied else {best.label: BEST}
    return Ranking(marks, len(common))


def differs(found: Difference) -> bool:
    """Whether two systems can be told apart: the interval of their difference leaves out zero."""
    return found.interval is not None and not found.interval[0] <= 0 <= found.interval[1]
