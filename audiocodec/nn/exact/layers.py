"""Layers of small integers for training on torch: rounding forward, straight through backward.

What a layer computes forward is, to the bit, what `integers` computes from its exported weights. Backward, rounding counts as
the identity, and the tables as the functions that they round. Another network of integers, such as an encoder, is built from
the same layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.nn.exact.integers import GATE_BITS, LIMIT, ONE, SIGMOID, TANH


class ExactLinear(nn.Module):
    """Integers `[..., I]` to sums `[..., O]`; weights and biases are kept as real numbers and rounded on use."""

    def __init__(self, inputs: int, outputs: int, bits: int, *, bias_rows: int = 1) -> None:
        """Draw weights.

        Args:
            inputs, outputs: I and O.
            bits: a weight of 1 is `2**bits`.
            bias_rows: how many biases there are to choose from.
        """
        super().__init__()
        self.scale = float(1 << bits)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).normal_(0, inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(bias_rows, outputs))

    def forward(self, x: Tensor, row: Tensor | None = None) -> Tensor:
        """Multiply integers `x [..., I]` and add the bias of `row [...]`, or the first."""
        weight, bias = self.integers()
        return x @ weight + (bias[0] if row is None else bias[row])

    def integers(self) -> tuple[Tensor, Tensor]:
        """Weights within +-127, and biases in units of the sums."""
        return small(self.weight * self.scale), rounded(self.bias * (self.scale * ONE))


class ExactEmbedding(nn.Module):
    """A row of integers within +-127 for each value."""

    def __init__(self, values: int, width: int) -> None:
        """Draw rows of about a half."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(values, width).normal_(0, 0.5))

    def forward(self, value: Tensor) -> Tensor:
        """Rows `[..., width]` of `value [...]`."""
        return self.integers()[value]

    def integers(self) -> Tensor:
        """All rows."""
        return small(self.weight * ONE)


def rounded(x: Tensor) -> Tensor:
    """The nearest integer, halves up, with the gradient of `x`."""
    result: Tensor = _Rounded.apply(x)  # type: ignore[no-untyped-call]
    return result


def small(x: Tensor) -> Tensor:
    """The nearest integer within +-127."""
    return rounded(x.clamp(-LIMIT, LIMIT))


def rescale(total: Tensor, shift: int) -> Tensor:
    """As `integers.rescale`."""
    return rounded(total * 2.0**-shift).clamp(-LIMIT, LIMIT)


def gate(total: Tensor, shift: int) -> Tensor:
    """As `integers.gate`, for sums `[..., 2 * C]`."""
    result: Tensor = _Gate.apply(rescale(total, shift))  # type: ignore[no-untyped-call]
    return result


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _Gate(torch.autograd.Function):
    """Products of the two tables, rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        left, right = (part + LIMIT for part in x.int().chunk(2, -1))
        tables = (torch.from_numpy(table).to(x.device) for table in (TANH, SIGMOID))
        tanh, sigmoid = (table[index] for table, index in zip(tables, (left, right)))
        ctx.save_for_backward(tanh, sigmoid)
        return torch.floor(tanh * sigmoid * 2.0**-GATE_BITS + 0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        tanh, sigmoid = (value / LIMIT for value in ctx.saved_tensors)
        scaled = gradients[0] * (LIMIT / ONE)
        return torch.cat([scaled * (1 - tanh.square()) * sigmoid, scaled * tanh * sigmoid * (1 - sigmoid)], -1)
