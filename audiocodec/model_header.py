"""What is known of a model without its weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.plain import config_from_json
from audiocodec.errors import CheckpointError
from audiocodec.nn.matrices import codebooks, matrices

if TYPE_CHECKING:
    from audiocodec.config.schema import Config

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelHeader:
    """What is known of a model without its weights.

    Attributes:
        path: of the model.
        fingerprint: of its weights and sizes, hexadecimal, as token files have it.
        config_text: its configuration as it is stored.
        notes: JSON object stored with it.
        bytes: on disk.
        latent_error_text: measured error of its float32 latents as it is stored.
    """

    path: str
    fingerprint: str
    config_text: str
    notes: Mapping[str, Any]
    bytes: int
    latent_error_text: str

    @cached_property
    def config(self) -> Config:
        """The configuration.

        Raises:
            ConfigError: it makes no sense to this version.
            CheckpointError: the file is an early one, whose configuration is YAML, and PyYAML is not installed.
        """
        source = f"{self.path} (header)"
        if self.config_text.startswith("{"):
            return config_from_json(self.config_text, source)
        try:
            from audiocodec.config.load import config_from_text
        except ModuleNotFoundError as error:
            raise CheckpointError(
                f"{self.path}: an early model file, which needs PyYAML; install it, or have the file written "
                "anew by `audiocodec export`"
            ) from error
        return config_from_text(self.config_text, source)

    @cached_property
    def latent_error(self) -> LatentError:
        """The measured error of its float32 latents.

        Raises:
            CheckpointError: it makes no sense to this version.
        """
        try:
            return LatentError.from_json(self.latent_error_text)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: latent_error in the header: {error}") from error

    @property
    def warning(self) -> str:
        """What everybody should know who sees results of it; empty: nothing."""
        if self.notes.get("quantizer_started") is not False:
            return ""
        return f"saved at step {self.notes.get('step')}, before quantization started: its tokens mean nothing yet"

    @property
    def config_fingerprint(self) -> str:
        """Hash of the configuration as it is stored, hexadecimal."""
        return hashlib.sha256(self.config_text.encode()).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """What only this kind of model tells, ready for JSON."""
        return {}


@dataclass(frozen=True)
class FileHeader(ModelHeader):
    """Header of a model file; `shapes` of all weights, by name."""

    shapes: Shapes = field(repr=False, compare=False)

    @property
    def parameters(self) -> int:
        """How many values all weights have."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def facts(self) -> dict[str, Any]:
        """What only model files tell, ready for JSON."""
        return {"parameters": self.parameters}

    def check_matrices(self) -> None:
        """Refuse a configuration that the weights are not of, before anything is built.

        Raises:
            CheckpointError: matrices of encoder or decoder that lack, are left over or have another shape.
        """
        parts = ("encoder.", "decoder.")
        own = {name: shape for name, shape in self.shapes.items() if name.startswith(parts) and len(shape) > 1}
        own |= {name: shape for name, shape in self.shapes.items() if name.endswith(".codebook")}
        check_shapes(own, {**matrices(self.config), **codebooks(self.config)}, self.path)


def check_shapes(found: Shapes, expected: Shapes, source: str) -> None:
    """Refuse shapes that are not those expected, by name; all differences are reported at once.

    Raises:
        CheckpointError: names missing or left over, or shapes that differ.
    """
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    shapes = [
        f"{name} is {list(found[name])}, need {list(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if missing or unknown or shapes:
        said = [f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []
        said += [f"{len(unknown)} unknown ({', '.join(unknown[:3])})"] if unknown else []
        raise CheckpointError(f"{source}: weights do not fit this configuration: {'; '.join(said + shapes[:5])}")
