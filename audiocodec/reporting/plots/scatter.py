"""Quality against bitrate: a dot for each codec with its 95 % interval; lines for what is not coded or has no bitrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audiocodec.evaluation.catalogue import MEASURES, Measure
from audiocodec.reporting.plots import axes
from audiocodec.reporting.systems import System

_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320, 48, 428, 26, 276
_LABEL_HEIGHT, _LETTER, _WIDEST = 15, 8.5, 436
_AIR = 0.2  # of the range of the codecs, above and below: what is near enough is drawn where it is

_Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class _Point:
    index: int
    label: str
    rate: float | None  # None: a line
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class _Place:
    """A name's: the end of its base line that `anchor` says, and its width."""

    x: float
    y: float
    anchor: str
    width: float

    @property
    def box(self) -> _Box:
        left = self.x - (self.width if self.anchor == "end" else 0)
        return left, self.y - 11, left + self.width, self.y + 3


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
    coded = [bound for p in points if p.rate is not None for bound in (p.mean, *p.interval)]
    y = axes.Scale(*axes.padded(coded, _AIR), _BOTTOM, _TOP)  # of the codecs: a line far from them would squeeze them
    points = [_inside(point, y, measure) for point in points]
    parts = axes.frame(x, y, axes.log_ticks(x.low, x.high), axes.ticks(y.low, y.high))
    title = ", ".join(filter(None, (measure.heading, measure.direction)))
    parts.append(axes.text(_LEFT - 40, 14, title, "axis"))
    parts.append(axes.text(_RIGHT, _HEIGHT - 10, "kbps of codes, logarithmic", "axis", "end"))
    parts += _labels(points, x, y)
    for point in points:
        parts += _marks(point, x, y)
    return axes.svg(_HEIGHT, f"{measure.heading} against bitrate", parts)


def _inside(point: _Point, y: axes.Scale, measure: Measure) -> _Point:
    """A line that lies outside of the axis, at its edge and with its number."""
    if point.rate is not None or y.low <= point.mean <= y.high:
        return point
    edge, where = (y.high, "above") if point.mean > y.high else (y.low, "below")
    label = f"{point.label}: {point.mean:.{measure.decimals}f}, {where}"
    return replace(point, label=label, mean=edge, interval=(edge, edge))


def _point(index: int, system: System, measure: Measure) -> _Point | None:
    found = system.described(measure)
    if found is None or found.mean is None:
        return None
    coded = system.described(MEASURES["kbps_payload"])
    rate = (coded.mean or None) if coded is not None and system.competes else None
    label = system.label if rate is not None else f"{system.label}, {'no bitrate' if system.competes else 'not coded'}"
    return _Point(index, label, rate, found.mean, found.interval or (found.mean, found.mean))


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
    """Names beside the marks: each at the first of its places where it covers no mark and no other name."""
    parts: list[str] = []
    taken = [_mark_box(point, x, y) for point in points]
    for point in sorted(points, key=lambda p: y(p.mean)):
        places = _places(point, x, y)
        free = (place for place in places if not any(_overlap(place.box, other) for other in taken))
        chosen = next(free, places[0])
        taken.append(chosen.box)
        parts.append(axes.text(chosen.x, chosen.y, point.label, f"label {axes.colour(point.index)}", chosen.anchor))
    return parts


def _places(point: _Point, x: axes.Scale, y: axes.Scale) -> list[_Place]:
    """Where a name may stand: first close to its mark, then farther and farther below and above."""
    middle, width = y(point.mean), _LETTER * len(point.label)
    steps = [sign * _LABEL_HEIGHT * number for number in range(12) for sign in (1, -1)]
    if point.rate is None:
        places = [_Place(x.end, middle + offset, "end", width) for step in steps for offset in (step - 6, step + 14)]
    else:
        sides = [_Place(x(point.rate) + 8, 0, "start", width), _Place(x(point.rate) - 8, 0, "end", width)]
        inside = [side for side in sides if side.box[0] > x.start and side.box[2] < _WIDEST] or sides[1:]
        places = [replace(side, y=middle + step + 4) for step in steps for side in inside]
    return [place for place in places if _TOP < place.y < _BOTTOM] or places


def _mark_box(point: _Point, x: axes.Scale, y: axes.Scale) -> _Box:
    if point.rate is None:
        return x.start, y(point.mean) - 1, x.end, y(point.mean) + 1
    low, high = sorted(y(bound) for bound in point.interval)
    middle = y(point.mean)
    return x(point.rate) - 6, min(low, middle - 6), x(point.rate) + 6, max(high, middle + 6)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
