"""SEANet encoder and decoder (SEANet, arXiv 2009.02095; SoundStream, 2107.03312; EnCodec, 2210.13438).

The layer plan is EnCodec's; padding is zeros inside every layer (EnCodec's `pad_mode="constant"`).
Beyond EnCodec: ConvNeXt blocks at the frame rate, where they are cheap, in place of or beside the LSTM.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from audiocodec.nn.conv import Conv1d, ConvTranspose1d
from audiocodec.nn.convnext import ConvNeXtBlock


def activation(name: str) -> nn.Module:
    """The pointwise non-linearity called `name` (`elu` or `leaky_relu`)."""
    return nn.ELU() if name == "elu" else nn.LeakyReLU(0.1)


class ResidualUnit(nn.Module):
    """Dilated convolution to a narrower width, 1x1 back, plus a skip path."""

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int,
        dilation: int,
        compress: int,
        true_skip: bool,
        act: str,
        causal: bool,
        norm: bool,
    ) -> None:
        super().__init__()
        hidden = max(1, channels // compress)
        self.block = nn.Sequential(
            activation(act),
            Conv1d(channels, hidden, kernel_size, dilation=dilation, causal=causal, norm=norm),
            activation(act),
            Conv1d(hidden, channels, 1, causal=causal, norm=norm),
        )
        self.shortcut = nn.Identity() if true_skip else Conv1d(channels, channels, 1, causal=causal, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, S]` to the same shape."""
        y: Tensor = self.shortcut(x) + self.block(x)
        return y


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
        self,
        *,
        strides: Sequence[int],
        base_channels: int,
        latent_dim: int,
        residual_layers: int = 1,
        dilation_base: int = 2,
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        last_kernel_size: int = 7,
        compress: int = 2,
        true_skip: bool = False,
        lstm_layers: int = 0,
        convnext_layers: int = 0,
        act: str = "elu",
        causal: bool = False,
        norm: bool = True,
    ) -> None:
        """Build the encoder; the arguments are those of `config.schema.EncoderConfig`."""
        super().__init__()
        channels = base_channels
        layers: list[nn.Module] = [Conv1d(1, channels, kernel_size, causal=causal, norm=norm)]
        for stride in strides:
            layers += _residual_units(
                channels, residual_layers, dilation_base, residual_kernel_size, compress, true_skip, act, causal, norm
            )
            layers += [
                activation(act),
                Conv1d(channels, 2 * channels, 2 * stride, stride=stride, causal=causal, norm=norm),
            ]
            channels *= 2
        if lstm_layers:
            layers.append(SkipLSTM(channels, lstm_layers))
        layers += [ConvNeXtBlock(channels, 3 * channels, 7, causal=causal) for _ in range(convnext_layers)]
        layers += [activation(act), Conv1d(channels, latent_dim, last_kernel_size, causal=causal, norm=norm)]
        self.layers = nn.Sequential(*layers)

    def forward(self, wav: Tensor) -> Tensor:
        """Encode `wav [B, 1, S]` to `[B, D, S // hop_length]`."""
        latents: Tensor = self.layers(wav)
        return latents


class SEANetDecoder(nn.Module):
    """Latents `[B, D, T]` to waveform `[B, 1, T * hop_length]`: the encoder's plan in reverse."""

    def __init__(
        self,
        *,
        strides: Sequence[int],
        base_channels: int,
        latent_dim: int,
        residual_layers: int = 1,
        dilation_base: int = 2,
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        last_kernel_size: int = 7,
        compress: int = 2,
        true_skip: bool = False,
        lstm_layers: int = 0,
        act: str = "elu",
        causal: bool = False,
        norm: bool = True,
    ) -> None:
        """Build the decoder; `strides` is in the encoder's order (input side first)."""
        super().__init__()
        channels = base_channels * 2 ** len(strides)
        layers: list[nn.Module] = [Conv1d(latent_dim, channels, kernel_size, causal=causal, norm=norm)]
        if lstm_layers:
            layers.append(SkipLSTM(channels, lstm_layers))
        for stride in reversed(strides):
            layers += [activation(act), ConvTranspose1d(channels, channels // 2, stride, causal=causal, norm=norm)]
            channels //= 2
            layers += _residual_units(
                channels, residual_layers, dilation_base, residual_kernel_size, compress, true_skip, act, causal, norm
            )
        layers += [activation(act), Conv1d(channels, 1, last_kernel_size, causal=causal, norm=norm)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `latents [B, D, T]` to `[B, 1, T * hop_length]`."""
        wav: Tensor = self.layers(latents)
        return wav


def _residual_units(
    channels: int,
    count: int,
    dilation_base: int,
    kernel_size: int,
    compress: int,
    true_skip: bool,
    act: str,
    causal: bool,
    norm: bool,
) -> list[nn.Module]:
    return [
        ResidualUnit(
            channels,
            kernel_size=kernel_size,
            dilation=dilation_base**i,
            compress=compress,
            true_skip=true_skip,
            act=act,
            causal=causal,
            norm=norm,
        )
        for i in range(count)
    ]
