"""Parquet files with audio: Hugging Face's `Audio` columns (`bytes`, `path`), plain bytes, or paths. No torchcodec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from audiocodec.errors import CorpusError
from audiocodec.tokenize import storage
from audiocodec.tokenize.columns import renamed
from audiocodec.tokenize.library import pyarrow
from audiocodec.tokenize.sources.base import Files
from audiocodec.tokenize.utterance import Failure, Utterance

EXTENSIONS = (".parquet",)
_AUDIO = ("audio", "audio_filepath", "wav", "file", "path", "bytes")
_IDS = ("id", "utt_id", "utterance_id")
_ROWS = 16  # decoded at once


def source(files: list[str]) -> Files:
    """Parquet files of one schema, each a shard.

    Raises:
        CorpusError: the first has no audio column, or another file has another schema.
    """
    schema = _schema(files[0])
    column = audio_column(schema, files[0])
    kinds = {}
    for field in schema:
        if field.name != column and field.name not in _IDS:
            kinds[field.name] = _kind(field.type)
    named = renamed(kinds)
    return Files(
        "parquet", files, {name: named[name] for name in sorted(named) if name not in ("speaker", "language", "text")}
    )


def read(address: str) -> Iterator[Utterance | Failure]:
    """The rows of a file, in order; a row without audio is a failure, and so is the rest of a damaged file."""
    arrow, number = pyarrow(), 0
    try:
        with storage.open_file(address) as raw, arrow.parquet.ParquetFile(raw) as file:
            column = audio_column(file.schema_arrow, address)
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    yield _utterance(row, column, address, number)
                    number += 1
    except (OSError, arrow.ArrowException, ValueError, OverflowError, MemoryError) as error:
        yield Failure("", address, f"cannot be read after row {number}: {error}")


def audio_column(schema: Any, address: str) -> str:
    """The column that holds audio: a struct of `bytes` and `path`, bytes, or text of that name.

    Raises:
        CorpusError: there is none.
    """
    arrow = pyarrow()
    types = {field.name: field.type for field in schema}
    structs = [n for n, t in types.items() if arrow.types.is_struct(t) and {"bytes", "path"} & {f.name for f in t}]
    plain = [n for n in _AUDIO if n in types and (_is_bytes(types[n]) or _is_text(types[n]))]
    names: list[str] = [*sorted(structs, key=lambda n: n != "audio"), *plain]
    if names:
        return names[0]
    raise CorpusError(
        f"{address}: no audio among its columns ({', '.join(types)}); need a struct of bytes and path, or one of "
        f"{', '.join(_AUDIO)}"
    )


def _schema(address: str) -> Any:
    arrow = pyarrow()
    try:
        with storage.open_file(address) as raw:
            return arrow.parquet.read_schema(raw)
    except (OSError, arrow.ArrowException) as error:
        raise CorpusError(f"{address}: cannot be read: {error}") from None


def _utterance(row: dict[str, Any], column: str, address: str, number: int) -> Utterance | Failure:
    audio = row.pop(column)
    stem = os.path.splitext(os.path.basename(address))[0]
    key = str(next((row[name] for name in _IDS if row.get(name) is not None), f"{stem}-{number:07d}"))
    columns = renamed({name: value for name, value in row.items() if name not in _IDS})
    if isinstance(audio, dict):
        audio = audio.get("bytes") or audio.get("path")
    if not audio:
        return Failure(key, address, f"row {number}: its column {column!r} is empty")
    if isinstance(audio, str):
        audio = storage.absolute(storage.join(storage.parent(address), audio))
        return Utterance(key, audio, audio, columns=columns)
    return Utterance(key, audio, f"{address}: row {number}", columns=columns)


def _kind(kind: Any) -> str:
    types = pyarrow().types
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind) and kind != pyarrow().uint64():
        return "int64"
    return "double" if types.is_floating(kind) else "string"


def _is_bytes(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    types = pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind))
