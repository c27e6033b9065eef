"""What a quantizer returns, and what one stage of it offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from audiocodec.quantization.gradient import straight_through


class StageTrace(NamedTuple):
    """What one stage did, without gradient: for statistics, and for codebooks that follow averages of latents."""

    entered: Tensor  # [B, D, T] what the stages before left
    chosen: Tensor  # [B, D, T] latents of its codes
    used: Tensor  # [B] bool: items whose output this stage is part of (dropout leaves some out)


class QuantizerOutput(NamedTuple):
    """Result of quantizing latents `[B, D, T]` with K codebooks.

    The two losses are relative to the energy that a unit-RMS latent has (`D` per frame), so one weight serves any
    `D`: 1.0 is the loss of a codebook that is all zeros.
    """

    quantized: Tensor  # [B, D, T], gradient as the stages carry it back to the latents
    codes: Tensor  # [B, K, T] int64
    codebook_loss: Tensor  # scalar: codes towards latents
    commitment_loss: Tensor  # scalar: latents towards codes
    errors: Tensor  # [K] energy left after each stage / energy of the latents, no gradient
    stages: tuple[StageTrace, ...]  # of the K stages


class StageOutput(NamedTuple):
    """Result of one stage for what entered it, `[B, D, T]`."""

    codes: Tensor  # [B, 1, T] int64
    chosen: Tensor  # [B, D, T] latents of the codes, with gradient to what the stage learns
    codebook_loss: Tensor  # scalar
    commitment_loss: Tensor  # scalar


class Stage(nn.Module, ABC):
    """One codebook: what `ResidualQuantizer` needs of a quantizer.

    `straight_through` says that the gradient reaches the stage's input unchanged; a stage with a gradient of its own
    sets it to False and overrides `carry`. `learns_from_latents` says that `update` does something, `init_frames` how
    many latents `init` wants.
    """

    codebook_size: int
    codebook_dim: int
    straight_through = True
    learns_from_latents = False
    init_frames = 40_000

    @abstractmethod
    def initialize(self, latents: Tensor) -> None:
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

    def encode_with_margins(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """`encode`, and how far each latent may move, at least, before its code changes.

        A stage that cannot tell says infinity; its codes are then as float32 has them.

        Returns:
            Codes `[B, 1, T]`; distances `[B, T]` in the latents' unit.
        """
        return self.encode(latents), latents.new_full((latents.shape[0], latents.shape[2]), torch.inf)

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered, with the losses of VQ-VAE (arXiv 1711.00937, equation 3).

        Args:
            residual: `[B, D, T]`.
            used: `[B, 1, 1]` 1 where an item uses this stage, else 0; the others count as without loss.
        """
        codes = self.encode(residual)
        chosen = self.lookup(codes)
        codebook_loss = ((chosen - residual.detach()) * used).square().mean()
        commitment_loss = ((chosen.detach() - residual) * used).square().mean()
        return StageOutput(codes, chosen, codebook_loss, commitment_loss)

    def carry(self, residual: Tensor, output: StageOutput) -> Tensor:
        """`output.chosen` as a function of `residual [B, D, T]`: the gradient that the decoder's loss takes back."""
        return straight_through(residual, output.chosen)

    def update(self, latents: Tensor, codes: Tensor, seed: int) -> None:
        """Learn from what was quantized in a training step, of all processes.

        Args:
            latents: `[N, D]` what entered this stage.
            codes: `[N]` int64, what it chose.
            seed: for random choices, the same on every process.
        """
