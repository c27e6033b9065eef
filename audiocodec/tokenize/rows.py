"""One row of a token data set: what the writers write and what token files are made of again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.tokenize.coding import Coded
from audiocodec.tokenize.columns import TEXTS, stored, valid_text
from audiocodec.tokenize.plan import ModelFacts
from audiocodec.tokens.token_file import TokenFile

NOTES = ("speaker", "language", "text")


def row_of(coded: Coded, model: ModelFacts, columns: dict[str, str]) -> dict[str, Any]:
    """The row of an utterance.

    Args:
        coded: the utterance and its codes.
        model: what encoded it.
        columns: further columns and their types.

    Returns:
        Column name -> value; `codes` is int32 [K, T].
    """
    given = coded.utterance.columns
    return {
        "id": valid_text(coded.utterance.id),
        "codes": coded.codes,
        "num_frames": coded.codes.shape[1],
        "num_samples": coded.num_samples,
        "sample_rate": model.sample_rate,
        "duration": coded.num_samples / model.sample_rate,
        "gain": coded.gain,
        "original_sample_rate": coded.original_sample_rate,
        "original_channels": coded.original_channels,
        "original_num_samples": coded.original_num_samples,
        **{name: stored(given.get(name), "string") for name in TEXTS},
        **{name: stored(given.get(name), kind) for name, kind in columns.items()},
    }


def row_of_tokens(key: str, tokens: TokenFile) -> dict[str, Any]:
    """The row of a token file; speaker, language and text come from its notes, where they are there."""
    return {
        "id": valid_text(key),
        "codes": tokens.codes,
        "num_frames": tokens.codes.shape[1],
        "num_samples": tokens.num_samples,
        "sample_rate": tokens.sample_rate,
        "duration": tokens.num_samples / tokens.sample_rate,
        "gain": tokens.gain,
        "original_sample_rate": tokens.original_sample_rate,
        "original_channels": tokens.original_channels,
        "original_num_samples": tokens.original_num_samples,
        **{name: stored(tokens.notes.get(name), "string") for name in TEXTS},
    }


def tokens_of(row: dict[str, Any], model: ModelFacts) -> TokenFile:
    """The token file of a row, which may have no more than `codes`: then it stands for all that its frames hold.

    Args:
        row: `codes` as [T] or [K][T], and any of the columns of `row_of`.
        model: what decodes it.

    Raises:
        TokenFileError: codes outside the codebooks, or lengths that contradict each other.
    """
    codes = codes_of(row["codes"])
    samples = _or(row, "num_samples", codes.shape[1] * model.hop_length)
    return TokenFile(
        codes=codes,
        codebook_sizes=model.codebook_sizes[: len(codes)],
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        num_samples=samples,
        original_sample_rate=_or(row, "original_sample_rate", model.sample_rate),
        original_channels=_or(row, "original_channels", 1),
        original_num_samples=_or(row, "original_num_samples", samples),
        gain=_or(row, "gain", 1.0),
        fingerprint=bytes.fromhex(model.fingerprint),
        notes={name: row[name] for name in NOTES if row.get(name) is not None},
    )


def codes_of(value: Any) -> npt.NDArray[Any]:
    """Codes [K, T] of `[T]` or `[K][T]`, lists or arrays."""
    array = np.array([np.asarray(row) for row in value]) if _nested(value) else np.asarray(value)[None]
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _nested(value: Any) -> bool:
    return len(value) > 0 and np.ndim(value[0]) > 0


def _or(row: dict[str, Any], name: str, default: Any) -> Any:
    return default if row.get(name) is None else row[name]
