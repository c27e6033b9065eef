"""Kaldi-style data folders: `wav.scp`, `utt2spk`, `utt2num_samples`.

One line per utterance, `id value`, sorted by bytes (LC_ALL=C). A path may hold spaces; relative ones are relative to
the working directory, as in Kaldi. `id command |` runs a shell command and is refused unless pipes are allowed.
`utt2num_samples` counts at the rate of the file. Ark offsets and `segments` are left out.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.data.pipes import is_pipe
from audiocodec.errors import ManifestError
from audiocodec.files import replacing

FILES = ("wav.scp", "utt2spk", "utt2num_samples")
_SHOWN = 10  # problems named in one error message

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Utterance:
    """One line of a data folder; `path` may be a command ending in `|`, `num_samples` is at the file's own rate."""

    id: str
    path: str
    speaker: str
    num_samples: int


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data folder or an audio file: where, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def read_scp(path: AnyPath, allow_pipes: bool = False) -> list[tuple[str, str]]:
    """Read a `wav.scp` alone.

    Returns:
        (id, path) in file order.

    Raises:
        ManifestError: unreadable, empty, malformed lines, duplicate ids, or pipes that are not allowed.
    """
    problems: list[Problem] = []
    pairs = read_table(Path(path), problems)
    problems += _pipe_problems(Path(path), pairs, allow_pipes)
    if not problems and not pairs:
        problems.append(Problem(str(path), "has no utterances"))
    refuse(problems)
    return pairs


def list_scp(path: AnyPath, allow_pipes: bool = False) -> dict[str, list[str]]:
    """Read a `wav.scp` in which ids may be repeated: id -> its paths, in file order.

    Raises:
        ManifestError: as for `read_scp`, but for duplicate ids and where there is nothing.
    """
    problems: list[Problem] = []
    lines = _read_lines(Path(path), problems)
    problems += _pipe_problems(Path(path), [(key, value) for _, key, value in lines], allow_pipes)
    refuse(problems)
    found: dict[str, list[str]] = {}
    for _, key, value in lines:
        found.setdefault(key, []).append(value)
    return found


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


def write_folder(utterances: Iterable[Utterance], out_dir: AnyPath) -> bool:
    """Write the three tables, sorted by id; a table that would not change is not touched.

    Returns:
        Whether anything changed.

    Raises:
        ManifestError: an id or path that a line cannot hold, or equal ids.
    """
    rows = sorted(utterances, key=lambda u: os.fsencode(u.id))
    out = Path(out_dir)
    refuse(_unwritable(rows, out))
    out.mkdir(parents=True, exist_ok=True)
    values = ([u.path for u in rows], [u.speaker for u in rows], [str(u.num_samples) for u in rows])
    changed = [
        _replace_if_different(out / name, "".join(f"{u.id} {v}\n" for u, v in zip(rows, column)))
        for name, column in zip(FILES, values)
    ]
    return any(changed)


def refuse(problems: Sequence[object]) -> None:
    """Nothing where there are no problems.

    Raises:
        ManifestError: naming the first ten, and how many more there are.
    """
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ManifestError("\n".join([str(p) for p in problems[:_SHOWN]] + more))


def read_tables(folder: Path, allow_pipes: bool) -> tuple[list[Utterance], list[Problem]]:
    """The utterances of a data folder as far as its tables tell them, and everything wrong with these."""
    if not folder.is_dir():
        return [], [Problem(str(folder), "no such folder")]
    problems: list[Problem] = []
    paths, speakers, lengths = (dict(read_table(folder / name, problems)) for name in FILES)
    if not paths and not problems:
        return [], [Problem(str(folder / "wav.scp"), "has no utterances")]
    problems += _pipe_problems(folder / "wav.scp", paths.items(), allow_pipes)
    for name, table in (("utt2spk", speakers), ("utt2num_samples", lengths)):
        if (folder / name).is_file():
            problems += [Problem(str(folder / name), f"no entry for {key}") for key in paths if key not in table]
            problems += [Problem(str(folder / name), f"{key} is not in wav.scp") for key in table if key not in paths]
    utterances = []
    for key, path in paths.items():
        length = lengths.get(key, "0")
        if not length.isdecimal() or (key in lengths and int(length) == 0):
            problems.append(
                Problem(str(folder / "utt2num_samples"), f"{key}: expected a positive number, got {length!r}")
            )
            length = "0"
        utterances.append(Utterance(key, path, speakers.get(key, key), int(length)))
    return utterances, problems


def read_table(path: Path, problems: list[Problem]) -> list[tuple[str, str]]:
    """Pairs of one table; malformed lines and repeated ids are reported and left out."""
    pairs: dict[str, str] = {}
    for number, key, value in _read_lines(path, problems):
        if key in pairs:
            problems.append(Problem(f"{path}:{number}", f"duplicate id {key}"))
        else:
            pairs[key] = value
    return list(pairs.items())


def _read_lines(path: Path, problems: list[Problem]) -> list[tuple[int, str, str]]:
    """(line number, id, value) of one table; malformed lines are reported and left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        problems.append(Problem(str(path), error.strerror or str(error)))
        return []
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        key, _, value = line.strip().replace("\t", " ", 1).partition(" ")
        if value.strip():
            lines.append((number, key, value.strip()))
        else:
            problems.append(Problem(f"{path}:{number}", f"expected 'id value', got {line.strip()!r}"))
    return lines


def _pipe_problems(table: Path, pairs: Iterable[tuple[str, str]], allow_pipes: bool) -> list[Problem]:
    refused = "" if allow_pipes else "commands run only with --allow-pipes"
    return [
        Problem(str(table), f"{key} is a command ({path}); {refused}")
        for key, path in pairs
        if is_pipe(path) and refused
    ]


def _unwritable(rows: Sequence[Utterance], out: Path) -> list[Problem]:
    problems = [Problem(str(out), f"duplicate id {a.id}") for a, b in itertools.pairwise(rows) if a.id == b.id]
    for u in rows:
        if u.id.split() != [u.id] or u.speaker.split() != [u.speaker]:
            problems.append(Problem(str(out), f"an id cannot be empty or hold white space: {u.id!r}, {u.speaker!r}"))
        if u.path != u.path.strip() or "\n" in u.path:
            problems.append(Problem(u.path, "a name with a line break or white space at its ends does not fit wav.scp"))
    return problems


def _replace_if_different(path: Path, text: str) -> bool:
    data = text.encode("utf-8", errors="surrogateescape")
    if path.is_file() and path.read_bytes() == data:
        return False
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return True
