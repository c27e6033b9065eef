"""How far a float32 latent may be from the exact one: measured for each model, by the level of a frame.

Quiet frames have the largest errors: there a signal of -70 dB meets biases a thousand times as large. A model file
carries the largest error that its encoder was seen to make at each level; docs/guide/determinism.md says how it is measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.constants import LATENT_ERROR
from audiocodec.records import from_json, parse

LEVELS = tuple(range(-96, 0, 6))  # dB full scale, RMS of a frame: borders between the levels that are told apart
SAFETY = 3.0  # times the largest error seen: another processor was seen to be 1.8 times as far off
MIN_AMPLITUDE = 1e-9  # guards a logarithm only

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LatentError:
    """Euclidean distances, of latents of unit RMS per dimension.

    Attributes:
        seen: the largest error seen at each level, from below the first of `LEVELS` to above the last; 0 where no frame
            was seen. Empty: nothing was measured.
    """

    seen: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.seen and len(self.seen) != len(LEVELS) + 1:
            raise ValueError(f"need {len(LEVELS) + 1} errors, got {len(self.seen)}")
        if not all(0 <= value < 1 for value in self.seen):
            raise ValueError("errors must be 0 or more and below 1")

    @property
    def largest(self) -> float:
        """The largest of all bounds."""
        return float(self._table().max())

    def bounds(self, wav: FloatArray, frames: npt.NDArray[np.integer], hop_length: int) -> FloatArray:
        """What the latents of `frames [n]` of `wav [S]` may be off, `[n]`."""
        if not self.seen:
            return np.full(len(frames), LATENT_ERROR, np.float32)
        return self._table()[levels_of(wav, frames, hop_length)]

    def to_json(self) -> str:
        """As a model file holds it."""
        return json.dumps(self.seen)

    @classmethod
    def from_json(cls, text: str) -> LatentError:
        """What `to_json` gave.

        Raises:
            ValueError: it is none.
        """
        return cls(parse(tuple[float, ...], from_json(text, limit=10_000), "need a list of numbers"))

    def _table(self) -> FloatArray:
        """The bound of each level: of it and its neighbours the largest error, and the general bound where none was seen."""
        if not self.seen:
            return np.array([LATENT_ERROR], np.float32)
        seen = np.array(self.seen, np.float32)
        around = np.max([seen, np.append(seen[1:], 0), np.append(0, seen[:-1])], axis=0)
        return np.where(seen > 0, SAFETY * around, LATENT_ERROR).astype(np.float32)


def levels_of(wav: FloatArray, frames: npt.NDArray[np.integer], hop_length: int) -> npt.NDArray[np.intp]:
    """Which of the levels the `frames [n]` of `wav [S]` have, `[n]`; samples that are missing count as zero."""
    short = max(0, (int(frames.max(initial=-1)) + 1) * hop_length - len(wav))
    samples = np.pad(wav, (0, short))
    each = samples[: len(samples) // hop_length * hop_length].reshape(-1, hop_length)[frames]
    rms = np.sqrt(np.square(each, dtype=np.float64).mean(1))
    levels: npt.NDArray[np.intp] = np.digitize(20 * np.log10(rms + MIN_AMPLITUDE), LEVELS)
    return levels


def largest_by_level(errors: FloatArray, levels: npt.NDArray[np.intp]) -> LatentError:
    """Of `errors [n]` at `levels [n]`, see `LatentError`."""
    largest = np.zeros(len(LEVELS) + 1)
    np.maximum.at(largest, levels, errors)
    return LatentError(tuple(float(f"{value:.3g}") for value in largest))
