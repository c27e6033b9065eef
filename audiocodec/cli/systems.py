"""The kinds of systems that `compare` scores: how each gets its reconstructions and its bitrate."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audiocodec.cli import batch
from audiocodec.cli.usage import UsageError

if TYPE_CHECKING:
    from audiocodec.evaluation.pairing import Entry
    from audiocodec.evaluation.run import Options
    from audiocodec.evaluation.systems.baseline import Anchor

References = dict[str, list[str]]  # name -> paths, as `pairing.list_audio` gives
Prepared = tuple["list[Entry]", "Options"]
Advance = Callable[[], None]
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_label(text: str) -> bool:
    """Whether it can name a system, and its folder: letters, digits and `._-`."""
    return _LABEL.fullmatch(text) is not None


class System(Protocol):
    """Something to score under `OUT/<label>`."""

    @property
    def label(self) -> str:
        """Its name in tables and of its folder."""

    def prepare(
        self, args: argparse.Namespace, references: References, folder: Path, options: Options, advance: Advance
    ) -> Prepared:
        """Make the reconstructions in `folder`; the entries to score, and the options with what is known of bitrates."""


@dataclass(frozen=True)
class ReferenceSystem:
    """The originals against themselves: the best score there is. They are no codec's output and have no bitrate."""

    label: str

    def prepare(
        self, args: argparse.Namespace, references: References, folder: Path, options: Options, advance: Advance
    ) -> Prepared:
        """See `System.prepare`."""
        from audiocodec.evaluation.pairing import pair

        return pair(args.reference, args.reference, None, args.allow_pipes), options


@dataclass(frozen=True)
class AnchorSystem:
    """A codec of `evaluation.anchors`."""

    label: str
    anchor: Anchor

    def prepare(
        self, args: argparse.Namespace, references: References, folder: Path, options: Options, advance: Advance
    ) -> Prepared:
        """See `System.prepare`."""
        from audiocodec.evaluation.systems.reconstruct import reconstruct

        entries, sizes = reconstruct(self.anchor, references, folder, args.jobs, args.resume, args.allow_pipes, advance)
        return entries, replace(options, sizes=sizes)


@dataclass(frozen=True)
class ModelSystem:
    """One of our own models, as `evaluate -m` codes with it."""

    label: str
    model: batch.Model
    num_codebooks: int | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, label: str, name: str) -> ModelSystem:
        """The model of this name, path or folder, `@N` behind it for its first N codebooks; its header is read now, its
        weights when they are needed.

        Without a label it is called what the user calls it: the name, or the last part of the path, and `-N`.
        """
        place, at, count = name.rpartition("@")
        num_codebooks = int(count) if at and count.isdecimal() and int(count) > 0 and not os.path.exists(name) else None
        place = name if num_codebooks is None else place
        model = batch.Model(argparse.Namespace(**{**vars(args), "model": place, "num_codebooks": num_codebooks}))
        label = label or Path(place).name.removesuffix(".safetensors") + (f"-{num_codebooks}" if num_codebooks else "")
        if not is_label(label):
            raise UsageError(f"-m {name}: {label!r} cannot name a folder; say -m LABEL={name}")
        return cls(label, model, num_codebooks)

    def prepare(
        self, args: argparse.Namespace, references: References, folder: Path, options: Options, advance: Advance
    ) -> Prepared:
        """See `System.prepare`."""
        from audiocodec.evaluation.systems.model import TIMINGS, reconstruct

        entries = reconstruct(
            self.model.codec, references, folder, self.num_codebooks, args.resume, args.allow_pipes, advance
        )
        return entries, replace(options, bitrate=True, timings=(str(folder / TIMINGS),), model=self.model.facts)


@dataclass(frozen=True)
class FolderSystem:
    """Reconstructions that somebody else made, see `evaluation.systems.folder`; `coded` gives their bitrate."""

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
        self, args: argparse.Namespace, references: References, folder: Path, options: Options, advance: Advance
    ) -> Prepared:
        """See `System.prepare`."""
        from audiocodec.evaluation.pairing import pair
        from audiocodec.evaluation.systems.folder import find, holds_tokens, sizes_of

        places = find(self.source, self.coded)
        tokens = places.coded if places.coded is not None and holds_tokens(places.coded) else None
        entries = pair(args.reference, places.estimates, tokens, args.allow_pipes)
        if places.coded is None or tokens is not None:
            return entries, replace(options, bitrate=tokens is not None)
        return entries, replace(options, sizes=sizes_of(places.coded, references, args.allow_pipes))
