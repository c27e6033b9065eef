"""Making a plan: one pass over the source, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import audiocodec
from audiocodec.errors import CorpusError
from audiocodec.files import replacing
from audiocodec.tokenize import storage
from audiocodec.tokenize.columns import settled, valid_text, widen
from audiocodec.tokenize.plan import INPUTS, PLAN, ModelFacts, Plan, Shard, check_same, read
from audiocodec.tokenize.sources.base import Entry, Files, Listing

SHARD_SECONDS = 3600.0
# Where lengths are not known, an hour is taken for so many files, or so many bytes of them (16-bit FLAC).
HOUR_FILES, HOUR_BYTES = 1000, 100_000_000
_BATCH = 1 << 20


@dataclass(frozen=True)
class Request:
    """What is asked for, apart from the source.

    Attributes:
        model: facts of the model.
        writer: `parquet` or `webdataset`.
        shard_seconds: audio of a shard, where lengths are known.
        licence: note about the data.
    """

    model: ModelFacts
    writer: str = "parquet"
    shard_seconds: float = SHARD_SECONDS
    licence: str = "the licence of the audio applies"


def make(source: Listing | Files, names: Sequence[str], request: Request, folder: str | os.PathLike[str]) -> Plan:
    """The plan of a folder: made, or the one that is there if it is for the same.

    Args:
        source: what is to be encoded.
        names: its addresses.
        request: how.
        folder: gets `plan.json` and, for a list, `inputs.jsonl`; made if need be.

    Raises:
        CorpusError: the source cannot be read, two utterances have one id, or the folder is another data set's.
    """
    out = Path(folder)
    old = made(names, request, out)
    if old is None:
        _refuse_foreign(out)
        out.mkdir(parents=True, exist_ok=True)
    plan = _empty(names, request, source.kind)
    plan = _of_files(plan, source) if isinstance(source, Files) else _of_list(plan, source, None if old else out)
    if old is not None:
        check_same(old, plan, out)
        return old
    with replacing(out / PLAN) as temporary:
        temporary.write_text(plan.to_json(), encoding="utf-8")
    return plan


def made(names: Sequence[str], request: Request, folder: str | os.PathLike[str]) -> Plan | None:
    """The plan that a folder has, without a look at the source; None: it has none.

    Raises:
        CorpusError: it was made for something else.
    """
    if not (Path(folder) / PLAN).exists():
        return None
    plan = read(folder)
    check_same(plan, replace(_empty(names, request, plan.kind), digest=plan.digest), folder)
    return plan


def _empty(names: Sequence[str], request: Request, kind: str) -> Plan:
    return Plan(
        version=audiocodec.__version__,
        kind=kind,
        source=tuple(valid_text(storage.absolute(name)) for name in names),
        digest="",
        model=request.model,
        writer=request.writer,
        shard_seconds=request.shard_seconds,
        licence=request.licence,
        columns={},
        shards=(),
    )


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CorpusError(f"{out}: is not a folder")
    found = sorted(path.name for path in out.glob("tokens-*"))[:1] if out.is_dir() else []
    if found and not (out / PLAN).exists():  # else another task has planned meanwhile, to the same bytes
        raise CorpusError(f"{out}: holds {found[0]} but no {PLAN}; use another folder")


def _of_files(plan: Plan, source: Files) -> Plan:
    digest = hashlib.sha256()
    shards = []
    for file in source.files:
        try:
            stamp = storage.stamp(file)
        except OSError as error:
            raise CorpusError(f"{file}: {error.strerror or error}") from None
        digest.update(f"{valid_text(file)} {stamp}\n".encode())
        shards.append(Shard(file=file, stamp=stamp))
    return replace(plan, digest=digest.hexdigest(), columns=source.kinds, shards=tuple(shards))


def _of_list(plan: Plan, source: Listing, out: Path | None) -> Plan:
    """Go over a list once; write `inputs.jsonl` where `out` is given."""
    cutter, kinds, digest = _Cutter(plan.shard_seconds), dict[str, str | None](), hashlib.sha256()
    with replacing(out / INPUTS) if out else nullcontext() as temporary, tempfile.TemporaryFile(dir=out) as hashes:
        with open(temporary or os.devnull, "wb", buffering=_BATCH) as listing:
            for entry in source.entries():
                line = _line(entry)
                digest.update(line)
                listing.write(line)
                widen(kinds, entry.columns)
                cutter.add(entry, len(line))
                hashes.write(hashlib.blake2b(os.fsencode(entry.id), digest_size=8).digest())
            listing.flush()
            os.fsync(listing.fileno()) if out else None
        if temporary is not None:
            _refuse_repeated(hashes, cutter.rows, source)
    return replace(plan, digest=digest.hexdigest(), columns=settled(kinds), shards=tuple(cutter.finish()))


def _line(entry: Entry) -> bytes:
    said: dict[str, Any] = {"id": entry.id, "audio": entry.audio}
    for name in ("start", "seconds", "stamp", "columns"):
        if value := getattr(entry, name):
            said[name] = value
    if entry.start == 0:
        said["start"] = 0.0
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


class _Cutter:
    """Cuts a list into shards: by seconds where lengths are known, else by number and bytes."""

    def __init__(self, shard_seconds: float) -> None:
        self._limit = shard_seconds
        self._files = max(1, round(shard_seconds / 3600 * HOUR_FILES))
        self._size = shard_seconds / 3600 * HOUR_BYTES
        self._shards: list[Shard] = []
        self.rows = 0
        self._start = self._end = 0
        self._clear()

    def add(self, entry: Entry, size: int) -> None:
        """One more utterance, whose line has `size` bytes."""
        seconds, size_known = entry.seconds or 0.0, int(entry.stamp.split()[0]) if entry.stamp[:1].isdigit() else 0
        if self._count and self._seconds + seconds > self._limit:
            self._cut()
        self._end += size
        self.rows += 1
        self._count += 1
        self._seconds += seconds
        self._unknown += entry.seconds is None
        self._bytes += size_known if entry.seconds is None else 0
        if self._unknown >= self._files or self._bytes >= self._size:
            self._cut()

    def finish(self) -> list[Shard]:
        """All shards."""
        if self._count:
            self._cut()
        return self._shards

    def _cut(self) -> None:
        self._shards.append(Shard(self._start, self._end, self._count))
        self._start = self._end
        self._clear()

    def _clear(self) -> None:
        self._count = self._unknown = self._bytes = 0
        self._seconds = 0.0


def _refuse_repeated(hashes: BinaryIO, rows: int, source: Listing) -> None:
    """Raise CorpusError where two utterances have one id; `hashes` holds 8 bytes of each, sorted in the file itself."""
    if rows < 2:
        return
    hashes.flush()
    found = np.memmap(hashes, np.uint64, "r+", shape=(rows,))
    found.sort()
    repeated = {int(value) for value in doubled(found)}
    if not repeated:
        return
    seen: set[str] = set()
    for entry in source.entries():
        number = int.from_bytes(hashlib.blake2b(os.fsencode(entry.id), digest_size=8).digest(), "little")
        if number in repeated:
            if entry.id in seen:
                raise CorpusError(f"{entry.audio}: utterance id {entry.id!r} comes twice; ids must differ")
            seen.add(entry.id)


def doubled(values: np.ndarray) -> Iterator[int]:
    """The first thousand values that come twice in a sorted array."""
    count = 0
    for first in range(0, len(values) - 1, _BATCH):
        part = values[first : first + _BATCH + 1]
        for value in part[1:][part[1:] == part[:-1]]:
            yield int(value)
            count += 1
            if count == 1000:
                return
