"""The numbers of a voice as a source of sound, for both runtimes."""

from __future__ import annotations

import math

LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0  # of F0; the range of `audio.f0`
BASE_HZ = 150.0  # log F0 is that over this
CYCLE = 2**32  # units of phase
ONSET = CYCLE // 2  # phase with which a voice begins: between two pulses
FADE = 0.06  # of the log magnitude of the free spectrum per Hz, above the frequency up to which a voice has one
NEAR = 1e-6  # sines below it: the pulse itself, where the closed form is 0 / 0


def log_f0_range(sample_rate: int) -> tuple[float, float]:
    """Lowest and highest log F0: the range of voices, as far as it lies below the Nyquist frequency.

    Args:
        sample_rate: Hz.
    """
    return math.log(LOWEST_HZ / BASE_HZ), math.log(min(HIGHEST_HZ, 0.49 * sample_rate) / BASE_HZ)
