"""Level in bands during training: by how much the estimates of a batch are too loud or too quiet."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.dsp.stft import hann_window

BANDS = ((0, 1), (1, 2), (2, 4), (4, 8))  # kHz
SILENCE = 1e-9  # mean square; that of 16-bit audio's smallest step


@torch.no_grad()
def level_errors(*, reference: Tensor, estimate: Tensor, sample_rate: int) -> dict[str, Tensor]:
    """Energy of all estimates over energy of all references, in each band up to half the sample rate.

    Args:
        reference, estimate: `[B, 1, S]`.
        sample_rate: Hz.

    Returns:
        dB by band, `0-1k` and so on; above 0 where the estimates are too loud.
    """
    with torch.autocast(reference.device.type, enabled=False):
        wanted, found = (_powers(wav.float()) for wav in (reference, estimate))
    bins, size = len(wanted), reference.shape[-1]
    errors = {}
    for low, high in BANDS:
        if 2000 * high <= sample_rate:
            first, last = (min(bins, round(1000 * edge * size / sample_rate)) for edge in (low, high))
            ratio = (found[first:last].sum() + SILENCE) / (wanted[first:last].sum() + SILENCE)
            errors[f"{low}-{high}k"] = 10 * ratio.log10()
    return errors


def _powers(wav: Tensor) -> Tensor:
    """Mean square of `wav [B, 1, S]`, apart by frequency, `[S // 2 + 1]`; the ends count less than the middle."""
    window = hann_window(wav.shape[-1], wav.device)
    spectrum = torch.fft.rfft(wav[:, 0] * window)
    powers: Tensor = (spectrum.real.square() + spectrum.imag.square()).mean(0)
    return powers * (2 / (len(window) * window.square().sum()))
