"""Loudness difference: by how much a reconstruction is louder or quieter than the original.

Integrated loudness by ITU-R BS.1770-4 (K-weighting, blocks of 0.4 s every 0.1 s, gates at -70 LUFS and 10 LU below the
mean; package `pyloudnorm`) of each signal as one channel; the difference without its sign. Units: LU. Range: 0 (equally
loud) upwards. Direction: lower is better, though it says nothing of quality otherwise: it tells what the listener's
level-matching hides, and whether another comparison is between levels. Noise that fills pauses can lower a loudness,
as the quiet blocks then pass the second gate.

The recommendation gives the filters' coefficients at 48 kHz. At other rates `pyloudnorm`'s filters of the class
`DeMan` are those: the analogue filters behind the coefficients, transformed anew; a sine of 997 Hz is up to 0.05 LU off.

Undefined: shorter than 0.4 s, nothing above -70 LUFS, rates below 8 kHz, and silence.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds

MIN_SECONDS = 0.4
MIN_RATE = 8_000
_STEPS_PER_SECOND = 10


def loudness_difference(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> float:
    """Difference of integrated loudness between a reconstruction and its original, without sign.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both, 8000 or more.

    Returns:
        LU, 0 when both are equally loud.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    pair = check_pair(reference=reference, estimate=estimate)
    levels = []
    for name, wav in zip(("reference", "estimate"), pair):
        try:
            levels.append(integrated_loudness(wav, sample_rate))
        except MetricUndefined as error:
            raise MetricUndefined(f"{name}: {error}") from None
    return abs(levels[1] - levels[0])


def integrated_loudness(wav: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Integrated loudness of one channel.

    Args:
        wav: samples [S], full scale 1. What is left after the last whole tenth of a second does not count.
        sample_rate: Hz, 8000 or more.

    Returns:
        LUFS; -3.01 for a sine of 997 Hz at full scale.

    Raises:
        MetricUndefined: too short, too quiet, or of too low a rate.
    """
    from pyloudnorm import Meter

    need_rate(sample_rate, MIN_RATE, "loudness")
    need_seconds(wav, sample_rate, MIN_SECONDS)
    # BS.1770 leaves an unfinished block out; pyloudnorm would take it for a whole one with silence at its end.
    steps = len(wav) * _STEPS_PER_SECOND // sample_rate
    whole = wav[: -(-steps * sample_rate // _STEPS_PER_SECOND)].astype(np.float64)
    loudness = float(Meter(sample_rate, filter_class="DeMan").integrated_loudness(whole))
    if not math.isfinite(loudness):
        raise MetricUndefined("nothing above -70 LUFS")
    return loudness
