"""The tables of a corpus: `tables.py CORPUS SHARDS [AUDIO]` checks them and what they name, and prints the tars to unpack.

SHARDS are tars separated by spaces, none: all. With AUDIO, where the tars are unpacked, the clips of train have to be there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audiocodec.data.corpus import unique_ids
from audiocodec.data.tables import Problem, refuse
from audiocodec.errors import ManifestError


@dataclass(frozen=True)
class Clip:
    """A row of a table."""

    where: str  # table and line
    id: str
    path: str
    speaker: str
    shard: str  # empty in dev


def read_corpus(corpus: Path, shards: str) -> tuple[list[Clip], list[Clip]]:
    """Read and check both tables.

    Args:
        corpus: the folder.
        shards: tars to take, separated by spaces; none: all.

    Returns:
        (clips of train in those tars, clips of dev).

    Raises:
        ManifestError: naming files and lines that are wrong or missing.
    """
    if not corpus.is_dir():
        raise ManifestError(f"{corpus}: no such folder")
    problems: list[Problem] = []
    train = _read_table(corpus / "train.tsv", ("path", "speaker", "shard"), problems)
    dev = _read_table(corpus / "dev.tsv", ("path", "speaker"), problems)
    refuse(problems)
    heard = {clip.speaker: clip.where for clip in train}
    problems += [
        Problem(clip.where, f"speaker {clip.speaker} is in train, too ({heard[clip.speaker]})")
        for clip in dev
        if clip.speaker in heard
    ]
    named = {clip.shard: None for clip in train}  # in their order
    wanted = shards.split() or list(named)
    table = str(corpus / "train.tsv")
    problems += [Problem(table, f"names no tar {tar}; it has {' '.join(named)}") for tar in wanted if tar not in named]
    problems += [
        Problem(str(corpus / tar), "no such file, but train.tsv names it; --shards chooses some of its tars")
        for tar in named
        if tar in wanted and not (corpus / tar).is_file()
    ]
    problems += [
        Problem(clip.where, f"{corpus / 'dev' / clip.path}: no such file")
        for clip in dev
        if not (corpus / "dev" / clip.path).is_file()
    ]
    refuse(problems)
    return [clip for clip in train if clip.shard in wanted], dev


def _read_table(path: Path, columns: Sequence[str], problems: list[Problem]) -> list[Clip]:
    """The rows of a table; what is wrong with it is added to `problems`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(path), getattr(error, "strerror", None) or str(error)))
        return []
    header, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    if wrong := _wrong_header(header, columns):
        problems.append(Problem(f"{path}:1", wrong))
        return []
    if not rows:
        problems.append(Problem(str(path), "has no rows"))
    ids = unique_ids(sorted({row[header.index("path")] for row in rows if len(row) == len(header)}))
    clips: dict[str, Clip] = {}
    for number, row in enumerate(rows, 2):
        where, cells = f"{path}:{number}", dict(zip(header, row))
        if len(row) != len(header):
            problems.append(Problem(where, f"has {len(row)} columns, expected {len(header)}"))
        elif empty := [name for name in columns if not cells[name].strip()]:
            problems.append(Problem(where, f"nothing in column {', '.join(empty)}"))
        elif leads_out := [cells[name] for name in ("path", "shard") if name in columns and _leads_out(cells[name])]:
            problems.append(Problem(where, f"{leads_out[0]} leads out of the corpus"))
        elif cells["path"] in clips:
            problems.append(Problem(where, f"{cells['path']} is in {clips[cells['path']].where}, too"))
        else:
            key = cells["path"]
            clips[key] = Clip(where, ids[key], key, cells["speaker"], cells["shard"] if "shard" in columns else "")
    return list(clips.values())


def _wrong_header(header: Sequence[str], columns: Sequence[str]) -> str:
    """What is wrong with the names of the columns; empty: nothing."""
    if lacking := [name for name in columns if name not in header]:
        return f"lacks {', '.join(lacking)}; its columns, parted by tabs, are: {', '.join(header)}"
    twice = [name for name in header if header.count(name) > 1]
    return f"column {twice[0]!r} twice" if twice else ""


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def main(arguments: list[str]) -> int:
    """Check a corpus; the exit status."""
    corpus, shards, *audio = arguments
    try:
        train, _ = read_corpus(Path(corpus), shards)
        missing = [clip for clip in train if audio and not (Path(audio[0]) / clip.shard / clip.path).is_file()]
        refuse([Problem(clip.where, f"{clip.path} is not in {clip.shard}") for clip in missing])
    except ManifestError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join({clip.shard: None for clip in train}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
