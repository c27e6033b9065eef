"""Somebody else's system: where its reconstructions are, and what is known of the size of its coded files.

What `compare` and `evaluate -m` leave is understood as it lies: `FOLDER/wav` beside `FOLDER/tokens` or
`FOLDER/sizes.jsonl`, named by either folder. Of others, a folder of coded files gives the bitrate on disk: a file for each
utterance, named as it is but for the extension. A `sizes.jsonl` tells both bitrates: lines of
`{"id": ..., "file_bits": ..., "payload_bits": ..., "sample_rate": ..., "num_samples": ...}`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio import io
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioError, ManifestError
from audiocodec.evaluation.coding import Bitrate, CodedSizes
from audiocodec.evaluation.systems.model import TOKENS
from audiocodec.evaluation.systems.outputs import WAVS
from audiocodec.evaluation.systems.reconstruct import SIZES, read_sizes
from audiocodec.tokens.token_file import EXTENSION


@dataclass(frozen=True)
class Places:
    """Where a system's files are: reconstructions; token files, coded files or a `sizes.jsonl`, if any."""

    estimates: str
    coded: str | None


def find(folder: str, coded: str | None) -> Places:
    """The places that a folder means.

    Args:
        folder: of reconstructions, or what `compare` or `evaluate -m` left.
        coded: what the user says about the coded files; None: look for it.
    """
    path = Path(folder)
    above = path.parent if path.name == WAVS else path
    beside = next((str(above / name) for name in (TOKENS, SIZES) if (above / name).exists()), None)
    inside = above == path and beside is not None and (path / WAVS).is_dir()
    return Places(str(path / WAVS) if inside else folder, coded or beside)


def holds_tokens(coded: str) -> bool:
    """Whether it is a folder with token files."""
    return any(Path(coded).rglob(f"*{EXTENSION}"))


def sizes_of(coded: str, references: Mapping[str, Sequence[str]], allow_pipes: bool = False) -> CodedSizes:
    """Sizes of another codec's files.

    Args:
        coded: a `sizes.jsonl`, or a folder of coded files.
        references: name -> paths, from `pairing.list_audio`: how long each utterance is.
        allow_pipes: run commands found in `wav.scp`.

    Raises:
        AudioCodecError: `sizes.jsonl` cannot be read or is not one.
    """
    if os.path.isfile(coded):
        sizes, problems = read_sizes(coded), {}
        for name, size in sizes.items():
            seconds = _seconds(references.get(name, ()), allow_pipes)
            if seconds and abs(size.bitrate.seconds - seconds) * size.sample_rate > 1:
                said = f"{size.num_samples} samples at {size.sample_rate} Hz"
                problems[name] = f"{coded}: {said}, the reference has {seconds:.6f} s"
        sound = {name: size.bitrate for name, size in sizes.items() if name not in problems}
        return CodedSizes(f"{coded} says its sizes", sound, problems=problems)
    files: dict[str, list[Path]] = {}
    for path in sorted(Path(coded).rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            files.setdefault(os.path.splitext(path.relative_to(coded))[0], []).append(path)
    found = {}
    for name, paths in files.items():
        seconds = _seconds(references.get(name, ()), allow_pipes)
        if len(paths) == 1 and seconds:
            found[name] = Bitrate(seconds, 8 * paths[0].stat().st_size, None)
    return CodedSizes(f"sizes of the files in {coded}", found, payload=False)


def _seconds(reference: Sequence[str], allow_pipes: bool) -> float:
    """Length of the only reference; 0 where there is none, or it cannot be read."""
    if len(reference) != 1:
        return 0.0
    try:
        with audio_file(reference[0], allow_pipes) as path:
            found = io.info(path)
    except (AudioError, ManifestError):
        return 0.0
    return found.num_samples / found.sample_rate
