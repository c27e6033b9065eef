"""UTMOS: naturalness of speech predicted from the estimate alone (Saeki et al. 2022, arXiv 2204.02152), with the user's weights.

Units: MOS. Range: about 1 to 5. Direction: higher is better. The reference does not count, but the pair must be one that
can be compared. No package brings the weights: `AUDIOCODEC_UTMOS` names them, `AUDIOCODEC_UTMOS_SHA256` says the hash that a
file must have, and docs/guide/evaluation.md says where they come from. They are code: torch runs what is there. Signals are
resampled to 16 kHz.

Undefined: below 16 kHz, shorter than 0.5 s (own limit), and silence.
"""

from __future__ import annotations

import math
import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.errors import MetricUndefined, UsageError
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds
from audiocodec.metrics.weights import check_they_load, checked, given

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
    model, more = _model(str(_find()))
    with torch.inference_mode():
        found = model(torch.from_numpy(resample(reconstruction, sample_rate, RATE))[None], *more)
    score = float(torch.as_tensor(found).mean())
    if not math.isfinite(score):
        raise MetricUndefined(f"UTMOS gave {score}")
    return score


def weights_name(load: bool = False) -> str:
    """What to call the weights at hand; `load` tries to load them.

    Raises:
        UsageError: there are none, not those that `AUDIOCODEC_UTMOS_SHA256` asks for, or damaged ones.
    """
    path = _find()
    if load:
        check_they_load(path, _model.__wrapped__)
    return f"folder {path.resolve().name}" if path.is_dir() else checked(path, VARIABLE)


def _find() -> Path:
    path = given(VARIABLE)
    if path is None:
        raise UsageError(
            f"no package brings its weights: {VARIABLE} names them, and is not set (docs/guide/evaluation.md says how to "
            "get them)"
        )
    return path


@lru_cache(maxsize=1)
def _model(path: str) -> tuple[Any, tuple[int, ...]]:
    """What scores a batch of signals, and what it takes besides: a folder's model is told the rate, TorchScript is not."""
    import torch

    if os.path.isdir(path):
        return torch.hub.load(path, _NAME, source="local"), (RATE,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which torch still reads
        return torch.jit.load(path, map_location="cpu").eval(), ()
