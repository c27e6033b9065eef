"""How one measure is distributed over utterances, and over groups of them: box plots, one under another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from audiocodec.evaluation.catalogue import Measure
from audiocodec.reporting.plots import axes
from audiocodec.reporting.systems import System

MAX_DOTS = 300  # utterances drawn one by one
_LEFT, _RIGHT, _ROW, _AXIS = 10, 430, 44, 24
_GROUP_LEFT, _GROUP_ROW, _GROUP_HEAD, _LETTERS = 168, 18, 26, 16  # a system is named beside its box in a group


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
        top, label = place * _ROW + 4, systems[index].label
        parts.append(axes.text(_LEFT, top + 14, f"{label} ({len(found)})", f"label {axes.colour(index)}"))
        parts += _box(x, top + 30, 9, index, label, found)
    return axes.svg(bottom + _AXIS, f"Distribution of {measure.heading} over utterances", parts)


def group_scores(system: System, measure: Measure, column: str) -> dict[str, GroupScore]:
    """Scores by the values of one column of the manifest, where there are any.

    Args:
        system: whose summary.
        measure: what was averaged.
        column: of the manifest.
    """
    found = {value: measures.get(measure.name) for value, measures in system.groups(column).items()}
    return {
        value: GroupScore(described.mean, described.interval, described.n_scored)
        for value, described in found.items()
        if described is not None and described.mean is not None
    }


def group_boxes(systems: Sequence[System], measure: Measure, column: str) -> str:
    """A box plot for each system in every group, group by group.

    Args:
        systems: all of the report.
        measure: whose values.
        column: of the manifest.

    Returns:
        SVG; empty without values.
    """
    groups: dict[str, dict[int, list[float]]] = {}
    for index, system in enumerate(systems):
        for group, values in system.values_by_group(measure, column).items():
            groups.setdefault(group, {})[index] = values
    every = [value for of in groups.values() for values in of.values() for value in values]
    if not every:
        return ""
    x = axes.Scale(*axes.padded(every, 0.03), _GROUP_LEFT, _RIGHT)
    parts, height = [], 0.0
    for group, of in sorted(groups.items()):
        parts.append(axes.text(_LEFT, height + 16, f"{group} ({max(map(len, of.values()))})", "axis title"))
        height += _GROUP_HEAD
        for index, values in of.items():
            label = systems[index].label
            short = label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}\u2026"
            parts.append(axes.text(_LEFT, height + 12, short, f"label {axes.colour(index)}"))
            parts += _box(x, height + 8, 6, index, f"{label}, {group}", np.asarray(values))
            height += _GROUP_ROW
    grid = axes.frame(x, axes.Scale(0, 1, height + 4, 4), axes.ticks(x.low, x.high, 6), ())
    return axes.svg(height + 4 + _AXIS, f"Distribution of {measure.heading} by {column}", grid + parts)


def _box(x: axes.Scale, middle: float, half: float, index: int, name: str, values: np.ndarray) -> list[str]:
    """Box, whiskers, dots and mean around a line at `middle`; `half` is half of the box's height."""
    kind = axes.colour(index)
    low, first, median, third, high = (x(float(q)) for q in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    parts = [axes.line(low, middle, high, middle, kind)]
    shape = f'x="{first:g}" y="{middle - half:g}" width="{max(third - first, 1):g}" height="{2 * half:g}" rx="2"'
    parts.append(f'<rect class="box {kind}" {shape}/>')
    if len(values) <= MAX_DOTS:
        offsets = np.random.default_rng(0).uniform(-2 * half / 3, 2 * half / 3, len(values))
        places = zip(values, offsets)
        parts += [axes.dot(x(float(v)), round(middle + float(o), 1), 1.8, f"{kind} faint") for v, o in places]
    parts.append(axes.line(median, middle - half, median, middle + half, f"{kind} median"))
    tip = escape(f"{name}: mean {values.mean():.4g}, median {np.median(values):.4g} of {len(values)}")
    diamond = f"M{x(float(values.mean())):g} {middle - 5:g}l5 5l-5 5l-5 -5z"
    return [*parts, f'<path class="mean" d="{diamond}"><title>{tip}</title></path>']
