"""Where the outputs of a system go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from audiocodec.evaluation.pairing import Entry
from audiocodec.tokens.token_file import EXTENSION

WAVS = "wav"


def planned(name: str, paths: list[str], folder: Path, tokens: str | None = None) -> Entry:
    """The entry of a reference with the files it will have; a name must not lead out of `folder`.

    Args:
        name: of the utterance.
        paths: what `pairing.list_audio` found of that name.
        folder: of the system.
        tokens: folder in it for token files; None: the system makes none.
    """
    entry = Entry(name, paths[0], None)
    if len(paths) > 1:
        return replace(entry, problem="more than one reference of that name")
    if name.startswith("/") or ".." in name.split("/"):
        return replace(entry, problem="its id leads out of the output folder")
    estimate = str(folder / WAVS / f"{name}.wav")
    return replace(entry, estimate=estimate, tokens=str(folder / tokens / (name + EXTENSION)) if tokens else None)
