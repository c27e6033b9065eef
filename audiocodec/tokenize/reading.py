"""Rows of codes out of files: our shards, other Parquet, JSON lines, numpy arrays, Kaldi text archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.arrays import from_npy
from audiocodec.errors import CorpusError
from audiocodec.records import from_json
from audiocodec.tokenize import tars
from audiocodec.tokenize.library import pyarrow
from audiocodec.tokenize.rows import codes_of

EXTENSIONS = (".parquet", ".tar", ".jsonl", ".npy", ".ark", ".txt")
_ROWS = 256


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order: `codes` int [K, T], `id`, and whatever else it has.

    Raises:
        CorpusError: it cannot be read, or is not what its name says; rows before the damage have been yielded.
    """
    readers = {".parquet": _parquet, ".tar": _tar, ".jsonl": _jsonl, ".npy": _npy, ".ark": _ark, ".txt": _ark}
    if path.suffix not in readers:
        raise CorpusError(f"{path}: need one of {', '.join(EXTENSIONS)}")
    try:
        for row in readers[path.suffix](path):
            yield {**row, "codes": codes_of(row["codes"])}
    except KeyError as error:
        raise CorpusError(f"{path}: has no {error.args[0]}") from None
    except (*tars.ERRORS, TypeError, AttributeError, IndexError, NotImplementedError, MemoryError) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from None


def fingerprint_of(path: Path) -> str | None:
    """The model that a Parquet file names in its metadata, hex; None: it names none."""
    if path.suffix != ".parquet":
        return None
    try:
        metadata = pyarrow().parquet.read_schema(path).metadata or {}
        found: bytes | None = metadata.get(b"audiocodec.fingerprint")
        return None if found is None else found.decode()
    except (OSError, ValueError, NotImplementedError, MemoryError) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from None


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    with pyarrow().parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            if "codes" not in batch.schema.names:
                raise KeyError("column codes")
            codes = batch.column("codes")
            others = batch.drop_columns(["codes"]).to_pylist()
            for number in range(batch.num_rows):
                values = codes[number].values
                nested = pyarrow().types.is_nested(values.type)
                yield {
                    **(others[number] if others else {}),
                    "codes": [row.values.to_numpy() for row in values] if nested else values.to_numpy(),
                }


def _tar(path: Path) -> Iterator[dict[str, Any]]:
    codes: np.ndarray | None = None
    with open(path, "rb") as raw:
        for tar, info in tars.members(raw):
            data = tars.content(tar, info) if info.isfile() else b""
            if info.name.endswith(".codes.npy"):
                codes = from_npy(data)
            elif info.name.endswith(".json"):
                if codes is None:
                    raise ValueError(f"{info.name} comes before its codes")
                yield {**from_json(data), "codes": codes}
                codes = None


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield from_json(line)


def _npy(path: Path) -> Iterator[dict[str, Any]]:
    yield {"id": path.stem, "codes": from_npy(path.read_bytes())}


def _ark(path: Path) -> Iterator[dict[str, Any]]:
    """`id 5 7 9`, or a vector for each frame, `id 5 1 ; 7 0 ;`."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            key, _, values = line.strip().partition(" ")
            if not key:
                continue
            if ";" in values:
                frames = [[int(word) for word in frame.split()] for frame in values.split(";") if frame.strip()]
                yield {"id": key, "codes": np.array(frames).T}
            else:
                yield {"id": key, "codes": np.array([int(word) for word in values.split()])}
