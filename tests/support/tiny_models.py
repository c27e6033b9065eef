"""Model files of every network and quantizer, tiny and with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from audiocodec import model_file
from audiocodec.build import build_codec
from audiocodec.config.load import config_from_text
from audiocodec.config.schema import Config

HOP = 24
DIM = 6
ENCODER = "strides: [2, 3, 4], base_channels: 4, residual_layers: 2, last_kernel_size: 5"
NETWORKS = {
    "istft": f"encoder: {{{ENCODER}, convnext_layers: 1}}, decoder: {{dim: 12, layers: 2, kernel_size: 3}}",
    "istft_odd": f"encoder: {{{ENCODER}, activation: leaky_relu}}, decoder: {{dim: 8, layers: 1, overlap: 3}}",
    "istft_odd_hop": "encoder: {strides: [3, 5], base_channels: 4}, decoder: {dim: 8, layers: 1, overlap: 5}",
    "istft_two": f"encoder: {{{ENCODER}}}, decoder: {{dim: 8, layers: 1, overlap: 2}}",
    "voiced": f"encoder: {{{ENCODER}}}, decoder: {{kind: voiced, dim: 12, layers: 2, kernel_size: 3, free_hz: 300}}",
    "voiced_odd_hop": "encoder: {strides: [3, 5], base_channels: 4}, decoder: {kind: voiced, dim: 8, layers: 1, overlap: 3}",
    "voiced_two": f"encoder: {{{ENCODER}}}, decoder: {{kind: voiced, dim: 8, layers: 1, overlap: 2}}",
    "seanet": f"encoder: {{{ENCODER}, true_skip: true}}, decoder: {{kind: seanet, base_channels: 4}}",
    "snake": f"encoder: {{{ENCODER}, activation: snake}}, decoder: {{kind: seanet, base_channels: 4}}",
    "lstm": f"encoder: {{{ENCODER}, lstm_layers: 2}}, decoder: {{kind: seanet, base_channels: 4, lstm_layers: 1}}",
}
QUANTIZERS = {
    "simvq": "kind: simvq, codebook_size: 64, num_codebooks: 3",
    "simvq_plain": "kind: simvq, codebook_size: 64, bias: false",
    "simvq_mlp": "kind: simvq, codebook_size: 64, map: mlp",
    "simvq_zero": "kind: simvq, codebook_size: 64, zero_code: true, num_codebooks: 2",
    "vq": "kind: vq, codebook_size: 64",
    "vq_ema": "kind: vq_ema, codebook_size: 16, num_codebooks: 3",
    "vq_fc": "kind: vq_fc, codebook_size: 64, low_dim: 3",
    "fsq": "kind: fsq, codebook_size: 240, num_codebooks: 2",
    "lfq": "kind: lfq, codebook_size: 64",
    "vq_lc": "kind: vq_lc, codebook_size: 64",
    "kmeans": "kind: kmeans, codebook_size: 64",
    "semantic_first": "kind: simvq, codebook_size: 16, num_codebooks: 3, first_stage: vq_lc",
}


def config(network: str, quantizer: str = QUANTIZERS["simvq"], causal: bool = False) -> Config:
    model = f"model: {{{network}, causal: {str(causal).lower()}}}"
    return config_from_text(f"sample_rate: 2400\n{model}\nquantizer: {{codebook_dim: {DIM}, {quantizer}}}\n", "test")


def save(made: Config, path: Path) -> Path:
    """A model file with random weights, no two of a kind, and a quantizer started on its latents."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        codec = build_codec(made)
        with torch.no_grad():
            for name, parameter in codec.named_parameters():
                if (
                    name.endswith(("bias", "scale", "alpha")) or "norm" in name
                ):  # most start at 0 or 1: a mix-up would not show
                    parameter.add_(0.05 * torch.randn_like(parameter))
            latents = codec.encoder(torch.randn(4, 1, made.hop_length * 200))
            codec.scale.calibrate([latents])
            codec.eval().quantizer.initialize(codec.scale(latents).transpose(1, 2).flatten(0, 1))
            for name, parameter in codec.quantizer.named_parameters():
                if "bend" in name:  # starts as no bend at all
                    parameter.add_(0.3 * torch.randn_like(parameter))
    model_file.save(codec, made, path)
    return path


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, samples).astype(np.float32)
