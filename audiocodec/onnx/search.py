"""The search of `quantization.search` in numpy: tile by tile, no matrix of frames times codes is ever held whole, and of
equally near codes the one with the lowest index is taken.

onnxruntime took twice as long for the same tiles (its ArgMax and ReduceMax pass over the scores one after the other).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FRAME_TILE = 1024
CODE_TILE = 1024

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def half_squares(table: FloatArray) -> FloatArray:
    """Half the squared norm `[V]` of each row of `table [V, D]`."""
    halves: FloatArray = np.einsum("vd,vd->v", table, table) / 2
    return halves


def nearest_codes(latents: FloatArray, table: FloatArray, halves: FloatArray) -> IntArray:
    """Index `[N]` of the row of `table [V, D]` nearest to each of `latents [N, D]`; `halves` are `half_squares(table)`."""
    codes = np.zeros(len(latents), np.int64)
    scores = np.empty(min(FRAME_TILE, len(latents)) * min(CODE_TILE, len(table)), np.float32)
    for start in range(0, len(latents), FRAME_TILE):
        frames = latents[start : start + FRAME_TILE]
        codes[start : start + FRAME_TILE] = _search_tile(frames, table, halves, scores)
    return codes


def _search_tile(latents: FloatArray, table: FloatArray, halves: FloatArray, scores: FloatArray) -> IntArray:
    best, index = np.full(len(latents), -np.inf, np.float32), np.zeros(len(latents), np.int64)
    each = np.arange(len(latents))
    for start in range(0, len(table), CODE_TILE):
        rows = table[start : start + CODE_TILE]
        tile = scores[: len(latents) * len(rows)].reshape(len(latents), len(rows))
        np.matmul(latents, rows.T, out=tile)
        tile -= halves[start : start + CODE_TILE]
        where = tile.argmax(1)
        value = tile[each, where]
        better = value > best
        best, index = np.where(better, value, best), np.where(better, where + start, index)
    return index
