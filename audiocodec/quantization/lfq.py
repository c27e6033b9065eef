"""Lookup-free quantization (MAGVIT-v2, arXiv 2310.05737): the sign of each of log2(V) dimensions, and an entropy loss.

A code's probability given a latent is that of its signs, `p(s | z) ~ exp(2 z . s / temperature)` over all codes, and
factorises: `p(+1) = sigmoid(4 z_i / temperature)` per dimension. So the entropy per latent is a sum over dimensions,
and the mean probability of all V codes is one product of two halves, `[2^(n/2), N] @ [N, 2^(n/2)]`: nothing of
latents times codes is ever held.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audiocodec.quantization.base import StageOutput
from audiocodec.quantization.projected import ProjectedStage

MIN_PROBABILITY = 1e-12  # guards a logarithm only


class LFQ(ProjectedStage):
    """One code of V, a power of two, for log2(V) dimensions at -1 or 1; the first dimension is the highest bit."""

    bits: Tensor

    def __init__(
        self, codebook_size: int, codebook_dim: int, *, entropy_weight: float = 0.1, temperature: float = 0.01
    ) -> None:
        """Build the quantizer.

        Args:
            codebook_size: number of codes V, a power of two.
            codebook_dim: width D of a latent.
            entropy_weight: of the entropy loss within what is returned as codebook loss.
            temperature: of the probabilities in it.
        """
        low_dim = codebook_size.bit_length() - 1
        super().__init__(codebook_size, codebook_dim, low_dim)
        self.entropy_weight, self.temperature = entropy_weight, temperature
        self.register_buffer("bits", 2 ** torch.arange(low_dim - 1, -1, -1), persistent=False)

    def squash(self, low: Tensor) -> Tensor:
        """`low [..., n]` as it is."""
        return low

    def choose(self, low: Tensor) -> Tensor:
        """Codes `[...]` of `low [..., n]`."""
        return ((low > 0) * self.bits).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """Signs `[..., n]` of `codes [...]`."""
        return (codes.unsqueeze(-1) // self.bits % 2) * 2.0 - 1

    def forward(self, residual: Tensor, used: Tensor) -> StageOutput:
        """Quantize what entered; the weighted entropy loss stands in the place of a codebook loss."""
        low = self.low(residual)
        codes = self.choose(low)
        commitment_loss = ((low - self.values(codes)) * used).square().mean()
        taken = low[used[:, 0, 0] > 0].flatten(0, 1)
        entropy = entropy_loss(taken, self.temperature) if len(taken) else low.sum() * 0
        codes = codes.unsqueeze(1)
        return StageOutput(codes, self.lookup(codes), self.entropy_weight * entropy, commitment_loss)


def entropy_loss(low: Tensor, temperature: float) -> Tensor:
    """Mean entropy of a latent's code less the entropy of the mean: sure of each latent, even over all of them.

    Args:
        low: `[N, n]` before the signs are taken.
        temperature: above 0.

    Returns:
        Scalar in nats, from -n log 2 to n log 2.
    """
    logits = 4 * low / temperature
    positive, log_positive, log_negative = logits.sigmoid(), F.logsigmoid(logits), F.logsigmoid(-logits)
    each = -(positive * log_positive + (1 - positive) * log_negative).sum(-1).mean()
    middle = low.shape[-1] // 2
    high_half, low_half = _joint(positive[:, :middle]), _joint(positive[:, middle:])
    mean = high_half.T @ low_half / len(low)
    return each + (mean * mean.clamp(min=MIN_PROBABILITY).log()).sum()


def _joint(positive: Tensor) -> Tensor:
    """Probabilities `[N, 2^n]` of all sign patterns of n independent dimensions `[N, n]`."""
    joint = positive.new_ones(len(positive), 1)
    for p in positive.unbind(1):
        joint = torch.stack([joint * (1 - p)[:, None], joint * p[:, None]], -1).flatten(1)
    return joint
