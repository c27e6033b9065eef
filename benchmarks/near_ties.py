"""What deciding near-ties costs: CPU time of encoding without (`encode --fast`) and with it.

The files are read, brought to the model's level and kept before anything is measured; each is coded by itself. With
`--before` the same is measured of another state of the repository, in the same rounds.
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
RULES = ("fast", "decided")
RULES_BEFORE = ("neither", "decided")  # as that state calls them
HEADER = ("state", "runtime", "rule", "CPU RTF", "times", "frames", "decided again")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
SAMPLES = Path(__file__).parents[1] / "egs/mini/codec/local/audio"


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_ties", description=__doc__)
    parser.add_argument("--before", metavar="DIR", help="checkout of another state, measured as well")
    args, given = audio_arguments(parser, 3, measure)
    states = {"now": ("", RULES)} | ({"before": (args.before, RULES_BEFORE)} if args.before else {})
    cells: list[dict[str, Any]] = [
        {"state": state, "checkout": checkout, "runtime": runtime, "rule": rule, **given, "environment": ENVIRONMENT}
        for runtime in RUNTIMES
        for state, (checkout, rules) in states.items()
        for rule in rules
    ]
    results = run_cells("benchmarks.near_ties", cells, args.rounds)
    rows = []
    for i, (c, r) in enumerate(zip(cells, results)):
        times = r["cpu"] / results[i - i % 2]["cpu"]  # the first of two rules decides nothing
        counts = [f"{r['frames']:,.0f}", f"{r['settled']:,.0f}"]
        rows.append([c["state"], c["runtime"], c["rule"], f"{r['cpu']:.4f}", f"{times:.2f}", *counts])
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
    if not signals:
        raise SystemExit(f"{cell['audio']}: a folder of audio is needed")
    near_ties, exact = codec.near_ties, cell["rule"] == "decided"

    def work() -> None:
        near_ties.frames = near_ties.settled = 0
        for signal in signals:
            list(codec.encode_blocks([signal], exact=exact))

    work()
    seconds = sum(map(len, signals)) / codec.sample_rate
    return {"cpu": timed(work)[0] / seconds, "frames": near_ties.frames, "settled": near_ties.settled}


def load(runtime: str, model: str | None) -> Any:
    """The codec on one thread."""
    if runtime == "onnx":
        from audiocodec.onnx.load import load

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


if __name__ == "__main__":
    main()
