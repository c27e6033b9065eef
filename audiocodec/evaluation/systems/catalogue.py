"""The baselines that there are, and choosing some of them by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audiocodec.evaluation.systems.baseline import Baseline
from audiocodec.evaluation.systems.codec2 import MODES, Codec2
from audiocodec.evaluation.systems.encodec_24k import EnCodec24k
from audiocodec.evaluation.systems.opus import Opus
from audiocodec.evaluation.systems.resampling import Resampling

REFERENCE = "reference"  # the originals against themselves: what a perfect system would score
DEFAULT = (REFERENCE, "resample", "opus-6", "opus-8", "opus-12", *(f"codec2-{mode}" for mode in MODES))
_OPUS_KBPS = (6, 8, 12)
_ENCODEC_KBPS = (1.5, 3, 6)


def classical(rate: int) -> tuple[Baseline, ...]:
    """Everything but the reference and EnCodec.

    Args:
        rate: of the one that only resamples, Hz.
    """
    opus = [Opus(kbps, cbr) for cbr in (False, True) for kbps in _OPUS_KBPS]
    return (Resampling(rate), *opus, *(Codec2(mode) for mode in MODES))


def encodec(weights: str) -> tuple[Baseline, ...]:
    """EnCodec at its three lower bitrates, with the weights in a file."""
    return tuple(EnCodec24k(kbps, weights) for kbps in _ENCODEC_KBPS)


def names() -> tuple[str, ...]:
    """What `select` takes."""
    return (REFERENCE, "resample", *(baseline.name for baseline in classical(24_000)[1:]))


def select(words: Iterable[str], rate: int) -> tuple[Baseline, ...]:
    """The baselines with these names, but for the reference, which is none.

    Args:
        words: out of `names()`.
        rate: of `resample`, Hz.

    Raises:
        ValueError: there is no such baseline; the argument is the word.
    """
    asked = dict.fromkeys(words)
    for word in asked:
        if word not in names():
            raise ValueError(word)
    by_name = dict(zip(names()[1:], classical(rate)))
    return tuple(baseline for name, baseline in by_name.items() if name in asked)


def problems(baselines: Sequence[Baseline]) -> list[str]:
    """Why some of them cannot run here."""
    return list(dict.fromkeys(problem for baseline in baselines for problem in baseline.problems()))
