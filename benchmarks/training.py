"""Time and peak memory of a training step by codebook size, for a configuration.

Losses and gradients are the trainer's own (`training.losses`), with its optimizers and its average of the weights, on noise
instead of speech, which is not augmented and does not come from a disk: quantized, and against the discriminators if the configuration ever gets to them. One micro-batch a step. The
noise is on the device from the start, as the audio is with `data.on_device`; `--set train.compile=true` compiles what the
trainer compiles, in the step before those that are timed, and `--set train.precision=bf16` is passed on as well.
`TFLOP/s` counts what `training.monitor.flops` counts, of a step that trains the discriminators as well.

`--reference` adds a stand-in for the training of the SimVQ repository (https://github.com/youngsheen/SimVQ): its encoder
(SEANet-512 with LSTM) and its decoder's size (12 ConvNeXt blocks of 768, without the attention block) against
multi-period and multi-scale STFT discriminators at every step, with one mel loss, in our code. Of what that repository
trains, it leaves out the attention, a second multi-period and a multi-band discriminator and the unused SEANet decoder,
all of which take time; a multi-scale STFT discriminator stands where that repository has a multi-resolution one.

`--against FOLDER` compares with an older checkout instead: whole steps of either trainer (`trainer_step`), with data,
augmentation and statistics, of that checkout's configuration; variants in turn, round by round, each beside the older
one in the same round. `memory kept` is what `audiocodec train` does and the older one did not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from audiocodec.build import build_codec, build_discriminators
from audiocodec.config.load import find, load_config
from audiocodec.config.schema import Config
from audiocodec.training.compilation import compile_modules
from audiocodec.training.ema import EMA
from audiocodec.training.losses import DiscriminatorBundle, Steps
from audiocodec.training.monitor.flops import step_flops
from benchmarks.cells import CHECKOUT, Cell, arguments, memory_mb, publish, report, run_cells

CONFIG = "speech_24k"
CONFIG_FOLDERS = ("recipes/conf", "audiocodec/configs")
SIZES = (1024, 4096, 16_384, 65_536, 262_144)
LEVEL = 10 ** (-24 / 20)
REFERENCE = (
    "quantizer.codebook_dim=512",
    "model.encoder.lstm_layers=2",
    "model.decoder.dim=768",
    "model.decoder.layers=12",
    "discriminator.kinds=[ms_stft,mpd]",
    "discriminator.start_step=0",
    "loss.stft=0",
    "loss.mel_windows=[1024]",
    "loss.mel_bands=[100]",
)
SCRIPT = Path(__file__).with_name("trainer_step.py")
DISCRIMINATORS = {"without": ("discriminator.kinds=[]",), "with": ("discriminator.start_step=0",)}
VARIANTS = (  # name, whether of the older checkout, precision, whether freed memory is kept
    ("before", True, "float32", False),
    ("now, float32", False, "float32", False),
    ("now, float32, memory kept", False, "float32", True),
    ("now, bf16, memory kept", False, "bf16", True),
)
AGAINST_HEADER = ("discriminators", "variant", "CPU s", "CPU beside before", "lowest", "highest", "peak MB")
HEADER = ("model", "codebook", "parameters", "CPU s", "wall s", "steps/s", "TFLOP/s", "peak MB")


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--config", default=CONFIG, help="its name or file (%(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; repeatable")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="codebook sizes (%(default)s)")
    parser.add_argument("--reference", action="store_true", help="add the stand-in, with the first of the sizes")
    parser.add_argument("--against", metavar="FOLDER", help="compare with this older checkout, on one CPU thread")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="steps to average over (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="%(default)s")
    args = arguments(parser, 1, measure)
    if args.against:
        compare(Path(args.against).resolve(), args)
        return
    shared = {"config": str(find(args.config).resolve()), "set": args.set, "steps": args.steps}
    shared |= {"threads": args.threads, "device": args.device}
    cells: list[dict[str, Any]] = [{"size": size, **shared} for size in args.sizes]
    if args.reference:
        cells.append({**cells[0], "set": [*args.set, *REFERENCE]})
    results = run_cells("benchmarks.training", cells, args.rounds)
    rows = [
        [
            "configuration" if c["set"] == args.set else "reference",
            f"{c['size']:,}",
            f"{r['parameters']:,.0f}",
            f"{r['cpu']:.2f}",
            f"{r['wall']:.2f}",
        ]
        + [f"{1 / r['wall']:.2f}", f"{r['flops'] / r['wall'] / 1e12:.3g}", f"{r['peak']:.0f}"]
        for c, r in zip(cells, results)
    ]
    config = load_config(args.config, args.set)
    publish(report("A training step by codebook size", _notes(config, args), HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process.

    Args:
        cell: `config`, `set`, `size`, `steps`, `threads`, `device`.

    Returns:
        `parameters` of the codec, `cpu` and `wall` seconds of a step, `peak` memory in MB, `flops` of a step.
    """
    torch.set_num_threads(cell["threads"])
    device = torch.device(cell["device"])
    config = load_config(cell["config"], [*cell["set"], f"quantizer.codebook_size={cell['size']}"])
    torch.manual_seed(config.seed)
    step = Step(config, device)
    step.run()  # the first one allocates the optimizers' state
    _wait(device)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(cell["steps"]):
        step.run()
    _wait(device)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else memory_mb("VmHWM")
    return {
        "parameters": sum(p.numel() for p in step.codec.parameters()),
        "cpu": cpu / cell["steps"],
        "wall": wall / cell["steps"],
        "peak": peak,
        "flops": step_flops(config, (True, step.adversarial, step.adversarial)) / config.train.gradient_accumulation,
    }


