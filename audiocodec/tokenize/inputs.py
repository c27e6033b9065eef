"""The utterances of a shard, read from `inputs.jsonl` or from the source's file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.records import from_json, parse
from audiocodec.tokenize import storage
from audiocodec.tokenize.columns import valid_text
from audiocodec.tokenize.plan import INPUTS, Plan, Shard
from audiocodec.tokenize.sources import parquet, webdataset
from audiocodec.tokenize.utterance import Failure, Utterance


@dataclass(frozen=True)
class _Line:
    """A line of `inputs.jsonl`."""

    id: str
    audio: str
    start: float | None = None
    seconds: float | None = None
    columns: dict[str, Any] = field(default_factory=dict)


def read(plan: Plan, folder: Path, number: int) -> Iterator[Utterance | Failure]:
    """The utterances of a shard, in order; an id that comes twice in a shard is a failure.

    Raises:
        CorpusError: the source's file has changed since the plan was made.
    """
    shard = plan.shards[number]
    seen: set[str] = set()
    for item in _of_file(plan, shard) if shard.file is not None else _of_list(folder, shard):
        if isinstance(item, Utterance) and item.id in seen:
            yield Failure(item.id, item.file, "its id comes twice in this shard")
        else:
            seen.add(item.id)
            yield item


def _of_file(plan: Plan, shard: Shard) -> Iterator[Utterance | Failure]:
    file = shard.file or ""
    try:
        now = storage.stamp(file)
    except OSError as error:
        raise CorpusError(f"{file}: {error.strerror or error}") from None
    if now != shard.stamp:
        raise CorpusError(f"{file}: has changed since the plan was made; use another folder for its tokens")
    return webdataset.read(file, plan.columns) if plan.kind == "webdataset" else parquet.read(file)


def _of_list(folder: Path, shard: Shard) -> Iterator[Utterance | Failure]:
    with open(folder / INPUTS, "rb") as lines:
        lines.seek(shard.start)
        while (at := lines.tell()) < shard.end:
            try:
                said = parse(_Line, from_json(lines.readline(shard.end - at), constants=True))
                if min(said.start or 0, said.seconds or 0) < 0:
                    raise ValueError("start and seconds cannot be negative")
            except ValueError as error:
                raise CorpusError(f"{folder / INPUTS}: damaged at byte {at}: {error}") from None
            yield Utterance(said.id, said.audio, valid_text(said.audio), said.start, said.seconds, said.columns)
