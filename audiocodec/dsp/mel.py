"""Mel filter banks and log-mel spectrograms on torch.

The bank is that of `librosa.filters.mel` with its defaults: Slaney's mel scale, triangles of equal area, 0 Hz to half the
sample rate. Mels are taken of magnitudes, not powers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audiocodec.dsp.stft import magnitude

BREAK = 1000.0  # Hz, where the scale turns from linear to logarithmic
LINEAR, LOGARITHMIC = 200 / 3, math.log(6.4) / 27  # Hz per mel below, and factor's logarithm per mel above
FloatArray = npt.NDArray[np.float64]


def filterbank(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangular mel filters, to be multiplied with magnitudes [F, T].

    Args:
        sample_rate: Hz.
        n_fft: transform length in samples.
        n_mels: number of bands.

    Returns:
        float32 [M, F], F = n_fft // 2 + 1.
    """
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges = _hertz(np.linspace(0, _mel(sample_rate / 2), n_mels + 2))
    widths, distances = np.diff(edges)[:, None], bins[None] - edges[:, None]
    triangles = np.maximum(0, np.minimum(distances[:-2] / widths[:-1], -distances[2:] / widths[1:]))
    bank = triangles.astype(np.float32) * (2 / (edges[2:] - edges[:-2]))[:, None]  # of area 1 over Hz
    with torch.inference_mode(False):
        return torch.tensor(bank, dtype=torch.float32)


def _mel(hertz: float) -> float:
    """Slaney's scale: 3 mels per 200 Hz up to 1,000 Hz, then 27 per factor 6.4."""
    return hertz / LINEAR if hertz < BREAK else BREAK / LINEAR + math.log(hertz / BREAK) / LOGARITHMIC


def _hertz(mels: FloatArray) -> FloatArray:
    """The inverse."""
    above = mels - BREAK / LINEAR
    return np.where(above >= 0, BREAK * np.exp(LOGARITHMIC * above), LINEAR * mels)


class LogMel(nn.Module):
    """Base-10 logarithm of mel magnitudes, float32."""

    bank: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop: int, n_mels: int, floor: float = 1e-5) -> None:
        """Build the filters.

        Args:
            sample_rate: Hz.
            n_fft: window in samples.
            hop: samples from frame to frame.
            n_mels: number of bands.
            floor: mel magnitudes below it count as it.
        """
        super().__init__()
        self.n_fft, self.hop, self.floor = n_fft, hop, floor
        self.register_buffer("bank", filterbank(sample_rate, n_fft, n_mels), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Log10 mels [B, M, T] of samples [B, S]; T = 1 + S // hop."""
        with torch.autocast(wav.device.type, enabled=False):
            mels = self.bank.float() @ magnitude(wav, self.n_fft, self.hop)
            return mels.clamp(min=self.floor).log10()
