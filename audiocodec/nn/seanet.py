"""SEANet encoder and decoder (SEANet, arXiv 2009.02095; SoundStream, 2107.03312; EnCodec, 2210.13438).

The layer plan (`nn.plan`) is EnCodec's; padding is zeros inside every layer (EnCodec's `pad_mode="constant"`).
Beyond EnCodec: ConvNeXt blocks at the frame rate, where they are cheap, in place of or beside the LSTM.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.config.schema import EncoderConfig
from audiocodec.nn.activation import activate, activation
from audiocodec.nn.conv import Conv1d, ConvTranspose1d, downsampling_context, upsampling_context
from audiocodec.nn.convnext import ConvNeXtBlock
from audiocodec.nn.plan import Layer, decoder_layers, encoder_layers
from audiocodec.nn.streaming import Skip, Stream, chain_of, stream_of


class ResidualUnit(nn.Module):
    """Dilated convolution to a narrower width, 1x1 back, plus a skip path."""

    def __init__(self, channels: int, dilation: int, e: EncoderConfig, *, causal: bool, norm: bool) -> None:
        """Build the unit.

        Args:
            channels: width in and out.
            dilation: of the first convolution.
            e: the other sizes.
            causal: look only at the past.
            norm: weight normalisation.
        """
        super().__init__()
        hidden = max(1, channels // e.compress)
        wide, taps = (channels, hidden), e.residual_kernel_size
        self.block = nn.Sequential(
            activation(e.activation, channels),
            Conv1d(*wide, taps, dilation=dilation, causal=causal, norm=norm),
            activation(e.activation, hidden),
            Conv1d(hidden, channels, 1, causal=causal, norm=norm),
        )
        self.shortcut = nn.Identity() if e.true_skip else Conv1d(channels, channels, 1, causal=causal, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, S]` to the same shape."""
        if torch.is_grad_enabled():
            y: Tensor = self.shortcut(x) + self.block(x)
            return y
        first, wide, *rest = self.block
        assert isinstance(wide, Conv1d)
        padded = F.pad(x, (wide.pad_left, wide.pad_right))  # a copy, whatever the padding
        return _run(rest, wide.convolve(activate(first, padded))).add_(self.shortcut(x))

    def stream(self) -> Stream:
        """The unit as a stream."""
        return Skip(chain_of(self.block), stream_of(self.shortcut))


class SkipLSTM(nn.Module):
    """LSTM over time with the input added to its output."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, T]` to the same shape."""
        y: Tensor = self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        return x + y

    def stream(self) -> LSTMStream:
        """The layer as a stream."""
        return LSTMStream(self)


class LSTMStream(Stream):
    """Carries the state of the recurrence."""

    def __init__(self, layer: SkipLSTM) -> None:
        self._lstm = layer.lstm
        self._state: tuple[Tensor, Tensor] | None = None

    def step(self, x: Tensor, last: bool) -> Tensor:
        if x.shape[-1] == 0:
            return x
        y, self._state = self._lstm(x.transpose(1, 2), self._state)
        out: Tensor = x + y.transpose(1, 2)
        return out


class SEANetEncoder(nn.Module):
    """Waveform `[B, 1, S]` to latents `[B, D, S // hop_length]`, `S` a multiple of the hop length."""

    def __init__(self, e: EncoderConfig, latent_dim: int, *, causal: bool, norm: bool) -> None:
        """Build the encoder.

        Args:
            e: its sizes.
            latent_dim: width D of a latent.
            causal: no layer looks ahead.
            norm: weight normalisation; False to load folded weights into.
        """
        super().__init__()
        self.hop_length = math.prod(e.strides)
        self.layers = _build(encoder_layers(e, latent_dim), e, e.lstm_layers, causal, norm)

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

    def stream(self) -> Stream:
        """The encoder as a stream."""
        return chain_of(self.layers)

    def context(self) -> tuple[int, int]:
        """Samples before and after a frame's own that its latent depends on."""
        return downsampling_context(self)


class SEANetDecoder(nn.Module):
    """Latents `[B, D, T]` to waveform `[B, 1, T * hop_length]`: the encoder's plan in reverse."""

    def __init__(
        self, e: EncoderConfig, base_channels: int, latent_dim: int, *, lstm_layers: int = 0, causal: bool, norm: bool
    ) -> None:
        """Build the decoder.

        Args:
            e: sizes of the encoder.
            base_channels: width at the full rate.
            latent_dim: width D of a latent.
            lstm_layers: at the frame rate.
            causal: no layer looks ahead.
            norm: weight normalisation; False to load folded weights into.
        """
        super().__init__()
        plan = decoder_layers(e, base_channels, lstm_layers, latent_dim)
        self.layers = _build(plan, e, lstm_layers, causal, norm)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `latents [B, D, T]` to `[B, 1, T * hop_length]`."""
        return _run(self.layers, latents)

    def stream(self) -> Stream:
        """The decoder as a stream."""
        return chain_of(self.layers)

    def context(self) -> tuple[int, int]:
        """Samples before and after an output sample that decide which frames it depends on."""
        return upsampling_context(self)


def _build(plan: Sequence[Layer], e: EncoderConfig, lstm_layers: int, causal: bool, norm: bool) -> nn.Sequential:
    """The layers of a plan."""
    return nn.Sequential(*(_layer(layer, e, lstm_layers, causal, norm) for layer in plan))


def _layer(layer: Layer, e: EncoderConfig, lstm_layers: int, causal: bool, norm: bool) -> nn.Module:
    kind, channels, out, kernel_size, stride, dilation = layer
    if kind == "residual":
        return ResidualUnit(channels, dilation, e, causal=causal, norm=norm)
    if kind == "activation":
        return activation(e.activation, channels)
    if kind == "lstm":
        return SkipLSTM(channels, lstm_layers)
    if kind == "convnext":
        return ConvNeXtBlock(channels, e.convnext_expansion * channels, 7, causal=causal)
    if kind == "up":
        return ConvTranspose1d(channels, out, stride, causal=causal, norm=norm)
    return Conv1d(channels, out, kernel_size, stride=stride, causal=causal, norm=norm)


def _run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """`x` through `layers`; without gradient, activations are written over their input, which must be nobody else's."""
    for layer in layers:
        x = activate(layer, x)
    return x
