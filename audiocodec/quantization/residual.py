"""Residual stack: each stage quantizes what the stages before it left (SoundStream, arXiv 2107.03312).

With quantizer dropout some training items use only the first stages, so that one model serves many bitrates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiocodec.quantization.base import QuantizerOutput, Stage

MIN_ENERGY = 1e-12  # guards a division only


class ResidualQuantizer(nn.Module):
    """A stack of stages of one size; one stage is a plain quantizer."""

    def __init__(self, stages: Sequence[Stage], dropout: float = 0.0) -> None:
        """Build the stack.

        Args:
            stages: the quantizers, first stage first.
            dropout: share of training items whose number of stages is drawn from 1 to K.
        """
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.dropout = dropout
        self.num_codebooks = len(stages)
        self.codebook_size, self.codebook_dim = stages[0].codebook_size, stages[0].codebook_dim

    def start(self, latents: Tensor) -> None:
        """Start each stage on the residual `[N, D]` that it will see."""
        residual = latents.float()
        for stage in self._stages():
            stage.start(residual)
            step = residual.T.unsqueeze(0)
            residual = residual - stage.decode(stage.encode(step))[0].T

    def forward(self, latents: Tensor, num_codebooks: int | None = None) -> QuantizerOutput:
        """Quantize `latents [B, D, T]` with the first `num_codebooks` stages (all by default)."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._quantize(latents.float(), num_codebooks or self.num_codebooks)

    def _quantize(self, latents: Tensor, count: int) -> QuantizerOutput:
        active = self._active_stages(latents.shape[0], count).to(latents.device)
        residual, total = latents, torch.zeros_like(latents)
        energy = latents.detach().square().mean().clamp(min=MIN_ENERGY)
        codes, errors, codebook_losses, commitment_losses, stages = [], [], [], [], []
        for i, stage in enumerate(self._stages()[:count]):
            used = (active > i).float()[:, None, None]
            codes.append(stage.encode(residual))
            chosen = stage.lookup(codes[-1])
            stages.append((residual.detach(), chosen.detach()))
            codebook_losses.append(((chosen - residual.detach()) * used).square().mean())
            commitment_losses.append(((chosen.detach() - residual) * used).square().mean())
            step = chosen.detach() * used
            residual, total = residual - step, total + step
            errors.append(residual.detach().square().mean() / energy)
        return QuantizerOutput(
            latents + (total - latents).detach(),
            torch.cat(codes, 1),
            torch.stack(codebook_losses).sum(),
            torch.stack(commitment_losses).sum(),
            torch.stack(errors),
            tuple(stages),
        )

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Codes `[B, K, T]` of `latents [B, D, T]`."""
        residual, codes = latents.float(), []
        for stage in self._stages()[: num_codebooks or self.num_codebooks]:
            codes.append(stage.encode(residual))
            residual = residual - stage.decode(codes[-1])
        return torch.cat(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' latents `[B, D, T]`; `codes [B, K, T]` may have fewer than all codebooks."""
        parts = [stage.decode(codes[:, i : i + 1]) for i, stage in zip(range(codes.shape[1]), self._stages())]
        return torch.stack(parts).sum(0)

    def tables(self) -> list[Tensor]:
        """The latents that each stage's codes stand for, `[V, D]` each."""
        every = (torch.arange(stage.codebook_size, device=next(self.parameters()).device) for stage in self._stages())
        return [stage.decode(codes[None, None])[0].T for stage, codes in zip(self._stages(), every)]

    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def _active_stages(self, batch: int, count: int) -> Tensor:
        """Stages used by each item `[B]`: `count`, or fewer for the items that dropout picks."""
        active = torch.full((batch,), count)
        if self.training and self.dropout > 0:
            drawn = torch.randint(1, count + 1, (batch,))
            active = torch.where(torch.rand(batch) < self.dropout, drawn, active)
        return active
