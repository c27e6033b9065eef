"""Word error rate of what a speech recogniser hears in the estimate. English only.

(substitutions + deletions + insertions) / words of the reference transcript. Units: none, a fraction. Range: 0 upwards,
above 1 where words are added. Direction: lower is better. The reference transcript is what the same recogniser hears in
the reference, so that its own errors do not count. The recogniser is PocketSphinx (package
`pocketsphinx`) with the US English model in its wheel: it is small, offline and far behind today's recognisers. On
other languages it hears English words at random and noise nobody minds changes most of them: the figure then means
nothing. Signals are resampled to 16 kHz and clipped at full scale; a file is recognised as one utterance, of any length.
A file's score does not depend on the files before it: means and noise are estimated anew.

Undefined: below 16 kHz, no word in the reference transcript, and silence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.metrics.pairs import FloatArray, check_pair, need_rate
from audiocodec.metrics.words import error_rate

RATE = 16_000


def word_error_rate(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> float:
    """Word error rate of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        Errors per word of the reference transcript, 0 upwards.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "word error rate")
    said, heard = (recognise(resample(wav, sample_rate, RATE)) for wav in (original, reconstruction))
    return error_rate(said, heard)


def recognise(wav: FloatArray) -> str:
    """What is heard in samples [S] at 16 kHz."""
    decoder = _decoder()
    decoder.reinit_feat()  # else the noise that it takes away is that of the file before
    decoder.start_utt()
    decoder.process_raw((np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return str(hypothesis.hypstr) if hypothesis else ""


@lru_cache(maxsize=1)
def _decoder() -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=float(RATE), cmn="batch", loglevel="FATAL")
