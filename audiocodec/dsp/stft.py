"""Short-time Fourier magnitudes on torch, for losses and metrics.

Periodic Hann window, centred frames, no scaling: the same numbers as `librosa.stft`. Signals too short to be
mirrored are padded with zeros. Complex spectra (discriminator, inverse-STFT head) are left to their modules.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

# Smallest power that is told from zero, 1e-7 in magnitude: below the square root the gradient would be 0 * inf.
MIN_POWER = 1e-14


def magnitude(wav: Tensor, n_fft: int, hop: int) -> Tensor:
    """Magnitude spectrogram in float32, whatever autocast says; the gradient is finite everywhere.

    Args:
        wav: samples [B, S].
        n_fft: window and transform length in samples.
        hop: samples from frame to frame.

    Returns:
        [B, F, T] with F = n_fft // 2 + 1 and T = 1 + S // hop for even `n_fft`.
    """
    with torch.autocast(wav.device.type, enabled=False):
        side = n_fft // 2
        padded = F.pad(wav.float(), (side, side), mode="reflect" if wav.shape[-1] > side else "constant")
        spectrum = torch.stft(
            padded, n_fft, hop, window=hann_window(n_fft, wav.device), center=False, return_complex=True
        )
        return (spectrum.real.square() + spectrum.imag.square()).clamp(min=MIN_POWER).sqrt()


def hann_window(n_fft: int, device: torch.device | str) -> Tensor:
    """Periodic Hann window, float32 [n_fft], made once per length and device."""
    return _window(n_fft, str(device))


@lru_cache(maxsize=64)
def _window(n_fft: int, device: str) -> Tensor:
    # Made in inference mode it would be unusable for training later.
    with torch.inference_mode(False):
        return torch.hann_window(n_fft, device=device, dtype=torch.float32)
