"""Noise that is the same on every machine and at every place of a signal: random phases from a hash, in a fixed table.

numpy only: the decoders of both runtimes use the same numbers. A decoder that needs noise for frame i takes row
`i % ROWS`, so that chunks and streams give what the whole gives. The table repeats after `ROWS` frames (3.3 s at 75
frames per second), shaped by other filters each time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROWS = 251  # frames; prime, so that it is in step with nothing
SCATTER = 0.2  # hops by which frames of a free spectrum are shifted at most, forward or back


def phases(bins: int) -> npt.NDArray[np.float32]:
    """Uniform random phases `[ROWS, bins]` in radians, 0 to 2 pi.

    The hash is SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014) of the place in the table.

    Args:
        bins: frequencies per frame.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64
        x = (np.arange(1, ROWS * bins + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    unit = (x >> np.uint64(40)).astype(np.float64) / 2**24
    return (2 * np.pi * unit).astype(np.float32).reshape(ROWS, bins)


def scatter(bins: int, overlap: int, max_shift: float = SCATTER) -> npt.NDArray[np.float32]:
    """Phases `[ROWS, bins]` in radians that rotate each frame by a random angle and shift it by a random time.

    Args:
        bins: frequencies per frame, from 0 to the Nyquist frequency.
        overlap: hops per frame.
        max_shift: hops by which a frame is shifted at most, forward or back.
    """
    angle, time = np.split(phases(2).astype(np.float64), 2, axis=1)
    hops = max_shift * (time / np.pi - 1)
    return ((angle + 2 * np.pi / overlap * hops * np.arange(bins)) % (2 * np.pi)).astype(np.float32)
