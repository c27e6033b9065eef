"""SI-SDR: scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, arXiv 1811.02508, equation 3).

Both signals have their means removed. The estimate is split into the part along the reference and the rest, and the
energies of the two are compared: no gain, and no change of polarity, costs anything. Everything else does, also what
nobody hears, such as another phase or a lag of one sample: codecs that do not keep the waveform score far below zero.

Units: dB. Range: -100 to 100. Direction: higher is better. Equal signals have an infinite ratio and unrelated ones a
ratio of zero; both are true values, not failures, so that they count as the ends of the range: 100 dB is beyond what
16-bit audio can carry.

Undefined: silence. There is no shortest length.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.metrics.pairs import check_pair

MAX_DB = 100.0


def si_sdr(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """SI-SDR of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both; changes nothing.

    Returns:
        dB, -100 to 100.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    pair = check_pair(reference=reference, estimate=estimate)
    original, reconstruction = (x - x.mean() for x in (y.astype(np.float64) for y in pair))
    target = original @ reconstruction / (original @ original) * original
    distortion = reconstruction - target
    signal_energy, noise_energy = float(target @ target), float(distortion @ distortion)
    if noise_energy <= signal_energy * 10 ** (-MAX_DB / 10):
        return MAX_DB
    if signal_energy <= noise_energy * 10 ** (-MAX_DB / 10):
        return -MAX_DB
    return 10 * math.log10(signal_energy / noise_energy)
