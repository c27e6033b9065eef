"""What a configuration means, before anything is trained: everything that follows from it."""

from __future__ import annotations

from torch import nn

from audiocodec.build import build_codec, build_discriminators
from audiocodec.config.quantizers import table_bytes
from audiocodec.config.schema import Config
from audiocodec.training.monitor.step_memory import activation_bytes

FLOAT_BYTES = 4


def describe(config: Config) -> dict[str, int | float | str]:
    """Derived figures of `config`, by name, units in the names.

    The memory figure adds what is there all the time (weights, gradients, Adam's two moments, the average, projected
    codebooks) and the tensors that a step holds at once, see `step_memory`.
    """
    codec = build_codec(config)
    discriminators = build_discriminators(config)
    encoder = _count(codec.encoder)
    decoder = _count(codec.decoder)
    quantizer = _count(codec.quantizer)
    discriminator_count = _count(discriminators)
    left, right = codec.encoder_context
    before, after = codec.decoder_context
    state_bytes = FLOAT_BYTES * (5 * (encoder + decoder) + 4 * discriminator_count) + table_bytes(
        config.quantizer, training=True
    )
    codec_bytes, loss_bytes = activation_bytes(codec, discriminators, config)
    segments = config.train.batch_size * config.train.gradient_accumulation
    batch_seconds = segments * config.segment_samples / config.sample_rate
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
        "encoder_context_frames": _context(codec.encoder, left, right),
        "decoder_context_frames": _context(codec.decoder, before, after),
        "encoder_parameters": encoder,
        "decoder_parameters": decoder,
        "quantizer_parameters": quantizer,
        "discriminator_parameters": discriminator_count,
        "segment_samples": config.segment_samples,
        "batch_seconds": round(batch_seconds, 3),
        "hours_seen_per_process": "what the minutes allow"
        if config.train.minutes
        else round(config.train.steps * batch_seconds / 3600, 2),
        "training_state_mb": round(state_bytes / 1e6, 1),
        "codec_activations_mb": round(codec_bytes / 1e6, 1),
        "loss_activations_mb": round(loss_bytes / 1e6, 1),
        "training_memory_estimate_mb": round((state_bytes + codec_bytes + loss_bytes) / 1e6, 1),
    }


def _context(module: nn.Module, before: int, after: int) -> str:
    recurrent = any(isinstance(layer, nn.LSTM) for layer in module.modules())
    return "unbounded (LSTM)" if recurrent else f"{before} before, {after} after"


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
