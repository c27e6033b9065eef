"""Exact nearest-code search in bounded memory.

`argmin_v |x - c_v|^2 = argmax_v (x . c_v - |c_v|^2 / 2)`, tile by tile over frames and codes, in float32: no
`frames x codebook_size` matrix is ever held whole, and one tile's scores are written over the last one's. Of equally
near codes the one with the lowest index is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
    with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
        scores = table.new_empty(min(FRAME_TILE, len(latents)) * min(CODE_TILE, len(table)))
        tiles = [_search_tile(x, table, halves, scores) for x in latents.split(FRAME_TILE)]
        return torch.cat(tiles) if tiles else torch.zeros(0, dtype=torch.int64, device=latents.device)


def _search_tile(latents: Tensor, table: Tensor, halves: Tensor, scores: Tensor) -> Tensor:
    best = torch.full((len(latents),), -torch.inf, device=latents.device)
    index = torch.zeros(len(latents), dtype=torch.int64, device=latents.device)
    for start in range(0, len(table), CODE_TILE):
        rows = table[start : start + CODE_TILE]
        tile = scores[: len(latents) * len(rows)].view(len(latents), len(rows))
        torch.addmm(halves[start : start + CODE_TILE], latents, rows.T, beta=-1, out=tile)
        value, where = tile.max(1)
        better = value > best
        best = torch.where(better, value, best)
        index = torch.where(better, where + start, index)
    return index
