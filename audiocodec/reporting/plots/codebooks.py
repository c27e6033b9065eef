"""How evenly codebooks are used: entries sorted by how often they occur, and how many occur how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.codebook import octave_names, octaves
from audiocodec.reporting.plots import axes

MAX_POINTS = 160
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 300, 60, 428, 26, 256


def usage_curves(counts: Sequence[npt.NDArray[np.int64]]) -> str:
    """One falling curve for each codebook; the dashed line is what equal use would be.

    Args:
        counts: per codebook, how often each entry occurred [V].

    Returns:
        SVG; empty when nothing was counted.
    """
    drawn = [(index, np.sort(found)[::-1] / found.sum()) for index, found in enumerate(counts) if found.sum()]
    if not drawn:
        return ""
    size = max(len(shares) for _, shares in drawn)
    lowest = min(float(shares[shares > 0].min()) for _, shares in drawn)
    highest = max(float(shares[0]) for _, shares in drawn)
    x = axes.Scale(1, max(size, 2), _LEFT, _RIGHT, log=True)
    y = axes.Scale(min(lowest, 1 / size) / 1.5, highest * 1.5, _BOTTOM, _TOP, log=True)
    parts = axes.frame(x, y, axes.log_ticks(x.low, x.high), axes.log_ticks(y.low, y.high))
    parts.append(axes.text(_LEFT - 54, 14, "share of all codes", "axis"))
    parts.append(axes.text(_RIGHT, _HEIGHT - 12, "entries, most frequent first", "axis", "end"))
    for index, shares in drawn:
        even = y(1 / len(shares))
        parts.append(axes.line(_LEFT, even, x(len(shares)), even, f"{axes.colour(index)} dashed"))
        parts.append(_curve(x, y, shares, index))
    return axes.svg(_HEIGHT, "Use of codebook entries, sorted", parts)


def usage_histogram(counts: Sequence[npt.NDArray[np.int64]]) -> str:
    """How many entries of each codebook never occurred, once, 2 or 3 times, 4 to 7 times, and so on.

    Args:
        counts: per codebook, how often each entry occurred [V].

    Returns:
        SVG; empty when nothing was counted.
    """
    found = {index: octaves(of) for index, of in enumerate(counts) if of.sum()}
    if not found:
        return ""
    bins = max(len(entries) for entries in found.values())
    names = octave_names(bins)
    place = axes.Scale(0, bins, _LEFT, _RIGHT)
    y = axes.Scale(0.5, 1.5 * max(max(entries) for entries in found.values()), _BOTTOM, _TOP, log=True)
    parts = axes.frame(place, y, (), axes.log_ticks(1, y.high))
    parts.append(axes.text(_LEFT - 54, 14, "entries", "axis"))
    parts.append(axes.text(_RIGHT, _HEIGHT - 12, "times an entry occurred, up to the next number", "axis", "end"))
    parts += [
        axes.text(place(b + 0.5), _BOTTOM + 15, axes.number(float(name.partition("-")[0])), "", "middle")
        for b, name in enumerate(names)
    ]
    width = 0.84 * (place(1) - _LEFT) / len(found)
    for slot, (index, entries) in enumerate(found.items()):
        for b, number in enumerate(entries):
            if number:
                left, top = place(b) + 0.08 * (place(1) - _LEFT) + slot * width, y(float(number))
                tip = f"codebook {index}: {number:,} entries, {names[b]} times"
                size = f'width="{width:.1f}" height="{_BOTTOM - top:.1f}"'
                parts.append(
                    f'<rect class="{axes.colour(index)}" x="{left:.1f}" y="{top:g}" {size}><title>{tip}</title></rect>'
                )
    return axes.svg(_HEIGHT, "Codebook entries by how often they occur", parts)


def _curve(x: axes.Scale, y: axes.Scale, shares: npt.NDArray[np.float64], index: int) -> str:
    used = shares[shares > 0]
    places = np.unique(np.geomspace(1, len(used), MAX_POINTS).round().astype(int))
    points = " ".join(f"{x(float(place))},{y(float(used[place - 1]))}" for place in places)
    if len(places) == 1:
        return axes.dot(x(1.0), y(float(used[0])), 4, axes.colour(index), f"codebook {index}")
    return f'<polyline class="curve {axes.colour(index)}" points="{points}"><title>codebook {index}</title></polyline>'
