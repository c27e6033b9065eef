"""What a model tells about its codec that its token files do not: configuration, latency, what its codes stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import FingerprintMismatch, TokenFileError
from audiocodec.evaluation.pairing import Entry
from audiocodec.tokens.token_file import TokenFile

if TYPE_CHECKING:
    from audiocodec.codec.torch import Codec


@dataclass(frozen=True)
class ModelFacts:
    """A codec.

    Attributes:
        name: that its configuration gives it.
        config_fingerprint: hash of the whole configuration, hexadecimal.
        fingerprint: of its weights and sizes, hexadecimal, as token files have it.
        latency_ms: algorithmic latency: audio that must be known, from an instant on, before it can be put out.
        codebooks: the latents that each codebook's entries stand for, [V, D] each.
    """

    name: str
    config_fingerprint: str
    fingerprint: str
    latency_ms: float
    codebooks: tuple[npt.NDArray[np.floating], ...]

    @classmethod
    def of(cls, codec: Codec, name: str, config: str) -> ModelFacts:
        """Those of a codec with a configuration's name and text."""
        return cls(
            name,
            hashlib.sha256(config.encode()).hexdigest()[:16],
            codec.fingerprint.hex(),
            1000 * codec.latency_samples / codec.sample_rate,
            tuple(table.float().cpu().numpy() for table in codec.quantizer.tables()),
        )

    def describe(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "config_fingerprint": self.config_fingerprint,
            "fingerprint": self.fingerprint,
            "latency_ms": self.latency_ms,
        }

    def check(self, entries: Iterable[Entry]) -> None:
        """Look into the first sound token file.

        Raises:
            FingerprintMismatch: another model made it.
        """
        for entry in entries:
            try:
                found = TokenFile.read(Path(entry.tokens)).fingerprint.hex() if entry.tokens is not None else None
            except TokenFileError:
                continue
            if found is not None and found != self.fingerprint:
                raise FingerprintMismatch(f"{entry.tokens}: made by the codec {found}, not by {self.fingerprint}")
            if found is not None:
                return
