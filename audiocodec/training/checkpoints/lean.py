"""A state small enough to travel: the averaged codec as an ordinary model file, and the discriminators, both in float16.

`model.safetensors` and `discriminators.safetensors` of a folder are replaced on the way. Whenever a process is killed, a
pair that belongs together is there: the discriminators name the model file that they were written with by its SHA-256,
and new ones wait under the name `COMING` until the model is in its place. `--init-from` takes both. Optimizers are left
behind: a second moment with a decay of 0.99 forgets within a hundred steps, and would double the size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from audiocodec import hub, model_file, model_places
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.files import replacing, sha256

DISCRIMINATORS_FILE = hub.DISCRIMINATORS_FILE
COMING = "discriminators.next.safetensors"
BELONGS_TO = "model_sha256"  # in the header of the discriminators


def save(
    folder: Path, config: Config, average: Codec, discriminators: nn.Module | None, notes: Mapping[str, Any]
) -> None:
    """Replace the lean state of a run.

    Args:
        folder: made if it is not there.
        config: of the run.
        average: the codec to export.
        discriminators: as trained; None where the run has none.
        notes: kept in the model's header.

    Raises:
        NotFinite: a weight is NaN or infinite, or too large for float16; the old pair is there as it was.
        CheckpointError: it cannot be written (a full disk, say); the old pair is there as it was.
    """
    model, coming = folder / model_places.MODEL_FILE, folder / COMING
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        with replacing(model) as fresh:
            model_file.save(average, config, fresh, half=True, notes=dict(notes))
            if discriminators is not None:
                state = {name: t.detach().half().cpu().contiguous() for name, t in discriminators.state_dict().items()}
                unsound = (name for name, t in state.items() if not bool(t.isfinite().all()))
                model_file.refuse_not_finite(unsound, f"{folder / DISCRIMINATORS_FILE} in float16")
                with replacing(coming) as temporary:
                    model_file.write_tensors(temporary, state, {BELONGS_TO: sha256(fresh)})
        _tidy(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot write the lean state: {error}") from error


def discriminators_beside(model: Path) -> Path | None:
    """The file with the discriminators of a model, of a checkpoint or of a lean state; None where there are none.

    Raises:
        CheckpointError: unreadable, or those of a lean state that belong to another model file.
    """
    found = [path for name in (DISCRIMINATORS_FILE, COMING) if (path := model.parent / name).is_file()]
    for path in found:
        try:
            owner = _owner(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot read the weights: {error}") from error
        if owner is None or owner == sha256(model):
            return path
    if found:
        raise CheckpointError(
            f"{found[0]}: was written with another model file than {model}; bring both of one lean state"
        )
    return None


def _tidy(folder: Path) -> None:
    """Put waiting discriminators in their place, if their model is in its own; delete what a killed process had begun."""
    model, coming = folder / model_places.MODEL_FILE, folder / COMING
    if coming.is_file() and model.is_file() and _owner(coming) == sha256(model):
        os.replace(coming, folder / DISCRIMINATORS_FILE)
    for left in folder.glob(".*.tmp"):
        left.unlink()


def _owner(path: Path) -> str | None:
    """SHA-256 of the model file that discriminators were written with; None where they name none."""
    with safe_open(path, "numpy") as file:
        owner: str | None = (file.metadata() or {}).get(BELONGS_TO)
    return owner
