"""V/UV F1 and F0 errors: whether a reconstruction is voiced where the original is, and at the same pitch.

All come from SwiftF0 (package `swift-f0`, weights inside), on frames of 16 ms at 16 kHz, voiced where its confidence
is at least 0.5, pitch looked for from 50 to 600 Hz (`audio.f0`).

- V/UV F1: 2 TP / (2 TP + FP + FN) of the voiced frames. No unit, range 0 to 1, higher is better.
- F0 RMSE: root mean square of 1200 log2(estimate / reference) over the frames that are voiced in both. Units: cents (an
  octave has 1200), range 0 upwards, lower is better. Nothing is left out of the mean, so a few frames that are an octave
  off outweigh all others: one clip's figure jumps, only means over clips compare systems.
- Median F0 error: median of the same without its sign, over the same frames: how exact pitch is where it is right.
- Gross F0 errors: share of the same frames whose estimate is more than 20 % off the reference. No unit, range 0 to 1,
  lower is better.

V/UV F1, RMSE and median are symmetric; gross errors are not quite: 20 % of the reference. They depend on the level:
SwiftF0 calls a frame voiceless whose peak is below 0.001 of full scale. Files of any length; the model runs over 30 s at
a time, with overlap, which does not change its output.

Undefined: all when no frame of either signal is voiced, the F0 errors when no frame is voiced in both; silence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.audio import f0
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import check_pair

FloatArray64 = npt.NDArray[np.float64]
GROSS = 0.2  # of the reference


def pitch(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> dict[str, float | MetricUndefined]:
    """V/UV F1 and F0 errors of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        `vuv_f1`, 0 to 1, and `f0_rmse_cents`, `f0_median_cents`, `f0_gross`, 0 to 1, or why there is none.

    Raises:
        MetricUndefined: the pair has none of them; the message says why.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    original_f0, original_voiced = f0.track(original, sample_rate)
    estimate_f0, estimate_voiced = f0.track(reconstruction, sample_rate)
    voiced = np.count_nonzero(original_voiced) + np.count_nonzero(estimate_voiced)
    if voiced == 0:
        raise MetricUndefined("no voiced frame in either signal")
    both = original_voiced & estimate_voiced
    f1 = 2 * np.count_nonzero(both) / voiced
    return {"vuv_f1": f1, **_errors(original_f0[both], estimate_f0[both])}


def _errors(wanted: FloatArray64, found: FloatArray64) -> dict[str, float | MetricUndefined]:
    """F0 errors of frames that are voiced in both signals, Hz [T]."""
    if len(wanted) == 0:
        reason = MetricUndefined("no frame is voiced in both signals")
        return dict.fromkeys(("f0_rmse_cents", "f0_median_cents", "f0_gross"), reason)
    ratio = found / wanted
    cents = 1200 * np.log2(ratio)
    return {
        "f0_rmse_cents": float(np.sqrt(np.mean(np.square(cents)))),
        "f0_median_cents": float(np.median(np.abs(cents))),
        "f0_gross": float(np.mean(np.abs(ratio - 1) > GROSS)),
    }
