"""What a finished shard says of itself: in a Parquet file's footer, or in a file beside a tar."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.files import read_text
from audiocodec.records import from_json, parse
from audiocodec.tokenize.columns import valid_text
from audiocodec.tokenize.library import pyarrow
from audiocodec.tokenize.utterance import Failure
from audiocodec.tokenize.writers.parquet import SHARD_KEY


@dataclass(frozen=True)
class Mark:
    """A finished shard.

    Attributes:
        plan: hash of the plan.
        shard: its number.
        fingerprint: of the model, hex.
        rows: utterances with tokens.
        frames: of all of them.
        samples: of all of them, at the codec's rate.
        failures: utterances without tokens.
    """

    plan: str
    shard: int
    fingerprint: str
    rows: int
    frames: int
    samples: int
    failures: tuple[Failure, ...]

    def to_text(self) -> str:
        """As JSON."""
        failures = [[valid_text(f.id), valid_text(f.file), valid_text(f.error)] for f in self.failures]
        return json.dumps({**asdict(self), "failures": failures}, sort_keys=True)


def path_beside(path: Path) -> Path:
    """Where the mark of a tar is."""
    return path.with_suffix(".json")


def read(path: Path) -> Mark:
    """The mark of a shard's file.

    Raises:
        CorpusError: the file is damaged, or no shard of a token data set.
    """
    try:
        if path.suffix == ".parquet":
            text = pyarrow().parquet.read_metadata(path).metadata[SHARD_KEY.encode()]
        else:
            text = read_text(path_beside(path))
        said = parse(dict[str, Any], from_json(text))
        failures = parse(tuple[tuple[str, str, str], ...], said.pop("failures"), "failures")
        mark = parse(Mark, {**said, "failures": [dict(zip(("id", "file", "error"), each)) for each in failures]})
        if min(mark.shard, mark.rows, mark.frames, mark.samples) < 0:
            raise ValueError("shard, rows, frames and samples cannot be negative")
        return mark
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        NotImplementedError,
        MemoryError,
    ) as error:  # arrow's are some of these
        raise CorpusError(
            f"{path}: damaged, or no shard of a token data set ({error}); delete it and run again"
        ) from None
