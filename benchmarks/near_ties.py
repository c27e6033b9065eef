"""What deciding near-ties costs: CPU time of encoding without margins, with margins alone, and with frames decided again.

The files are read, brought to the model's level and kept before anything is measured; each is coded by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.audio import io
from audiocodec.codec.interface import BlockCodec
from audiocodec.data.corpus import AUDIO_EXTENSIONS
from benchmarks.cells import Cell, arguments, publish, report, run_cells, timed

RUNTIMES = ("torch", "onnx")
RULES = ("neither", "margins", "decided")
HEADER = ("runtime", "rule", "CPU RTF", "frames", "decided again")
SAMPLES = Path(__file__).parents[1] / "egs/mini/codec/local/audio"


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_ties", description=__doc__)
    args, given = audio_arguments(parser, 3, measure)
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    cells: list[dict[str, Any]] = [
        {"runtime": runtime, "rule": rule, **given, "environment": environment}
        for runtime in RUNTIMES
        for rule in RULES
    ]
    results = run_cells("benchmarks.near_ties", cells, args.rounds)
    rows = [
        [c["runtime"], c["rule"], f"{r['cpu']:.4f}", f"{r['frames']:,.0f}", f"{r['settled']:,.0f}"]
        for c, r in zip(cells, results)
    ]
    publish(report("Deciding near-ties", ["One thread."], HEADER, rows), args.output)


def audio_arguments(
    parser: argparse.ArgumentParser, rounds: int | None, measure: Callable[[Cell], Mapping[str, float]]
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """`cells.arguments` with the options that say what is encoded by which model; and these for a cell: `audio`, `model`,
    `seconds`."""
    parser.add_argument("--audio", default=str(SAMPLES), metavar="FOLDER", help="files to encode (the sample speech)")
    parser.add_argument("--model", help="model file or folder (default: the one in the package)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of audio, all files together (%(default)s)")
    args = arguments(parser, rounds, measure)
    return args, {"audio": args.audio, "model": args.model, "seconds": args.seconds}


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process: CPU seconds per second of audio, frames seen and frames decided again."""
    codec = load(cell["runtime"], cell["model"])
    signals = read(Path(cell["audio"]), codec, cell["seconds"])
    near_ties = codec.near_ties
    if cell["rule"] == "neither":
        plain = codec.quantizer if cell["runtime"] == "torch" else codec._model.quantizer
        plain.encode_with_margins = lambda latents, count: (plain.encode(latents, count), _infinite(latents))
    elif cell["rule"] == "margins":
        near_ties.bound = -np.inf

    def work() -> None:
        near_ties.frames = near_ties.settled = 0
        for signal in signals:
            list(codec.encode_blocks([signal]))

    work()
    seconds = sum(map(len, signals)) / codec.sample_rate
    return {"cpu": timed(work)[0] / seconds, "frames": near_ties.frames, "settled": near_ties.settled}


def load(runtime: str, model: str | None) -> Any:
    """The codec on one thread."""
    if runtime == "onnx":
        from audiocodec.onnx.model import load

        return load(model, threads=1)
    import audiocodec

    return audiocodec.load(model)


def read(folder: Path, codec: BlockCodec, seconds: float) -> list[np.ndarray]:
    """Signals of a folder's audio files at the codec's rate and level, until so many seconds are together."""
    signals, left = [], round(seconds * codec.sample_rate)
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_EXTENSIONS):
        gain = np.float32(io.level_gain(io.level(path, codec.sample_rate), codec.level_db))
        signal = np.concatenate(list(io.read_blocks(path, codec.sample_rate, codec.sample_rate)))[:left] * gain
        signals.append(signal)
        left -= len(signal)
        if left <= 0:
            break
    return signals


def _infinite(latents: Any) -> Any:
    if isinstance(latents, np.ndarray):
        return np.full(latents.shape[-1], np.inf, np.float32)
    return latents.new_full((len(latents), latents.shape[-1]), np.inf)


if __name__ == "__main__":
    main()
