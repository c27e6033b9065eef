"""From a configuration to modules: the only place that knows both."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from audiocodec.codec.torch import Codec
from audiocodec.codec.torch_coder import Decoder
from audiocodec.config.levels import fsq_levels
from audiocodec.config.quantizers import low_dimensions, table_bytes
from audiocodec.config.schema import Config, QuantizerConfig
from audiocodec.errors import ConfigError
from audiocodec.machine import free_bytes
from audiocodec.nn.discriminator import MultiPeriodDiscriminator, MultiScaleSTFTDiscriminator
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.nn.seanet import SEANetDecoder, SEANetEncoder
from audiocodec.nn.voiced_decoder import VoicedDecoder
from audiocodec.quantization.base import Stage
from audiocodec.quantization.fsq import FSQ
from audiocodec.quantization.lfq import LFQ
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale
from audiocodec.quantization.simvq import ClusteredSimVQ, SimVQ
from audiocodec.quantization.vq import EMAVQ, VQ, KMeans
from audiocodec.quantization.vq_fc import FactorisedVQ


def build_codec(config: Config, norm: bool = True) -> Codec:
    """The codec that `config` describes, with random weights.

    Args:
        config: a checked configuration.
        norm: False leaves weight normalisation out (to load folded weights into).
    """
    encoder, decoder = _encoder(config, norm), _decoder(config, norm)  # first: with a seed alike for every quantizer
    return Codec(
        encoder,
        LatentScale(config.quantizer.codebook_dim, config.model.latent_scale),
        build_quantizer(config),
        decoder,
        config,
    )


def build_quantizer(config: Config) -> ResidualQuantizer:
    """The stack of codebooks; one codebook is a stack of one."""
    q = config.quantizer
    refuse_too_large(q, training=False)
    first = q.kind if q.first_stage == "same" else q.first_stage
    kinds = [first] + [q.kind] * (q.num_codebooks - 1)
    stages = [_stage(q, kind) for kind in kinds]
    return ResidualQuantizer(stages, q.dropout, init_on_residual=q.stage_init == "residual")


def refuse_too_large(q: QuantizerConfig, training: bool, device: torch.device | None = None) -> None:
    """Refuse codebooks that do not fit into memory, before any is made.

    Args:
        q: a checked configuration.
        training: count what training keeps beside them.
        device: where they will be; None for the CPU.

    Raises:
        ConfigError: with the estimate.
    """
    needed, free = table_bytes(q, training), free_bytes(device or torch.device("cpu"))
    if free is not None and needed > free:
        raise ConfigError(
            f"quantizer.codebook_size: {q.num_codebooks} codebooks of {q.codebook_size} entries in "
            f"{low_dimensions(q)} dimensions take {needed / 1e6:.0f} MB{' in training' if training else ''}, "
            f"{free / 1e6:.0f} MB are free; choose fewer or smaller ones, or a machine with more memory"
        )


def _stage(q: QuantizerConfig, kind: str) -> Stage:
    size, dim, rotation = q.codebook_size, q.codebook_dim, q.gradient == "rotation"
    init = q.codebook_init if q.codebook_init != "default" else "kmeans" if kind == "vq_ema" else "uniform"
    if kind == "vq":
        return VQ(size, dim, init=init, rotation=rotation)
    if kind == "vq_ema":
        decay, below = q.codebook_decay, q.replace_below
        return EMAVQ(size, dim, init=init, decay=decay, replace_below=below, rotation=rotation)
    if kind == "vq_fc":
        return FactorisedVQ(size, dim, low_dim=q.low_dim, init=init, rotation=rotation)
    if kind == "fsq":
        return FSQ(fsq_levels(size) or (), dim)
    if kind == "lfq":
        return LFQ(size, dim, entropy_weight=q.entropy_weight, temperature=q.entropy_temperature)
    if kind == "kmeans":
        return KMeans(size, dim)
    return (ClusteredSimVQ if kind == "vq_lc" else SimVQ)(
        size,
        dim,
        init=q.init,
        distribution=q.distribution,
        train_codebook=q.train_codebook,
        train_map=q.train_map,
        bias=q.bias,
        bend=q.map == "mlp",
        zero_code=q.zero_code and kind == "simvq",
        rotation=rotation,
    )


def build_discriminators(config: Config) -> nn.ModuleDict:
    """The discriminators that `config` names, by name."""
    d = config.discriminator
    gain = 10 ** (-config.data.level_db / 20)  # speech enters with an RMS of 1
    made: dict[str, nn.Module] = {}
    if "ms_stft" in d.kinds:
        made["ms_stft"] = MultiScaleSTFTDiscriminator(d.stft_windows, d.channels, gain)
    if "mpd" in d.kinds:
        made["mpd"] = MultiPeriodDiscriminator(d.mpd_periods, d.mpd_channels, gain)
    return nn.ModuleDict(made)


def _encoder(config: Config, norm: bool) -> SEANetEncoder:
    m = config.model
    return SEANetEncoder(m.encoder, config.quantizer.codebook_dim, causal=m.causal, norm=norm)


def _decoder(config: Config, norm: bool) -> Decoder:
    m, d, latent_dim = config.model, config.model.decoder, config.quantizer.codebook_dim
    if d.kind == "seanet":
        lstm = d.lstm_layers
        return SEANetDecoder(m.encoder, d.base_channels, latent_dim, lstm_layers=lstm, causal=m.causal, norm=norm)
    sizes: dict[str, Any] = {
        "latent_dim": latent_dim,
        "hop_length": config.hop_length,
        "dim": d.dim,
        "layers": d.layers,
        "expansion": d.expansion,
        "kernel_size": d.kernel_size,
        "overlap": d.overlap,
        "causal": config.model.causal,
    }
    if d.kind == "voiced":
        return VoicedDecoder(sample_rate=config.sample_rate, free_hz=d.free_hz, **sizes)
    return ISTFTDecoder(**sizes)
