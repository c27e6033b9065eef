"""Speaker similarity: cosine of the two signals' speaker embeddings (GE2E, Wan et al. 2018; package `Resemblyzer`).

Units: none. Range: 0 (another voice; the embeddings have no negative values) to 1 (the same voice). Direction: higher
is better. Unrelated speakers have about 0.5. Each signal is resampled to 16 kHz and prepared as the package does it:
raised to -30 dB full scale where it is quieter, pauses cut by its voice activity detector. What lies beyond full scale
is clipped first, as in playing it: the detector works on 16-bit integers, which would wrap. The embedding is the mean
over windows of 1.6 s, 1.3 a second, so a file of any length has one; memory grows by about 1 MB per second of audio.
Symmetric: exchanging the signals changes nothing.

Undefined: less than 0.8 s left of either signal without its pauses (the window would be mostly padding), and silence.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import FloatArray, check_pair

RATE = 16_000
MIN_SECONDS = 0.8  # half a window


def speaker_similarity(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> float:
    """Speaker similarity of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        Cosine, 0 to 1.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    first = _embed(resample(original, sample_rate, RATE), "reference")
    second = _embed(resample(reconstruction, sample_rate, RATE), "estimate")
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _embed(wav: FloatArray, name: str) -> npt.NDArray[np.float64]:
    """Embedding [256] of samples [S] at 16 kHz."""
    encoder, preprocess = _model()
    enough = MIN_SECONDS * RATE
    speech = preprocess(np.clip(wav, -1, 1)) if len(wav) >= enough else wav
    if len(speech) < enough:
        raise MetricUndefined(f"less than {MIN_SECONDS} s of speech in the {name}")
    return np.asarray(encoder.embed_utterance(speech), np.float64)


@lru_cache(maxsize=1)
def _model() -> tuple[Any, Any]:
    """The encoder, and what prepares samples for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*scipy.ndimage.morphology", DeprecationWarning)  # imported by resemblyzer
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # imported by webrtcvad
        from resemblyzer import VoiceEncoder, preprocess_wav
    return VoiceEncoder("cpu", verbose=False), preprocess_wav
