"""Where the training of a language model stands: `training.safetensors` beside the model. No pickle.

It holds the weights, both moments of AdamW for each, and the position in the data. When the training ends, `training.json` takes
its place, which says how the model was trained.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audiocodec.errors import LanguageModelError
from audiocodec.files import read_text, replacing, write_text
from audiocodec.lm import files
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.records import from_json, parse

STATE, FINISHED = "training.safetensors", "training.json"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """Position of a training.

    Attributes:
        config: of the model.
        settings: of the training, as of `LMSettings`.
        contexts: of an epoch, of each process.
        step: steps that were taken.
        epoch, position: of the next context.
        seconds: of training so far.
    """

    config: LMConfig
    settings: Mapping[str, Any]
    contexts: int
    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0


def save(folder: Path, progress: Progress, network: TokenLM, optimizer: torch.optim.Optimizer) -> None:
    """Write the state; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, parameter in network.named_parameters():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        for moment in MOMENTS:
            if moment in optimizer.state[parameter]:
                tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment].contiguous()
    with replacing(folder / STATE) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(dataclasses.asdict(progress))})


def load(folder: Path, begin: Progress, network: TokenLM, optimizer: torch.optim.Optimizer) -> Progress:
    """Go on from a state, or from the beginning if there is none.

    Args:
        folder: of the language model.
        begin: the beginning of the training that is asked for.
        network: gets the weights.
        optimizer: gets the moments.

    Raises:
        LanguageModelError: the state is damaged, or of another training; the message says what differs.
    """
    path = folder / STATE
    if not path.exists():
        return begin
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            progress = parse(Progress, from_json((file.metadata() or {}).get("progress", "")))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise LanguageModelError(f"{path}: {error}; remove it to begin anew") from None
    _compare(path, begin, progress)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise LanguageModelError(f"{path}: holds values that are not finite; remove it to begin anew")
    try:
        for name, parameter in network.named_parameters():
            with torch.no_grad():
                parameter.copy_(tensors[f"weight/{name}"])
            if f"{MOMENTS[0]}/{name}" in tensors:  # weights without a gradient have none
                moments = {key: tensors[f"{key}/{name}"].to(parameter) for key in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(progress.step)), **moments}
    except (KeyError, RuntimeError) as error:
        raise LanguageModelError(f"{path}: {error}; remove it to begin anew") from None
    return progress


def finish(folder: Path, progress: Progress) -> None:
    """Say how a model was trained, in place of the state."""
    write_text(folder / FINISHED, json.dumps(dataclasses.asdict(progress), indent=1) + "\n")
    (folder / STATE).unlink()


def is_finished(folder: Path, begin: Progress) -> bool:
    """Whether the training that is asked for has ended there.

    Raises:
        LanguageModelError: another training has, or nothing says which one.
    """
    if (folder / STATE).exists() or not (folder / files.CONFIG).exists():
        return False
    path = folder / FINISHED
    try:
        found = parse(Progress, from_json(read_text(path)))
    except (OSError, ValueError) as error:
        raise LanguageModelError(
            f"{path}: does not say how the model was trained: {error}; --force trains anew"
        ) from None
    _compare(path, begin, found)
    return True


def _compare(path: Path, wanted: Progress, found: Progress) -> None:
    was, now = (
        {**dataclasses.asdict(of.config), **of.settings, "contexts in an epoch": of.contexts} for of in (found, wanted)
    )
    different = [f"{name} was {was.get(name)}, now {now[name]}" for name in now if now[name] != was.get(name)]
    if different:
        raise LanguageModelError(f"{path}: is of another training: {'; '.join(different)}")
