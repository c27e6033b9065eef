"""SimVQ alone by codebook size: time and memory of the search and of a training step of the quantizer.

`direct` is the textbook form beside it: all distances in one `frames x codebook_size` matrix, and a gradient through
the whole projected codebook. The result is the same, the cost is not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.simvq import SimVQ
from benchmarks.cells import Cell, add_arguments, memory_mb, publish, report, run_cells, timed

SIZES = (1024, 4096, 16_384, 65_536, 262_144)
HEADER = ("form", "work", "codebook", "CPU ms", "wall ms", "MB before", "MB beyond")


def main() -> None:
    """Measure all cells, or the one that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantizer", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="codebook sizes (%(default)s)")
    parser.add_argument("--dim", type=int, default=32, help="width of a code (%(default)s)")
    parser.add_argument("--frames", type=int, default=1024, help="frames at once (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    add_arguments(parser, rounds=3)
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(measure(json.loads(args.cell))))
        return
    cells: list[dict[str, Any]] = [
        {"form": form, "work": work, "size": size, "dim": args.dim, "frames": args.frames, "threads": args.threads}
        for work in ("search", "step")
        for size in args.sizes
        for form in ("lean", "direct")
    ]
    results = run_cells("benchmarks.quantizer", cells, args.rounds)
    rows = [
        [c["form"], c["work"], f"{c['size']:,}", f"{1000 * r['cpu']:.1f}", f"{1000 * r['wall']:.1f}"]
        + [f"{r['before']:.0f}", f"{r['beyond']:.1f}"]
        for c, r in zip(cells, results)
    ]
    notes = [
        f"{args.frames:,} frames of {args.dim} dimensions, float32, CPU threads: {args.threads}.",
        "`search`: codes of latents, codebook projected beforehand. `step`: forward and backward with the projection.",
        "Memory: what the process holds with the codebook in it, and how far its peak goes beyond.",
    ]
    publish(report("SimVQ by codebook size", notes, HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process.

    Args:
        cell: `form` (lean | direct), `work` (search | step), `size`, `dim`, `frames`, `threads`.

    Returns:
        `cpu` and `wall` seconds, memory in MB: `before` the work, and its peak `beyond` that.
    """
    torch.set_num_threads(cell["threads"])
    torch.manual_seed(1)
    quantizer = ResidualQuantizer([SimVQ(cell["size"], cell["dim"])])
    latents = torch.randn(1, cell["dim"], cell["frames"])
    _warm_up(cell["dim"])
    work = _work(quantizer, latents, cell["form"], cell["work"])
    before, beyond = _peak_beyond(work)
    cpu, wall = timed(work)
    return {"cpu": cpu, "wall": wall, "before": before, "beyond": beyond}


def _work(quantizer: ResidualQuantizer, latents: torch.Tensor, form: str, work: str) -> Callable[[], object]:
    stage = _only_stage(quantizer)
    if work == "search":
        if form == "lean":
            stage.table()
            return lambda: quantizer.encode(latents)
        table = stage.map(stage.codebook).detach()
        return lambda: _all_distances(latents[0].T, table).argmin(1)
    latents.requires_grad_(True)
    return (lambda: _lean_step(quantizer, latents)) if form == "lean" else (lambda: _direct_step(stage, latents))


def _lean_step(quantizer: ResidualQuantizer, latents: torch.Tensor) -> None:
    with torch.no_grad():
        _only_stage(quantizer).map.weight.mul_(1)  # as after an optimizer's step: the projected codebook is out of date
    output = quantizer(latents)
    (output.codebook_loss + output.commitment_loss + output.quantized.sum()).backward()


def _direct_step(stage: SimVQ, latents: torch.Tensor) -> None:
    flat = latents[0].T
    table = stage.map(stage.codebook)
    chosen = F.embedding(_all_distances(flat, table).argmin(1), table)
    losses = F.mse_loss(chosen, flat.detach()) + F.mse_loss(flat, chosen.detach())
    (losses + (flat + (chosen - flat).detach()).sum()).backward()


def _all_distances(flat: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return flat.square().sum(1, keepdim=True) - 2 * flat @ table.T + table.square().sum(1)


def _warm_up(dim: int) -> None:
    """Let the libraries allocate what they keep, on a small problem, before memory is counted."""
    stage, latents = SimVQ(64, dim), torch.randn(1, dim, 64, requires_grad=True)
    _lean_step(ResidualQuantizer([stage]), latents)
    _direct_step(stage, latents)


def _only_stage(quantizer: ResidualQuantizer) -> SimVQ:
    stage = quantizer.stages[0]
    assert isinstance(stage, SimVQ)
    return stage


def _peak_beyond(work: Callable[[], object]) -> tuple[float, float]:
    """Memory before one call of `work` and its peak beyond that, in MB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the kernel's way to set VmHWM back to VmRSS
    before = memory_mb("VmRSS")
    work()
    return before, max(0.0, memory_mb("VmHWM") - before)


if __name__ == "__main__":
    main()
