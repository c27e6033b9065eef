"""Validation during training: the averaged codec on whole utterances."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.audio import io
from audiocodec.codec.inputs import prepare_each
from audiocodec.codec.torch import Codec
from audiocodec.config.schema import Config
from audiocodec.data.manifest import Utterance
from audiocodec.data.pipes import audio_file
from audiocodec.errors import AudioError, ConfigError, MetricUndefined
from audiocodec.installing import advice
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.metrics.level import level
from audiocodec.metrics.pesq import pesq
from audiocodec.metrics.stoi import stoi

log = logging.getLogger("audiocodec.train")
MAX_SECONDS = 10.0
AUDIO_EXAMPLES = 4
# Of train.valid_scores: what computes it, and its library.
SCORES: dict[str, tuple[Callable[..., float | Mapping[str, float | MetricUndefined]], str]] = {
    "pesq": (pesq, "pesq"),
    "stoi": (stoi, "pystoi"),
    "level": (level, "numpy"),
}


@dataclass(frozen=True)
class Example:
    """An utterance and its reconstruction, for the log."""

    name: str
    reference: npt.NDArray[np.float32]
    estimate: npt.NDArray[np.float32]


def read_utterances(
    utterances: Sequence[Utterance], config: Config, allow_pipes: bool = False
) -> list[tuple[str, Tensor]]:
    """`train.valid_utterances` spread over a data folder, at the codec's rate and level.

    Args:
        utterances: sorted, so that neighbours are of one speaker.
        config: of the run.
        allow_pipes: run commands from `wav.scp`.

    Returns:
        (id, `[1, 1, S]`), at most 10 s each; of stereo, where the codec codes two channels, the left one, then the right.
    """
    count = min(config.train.valid_utterances, len(utterances))
    read: list[tuple[str, Tensor]] = []
    for utterance in (utterances[i * len(utterances) // count] for i in range(count)):
        try:
            with audio_file(utterance.path, allow_pipes) as path:
                read += _levelled(utterance.id, path, config)
        except AudioError as error:
            if not config.data.skip_bad:
                raise
            log.warning("left out of the validation: %s: %s", utterance.id, error)
    return read


def _levelled(name: str, path: str, config: Config) -> Iterator[tuple[str, Tensor]]:
    """What is validated of a file: the mean of its channels, or each of them."""
    wav, rate = io.read(path)
    try:
        found, _ = prepare_each(wav, rate, config.sample_rate, config.data.level_db, config.channels)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    names = [name] if len(found) == 1 else [f"{name}/left", f"{name}/right"]
    for said, one in zip(names, found):
        yield said, torch.from_numpy(one[: int(MAX_SECONDS * config.sample_rate)])[None, None]


def need_libraries(scores: Sequence[str]) -> None:
    """Find out before the training whether its `train.valid_scores` can be computed.

    Raises:
        ConfigError: a library is not installed.
    """
    for name in scores:
        library = SCORES[name][1]
        try:
            import_module(library)
        except ImportError as error:
            message = f"train.valid_scores: {name} needs {library} ({error}); {advice('eval')}"
            raise ConfigError(message) from error


@torch.no_grad()
def validate(
    codec: Codec,
    utterances: Sequence[tuple[str, Tensor]],
    spectral: SpectralLoss,
    quantize: bool,
    scores: Sequence[str] = (),
) -> tuple[dict[str, float], list[Example]]:
    """Mean spectral distances and scores over `utterances`, and the first few reconstructions.

    Args:
        codec: in inference mode.
        utterances: of `read_utterances`.
        spectral: the training loss.
        quantize: False while the autoencoder warms up.
        scores: `train.valid_scores`; a mean is over the utterances that have the score, none of them: no value.

    Returns:
        Values by name, and examples.
    """
    found: dict[str, list[float]] = {}
    examples: list[Example] = []
    for name, wav in utterances:
        wav = wav.to(codec.device)
        estimate = codec(wav, quantize=quantize).estimate.float()
        original, reconstruction = wav[0, 0].cpu().numpy(), estimate[0, 0].cpu().numpy()
        for key, value in spectral(reference=wav, estimate=estimate).items():
            found.setdefault(key, []).append(float(value))
        for key, value in _scored(scores, original, reconstruction, codec.sample_rate):
            found.setdefault(key, []).append(value)
        if len(examples) < AUDIO_EXAMPLES:
            examples.append(Example(name, original, reconstruction))
    return {f"valid/{key}": float(np.mean(values)) for key, values in found.items()}, examples


def _scored(
    scores: Sequence[str],
    original: npt.NDArray[np.float32],
    reconstruction: npt.NDArray[np.float32],
    sample_rate: int,
) -> Iterator[tuple[str, float]]:
    """Measures of a pair [S] that have a value, by name."""
    for key in scores:
        with suppress(MetricUndefined):
            score = SCORES[key][0](reference=original, estimate=reconstruction, sample_rate=sample_rate)
            values = {key: score} if isinstance(score, float) else score
            yield from ((name, value) for name, value in values.items() if isinstance(value, float))
