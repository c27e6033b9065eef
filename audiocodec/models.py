"""The models at hand, by their headers: what `-m` takes, and which of them made a token file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from audiocodec import hub, model_file, model_places
from audiocodec.errors import AudioCodecError, FingerprintMismatch
from audiocodec.model_header import ModelHeader
from audiocodec.onnx import folder


def describe(model: str | Path | None = None) -> ModelHeader:
    """The header of a model of any kind; the weights are not read.

    Args:
        model: see `model_places.resolve`; also a folder that `audiocodec export --onnx` wrote.

    Raises:
        CheckpointError: no such model, or a damaged one.
    """
    return folder.describe(model) if model is not None and folder.is_folder(model) else model_file.describe(model)


def at_hand() -> dict[str, ModelHeader | AudioCodecError]:
    """Name -> header of every model in the package and in the user's folder, or why it cannot be read."""
    return {name: _described(path) for name, path in model_places.at_hand().items()}


def find(fingerprint: bytes, given: Iterable[str | Path] = ()) -> str:
    """The model with a fingerprint: the first of those given, else one at hand or fetched from a hub before.

    Args:
        fingerprint: 8 bytes, as a token file has them.
        given: what `describe` takes.

    Returns:
        What `describe` takes.

    Raises:
        FingerprintMismatch: none of them has it; the message names all that were looked at.
        CheckpointError: one of those given is no model, or a damaged one.
    """
    wanted, seen = fingerprint.hex(), []
    for name, path, header in _candidates(given):
        if header.fingerprint == wanted:
            return path
        seen.append(f"{name} {header.fingerprint}")
    raise FingerprintMismatch(
        f"was encoded by model {wanted}, which is not here; give it with -m, or put it into {model_places.folder()}; "
        f"looked at {', '.join(dict.fromkeys(seen))}"
    )


def _candidates(given: Iterable[str | Path]) -> Iterator[tuple[str, str, ModelHeader]]:
    """(what to call it, what `describe` takes, header)."""
    for model in given:
        yield str(model), str(model), describe(model)
    for name, path in model_places.at_hand().items():
        header = _described(path)
        if isinstance(header, ModelHeader):  # a damaged one is not the tokens' fault; `audiocodec models` names it
            yield name, str(path), header
    for path in hub.cached(model_places.MODEL_FILE):
        header = _described(path)
        if isinstance(header, ModelHeader):
            yield str(path), str(path), header


def _described(path: Path) -> ModelHeader | AudioCodecError:
    try:
        return model_file.describe(path)
    except AudioCodecError as error:
        return error
