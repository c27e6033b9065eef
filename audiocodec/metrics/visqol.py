"""ViSQOL, speech mode: quality predicted from the similarity of two spectrograms (Chinen et al. 2020, ViSQOL v3).

Package `visqol-python`, a port of Google's C++ code, with the lattice network that is the C++ code's default (the
package's extra `lattice`; its polynomial substitute over-predicts by 1 to 2) and numba (`accel`; without it, minutes
per clip). Units: MOS-LQO. Range: 1 to 5; a perfect copy has about 4.5, not 5. Direction: higher is better. Signals are
resampled to 16 kHz. The package aligns the pair itself and equalises its level: lag and gain cost nothing here.

White noise brings clips down to between 1 and 1.5 at 10 dB SNR already; there the network wavers by some tenths, so
differences between bad systems say little, and only means over clips fall with the noise. Files of any length; time
grows with it. The first call in a new environment compiles for about 10 s, and is cached on disk for later processes.

Undefined: below 16 kHz, shorter than 0.64 s (one patch of 20 frames), and silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiocodec.audio.io import resample
from audiocodec.metrics.pairs import check_pair, need_rate, need_seconds

if TYPE_CHECKING:
    from visqol import VisqolApi

RATE = 16_000
MIN_SECONDS = 0.64  # 29 frames of 80 ms every 20 ms: 9 before the first patch, and 20 in it


def visqol(*, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int) -> float:
    """ViSQOL of a reconstruction.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        MOS-LQO, 1 (bad) to 5.

    Raises:
        MetricUndefined: the pair has no score; the message says why.
    """
    original, reconstruction = check_pair(reference=reference, estimate=estimate)
    need_rate(sample_rate, RATE, "ViSQOL")
    need_seconds(original, sample_rate, MIN_SECONDS)
    original, reconstruction = (resample(x, sample_rate, RATE) for x in (original, reconstruction))
    result = _model().measure_from_arrays(original.astype(np.float64), reconstruction.astype(np.float64), RATE)
    return float(result.moslqo)


@lru_cache(maxsize=1)
def _model() -> VisqolApi:
    import numba
    from visqol import VisqolApi

    numba.set_num_threads(1)
    api = VisqolApi()
    with _no_native_messages():
        api.create(mode="speech", use_lattice_model=True)
    return api


@contextmanager
def _no_native_messages() -> Iterator[None]:
    """Keep off standard error what C++ code writes there: LiteRT announces itself in every process."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
