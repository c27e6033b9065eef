"""A Kaldi data folder: `wav.scp`, with `segments`, `utt2spk`, `utt2lang`, `text`, and lengths where they are there.

Tables are read in step, a line at a time; one that is in another order is looked up in an index of 16 bytes a line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from audiocodec.audio import io
from audiocodec.data.pipes import is_pipe
from audiocodec.data.tables import span_of, unsupported, words
from audiocodec.errors import AudioError, CorpusError
from audiocodec.tokenize import storage
from audiocodec.tokenize.sources.base import Entry, Listing

_COLUMNS = {"speaker": "utt2spk", "language": "utt2lang", "text": "text"}
_Found = tuple[str, str, float | None, float | None]  # id, audio, start, seconds
_ASSUMED_RATE = 16_000  # of recordings whose first cannot be read: only the length of shards depends on it


def source(path: str, allow_pipes: bool = False) -> Listing:
    """The utterances of a folder with `wav.scp`, or of a list of that form.

    Args:
        path: the folder, or the list itself.
        allow_pipes: take commands too.

    Raises:
        CorpusError: on listing: a line that is malformed, a command that is not allowed, a recording that is missing.
    """
    return Listing("kaldi", lambda: _entries(path, allow_pipes))


class Table:
    """A table of `key value` lines on disk, looked up by key; fastest in the order of its lines."""

    def __init__(self, path: str) -> None:
        """Open the table, or nothing where there is no such file."""
        self._path = path
        self._file: BinaryIO | None = open(path, "rb") if os.path.isfile(path) else None  # noqa: SIM115
        self._next = self._line()
        self._index: tuple[np.ndarray, np.ndarray] | None = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __bool__(self) -> bool:
        return self._file is not None

    def get(self, key: str) -> str | None:
        """The value of a key; None where it has none."""
        if self._file is None:
            return None
        if self._next is None or self._next[0] != key:
            if self._index is None:
                self._index = self._make_index()
            hashes, offsets = self._index
            wanted = np.uint64(_hash(key))  # a plain int would have the whole array converted
            at = int(np.searchsorted(hashes, wanted))
            if at == len(hashes) or hashes[at] != wanted:
                return None
            self._file.seek(int(offsets[at]))
            self._next = self._line()
        if self._next is None or self._next[0] != key:
            return None
        value = self._next[1]
        self._next = self._line()
        return value

    def _line(self) -> tuple[str, str] | None:
        line = self._file.readline() if self._file is not None else b""
        if not line:
            return None
        key, value, *_ = [*words(os.fsdecode(line)), "", ""]
        return key, value

    def _make_index(self) -> tuple[np.ndarray, np.ndarray]:
        hashes, offsets, offset = array("Q"), array("Q"), 0
        with open(self._path, "rb") as lines:
            for line in lines:
                if key := words(os.fsdecode(line))[:1]:
                    hashes.append(_hash(key[0]))
                    offsets.append(offset)
                offset += len(line)
        found = np.frombuffer(hashes, np.uint64) if hashes else np.zeros(0, np.uint64)
        order = np.argsort(found, kind="stable")
        return found[order], (np.frombuffer(offsets, np.uint64) if offsets else found)[order]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(key), digest_size=8).digest(), "little")


def _entries(path: str, allow_pipes: bool) -> Iterator[Entry]:
    scp = os.path.join(path, "wav.scp") if os.path.isdir(path) else path
    folder = os.path.dirname(scp) if os.path.basename(scp) == "wav.scp" else None
    with contextlib.ExitStack() as stack:
        yield from _joined(scp, folder, allow_pipes, stack)


def _joined(scp: str, folder: str | None, allow_pipes: bool, stack: contextlib.ExitStack) -> Iterator[Entry]:
    tables = {name: _table(folder, file, stack) for name, file in _COLUMNS.items()}
    segments = os.path.join(folder, "segments") if folder else ""
    found = _segments(segments, scp, stack) if os.path.isfile(segments) else _recordings(scp, folder, stack)
    empty = True
    for key, audio, start, seconds in found:
        empty = False
        if why := unsupported(audio, allow_pipes):
            raise CorpusError(f"{scp}: {key} {why}")
        audio = audio if is_pipe(audio) else storage.absolute(audio)
        columns = {name: table.get(key) for name, table in tables.items() if table}
        yield Entry(key, audio, seconds, start, columns=columns)
    if empty:
        raise CorpusError(f"{scp}: has no utterances")


def _table(folder: str | None, name: str, stack: contextlib.ExitStack) -> Table:
    return stack.enter_context(contextlib.closing(Table(os.path.join(folder, name) if folder else "")))


def _recordings(scp: str, folder: str | None, stack: contextlib.ExitStack) -> Iterator[_Found]:
    durations = _table(folder, "utt2dur", stack)
    samples = _table(None if durations else folder, "utt2num_samples", stack)
    rate: int | None = None
    for _, (key, audio) in _lines(scp, 2):
        seconds = _number(durations.get(key))
        counted = _number(samples.get(key))
        if seconds is not None and seconds < 0:
            seconds = None
        if counted is not None and counted >= 0:
            rate = rate or _rate_of(audio)
            seconds = counted / rate
        yield key, audio, None, seconds


def _segments(path: str, scp: str, stack: contextlib.ExitStack) -> Iterator[_Found]:
    recordings = stack.enter_context(contextlib.closing(Table(scp)))
    if not recordings:
        raise CorpusError(f"{scp}: no such file; {path} needs it")
    last: tuple[str, str | None] = "", None
    for number, (key, recording, begin, end) in _lines(path, 4):
        if recording != last[0]:
            last = recording, recordings.get(recording)
        if last[1] is None:
            raise CorpusError(f"{path}:{number}: recording {recording} is not in {scp}")
        span = span_of((begin, end))
        if span is None:
            raise CorpusError(f"{path}:{number}: expected 'id recording start end' in seconds, got {begin} {end}")
        yield key, last[1], span[0], None if span[1] is None else span[1] - span[0]


def _lines(path: str, fields: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of a table; the last field may hold spaces."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                found = words(line, fields)
                if found and len(found) < fields:
                    raise CorpusError(f"{path}:{number}: expected {fields} fields, got {line.strip()!r}")
                if found:
                    yield number, found
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}") from None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and np.isfinite(value) else None


def _rate_of(audio: str) -> int:
    if is_pipe(audio) or storage.is_remote(audio):
        return _ASSUMED_RATE
    try:
        return io.info(audio).sample_rate
    except AudioError:
        return _ASSUMED_RATE
