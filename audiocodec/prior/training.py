"""Train a prior on a data set of tokens."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiocodec import model_file
from audiocodec.errors import TrainingError
from audiocodec.prior.data import Codes, pieces, read_codes, segments
from audiocodec.prior.network import PriorNetwork
from audiocodec.tokens.prior import Prior, PriorConfig

SEGMENT_SECONDS = 10
FEWER = 0.25  # share of the batches of a residual codec that have fewer codebooks, as truncated files do
WARMUP = 0.03
LOG_SECONDS = 10.0
log = logging.getLogger("audiocodec.prior")


@dataclass(frozen=True)
class PriorSettings:
    """How a prior is trained.

    Attributes:
        channels, hidden, vector_dim, dilations: see `PriorConfig`.
        minutes: of training; the learning rate falls to zero within them.
        crop: frames of a piece.
        batch: pieces of a step.
        learning_rate: largest.
        seed: of weights and pieces.
        device: torch's name of it.
        init_from: file of a prior to begin with, of an earlier state of the codec, say; None: random weights.
    """

    channels: int = 192
    hidden: int = 256
    vector_dim: int = 16
    dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)
    minutes: float = 20.0
    crop: int = 384
    batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 0
    device: str = "cpu"
    init_from: Path | None = None


@dataclass(frozen=True)
class Score:
    """What a prior makes of tokens.

    Attributes:
        bits: per frame, by codebook [K].
        raw_bits: per frame without a prior.
        frames: that were scored.
    """

    bits: tuple[float, ...]
    raw_bits: int
    frames: int

    @property
    def share(self) -> float:
        """Bits with the prior for each bit without."""
        return sum(self.bits) / self.raw_bits


def train_prior(
    model: str | Path | None, tokens: Path, settings: PriorSettings, valid: Path | None = None
) -> tuple[Prior, Score | None]:
    """Train a prior.

    Args:
        model: the codec, as for `audiocodec.load`.
        tokens: data set that `audiocodec tokenize` made of audio with that codec.
        settings: how.
        valid: data set to score the trained prior on; None: none.

    Returns:
        (the prior, its score).

    Raises:
        CorpusError, FingerprintMismatch, CheckpointError: see `read_codes` and `model_file.load`.
        PriorError: `init_from` is no prior, or one of other sizes.
        TrainingError: the loss is not finite.
    """
    codec = model_file.load(model)
    tables = [table.numpy(force=True) for table in codec.quantizer.tables()]
    codes = read_codes(tokens, codec.fingerprint.hex(), len(tables))
    config = PriorConfig(
        codec=codec.fingerprint.hex(),
        codebook_sizes=tuple(len(table) for table in tables),
        segment_frames=round(SEGMENT_SECONDS * codec.sample_rate / codec.hop_length),
        channels=settings.channels,
        hidden=settings.hidden,
        vector_dim=settings.vector_dim,
        dilations=tuple(settings.dilations),
    )
    torch.manual_seed(settings.seed)
    network = PriorNetwork(config, tables)
    if settings.init_from is not None:
        network.load(Prior.load(settings.init_from))
    network = network.to(settings.device)
    held_out = None if valid is None else read_codes(valid, codec.fingerprint.hex(), len(tables))
    _fit(network, codes, settings)
    return network.export(), None if held_out is None else score_prior(network, held_out)


def score_prior(network: PriorNetwork, codes: Codes) -> Score:
    """Bits of all segments, as files have them."""
    total, frames = np.zeros(len(codes[0])), 0
    with torch.inference_mode():
        for batch in segments(codes, network.config.segment_frames, 32):
            nats, there = _nats(network, batch.to(network.enter.weight.device))
            total += nats.sum((0, 1)).double().numpy(force=True)
            frames += int(there.sum())
    raw = sum((size - 1).bit_length() for size in network.config.codebook_sizes)
    return Score(tuple(total / frames / math.log(2)), raw, frames)


def _fit(network: PriorNetwork, codes: Codes, settings: PriorSettings) -> None:
    random = np.random.default_rng(settings.seed)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, (0.9, 0.98))
    raw = sum((size - 1).bit_length() for size in network.config.codebook_sizes)
    begun, logged, step, done = time.monotonic(), -math.inf, 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, done / WARMUP + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
        batch = pieces(codes, settings.crop, settings.batch, random).to(settings.device)
        nats, there = _nats(network, _fewer(batch, random))
        loss = nats.sum() / there.sum()
        if not torch.isfinite(loss):
            raise TrainingError(f"the prior's loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        done = (time.monotonic() - begun) / (60 * settings.minutes)
        if time.monotonic() - logged > LOG_SECONDS:
            logged = time.monotonic()
            log.info("step %d, %.0f %%: %.2f bits a frame of %d", step, 100 * done, loss.item() / math.log(2), raw)


def _nats(network: PriorNetwork, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Nats `[B, T, K]` and which frames are there `[B, T]`, of codes that are -1 where nothing is."""
    there = codes[..., 0] >= 0
    nats: Tensor = network(codes.clamp(min=0))
    return nats * there.unsqueeze(-1), there


def _fewer(codes: Tensor, random: np.random.Generator) -> Tensor:
    """The first codebooks of some batches only."""
    count = codes.shape[-1]
    return codes[..., : int(random.integers(1, count + 1))] if count > 1 and random.random() < FEWER else codes
