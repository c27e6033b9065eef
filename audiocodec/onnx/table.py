"""The stages that choose the nearest row of a table, and which rows these are: plain, or mapped by SimVQ."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.config.schema import Config
from audiocodec.constants import SCORE_ERROR
from audiocodec.onnx.search import FloatArray, IntArray, half_squares, nearest_codes, nearest_with_margins
from audiocodec.onnx.special import DoubleArray, gelu

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

    def settle(self, latent: DoubleArray) -> tuple[int, DoubleArray]:
        """The code of one float64 latent `[D]`, and what it stands for, `[D]`."""
        codes = self.encode(latent[None].astype(np.float32))
        return int(codes[0]), self.decode(codes)[0].astype(np.float64)

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

    def settle(self, latent: DoubleArray) -> tuple[int, DoubleArray]:
        """As `quantization.codebook` does: all rows that float32 cannot rule out, compared in float64."""
        x, most = latent.astype(np.float32), float(self.halves.max())
        scores = self.table @ x - self.halves
        slack = 2 * SCORE_ERROR * (float(np.linalg.norm(x)) * math.sqrt(2 * most) + most)
        near = np.flatnonzero(scores >= scores.max() - np.float32(slack))
        rows = self.table[near].astype(np.float64) if self._rows is None else self._rows(near)
        chosen = int(np.square(rows - latent).sum(1).argmin())  # of equally near ones the lowest
        return int(near[chosen]), rows[chosen]

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
