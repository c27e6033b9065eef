"""What a quantizer returns, and what one stage of it offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class QuantizerOutput(NamedTuple):
    """Result of quantizing latents `[B, D, T]` with K codebooks.

    The two losses are relative to the energy that a unit-RMS latent has (`D` per frame), so one weight serves any
    `D`: 1.0 is the loss of a codebook that is all zeros.
    """

    quantized: Tensor  # [B, D, T], gradient passed straight through to the latents
    codes: Tensor  # [B, K, T] int64
    codebook_loss: Tensor  # scalar: codes towards latents
    commitment_loss: Tensor  # scalar: latents towards codes
    errors: Tensor  # [K] energy left after each stage / energy of the latents, no gradient
    stages: tuple[tuple[Tensor, Tensor], ...]  # K of (what entered the stage, its codes), each [B, D, T], no gradient


class Stage(nn.Module, ABC):
    """One codebook: what `ResidualQuantizer` needs of a quantizer. Losses and the straight-through gradient are its own."""

    codebook_size: int
    codebook_dim: int

    @abstractmethod
    def start(self, latents: Tensor) -> None:
        """Fit the initial state to `latents [N, D]`, once, before quantization is switched on."""

    @abstractmethod
    def encode(self, latents: Tensor) -> Tensor:
        """Codes `[B, 1, T]` of `latents [B, D, T]`, without gradient."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`, with gradient to what is learned."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`, without gradient, equal to `lookup`'s."""
