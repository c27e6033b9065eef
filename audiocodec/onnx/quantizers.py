"""Codes of latents and latents of codes in numpy: every stage of `quantization/` as it is used for inference."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from audiocodec.config.levels import fsq_levels
from audiocodec.config.schema import Config
from audiocodec.constants import FSQ_MARGIN, MIN_NORM
from audiocodec.onnx.search import FloatArray, IntArray
from audiocodec.onnx.special import DoubleArray
from audiocodec.onnx.table import Stage, Table, Weights, linear, table_of


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
        return _named(stage.arrays() for stage in self.stages)

    def exact_arrays(self) -> dict[str, FloatArray] | None:
        """What that needs beside them to settle near-ties as this one does; None: there is a stage that cannot."""
        parts = [stage.exact_arrays() for stage in self.stages]
        return None if None in parts else _named(part for part in parts if part is not None)

    def encode(self, latents: FloatArray, num_codebooks: int | None = None) -> IntArray:
        """Codes `[K, T]` of `latents [D, T]`."""
        residual, codes = np.ascontiguousarray(latents.T), []
        for stage in self.stages[:num_codebooks]:
            codes.append(stage.encode(residual))
            residual = residual - stage.decode(codes[-1])
        return np.stack(codes)

    def encode_with_margins(self, latents: FloatArray, num_codebooks: int | None = None) -> tuple[IntArray, FloatArray]:
        """`encode`, and how far each latent may move, at least, before a code of any stage changes, `[T]`."""
        residual, codes, margins = np.ascontiguousarray(latents.T), [], []
        for stage in self.stages[:num_codebooks]:
            found, margin = stage.encode_with_margins(residual)
            codes.append(found)
            margins.append(margin)
            residual = residual - stage.decode(found)
        return np.stack(codes), np.min(margins, axis=0)

    def settle(
        self, latents: DoubleArray, num_codebooks: int | None = None, bounds: FloatArray | None = None
    ) -> tuple[IntArray, DoubleArray]:
        """Decide float64 latents, every stage in float64.

        Args:
            latents: `[n, D]`.
            num_codebooks: use only the first so many codebooks.
            bounds: `[n]` distances from which on a margin need not be exact; None: no margin is asked for.

        Returns:
            Codes `[K, n]`; margins `[n]`: how far each latent may move before a code of any stage changes.
        """
        bounds = np.zeros(len(latents), np.float32) if bounds is None else bounds
        codes, margins = [], []
        for stage in self.stages[:num_codebooks]:
            found, rows, margin = stage.settle(latents, bounds)
            codes.append(found)
            margins.append(margin)
            latents = latents - rows
        return np.stack(codes), np.min(margins, axis=0)

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        """Sum of the codes' latents, `[D, T]`; `codes [K, T]` may have fewer than all codebooks."""
        parts = [stage.decode(row) for stage, row in zip(self.stages, codes)]
        return np.ascontiguousarray(np.sum(parts, axis=0, dtype=np.float32).T)


class Projected(Stage):
    """A linear map down, codes there, a linear map up; `low` is `[T, n]`."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def encode(self, latents: FloatArray) -> IntArray:
        return self.choose(linear(latents, self.weights, "down"))

    def decode(self, codes: npt.NDArray[np.integer]) -> FloatArray:
        return linear(self.values(codes), self.weights, "up")

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
    return table_of(config, kind, weights)


def _named(stages: Iterable[Weights]) -> dict[str, FloatArray]:
    return {f"quantizer.stages.{i}.{name}": array for i, part in enumerate(stages) for name, array in part.items()}


def _below(weights: Weights, prefix: str) -> dict[str, FloatArray]:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _unit(x: FloatArray) -> FloatArray:
    unit: FloatArray = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.float32(MIN_NORM))
    return unit
