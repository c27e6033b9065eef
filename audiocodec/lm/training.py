"""Train a language model on a data set of tokens, with Accelerate; the learning rate is annealed within the time given."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Subset

from audiocodec import locks, model_file
from audiocodec.errors import FingerprintMismatch, LanguageModelError, TrainingError
from audiocodec.lm import files, state
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.lm_tokens.dataset import PackedTokens
from audiocodec.tokenize import reading

WARMUP = 0.03
LOG_SECONDS, SAVE_SECONDS = 10.0, 60.0
log = logging.getLogger("audiocodec.lm")


@dataclass(frozen=True)
class LMSettings:
    """How a language model is trained.

    Attributes:
        dim, layers, heads, context: see `LMConfig`.
        minutes: of training.
        batch: contexts of a step, of each process.
        learning_rate: largest.
        weight_decay: of matrices.
        seed: of weights and order.
    """

    dim: int = 256
    layers: int = 6
    heads: int = 4
    context: int = 256
    minutes: float = 60.0
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0


def train_lm(model: str | Path | None, tokens: Path, out: Path, settings: LMSettings, resume: bool = False) -> TokenLM:
    """Train a language model and write it to a folder at the end; where it stands is kept there every minute.

    Args:
        model: the codec, as for `audiocodec.load`.
        tokens: data set that `audiocodec tokenize` made with that codec.
        out: folder of the language model.
        settings: how.
        resume: go on where a killed training stood, if it left a state; a finished one stays as it is.

    Raises:
        LanguageModelError: what is in `out` is damaged, or of another training.
        UsageError: another process trains there.
        CorpusError, FingerprintMismatch, CheckpointError: the data set or the codec cannot be used.
        TrainingError: the loss is not finite.
    """
    accelerator = Accelerator(log_with=None)
    codec = model_file.load(model)
    tables = [table.numpy(force=True) for table in codec.quantizer.tables()]
    check_tokens(tokens, codec.fingerprint.hex())
    data = PackedTokens(
        tokens, settings.context, "delay", settings.seed, accelerator.process_index, accelerator.num_processes
    )
    sizes = data.vocabulary.codebook_sizes
    config = LMConfig(codec.fingerprint.hex(), sizes, settings.dim, settings.layers, settings.heads, settings.context)
    begin = state.Progress(config, dataclasses.asdict(settings), len(data))
    if resume and state.is_finished(out, begin):
        log.info("%s: is finished", out)
        return files.load(out)
    torch.manual_seed(settings.seed)
    network = TokenLM(config, tables[: len(sizes)])
    main = accelerator.is_main_process
    with locks.alone(out, "trained") if main else contextlib.nullcontext():
        end = _fit(network, data, out, settings, accelerator, begin, resume)
        accelerator.wait_for_everyone()
        if main:
            files.save(network, out)
            state.finish(out, end)
    return network.eval()


def check_tokens(tokens: Path, fingerprint: str) -> None:
    """Refuse a data set of another codec.

    Raises:
        FingerprintMismatch: it is.
    """
    for path in sorted(tokens.glob("tokens-*.parquet")):
        made_by = reading.fingerprint_of(path)
        if made_by != fingerprint:
            raise FingerprintMismatch(f"{path}: was made by model {made_by}, this is {fingerprint}")


def _fit(
    network: TokenLM,
    data: PackedTokens,
    out: Path,
    settings: LMSettings,
    accelerator: Accelerator,
    at: state.Progress,
    resume: bool,
) -> state.Progress:
    """Train from `at` on, or from a state in `out`; where it ended."""
    optimizer = torch.optim.AdamW(_groups(network, settings), lr=settings.learning_rate, betas=(0.9, 0.98))
    if resume:
        at = state.load(out, at, network, optimizer)
        log.info("step %d, epoch %d: goes on after %.1f minutes", at.step, at.epoch, at.seconds / 60)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        state.save(out, at, network, optimizer)
    model, prepared = accelerator.prepare(network, optimizer)
    begun = time.monotonic() - at.seconds
    logged, saved = begun - LOG_SECONDS, time.monotonic()
    while True:
        data.set_epoch(at.epoch)
        rest = Subset(data, range(at.position, len(data)))
        for ids in DataLoader(rest, settings.batch, drop_last=len(data) > settings.batch):
            seconds = time.monotonic() - begun
            done = seconds / (60 * settings.minutes)
            if done >= 1:
                return at
            for group in prepared.param_groups:
                group["lr"] = settings.learning_rate * _share(done)
            bits = _step(model, ids.to(accelerator.device), network, prepared, accelerator)
            at = replace(at, step=at.step + 1, position=at.position + len(ids), seconds=seconds)
            if time.monotonic() - logged > LOG_SECONDS and accelerator.is_main_process:
                logged = time.monotonic()
                log.info("step %d, epoch %d, %.0f %%: %.2f bits per token", at.step, at.epoch, 100 * done, bits)
            if time.monotonic() - saved > SAVE_SECONDS and accelerator.is_main_process:
                saved = time.monotonic()
                state.save(out, at, network, optimizer)
        at = replace(at, epoch=at.epoch + 1, position=0)


def _groups(network: TokenLM, settings: LMSettings) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    return [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _share(done: float) -> float:
    """Of the largest learning rate, when so much of the time has gone: a short rise, then half a cosine."""
    return min(1.0, done / WARMUP + 0.01) * 0.5 * (1 + math.cos(math.pi * done))


def _step(
    model: torch.nn.Module,
    ids: torch.Tensor,
    network: TokenLM,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
) -> float:
    nats = model(ids)
    counted = ids[..., 1:] != network.config.vocabulary.pad
    loss = (nats * counted).sum() / counted.sum()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(f"the language model's loss is {value}")
    optimizer.zero_grad()
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return value / math.log(2)


def device_of(name: str) -> torch.device:
    """A device by its name.

    Raises:
        LanguageModelError: torch knows no such device, or it is not there.
    """
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise LanguageModelError(f"--device {name}: {error}") from None
