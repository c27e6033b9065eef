"""How one measure is distributed over utterances, and over groups of them: box plots and intervals, one under another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocodec.evaluation.catalogue import Measure
from audiocodec.report import axes
from audiocodec.report.systems import System

MAX_DOTS = 300  # utterances drawn one by one
_LEFT, _RIGHT, _ROW, _GROUP_HEAD, _AXIS = 10, 430, 44, 24, 24


@dataclass(frozen=True)
class GroupScore:
    """Mean over `count` utterances of a group, and its 95 % bootstrap interval."""

    mean: float
    interval: tuple[float, float] | None
    count: int


def boxes(systems: Sequence[System], measure: Measure) -> str:
    """A box plot for each system: quartiles, median, mean as a diamond; whiskers are the lowest and the highest.

    Args:
        systems: all of the report.
        measure: whose values.

    Returns:
        SVG; empty without values.
    """
    values = {index: list(system.values(measure).values()) for index, system in enumerate(systems)}
    drawn = {index: np.asarray(found) for index, found in values.items() if found}
    if not drawn:
        return ""
    x = axes.Scale(*axes.padded((v for found in drawn.values() for v in found), 0.03), _LEFT, _RIGHT)
    bottom = _ROW * len(drawn) + 4
    parts = axes.frame(x, axes.Scale(0, 1, bottom, 4), axes.ticks(x.low, x.high, 6), ())
    for place, (index, found) in enumerate(drawn.items()):
        parts += _box(x, place * _ROW + 4, index, systems[index].label, found)
    return axes.svg(bottom + _AXIS, f"Distribution of {measure.heading} over utterances", parts)


def group_scores(system: System, measure: Measure, column: str) -> dict[str, GroupScore]:
    """Scores by the values of one column of the manifest, where there are any.

    Args:
        system: whose summary.
        measure: what was averaged.
        column: of the manifest.
    """
    found = {value: measures.get(measure.name) for value, measures in system.groups(column).items()}
    return {value: _score(described) for value, described in found.items() if described and described["n_scored"]}


def intervals(systems: Sequence[System], measure: Measure, scores: Sequence[Mapping[str, GroupScore]]) -> str:
    """Means and intervals, group by group.

    Args:
        systems: all of the report.
        measure: what the scores are of.
        scores: what `group_scores` gave for each system.

    Returns:
        SVG; empty without scores.
    """
    every = [score for found in scores for score in found.values()]
    groups = sorted({group for found in scores for group in found})
    if not every:
        return ""
    bounds = [bound for score in every for bound in (score.mean, *(score.interval or ()))]
    x = axes.Scale(*axes.padded(bounds, 0.03), _LEFT, _RIGHT)
    parts, height = [], 0.0
    for group in groups:
        count = max(found[group].count for found in scores if group in found)
        parts.append(axes.text(_LEFT, height + 16, f"{group} ({count})", "axis"))
        height += _GROUP_HEAD
        for index, found in enumerate(scores):
            if group in found:
                parts += _interval(x, height, index, systems[index].label, found[group])
                height += 14
    grid = axes.frame(x, axes.Scale(0, 1, height + 4, 4), axes.ticks(x.low, x.high, 6), ())
    return axes.svg(height + 4 + _AXIS, f"{measure.heading} by group", grid + parts)


def _score(described: Mapping[str, Any]) -> GroupScore:
    bounds = described["interval"]
    return GroupScore(described["mean"], None if bounds is None else (bounds[0], bounds[1]), described["n_scored"])


def _interval(x: axes.Scale, top: float, index: int, label: str, score: GroupScore) -> list[str]:
    low, high = score.interval or (score.mean, score.mean)
    tip = f"{label}: {score.mean:.4g} [{low:.4g}, {high:.4g}], {score.count} utterances"
    kind = axes.colour(index)
    return [axes.line(x(low), top + 4, x(high), top + 4, kind), axes.dot(x(score.mean), top + 4, 4.5, kind, tip)]


def _box(x: axes.Scale, top: float, index: int, label: str, values: np.ndarray) -> list[str]:
    kind, middle = axes.colour(index), top + 30
    low, first, median, third, high = (x(float(q)) for q in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    mean = x(float(values.mean()))
    parts = [axes.text(_LEFT, top + 14, f"{label} ({len(values)})", f"label {kind}")]
    parts.append(axes.line(low, middle, high, middle, kind))
    width = max(third - first, 1)
    parts.append(f'<rect class="box {kind}" x="{first:g}" y="{middle - 9:g}" width="{width:g}" height="18" rx="2"/>')
    if len(values) <= MAX_DOTS:
        offsets = np.random.default_rng(0).uniform(-6, 6, len(values))
        places = zip(values, offsets)
        parts += [axes.dot(x(float(v)), round(middle + float(o), 1), 1.8, f"{kind} faint") for v, o in places]
    parts.append(axes.line(median, middle - 9, median, middle + 9, f"{kind} median"))
    diamond = f"M{mean:g} {middle - 5:g}l5 5l-5 5l-5 -5z"
    return [*parts, f'<path class="mean" d="{diamond}"><title>mean {values.mean():.4g}</title></path>']
