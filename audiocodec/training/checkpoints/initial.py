"""Starting a run with the weights of another: what has the same name and shape is taken, what overlaps is cut out.

The source is a model (see `model_places.resolve`): any shipped one, a file, or an experiment, whose newest checkpoint and
lean state also hold its discriminators. Both are read whole and checked, with weight normalisation folded. Optimizers, step count and
the average's history start anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from audiocodec import model_file, model_places
from audiocodec.build import build_discriminators
from audiocodec.config.schema import Config
from audiocodec.errors import CheckpointError
from audiocodec.nn.conv import fold_weight_norm
from audiocodec.nn.discriminator import gains
from audiocodec.nn.plan import encoder_layers
from audiocodec.training.checkpoints.lean import DISCRIMINATORS_FILE, discriminators_beside
from audiocodec.training.losses import DiscriminatorBundle
from audiocodec.training.setup import Parts

log = logging.getLogger("audiocodec.train")
SHOWN = 8  # names in a line of the report
# What a code means hangs on these, with the weights: the latents that come in, the rows, and what becomes of them.
_OF_ROWS = "kind", "codebook_size", "codebook_dim", "distribution", "bias", "map", "zero_code", "first_stage", "low_dim"
_OF_CODES = ("model.latent_scale", *(f"quantizer.{key}" for key in _OF_ROWS))


@dataclass
class Taken:
    """What became of the tensors of one module, by name.

    Attributes:
        loaded: same name and shape.
        resized: same name and number of dimensions; the common part was copied. What its rows have beyond that is zero, so that a
            network of more units begins as the narrower one; rows of its own are fresh.
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


def begin_with(parts: Parts, config: Config, source: str) -> tuple[str, bool]:
    """Take over the weights of a model and, where they come with it, discriminators; says which in the log.

    Args:
        parts: of the run.
        config: of the run.
        source: what `model_places.resolve` takes.

    Returns:
        Name and fingerprint of the model; whether the quantizer goes on.

    Raises:
        CheckpointError: as of `take_codec` and `take_discriminators`.
    """
    path = Path(
        parts.gather(str(model_places.resolve(source, beside=(DISCRIMINATORS_FILE,))))[0]
    )  # an experiment that runs may move on
    taken, goes_on = take_codec(parts.raw_codec, config, path)
    parts.ema.average.load_state_dict(parts.raw_codec.state_dict())
    log.info("begins with the weights of %s", path)
    reports = {"codec": taken.lines()}
    if parts.discriminators is not None:
        discriminators = take_discriminators(parts.raw_discriminators, path)
        reports["discriminators"] = (
            discriminators.lines() if discriminators else ["fresh: none with an input gain come with the model"]
        )
    for name, lines in reports.items():
        for line in lines:
            log.info("%s: %s", name, line)
    log.info("quantizer: %s", "goes on as it is" if goes_on else "is started anew")
    header = model_file.describe(path)
    return f"{header.config.name}, {header.fingerprint}", goes_on


def take_codec(codec: nn.Module, config: Config, model: Path) -> tuple[Taken, bool]:
    """Give `codec` the weights of a model: of its quantizer all or, where its codes would mean something else, none.

    Latents lie in the few dimensions that their own quantizer had bits for (14 of 32 at 16 bits), and those that fell to
    nothing stay there. Where the run has more bits than the model had, the layers into and out of the latents are fresh.

    Args:
        codec: of the run, as built.
        config: of the run.
        model: the file.

    Returns:
        The report; whether the quantizer goes on: it need not be started.

    Raises:
        CheckpointError: unreadable, damaged, or no weight of encoder or decoder fits.
    """
    header = model_file.describe(model)
    goes_on = _goes_on(config, header.config, header.notes)
    left_out = (() if goes_on else ("quantizer.",)) + (() if config.model.latent_scale else ("scale.",))
    if _at_work(header.config, header.notes) and config.bits_per_frame > header.config.bits_per_frame:
        left_out += ("scale.", *_around_latents(config))
    tensors = model_file.load(model).state_dict()
    taken = take(codec, {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)})
    fits = [name for name in taken.loaded if name.startswith(("encoder.", "decoder.")) and tensors[name].dim() > 1]
    if not fits:  # biases fit by chance
        raise CheckpointError(f"{model}: none of its weights fit: no matrix of encoder or decoder has the same shape")
    return taken, goes_on


def take_discriminators(discriminators: nn.Module, model: Path) -> Taken | None:
    """The same for discriminators, which keep their own gain; None where there are none beside the model, or such of a
    version without gain, which have not learned to hear (`nn.discriminator`).

    Raises:
        CheckpointError: unreadable, not those of the model's configuration, or of another lean state.
    """
    path = discriminators_beside(model)
    if path is None:
        return None
    source = DiscriminatorBundle(build_discriminators(model_file.describe(model).config))
    state = model_file.read_tensors(path)
    if not gains(state):
        return None
    model_file.load_state(source, state, str(path))
    fold_weight_norm(source)
    return take(discriminators, source.state_dict() | gains(discriminators.state_dict()))


def take(module: nn.Module, tensors: Mapping[str, Tensor]) -> Taken:
    """Copy what fits of `tensors`, with weight normalisation folded, into `module`, where it need not be."""
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
            mixed[common[0]] = 0
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
        if not is_parametrized(self.module, self.name):
            self.tensor.copy_(value)
            return
        normalised: Any = self.module.get_submodule(f"parametrizations.{self.name}")
        length, direction = normalised[0].right_inverse(value.to(self.tensor))
        silent = (direction == 0).flatten(1).all(1)  # a filter of nothing has no direction, and 0 / 0 is none
        parts = length, torch.where(silent.view(-1, *[1] * (direction.dim() - 1)), 1.0, direction)
        for original, part in zip((normalised.original0, normalised.original1), parts):
            original.copy_(
                part
            )  # in place: a tensor put in its stead is none that several processes exchange gradients of


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


def _goes_on(ours: Config, theirs: Config, notes: Mapping[str, Any]) -> bool:
    """Whether the source's quantizer was at work, and its codes mean the same here; further stages are left out.

    An encoder whose blocks have more units begins as the narrower one (`take`), and its latents are the same.
    Models that do not say were made to be used, if they were not saved in the autoencoder's warm-up.
    """
    wide, narrow = ours.model.encoder, theirs.model.encoder
    grown = replace(narrow, convnext_expansion=max(wide.convnext_expansion, narrow.convnext_expansion))
    same = wide == grown and all(attrgetter(key)(ours) == attrgetter(key)(theirs) for key in _OF_CODES)
    return _at_work(theirs, notes) and same and ours.quantizer.num_codebooks <= theirs.quantizer.num_codebooks


def _at_work(config: Config, notes: Mapping[str, Any]) -> bool:
    """Whether a model was saved with its quantizer on."""
    step = notes.get("step", config.train.warmup_autoencoder_steps + 1)
    return bool(notes.get("quantizer_started", step > config.train.warmup_autoencoder_steps))


def _around_latents(config: Config) -> tuple[str, str]:
    """Prefixes of the layers into and out of the latents."""
    last = len(encoder_layers(config.model.encoder, config.quantizer.codebook_dim)) - 1
    first = "decoder.layers.0." if config.model.decoder.kind == "seanet" else "decoder.embed."
    return f"encoder.layers.{last}.", first


def _some(names: list[str], kind: str) -> str:
    """Parts for what was loaded, of which there are many; else the first names."""
    if kind == "loaded":
        return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
