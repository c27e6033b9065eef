"""The layers of `nn/` as ONNX operators, from the weights of a model file.

Signals are `[B, C, 1, S]`: with a height of one, onnxruntime takes its fast kernels for images. Names of weights and the
order of layers are those of the torch modules; `tests/unit/test_onnx.py` compares the two for every kind of model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from audiocodec.config.schema import EncoderConfig
from audiocodec.constants import LAYER_NORM_EPSILON, LEAKY_SLOPE, MAX_LOG_MAGNITUDE, MIN_SNAKE
from audiocodec.nn.plan import Layer
from audiocodec.onnx import writer
from audiocodec.onnx.writer import FloatArray, Graph


class Layers(Graph):
    """A graph that knows our layers; counts the context of what it was given, as `nn.conv` does."""

    def __init__(self, weights: Mapping[str, FloatArray], *, causal: bool, int8: bool = False) -> None:
        super().__init__()
        self.weights, self.causal, self.int8 = weights, causal, int8
        self.left = self.right = (
            0  # context before and after, in samples at the rate of the input (down) or output (up)
        )
        self.int8_layers = 0  # that became 8 bits
        self.rate = 1  # input samples per step (down)

    def weight(self, name: str) -> str:
        """A weight as it is stored."""
        return self.constant(self.weights[name], name)

    def conv(self, x: str, name: str, *, stride: int = 1, dilation: int = 1, groups: int = 1) -> str:
        """`nn.conv.Conv1d` called `name`, on `[B, C, 1, S]`."""
        kernel = self.weights[f"{name}.conv.weight"]
        total = (kernel.shape[-1] - 1) * dilation + 1 - stride
        right = 0 if self.causal else total // 2
        left = total - right
        self.left, self.right = self.left + left * self.rate, self.right + right * self.rate
        self.rate *= stride
        filters = self.constant(kernel[:, :, None], f"{name}.conv.weight")
        bias, pads = self.weight(f"{name}.conv.bias"), (0, left, 0, right)
        return self.op("Conv", x, filters, bias, group=groups, strides=(1, stride), dilations=(1, dilation), pads=pads)

    def conv_transpose(self, x: str, name: str, stride: int) -> str:
        """`nn.conv.ConvTranspose1d` called `name`, on `[B, C, 1, T]`."""
        right = stride if self.causal else stride // 2
        left = stride - right
        self.left, self.right = self.left * stride + right, self.right * stride + left
        filters = self.constant(self.weights[f"{name}.conv.weight"][:, :, None], f"{name}.conv.weight")
        bias = self.weight(f"{name}.conv.bias")
        return self.op("ConvTranspose", x, filters, bias, strides=(1, stride), pads=(0, left, 0, right))

    def lstm(self, x: str, name: str, layers: int) -> str:
        """`nn.seanet.SkipLSTM` called `name`: gates are input, forget, cell, output in torch, i, o, f, c here."""
        y = self.op("Transpose", self.op("Squeeze", x, self.ints(2)), perm=(2, 0, 1))  # [T, B, C]
        for i in range(layers):
            parts = [
                self.weights[f"{name}.lstm.{part}_l{i}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            into, back, *biases = (_gates_in_onnx_order(part)[None] for part in parts)
            bias = np.concatenate(biases, 1)
            constants = (self.constant(array, f"{name}.{i}.{key}") for key, array in zip("WRB", (into, back, bias)))
            y = self.op("LSTM", y, *constants, hidden_size=back.shape[-1])  # [T, 1, B, C]
            y = self.op("Squeeze", y, self.ints(1))
        y = self.op("Unsqueeze", self.op("Transpose", y, perm=(1, 2, 0)), self.ints(2))
        return self.op("Add", x, y)

    def layer(self, x: str, name: str, layer: Layer, plan: EncoderConfig, lstm_layers: int) -> str:
        """The layer called `name` of a SEANet encoder or decoder."""
        if layer.kind == "residual":
            return self.residual_unit(x, name, layer.dilation, plan)
        if layer.kind == "activation":
            return self.activation(x, name, plan.activation)
        if layer.kind == "lstm":
            return self.lstm(x, name, lstm_layers)
        if layer.kind == "convnext":
            return self.convnext(x, name)
        if layer.kind == "up":
            return self.conv_transpose(x, name, layer.stride)
        return self.conv(x, name, stride=layer.stride)

    def residual_unit(self, x: str, name: str, dilation: int, plan: EncoderConfig) -> str:
        """`nn.seanet.ResidualUnit` called `name`."""
        y = self.conv(self.activation(x, f"{name}.block.0", plan.activation), f"{name}.block.1", dilation=dilation)
        y = self.conv(self.activation(y, f"{name}.block.2", plan.activation), f"{name}.block.3")
        return self.op("Add", x if plan.true_skip else self.conv(x, f"{name}.shortcut"), y)

    def layer_norm(self, x: str, name: str) -> str:
        """Normalise the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def linear(self, x: str, name: str, scale: FloatArray | None = None, exact: bool = False) -> str:
        """A linear map of the last axis, its result times `scale [out]`; `exact` keeps it float32 in an int8 graph."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if scale is not None:
            weight, bias = weight * scale[:, None], bias * scale
        multiply = self._multiply_int8 if self.int8 and not exact else self._multiply
        return self.op("Add", multiply(x, np.ascontiguousarray(weight.T), name), self.constant(bias, f"{name}.bias"))

    def _multiply(self, x: str, matrix: FloatArray, name: str) -> str:
        return self.op("MatMul", x, self.constant(matrix, f"{name}.weight"))

    def _multiply_int8(self, x: str, matrix: FloatArray, name: str) -> str:
        """`x [..., in]` times `matrix [in, out]` in 8 bits: one scale per call for x, one per column for the matrix.

        Both are unsigned, with the matrix's zero at 128: processors without VNNI saturate on signed weights.
        """
        steps = np.maximum(np.abs(matrix).max(0), np.finfo(np.float32).tiny) / np.float32(127)
        rounded = (np.rint(matrix / steps) + 128).astype(np.uint8)
        self.int8_layers += 1
        values = self.op("DynamicQuantizeLinear", x, outputs=3)
        weight = self.constant(rounded, f"{name}.weight_quantized")
        product = self.op("MatMulInteger", values, weight, f"{values}_2", self.constant(np.array(128, np.uint8)))
        scale = self.op("Mul", f"{values}_1", self.constant(steps, f"{name}.weight_scale"))
        return self.op("Mul", self.op("Cast", product, to=writer.ELEMENTS["float32"]), scale)

    def gelu(self, x: str) -> str:
        """`x / 2 * (1 + erf(x / sqrt(2)))`."""
        half, root = self.number(0.5), self.number(2**0.5)
        erf = self.op("Add", self.op("Erf", self.op("Div", x, root)), self.number(1.0))
        return self.op("Mul", self.op("Mul", x, erf), half)

    def rows(self, x: str) -> str:
        """`[B, C, 1, T]` to `[B, 1, T, C]`."""
        return self.op("Transpose", x, perm=(0, 2, 3, 1))

    def columns(self, x: str) -> str:
        """`[B, 1, T, C]` to `[B, C, 1, T]`."""
        return self.op("Transpose", x, perm=(0, 3, 1, 2))

    def convnext(self, x: str, name: str) -> str:
        """`nn.convnext.ConvNeXtBlock`."""
        channels = len(self.weights[f"{name}.scale"])
        y = self.layer_norm(self.rows(self.conv(x, f"{name}.depthwise", groups=channels)), f"{name}.norm")
        y = self.linear(self.gelu(self.linear(y, f"{name}.expand")), f"{name}.project", self.weights[f"{name}.scale"])
        return self.op("Add", x, self.columns(y))

    def exponential(self, x: str) -> str:
        """A magnitude of its logarithm, limited."""
        return self.op("Exp", self.op("Min", x, self.number(MAX_LOG_MAGNITUDE)))

    def polar(self, magnitude: str, angle: str) -> tuple[str, str]:
        """Real and imaginary part."""
        return self.op("Mul", magnitude, self.op("Cos", angle)), self.op("Mul", magnitude, self.op("Sin", angle))

    def activation(self, x: str, name: str, kind: str) -> str:
        """`nn.activation.activation` of `kind`, called `name`, on `[B, C, 1, S]`."""
        if kind == "snake":
            return self.snake(x, name)
        return self.op("Elu", x, alpha=1.0) if kind == "elu" else self.op("LeakyRelu", x, alpha=LEAKY_SLOPE)

    def snake(self, x: str, name: str) -> str:
        """`nn.activation.Snake` called `name`."""
        alpha = self.constant(self.weights[f"{name}.alpha"][:, None, None], f"{name}.alpha")
        sine = self.op("Sin", self.op("Mul", x, alpha))
        over = self.op("Add", alpha, self.number(MIN_SNAKE))
        return self.op("Add", x, self.op("Div", self.op("Mul", sine, sine), over))


def _gates_in_onnx_order(array: FloatArray) -> FloatArray:
    gate_input, forget, cell, output = np.split(array, 4)
    return np.concatenate([gate_input, output, forget, cell])
