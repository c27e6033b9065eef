"""Latents of the training data, always of the same segments: to start the codebooks and to fix the average's scale."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.training.batches.feeder import fixed_batches

CALIBRATION_BATCHES = 16


@torch.no_grad()
def initialize_quantizer(codec: Codec, dataset: SegmentDataset, config: Config) -> int:
    """Fix the scale and fit the codebooks to what the encoder makes of the data.

    Args:
        codec: put into training mode.
        dataset: of the run.
        config: of the run.

    Returns:
        Number of latents used.
    """
    codec.train()
    with torch.compiler.set_stance("force_eager"):  # batches of other sizes, once: not worth compiling for
        raw = list(_raw(codec, dataset, config, codec.quantizer.init_frames))
    codec.scale.calibrate(raw)
    codec.scale.settle()
    scaled = [codec.scale.running(latents).transpose(1, 2).flatten(0, 1) for latents in raw]
    codec.quantizer.initialize(torch.cat(scaled))
    return sum(len(part) for part in scaled)


@torch.no_grad()
def calibrate(codec: Codec, dataset: SegmentDataset, config: Config) -> None:
    """Set the latents' inference statistics: those of an average of weights are not the average of statistics."""
    frames = CALIBRATION_BATCHES * config.train.batch_size * config.segment_samples // config.hop_length
    codec.scale.calibrate(list(_raw(codec, dataset, config, frames)))


def _raw(codec: Codec, dataset: SegmentDataset, config: Config, frames: int) -> Iterator[Tensor]:
    """Encoder outputs `[B, D, T]` of the first segments with at least `frames` frames together, or of all there are."""
    count = -(-frames * config.hop_length // config.segment_samples)
    for batch in fixed_batches(dataset, count, config.train.batch_size):
        yield codec.encoder(batch.to(codec.device))
