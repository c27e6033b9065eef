"""Wall time of `audiocodec encode --jobs N`, and of `decode`, on a folder of clips, relative to one process of one thread.

Needs a machine that does nothing else: with two jobs on two free cores the goal is at most 0.6 of the time of one job.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audiocodec.data.corpus import AUDIO_EXTENSIONS, find_files
from audiocodec.workers import cpus, threads_of
from benchmarks.cells import Cell, arguments, publish, report, run_cells

HEADER = ("jobs", "threads of each", "clips", "encode, s", "of one job", "decode, s", "of one job")


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--audio", type=Path, help="folder of clips")
    parser.add_argument("--model", default="speech_24k", help="model file or name (%(default)s)")
    parser.add_argument("--jobs", type=int, nargs="*", default=[2], help="besides one (%(default)s)")
    args = arguments(parser, 3, measure)
    if args.audio is None:
        parser.error("--audio FOLDER is needed")
    shapes = [(1, 1), *([(1, cpus())] if cpus() > 1 else []), *((jobs, threads_of(jobs)) for jobs in args.jobs)]
    audio = str(args.audio.resolve())
    cells: list[Cell] = [{"jobs": j, "threads": t, "audio": audio, "model": args.model} for j, t in shapes]
    results = run_cells("benchmarks.jobs", cells, args.rounds)
    rows = [[str(j), str(t), *_shown(found, results[0])] for (j, t), found in zip(shapes, results)]
    notes = [f"median of {args.rounds} rounds; {os.getloadavg()[0]:.1f} processes were running on the machine."]
    publish(report("Clips coded by several processes", notes, HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell: `clips`, and seconds of wall time of both commands."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = str(Path(folder) / "tokens")
        options = ["--jobs", str(cell["jobs"]), "--threads", str(cell["threads"]), "-m", cell["model"]]
        options += ["--device", "cpu", "--quiet"]
        found = {"encode": _seconds(["encode", cell["audio"], "-d", tokens, *options])}
        found["decode"] = _seconds(["decode", tokens, "-d", str(Path(folder) / "wav"), *options])
    return {"clips": len(find_files(cell["audio"], AUDIO_EXTENSIONS)), **found}


def _seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "audiocodec", *words], check=True)
    return time.perf_counter() - started


def _shown(found: dict[str, float], one: dict[str, float]) -> list[str]:
    times = [text for verb in ("encode", "decode") for text in (f"{found[verb]:.1f}", f"{found[verb] / one[verb]:.2f}")]
    return [f"{found['clips']:.0f}", *times]


if __name__ == "__main__":
    main()
