"""Fixed scale of the latents: centred, unit RMS, nothing learned.

Without it encoder and codebook can shrink together: the quantization loss falls to zero while a decoder that
normalises its input notices nothing, and one code is left within a few hundred steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOMENTUM = 0.01
MIN_RMS = 1e-6


class LatentScale(nn.Module):
    """Subtract the mean of each dimension and divide by the RMS over all of them.

    Running statistics follow the training; inference uses them. So does training once latents are quantized, for its
    values: accumulated micro-batches and several processes see what the large batch sees. The gradient always goes
    through the batch's own statistics (batch renormalisation, arXiv 1702.03275). Were they constants, nothing would hold
    the encoder's size: every step adds a little to it, and it grows for ever. Switched off, which is there to be compared
    with, the scale passes latents on and its statistics stay those of doing nothing.
    """

    mean: Tensor
    rms: Tensor
    batches: Tensor

    def __init__(self, dim: int, active: bool = True) -> None:
        super().__init__()
        self.active = active
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("rms", torch.ones(1))
        self.register_buffer("batches", torch.zeros(1))

    def forward(self, latents: Tensor, settled: bool = False) -> Tensor:
        """Scale `latents [B, D, T]`; same shape, float32.

        Args:
            latents: as the encoder gives them.
            settled: in training give the values that the running statistics, as they were before this batch, give.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            if not (self.training and self.active):
                return self.running(latents)
            mean = latents.mean((0, 2))
            centred = latents - mean[:, None]
            rms = centred.square().mean().add(MIN_RMS**2).sqrt()
            own = centred / rms
            if settled:
                stretch, shift = (rms / self.rms).detach(), ((mean - self.mean) / self.rms).detach()
                own = own * stretch + shift[:, None]
            self._update(mean.detach(), rms.detach())
            return own

    def running(self, latents: Tensor) -> Tensor:
        """Scale `latents [B, D, T]` by the running statistics, which stay as they are."""
        return (latents.float() - self.mean[:, None]) / self.rms

    @torch.no_grad()
    def _update(self, mean: Tensor, rms: Tensor) -> None:
        finite = (
            torch.isfinite(mean).all() & torch.isfinite(rms).all()
        )  # else the trainer skips the step: no trace here
        self.batches.add_(finite).clamp_(max=1 / MOMENTUM)  # a longer count changes nothing, and float16 ends at 65,504
        share = torch.clamp(1 / self.batches, MOMENTUM, 1.0)
        self.mean.lerp_(torch.where(finite, mean, self.mean), share)
        self.rms.lerp_(torch.where(finite, rms, self.rms), share)

    @torch.no_grad()
    def calibrate(self, latents: list[Tensor]) -> None:
        """Set the running statistics to those of `latents`, raw encoder outputs `[B, D, T]` each."""
        if not self.active:
            return
        flat = torch.cat([x.float().transpose(1, 2).flatten(0, 1) for x in latents])
        mean = flat.mean(0)
        self.mean.copy_(mean)
        self.rms.copy_((flat - mean).square().mean().add(MIN_RMS**2).sqrt().reshape(1))

    @torch.no_grad()
    def settle(self) -> None:
        """Let the running statistics move as slowly as after many batches."""
        self.batches.clamp_(min=1 / MOMENTUM)
