"""Distance in perceived loudness, after the model of hearing in PESQ (ITU-T P.862).

Power spectra of 32 ms become Bark bands, those become loudness (Zwicker's law above the threshold of hearing), and two
differences of the loudness count: all, and large ones, by how large. They are weighted as in P.862, but for one thing: there
only what was added counts as large. PESQ aligns the level first and can afford that; in training it made voices 2 to 5 dB
too quiet, because less of everything is also less added. Here what is missing counts alike, half each. Unlike PESQ it
aligns nothing in time, forgives no filtering, takes the level from the configuration instead of the signal and averages
plainly over time, as PMSQE does (J. M. Martin-Donas et al., IEEE Signal Processing
Letters 25(11), 2018); its bands are computed, not those of the standard's table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocodec.dsp.stft import hann_window, magnitude

WINDOW_SECONDS = 0.032
TOP_HZ = 8_000.0
BANDS = 49
SPEECH_DB_SPL = 79.0  # of speech at the level of training
LOUDNESS_POWER = 0.23
SONE = 0.1866  # per unit of Zwicker's law in one band: 1 kHz at 40 dB SPL is about one sone per Bark
DEAD_ZONE = 0.25  # differences below this share of the softer loudness are not heard
LARGE_FROM, LARGE_TO, LARGE_POWER, LARGE_OFFSET = 3.0, 12.0, 1.2, 50.0  # how P.862 weighs what was added
ALL, LARGE = 0.1, 0.0309 / 2
MAX_DISTURBANCE = 45.0
MIN_SQUARE = 1e-8  # guards the gradient of a square root at 0


class LoudnessLoss(nn.Module):
    """How much louder or softer an estimate is heard than its reference, band by band."""

    bands: Tensor
    threshold: Tensor

    def __init__(self, sample_rate: int, level_db: float) -> None:
        """Build the bands.

        Args:
            sample_rate: Hz; what lies above 8 kHz is not looked at.
            level_db: RMS in dB full scale of speech, which is taken for a sound pressure of 79 dB.
        """
        super().__init__()
        self.n_fft = round(WINDOW_SECONDS * sample_rate)
        top = min(TOP_HZ, sample_rate / 2)
        hertz = torch.arange(self.n_fft // 2 + 1, dtype=torch.float64) * sample_rate / self.n_fft
        self.width = float(bark(torch.tensor(top))) / BANDS
        band = (bark(hertz) / self.width).long().clamp(max=BANDS - 1)
        bands = torch.zeros(BANDS, len(hertz), dtype=torch.float64)
        heard = (hertz > 0) & (hertz <= top)
        bands[band[heard], heard.nonzero()[:, 0]] = 1.0
        bands = bands[bands.sum(1) > 0]  # some of the lowest are narrower than the distance of two frequencies
        centres = bands @ hertz / bands.sum(1)
        # By Parseval's theorem one half of a frame's spectrum holds n_fft / 2 * sum(window^2) * mean square.
        whole = self.n_fft / 2 * float(hann_window(self.n_fft, "cpu").square().sum())
        self.gain = 10 ** ((SPEECH_DB_SPL - level_db) / 10) / whole
        self.register_buffer("bands", bands.float(), persistent=False)
        self.register_buffer("threshold", threshold_of_hearing(centres).float()[:, None], persistent=False)

    def forward(self, *, reference: Tensor, estimate: Tensor) -> Tensor:
        """Mean over all frames of both differences.

        Args:
            reference, estimate: `[B, 1, S]`, speech at the level given.

        Returns:
            Scalar, 0 where nothing is heard to differ, in about the points that PESQ takes off.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            wanted_power, power = self.powers(reference.detach()), self.powers(estimate)
            wanted, heard = self.loudness(wanted_power), self.loudness(power)
            audible = ((heard - wanted).abs() - DEAD_ZONE * torch.minimum(heard, wanted)).clamp(min=0) * self.width
            more, less = torch.maximum(power, wanted_power), torch.minimum(power, wanted_power)
            size = ((more + LARGE_OFFSET) / (less + LARGE_OFFSET)).pow(LARGE_POWER)
            size = torch.where(size < LARGE_FROM, 0.0, size.clamp(max=LARGE_TO))
            spread = (self.width * len(self.bands)) ** 0.5
            every = ((audible.square().sum(1) + MIN_SQUARE).sqrt() - MIN_SQUARE**0.5) * spread
            differences = (ALL, every), (LARGE, (audible * size).sum(1))
            return torch.stack([weight * each.clamp(max=MAX_DISTURBANCE).mean() for weight, each in differences]).sum()

    def powers(self, wav: Tensor) -> Tensor:
        """Power `[B, bands, T]` in each band of `wav [B, 1, S]`; 1 is 0 dB SPL."""
        spectrum = magnitude(wav.squeeze(1), self.n_fft, self.n_fft // 2)
        powers: Tensor = self.bands @ spectrum.square() * self.gain
        return powers

    def loudness(self, powers: Tensor) -> Tensor:
        """Sones per Bark of `powers [B, bands, T]`."""
        scale = SONE * (self.threshold / 0.5).pow(LOUDNESS_POWER)
        above = (0.5 + 0.5 * powers / self.threshold).pow(LOUDNESS_POWER) - 1
        return (scale * above).clamp(min=0)


def bark(hertz: Tensor) -> Tensor:
    """Critical-band rate (H. Traunmueller, JASA 88(1), 1990)."""
    return 26.81 * hertz / (1960 + hertz) - 0.53


def threshold_of_hearing(hertz: Tensor) -> Tensor:
    """Power that is just heard in quiet, over that of 0 dB SPL (E. Terhardt, Hearing Research 1(2), 1979)."""
    kilohertz = hertz / 1000
    notch = 6.5 * (-0.6 * (kilohertz - 3.3).square()).exp()
    decibels = 3.64 * kilohertz.pow(-0.8) - notch + 1e-3 * kilohertz.pow(4)
    return 10 ** (decibels / 10)
