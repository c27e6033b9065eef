"""What is written when all shards are there: the card and the list of failures. Whoever sees the last shard does it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocodec.files import replacing
from audiocodec.tokenize import card, marks
from audiocodec.tokenize.columns import valid_text
from audiocodec.tokenize.library import pyarrow
from audiocodec.tokenize.plan import CARD, FAILURES, PLAN, Plan
from audiocodec.tokenize.utterance import Failure


@dataclass(frozen=True)
class Totals:
    """Of a finished data set."""

    rows: int
    seconds: float
    failures: int


def finish(plan: Plan, folder: str | os.PathLike[str]) -> Totals | None:
    """Write `README.md` and `failures.parquet`, and remove what killed workers left; None while shards are missing.

    Raises:
        CorpusError: a shard's file is damaged.
    """
    out = Path(folder)
    if plan.missing(out):
        return None
    found = [marks.read(out / plan.name_of(number)) for number in range(len(plan.shards))]
    failures = [failure for mark in found for failure in mark.failures]
    if failures:
        with replacing(out / FAILURES) as temporary:
            write_failures(temporary, failures)
    else:
        (out / FAILURES).unlink(missing_ok=True)
    with replacing(out / CARD) as temporary:
        temporary.write_text(card.text(plan, found), encoding="utf-8")
    for pattern in (".tokens-*.tmp", f".{PLAN}.*.tmp", ".inputs.jsonl.*.tmp"):
        for left in out.glob(pattern):
            left.unlink(missing_ok=True)
    return Totals(
        sum(mark.rows for mark in found), sum(mark.samples for mark in found) / plan.model.sample_rate, len(failures)
    )


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """A Parquet file of `id`, `file`, `error`."""
    arrow = pyarrow()
    rows: list[dict[str, Any]] = [
        {"id": valid_text(f.id), "file": valid_text(f.file), "error": valid_text(f.error)} for f in failures
    ]
    kind = arrow.schema([(name, arrow.string()) for name in ("id", "file", "error")])
    arrow.parquet.write_table(arrow.Table.from_pylist(rows, kind), path, compression="zstd")


def forget_failed(plan: Plan, folder: str | os.PathLike[str]) -> list[int]:
    """Remove finished shards that have failures, so that they are done again; returns them."""
    out, again = Path(folder), []
    for number in sorted(set(range(len(plan.shards))) - set(plan.missing(out))):
        path = out / plan.name_of(number)
        if marks.read(path).failures:
            path.unlink()
            again.append(number)
    return again
