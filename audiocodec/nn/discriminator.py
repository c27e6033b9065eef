"""Discriminators: multi-scale STFT (EnCodec, arXiv 2210.13438) and multi-period (HiFi-GAN, 2010.05646).

Each returns, for every scale, a map of scores and the list of hidden features. No sigmoid: the hinge loss wants raw
scores.

The waveform is multiplied by a fixed gain first, so that speech at the level of training enters with an RMS near 1 and
the level stays to be seen. A quiet input and torch's own start leave features that are biases and little else: such
discriminators do not learn (their hinge loss stays at 2). The gain is saved with the weights; those of versions without it
have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.2
Judgement = list[tuple[Tensor, list[Tensor]]]  # per scale: scores, features
Pair = tuple[Judgement, Judgement]  # of real and of decoded audio


def _conv2d(
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> nn.Module:
    padding = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
    plain = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation)
    nn.init.kaiming_normal_(plain.weight, SLOPE, nonlinearity="leaky_relu")
    plain.bias = nn.Parameter(torch.zeros(out_channels))
    conv: nn.Module = weight_norm(plain)
    return conv


class STFTDiscriminator(nn.Module):
    """2-d convolutions over the real and imaginary parts of one STFT, time first."""

    window: Tensor
    gain: Tensor

    def __init__(self, n_fft: int, channels: int, gain: float = 1.0, dilations: Sequence[int] = (1, 2, 4)) -> None:
        """Build one scale.

        Args:
            n_fft: window in samples; the hop is a quarter of it.
            channels: width of the hidden layers.
            gain: of the waveform.
            dilations: of the hidden layers over time.
        """
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))
        self.n_fft, self.hop_length = n_fft, n_fft // 4
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        layers = [_conv2d(2, channels, (3, 9))]
        layers += [_conv2d(channels, channels, (3, 9), (1, 2), (d, 1)) for d in dilations]
        layers.append(_conv2d(channels, channels, (3, 3)))
        self.layers = nn.ModuleList(layers)
        self.score = _conv2d(channels, 1, (3, 3))

    def forward(self, wav: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run on `wav [B, 1, S]`, S at least `n_fft`: scores `[B, 1, T, F']` and the hidden features."""
        with torch.autocast(wav.device.type, enabled=False):
            spectrum = torch.stft(
                (self.gain * wav.float()).squeeze(1),
                self.n_fft,
                self.hop_length,
                window=self.window,
                center=False,
                return_complex=True,
            )
            spectrum = spectrum / self.window.square().sum().sqrt()
            x = torch.stack([spectrum.real, spectrum.imag], 1).transpose(2, 3)
        return _judge(x, self.layers, self.score)


class MultiScaleSTFTDiscriminator(nn.Module):
    """One `STFTDiscriminator` per window length."""

    def __init__(self, windows: Sequence[int], channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.scales = nn.ModuleList([STFTDiscriminator(n, channels, gain) for n in windows])

    def forward(self, wav: Tensor) -> Judgement:
        """Run on `wav [B, 1, S]` at every scale."""
        return [scale(wav) for scale in self.scales]


class PeriodDiscriminator(nn.Module):
    """2-d convolutions over the waveform folded at one period."""

    gain: Tensor

    def __init__(self, period: int, channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))
        self.period = period
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels]
        layers = [_conv2d(a, b, (5, 1), (3, 1)) for a, b in pairwise(widths)]
        layers.append(_conv2d(widths[-1], widths[-1], (5, 1)))
        self.layers = nn.ModuleList(layers)
        self.score = _conv2d(widths[-1], 1, (3, 1))

    def forward(self, wav: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run on `wav [B, 1, S]`: scores `[B, 1, S', period]` and the hidden features."""
        padded = F.pad(self.gain * wav.float(), (0, -wav.shape[-1] % self.period))
        x = padded.unflatten(-1, (-1, self.period))
        return _judge(x, self.layers, self.score)


class MultiPeriodDiscriminator(nn.Module):
    """One `PeriodDiscriminator` per period."""

    def __init__(self, periods: Sequence[int], channels: int, gain: float = 1.0) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PeriodDiscriminator(p, channels, gain) for p in periods])

    def forward(self, wav: Tensor) -> Judgement:
        """Run on `wav [B, 1, S]` at every period."""
        return [scale(wav) for scale in self.scales]


def gains(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gains in a state of discriminators, by name."""
    return {name: tensor for name, tensor in state.items() if name.endswith(".gain")}


def _judge(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """Scores of `x [B, C, H, W]`, in float32 whatever autocast says, and what every hidden layer made of it."""
    features = []
    x = x.contiguous(memory_format=torch.channels_last)  # the convolutions keep it
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    with torch.autocast(x.device.type, enabled=False):
        return score(x.float()), features
