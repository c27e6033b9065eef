"""Validation during training: the averaged codec on whole utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.audio import io
from audiocodec.codec import Codec
from audiocodec.config.schema import Config
from audiocodec.data.manifest import Utterance
from audiocodec.data.pipes import audio_file
from audiocodec.losses.spectral import SpectralLoss

MAX_SECONDS = 10.0
AUDIO_EXAMPLES = 4


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
        (id, `[1, 1, S]`), at most 10 s each.
    """
    count = min(config.train.valid_utterances, len(utterances))
    read = []
    for utterance in (utterances[i * len(utterances) // count] for i in range(count)):
        with audio_file(utterance.path, allow_pipes) as path:
            wav, rate = io.read(path)
        mono = io.resample(wav.mean(0), rate, config.sample_rate)[: int(MAX_SECONDS * config.sample_rate)]
        rms = float(np.sqrt(np.mean(np.square(mono, dtype=np.float64))))
        gain = 10 ** (config.data.level_db / 20) / max(rms, 1e-6)
        gain = min(gain, 1 / max(float(np.abs(mono).max()), 1e-6))
        read.append((utterance.id, torch.from_numpy((mono * gain).astype(np.float32))[None, None]))
    return read


@torch.no_grad()
def validate(
    codec: Codec, utterances: Sequence[tuple[str, Tensor]], spectral: SpectralLoss, quantize: bool
) -> tuple[dict[str, float], list[Example]]:
    """Mean spectral distances over `utterances`, and the first few reconstructions.

    Args:
        codec: in inference mode.
        utterances: of `read_utterances`.
        spectral: the training loss.
        quantize: False while the autoencoder warms up.

    Returns:
        Values by name, and examples.
    """
    losses: list[dict[str, float]] = []
    examples: list[Example] = []
    for name, wav in utterances:
        wav = wav.to(codec.device)
        estimate = codec(wav, quantize=quantize).estimate.float()
        losses.append({key: float(value) for key, value in spectral(reference=wav, estimate=estimate).items()})
        if len(examples) < AUDIO_EXAMPLES:
            examples.append(Example(name, wav[0, 0].cpu().numpy(), estimate[0, 0].cpu().numpy()))
    if not losses:
        return {}, []
    return {f"valid/{key}": float(np.mean([row[key] for row in losses])) for key in losses[0]}, examples
