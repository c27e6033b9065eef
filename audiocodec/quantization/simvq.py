"""SimVQ (arXiv 2411.02038): a frozen random codebook `C` and one learned linear map `W`; the codes are `C W^T`.

Every code moves at every step because `W` does. The search runs over `C W^T` without gradient and only the chosen
rows are projected again with gradient: the gradient is that of the direct form at a fraction of its memory. Decoding
reads the same projected table as encoding (the reference's `get_codebook_entry` reads the unprojected one). Losses and
the straight-through gradient are those of the stack, `residual`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audiocodec.quantization.codebook import CodebookStage
from audiocodec.quantization.start import isotropic_map, waterfill_map


class SimVQ(CodebookStage):
    """One codebook of `codebook_size` entries for latents of `codebook_dim`: a stage of `ResidualQuantizer`."""

    def __init__(
        self,
        codebook_size: int,
        codebook_dim: int,
        *,
        start: str = "waterfill",
        distribution: str = "gaussian",
        train_codebook: bool = False,
        train_map: bool = True,
        bias: bool = True,
        rotation: bool = False,
    ) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            start: `waterfill` or `isotropic`, see `quantization.start`.
            distribution: `gaussian` or `uniform`, standard deviation `codebook_dim ** -0.5` either way.
            train_codebook: let the codebook learn as well (the paper's ablation).
            train_map: let the map learn.
            bias: let the map have an offset.
            rotation: carry the gradient by the rotation trick.
        """
        super().__init__(codebook_size, codebook_dim, rotation=rotation)
        self.start_kind = start
        self.codebook = nn.Parameter(_draw(codebook_size, codebook_dim, distribution), requires_grad=train_codebook)
        self.map = nn.Linear(codebook_dim, codebook_dim, bias=bias)
        nn.init.eye_(self.map.weight)
        if bias:
            nn.init.zeros_(self.map.bias)
        self.map.requires_grad_(train_map)

    def start(self, latents: Tensor) -> None:
        """Set the map from `latents [N, D]`; the codebook stays as drawn."""
        make = waterfill_map if self.start_kind == "waterfill" else isotropic_map
        with torch.no_grad():
            weight, bias = make(latents.float(), self.codebook)
            self.map.weight.copy_(weight)
            if self.map.bias is not None:
                self.map.bias.copy_(bias)

    def project(self, rows: Tensor) -> Tensor:
        """The linear map of `rows [..., D]`."""
        mapped: Tensor = self.map(rows)
        return mapped


def _draw(size: int, dim: int, distribution: str) -> Tensor:
    """A random codebook of standard deviation `dim ** -0.5`, rounded to float16 so that 16-bit storage is exact."""
    deviation = dim**-0.5
    if distribution == "uniform":
        values = (torch.rand(size, dim) * 2 - 1) * (3**0.5 * deviation)
    else:
        values = torch.randn(size, dim) * deviation
    rounded: Tensor = values.half().float()
    return rounded
