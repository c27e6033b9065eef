"""Exact nearest-code search in bounded memory.

`argmin_v |x - c_v|^2 = argmax_v (x . c_v - |c_v|^2 / 2)`, tile by tile over frames and codes, in float32: no
`frames x codebook_size` matrix is ever held whole, and one tile's scores are written over the last one's. Of equally
near codes the one with the lowest index is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.bounds import MIN_DISTANCE, SCORE_ERROR

FRAME_TILE = 1024
CODE_TILE = 1024  # 1024 x 1024 float32 scores: 4 MB, and as fast as larger tiles


def half_squares(table: Tensor) -> Tensor:
    """Half the squared norm `[V]` of each row of `table [V, D]`, without a second tensor of that size."""
    return torch.cat([rows.square().sum(1) / 2 for rows in table.split(CODE_TILE)])


def nearest_codes(latents: Tensor, table: Tensor, halves: Tensor) -> Tensor:
    """Index of the row of `table` nearest to each latent.

    Args:
        latents: `[N, D]` float32.
        table: `[V, D]` float32 effective codebook.
        halves: `[V]`, `half_squares(table)`.

    Returns:
        `[N]` int64.
    """
    return _search(latents, table, halves, runner_up=False)[0]


def nearest_with_margins(latents: Tensor, table: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
    """`nearest_codes`, and how far each latent may move before another row is the nearest.

    With distances d1 and d2 to the nearest two rows that is `(d2 - d1) / 2` by the triangle inequality, and
    `d2 - d1 = 2 (s1 - s2) / (d1 + d2)` of the scores; the rounding of the scores is taken off it.

    Args:
        latents, table, halves: as for `nearest_codes`.

    Returns:
        `[N]` int64, and `[N]` float32: a lower bound, below 0 where rounding alone could have decided; infinite where
        there is one code.
    """
    index, first, second = _search(latents, table, halves, runner_up=True)
    energy = latents.square().sum(1)
    distances = sum(((energy - 2 * score).clamp(min=0).sqrt() for score in (first, second)), torch.zeros_like(energy))
    size = energy.sqrt() * (2 * halves[index]).sqrt() + halves[index]
    return index, (first - second - 2 * SCORE_ERROR * size) / distances.clamp(min=MIN_DISTANCE)


def _search(latents: Tensor, table: Tensor, halves: Tensor, runner_up: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Index, best and second best score of each latent `[N]`; without `runner_up` the last is of no use."""
    with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
        scores = table.new_empty(min(FRAME_TILE, len(latents)) * min(CODE_TILE, len(table)))
        tiles = [_search_tile(x, table, halves, scores, runner_up) for x in latents.split(FRAME_TILE)]
        index, best, second = zip(*tiles)  # `split` gives one empty tile for no frames
        return torch.cat(index), torch.cat(best), torch.cat(second)


def _search_tile(
    latents: Tensor, table: Tensor, halves: Tensor, scores: Tensor, runner_up: bool
) -> tuple[Tensor, Tensor, Tensor]:
    best = latents.new_full((len(latents),), -torch.inf)
    second = best
    index = torch.zeros(len(latents), dtype=torch.int64, device=latents.device)
    for start in range(0, len(table) if len(latents) else 0, CODE_TILE):
        rows = table[start : start + CODE_TILE]
        tile = scores[: len(latents) * len(rows)].view(len(latents), len(rows))
        torch.addmm(halves[start : start + CODE_TILE], latents, rows.T, beta=-1, out=tile)
        value = tile.amax(1)
        second = torch.maximum(second, torch.minimum(best, value))
        better = value > best
        best = torch.where(better, value, best)
        # How large the largest score of a tile is takes less time than where it is, which few frames need: later tiles
        # seldom hold a better code. A GPU would have to wait for the choice of frames, so it looks for all of them.
        chosen = better.nonzero()[:, 0] if latents.device.type == "cpu" else slice(None)
        part = tile[chosen]
        where = part.argmax(1)
        index[chosen] = torch.where(better[chosen], where + start, index[chosen])
        if runner_up:
            part.scatter_(1, where[:, None], -torch.inf)
            second[chosen] = torch.maximum(second[chosen], part.amax(1))
    return index, best, second
