"""The operators of an encoder's graph in numpy and float64, which onnxruntime's CPU kernels do not have.

A `Program` is built by the same calls as a graph for onnxruntime, from the same weights, and is run instead of written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from audiocodec.onnx import writer
from audiocodec.onnx.graph import FloatArray
from audiocodec.onnx.layers import Layers
from audiocodec.onnx.special import DoubleArray, erf

Array = npt.NDArray[Any]


class Program(Layers):
    """Layers that are computed; constants are float64 as soon as they are known."""

    def __init__(self, weights: Mapping[str, FloatArray], *, causal: bool) -> None:
        """Start an empty program, see `Layers`."""
        super().__init__(_Doubles(weights), causal=causal)
        self._arrays: dict[str, Array] = {}
        self._steps: list[tuple[str, tuple[str, ...], str, Mapping[str, writer.Attribute]]] = []

    def constant(self, array: npt.NDArray[np.generic], name: str = "") -> str:
        """A tensor that is part of the program."""
        name = name or f"constant_{len(self._arrays)}"
        self._arrays[name] = np.ascontiguousarray(array)
        return name

    def number(self, value: float) -> str:
        """One number, in float64 like all others."""
        return self.constant(np.array([value]))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: writer.Attribute) -> str:
        """The result of an operator that has one."""
        name = f"{kind.lower()}_{len(self._steps)}"
        self._steps.append((kind, inputs, name, attributes))
        return name

    def run(self, source: str, array: DoubleArray, last: str) -> DoubleArray:
        """The value called `last` where that called `source` is `array`; values are dropped after their last use."""
        uses = {name: i for i, (_, inputs, _, _) in enumerate(self._steps) for name in inputs}
        values: dict[str, Array] = {source: array}
        for i, (kind, inputs, name, attributes) in enumerate(self._steps):
            values[name] = OPERATORS[kind](*(values.get(key, self._arrays.get(key)) for key in inputs), **attributes)
            for key in inputs:
                if uses[key] == i:
                    values.pop(key, None)
        result: DoubleArray = values[last]
        return result


class _Doubles(dict[str, Any]):
    """Weights in float64, each when it is asked for."""

    def __getitem__(self, name: str) -> DoubleArray:
        weight: DoubleArray = super().__getitem__(name).astype(np.float64)
        return weight


def _conv(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    group: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Array:
    """`x [1, C, 1, S]` with `weight [C', C / group, 1, k]`: all positions of a group as one matrix product."""
    out, each, _, taps = weight.shape
    padded = np.pad(x[0, :, 0], ((0, 0), (pads[1], pads[3])))
    columns = sliding_window_view(padded, (taps - 1) * dilations[1] + 1, -1)[:, :: strides[1], :: dilations[1]]
    stacked = columns.transpose(0, 2, 1).reshape(group, each * taps, -1)  # a copy, taps times as large
    y = weight.reshape(group, out // group, each * taps) @ stacked
    result: Array = y.reshape(out, -1) + bias[:, None]
    return result[None, :, None]


def _layer_norm(x: Array, scale: Array, bias: Array, *, axis: int, epsilon: float) -> Array:
    centred = x - x.mean(axis, keepdims=True)
    normal: Array = centred / np.sqrt(np.square(centred).mean(axis, keepdims=True) + epsilon)
    return normal * scale + bias


def _elu(x: Array, *, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _leaky_relu(x: Array, *, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * x)


def _transpose(x: Array, *, perm: tuple[int, ...]) -> Array:
    return x.transpose(perm)


OPERATORS: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "MatMul": np.matmul,
    "Erf": erf,
    "Conv": _conv,
    "LayerNormalization": _layer_norm,
    "Elu": _elu,
    "LeakyRelu": _leaky_relu,
    "Transpose": _transpose,
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
}
