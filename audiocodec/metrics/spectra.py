"""Magnitude spectrograms on scipy, for metrics: scoring processes need no torch, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from audiocodec.metrics.pairs import FloatArray

BLOCK_SAMPLES = 1 << 16  # transformed at a time: what fits the cache takes half the time of the whole file at once


def magnitudes(wav: FloatArray, n_fft: int, hop: int, window: int | None = None) -> Iterator[FloatArray]:
    """Magnitudes of the short-time Fourier transform, with the conventions of `librosa.stft`, some frames at a time.

    Periodic Hann window, centred in its frame if it is shorter, centred frames, no scaling. Signals too short to be
    mirrored at their ends are padded with zeros.

    Args:
        wav: float32 samples [B, S].
        n_fft: transform length in samples.
        hop: samples from frame to frame.
        window: length of the Hann window in samples (default: `n_fft`).

    Yields:
        float32 [B, frames, F], F = n_fft // 2 + 1; 1 + S // hop frames in all, for even `n_fft`.
    """
    from scipy.fft import rfft

    side, hann = n_fft // 2, _hann(n_fft, window or n_fft)
    padded = np.pad(wav, [(0, 0), (side, side)], mode="reflect" if wav.shape[1] > side else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
    block = max(1, BLOCK_SAMPLES // (n_fft * len(wav)))
    for first in range(0, frames.shape[1], block):
        yield np.abs(rfft(frames[:, first : first + block] * hann, overwrite_x=True))


@lru_cache(maxsize=32)
def _hann(n_fft: int, length: int) -> FloatArray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    before = (n_fft - length) // 2
    return np.pad(window, (before, n_fft - length - before)).astype(np.float32)
