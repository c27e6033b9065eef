"""What a model tells about its codec that its token files do not: configuration, latency, what its codes stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiocodec.errors import FingerprintMismatch, TokenFileError
from audiocodec.evaluation.pairing import Entry
from audiocodec.evaluation.summary_file import ModelSummary
from audiocodec.tokens.token_file import TokenFile

if TYPE_CHECKING:
    from audiocodec.loading import Model


@dataclass(frozen=True)
class ModelFacts:
    """A codec: what summaries say of it, and the latents that each codebook's entries stand for, [V, D] each."""

    summary: ModelSummary
    codebooks: tuple[npt.NDArray[np.floating], ...]

    @classmethod
    def of(cls, model: Model) -> ModelFacts:
        """Load a model, on torch, and look."""
        codec, header = model.codec, model.header
        latency_ms = 1000 * codec.latency_samples / codec.sample_rate
        return cls(
            ModelSummary(
                model.config.name, header.config_fingerprint, codec.fingerprint.hex(), latency_ms, header.warning
            ),
            tuple(table.float().cpu().numpy() for table in codec.quantizer.tables()),
        )

    def check(self, entries: Iterable[Entry]) -> None:
        """Look into the first valid token file.

        Raises:
            FingerprintMismatch: another model made it.
        """
        for entry in entries:
            try:
                found = TokenFile.read(Path(entry.tokens)).fingerprint.hex() if entry.tokens is not None else None
            except TokenFileError:
                continue
            if found is not None and found != self.summary.fingerprint:
                raise FingerprintMismatch(
                    f"{entry.tokens}: made by the codec {found}, not by {self.summary.fingerprint}"
                )
            if found is not None:
                return
