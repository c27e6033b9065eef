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

from audiocodec.quantization.base import Stage
from audiocodec.quantization.search import half_squares, nearest_codes
from audiocodec.quantization.start import isotropic_map, waterfill_map


class SimVQ(Stage):
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
        """
        super().__init__()
        self.codebook_size, self.codebook_dim, self.start_kind = codebook_size, codebook_dim, start
        self.codebook = nn.Parameter(_draw(codebook_size, codebook_dim, distribution), requires_grad=train_codebook)
        self.map = nn.Linear(codebook_dim, codebook_dim, bias=bias)
        nn.init.eye_(self.map.weight)
        if bias:
            nn.init.zeros_(self.map.bias)
        self.map.requires_grad_(train_map)
        self._cache: tuple[tuple[int, ...], Tensor, Tensor] | None = None

    def start(self, latents: Tensor) -> None:
        """Set the map from `latents [N, D]`; the codebook stays as drawn."""
        make = waterfill_map if self.start_kind == "waterfill" else isotropic_map
        with torch.no_grad():
            weight, bias = make(latents.float(), self.codebook)
            self.map.weight.copy_(weight)
            if self.map.bias is not None:
                self.map.bias.copy_(bias)

    def table(self) -> tuple[Tensor, Tensor]:
        """The effective codebook `[V, D]` and half its squared norms `[V]`, kept until a weight changes."""
        tensors = [self.codebook, self.map.weight] + ([self.map.bias] if self.map.bias is not None else [])
        # Weights made in inference mode count no versions and could change unseen: no cache for them.
        counted = not any(t.is_inference() for t in tensors)
        key = tuple(n for t in tensors for n in (t._version, t.data_ptr())) if counted else ()
        if self._cache is None or self._cache[0] != key or not counted:
            self._cache = None  # never two tables at once
            with torch.no_grad(), torch.autocast(self.codebook.device.type, enabled=False):
                table = self.map(self.codebook)
                self._cache = (key, table, half_squares(table))
        return self._cache[1], self._cache[2]

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]` with gradient: only the chosen rows are projected."""
        latents: Tensor = self.map(F.embedding(codes[:, 0], self.codebook)).transpose(1, 2)
        return latents

    def encode(self, latents: Tensor) -> Tensor:
        """Codes `[B, 1, T]` of `latents [B, D, T]`, without gradient."""
        flat = latents.detach().float().transpose(1, 2).flatten(0, 1)
        return nearest_codes(flat, *self.table()).reshape(latents.shape[0], 1, latents.shape[2])

    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`."""
        latents: Tensor = F.embedding(codes[:, 0], self.table()[0]).transpose(1, 2)
        return latents


def _draw(size: int, dim: int, distribution: str) -> Tensor:
    """A random codebook of standard deviation `dim ** -0.5`, rounded to float16 so that 16-bit storage is exact."""
    deviation = dim**-0.5
    if distribution == "uniform":
        values = (torch.rand(size, dim) * 2 - 1) * (3**0.5 * deviation)
    else:
        values = torch.randn(size, dim) * deviation
    rounded: Tensor = values.half().float()
    return rounded
