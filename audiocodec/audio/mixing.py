"""From channels to one: their mean, or the one that was chosen; channels that cancel are an error, not silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from audiocodec.errors import AudioError

READ_VALUES = 1 << 18  # samples times channels held at once while reading
CANCELLED = 0.05  # of the energy that independent channels keep in their mean: less is left where they cancel


def coded_channels(found: int, wanted: int) -> tuple[int | None, ...]:
    """What is coded of audio, one after the other: `(1, 2)`, each channel of stereo; `(None,)`, the mean of them all.

    Args:
        found: channels of the audio.
        wanted: channels that the codec keeps.

    Raises:
        AudioError: more than two channels for a codec of two.
    """
    if found > wanted > 1:
        raise AudioError(
            f"has {found} channels, this model codes {wanted}; mix it to {wanted} first, or encode one of them (--channel)"
        )
    return tuple(range(1, found + 1)) if found == wanted > 1 else (None,)


def mono_blocks(channels: np.ndarray) -> Iterator[np.ndarray]:
    """Samples `[C, S]` as mono blocks `[n]`, as a file with these samples is read.

    Raises:
        AudioError: the channels cancel.
    """
    step = max(1, READ_VALUES // len(channels))
    return mixed(channels[:, start : start + step].T for start in range(0, channels.shape[1], step))


def mixed(blocks: Iterable[np.ndarray], channel: int | None = None) -> Iterator[np.ndarray]:
    """Blocks `[n, C]` of a whole signal as mono blocks `[n]`.

    Args:
        blocks: of the signal.
        channel: the only one to take, from 1 on; None: the mean of all.

    Raises:
        AudioError: after the last block: hardly anything is left in the mean, because the channels cancel.
    """
    apart = together = 0.0
    for block in blocks:
        mono = mix(block, channel)
        if channel is None and block.shape[1] > 1:
            apart += float(np.square(block, dtype=np.float64).mean(axis=1).sum()) / block.shape[1]
            together += float(np.square(mono, dtype=np.float64).sum())
        yield mono
    if together < CANCELLED * apart:
        raise AudioError("its channels cancel when they are mixed (opposite polarity); choose one, as with --channel 1")


def mix(block: np.ndarray, channel: int | None = None) -> np.ndarray:
    """[n, C] -> [n]: the mean of the channels, or one of them."""
    if block.shape[1] == 1 or channel is not None:
        return block[:, (channel or 1) - 1]
    mean: np.ndarray = block.mean(axis=1, dtype=np.float32)
    return mean
