"""Multi-resolution STFT distance: how far the magnitude spectra of two signals are apart.

Parallel WaveGAN's (Yamamoto et al. 2020, arXiv 1910.11480, equations 3 to 6): spectral convergence (norm of the
difference over norm of the reference) plus mean absolute difference of natural logarithms, averaged over the paper's
three resolutions, which are also the defaults of `auraloss`. One number: the sum is what the paper defines. The first
term is about the loud parts of the spectrum, the second about all parts alike.

Units: none. Range: 0 (equal) upwards. Direction: lower is better. Own addition: magnitudes below what white noise at
-80 dB full scale measures on average count as that, at every resolution, so that the logarithms of digital silence do
not drown the rest. Phase does not count. Resolutions are in samples: only scores at the same sample rate can be
compared.

Undefined: silence. There is no shortest length.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.pairs import FloatArray, check_pair
from audiocodec.metrics.spectra import magnitudes

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # transform, hop, Hann window, in samples
FLOOR_DB = -80.0


def stft_distance(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> float:
    """Multi-resolution STFT distance of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both; changes nothing.

    Returns:
        0 for equal signals, more for others.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    pair = np.stack(check_pair(reference=reference, estimate=estimate))
    return sum(_distance(pair, *resolution) for resolution in RESOLUTIONS) / len(RESOLUTIONS)


def _distance(pair: FloatArray, n_fft: int, hop: int, window: int) -> float:
    """Spectral convergence plus log magnitude distance of (reference, estimate) [2, S] at one resolution."""
    floor = noise_floor(window)
    different, energy, logarithms, bins = 0.0, 0.0, 0.0, 0
    for block in magnitudes(pair, n_fft, hop, window):
        target, actual = np.maximum(block.astype(np.float64), floor)
        different += float(np.square(actual - target).sum())
        energy += float(np.square(target).sum())
        logarithms += float(np.abs(np.log(actual / target)).sum())
        bins += target.size
    return math.sqrt(different / energy) + logarithms / bins


def noise_floor(window: int) -> float:
    """Mean magnitude of white noise at `FLOOR_DB`: sqrt(pi) / 2 times the root of its power times the window's energy.

    Args:
        window: length in samples of the Hann window, whose energy is 3/8 of it.
    """
    return math.sqrt(math.pi) / 2 * 10 ** (FLOOR_DB / 20) * math.sqrt(3 / 8 * window)
