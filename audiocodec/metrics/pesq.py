"""PESQ, wideband: perceived quality of speech, as predicted by ITU-T P.862.2 (package `pesq`, the ITU's C code).

Units: MOS-LQO. Range: 1.02 to 4.64. Direction: higher is better. Signals above 16 kHz are resampled to 16 kHz.

Undefined: below 16 kHz (P.862.2 has no narrow band), shorter than a quarter of a second, no speech found in the
reference, silence, and references of so many phrases that the C code runs over its table of fifty: it then returns
numbers made of overwritten memory, or crashes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import FloatArray, check_pair

RATE = 16_000
MIN_SECONDS = 0.25
MAX_PHRASES = 40  # the C code has room for 50; `count_phrases` is only an estimate of what it will find
_FRAME = 64  # samples at RATE: 4 ms, the C code's resolution for finding phrases
_PHRASE_FRAMES = 50  # shortest phrase, and shortest pause between two, that the C code knows
_NEVER_TOO_MANY = 50 * 2 * _PHRASE_FRAMES * _FRAME  # samples in which no more than 50 phrases have room: 20 s


def pesq(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Wideband PESQ of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        MOS-LQO, 1.02 (bad) to 4.64.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    from pesq import NoUtterancesError, PesqError
    from pesq import pesq as itu_pesq

    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    if sample_rate < RATE:
        raise MetricUndefined(f"wideband PESQ needs {RATE} Hz or more, got {sample_rate} Hz")
    original, reconstruction = (resample(x, sample_rate, RATE) for x in (original, reconstruction))
    if len(original) < MIN_SECONDS * RATE:
        raise MetricUndefined(f"shorter than {MIN_SECONDS} s")
    if len(original) > _NEVER_TOO_MANY and count_phrases(original) > MAX_PHRASES:
        raise MetricUndefined(f"more than {MAX_PHRASES} phrases: the ITU's code is unsafe beyond; cut the file")
    try:
        score = float(itu_pesq(RATE, original, reconstruction, "wb"))
    except NoUtterancesError:
        raise MetricUndefined("no utterance detected") from None
    except PesqError as error:
        raise MetricUndefined(f"PESQ refused: {_text(error)}") from None
    if not math.isfinite(score):
        raise MetricUndefined(f"PESQ gave {score}")
    return score


def count_phrases(wav: FloatArray) -> int:
    """About how many phrases the C code will find: stretches of speech between pauses of 200 ms.

    The same steps as its voice activity detector (threshold two deviations above the mean of what lies below it, twelve
    times over) after a first difference in place of its filters: within 15 % of its count on minutes of speech.

    Args:
        wav: samples [S] at 16 kHz.
    """
    change = np.diff(wav, prepend=np.float32(0))[: len(wav) // _FRAME * _FRAME]
    power = np.square(change, dtype=np.float64).reshape(-1, _FRAME).mean(1)
    power = np.maximum(power, 1e-4 * power.max())
    threshold = power.mean()
    for _ in range(12):
        low = power[power <= threshold]
        threshold = 1.001 * (low.mean() + 2 * low.std()) if len(low) else 0.0
    active = np.concatenate([[False], power > threshold, [False]])
    edges = np.flatnonzero(active[1:] != active[:-1])
    starts, ends = edges[::2], edges[1::2]
    joined = starts[1:] - ends[:-1] <= _PHRASE_FRAMES
    firsts = np.concatenate([[True], ~joined])[: len(starts)]
    lasts = np.concatenate([~joined, [True]])[: len(ends)]
    return int(np.count_nonzero(ends[lasts] - starts[firsts] >= _PHRASE_FRAMES))


def _text(error: Exception) -> str:
    cause = error.args[0] if error.args else error
    return cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
