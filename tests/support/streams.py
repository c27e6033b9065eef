"""A signal through a stream in pieces."""

from __future__ import annotations

import numpy as np

from audiocodec.codec.torch import Codec


def sizes(total: int, largest: int, seed: int) -> list[int]:
    """Random sizes, 0 among them, that add up to `total`."""
    generator, found = np.random.default_rng(seed), [0]
    while sum(found) < total:
        found.append(min(int(generator.integers(0, largest + 1)), total - sum(found)))
    return found


def cut(values: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(lengths)[:-1], -1)


def stream_encode(codec: Codec, wav: np.ndarray, lengths: list[int], num_codebooks: int | None = None) -> np.ndarray:
    with codec.stream_encoder(num_codebooks) as stream:
        parts = [stream.push(piece) for piece in cut(wav, lengths)]
        return np.concatenate([*parts, stream.finish()], 1)


def stream_decode(codec: Codec, codes: np.ndarray, lengths: list[int]) -> np.ndarray:
    with codec.stream_decoder() as stream:
        parts = [stream.push(piece) for piece in cut(codes, lengths)]
        return np.concatenate([*parts, stream.finish()])
