"""Codes of latents and latents of codes in numpy: every stage of `quantization/` as it is used for inference."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from audiocodec.config.levels import fsq_levels
from audiocodec.config.schema import Config
from audiocodec.onnx.search import FloatArray, IntArray, half_squares, nearest_codes

MIN_NORM = 1e-12  # guards a division only, as torch.nn.functional.normalize does
FSQ_MARGIN = 1e-3  # that of `quantization.fsq`

Weights = Mapping[str, FloatArray]


class Quantizer:
    """The residual stack: each stage codes what the stages before it left."""

    def __init__(self, config: Config, weights: Weights) -> None:
        """Put the stages together.

        Args:
            config: of the model.
            weights: by the names of the torch modules.

        Raises:
            KeyError: a weight is missing.
        """
        q = config.quantizer
        first = q.kind if q.first_stage == "same" else q.first_stage
        kinds = [first] + [q.kind] * (q.num_codebooks - 1)
        self.stages = [_stage(config, kind, _below(weights, f"quantizer.stages.{i}.")) for i, kind in enumerate(kinds)]

    def arrays(self) -> dict[str, FloatArray]:
        """What another `Quantizer` of this configuration can be made of: tables as they are searched."""
        return {
            f"quantizer.stages.{i}.{name}": array
            for i, s in enumerate(self.stages)
            for name, array in s.arrays().items()
        }

    def encode(self, latents: FloatArray, num_codebooks: int | None = None) -> IntArray:
        """Codes `[K, T]` of `latents [D, T]`."""
        residual, codes = np.ascontiguousarray(latents.T), []
        for stage in self.stages[:num_codebooks]:
            codes.append(stage.encode(residual))
            residual = residual - stage.decode(codes[-1])
        return np.stack(codes)

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """Sum of the codes' latents, `[D, T]`; `codes [K, T]` may have fewer than all codebooks."""
        parts = [stage.decode(row) for stage, row in zip(self.stages, codes)]
        return np.ascontiguousarray(np.sum(parts, axis=0, dtype=np.float32).T)


class Stage(ABC):
    """One codebook."""

    @abstractmethod
    def encode(self, latents: FloatArray) -> IntArray:
        """Codes `[T]` of `latents [T, D]`."""

    @abstractmethod
    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """Latents `[T, D]` of `codes [T]`."""

    @abstractmethod
    def arrays(self) -> Weights:
        """What it is made of."""


class Table(Stage):
    """The nearest row of a table `[V, D]`."""

    def __init__(self, table: FloatArray) -> None:
        self.table, self.halves = table, half_squares(table)

    def encode(self, latents: FloatArray) -> IntArray:
        return nearest_codes(latents, self.table, self.halves)

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        latents: FloatArray = self.table[codes]
        return latents

    def arrays(self) -> Weights:
        return {"table": self.table}


class Projected(Stage):
    """A linear map down, codes there, a linear map up; `low` is `[T, n]`."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def encode(self, latents: FloatArray) -> IntArray:
        return self.choose(_linear(latents, self.weights, "down"))

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        return _linear(self.values(codes), self.weights, "up")

    def arrays(self) -> Weights:
        return self.weights

    @abstractmethod
    def choose(self, low: FloatArray) -> IntArray:
        """Codes `[T]` of `low [T, n]`."""

    @abstractmethod
    def values(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """Quantized `[T, n]` of `codes [T]`."""


class Factorised(Projected):
    """`quantization.vq_fc`: nearest on the unit sphere."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.sphere = Table(_unit(weights["codebook"]))

    def choose(self, low: FloatArray) -> IntArray:
        return self.sphere.encode(_unit(low))

    def values(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        return self.sphere.decode(codes)


class FSQ(Projected):
    """`quantization.fsq`: every dimension bounded and rounded."""

    def __init__(self, weights: Weights, levels: tuple[int, ...]) -> None:
        super().__init__(weights)
        self.levels = np.array(levels)
        self.basis = np.cumprod(self.levels) // self.levels

    def choose(self, low: FloatArray) -> IntArray:
        half = ((self.levels - 1) * (1 + FSQ_MARGIN) / 2).astype(np.float32)
        offset = np.where(self.levels % 2 == 0, np.float32(0.5), np.float32(0))
        bounded = np.tanh(low + np.arctanh(offset / half)) * half - offset
        digits = np.rint(bounded).astype(np.int64) + self.levels // 2
        codes: IntArray = (digits * self.basis).sum(-1)
        return codes

    def values(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        width = self.levels // 2
        digits = codes[:, None] // self.basis % self.levels
        values: FloatArray = ((digits - width) / width).astype(np.float32)
        return values


class LFQ(Projected):
    """`quantization.lfq`: the sign of every dimension, the first one the highest bit."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.bits = 2 ** np.arange(len(weights["down.bias"]) - 1, -1, -1)

    def choose(self, low: FloatArray) -> IntArray:
        codes: IntArray = ((low > 0) * self.bits).sum(-1)
        return codes

    def values(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        signs: FloatArray = (codes[:, None] // self.bits % 2 * 2 - 1).astype(np.float32)
        return signs


def _stage(config: Config, kind: str, weights: Weights) -> Stage:
    if kind == "vq_fc":
        return Factorised(weights)
    if kind == "fsq":
        return FSQ(weights, fsq_levels(config.quantizer.codebook_size) or ())
    if kind == "lfq":
        return LFQ(weights)
    return Table(_effective(config, kind, weights))


def _effective(config: Config, kind: str, weights: Weights) -> FloatArray:
    """The table that is searched: the codebook, for SimVQ and its relative bent and mapped."""
    if "table" in weights:
        return weights["table"]
    rows = weights["codebook"]
    if kind not in ("simvq", "vq_lc"):
        return rows
    if config.quantizer.map == "mlp":
        rows = rows + _linear(_gelu(_linear(rows, weights, "bend.0")), weights, "bend.2")
    table = _linear(rows, weights, "map")
    if config.quantizer.zero_code and kind == "simvq":
        table[0] = 0
    return table


def _below(weights: Weights, prefix: str) -> dict[str, FloatArray]:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _linear(x: FloatArray, weights: Weights, name: str) -> FloatArray:
    y: FloatArray = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def _unit(x: FloatArray) -> FloatArray:
    unit: FloatArray = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.float32(MIN_NORM))
    return unit


def _gelu(x: FloatArray) -> FloatArray:
    y: FloatArray = (x / 2 * (1 + _erf(x.astype(np.float64) / math.sqrt(2)))).astype(np.float32)
    return y


def _erf(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To 1.5e-7 (Abramowitz and Stegun, 7.1.26): numpy has no error function."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-np.square(x)))
