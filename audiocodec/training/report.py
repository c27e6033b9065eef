"""What a configuration means, before anything is trained: everything that follows from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from audiocodec.build import build_codec, build_discriminators
from audiocodec.codec import Codec
from audiocodec.config.schema import Config
from audiocodec.training.steps import DiscriminatorBundle, Steps

FLOAT_BYTES = 4


def describe(config: Config) -> dict[str, int | float | str]:
    """Derived figures of `config`, by name, units in the names.

    The memory figure adds what is there all the time (weights, gradients, Adam's two moments, the average, projected
    codebooks) and what autograd keeps of the codec and of the larger half of a step, measured on one and on two
    segments and scaled to the batch. What a library needs inside one operation comes on top.
    """
    codec = build_codec(config)
    discriminators = build_discriminators(config)
    encoder = _count(codec.encoder)
    decoder = _count(codec.decoder)
    quantizer = _count(codec.quantizer)
    judges = _count(discriminators)
    left, right = codec.encoder_halo
    before, after = codec.decoder_halo
    # Of a quantizer: its codebooks, their average, and both as projected.
    state_bytes = FLOAT_BYTES * (5 * (encoder + decoder) + 4 * quantizer + 4 * judges)
    codec_bytes, loss_bytes = _activation_bytes(codec, discriminators, config)
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
        "codec_activations_mb": round(codec_bytes / 1e6, 1),
        "loss_activations_mb": round(loss_bytes / 1e6, 1),
        "training_memory_estimate_mb": round((state_bytes + codec_bytes + loss_bytes) / 1e6, 1),
    }


def _activation_bytes(codec: Codec, discriminators: nn.ModuleDict, config: Config) -> tuple[int, int]:
    """Bytes that autograd keeps for one batch: of the codec, and of its losses or the discriminators', the larger."""
    one, two = (_measured(codec, discriminators, config, items) for items in (1, 2))
    more = config.train.batch_size - 1  # what one and two have in common, such as normalised weights, is there once
    return one[0] + more * (two[0] - one[0]), one[1] + more * (two[1] - one[1])


def _measured(codec: Codec, discriminators: nn.ModuleDict, config: Config, items: int) -> tuple[int, int]:
    """`_activation_bytes` of so many segments: the two halves of a step, but for their backward passes."""
    steps = Steps(config, torch.device("cpu"))
    judged = bool(discriminators) and config.discriminator.start_step < config.train.steps
    wav = torch.randn(items, 1, config.segment_samples) * 0.1
    known = {p.untyped_storage().data_ptr() for m in (codec, discriminators) for p in m.parameters()}
    of_codec, of_judges, of_losses = _Kept(known), _Kept(known), _Kept(known)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision == "bf16"):
        with saved_tensors_hooks(of_codec.count, _same):
            output = codec(wav)
        known |= of_codec.storages.keys()
        if judged:
            with saved_tensors_hooks(of_judges.count, _same):
                steps.discriminator(DiscriminatorBundle(discriminators), wav, output.estimate, of_judges.hold)
        discriminators.requires_grad_(False)
        with saved_tensors_hooks(of_losses.count, _same):
            steps.generator(output, discriminators if judged else None, wav, of_losses.hold)
        discriminators.requires_grad_(True)
    return of_codec.bytes, max(of_judges.bytes, of_losses.bytes)


class _Kept:
    """Counts what autograd saves, each storage once; `known` ones are someone else's."""

    def __init__(self, known: set[int]) -> None:
        self.storages: dict[int, int] = {}
        self._known = known

    @property
    def bytes(self) -> int:
        """How many were saved."""
        return sum(self.storages.values())

    def hold(self, loss: Tensor) -> None:
        """In place of a backward pass: keeps the graph, so that no storage is counted in another's place."""
        self._loss = loss

    def count(self, tensor: Tensor) -> Tensor:
        """Count a tensor, which is saved as it is."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _context(module: nn.Module, before: int, after: int) -> str:
    recurrent = any(isinstance(layer, nn.LSTM) for layer in module.modules())
    return "unbounded (LSTM)" if recurrent else f"{before} before, {after} after"


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
