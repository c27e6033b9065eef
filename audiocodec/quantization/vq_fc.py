"""Factorised codes (improved VQGAN, arXiv 2110.04627): nearest in few dimensions, latents and codes on the unit sphere.

Losses are those of VQ-VAE between unit vectors. DAC (arXiv 2306.06546) normalises for the search only; here, as in the
source, what is decoded is normalised, too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.quantization.base import StageOutput
from audiocodec.quantization.gradient import rotate_through
from audiocodec.quantization.projected import ProjectedStage
from audiocodec.quantization.search import half_squares, nearest_codes
from audiocodec.quantization.vq import initial_codebook


class FactorisedVQ(ProjectedStage):
    """A learned codebook of unit vectors in `low_dim` dimensions."""

    def __init__(
        self,
        codebook_size: int,
        codebook_dim: int,
        *,
        low_dim: int = 8,
        init: str = "uniform",
        rotation: bool = False,
    ) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            low_dim: dimensions n of a code.
            init: see `vq.initial_codebook`.
            rotation: carry the gradient by the rotation trick, in the low dimensions.
        """
        super().__init__(codebook_size, codebook_dim, low_dim)
        self.init_kind, self.rotation = init, rotation
        self.codebook = nn.Parameter(torch.randn(codebook_size, low_dim))

    def squash(self, low: Tensor) -> Tensor:
        """`low [..., n]` at norm 1."""
        return F.normalize(low, dim=-1)

    def start_codes(self, low: Tensor) -> None:
        """Set the codebook from unit vectors `low [N, n]`."""
        self.codebook.copy_(initial_codebook(self.init_kind, low, self.codebook_size))

    def choose(self, low: Tensor) -> Tensor:
        """Codes `[...]` of unit vectors `low [..., n]`."""
        with torch.no_grad():
            table = F.normalize(self.codebook, dim=-1)
            codes = nearest_codes(low.detach().flatten(0, -2), table, half_squares(table))
            return codes.reshape(low.shape[:-1])

    def values(self, codes: Tensor) -> Tensor:
        """Unit vectors `[..., n]` of `codes [...]`, with gradient to the codebook."""
        return F.normalize(F.embedding(codes, self.codebook), dim=-1)

    def through(self, low: Tensor, values: Tensor) -> Tensor:
        """`values [B, T, n]` with a gradient to `low`."""
        if not self.rotation:
            return super().through(low, values)
        return rotate_through(low.transpose(1, 2), values.transpose(1, 2)).transpose(1, 2)

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered, with losses between unit vectors (energy 1, so 1.0 is the loss of codes at zero)."""
        low = self.low(residual)
        codes = self.choose(low)
        values = self.values(codes)
        codebook_loss = ((values - low.detach()) * used).square().sum(-1).mean()
        commitment_loss = ((values.detach() - low) * used).square().sum(-1).mean()
        codes = codes.unsqueeze(1)
        return StageOutput(codes, self.lookup(codes), codebook_loss, commitment_loss)
