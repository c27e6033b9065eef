"""How far float32 latents are from the float64 ones, by runtime: what the bound of near-ties has to cover.

Distances are Euclidean, of scaled latents, which have unit RMS per dimension; each file is encoded whole, on one thread
and on two, and the larger distance counts. `audiocodec export --measure-error` keeps the largest with a model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from audiocodec.codec.measure import latent_errors
from audiocodec.constants import LATENT_ERROR
from benchmarks.cells import Cell, publish, report, run_cells
from benchmarks.near_ties import RUNTIMES, audio_arguments, load, read

HEADER = ("runtime", "frames", "median", "99 %", "largest")


def main() -> None:
    """Measure both runtimes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latent_error", description=__doc__)
    args, given = audio_arguments(parser, None, measure)
    cells = [{"runtime": runtime, **given} for runtime in RUNTIMES]
    results = run_cells("benchmarks.latent_error", cells, 1)
    rows = [
        [c["runtime"], f"{r['frames']:,.0f}", *(f"{r[name]:.1e}" for name in ("median", "most", "largest"))]
        for c, r in zip(cells, results)
    ]
    publish(report("Error of float32 latents", [f"The general bound is {LATENT_ERROR:g}."], HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One runtime in this process: frames, and the median, the 99th percentile and the largest of their distances."""
    codec = load(cell["runtime"], cell["model"])
    signals = read(Path(cell["audio"]), codec, cell["seconds"])
    found = np.concatenate([errors.max(0) for _, errors in latent_errors([codec], codec.near_ties.exact(), signals)])
    median, most = np.percentile(found, (50, 99))
    return {"frames": len(found), "median": float(median), "most": float(most), "largest": float(found.max())}


if __name__ == "__main__":
    main()
