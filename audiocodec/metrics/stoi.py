"""STOI: short-time objective intelligibility of speech, plain and extended (package `pystoi`).

`stoi`: mean correlation of band envelopes (Taal et al. 2011). `estoi`, extended: correlation of whole spectra that are
normalized over time and over bands (Jensen and Taal 2016); it also follows noise that comes and goes.

Units: none. Range: 0 to 1, slightly negative for unrelated signals. Direction: higher is better. `pystoi` resamples to
10 kHz itself; the frequencies above 5 kHz do not count.

Undefined: fewer than 30 frames (0.4 s) left once the reference's silent frames are dropped (`pystoi` then warns
and returns 1e-5, which is not a score), and silence.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import FloatArray, check_pair, need_seconds

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
    return _taal_score(*check_pair(reference=reference, estimate=estimate), sample_rate, extended=False)


def estoi(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Extended STOI of a reconstruction: arguments, range and errors are those of `stoi`."""
    return _taal_score(*check_pair(reference=reference, estimate=estimate), sample_rate, extended=True)


def _taal_score(original: FloatArray, reconstruction: FloatArray, sample_rate: int, *, extended: bool) -> float:
    from pystoi import stoi as taal_stoi

    need_seconds(original, sample_rate, MIN_SECONDS)
    pair = original.astype(np.float64), reconstruction.astype(np.float64)
    with warnings.catch_warnings(), _same_noise():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            score = float(taal_stoi(*pair, sample_rate, extended))
        except RuntimeWarning as warning:
            raise MetricUndefined(_reason(str(warning))) from None
    if not math.isfinite(score):
        raise MetricUndefined(f"STOI gave {score}")
    return score


@contextmanager
def _same_noise() -> Iterator[None]:
    """Seeds numpy's global generator, from which extended STOI draws noise of 1e-16, and puts it back as it was.

    Where the estimate is digital silence this noise is all there is: scores would differ from run to run.
    """
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)


def _reason(warning: str) -> str:
    return "less than 0.4 s of speech" if "Not enough STFT frames" in warning else f"pystoi warned: {warning}"
