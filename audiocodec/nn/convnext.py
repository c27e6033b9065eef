"""ConvNeXt block in one dimension (ConvNeXt, arXiv 2201.03545, as used by Vocos, 2306.00814)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.constants import LAYER_NORM_EPSILON
from audiocodec.nn.conv import Conv1d
from audiocodec.nn.streaming import Chain, Pointwise, Skip, Stream


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron over channels, with a scaled residual."""

    def __init__(
        self, channels: int, hidden: int, kernel_size: int, *, causal: bool = False, scale: float = 0.1
    ) -> None:
        """Build the block.

        Args:
            channels: width in and out.
            hidden: width of the perceptron.
            kernel_size: taps of the depthwise convolution.
            causal: look only at the past.
            scale: initial value of the learned per-channel factor on the residual branch.
        """
        super().__init__()
        self.depthwise = Conv1d(channels, channels, kernel_size, groups=channels, causal=causal, norm=False)
        self.norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPSILON)
        self.expand = nn.Linear(channels, hidden)
        self.project = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [B, C, T]` to the same shape."""
        return x + self.pointwise(self.depthwise(x))

    def stream(self) -> Stream:
        """The block as a stream."""
        return Skip(Chain([self.depthwise.stream(), Pointwise(self.pointwise)]), Pointwise(nn.Identity()))

    def pointwise(self, x: Tensor) -> Tensor:
        """All after the depthwise convolution, `[B, C, T]` to the same shape: each step for itself."""
        y = F.linear(self.norm(x.transpose(1, 2)), self.expand.weight, self.expand.bias)
        y = F.linear(F.gelu(y), self.project.weight, self.project.bias) * self.scale
        return y.transpose(1, 2)
