"""Codebooks without a map: VQ-VAE's (arXiv 1711.00937), its moving-average form, and clusters that stay as they are.

Losses and gradients are those of every nearest-code stage (`base`, `codebook`). Only the chosen codes move: what SimVQ
is compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocodec.quantization.base import StageOutput
from audiocodec.quantization.codebook import CodebookStage
from audiocodec.quantization.kmeans import kmeans

MIN_COUNT = 1e-8  # a code that was used so little, in frames a step, stays where it is


class VQ(CodebookStage):
    """A learned codebook, moved by the gradient of the codebook loss."""

    def __init__(self, codebook_size: int, codebook_dim: int, *, init: str = "uniform", rotation: bool = False) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            init: see `initial_codebook`.
            rotation: carry the gradient by the rotation trick.
        """
        super().__init__(codebook_size, codebook_dim, rotation=rotation)
        self.init_kind = init
        self.codebook = nn.Parameter(torch.zeros(codebook_size, codebook_dim))

    def initialize(self, latents: Tensor) -> None:
        """Set the codebook from `latents [N, D]`."""
        with torch.no_grad():
            self.codebook.copy_(initial_codebook(self.init_kind, latents, self.codebook_size))

    def project(self, rows: Tensor) -> Tensor:
        """The rows `[..., D]` themselves."""
        return rows


class EMAVQ(CodebookStage):
    """A codebook that follows the mean of what chose each code (arXiv 1711.00937, appendix A.1).

    With `n` frames that chose a code, summing to `s`, and decay `g`: count N <- g N + (1 - g) n and
    code e <- (g N e + (1 - g) s) / N, the new N below the line. There is no codebook loss.
    """

    learns_from_latents = True
    codebook: Tensor
    counts: Tensor

    def __init__(
        self,
        codebook_size: int,
        codebook_dim: int,
        *,
        init: str = "kmeans",
        decay: float = 0.99,
        replace_below: float = 0.0,
        rotation: bool = False,
    ) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            init: see `initial_codebook`.
            decay: share g of the old averages that a step keeps.
            replace_below: codes whose count falls below move to latents of the batch (EnCodec, arXiv 2210.13438);
                0 leaves them.
            rotation: carry the gradient by the rotation trick.
        """
        super().__init__(codebook_size, codebook_dim, rotation=rotation)
        self.init_kind, self.decay, self.replace_below = init, decay, replace_below
        self.register_buffer("codebook", torch.zeros(codebook_size, codebook_dim))
        self.register_buffer("counts", torch.ones(codebook_size))

    def initialize(self, latents: Tensor) -> None:
        """Set the codebook from `latents [N, D]`; every code counts as seen once."""
        self.codebook.copy_(initial_codebook(self.init_kind, latents, self.codebook_size))
        self.counts.fill_(1)

    def project(self, rows: Tensor) -> Tensor:
        """The rows `[..., D]` themselves."""
        return rows

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered: a commitment loss and no codebook loss."""
        output = super().forward(residual, used)
        return output._replace(codebook_loss=torch.zeros_like(output.codebook_loss))

    @torch.no_grad()
    def update(self, latents: Tensor, codes: Tensor, seed: int) -> None:
        """Move the averages; `latents [N, D]` and `codes [N]` are those of the step, of all processes."""
        share = 1 - self.decay
        sizes = torch.zeros_like(self.counts).index_add_(0, codes, self.counts.new_ones(len(codes)))
        sums = torch.zeros_like(self.codebook).index_add_(0, codes, latents.float())
        kept = self.decay * self.counts
        counts = kept + share * sizes
        moved = (kept[:, None] * self.codebook + share * sums) / counts.clamp(min=MIN_COUNT)[:, None]
        self.codebook.copy_(torch.where((counts >= MIN_COUNT)[:, None], moved, self.codebook))
        self.counts.copy_(counts)
        if self.replace_below > 0:
            self._replace(latents.float(), seed)

    def _replace(self, latents: Tensor, seed: int) -> None:
        """Move the least used of the codes under the threshold, each to a latent of its own."""
        drawn = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed))[: self.codebook_size]
        counts, where = self.counts.topk(len(drawn), largest=False)
        dead = counts < self.replace_below
        self.codebook[where] = torch.where(dead[:, None], latents[drawn.to(latents.device)], self.codebook[where])
        self.counts[where] = torch.where(dead, self.replace_below, counts)


class KMeans(CodebookStage):
    """Clusters of the latents that nothing moves any more: the second-stage tokenizer of DiGIT (arXiv 2410.12490).

    No loss and no gradient to what made the latents: from here on only the decoder learns.
    """

    codebook: Tensor

    def __init__(self, codebook_size: int, codebook_dim: int) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
        """
        super().__init__(codebook_size, codebook_dim)
        self.straight_through = False
        self.register_buffer("codebook", torch.zeros(codebook_size, codebook_dim))

    def initialize(self, latents: Tensor) -> None:
        """Cluster `latents [N, D]`, rounded to float16: 16-bit storage is exact."""
        self.codebook.copy_(kmeans(latents, self.codebook_size).half())

    def project(self, rows: Tensor) -> Tensor:
        """The rows `[..., D]` themselves."""
        return rows

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered, without loss."""
        codes = self.encode(residual)
        nothing = residual.new_zeros(())
        return StageOutput(codes, self.decode(codes), nothing, nothing)

    def carry(self, residual: Tensor, output: StageOutput) -> Tensor:
        """The chosen codes, without gradient."""
        return output.chosen.detach()


def initial_codebook(kind: str, latents: Tensor, size: int) -> Tensor:
    """A first codebook `[size, D]`.

    Args:
        kind: `uniform` (within 1 / size of zero, as VQ-VAE), `latents` (drawn from them) or `kmeans` (their clusters).
        latents: `[N, D]`.
        size: number of codes V.
    """
    if kind == "uniform":
        return ((torch.rand(size, latents.shape[1]) * 2 - 1) / size).to(latents.device)
    return kmeans(latents, size, rounds=0) if kind == "latents" else kmeans(latents, size)
