"""The folder that `audiocodec export --onnx` writes: `encoder.onnx`, `decoder.onnx`, `quantizer.npz`, `model.json`, and
`exact.npz` where near-ties can be decided.

`docs/guide/onnx.md` says what each holds, for programs that read them without this package.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec import model_file
from audiocodec.arrays import from_npz
from audiocodec.config.plain import config_to_json
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.files import read_text
from audiocodec.model_header import ModelHeader
from audiocodec.onnx.model import OnnxModel, fitting
from audiocodec.onnx.networks import Network
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.onnx.writer import FloatArray
from audiocodec.records import from_json, parse

FORMAT = "audiocodec-onnx-1"
DESCRIPTION = "model.json"
ENCODER, DECODER, QUANTIZER = "encoder.onnx", "decoder.onnx", "quantizer.npz"
EXACT = "exact.npz"
PRECISIONS = "float32", "int8"
MAX_DESCRIPTION = 1 << 20  # bytes
MAX_FRAMES = 100_000  # of context


def is_folder(model: str | Path | None) -> bool:
    """Whether `model` names an exported folder."""
    return model is not None and (Path(model) / DESCRIPTION).is_file()


@dataclass(frozen=True)
class TokenAgreement:
    """How many tokens an 8-bit model has in common with float32: `codes` of `files` were compared, a share is `equal`."""

    files: int
    codes: int
    equal: float


@dataclass(frozen=True)
class FolderHeader(ModelHeader):
    """Description of an exported folder.

    Attributes:
        precision: `float32` or `int8`.
        halo: the key of the context on disk, `encoder`, `decoder` -> frames of context (before, after).
        files: name -> SHA-256, hexadecimal.
        token_agreement: measured when an 8-bit model was exported.
        lookback: frames that a decoder for voices looks back; None: another decoder.
    """

    precision: str
    halo: Mapping[str, tuple[int, int]]
    files: Mapping[str, str]
    token_agreement: TokenAgreement | None = None
    lookback: int | None = None

    def facts(self) -> dict[str, Any]:
        """What only exported folders tell, ready for JSON."""
        agreement = None if self.token_agreement is None else asdict(self.token_agreement)
        return {"precision": self.precision, "token_agreement": agreement}


def describe(folder: str | Path) -> FolderHeader:
    """The description of an exported folder.

    Raises:
        CheckpointError: not such a folder, or damaged.
    """
    path = Path(folder) / DESCRIPTION
    try:
        said = from_json(read_text(path, MAX_DESCRIPTION))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot read: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT or said.get("digest") != _digest(said):
        raise CheckpointError(f"{path}: not the description of an exported model (format {FORMAT!r}), or damaged")
    size = sum(entry.stat().st_size for entry in os.scandir(folder))
    own = {"path": str(folder), "config_text": json.dumps(said.get("config")), "bytes": size}
    own["latent_error_text"] = said.get("latent_error", "[]")  # none in folders written before there was one
    try:
        header = parse(FolderHeader, said | own)
        model_file.check_fingerprint(header.fingerprint)
        _check_parts(header)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return header


def _check_parts(header: FolderHeader) -> None:
    """Raise ValueError where something that every folder has is not said, or makes no sense."""
    if header.precision not in PRECISIONS:
        raise ValueError(f"precision: expected {' or '.join(PRECISIONS)}, got {header.precision!r}")
    missing = [f"halo.{part}" for part in ("encoder", "decoder") if part not in header.halo]
    missing += [f"files.{name}" for name in (ENCODER, DECODER, QUANTIZER) if name not in header.files]
    if missing:
        raise ValueError(f"{', '.join(missing)}: missing")
    for name, frames in (*header.halo.items(), ("lookback", (header.lookback or 0,))):
        if not all(0 <= count <= MAX_FRAMES for count in frames):
            raise ValueError(f"{name}: {list(frames)} frames, need 0 to {MAX_FRAMES}")


def write(
    model: OnnxModel,
    config: Config,
    folder: str | Path,
    notes: Mapping[str, Any],
    agreement: TokenAgreement | None = None,
) -> None:
    """Write a model, the description last.

    Args:
        model: networks and quantizer.
        config: kept in the description.
        folder: made if it is not there.
        notes: JSON object kept in the description.
        agreement: how many tokens were those of float32, kept as well; None for float32 itself.

    Raises:
        CheckpointError: a file cannot be written.
    """
    target = Path(folder)
    os.makedirs(target, exist_ok=True)
    model_file.write_atomically(target / ENCODER, lambda path: path.write_bytes(model.encoder.file))
    model_file.write_atomically(target / DECODER, lambda path: path.write_bytes(model.decoder.file))
    arrays = {QUANTIZER: model.quantizer.arrays(), EXACT: _exact_arrays(model)}
    if not arrays[EXACT]:
        del arrays[EXACT]
        (target / EXACT).unlink(missing_ok=True)  # an export's that was there before
    for name, values in arrays.items():
        model_file.write_atomically(target / name, functools.partial(_save_arrays, arrays=values))
    said = {
        "format": FORMAT,
        "fingerprint": model.fingerprint.hex(),
        "precision": model.precision,
        "token_agreement": None if agreement is None else asdict(agreement),
        "halo": {"encoder": model.encoder.context, "decoder": model.decoder.context},
        "lookback": model.decoder.lookback,
        "latent_error": model.latent_error.to_json(),
        "config": json.loads(config_to_json(config)),
        "notes": dict(notes),
        "files": {name: _sha256((target / name).read_bytes()) for name in (ENCODER, DECODER, *arrays)},
    }
    said["digest"] = _digest(said)
    text = json.dumps(said, indent=1) + "\n"
    model_file.write_atomically(target / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))


def read(folder: str | Path) -> OnnxModel:
    """Read a model that `write` wrote.

    Raises:
        CheckpointError: a file is missing or is not the one that was written.
    """
    header = describe(folder)
    config = header.config
    encoder, decoder = (
        Network(_checked(Path(folder) / name, header), header.halo[part], lookback=lookback)
        for name, part, lookback in ((ENCODER, "encoder", None), (DECODER, "decoder", header.lookback))
    )
    tables = _arrays(Path(folder) / QUANTIZER, header)
    exact = _arrays(Path(folder) / EXACT, header) if EXACT in header.files else None
    with fitting(str(folder)):
        quantizer = Quantizer(config, {**tables, **(exact or {})})
    fingerprint = bytes.fromhex(header.fingerprint)
    return OnnxModel(
        config,
        fingerprint,
        lambda: encoder,
        lambda: decoder,
        lambda: quantizer,
        header.precision,
        exact,
        header.latent_error,
    )


def _exact_arrays(model: OnnxModel) -> dict[str, npt.NDArray[np.floating[Any]]]:
    """What deciding near-ties takes, in 16 bits where these hold it; nothing where they are not decided."""
    of_quantizer = model.quantizer.exact_arrays()
    if model.near_ties is None or of_quantizer is None:
        return {}
    return {name: _smallest(array) for name, array in {**model.exact.weights, **of_quantizer}.items()}


def _smallest(array: FloatArray) -> npt.NDArray[np.floating[Any]]:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def _arrays(path: Path, header: FolderHeader) -> dict[str, FloatArray]:
    try:
        arrays = {name: array.astype(np.float32) for name, array in from_npz(_checked(path, header)).items()}
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model_file.check_arrays(arrays, str(path))
    return arrays


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with open(path, "wb") as file:  # given a name, numpy would add its own extension
        np.savez(file, **arrays)


def _checked(path: Path, header: FolderHeader) -> bytes:
    try:
        if not path.is_file():
            raise OSError("no regular file")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error}") from error
    if _sha256(data) != header.files.get(path.name):
        raise CheckpointError(
            f"{path}: is not the file that {DESCRIPTION} describes: the export is damaged or mixed up"
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(said: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in said.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
