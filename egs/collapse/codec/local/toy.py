"""Codes and points in two dimensions: vanilla VQ, SimVQ, and both codebook and map trained; a strip of pictures.

    python egs/collapse/codec/local/toy.py -o docs/figures/simvq_toy.png

The figure and the table of docs/guide/simvq.md come from this command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from audiocodec import markdown
from audiocodec.quantization.simvq import SimVQ

SCENARIOS = {  # name: (codebook is trained, map is trained)
    "VQ: codebook trained": (True, False),
    "SimVQ: codebook frozen, map trained": (False, True),
    "codebook and map trained": (True, True),
}
CENTRES = torch.tensor([[2.0, 1.0], [2.5, 2.2], [1.2, 2.4]])  # where the points are; the codes start around (0, 0)
SPREAD, CODES, BATCH, POINTS = 0.25, 64, 256, 4000
SHOWN = (0, 30, 100, 300, 1000)  # steps


def points(count: int, generator: torch.Generator) -> Tensor:
    """Points [1, 2, count] around the centres."""
    chosen = CENTRES[torch.randint(len(CENTRES), (count,), generator=generator)]
    return (chosen + SPREAD * torch.randn(count, 2, generator=generator)).T[None]


def train(trained: tuple[bool, bool], seed: int, rate: float) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Train one quantizer with Adam.

    Returns:
        At each step of `SHOWN` the effective codebook [V, 2] and the codes [N] of the same points, and these points [N, 2].
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    quantizer = SimVQ(CODES, 2, train_codebook=trained[0], train_map=trained[1])
    optimizer = torch.optim.Adam([p for p in quantizer.parameters() if p.requires_grad], rate)
    chosen, tables, codes = points(POINTS, generator), [], []
    for step in range(SHOWN[-1] + 1):
        if step in SHOWN:
            tables.append(quantizer.table()[0].clone())
            codes.append(quantizer.encode(chosen)[0, 0])
        batch = points(BATCH, generator)
        loss = (quantizer.lookup(quantizer.encode(batch)) - batch).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tables, codes, chosen[0].T


def table(seeds: int, rate: float) -> str:
    """Markdown: codes in use, and mean squared distance of the points to their codes, by scenario and step."""
    rows = []
    for name, trained in SCENARIOS.items():
        usage, error = torch.zeros(len(SHOWN)), torch.zeros(len(SHOWN))
        for seed in range(seeds):
            tables, codes, chosen = train(trained, seed, rate)
            usage += torch.tensor([len(chosen.unique()) / CODES for chosen in codes]) / seeds
            error += torch.stack([(t[c] - chosen).square().sum(1).mean() for t, c in zip(tables, codes)]) / seeds
        rows.append([name, *(f"{100 * u:.0f} %, {e:.3f}" for u, e in zip(usage, error))])
    return markdown.table(["", *(f"step {step:,}" for step in SHOWN)], rows)


def draw(path: Path, rate: float) -> None:
    """The strip: a row for each scenario, a column for each step; codes in use and codes never chosen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (2.2 * len(SHOWN), 2.4 * len(SCENARIOS))
    figure, grid = pyplot.subplots(len(SCENARIOS), len(SHOWN), figsize=size, sharex=True, sharey=True)
    for row, (name, trained) in zip(grid, SCENARIOS.items()):
        tables, codes, chosen = train(trained, 0, rate)
        row[0].set_ylabel(name, fontsize=8)
        for axes, step, effective, chosen in zip(row, SHOWN, tables, codes):
            used = torch.zeros(CODES, dtype=torch.bool).index_fill(0, chosen, True)
            axes.scatter(*chosen[:500].T, s=2, color="0.8")
            axes.scatter(*effective[~used].T, s=8, color="tab:red", label="never chosen")
            axes.scatter(*effective[used].T, s=8, color="tab:blue", label="in use")
            axes.set_title(f"step {step:,}: {100 * used.float().mean():.0f} % in use", fontsize=8)
            axes.set(xlim=(-2.2, 4), ylim=(-2.2, 4), aspect="equal")
            axes.tick_params(labelsize=6)
    grid[0][0].legend(fontsize=6, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def main() -> None:
    """Print the table, draw the strip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG")
    parser.add_argument("--seeds", type=int, default=10, help="runs that the table averages (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of Adam (default: %(default)s)")
    args = parser.parse_args()
    print(table(args.seeds, args.rate))
    draw(args.output, args.rate)


if __name__ == "__main__":
    main()
