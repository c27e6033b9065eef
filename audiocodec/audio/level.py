"""The level of a signal, and what brings it to the level that a codec was trained at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.audio.resampling import resample_blocks

MAX_GAIN = 64.0  # 36 dB: below that a file is taken for noise that should stay quiet
OFFSET_SHARE = 0.01  # of the energy: less is no offset, and such audio is left as it is, to the bit
OFFSET_SECONDS = 0.5  # shorter sounds have a mean without an offset


@dataclass(frozen=True)
class LevelStats:
    """Level of one channel, or of a mix, over a whole file, full scale = 1, and how many samples the file has at its own rate.

    Attributes:
        rms, peak: around `offset`.
        num_samples: at the file's own rate.
        offset: constant that was added to the sound, as by the converter of a sound card; 0 where it is negligible.
    """

    rms: float
    peak: float
    num_samples: int
    offset: float = 0.0


def level_of(
    blocks: Iterable[np.ndarray],
    from_rate: int,
    to_rate: int,
    keep: Callable[[np.ndarray], None] = lambda block: None,
) -> LevelStats:
    """Of mono blocks `[n]` at `from_rate`, measured at `to_rate`; `keep` is called with what was measured."""
    taken: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for block in blocks:
            taken.append(len(block))
            yield block

    energy, total, count = 0.0, 0.0, 0
    low, high = np.inf, -np.inf
    for block in resample_blocks(counted(), from_rate, to_rate):
        energy += float(np.square(block, dtype=np.float64).sum())
        total += float(block.sum(dtype=np.float64))
        low, high = min(low, float(block.min(initial=np.inf))), max(high, float(block.max(initial=-np.inf)))
        count += len(block)
        keep(block)
    mean, square = total / count, energy / count
    if count < OFFSET_SECONDS * to_rate or mean**2 <= OFFSET_SHARE * square:
        return LevelStats(square**0.5, max(high, -low), sum(taken))
    offset = float(np.float32(mean))
    rms = max(0.0, square - offset * (2 * mean - offset)) ** 0.5
    return LevelStats(rms, max(high - offset, offset - low), sum(taken), offset)


def together(stats: Sequence[LevelStats]) -> LevelStats:
    """Of channels that one factor is for, so that their levels keep their difference: their mean power, the largest peak.

    One channel is what it is; several have no offset, which each has for itself.
    """
    if len(stats) == 1:
        return stats[0]
    power = sum(one.rms**2 for one in stats) / len(stats)
    return LevelStats(power**0.5, max(one.peak for one in stats), stats[0].num_samples)


def level_gain(stats: LevelStats, level_db: float) -> float:
    """Factor that brings a file to the RMS a codec expects.

    Args:
        stats: of the file.
        level_db: wanted RMS, dB full scale.

    Returns:
        1 for digital silence; else within 1/64 to 64, and lower where the peak would pass 1. Exact in float32.
    """
    if stats.rms == 0.0:
        return 1.0
    gain = min(max(10 ** (level_db / 20) / stats.rms, 1 / MAX_GAIN), MAX_GAIN, 1 / stats.peak)
    return float(np.float32(gain))


def at_level(wav: np.ndarray, stats: LevelStats, gain: float) -> np.ndarray:
    """Samples [n] of the signal with this level, without its offset, times `gain`."""
    return (wav - np.float32(stats.offset) if stats.offset else wav) * np.float32(gain)
