"""What frame rate and codebooks cost a language model: `audiocodec lm` at its default size, random weights, on one thread.

A prompt of one second of random codes is continued. Steps are frames; a step takes as many positions as addresses have digits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import torch

from audiocodec.config.load import load_config
from audiocodec.lm.generation import Sampler, continue_codes
from audiocodec.lm.network import LMConfig, TokenLM
from benchmarks.cells import Cell, arguments, publish, report, run_cells

HEADER = ("tokens of", "steps/s", "positions/s", "codes/s", "CPU RTF")
NOTES = ["CPU RTF: seconds of CPU time per second of audio that is generated."]


def main() -> None:
    """Measure each configuration's tokens in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_steps", description=__doc__)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help="a configuration in the package, or a YAML file")
    parser.add_argument("--seconds", type=float, default=2.0, help="to generate (default: %(default)s)")
    args = arguments(parser, 3, measure)
    cells = [{"config": name, "seconds": args.seconds, "threads": 1} for name in args.configs]
    found = run_cells("benchmarks.lm_steps", cells, args.rounds)
    publish(report("Language models by frame rate", NOTES, HEADER, list(map(_row, args.configs, found))), args.output)


def measure(cell: Cell) -> Mapping[str, float]:
    """One configuration."""
    torch.set_num_threads(1)
    config, random = load_config(cell["config"]), np.random.default_rng(0)
    quantizer, rate = config.quantizer, config.frame_rate
    sizes = (quantizer.codebook_size,) * quantizer.num_codebooks
    torch.manual_seed(0)
    tables = [random.standard_normal((size, LMConfig.vector_dim)).astype(np.float32) for size in sizes]
    model = TokenLM(LMConfig("0" * 16, sizes), tables).eval()
    prompt = np.stack([random.integers(0, size, round(rate)) for size in sizes])
    frames = max(1, round(rate * cell["seconds"]))
    begun = time.process_time()
    made = len(list(continue_codes(model, prompt, frames, Sampler(1.0, 1.0, 0))))
    return {"rtf": (time.process_time() - begun) * rate / made, "positions": rate * model.config.positions}


def _row(name: str, found: Mapping[str, float]) -> list[str]:
    config = load_config(name)
    codes = config.frame_rate * config.quantizer.num_codebooks
    return [name, f"{config.frame_rate:g}", f"{found['positions']:g}", f"{codes:g}", f"{found['rtf']:.2f}"]


if __name__ == "__main__":
    main()
