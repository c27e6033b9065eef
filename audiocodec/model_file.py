"""Models on disk: one safetensors file with the weights, the configuration and a fingerprint. No pickle.

A model file holds folded weights, ready for inference, in float32 or float16 (the codebook is drawn so that 16 bits
hold it exactly). `describe` reads only the header and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiocodec.codec.latent_error import LatentError
from audiocodec.config.plain import config_from_json, config_to_json
from audiocodec.errors import CheckpointError
from audiocodec.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.codec.torch import Codec
    from audiocodec.config.schema import Config

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "speech_24k"
FORMAT = "audiocodec-model-1"
MODEL_FILE = "model.safetensors"
MAX_HEADER_BYTES = 16 * 2**20
_VALUE_BYTES = {"F32": 4, "F16": 2}


def available() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{MODEL_FILE}"))


def resolve(model: str | Path | None = None) -> Path:
    """The model file that `model` means.

    Args:
        model: None for the default; a shipped name, with `-` or `_`; a `.safetensors` file; a folder with a
            `model.safetensors`, or an experiment folder, whose newest checkpoint counts.

    Raises:
        CheckpointError: nothing there is a model.
    """
    name = DEFAULT_MODEL if model is None else str(model)
    shipped = PRETRAINED / name.replace("-", "_") / MODEL_FILE
    if os.sep not in name and shipped.is_file():
        return shipped
    path = Path(name)
    if path.is_file():
        return path
    candidates = [path / MODEL_FILE, *sorted(path.glob(f"checkpoints/step_*[0-9]/{MODEL_FILE}"), reverse=True)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        f"{name}: no such model; give a .safetensors file, an experiment folder, or one of: {', '.join(available())}"
    )


def describe(model: str | Path | None = None) -> dict[str, Any]:
    """What a model file says of itself, from its header alone.

    Returns:
        `path`, `fingerprint` (hex), `config` (text, see `config_of`), `parameters`, `bytes`, whatever notes were
        stored, and `latent_error` (text, see `latent_error_of`).

    Raises:
        CheckpointError: not a model file of this package.
    """
    path = resolve(model)
    header = _read_header(path)
    metadata = header.pop("__metadata__", None)
    found = metadata.get("format") if isinstance(metadata, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path}: not an audiocodec model (format {found!r}, need {FORMAT!r}), or damaged")
    if metadata.get("digest") != _digest(metadata):
        raise CheckpointError(f"{path}: the header contradicts its own checksum: the file is damaged")
    return {
        "path": str(path),
        "fingerprint": metadata["fingerprint"],
        "config": metadata["config"],
        "parameters": _count_parameters(header, path),
        "bytes": path.stat().st_size,
        "notes": json.loads(metadata["notes"]),
        "latent_error": metadata.get("latent_error", "[]"),
    }


def config_of(described: dict[str, Any]) -> Config:
    """The configuration of a model that `describe` described.

    Raises:
        ConfigError: it makes no sense to this version.
        CheckpointError: the file is an early one, whose configuration is YAML, and PyYAML is not installed.
    """
    text, source = described["config"], f"{described['path']} (header)"
    if text.startswith("{"):
        return config_from_json(text, source)
    try:
        from audiocodec.config.load import config_from_text
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{described['path']}: an early model file, which needs PyYAML; install it, or have the file written "
            "anew by `audiocodec export`"
        ) from error
    return config_from_text(text, source)


def latent_error_of(described: dict[str, Any]) -> LatentError:
    """The measured error of the float32 latents of a model that `describe` described.

    Raises:
        CheckpointError: it makes no sense to this version.
    """
    try:
        return LatentError.from_json(described["latent_error"])
    except ValueError as error:
        raise CheckpointError(f"{described['path']}: latent_error in the header: {error}") from error


def state_latent_error(path: str | Path, error: LatentError) -> None:
    """Write what was measured into the header of a model file; weights and fingerprint stay as they are.

    Raises:
        CheckpointError: not a model file, or it cannot be written.
    """
    describe(path)
    header = _read_header(Path(path))
    metadata = header["__metadata__"]
    metadata["latent_error"] = error.to_json()
    metadata["digest"] = _digest(metadata)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # weights stay aligned
    data = Path(path).read_bytes()
    weights = data[8 + struct.unpack("<Q", data[:8])[0] :]
    write_atomically(path, lambda to: to.write_bytes(struct.pack("<Q", len(text)) + text + weights))


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
    from safetensors.torch import save_file

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
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def load(model: str | Path | None = None, device: str = "cpu") -> Codec:
    """Load a codec for inference.

    Args:
        model: see `resolve`; None is the model inside the package.
        device: where to put it, `cpu`, `cuda`, ...

    Raises:
        CheckpointError: missing, damaged, or weights that do not fit their configuration.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from audiocodec.build import build_codec

    path = resolve(model)
    described = describe(path)
    config = config_of(described)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error
    codec = build_codec(config, norm=False)
    load_state(codec, {name: tensor.float() for name, tensor in state.items()}, str(path))
    codec.freeze()
    codec.near_ties.error = latent_error_of(described)
    check_weights(path, codec.fingerprint, described["fingerprint"])
    return codec.to(device)


def read_weights(path: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors of a model file as float32, without torch and without the package safetensors.

    Raises:
        CheckpointError: the file is damaged or cut short.
    """
    header = _read_header(Path(path))
    header.pop("__metadata__", None)
    _count_parameters(header, Path(path))
    with open(path, "rb") as file:
        data = memoryview(file.read())
    data = data[8 + struct.unpack("<Q", data[:8])[0] :]
    if len(data) < max((tensor["data_offsets"][1] for tensor in header.values()), default=0):
        raise CheckpointError(f"{path}: cannot read the weights: the file is cut short")
    weights = {}
    for name, tensor in header.items():
        first, end = tensor["data_offsets"]
        stored = np.frombuffer(data[first:end], f"<f{_VALUE_BYTES[tensor['dtype']]}")
        weights[name] = stored.astype(np.float32).reshape(tensor["shape"])
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


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            prefix = file.read(8)
            size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= size <= min(MAX_HEADER_BYTES, path.stat().st_size):
                raise CheckpointError(f"{path}: not a safetensors file")
            header = json.loads(file.read(size), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: not a safetensors file")
    return header


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a damaged name may equal another, and the later one would replace it without a word."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("damaged: a name comes twice")
    return dict(pairs)


def _count_parameters(tensors: dict[str, Any], path: Path) -> int:
    """Values in all tensors; their places, which no checksum covers, must agree with their shapes."""
    count = 0
    for name, tensor in tensors.items():
        try:
            size = math.prod(operator.index(n) for n in tensor["shape"])
            first, end = tensor["data_offsets"]
            sound = end - first == size * _VALUE_BYTES[tensor["dtype"]]
        except (KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            raise CheckpointError(f"{path}: the header is damaged at tensor {name!r}")
        count += size
    return count
