"""Where models are: by a name in the package or in the user's folder, by a path, or by a repository on a hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from audiocodec import hub
from audiocodec.errors import CheckpointError

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "speech_24k"
MODEL_FILE = hub.MODEL_FILE
SUFFIX = ".safetensors"
VARIABLE = "AUDIOCODEC_MODELS"


def available() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob(f"*/{MODEL_FILE}"))


def folder() -> Path:
    """The user's folder of models: `$AUDIOCODEC_MODELS`, else `audiocodec/models` in the user's cache."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audiocodec" / "models"


def at_hand() -> dict[str, Path]:
    """Name -> model file, of the package and of the user's folder; a name means the package's where both have it."""
    found = {path.parent.name: path for path in folder().glob(f"*/{MODEL_FILE}")}
    found |= {path.name.removesuffix(SUFFIX): path for path in folder().glob(f"*{SUFFIX}") if path.is_file()}
    packaged = {name: PRETRAINED / name / MODEL_FILE for name in available()}
    return packaged | {name: found[name] for name in sorted(found) if name not in packaged}


def name_of(path: str | Path) -> str | None:
    """The name of a model at hand by its file; None: it has none."""
    found = Path(path).resolve()
    return next((name for name, place in at_hand().items() if place.resolve() == found), None)


def resolve(model: str | Path | None = None, beside: Sequence[str] = ()) -> Path:
    """The model file that `model` means.

    Args:
        model: None for the default; a shipped name, with `-` or `_`; a `.safetensors` file; a folder with a
            `model.safetensors`, or an experiment folder, whose newest checkpoint counts; a name in the user's folder;
            where nothing of that is there, `org/name[@revision][#fingerprint]`, a repository on a hub.
        beside: more files to fetch from a repository, where it has them.

    Raises:
        CheckpointError: nothing there is a model.
        HubError: nor on the hub; the message says why.
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
    known = at_hand()
    if name in known:
        return known[name]
    if (repository := hub.parse(name)) is not None:
        return hub.fetch(repository, beside)
    raise CheckpointError(
        f"{name}: no such model; give a .safetensors file, an experiment folder, org/name on a hub, or one of: "
        f"{', '.join(known)}"
    )
