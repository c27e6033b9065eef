"""What the plots share: scales from numbers to places, round ticks, and the pieces of an SVG.

Plots are 440 wide, so that their text can be read on a phone without scrolling. Colours are classes of the page's
style sheet: `c0` to `c11` for systems, in the order of the table; with more, a colour comes twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 440
COLOURS = 12


@dataclass(frozen=True)
class Scale:
    """Maps `low` .. `high` onto the places `start` .. `end`; logarithmic when `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def padded(values: Iterable[float], share: float = 0.08) -> tuple[float, float]:
    """Lowest and highest with some air around; never equal."""
    found = list(values)
    low, high = min(found), max(found)
    air = share * (high - low) or abs(high) * share or 1.0
    return low - air, high + air


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers between two numbers."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if (high - low) / s <= count)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of each decade between two positive numbers; only the decades when they are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < 200 else (1,)
    return [digit * 10.0**decade for decade in decades for digit in digits if low <= digit * 10.0**decade <= high]


def number(value: float) -> str:
    """A tick's text."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}".replace("e-0", "e-").replace("-", "\u2212")


def colour(index: int) -> str:
    """The class of a system."""
    return f"c{index % COLOURS}"


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """The whole picture; `title` is what a screen reader says."""
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">{body}</svg>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line of a class."""
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place; `anchor`: start, middle or end."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def dot(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    """A disc of a class, with words that appear when it is pointed at."""
    inner = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}">{inner}</circle>'


def frame(x: Scale, y: Scale, x_ticks: Iterable[float], y_ticks: Iterable[float]) -> list[str]:
    """Grid lines with their numbers."""
    left, right = sorted((x.start, x.end))
    top, bottom = sorted((y.start, y.end))
    parts = []
    for value in x_ticks:
        parts += [
            line(x(value), top, x(value), bottom, "grid"),
            text(x(value), bottom + 15, number(value), "", "middle"),
        ]
    for value in y_ticks:
        parts += [line(left, y(value), right, y(value), "grid"), text(left - 5, y(value) + 4, number(value), "", "end")]
    return parts
