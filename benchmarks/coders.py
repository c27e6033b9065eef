"""Codecs to measure: the one in the package, ours in published sizes with random weights, and EnCodec.

Each goes the way its users go: ours in blocks (what `audiocodec encode` and `decode` do) or, for a batch, `encode` and
`decode`; EnCodec with its package's own. The audio is noise and the codes are random: no codec's work depends on them,
but for near-ties, and for those the latents are scaled and the codebook is started as training does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import audiocodec
from audiocodec.build import build_codec
from audiocodec.codec.torch import Codec
from audiocodec.config.load import load_config
from audiocodec.nn.conv import Conv1d, ConvTranspose1d
from audiocodec.nn.seanet import ResidualUnit

PEER_KBPS = 6.0
LEVEL = 10 ** (-24 / 20)
CONFIG = "simvq_24k"
WIDE = "quantizer.codebook_dim=512"  # as the SimVQ repository has it
SIZES = {  # EnCodec's and SimVQ's encoder, and the decoders of EnCodec and, without its attention, of SimVQ
    "seanet": (WIDE, "model.decoder.kind=seanet"),
    "seanet+lstm": (WIDE, "model.decoder.kind=seanet", "model.encoder.lstm_layers=2", "model.decoder.lstm_layers=2"),
    "istft": (WIDE, "model.decoder.dim=768", "model.decoder.layers=12"),
}
START_SECONDS = 10  # of noise that scale and codebook are started with
CODECS = ("audiocodec", *SIZES, "encodec")  # the first is the model in the package

Work = Callable[[], object]


def make_work(
    codec: str, direction: str, batch: int = 1, model: str | None = None, apart: bool = False
) -> Callable[[float], Work]:
    """Load a codec; returns what makes a piece of work of so many seconds.

    Args:
        codec: one of `CODECS`.
        direction: `encode` or `decode`.
        batch: signals at once.
        model: in place of the one in the package, for `audiocodec`.
        apart: the signals of the batch one after the other (ours only).
    """
    if codec == "encodec":
        return _encodec(direction, batch)
    ours = audiocodec.load(model) if codec == "audiocodec" else random_codec(codec, direction == "encode")
    return _blocks(ours, direction) if batch == 1 else _batched(ours, direction, batch, 1 if apart else batch)


def random_codec(name: str, start: bool) -> Codec:
    """Our codec of a size of `SIZES`; `start`: with its latents scaled and its codebook started."""
    torch.manual_seed(1)
    codec = build_codec(load_config(CONFIG, list(SIZES[name])))
    with torch.no_grad():
        for parameter in codec.parameters():  # torch's small biases would say little about adding them
            if parameter.dim() == 1 and not parameter.any():
                parameter.normal_(std=0.02)
        if start:
            raw = codec.encoder(LEVEL * torch.randn(1, 1, START_SECONDS * codec.sample_rate))
            codec.scale.calibrate([raw])
            codec.quantizer.initialize(codec.scale.running(raw)[0].T)
    return codec.freeze()


def _blocks(codec: Any, direction: str) -> Callable[[float], Work]:
    rng = np.random.default_rng(1)
    block = LEVEL * rng.standard_normal(codec.sample_rate, dtype=np.float32)

    def blocks(samples: int) -> Iterator[np.ndarray]:
        for start in range(0, samples, len(block)):
            yield block[: samples - start]

    def encode(seconds: float) -> Work:
        samples = round(seconds * codec.sample_rate)
        return lambda: [codes.shape for codes in codec.encode_blocks(blocks(samples))]

    def decode(seconds: float) -> Work:
        samples = round(seconds * codec.sample_rate)
        frames = -(-samples // codec.hop_length)
        codes = rng.integers(0, codec.codebook_sizes[0], (codec.num_codebooks, frames), dtype=np.int32)
        return lambda: [len(wav) for wav in codec.decode_blocks(codes, samples)]

    return encode if direction == "encode" else decode


def _batched(codec: Any, direction: str, batch: int, at_once: int) -> Callable[[float], Work]:
    """`batch` signals, always the same: near-ties are work, and others would have another number of them."""

    def encode(seconds: float) -> Work:
        torch.manual_seed(2)
        wavs = (LEVEL * torch.randn(batch, 1, round(seconds * codec.sample_rate))).split(at_once)
        return lambda: [codec.encode(wav) for wav in wavs]

    def decode(seconds: float) -> Work:
        torch.manual_seed(2)
        frames = -(-round(seconds * codec.sample_rate) // codec.hop_length)
        parts = torch.randint(0, codec.codebook_sizes[0], (batch, codec.num_codebooks, frames)).split(at_once)
        return lambda: [codec.decode(codes) for codes in parts]

    return encode if direction == "encode" else decode


def _encodec(direction: str, batch: int) -> Callable[[float], Work]:
    """EnCodec's 24 kHz model with random weights."""
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(PEER_KBPS)
    codebooks = round(1000 * PEER_KBPS / (model.frame_rate * model.bits_per_codebook))

    def encode(seconds: float) -> Work:
        wav = LEVEL * torch.randn(batch, 1, round(seconds * model.sample_rate))
        return torch.inference_mode()(lambda: model.encode(wav))

    def decode(seconds: float) -> Work:
        codes = torch.randint(0, 2**model.bits_per_codebook, (batch, codebooks, round(seconds * model.frame_rate)))
        return torch.inference_mode()(lambda: model.decode([(codes, None)]))

    return encode if direction == "encode" else decode


@torch.no_grad()
def difference_from_plain(name: str) -> float:
    """How far our SEANet decoder is from torch's own layers, at most, as a share of the output's peak."""
    decoder = random_codec(name, start=False).decoder
    latents = torch.randn(1, decoder.layers[0].conv.in_channels, 75)
    with torch.inference_mode():
        ours = decoder(latents)
    x = latents
    for layer in decoder.layers:
        x = _plain(layer, x)
    return float((ours - x).abs().max() / x.abs().max())


def _plain(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A layer of the decoder as torch has it: padding, convolution or transposed convolution."""
    if isinstance(layer, Conv1d):
        conv = layer.conv
        padded = F.pad(x, (layer.pad_left, layer.pad_right))
        return F.conv1d(padded, conv.weight, conv.bias, layer.stride, 0, conv.dilation)
    if isinstance(layer, ConvTranspose1d):
        y = F.conv_transpose1d(x, layer.conv.weight, layer.conv.bias, layer.stride)
        return y[..., layer.trim_left : y.shape[-1] - layer.trim_right]
    if isinstance(layer, ResidualUnit):
        y = x
        for part in layer.block:
            y = _plain(part, y)
        return _plain(layer.shortcut, x) + y
    z: torch.Tensor = layer(x)
    return z
