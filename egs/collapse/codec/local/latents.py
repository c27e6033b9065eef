"""Quantizers alone, on the same latents of a frozen encoder: no audio, no decoder, nothing else that moves.

    PYTHONPATH=local python local/latents.py --model exp/cpu/autoencoder --train-data DIR --test-data DIR -o exp/latents

Each line of conf/latents.tsv is started on the first latents of the training data, then trained for `--steps` batches of
them with the losses that a codec's training has for its quantizer. Along the way: error and usage on the latents of
the test data; at the end usage over all training latents. `exp/latents/<name>.json` keeps what is done;
`exp/latents/RESULTS.md` and its pictures are made of all that is there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from collapse.latent_page import write_page
from torch import Tensor

from audiocodec import model_file
from audiocodec.build import build_quantizer
from audiocodec.config.load import load_config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import read_folder
from audiocodec.metrics.codebook import codebook_use
from audiocodec.quantization.base import Stage
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.training.batches.feeder import fixed_batches

BATCH, RATE, SEED = 1024, 1e-3, 0  # frames of a step, Adam's rate
SEGMENT_SECONDS, SEGMENTS = 2.0, 16  # of audio that is encoded at a time
LOOKS = (0, 10, 30, 100, 300, 1000, 3000)  # steps after which the test latents are quantized
COMMITMENT = 0.25


@dataclass(frozen=True)
class Trial:
    """A line of conf/latents.tsv."""

    name: str
    label: str
    table: str
    overrides: tuple[str, ...]


def read_trials(path: Path) -> list[Trial]:
    """All trials of a table file."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [Trial(name, label, table, tuple(overrides.split())) for name, label, table, overrides in lines]


