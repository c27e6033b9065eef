"""Models on disk: one safetensors file with the weights, the configuration and a fingerprint. No pickle.

A model file holds folded weights, ready for inference, in float32 or float16 (the codebook is drawn so that 16 bits
hold it exactly). Files are read by the library safetensors; `describe` reads only the header and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.plain import config_from_json, config_to_json
from audiocodec.errors import CheckpointError, NotFinite
from audiocodec.files import replacing
from audiocodec.model_places import resolve
from audiocodec.nn.matrices import codebooks, matrices
from audiocodec.records import from_json, parse

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.codec.torch import Codec
    from audiocodec.config.schema import Config

FORMAT = "audiocodec-model-1"
MAX_HEADER = 1 << 20  # characters of a configuration or notes
_FINGERPRINT = re.compile("[0-9a-f]{16}")
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
        _check_shapes(own, {**matrices(self.config), **codebooks(self.config)}, self.path)


@dataclass(frozen=True)
class _Metadata:
    """What the header of a model file says."""

    config: str
    fingerprint: str
    notes: str
    latent_error: str = "[]"


def describe(model: str | Path | None = None) -> FileHeader:
    """The header of a model file; the weights are not read.

    Args:
        model: see `resolve`.

    Raises:
        CheckpointError: not a model file of this package.
    """
    path = resolve(model)
    metadata, shapes = _read_header(path)
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(f"{path}: not an audiocodec model (format {found!r}, need {FORMAT!r}), or damaged")
    if metadata.get("digest") != _digest(metadata):
        raise CheckpointError(f"{path}: the header contradicts its own checksum: the file is damaged")
    try:
        said = parse(_Metadata, metadata)
        notes = parse(dict[str, Any], from_json(said.notes, limit=MAX_HEADER), "notes")
        check_fingerprint(said.fingerprint)
    except ValueError as error:
        raise CheckpointError(f"{path}: the header makes no sense: {error}") from None
    size = path.stat().st_size
    return FileHeader(str(path), said.fingerprint, said.config, notes, size, said.latent_error, shapes)


def check_fingerprint(text: str) -> None:
    """Refuse what is no fingerprint.

    Raises:
        ValueError: it has not 16 hexadecimal digits.
    """
    if not _FINGERPRINT.fullmatch(text):
        raise ValueError(f"fingerprint: expected 16 hexadecimal digits, got {text[:40]!r}")


def state_latent_error(path: str | Path, error: LatentError) -> None:
    """Write what was measured into the header of a model file; weights and fingerprint stay as they are.

    Raises:
        CheckpointError: not a model file, or it cannot be written.
    """
    describe(path)
    data = Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = from_json(data[8:end])
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
        NotFinite: a weight is NaN or infinite, or too large for float16.
        CheckpointError: the file cannot be written.
    """
    frozen = _frozen_copy(codec, config)
    state = {name: tensor.half() if half else tensor for name, tensor in frozen.state_dict().items()}
    refuse_not_finite((name for name, tensor in state.items() if not bool(tensor.isfinite().all())), str(path))
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
    write_atomically(path, lambda temporary: write_tensors(temporary, state, metadata))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, readable as the umask has it; equal tensors and metadata give equal bytes.

    The library's own files are the user's alone, and their metadata come in any order.
    """
    from safetensors.torch import save as to_bytes

    data = to_bytes(tensors, metadata)
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    if metadata:
        header = {**header, "__metadata__": dict(sorted(metadata.items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def load(model: str | Path | None = None, device: str = "cpu") -> Codec:
    """Load a codec for inference.

    Args:
        model: see `resolve`; None is the model inside the package.
        device: where to put it, `cpu`, `cuda`, ...

    Raises:
        CheckpointError: missing, damaged, or weights that are not finite or do not fit their configuration.
    """
    from audiocodec.build import build_codec

    path = resolve(model)
    header = describe(path)
    header.check_matrices()
    state = read_tensors(path)
    codec = build_codec(header.config, norm=False)
    load_state(codec, {name: tensor.float() for name, tensor in state.items()}, str(path))
    codec.freeze()
    codec.near_ties.error = header.latent_error
    check_weights(path, codec.fingerprint, header.fingerprint)
    return codec.to(device)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: the file is missing, damaged or cut short.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error


def read_weights(path: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a model file as float32, without torch.

    Raises:
        CheckpointError: the file is damaged or cut short, or a weight is not finite.
    """
    from safetensors.numpy import load_file

    try:
        weights = {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:  # a type that numpy lacks
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error
    check_arrays(weights, str(path))
    return weights


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
        CheckpointError: names missing or left over, shapes that differ, or values that are not finite.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    _check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, expected, source)
    refuse_not_finite((name for name, tensor in state.items() if not bool(tensor.isfinite().all())), source)
    module.load_state_dict(state)


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]], source: str) -> None:
    """Refuse arrays of `source` that are not finite.

    Raises:
        NotFinite: naming the first of them.
    """
    refuse_not_finite((name for name, array in arrays.items() if not np.isfinite(array).all()), source)


def refuse_not_finite(names: Iterable[str], source: str) -> None:
    """Refuse `source` where `names`, of weights that are not finite, are any.

    Raises:
        NotFinite: naming the first of them.
    """
    found = list(names)
    if found:
        raise NotFinite(
            f"{source}: {len(found)} weights hold NaN or infinite values ({', '.join(found[:3])}): no sound model"
        )


def _check_shapes(found: Shapes, expected: Shapes, source: str) -> None:
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


def _read_header(path: Path) -> tuple[dict[str, str], Shapes]:
    """(metadata, shape of every tensor)."""
    try:
        with safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
            return dict(file.metadata() or {}), shapes
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        raise CheckpointError(f"{path}: cannot read: {getattr(error, 'strerror', None) or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged, cut short or no safetensors file: {error}") from error
