"""Levels of finite scalar quantization (arXiv 2309.15505): which codebook sizes there are, and of what dimensions.

The paper advises 5 levels or more in every dimension and uses up to 8. A size is a product of such levels or is
refused; sizes are exact, 64,000 is never called 65,536. As 5, 2 x 3, 7 and 2^3 the levels of a size are unique.
"""

from __future__ import annotations

import itertools

LEVELS = (8, 7, 6, 5)


def fsq_levels(size: int) -> tuple[int, ...] | None:
    """Levels of each dimension, largest first, whose product is `size`; None where there are none."""
    counts, left = {}, size
    for level, prime in ((5, 5), (7, 7), (6, 3)):  # 3 comes in 6 only, and what is left of 2 in 8
        counts[level] = 0
        while left % prime == 0 and left % level == 0:
            counts[level] += 1
            left //= level
    counts[8] = 0
    while left % 8 == 0:
        counts[8] += 1
        left //= 8
    levels = tuple(level for level in LEVELS for _ in range(counts[level]))
    return levels if left == 1 and levels else None


def nearest_fsq_sizes(size: int, largest: int) -> tuple[int, ...]:
    """The sizes next to `size`, below and above, that have levels; none is over `largest`."""
    powers = (tuple(itertools.takewhile(lambda n: n <= largest, (level**k for k in range(19)))) for level in LEVELS)
    sizes = sorted({a * b * c * d for a, b, c, d in itertools.product(*powers)} - {1})
    below = [n for n in sizes if n < size][-1:]
    above = [n for n in sizes if size < n <= largest][:1]
    return tuple(below + above)
