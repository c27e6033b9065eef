"""Share of speech: how much of a signal a voice activity detector takes for speech (Silero VAD 6, package `silero-vad`).

The detector gives a probability for each 32 ms; steps with 0.5 or more are speech. Measures: `speech_share`, that of the
estimate, and `speech_share_error`, estimate minus reference. Units: none. Range: 0 to 1, and -1 to 1. Direction: none, and
nearest to 0: below 0 speech was lost, above 0 something else now sounds like speech. It tells whether somebody speaks, not
how well. Signals are resampled to 16 kHz and clipped at full scale. The network runs on onnxruntime; the package itself is
not imported, as that sets the threads of torch to one.

Undefined: below 16 kHz, shorter than 32 ms, and silence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined, UsageError
from audiocodec.installing import advice, package_folder
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds
from audiocodec.metrics.sessions import one_thread

RATE = 16_000
STEP, CONTEXT = 512, 64  # samples that the network takes at once, and those of the step before that it takes with them
MIN_SECONDS = STEP / RATE
THRESHOLD = 0.5


def voice_activity(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> dict[str, float | MetricUndefined]:
    """Share of speech in a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        `speech_share`, `speech_share_error`.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "the share of speech")
    need_seconds(original, sample_rate, MIN_SECONDS)
    signals = (resample(wav, sample_rate, RATE) for wav in (original, reconstruction))
    before, after = (share_of_speech(speech_probabilities(wav)) for wav in signals)
    return {"speech_share": after, "speech_share_error": after - before}


def share_of_speech(probabilities: npt.NDArray[np.floating]) -> float:
    """Share of steps, with their probabilities of speech [T], that is speech, 0 to 1; of none: 0."""
    return float(np.mean(probabilities >= THRESHOLD)) if len(probabilities) else 0.0


def speech_probabilities(wav: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Probability of speech in each 32 ms of samples [S] at 16 kHz; the last step is filled with zeros.

    Raises:
        UsageError: the detector is not installed.
    """
    session = _session()
    count = -(-len(wav) // STEP)
    padded = np.zeros(CONTEXT + count * STEP, np.float32)
    padded[CONTEXT : CONTEXT + len(wav)] = np.clip(wav, -1, 1)
    state, rate, found = np.zeros((2, 1, 128), np.float32), np.array(RATE, np.int64), []
    for first in range(0, count * STEP, STEP):
        piece = padded[None, first : first + CONTEXT + STEP]
        probability, state = session.run(None, {"input": piece, "state": state, "sr": rate})
        found.append(float(probability[0, 0]))
    return np.array(found, np.float32)


@lru_cache(maxsize=1)
def _session() -> Any:
    folder = package_folder("silero_vad")
    if folder is None:
        raise UsageError(f"the share of speech needs silero_vad, which is not installed; {advice('metrics')}")
    return one_thread(folder / "data" / "silero_vad.onnx")
