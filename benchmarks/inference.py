"""Real-time factor and peak memory of encoding and decoding, beside EnCodec where it is installed.

Each goes the way its users go, see `coders`. `--codecs` measures other sizes than the shipped model's, with random
weights; what the figures are to be, `goals` says.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from audiocodec.errors import AudioCodecError
from audiocodec.machine import keep_freed
from benchmarks.cells import Cell, arguments, memory_mb, neighbour, publish, report, run_cells, timed
from benchmarks.coders import PEER_KBPS, SIZES, make_work

SECONDS = (1.0, 10.0, 60.0, 600.0)
PEER_MAX_SECONDS = 60.0  # EnCodec holds the whole signal's activations
OURS = ("audiocodec", *SIZES)
HEADER = ("codec", "direction", "audio s", "threads", "CPU RTF", "wall s per s", "loaded MB", "peak MB")


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--model", help="model file or folder (default: the one in the package)")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS, help="lengths of audio (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (%(default)s)")
    parser.add_argument("--codecs", choices=OURS, nargs="+", default=["audiocodec"], help="ours (%(default)s)")
    parser.add_argument("--no-peer", action="store_true", help="leave EnCodec out even where it is installed")
    args = arguments(parser, 3, measure)
    peer = not args.no_peer and find_spec("encodec") is not None
    try:
        notes = _notes(args.model, peer)
    except AudioCodecError as error:
        parser.error(str(error))
    cells = list(_cells(args.model, args.codecs + ["encodec"] * peer, args.seconds, args.threads))
    results = run_cells("benchmarks.inference", cells, args.rounds)
    publish(report("Speed and memory of inference", notes, HEADER, _rows(cells, results)), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process.

    Args:
        cell: `codec`, `direction` (encode | decode), `seconds`, `threads`, `model`; `batch` where it is not 1, `apart`:
            its signals one after the other, and `neighbour`: only two CPUs may be used, and a busy process has one of them.

    Returns:
        `cpu` and `wall` seconds per second of audio, `loaded` and `peak` memory in MB.
    """
    torch.set_num_threads(cell["threads"])
    if cell["codec"] != "encodec":
        keep_freed()  # as the command does
    batch = cell.get("batch", 1)
    work_of = make_work(cell["codec"], cell["direction"], batch, cell.get("model"), cell.get("apart", False))
    work_of(min(1.0, cell["seconds"]))()  # the first call allocates and plans
    loaded = memory_mb("VmHWM")
    with neighbour() if cell.get("neighbour") else contextlib.nullcontext():
        cpu, wall = timed(work_of(cell["seconds"]))
    return {
        "cpu": cpu / (batch * cell["seconds"]),
        "wall": wall / (batch * cell["seconds"]),
        "loaded": loaded,
        "peak": memory_mb("VmHWM"),
    }


def _cells(
    model: str | None, codecs: Sequence[str], lengths: list[float], threads: list[int]
) -> Iterator[dict[str, Any]]:
    """All cells, the codecs next to each other."""
    for direction in ("encode", "decode"):
        for seconds in lengths:
            for count in threads:
                for codec in codecs:
                    if codec != "encodec" or seconds <= PEER_MAX_SECONDS:
                        yield {
                            "codec": codec,
                            "direction": direction,
                            "seconds": seconds,
                            "threads": count,
                            "model": str(Path(model).resolve()) if model and Path(model).exists() else model,
                        }


def _rows(cells: list[dict[str, Any]], results: list[dict[str, float]]) -> list[list[str]]:
    return [
        [
            c["codec"],
            c["direction"],
            f"{c['seconds']:g}",
            str(c["threads"]),
            f"{r['cpu']:.4f}",
            f"{r['wall']:.4f}",
            f"{r['loaded']:.0f}",
            f"{r['peak']:.0f}",
        ]
        for c, r in zip(cells, results)
    ]


def _notes(model: str | None, peer: bool) -> list[str]:
    from audiocodec.model_file import describe

    described = describe(model)
    memory = "Memory is the resident set of the process: after loading and a first second, and its peak."
    notes = [
        f"Model {described.fingerprint}, {described.parameters:,} parameters.",
        f"Seconds are per second of audio: CPU over all threads, and wall. {memory}",
    ]
    if peer:
        notes.append(
            f"EnCodec: 24 kHz, {PEER_KBPS:g} kbps, random weights, as its package runs it, up to {PEER_MAX_SECONDS:g} s."
        )
    return notes


if __name__ == "__main__":
    main()
