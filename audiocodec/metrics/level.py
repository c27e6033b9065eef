"""Level in four bands: by how much a reconstruction is too loud or too quiet, from 0 to 8 kHz.

Own definition: energy of the whole estimate over energy of the whole reference, each in one band, in decibels. Energies
are those of one Fourier transform of each whole signal, without its mean and with 10 ms faded in and out, so that no
window and no cut smears one band into the next. A band has its lower edge and not its upper one. Units: dB. Range: about
-90 to 90. Direction: nearest to 0. Positive: the estimate is too loud there, negative: too quiet. It says nothing of
quality otherwise; it tells what metrics that align the level hide (PESQ), and which band a loss has raised or lowered.

What is below 16-bit audio's smallest step, -90.3 dB full scale in RMS within the band, is silence. An estimate that is
silent in a band counts as being at that limit: it has lost the band, and its score says so.

Undefined: per band, where the reference is silent in it, or where half the sample rate lies below its upper edge; all,
for silence. There is no shortest length.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MetricUndefined
from audiocodec.metrics.pairs import SILENCE_RMS, FloatArray, check_pair, need_rate

BANDS = ((0, 1), (1, 2), (2, 4), (4, 8))  # kHz
FADE_SECONDS = 0.01
MIN_SIZE_BITS = 11  # of the transform: every band has a coefficient, however short the signal


def name_of(band: tuple[int, int]) -> str:
    """What the measure of a band, in kHz, is called."""
    return f"level_{band[0]}_{band[1]}_khz"


def level(
    *, reference: npt.NDArray[np.floating], estimate: npt.NDArray[np.floating], sample_rate: int
) -> dict[str, float | MetricUndefined]:
    """Error of a reconstruction's level in each band.

    Args:
        reference: original samples [S].
        estimate: reconstructed samples [S].
        sample_rate: Hz of both.

    Returns:
        dB by measure, above 0 where the estimate is too loud, or why there is none.

    Raises:
        MetricUndefined: the pair has no score in any band; the message says why.
    """
    pair = check_pair(reference=reference, estimate=estimate)
    wanted, found = (_powers(wav, sample_rate) for wav in pair)
    return {name_of(band): _error(w, f, band, sample_rate) for band, w, f in zip(BANDS, wanted, found)}


def _error(wanted: float, found: float, band: tuple[int, int], sample_rate: int) -> float | MetricUndefined:
    """dB of the power `found` over `wanted` in a band in kHz."""
    name, silence = f"{band[0]}-{band[1]} kHz", SILENCE_RMS**2
    try:
        need_rate(sample_rate, 2000 * band[1], f"level in {name}")
    except MetricUndefined as error:
        return error
    if wanted <= silence:
        return MetricUndefined(f"reference is silent in {name}")
    return 10 * math.log10(max(found, silence) / wanted)


def _powers(wav: FloatArray, sample_rate: int) -> list[float]:
    """Mean square of samples [S] in each band; zeros at the end change nothing in it."""
    size = 1 << max(MIN_SIZE_BITS, len(wav).bit_length())
    energies = np.square(np.abs(np.fft.rfft(_faded(wav, sample_rate), size)))
    energies[1:] *= 2  # the half of the spectrum that is not computed
    edges = [[math.ceil(1000 * edge * size / sample_rate) for edge in band] for band in BANDS]
    return [float(energies[low:high].sum(dtype=np.float64)) / (size * len(wav)) for low, high in edges]


def _faded(wav: FloatArray, sample_rate: int) -> FloatArray:
    """Samples [S] around their mean, the ends brought to zero by half a period of a cosine."""
    length = min(round(FADE_SECONDS * sample_rate), len(wav) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    faded: FloatArray = (wav - wav.mean(dtype=np.float64)).astype(np.float32)
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded
