"""Quality against bitrate: a dot for each codec with its 95 % interval; lines for what is not coded or has no bitrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audiocodec.evaluation.catalogue import LOWER, MEASURES, Measure
from audiocodec.report import axes
from audiocodec.report.systems import System

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320, 48, 428, 26, 276
_LABEL_HEIGHT, _LETTER = 15, 8.5


@dataclass(frozen=True)
class _Point:
    index: int
    label: str
    rate: float | None  # None: a line
    mean: float
    interval: tuple[float, float]


def scatter(systems: Sequence[System], measure: Measure) -> str:
    """The plot as SVG; empty when no system has both numbers.

    Args:
        systems: all of the report.
        measure: on the vertical axis; the horizontal one is the bitrate of the codes.
    """
    points = [point for index, system in enumerate(systems) if (point := _point(index, system, measure))]
    rates = [point.rate for point in points if point.rate is not None]
    if not rates:
        return ""
    x = axes.Scale(min(rates) / 1.5, max(rates) * 2, _LEFT, _RIGHT, log=True)
    y = axes.Scale(*axes.padded(bound for p in points for bound in (p.mean, *p.interval)), _BOTTOM, _TOP)
    parts = axes.frame(x, y, axes.log_ticks(x.low, x.high), axes.ticks(y.low, y.high))
    direction = "lower is better" if measure.better == LOWER else "higher is better" if measure.better else ""
    parts.append(axes.text(_LEFT - 40, 14, f"{measure.heading}{', ' if direction else ''}{direction}", "axis"))
    parts.append(axes.text(_RIGHT, _HEIGHT - 10, "kbps of codes, logarithmic", "axis", "end"))
    parts += _labels(points, x, y)
    for point in points:
        parts += _marks(point, x, y)
    return axes.svg(_HEIGHT, f"{measure.heading} against bitrate", parts)


def _point(index: int, system: System, measure: Measure) -> _Point | None:
    found = system.described(measure)
    if found is None or found["mean"] is None:
        return None
    mean = float(found["mean"])
    low, high = found["interval"] or (mean, mean)
    coded = system.described(MEASURES["kbps_payload"]) or {}
    rate = coded.get("mean") or None if system.competes else None
    label = system.label if rate is not None else f"{system.label}, {'no bitrate' if system.competes else 'not coded'}"
    return _Point(index, label, rate, mean, (float(low), float(high)))


def _marks(point: _Point, x: axes.Scale, y: axes.Scale) -> list[str]:
    kind = axes.colour(point.index)
    if point.rate is None:
        return [axes.line(x.start, y(point.mean), x.end, y(point.mean), f"{kind} dashed")]
    place = x(point.rate)
    low, high = point.interval
    tip = f"{point.label}: {point.mean:.4g} [{low:.4g}, {high:.4g}] at {point.rate:.3g} kbps"
    ends = [axes.line(place - 4, y(bound), place + 4, y(bound), kind) for bound in point.interval]
    return [axes.line(place, y(low), place, y(high), kind), *ends, axes.dot(place, y(point.mean), 5, kind, tip)]


def _labels(points: Sequence[_Point], x: axes.Scale, y: axes.Scale) -> list[str]:
    """Names beside the dots, moved down where they would lie on each other."""
    parts: list[str] = []
    taken: dict[str, float] = {}  # side of the plot -> lowest place in use
    for point in sorted(points, key=lambda p: y(p.mean)):
        place = x.end if point.rate is None else x(point.rate)
        side = "start" if place + _LETTER * len(point.label) + 8 < x.end else "end"
        wanted = y(point.mean) - 6 if point.rate is None else y(point.mean) - 8
        height = max(wanted, taken.get(side, 0) + _LABEL_HEIGHT)
        if point.rate is None and height > wanted:
            height = max(height, y(point.mean) + _LABEL_HEIGHT)  # below the line, not across it
        taken[side] = height
        offset = 0 if point.rate is None else -8 if side == "end" else 8
        parts.append(axes.text(place + offset, height, point.label, f"label {axes.colour(point.index)}", side))
    return parts
