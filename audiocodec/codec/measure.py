"""Measuring how far the float32 latents of a model are from the exact ones, see `codec.latent_error`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from audiocodec.codec.exact import ExactEncoder, Window
from audiocodec.codec.interface import BlockCodec, FloatArray
from audiocodec.codec.latent_error import LEVELS, LatentError, largest_by_level, levels_of

NOISE_SECONDS = 2.0


def latent_errors(
    codecs: Sequence[BlockCodec], exact: ExactEncoder, signals: Iterable[FloatArray]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Errors of every way of computing the latents of signals.

    Args:
        codecs: the runtimes of one model; each is measured on its own number of threads and on another.
        exact: of the same model.
        signals: `[S]` each, at the codec's rate and level.

    Yields:
        For each signal its samples, filled up to whole frames, and Euclidean distances `[ways, T]`.
    """
    for signal in signals:
        wav = np.pad(signal, (0, -len(signal) % exact.hop_length))
        frames = len(wav) // exact.hop_length
        right = exact.latents(wav, Window(0, frames, list(range(frames)))).T
        found = []
        for codec in codecs:
            found.append(np.linalg.norm(codec.float_latents(wav) - right, axis=0))
            with codec.other_threads():
                found.append(np.linalg.norm(codec.float_latents(wav) - right, axis=0))
        yield wav, np.array(found, np.float32)


def measure(codecs: Sequence[BlockCodec], exact: ExactEncoder, signals: Iterable[FloatArray]) -> LatentError:
    """The largest error at each level, of `signals` and of white noise at every level; see `latent_errors`."""
    errors, levels = [], []
    for wav, found in latent_errors(codecs, exact, chain(_noise(codecs[0].sample_rate), signals)):
        errors.append(found.max(0))
        levels.append(levels_of(wav, np.arange(found.shape[1]), exact.hop_length))
    return largest_by_level(np.concatenate(errors), np.concatenate(levels))


def _noise(sample_rate: int) -> Iterator[FloatArray]:
    generator = np.random.default_rng(0)
    for level in LEVELS:
        samples = generator.normal(0, 10 ** (level / 20), round(NOISE_SECONDS * sample_rate))
        yield samples.astype(np.float32)
