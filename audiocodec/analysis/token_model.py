"""How predictable tokens are to a small transformer, trained on the spot: bits per token of each codebook.

A frame's K tokens are guessed from the frames before it, each codebook on its own; a frame goes in as the sum of its
tokens' embeddings, which are the output weights, too. The output's offset starts at the log of the training tokens'
frequencies, so that the first step is as good as counting. Fixed size, rate and number of steps: what is compared is
tokens, not models, and a larger one would find more. Direction: fewer bits are more predictable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocodec.errors import MetricUndefined

WIDTH, LAYERS, HEADS = 64, 2, 4
WINDOW, BATCH = 64, 8  # frames a guess can look back on; windows in a step
RATE, WARMUP = 2e-3, 20
MAX_VOCABULARY = 65_536  # the softmax over all tokens takes minutes on a CPU there, and grows with it
SEED = 0

Codes = npt.NDArray[np.int32]


class TokenModel(nn.Module):
    """A causal transformer over frames; token V, in every codebook, stands before the first frame of a file."""

    def __init__(self, counts: Tensor) -> None:
        """Build it.

        Args:
            counts: how often each token occurs in training `[K, V]`.
        """
        super().__init__()
        codebooks, self.vocabulary = counts.shape
        self.embedding = nn.Parameter(torch.randn(codebooks, self.vocabulary + 1, WIDTH) * WIDTH**-0.5)
        self.position = nn.Parameter(torch.randn(WINDOW, WIDTH) * WIDTH**-0.5)
        self.offset = nn.Parameter(((counts + 0.5) / (counts + 0.5).sum(1, keepdim=True)).log())
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, WIDTH)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def losses(self, frames: Tensor) -> Tensor:
        """Nats that each token after the first frame takes.

        Args:
            frames: `[B, K, T + 1]`, T at most `WINDOW`.

        Returns:
            `[B, K, T]`; 0 for token V, which nobody has to guess.
        """
        before, after = frames[..., :-1], frames[..., 1:]
        entered = torch.stack([F.embedding(before[:, k], table) for k, table in enumerate(self.embedding)]).sum(0)
        mask = nn.Transformer.generate_square_subsequent_mask(before.shape[-1])
        found = self.out(self.layers(entered + self.position[: before.shape[-1]], mask, is_causal=True))
        return torch.stack([self._losses(found, after[:, k], k) for k in range(frames.shape[1])], 1)

    def _losses(self, found: Tensor, after: Tensor, codebook: int) -> Tensor:
        logits = F.linear(found, self.embedding[codebook, :-1], self.offset[codebook])
        return F.cross_entropy(logits.transpose(1, 2), after, ignore_index=self.vocabulary, reduction="none")


def transformer_bits(train: Sequence[Codes], test: Sequence[Codes], vocabulary: int, steps: int) -> list[float]:
    """Train on one set of files, and count bits on another.

    Args:
        train: codes `[K, T]` of each file, 0 to V - 1.
        test: the same, of other files.
        vocabulary: number of tokens V of each codebook, at most `MAX_VOCABULARY`.
        steps: training steps of `BATCH` windows.

    Returns:
        Bits per token of each codebook `[K]`; the same for the same input on one machine.

    Raises:
        MetricUndefined: there are no tokens, or too many in the vocabulary.
    """
    if vocabulary > MAX_VOCABULARY:
        raise MetricUndefined(f"a softmax over {vocabulary:,} tokens, more than {MAX_VOCABULARY:,}, takes too long")
    if not train or not test:
        raise MetricUndefined("bits per token: there are no tokens")
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return _bits(_trained(train, vocabulary, steps), test)


def _trained(train: Sequence[Codes], vocabulary: int, steps: int) -> TokenModel:
    """A model after `steps` of Adam, at a rate that rises over `WARMUP` steps and falls to 0 like a cosine."""
    stream = torch.cat([_with_start(codes, vocabulary) for codes in train], 1)
    length = min(WINDOW + 1, stream.shape[1])
    model = TokenModel(torch.stack([torch.bincount(row, minlength=vocabulary + 1)[:-1] for row in stream]).float())
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    for step in range(steps):
        share = min((step + 1) / WARMUP, (1 + math.cos(math.pi * step / steps)) / 2)
        optimizer.param_groups[0]["lr"] = RATE * share
        starts = torch.randint(stream.shape[1] - length + 1, (BATCH,))
        windows = torch.stack([stream[:, start : start + length] for start in starts.tolist()])
        optimizer.zero_grad()
        model.losses(windows).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


@torch.no_grad()
def _bits(model: TokenModel, test: Sequence[Codes]) -> list[float]:
    """Windows overlap by half, and only what is new in a window counts: a guess sees half a window or more, if there is."""
    model.eval()
    total, frames = torch.zeros(model.embedding.shape[0], dtype=torch.float64), 0
    for codes in test:
        stream = _with_start(codes, model.vocabulary)
        frames += codes.shape[1]
        done = 0
        while done < codes.shape[1]:
            first = max(0, done - WINDOW // 2)
            losses = model.losses(stream[None, :, first : first + WINDOW + 1])[0, :, done - first :]
            total += losses.double().sum(1)
            done += losses.shape[1]
    return [float(nats) / math.log(2) / frames for nats in total]


def _with_start(codes: Codes, vocabulary: int) -> Tensor:
    """`[K, 1 + T]` int64: token V, then the codes `[K, T]`."""
    return F.pad(torch.tensor(codes, dtype=torch.int64), (1, 0), value=vocabulary)
