"""Reconstruction losses on the spectrum: multi-scale log-mel and multi-scale STFT.

The log-mel distance is DAC's (arXiv 2306.06546) with its own windows; the STFT distance is that of Parallel WaveGAN
(1910.11480): relative magnitude error plus log magnitude error. Both work from one set of spectrograms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiocodec.dsp.mel import filterbank
from audiocodec.dsp.stft import magnitude

FLOOR = 1e-5  # -100 dB: what counts as silence in a logarithm


class SpectralLoss(nn.Module):
    """Distances between spectrograms of several window lengths."""

    def __init__(
        self, sample_rate: int, mel_windows: Sequence[int], mel_bands: Sequence[int], stft_windows: Sequence[int]
    ) -> None:
        """Build the filter banks.

        Args:
            sample_rate: Hz.
            mel_windows: window lengths in samples of the mel distance; the hop is a quarter.
            mel_bands: mel bands at each of them.
            stft_windows: window lengths of the STFT distance; empty leaves it out.
        """
        super().__init__()
        self.mel_windows, self.stft_windows = tuple(mel_windows), tuple(stft_windows)
        for window, bands in zip(mel_windows, mel_bands):
            self.register_buffer(f"bank_{window}", filterbank(sample_rate, window, bands), persistent=False)

    def forward(self, *, reference: Tensor, estimate: Tensor) -> dict[str, Tensor]:
        """Distances between `[B, 1, S]` waveforms.

        Returns:
            `mel`: mean absolute difference of log10 mel magnitudes; `stft`: relative error of the magnitudes plus
            mean absolute difference of their natural logarithms. Means over the window lengths. float32 throughout.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            return self._distances(reference.float(), estimate.float())

    def _distances(self, reference: Tensor, estimate: Tensor) -> dict[str, Tensor]:
        mel: list[Tensor] = []
        stft: list[Tensor] = []
        for window in sorted({*self.mel_windows, *self.stft_windows}):
            with torch.no_grad():
                target = magnitude(reference.squeeze(1), window, window // 4)
            actual = magnitude(estimate.squeeze(1), window, window // 4)
            if window in self.mel_windows:
                bank = self.get_buffer(f"bank_{window}")
                mel.append((_log10(bank @ actual) - _log10(bank @ target)).abs().mean())
            if window in self.stft_windows:
                relative = torch.linalg.vector_norm(actual - target) / torch.linalg.vector_norm(target).clamp(min=FLOOR)
                stft.append(relative + (actual.clamp(min=FLOOR).log() - target.clamp(min=FLOOR).log()).abs().mean())
        values = {"mel": mel, "stft": stft}
        return {name: torch.stack(parts).mean() for name, parts in values.items() if parts}


def _log10(x: Tensor) -> Tensor:
    return x.clamp(min=FLOOR).log10()
