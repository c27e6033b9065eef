"""The plan of a token data set, `plan.json`: shards, the model, the options; made once and never changed.

`inputs.jsonl` stands beside it where the source is a list: a shard is a range of its bytes, so that neither the plan nor a
process grows with the corpus.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.files import read_text
from audiocodec.records import from_json, parse
from audiocodec.tokenize.columns import KINDS
from audiocodec.tokens.layout import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS

FORMAT = "audiocodec-plan-1"
_MAX_BYTES = 1 << 32
PLAN, INPUTS, FAILURES, CARD = "plan.json", "inputs.jsonl", "failures.parquet", "README.md"


@dataclass(frozen=True)
class Shard:
    """What one output file is made of: a range of bytes of `inputs.jsonl`, or one file of the source.

    Attributes:
        start, end: bytes of `inputs.jsonl`; 0 for a file.
        rows: utterances; None: not known before it is read.
        file, stamp: the source's file, and its state when the plan was made.
    """

    start: int = 0
    end: int = 0
    rows: int | None = None
    file: str | None = None
    stamp: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """The model: `name`, `fingerprint` (hex), `precision` (float32, or int8 of onnxruntime), rates, `codebook_sizes` used."""

    name: str
    fingerprint: str
    precision: str
    sample_rate: int
    hop_length: int
    codebook_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The plan.

    Attributes:
        version: of audiocodec, when it was made.
        kind: of the source: `folder`, `kaldi`, `manifest`, `webdataset`, `parquet`.
        source: its addresses, absolute.
        digest: SHA-256 of all that the source lists.
        model: what encodes.
        writer: `parquet` or `webdataset`.
        shard_seconds: audio of a shard, where lengths are known.
        licence: note about the data for the card and the schema.
        columns: type of each column that the source brings.
        shards: in order.
    """

    version: str
    kind: str
    source: tuple[str, ...]
    digest: str
    model: ModelFacts
    writer: str
    shard_seconds: float
    licence: str
    columns: dict[str, str]
    shards: tuple[Shard, ...]

    @property
    def hash(self) -> str:
        """16 hex digits that tell this plan from any other."""
        return hashlib.sha256(_canonical(self._as_json()).encode()).hexdigest()[:16]

    @property
    def rows(self) -> int | None:
        """Utterances, where the source lists them."""
        counts = [shard.rows for shard in self.shards]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)

    def name_of(self, shard: int) -> str:
        """File name of a shard's tokens."""
        digits = max(5, len(str(len(self.shards) - 1)))
        return f"tokens-{shard:0{digits}d}{'.parquet' if self.writer == 'parquet' else '.tar'}"

    def check_shard(self, shard: int) -> None:
        """Refuse a shard that is not there.

        Raises:
            CorpusError: naming how many there are.
        """
        if not 0 <= shard < len(self.shards):
            raise CorpusError(f"shard {shard}: the plan has shards 0 to {len(self.shards) - 1}")

    def missing(self, folder: str | os.PathLike[str]) -> list[int]:
        """Shards whose file is not in the folder."""
        there = set(os.listdir(folder))
        return [number for number in range(len(self.shards)) if self.name_of(number) not in there]

    def to_json(self) -> str:
        """The text of `plan.json`, one shard a line."""
        head = self._as_json()
        shards = head.pop("shards")
        lines = ",\n".join(f"  {_canonical(shard)}" for shard in shards)
        return f'{json.dumps(head, indent=1, sort_keys=True)[:-2]},\n "shards": [\n{lines}\n ]\n}}\n'

    def _as_json(self) -> dict[str, Any]:
        shards = [
            {k: v for k, v in asdict(shard).items() if v not in (None, 0) or k == "rows"} for shard in self.shards
        ]
        return {"format": FORMAT, **_plain(self), "shards": shards}


def read(folder: str | os.PathLike[str]) -> Plan:
    """The plan of a folder.

    Raises:
        CorpusError: there is none, or it is damaged.
    """
    path = Path(folder) / PLAN
    try:
        said = parse(dict[str, Any], from_json(read_text(path, _MAX_BYTES), limit=_MAX_BYTES))
        if said.get("format") != FORMAT:
            raise CorpusError(f"{path}: is of a format that this version does not know; need {FORMAT}")
        plan = parse(Plan, said)
        _check(plan)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: not a plan of audiocodec, or damaged: {error}") from None
    return plan


def _check(plan: Plan) -> None:
    """Raise ValueError for what the types do not say."""
    model, sizes = plan.model, plan.model.codebook_sizes
    sound = {
        "writer": plan.writer in ("parquet", "webdataset"),
        "shard_seconds": plan.shard_seconds > 0,
        "columns": set(plan.columns.values()) <= set(KINDS),
        "model.sample_rate": model.sample_rate > 0,
        "model.hop_length": model.hop_length > 0,
        "model.codebook_sizes": 1 <= len(sizes) <= MAX_CODEBOOKS and all(2 <= n <= MAX_CODEBOOK_SIZE for n in sizes),
        "model.fingerprint": re.fullmatch("[0-9a-f]{16}", model.fingerprint) is not None,
        "shards": all(0 <= shard.start <= shard.end and (shard.rows or 0) >= 0 for shard in plan.shards),
    }
    wrong = [name for name, good in sound.items() if not good]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: out of range")


def check_same(old: Plan, new: Plan, folder: str | os.PathLike[str]) -> None:
    """Refuse to go on with a folder whose plan was made for something else.

    Raises:
        CorpusError: naming what differs, and both values.
    """
    differing: Sequence[tuple[str, object, object]] = [
        (name, getattr(old, name), getattr(new, name))
        for name in ("source", "kind", "model", "writer", "shard_seconds", "licence", "digest")
        if getattr(old, name) != getattr(new, name)
    ]
    if differing:
        name, before, now = differing[0]
        what = "the source has changed since" if name == "digest" else f"{name} was {before}, now is {now}"
        raise CorpusError(f"{folder}: was planned otherwise: {what}; use another folder for other tokens")


def _plain(plan: Plan) -> dict[str, Any]:
    said = {name: getattr(plan, name) for name in ("version", "kind", "digest", "writer", "shard_seconds", "licence")}
    model = {**asdict(plan.model), "codebook_sizes": list(plan.model.codebook_sizes)}
    return {**said, "source": list(plan.source), "model": model, "columns": plan.columns}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
