"""From a configuration to modules: the only place that knows both."""

from __future__ import annotations

from torch import nn

from audiocodec.codec import Codec
from audiocodec.config.schema import Config
from audiocodec.nn.discriminator import MultiPeriodDiscriminator, MultiScaleSTFTDiscriminator
from audiocodec.nn.istft_decoder import ISTFTDecoder
from audiocodec.nn.seanet import SEANetDecoder, SEANetEncoder, SEANetPlan
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.scale import LatentScale
from audiocodec.quantization.simvq import SimVQ


def build_codec(config: Config, norm: bool = True) -> Codec:
    """The codec that `config` describes, with random weights.

    Args:
        config: a checked configuration.
        norm: False leaves weight normalisation out (to load folded weights into).
    """
    return Codec(
        _encoder(config, norm),
        LatentScale(config.quantizer.codebook_dim),
        build_quantizer(config),
        _decoder(config, norm),
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        level_db=config.data.level_db,
    )


def build_quantizer(config: Config) -> ResidualQuantizer:
    """The stack of codebooks; one codebook is a stack of one."""
    q = config.quantizer
    stages = [
        SimVQ(
            q.codebook_size,
            q.codebook_dim,
            start=q.start,
            distribution=q.distribution,
            train_codebook=q.train_codebook,
            train_map=q.train_map,
            bias=q.bias,
        )
        for _ in range(q.num_codebooks)
    ]
    return ResidualQuantizer(stages, q.dropout)


def build_discriminators(config: Config) -> nn.ModuleDict:
    """The discriminators that `config` names, by name."""
    d = config.discriminator
    made: dict[str, nn.Module] = {}
    if "ms_stft" in d.kinds:
        made["ms_stft"] = MultiScaleSTFTDiscriminator(d.stft_windows, d.channels)
    if "mpd" in d.kinds:
        made["mpd"] = MultiPeriodDiscriminator(d.mpd_periods, d.mpd_channels)
    return nn.ModuleDict(made)


def _plan(config: Config, norm: bool) -> SEANetPlan:
    e = config.model.encoder
    return SEANetPlan(
        strides=e.strides,
        residual_layers=e.residual_layers,
        dilation_base=e.dilation_base,
        kernel_size=e.kernel_size,
        residual_kernel_size=e.residual_kernel_size,
        last_kernel_size=e.last_kernel_size,
        compress=e.compress,
        true_skip=e.true_skip,
        activation=e.activation,
        causal=config.model.causal,
        norm=norm,
    )


def _encoder(config: Config, norm: bool) -> SEANetEncoder:
    e, latent_dim = config.model.encoder, config.quantizer.codebook_dim
    return SEANetEncoder(
        _plan(config, norm),
        e.base_channels,
        latent_dim,
        lstm_layers=e.lstm_layers,
        convnext_layers=e.convnext_layers,
    )


def _decoder(config: Config, norm: bool) -> SEANetDecoder | ISTFTDecoder:
    d, latent_dim = config.model.decoder, config.quantizer.codebook_dim
    if d.kind == "seanet":
        return SEANetDecoder(_plan(config, norm), d.base_channels, latent_dim, lstm_layers=d.lstm_layers)
    return ISTFTDecoder(
        latent_dim=latent_dim,
        hop_length=config.hop_length,
        dim=d.dim,
        layers=d.layers,
        expansion=d.expansion,
        kernel_size=d.kernel_size,
        overlap=d.overlap,
        causal=config.model.causal,
    )
