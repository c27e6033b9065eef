"""Parquet, one row an utterance. The same rows give the same bytes: no time, no host, fixed compression and row groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from audiocodec.tokenize.columns import TEXTS
from audiocodec.tokenize.library import pyarrow
from audiocodec.tokenize.plan import ModelFacts

ROW_GROUP = 1000  # rows
COMPRESSION, LEVEL = "zstd", 3
SHARD_KEY = "audiocodec.shard"  # of the footer: counts, failures, plan
_INTEGERS = ("num_frames", "num_samples", "original_num_samples")


@final
class ParquetRows:
    """Writes rows to one Parquet file."""

    def __init__(
        self, path: Path, model: ModelFacts, columns: Mapping[str, str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Open the file.

        Args:
            path: written from the beginning.
            model: what encoded, for the type of the codes and the schema's metadata.
            columns: further columns and their types.
            metadata: more of it.
        """
        self._schema = schema(model, columns, metadata or {})
        self._flat = is_flat(model.codebook_sizes)
        self._rows: list[dict[str, Any]] = []
        texts = [f.name for f in self._schema if pyarrow().types.is_string(f.type) and f.name != "id"]
        self._writer = pyarrow().parquet.ParquetWriter(
            path,
            self._schema,
            compression=COMPRESSION,
            compression_level=LEVEL,
            use_dictionary=texts,
            write_page_checksum=True,
        )

    def __enter__(self) -> ParquetRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, row: dict[str, Any]) -> None:
        """Add a row, as `rows.row_of` gives it."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def finish(self, mark: str) -> None:
        """Write the last rows, and the mark of a shard into the footer."""
        self._flush()
        self._writer.add_key_value_metadata({SHARD_KEY: mark})

    def _flush(self) -> None:
        if not self._rows:
            return
        arrow = pyarrow()
        columns = []
        for field in self._schema:
            values = [row.get(field.name) for row in self._rows]
            columns.append(
                _codes(values, field.type, self._flat) if field.name == "codes" else arrow.array(values, field.type)
            )
        self._writer.write_table(arrow.Table.from_arrays(columns, schema=self._schema), row_group_size=ROW_GROUP)
        self._rows = []


def schema(model: ModelFacts, columns: Mapping[str, str], metadata: Mapping[str, str]) -> Any:
    """The schema of a data set.

    Args:
        model: what encoded.
        columns: further columns and their types.
        metadata: of the schema, besides the model's.
    """
    arrow = pyarrow()
    code = arrow.uint16() if max(model.codebook_sizes) <= 2**16 else arrow.int32()
    codes = arrow.list_(code) if is_flat(model.codebook_sizes) else arrow.list_(arrow.list_(code))
    kinds = {"bool": arrow.bool_(), "int64": arrow.int64(), "double": arrow.float64(), "string": arrow.string()}
    fields = {
        "id": arrow.string(),
        "codes": codes,
        "num_frames": arrow.int64(),
        "num_samples": arrow.int64(),
        "sample_rate": arrow.int32(),
        "duration": arrow.float64(),
        "gain": arrow.float64(),
        **{name: arrow.string() for name in TEXTS},
        "original_sample_rate": arrow.int32(),
        "original_channels": arrow.int32(),
        "original_num_samples": arrow.int64(),
        **{name: kinds[kind] for name, kind in columns.items()},
    }
    said = {**model_metadata(model), **metadata}
    return arrow.schema(list(fields.items()), {f"audiocodec.{name}": value for name, value in said.items()})


def model_metadata(model: ModelFacts) -> dict[str, str]:
    """What the schema says of the model."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "sample_rate": str(model.sample_rate),
        "hop_length": str(model.hop_length),
        "codebook_sizes": json.dumps(list(model.codebook_sizes)),
    }


def is_flat(codebook_sizes: tuple[int, ...]) -> bool:
    """Whether codes are one list of uint16; else they are a list for each codebook."""
    return len(codebook_sizes) == 1 and codebook_sizes[0] <= 2**16


def _codes(values: list[Any], kind: Any, flat: bool) -> Any:
    """An arrow array of codes [K, T] each."""
    arrow = pyarrow()
    leaf = kind.value_type if flat else kind.value_type.value_type
    joined = np.concatenate([value.reshape(-1) for value in values]).astype(leaf.to_pandas_dtype())
    lengths = [value.shape[1] for value in values for _ in value]
    inner = arrow.ListArray.from_arrays(_starts(lengths), arrow.array(joined, leaf))
    return inner if flat else arrow.ListArray.from_arrays(_starts([len(value) for value in values]), inner)


def _starts(lengths: list[int]) -> npt.NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
