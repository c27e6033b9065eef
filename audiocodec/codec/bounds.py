"""What float32 may be off by, and which frames are decided again together: the same for torch and for numpy.

`docs/guide/determinism.md` says what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Distance by which a float32 latent of unit RMS per dimension may be off.
LATENT_ERROR = 1e-3
SCORE_ERROR = 2.0**-18  # of a float32 score, relative to |x| |c| + |c|^2 / 2
MIN_DISTANCE = 1e-30  # guards a division only
MAX_WINDOW = 4  # receptive fields: an end to the memory that one window takes


class Window(NamedTuple):
    """Frames `low` to `high`, on which all of `frames` depend and nothing else."""

    low: int
    high: int
    frames: list[int]


def windows(frames: Iterable[int], halo: tuple[int, int], end: int | None) -> Iterator[Window]:
    """The windows that some frames are computed in; neighbours whose receptive fields overlap share one.

    Args:
        frames: in ascending order.
        halo: frames (before, after) that each depends on.
        end: where the signal ends; None: it goes on.
    """
    left, right = halo
    field = left + 1 + right
    together: list[int] = []
    for frame in frames:
        if together and (frame - together[-1] >= field or frame - together[0] >= (MAX_WINDOW - 1) * field):
            yield _window(together, halo, end)
            together = []
        together.append(frame)
    if together:
        yield _window(together, halo, end)


def _window(frames: list[int], halo: tuple[int, int], end: int | None) -> Window:
    high = frames[-1] + halo[1] + 1
    return Window(max(0, frames[0] - halo[0]), high if end is None else min(high, end), frames)
