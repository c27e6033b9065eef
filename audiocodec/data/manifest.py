"""Kaldi-style data folders: `wav.scp`, `utt2spk`, and where they are there `segments`, `utt2num_samples`, `utt2dur`.

One line per utterance, `id value`, sorted by bytes (LC_ALL=C). A path may hold spaces; relative ones are relative to
the working directory, as in Kaldi. `id command |` runs a shell command and is refused unless pipes are allowed. With
`segments`, the ids of `wav.scp` are those of recordings. `utt2num_samples` counts at the rate of the file; without it
lengths come from headers. Places in archives (`x.ark:17`) are refused.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.data.excerpt import Excerpt
from audiocodec.data.pipes import files_behind
from audiocodec.data.tables import Problem, path_problems, read_lines, read_segments, read_table, refuse
from audiocodec.errors import ManifestError
from audiocodec.files import replacing

FILES = ("wav.scp", "utt2spk", "utt2num_samples")
LIST, SEGMENTS = "wav.scp", "segments"

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Utterance:
    """One line of a data folder.

    Attributes:
        id: its name.
        path: a file, a command ending in `|`, or an `Excerpt`.
        speaker: who speaks; the id where that is not known.
        num_samples: at the file's own rate; 0: the folder does not say.
    """

    id: str
    path: str
    speaker: str
    num_samples: int


def read_scp(path: AnyPath, allow_pipes: bool = False) -> list[tuple[str, str]]:
    """Read a `wav.scp` alone, or with the `segments` beside it.

    Returns:
        (id, path) in file order; with `segments` an id and an `Excerpt` for each of its lines.

    Raises:
        ManifestError: unreadable, empty, malformed lines, duplicate ids, or pipes that are not allowed.
    """
    problems: list[Problem] = []
    pairs = _read_audio(Path(path), allow_pipes, problems)
    if not problems and not pairs:
        problems.append(Problem(str(path), "has no utterances"))
    refuse(problems)
    return pairs


def list_scp(path: AnyPath, allow_pipes: bool = False) -> dict[str, list[str]]:
    """Read a `wav.scp` in which ids may be repeated, or with the `segments` beside it: id -> its paths, in file order.

    Raises:
        ManifestError: as for `read_scp`, but for duplicate ids and where there is nothing.
    """
    problems: list[Problem] = []
    found: dict[str, list[str]] = {}
    if segments_of(Path(path)) is not None:
        pairs = _read_audio(Path(path), allow_pipes, problems)
    else:
        pairs = [(key, value) for _, (key, value) in read_lines(Path(path), problems)]
        problems += path_problems(Path(path), pairs, allow_pipes)
    refuse(problems)
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def segments_of(scp: Path) -> Path | None:
    """The `segments` that belong to a `wav.scp`, if there are any."""
    beside = scp.parent / SEGMENTS
    return beside if scp.name == LIST and beside.is_file() else None


def _read_audio(scp: Path, allow_pipes: bool, problems: list[Problem]) -> list[tuple[str, str]]:
    pairs = read_table(scp, problems)
    problems += path_problems(scp, pairs, allow_pipes)
    segments = segments_of(scp)
    return pairs if segments is None else [*read_segments(segments, dict(pairs), problems)]


def read_folder(path: AnyPath, allow_pipes: bool = False) -> list[Utterance]:
    """Read a data folder; looks at its three tables, not at the audio.

    Returns:
        The utterances, in the order of `wav.scp`.

    Raises:
        ManifestError: naming every file and line that is wrong (the first ten).
    """
    utterances, problems = read_tables(Path(path), allow_pipes)
    refuse(problems)
    return utterances


def read_folders(paths: Sequence[AnyPath], allow_pipes: bool = False) -> list[list[Utterance]]:
    """Read several data folders, whose ids must differ.

    Raises:
        ManifestError: as for `read_folder`, and naming what is in two of them.
    """
    read, owners, problems = [], dict[str, AnyPath](), []
    for path in paths:
        read.append(read_folder(path, allow_pipes))
        for u in read[-1]:
            if owners.setdefault(u.id, path) != path:
                problems.append(Problem(str(path), f"{u.id} is in {owners[u.id]}, too; ids must differ"))
    refuse(problems)
    return read


def write_folder(utterances: Iterable[Utterance], out_dir: AnyPath) -> bool:
    """Write the tables, sorted by id; a table that would not change is not touched.

    Where an utterance is an `Excerpt`, `segments` are written too, with a line for every utterance; else they go.

    Returns:
        Whether anything changed.

    Raises:
        ManifestError: an id or path that a line cannot hold, or equal ids.
    """
    rows = sorted(utterances, key=lambda u: os.fsencode(u.id))
    out = Path(out_dir)
    refuse(_unwritable(rows, out))
    out.mkdir(parents=True, exist_ok=True)
    tables = {LIST: {u.id: u.path for u in rows}, "utt2spk": {u.id: u.speaker for u in rows}}
    if all(u.num_samples for u in rows):
        tables["utt2num_samples"] = {u.id: str(u.num_samples) for u in rows}
    if any(isinstance(u.path, Excerpt) for u in rows):
        tables |= _cut_tables(rows, out)
        changed = [write_table(out / SEGMENTS, tables.pop(SEGMENTS))]
    else:
        changed = [(out / SEGMENTS).is_file()]
        (out / SEGMENTS).unlink(missing_ok=True)
    return any([write_table(out / name, table) for name, table in tables.items()] + changed)


def write_table(path: Path, table: Mapping[str, str]) -> bool:
    """Write a table, sorted by id, unless the file holds the same; returns whether it was written."""
    data = table_bytes(table)
    if path.is_file() and path.read_bytes() == data:
        return False
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return True


def table_bytes(table: Mapping[str, str]) -> bytes:
    """A table as a file holds it, sorted by id."""
    lines = [f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table, key=os.fsencode)]
    return "".join(lines).encode("utf-8", errors="surrogateescape")


def _cut_tables(rows: Sequence[Utterance], out: Path) -> dict[str, dict[str, str]]:
    """`wav.scp` of recordings, and `segments`."""
    recordings: dict[str, str] = {}
    segments = {}
    for u in rows:
        part = u.path if isinstance(u.path, Excerpt) else Excerpt(u.path, u.id, 0.0, None)
        if recordings.setdefault(part.recording_id, part.recording) != part.recording:
            raise ManifestError(f"{out}: two recordings are called {part.recording_id}")
        segments[u.id] = f"{part.recording_id} {part.start!r} {-1 if part.end is None else repr(part.end)}"
    return {LIST: recordings, SEGMENTS: segments}


def read_tables(folder: Path, allow_pipes: bool) -> tuple[list[Utterance], list[Problem]]:
    """The utterances of a data folder as far as its tables tell them, and everything wrong with these."""
    if not folder.is_dir():
        return [], [Problem(str(folder), "no such folder")]
    problems: list[Problem] = []
    paths = dict(_read_audio(folder / LIST, allow_pipes, problems))
    listed = SEGMENTS if (folder / SEGMENTS).is_file() else LIST
    tables = {name: folder / name for name in ("utt2spk", "utt2num_samples", "utt2dur")}
    values = {name: dict(read_table(p, problems)) for name, p in tables.items() if name == "utt2spk" or p.is_file()}
    if not paths and not problems:
        return [], [Problem(str(folder / listed), "has no utterances")]
    for name, table in values.items():
        if tables[name].is_file():
            problems += [Problem(str(tables[name]), f"no entry for {key}") for key in paths if key not in table]
            problems += [Problem(str(tables[name]), f"{key} is not in {listed}") for key in table if key not in paths]
    lengths = _positive(values.get("utt2num_samples", {}), _is_length, tables["utt2num_samples"], problems)
    _positive(values.get("utt2dur", {}), is_number, tables["utt2dur"], problems)
    speakers = values["utt2spk"]
    return [Utterance(u, path, speakers.get(u, u), int(lengths.get(u, "0"))) for u, path in paths.items()], problems


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) < 19


def is_number(text: str) -> bool:
    """Whether it is a finite number."""
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False


def _positive(
    table: dict[str, str], is_valid: Callable[[str], bool], path: Path, problems: list[Problem]
) -> dict[str, str]:
    """The lines whose value is a number above 0; others are reported."""
    wrong = {key: value for key, value in table.items() if not is_valid(value) or float(value) <= 0}
    problems += [
        Problem(str(path), f"{key}: expected a positive number, got {value!r}") for key, value in wrong.items()
    ]
    return {key: value for key, value in table.items() if key not in wrong}


def _unwritable(rows: Sequence[Utterance], out: Path) -> list[Problem]:
    problems = [Problem(str(out), f"duplicate id {a.id}") for a, b in itertools.pairwise(rows) if a.id == b.id]
    for u in rows:
        if u.id.split() != [u.id] or u.speaker.split() != [u.speaker]:
            problems.append(Problem(str(out), f"an id cannot be empty or hold white space: {u.id!r}, {u.speaker!r}"))
        path = files_behind(u.path)[0]
        if path != path.strip() or "\n" in path:
            problems.append(Problem(path, "a name with a line break or white space at its ends does not fit wav.scp"))
    return problems
