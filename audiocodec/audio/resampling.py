"""Sample rate conversion with exact lengths, whole or in blocks; by soxr (HQ), nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from audiocodec.audio.library import soxr


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Length after resampling: ceil(S * to / from), in integers."""
    return -(-num_samples * to_rate // from_rate)


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample with soxr (HQ).

    Args:
        wav: [S] or [C, S].
        from_rate, to_rate: Hz.

    Returns:
        float32, same leading shape, last axis exactly ceil(S * to_rate / from_rate).
    """
    wav = np.asarray(wav, dtype=np.float32)
    if from_rate == to_rate or wav.shape[-1] == 0:
        return wav
    length = resampled_length(wav.shape[-1], from_rate, to_rate)
    pad = [(0, 0)] * (wav.ndim - 1) + [(0, _tail(from_rate, to_rate))]
    padded = np.ascontiguousarray(np.pad(wav, pad).T)  # soxr rounds its length; the zeros give the last sample of ceil
    return np.ascontiguousarray(soxr().resample(padded, from_rate, to_rate)[:length].T)


def resample_blocks(blocks: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Resample a stream of float32 [n] blocks; together they equal `resample` of the whole, sample for sample."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr().ResampleStream(from_rate, to_rate, 1, dtype="float32")
    taken = given = 0
    for block in blocks:
        taken += len(block)
        out = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        given += len(out)
        if len(out):
            yield out
    if taken:
        out = stream.resample_chunk(np.zeros(_tail(from_rate, to_rate), np.float32), last=True)
        yield out[: resampled_length(taken, from_rate, to_rate) - given]


def _tail(from_rate: int, to_rate: int) -> int:
    """Zeros after the signal that guarantee one more output sample than soxr's rounded length."""
    return from_rate // to_rate + 2
