"""Models on disk: one safetensors file with the weights, the configuration and a fingerprint. No pickle.

A model file holds folded weights, ready for inference, in float32 or float16 (the codebook is drawn so that 16 bits
hold it exactly). Files are read by the library safetensors; `describe` reads only the header and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.plain import config_from_json, config_to_json
from audiocodec.errors import CheckpointError
from audiocodec.files import replacing
from audiocodec.model_places import resolve

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.codec.torch import Codec
    from audiocodec.config.schema import Config

FORMAT = "audiocodec-model-1"


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
    def config_fingerprint(self) -> str:
        """Hash of the configuration as it is stored, hexadecimal."""
        return hashlib.sha256(self.config_text.encode()).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """What only this kind of model tells, ready for JSON."""
        return {}


@dataclass(frozen=True)
class FileHeader(ModelHeader):
    """Header of a model file; `parameters` counts all weights."""

    parameters: int

    def facts(self) -> dict[str, Any]:
        """What only model files tell, ready for JSON."""
        return {"parameters": self.parameters}


def describe(model: str | Path | None = None) -> FileHeader:
    """The header of a model file; the weights are not read.

    Args:
        model: see `resolve`.

    Raises:
        CheckpointError: not a model file of this package.
    """
    path = resolve(model)
    metadata, parameters = _read_header(path)
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(f"{path}: not an audiocodec model (format {found!r}, need {FORMAT!r}), or damaged")
    if metadata.get("digest") != _digest(metadata):
        raise CheckpointError(f"{path}: the header contradicts its own checksum: the file is damaged")
    notes, error = json.loads(metadata["notes"]), metadata.get("latent_error", "[]")
    size = path.stat().st_size
    return FileHeader(str(path), metadata["fingerprint"], metadata["config"], notes, size, error, parameters)


def state_latent_error(path: str | Path, error: LatentError) -> None:
    """Write what was measured into the header of a model file; weights and fingerprint stay as they are.

    Raises:
        CheckpointError: not a model file, or it cannot be written.
    """
    describe(path)
    data = Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    metadata = header["__metadata__"]
    metadata["latent_error"] = error.to_json()
    metadata["digest"] = _digest(metadata)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # weights stay aligned
    write_atomically(path, lambda to: to.write_bytes(struct.pack("<Q", len(text)) + text + data[end:]))


def save(
    codec: Codec, config: Config, path: str | Path, *, half: bool = False, notes: dict[str, Any] | None = None
) -> None:
    """Write a model file for inference, whole or not at all.

    Args:
        codec: any codec of `config`; it is not changed.
        config: stored with the weights.
        path: the file; its folder must exist.
        half: store float16 (half the size; the weights are rounded).
        notes: JSON object kept in the header.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from safetensors.torch import save as to_file

    frozen = _frozen_copy(codec, config)
    state = {name: tensor.half() if half else tensor for name, tensor in frozen.state_dict().items()}
    frozen.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    metadata = {
        "format": FORMAT,
        "config": config_to_json(config),
        "fingerprint": frozen.fingerprint.hex(),
        "notes": json.dumps(notes or {}),
    }
    if codec.near_ties.error.seen and not half:  # rounded weights are those of another encoder
        metadata["latent_error"] = codec.near_ties.error.to_json()
    metadata["digest"] = _digest(metadata)
    write_atomically(path, lambda temporary: temporary.write_bytes(to_file(state, metadata)))


def load(model: str | Path | None = None, device: str = "cpu") -> Codec:
    """Load a codec for inference.

    Args:
        model: see `resolve`; None is the model inside the package.
        device: where to put it, `cpu`, `cuda`, ...

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit their configuration.
    """
    from safetensors.torch import load_file

    from audiocodec.build import build_codec

    path = resolve(model)
    header = describe(path)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error
    codec = build_codec(header.config, norm=False)
    load_state(codec, {name: tensor.float() for name, tensor in state.items()}, str(path))
    codec.freeze()
    codec.near_ties.error = header.latent_error
    check_weights(path, codec.fingerprint, header.fingerprint)
    return codec.to(device)


def read_weights(path: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a model file as float32, without torch.

    Raises:
        CheckpointError: the file is damaged or cut short.
    """
    from safetensors.numpy import load_file

    try:
        return {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error


def check_weights(path: str | Path, found: bytes, stated: str) -> None:
    """Refuse weights whose fingerprint is not the one that the header states, in hex.

    Raises:
        CheckpointError: naming both.
    """
    if found.hex() != stated:
        raise CheckpointError(
            f"{path}: the weights have fingerprint {found.hex()}, the header says {stated}: the file is damaged"
        )


def load_state(module: Any, state: dict[str, Tensor], source: str) -> None:
    """Load `state` into `module`, whole; every name and shape that does not fit is reported at once.

    Raises:
        CheckpointError: names missing or left over, or shapes that differ.
    """
    expected = module.state_dict()
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    shapes = [
        f"{name} is {list(state[name].shape)}, need {list(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    if missing or unknown or shapes:
        found = [f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []
        found += [f"{len(unknown)} unknown ({', '.join(unknown[:3])})"] if unknown else []
        raise CheckpointError(f"{source}: weights do not fit this configuration: {'; '.join(found + shapes[:5])}")
    module.load_state_dict(state)


def write_atomically(path: str | Path, write: Any) -> None:
    """Call `write(temporary path)` and move the result to `path`; on failure nothing is left.

    Raises:
        CheckpointError: the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            write(temporary)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write: {error}") from error


def _frozen_copy(codec: Codec, config: Config) -> Codec:
    from audiocodec.build import build_codec

    copy = build_codec(config, norm=any("parametrizations" in name for name in codec.state_dict()))
    copy.load_state_dict({name: tensor.cpu() for name, tensor in codec.state_dict().items()})
    return copy.freeze()


def _digest(metadata: dict[str, str]) -> str:
    """Checksum of all that the header says besides the tensors' layout."""
    said = {name: text for name, text in metadata.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """(metadata, number of values in all tensors)."""
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - it is no mapping
            return dict(file.metadata() or {}), sum(math.prod(shape) for shape in shapes)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged, cut short or no safetensors file: {error}") from error
