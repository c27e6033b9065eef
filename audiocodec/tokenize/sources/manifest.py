"""A manifest of JSON lines, plain or gzip: NeMo's (`audio_filepath, duration, text`) or lhotse's recordings and cuts."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.records import from_json
from audiocodec.tokenize import storage
from audiocodec.tokenize.columns import renamed
from audiocodec.tokenize.sources.base import Entry, Listing

EXTENSIONS = (".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz")
_MAX_LINE = 1 << 24  # bytes
_PATHS = ("audio_filepath", "audio", "path", "file", "wav")


def source(path: str) -> Listing:
    """The utterances of a manifest; relative paths are relative to its folder.

    Raises:
        CorpusError: on listing: a line that is not of either kind, naming it.
    """
    return Listing("manifest", lambda: _entries(storage.absolute(path)))


def _entries(path: str) -> Iterator[Entry]:
    folder, empty = storage.parent(path), True
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(storage.open_file(path))
            stream: Any = stack.enter_context(gzip.open(raw)) if path.endswith(".gz") else raw
            for number, line in enumerate(iter(lambda: stream.readline(_MAX_LINE), b""), 1):
                if len(line) == _MAX_LINE:
                    raise CorpusError(f"{path}:{number}: has more than {_MAX_LINE:,} bytes")
                if line.strip():
                    empty = False
                    yield _entry(line, folder, f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from None
    if empty:
        raise CorpusError(f"{path}: has no utterances")


def _entry(line: bytes, folder: str, where: str) -> Entry:
    try:
        fields = from_json(line, constants=True)
        if not isinstance(fields, dict):
            raise TypeError("not an object")
        if "recording" in fields or "sources" in fields:
            return _lhotse(fields, folder)
        return _nemo(fields, folder)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CorpusError(f"{where}: expected a JSON object with audio_filepath, or of lhotse; {what}") from None


def _nemo(fields: dict[str, Any], folder: str) -> Entry:
    name = next((name for name in _PATHS if isinstance(fields.get(name), str)), "audio_filepath")
    path = fields[name]
    start = _seconds(fields.get("offset"))
    key = fields.get("id", fields.get("utt_id"))
    if key is None:
        key = os.path.splitext(path)[0] if start is None else f"{os.path.splitext(path)[0]}-{round(1000 * start):08d}"
    kept = {n: v for n, v in fields.items() if n not in ("id", "utt_id")}
    return Entry(str(key), _address(folder, path), _seconds(fields.get("duration")), start, columns=renamed(kept))


def _lhotse(fields: dict[str, Any], folder: str) -> Entry:
    recording = fields.get("recording", fields)
    first = recording["sources"][0]
    if first["type"] not in ("file", "url"):
        raise ValueError(f"audio of type {first['type']!r} is not supported; need file or url")
    columns: dict[str, Any] = {}
    supervisions = fields.get("supervisions") or []
    for said in supervisions:
        columns |= {
            name: said[name] for name in ("speaker", "language", "text", "gender") if said.get(name) is not None
        }
    if len(supervisions) > 1:
        texts = [said["text"] for said in supervisions if said.get("text")]
        columns["text"] = " ".join(texts) if texts else None
    columns |= {**(fields.get("custom") or {})}
    seconds = _seconds(fields.get("duration"))
    start = _seconds(fields.get("start")) if "recording" in fields else None
    whole = start in (None, 0.0) and (seconds is None or seconds == recording.get("duration", seconds))
    return Entry(
        str(fields["id"]),
        _address(folder, first["source"]),
        seconds,
        None if whole else start or 0.0,
        columns=renamed(columns),
    )


def _address(folder: str, path: str) -> str:
    return storage.absolute(storage.join(folder, path))


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} is not a length in seconds")
    return number
