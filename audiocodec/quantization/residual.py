"""Residual stack: each stage quantizes what the stages before it left (SoundStream, arXiv 2107.03312).

With quantizer dropout some training items use only the first stages, so that one model serves many bitrates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from audiocodec.quantization.base import QuantizerOutput, Stage, StageOutput, StageTrace
from audiocodec.quantization.gradient import straight_through

MIN_ENERGY = 1e-12  # guards a division only


class ResidualQuantizer(nn.Module):
    """A stack of stages of one size; one stage is a plain quantizer."""

    def __init__(self, stages: Sequence[Stage], dropout: float = 0.0, *, init_on_residual: bool = True) -> None:
        """Build the stack.

        Args:
            stages: the quantizers, first stage first.
            dropout: share of training items whose number of stages is drawn from 1 to K.
            init_on_residual: start each stage on what the stages before it leave, at its scale; False starts all of
                them on the latents.
        """
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.dropout, self.init_on_residual = dropout, init_on_residual
        self.num_codebooks = len(stages)
        self.codebook_size, self.codebook_dim = stages[0].codebook_size, stages[0].codebook_dim
        self.init_frames = max(stage.init_frames for stage in stages)

    def initialize(self, latents: Tensor) -> None:
        """Start each stage from `latents [N, D]`, or from the residual of them that it will see."""
        entering, stages = latents.float(), self._stages()
        for i, stage in enumerate(stages):
            if i > 0 and self.init_on_residual:
                before = stages[i - 1]
                entering = entering - before.decode(before.encode(entering.T.unsqueeze(0)))[0].T
            stage.initialize(entering)

    def forward(self, latents: Tensor, num_codebooks: int | None = None) -> QuantizerOutput:
        """Quantize `latents [B, D, T]` with the first `num_codebooks` stages (all by default)."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._quantize(latents.float(), num_codebooks or self.num_codebooks)

    def _quantize(self, latents: Tensor, count: int) -> QuantizerOutput:
        active = self._active_stages(latents.shape[0], count).to(latents.device)
        residual, total = latents, torch.zeros_like(latents)
        energy = latents.detach().square().mean().clamp(min=MIN_ENERGY)
        outputs, errors, traces = [], [], []
        for i, stage in enumerate(self._stages()[:count]):
            used = (active > i)[:, None, None]
            outputs.append(stage(residual, used.float()))
            chosen = outputs[-1].chosen.detach()
            traces.append(StageTrace(residual.detach(), chosen, active > i))
            step = chosen * used
            residual, total = residual - step, total + step
            errors.append(residual.detach().square().mean() / energy)
        return QuantizerOutput(
            self._carry(latents, total, outputs, traces),
            torch.cat([output.codes for output in outputs], 1),
            torch.stack([output.codebook_loss for output in outputs]).sum(),
            torch.stack([output.commitment_loss for output in outputs]).sum(),
            torch.stack(errors),
            tuple(traces),
        )

    def _carry(
        self, latents: Tensor, total: Tensor, outputs: Sequence[StageOutput], traces: Sequence[StageTrace]
    ) -> Tensor:
        """`total` with the gradient of the stages, by the chain rule: stage k sees the latents less what stages 1 to
        k - 1 carried. Straight-through stages add up to one identity, however many there are."""
        stages = self._stages()[: len(outputs)]
        if all(stage.straight_through for stage in stages):
            return straight_through(latents, total)
        residual, carried = latents, torch.zeros_like(latents)
        for stage, output, trace in zip(stages, outputs, traces):
            step = stage.carry(residual, output) * trace.used[:, None, None]
            residual, carried = residual - step, carried + step
        return carried

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Codes `[B, K, T]` of `latents [B, D, T]`."""
        residual, stages = latents.float(), self._stages()[: num_codebooks or self.num_codebooks]
        codes = [stages[0].encode(residual)]
        for before, stage in pairwise(stages):  # what the last one leaves nobody needs
            residual = residual - before.decode(codes[-1])
            codes.append(stage.encode(residual))
        return torch.cat(codes, 1)

    def encode_with_margins(self, latents: Tensor, num_codebooks: int | None = None) -> tuple[Tensor, Tensor]:
        """`encode`, and how far each latent may move, at least, before a code of any stage changes, `[B, T]`."""
        residual, stages = latents.float(), self._stages()[: num_codebooks or self.num_codebooks]
        found = [stages[0].encode_with_margins(residual)]
        for before, stage in pairwise(stages):
            residual = residual - before.decode(found[-1][0])
            found.append(stage.encode_with_margins(residual))
        codes, margins = zip(*found)
        return torch.cat(codes, 1), torch.stack(margins).amin(0)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' latents `[B, D, T]`, first stage first; `codes [B, K, T]` may have fewer codebooks."""
        parts = [stage.decode(codes[:, i : i + 1]) for i, stage in zip(range(codes.shape[1]), self._stages())]
        return reduce(torch.add, parts)

    def tables(self) -> list[Tensor]:
        """The latents that each stage's codes stand for, `[V, D]` each."""
        device = next(chain(self.parameters(), self.buffers())).device
        every = [torch.arange(stage.codebook_size, device=device) for stage in self._stages()]
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
