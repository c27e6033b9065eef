"""Peak memory of a training step beside what `audiocodec train --dry-run` announces, for several shapes of a step.

What a process holds is more than its tensors: the C library keeps most of what was freed, for the next allocation. So
each case is measured twice, as it is, and with large blocks returned as soon as they are freed (`MALLOC_MMAP_THRESHOLD_`,
which glibc otherwise raises to 32 MB by itself). The estimate is of the tensors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from audiocodec.config.load import load_config
from audiocodec.training.monitor.dry_run import describe
from benchmarks.cells import Cell, arguments, memory_mb, publish, report, run_cells
from benchmarks.training import Step

CONFIG = "mini"
CASES = {
    "stft": ("train.batch_size=24", "discriminator.kinds=[ms_stft]"),
    "stft+mpd": (
        "train.batch_size=12",
        "discriminator.kinds=[ms_stft,mpd]",
        "discriminator.mpd_channels=4",
    ),
    "plain": ("train.batch_size=48", "discriminator.kinds=[]"),
    "bfloat16": ("train.batch_size=24", "discriminator.kinds=[ms_stft]", "train.precision=bf16"),
    "seanet+lstm": (
        "train.batch_size=12",
        "discriminator.kinds=[ms_stft]",
        "model.decoder.kind=seanet",
        "model.decoder.lstm_layers=1",
        "model.encoder.lstm_layers=1",
    ),
    "residual": (
        "train.batch_size=12",
        "discriminator.kinds=[ms_stft]",
        "quantizer.num_codebooks=8",
        "quantizer.codebook_size=16384",
    ),
}
ALLOCATORS = {"as it is": {}, "returns": {"MALLOC_MMAP_THRESHOLD_": "65536"}}
HEADER = ("case", "freed memory", "peak MB", "estimate MB", "peak / estimate")


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--cases", choices=CASES, nargs="+", default=list(CASES), help="default: all")
    args = arguments(parser, 1, measure)
    names = [(case, allocator) for case in args.cases for allocator in ALLOCATORS]
    cells: list[dict[str, Any]] = [{"set": CASES[case], "environment": ALLOCATORS[how]} for case, how in names]
    rows = [
        [case, how, f"{r['peak']:.0f}", f"{r['estimate']:.0f}", f"{r['peak'] / r['estimate']:.2f}"]
        for (case, how), r in zip(names, run_cells("benchmarks.memory", cells, args.rounds))
    ]
    notes = [f"{CONFIG} with other settings, on the CPU, one thread: the most that a process holds in two steps,"]
    notes += ["less what it held before (after a step on one segment, so that libraries have loaded what they need)."]
    publish(report("Memory of a training step", notes, HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One case in this process.

    Args:
        cell: `set`, overrides of the configuration.

    Returns:
        `peak` and `estimate` in MB.
    """
    torch.set_num_threads(1)
    _take_steps([*cell["set"], "train.batch_size=1"])
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM back to what is held now
    before = memory_mb("VmRSS")
    _take_steps(cell["set"])
    peak = memory_mb("VmHWM") - before
    return {"peak": peak, "estimate": float(describe(load_config(CONFIG, cell["set"]))["training_memory_estimate_mb"])}


def _take_steps(overrides: list[str]) -> None:
    step = Step(load_config(CONFIG, overrides), torch.device("cpu"))
    step.run()
    step.run()


if __name__ == "__main__":
    main()
