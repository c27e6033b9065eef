"""The training state on disk: a folder per checkpoint, safetensors and JSON only, there whole or not at all.

`step_00001000/` holds `model.safetensors` (the averaged codec, folded, ready for inference), `codec`, `ema` and
`discriminators` as trained, `optimizers` and `state.json`, which has the SHA-256 of the others and of itself. Random
numbers need no state: every step seeds its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from audiocodec import model_file, model_places
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError, NotFinite
from audiocodec.files import new_folder, read_text, sha256, temporary_beside
from audiocodec.nn.discriminator import gains
from audiocodec.records import from_json, parse
from audiocodec.training.checkpoints.compatibility import refuse_other

STATE, FILES, DIGEST = "state.json", "files", "sha256"
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
        NotFinite: a weight, a moment or the average's scale is NaN or infinite.
        CheckpointError: it cannot be written (a full disk, say); nothing is left behind.
    """
    _refuse_not_finite(folder, modules, optimizers)
    try:
        with new_folder(folder) as temporary:
            notes = {name: values[name] for name in ("step", "quantizer_started")}
            model_file.save(average, config, temporary / model_places.MODEL_FILE, notes=notes)
            for name, module in modules.items():
                model_file.write_tensors(temporary / f"{name}.safetensors", _contiguous(module.state_dict()))
            tensors = {
                f"{name}.{key}": tensor
                for name, optimizer in optimizers.items()
                for key, tensor in _optimizer_tensors(optimizer, modules[name]).items()
            }
            model_file.write_tensors(temporary / "optimizers.safetensors", tensors)
            said = {**values, FILES: {path.name: sha256(path) for path in sorted(temporary.iterdir())}}
            (temporary / STATE).write_text(json.dumps({**said, DIGEST: _digest(said)}, indent=1))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot write the checkpoint: {error}") from error


def load(
    folder: Path, config: Config, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Read a checkpoint back into `modules` and `optimizers`.

    Returns:
        The values that were saved.

    Raises:
        CheckpointError: unreadable, or of another model than that of `config`.
    """
    values = _verified(folder)
    refuse_other(folder, config)
    try:
        for name, module in modules.items():
            path = folder / f"{name}.safetensors"
            tensors = model_file.read_tensors(path)
            if name == "discriminators" and not gains(tensors):  # of a version without: they go on as they were
                tensors |= {gain: torch.ones(()) for gain in gains(module.state_dict())}
            model_file.load_state(module, tensors, str(path))
        tensors = model_file.read_tensors(folder / "optimizers.safetensors")
        for name, optimizer in optimizers.items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
            _restore_optimizer(optimizer, modules[name], own, f"{folder / 'optimizers.safetensors'}: {name}")
    except NotFinite as error:
        raise NotFinite(f"{error}; {_way_out(folder)}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: cannot read the checkpoint: {error}") from error
    return values


def _verified(folder: Path) -> dict[str, Any]:
    """What `state.json` says, if all files are those that were written with it; versions before had no checksums.

    Raises:
        CheckpointError: naming the file, and the checkpoint that is left.
    """
    path = folder / STATE
    try:
        values: dict[str, Any] = parse(dict[str, Any], from_json(read_text(path)))
        digest = values.pop(DIGEST, None)
        if digest is not None and digest != _digest(values):
            raise ValueError("it contradicts its own checksum")
        files = parse(dict[str, str], values.pop(FILES, {}), FILES)
        for name, wanted in files.items():
            path = folder / os.path.basename(name)
            if sha256(path) != wanted:
                raise ValueError("it is not the file that was written: the checkpoint is damaged")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot go on from it: {reason}; {_way_out(folder)}") from None
    return values


def _way_out(folder: Path) -> str:
    before = [path for path in _all(folder.parent) if path.name < folder.name]
    return f"remove {folder} to go on from {before[-1].name if before else 'the beginning'}"


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _refuse_not_finite(
    folder: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> None:
    tensors = [(f"{name}.{key}", t) for name, module in modules.items() for key, t in module.state_dict().items()]
    tensors += [
        (f"{name} optimizer's {key}", t)
        for name, optimizer in optimizers.items()
        for entry in optimizer.state.values()
        for key, t in entry.items()
    ]
    model_file.refuse_not_finite((name for name, t in tensors if not bool(torch.isfinite(t).all())), str(folder))


def latest(checkpoints: Path) -> Path | None:
    """The newest checkpoint in a folder, or None."""
    found = _all(checkpoints)
    return found[-1] if found else None


def count(checkpoints: Path) -> int:
    """How many checkpoints a folder holds."""
    return len(_all(checkpoints))


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints; one that a killed process had half deleted counts as none, too."""
    for path in _all(checkpoints)[:-keep]:
        doomed = temporary_beside(path)
        path.rename(doomed)
        shutil.rmtree(doomed)


def tidy(checkpoints: Path) -> None:
    """Delete what killed processes had begun to write or delete; nobody else may be at work."""
    for left in [*checkpoints.glob(".*.tmp"), *checkpoints.glob("step_*.tmp")]:
        shutil.rmtree(left)


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
        if not bool(torch.isfinite(tensor).all()):
            raise NotFinite(f"{where}.{kind}: holds NaN or infinite values")
