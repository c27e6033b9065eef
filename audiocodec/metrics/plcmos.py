"""PLCMOS: quality of speech after lost packets were concealed, predicted from the estimate alone (package `speechmos`).

Diener et al. 2023, arXiv 2305.15127, second version of the model. Units: MOS. Range: about 1 to 5. Direction: higher is
better. The reference does not count, but the pair must be one that can be compared. It was made to hear gaps and what
fills them; for a codec without losses DNSMOS says more. The network takes random numbers that stand for a rater, and the
package draws 15 raters anew at every call; here they are drawn once, from a fixed seed, so that equal samples have equal
scores. Signals are resampled to 16 kHz and clipped at full scale, as in playing them. Files of any length.

Undefined: below 16 kHz, shorter than 1 s (own limit), and silence.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.metrics.pairs import FloatArray, check_pair, need_rate, need_seconds
from audiocodec.metrics.sessions import one_thread

RATE = 16_000
MIN_SECONDS = 1.0
RATERS, SEED = 15, 0  # as many as in the package


def plcmos(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """PLCMOS of a reconstruction.

    Args:
        reference: original samples [S]; only checked.
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        MOS.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    _, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "PLCMOS")
    need_seconds(reconstruction, sample_rate, MIN_SECONDS)
    model, raters = _model()
    spectra = model.stft_transform(np.clip(resample(reconstruction, sample_rate, RATE), -1, 1))
    heard = np.asarray(spectra, np.float32)[None, None]
    scores = [model.session.run(None, {"degraded_audio": heard, "rater_embed": rater})[0] for rater in raters]
    return float(np.mean(scores))


@lru_cache(maxsize=1)
def _model() -> tuple[Any, list[FloatArray]]:
    """The package's model, on one thread, and the raters [1, 64]."""
    from speechmos import plcmos as package

    model = package.PLCMOS()
    model.session = one_thread(Path(package.__file__).parent / "plcmos_models" / "plcmos_v2.onnx")
    return model, list(np.random.default_rng(SEED).normal(size=(RATERS, 1, 64)).astype(np.float32))
