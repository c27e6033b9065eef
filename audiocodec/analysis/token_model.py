"""How predictable tokens are to a small language model, trained on the spot: bits per token of each codebook.

The model is that of `audiocodec.lm`, of fixed size, rate and number of steps: what is compared is tokens, not models, and a
larger one would find more. Direction: fewer bits are more predictable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from audiocodec.errors import MetricUndefined
from audiocodec.lm.network import LMConfig, TokenLM
from audiocodec.lm.scoring import score, sequence_of

WIDTH, LAYERS, HEADS = 96, 2, 4
CONTEXT, BATCH = 64, 8  # steps of a window; windows in a training step
RATE, WARMUP = 2e-3, 20
SEED = 0

Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.floating]


def transformer_bits(
    tables: Sequence[Floats], train: Sequence[Codes], test: Sequence[Codes], steps: int
) -> list[float]:
    """Train on one set of files, and count bits on another.

    Args:
        tables: code vectors `[V, D]` of each codebook [K].
        train: codes `[K, T]` of each file.
        test: the same, of other files.
        steps: training steps of `BATCH` windows.

    Returns:
        Bits per token of each codebook `[K]`, given the past frames and the codebooks before it; the same for the same
        input on one machine.

    Raises:
        MetricUndefined: there are no tokens.
    """
    if not train or not test:
        raise MetricUndefined("bits per token: there are no tokens")
    config = LMConfig("", tuple(map(len, tables)), WIDTH, LAYERS, HEADS, CONTEXT)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = TokenLM(config, tables)
        _fit(model, torch.from_numpy(np.concatenate([sequence_of(codes, config) for codes in train], 1)), steps)
    return list(score(model.eval(), test, 1.0).by_codebook)


def _fit(model: TokenLM, stream: Tensor, steps: int) -> None:
    """`steps` of Adam on random windows of `stream [K, T]`; the rate rises over `WARMUP` steps and falls to 0 like a cosine."""
    length, pad = min(CONTEXT + 1, stream.shape[1]), model.config.vocabulary.pad
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for step in range(steps):
        share = min((step + 1) / WARMUP, (1 + math.cos(math.pi * step / steps)) / 2)
        optimizer.param_groups[0]["lr"] = RATE * share
        starts = torch.randint(stream.shape[1] - length + 1, (BATCH,))
        windows = torch.stack([stream[:, start : start + length] for start in starts.tolist()])
        optimizer.zero_grad()
        counted = windows[..., 1:] != pad
        ((model(windows) * counted).sum() / counted.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
