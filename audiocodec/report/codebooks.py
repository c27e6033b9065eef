"""How evenly codebooks are used: entries sorted by how often they occur, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.report import axes

MAX_POINTS = 160
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 300, 52, 428, 26, 256


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
    parts.append(axes.text(_LEFT - 46, 14, "share of all codes", "axis"))
    parts.append(axes.text(_RIGHT, _HEIGHT - 12, "entries, most frequent first", "axis", "end"))
    for index, shares in drawn:
        even = y(1 / len(shares))
        parts.append(axes.line(_LEFT, even, x(len(shares)), even, f"{axes.colour(index)} dashed"))
        parts.append(_curve(x, y, shares, index))
    return axes.svg(_HEIGHT, "Use of codebook entries, sorted", parts)


def _curve(x: axes.Scale, y: axes.Scale, shares: npt.NDArray[np.float64], index: int) -> str:
    used = shares[shares > 0]
    places = np.unique(np.geomspace(1, len(used), MAX_POINTS).round().astype(int))
    points = " ".join(f"{x(float(place))},{y(float(used[place - 1]))}" for place in places)
    if len(places) == 1:
        return axes.dot(x(1.0), y(float(used[0])), 4, axes.colour(index), f"codebook {index}")
    return f'<polyline class="curve {axes.colour(index)}" points="{points}"><title>codebook {index}</title></polyline>'
