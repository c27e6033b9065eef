"""Mel filter banks and log-mel spectrograms on torch.

The bank is `librosa.filters.mel` with its defaults: Slaney's mel scale, triangles of equal area, 0 Hz to half the
sample rate. Mels are taken of magnitudes, not powers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocodec.dsp.stft import magnitude
from audiocodec.errors import AudioCodecError


def filterbank(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangular mel filters, to be multiplied with magnitudes [F, T].

    Args:
        sample_rate: Hz.
        n_fft: transform length in samples.
        n_mels: number of bands.

    Returns:
        float32 [M, F], F = n_fft // 2 + 1.

    Raises:
        AudioCodecError: librosa is not installed.
    """
    try:
        import librosa.filters
    except ImportError as error:
        raise AudioCodecError(
            f"mel filter banks need librosa ({error}); install audiocodec[train] or audiocodec[eval]"
        ) from None
    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    with torch.inference_mode(False):
        return torch.tensor(bank, dtype=torch.float32)


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
