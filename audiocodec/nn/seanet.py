"""SEANet encoder and decoder (SEANet, arXiv 2009.02095; SoundStream, 2107.03312; EnCodec, 2210.13438).

The layer plan is EnCodec's; padding is zeros inside every layer (EnCodec's `pad_mode="constant"`).
Beyond EnCodec: ConvNeXt blocks at the frame rate, where they are cheap, in place of or beside the LSTM.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import LEAKY_SLOPE
from audiocodec.nn.conv import Conv1d, ConvTranspose1d
from audiocodec.nn.convnext import ConvNeXtBlock


def activation(name: str) -> nn.Module:
    """The pointwise non-linearity called `name` (`elu` or `leaky_relu`)."""
    return nn.ELU() if name == "elu" else nn.LeakyReLU(LEAKY_SLOPE)


@dataclass(frozen=True)
class SEANetPlan:
    """What encoder and decoder have in common; the fields are those of `config.schema.EncoderConfig`.

    Attributes:
        strides: in the encoder's order (input side first).
        causal: no layer looks ahead.
        norm: weight normalisation; False to load folded weights into.
    """

    strides: Sequence[int]
    residual_layers: int
    dilation_base: int
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    compress: int
    true_skip: bool
    activation: str
    causal: bool
    norm: bool

    def conv(self, channels: int, out: int, kernel_size: int, *, stride: int = 1, dilation: int = 1) -> Conv1d:
        """A convolution of this plan."""
        return Conv1d(channels, out, kernel_size, stride=stride, dilation=dilation, causal=self.causal, norm=self.norm)

    def residual_units(self, channels: int) -> list[nn.Module]:
        """The residual units of one resolution."""
        return [ResidualUnit(channels, self.dilation_base**i, self) for i in range(self.residual_layers)]


def _run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """`x` through `layers`; without gradient, activations are written over their input, which must be nobody else's.

    At the full rate a layer's output is tens of megabytes: what is never allocated is never faulted in.
    """
    in_place = not torch.is_grad_enabled()
    for layer in layers:
        x = _activate(layer, x) if in_place and isinstance(layer, nn.ELU | nn.LeakyReLU) else layer(x)
    return x


def _activate(layer: nn.Module, x: Tensor) -> Tensor:
    """An activation, over its input."""
    return F.elu_(x) if isinstance(layer, nn.ELU) else F.leaky_relu_(x, LEAKY_SLOPE)


class ResidualUnit(nn.Module):
    """Dilated convolution to a narrower width, 1x1 back, plus a skip path."""

    def __init__(self, channels: int, dilation: int, plan: SEANetPlan) -> None:
        super().__init__()
        hidden = max(1, channels // plan.compress)
        self.block = nn.Sequential(
            activation(plan.activation),
            plan.conv(channels, hidden, plan.residual_kernel_size, dilation=dilation),
            activation(plan.activation),
            plan.conv(hidden, channels, 1),
        )
        self.shortcut = nn.Identity() if plan.true_skip else plan.conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, S]` to the same shape."""
        if torch.is_grad_enabled():
            y: Tensor = self.shortcut(x) + self.block(x)
            return y
        first, wide, *rest = self.block
        assert isinstance(wide, Conv1d)
        padded = F.pad(x, (wide.pad_left, wide.pad_right))  # a copy, whatever the padding
        return _run(rest, wide.convolve(_activate(first, padded))).add_(self.shortcut(x))


class SkipLSTM(nn.Module):
    """LSTM over time with the input added to its output."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, T]` to the same shape."""
        y: Tensor = self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        return x + y


class SEANetEncoder(nn.Module):
    """Waveform `[B, 1, S]` to latents `[B, D, S // hop_length]`, `S` a multiple of the hop length."""

    def __init__(
        self, plan: SEANetPlan, base_channels: int, latent_dim: int, *, lstm_layers: int = 0, convnext_layers: int = 0
    ) -> None:
        """Build the encoder.

        Args:
            plan: its layers.
            base_channels: width at the full rate; doubled by each stride.
            latent_dim: width D of a latent.
            lstm_layers: at the frame rate.
            convnext_layers: blocks at the frame rate.
        """
        super().__init__()
        self.hop_length = math.prod(plan.strides)
        channels = base_channels
        layers: list[nn.Module] = [plan.conv(1, channels, plan.kernel_size)]
        for stride in plan.strides:
            layers += plan.residual_units(channels)
            layers += [activation(plan.activation), plan.conv(channels, 2 * channels, 2 * stride, stride=stride)]
            channels *= 2
        if lstm_layers:
            layers.append(SkipLSTM(channels, lstm_layers))
        layers += [ConvNeXtBlock(channels, 3 * channels, 7, causal=plan.causal) for _ in range(convnext_layers)]
        layers += [activation(plan.activation), plan.conv(channels, latent_dim, plan.last_kernel_size)]
        self.layers = nn.Sequential(*layers)

    def forward(self, wav: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode `wav [B, 1, S]` to `[B, D, S // hop_length]`.

        Args:
            wav: the items of a batch, zeros after their ends.
            frames: `[B]`, frames of each item. What comes after them is kept zero between the layers, as their padding
                is, so that each item's latents are those of the item alone; the others mean nothing. None: all.
        """
        if frames is None:
            return _run(self.layers, wav)
        x, total = wav, wav.shape[-1] // self.hop_length
        for layer in self.layers:
            y: Tensor = layer(x)
            ends = frames * (y.shape[-1] // total)
            x = y * (torch.arange(y.shape[-1], device=y.device) < ends[:, None])[:, None]
        return x


class SEANetDecoder(nn.Module):
    """Latents `[B, D, T]` to waveform `[B, 1, T * hop_length]`: the encoder's plan in reverse."""

    def __init__(self, plan: SEANetPlan, base_channels: int, latent_dim: int, *, lstm_layers: int = 0) -> None:
        """Build the decoder.

        Args:
            plan: the encoder's layers.
            base_channels: width at the full rate.
            latent_dim: width D of a latent.
            lstm_layers: at the frame rate.
        """
        super().__init__()
        channels = base_channels * 2 ** len(plan.strides)
        layers: list[nn.Module] = [plan.conv(latent_dim, channels, plan.kernel_size)]
        if lstm_layers:
            layers.append(SkipLSTM(channels, lstm_layers))
        for stride in reversed(plan.strides):
            up = ConvTranspose1d(channels, channels // 2, stride, causal=plan.causal, norm=plan.norm)
            channels //= 2
            layers += [activation(plan.activation), up, *plan.residual_units(channels)]
        layers += [activation(plan.activation), plan.conv(channels, 1, plan.last_kernel_size)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `latents [B, D, T]` to `[B, 1, T * hop_length]`."""
        return _run(self.layers, latents)
