"""Data folders joined, and put in order as Kaldi's `fix_data_dir.sh` does: sorted, with the same ids in every table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audiocodec.data.excerpt import Excerpt
from audiocodec.data.manifest import (
    LIST,
    SEGMENTS,
    AnyPath,
    Utterance,
    read_folders,
    table_bytes,
    write_folder,
    write_table,
)
from audiocodec.data.pipes import info
from audiocodec.data.tables import Problem, path_problems, read_lines, read_segments, refuse
from audiocodec.data.validation import audio_problems
from audiocodec.errors import AudioError, ManifestError
from audiocodec.files import replacing

BACKUP = ".backup"
SPEAKERS, LISTED_SPEAKERS, LENGTHS, DURATIONS = "utt2spk", "spk2utt", "utt2num_samples", "utt2dur"
MADE = (LISTED_SPEAKERS, LENGTHS, DURATIONS)  # of what the others and the audio say
_OWN = (LIST, SEGMENTS, SPEAKERS, *MADE)  # what `write_folder` writes, and what follows from it

Table = dict[str, str]


@dataclass
class Repaired:
    """What was done to a folder.

    Attributes:
        utterances: that it holds now.
        dropped: what it held besides, with the reason.
        changed: names of the tables that were written.
    """

    utterances: int = 0
    dropped: list[Problem] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def fix(folder: AnyPath, *, check_audio: bool = False, deep: bool = False, allow_pipes: bool = False) -> Repaired:
    """Put a data folder in order; tables that change are kept in `.backup`.

    Sorts every table by bytes, drops what is not in all of them, writes `utt2num_samples` where the folder has none of an
    utterance, and makes `utt2spk` of `spk2utt`, or of the ids, where it is missing.

    Args:
        folder: to put in order.
        check_audio: drop utterances whose audio cannot be read, or is not as long as the tables say.
        deep: decode it to find out.
        allow_pipes: run commands in `wav.scp`.

    Raises:
        ManifestError: a table that says two things of one id, commands that are not allowed, or nothing would be left.
    """
    base, found = Path(folder), Repaired()
    if not base.is_dir():
        raise ManifestError(f"{base}: no such folder")
    tables = _read(base, found)
    recordings = tables.get(LIST, {})
    refuse(list(path_problems(base / LIST, recordings.items(), allow_pipes)))
    paths: Mapping[str, str] = recordings
    if SEGMENTS in tables:
        paths = dict(read_segments(base / SEGMENTS, recordings, found.dropped))
    if SPEAKERS not in tables:
        tables[SPEAKERS] = _speakers(tables.get(LISTED_SPEAKERS, {})) or {key: key for key in paths}
    ids = _common(base, paths, tables, found)
    utterances = _measured({key: paths[key] for key in paths if key in ids}, tables, found, check_audio, deep)
    if not utterances:
        refuse([Problem(str(base), "nothing would be left of it"), *found.dropped])
    found.utterances, found.changed = len(utterances), _write(base, _repaired(utterances, tables))
    return found


def combine(folders: Sequence[AnyPath], out: AnyPath, allow_pipes: bool = False) -> tuple[list[Utterance], list[str]]:
    """Join data folders into one, with the tables that all of them have.

    Returns:
        (utterances, names of tables that only some have and that are left out).

    Raises:
        ManifestError: a folder is not valid, an id is in two of them, or two recordings have one name.
    """
    joined = [_with_length(u, allow_pipes) for read in read_folders(folders, allow_pipes) for u in read]
    more = [{name: table for name, table in _read(Path(f), Repaired()).items() if name not in _OWN} for f in folders]
    everywhere = set.intersection(*(set(tables) for tables in more))
    write_folder(joined, out)
    for name in sorted(everywhere):
        write_table(Path(out) / name, {key: value for tables in more for key, value in tables[name].items()})
    for path in Path(out).iterdir():  # of an earlier run, with other folders
        if _is_table(path.name) and path.name not in everywhere.union(_OWN) - set(MADE) | {LENGTHS}:
            path.unlink()
    return joined, sorted({name for tables in more for name in tables} - everywhere)


def _with_length(u: Utterance, allow_pipes: bool) -> Utterance:
    if u.num_samples:
        return u
    try:
        return replace(u, num_samples=info(u.path, allow_pipes).num_samples)
    except (AudioError, ManifestError) as error:
        raise ManifestError(f"{u.id}: {error}") from None


def _read(folder: Path, found: Repaired) -> dict[str, Table]:
    """Every table by name; a transcript may be empty, other lines without a value are dropped."""
    tables: dict[str, Table] = {}
    problems: list[Problem] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and _is_table(path.name)):
        table = tables[path.name] = {}
        for number, line in read_lines(path, found.dropped, 1 if path.name == "text" else 2):
            key, value = line if len(line) == 2 else (line[0], "")
            if table.setdefault(key, value) != value:
                problems.append(Problem(f"{path}:{number}", f"{key} has another value further up; remove one of them"))
    refuse(problems)
    return tables


def _is_table(name: str) -> bool:
    return name in (SEGMENTS, "text") or name.startswith(("utt2", "spk2", "reco2")) or name.endswith(".scp")


def _speakers(by_speaker: Table) -> Table:
    """`utt2spk` out of `spk2utt`."""
    return {key: speaker for speaker, keys in by_speaker.items() for key in keys.split()}


def _common(base: Path, paths: Mapping[str, str], tables: Mapping[str, Table], found: Repaired) -> set[str]:
    """Ids that are in every table of utterances."""
    listed = {name: set(table) for name, table in tables.items() if _owner(name) == "utterance" and name not in MADE}
    listed[SEGMENTS if SEGMENTS in tables else LIST] = set(paths)
    ids = set.intersection(*listed.values())
    for key in sorted(set().union(*listed.values()) - ids, key=os.fsencode):
        lacking = [name for name, there in listed.items() if key not in there]
        found.dropped.append(Problem(str(base), f"{key} is not in {', '.join(lacking)}"))
    return ids


def _owner(name: str) -> str:
    """What the ids of a table name; those of `wav.scp` are for the caller to know."""
    if name == LISTED_SPEAKERS or name == "cmvn.scp" or name.startswith("spk2"):
        return "speaker"
    return "recording" if name == LIST or name.startswith("reco2") else "utterance"


def _measured(
    paths: Mapping[str, str], tables: Mapping[str, Table], found: Repaired, check_audio: bool, deep: bool
) -> list[Utterance]:
    """Utterances with their lengths; those of which none can be found, or whose audio is bad, are dropped."""
    kept = []
    for key, path in paths.items():
        stated = tables.get(LENGTHS, {}).get(key, "")
        utterance = Utterance(key, path, tables[SPEAKERS][key], int(stated) if stated.isdecimal() else 0)
        if check_audio and (bad := audio_problems(utterance, tables.get(DURATIONS, {}).get(key, ""), deep, True)):
            found.dropped += bad
            continue
        try:
            kept.append(_with_length(utterance, True))
        except ManifestError as error:
            found.dropped.append(Problem(key, str(error).removeprefix(f"{key}: ")))
    return kept


def _repaired(utterances: Sequence[Utterance], tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables with these utterances, their speakers and recordings alone."""
    parts = [u.path for u in utterances if isinstance(u.path, Excerpt)]
    kept = {
        "utterance": {u.id for u in utterances},
        "speaker": {u.speaker for u in utterances},
        "recording": {part.recording_id for part in parts} if parts else {u.id for u in utterances},
    }
    new = {name: {k: v for k, v in table.items() if k in kept[_owner(name)]} for name, table in tables.items()}
    new[LENGTHS] = {u.id: str(u.num_samples) for u in utterances}
    if DURATIONS in tables:
        new[DURATIONS] = {u.id: tables[DURATIONS].get(u.id) or _seconds(u.path) for u in utterances}
    if LISTED_SPEAKERS in tables:
        by_speaker: dict[str, list[str]] = {}
        for u in sorted(utterances, key=lambda u: os.fsencode(u.id)):
            by_speaker.setdefault(u.speaker, []).append(u.id)
        new[LISTED_SPEAKERS] = {speaker: " ".join(ids) for speaker, ids in by_speaker.items()}
    return new


def _seconds(path: str) -> str:
    found = info(path, True)
    return f"{found.num_samples / found.sample_rate:.3f}"


def _write(base: Path, tables: Mapping[str, Table]) -> list[str]:
    """Write what has changed; what was there before goes to `.backup` first, so that no kill can lose it."""
    changed = []
    for name, table in tables.items():
        path = base / name
        if path.is_file() and path.read_bytes() != table_bytes(table):
            (base / BACKUP).mkdir(exist_ok=True)
            with replacing(base / BACKUP / name) as temporary:
                shutil.copyfile(path, temporary)
        if write_table(path, table):
            changed.append(name)
    return changed
