"""Models on disk: one safetensors file with the weights, the configuration and a fingerprint. No pickle.

A model file holds folded weights, ready for inference, in float32 or float16 (the codebook is drawn so that 16 bits
hold it exactly). Files are read by the library safetensors; `describe` reads only the header and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.plain import config_to_json
from audiocodec.errors import CheckpointError, NotFinite
from audiocodec.files import replacing
from audiocodec.model_header import FileHeader, Shapes, check_shapes
from audiocodec.model_places import resolve
from audiocodec.records import from_json, parse

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.codec.torch import Codec
    from audiocodec.config.schema import Config

FORMAT = "audiocodec-model-1"
MAX_HEADER = 1 << 20  # characters of a configuration or notes
_FINGERPRINT = re.compile("[0-9a-f]{16}")


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
    write_atomically(path, lambda to: to.write_bytes(_with_header(header, data[end:])))


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


def public(config: Config) -> Config:
    """A configuration as it is given away: without where the training data lay."""
    return replace(config, data=replace(config.data, train="", valid=""))


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
    path.write_bytes(_with_header(header, data[8 + size :]))


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
    codec.notes = header.notes
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
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, expected, source)
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


def _with_header(header: Mapping[str, Any], data: bytes) -> bytes:
    """The bytes of a safetensors file."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text + data


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
