"""STOI: short-time objective intelligibility of speech (Taal et al. 2011; package `pystoi`).

Units: none, a mean correlation of band envelopes. Range: 0 to 1, slightly negative for unrelated signals. Direction:
higher is better. `pystoi` resamples to 10 kHz itself; the frequencies above 5 kHz do not count.

Undefined: fewer than 30 frames (0.4 s) left once the reference's silent frames are dropped (`pystoi` then warns
and returns 1e-5, which is not a score), and silence.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import check_pair

MIN_SECONDS = 0.4  # 30 frames of 256 samples with hop 128 at 10 kHz


def stoi(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """STOI of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        About 0 (unintelligible) to 1.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    from pystoi import stoi as taal_stoi

    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    if len(original) < MIN_SECONDS * sample_rate:
        raise MetricUndefined(f"shorter than {MIN_SECONDS} s")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            score = float(taal_stoi(original.astype(np.float64), reconstruction.astype(np.float64), sample_rate))
        except RuntimeWarning as warning:
            raise MetricUndefined(_reason(str(warning))) from None
    if not math.isfinite(score):
        raise MetricUndefined(f"STOI gave {score}")
    return score


def _reason(warning: str) -> str:
    return "less than 0.4 s of speech" if "Not enough STFT frames" in warning else f"pystoi warned: {warning}"
