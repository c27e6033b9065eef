"""What a configuration means, before anything is trained: everything that follows from it."""

from __future__ import annotations

import torch

from audiocodec.build import build_codec, build_discriminators
from audiocodec.config.schema import Config

FLOAT_BYTES = 4


def describe(config: Config) -> dict[str, int | float | str]:
    """Derived figures of `config`, by name, units in the names.

    The memory figure adds weights, gradients, Adam's two moments and the average; activations are estimated from one
    forward pass of one frame-aligned segment on the CPU, scaled to the batch.
    """
    codec = build_codec(config)
    discriminators = build_discriminators(config)
    encoder = _count(codec.encoder)
    decoder = _count(codec.decoder)
    quantizer = _count(codec.quantizer)
    judges = _count(discriminators)
    left, right = codec.encoder_halo
    before, after = codec.decoder_halo
    state_bytes = FLOAT_BYTES * (5 * (encoder + decoder) + 2 * quantizer + 4 * judges)
    activation_bytes = _activation_bytes(codec, config)
    return {
        "name": config.name,
        "sample_rate_hz": config.sample_rate,
        "hop_length_samples": config.hop_length,
        "frame_rate_hz": round(config.frame_rate, 3),
        "num_codebooks": config.quantizer.num_codebooks,
        "codebook_size": config.quantizer.codebook_size,
        "bits_per_frame": config.bits_per_frame,
        "bitrate_kbps": round(config.bitrate_bps / 1000, 4),
        "latency_ms": "unbounded (LSTM)"
        if codec.has_lstm
        else round(1000 * codec.latency_samples / config.sample_rate, 1),
        "encoder_context_frames": "unbounded (LSTM)" if codec.has_lstm else f"{left} before, {right} after",
        "decoder_context_frames": "unbounded (LSTM)" if codec.has_lstm else f"{before} before, {after} after",
        "encoder_parameters": encoder,
        "decoder_parameters": decoder,
        "quantizer_parameters": quantizer,
        "discriminator_parameters": judges,
        "segment_samples": config.segment_samples,
        "batch_seconds": round(
            config.train.batch_size * config.train.gradient_accumulation * config.segment_samples / config.sample_rate,
            3,
        ),
        "hours_seen_per_process": round(
            config.train.steps
            * config.train.batch_size
            * config.train.gradient_accumulation
            * config.segment_samples
            / config.sample_rate
            / 3600,
            2,
        ),
        "training_state_mb": round(state_bytes / 1e6, 1),
        "codec_activations_mb": round(activation_bytes / 1e6, 1),
        "training_memory_estimate_mb": round((state_bytes + activation_bytes) / 1e6, 1),
    }


def _activation_bytes(codec: torch.nn.Module, config: Config) -> int:
    """Bytes that autograd keeps for one batch of the codec, measured on one segment."""
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        codec(torch.randn(1, 1, config.segment_samples) * 0.1, quantize=False)
    weights = sum(p.numel() * p.element_size() for p in codec.parameters())
    return max(0, kept - weights) * config.train.batch_size


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
