"""PESQ: perceived quality of speech, as predicted by the ITU (package `pesq`, the ITU's C code).

`pesq`, wideband: ITU-T P.862.2, at 16 kHz. Units: MOS-LQO. Range: 1.02 to 4.64.
`pesq_nb`, narrowband: ITU-T P.862 mapped by P.862.1, at 8 kHz: what a telephone handset would let through. Units:
MOS-LQO. Range: 1.0 to 4.55. The two scales cannot be compared with each other.

Direction: higher is better. Signals of a higher rate are resampled.

Undefined: a lower rate than the scale's, shorter than a quarter of a second, no speech found in the reference, silence,
and references of so many phrases that the C code runs over its table of fifty: it then returns numbers made of
overwritten memory, or crashes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import FloatArray, check_pair, need_rate, need_seconds

WIDE_RATE, NARROW_RATE = 16_000, 8_000
MIN_SECONDS = 0.25
MAX_PHRASES = 40  # the C code has room for 50; `count_phrases` is only an estimate of what it will find
_FRAMES_PER_SECOND = 250  # the C code's resolution for finding phrases
_PHRASE_FRAMES = 50  # shortest phrase, and shortest pause between two, that the C code knows
_NEVER_TOO_MANY = 50 * 2 * _PHRASE_FRAMES / _FRAMES_PER_SECOND  # seconds in which at most 50 phrases have room: 20


def pesq(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Wideband PESQ of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both, 16000 or more.

    Returns:
        MOS-LQO, 1.02 (bad) to 4.64.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    return _itu_score(*_at_rate(reference, estimate, sample_rate, WIDE_RATE, "wideband"), WIDE_RATE, "wb")


def pesq_nb(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """Narrowband PESQ of a reconstruction, MOS-LQO, 1.0 (bad) to 4.55: as `pesq`, but from 8000 Hz on."""
    return _itu_score(*_at_rate(reference, estimate, sample_rate, NARROW_RATE, "narrowband"), NARROW_RATE, "nb")


def _at_rate(
    reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int, rate: int, scale: str
) -> tuple[FloatArray, FloatArray]:
    """The pair, checked and resampled to the rate of a scale."""
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, rate, f"{scale} PESQ")
    # Checked again: all there is may have been above half of `rate`.
    return check_pair(
        reference=resample(original, sample_rate, rate), estimate=resample(reconstruction, sample_rate, rate)
    )


def _itu_score(original: FloatArray, reconstruction: FloatArray, sample_rate: int, mode: str) -> float:
    """The C code's score of what is already at the scale's rate; `mode` is `wb` or `nb`."""
    from pesq import NoUtterancesError, PesqError
    from pesq import pesq as itu_pesq

    need_seconds(original, sample_rate, MIN_SECONDS)
    if len(original) > _NEVER_TOO_MANY * sample_rate and count_phrases(original, sample_rate) > MAX_PHRASES:
        raise MetricUndefined(f"more than {MAX_PHRASES} phrases: the ITU's code is unsafe beyond; cut the file")
    try:
        score = float(itu_pesq(sample_rate, original, reconstruction, mode))
    except NoUtterancesError:
        raise MetricUndefined("no utterance detected") from None
    except PesqError as error:
        raise MetricUndefined(f"PESQ refused: {_text(error)}") from None
    if not math.isfinite(score):
        raise MetricUndefined(f"PESQ gave {score}")
    return score


def count_phrases(wav: FloatArray, sample_rate: int = WIDE_RATE) -> int:
    """About how many phrases the C code will find: stretches of speech between pauses of 200 ms.

    The same steps as its voice activity detector (threshold two deviations above the mean of what lies below it, twelve
    times over) after a first difference in place of its filters: within 15 % of its count on minutes of speech.

    Args:
        wav: samples [S].
        sample_rate: Hz, 16000 or 8000.
    """
    frame = sample_rate // _FRAMES_PER_SECOND
    change = np.diff(wav, prepend=np.float32(0))[: len(wav) // frame * frame]
    power = np.square(change, dtype=np.float64).reshape(-1, frame).mean(1)
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
