"""The layers of SEANet encoders and decoders, in order: what the networks on torch and their ONNX graphs are both built from.

Needs no torch. A layer's place in the list is its name in `state_dict`: `encoder.layers.<place>`.
"""

from __future__ import annotations

from typing import NamedTuple

from audiocodec.config.schema import EncoderConfig


class Layer(NamedTuple):
    """One layer.

    Attributes:
        kind: `conv`, `down`, `up`, `residual`, `activation`, `lstm` or `convnext`.
        channels, out: width of input and output.
        kernel_size: taps, of `conv`, `down` and `up`.
        stride: factor of `down` and `up`.
        dilation: of the first convolution of `residual`.
    """

    kind: str
    channels: int
    out: int
    kernel_size: int = 0
    stride: int = 1
    dilation: int = 1


def encoder_layers(e: EncoderConfig, latent_dim: int) -> list[Layer]:
    """Waveform to latents; `e.base_channels` at the full rate, doubled by each stride."""
    channels = e.base_channels
    layers = [Layer("conv", 1, channels, e.kernel_size)]
    for stride in e.strides:
        layers += _residual_units(e, channels)
        layers += [Layer("activation", channels, channels)]
        layers += [Layer("down", channels, 2 * channels, 2 * stride, stride)]
        channels *= 2
    layers += [Layer("lstm", channels, channels)] * bool(e.lstm_layers)
    layers += [Layer("convnext", channels, channels)] * e.convnext_layers
    return [*layers, Layer("activation", channels, channels), Layer("conv", channels, latent_dim, e.last_kernel_size)]


def decoder_layers(e: EncoderConfig, base_channels: int, lstm_layers: int, latent_dim: int) -> list[Layer]:
    """Latents to waveform: the encoder's plan in reverse, `base_channels` at the full rate."""
    channels = base_channels * 2 ** len(e.strides)
    layers = [Layer("conv", latent_dim, channels, e.kernel_size)]
    layers += [Layer("lstm", channels, channels)] * bool(lstm_layers)
    for stride in reversed(e.strides):
        layers += [Layer("activation", channels, channels)]
        layers += [Layer("up", channels, channels // 2, 2 * stride, stride)]
        channels //= 2
        layers += _residual_units(e, channels)
    return [*layers, Layer("activation", channels, channels), Layer("conv", channels, 1, e.last_kernel_size)]


def _residual_units(e: EncoderConfig, channels: int) -> list[Layer]:
    return [Layer("residual", channels, channels, dilation=e.dilation_base**i) for i in range(e.residual_layers)]
