"""Stages that quantize in a few dimensions: a linear map down, codes there, a linear map up.

The map down starts on the principal directions of what enters, each at unit variance; the one up as the least-squares
fit from the codes. In a residual stack that is each stage's scale. Both are learned, by the gradient of `carry`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from audiocodec.quantization.base import Stage, StageOutput
from audiocodec.quantization.gradient import straight_through
from audiocodec.quantization.initialization import principal

MIN_DEVIATION = 1e-6  # a direction without energy is not blown up
RIDGE = 1e-6  # of the codes' energy: keeps the fit defined where codes do not vary


class ProjectedStage(Stage):
    """`up(values)` of the codes of `squash(down(latents))`; `low` is `[B, T, n]` throughout."""

    straight_through = False

    def __init__(self, codebook_size: int, codebook_dim: int, low_dim: int) -> None:
        """Build the maps.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            low_dim: dimensions n the codes have, at most D.
        """
        super().__init__()
        self.codebook_size, self.codebook_dim = codebook_size, codebook_dim
        self.down, self.up = nn.Linear(codebook_dim, low_dim), nn.Linear(low_dim, codebook_dim)

    @abstractmethod
    def squash(self, low: Tensor) -> Tensor:
        """What is quantized, of the same shape as `low [..., n]`, with gradient."""

    @abstractmethod
    def choose(self, low: Tensor) -> Tensor:
        """Codes `[...]` int64 of squashed `low [..., n]`."""

    @abstractmethod
    def values(self, codes: Tensor) -> Tensor:
        """Quantized `[..., n]` of `codes [...]`, with gradient to what is learned."""

    def low(self, latents: Tensor) -> Tensor:
        """Squashed `[B, T, n]` of `latents [B, D, T]`, with gradient."""
        return self.squash(self.down(latents.float().transpose(1, 2)))

    @torch.no_grad()
    def initialize(self, latents: Tensor) -> None:
        """Fit both maps to `latents [N, D]`, and to the codes once there are any."""
        weight, bias = _whitening(latents, self.down.out_features)
        self.down.weight.copy_(weight)
        self.down.bias.copy_(bias)
        low = self.squash(self.down(latents.float()))
        self.start_codes(low)
        weight, bias = _least_squares(self.values(self.choose(low)), latents)
        self.up.weight.copy_(weight)
        self.up.bias.copy_(bias)

    def start_codes(self, low: Tensor) -> None:
        """Fit what there is of a codebook to squashed `low [N, n]`."""

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Codes `[B, 1, T]` of `latents [B, D, T]`, without gradient."""
        return self.choose(self.low(latents)).unsqueeze(1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`, with gradient."""
        latents: Tensor = self.up(self.values(codes[:, 0])).transpose(1, 2)
        return latents

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`, without gradient."""
        return self.lookup(codes)

    def through(self, low: Tensor, values: Tensor) -> Tensor:
        """`values [B, T, n]` with a gradient to `low`."""
        return straight_through(low, values)

    def carry(self, residual: Tensor, output: StageOutput) -> Tensor:
        """The chosen codes as a function of `residual [B, D, T]`, through both maps."""
        values = self.values(output.codes[:, 0])
        latents: Tensor = self.up(self.through(self.low(residual), values)).transpose(1, 2)
        return latents


def _whitening(latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Map (weight `[n, D]`, bias `[n]`) to the `count` directions of most variance, each of variance 1 around 0."""
    mean, variances, directions = principal(latents)
    order = variances.argsort(descending=True)[:count]
    deviations = variances[order].clamp(min=MIN_DEVIATION**2).sqrt()
    weight = directions[:, order].T / deviations[:, None]
    return weight, -weight @ mean


def _least_squares(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Map (weight `[D, n]`, bias `[D]`) that takes `inputs [N, n]` closest to `targets [N, D]`."""
    inputs, targets = inputs.double(), targets.double()
    centre, mean = inputs.mean(0), targets.mean(0)
    x, y = inputs - centre, targets - mean
    gram = x.T @ x
    ridge = RIDGE * gram.trace().clamp(min=1) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram + ridge, x.T @ y).T
    return weight, mean - weight @ centre
