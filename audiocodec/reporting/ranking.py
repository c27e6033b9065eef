"""Which systems are marked by a measure: those that no other beats at their bitrate, and which cannot be told from these.

Systems are compared on the utterances that all of them have a score for, so that nobody gains by failing on the hard
ones. A codec of a higher bitrate says nothing about one of a lower: a system competes with those of about its bitrate or
less. Where no bitrate is known, all compete. The best mean is marked; a system whose paired difference from the best of
its rivals has an interval with zero inside is a tie with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.evaluation.catalogue import CODING, NEITHER, Measure
from audiocodec.evaluation.paired import Difference, difference
from audiocodec.reporting.systems import System

BEST, TIE, FRONT = "best", "tie", "front"
LIKE = 1.1  # times its own bitrate: so much more a rival may have


@dataclass(frozen=True)
class Ranking:
    """`marks`: label -> `BEST`, `TIE` or `FRONT` (best of its bitrate or less); `common`: how many utterances all competitors have scores for."""

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
    if measure.less_is_better:
        means = {system: -mean for system, mean in means.items()}
    rows = {system: [system.rows[key] for key in common] for system in scores}
    marks = {}
    for system in scores:
        rivals = [other for other in scores if other is system or _is_rival(other, system)]
        best = max(rivals, key=means.__getitem__)
        if system.kbps is None and len(rivals) == 1:  # nobody to compare it with
            continue
        if best is system:
            marks[system.label] = BEST if system.kbps is None else FRONT
        elif not differs(difference(rows[best], rows[system], measure.name)):
            marks[system.label] = TIE
    if TIE in marks.values():
        marks = {label: TIE if mark == BEST else mark for label, mark in marks.items()}
    return Ranking(marks, len(common))


def _is_rival(other: System, system: System) -> bool:
    """Whether a system has to be as good as another: they have about the same bitrate or that one has less, or neither's is known."""
    if system.kbps is None or other.kbps is None:
        return system.kbps is other.kbps
    return other.kbps <= LIKE * system.kbps


def differs(found: Difference) -> bool:
    """Whether two systems can be told apart: the interval of their difference leaves out zero."""
    return found.interval is not None and not found.interval[0] <= 0 <= found.interval[1]
