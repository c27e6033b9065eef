"""Bits that a language model takes for tokens, teacher forced."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.lm_tokens.orders import delay

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class LMScore:
    """What a language model makes of tokens.

    Attributes:
        tokens: that were scored.
        bits_per_token: mean, of all codebooks.
        bits_per_second: of audio.
        raw_bits_per_token: without a model.
        by_codebook: bits per token of each codebook.
    """

    tokens: int
    bits_per_token: float
    bits_per_second: float
    raw_bits_per_token: float
    by_codebook: tuple[float, ...]


def score(model: TokenLM, utterances: Iterable[IntArray], frame_rate: float) -> LMScore:
    """Score utterances, each from its beginning.

    Args:
        model: in evaluation mode.
        utterances: codes `[K, T]` of each.
        frame_rate: of the codec, Hz.
    """
    total, frames = np.zeros(len(model.config.codebook_sizes)), 0
    for codes in utterances:
        total += nats_of(model, codes).sum(1)
        frames += codes.shape[1]
    bits = total / math.log(2) / frames
    raw = np.mean([(size - 1).bit_length() for size in model.config.codebook_sizes])
    return LMScore(
        tokens=frames * len(bits),
        bits_per_token=float(bits.mean()),
        bits_per_second=float(bits.sum() * frame_rate),
        raw_bits_per_token=float(raw),
        by_codebook=tuple(bits.tolist()),
    )


def nats_of(model: TokenLM, codes: IntArray) -> npt.NDArray[np.float64]:
    """Nats `[K, T]` of the codes of one utterance `[K, T]`; those beyond the model's context see at least half of it."""
    ids = torch.from_numpy(sequence_of(codes, model.config)).to(model.body.embed_tokens.weight.device)
    context, steps = model.config.context, ids.shape[1]
    found = np.zeros((len(codes), steps - 1))
    first = 0
    with torch.inference_mode():
        while True:
            nats = model(ids[None, :, first : first + context])[0].double().numpy(force=True)
            known = context - 1 - context // 2 if first else 0  # what the window before has
            found[:, first + known : first + nats.shape[1]] = nats[:, known:]
            if first + context >= steps:
                break
            first += context // 2
    return np.stack([row[k : k + codes.shape[1]] for k, row in enumerate(found)])


def sequence_of(codes: IntArray, config: LMConfig) -> npt.NDArray[np.int64]:
    """BOS, the codes in delayed order, EOS `[K, T + K + 1]`."""
    words = config.vocabulary
    body = delay(np.asarray(codes, np.int64), words.pad).astype(np.int64)
    framed = np.pad(body, ((0, 0), (1, 1)))
    framed[:, 0], framed[:, -1] = words.bos, words.eos
    return framed
