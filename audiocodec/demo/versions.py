"""What a recording can be heard as: each model at each of its bitrates, and Opus where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from audiocodec import model_places
from audiocodec.codec.files import decode_tokens
from audiocodec.codec.interface import FloatArray
from audiocodec.demo.recording import Recording
from audiocodec.demo.watch import Watch
from audiocodec.evaluation.systems.opus import Opus
from audiocodec.loading import Model
from audiocodec.tokens import priors
from audiocodec.tokens.prior import Prior
from audiocodec.tokens.token_file import TokenFile

OPUS_KBPS = (6, 12)


@dataclass(frozen=True)
class Coded:
    """A recording after one version.

    Attributes:
        wav: samples [S] at the recording's `heard_rate`.
        data: the file.
        extension: of the file, with the dot.
        payload_bits: of the file, without headers.
        tokens: None where it has none.
    """

    wav: FloatArray
    data: bytes
    extension: str
    payload_bits: int
    tokens: TokenFile | None = None


class Version(Protocol):
    """One of the choices of the page."""

    @property
    def label(self) -> str:
        """What people read."""

    def code(self, recording: Recording, watch: Watch) -> Coded:
        """Encode and decode; raises `AudioCodecError` when that fails."""


@dataclass(frozen=True)
class ModelVersion:
    """A model with its first `num_codebooks` codebooks; `prior` is None where none is at hand."""

    name: str
    model: Model
    num_codebooks: int
    prior: Prior | None

    @property
    def label(self) -> str:
        """The model, its codebooks where one can choose, and its bitrate."""
        held = self.model.codebook_sizes
        bits = sum((size - 1).bit_length() for size in held[: self.num_codebooks])
        some = f" {self.num_codebooks} of {len(held)}" if len(held) > 1 else ""
        return f"{self.name}{some}, {bits * self.model.sample_rate / self.model.hop_length / 1000:.3g} kbps"

    def code(self, recording: Recording, watch: Watch) -> Coded:
        """See `Version.code`."""
        tokens = recording.encoded(self.model, watch).truncate(self.num_codebooks)
        wav, _ = decode_tokens(self.model.coder, tokens, recording.heard_rate, lambda *_: watch())
        return Coded(wav, tokens.to_bytes(), ".act", tokens.payload_bits, tokens)

    def compressed_bytes(self, recording: Recording, watch: Watch) -> int | None:
        """Bytes of the token file compressed by the prior; None without one."""
        if self.prior is None:
            return None
        tokens = recording.encoded(self.model, watch).truncate(self.num_codebooks)
        return len(tokens.to_bytes(self.prior))


@dataclass(frozen=True)
class OpusVersion:
    """Opus by the program that is installed."""

    opus: Opus

    @property
    def label(self) -> str:
        """Name and the bitrate that is asked for."""
        return f"Opus, {self.opus.kbps:g} kbps"

    def code(self, recording: Recording, watch: Watch) -> Coded:
        """See `Version.code`."""
        watch()
        coded = self.opus.code(recording.heard, recording.heard_rate)
        return Coded(coded.wav, coded.data, self.opus.extension, coded.payload_bits)


def model_versions(model: str, threads: int | None = None) -> list[ModelVersion]:
    """A model with 1, 2, 4, ... and all of its codebooks; onnxruntime runs it.

    Args:
        model: see `loading.load`.
        threads: of the networks; None: onnxruntime's choice.

    Raises:
        CheckpointError, UsageError: there is no such model, or it cannot run.
    """
    found = Model(model, runtime="onnx", threads=threads)
    name = model_places.name_of(found.header.path) or model
    held = len(found.codebook_sizes)
    counts = sorted({held, *(2**n for n in range(held.bit_length()) if 2**n <= held)})
    return [ModelVersion(name, found, count, _prior(found, count)) for count in counts]


def opus_versions() -> tuple[list[OpusVersion], str]:
    """(Opus at its bitrates, why there is none or "")."""
    found = [Opus(kbps) for kbps in OPUS_KBPS]
    if found[0].problems():
        return [], "Opus is not here to compare with: install the Debian package opus-tools, or ffmpeg with libopus."
    return [OpusVersion(opus) for opus in found], ""


def all_versions(models: Sequence[str]) -> tuple[dict[str, Version], str]:
    """All versions in the order of the page, by what requests call them: `1`, `2`, ...; and a note about what is missing."""
    opus, note = opus_versions()
    ours = [version for model in dict.fromkeys(models) for version in model_versions(model)]
    return numbered([*ours, *opus]), note


def numbered(versions: Sequence[Version]) -> dict[str, Version]:
    """Versions by what requests call them."""
    return {str(number): version for number, version in enumerate(versions, 1)}


def _prior(model: Model, num_codebooks: int) -> Prior | None:
    prior = priors.at_hand(model.fingerprint)
    return prior if prior and len(prior.config.codebook_sizes) == num_codebooks else None
