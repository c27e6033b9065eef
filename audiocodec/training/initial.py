"""Starting a run with the weights of another: what has the same name and shape is taken, what overlaps is cut out.

The source is a model (folded weights, see `checkpoint.resolve`): any shipped one, a file, or an experiment, whose
newest checkpoint also holds its discriminators. Optimizers, averages' history and step count start anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from audiocodec import checkpoint
from audiocodec.errors import CheckpointError

DISCRIMINATORS_FILE = "discriminators.safetensors"
LENGTH, DIRECTION = ".parametrizations.weight.original0", ".parametrizations.weight.original1"
SHOWN = 8  # names in a line of the report


@dataclass
class Taken:
    """What became of the tensors of one module, by name.

    Attributes:
        loaded: same name and shape.
        resized: same name and number of dimensions; the common part was copied, the rest is fresh.
        fresh: the run's own start.
        unused: only the source has them.
    """

    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report: a line for each kind that there is."""
        kinds = ((kind, getattr(self, kind)) for kind in ("loaded", "resized", "fresh", "unused"))
        return [f"{kind} {len(names)}: {_some(names, kind)}" for kind, names in kinds if names]


def take_codec(codec: nn.Module, source: str) -> tuple[Taken, bool]:
    """Give `codec` the weights of a model.

    Args:
        codec: of the run, as built.
        source: what `checkpoint.resolve` takes.

    Returns:
        The report; whether the whole quantizer came along, from a run that had switched it on: it need not be started.

    Raises:
        CheckpointError: no such model, unreadable, or nothing in it fits.
    """
    path = checkpoint.resolve(source)
    described = checkpoint.describe(path)
    tensors = _read(path)
    if not _had_started(described):
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("quantizer.")}
    taken = take(codec, tensors)
    if not taken.loaded and not taken.resized:
        raise CheckpointError(f"{path}: none of its weights fit this configuration")
    quantizer = [name for name in (*taken.resized, *taken.fresh) if name.startswith("quantizer.")]
    return taken, _had_started(described) and not quantizer


def take_discriminators(discriminators: nn.Module, source: str) -> Taken | None:
    """The same for discriminators; None where the source has none beside its model."""
    path = checkpoint.resolve(source).parent / DISCRIMINATORS_FILE
    return take(discriminators, _read(path)) if path.is_file() else None


def take(module: nn.Module, tensors: Mapping[str, Tensor]) -> Taken:
    """Copy what fits of `tensors` into `module`; weight normalisation may be folded in one and not in the other."""
    own, taken = _slots(module), Taken()
    for name, slot in own.items():
        found = tensors.get(name)
        if found is None or found.dim() != slot.tensor.dim():
            taken.fresh.append(name)
        elif found.shape == slot.tensor.shape:
            slot.set(found)
            taken.loaded.append(name)
        else:
            common = tuple(slice(min(a, b)) for a, b in zip(found.shape, slot.tensor.shape))
            mixed = slot.tensor.detach().clone()
            mixed[common] = found[common].to(mixed)
            slot.set(mixed)
            taken.resized.append(name)
    taken.unused += sorted(tensors.keys() - own.keys())
    return taken


@dataclass(frozen=True)
class _Slot:
    """A tensor of a module under the name that it has in a model file."""

    module: nn.Module
    name: str

    @property
    def tensor(self) -> Tensor:
        tensor: Tensor = getattr(self.module, self.name)
        return tensor

    @torch.no_grad()
    def set(self, value: Tensor) -> None:
        value = value.to(self.tensor)
        if is_parametrized(self.module, self.name):
            setattr(self.module, self.name, value)
        else:
            self.tensor.copy_(value)


def _slots(module: nn.Module) -> dict[str, _Slot]:
    """Every tensor of `module`, with normalised weights as one."""
    slots: dict[str, _Slot] = {}
    for prefix, part in module.named_modules():
        if ".parametrizations" in f".{prefix}":
            continue
        names = [name for name in part.state_dict() if "." not in name]
        names += list(getattr(part, "parametrizations", ()))
        slots |= {f"{prefix}.{name}" if prefix else name: _Slot(part, name) for name in names}
    return slots


def _had_started(described: Mapping[str, Any]) -> bool:
    """Whether a model's quantizer was at work; shipped and exported models, which do not say, were made to be used."""
    return bool(described["notes"].get("quantizer_started", True))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return _folded({name: tensor.float() for name, tensor in load_file(path).items()})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot read the weights: {error}") from error


def _folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Normalised weights, stored as length and direction, as one."""
    folded = {}
    for name, tensor in tensors.items():
        if name.endswith(LENGTH):
            stem = name.removesuffix(LENGTH)
            direction = tensors[stem + DIRECTION]
            folded[stem + ".weight"] = torch._weight_norm(direction, tensor, 0)
        elif not name.endswith(DIRECTION):
            folded[name] = tensor
    return folded


def _some(names: list[str], kind: str) -> str:
    """Parts for what was loaded, of which there are many; else the first names."""
    if kind == "loaded":
        return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
