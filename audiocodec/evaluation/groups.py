"""Columns of a table about the utterances, to break scores down by: language, speaker, source."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiocodec.data.corpus import AUDIO_EXTENSIONS
from audiocodec.errors import ManifestError

ID_COLUMNS = ("id", "path", "file")
SPEAKERS = "utt2spk"


def read_groups(
    table: str | os.PathLike[str] | None, columns: Sequence[str], reference: str | os.PathLike[str]
) -> dict[str, dict[str, str]]:
    """What each utterance belongs to.

    Args:
        table: tab-separated with a line of headings, one of which is `id`, `path` or `file`: the name of an utterance, with or
            without the extension of its audio. None: only `speaker`, from the `utt2spk` beside the references.
        columns: wanted.
        reference: the data folder or `wav.scp` that is evaluated.

    Returns:
        Name of an utterance -> column -> value.

    Raises:
        ManifestError: the table cannot be read, has no lines, lacks a column, or names an utterance twice.
    """
    if not columns:
        return {}
    if table is None:
        return _speakers(Path(reference), columns)
    try:
        with open(table, encoding="utf-8", newline="") as file:
            lines: list[dict[str | None, Any]] = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise ManifestError(f"{table}: cannot read the table: {error}") from None
    headings = [name for name in lines[0] if name is not None] if lines else []
    key = next((name for name in ID_COLUMNS if name in headings), None)
    if key is None:
        raise ManifestError(f"{table}: none of its columns is {', '.join(ID_COLUMNS)}")
    if lacking := [name for name in columns if name not in headings]:
        raise ManifestError(f"{table}: has no column {lacking[0]!r}; there are {', '.join(headings)}")
    groups: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, 2):
        if None in line or None in line.values():  # csv: too many, too few
            raise ManifestError(f"{table}:{number}: has {_width(line)} of {len(headings)} columns")
        name = _without_extension(line[key])
        if name in groups:
            raise ManifestError(f"{table}:{number}: {name} was there before")
        groups[name] = {column: line[column] for column in columns}
    return groups


def without_group(groups: Mapping[str, Mapping[str, str]], names: Collection[str]) -> list[str]:
    """Which of the utterances `names` the table says nothing about; none where there is no table.

    Raises:
        ManifestError: it says nothing about any of them: its names must be others.
    """
    left_out = sorted(name for name in names if name not in groups) if groups else []
    if left_out and len(left_out) == len(names):
        theirs = next(iter(groups))
        raise ManifestError(
            f"none of {len(names)} utterances is in the table to break scores down by: they are called as {left_out[0]!r}, "
            f"its lines as {theirs!r}"
        )
    return left_out


def _speakers(reference: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    path = (reference if reference.is_dir() else reference.parent) / SPEAKERS
    if list(columns) != ["speaker"] or not path.is_file():
        raise ManifestError(f"{reference}: a breakdown by {', '.join(columns)} needs a table of the utterances")
    groups: dict[str, dict[str, str]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            fields = line.decode("utf-8").split(maxsplit=1)
        except UnicodeDecodeError:
            raise ManifestError(f"{path}:{number}: is not UTF-8") from None
        if len(fields) == 1:
            raise ManifestError(f"{path}:{number}: expected 'id speaker', got {fields[0]!r}")
        if fields and fields[0] in groups:
            raise ManifestError(f"{path}:{number}: {fields[0]} was there before")
        if fields:
            groups[fields[0]] = {"speaker": fields[1].strip()}
    if not groups:
        raise ManifestError(f"{path}: has no lines")
    return groups


def _width(line: dict[str | None, Any]) -> int:
    return sum(value is not None for key, value in line.items() if key is not None) + len(line.get(None, ()))


def _without_extension(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in AUDIO_EXTENSIONS else name
