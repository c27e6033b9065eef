"""A stage that chooses the nearest row of an effective codebook: what VQ, its relatives and SimVQ have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.constants import FRAME_TILE
from audiocodec.quantization.base import Stage, StageOutput
from audiocodec.quantization.gradient import rotate_through
from audiocodec.quantization.search import half_squares, nearest_codes, nearest_with_margins


class CodebookStage(Stage):
    """Nearest code in `effective()`, by squared distance; `project` says what becomes of the stored rows."""

    codebook: Tensor

    def __init__(self, codebook_size: int, codebook_dim: int, *, rotation: bool = False) -> None:
        """Build the part that all share.

        Args:
            codebook_size: number of codes V.
            codebook_dim: width D of a latent.
            rotation: carry the gradient by the rotation trick instead of straight through.
        """
        super().__init__()
        self.codebook_size, self.codebook_dim = codebook_size, codebook_dim
        self.rotation, self.straight_through = rotation, not rotation
        self._cache: tuple[tuple[int, ...], Tensor, Tensor] | None = None

    @abstractmethod
    def project(self, rows: Tensor) -> Tensor:
        """Codes `[..., D]` of stored `rows [..., D]`, with gradient to what is learned."""

    def effective(self) -> Tensor:
        """The codebook `[V, D]` that is searched and decoded with."""
        return self.project(self.codebook)

    def table(self) -> tuple[Tensor, Tensor]:
        """The effective codebook `[V, D]` and half its squared norms `[V]`, kept until a weight changes."""
        tensors = [*self.parameters(), *self.buffers()]
        # Weights made in inference mode count no versions and could change unseen: no cache for them.
        counted = not any(t.is_inference() for t in tensors)
        key = tuple(n for t in tensors for n in (t._version, t.data_ptr())) if counted else ()
        if self._cache is None or self._cache[0] != key or not counted:
            self._cache = None  # never two tables at once
            with torch.no_grad(), torch.autocast(self.codebook.device.type, enabled=False):
                table = self.effective().detach()
                self._cache = (key, table, half_squares(table))
        return self._cache[1], self._cache[2]

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]` with gradient: only the chosen rows are projected."""
        return self.project(F.embedding(codes[:, 0], self.codebook)).transpose(1, 2)

    def encode(self, latents: Tensor) -> Tensor:
        """Codes `[B, 1, T]` of `latents [B, D, T]`, without gradient."""
        table = self.table()
        parts = [nearest_codes(_rows(x), *table).reshape(len(x), 1, -1) for x in latents.split(FRAME_TILE, -1)]
        return torch.cat(parts, -1)

    def encode_with_margins(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Codes `[B, 1, T]`, and how far each latent may move before its code changes, `[B, T]`."""
        table = self.table()
        parts = [nearest_with_margins(_rows(x), *table) for x in latents.split(FRAME_TILE, -1)]
        codes, margins = (torch.cat([v.reshape(len(latents), -1) for v in values], -1) for values in zip(*parts))
        return codes.unsqueeze(1), margins

    def decode(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, T]` of `codes [B, 1, T]`."""
        return F.embedding(codes[:, 0], self.table()[0]).transpose(1, 2)

    def carry(self, residual: Tensor, output: StageOutput) -> Tensor:
        """The chosen codes with the gradient of a rotation, or straight through."""
        return rotate_through(residual, output.chosen) if self.rotation else super().carry(residual, output)


def _rows(latents: Tensor) -> Tensor:
    """`[B, D, T]` as rows `[B * T, D]`, a copy: made of a few frames at a time, so that memory does not grow with T."""
    return latents.detach().float().transpose(1, 2).flatten(0, 1)
