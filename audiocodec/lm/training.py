"""Train a language model on a data set of tokens, with Accelerate; the learning rate is annealed within the time given."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from audiocodec import model_file
from audiocodec.errors import FingerprintMismatch, LanguageModelError, TrainingError
from audiocodec.lm import files
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.lm_tokens.dataset import PackedTokens
from audiocodec.tokenize import reading

WARMUP = 0.03
LOG_SECONDS, SAVE_SECONDS = 10.0, 300.0
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


def train_lm(model: str | Path | None, tokens: Path, out: Path, settings: LMSettings) -> TokenLM:
    """Train a language model and write it to a folder, every five minutes and at the end.

    Args:
        model: the codec, as for `audiocodec.load`.
        tokens: data set that `audiocodec tokenize` made with that codec.
        out: folder of the language model.
        settings: how.

    Raises:
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
    torch.manual_seed(settings.seed)
    network = TokenLM(config, tables[: len(sizes)])
    _fit(network, data, out, settings, accelerator)
    if accelerator.is_main_process:
        files.save(network, out)
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


def _fit(network: TokenLM, data: PackedTokens, out: Path, settings: LMSettings, accelerator: Accelerator) -> None:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
    model, optimizer = accelerator.prepare(network, optimizer)
    begun, epoch, step = time.monotonic(), 0, 0
    logged, saved = begun - LOG_SECONDS, begun
    while True:
        data.set_epoch(epoch)
        for ids in DataLoader(data, settings.batch, shuffle=False, drop_last=len(data) > settings.batch):
            done = (time.monotonic() - begun) / (60 * settings.minutes)
            if done >= 1:
                return
            for group in optimizer.param_groups:
                group["lr"] = (
                    settings.learning_rate * min(1.0, done / WARMUP + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
                )
            bits = _step(model, ids.to(accelerator.device), network, optimizer, accelerator)
            step += 1
            if time.monotonic() - logged > LOG_SECONDS and accelerator.is_main_process:
                logged = time.monotonic()
                log.info("step %d, epoch %d, %.0f %%: %.2f bits per token", step, epoch, 100 * done, bits)
            if time.monotonic() - saved > SAVE_SECONDS and accelerator.is_main_process:
                saved = time.monotonic()
                files.save(network, out)
        epoch += 1


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
