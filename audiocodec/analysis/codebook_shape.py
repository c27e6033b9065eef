"""The shape of a codebook: how far apart its codes lie, in how many directions they spread, and which are used.

All of it is about the latents that codes stand for, `Stage.decode` of every code, so every quantizer has it. Codes are
decoded a piece at a time: besides what the quantizer itself keeps, memory does not grow with V.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.metrics.codebook import CodebookUse, codebook_use, octaves, participation_ratio
from audiocodec.quantization.base import Stage
from audiocodec.quantization.simvq import SimVQ

CODE_TILE = 4096  # codes decoded at a time
QUERY_TILE = 512  # codes whose neighbours are looked for at a time: 512 x 4096 float64 distances are 17 MB
MAX_QUERIES = 2048  # nearest neighbours are looked for of so many codes, drawn at random where there are more
SEED = 0

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CodebookShape:
    """One stage's codebook, V codes of D dimensions.

    Attributes:
        nearest: of each code in the sample, the Euclidean distance to the nearest other code, `[codebook_sample]`.
        spread: singular values of the centred codebook divided by sqrt(V), largest first `[D]`: standard deviations of
            the codes along its principal directions, in units of the scaled latents (RMS 1).
        map_singular_values: of SimVQ's W, largest first; empty for other quantizers.
        effective_dimension: participation ratio `(sum s^2)^2 / sum s^4` of `spread`: 1 to D, 0 where all codes are equal.
        used_effective_dimension: the same with every code weighted by how often it occurs; None without counts.
        use: how it is used; None without counts.
        octaves: number of codes that occur 0, 1, 2-3, 4-7, 8-15, ... times; empty without counts.
    """

    codebook_size: int
    codebook_dim: int
    neighbour_sample: int
    nearest: Floats
    spread: Floats
    map_singular_values: Floats
    effective_dimension: float
    used_effective_dimension: float | None = None
    use: CodebookUse | None = None
    octaves: list[int] = field(default_factory=list)


@torch.no_grad()
def codebook_shape(stage: Stage, counts: Counts | None = None) -> CodebookShape:
    """Measure one stage.

    Args:
        stage: any quantizer's, on the CPU.
        counts: how often each code occurred `[V]`; None: not known.

    Raises:
        MetricUndefined: all counts are zero.
    """
    use = None if counts is None else codebook_use(counts)
    variances = _variances(stage, np.ones(stage.codebook_size))
    nearest = nearest_distances(stage)
    weight = stage.map.weight.double() if isinstance(stage, SimVQ) else torch.zeros(0, 0)
    return CodebookShape(
        codebook_size=stage.codebook_size,
        codebook_dim=stage.codebook_dim,
        neighbour_sample=len(nearest),
        nearest=nearest,
        spread=np.sqrt(variances),
        map_singular_values=torch.linalg.svdvals(weight).cpu().numpy(),
        effective_dimension=participation_ratio(np.diag(variances)),
        used_effective_dimension=None if counts is None else participation_ratio(np.diag(_variances(stage, counts))),
        use=use,
        octaves=[] if counts is None else octaves(counts),
    )


def nearest_distances(stage: Stage) -> Floats:
    """Distance from each of up to `MAX_QUERIES` codes to the nearest of all others `[Q]`, in the codes' order.

    The search is exhaustive, in float64; more codes than that are drawn without replacement, the same in every run.
    """
    size = stage.codebook_size
    drawn = torch.randperm(size, generator=torch.Generator().manual_seed(SEED))[:MAX_QUERIES].sort().values
    return torch.cat([_nearest(stage, queries) for queries in drawn.split(QUERY_TILE)]).numpy()


def _tiles(stage: Stage) -> Iterator[tuple[int, Tensor]]:
    """(first code, their latents `[n, D]`) over all codes."""
    for codes in torch.arange(stage.codebook_size).split(CODE_TILE):
        yield int(codes[0]), _latents(stage, codes)


def _latents(stage: Stage, codes: Tensor) -> Tensor:
    """Latents `[n, D]` of `codes [n]`, float64; everything on the CPU."""
    return stage.decode(codes[None, None])[0].T.double()


def _nearest(stage: Stage, queries: Tensor) -> Tensor:
    """Distance `[n]` of each of `queries [n]` to the nearest other code."""
    rows = _latents(stage, queries)
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    for first, tile in _tiles(stage):
        apart = torch.cdist(rows, tile)
        inside = (queries >= first) & (queries < first + len(tile))
        apart[inside, queries[inside] - first] = torch.inf  # a code is not its own neighbour
        where = apart.argmin(1)
        exact = (rows - tile[where]).norm(dim=1)  # without the rounding of the search
        best = torch.where(apart.min(1).values.isinf(), best, torch.minimum(best, exact))
    return best


def _variances(stage: Stage, weights: npt.NDArray[np.generic]) -> Floats:
    """Eigenvalues `[D]` of the codes' covariance, largest first, every code counted `weights [V]` times."""
    shares = torch.from_numpy(weights / weights.sum())
    mean = torch.zeros(stage.codebook_dim, dtype=torch.float64)
    for first, tile in _tiles(stage):
        mean += shares[first : first + len(tile)] @ tile
    covariance = torch.zeros(stage.codebook_dim, stage.codebook_dim, dtype=torch.float64)
    for first, tile in _tiles(stage):
        centred = tile - mean
        covariance += centred.T @ (centred * shares[first : first + len(tile), None])
    values: Floats = torch.linalg.eigvalsh(covariance).clamp(min=0).flip(0).numpy()
    return values
