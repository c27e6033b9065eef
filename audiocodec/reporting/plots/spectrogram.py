"""Spectrograms of short clips as pictures: level over time and frequency, and the difference of two.

Linear frequency from 0 Hz at the bottom to half the sample rate at the top; Hann windows of about 32 ms. Levels are
power averaged over the bins of a picture row, in dB below the reference's loudest spot. The error is the estimate's level less
the reference's, both raised to -60 dB of that spot, so that silence against near silence is no error.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.reporting.plots.png import blend, data_uri, palette_png

ROWS, MAX_COLUMNS = 128, 600
RANGE_DB, ERROR_DB, FLOOR_DB = 80.0, 30.0, -60.0
_LEVELS = 49  # odd: the middle of the error's palette is exactly no error
_LEVEL_COLOURS = blend(
    [(8, 8, 20), (52, 22, 100), (150, 40, 110), (232, 94, 70), (253, 180, 90), (252, 246, 200)], _LEVELS
)
_ERROR_COLOURS = blend([(110, 200, 255), (30, 90, 190), (20, 20, 26), (200, 70, 20), (255, 200, 90)], _LEVELS)

FloatArray = npt.NDArray[np.floating]


def power(wav: FloatArray, sample_rate: int) -> FloatArray:
    """Power over time and frequency.

    Args:
        wav: samples [S].
        sample_rate: Hz.

    Returns:
        float64 [ROWS, columns], the lowest frequency first.
    """
    n_fft = 2 ** max(round(math.log2(0.032 * sample_rate)), int(math.log2(2 * ROWS)))
    hop = max(1, sample_rate // 100, -(-len(wav) // (MAX_COLUMNS - 1)))
    padded = np.pad(np.asarray(wav, np.float64), n_fft // 2, mode="reflect" if len(wav) > n_fft // 2 else "constant")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    bins = np.square(np.abs(np.fft.rfft(frames * window))).T[: n_fft // 2]
    return np.asarray(bins.reshape(ROWS, -1, bins.shape[1]).mean(axis=1))


def level_picture(level: FloatArray, loudest: float) -> str:
    """Picture of a spectrogram as a data URI.

    Args:
        level: what `power` gave.
        loudest: power that is 0 dB.
    """
    decibels = 10 * np.log10(np.maximum(level / loudest, 10 ** (-RANGE_DB / 10)))
    return _picture(1 + decibels / RANGE_DB, level=True)


def error_picture(reference: FloatArray, estimate: FloatArray) -> str:
    """Picture of the difference as a data URI: blue where the estimate lacks energy, orange where it adds some.

    Args:
        reference, estimate: what `power` gave, [ROWS, columns] of both.
    """
    return _picture(0.5 + error_db(reference, estimate) / (2 * ERROR_DB), level=False)


def error_db(reference: FloatArray, estimate: FloatArray) -> FloatArray:
    """The difference in dB, within +-`ERROR_DB`."""
    floor = max(float(reference.max()), 1e-12) * 10 ** (FLOOR_DB / 10)
    decibels = 10 * np.log10(np.maximum(estimate, floor) / np.maximum(reference, floor))
    return np.asarray(np.clip(decibels, -ERROR_DB, ERROR_DB))


def scale_picture(level: bool) -> str:
    """The colours from lowest to highest as a picture one pixel high."""
    return _picture(np.linspace(0, 1, _LEVELS)[None], level)


def _picture(shares: FloatArray, level: bool) -> str:
    """From shares 0 to 1 of the palette [rows, columns], the bottom row first."""
    pixels = np.clip(np.round(shares * (_LEVELS - 1)), 0, _LEVELS - 1).astype(np.uint8)
    return data_uri(palette_png(pixels[::-1], _LEVEL_COLOURS if level else _ERROR_COLOURS))
