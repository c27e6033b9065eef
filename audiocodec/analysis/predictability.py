"""Bits per token of a set of token files under models trained on another: n-grams, and a small language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.analysis.ngram import NGram
from audiocodec.analysis.token_model import transformer_bits
from audiocodec.errors import MetricUndefined

ORDER = 3

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Predictability:
    """Bits per token of each codebook, `[K]`; `log2(codebook_size)` is what a token takes that nobody can guess.

    Attributes:
        codebook_size: entries V.
        train_frames: that the models learned from.
        test_frames: that were guessed.
        ngram: at order 1, 2, 3 of each codebook, from its own past `[K][3]`.
        transformer: of each codebook, from the past of all and the codebooks before it `[K]`; None: not asked for.
    """

    codebook_size: int
    train_frames: int
    test_frames: int
    ngram: list[list[float]]
    transformer: list[float] | None


def predictability(
    train: Sequence[Codes], test: Sequence[Codes], tables: Sequence[Floats], steps: int
) -> Predictability:
    """Measure.

    Args:
        train: codes `[K, T]` of each file.
        test: the same, of other files.
        tables: code vectors `[V, D]` of each codebook of the codec, K or more.
        steps: of the transformer's training; 0 leaves it out.

    Raises:
        MetricUndefined: there are no tokens, or files have different numbers of codebooks.
    """
    counts = sorted({len(codes) for codes in (*train, *test)})
    if len(counts) != 1:
        raise MetricUndefined(f"bits per token: files of {counts} codebooks; they must have the same number")
    ngram = [_ngram(train, test, k, len(tables[k])) for k in range(counts[0])]
    transformer = transformer_bits(tables[: counts[0]], train, test, steps) if steps else None
    frames = [sum(codes.shape[1] for codes in part) for part in (train, test)]
    return Predictability(len(tables[0]), frames[0], frames[1], ngram, transformer)


def _ngram(train: Sequence[Codes], test: Sequence[Codes], codebook: int, size: int) -> list[float]:
    model = NGram(ORDER, size)
    for codes in train:
        model.add(codes[codebook].tolist())
    return model.bits(codes[codebook].tolist() for codes in test)
