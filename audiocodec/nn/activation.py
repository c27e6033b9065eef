"""Pointwise non-linearities by the names that configurations give them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import LEAKY_SLOPE, MIN_SNAKE


class Snake(nn.Module):
    """`x + sin(a x)^2 / a` with a learned `a` for each channel (arXiv 2006.08195)."""

    def __init__(self, channels: int) -> None:
        """Start at `a = 1`, as DAC does.

        Args:
            channels: of the signal.
        """
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, S]` to the same shape."""
        alpha = self.alpha[:, None]
        return x + (alpha * x).sin().square() / (alpha + MIN_SNAKE)


def activation(name: str, channels: int) -> nn.Module:
    """The non-linearity called `name` (`elu`, `leaky_relu` or `snake`) of a signal of `channels`."""
    if name == "snake":
        return Snake(channels)
    return nn.ELU() if name == "elu" else nn.LeakyReLU(LEAKY_SLOPE)


def activate(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer` of `x`; without gradient an activation is written over `x` where it can be, which must be nobody else's.

    At the full rate a layer's output is tens of megabytes: what is never allocated is never faulted in.
    """
    if torch.is_grad_enabled():
        y: Tensor = layer(x)
        return y
    if isinstance(layer, nn.ELU):
        return F.elu_(x)
    return F.leaky_relu_(x, LEAKY_SLOPE) if isinstance(layer, nn.LeakyReLU) else layer(x)
