"""The search of `quantization.search` in numpy: tile by tile, no matrix of frames times codes is ever held whole, and of
equally near codes the one with the lowest index is taken.

onnxruntime took twice as long for the same tiles (its ArgMax and ReduceMax pass over the scores one after the other).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.constants import CODE_TILE, FRAME_TILE, MIN_DISTANCE, SCORE_ERROR

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def half_squares(table: FloatArray) -> FloatArray:
    """Half the squared norm `[V]` of each row of `table [V, D]`."""
    halves: FloatArray = np.einsum("vd,vd->v", table, table) / 2
    return halves


def nearest_codes(latents: FloatArray, table: FloatArray, halves: FloatArray) -> IntArray:
    """Index `[N]` of the row of `table [V, D]` nearest to each of `latents [N, D]`; `halves` are `half_squares(table)`."""
    return _search(latents, table, halves, runner_up=False)[0]


def nearest_with_margins(latents: FloatArray, table: FloatArray, halves: FloatArray) -> tuple[IntArray, FloatArray]:
    """`nearest_codes`, and how far each latent may move before another row is the nearest, `[N]`, as torch's search says it."""
    index, first, second = _search(latents, table, halves, runner_up=True)
    energy = np.square(latents).sum(1)
    distances = sum(np.sqrt(np.maximum(energy - 2 * score, 0)) for score in (first, second))
    size = np.sqrt(energy) * np.sqrt(2 * halves[index]) + halves[index]
    margins = (first - second - np.float32(2 * SCORE_ERROR) * size) / np.maximum(distances, np.float32(MIN_DISTANCE))
    return index, margins.astype(np.float32)


def _search(
    latents: FloatArray, table: FloatArray, halves: FloatArray, runner_up: bool
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Index, best and second best score of each latent `[N]`; without `runner_up` the last is of no use."""
    codes, best, second = np.zeros(len(latents), np.int64), *np.empty((2, len(latents)), np.float32)
    scores = np.empty(min(FRAME_TILE, len(latents)) * min(CODE_TILE, len(table)), np.float32)
    for start in range(0, len(latents), FRAME_TILE):
        tile = slice(start, start + FRAME_TILE)
        codes[tile], best[tile], second[tile] = _search_tile(latents[tile], table, halves, scores, runner_up)
    return codes, best, second


def _search_tile(
    latents: FloatArray, table: FloatArray, halves: FloatArray, scores: FloatArray, runner_up: bool
) -> tuple[IntArray, FloatArray, FloatArray]:
    best, index = np.full(len(latents), -np.inf, np.float32), np.zeros(len(latents), np.int64)
    each, second = np.arange(len(latents)), best
    for start in range(0, len(table), CODE_TILE):
        rows = table[start : start + CODE_TILE]
        tile = scores[: len(latents) * len(rows)].reshape(len(latents), len(rows))
        np.matmul(latents, rows.T, out=tile)
        tile -= halves[start : start + CODE_TILE]
        where = tile.argmax(1)
        value = tile[each, where]
        if runner_up:
            tile[each, where] = -np.inf
            second = np.maximum(np.maximum(second, np.minimum(best, value)), tile.max(1))
        better = value > best
        best, index = np.where(better, value, best), np.where(better, where + start, index)
    return index, best, second
