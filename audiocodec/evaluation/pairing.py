"""Which reference belongs to which estimate and which token file: by name.

Files of two folders belong together when their paths below the folder are equal but for the extension; the entries of
a data folder or a `wav.scp` go by their utterance id. That is how `encode` and `decode` name what they write. Nothing
is dropped: what has no counterpart becomes an entry that says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiocodec.data.corpus import AUDIO_EXTENSIONS, find_files, named
from audiocodec.data.manifest import list_scp
from audiocodec.errors import ManifestError
from audiocodec.tokens.token_file import EXTENSION

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Entry:
    """One utterance: `reference` is a path or a command ending in `|`; `problem` says why it cannot be scored."""

    id: str
    reference: str | None
    estimate: str | None
    tokens: str | None = None
    problem: str = ""


def list_audio(source: AnyPath, allow_pipes: bool = False) -> dict[str, list[str]]:
    """The audio of a folder, a data folder (one with a `wav.scp`, all that counts of it) or a `wav.scp`.

    Args:
        source: where it is.
        allow_pipes: accept commands in `wav.scp`.

    Returns:
        Name -> paths; more than one where files differ in their extension only, or a `wav.scp` repeats an id.

    Raises:
        ManifestError: there is no audio, or a table is wrong.
    """
    found = _list_audio(source, allow_pipes)
    if not found:
        raise ManifestError(f"{source}: holds no {named(AUDIO_EXTENSIONS)} files")
    return found


def _list_audio(source: AnyPath, allow_pipes: bool) -> dict[str, list[str]]:
    """As `list_audio`; there may be none."""
    path = Path(source)
    if path.is_dir() and (path / "wav.scp").is_file():
        path /= "wav.scp"
    if path.is_file() and path.suffix == ".scp":
        return list_scp(path, allow_pipes)
    if path.is_file():
        raise ManifestError(f"{source}: is neither a folder nor a list of audio (.scp)")
    return _by_name(path, find_files(path, AUDIO_EXTENSIONS))


def pair(
    reference: AnyPath, estimate: AnyPath, tokens: AnyPath | None = None, allow_pipes: bool = False
) -> list[Entry]:
    """Pair what is in two places.

    Args:
        reference: the originals: folder, data folder or `wav.scp`.
        estimate: the reconstructions, the same; there may be none.
        tokens: folder of token files.
        allow_pipes: accept commands in `wav.scp`.

    Returns:
        An entry for every name in any of the three, sorted by bytes.

    Raises:
        ManifestError: there are no references, a place is not there, or a table is wrong.
    """
    references, estimates = list_audio(reference, allow_pipes), _list_audio(estimate, allow_pipes)
    coded = {} if tokens is None else _by_name(Path(tokens), find_files(tokens, (EXTENSION,)))
    names = references.keys() | estimates.keys() | coded.keys()
    return [_entry(name, references, estimates, coded) for name in sorted(names, key=os.fsencode)]


def _entry(
    name: str, references: dict[str, list[str]], estimates: dict[str, list[str]], coded: dict[str, list[str]]
) -> Entry:
    found = {"reference": references.get(name, []), "estimate": estimates.get(name, [])}
    return Entry(
        id=name,
        reference=next(iter(found["reference"]), None),
        estimate=next(iter(found["estimate"]), None),
        tokens=next(iter(coded.get(name, [])), None),
        problem="; ".join(_problems(found.items())),
    )


def _problems(found: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    for role, paths in found:
        if not paths:
            yield f"no {role}"
        elif len(paths) > 1:
            extensions = sorted({os.path.splitext(path)[1] for path in paths})
            yield f"more than one {role} of that name" + (f" ({', '.join(extensions)})" if len(extensions) > 1 else "")


def _by_name(root: Path, files: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in files:
        found.setdefault(os.path.splitext(name)[0], []).append(str(root / name))
    return found