def compare(older: Path, args: argparse.Namespace) -> None:
    """Measure every variant in every round, and publish medians."""
    config = _of_older(older, find(args.config).stem)
    rows = []
    for discriminators, settings in DISCRIMINATORS.items():
        cells = [
            {
                "checkout": str(older if old else CHECKOUT),
                "config": str(config),
                "set": [*args.set, *settings, f"train.precision={precision}"],
                "steps": args.steps,
                "keep": keep,
            }
            for _, old, precision, keep in VARIANTS
        ]
        rounds = [[_in_process(cell) for cell in cells] for _ in range(args.rounds)]
        for number, (name, *_) in enumerate(VARIANTS):
            found = [results[number] for results in rounds]
            ratios = sorted(one["cpu"] / results[0]["cpu"] for one, results in zip(found, rounds))
            middle = {key: statistics.median(one[key] for one in found) for key in ("cpu", "peak")}
            shown = [f"{ratio:.2f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1])]
            rows.append([discriminators, name, f"{middle['cpu']:.3f}", *shown, f"{middle['peak']:.0f}"])
    notes = [f"Configuration {config.name} of the older checkout, {args.steps} steps after two others, one CPU thread;"]
    notes += [f"medians of {args.rounds} rounds, and the lowest and highest ratio of a round."]
    publish(report("A step of the trainer, before and now", notes, AGAINST_HEADER, rows), args.output)


def _in_process(cell: Cell) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": cell["checkout"], "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), json.dumps(dict(cell))]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{SCRIPT.name} {json.dumps(dict(cell))} failed with status {done.returncode}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{cell['checkout']} {' '.join(cell['set'])} keep {cell['keep']}: {result}", file=sys.stderr, flush=True)
    return result


class Step:
    """Everything a step needs, and the step."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        self.codec = build_codec(config).to(device)
        self.discriminators = DiscriminatorBundle(build_discriminators(config), config.discriminator_samples).to(device)
        self.adversarial = _adversarial(config)
        self.steps = Steps(config, device)
        self.average = EMA(self.codec, config.train.ema_decay)
        if config.train.compile:
            compile_modules(self.codec, self.discriminators.discriminators)
        modules = [self.codec, self.discriminators] if self.adversarial else [self.codec]
        self.optimizers = [
            torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], betas=config.train.betas)
            for module in modules
        ]
        self.count = 0
        self.wav = LEVEL * torch.randn(config.train.batch_size, 1, config.segment_samples, device=device)

    def run(self) -> None:
        """Forward, backward and update of the codec and, where there are any, the discriminators."""
        train_discriminators = self.adversarial and self.count % self.config.discriminator.interval == 0
        bf16 = self.config.train.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            output = self.codec(self.wav)
            self.discriminators.requires_grad_(train_discriminators)
            pairs = self.discriminators(self.wav, output.estimate) if self.adversarial else ()
        if train_discriminators:
            self.steps.discriminator(self.discriminators, pairs, torch.Tensor.backward)
        self.steps.generator(output, pairs, self.wav, torch.Tensor.backward)
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), self.config.train.clip_norm)
        for optimizer in self.optimizers:  # without gradient nothing moves
            optimizer.step()
            optimizer.zero_grad()
        self.average.update(self.codec)
        self.count += 1


def _of_older(older: Path, name: str) -> Path:
    """A configuration of another checkout, where and under what name it was then."""
    places = [older / folder / f"{name}{end}.yaml" for folder in CONFIG_FOLDERS for end in ("_small", "")]
    return next((place for place in places if place.is_file()), places[0])


def _adversarial(config: Config) -> bool:
    return bool(config.discriminator.kinds) and config.discriminator.start_step < config.train.steps


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _notes(config: Config, args: argparse.Namespace) -> list[str]:
    discriminators = "with" if _adversarial(config) else "without"
    compiled = ", compiled" if config.train.compile else ""
    segments = f"{config.train.batch_size} segments of {config.segment_samples:,} samples"
    return [
        f"Configuration {config.name}: {segments}, {config.train.precision}, {discriminators} discriminators{compiled}.",
        f"On {args.device}, CPU threads: {args.threads}; mean of {args.steps} steps after a first one.",
        "CPU time is over all threads; memory is the peak of the process (on a GPU: of its tensors).",
    ]


if __name__ == "__main__":
    main()
