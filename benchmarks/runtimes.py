"""CPU time of encoding and decoding on torch and on onnxruntime, and how far apart the sound of the two is.

Speech at the model's level, one thread, in blocks as `audiocodec encode` and `decode` do. The difference is that of the samples
that both decode from torch's codes, in units of 16-bit samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.machine import keep_freed
from benchmarks.cells import Cell, arguments, publish, report, run_cells, timed
from benchmarks.near_ties import RUNTIMES, SAMPLES, load, read

HEADER = (
    "model",
    "runtime",
    "encode: CPU RTF",
    "decode: CPU RTF",
    "both",
    "largest difference",
    "root mean square",
)


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtimes", description=__doc__)
    parser.add_argument("--audio", default=str(SAMPLES), metavar="FOLDER", help="files to code (the sample speech)")
    parser.add_argument("--models", nargs="+", default=["speech_24k"], help="model files or names (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of audio, all files together (%(default)s)")
    args = arguments(parser, 3, measure)
    given = {"audio": args.audio, "seconds": args.seconds, "environment": {"OPENBLAS_NUM_THREADS": "1"}}
    cells: list[dict[str, Any]] = [{"model": m, "runtime": r, **given} for m in args.models for r in RUNTIMES]
    results = run_cells("benchmarks.runtimes", cells, args.rounds)
    rows = [
        [
            f"`{Path(cell['model']).name}`",
            cell["runtime"],
            *(f"{value:.4f}" for value in (found["encode"], found["decode"], found["encode"] + found["decode"])),
            *(f"{found[key]:.2f}" for key in ("largest", "rms")),
        ]
        for cell, found in zip(cells, results)
    ]
    notes = [f"{args.seconds:g} s of speech, one thread; median of {args.rounds} rounds."]
    publish(report("Runtimes", notes, HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process: CPU seconds per second of audio, and the distance from torch's sound."""
    codec, torch = load(cell["runtime"], cell["model"]), load("torch", cell["model"])
    keep_freed()
    signals = read(Path(cell["audio"]), codec, cell["seconds"])
    seconds = sum(map(len, signals)) / codec.sample_rate
    codes = [np.concatenate(list(torch.encode_blocks([signal])), 1) for signal in signals]

    def decode(by: Any) -> list[np.ndarray]:
        return [np.concatenate(list(by.decode_blocks(c, c.shape[1] * by.hop_length))) for c in codes]

    apart = 32768 * np.concatenate([ours - theirs for ours, theirs in zip(decode(codec), decode(torch))])
    encoded = timed(lambda: [list(codec.encode_blocks([signal])) for signal in signals])[0]
    decoded = timed(lambda: decode(codec))[0]
    distance = {"largest": float(np.abs(apart).max()), "rms": float(np.sqrt(np.square(apart).mean()))}
    return {"encode": encoded / seconds, "decode": decoded / seconds, **distance}


if __name__ == "__main__":
    main()
