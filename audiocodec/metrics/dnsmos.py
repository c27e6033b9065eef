"""DNSMOS: quality of speech predicted from the estimate alone (Reddy et al. 2021, 2022; package `speechmos`).

P.835: overall (`dnsmos_ovrl`), of the speech (`dnsmos_sig`), of the background (`dnsmos_bak`); P.808: overall
(`dnsmos_p808`). Units: MOS. Range: about 1 to 5. Direction: higher is better. The reference does not count, but the
pair must be one that can be compared. `dnsmos_sig` is made not to hear noise: it hardly falls above 10 dB SNR. All
depend on the level. Signals are resampled to 16 kHz and clipped at full scale, as in playing them.

The models take 9.01 s. A shorter signal is doubled until it is long enough; a longer one is scored every second, the
windows' scores are averaged, and what is left of the last second does not count: time grows with length, at about
a quarter of a second of one core per second of audio.

Undefined: below 16 kHz, shorter than 1 s (own limit: the models would hear a loop), and silence.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds
from audiocodec.metrics.sessions import one_thread

RATE = 16_000
MIN_SECONDS = 1.0
_MODELS = ("sig_bak_ovr.onnx", "model_v8.onnx")  # P.835 and P.808
_NAMES = {"ovrl_mos": "dnsmos_ovrl", "sig_mos": "dnsmos_sig", "bak_mos": "dnsmos_bak", "p808_mos": "dnsmos_p808"}


def dnsmos(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> dict[str, float | MetricUndefined]:
    """DNSMOS of a reconstruction.

    Args:
        reference: original samples [S]; only checked.
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        `dnsmos_ovrl`, `dnsmos_sig`, `dnsmos_bak`, `dnsmos_p808`: MOS.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    _, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "DNSMOS")
    need_seconds(reconstruction, sample_rate, MIN_SECONDS)
    scores = _model()(np.clip(resample(reconstruction, sample_rate, RATE), -1, 1), RATE, False)
    return {name: float(scores[key]) for key, name in _NAMES.items()}


@lru_cache(maxsize=1)
def _model() -> Any:
    """The package's two models, on one thread: it makes sessions as wide as the machine, whatever OMP_NUM_THREADS is."""
    from speechmos import dnsmos as package

    paths = [Path(package.__file__).parent / "dnsmos_models" / name for name in _MODELS]
    model = package.DNSMOS(*map(str, paths))
    model.onnx_sess, model.p808_onnx_sess = map(one_thread, paths)
    return model
