"""Codes to bytes near their entropy, and back: a range coder driven by a prior.

Codes are cut into segments that do not depend on each other: a damaged one loses itself only. An encoder knows the codes and has
all frames of a segment predicted at once. A decoder does not; there all segments of a file advance together, frame by frame, so that
the prior computes one product for many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import PriorError
from audiocodec.nn.exact.integers import FloatArray
from audiocodec.tokens.predictor import Predictor, counts_of
from audiocodec.tokens.prior import Prior

TOGETHER = 64  # segments at most
_WORD = np.dtype("<u4")

IntArray = npt.NDArray[np.integer]


def segment_lengths(frames: int, segment_frames: int) -> list[int]:
    """Frames of each segment of a file."""
    whole, rest = divmod(frames, segment_frames)
    return [segment_frames] * whole + ([rest] if rest else [])


def encode(codes: IntArray, prior: Prior) -> list[bytes]:
    """Encode segment by segment.

    Args:
        codes: `[K, T]`, of the first K codebooks of the prior's codec.
        prior: what predicts them.

    Returns:
        Bytes of each segment, whole words of 4.
    """
    borders = range(prior.config.segment_frames, codes.shape[1], prior.config.segment_frames)
    return [_encode_segment(segment, prior) for segment in np.split(np.asarray(codes, np.int64), borders, 1)]


def decode(
    segments: Sequence[bytes], lengths: Sequence[int], num_codebooks: int, prior: Prior
) -> list[npt.NDArray[np.int64]]:
    """The inverse of `encode`.

    Args:
        segments: bytes of each.
        lengths: frames of each.
        num_codebooks: K.
        prior: what predicted them.

    Returns:
        Codes `[K, frames]` of each segment. Damaged bytes give other codes, or -1 where digits are of no code.
    """
    pairs = list(zip(segments, lengths))
    return [codes for group in _groups(pairs) for codes in _decode_together(group, num_codebooks, prior)]


def _encode_segment(codes: npt.NDArray[np.int64], prior: Prior) -> bytes:
    model, queue = _constriction()
    coder = queue.RangeEncoder()
    predicted = [(prior.digits[k][codes[k], j].tolist(), counts) for k, j, counts in counts_of(codes, prior)]
    for t in range(codes.shape[1]):
        for digits, counts in predicted:
            coder.encode(digits[t], model(counts[t], perfect=False))
    data: bytes = coder.get_compressed().astype(_WORD).tobytes()
    return data


def _decode_together(
    segments: Sequence[tuple[bytes, int]], num_codebooks: int, prior: Prior
) -> list[npt.NDArray[np.int64]]:
    model, queue = _constriction()
    words = (np.frombuffer(data + bytes(-len(data) % _WORD.itemsize), _WORD) for data, _ in segments)
    coders = [queue.RangeDecoder(part.astype(np.uint32)) for part in words]
    broken = np.zeros(len(segments), bool)
    predictor = Predictor(prior, len(segments), num_codebooks)
    frames = []
    for t in range(max(length for _, length in segments)):
        alive = [i for i, (_, length) in enumerate(segments) if t < length]

        def choose(k: int, j: int, counts: FloatArray) -> IntArray:
            digits = np.zeros(len(segments), np.int64)
            for i in alive:  # noqa: B023 - called in this turn of the loop only
                try:
                    digits[i] = coders[i].decode(model(counts[i], perfect=False))
                except AssertionError:  # no encoder writes such data
                    broken[i] = True
            return digits

        frames.append(predictor.frame(choose))
    codes = np.stack(frames, -1)  # [segments, K, T]
    codes[broken] = -1
    return [codes[i, :, :length] for i, (_, length) in enumerate(segments)]


def _groups(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), TOGETHER):
        yield items[first : first + TOGETHER]


def _constriction() -> tuple[Any, Any]:
    try:
        import constriction
    except ImportError as error:
        raise PriorError(
            f"compressed token files need the package constriction ({error}); pip install constriction"
        ) from None
    return constriction.stream.model.Categorical, constriction.stream.queue
