"""Which utterances the page lets one listen to: the worst, the best, the median, then whatever is farthest from those.

Utterances are ordered by the mean over systems of the first measure that has a better side; only those count that every
system has a score and audio for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from audiocodec.data.pipes import is_pipe
from audiocodec.evaluation.catalogue import NEITHER, Measure
from audiocodec.reporting.systems import System, measures_used


def choose(systems: Sequence[System], count: int) -> list[tuple[str, str]]:
    """Choose utterances.

    Args:
        systems: all of the report.
        count: how many at most.

    Returns:
        (id, why) from worst to best; fewer, down to none, where scores or audio files are missing.
    """
    playable = [key for key in systems[0].rows if all(_has_audio(system, key) for system in systems)]
    for measure in measures_used(systems):
        ordered = _ordered(systems, playable, measure)
        if measure.better != NEITHER and ordered:
            places = sorted(spread(len(ordered), count))
            return [(ordered[place], _rank(place, len(ordered), measure)) for place in places]
    places = sorted(spread(len(playable), count))
    return [(playable[place], "no scores to choose by") for place in places]


def why_none(systems: Sequence[System]) -> str:
    """Why `choose` found nothing to listen to."""
    common = [key for key in systems[0].rows if all(key in system.rows for system in systems)]
    if not common:
        return "no utterance is in all of these evaluations; make a report of each set of utterances"
    sources = [s for system in systems for s in (system.rows[common[0]].reference, system.rows[common[0]].estimate)]
    gone = next((source for source in sources if source is not None and not _is_there(source)), "")
    return f"no utterance has a file in all of these evaluations{f'; {gone} is not there' if gone else ''}"


def spread(total: int, count: int) -> list[int]:
    """`count` of the places 0 to total - 1: first, last, middle, then always the one farthest from all chosen."""
    chosen: list[int] = []
    while len(chosen) < min(total, count):
        distances = [min((abs(place - other) for other in chosen), default=total - place) for place in range(total)]
        chosen.append(int(np.argmax(distances)))
    return chosen


def _ordered(systems: Sequence[System], playable: Sequence[str], measure: Measure) -> list[str]:
    values = [system.values(measure) for system in systems]
    means = {
        key: float(np.mean([measure.compared(v[key]) for v in values]))
        for key in playable
        if all(key in v for v in values)
    }
    return sorted(means, key=lambda key: -means[key] if measure.less_is_better else means[key])


def _rank(place: int, total: int, measure: Measure) -> str:
    names = {(total - 1) // 2: "median", total - 1: "best", 0: "worst"} if total > 1 else {0: "the only one"}
    rank = names.get(place, f"rank {total - place}")
    return f"{rank} of {total} by {measure.heading}"


def _has_audio(system: System, utterance: str) -> bool:
    row = system.rows.get(utterance)
    return row is not None and all(_is_there(source) for source in (row.reference, row.estimate))


def _is_there(source: str | None) -> bool:
    return source is not None and (is_pipe(source) or os.path.isfile(source))
