"""The folder that `audiocodec export --onnx` writes: `encoder.onnx`, `decoder.onnx`, `quantizer.npz`, `model.json`, and
`exact.npz` where near-ties can be decided.

`docs/onnx.md` says what each holds, for programs that read them without this package.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec import model_file
from audiocodec.config.plain import config_to_json
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.onnx.model import OnnxModel
from audiocodec.onnx.networks import Network
from audiocodec.onnx.quantizers import Quantizer
from audiocodec.onnx.writer import FloatArray

FORMAT = "audiocodec-onnx-1"
DESCRIPTION = "model.json"
ENCODER, DECODER, QUANTIZER = "encoder.onnx", "decoder.onnx", "quantizer.npz"
EXACT = "exact.npz"


def is_folder(model: str | Path | None) -> bool:
    """Whether `model` names an exported folder."""
    return model is not None and (Path(model) / DESCRIPTION).is_file()


def describe(folder: str | Path) -> dict[str, Any]:
    """What an exported folder says of itself: `path`, `fingerprint` (hex), `config` (JSON text), `precision`,
    `token_agreement` (int8: files, codes, share equal to float32), `halo`, `files` (name -> SHA-256), `notes`.

    Raises:
        CheckpointError: not such a folder, or damaged.
    """
    path = Path(folder) / DESCRIPTION
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot read: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT or said.get("digest") != _digest(said):
        raise CheckpointError(f"{path}: not the description of an exported model (format {FORMAT!r}), or damaged")
    return {
        "latent_error": "[]",  # of folders written before there was one
        **said,
        "path": str(folder),
        "config": json.dumps(said["config"]),
    }


def write(
    model: OnnxModel,
    config: Config,
    folder: str | Path,
    notes: Mapping[str, Any],
    agreement: Mapping[str, Any] | None = None,
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
        "token_agreement": None if agreement is None else dict(agreement),
        "halo": {"encoder": model.encoder.halo, "decoder": model.decoder.halo},
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
    described = describe(folder)
    config = model_file.config_of(described)
    encoder, decoder = (
        Network(_checked(Path(folder) / name, described), tuple(described["halo"][part]), lookback=lookback)
        for name, part, lookback in ((ENCODER, "encoder", None), (DECODER, "decoder", described.get("lookback")))
    )
    tables = _arrays(Path(folder) / QUANTIZER, described)
    exact = _arrays(Path(folder) / EXACT, described) if EXACT in described["files"] else None
    quantizer = Quantizer(config, {**tables, **(exact or {})})
    fingerprint = bytes.fromhex(described["fingerprint"])
    return OnnxModel(
        config,
        fingerprint,
        lambda: encoder,
        lambda: decoder,
        lambda: quantizer,
        described["precision"],
        exact,
        model_file.latent_error_of(described),
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


def _arrays(path: Path, described: Mapping[str, Any]) -> dict[str, FloatArray]:
    with np.load(io.BytesIO(_checked(path, described)), allow_pickle=False) as arrays:
        return {name: array.astype(np.float32) for name, array in arrays.items()}


def _save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with open(path, "wb") as file:  # given a name, numpy would add its own extension
        np.savez(file, **arrays)


def _checked(path: Path, described: Mapping[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error}") from error
    if _sha256(data) != described["files"][path.name]:
        raise CheckpointError(
            f"{path}: is not the file that {DESCRIPTION} describes: the export is damaged or mixed up"
        )
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(said: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in said.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
