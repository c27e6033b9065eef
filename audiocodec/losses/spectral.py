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

MIN_NORM = 1e-5  # guards a division by the norm of a silent reference


class SpectralLoss(nn.Module):
    """Distances between spectrograms of several window lengths."""

    def __init__(
        self,
        sample_rate: int,
        mel_windows: Sequence[int],
        mel_bands: Sequence[int],
        stft_windows: Sequence[int],
        *,
        mel_floor: float,
        stft_floor: float,
    ) -> None:
        """Build the filter banks.

        Args:
            sample_rate: Hz.
            mel_windows: window lengths in samples of the mel distance; the hop is a quarter.
            mel_bands: mel bands at each of them.
            stft_windows: window lengths of the STFT distance; empty leaves it out.
            mel_floor: mel magnitudes below it are alike. Real recordings hold digital silence and empty bands; with a
                floor far below the speech their logarithms make up most of the loss, and nothing else is learned.
            stft_floor: the same for STFT magnitudes.
        """
        super().__init__()
        self.mel_windows, self.stft_windows = tuple(mel_windows), tuple(stft_windows)
        self.mel_floor, self.stft_floor = mel_floor, stft_floor
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
                low = self.mel_floor
                mel.append(
                    ((bank @ actual).clamp(min=low).log10() - (bank @ target).clamp(min=low).log10()).abs().mean()
                )
            if window in self.stft_windows:
                norm = torch.linalg.vector_norm(target).clamp(min=MIN_NORM)
                relative = torch.linalg.vector_norm(actual - target) / norm
                low = self.stft_floor
                stft.append(relative + (actual.clamp(min=low).log() - target.clamp(min=low).log()).abs().mean())
        values = {"mel": mel, "stft": stft}
        return {name: torch.stack(parts).mean() for name, parts in values.items() if parts}
