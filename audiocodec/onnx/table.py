"""The stages that choose the nearest row of a table, and which rows these are: plain, or mapped by SimVQ."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.config.schema import Config
from audiocodec.constants import MIN_DISTANCE, SCORE_ERROR
from audiocodec.onnx.search import FloatArray, IntArray, half_squares, nearest_codes, nearest_with_margins
from audiocodec.onnx.special import DoubleArray, gelu

SETTLED_AT_ONCE = 16  # latents: 4 MB of scores with 65,536 codes

Weights = Mapping[str, FloatArray]
Array = npt.NDArray[Any]


class Stage(ABC):
    """One codebook."""

    @abstractmethod
    def encode(self, latents: FloatArray) -> IntArray:
        """Codes `[T]` of `latents [T, D]`."""

    def encode_with_margins(self, latents: FloatArray) -> tuple[IntArray, FloatArray]:
        """`encode`, and how far each latent may move, at least, before its code changes: infinity where none can tell."""
        return self.encode(latents), np.full(len(latents), np.inf, np.float32)

    def settle(self, latents: DoubleArray, bounds: FloatArray) -> tuple[IntArray, DoubleArray, DoubleArray]:
        """Decide float64 latents.

        Args:
            latents: `[n, D]`.
            bounds: `[n]` distances from which on a margin need not be exact.

        Returns:
            Codes `[n]`, the latents `[n, D]` that they stand for, and margins `[n]`: how far each latent may move before its
            code changes. A stage that cannot tell gives the codes of float32 and infinity.
        """
        codes = self.encode(latents.astype(np.float32))
        return codes, self.decode(codes).astype(np.float64), np.full(len(latents), np.inf)

    @abstractmethod
    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """Latents `[T, D]` of `codes [T]`."""

    @abstractmethod
    def arrays(self) -> Weights:
        """What it is made of."""

    def exact_arrays(self) -> Weights | None:
        """What it needs beside `arrays` to settle near-ties; None: it cannot."""
        return None


class Table(Stage):
    """The nearest row of a table `[V, D]`."""

    def __init__(
        self, table: FloatArray, sources: Weights | None = None, rows: Callable[[IntArray], DoubleArray] | None = None
    ) -> None:
        """Take the table.

        Args:
            table: `[V, D]`.
            sources: what `rows` computes from.
            rows: of codes, in float64; None: they are those of the table.
        """
        self.table, self.halves = table, half_squares(table)
        self._sources, self._rows = sources or {}, rows

    def encode(self, latents: FloatArray) -> IntArray:
        return nearest_codes(latents, self.table, self.halves)

    def encode_with_margins(self, latents: FloatArray) -> tuple[IntArray, FloatArray]:
        return nearest_with_margins(latents, self.table, self.halves)

    def settle(self, latents: DoubleArray, bounds: FloatArray) -> tuple[IntArray, DoubleArray, DoubleArray]:
        """Every row that may be the nearest, or whose border with the nearest may lie within the bound, in float64."""
        parts = [
            self._settle(latents[i : i + SETTLED_AT_ONCE], bounds[i : i + SETTLED_AT_ONCE])
            for i in range(0, len(latents), SETTLED_AT_ONCE)
        ]
        codes, rows, margins = (np.concatenate(part) for part in zip(*parts))
        return codes, rows, margins

    def _settle(self, latents: DoubleArray, bounds: FloatArray) -> tuple[IntArray, DoubleArray, DoubleArray]:
        frames, codes = self._candidates(latents, bounds)
        rows = self.table[codes].astype(np.float64) if self._rows is None else self._rows(codes)
        squares = np.square(rows - latents[frames]).sum(1)
        starts = np.searchsorted(frames, np.arange(len(latents)))
        order = np.lexsort((codes, squares, frames))  # of equally near rows the lowest comes first
        nearest = order[starts]
        apart = np.sqrt(np.square(rows - rows[nearest][frames]).sum(1))
        borders = (squares - squares[nearest][frames]) / (2 * np.maximum(apart, MIN_DISTANCE))
        borders[nearest] = np.inf
        return codes[nearest], rows[nearest], np.minimum.reduceat(borders, starts)

    def _candidates(self, latents: DoubleArray, bounds: FloatArray) -> tuple[IntArray, IntArray]:
        """Pairs of a latent and a code, latent by latent: all codes whose score is so near to the best one's that the border
        may lie within the bound (at `d >= 4 b r + 8 b^2` it does not, with the distance r of the nearest row)."""
        x, most = latents.astype(np.float32), float(self.halves.max())
        scores = x @ self.table.T - self.halves
        best, energy = scores.max(1), np.square(x).sum(1)
        distances = np.sqrt(np.maximum(energy - 2 * best, 0)) + 2**-8 * np.sqrt(energy)  # more than rounding takes off
        rounding = 2 * SCORE_ERROR * (np.sqrt(energy) * math.sqrt(2 * most) + most)
        slack = rounding + 4 * bounds * distances + 8 * bounds**2
        frames, codes = np.nonzero(scores >= (best - slack)[:, None])
        return frames, codes

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        latents: FloatArray = self.table[codes]
        return latents

    def arrays(self) -> Weights:
        return {"table": self.table}

    def exact_arrays(self) -> Weights:
        return self._sources


def table_of(config: Config, kind: str, weights: Weights) -> Table:
    """The stage `kind` of a model: from its codebook and map, or from the table that was exported.

    Raises:
        KeyError: a weight is missing.
    """
    if kind not in ("simvq", "vq_lc"):
        return Table(weights["table"] if "table" in weights else weights["codebook"])
    zero = config.quantizer.zero_code and kind == "simvq"
    if "codebook" not in weights:  # exported without what settles near-ties
        return Table(weights["table"])
    bent = config.quantizer.map == "mlp"
    table = weights["table"] if "table" in weights else _mapped(weights, None, bent, zero, np.float32)
    sources = {name: array for name, array in weights.items() if name != "table"}
    return Table(table, sources, lambda codes: _mapped(weights, codes, bent, zero, np.float64))


def _mapped(weights: Weights, codes: IntArray | None, bent: bool, zero: bool, dtype: Any) -> Array:
    """Rows `[n, D]` of SimVQ's effective codebook for `codes [n]` (None: all), computed in `dtype`."""
    rows: Array = (weights["codebook"] if codes is None else weights["codebook"][codes]).astype(dtype)
    if bent:
        rows = rows + linear(gelu(linear(rows, weights, "bend.0")).astype(dtype), weights, "bend.2")
    rows = linear(rows, weights, "map")
    if zero:
        rows[slice(1) if codes is None else codes == 0] = 0
    return rows


def linear(x: Array, weights: Weights, name: str) -> Array:
    """A linear layer of `x [n, in]` in its precision, `[n, out]`."""
    y: Array = x @ weights[f"{name}.weight"].T.astype(x.dtype)
    return y + weights[f"{name}.bias"].astype(x.dtype) if f"{name}.bias" in weights else y
