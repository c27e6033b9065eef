"""SimVQ (arXiv 2411.02038): a frozen random codebook `C` and one learned linear map `W`; the codes are `C W^T`.

Every code moves at every step because `W` does. The search runs over `C W^T` without gradient and only the chosen
rows are projected again with gradient: the gradient is that of the direct form at a fraction of its memory. Decoding
reads the same projected table as encoding (the reference's `get_codebook_entry` reads the unprojected one). Losses and
the straight-through gradient are those of the stack, `residual`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.quantization.codebook import CodebookStage
from audiocodec.quantization.initialization import shrinking_map, start_map
from audiocodec.quantization.kmeans import drawn, kmeans


class SimVQ(CodebookStage):
    """One codebook of `codebook_size` entries for latents of `codebook_dim`: a stage of `ResidualQuantizer`."""

    def __init__(
        self,
        codebook_size: int,
        codebook_dim: int,
        *,
        init: str = "waterfill",
        distribution: str = "gaussian",
        train_codebook: bool = False,
        train_map: bool = True,
        bias: bool = True,
        bend: bool = False,
        zero_code: bool = False,
        rotation: bool = False,
    ) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            init: of the map, see `quantization.initialization`.
            distribution: `gaussian` or `uniform`, standard deviation `codebook_dim ** -0.5` either way, or `latents`,
                of which so many are kept when the quantizer is started (`init` is then waterfill or covariance).
            train_codebook: let the codebook learn as well (the paper's ablation).
            train_map: let the map learn.
            bias: let the map have an offset.
            bend: let a small network move the rows before the map (an MLP in place of the map); it starts as none.
            zero_code: code 0 is the zero vector and stays it, so that this stage never has to add error.
            rotation: carry the gradient by the rotation trick.
        """
        super().__init__(codebook_size, codebook_dim, rotation=rotation)
        self.init_kind, self.zero_code, self.of_latents = init, zero_code, distribution == "latents"
        if self.of_latents:
            self.init_frames = max(self.init_frames, codebook_size)
        self.codebook = nn.Parameter(_draw(codebook_size, codebook_dim, distribution), requires_grad=train_codebook)
        self.map = nn.Linear(codebook_dim, codebook_dim, bias=bias)
        nn.init.eye_(self.map.weight)
        if bias:
            nn.init.zeros_(self.map.bias)
        self.bend = _bend(codebook_dim) if bend else None
        for part in (self.map, self.bend):
            if part is not None:
                part.requires_grad_(train_map)

    def initialize(self, latents: Tensor) -> None:
        """Set the map from `latents [N, D]`; the codebook stays as drawn, or is drawn from them now."""
        with torch.no_grad():
            latents = latents.float()
            if self.of_latents:
                self.codebook.copy_(drawn(latents, self.codebook_size).half())
            if not self.of_latents:
                weight, bias = start_map(self.init_kind, latents, self.codebook)
            elif self.init_kind == "waterfill":
                weight, bias = shrinking_map(latents, self.codebook_size)
            else:  # covariance: that of the rows already
                return
            self.map.weight.copy_(weight)
            if self.map.bias is not None:
                self.map.bias.copy_(bias)

    def project(self, rows: Tensor) -> Tensor:
        """The map of `rows [..., D]`, bent first where there is a bend; in the rows' precision."""
        return _mapped(self.map, rows if self.bend is None else rows + _bent(self.bend, rows))

    def effective(self) -> Tensor:
        """The codebook `[V, D]` that is searched and decoded with."""
        table = super().effective()
        if self.zero_code:
            table[0] = 0
        return table

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]` with gradient: only the chosen rows are projected."""
        latents = super().lookup(codes)
        return latents * (codes != 0) if self.zero_code else latents


class ClusteredSimVQ(SimVQ):
    """VQ-LC (arXiv 2406.11837): the frozen codebook is the latents' clusters, and the map starts as the identity."""

    def initialize(self, latents: Tensor) -> None:
        """Cluster `latents [N, D]`, rounded to float16 as the drawn codebooks are; the map stays the identity."""
        with torch.no_grad():
            self.codebook.copy_(kmeans(latents, self.codebook_size).half())


def _bend(dim: int) -> nn.Sequential:
    """Two layers whose second starts at zero: at first the rows stay where they are, and every start means the same."""
    last = nn.Linear(dim, dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), last)


def _bent(bend: nn.Sequential, rows: Tensor) -> Tensor:
    first, _, last = bend
    return _mapped(last, F.gelu(_mapped(first, rows)))


def _mapped(layer: nn.Module, rows: Tensor) -> Tensor:
    """A linear layer of `rows [..., D]` in their precision."""
    assert isinstance(layer, nn.Linear)
    bias = None if layer.bias is None else layer.bias.to(rows.dtype)
    return F.linear(rows, layer.weight.to(rows.dtype), bias)


def _draw(size: int, dim: int, distribution: str) -> Tensor:
    """A random codebook of standard deviation `dim ** -0.5`, rounded to float16 so that 16-bit storage is exact."""
    deviation = dim**-0.5
    if distribution == "uniform":
        values = (torch.rand(size, dim) * 2 - 1) * (3**0.5 * deviation)
    else:
        values = torch.randn(size, dim) * deviation
    rounded: Tensor = values.half().float()
    return rounded
