"""Exact nearest-code search in bounded memory.

`argmin_v |x - c_v|^2 = argmax_v (x . c_v - |c_v|^2 / 2)`, tile by tile over frames and codes, in float32: no
`frames x codebook_size` matrix is ever held whole. Of equally near codes the one with the lowest index is taken.
"""

from __future__ import annotations

import torch
from torch import Tensor

FRAME_TILE = 1024
CODE_TILE = 4096  # 1024 x 4096 float32 scores: 16 MB, and the running maximum


def nearest_codes(latents: Tensor, table: Tensor, half_squares: Tensor) -> Tensor:
    """Index of the row of `table` nearest to each latent.

    Args:
        latents: `[N, D]` float32.
        table: `[V, D]` float32 effective codebook.
        half_squares: `[V]`, half the squared norm of each row of `table`.

    Returns:
        `[N]` int64.
    """
    with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
        tiles = [_search_tile(x, table, half_squares) for x in latents.split(FRAME_TILE)]
        return torch.cat(tiles) if tiles else torch.zeros(0, dtype=torch.int64, device=latents.device)


def _search_tile(latents: Tensor, table: Tensor, half_squares: Tensor) -> Tensor:
    best = torch.full((len(latents),), -torch.inf, device=latents.device)
    index = torch.zeros(len(latents), dtype=torch.int64, device=latents.device)
    for start in range(0, len(table), CODE_TILE):
        tile = table[start : start + CODE_TILE]
        scores = torch.addmm(half_squares[start : start + CODE_TILE], latents, tile.T, beta=-1)
        value, where = scores.max(1)
        better = value > best
        best = torch.where(better, value, best)
        index = torch.where(better, where + start, index)
    return index
