"""What every source is: a list of utterances that is written down once, or files that are shards by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One utterance of a list.

    Attributes:
        id: its name.
        audio: a path, address or command, absolute.
        seconds: length; None: unknown.
        start: seconds into the recording; None: `audio` is the whole utterance.
        stamp: of the file, where the source lists files; its first word is the size in bytes.
        columns: further columns.
    """

    id: str
    audio: str
    seconds: float | None = None
    start: float | None = None
    stamp: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """A source that lists its utterances; `entries` goes over them anew at every call.

    Attributes:
        kind: `folder`, `kaldi` or `manifest`.
        entries: yields them in a fixed order, in bounded memory.
    """

    kind: str
    entries: Callable[[], Iterator[Entry]]


@dataclass(frozen=True)
class Files:
    """A source whose files hold the audio; each file is a shard.

    Attributes:
        kind: `webdataset` or `parquet`.
        files: absolute addresses.
        kinds: types of the columns that they bring.
    """

    kind: str
    files: list[str]
    kinds: dict[str, str]
