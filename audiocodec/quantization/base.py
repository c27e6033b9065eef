"""What every quantizer returns and offers."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


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


class Quantizer(Protocol):
    """Latents in, integers out, and back."""

    num_codebooks: int
    codebook_size: int
    codebook_dim: int

    def start(self, latents: Tensor) -> None:
        """Fit the initial state to `latents [N, D]`, once, before quantization is switched on."""
        ...

    def forward(self, latents: Tensor, num_codebooks: int | None = None) -> QuantizerOutput:
        """Quantize `latents [B, D, T]`."""
        ...

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Codes `[B, K, T]` of `latents [B, D, T]`, without gradient."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, K, T]`; K may be fewer than there are codebooks."""
        ...
