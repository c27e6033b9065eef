"""What a source yields: one utterance, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Utterance:
    """One utterance of a source.

    Attributes:
        id: its name; never used as a path.
        audio: a path, an address with `://`, a command ending in `|`, or the bytes of an audio file.
        file: what error messages and `failures.parquet` call the input.
        start: seconds into the recording; None: the whole recording.
        seconds: length of the part after `start`; None: to the end.
        columns: further columns, by the names that the plan gives them.
    """

    id: str
    audio: str | bytes
    file: str
    start: float | None = None
    seconds: float | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An utterance without tokens: its id, its input file, and the cause."""

    id: str
    file: str
    error: str
