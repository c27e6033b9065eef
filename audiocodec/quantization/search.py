"""Exact nearest-code search in bounded memory.

`argmin_v |x - c_v|^2 = argmax_v (x . c_v - |c_v|^2 / 2)`, tile by tile over frames and codes, in float32: no
`frames x codebook_size` matrix is ever held whole, and one tile's scores are written over the last one's. Of equally
near codes the one with the lowest index is taken. Tiles are made for a CPU's cache; a GPU, which would wait for thousands of
small products, takes the whole table at once and as many frames as its memory allows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.constants import CODE_TILE, FRAME_TILE, MIN_DISTANCE, SCORE_ERROR

GPU_SHARE = 32  # of a GPU's memory one part in so many may hold scores: 8,192 x 65,536 of 80 GB


def half_squares(table: Tensor) -> Tensor:
    """Half the squared norm `[V]` of each row of `table [V, D]`, without a second tensor of that size."""
    parts = table.split(len(table) if _frames_at_once(table) else CODE_TILE)
    return torch.cat([rows.square().sum(1) / 2 for rows in parts])


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
        if frames := _frames_at_once(table):
            search, codes = _search_whole, len(table)
        else:
            search, frames, codes = _search_tiles, FRAME_TILE, min(CODE_TILE, len(table))
        scores = table.new_empty(min(frames, len(latents)) * codes)
        tiles = [search(x, table, halves, scores, runner_up) for x in latents.split(frames)]
        index, best, second = zip(*tiles)  # `split` gives one empty tile for no frames
        return torch.cat(index), torch.cat(best), torch.cat(second)


def _frames_at_once(table: Tensor) -> int:
    """Frames whose scores with the whole table are held at once on a GPU; 0 on a CPU, where tiles are faster."""
    if table.device.type != "cuda":
        return 0
    memory: int = torch.cuda.get_device_properties(table.device).total_memory
    return max(1, memory // GPU_SHARE // (table.element_size() * len(table)))


def _search_whole(
    latents: Tensor, table: Tensor, halves: Tensor, scores: Tensor, runner_up: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Index, best and second best score by one product."""
    tile = scores[: len(latents) * len(table)].view(len(latents), len(table))
    torch.addmm(halves, latents, table.T, beta=-1, out=tile)
    best, index = tile.max(1)
    if not runner_up:
        return index, best, best
    tile.scatter_(1, index[:, None], -torch.inf)
    return index, best, tile.amax(1)


def _search_tiles(
    latents: Tensor, table: Tensor, halves: Tensor, scores: Tensor, runner_up: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Index, best and second best score by a product for every tile of codes."""
    if runner_up or len(latents) == 0:
        return _search_with_margins(latents, table, halves, scores)
    ones = F.pad(latents, (0, 1), value=1)
    tiles = range(0, len(table), CODE_TILE)
    largest = latents.new_empty(len(latents), len(tiles))
    for i, start in enumerate(tiles):
        rows = _with_halves(table, halves, start)
        tile = scores[: len(latents) * len(rows)].view(len(latents), len(rows))
        largest[:, i] = torch.mm(ones, rows.T, out=tile).amax(1)
    if len(tiles) == 1:
        return tile.argmax(1), largest[:, 0], largest[:, 0]
    # How large the largest score of a tile is takes less time than where it is, which only the best tile of a frame need
    # tell: its product is made again.
    best = largest.argmax(1)
    index = torch.empty_like(best)
    for i in best.unique().tolist():
        chosen = (best == i).nonzero()[:, 0]
        index[chosen] = (ones[chosen] @ _with_halves(table, halves, tiles[i]).T).argmax(1) + tiles[i]
    score = largest.amax(1)
    return index, score, score


def _with_halves(table: Tensor, halves: Tensor, start: int) -> Tensor:
    """A tile of `table` with minus its `halves` as a last dimension, for latents that have a one there."""
    end = start + CODE_TILE
    return torch.cat([table[start:end], -halves[start:end, None]], 1)


def _search_with_margins(
    latents: Tensor, table: Tensor, halves: Tensor, scores: Tensor
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
        # Later tiles seldom hold a better code: where it is, and the second best, are looked for in few frames.
        chosen = better.nonzero()[:, 0]
        part = tile[chosen]
        where = part.argmax(1)
        index[chosen] = torch.where(better[chosen], where + start, index[chosen])
        part.scatter_(1, where[:, None], -torch.inf)
        second[chosen] = torch.maximum(second[chosen], part.amax(1))
    return index, best, second
