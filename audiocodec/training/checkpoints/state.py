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

from audiocodec import model_file, model_places
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.nn.discriminator import gains
from audiocodec.training.checkpoints.compatibility import refuse_other

MOMENTS = {"step": False, "exp_avg": True, "exp_avg_sq": True}  # AdamW's tensors: whether they are as their parameter


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
        optimizers: of the modules of these names; the tensors of their state are together in `optimizers.safetensors`,
            by the names of the parameters.
        values: JSON-able rest.

    Raises:
        CheckpointError: it cannot be written (a full disk, say); nothing is left behind.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        notes = {name: values[name] for name in ("step", "quantizer_started")}
        model_file.save(average, config, temporary / model_places.MODEL_FILE, notes=notes)
        for name, module in modules.items():
            save_file(_contiguous(module.state_dict()), temporary / f"{name}.safetensors")
        tensors = {
            f"{name}.{key}": tensor
            for name, optimizer in optimizers.items()
            for key, tensor in _optimizer_tensors(optimizer, modules[name]).items()
        }
        save_file(tensors, temporary / "optimizers.safetensors")
        (temporary / "state.json").write_text(json.dumps(dict(values), indent=1))
        os.replace(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot write the checkpoint: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(
    folder: Path, config: Config, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Read a checkpoint back into `modules` and `optimizers`.

    Returns:
        The values that were saved.

    Raises:
        CheckpointError: unreadable, or of another model than that of `config`.
    """
    refuse_other(folder, config)
    try:
        for name, module in modules.items():
            path = folder / f"{name}.safetensors"
            tensors = load_file(path)
            if name == "discriminators" and not gains(tensors):  # of a version without: they go on as they were
                tensors |= {gain: torch.ones(()) for gain in gains(module.state_dict())}
            model_file.load_state(module, tensors, str(path))
        tensors = load_file(folder / "optimizers.safetensors")
        for name, optimizer in optimizers.items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            _restore_optimizer(optimizer, modules[name], own, f"{folder / 'optimizers.safetensors'}: {name}")
        values: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot read the checkpoint: {error}") from error
    return values


def latest(checkpoints: Path) -> Path | None:
    """The newest checkpoint in a folder, or None."""
    found = _all(checkpoints)
    return found[-1] if found else None


def count(checkpoints: Path) -> int:
    """How many checkpoints a folder holds."""
    return len(_all(checkpoints))


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in _all(checkpoints)[:-keep]:
        shutil.rmtree(path)


def _all(checkpoints: Path) -> list[Path]:
    """Whole checkpoints, oldest first; one that a killed process was writing does not count."""
    return sorted(path for path in checkpoints.glob("step_*") if path.is_dir() and path.suffix != ".tmp")


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    names = _names(module)
    return _contiguous({f"{names[p]}.{key}": t for p, entry in optimizer.state.items() for key, t in entry.items()})


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor], where: str
) -> None:
    """Give `optimizer` its state back; a parameter without gradient so far has none (Adam's, as saved, is 3 tensors)."""
    entries: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, kind = key.rpartition(".")
        entries.setdefault(name, {})[kind] = tensor
    names, state = _names(module), {}
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for i, parameter in enumerate(trained):
        entry = entries.pop(names[parameter], None)
        if entry is not None:
            state[i] = entry
            _check_entry(entry, parameter, f"{where}.{names[parameter]}")
    if entries:
        raise CheckpointError(f"{where}: state of parameters that are not trained: {', '.join(sorted(entries)[:3])}")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_entry(entry: Mapping[str, Tensor], parameter: Tensor, where: str) -> None:
    if entry.keys() != MOMENTS.keys():
        raise CheckpointError(f"{where}: holds {', '.join(sorted(entry))}; need {', '.join(sorted(MOMENTS))}")
    for kind, tensor in entry.items():
        need = list(parameter.shape) if MOMENTS[kind] else []
        if list(tensor.shape) != need:
            raise CheckpointError(f"{where}.{kind}: is {list(tensor.shape)}, need {need}")
