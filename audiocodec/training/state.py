"""The training state on disk: a folder per checkpoint, safetensors and JSON only, there whole or not at all.

`step_00001000/` holds `model.safetensors` (the averaged codec, folded, ready for inference), `codec`, `ema` and
`discriminators` as trained, `optimizers` and `state.json`. Random numbers need no state: every step seeds its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from audiocodec import checkpoint
from audiocodec.codec import Codec
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError


def save(
    folder: Path,
    config: Config,
    average: Codec,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    values: Mapping[str, Any],
) -> None:
    """Write a checkpoint.

    Args:
        folder: must not exist; its parent is made.
        config: of the run.
        average: exported as `model.safetensors`.
        modules: each saved as `<name>.safetensors`.
        optimizers: tensors of their state, together in `optimizers.safetensors`.
        values: JSON-able rest.

    Raises:
        CheckpointError: it cannot be written (a full disk, say); nothing is left behind.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        checkpoint.save(average, config, temporary / checkpoint.MODEL_FILE, notes={"step": values["step"]})
        for name, module in modules.items():
            save_file(_contiguous(module.state_dict()), temporary / f"{name}.safetensors")
        tensors = {f"{name}.{key}": t for name, o in optimizers.items() for key, t in _optimizer_tensors(o).items()}
        save_file(tensors, temporary / "optimizers.safetensors")
        (temporary / "state.json").write_text(json.dumps(dict(values), indent=1))
        os.replace(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot write the checkpoint: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(
    folder: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Read a checkpoint back into `modules` and `optimizers`.

    Returns:
        The values that were saved.

    Raises:
        CheckpointError: unreadable, or of another model.
    """
    try:
        for name, module in modules.items():
            path = folder / f"{name}.safetensors"
            checkpoint.load_state(module, load_file(path), str(path))
        tensors = load_file(folder / "optimizers.safetensors")
        for name, optimizer in optimizers.items():
            prefix = f"{name}."
            _restore_optimizer(
                optimizer, {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            )
        values: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot read the checkpoint: {error}") from error
    return values


def latest(checkpoints: Path) -> Path | None:
    """The newest checkpoint in a folder, or None."""
    found = _all(checkpoints)
    return found[-1] if found else None


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in _all(checkpoints)[:-keep]:
        shutil.rmtree(path)


def _all(checkpoints: Path) -> list[Path]:
    """Whole checkpoints, oldest first; one that a killed process was writing does not count."""
    return sorted(path for path in checkpoints.glob("step_*") if path.is_dir() and path.suffix != ".tmp")


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return _contiguous({f"{i}.{key}": t for i, entry in state.items() for key, t in entry.items()})


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
