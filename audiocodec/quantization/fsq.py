"""Finite scalar quantization (arXiv 2309.15505): every dimension bounded by a tanh and rounded; no codebook, no loss.

The shift for even numbers of levels is `atanh`, which takes 0 to 0, where the paper's listing has `tan`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiocodec.constants import FSQ_MARGIN
from audiocodec.quantization.base import StageOutput
from audiocodec.quantization.projected import ProjectedStage


class FSQ(ProjectedStage):
    """One code of `prod(levels)` for `len(levels)` dimensions; the first level counts fastest in a code."""

    levels: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int], codebook_dim: int) -> None:
        """Build the quantizer.

        Args:
            levels: of each dimension, 2 or more; see `config.levels`.
            codebook_dim: width D of a latent.
        """
        sizes = torch.tensor(levels)
        super().__init__(math.prod(levels), codebook_dim, len(levels))
        self.register_buffer("levels", sizes, persistent=False)
        self.register_buffer("basis", sizes.cumprod(0) // sizes, persistent=False)

    def squash(self, low: Tensor) -> Tensor:
        """`low [..., n]` bounded such that rounding times the half width gives the levels; about -1 to 1."""
        half = (self.levels - 1) * (1 + FSQ_MARGIN) / 2
        offset = (self.levels % 2 == 0) * 0.5
        bounded: Tensor = (low + (offset / half).atanh()).tanh() * half - offset
        return bounded / (self.levels // 2)

    def choose(self, low: Tensor) -> Tensor:
        """Codes `[...]` of squashed `low [..., n]`."""
        width = self.levels // 2
        digits = (low * width).round().long() + width
        return (digits * self.basis).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """Quantized `[..., n]` of `codes [...]`."""
        width = self.levels // 2
        return (codes.unsqueeze(-1) // self.basis % self.levels - width) / width

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered, without loss: the maps learn from `carry`."""
        codes = self.encode(residual)
        nothing = residual.new_zeros(())
        return StageOutput(codes, self.lookup(codes), nothing, nothing)
