"""Mel distance: mean absolute difference of mel spectra in decibels, over three window lengths.

Own definition: 20 log10 of mel magnitudes (Slaney bands up to half the sample rate), absolute difference averaged over
bands and frames, then over the scales. Units: dB. Range: 0 (equal) upwards. Direction: lower is better. Whatever is
below white noise at -80 dB full scale counts as that noise, at every scale and rate, so that the difference between
quiet and digital silence does not drown the rest. Only scores at the same sample rate can be compared.

Undefined: silence. There is no shortest length.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.pairs import FloatArray, check_pair
from audiocodec.metrics.spectra import magnitudes

SCALES = ((512, 40), (1024, 80), (2048, 120))  # window in samples, mel bands; the hop is a quarter of the window
FLOOR_DB = -80.0


def mel_distance(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Mel distance of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        dB, 0 for equal signals.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    pair = np.stack(check_pair(reference=reference, estimate=estimate))
    return sum(_distance(pair, sample_rate, *scale) for scale in SCALES) / len(SCALES)


def _distance(pair: FloatArray, sample_rate: int, window: int, bands: int) -> float:
    """Mean distance in dB of (reference, estimate) [2, S] at one scale."""
    bank, floor = _bank(sample_rate, window, bands), np.float32(noise_floor(window, sample_rate))
    total, frames = 0.0, 0
    for block in magnitudes(pair, window, window // 4):
        first, second = np.log(np.maximum(block @ bank, floor))
        total += float(np.abs(first - second).sum(dtype=np.float64))
        frames += len(first)
    return 20 / math.log(10) * total / (frames * bands)


@lru_cache(maxsize=32)
def _bank(sample_rate: int, window: int, bands: int) -> FloatArray:
    """Mel filters [F, M]."""
    from librosa.filters import mel

    bank: FloatArray = mel(sr=sample_rate, n_fft=window, n_mels=bands).T
    return bank


def noise_floor(window: int, sample_rate: int) -> float:
    """Mean mel magnitude of white noise at `FLOOR_DB`.

    A magnitude of noise has the mean sqrt(pi) / 2 times the root of its power, which is the noise's power times the
    window's energy, 3/8 of its length. A band's weights have unit area over frequency: they add up to the bins per Hz.

    Args:
        window: samples.
        sample_rate: Hz.
    """
    return math.sqrt(math.pi) / 2 * 10 ** (FLOOR_DB / 20) * math.sqrt(3 / 8 * window) * window / sample_rate
