"""Orders in which a language model reads several codebooks, and the way back."""

from __future__ import annotations

import numpy as np

from audiocodec.errors import TokenFileError
from audiocodec.lm_tokens.vocabulary import IntArray


def flatten(ids: IntArray) -> IntArray:
    """Frame after frame, in each the codebooks in order.

    Args:
        ids: [K, T].

    Returns:
        [T * K].
    """
    return np.ascontiguousarray(_two_dimensions(ids).T).reshape(-1)


def unflatten(sequence: IntArray, num_codebooks: int) -> IntArray:
    """The inverse of `flatten`.

    Args:
        sequence: [T * K].
        num_codebooks: K.

    Raises:
        TokenFileError: a length that is no multiple of K: the sequence ends inside a frame.
    """
    array = np.asarray(sequence)
    if array.ndim != 1 or len(array) % num_codebooks:
        raise TokenFileError(f"need a sequence of whole frames of {num_codebooks} codes, got shape {list(array.shape)}")
    return np.ascontiguousarray(array.reshape(-1, num_codebooks).T)


def delay(ids: IntArray, pad: int) -> IntArray:
    """MusicGen's delay pattern: codebook k is k steps late (Copet et al., 2023, section 2.2).

    Args:
        ids: [K, T].
        pad: id where a row has nothing: k times before row k, K - 1 - k times after it.

    Returns:
        [K, T + K - 1].
    """
    rows = _two_dimensions(ids)
    count, frames = rows.shape
    delayed = np.full((count, frames + count - 1), pad, np.result_type(rows.dtype, np.min_scalar_type(pad)))
    for k, row in enumerate(rows):
        delayed[k, k : k + frames] = row
    return delayed


def undelay(delayed: IntArray) -> IntArray:
    """The inverse of `delay`.

    Args:
        delayed: [K, T + K - 1].

    Raises:
        TokenFileError: fewer steps than the delay of the last codebook.
    """
    rows = _two_dimensions(delayed)
    count, steps = rows.shape
    frames = steps - count + 1
    if frames < 0:
        raise TokenFileError(f"{count} codebooks need {count - 1} steps or more, got {steps}")
    return np.stack([row[k : k + frames] for k, row in enumerate(rows)])


def _two_dimensions(ids: IntArray) -> IntArray:
    array = np.asarray(ids)
    if array.ndim != 2:
        raise TokenFileError(f"need ids of shape [K, T], got {list(array.shape)}")
    return array
