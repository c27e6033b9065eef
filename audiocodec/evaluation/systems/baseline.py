"""What a baseline is, what it gives, and how its output gets the rate and length of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from audiocodec.audio import io
from audiocodec.errors import AudioError
from audiocodec.metrics.pairs import FloatArray


@dataclass(frozen=True)
class Coded:
    """One utterance through a baseline.

    Attributes:
        data: the file as the codec's own program writes it.
        payload_bits: of it, without headers and containers.
        wav: the reconstruction [S], at the reference's rate and of its length.
    """

    data: bytes
    payload_bits: int
    wav: FloatArray


class Baseline(Protocol):
    """A codec from outside. It is pickled and sent to processes, so it holds settings only."""

    @property
    def name(self) -> str:
        """What it is called on the command line and in tables; also the name of its folder."""

    @property
    def extension(self) -> str:
        """Of the coded files, with the dot."""

    def describe(self) -> str:
        """Program, version and settings: what two runs must share to have the same result."""

    def problems(self) -> list[str]:
        """Why it cannot run here, and what to install; empty when it can."""

    def code(self, wav: FloatArray, sample_rate: int) -> Coded:
        """Encode and decode one channel [S] at `sample_rate` Hz; raises `AudioCodecError` when that fails."""


def fit(wav: FloatArray, sample_rate: int, target_rate: int, num_samples: int) -> FloatArray:
    """Bring decoded audio to the reference's rate and cut what the resampler's rounding or padding left over.

    Args:
        wav: decoded samples [n] at `sample_rate`, without lag.
        sample_rate, target_rate: Hz.
        num_samples: of the reference, at `target_rate`.

    Returns:
        float32 [num_samples].

    Raises:
        AudioError: there is less than that: the codec lost samples, and no silence is put in their place.
    """
    resampled = io.resample(wav, sample_rate, target_rate)
    if len(resampled) < num_samples:
        raise AudioError(f"decoded to {len(resampled)} samples at {target_rate} Hz, expected {num_samples}")
    return np.ascontiguousarray(resampled[:num_samples])