@torch.no_grad()
def latents_of(model: str, data: Path, frames: int) -> Tensor:
    """Latents `[N, D]` of a model's encoder, in the scale that its quantizer sees, of up to `frames` frames of `data`."""
    codec = model_file.load(model)
    config = model_file.describe(model).config
    samples = round(SEGMENT_SECONDS * config.sample_rate / config.hop_length) * config.hop_length
    dataset = SegmentDataset(read_folder(data), config.sample_rate, samples, SEED, config.data.level_db, 0.0)
    count = -(-frames * config.hop_length // samples)
    parts = [
        codec.scale.running(codec.encoder(batch)).transpose(1, 2).flatten(0, 1)
        for batch in fixed_batches(dataset, count, SEGMENTS)
    ]
    return torch.cat(parts)


def run(trial: Trial, profile: Path, train: Tensor, test: Tensor, steps: int) -> dict[str, Any]:
    """Start, train and measure one quantizer; what was found, ready for JSON."""
    torch.manual_seed(SEED)
    quantizer = build_quantizer(load_config(profile, list(trial.overrides)))
    begun = time.process_time()
    quantizer.initialize(train[: quantizer.init_frames])
    started = time.process_time() - begun
    learned = [p for p in quantizer.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, RATE, betas=(0.8, 0.99), weight_decay=0.0) if learned else None
    looks = []
    for step, batch in enumerate(_batches(train, steps + 1)):
        if step in LOOKS or step == steps:
            looks.append({"step": step, **look(quantizer, test, batch)})
        if step == steps:
            break
        if optimizer is not None:
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        _step(quantizer, optimizer, batch, step)
    counts = _counts(quantizer, train)
    use = [codebook_use(row.numpy()) for row in counts]
    return {
        "label": trial.label,
        "table": trial.table,
        "codes": quantizer.codebook_size,
        "stages": quantizer.num_codebooks,
        "frames": len(train),
        "start_cpu_s": round(started, 1),
        "usage": [u.usage for u in use],
        "perplexity": [u.perplexity for u in use],
        "looks": looks,
    }


@torch.no_grad()
def look(quantizer: ResidualQuantizer, test: Tensor, batch: Tensor) -> dict[str, Any]:
    """Error left after each stage on the test latents, and how many different codes a training batch has per frame."""
    residual, errors = test, []
    total = test.square().sum(dtype=torch.float64)
    for stage in _stages(quantizer):
        residual = torch.cat([part - _quantized(stage, part) for part in residual.split(BATCH)])
        errors.append(float(residual.square().sum(dtype=torch.float64) / total))
    codes = quantizer.encode(_framed(batch))[0]
    return {"error": errors, "different": [len(row.unique()) / len(batch) for row in codes]}


def _step(quantizer: ResidualQuantizer, optimizer: torch.optim.Optimizer | None, batch: Tensor, step: int) -> None:
    """One update by gradient, and one of codebooks that follow averages.

    The distance of output to input reaches what stands before and after a codebook (factorised ones, FSQ, LFQ)."""
    quantizer.train()
    latents = _framed(batch)
    output = quantizer(latents)
    if optimizer is not None:
        distance = F.mse_loss(output.quantized, latents)
        optimizer.zero_grad()
        loss = output.codebook_loss + COMMITMENT * output.commitment_loss + distance
        if loss.requires_grad:
            loss.backward()
            optimizer.step()
    for k, stage in enumerate(_stages(quantizer)):
        if stage.learns_from_latents:
            stage.update(output.stages[k].entered[0].T, output.codes[0, k], step)
    quantizer.eval()


@torch.no_grad()
def _counts(quantizer: ResidualQuantizer, latents: Tensor) -> Tensor:
    """How often each code of each stage is chosen `[K, V]`."""
    counts = torch.zeros(quantizer.num_codebooks, quantizer.codebook_size, dtype=torch.int64)
    for part in latents.split(8 * BATCH):
        for row, codes in zip(counts, quantizer.encode(_framed(part))[0]):
            row += torch.bincount(codes, minlength=len(row))
    return counts


def _batches(latents: Tensor, count: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    for _ in range(count):
        yield latents[torch.randint(len(latents), (BATCH,), generator=generator)]


def _stages(quantizer: ResidualQuantizer) -> list[Stage]:
    return [stage for stage in quantizer.stages if isinstance(stage, Stage)]


def _framed(latents: Tensor) -> Tensor:
    """`[N, D]` as one item `[1, D, N]`."""
    return latents.T.unsqueeze(0)


def _quantized(stage: Stage, latents: Tensor) -> Tensor:
    return stage.decode(stage.encode(_framed(latents)))[0].T


def main() -> None:
    """Do what is asked for and not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="whose encoder: an experiment trained without a quantizer")
    parser.add_argument("--train-data", type=Path, required=True)
    parser.add_argument("--test-data", type=Path, required=True)
    parser.add_argument(
        "--config", type=Path, default=Path("conf/cpu.yaml"), help="of the quantizers (default: %(default)s)"
    )
    parser.add_argument("--trials", default="", metavar="LIST", help="names of conf/latents.tsv (default: all)")
    parser.add_argument("--frames", type=int, default=1_000_000, help="of training latents (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("-o", "--output-dir", type=Path, required=True)
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    trials = read_trials(Path("conf/latents.tsv"))
    asked = args.trials.split(",") if args.trials else [trial.name for trial in trials]
    todo = [t for t in trials if t.name in asked and not (args.output_dir / f"{t.name}.json").exists()]
    if todo:
        train, test = (latents_of(args.model, data, args.frames) for data in (args.train_data, args.test_data))
        variances = np.linalg.eigvalsh(np.cov(train[:40_000].T.numpy()))[::-1]
        print(f"{len(train):,} and {len(test):,} latents; variances {np.round(variances, 3).tolist()}", flush=True)
    for trial in todo:
        found = run(trial, args.config, train, test, args.steps)
        (args.output_dir / f"{trial.name}.json").write_text(json.dumps(found), encoding="utf-8")
        print(trial.name, json.dumps(found["looks"][-1]), found["usage"], flush=True)
    write_page(args.output_dir, [trial.name for trial in trials])


if __name__ == "__main__":
    main()
