"""Level in bands: by how much estimates are too loud or too quiet, as a loss and for the training's log.

Losses of log magnitudes are lowest where as much is too loud as too quiet, which for a decoder that fills the valleys of a
spectrum lies 2 to 3 dB below the energy of the speech. This one looks at energies alone and leaves all else to the others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.dsp.stft import hann_window

BANDS = ((0, 1), (1, 2), (2, 4), (4, 8))  # kHz
SILENCE = 1e-7  # mean square, -70 dB full scale: below, nobody asks for the level of a band


def band_levels(wav: Tensor, sample_rate: int) -> Tensor:
    """Level in each band up to half the sample rate.

    Args:
        wav: `[B, 1, S]`; its ends count less than its middle.
        sample_rate: Hz.

    Returns:
        `[B, bands]`, dB full scale, silence at -70 dB.
    """
    with torch.autocast(wav.device.type, enabled=False):
        size = wav.shape[-1]
        window = hann_window(size, wav.device)
        spectrum = torch.fft.rfft(wav[:, 0].float() * window)
        powers = (spectrum.real.square() + spectrum.imag.square()) * (2 / (size * window.square().sum()))
        edges = [
            (round(1000 * low * size / sample_rate), round(1000 * high * size / sample_rate)) for low, high in BANDS
        ]
        inside = [powers[:, low:high].sum(1) for low, high in edges if high <= powers.shape[1]]
        return 10 * (torch.stack(inside, 1) + SILENCE).log10() if inside else powers[:, :0]


def level_loss(*, wanted: Tensor, found: Tensor) -> Tensor:
    """Mean difference of levels `[B, bands]` in bels, quadratic (Huber's) below 1 dB; 0 without bands."""
    differences = F.smooth_l1_loss(found, wanted, reduction="sum", beta=1.0)
    return differences / (10 * max(1, wanted.numel()))


def level_errors(*, wanted: Tensor, found: Tensor) -> dict[str, Tensor]:
    """Mean difference of levels `[B, bands]` by band, `0-1k` and so on; dB, above 0 where the estimates are too loud."""
    errors = (found.detach() - wanted).mean(0)
    return {f"{low}-{high}k": error for (low, high), error in zip(BANDS, errors)}
