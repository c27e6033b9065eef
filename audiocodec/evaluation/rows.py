"""One row per utterance, kept as JSON lines: appended while scoring goes on, written whole and sorted at its end.

A measure that was asked for, now or in an earlier run, and has no value is null, and `failures` says why; one that was
not asked for, or as with times is not known, is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar, final

from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.files import read_text, write_text
from audiocodec.records import from_json, parse

FINISHED, GROWING, SUMMARY = "rows.jsonl", "rows.jsonl.partial", "summary.json"
MAX_ROWS = 1 << 32  # bytes
_T = TypeVar("_T")
_FILES = ("reference", "estimate", "tokens")
_OWN_KEYS = (
    "id",
    "seconds",
    "failures",
    "details",
    "notes",
    "groups",
    *_FILES,
    "reference_hash",
    "stamp",
    "again",
    "weights",
)


@dataclass(frozen=True)
class Row:
    """The scores of one utterance.

    Attributes:
        id: name of the pair.
        seconds: length of the reference.
        values: measure -> number; names are those of `evaluation.catalogue`, keys of their own in the JSON.
        failures: measure -> why it has no value, in words that can be counted.
        details: such a reason -> what is particular to this pair: how late, how long.
        notes: what is odd about the pair and does not keep it from being scored.
        groups: column of a table about the utterances (language, speaker, ...) -> value.
        reference, estimate, tokens: the files.
        reference_hash: of the reference's samples and rate, hexadecimal; empty where it could not be read.
        stamp: changes when the reference or the estimate does.
        again: measures whose failure says nothing about the pair (a process died, a file could not be read): `--resume`
            tries them again, and no others.
        weights: measure -> what the weights of the user's that it was computed with are called.
    """

    id: str
    seconds: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)
    reference: str | None = None
    estimate: str | None = None
    tokens: str | None = None
    reference_hash: str = ""
    stamp: str = ""
    again: tuple[str, ...] = ()
    weights: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line, without the line break."""
        numbers = {name: self.values.get(name) for name in MEASURES if name in self.values or name in self.failures}
        record = {"id": self.id, "seconds": self.seconds, **numbers}
        record |= {
            key: getattr(self, key) for key in _OWN_KEYS if key not in record and (key != "weights" or self.weights)
        }
        return json.dumps(record, ensure_ascii=True, allow_nan=False)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Read rows; a last line that was cut off while being written is left out.

    Raises:
        AudioCodecError: the file cannot be read, or another line is not a row.
    """
    return read_lines(path, _parse, "row")


def read_lines(path: str | os.PathLike[str], parse: Callable[[str], _T], what: str) -> list[_T]:
    """Read a file that grows by lines; a last line that was cut off while being written is left out.

    Args:
        path: the file.
        parse: a line's value; ValueError, TypeError or KeyError where it has none.
        what: one line is, for messages.

    Raises:
        AudioCodecError: the file cannot be read, or another line has no value.
    """
    try:
        lines = read_text(path, MAX_ROWS).split("\n")
    except (OSError, ValueError) as error:
        raise AudioCodecError(f"{path}: cannot read {what}s: {error}") from None
    values = []
    for number, line in enumerate(lines, 1):
        try:
            if line:
                values.append(parse(line))
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):
                raise AudioCodecError(f"{path}:{number}: not a {what}: {error}") from None
    return values


def scored_before(folder: Path) -> dict[str, Row]:
    """The rows of an earlier run in `folder`, finished or not, by id."""
    paths = [folder / FINISHED, folder / GROWING]
    return {row.id: row for path in paths if path.is_file() for row in read_rows(path)}


def reopen(folder: Path, keep: bool) -> None:
    """Let nothing in a folder count as finished: its audio may change from now on, and old scores must not be taken for new.

    Args:
        folder: of an evaluation; it need not be there.
        keep: its rows become those of an interrupted run, for `scored_before`; else they go.
    """
    rows = scored_before(folder).values() if keep else ()
    if rows:
        write_text(folder / GROWING, _lines(rows))
    for name in (FINISHED, SUMMARY, *(() if rows else (GROWING,))):
        (folder / name).unlink(missing_ok=True)


@final
class RowWriter:
    """Appends rows to a growing file; `finish` replaces it by the finished one.

    Use as a context; when it is left early, the growing file stays for `--resume`.
    """

    def __init__(self, folder: Path, kept: Iterable[Row] = ()) -> None:
        """Prepare to write in `folder`, beginning with the rows `kept` from an earlier run."""
        self._folder, self._kept = folder, kept
        self._file: TextIO | None = None

    def __enter__(self) -> RowWriter:
        path = self._folder / GROWING
        write_text(path, _lines(self._kept))
        self._file = open(path, "a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Row) -> None:
        """Add a row; it is on disk when this returns."""
        assert self._file is not None
        self._file.write(_lines([row]))
        self._file.flush()

    def finish(self, rows: Iterable[Row]) -> None:
        """Write the finished file, all at once, and remove the growing one."""
        write_text(self._folder / FINISHED, _lines(rows))
        (self._folder / GROWING).unlink()


def _lines(rows: Iterable[Row]) -> str:
    return "".join(row.to_json() + "\n" for row in rows)


def _parse(line: str) -> Row:
    record: Any = from_json(line)
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise TypeError("expected an object with an id")
    values = {name: parse(float, record[name], name) for name in MEASURES if record.get(name) is not None}
    own = {key: record[key] for key in _OWN_KEYS if key in record}
    return parse(Row, {**own, "values": values})
