"""Pitch of speech by SwiftF0 (package `swift-f0`, weights inside): F0 and voicing every 16 ms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.resampling import resample

RATE = 16_000  # Hz, that SwiftF0 works at
STEP_SECONDS = 0.016  # from one value to the next; the first belongs to the first sample
VOICED = 0.5  # confidence at which SwiftF0 is calibrated
F0_RANGE = (50.0, 600.0)  # Hz, of speech; the model's own range ends at 2094 Hz, where clicks have a pitch


def track(wav: npt.NDArray[np.float32], sample_rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """F0 in Hz `[T]` of samples `[S]`, and whether a frame is voiced `[T]`.

    SwiftF0 calls a frame voiceless whose peak is below 0.001 of full scale: bring quiet audio to a level first.

    Raises:
        ImportError: swift-f0 is not installed.
    """
    result = _detector().detect(resample(wav, sample_rate, RATE), RATE, *F0_RANGE)
    return result.pitch_hz, result.confidence >= VOICED


@lru_cache(maxsize=1)
def _detector() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)  # OMP_NUM_THREADS does not reach ONNX Runtime
