"""Checks of a token data set: against its plan, against the source's list, and for a sample by encoding again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from audiocodec.errors import CorpusError
from audiocodec.tokenize import inputs, marks, reading
from audiocodec.tokenize.coding import Coded
from audiocodec.tokenize.columns import valid_text
from audiocodec.tokenize.plan import Plan, read
from audiocodec.tokenize.planning import doubled
from audiocodec.tokenize.rows import tokens_of
from audiocodec.tokenize.utterance import Failure
from audiocodec.tokenize.worker import Job, Worker

_SHOWN = 20  # problems of a shard that are named


@dataclass
class Report:
    """What was found.

    Attributes:
        shards, rows, failures: that are there.
        again: rows encoded again.
        problems: in words, each with its file.
    """

    shards: int = 0
    rows: int = 0
    failures: int = 0
    again: int = 0
    problems: list[str] = field(default_factory=list)


def check(folder: str) -> Report:
    """Check everything that needs no model.

    Args:
        folder: of the data set.

    Returns:
        Shards that are missing, foreign or damaged; rows that are missing, doubled, foreign or damaged.

    Raises:
        CorpusError: there is no plan.
    """
    out, report = Path(folder), Report()
    plan = read(out)
    report.problems += [f"{plan.name_of(shard)}: missing" for shard in plan.missing(out)]
    planned = {plan.name_of(shard) for shard in range(len(plan.shards))}
    sides = {marks.path_beside(Path(name)).name for name in planned} if plan.writer == "webdataset" else set()
    foreign = {path.name for path in out.glob("tokens-*")} - planned - sides
    report.problems += [f"{name}: foreign: no shard of the plan" for name in sorted(foreign)]
    with tempfile.TemporaryFile(dir=out) as hashes:
        for shard in sorted(set(range(len(plan.shards))) - set(plan.missing(out))):
            _check_shard(plan, out, shard, report, hashes)
        if report.rows > 1:
            hashes.flush()
            found = np.memmap(hashes, np.uint64, "r+", shape=(report.rows,))
            found.sort()
            repeated = set(doubled(found))
    if report.rows > 1 and repeated:
        report.problems += list(_named(plan, out, repeated))
    return report


def check_again(folder: str, job: Job, sample: int, seed: int, report: Report) -> None:
    """Encode a sample of rows once more and compare codes, lengths and gain.

    Args:
        folder: of the data set.
        job: how to load the model.
        sample: how many rows, spread over a few shards.
        seed: of the choice.
        report: gets what is found.
    """
    worker, out = Worker(job), Path(folder)
    plan, random = worker.plan, np.random.default_rng(seed)
    there = sorted(set(range(len(plan.shards))) - set(plan.missing(out)))
    shards = random.permutation(there)[: max(1, min(len(there), sample // 4))].tolist()
    for index, shard in enumerate(shards):
        count = sample // len(shards) + (index < sample % len(shards))
        path = out / plan.name_of(shard)
        try:
            rows = marks.read(path).rows
            chosen = set(random.permutation(rows)[:count].tolist())
            held = {row["id"]: row for number, row in enumerate(reading.rows(path)) if number in chosen}
        except CorpusError:
            continue  # reported by `check`
        for result in worker.encode(item for item in inputs.read(plan, out, shard) if valid_text(item.id) in held):
            report.again += 1
            report.problems += _compare(plan, held[valid_text(result_id(result))], result, path.name)


def result_id(result: Coded | Failure) -> str:
    """The utterance that a result is of."""
    return result.id if isinstance(result, Failure) else result.utterance.id


def _check_shard(plan: Plan, out: Path, shard: int, report: Report, hashes: BinaryIO) -> None:
    path = out / plan.name_of(shard)
    problems: list[str] = []
    ids: list[str] = []
    try:
        mark = marks.read(path)
        if (mark.plan, mark.shard, mark.fingerprint) != (plan.hash, shard, plan.model.fingerprint):
            problems.append(f"foreign: of plan {mark.plan}, shard {mark.shard}, model {mark.fingerprint}")
        for row in reading.rows(path):
            ids.append(str(row.get("id")))
            hashes.write(_hash(ids[-1]))
            problems += _damage(plan, row)
        if len(ids) != mark.rows:
            problems.append(f"damaged: {len(ids)} rows, its footer has {mark.rows}")
        report.failures += len(mark.failures)
        if plan.shards[shard].file is None:
            problems += _differences(plan, out, shard, ids, [failure.id for failure in mark.failures])
    except CorpusError as error:
        problems.append(f"damaged: {str(error).removeprefix(f'{path}: ')}")
    report.shards += 1
    report.rows += len(ids)
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    report.problems += [f"{path.name}: {problem}" for problem in [*problems[:_SHOWN], *more]]


def _damage(plan: Plan, row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a row in itself."""
    try:
        tokens = tokens_of(row, plan.model)
    except Exception as error:  # noqa: BLE001 - a damaged row may hold anything
        yield f"{row.get('id')}: damaged: {error}"
        return
    stated = row.get("num_frames"), row.get("sample_rate"), len(plan.model.codebook_sizes)
    found = tokens.codes.shape[1], tokens.sample_rate, len(tokens.codes)
    if stated != found:
        yield f"{row.get('id')}: damaged: frames, rate and codebooks are {found}, stated {stated}"


def _differences(plan: Plan, out: Path, shard: int, ids: list[str], failed: list[str]) -> Iterator[str]:
    """Rows of a shard against the list that it was made of."""
    wanted = [valid_text(item.id) for item in inputs.read(plan, out, shard)]
    there, left_out, listed = set(ids), set(failed), set(wanted)
    yield from (f"{key}: missing" for key in wanted if key not in there and key not in left_out)
    yield from (f"{key}: foreign: not in the plan's shard" for key in ids if key not in listed)
    if [key for key in wanted if key in there] != ids and there <= listed and len(there) == len(ids):
        yield "rows are in another order than the plan's"


def _named(plan: Plan, out: Path, repeated: set[int]) -> Iterator[str]:
    """Which ids come twice, and where."""
    seen: dict[str, str] = {}
    for shard in sorted(set(range(len(plan.shards))) - set(plan.missing(out))):
        name = plan.name_of(shard)
        try:
            for row in reading.rows(out / name):
                key = str(row.get("id"))
                if int.from_bytes(_hash(key), "little") in repeated:
                    if key in seen:
                        yield f"{name}: {key}: doubled: also in {seen[key]}"
                    seen.setdefault(key, name)
        except CorpusError:
            continue  # reported before


def _compare(plan: Plan, row: dict[str, Any], result: Coded | Failure, name: str) -> Iterator[str]:
    if isinstance(result, Failure):
        yield f"{name}: {result.id}: cannot be encoded again: {result.error}"
        return
    if (result.num_samples, result.gain) != (row.get("num_samples"), row.get("gain")):
        yield f"{name}: {row['id']}: length or gain differ when encoded again: the audio has changed"
    elif result.codes.shape != row["codes"].shape:
        found, stored = (list(codes.shape) for codes in (result.codes, row["codes"]))
        yield f"{name}: {row['id']}: codes {stored} are {found} when encoded again"
    elif not np.array_equal(result.codes, row["codes"]):
        different = int((result.codes != row["codes"]).any(0).sum())
        yield f"{name}: {row['id']}: {different} of {result.codes.shape[1]} frames differ when encoded again"


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
