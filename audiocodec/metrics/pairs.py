"""What every metric of a pair of signals needs to be true first, checked in one place.

A pair that fails has no score: `MetricUndefined` says why. No metric trims, pads or resamples one signal to fit the
other, because that hides a codec that loses samples; what `evaluation.scoring` does of it, it notes. What only one metric needs is checked in its own module; here is
what several ask for with limits of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined

FloatArray = npt.NDArray[np.float32]

# RMS around the mean of one step of 16-bit audio, -90.3 dB full scale: at or below it nothing can be heard.
SILENCE_RMS = 1 / 32768


def check_rates(*, reference: int, estimate: int) -> int:
    """The sample rate of both signals.

    Args:
        reference: Hz.
        estimate: Hz.

    Returns:
        Hz.

    Raises:
        MetricUndefined: they differ.
    """
    if reference != estimate:
        rates = f"reference {reference} Hz, estimate {estimate} Hz"
        raise MetricUndefined("sample rates differ", f"{rates}; evaluate --resample converts the estimate")
    return reference


def need_rate(sample_rate: int, least: int, metric: str) -> None:
    """Nothing, unless a sample rate is below the least in Hz that a metric, named for the message, is defined for.

    Raises:
        MetricUndefined: it is.
    """
    if sample_rate < least:
        raise MetricUndefined(f"{metric} needs {least} Hz or more, got {sample_rate} Hz")


def need_seconds(wav: npt.NDArray[np.floating], sample_rate: int, least: float) -> None:
    """Nothing, unless samples [S] last less than the least seconds that a metric is defined for.

    Raises:
        MetricUndefined: they do.
    """
    if len(wav) < least * sample_rate:
        raise MetricUndefined(f"shorter than {least} s")


def check_pair(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Both signals as float32, when they can be compared at all.

    Args:
        reference: original samples [S], full scale 1.
        estimate: reconstructed samples [S].

    Returns:
        (reference, estimate), contiguous float32 [S].

    Raises:
        MetricUndefined: no samples, different lengths, NaN or infinite samples, or one of them is silent.
        ValueError: not one-dimensional.
    """
    signals = {"reference": reference, "estimate": estimate}
    for name, signal in signals.items():
        if signal.ndim != 1:
            raise ValueError(f"{name} must be [S], got {list(signal.shape)}")
    if len(reference) != len(estimate):
        raise MetricUndefined("lengths differ", f"reference {len(reference)} samples, estimate {len(estimate)}")
    for name, signal in signals.items():
        if len(signal) == 0:
            raise MetricUndefined(f"{name} has no samples")
        if not np.isfinite(signal).all():
            raise MetricUndefined(f"{name} holds NaN or infinite samples")
        if float(np.std(signal, dtype=np.float64)) <= SILENCE_RMS:
            raise MetricUndefined(f"{name} is silent")
    return np.ascontiguousarray(reference, np.float32), np.ascontiguousarray(estimate, np.float32)
