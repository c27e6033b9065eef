"""How far a float32 latent is from the float64 one: what `codec.bounds.LATENT_ERROR` has to cover.

Distances are Euclidean, of scaled latents, which have unit RMS per dimension; each file is encoded whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.codec.bounds import LATENT_ERROR, Window
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
    publish(report("Error of float32 latents", [f"The bound is {LATENT_ERROR:g}."], HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One runtime in this process: frames, and the median, the 99th percentile and the largest of their distances."""
    codec = load(cell["runtime"], cell["model"])
    of = _of_torch if cell["runtime"] == "torch" else _of_onnx
    signals = read(Path(cell["audio"]), codec, cell["seconds"])
    found = np.concatenate([of(codec, np.pad(x, (0, -len(x) % codec.hop_length))) for x in signals])
    median, most = np.percentile(found, (50, 99))
    return {"frames": len(found), "median": float(median), "most": float(most), "largest": float(found.max())}


def _of_torch(codec: Any, wav: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        samples = torch.from_numpy(wav)[None, None]
        latents = codec.scale.running(codec.encoder(samples))[0].T.double()
        distances: np.ndarray = (
            (latents - codec.near_ties._exact_latents(samples, _whole(codec, wav))).norm(dim=1).numpy()
        )
    return distances


def _of_onnx(codec: Any, wav: np.ndarray) -> np.ndarray:
    latents = codec._run("encoder", wav[None, None])[0][0].T.astype(np.float64)
    distances: np.ndarray = np.linalg.norm(latents - codec.near_ties.exact_latents(wav, _whole(codec, wav)), axis=1)
    return distances


def _whole(codec: Any, wav: np.ndarray) -> Window:
    frames = len(wav) // codec.hop_length
    return Window(0, frames, list(range(frames)))


if __name__ == "__main__":
    main()
