"""Codecs of every architecture, tiny and with random weights, whose codes are diverse."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import torch

from audiocodec.build import build_codec
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config, DecoderConfig, EncoderConfig, ModelConfig, QuantizerConfig
from audiocodec.nn.voiced_decoder import VoicedDecoder

HOP = 24  # 2 * 3 * 4
PIECES = {
    "istft": {},
    "seanet": {"kind": "seanet"},
    "istft odd": {"kind": "istft", "overlap": 3},
    "voiced": {"kind": "voiced"},
    "voiced odd": {"kind": "voiced", "overlap": 3},
}


@cache
def make(
    kind: str = "istft", causal: bool = False, codebooks: int = 2, lstm: int = 0, activation: str = "elu"
) -> Codec:
    """A tiny codec with codes spread by a start on noise."""
    encoder = EncoderConfig(
        strides=(2, 3, 4),
        base_channels=2,
        residual_layers=2,
        last_kernel_size=5,
        lstm_layers=lstm,
        convnext_layers=1,
        activation=activation,
    )
    decoder = dataclasses.replace(
        DecoderConfig(dim=12, layers=1, base_channels=2, residual_layers=2, lstm_layers=lstm, kernel_size=3),
        **PIECES[kind],  # type: ignore[arg-type]
    )
    config = Config(
        sample_rate=2400,
        model=ModelConfig(encoder=encoder, decoder=decoder, causal=causal),
        quantizer=QuantizerConfig(num_codebooks=codebooks, codebook_size=64, codebook_dim=6),
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        codec = build_codec(config)
        for name, parameter in codec.encoder.named_parameters():
            if name.endswith("bias"):  # random ones would drown the input
                parameter.requires_grad_(False).zero_()
        if isinstance(codec.decoder, VoicedDecoder):
            _make_it_sing(codec.decoder)
        latents = codec.encoder(torch.randn(4, 1, HOP * 200)).detach()
        codec.scale.calibrate([latents])
        codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
    return codec.freeze()


@torch.no_grad()
def _make_it_sing(decoder: VoicedDecoder) -> None:
    """Pitch and voicing that vary from frame to frame, and with the neighbours of a frame."""
    decoder.head.linear.weight[-2:] *= 20
    for parameter in decoder.blocks.parameters():
        if parameter.dim() > 1:
            parameter *= 10


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, samples).astype(np.float32)
