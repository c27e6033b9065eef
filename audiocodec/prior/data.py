"""Codes of a token data set in memory, and random pieces of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.errors import CorpusError, FingerprintMismatch
from audiocodec.tokenize import reading

FROM_START = 0.3  # share of pieces that are the beginning of an utterance, as the first segment of every file is

Codes = list[npt.NDArray[np.int32]]


def read_codes(folder: Path, fingerprint: str, num_codebooks: int) -> Codes:
    """Codes `[K, T]` of all utterances of a data set that `audiocodec tokenize` made.

    Args:
        folder: of `tokens-*.parquet`.
        fingerprint: of the codec, hexadecimal.
        num_codebooks: K.

    Raises:
        CorpusError: there are none, or one is damaged or has fewer codebooks.
        FingerprintMismatch: they are of another codec.
    """
    found: Codes = []
    for path in sorted(folder.glob("tokens-*.parquet")):
        made_by = reading.fingerprint_of(path)
        if made_by != fingerprint:
            raise FingerprintMismatch(f"{path}: was made by model {made_by}, this is {fingerprint}")
        for row in reading.rows(path):
            if len(row["codes"]) != num_codebooks:
                raise CorpusError(f"{path}: has {len(row['codes'])} codebooks, the model {num_codebooks}")
            found.append(row["codes"].astype(np.int32))
    if not found:
        raise CorpusError(f"{folder}: holds no tokens-*.parquet with utterances; make them with audiocodec tokenize")
    return found


def pieces(codes: Codes, length: int, batch: int, random: np.random.Generator) -> Tensor:
    """Random pieces `[batch, length, K]`; -1 after the end of an utterance that is shorter. Longer utterances come oftener."""
    frames = np.array([utterance.shape[1] for utterance in codes])
    made = np.full((batch, length, len(codes[0])), -1, np.int64)
    for row, number in enumerate(random.choice(len(codes), batch, p=frames / frames.sum())):
        room = max(0, int(frames[number]) - length)
        first = 0 if random.random() < FROM_START else int(random.integers(room + 1))
        piece = codes[number][:, first : first + length]
        made[row, : piece.shape[1]] = piece.T
    return torch.from_numpy(made)


def segments(codes: Codes, length: int, batch: int) -> Iterator[Tensor]:
    """All segments of all utterances, as files have them, the longest first: `[batch, T, K]`, -1 after the end of a shorter one."""
    found = [u[:, first : first + length] for u in codes for first in range(0, u.shape[1], length)]
    found.sort(key=lambda piece: -piece.shape[1])
    for first in range(0, len(found), batch):
        group = found[first : first + batch]
        made = np.full((len(group), group[0].shape[1], len(codes[0])), -1, np.int64)
        for row, piece in enumerate(group):
            made[row, : piece.shape[1]] = piece.T
        yield torch.from_numpy(made)
