"""The operators of an encoder's graph in numpy and float64, which onnxruntime's CPU kernels do not have.

A `Program` is built by the same calls as a graph for onnxruntime, from the same weights, and is run instead of written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.onnx import writer
from audiocodec.onnx.layers import Layers
from audiocodec.onnx.special import DoubleArray, erf
from audiocodec.onnx.writer import FloatArray

Array = npt.NDArray[Any]

CROP = "Crop"  # the one operator that ONNX does not have


class Program(Layers):
    """Layers that are computed; constants are float64 as soon as they are known."""

    def __init__(self, weights: Mapping[str, FloatArray], *, causal: bool, hop_length: int) -> None:
        """Start an empty program, see `Layers`; `hop_length` is the rate from which on only wanted frames are computed."""
        super().__init__(_Doubles(weights), causal=causal)
        self._hop_length = hop_length
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

    def conv(self, x: str, name: str, *, stride: int = 1, dilation: int = 1, groups: int = 1) -> str:
        """`Layers.conv`, at the frame rate of no more than is still needed."""
        return super().conv(self._crop(x), name, stride=stride, dilation=dilation, groups=groups)

    def convnext(self, x: str, name: str) -> str:
        """`Layers.convnext` of no more than is still needed."""
        return super().convnext(self._crop(x), name)

    def run(self, source: str, array: DoubleArray, last: str, span: slice | None = None) -> DoubleArray:
        """The value called `last` where that called `source` is `array`; values are dropped after their last use.

        Args:
            source: name of the input.
            array: its value.
            last: name of the result `[1, D, T]`.
            span: frames of the result that are wanted; None: the result is whatever it is.
        """
        uses = {name: i for i, (_, inputs, _, _) in enumerate(self._steps) for name in inputs}
        values: dict[str, Array] = {source: array}
        start = 0  # the frame that values at the frame rate begin with
        for i, (kind, inputs, name, attributes) in enumerate(self._steps):
            arguments = [values.get(key, self._arrays.get(key)) for key in inputs]
            if kind != CROP:
                values[name] = OPERATORS[kind](*arguments, **attributes)
            elif span is None:
                values[name] = values[inputs[0]]
            else:
                left, right = self._still_needed(*attributes["seen"])  # type: ignore[misc]
                low = max(start, span.start - left)
                values[name] = values[inputs[0]][..., low - start : span.stop + right - start]
                start = low
            for key in inputs:
                if uses[key] == i:
                    values.pop(key, None)
        result: DoubleArray = values[last]
        return result if span is None else result[..., span.start - start : span.stop - start]

    def _crop(self, x: str) -> str:
        """At the frame rate, the steps of `x` that the layers from here on look at to give the wanted frames."""
        return self.op(CROP, x, seen=(self.left, self.right)) if self.rate == self._hop_length else x

    def _still_needed(self, left: int, right: int) -> tuple[int, int]:
        """Frames (before, after) of context of the layers that follow, where those before had `left` and `right` samples."""
        return (self.left - left) // self._hop_length, (self.right - right) // self._hop_length


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
    """`x [1, C, 1, S]` with `weight [C', C / group, 1, k]`."""
    out, each, _, taps = weight.shape
    stride, dilation, channels = strides[1], dilations[1], x.shape[1]
    padded = x[0, :, 0]
    if pads[1] or pads[3]:
        padded = np.zeros((channels, pads[1] + x.shape[-1] + pads[3]))
        padded[:, pads[1] : pads[1] + x.shape[-1]] = x[0, :, 0]
    steps = (padded.shape[1] - (taps - 1) * dilation - 1) // stride + 1
    each_tap = [padded[:, i * dilation : i * dilation + (steps - 1) * stride + 1 : stride] for i in range(taps)]
    if group == out == channels:
        y = sum(weight[:, 0, 0, i, None] * tap for i, tap in enumerate(each_tap))
    else:  # all positions of a group as one matrix product
        stacked = (np.stack(each_tap, 1) if taps > 1 else each_tap[0]).reshape(group, each * taps, steps)
        y = (weight.reshape(group, out // group, each * taps) @ stacked).reshape(out, steps)
    result: Array = y + bias[:, None]
    return result[None, :, None]


def _layer_norm(x: Array, scale: Array, bias: Array, *, axis: int, epsilon: float) -> Array:
    centred = x - x.mean(axis, keepdims=True)
    normal: Array = centred / np.sqrt(np.square(centred).mean(axis, keepdims=True) + epsilon)
    return normal * scale + bias


def _elu(x: Array, *, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _leaky_relu(x: Array, *, alpha: float) -> Array:
    return np.maximum(x, alpha * x)  # alpha is below 1


def _transpose(x: Array, *, perm: tuple[int, ...]) -> Array:
    return x.transpose(perm)


OPERATORS: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "MatMul": np.matmul,
    "Erf": erf,
    "Sin": np.sin,
    "Conv": _conv,
    "LayerNormalization": _layer_norm,
    "Elu": _elu,
    "LeakyRelu": _leaky_relu,
    "Transpose": _transpose,
    "Squeeze": lambda x, axes: np.squeeze(x, tuple(axes)),
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
}
