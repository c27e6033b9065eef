"""The kinds of systems that `compare` scores: how each gets its reconstructions and its bitrate."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from audiocodec import hub
from audiocodec.errors import UsageError
from audiocodec.evaluation.model_facts import ModelFacts
from audiocodec.evaluation.pairing import AnyPath, Entry, pair
from audiocodec.evaluation.run import Options
from audiocodec.evaluation.settings import Settings
from audiocodec.evaluation.systems import model as own
from audiocodec.evaluation.systems import reconstruct as foreign
from audiocodec.evaluation.systems.baseline import Baseline
from audiocodec.evaluation.systems.folder import find, holds_tokens, sizes_of
from audiocodec.loading import Model

Advance = Callable[[], None]
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_label(text: str) -> bool:
    """Whether it can name a system, and its folder: letters, digits and `._-`."""
    return _LABEL.fullmatch(text) is not None


@dataclass(frozen=True)
class Originals:
    """What all systems are scored against: where it is, and name -> paths, as `pairing.list_audio` gives."""

    place: AnyPath
    paths: dict[str, list[str]]


class System(Protocol):
    """Something to score under `OUT/<label>`."""

    @property
    def label(self) -> str:
        """Its name in tables and of its folder."""

    def prepare(
        self, originals: Originals, folder: Path, options: Options, advance: Advance
    ) -> tuple[list[Entry], Options]:
        """Make the reconstructions in `folder`; the entries to score, and the options with what is known of bitrates."""


@dataclass(frozen=True)
class ReferenceSystem:
    """The originals against themselves: the best score there is. They are no codec's output and have no bitrate."""

    label: str

    def prepare(
        self, originals: Originals, folder: Path, options: Options, advance: Advance
    ) -> tuple[list[Entry], Options]:
        """See `System.prepare`."""
        return pair(originals.place, originals.place, None, options.allow_pipes), options


@dataclass(frozen=True)
class BaselineSystem:
    """A codec of `systems.catalogue`."""

    label: str
    baseline: Baseline

    def prepare(
        self, originals: Originals, folder: Path, options: Options, advance: Advance
    ) -> tuple[list[Entry], Options]:
        """See `System.prepare`."""
        entries, sizes = foreign.reconstruct(
            self.baseline, originals.paths, folder, options.jobs, options.resume, options.allow_pipes, advance
        )
        return entries, replace(options, sizes=sizes)


@dataclass(frozen=True)
class ModelSystem:
    """One of our own models, as `evaluate` codes with it."""

    label: str
    model: Model
    num_codebooks: int | None = None
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def of(cls, text: str, settings: Settings, announce: Callable[[str], None]) -> ModelSystem:
        """From `[LABEL=]MODEL[@N]`, `@N` for its first N codebooks; the header is read now, weights when they are needed.

        Without a label it is called what the user calls it: the name, or the last part of the path or of the repository's
        name, and `-N`. A repository's revision that is a number is written with `@N` behind it.
        """
        label, name = _labelled(text)
        place, at, count = name.rpartition("@")
        num_codebooks = int(count) if at and count.isdecimal() and int(count) > 0 and not os.path.exists(name) else None
        place = name if num_codebooks is None else place
        model = Model(
            place,
            num_codebooks=num_codebooks,
            device=settings.device,
            threads=settings.threads,
            announce=announce,
        )
        repository = hub.parse(place)
        called = place if repository is None else repository.name
        label = label or Path(called).name.removesuffix(".safetensors") + (f"-{num_codebooks}" if num_codebooks else "")
        if not is_label(label):
            raise UsageError(f"-m {name}: {label!r} cannot name a folder; say -m LABEL={name}")
        return cls(label, model, num_codebooks, settings)

    def prepare(
        self, originals: Originals, folder: Path, options: Options, advance: Advance
    ) -> tuple[list[Entry], Options]:
        """See `System.prepare`."""
        entries = own.reconstruct(
            self.model.codec,
            originals.paths,
            folder,
            self.num_codebooks,
            options.resume,
            options.allow_pipes,
            advance,
            own.Processes.of(self.model, self.settings),
        )
        timings = (str(folder / own.TIMINGS),)
        return entries, replace(options, bitrate=True, timings=timings, model=ModelFacts.of(self.model))


@dataclass(frozen=True)
class FolderSystem:
    """Reconstructions that somebody else made, see `systems.folder`; `coded` gives their bitrate."""

    label: str
    source: str
    coded: str | None = None

    @classmethod
    def of(cls, text: str) -> FolderSystem:
        """From `LABEL=FOLDER[,CODED]`."""
        label, equals, folder = text.partition("=")
        if not equals or not is_label(label):
            raise UsageError(f"--system {text}: expected LABEL=FOLDER[,CODED], the label of letters, digits and ._-")
        coded = None
        if "," in folder and not os.path.exists(folder):
            folder, _, coded = folder.rpartition(",")
        for path in (folder, coded):
            if path is not None and not os.path.exists(path):
                raise UsageError(f"{path}: No such file or directory")
        return cls(label, folder, coded)

    def prepare(
        self, originals: Originals, folder: Path, options: Options, advance: Advance
    ) -> tuple[list[Entry], Options]:
        """See `System.prepare`."""
        places = find(self.source, self.coded)
        tokens = places.coded if places.coded is not None and holds_tokens(places.coded) else None
        entries = pair(originals.place, places.estimates, tokens, options.allow_pipes)
        if places.coded is None or tokens is not None:
            return entries, replace(options, bitrate=tokens is not None)
        return entries, replace(options, sizes=sizes_of(places.coded, originals.paths, options.allow_pipes))


def _labelled(text: str) -> tuple[str, str]:
    """`LABEL=PLACE` as (label, place); the label is empty where there is none that can name a folder."""
    label, equals, place = text.partition("=")
    return (label, place) if equals and is_label(label) else ("", text)
