"""How a codebook is used, from counts of its codes over a set of token files.

Usage: share of the entries that occur, 0 to 1. Entropy: of the codes' frequencies, bits per code, 0 to log2(V).
Perplexity: 2^entropy, the number of equally likely entries that would be as hard to guess, 1 to V. Dead codes:
entries that never occur. Direction: more usage and more entropy mean that more of the bits paid for carry something;
neither is quality. All depend on how much audio was counted: entries cannot occur more often than there are frames,
so `frames` belongs to the numbers.

Effective dimension: the participation ratio (sum l)^2 / sum l^2 of the eigenvalues l of the covariance of the codes' latents,
each counted as often as it occurred: 1 (all on a line) to D (alike in all directions). As in training, where it is an alarm.

Undefined: nothing was counted; effective dimension of a single code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined


@dataclass(frozen=True)
class CodebookUse:
    """Use of one codebook over `frames` codes; `entropy` in bits."""

    codebook_size: int
    frames: int
    usage: float
    perplexity: float
    entropy: float
    dead_codes: int


def codebook_use(counts: npt.NDArray[np.integer]) -> CodebookUse:
    """Describe one codebook.

    Args:
        counts: how often each entry occurred [V].

    Raises:
        MetricUndefined: all counts are zero.
    """
    total = int(counts.sum())
    if total == 0:
        raise MetricUndefined("no codes were counted")
    seen = counts[counts > 0]
    shares = seen / total
    entropy = max(0.0, float(-(shares * np.log2(shares)).sum()))
    return CodebookUse(
        codebook_size=len(counts),
        frames=total,
        usage=len(seen) / len(counts),
        perplexity=float(2.0**entropy),
        entropy=entropy,
        dead_codes=len(counts) - len(seen),
    )


def effective_dimension(counts: npt.NDArray[np.integer], latents: npt.NDArray[np.floating]) -> float:
    """Effective dimension of one codebook in use.

    Args:
        counts: how often each entry occurred [V].
        latents: what each stands for [V, D].

    Raises:
        MetricUndefined: fewer than two different latents occurred.
    """
    used = counts > 0
    shares, vectors = counts[used] / max(1, counts.sum()), latents[used].astype(np.float64)
    centred = vectors - shares @ vectors
    covariance = (centred * shares[:, None]).T @ centred
    ratio = participation_ratio(covariance)
    if ratio == 0:
        raise MetricUndefined("fewer than two different codes were counted")
    return ratio


def participation_ratio(covariance: npt.NDArray[np.floating]) -> float:
    """`(sum l)^2 / sum l^2` of the eigenvalues of a covariance `[D, D]`: 1 to D; 0 where nothing varies."""
    energy = float(np.square(covariance).sum())
    return float(np.trace(covariance) ** 2 / energy) if energy else 0.0


def octaves(counts: npt.NDArray[np.integer]) -> list[int]:
    """Number of codes that occur 0, 1, 2 to 3, 4 to 7, ... times, up to the most frequent one; `counts [V]`."""
    exponents = np.frexp(counts.astype(np.float64))[1]  # 0 -> 0, 1 -> 1, 2 and 3 -> 2, ...
    return [int(n) for n in np.bincount(exponents)]


def octave_names(count: int) -> list[str]:
    """What the first `count` entries of `octaves` stand for: 0, 1, 2-3, 4-7, ..."""
    ranges = [(2**n, 2 ** (n + 1) - 1) for n in range(count - 1)]
    return ["0", *(str(low) if low == high else f"{low}-{high}" for low, high in ranges)]


@final
class CodeCounter:
    """Adds up codes file by file; files may use fewer codebooks than others.

    Attributes:
        counts: per codebook, how often each entry occurred [V].
    """

    def __init__(self) -> None:
        self.counts: list[npt.NDArray[np.int64]] = []

    def add(self, codes: npt.NDArray[np.integer], codebook_sizes: Sequence[int]) -> None:
        """Count the codes of one file.

        Args:
            codes: [K, T].
            codebook_sizes: entries of each codebook [K].

        Raises:
            MetricUndefined: a codebook has another size than in the files before.
        """
        for index, (row, size) in enumerate(zip(codes, codebook_sizes, strict=True)):
            if index == len(self.counts):
                self.counts.append(np.zeros(size, np.int64))
            if len(self.counts[index]) != size:
                raise MetricUndefined(f"codebook {index} has {size} entries here, {len(self.counts[index])} before")
            self.counts[index] += np.bincount(row, minlength=size)

    def describe(self) -> list[CodebookUse]:
        """Use of each codebook, coarsest first."""
        return [codebook_use(counts) for counts in self.counts]
