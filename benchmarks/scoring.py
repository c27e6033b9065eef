"""What `audiocodec evaluate` costs beside the bare calls of pesq and pystoi on the same pairs, with as many processes.

The bare form is given much for nothing: its audio lies in memory, mono, and at 16 kHz for PESQ, before its time starts.
The command starts, reads, resamples, checks the pairs, computes the mel distance as well and writes its files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.cells import Cell, arguments, publish, report, run_cells

HEADER = ("form", "utterances", "processes", "CPU s", "wall s", "CPU beside bare", "wall beside bare")
PESQ_RATE = 16_000  # what its wideband mode takes; STOI resamples by itself


class Signal(NamedTuple):
    """One file, ready for both metrics."""

    wav: np.ndarray
    rate: int
    at_pesq_rate: np.ndarray


def main() -> None:
    """Measure both forms."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--reference", type=Path, metavar="DIR", help="folder of originals (wav, flac)")
    parser.add_argument("--estimate", type=Path, metavar="DIR", help="reconstructions, by the same names")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="how many pairs (default: %(default)s)")
    args = arguments(parser, 1, measure)
    if args.reference is None or args.estimate is None:
        parser.error("--reference and --estimate are needed")
    folders = {"reference": str(args.reference), "estimate": str(args.estimate), "count": args.count}
    pairs = _pairs(folders)
    if not pairs:
        parser.error(f"no audio of the same names in {args.reference} and {args.estimate}")
    cells = [{"form": form, "jobs": args.jobs, **folders} for form in ("bare", "evaluate")]
    results = run_cells("benchmarks.scoring", cells, args.rounds)
    publish(report("Cost of scoring", [_note(pairs)], HEADER, _rows(cells, results, len(pairs))), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """CPU seconds of all processes together and wall seconds of one form: `bare` or `evaluate`."""
    return (_bare if cell["form"] == "bare" else _evaluate)(_pairs(cell), cell["jobs"])


def _evaluate(pairs: list[tuple[str, str]], jobs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        lists = [Path(folder) / f"{side}.scp" for side in ("reference", "estimate")]
        for i, path in enumerate(lists):
            path.write_text("".join(f"utterance{number:05d} {pair[i]}\n" for number, pair in enumerate(pairs)))
        command = [sys.executable, "-m", "audiocodec", "evaluate", "--reference", str(lists[0])]
        command += ["--estimate", str(lists[1]), "-d", f"{folder}/scores", "--jobs", str(jobs)]
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if done.returncode not in (0, 1):  # 1: a pair without a score
            raise SystemExit(f"audiocodec evaluate: status {done.returncode}")
        wall, used = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, "wall": wall}


def _bare(pairs: list[tuple[str, str]], jobs: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(jobs + 1), context.Queue()
    workers = [context.Process(target=_score, args=(pairs[i::jobs], ready, results)) for i in range(jobs)]
    for worker in workers:
        worker.start()
    ready.wait()  # all audio is in memory, all libraries are imported
    wall = time.perf_counter()
    cpu = sum(results.get() for _ in workers)
    wall = time.perf_counter() - wall
    for worker in workers:
        worker.join()
    return {"cpu": cpu, "wall": wall}


def _score(
    pairs: list[tuple[str, str]], ready: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue[float]
) -> None:
    from pesq import NoUtterancesError, pesq
    from pystoi import stoi

    loaded = [(_load(reference), _load(estimate)) for reference, estimate in pairs]
    ready.wait()
    cpu = time.process_time()
    for reference, estimate in loaded:
        try:
            pesq(PESQ_RATE, reference.at_pesq_rate, estimate.at_pesq_rate, "wb")
        except NoUtterancesError:
            pass  # silence: counted by the command, and as cheap here as there
        stoi(reference.wav, estimate.wav, reference.rate)
    results.put(time.process_time() - cpu)


def _load(path: str) -> Signal:
    import soundfile
    import soxr

    wav, rate = soundfile.read(path, always_2d=True)
    return Signal(wav.mean(1), rate, soxr.resample(wav.mean(1), rate, PESQ_RATE))


def _pairs(cell: Cell) -> list[tuple[str, str]]:
    """The first `count` pairs of files whose paths below `reference` and `estimate` are the same but for the extension."""
    estimates = _by_name(Path(cell["estimate"]))
    references = _by_name(Path(cell["reference"]))
    return [(path, estimates[name]) for name, path in references.items() if name in estimates][: cell["count"]]


def _by_name(folder: Path) -> dict[Path, str]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    return {path.relative_to(folder).with_suffix(""): str(path) for path in paths}


def _note(pairs: list[tuple[str, str]]) -> str:
    import soundfile

    seconds = sum(soundfile.info(reference).duration for reference, _ in pairs)
    return (
        f"{len(pairs)} pairs, {seconds:.0f} s of audio; PESQ and STOI by both forms, mel distance by the command alone."
    )


def _rows(cells: Sequence[Cell], results: Sequence[Mapping[str, float]], count: int) -> list[list[str]]:
    rows, bare = [], results[0]
    for cell, values in zip(cells, results):
        measured = [f"{values[name]:.1f}" for name in ("cpu", "wall")]
        ratios = [f"{values[name] / bare[name]:.2f}" for name in ("cpu", "wall")]
        rows.append([cell["form"], f"{count:,}", str(cell["jobs"]), *measured, *ratios])
    return rows


if __name__ == "__main__":
    main()
