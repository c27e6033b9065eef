"""UTMOS: naturalness of speech predicted from the estimate alone (Saeki et al. 2022, arXiv 2204.02152), with the user's weights.

Units: MOS. Range: about 1 to 5. Direction: higher is better. The reference does not count, but the pair must be one that
can be compared. No package brings the weights: `AUDIOCODEC_UTMOS` names them, and docs/guide/evaluation.md says where they
come from. They are code: torch runs what is there. Signals are resampled to 16 kHz.

Undefined: below 16 kHz, shorter than 0.5 s (own limit), and silence.
"""

from __future__ import annotations

import math
import os
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds

VARIABLE = "AUDIOCODEC_UTMOS"
RATE = 16_000
MIN_SECONDS = 0.5
_NAME = "utmos22_strong"


def utmos(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """UTMOS of a reconstruction.

    Args:
        reference: original samples [S]; only checked.
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        MOS.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    import torch

    _, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "UTMOS")
    need_seconds(reconstruction, sample_rate, MIN_SECONDS)
    model, more = _model(os.environ[VARIABLE])
    with torch.inference_mode():
        found = model(torch.from_numpy(resample(reconstruction, sample_rate, RATE))[None], *more)
    score = float(torch.as_tensor(found).mean())
    if not math.isfinite(score):
        raise MetricUndefined(f"UTMOS gave {score}")
    return score


@lru_cache(maxsize=1)
def _model(path: str) -> tuple[Any, tuple[int, ...]]:
    """What scores a batch of signals, and what it takes besides: a folder's model is told the rate, TorchScript is not."""
    import torch

    if os.path.isdir(path):
        return torch.hub.load(path, _NAME, source="local"), (RATE,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which torch still reads
        return torch.jit.load(path, map_location="cpu").eval(), ()
