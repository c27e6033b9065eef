"""SimVQ alone by codebook size: time and memory of the search and of a training step of the quantizer.

The result of every form is the same, the cost is not:

- `lean`: ours.
- `direct`: the textbook form; all distances in one `frames x codebook_size` matrix, and a gradient through the whole
  projected codebook.
- `published`: the form of the SimVQ repository (https://github.com/youngsheen/SimVQ): the codebook is projected at
  every call, then as `direct`. Written from that description; search only.
- `faiss`: `IndexFlatL2` over the projected codebook, where FAISS is installed; search only.

`wrong` counts frames for which a form and `lean` chose codes whose distances, in float64, differ by more than float32
can tell; near-ties are none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.simvq import SimVQ
from benchmarks.cells import Cell, arguments, memory_mb, publish, report, run_cells, timed

SIZES = (1024, 4096, 16_384, 65_536, 262_144)
FORMS = {"lean": ("search", "step"), "direct": ("search", "step"), "published": ("search",), "faiss": ("search",)}
NEAR_TIE = 1e-5  # of squared distances, relative: float32 keeps no more of them at hundreds of dimensions
HEADER = ("form", "work", "codebook", "CPU ms", "wall ms", "MB before", "MB beyond", "wrong")


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantizer", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="codebook sizes (%(default)s)")
    parser.add_argument("--forms", choices=FORMS, nargs="+", default=["lean", "direct"], help="(%(default)s)")
    parser.add_argument("--dim", type=int, default=32, help="width of a code (%(default)s)")
    parser.add_argument("--frames", type=int, default=1024, help="frames at once (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    args = arguments(parser, 3, measure)
    cells: list[dict[str, Any]] = [
        {"form": form, "work": work, "size": size, "dim": args.dim, "frames": args.frames, "threads": args.threads}
        for work in ("search", "step")
        for size in args.sizes
        for form in args.forms
        if work in FORMS[form]
    ]
    results = run_cells("benchmarks.quantizer", cells, args.rounds)
    rows = [
        [c["form"], c["work"], f"{c['size']:,}", f"{1000 * r['cpu']:.1f}", f"{1000 * r['wall']:.1f}"]
        + [f"{r['before']:.0f}", f"{r['beyond']:.1f}", f"{r['wrong']:.0f}" if c["work"] == "search" else "-"]
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
        cell: `form` and `work` of `FORMS`, `size`, `dim`, `frames`, `threads`.

    Returns:
        `cpu` and `wall` seconds, memory in MB: `before` the work, and its peak `beyond` that; `wrong` frames.
    """
    torch.set_num_threads(cell["threads"])
    torch.manual_seed(1)
    quantizer = ResidualQuantizer([SimVQ(cell["size"], cell["dim"])])
    latents = torch.randn(1, cell["dim"], cell["frames"])
    _warm_up(cell["dim"])
    if cell["work"] == "search":
        search = _search(quantizer, latents, cell["form"])
        work = torch.no_grad()(search)
    else:
        step = _lean_step if cell["form"] == "lean" else _direct_step
        latents.requires_grad_(True)
        work = partial(step, quantizer, latents)
    before, beyond = _peak_beyond(work)
    cpu, wall = timed(work)
    wrong = _wrong(quantizer, latents, search()) if cell["work"] == "search" else 0
    return {"cpu": cpu, "wall": wall, "before": before, "beyond": beyond, "wrong": wrong}


def _search(quantizer: ResidualQuantizer, latents: torch.Tensor, form: str) -> Callable[[], torch.Tensor]:
    """What finds the codes `[T]` of `latents [1, D, T]`; what can be done beforehand is done here."""
    stage = _only_stage(quantizer)
    flat = latents[0].T.contiguous()
    if form == "lean":
        stage.table()
        return lambda: quantizer.encode(latents)[0, 0]
    if form == "published":
        return lambda: _all_distances(flat, stage.map(stage.codebook)).argmin(1)
    table = stage.map(stage.codebook).detach()
    if form == "direct":
        return lambda: _all_distances(flat, table).argmin(1)
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(table.shape[1])
    index.add(table.numpy())
    return lambda: torch.from_numpy(index.search(flat.numpy(), 1)[1][:, 0])


def _wrong(quantizer: ResidualQuantizer, latents: torch.Tensor, codes: torch.Tensor) -> int:
    """Frames whose code is not as far away as the one that `lean` finds, by more than a near-tie's difference."""
    table, flat = _only_stage(quantizer).table()[0], latents[0].T.double()
    one, other = ((flat - table[c].double()).square().sum(1) for c in (codes, quantizer.encode(latents)[0, 0]))
    return int(((one - other).abs() > NEAR_TIE * torch.minimum(one, other)).sum())


def _lean_step(quantizer: ResidualQuantizer, latents: torch.Tensor) -> None:
    with torch.no_grad():
        _only_stage(quantizer).map.weight.mul_(1)  # as after an optimizer's step: the projected codebook is out of date
    output = quantizer(latents)
    (output.codebook_loss + output.commitment_loss + output.quantized.sum()).backward()


def _direct_step(quantizer: ResidualQuantizer, latents: torch.Tensor) -> None:
    stage, flat = _only_stage(quantizer), latents[0].T
    table = stage.map(stage.codebook)
    chosen = F.embedding(_all_distances(flat, table).argmin(1), table)
    losses = F.mse_loss(chosen, flat.detach()) + F.mse_loss(flat, chosen.detach())
    (losses + (flat + (chosen - flat).detach()).sum()).backward()


def _all_distances(flat: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return flat.square().sum(1, keepdim=True) - 2 * flat @ table.T + table.square().sum(1)


def _warm_up(dim: int) -> None:
    """Let the libraries allocate what they keep, on a small problem, before memory is counted."""
    quantizer, latents = ResidualQuantizer([SimVQ(64, dim)]), torch.randn(1, dim, 64, requires_grad=True)
    _lean_step(quantizer, latents)
    _direct_step(quantizer, latents)


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
