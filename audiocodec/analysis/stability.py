"""How many tokens change when the audio hardly does: shifted by part of a hop, louder or softer, with a little noise.

Every file is brought to the level that the codec expects, as the command line does, once; what is changed after that
is not levelled again. So the codec itself is measured: on the command line a louder file gives the same tokens, because
its gain is taken out before. Frame t is compared with frame t. Direction: fewer changes are better for whoever models
the tokens; a codec of one token changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io
from audiocodec.codec.torch import Codec
from audiocodec.errors import MetricUndefined

SHIFTS = (0.25, 0.5)  # hops
GAINS_DB = (-6.0, 6.0)
NOISES_DB = (40.0, 30.0, 20.0)  # ratio of signal to white noise, over the whole file
SEED = 0

Floats = npt.NDArray[np.float32]
Change = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True)
class Stability:
    """What one change of the audio does.

    Attributes:
        name: the change.
        changed: share of the tokens that are different, 0 to 1, of each codebook `[K]`.
        frames: that were compared.
    """

    name: str
    changed: list[float]
    frames: int


def stability(codec: Codec, paths: Iterable[str]) -> tuple[list[Stability], int]:
    """Measure all changes; files are read one at a time.

    Args:
        codec: frozen.
        paths: audio of any rate and channel count.

    Returns:
        A row for each change, over all files together; how many files were left out because they are silent, or
        too short to be shifted.

    Raises:
        AudioError: a file cannot be read.
        MetricUndefined: no file is left.
    """
    differences = {name: np.zeros(codec.num_codebooks, np.int64) for name in changes(codec.hop_length)}
    frames = dict.fromkeys(differences, 0)
    left_out = 0
    for index, path in enumerate(paths):
        wav = _levelled(path, codec)
        if not wav.any() or len(wav) <= codec.hop_length:
            left_out += 1
            continue
        codes = codec.encode(wav)[0].cpu().numpy()
        for name, change in changes(codec.hop_length).items():
            other = codec.encode(change(wav, np.random.default_rng((SEED, index))))[0].cpu().numpy()
            both = min(codes.shape[1], other.shape[1])
            differences[name] += (codes[:, :both] != other[:, :both]).sum(1)
            frames[name] += both
    if not any(frames.values()):
        raise MetricUndefined("stability: every file is silent or shorter than a frame")
    return [
        Stability(n, [float(d) / frames[n] for d in found], frames[n]) for n, found in differences.items()
    ], left_out


def changes(hop_length: int) -> dict[str, Change]:
    """The changes by name; each takes samples `[S]` and random numbers.

    Args:
        hop_length: samples per frame.
    """
    shifts = {f"shift {share:g} hop": _shift(round(share * hop_length)) for share in SHIFTS}
    gains = {f"gain {gain:+g} dB": _gain(gain) for gain in GAINS_DB}
    return {**shifts, **gains, **{f"noise at {ratio:g} dB": _noise(ratio) for ratio in NOISES_DB}}


def _shift(samples: int) -> Change:
    """Leave out the first `samples`."""
    return lambda wav, _: wav[samples:]


def _gain(decibels: float) -> Change:
    """Louder; what passes full scale is not clipped."""
    return lambda wav, _: wav * np.float32(10 ** (decibels / 20))


def _noise(decibels: float) -> Change:
    """Add white Gaussian noise, `decibels` below the RMS of the whole."""

    def change(wav: Floats, random: np.random.Generator) -> Floats:
        rms = np.sqrt(np.square(wav, dtype=np.float64).mean()) * 10 ** (-decibels / 20)
        noisy: Floats = wav + (rms * random.standard_normal(len(wav))).astype(np.float32)
        return noisy

    return change


def _levelled(path: str, codec: Codec) -> Floats:
    """The whole file `[S]` at the codec's rate and level."""
    wav, stats = io.read_leveled(path, codec.sample_rate)
    return io.at_level(wav, stats, io.level_gain(stats, codec.level_db))
