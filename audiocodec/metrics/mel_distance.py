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
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.pairs import check_pair

if TYPE_CHECKING:
    from audiocodec.dsp.mel import LogMel

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
    import torch

    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    with torch.inference_mode():
        pair = torch.from_numpy(np.stack([original, reconstruction]))
        distances = []
        for scale in _scales(sample_rate):
            first, second = scale(pair)
            distances.append(20 * float((first - second).abs().mean(dtype=torch.float64)))
    return sum(distances) / len(distances)


@lru_cache(maxsize=8)
def _scales(sample_rate: int) -> list[LogMel]:
    from audiocodec.dsp.mel import LogMel

    return [
        LogMel(sample_rate, window, window // 4, bands, noise_floor(window, sample_rate)) for window, bands in SCALES
    ]


def noise_floor(window: int, sample_rate: int) -> float:
    """Mean mel magnitude of white noise at `FLOOR_DB`.

    A magnitude of noise has the mean sqrt(pi) / 2 times the root of its power, which is the noise's power times the
    window's energy, 3/8 of its length. A band's weights have unit area over frequency: they add up to the bins per Hz.

    Args:
        window: samples.
        sample_rate: Hz.
    """
    return math.sqrt(math.pi) / 2 * 10 ** (FLOOR_DB / 20) * math.sqrt(3 / 8 * window) * window / sample_rate
